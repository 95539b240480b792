//! Generated measurements, clustered by patient as a snapshot's are: files of a range of patients
//! each.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Float64Array, Int64Array, RecordBatch, new_null_array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use async_trait::async_trait;
use datafusion::catalog::{MemTable, MemorySchemaProvider, SchemaProvider, Session, TableProvider};
use datafusion::common::{Result, ScalarValue, SplitPoint};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::Expr;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::file::properties::WriterProperties;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, Partitioning, PhysicalSortExpr, RangePartitioning};
use datafusion::physical_plan::ExecutionPlan;
use ward_schemas::cdm::{self, ColumnType};

/// Rows of a row group, as writers have them by default.
pub(crate) const ROW_GROUP: usize = 1 << 20;

/// How many concepts are measured.
pub(crate) const CONCEPTS: u64 = 10;

/// The i-th concept's id.
pub(crate) fn concept(i: u64) -> i64 {
    3_000_000 + (i * 7919).cast_signed()
}

/// The tables of the model, of which `person` and `measurement` have rows.
pub(crate) struct Files {
    tables: BTreeMap<&'static str, Arc<dyn TableProvider>>,
}

impl Files {
    /// Generates what isn't in the directory yet, in row groups of at most so many rows, which may
    /// split a patient.
    pub(crate) fn generate(
        dir: &Path,
        rows: u64,
        patients: u64,
        parts: u64,
        row_group: usize,
    ) -> Self {
        std::fs::create_dir_all(dir).expect("directory");
        let share = |p| (p * patients / parts, (p + 1) * patients / parts);
        let shares: Vec<_> = (0..parts).map(share).collect();
        let mut tables: BTreeMap<&'static str, Arc<dyn TableProvider>> = BTreeMap::new();
        for table in cdm::tables() {
            let schema = arrow_schema(table);
            let provider: Arc<dyn TableProvider> = match table.name {
                "person" | "measurement" => {
                    let files = shares.iter().enumerate().map(|(part, share)| {
                        let path = dir.join(format!("{}-{part}.parquet", table.name));
                        if !path.exists() {
                            write(table, &path, *share, rows / patients, row_group);
                        }
                        path
                    });
                    Arc::new(Clustered {
                        files: files.collect(),
                        splits: shares[1..].iter().map(|s| s.0.cast_signed()).collect(),
                        schema,
                    })
                }
                _ => Arc::new(MemTable::try_new(schema, vec![Vec::new()]).expect("table")),
            };
            tables.insert(table.name, provider);
        }
        Self { tables }
    }

    pub(crate) fn tables(&self) -> impl Iterator<Item = (&'static str, Arc<dyn TableProvider>)> {
        self.tables
            .iter()
            .map(|(name, table)| (*name, Arc::clone(table)))
    }

    pub(crate) fn schema(&self) -> Arc<dyn SchemaProvider> {
        let schema = MemorySchemaProvider::new();
        for (name, table) in self.tables() {
            schema
                .register_table(name.to_owned(), table)
                .expect("registered");
        }
        Arc::new(schema)
    }
}

/// Writes one file under another name and renames it, so that a run that was stopped leaves none.
fn write(table: &cdm::Table, path: &PathBuf, share: (u64, u64), mean_rows: u64, row_group: usize) {
    const PATIENTS_A_BATCH: usize = 2000;
    let schema = arrow_schema(table);
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(row_group))
        .build();
    let unfinished = path.with_extension("unfinished");
    let file = File::create(&unfinished).expect("file");
    let mut writer =
        ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties)).expect("writer");
    let patients: Vec<u64> = (share.0..share.1).collect();
    for patients in patients.chunks(PATIENTS_A_BATCH) {
        let given = match table.name {
            "person" => persons(patients),
            _ => measurements(patients, mean_rows),
        };
        writer
            .write(&batch(table, &schema, &given))
            .expect("written");
    }
    writer.close().expect("closed");
    std::fs::rename(unfinished, path).expect("renamed");
}

