//! Small hospitals in memory, and noise that is known.

use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Float64Array, Int64Array, RecordBatch, new_null_array};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::catalog::{MemorySchemaProvider, SchemaProvider};
use datafusion::datasource::MemTable;
use tokio::runtime::Runtime;
use ward_privacy::{
    Execution, FrozenNoise, NoiseSource, Program, Refusal, Request, Rewrite, SelectionKey, rewrite,
    run,
};
use ward_schemas::canonical::ContentHash;
use ward_schemas::cdm::{self, ColumnType};
use ward_schemas::key::NoVocabulary;
use ward_schemas::parameter::{Parameters, RawParameters};
use ward_schemas::partial::{self, Vectors};
use ward_schemas::plan::TablePlan;
use ward_schemas::release::{self, ReleaseTable};
use ward_schemas::rho::{Rho, Sigma};
use ward_schemas::template::Template;

/// Always zero: shows the bounded sums themselves.
#[derive(Debug)]
pub(crate) struct NoNoise;

impl FrozenNoise for NoNoise {
    fn draw(&self, _sigma: Sigma, length: usize) -> Vec<i64> {
        vec![0; length]
    }
}

/// Compiles a template text.
pub(crate) fn compile(text: &str) -> Result<(Template, Program), Refusal> {
    let template = Template::parse(text).expect("template");
    let vocabulary = ContentHash::of_bytes(b"none");
    let expanded = template
        .clone()
        .expand(vocabulary, &NoVocabulary)
        .expect("keys");
    Program::compile(&expanded).map(|program| (template, program))
}

/// A template of one table around a statement.
pub(crate) fn template(sql: &str, declarations: &str) -> String {
    format!(
        r#"
id = "t"
version = "1.0.0"
title = "t"
question = "t?"
purposes = ["scientific-research"]
categories = ["ehr"]
[parameters.since]
type = "date"
minimum = 2000-01-01
maximum = 2030-12-31
default = 2020-01-01
[parameters.concept]
type = "concept"
default = 10
[parameters.above]
type = "number"
minimum = "0"
maximum = "100"
default = "7.5"
[parameters.all]
type = "boolean"
default = false
[[tables]]
name = "t"
sql = """{sql}"""
rho = "0.005"
{declarations}
"#
    )
}

/// A measurement: person, concept, day, value.
pub(crate) type Measurement = (i64, i64, i32, Option<f64>);

/// A hospital: persons (id, gender, year of birth), measurements, and concept ancestors.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hospital {
    pub(crate) persons: Vec<(i64, i64, i64)>,
    pub(crate) measurements: Vec<Measurement>,
    pub(crate) ancestors: Vec<(i64, i64)>,
}

impl Hospital {
    /// The hospital without one patient.
    pub(crate) fn without(&self, patient: i64) -> Self {
        let mut less = self.clone();
        less.persons.retain(|p| p.0 != patient);
        less.measurements.retain(|m| m.0 != patient);
        less
    }

    /// The tables, split into batches and partitions of the given sizes.
    pub(crate) fn tables(&self, batch: usize, partitions: usize) -> Arc<dyn SchemaProvider> {
        self.shuffled(batch, partitions, 0)
    }

    /// The tables with their rows in another order, which a seed draws; 0 leaves it.
    pub(crate) fn shuffled(
        &self,
        batch: usize,
        partitions: usize,
        seed: u64,
    ) -> Arc<dyn SchemaProvider> {
        let provider = MemorySchemaProvider::new();
        for table in cdm::tables() {
            let rows = match table.name {
                "person" => self.person(),
                "measurement" => self.measurement(),
                "concept_ancestor" => self.concept_ancestor(),
                _ => Vec::new(),
            };
            let batch_of = shuffle(&build(table, &rows), seed);
            let mut parts = vec![Vec::new(); partitions];
            let mut at = 0;
            while at < batch_of.num_rows() {
                let length = batch.min(batch_of.num_rows() - at);
                parts[(at / batch) % partitions].push(batch_of.slice(at, length));
                at += length;
            }
            let table_provider = MemTable::try_new(batch_of.schema(), parts).expect("table");
            provider
                .register_table(table.name.to_owned(), Arc::new(table_provider))
                .expect("registered");
        }
        Arc::new(provider)
    }

    fn person(&self) -> Vec<(&'static str, ArrayRef)> {
        let ints = |f: fn(&(i64, i64, i64)) -> i64| -> ArrayRef {
            Arc::new(self.persons.iter().map(f).collect::<Int64Array>())
        };
        vec![
            ("person_id", ints(|p| p.0)),
            ("gender_concept_id", ints(|p| p.1)),
            ("year_of_birth", ints(|p| p.2)),
        ]
    }

    fn measurement(&self) -> Vec<(&'static str, ArrayRef)> {
        let rows = &self.measurements;
        let ids = Arc::new((0_i64..).take(rows.len()).collect::<Int64Array>());
        vec![
            ("measurement_id", ids),
            (
                "person_id",
                Arc::new(rows.iter().map(|m| m.0).collect::<Int64Array>()),
            ),
            (
                "measurement_concept_id",
                Arc::new(rows.iter().map(|m| m.1).collect::<Int64Array>()),
            ),
            (
                "measurement_date",
                Arc::new(rows.iter().map(|m| Some(m.2)).collect::<Date32Array>()),
            ),
            (
                "value_as_number",
                Arc::new(rows.iter().map(|m| m.3).collect::<Float64Array>()),
            ),
        ]
    }

