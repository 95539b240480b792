//! Scalar expressions: total functions of one row. Translated from DataFusion's by exhaustive
//! match; what could fail on a row is made total or refused.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::{InList, Placeholder};
use datafusion::logical_expr::{
    Between, BinaryExpr, Case, Expr, ExprSchemable, Operator, ScalarUDF,
};
use ward_schemas::names::Ident;

use crate::parse::shorten;
use crate::refusal::Rule;
use crate::relation::{Field, Role};

/// A total function of one row.
#[derive(Clone, Debug)]
pub(crate) enum Scalar {
    Column(usize),
    Literal(ScalarValue),
    Parameter(Ident),
    Binary {
        operator: Operator,
        left: Box<Scalar>,
        right: Box<Scalar>,
    },
    Not(Box<Scalar>),
    IsNull(Box<Scalar>),
    IsNotNull(Box<Scalar>),
    InList {
        operand: Box<Scalar>,
        list: Vec<Scalar>,
        negated: bool,
    },
    Case {
        arms: Vec<(Scalar, Scalar)>,
        otherwise: Option<Box<Scalar>>,
    },
    /// NULL where the value has no counterpart in the type.
    TryCast {
        operand: Box<Scalar>,
        to: DataType,
    },
    Call {
        function: Arc<ScalarUDF>,
        arguments: Vec<Scalar>,
    },
}

/// The columns an expression may name.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) schema: &'a DFSchema,
    pub(crate) fields: &'a [Field],
}

