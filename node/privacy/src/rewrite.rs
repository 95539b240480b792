//! The relational execution: bounds patients by ordinary operators (projection, filter, grouping, one
//! window), which any engine has, and a few supplied functions ([`crate::supplied`]).
//!
//! ```sql
//! SELECT cell, SUM(t) AS t FROM (                                      -- add up
//!   SELECT cell, ward_part(m, s) AS t FROM (                           -- keep
//!     SELECT *, ROW_NUMBER() OVER (PARTITION BY patient ORDER BY rank, cell) AS place FROM (
//!       SELECT patient, cell, ward_rank(patient, cell) AS rank, COUNT(v) AS m, SUM(v) AS s FROM (  -- group
//!         SELECT patient, ward_cell(key) AS cell, ward_steps(value) AS v FROM rows)                -- read
//!       WHERE cell IS NOT NULL GROUP BY patient, cell))
//!   WHERE place <= max_groups)
//! GROUP BY cell
//! ```

mod by_value;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode as _, TreeNodeRecursion};
use datafusion::common::{DFSchema, JoinType, Result, ScalarValue, internal_err, plan_err};
use datafusion::functions_aggregate::expr_fn::{count, sum};
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{
    Expr, ExprFunctionExt as _, ExprSchemable as _, Join, LogicalPlan, LogicalPlanBuilder,
    ScalarUDF, WindowFrame, WindowFrameBound, WindowFrameUnits, cast, ident, lit, when,
};
use datafusion::sql::unparser::plan_to_sql;
use ward_schemas::plan::TablePlan;

use crate::bound::SelectionKey;
use crate::lanes::Cells;
use crate::measure::{Input, InputKind, Query, Tally, TallyKind};
use crate::run::RunError;
use crate::supplied;

/// The bounded sums of one table as a relational plan: what [`Execution::Relational`] runs, for
/// engines other than this process.
///
/// Its result has a row for each cell in which somebody has rows: the cell's index (`Int64`), 0 (`Int64`),
/// then for each component in the order of the plan what all patients add to it (`Decimal(38, 0)`); a
/// cell without a row has zeros. The levels of a quantile's tree have one column together, which is 0
/// there; for each cell and point of the grid at which somebody has rows there is one row more, with the
/// point's index in the second column and the count in that one: a node of the tree is a sum of
/// such counts. Where a key comes from data, there is instead a row for each group: its name (`Binary`: the
/// value, then four bytes of the cell's index), how many patients count for the value in it, and the
/// components. **These sums are exact.** Whoever sees them sees the patients' data:
/// noise of [`ward_schemas::plan::Plan::noise`] must be added before they go anywhere.
///
/// [`Execution::Relational`]: crate::Execution::Relational
#[derive(Clone, Debug)]
pub struct Rewrite {
    plan: LogicalPlan,
    functions: Vec<Arc<ScalarUDF>>,
}

impl Rewrite {
    /// The rewrite over these rows (of [`crate::lower::rows`]).
    pub(crate) fn new(
        rows: LogicalPlan,
        table: &TablePlan,
        query: &Query,
        key: &SelectionKey,
    ) -> Result<Self> {
        let rewriting = Rewriting { table, query };
        let plan = match &table.data_key {
            None => rewriting.by_cell(rows, key)?,
            Some(data_key) => rewriting.by_value(rows, data_key.from_data, key)?,
        };
        let functions = functions_of(&plan)?;
        Ok(Self { plan, functions })
    }

    /// The plan, over the tables of the request.
    pub fn plan(&self) -> &LogicalPlan {
        &self.plan
    }

    /// The scalar functions that it calls, pure and total: of each name one. `ward_rank` holds the
    /// selection key.
    pub fn functions(&self) -> &[Arc<ScalarUDF>] {
        &self.functions
    }

    /// The plan as SQL text over the tables' names, for an engine in which
    /// [`Rewrite::functions`] are defined.
    ///
    /// # Errors
    /// When the statement has no such text: `EXISTS` and `IN` below `OR`.
    pub fn sql(&self) -> std::result::Result<String, RunError> {
        let plan = self.plan.clone().transform_up(joined_as_text);
        let text = plan.and_then(|plan| plan_to_sql(&plan.data));
        text.map(|t| t.to_string()).map_err(|_| RunError::Text)
    }
}

