//! Running a program: noise is drawn, then the bounded aggregate runs, then they are added.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Decimal128Type, Int64Type, Schema};
use datafusion::catalog::SchemaProvider;
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::{DataFusionError, internal_err};
use datafusion::datasource::provider_as_source;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::{LogicalPlan, TableSource};
use datafusion::optimizer::OptimizerRule;
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties as _};
use datafusion::physical_planner::DefaultPhysicalPlanner;
use datafusion::prelude::SessionConfig;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use ward_schemas::data_key::DataKey;
use ward_schemas::parameter::Parameters;
use ward_schemas::partial::{NoiseKind, Vectors};
use ward_schemas::plan::{Component, Noise, TablePlan};
use ward_schemas::rho::Rho;

use crate::bound::SelectionKey;
use crate::by_value;
use crate::clustered::BoundedExec;
use crate::lower;
use crate::measure::{Query, Source};
use crate::noise::{NoiseError, NoiseSource};
use crate::program::Program;
use crate::rewrite::Rewrite;
use crate::show;

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
    /// How the bounded sums are computed. What comes out is the same.
    pub execution: Execution,
}

/// How bounded sums are computed: two executions of one meaning, equal bit for bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Execution {
    /// One pass over rows in the order of their patients; memory doesn't grow with the number of
    /// patients. Nothing is moved or sorted where the tables declare that order, as snapshots do;
    /// else DataFusion sorts, which can spill.
    #[default]
    Streaming,
    /// By ordinary operators: grouping by patient and cell, and a window over each patient's cells.
    /// Memory grows with the number of patients.
    Relational,
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
/// None depends on patient data but for the size of the machine, and for 2 GiB of text in one
/// partition: statements were made total when they were compiled. The message never holds data.
pub async fn run(request: Request<'_>, noise: &NoiseSource) -> Result<NoisyVectors, RunError> {
    let plan = request.program.plan();
    let scales = plan.noise(request.rho).map_err(|_| RunError::Rho)?;
    let drawn = draw(&plan.tables, &scales, noise)?;
    let mut answer = Vec::new();
    let mut all_shown = Vec::new();
    let queries = plan.tables.iter().zip(request.program.queries());
    for ((table, query), (drawn, scales)) in queries.zip(drawn.into_iter().zip(&scales)) {
        let (components, shown) = match drawn {
            Drawn::Cells(noise) => (add(totals(table, query, &request).await?, noise), None),
            Drawn::Values(drawn) => {
                let totals = values(table, query, &request).await?;
                let shown = show::show(table, &query.sources, scales, drawn, totals, noise)?;
                (shown.0, Some(shown.1))
            }
        };
        answer.push(components);
        all_shown.push(shown);
    }
    Ok(NoisyVectors {
        vectors: Vectors::with_shown(plan, answer, all_shown).map_err(|_| RunError::Engine)?,
        noise: noise.kind(),
    })
}

/// What [`Execution::Relational`] runs, by table: plans of ordinary operators that another engine can
/// run, too. No data is read, and nothing is drawn.
///
/// # Errors
/// When a table is missing, or is not served with the model's columns.
pub async fn rewrite(request: &Request<'_>) -> Result<Vec<Rewrite>, RunError> {
    let mut rewrites = Vec::new();
    let tables = &request.program.plan().tables;
    for (table, query) in tables.iter().zip(request.program.queries()) {
        let rows = rows(query, request).await?;
        let rewrite = Rewrite::new(rows, table, query, request.selection_key);
        rewrites.push(rewrite.map_err(|_| RunError::Engine)?);
    }
    Ok(rewrites)
}

/// Why a run failed. Never says anything of data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// The ask's ρ is too small for a noise scale.
    #[error("rho is too small for a noise scale")]
    Rho,
    /// No noise.
    #[error(transparent)]
    Noise(#[from] NoiseError),
    /// A table is missing, or is not served with the model's columns.
    #[error("the table {0} is not served as the model has it")]
    Table(String),
    /// A rewrite without SQL text.
    #[error(
        "SQL has no join for EXISTS and IN below OR; run the rewrite's plan, or write UNION ALL of both cases"
    )]
    Text,
    /// A key that comes from data without a δ.
    #[error("a key that comes from data needs a delta above zero")]
    Threshold,
    /// The engine failed.
    #[error("the query engine failed")]
    Engine,
}

type ByComponent<T> = Vec<Vec<T>>;

/// The noise of one table.
enum Drawn {
    /// For each integer.
    Cells(ByComponent<i64>),
    /// For as many values of the key that comes from data as may be shown.
    Values(show::Drawn),
}

