//! What SQL's own words mean to the model: its types, EXTRACT, and arithmetic on dates, which stands
//! for calls of total functions.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, IntervalMonthDayNano, TimeUnit};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr, TypePlanner};
use datafusion::logical_expr::{Expr, ExprSchemable, expr::ScalarFunction, lit};
use datafusion::sql::sqlparser::ast::{BinaryOperator, DataType as SqlType, TimezoneInfo};

use crate::functions;

/// Ward's reading of SQL.
#[derive(Debug)]
pub(crate) struct Syntax;

impl TypePlanner for Syntax {
    /// The model has one type of whole numbers, one of fractions and one of timestamps.
    fn plan_type_field(&self, sql_type: &SqlType) -> Result<Option<FieldRef>> {
        let data_type = match sql_type {
            SqlType::TinyInt(_)
            | SqlType::SmallInt(_)
            | SqlType::Int2(_)
            | SqlType::Int(_)
            | SqlType::Integer(_)
            | SqlType::Int4(_) => DataType::Int64,
            SqlType::Float(_) | SqlType::Real | SqlType::Float4 => DataType::Float64,
            SqlType::Timestamp(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
                DataType::Timestamp(TimeUnit::Microsecond, None)
            }
            _ => return Ok(None),
        };
        Ok(Some(Arc::new(Field::new("", data_type, true))))
    }
}

impl ExprPlanner for Syntax {
    fn plan_extract(&self, arguments: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        functions::call("date_part", arguments).map(PlannerResult::Planned)
    }

    fn plan_substring(&self, arguments: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(refused("substring", arguments))
    }

    fn plan_position(&self, arguments: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(refused("position", arguments))
    }

    fn plan_overlay(&self, arguments: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(refused("replace", arguments))
    }

    fn plan_binary_op(
        &self,
        raw: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        let sign = match raw.op {
            BinaryOperator::Plus => 1,
            BinaryOperator::Minus => -1,
            _ => return Ok(PlannerResult::Original(raw)),
        };
        let types = (raw.left.get_type(schema), raw.right.get_type(schema));
        let (Ok(left), Ok(right)) = types else {
            return Ok(PlannerResult::Original(raw));
        };
        let planned = match (left, right) {
            (DataType::Date32, DataType::Date32) if sign < 0 => {
                functions::call("days_between", vec![raw.right, raw.left])?
            }
            (DataType::Date32, DataType::Int64) => add("add_days", raw.left, raw.right, sign)?,
            (DataType::Int64, DataType::Date32) if sign > 0 => {
                add("add_days", raw.right, raw.left, sign)?
            }
            (time @ (DataType::Date32 | DataType::Timestamp(..)), DataType::Interval(_)) => {
                match Steps::of(&raw.right, &time) {
                    Some(steps) => steps.added_to(raw.left, sign)?,
                    None => return Ok(PlannerResult::Original(raw)),
                }
            }
            (DataType::Interval(_), time @ (DataType::Date32 | DataType::Timestamp(..)))
                if sign > 0 =>
            {
                match Steps::of(&raw.left, &time) {
                    Some(steps) => steps.added_to(raw.right, sign)?,
                    None => return Ok(PlannerResult::Original(raw)),
                }
            }
            _ => return Ok(PlannerResult::Original(raw)),
        };
        Ok(PlannerResult::Planned(planned))
    }
}

/// A literal interval of whole hours, days and months.
struct Steps {
    months: i64,
    days: i64,
    hours: i64,
}

impl Steps {
    fn of(interval: &Expr, time: &DataType) -> Option<Self> {
        const HOUR: i64 = 3_600_000_000_000;
        let Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), _) = interval else {
            return None;
        };
        let IntervalMonthDayNano {
            months,
            days,
            nanoseconds,
        } = *interval;
        let whole = nanoseconds % HOUR == 0;
        let below_a_day = nanoseconds != 0 && *time == DataType::Date32;
        (whole && !below_a_day).then_some(Self {
            months: months.into(),
            days: days.into(),
            hours: nanoseconds / HOUR,
        })
    }

    /// Months first, as SQL has it.
    fn added_to(&self, time: Expr, sign: i64) -> Result<Expr> {
        let steps = [
            ("add_months", self.months),
            ("add_days", self.days),
            ("add_hours", self.hours),
        ];
        let steps = steps.into_iter().filter(|(_, count)| *count != 0);
        steps.into_iter().try_fold(time, |time, (name, count)| {
            add(name, time, lit(count), sign)
        })
    }
}

/// A call that adds so many of something, or takes them away.
fn add(name: &str, time: Expr, count: Expr, sign: i64) -> Result<Expr> {
    let count = match count {
        count if sign > 0 => count,
        Expr::Literal(ScalarValue::Int64(Some(n)), _) if n != i64::MIN => lit(-n),
        count => lit(0_i64) - count,
    };
    functions::call(name, vec![time, count])
}

fn refused(name: &str, arguments: Vec<Expr>) -> PlannerResult<Vec<Expr>> {
    PlannerResult::Planned(Expr::ScalarFunction(ScalarFunction::new_udf(
        functions::other(name),
        arguments,
    )))
}