/// A join as the writer of SQL text takes it: each side is a subquery (else their filters move out of
/// them), and semi and anti joins are of the first side's rows. SQL has no join that marks rows.
fn joined_as_text(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Join(join) = plan else {
        return Ok(Transformed::no(plan));
    };
    let (left, right) = (subquery(&join.left)?, subquery(&join.right)?);
    let swapped = join.on.iter().cloned().map(|(l, r)| (r, l));
    let (left, right, on, join_type) = match join.join_type {
        JoinType::RightSemi => (right, left, swapped.collect(), JoinType::LeftSemi),
        JoinType::RightAnti => (right, left, swapped.collect(), JoinType::LeftAnti),
        JoinType::LeftMark | JoinType::RightMark => return plan_err!("a join that marks rows"),
        other => (left, right, join.on, other),
    };
    let join = Join {
        left,
        right,
        on,
        join_type,
        ..join
    };
    Ok(Transformed::yes(LogicalPlan::Join(join)))
}

fn subquery(plan: &LogicalPlan) -> Result<Arc<LogicalPlan>> {
    let columns = plan.schema().columns().into_iter().map(Expr::Column);
    let plan = LogicalPlanBuilder::from(plan.clone()).project(columns)?;
    plan.build().map(Arc::new)
}

const PATIENT: &str = "patient";
const CELL: &str = "cell";
const PATIENTS: &str = "patients";
const RANK: &str = "group_rank";
const PLACE: &str = "place";
const POINT: &str = "point";
/// Rows of a patient at a value; those up to there; all of them.
const ROWS: &str = "value_rows";
const BEHIND: &str = "rows_up_to";
const ALL: &str = "rows_of_patient";

/// The column of what an input reads from a row: NULL where the row doesn't count.
fn value(input: usize) -> String {
    format!("v{input}")
}

/// The column of how many rows count.
fn counted(input: usize) -> String {
    format!("m{input}")
}

/// The column of their sum.
fn summed(input: usize) -> String {
    format!("s{input}")
}

/// The column of a tally.
fn total(tally: usize) -> String {
    format!("t{tally}")
}

