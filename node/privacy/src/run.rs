//! Running a program: noise is drawn, then the bounded aggregate runs, then they are added.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Date32Type, Float64Type, Int64Type};
use datafusion::catalog::SchemaProvider;
use datafusion::datasource::provider_as_source;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::{LogicalPlan, TableSource};
use datafusion::optimizer::OptimizerRule;
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::physical_plan::execute_stream;
use datafusion::prelude::SessionConfig;
use futures::TryStreamExt as _;
use ward_schemas::decimal::Grid;
use ward_schemas::key::{KeyDomain, KeyValue};
use ward_schemas::parameter::Parameters;
use ward_schemas::partial::{NoiseKind, Vectors};
use ward_schemas::plan::{Noise, TablePlan};
use ward_schemas::rho::Rho;

use crate::bound::{Collected, SelectionKey};
use crate::context::arrow_schema;
use crate::lower;
use crate::measure::{Input, InputKind, Query};
use crate::noise::{NoiseError, NoiseSource};
use crate::program::Program;

/// What to run, on what.
#[derive(Debug)]
pub struct Request<'a> {
    /// The compiled template.
    pub program: &'a Program,
    /// Its parameters, bound.
    pub parameters: &'a Parameters,
    /// The ask's privacy loss, which was charged.
    pub rho: Rho,
    /// The tables of the clinical data model, by name, each served with exactly its columns. Rows
    /// of a personal table carry a `person_id`; public tables are the vocabulary package's.
    pub tables: Arc<dyn SchemaProvider>,
    /// How a patient's groups are chosen where there are more than `max_groups`.
    pub selection_key: &'a SelectionKey,
}

/// The only thing that comes out: noisy integers, and which noise is in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoisyVectors {
    /// The integers, in the plan's layout.
    pub vectors: Vectors,
    /// The noise in them.
    pub noise: NoiseKind,
}

/// Runs a program.
///
/// # Errors
/// None depends on patient data but for the size of the machine: statements were made total when
/// they were compiled. The message never holds data.
pub async fn run(request: Request<'_>, noise: &NoiseSource) -> Result<NoisyVectors, RunError> {
    let plan = request.program.plan();
    let scales = plan.noise(request.rho).map_err(|_| RunError::Rho)?;
    let drawn = draw(&plan.tables, &scales, noise)?;
    let mut answer = Vec::new();
    let queries = plan.tables.iter().zip(request.program.queries());
    for ((table, query), noise) in queries.zip(drawn) {
        let totals = totals(table, query, &request).await?;
        answer.push(add(totals, noise));
    }
    Ok(NoisyVectors {
        vectors: Vectors::new(plan, answer).map_err(|_| RunError::Engine)?,
        noise: noise.kind(),
    })
}

