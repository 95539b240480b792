//! Rebuilds DataFusion's expressions from [`Scalar`]s.

use std::sync::Arc;

use datafusion::common::{Column, Result, ScalarValue, plan_err};
use datafusion::logical_expr::expr::{InList, ScalarFunction};
use datafusion::logical_expr::{Between, BinaryExpr, Case, Expr, Like, Operator, TryCast, lit};
use ward_schemas::parameter::Value;

use super::{Lowering, column};
use crate::scalar::Scalar;

impl Lowering<'_> {
    /// The expression over these columns.
    pub(super) fn scalar(&self, scalar: &Scalar, columns: &[Column]) -> Result<Expr> {
        let lower = |s: &Scalar| self.scalar(s, columns);
        Ok(match scalar {
            Scalar::Column(index) => column(columns, *index)?,
            Scalar::Literal(value) => lit(value.clone()),
            Scalar::Parameter(name) => match self.parameters.get(name) {
                Some(value) => lit(parameter(value)),
                None => return plan_err!("no parameter {name}"),
            },
            Scalar::Binary {
                operator,
                left,
                right,
            } => binary(lower(left)?, *operator, lower(right)?),
            Scalar::Not(e) => Expr::Not(Box::new(lower(e)?)),
            Scalar::IsNull(e) => lower(e)?.is_null(),
            Scalar::IsNotNull(e) => lower(e)?.is_not_null(),
            Scalar::InList {
                operand,
                list,
                negated,
            } => Expr::InList(InList::new(
                Box::new(lower(operand)?),
                list.iter().map(lower).collect::<Result<_>>()?,
                *negated,
            )),
            Scalar::Between {
                operand,
                low,
                high,
                negated,
            } => Expr::Between(Between::new(
                Box::new(lower(operand)?),
                *negated,
                Box::new(lower(low)?),
                Box::new(lower(high)?),
            )),
            Scalar::Case {
                base,
                arms,
                otherwise,
            } => {
                let arms = arms.iter().map(|(w, t)| Ok((lower(w)?, lower(t)?)));
                let arms = arms.collect::<Result<Vec<_>>>()?;
                let optional = |e: &Option<Box<Scalar>>| e.as_ref().map(|e| lower(e)).transpose();
                case(optional(base)?, arms, optional(otherwise)?)
            }
            Scalar::Like {
                operand,
                pattern,
                negated,
            } => Expr::Like(Like::new(
                *negated,
                Box::new(lower(operand)?),
                Box::new(lit(pattern.as_str())),
                None,
                false,
            )),
            Scalar::TryCast { operand, to } => {
                Expr::TryCast(TryCast::new(Box::new(lower(operand)?), to.clone()))
            }
            Scalar::Call {
                function,
                arguments,
            } => Expr::ScalarFunction(ScalarFunction::new_udf(
                Arc::clone(function),
                arguments.iter().map(lower).collect::<Result<_>>()?,
            )),
        })
    }
}

fn binary(left: Expr, operator: Operator, right: Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr::new(Box::new(left), operator, Box::new(right)))
}

pub(super) fn case(base: Option<Expr>, arms: Vec<(Expr, Expr)>, otherwise: Option<Expr>) -> Expr {
    let boxed = |(when, then)| (Box::new(when), Box::new(then));
    Expr::Case(Case::new(
        base.map(Box::new),
        arms.into_iter().map(boxed).collect(),
        otherwise.map(Box::new),
    ))
}

fn parameter(value: &Value) -> ScalarValue {
    use arrow::datatypes::Date32Type;
    match value {
        Value::Date(date) => ScalarValue::Date32(Some(Date32Type::from_naive_date(*date))),
        Value::Integer(i) => ScalarValue::Int64(Some(*i)),
        Value::Number(n) => ScalarValue::Float64(Some(n.to_f64())),
        Value::Boolean(b) => ScalarValue::Boolean(Some(*b)),
        Value::Text(t) => ScalarValue::Utf8(Some(t.clone())),
    }
}