fn functions_of(plan: &LogicalPlan) -> Result<Vec<Arc<ScalarUDF>>> {
    let mut found: BTreeMap<String, Arc<ScalarUDF>> = BTreeMap::new();
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|root| {
            root.apply(|expr| {
                if let Expr::ScalarFunction(call) = expr {
                    found.insert(call.name().to_owned(), Arc::clone(&call.func));
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(found.into_values().collect())
}

struct Rewriting<'a> {
    table: &'a TablePlan,
    query: &'a Query,
}

impl Rewriting<'_> {
    fn by_cell(&self, rows: LogicalPlan, key: &SelectionKey) -> Result<LogicalPlan> {
        let read = self.read(rows)?;
        let grouped = self.group(read.clone(), &supplied::rank(key.clone()))?;
        let kept = self.keep(grouped)?;
        let mut sums = self.add_up(kept.clone(), None)?;
        for (j, tally) in self.query.tallies.iter().enumerate() {
            if matches!(tally.kind, TallyKind::Bins { .. }) {
                let counts = self.count_by_value(j, tally, &read, &kept)?;
                sums = sums.union(counts.build()?)?;
            }
        }
        sums.build()
    }

    /// Keys become cells and values become steps; rows outside the domain are dropped.
    fn read(&self, rows: LogicalPlan) -> Result<LogicalPlanBuilder> {
        let schema = Arc::clone(rows.schema());
        let columns: Vec<_> = schema.columns().into_iter().map(Expr::Column).collect();
        let (keys, read) = columns[1..].split_at(self.query.keys.len());
        let mut projected = vec![
            columns[0].clone().alias(PATIENT),
            self.cell(keys, &schema)?.alias(CELL),
        ];
        let mut read = read.iter();
        for (i, input) in self.query.inputs.iter().enumerate() {
            if !input.is_every_row() {
                let Some(column) = read.next() else {
                    return internal_err!("an input without a column");
                };
                projected.push(self.steps(i, input, column, &schema)?.alias(value(i)));
            }
        }
        projected.extend(
            read.next()
                .map(|value| value.clone().alias(by_value::VALUE)),
        );
        LogicalPlanBuilder::from(rows)
            .project(projected)?
            .alias("read_rows")?
            .filter(ident(CELL).is_not_null())
    }

    fn cell(&self, keys: &[Expr], schema: &DFSchema) -> Result<Expr> {
        if keys.is_empty() {
            return Ok(lit(0_i64));
        }
        let Some(cells) = Cells::new(self.table) else {
            return internal_err!("a key domain of mixed types");
        };
        let types = keys.iter().map(|k| k.get_type(schema));
        let cell = supplied::cell(cells, types.collect::<Result<_>>()?);
        Ok(cell.call(keys.to_vec()))
    }

    /// What an input reads from a row: steps of its grid, or 1 for presence; NULL where the row
    /// doesn't count.
    fn steps(&self, index: usize, input: &Input, column: &Expr, schema: &DFSchema) -> Result<Expr> {
        match &input.kind {
            InputKind::Presence(_) => when(column.clone(), lit(1_i64)).end(),
            InputKind::Square { grid, .. } => {
                let squares = supplied::squares(index, column.get_type(schema)?, *grid);
                Ok(squares.call(vec![column.clone()]))
            }
            InputKind::Value { grid, origin, .. } => {
                let steps = supplied::steps(index, column.get_type(schema)?, *grid, *origin);
                Ok(steps.call(vec![column.clone()]))
            }
        }
    }

    /// Each patient's rows in each cell: how many count, and their sum; and where the cell stands in
    /// the patient's secret order.
    fn group(&self, rows: LogicalPlanBuilder, rank: &ScalarUDF) -> Result<LogicalPlanBuilder> {
        let mut aggregates = Vec::new();
        for (i, input) in self.query.inputs.iter().enumerate() {
            let read = if input.is_every_row() {
                lit(1_i64)
            } else {
                ident(value(i))
            };
            aggregates.push(count(read.clone()).alias(counted(i)));
            if self.is_summed(i) {
                aggregates.push(sum(read).alias(summed(i)));
            }
        }
        let groups = rows.aggregate([ident(PATIENT), ident(CELL)], aggregates)?;
        let rank = rank.call(vec![ident(PATIENT), ident(CELL)]);
        let columns = groups.schema().columns().into_iter().map(Expr::Column);
        let ranked: Vec<_> = columns.chain([rank.alias(RANK)]).collect();
        groups.project(ranked)?.alias("patient_groups")
    }

    fn is_summed(&self, input: usize) -> bool {
        let sums = |t: &Tally| t.input == input && t.kind == TallyKind::Sum;
        self.query.tallies.iter().any(sums)
    }

    /// Of each patient's cells the first `max_groups` in that order.
    fn keep(&self, groups: LogicalPlanBuilder) -> Result<LogicalPlanBuilder> {
        let place = row_number()
            .partition_by(vec![ident(PATIENT)])
            .order_by([RANK, CELL].map(|c| ident(c).sort(true, false)).to_vec())
            .build()?;
        let placed = groups.window([place.alias(PLACE)])?;
        let columns: Vec<_> = placed.schema().columns();
        let most = u64::from(self.table.contribution.max_groups);
        placed
            .project(columns.into_iter().map(Expr::Column))?
            .alias("placed_groups")?
            .filter(ident(PLACE).lt_eq(lit(most)))
    }

    /// What each patient adds to their cells, and the sums.
    fn add_up(
        &self,
        groups: LogicalPlanBuilder,
        patients: Option<Expr>,
    ) -> Result<LogicalPlanBuilder> {
        let mut parts = vec![ident(CELL)];
        let mut sums = Vec::new();
        let by_cell = patients.is_none();
        if let Some(patients) = patients {
            parts.push(patients.alias(PATIENTS));
            sums.push(sum(ident(PATIENTS)).alias(PATIENTS));
        }
        for (j, tally) in self.query.tallies.iter().enumerate() {
            parts.push(self.part(j, tally).alias(total(j)));
            sums.push(sum(ident(total(j))).alias(total(j)));
        }
        let added = groups.project(parts)?.alias("parts")?;
        let added = added.aggregate([ident(CELL)], sums)?;
        let columns = added.schema().columns().into_iter().map(Expr::Column);
        let mut columns: Vec<_> = columns.collect();
        if by_cell {
            columns.insert(1, lit(0_i64).alias(POINT));
        }
        added.project(columns)
    }

    /// How many rows count at each value, in the cells that patients keep.
    fn count_by_value(
        &self,
        index: usize,
        tally: &Tally,
        rows: &LogicalPlanBuilder,
        kept: &LogicalPlanBuilder,
    ) -> Result<LogicalPlanBuilder> {
        let placed = place_by_value(rows_by_value(rows, kept, tally.input)?, tally.input)?;
        let limit = self.table.contribution.max_rows_per_group;
        // Sums that other engines have as a wider type.
        let [rows, behind, all] = [ROWS, BEHIND, ALL].map(|c| cast(ident(c), DataType::Int64));
        let picks = supplied::picks(limit).call(vec![behind.clone() - rows, behind, all]);
        let picks = [ident(CELL), ident(POINT), picks.alias(total(index))];
        let picks = placed
            .alias("placed_rows")?
            .project(picks)?
            .alias("picks")?;
        let sums = [sum(ident(total(index))).alias(total(index))];
        let counts = picks.aggregate([ident(CELL), ident(POINT)], sums)?;
        let columns = (0..self.query.tallies.len()).map(|j| {
            if j == index {
                ident(total(j))
            } else {
                zero().alias(total(j))
            }
        });
        counts.project([ident(CELL), ident(POINT)].into_iter().chain(columns))
    }

    fn part(&self, index: usize, tally: &Tally) -> Expr {
        let limit = self.table.contribution.max_rows_per_group;
        let sum = match tally.kind {
            TallyKind::Bins { .. } => return zero(),
            // Which other engines have as a wider type.
            TallyKind::Sum => cast(ident(summed(tally.input)), DataType::Int64),
            TallyKind::Patients | TallyKind::Rows => lit(0_i64),
        };
        let part = supplied::part(index, *tally, limit);
        part.call(vec![ident(counted(tally.input)), sum])
    }
}

/// How many rows each patient has at each value of an input, in the cells that they keep.
fn rows_by_value(
    rows: &LogicalPlanBuilder,
    kept: &LogicalPlanBuilder,
    input: usize,
) -> Result<LogicalPlanBuilder> {
    let value = || ident(value(input));
    let groups = [ident(PATIENT).alias("p"), ident(CELL).alias("c")];
    let groups = kept.clone().project(groups)?.alias("kept_groups")?;
    let columns = [PATIENT, CELL, ROWS].map(ident).into_iter();
    let counted = rows.clone().filter(value().is_not_null())?.aggregate(
        [ident(PATIENT), ident(CELL), value()],
        [count(lit(1_i64)).alias(ROWS)],
    )?;
    let counted = counted.project(columns.chain([value()]))?;
    counted.alias("rows_by_value")?.join(
        groups.build()?,
        JoinType::Inner,
        (vec![PATIENT, CELL], vec!["p", "c"]),
        None,
    )
}

/// How many rows a patient has in a cell, and how many up to each value.
fn place_by_value(found: LogicalPlanBuilder, input: usize) -> Result<LogicalPlanBuilder> {
    let value = || ident(value(input));
    // All windows of one operator have one order.
    let running = || {
        Expr::from(WindowFunction::new(sum_udaf(), vec![ident(ROWS)]))
            .partition_by(vec![ident(PATIENT), ident(CELL)])
            .order_by(vec![value().sort(true, false)])
    };
    let whole = WindowFrame::new_bounds(
        WindowFrameUnits::Rows,
        WindowFrameBound::Preceding(ScalarValue::UInt64(None)),
        WindowFrameBound::Following(ScalarValue::UInt64(None)),
    );
    let all = running().window_frame(whole).build()?.alias(ALL);
    let behind = running().build()?.alias(BEHIND);
    let placed = found.window([all, behind])?;
    let columns = [CELL, ROWS, BEHIND, ALL].map(ident).into_iter();
    placed.project(columns.chain([value().alias(POINT)]))
}

fn zero() -> Expr {
    lit(ScalarValue::Decimal128(Some(0), 38, 0))
}