/// Why a run failed. Never says anything of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// The ask's ρ is too small for a noise scale.
    #[error("rho is too small for a noise scale")]
    Rho,
    /// No noise.
    #[error(transparent)]
    Noise(#[from] NoiseError),
    /// A table is missing, or is not served with the model's columns.
    #[error("the table {0} is not served as the clinical data model has it")]
    Table(&'static str),
    /// The engine failed.
    #[error("the query engine failed")]
    Engine,
}

type ByComponent<T> = Vec<Vec<T>>;

/// Draws before any data is read, so that the time an answer takes does not depend on its noise.
fn draw(
    tables: &[TablePlan],
    scales: &[Vec<Noise>],
    noise: &NoiseSource,
) -> Result<Vec<ByComponent<i64>>, RunError> {
    let of_table = |(table, scales): (&TablePlan, &Vec<Noise>)| {
        let draw = |scale: &Noise| noise.draw(scale.sigma, table.cells());
        scales.iter().map(draw).collect::<Result<_, _>>()
    };
    Ok(tables
        .iter()
        .zip(scales)
        .map(of_table)
        .collect::<Result<_, _>>()?)
}

/// Adds in i128 and saturates: saturation is a function of the noisy value, so it costs nothing.
fn add(totals: ByComponent<i128>, noise: ByComponent<i64>) -> ByComponent<i64> {
    let saturate = |x: i128| i64::try_from(x).unwrap_or(if x < 0 { i64::MIN } else { i64::MAX });
    let cells = |(totals, noise): (Vec<i128>, Vec<i64>)| {
        let pairs = totals.into_iter().zip(noise);
        pairs
            .map(|(t, n)| saturate(t.saturating_add(i128::from(n))))
            .collect()
    };
    totals.into_iter().zip(noise).map(cells).collect()
}

async fn totals(
    table: &TablePlan,
    query: &Query,
    request: &Request<'_>,
) -> Result<ByComponent<i128>, RunError> {
    let sources = sources(query, request.tables.as_ref()).await?;
    let rows = lower::rows(query, request.parameters, &sources).map_err(|_| RunError::Engine)?;
    let reader = Reader::new(table, query)?;
    let collected = collect(rows, &reader, query.inputs.len())
        .await
        .map_err(|_| RunError::Engine)?;
    Ok(collected.totals(
        table.contribution,
        &query.tallies,
        table.cells(),
        request.selection_key,
    ))
}

async fn sources(
    query: &Query,
    provider: &dyn SchemaProvider,
) -> Result<HashMap<&'static str, Arc<dyn TableSource>>, RunError> {
    let mut tables = Vec::new();
    lower::tables_of(&query.relation, &mut tables);
    let mut sources = HashMap::new();
    for table in tables {
        let failed = RunError::Table(table.name);
        let served = provider.table(table.name).await.map_err(|_| failed)?;
        let served = served.ok_or(failed)?;
        let (found, expected) = (served.schema(), arrow_schema(table));
        let alike = found.fields().len() == expected.fields().len()
            && found
                .fields()
                .iter()
                .zip(expected.fields())
                .all(|(f, e)| f.name() == e.name() && f.data_type() == e.data_type());
        if !alike {
            return Err(failed);
        }
        sources.insert(table.name, provider_as_source(served));
    }
    Ok(sources)
}

/// Executes the rows under an explicit list of optimizer rules, and collects them by patient and
/// group.
async fn collect(
    rows: LogicalPlan,
    reader: &Reader,
    inputs: usize,
) -> datafusion::common::Result<Collected> {
    let rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> = vec![
        Arc::new(PushDownFilter::new()),
        Arc::new(OptimizeProjections::new()),
    ];
    let state = SessionStateBuilder::new()
        .with_config(SessionConfig::new().with_information_schema(false))
        .with_analyzer_rules(Vec::new())
        .with_optimizer_rules(rules)
        .build();
    let physical = state.create_physical_plan(&rows).await?;
    let mut batches = execute_stream(physical, state.task_ctx())?;
    let mut collected = Collected::new(inputs);
    while let Some(batch) = batches.try_next().await? {
        reader.read(&batch, &mut collected);
    }
    Ok(collected)
}

/// Reads batches of patient, keys and inputs.
struct Reader {
    keys: Vec<KeyIndex>,
    inputs: Vec<InputReader>,
}

impl Reader {
    fn new(table: &TablePlan, query: &Query) -> Result<Self, RunError> {
        let keys = table.keys.iter().map(|k| KeyIndex::new(&k.domain));
        Ok(Self {
            keys: keys.collect::<Option<_>>().ok_or(RunError::Engine)?,
            inputs: query.inputs.iter().map(InputReader::new).collect(),
        })
    }

    fn read(&self, batch: &RecordBatch, collected: &mut Collected) {
        let patients = batch.column(0).as_primitive::<Int64Type>();
        let groups = self.groups(batch);
        let inputs: Vec<Vec<Option<i64>>> = self
            .inputs
            .iter()
            .enumerate()
            .map(|(i, input)| input.read(batch.column(1 + self.keys.len() + i)))
            .collect();
        for row in 0..batch.num_rows() {
            let Some(group) = groups[row].filter(|_| patients.is_valid(row)) else {
                continue;
            };
            let seen = collected.slot(patients.value(row), group);
            for (seen, input) in seen.iter_mut().zip(&inputs) {
                if let Some(value) = input[row] {
                    seen.read(value);
                }
            }
        }
    }

