//! The relational execution: bounds patients by ordinary operators (projection, filter, grouping, one
//! window), which any engine has, and a few supplied functions ([`crate::supplied`]). It computes what the
//! streaming execution does, bit for bit:
//!
//! ```sql
//! SELECT cell, SUM(part) FROM (                            -- add_up
//!   SELECT cell, ward_part(m, s) AS part FROM (            -- keep
//!     SELECT *, ROW_NUMBER() OVER (PARTITION BY patient ORDER BY ward_rank(patient, cell), cell) AS place
//!     FROM (SELECT patient, cell, COUNT(v) AS m, SUM(v) AS s   -- group
//!           FROM (SELECT patient, ward_cell(key) AS cell, ward_steps(value) AS v FROM rows)  -- read
//!           WHERE cell IS NOT NULL GROUP BY patient, cell))
//!   WHERE place <= max_groups)
//! GROUP BY cell
//! ```

use std::sync::Arc;

use datafusion::common::{DFSchema, Result, internal_err};
use datafusion::functions_aggregate::expr_fn::{count, sum};
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::{
    Expr, ExprFunctionExt as _, ExprSchemable as _, LogicalPlan, LogicalPlanBuilder, ident, lit,
    when,
};
use ward_schemas::plan::TablePlan;

use crate::bound::SelectionKey;
use crate::lanes::Cells;
use crate::measure::{Input, InputKind, Query, Tally, TallyKind};
use crate::supplied;

/// The plan of a table's sums over these rows (of [`crate::lower::rows`]): one row a cell in which
/// somebody has rows, of the cell and a `Decimal128(38, 0)` for each tally.
pub(crate) fn totals(
    rows: LogicalPlan,
    table: &TablePlan,
    query: &Query,
    key: &SelectionKey,
) -> Result<LogicalPlan> {
    let rewriting = Rewriting { table, query, key };
    let read = rewriting.read(rows)?;
    let grouped = rewriting.group(read)?;
    let kept = rewriting.keep(grouped)?;
    rewriting.add_up(kept)?.build()
}

const PATIENT: &str = "patient";
const CELL: &str = "cell";
const RANK: &str = "rank";
const PLACE: &str = "place";

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

struct Rewriting<'a> {
    table: &'a TablePlan,
    query: &'a Query,
    key: &'a SelectionKey,
}

impl Rewriting<'_> {
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
        for (i, input) in self.inputs().filter(|(_, input)| !input.is_every_row()) {
            let Some(column) = read.next() else {
                return internal_err!("an input without a column");
            };
            projected.push(steps(i, input, column, &schema)?.alias(value(i)));
        }
        LogicalPlanBuilder::from(rows)
            .project(projected)?
            .filter(ident(CELL).is_not_null())
    }

    fn cell(&self, keys: &[Expr], schema: &DFSchema) -> Result<Expr> {
        if keys.is_empty() {
            return Ok(lit(0_i32));
        }
        let Some(cells) = Cells::new(self.table) else {
            return internal_err!("a key domain of mixed types");
        };
        let types = keys.iter().map(|k| k.get_type(schema));
        let cell = supplied::cell(cells, types.collect::<Result<_>>()?);
        Ok(cell.call(keys.to_vec()))
    }

    /// Each patient's rows in each cell: how many count, and their sum.
    fn group(&self, rows: LogicalPlanBuilder) -> Result<LogicalPlanBuilder> {
        let mut aggregates = Vec::new();
        for (i, input) in self.inputs() {
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
        rows.aggregate([ident(PATIENT), ident(CELL)], aggregates)
    }

    /// Of each patient's cells the first `max_groups` in the patient's secret order.
    fn keep(&self, groups: LogicalPlanBuilder) -> Result<LogicalPlanBuilder> {
        let rank = supplied::rank(self.key.clone());
        let rank = rank.call(vec![ident(PATIENT), ident(CELL)]);
        let columns = groups.schema().columns().into_iter().map(Expr::Column);
        let ranked = columns.chain([rank.alias(RANK)]).collect::<Vec<_>>();
        let place = row_number()
            .partition_by(vec![ident(PATIENT)])
            .order_by([RANK, CELL].map(|c| ident(c).sort(true, false)).to_vec())
            .build()?;
        let most = u64::from(self.table.contribution.max_groups);
        groups
            .project(ranked)?
            .window([place.alias(PLACE)])?
            .filter(ident(PLACE).lt_eq(lit(most)))
    }

    /// What each patient adds to their cells, and the sums.
    fn add_up(&self, groups: LogicalPlanBuilder) -> Result<LogicalPlanBuilder> {
        let limit = self.table.contribution.max_rows_per_group;
        let tallies = || self.query.tallies.iter().enumerate();
        let total = |j: usize| format!("t{j}");
        let parts = tallies().map(|(j, tally)| {
            let sum = match tally.kind {
                TallyKind::Sum => ident(summed(tally.input)),
                TallyKind::Patients | TallyKind::Rows => lit(0_i64),
            };
            let part = supplied::part(j, *tally, limit);
            part.call(vec![ident(counted(tally.input)), sum])
                .alias(total(j))
        });
        let projected: Vec<_> = [ident(CELL)].into_iter().chain(parts).collect();
        let sums = tallies().map(|(j, _)| sum(ident(total(j))).alias(total(j)));
        groups
            .project(projected)?
            .aggregate([ident(CELL)], sums.collect::<Vec<_>>())
    }

    fn inputs(&self) -> impl Iterator<Item = (usize, &Input)> {
        self.query.inputs.iter().enumerate()
    }

    fn is_summed(&self, input: usize) -> bool {
        let sums = |t: &Tally| t.input == input && t.kind == TallyKind::Sum;
        self.query.tallies.iter().any(sums)
    }
}

/// What an input reads from a row: steps of its grid, or 1 for presence; NULL where the row doesn't count.
fn steps(index: usize, input: &Input, column: &Expr, schema: &DFSchema) -> Result<Expr> {
    match &input.kind {
        InputKind::Presence(_) => when(column.clone(), lit(1_i64)).end(),
        InputKind::Value { grid, origin, .. } => {
            let steps = supplied::steps(index, column.get_type(schema)?, *grid, *origin);
            Ok(steps.call(vec![column.clone()]))
        }
    }
}
