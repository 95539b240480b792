//! Scalar expressions: total functions of one row. Translated from DataFusion's by exhaustive
//! match; what could fail on a row is made total or refused.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::{InList, Placeholder, ScalarFunction};
use datafusion::logical_expr::{
    Between, BinaryExpr, Case, Expr, ExprSchemable, Like, Operator, ScalarUDF,
};
use ward_schemas::names::Ident;

use crate::functions;
use crate::parse::shorten;
use crate::refusal::Rule;
use crate::relation::{Field, Role, held};

/// How many operators may lie inside one another.
pub(crate) const MAX_DEPTH: usize = 128;

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
    Between {
        operand: Box<Scalar>,
        low: Box<Scalar>,
        high: Box<Scalar>,
        negated: bool,
    },
    Case {
        base: Option<Box<Scalar>>,
        arms: Vec<(Scalar, Scalar)>,
        otherwise: Option<Box<Scalar>>,
    },
    /// Whether a text has this part. Texts compare byte by byte.
    Like {
        operand: Box<Scalar>,
        /// With `%` at one end or both, or none; nothing else in it has a meaning.
        pattern: String,
        negated: bool,
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

/// How large an expression is once the projections below it are merged into it, which optimizers do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    nodes: u64,
    depth: u64,
}

impl Extent {
    /// A column of a table.
    pub(crate) const COLUMN: Self = Self { nodes: 1, depth: 1 };

    /// The larger of two in each respect.
    pub(crate) fn max(self, other: Self) -> Self {
        Self {
            nodes: self.nodes.max(other.nodes),
            depth: self.depth.max(other.depth),
        }
    }

    fn around(children: impl IntoIterator<Item = Self>) -> Self {
        let whole = children
            .into_iter()
            .fold(Self { nodes: 0, depth: 0 }, |a, b| Self {
                nodes: a.nodes.saturating_add(b.nodes),
                depth: a.depth.max(b.depth),
            });
        Self {
            nodes: whole.nodes.saturating_add(1),
            depth: whole.depth.saturating_add(1),
        }
    }

    /// Planning and evaluation recurse over expressions, on stacks that end the process when they
    /// overflow.
    fn check(self) -> Result<(), Rule> {
        const NODES: u64 = 10_000;
        const DEPTH: u64 = MAX_DEPTH as u64;
        let large = |what, found: u64, limit: u64| Rule::Large {
            what,
            found: usize::try_from(found).unwrap_or(usize::MAX),
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
        };
        if self.nodes > NODES {
            return Err(large("operators in an expression", self.nodes, NODES));
        }
        if self.depth > DEPTH {
            return Err(large("operators inside one another", self.depth, DEPTH));
        }
        Ok(())
    }
}

impl Scalar {
    /// The columns it reads.
    pub(crate) fn columns(&self) -> Vec<usize> {
        let mut found = Vec::new();
        let mut rest = vec![self];
        while let Some(scalar) = rest.pop() {
            match scalar {
                Self::Column(index) => found.push(*index),
                other => rest.extend(other.children()),
            }
        }
        found
    }

    fn children(&self) -> Vec<&Self> {
        match self {
            Self::Column(_) | Self::Literal(_) | Self::Parameter(_) => Vec::new(),
            Self::Binary { left, right, .. } => vec![left, right],
            Self::Not(e)
            | Self::IsNull(e)
            | Self::IsNotNull(e)
            | Self::Like { operand: e, .. }
            | Self::TryCast { operand: e, .. } => vec![e],
            Self::InList { operand, list, .. } => list.iter().chain([&**operand]).collect(),
            Self::Between {
                operand, low, high, ..
            } => vec![operand, low, high],
            Self::Case {
                base,
                arms,
                otherwise,
            } => {
                let ends = base.iter().chain(otherwise).map(|e| &**e);
                let arms = arms.iter().flat_map(|(when, then)| [when, then]);
                ends.chain(arms).collect()
            }
            Self::Call { arguments, .. } => arguments.iter().collect(),
        }
    }