type Columns = Vec<(&'static str, ArrayRef)>;

fn persons(patients: &[u64]) -> Columns {
    let column = |f: fn(u64) -> i64| -> ArrayRef {
        Arc::new(patients.iter().map(|p| f(*p)).collect::<Int64Array>())
    };
    vec![
        ("person_id", column(u64::cast_signed)),
        (
            "gender_concept_id",
            column(|p| if mix(p).is_multiple_of(2) { 8507 } else { 8532 }),
        ),
        (
            "year_of_birth",
            column(|p| 1925 + (mix(p ^ 1) % 95).cast_signed()),
        ),
    ]
}

/// From none to twice the mean number of rows a patient; values of 20,000 steps, 1 in 50 missing.
fn measurements(patients: &[u64], mean_rows: u64) -> Columns {
    let rows: Vec<(u64, u64)> = patients
        .iter()
        .flat_map(|p| (0..mix(p ^ 2) % (2 * mean_rows + 1)).map(move |i| (*p, mix((p << 20) | i))))
        .collect();
    let ints = |f: fn(&(u64, u64)) -> i64| -> ArrayRef {
        Arc::new(rows.iter().map(f).collect::<Int64Array>())
    };
    #[allow(clippy::cast_precision_loss)]
    let value =
        |r: &(u64, u64)| (!r.1.is_multiple_of(50)).then(|| (mix(r.1) % 20_000) as f64 / 100.0);
    let day = |r: &(u64, u64)| i32::try_from(16_000 + mix(r.1 ^ 5) % 4000).expect("a day");
    vec![
        ("measurement_id", ints(|r| (r.1 >> 1).cast_signed())),
        ("person_id", ints(|r| r.0.cast_signed())),
        (
            "measurement_concept_id",
            ints(|r| concept(mix(r.1 ^ 3) % CONCEPTS)),
        ),
        (
            "measurement_date",
            Arc::new(rows.iter().map(|r| Some(day(r))).collect::<Date32Array>()),
        ),
        (
            "value_as_number",
            Arc::new(rows.iter().map(value).collect::<Float64Array>()),
        ),
    ]
}

/// SplitMix64's finisher.
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Columns that aren't given are zero where required, else NULL.
fn batch(table: &cdm::Table, schema: &SchemaRef, given: &Columns) -> RecordBatch {
    let rows = given[0].1.len();
    let columns = table
        .columns
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| {
            let found = given.iter().find(|(name, _)| *name == column.name);
            match found {
                Some((_, array)) => Arc::clone(array),
                None if column.required => Arc::new(Int64Array::from(vec![0; rows])) as ArrayRef,
                None => new_null_array(field.data_type(), rows),
            }
        });
    RecordBatch::try_new(Arc::clone(schema), columns.collect()).expect("batch")
}

fn arrow_schema(table: &cdm::Table) -> SchemaRef {
    let data_type = |column_type| match column_type {
        ColumnType::Integer => DataType::Int64,
        ColumnType::Number => DataType::Float64,
        ColumnType::Text => DataType::Utf8,
        ColumnType::Date => DataType::Date32,
        ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
    };
    let fields = table.columns.iter();
    let fields = fields.map(|c| Field::new(c.name, data_type(c.column_type), !c.required));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Files in the order of their patients, a range of patients each.
#[derive(Debug)]
struct Clustered {
    schema: SchemaRef,
    files: Vec<PathBuf>,
    splits: Vec<i64>,
}

impl Clustered {
    fn by_patient(&self) -> Result<LexOrdering> {
        let patient = Column::new_with_schema(cdm::PATIENT, &self.schema)?;
        Ok([PhysicalSortExpr::new_default(Arc::new(patient))].into())
    }
}

#[async_trait]
impl TableProvider for Clustered {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let group = |path: &PathBuf| {
            let bytes = std::fs::metadata(path).expect("file").len();
            FileGroup::new(vec![PartitionedFile::new(
                path.display().to_string(),
                bytes,
            )])
        };
        let splits = self.splits.iter();
        let splits = splits.map(|id| SplitPoint::new(vec![ScalarValue::Int64(Some(*id))]));
        let range = RangePartitioning::try_new(self.by_patient()?, splits.collect())?;
        let source = Arc::new(ParquetSource::new(Arc::clone(&self.schema)));
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), source)
            .with_file_groups(self.files.iter().map(group).collect())
            .with_output_ordering(vec![self.by_patient()?])
            .with_output_partitioning(Some(Partitioning::Range(range)))
            .with_preserve_order(true)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}
