//! Functions of numbers. Where the result is no finite double, or no 64-bit integer, it is NULL.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType::{Float64, Int64};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use arrow::error::ArrowError;

use super::{Function, map, map_both};

const OF_EITHER: &[(&[DataType], DataType)] = &[(&[Int64], Int64), (&[Float64], Float64)];
const OF_DOUBLE: &[(&[DataType], DataType)] = &[(&[Float64], Float64)];
const OF_TWO: &[(&[DataType], DataType)] =
    &[(&[Int64, Int64], Int64), (&[Float64, Float64], Float64)];

pub(super) static FUNCTIONS: [Function; 7] = [
    Function::new("abs", OF_EITHER, |a| match a[0].data_type() {
        Int64 => map::<Int64Type, Int64Type>(&a[0], i64::checked_abs),
        _ => map::<Float64Type, Float64Type>(&a[0], |x| Some(x.abs())),
    }),
    Function::new("ceil", OF_EITHER, |a| whole(&a[0], f64::ceil)),
    Function::new("floor", OF_EITHER, |a| whole(&a[0], f64::floor)),
    Function::new("ln", OF_DOUBLE, |a| {
        map::<Float64Type, Float64Type>(&a[0], |x| finite(x.ln()))
    }),
    Function::new("power", &[(&[Float64, Float64], Float64)], |a| {
        map_both::<Float64Type, Float64Type, Float64Type>(&a[0], &a[1], |x, y| finite(x.powf(y)))
    }),
    Function::new("round", OF_EITHER, |a| whole(&a[0], f64::round_ties_even)),
    Function::new("sqrt", OF_DOUBLE, |a| {
        map::<Float64Type, Float64Type>(&a[0], |x| finite(x.sqrt()))
    }),
];

pub(super) static QUOTIENT: Function =
    Function::new("quotient", &[(&[Int64, Int64], Int64)], |a| {
        map_both::<Int64Type, Int64Type, Int64Type>(&a[0], &a[1], i64::checked_div)
    });

pub(super) static REMAINDER: Function =
    Function::new("remainder", OF_TWO, |a| match a[0].data_type() {
        Int64 => map_both::<Int64Type, Int64Type, Int64Type>(&a[0], &a[1], |x, y| {
            (y != 0).then(|| x.wrapping_rem(y))
        }),
        _ => map_both::<Float64Type, Float64Type, Float64Type>(&a[0], &a[1], |x, y| finite(x % y)),
    });

pub(super) static UNLESS_NAN: Function = Function::new("unless_nan", OF_DOUBLE, |a| {
    map::<Float64Type, Float64Type>(&a[0], |x| (!x.is_nan()).then_some(x))
});

fn whole(values: &ArrayRef, to: fn(f64) -> f64) -> Result<ArrayRef, ArrowError> {
    match values.data_type() {
        Int64 => Ok(Arc::clone(values)),
        _ => map::<Float64Type, Float64Type>(values, |x| Some(to(x))),
    }
}

fn finite(x: f64) -> Option<f64> {
    x.is_finite().then_some(x)
}