    /// The cell of each row; none where a key is outside its domain.
    fn groups(&self, batch: &RecordBatch) -> Vec<Option<u32>> {
        let mut groups = vec![Some(0_u32); batch.num_rows()];
        for (i, key) in self.keys.iter().enumerate() {
            let indices = key.indices(batch.column(1 + i));
            for (group, index) in groups.iter_mut().zip(indices) {
                *group = group.zip(index).map(|(g, i)| g * key.size + i);
            }
        }
        groups
    }
}

/// Finds a key's value in its domain. Cells are at most 10⁶, so products of sizes fit u32.
struct KeyIndex {
    size: u32,
    positions: Positions,
}

enum Positions {
    Integers(HashMap<i64, u32>),
    Dates(HashMap<i32, u32>),
    Texts(HashMap<String, u32>),
}

impl KeyIndex {
    fn new(domain: &KeyDomain) -> Option<Self> {
        let values = || domain.values().iter().zip(0..);
        let positions = match domain.values().first()? {
            KeyValue::Integer(_) => Positions::Integers(
                values()
                    .map(|(v, i)| match v {
                        KeyValue::Integer(v) => Some((*v, i)),
                        _ => None,
                    })
                    .collect::<Option<_>>()?,
            ),
            KeyValue::Date(_) => Positions::Dates(
                values()
                    .map(|(v, i)| match v {
                        KeyValue::Date(v) => Some((Date32Type::from_naive_date(*v), i)),
                        _ => None,
                    })
                    .collect::<Option<_>>()?,
            ),
            KeyValue::Text(_) => Positions::Texts(
                values()
                    .map(|(v, i)| match v {
                        KeyValue::Text(v) => Some((v.clone(), i)),
                        _ => None,
                    })
                    .collect::<Option<_>>()?,
            ),
        };
        Some(Self {
            size: u32::try_from(domain.len()).ok()?,
            positions,
        })
    }

    fn indices(&self, column: &ArrayRef) -> Vec<Option<u32>> {
        match &self.positions {
            Positions::Integers(at) => {
                let values = column.as_primitive::<Int64Type>().iter();
                values.map(|v| at.get(&v?).copied()).collect()
            }
            Positions::Dates(at) => {
                let values = column.as_primitive::<Date32Type>().iter();
                values.map(|v| at.get(&v?).copied()).collect()
            }
            Positions::Texts(at) => {
                let values = column.as_string::<i32>().iter();
                values.map(|v| at.get(v?).copied()).collect()
            }
        }
    }
}

/// Reads an input's column: the grid integer where the row counts.
enum InputReader {
    Presence,
    Value { grid: Grid, origin: i64 },
}

impl InputReader {
    fn new(input: &Input) -> Self {
        match &input.kind {
            InputKind::Presence(_) => Self::Presence,
            InputKind::Value { grid, origin, .. } => Self::Value {
                grid: *grid,
                origin: *origin,
            },
        }
    }

    fn read(&self, column: &ArrayRef) -> Vec<Option<i64>> {
        match self {
            Self::Presence => {
                let present = column.as_boolean().iter();
                present.map(|p| (p == Some(true)).then_some(0)).collect()
            }
            Self::Value { grid, origin } if *column.data_type() == DataType::Int64 => {
                let values = column.as_primitive::<Int64Type>().iter();
                values
                    .map(|v| Some(grid.integer_of_int(v?) - origin))
                    .collect()
            }
            Self::Value { grid, origin } => {
                let values = column.as_primitive::<Float64Type>().iter();
                values.map(|v| Some(grid.integer(v?)? - origin)).collect()
            }
        }
    }
}