    fn concept_ancestor(&self) -> Vec<(&'static str, ArrayRef)> {
        let rows = &self.ancestors;
        vec![
            (
                "ancestor_concept_id",
                Arc::new(rows.iter().map(|a| a.0).collect::<Int64Array>()),
            ),
            (
                "descendant_concept_id",
                Arc::new(rows.iter().map(|a| a.1).collect::<Int64Array>()),
            ),
        ]
    }
}

fn shuffle(batch: &RecordBatch, seed: u64) -> RecordBatch {
    let mut rows: Vec<u64> = (0..batch.num_rows() as u64).collect();
    let place = |row: &u64| (row + 1).wrapping_mul(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    rows.sort_by_key(place);
    let rows = arrow::array::UInt64Array::from(rows);
    arrow::compute::take_record_batch(batch, &rows).expect("rows")
}

/// A batch of a table's columns; those not given are zero where required, else NULL.
fn build(table: &cdm::Table, given: &[(&'static str, ArrayRef)]) -> RecordBatch {
    let rows = given.first().map_or(0, |(_, a)| a.len());
    let columns: Vec<(Field, ArrayRef)> = table
        .columns
        .iter()
        .map(|c| {
            let field = Field::new(c.name, arrow_type(c.column_type), !c.required);
            let given = given.iter().find(|(name, _)| *name == c.name);
            let array = match given {
                Some((_, array)) => Arc::clone(array),
                None if !c.required => new_null_array(field.data_type(), rows),
                None => zeros(field.data_type(), rows),
            };
            (field, array)
        })
        .collect();
    let (fields, arrays): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("batch")
}

fn zeros(data_type: &DataType, rows: usize) -> ArrayRef {
    match data_type {
        DataType::Int64 => Arc::new(Int64Array::from(vec![0; rows])),
        DataType::Date32 => Arc::new(Date32Array::from(vec![0; rows])),
        DataType::Utf8 => Arc::new(arrow::array::StringArray::from(vec![""; rows])),
        other => panic!("no required column is {other}"),
    }
}

fn arrow_type(column_type: ColumnType) -> DataType {
    match column_type {
        ColumnType::Integer => DataType::Int64,
        ColumnType::Number => DataType::Float64,
        ColumnType::Text => DataType::Utf8,
        ColumnType::Date => DataType::Date32,
        ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
    }
}

/// Runs a template text on a hospital without noise.
pub(crate) fn answer(text: &str, tables: Arc<dyn SchemaProvider>) -> Vectors {
    answer_with(text, tables, &NoiseSource::frozen(Box::new(NoNoise)))
}

/// The same, after a look whether the relational execution agrees.
pub(crate) fn answer_by_both(text: &str, tables: Arc<dyn SchemaProvider>) -> Vectors {
    let exact = NoiseSource::frozen(Box::new(NoNoise));
    let asked = Asked::compile(text);
    let streaming = asked.answer(Execution::Streaming, 3, Arc::clone(&tables), &exact);
    let relational = asked.answer(Execution::Relational, 3, tables, &exact);
    assert_eq!(streaming, relational, "{text}");
    streaming
}

/// Runs a template text on a hospital with the given noise.
pub(crate) fn answer_with(
    text: &str,
    tables: Arc<dyn SchemaProvider>,
    noise: &NoiseSource,
) -> Vectors {
    Asked::compile(text).answer(Execution::Streaming, 3, tables, noise)
}

/// A compiled template with its defaults.
pub(crate) struct Asked {
    program: Program,
    parameters: Parameters,
}

impl Asked {
    /// An accepted template text.
    pub(crate) fn compile(text: &str) -> Self {
        let (template, program) = compile(text).unwrap_or_else(|e| panic!("{text}\n{e}"));
        let parameters = template.bind(&RawParameters::new()).expect("parameters");
        Self {
            program,
            parameters,
        }
    }

    /// The plan of the first table.
    pub(crate) fn table(&self) -> &TablePlan {
        &self.program.plan().tables[0]
    }

    /// The table of the release, its intervals by the noise of this many times the declared rho.
    pub(crate) fn release(&self, vectors: Vectors, times: u64) -> ReleaseTable {
        let plan = self.program.plan();
        let rho = Rho::from_units(plan.rho().units() * times).expect("rho");
        let noise = plan.noise(rho).expect("noise");
        let merged = partial::merge(plan, &noise, &[vectors]);
        release::tables(plan, &noise, &merged).remove(0)
    }

    /// The answer by an execution, whose selection key has this byte throughout.
    pub(crate) fn answer(
        &self,
        execution: Execution,
        key: u8,
        tables: Arc<dyn SchemaProvider>,
        noise: &NoiseSource,
    ) -> Vectors {
        let key = SelectionKey::from_bytes([key; 16]);
        let request = self.request(execution, &key, tables);
        let answer = runtime().block_on(run(request, noise));
        answer.expect("answer").vectors
    }

    /// The first table's rewrite.
    pub(crate) fn rewrite(&self, key: u8, tables: Arc<dyn SchemaProvider>) -> Rewrite {
        let key = SelectionKey::from_bytes([key; 16]);
        let request = self.request(Execution::Relational, &key, tables);
        let rewrites = runtime().block_on(rewrite(&request));
        rewrites.expect("rewrites").remove(0)
    }

    fn request<'a>(
        &'a self,
        execution: Execution,
        selection_key: &'a SelectionKey,
        tables: Arc<dyn SchemaProvider>,
    ) -> Request<'a> {
        Request {
            program: &self.program,
            parameters: &self.parameters,
            rho: self.program.plan().rho(),
            tables,
            selection_key,
            execution,
        }
    }
}

/// A runtime of this thread.
pub(crate) fn runtime() -> Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("runtime")
}