/// Draws before any data is read, so that the time an answer takes does not depend on its noise.
fn draw(
    tables: &[TablePlan],
    scales: &[Vec<Noise>],
    noise: &NoiseSource,
) -> Result<Vec<Drawn>, RunError> {
    let of_table = |(table, scales): (&TablePlan, &Vec<Noise>)| {
        if let Some(key) = &table.data_key {
            return show::draw(table, key, scales, noise).map(Drawn::Values);
        }
        let draw = |(component, scale): (&Component, &Noise)| {
            noise.draw(scale.sigma, table.cells() * component.width())
        };
        let components = table.components.iter().zip(scales);
        let drawn = components.map(draw).collect::<Result<_, _>>();
        drawn.map(Drawn::Cells)
    };
    Ok(tables
        .iter()
        .zip(scales)
        .map(of_table)
        .collect::<Result<_, _>>()?)
}

/// Adds in i128 and saturates: saturation is a function of the noisy value, so it costs nothing.
fn add(totals: ByComponent<i128>, noise: ByComponent<i64>) -> ByComponent<i64> {
    let cells = |(totals, noise): (Vec<i128>, Vec<i64>)| {
        let pairs = totals.into_iter().zip(noise);
        pairs
            .map(|(t, n)| saturate(t.saturating_add(i128::from(n))))
            .collect()
    };
    totals.into_iter().zip(noise).map(cells).collect()
}

pub(crate) fn saturate(x: i128) -> i64 {
    i64::try_from(x).unwrap_or(if x < 0 { i64::MIN } else { i64::MAX })
}

async fn totals(
    table: &TablePlan,
    query: &Query,
    request: &Request<'_>,
) -> Result<ByComponent<i128>, RunError> {
    let rows = rows(query, request).await?;
    let key = request.selection_key;
    let totals = match request.execution {
        Execution::Streaming => streaming(rows, table, query, key).await,
        Execution::Relational => relational(rows, table, query, key).await,
    };
    let totals = totals.map_err(|_| RunError::Engine)?;
    Ok(query
        .sources
        .iter()
        .map(|source| source.of(&totals, query))
        .collect())
}

impl Source {
    /// The component's integers: the tally's own, or a level of the tree over them.
    fn of(&self, totals: &[Vec<i128>], query: &Query) -> Vec<i128> {
        let cells = totals[self.tally].chunks(query.tallies[self.tally].width());
        let nodes = cells.flat_map(|cell| cell.chunks(self.span.max(1)));
        nodes.map(|node| node.iter().sum()).collect()
    }
}

/// Zeros in the shape of the tallies.
fn zeros(table: &TablePlan, query: &Query) -> Vec<Vec<i128>> {
    let tallies = query.tallies.iter();
    tallies
        .map(|t| vec![0; table.cells() * t.width()])
        .collect()
}

/// The bounded sums of each value of the key that comes from data.
async fn values(
    table: &TablePlan,
    query: &Query,
    request: &Request<'_>,
) -> Result<show::Totals, RunError> {
    let rows = rows(query, request).await?;
    let data_key = table.data_key.as_ref().ok_or(RunError::Engine)?;
    let (state, key) = (session(), request.selection_key);
    let plan = match request.execution {
        Execution::Streaming => bounded(rows, table, query, key, &state).await,
        Execution::Relational => rewritten(rows, table, query, key, &state).await,
    };
    let plan = plan.map_err(|_| RunError::Engine)?;
    let totals = read_values(plan, &state, data_key).await;
    totals.map_err(|_| RunError::Engine)
}

async fn rows(query: &Query, request: &Request<'_>) -> Result<LogicalPlan, RunError> {
    let sources = sources(query, request.tables.as_ref()).await?;
    lower::rows(query, request.parameters, &sources).map_err(|_| RunError::Engine)
}

async fn sources(
    query: &Query,
    provider: &dyn SchemaProvider,
) -> Result<HashMap<String, Arc<dyn TableSource>>, RunError> {
    let mut tables = Vec::new();
    lower::tables_of(&query.relation, &mut tables);
    let mut sources = HashMap::new();
    for table in tables {
        let failed = || RunError::Table(table.name.clone());
        let served = provider.table(&table.name).await.map_err(|_| failed())?;
        let served = served.ok_or_else(failed)?;
        if !alike(&served.schema(), &table.served) {
            return Err(failed());
        }
        sources.insert(table.name.clone(), provider_as_source(served));
    }
    Ok(sources)
}

fn alike(found: &Schema, expected: &Schema) -> bool {
    let pairs = found.fields().iter().zip(expected.fields());
    found.fields().len() == expected.fields().len()
        && pairs
            .into_iter()
            .all(|(f, e)| f.name() == e.name() && f.data_type() == e.data_type())
}

async fn streaming(
    rows: LogicalPlan,
    table: &TablePlan,
    query: &Query,
    key: &SelectionKey,
) -> Result<ByComponent<i128>, DataFusionError> {
    let state = session();
    let plan = bounded(rows, table, query, key, &state).await?;
    let mut totals = zeros(table, query);
    execute(plan, &state, |batch| add_partition(&mut totals, batch)).await?;
    Ok(totals)
}

