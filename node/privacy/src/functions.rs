//! The scalar functions that ship with the model. All are total: any input gives a value or NULL,
//! never an error. Their versions stand in [`ward_schemas::functions::FUNCTIONS`].

mod choices;
mod dates;
mod numbers;
mod other;
mod texts;
mod udf;

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, PrimitiveArray};
use arrow::datatypes::{ArrowPrimitiveType, DataType, TimeUnit};
use arrow::error::ArrowError;
use datafusion::common::plan_datafusion_err;
use datafusion::logical_expr::ScalarUDF;
use datafusion::logical_expr::{Expr, expr::ScalarFunction};

pub(crate) use other::{instead_of, other};
use udf::Udf;

/// A function of the values in one row.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) name: &'static str,
    takes: Takes,
    /// The words that may stand as its first argument, where that names a unit of time.
    pub(crate) units: &'static [&'static str],
    evaluate: Evaluate,
}

/// From as many arrays as the function takes arguments, of those types and one length, to an array
/// of that length. An error depends on these, never on a value.
type Evaluate = fn(&[ArrayRef]) -> Result<ArrayRef, ArrowError>;

#[derive(Debug)]
enum Takes {
    /// Arguments of one of these types; with the type of the result.
    Types(&'static [(&'static [DataType], DataType)]),
    /// At least so many arguments of any one type, which is that of the result, and at most so many.
    Alike(usize, usize),
}

/// A timestamp of the model.
const TIMESTAMP: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

impl Function {
    const fn new(
        name: &'static str,
        takes: &'static [(&'static [DataType], DataType)],
        evaluate: Evaluate,
    ) -> Self {
        Self {
            name,
            takes: Takes::Types(takes),
            units: &[],
            evaluate,
        }
    }

    const fn alike(name: &'static str, most: usize, evaluate: Evaluate) -> Self {
        Self {
            name,
            takes: Takes::Alike(2, most),
            units: &[],
            evaluate,
        }
    }
}

/// Every function that statements may call, by name.
pub(crate) fn all() -> Vec<Arc<ScalarUDF>> {
    let mut functions: Vec<_> = dates::FUNCTIONS
        .iter()
        .chain(&numbers::FUNCTIONS)
        .chain(&texts::FUNCTIONS)
        .chain(&choices::FUNCTIONS)
        .chain([&dates::DAY_OF])
        .collect();
    functions.sort_by_key(|f| f.name);
    functions.into_iter().map(udf).collect()
}

/// The name of the function that the planner asks for: `TRIM(x)` is `btrim` to it.
pub(crate) fn sql_name(name: &str) -> &str {
    match name {
        "btrim" => "trim",
        _ => name,
    }
}

/// The function of this name, called.
pub(crate) fn call(name: &str, arguments: Vec<Expr>) -> datafusion::common::Result<Expr> {
    let named = all().into_iter().find(|f| f.name() == name);
    let function = named.ok_or_else(|| plan_datafusion_err!("no function {name}"))?;
    Ok(Expr::ScalarFunction(ScalarFunction::new_udf(
        function, arguments,
    )))
}

/// `a / b` of whole numbers, as SQL has it: towards zero. NULL where b is zero or the quotient is
/// no 64-bit integer.
pub(crate) fn quotient() -> Arc<ScalarUDF> {
    udf(&numbers::QUOTIENT)
}

/// `a % b`: what division leaves, with a's sign. NULL where b is zero.
pub(crate) fn remainder() -> Arc<ScalarUDF> {
    udf(&numbers::REMAINDER)
}

/// A double, or NULL where it is NaN.
pub(crate) fn unless_nan() -> Arc<ScalarUDF> {
    udf(&numbers::UNLESS_NAN)
}

/// `day_of(timestamp)`: its date. Total: every day that 64 bits of microseconds reach has a number.
pub(crate) fn day_of() -> Arc<ScalarUDF> {
    udf(&dates::DAY_OF)
}

/// A date as `YYYY-MM-DD`. NULL out of the calendar.
pub(crate) fn date_text() -> Arc<ScalarUDF> {
    udf(&dates::DATE_TEXT)
}

/// Ward's function behind DataFusion's; `None` for anything else's.
pub(crate) fn of(udf: &ScalarUDF) -> Option<&'static Function> {
    let udf: &dyn std::any::Any = udf.inner().as_ref();
    udf.downcast_ref::<Udf>().map(Udf::function)
}

fn udf(function: &'static Function) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(Udf::new(function)))
}

fn map<A, R>(
    values: &ArrayRef,
    f: impl Fn(A::Native) -> Option<R::Native>,
) -> Result<ArrayRef, ArrowError>
where
    A: ArrowPrimitiveType,
    R: ArrowPrimitiveType,
{
    let values = values.as_primitive::<A>().iter();
    let results = values.map(|value| f(value?));
    Ok(Arc::new(results.collect::<PrimitiveArray<R>>()))
}

fn map_both<A, B, R>(
    left: &ArrayRef,
    right: &ArrayRef,
    f: impl Fn(A::Native, B::Native) -> Option<R::Native>,
) -> Result<ArrayRef, ArrowError>
where
    A: ArrowPrimitiveType,
    B: ArrowPrimitiveType,
    R: ArrowPrimitiveType,
{
    let left = left.as_primitive::<A>().iter();
    let pairs = left.zip(right.as_primitive::<B>());
    let results = pairs.map(|(left, right)| f(left?, right?));
    Ok(Arc::new(results.collect::<PrimitiveArray<R>>()))
}

#[cfg(test)]
mod tests;
