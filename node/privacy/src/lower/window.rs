//! Rebuilds windows. Where the statement's order leaves ties that would show, all columns that are read break them.

use arrow::datatypes::DataType;
use datafusion::common::{Column, Result, ScalarValue, plan_err};
use datafusion::functions_window::expr_fn::{
    dense_rank, first_value, lag, last_value, lead, rank, row_number,
};
use datafusion::logical_expr::expr::{Sort, WindowFunction};
use datafusion::logical_expr::{
    Expr, ExprFunctionExt as _, ExprSchemable as _, LogicalPlanBuilder, TryCast, WindowFrame,
    WindowFrameBound, WindowFrameUnits,
};

use super::canonical::canonical;
use super::{Lowered, Lowering};
use crate::relation::{Edge, Fold, Frame, FrameUnit, Relation, Window, WindowKind};
use crate::scalar::Scalar;

impl Lowering<'_> {
    pub(super) fn window(
        &mut self,
        input: &Relation,
        windows: &[Window],
        ties: &[usize],
    ) -> Result<Lowered> {
        let mut rows = self.relation(input)?;
        for (before, window) in windows.iter().enumerate() {
            let computed = rows.columns.len() - before..rows.columns.len();
            let ties: Vec<_> = ties.iter().copied().chain(computed).collect();
            rows = self.over(rows, window, &ties)?;
        }
        Ok(rows)
    }

    /// Adds one window's column. Those of the windows before it break ties too: rows that are equal
    /// in the input may have got different values, which must not meet by chance.
    fn over(&mut self, rows: Lowered, window: &Window, ties: &[usize]) -> Result<Lowered> {
        let kept = rows.columns.len();
        let mut computed: Vec<_> = rows.columns.iter().cloned().map(Expr::Column).collect();
        for scalar in &window.partition {
            computed.push(self.key(scalar, &rows)?);
        }
        for key in &window.order {
            computed.push(self.key(&key.scalar, &rows)?);
        }
        match &window.kind {
            WindowKind::RowNumber | WindowKind::Rank | WindowKind::DenseRank => {}
            WindowKind::Shift { argument, .. }
            | WindowKind::First { argument, .. }
            | WindowKind::Last { argument, .. } => {
                computed.push(self.scalar(argument, &rows.columns)?);
            }
            WindowKind::Fold { fold, .. } => computed.push(self.argument(fold, &rows.columns)?),
        }
        let rows = self.project(rows.plan, computed)?;
        let (columns, computed) = rows.columns.split_at(kept);
        let (partition, computed) = computed.split_at(window.partition.len());
        let (order, argument) = computed.split_at(window.order.len());
        let ties = match breaks_ties(&window.kind) {
            true => ties,
            false => &[],
        };
        let over = Over {
            partition: partition.iter().cloned().map(Expr::Column).collect(),
            order: sorted(window, order)
                .chain(ties_broken(columns, ties))
                .collect(),
        };
        let mut values: Vec<_> = columns.iter().cloned().map(Expr::Column).collect();
        let (plan, value) = self.evaluate(rows.plan, &window.kind, argument, &over)?;
        values.push(value);
        self.project(plan, values)
    }

    fn key(&self, scalar: &Scalar, rows: &Lowered) -> Result<Expr> {
        let key = self.scalar(scalar, &rows.columns)?;
        let data_type = key.get_type(rows.plan.schema())?;
        Ok(canonical(key, &data_type))
    }

    /// The plan with what the window computes, and the value over its columns.
    fn evaluate(
        &mut self,
        plan: LogicalPlanBuilder,
        kind: &WindowKind,
        argument: &[Column],
        over: &Over,
    ) -> Result<(LogicalPlanBuilder, Expr)> {
        let value = argument.first().cloned().map(Expr::Column);
        let value = value.unwrap_or_default();
        let call = match kind {
            WindowKind::RowNumber => over.of(row_number(), None)?,
            WindowKind::Rank => over.of(rank(), None)?,
            WindowKind::DenseRank => over.of(dense_rank(), None)?,
            WindowKind::Shift { rows, default, .. } => {
                let default = Some(default.clone()).filter(|d| !d.is_null());
                let shift = if *rows < 0 { lead } else { lag };
                over.of(shift(value, Some(rows.abs()), default), None)?
            }
            WindowKind::First { frame, .. } => over.of(first_value(value), Some(frame))?,
            WindowKind::Last { frame, .. } => over.of(last_value(value), Some(frame))?,
            WindowKind::Fold { fold, frame } => {
                return self.fold_over(plan, fold, frame, argument, over);
            }
        };
        let name = self.fresh();
        let value = Expr::Column(Column::new_unqualified(&name));
        let plan = plan.window([call.alias(name)])?;
        Ok((
            plan,
            if is_number(kind) {
                integer(value)
            } else {
                value
            },
        ))
    }

    fn fold_over(
        &mut self,
        plan: LogicalPlanBuilder,
        fold: &Fold,
        frame: &Frame,
        argument: &[Column],
        over: &Over,
    ) -> Result<(LogicalPlanBuilder, Expr)> {
        let [argument] = argument else {
            return plan_err!("a fold of nothing");
        };
        let mut parts = Vec::new();
        let value = self.folded(fold, argument, |name, part| {
            parts.push((name.to_owned(), part));
        });
        let parts = parts.into_iter();
        let parts = parts.map(|(name, part)| Ok(over.of(part, Some(frame))?.alias(name)));
        Ok((plan.window(parts.collect::<Result<Vec<_>>>()?)?, value))
    }
}