    /// Its extent, given those of the columns.
    pub(crate) fn extent(&self, fields: &[Field]) -> Extent {
        match self {
            Self::Column(index) => fields.get(*index).map_or(Extent::COLUMN, |f| f.extent),
            Self::Literal(_) | Self::Parameter(_) => Extent::COLUMN,
            other => Extent::around(other.children().into_iter().map(|s| s.extent(fields))),
        }
    }
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
        let scalar = self.translate(expr)?;
        scalar.extent(self.fields).check()?;
        Ok(scalar)
    }

    fn translate(&self, expr: &Expr) -> Result<Scalar, Rule> {
        match expr {
            Expr::Alias(alias) => self.translate(&alias.expr),
            Expr::Column(_) => self.value_column(expr),
            Expr::Literal(value, _) => literal(expr, value),
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
            Expr::ScalarFunction(call) => self.call(expr, call),
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
            Expr::Like(like) => self.like(expr, like),
            Expr::SimilarTo(_) => Err(unsupported("pattern matching", expr, PATTERNS)),
            Expr::IsTrue(e) => self.truth(e, Operator::IsNotDistinctFrom, true),
            Expr::IsFalse(e) => self.truth(e, Operator::IsNotDistinctFrom, false),
            Expr::IsNotTrue(e) => self.truth(e, Operator::IsDistinctFrom, true),
            Expr::IsNotFalse(e) => self.truth(e, Operator::IsDistinctFrom, false),
            Expr::IsUnknown(e) => Ok(Scalar::IsNull(self.boxed(e)?)),
            Expr::IsNotUnknown(e) => Ok(Scalar::IsNotNull(self.boxed(e)?)),
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
        self.translate(expr).map(Box::new)
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
        let left = self.side(whole, binary, &binary.left)?;
        let right = self.side(whole, binary, &binary.right)?;
        let function = match binary.op {
            Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
            | Operator::And
            | Operator::Or
            | Operator::IsDistinctFrom
            | Operator::IsNotDistinctFrom => None,
            Operator::Plus
            | Operator::Minus
            | Operator::Multiply
            | Operator::Divide
            | Operator::Modulo => self.arithmetic(whole, binary)?,
            Operator::StringConcat => return Err(unsupported("||", whole, LONGER)),
            Operator::LikeMatch
            | Operator::ILikeMatch
            | Operator::NotLikeMatch
            | Operator::NotILikeMatch
            | Operator::RegexMatch
            | Operator::RegexIMatch
            | Operator::RegexNotMatch
            | Operator::RegexNotIMatch => {
                return Err(unsupported("pattern matching", whole, PATTERNS));
            }
            _ => {
                return Err(unsupported(
                    "this operator",
                    whole,
                    "Use comparisons, AND, OR, +, -, *, / and %",
                ));
            }
        };
        Ok(match function {
            Some(function) => Scalar::Call {
                function,
                arguments: vec![*left, *right],
            },
            None => Scalar::Binary {
                operator: binary.op,
                left,
                right,
            },
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

    /// Intervals that could be added to a date became calls before this.
    fn side(&self, whole: &Expr, b: &BinaryExpr, side: &Expr) -> Result<Box<Scalar>, Rule> {
        self.boxed(side).or_else(|rule| match self.type_of(side)? {
            DataType::Interval(_) => Err(overflow(
                whole,
                &self.type_of(&b.left)?,
                &self.type_of(&b.right)?,
            )),
            _ => Err(rule),
        })
    }

    /// Integer arithmetic wraps and double arithmetic has infinities: neither can fail. Division of
    /// integers can, so a function of the model's takes its place.
    fn arithmetic(&self, whole: &Expr, b: &BinaryExpr) -> Result<Option<Arc<ScalarUDF>>, Rule> {
        use DataType::{Float64, Int64};
        match (self.type_of(&b.left)?, b.op, self.type_of(&b.right)?) {
            (Int64, Operator::Divide, Int64) => Ok(Some(functions::quotient())),
            (Int64, Operator::Modulo, Int64) | (Float64, Operator::Modulo, Float64) => {
                Ok(Some(functions::remainder()))
            }
            (Int64, _, Int64) | (Float64, _, Float64) => Ok(None),
            (left, _, right) => Err(overflow(whole, &left, &right)),
        }
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
        Ok(Scalar::Between {
            operand: self.boxed(&b.expr)?,
            low: self.boxed(&b.low)?,
            high: self.boxed(&b.high)?,
            negated: b.negated,
        })
    }

    fn in_list(&self, list: &InList) -> Result<Scalar, Rule> {
        let items = list.list.iter().map(|item| self.translate(item));
        Ok(Scalar::InList {
            operand: self.boxed(&list.expr)?,
            list: items.collect::<Result<_, _>>()?,
            negated: list.negated,
        })
    }

    fn case(&self, case: &Case) -> Result<Scalar, Rule> {
        let arms = case.when_then_expr.iter();
        let arms = arms.map(|(when, then)| Ok((self.translate(when)?, self.translate(then)?)));
        let optional = |e: &Option<Box<Expr>>| e.as_ref().map(|e| self.boxed(e)).transpose();
        Ok(Scalar::Case {
            base: optional(&case.expr)?,
            arms: arms.collect::<Result<_, Rule>>()?,
            otherwise: optional(&case.else_expr)?,
        })
    }

    fn call(&self, whole: &Expr, call: &ScalarFunction) -> Result<Scalar, Rule> {
        let Some(function) = functions::of(&call.func) else {
            let remedy = functions::instead_of(call.func.name());
            return Err(unsupported("this function", whole, remedy));
        };
        if !function.units.is_empty() && !names_unit(function.units, call.args.first()) {
            return Err(unsupported(
                "this unit of time",
                whole,
                "Write year, quarter, month, week or day as it is; date_part also knows dow, isodow, doy and hour",
            ));
        }
        let arguments = call.args.iter().map(|a| self.translate(a));
        Ok(Scalar::Call {
            function: Arc::clone(&call.func),
            arguments: arguments.collect::<Result<_, _>>()?,
        })
    }

    fn like(&self, whole: &Expr, like: &Like) -> Result<Scalar, Rule> {
        let refused = || unsupported("this pattern", whole, PATTERNS);
        let Expr::Literal(ScalarValue::Utf8(Some(pattern)), _) = &*like.pattern else {
            return Err(refused());
        };
        let inner = pattern.strip_prefix('%').unwrap_or(pattern);
        let inner = inner.strip_suffix('%').unwrap_or(inner);
        let plain = !inner.contains(['%', '_', '\\']);
        if !plain || like.case_insensitive || like.escape_char.is_some() {
            return Err(refused());
        }
        Ok(Scalar::Like {
            operand: self.boxed(&like.expr)?,
            pattern: pattern.clone(),
            negated: like.negated,
        })
    }

    /// A condition that is never NULL.
    fn truth(&self, condition: &Expr, operator: Operator, of: bool) -> Result<Scalar, Rule> {
        Ok(Scalar::Binary {
            operator,
            left: self.boxed(condition)?,
            right: Box::new(Scalar::Literal(ScalarValue::Boolean(Some(of)))),
        })
    }

    fn try_cast(&self, operand: &Expr, to: &DataType) -> Result<Scalar, Rule> {
        let inner = self.boxed(operand)?;
        let (from, to) = (self.type_of(operand)?, &held(to.clone()));
        let function = match (&from, to) {
            (DataType::Timestamp(TimeUnit::Microsecond, None), DataType::Date32) => {
                functions::day_of()
            }
            (DataType::Date32, DataType::Utf8) => functions::date_text(),
            _ if is_total_cast(&from, to) => {
                self.check_constant(operand, to)?;
                return Ok(Scalar::TryCast {
                    operand: inner,
                    to: to.clone(),
                });
            }
            _ => {
                return Err(Rule::Partial {
                    fragment: shorten(&format!("CAST({operand} AS {to})")),
                    why: "its value may have no counterpart",
                    remedy: instead_of_cast(&from, to),
                });
            }
        };
        Ok(Scalar::Call {
            function,
            arguments: vec![*inner],
        })
    }

    /// A constant without a counterpart is a mistake of the author's.
    fn check_constant(&self, operand: &Expr, to: &DataType) -> Result<(), Rule> {
        match operand {
            Expr::Literal(value, _) if !value.is_null() => match value.cast_to(to) {
                Ok(value) if !value.is_null() => Ok(()),
                _ => Err(Rule::Unsupported {
                    what: "this constant",
                    fragment: shorten(&format!("CAST({operand} AS {to})")),
                    remedy: "It is no such value; dates are written as '2020-12-31'",
                }),
            },
            _ => Ok(()),
        }
    }

    pub(crate) fn type_of(&self, expr: &Expr) -> Result<DataType, Rule> {
        expr.get_type(self.schema)
            .map(held)
            .map_err(|e| Rule::Unplannable(e.strip_backtrace()))
    }
}

/// The casts that give a value or NULL for any value. Arrow's safe mode is not safe for all: from a
/// timestamp to a date, and from either to text, it fails on values out of the calendar's range.
fn is_total_cast(from: &DataType, to: &DataType) -> bool {
    use DataType::{Boolean, Date32, Float64, Int64, Null, Timestamp, Utf8};
    match (from, to) {
        _ if from == to => true,
        (Null, Boolean | Int64 | Float64 | Utf8 | Date32 | Timestamp(_, None)) => true,
        (Boolean | Int64 | Float64, Boolean | Int64 | Float64 | Utf8) => true,
        (Utf8, Boolean | Int64 | Float64 | Date32 | Timestamp(_, None)) => true,
        (Date32 | Timestamp(_, None), Timestamp(_, None)) => true,
        _ => false,
    }
}

const PATTERNS: &str = "Use LIKE with one piece of text, and % at its ends: 'E11%', '%E11' or '%E11%'; for small and capital letters alike, lower(text) LIKE 'e11%'. Codes have concept ids";
const LONGER: &str = "It makes longer texts of texts, until memory ends; compare the parts";

fn overflow(whole: &Expr, left: &DataType, right: &DataType) -> Rule {
    use DataType::{Date32, Interval, Timestamp};
    let remedy = match (left, right) {
        (Date32, Interval(_)) | (Interval(_), Date32) => {
            "Add an interval as it is, of whole days and months, as in date + INTERVAL '3 months'; a date has no hours"
        }
        (Timestamp(..), Interval(_)) | (Interval(_), Timestamp(..)) => {
            "Add an interval as it is, of whole hours, days and months, as in timestamp + INTERVAL '48 hours'"
        }
        (Date32 | Timestamp(..), _) | (_, Date32 | Timestamp(..)) => {
            "Use days_between(from, to), hours_between(from, to) or add_days(date, n)"
        }
        (Interval(_), _) | (_, Interval(_)) => {
            "Use add_days(date, n) or add_months(date, n) for a number of days or months"
        }
        _ => "Use whole numbers of 64 bits, and doubles",
    };
    Rule::Partial {
        fragment: shorten(&whole.to_string()),
        why: "overflow",
        remedy,
    }
}

fn instead_of_cast(from: &DataType, to: &DataType) -> &'static str {
    match (from, to) {
        (DataType::Timestamp(..), DataType::Utf8) => "Cast it to DATE first",
        (_, DataType::Decimal128(..) | DataType::Decimal256(..) | DataType::UInt64) => {
            "Whole numbers are of 64 bits, with a sign; write DOUBLE for others"
        }
        (_, DataType::Date32 | DataType::Timestamp(..)) => {
            "Only texts, dates and timestamps become dates and timestamps"
        }
        _ => "Cast among BOOLEAN, BIGINT, DOUBLE and VARCHAR, and from VARCHAR to DATE",
    }
}

fn names_unit(units: &[&str], argument: Option<&Expr>) -> bool {
    let Some(Expr::Literal(ScalarValue::Utf8(Some(unit)), _)) = argument else {
        return false;
    };
    units.iter().any(|u| u.eq_ignore_ascii_case(unit))
}

/// A constant of one of the model's types.
fn literal(expr: &Expr, value: &ScalarValue) -> Result<Scalar, Rule> {
    use DataType::{Boolean, Date32, Float64, Int64, Null, Timestamp, Utf8};
    let infinite = matches!(value, ScalarValue::Float64(Some(x)) if !x.is_finite());
    match value.data_type() {
        Null | Boolean | Int64 | Float64 | Utf8 | Date32 | Timestamp(_, None) if !infinite => {
            Ok(Scalar::Literal(value.clone()))
        }
        DataType::Interval(_) | DataType::Duration(_) => Err(unsupported(
            "an interval by itself",
            expr,
            "Add it to a date, as in date + INTERVAL '3 months'",
        )),
        _ => Err(unsupported(
            "this constant",
            expr,
            "Write whole numbers below 2^63, finite doubles, texts and dates",
        )),
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        Array, ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, StringArray,
        TimestampMicrosecondArray, TimestampNanosecondArray, TimestampSecondArray,
    };
    use arrow::compute::{CastOptions, cast_with_options};
    use arrow::datatypes::TimeUnit;
    use proptest::prelude::*;

    use super::*;

    fn arrays(numbers: &[i64], doubles: &[f64], texts: &[String]) -> Vec<ArrayRef> {
        #[allow(clippy::cast_possible_truncation)]
        let days = numbers.iter().map(|n| *n as i32);
        vec![
            Arc::new(BooleanArray::from(vec![true, false])),
            Arc::new(Int64Array::from(numbers.to_vec())),
            Arc::new(Float64Array::from(doubles.to_vec())),
            Arc::new(StringArray::from(texts.to_vec())),
            Arc::new(days.map(Some).collect::<Date32Array>()),
            Arc::new(TimestampSecondArray::from(numbers.to_vec())),
            Arc::new(TimestampMicrosecondArray::from(numbers.to_vec())),
            Arc::new(TimestampNanosecondArray::from(numbers.to_vec())),
        ]
    }

    const TO: [DataType; 8] = [
        DataType::Boolean,
        DataType::Int64,
        DataType::Float64,
        DataType::Utf8,
        DataType::Date32,
        DataType::Timestamp(TimeUnit::Second, None),
        DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Timestamp(TimeUnit::Nanosecond, None),
    ];

    fn fails(array: &ArrayRef, to: &DataType) -> bool {
        let safe = CastOptions {
            safe: true,
            ..CastOptions::default()
        };
        cast_with_options(array, to, &safe).is_err()
    }

    proptest! {
        #[test]
        fn accepted_casts_never_fail(
            mut numbers in prop::collection::vec(any::<i64>(), 4),
            mut doubles in prop::collection::vec(any::<f64>(), 4),
            mut texts in prop::collection::vec("[-+0-9eE.:TZ ]{0,24}|\\PC{0,8}", 6),
        ) {
            numbers.extend([i64::MIN, i64::MAX, 0, -1, 2_000_000_001]);
            doubles.extend([f64::NAN, f64::INFINITY, -0.0, 1e300]);
            texts.extend(["", "262143-12-31", "-262144-01-01", "9999-12-31 23:59:59", "1e400", "NaN"].map(String::from));
            for array in arrays(&numbers, &doubles, &texts) {
                for to in TO.iter().filter(|to| is_total_cast(array.data_type(), to)) {
                    prop_assert!(!fails(&array, to), "{} to {to}", array.data_type());
                }
            }
        }
    }

    /// What the test above would say of the casts that are refused.
    #[test]
    fn refused_casts_do_fail() {
        let far: ArrayRef = Arc::new(Date32Array::from(vec![2_000_000_001]));
        assert!(fails(&far, &DataType::Utf8));
        let far: ArrayRef = Arc::new(TimestampSecondArray::from(vec![i64::MAX]));
        assert!(fails(&far, &DataType::Date32));
    }
}
