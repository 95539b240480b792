//! Rebuilds aggregates inside a statement. No value depends on the order of rows, and none fails.

use arrow::datatypes::DataType;
use datafusion::common::{Column, Result};
use datafusion::functions_aggregate::expr_fn::{count, count_distinct, max, min, sum};
use datafusion::logical_expr::{Cast, Expr, ExprSchemable as _, TryCast};

use super::canonical::canonical;
use super::{Lowered, Lowering};
use crate::relation::{Fold, FoldKind, Relation};
use crate::scalar::Scalar;

/// In which doubles are added: 14 digits before the point, 6 after it.
const EXACT: DataType = DataType::Decimal128(20, 6);

impl Lowering<'_> {
    pub(super) fn aggregate(
        &mut self,
        input: &Relation,
        group: &[Scalar],
        folds: &[Fold],
    ) -> Result<Lowered> {
        let rows = self.relation(input)?;
        let mut computed = Vec::new();
        for scalar in group {
            let key = self.scalar(scalar, &rows.columns)?;
            let data_type = key.get_type(rows.plan.schema())?;
            computed.push(canonical(key, &data_type));
        }
        for fold in folds {
            computed.push(self.argument(fold, &rows.columns)?);
        }
        let rows = self.project(rows.plan, computed)?;
        let (keys, arguments) = rows.columns.split_at(group.len());
        let mut sums = Vec::new();
        let mut values: Vec<_> = keys.iter().cloned().map(Expr::Column).collect();
        for (fold, argument) in folds.iter().zip(arguments) {
            values.push(self.folded(fold, argument, |name, sum| sums.push(sum.alias(name))));
        }
        let keys: Vec<_> = keys.iter().cloned().map(Expr::Column).collect();
        let plan = rows.plan.aggregate(keys, sums)?;
        self.project(plan, values)
    }

    /// What is folded: a canonical value, or a decimal to be added.
    pub(super) fn argument(&self, fold: &Fold, columns: &[Column]) -> Result<Expr> {
        let argument = self.scalar(&fold.argument, columns)?;
        let doubles = fold.data_type == DataType::Float64;
        Ok(match fold.kind {
            FoldKind::Mean => Expr::TryCast(TryCast::new(Box::new(argument), EXACT)),
            FoldKind::Sum if doubles => Expr::TryCast(TryCast::new(Box::new(argument), EXACT)),
            _ => canonical(argument, &fold.data_type),
        })
    }

    /// The fold's value over aggregates of the argument, each handed on with a name of its own.
    pub(super) fn folded(
        &mut self,
        fold: &Fold,
        argument: &Column,
        mut aggregate: impl FnMut(&str, Expr),
    ) -> Expr {
        let mut column = |expr| {
            let name = self.fresh();
            aggregate(&name, expr);
            Expr::Column(Column::new_unqualified(name))
        };
        let argument = Expr::Column(argument.clone());
        match fold.kind {
            FoldKind::Count => column(count(argument)),
            FoldKind::CountDistinct => column(count_distinct(argument)),
            FoldKind::Least => column(min(argument)),
            FoldKind::Greatest => column(max(argument)),
            FoldKind::Sum if fold.data_type == DataType::Float64 => double(column(sum(argument))),
            FoldKind::Sum => column(sum(argument)),
            FoldKind::Mean => {
                let rows = double(column(count(argument.clone())));
                double(column(sum(argument))) / rows
            }
        }
    }
}

fn double(expr: Expr) -> Expr {
    Expr::Cast(Cast::new(Box::new(expr), DataType::Float64))
}