impl Scope<'_> {
    /// The position of a column that stands alone, whatever its role.
    pub(crate) fn bare_column(&self, expr: &Expr) -> Option<usize> {
        match expr {
            Expr::Column(column) => self.schema.maybe_index_of_column(column),
            Expr::Alias(alias) => self.bare_column(&alias.expr),
            _ => None,
        }
    }

    /// Translates an expression over values.
    pub(crate) fn scalar(&self, expr: &Expr) -> Result<Scalar, Rule> {
        match expr {
            Expr::Alias(alias) => self.scalar(&alias.expr),
            Expr::Column(_) => self.value_column(expr),
            Expr::Literal(value, _) => Ok(Scalar::Literal(value.clone())),
            Expr::Placeholder(placeholder) => parameter(placeholder),
            Expr::BinaryExpr(binary) => self.binary(expr, binary),
            Expr::Not(e) => Ok(Scalar::Not(self.boxed(e)?)),
            Expr::IsNull(e) => Ok(Scalar::IsNull(self.boxed(e)?)),
            Expr::IsNotNull(e) => Ok(Scalar::IsNotNull(self.boxed(e)?)),
            Expr::Negative(e) => self.negative(e),
            Expr::Between(between) => self.between(between),
            Expr::InList(list) => self.in_list(list),
            Expr::Case(case) => self.case(case),
            Expr::Cast(cast) => self.try_cast(&cast.expr, cast.field.data_type()),
            Expr::TryCast(cast) => self.try_cast(&cast.expr, cast.field.data_type()),
            Expr::ScalarFunction(call) => {
                let arguments = call.args.iter().map(|a| self.scalar(a));
                Ok(Scalar::Call {
                    function: Arc::clone(&call.func),
                    arguments: arguments.collect::<Result<_, _>>()?,
                })
            }
            Expr::InSubquery(_) | Expr::Exists(_) | Expr::SetComparison(_) => Err(unsupported(
                "a subquery in an expression",
                expr,
                "Join the tables instead, on person_id where both are personal",
            )),
            Expr::ScalarSubquery(_) => Err(unsupported(
                "a scalar subquery",
                expr,
                "Its value would depend on other patients; use a parameter",
            )),
            Expr::AggregateFunction(_) => Err(unsupported(
                "an aggregate inside another expression",
                expr,
                "Aggregate in the outermost SELECT",
            )),
            Expr::WindowFunction(_) => Err(unsupported(
                "a window function",
                expr,
                "Count or average rows instead",
            )),
            Expr::Like(_) | Expr::SimilarTo(_) => Err(unsupported(
                "pattern matching",
                expr,
                "Compare with = or IN; codes have concept ids",
            )),
            Expr::IsTrue(_)
            | Expr::IsFalse(_)
            | Expr::IsUnknown(_)
            | Expr::IsNotTrue(_)
            | Expr::IsNotFalse(_)
            | Expr::IsNotUnknown(_) => Err(unsupported(
                "a test for truth",
                expr,
                "Write the condition itself, or NOT, or IS NULL",
            )),
            #[allow(deprecated)]
            Expr::Wildcard { .. } => Err(unsupported("*", expr, "Name the columns")),
            Expr::ScalarVariable(..)
            | Expr::GroupingSet(_)
            | Expr::OuterReferenceColumn(..)
            | Expr::Unnest(_)
            | Expr::HigherOrderFunction(_)
            | Expr::Lambda(_)
            | Expr::LambdaVariable(_) => Err(unsupported(
                "this expression",
                expr,
                "Use columns, parameters, comparisons, arithmetic, CASE, IN and the model's functions",
            )),
        }
    }

    fn boxed(&self, expr: &Expr) -> Result<Box<Scalar>, Rule> {
        self.scalar(expr).map(Box::new)
    }

    fn value_column(&self, expr: &Expr) -> Result<Scalar, Rule> {
        let index = self.bare_column(expr);
        let field = index.and_then(|i| self.fields.get(i).map(|f| (i, f)));
        match field {
            Some((index, field)) if field.role == Role::Value => Ok(Scalar::Column(index)),
            Some((_, field)) => Err(Rule::Identifier {
                fragment: expr.to_string(),
                column: field.name.clone(),
            }),
            None => Err(Rule::Unplannable(format!("unknown column {expr}"))),
        }
    }

    fn binary(&self, whole: &Expr, binary: &BinaryExpr) -> Result<Scalar, Rule> {
        self.name_identifiers(whole, binary)?;
        match binary.op {
            Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
            | Operator::And
            | Operator::Or
            | Operator::IsDistinctFrom
            | Operator::IsNotDistinctFrom => {}
            Operator::Plus | Operator::Minus | Operator::Multiply => {
                self.arithmetic(whole, binary, &[DataType::Int64, DataType::Float64])?;
            }
            Operator::Divide => self.arithmetic(whole, binary, &[DataType::Float64])?,
            _ => {
                return Err(unsupported(
                    "this operator",
                    whole,
                    "Use comparisons, AND, OR, +, -, * and / of numbers",
                ));
            }
        }
        Ok(Scalar::Binary {
            operator: binary.op,
            left: self.boxed(&binary.left)?,
            right: self.boxed(&binary.right)?,
        })
    }

    /// Lets the refusal of an identifier quote the whole comparison.
    fn name_identifiers(&self, whole: &Expr, binary: &BinaryExpr) -> Result<(), Rule> {
        for side in [&binary.left, &binary.right] {
            let field = self.bare_column(side).and_then(|i| self.fields.get(i));
            if let Some(field) = field.filter(|f| f.role != Role::Value) {
                return Err(Rule::Identifier {
                    fragment: shorten(&whole.to_string()),
                    column: field.name.clone(),
                });
            }
        }
        Ok(())
    }

    /// Integer arithmetic wraps and double arithmetic has infinities: neither can fail. Division of
    /// integers can, and so can arithmetic on dates.
    fn arithmetic(&self, whole: &Expr, b: &BinaryExpr, types: &[DataType]) -> Result<(), Rule> {
        let type_of = |e: &Expr| self.type_of(e);
        let (left, right) = (type_of(&b.left)?, type_of(&b.right)?);
        if left == right && types.contains(&left) {
            return Ok(());
        }
        let both_integers = left == DataType::Int64 && right == DataType::Int64;
        let (why, remedy) = if both_integers {
            (
                "division by zero",
                "Divide doubles: write 1.0 * a / b, which gives NULL-safe infinities",
            )
        } else {
            (
                "overflow",
                "Use days_between(from, to) for dates, and doubles or integers for numbers",
            )
        };
        Err(Rule::Partial {
            fragment: shorten(&whole.to_string()),
            why,
            remedy,
        })
    }

    fn negative(&self, operand: &Expr) -> Result<Scalar, Rule> {
        let zero = match self.type_of(operand)? {
            DataType::Int64 => ScalarValue::Int64(Some(0)),
            DataType::Float64 => ScalarValue::Float64(Some(0.0)),
            _ => {
                return Err(unsupported(
                    "a minus sign",
                    operand,
                    "Negate integers or doubles",
                ));
            }
        };
        Ok(Scalar::Binary {
            operator: Operator::Minus,
            left: Box::new(Scalar::Literal(zero)),
            right: self.boxed(operand)?,
        })
    }

    fn between(&self, b: &Between) -> Result<Scalar, Rule> {
        let side = |operator, end: &Expr| {
            Ok::<_, Rule>(Box::new(Scalar::Binary {
                operator,
                left: self.boxed(&b.expr)?,
                right: self.boxed(end)?,
            }))
        };
        let inside = Scalar::Binary {
            operator: Operator::And,
            left: side(Operator::GtEq, &b.low)?,
            right: side(Operator::LtEq, &b.high)?,
        };
        Ok(if b.negated {
            Scalar::Not(Box::new(inside))
        } else {
            inside
        })
    }

    fn in_list(&self, list: &InList) -> Result<Scalar, Rule> {
        let items = list.list.iter().map(|item| self.scalar(item));
        Ok(Scalar::InList {
            operand: self.boxed(&list.expr)?,
            list: items.collect::<Result<_, _>>()?,
            negated: list.negated,
        })
    }

    /// `CASE x WHEN y` becomes `CASE WHEN x = y`: one form is enough.
    fn case(&self, case: &Case) -> Result<Scalar, Rule> {
        let base = case.expr.as_ref().map(|e| self.boxed(e)).transpose()?;
        let arms = case.when_then_expr.iter().map(|(when, then)| {
            let when = self.scalar(when)?;
            let when = match &base {
                None => when,
                Some(base) => Scalar::Binary {
                    operator: Operator::Eq,
                    left: base.clone(),
                    right: Box::new(when),
                },
            };
            Ok((when, self.scalar(then)?))
        });
        Ok(Scalar::Case {
            arms: arms.collect::<Result<_, Rule>>()?,
            otherwise: case.else_expr.as_ref().map(|e| self.boxed(e)).transpose()?,
        })
    }

    fn try_cast(&self, operand: &Expr, to: &DataType) -> Result<Scalar, Rule> {
        let accepted = matches!(
            to,
            DataType::Int64
                | DataType::Float64
                | DataType::Utf8
                | DataType::Date32
                | DataType::Boolean
                | DataType::Timestamp(_, None)
        );
        if !accepted {
            return Err(unsupported(
                "a cast to this type",
                operand,
                "Cast to BIGINT, DOUBLE, VARCHAR, DATE, TIMESTAMP or BOOLEAN",
            ));
        }
        Ok(Scalar::TryCast {
            operand: self.boxed(operand)?,
            to: to.clone(),
        })
    }

    pub(crate) fn type_of(&self, expr: &Expr) -> Result<DataType, Rule> {
        expr.get_type(self.schema)
            .map_err(|e| Rule::Unplannable(e.strip_backtrace()))
    }
}

fn parameter(placeholder: &Placeholder) -> Result<Scalar, Rule> {
    placeholder
        .field
        .as_ref()
        .and_then(|field| field.name().parse().ok())
        .map(Scalar::Parameter)
        .ok_or_else(|| Rule::Unplannable(format!("undeclared parameter {}", placeholder.id)))
}

pub(crate) fn unsupported(what: &'static str, expr: &Expr, remedy: &'static str) -> Rule {
    Rule::Unsupported {
        what,
        fragment: shorten(&expr.to_string()),
        remedy,
    }
}
