//! Folds of a patient's rows give one value whatever the rows' order: integers wrap, doubles are added as decimals, and of doubles that are equal but not the same one stands for all.

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::AggregateFunction;

use crate::parse::shorten;
use crate::refusal::Rule;
use crate::relation::{Fold, FoldKind};
use crate::scalar::{Scalar, Scope, unsupported};

const FOLDS: &str = "Per patient, use COUNT, COUNT(DISTINCT …), SUM, AVG, MIN and MAX";

/// A call of an aggregate function.
pub(super) struct Call<'a> {
    pub(super) whole: &'a Expr,
    pub(super) name: &'a str,
    pub(super) arguments: &'a [Expr],
    pub(super) distinct: bool,
    pub(super) filter: Option<&'a Expr>,
}

impl<'a> Call<'a> {
    pub(super) fn of(expr: &'a Expr) -> Result<Self, Rule> {
        match expr {
            Expr::Alias(alias) => Self::of(&alias.expr),
            Expr::AggregateFunction(function) => Self::of_aggregate(expr, function),
            _ => Err(unsupported("this aggregate", expr, FOLDS)),
        }
    }

    fn of_aggregate(whole: &'a Expr, function: &'a AggregateFunction) -> Result<Self, Rule> {
        let params = &function.params;
        if !params.order_by.is_empty() || params.null_treatment.is_some() {
            return Err(unsupported(
                "an order inside an aggregate",
                whole,
                "Leave it out",
            ));
        }
        Ok(Self {
            whole,
            name: function.func.name(),
            arguments: &params.args,
            distinct: params.distinct,
            filter: params.filter.as_deref(),
        })
    }

    pub(super) fn fold(&self, scope: &Scope<'_>) -> Result<Fold, Rule> {
        let [argument] = self.arguments else {
            return Err(unsupported("several arguments", self.whole, FOLDS));
        };
        let data_type = scope.type_of(argument)?;
        let number = matches!(data_type, DataType::Int64 | DataType::Float64);
        let (kind, scalar) = match (self.name, self.distinct) {
            ("count", false) => (FoldKind::Count, counted(scope, argument)?),
            ("count", true) => (FoldKind::CountDistinct, counted(scope, argument)?),
            ("sum", false) if number => (FoldKind::Sum, scope.scalar(argument)?),
            ("avg", false) if number => (FoldKind::Mean, scope.scalar(argument)?),
            ("min", false) => (FoldKind::Least, scope.scalar(argument)?),
            ("max", false) => (FoldKind::Greatest, scope.scalar(argument)?),
            _ => return Err(unsupported("this aggregate", self.whole, FOLDS)),
        };
        let filter = self.filter.map(|f| scope.scalar(f)).transpose()?;
        Ok(Fold {
            kind,
            argument: match filter {
                None => scalar,
                Some(filter) => Scalar::Case {
                    base: None,
                    arms: vec![(filter, scalar)],
                    otherwise: None,
                },
            },
            data_type,
        })
    }
}

/// Identifiers may be counted: how many there are of one patient is a value of that patient.
fn counted(scope: &Scope<'_>, argument: &Expr) -> Result<Scalar, Rule> {
    match scope.bare_column(argument) {
        Some(column) => Ok(Scalar::Column(column)),
        None => scope.scalar(argument),
    }
}

impl Fold {
    /// The type of the value.
    pub(super) fn result(&self) -> DataType {
        match self.kind {
            FoldKind::Count | FoldKind::CountDistinct => DataType::Int64,
            FoldKind::Mean => DataType::Float64,
            FoldKind::Sum | FoldKind::Least | FoldKind::Greatest => self.data_type.clone(),
        }
    }
}

/// Whether an expression is a constant, as the planner has it in `COUNT(*)`.
pub(super) fn constant(expr: &Expr) -> Option<&ScalarValue> {
    match expr {
        Expr::Literal(value, _) => Some(value),
        _ => None,
    }
}

/// The patient is not among what rows are grouped by.
pub(super) fn mixed(fragment: &str, clause: &'static str) -> Rule {
    Rule::PatientsMixed {
        fragment: shorten(fragment),
        clause,
    }
}