fn is_number(kind: &WindowKind) -> bool {
    use WindowKind::{DenseRank, Rank, RowNumber};
    matches!(kind, RowNumber | Rank | DenseRank)
}

/// DataFusion numbers rows without a sign.
fn integer(number: Expr) -> Expr {
    Expr::TryCast(TryCast::new(Box::new(number), DataType::Int64))
}

/// Where a window looks.
struct Over {
    partition: Vec<Expr>,
    order: Vec<Sort>,
}

impl Over {
    fn of(&self, function: Expr, frame: Option<&Frame>) -> Result<Expr> {
        let over = windowed(function)
            .partition_by(self.partition.clone())
            .order_by(self.order.clone());
        match frame {
            None => over.build(),
            Some(frame) => over.window_frame(window_frame(frame)).build(),
        }
    }
}

/// An aggregate, to be computed over a window.
fn windowed(function: Expr) -> Expr {
    match function {
        Expr::AggregateFunction(call) => {
            Expr::from(WindowFunction::new(call.func, call.params.args))
        }
        other => other,
    }
}

/// Ranks and frames of peers treat alike what is equal in the order.
fn breaks_ties(kind: &WindowKind) -> bool {
    match kind {
        WindowKind::Rank | WindowKind::DenseRank => false,
        WindowKind::RowNumber
        | WindowKind::Shift { .. }
        | WindowKind::First { .. }
        | WindowKind::Last { .. } => true,
        WindowKind::Fold { frame, .. } => {
            let whole = (frame.start, frame.end) == (Edge::Unbounded, Edge::Unbounded);
            frame.unit == FrameUnit::Rows && !whole
        }
    }
}

fn sorted(window: &Window, columns: &[Column]) -> impl Iterator<Item = Sort> {
    let keys = window.order.iter().zip(columns);
    keys.map(|(key, column)| {
        Sort::new(Expr::Column(column.clone()), key.ascending, key.nulls_first)
    })
    .collect::<Vec<_>>()
    .into_iter()
}

fn ties_broken(columns: &[Column], ties: &[usize]) -> impl Iterator<Item = Sort> {
    let columns = ties.iter().filter_map(|index| columns.get(*index));
    columns.map(|column| Sort::new(Expr::Column(column.clone()), true, false))
}

fn window_frame(frame: &Frame) -> WindowFrame {
    let units = match frame.unit {
        FrameUnit::Rows => WindowFrameUnits::Rows,
        FrameUnit::Peers => WindowFrameUnits::Range,
    };
    // A frame of peers is bounded by the current row or not at all.
    let unbounded = ScalarValue::UInt64(None);
    let edge = |edge, open: fn(ScalarValue) -> WindowFrameBound| match edge {
        Edge::Unbounded => open(unbounded.clone()),
        Edge::Current => WindowFrameBound::CurrentRow,
        Edge::Before(rows) => WindowFrameBound::Preceding(ScalarValue::UInt64(Some(rows))),
        Edge::After(rows) => WindowFrameBound::Following(ScalarValue::UInt64(Some(rows))),
    };
    WindowFrame::new_bounds(
        units,
        edge(frame.start, WindowFrameBound::Preceding),
        edge(frame.end, WindowFrameBound::Following),
    )
}
