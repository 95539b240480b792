//! The tables as the query engine sees them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use chrono::DateTime;
use datafusion::catalog::{MemTable, SchemaProvider, Session, TableProvider};
use datafusion::common::{Result, ScalarValue, SplitPoint};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::Expr;
use datafusion::object_store::ObjectMeta;
use datafusion::object_store::path::Path as ObjectPath;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, Partitioning, PhysicalSortExpr, RangePartitioning};
use datafusion::physical_plan::ExecutionPlan;
use ward_omop::arrow_schema;
use ward_omop::vocabulary::Package;
use ward_schemas::cdm::{self, Table};

use crate::layout::{Parts, part_path};
use crate::manifest::{Manifest, TableEntry};

/// A snapshot's personal tables and a vocabulary package's public ones.
#[derive(Debug)]
pub(crate) struct Tables(BTreeMap<&'static str, Arc<dyn TableProvider>>);

impl Tables {
    pub(crate) fn new(dir: &Path, manifest: &Manifest, vocabulary: &Package) -> Self {
        let personal = cdm::personal_tables()
            .zip(&manifest.tables)
            .map(|(table, entry)| (table.name, personal(dir, manifest.parts, table, entry)));
        let public = cdm::public_tables().map(|table| (table.name, public(table, vocabulary)));
        Self(personal.chain(public).collect())
    }
}

#[async_trait]
impl SchemaProvider for Tables {
    fn table_names(&self) -> Vec<String> {
        self.0.keys().map(|&name| name.to_owned()).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        Ok(self.0.get(name).cloned())
    }

    fn table_exist(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

fn personal(
    dir: &Path,
    parts: Parts,
    table: &'static Table,
    entry: &TableEntry,
) -> Arc<dyn TableProvider> {
    let files = entry.files.iter().enumerate();
    Arc::new(Personal {
        schema: arrow_schema(table),
        parts,
        files: files
            .map(|(part, file)| (part_path(dir, table.name, part), file.bytes))
            .map(|(path, bytes)| ObjectMeta {
                location: ObjectPath::from_absolute_path(&path)
                    .expect("a store's directory is absolute, and a snapshot's names are ASCII"),
                last_modified: DateTime::UNIX_EPOCH,
                size: bytes,
                e_tag: None,
                version: None,
            })
            .collect(),
    })
}

fn public(table: &'static Table, vocabulary: &Package) -> Arc<dyn TableProvider> {
    let rows = vocabulary.table(table.name).cloned();
    let rows = rows.into_iter().collect();
    let table = MemTable::try_new(arrow_schema(table), vec![rows])
        .expect("a vocabulary package's tables have the model's types");
    Arc::new(table)
}

/// A personal table: one file a partition.
struct Personal {
    schema: SchemaRef,
    parts: Parts,
    files: Vec<ObjectMeta>,
}

impl Personal {
    fn by_patient(&self) -> Result<LexOrdering> {
        let patient = Column::new_with_schema(cdm::PATIENT, &self.schema)?;
        let sort = PhysicalSortExpr::new_default(Arc::new(patient));
        Ok([sort].into())
    }

    /// Declared, so that no file is split or read by another partition, and joins on the patient
    /// run partition by partition.
    fn partitioning(&self) -> Result<Partitioning> {
        let splits = self.parts.splits();
        let splits = splits.map(|id| SplitPoint::new(vec![ScalarValue::Int64(Some(id))]));
        let range = RangePartitioning::try_new(self.by_patient()?, splits.collect())?;
        Ok(Partitioning::Range(range))
    }
}

#[async_trait]
impl TableProvider for Personal {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
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
        let groups = self.files.iter().map(|file| {
            let file = PartitionedFile::new_from_meta(file.clone());
            FileGroup::new(vec![file])
        });
        let source = Arc::new(ParquetSource::new(self.schema.clone()));
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), source)
            .with_file_groups(groups.collect())
            .with_output_ordering(vec![self.by_patient()?])
            .with_output_partitioning(Some(self.partitioning()?))
            .with_preserve_order(true)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

impl fmt::Debug for Personal {
    /// Sizes tell of patients: none are shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Personal(..)")
    }
}