async fn read_values(
    plan: Arc<dyn ExecutionPlan>,
    state: &SessionState,
    data_key: &DataKey,
) -> Result<show::Totals, DataFusionError> {
    let mut totals = show::Totals::new();
    let mut all_read = true;
    execute(plan, state, |batch| {
        let groups = by_value::groups(data_key.from_data, batch);
        all_read &= groups.is_some();
        for (value, cell, sums) in groups.into_iter().flatten() {
            let cells = totals.entry(value).or_default();
            cells.entry(cell).or_default().add(&sums);
        }
    })
    .await?;
    if all_read {
        Ok(totals)
    } else {
        internal_err!("a group that no partition writes")
    }
}

async fn bounded(
    rows: LogicalPlan,
    table: &TablePlan,
    query: &Query,
    key: &SelectionKey,
    state: &SessionState,
) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
    let rows = state.create_physical_plan(&rows).await?;
    let bounded = Arc::new(BoundedExec::new(rows, table, query, key)?);
    DefaultPhysicalPlanner::default().optimize_physical_plan(bounded, state, |_, _| {})
}

async fn relational(
    rows: LogicalPlan,
    table: &TablePlan,
    query: &Query,
    key: &SelectionKey,
) -> Result<ByComponent<i128>, DataFusionError> {
    let state = session();
    let plan = rewritten(rows, table, query, key, &state).await?;
    let mut totals = zeros(table, query);
    execute(plan, &state, |batch| {
        add_cells(&mut totals, query, batch);
    })
    .await?;
    Ok(totals)
}

async fn rewritten(
    rows: LogicalPlan,
    table: &TablePlan,
    query: &Query,
    key: &SelectionKey,
    state: &SessionState,
) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
    let rewrite = Rewrite::new(rows, table, query, key)?;
    state.create_physical_plan(rewrite.plan()).await
}

/// Reads all that a plan gives.
async fn execute(
    plan: Arc<dyn ExecutionPlan>,
    state: &SessionState,
    mut read: impl FnMut(&RecordBatch),
) -> Result<(), DataFusionError> {
    let partitions = plan.output_partitioning().partition_count();
    // As many at once as the session has partitions: an exchange needs all of its outputs read.
    let at_once = state.config().target_partitions();
    let run = |partition| {
        let stream = plan.execute(partition, state.task_ctx());
        SpawnedTask::spawn(async move { stream?.try_collect::<Vec<_>>().await })
    };
    let mut results = stream::iter((0..partitions).map(run)).buffer_unordered(at_once);
    while let Some(batches) = results.next().await {
        let joined = batches.map_err(|e| DataFusionError::External(Box::new(e)))?;
        joined?.iter().for_each(&mut read);
    }
    Ok(())
}

/// The explicit list of optimizer rules under which plans run.
fn session() -> SessionState {
    let rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> = vec![
        Arc::new(PushDownFilter::new()),
        Arc::new(OptimizeProjections::new()),
    ];
    let mut config = SessionConfig::new().with_information_schema(false);
    // A join that passes its keys on waits for all of its partitions, of which only some run at a
    // time; and what is read would depend on data.
    let optimizer = &mut config.options_mut().optimizer;
    optimizer.enable_dynamic_filter_pushdown = false;
    optimizer.enable_join_dynamic_filter_pushdown = false;
    optimizer.enable_topk_dynamic_filter_pushdown = false;
    optimizer.enable_aggregate_dynamic_filter_pushdown = false;
    SessionStateBuilder::new()
        .with_config(config)
        .with_analyzer_rules(Vec::new())
        .with_optimizer_rules(rules)
        .build()
}

fn add_partition(totals: &mut ByComponent<i128>, batch: &RecordBatch) {
    let column = batch.column(0).as_primitive::<Decimal128Type>();
    for (total, value) in totals.iter_mut().flatten().zip(column.values()) {
        *total += value;
    }
}

/// A batch of some cells' sums: see [`Rewrite`].
fn add_cells(totals: &mut ByComponent<i128>, query: &Query, batch: &RecordBatch) {
    let of = |column: usize| {
        batch
            .column(column)
            .as_primitive::<Int64Type>()
            .values()
            .iter()
    };
    let columns = batch.columns()[2..].iter().zip(&query.tallies);
    for (totals, (column, tally)) in totals.iter_mut().zip(columns) {
        let column = column.as_primitive::<Decimal128Type>();
        for ((cell, point), value) in of(0).zip(of(1)).zip(column.values()) {
            let place = usize::try_from(*cell)
                .ok()
                .zip(usize::try_from(*point).ok());
            let place = place.filter(|(_, point)| *point < tally.width());
            let total =
                place.and_then(|(cell, point)| totals.get_mut(cell * tally.width() + point));
            total.into_iter().for_each(|total| *total += value);
        }
    }
}
