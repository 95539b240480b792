//! Functions that choose among their arguments, which are of one type.

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::compute::kernels::{cmp, zip::zip};
use arrow::compute::{is_not_null, nullif, prep_null_mask_filter};
use arrow::error::ArrowError;

use super::Function;

const MOST: usize = 16;

pub(super) static FUNCTIONS: [Function; 4] = [
    Function::alike("coalesce", MOST, |a| fold(a, |first, _| is_not_null(first))),
    Function::alike("greatest", MOST, |a| {
        fold(a, |one, other| cmp::gt_eq(one, other))
    }),
    Function::alike("least", MOST, |a| {
        fold(a, |one, other| cmp::lt_eq(one, other))
    }),
    Function::alike("nullif", 2, |a| nullif(&a[0], &cmp::eq(&a[0], &a[1])?)),
];

/// Of each two, the first where `keep` says so or the second is NULL.
fn fold(
    arguments: &[ArrayRef],
    keep: fn(&ArrayRef, &ArrayRef) -> Result<BooleanArray, ArrowError>,
) -> Result<ArrayRef, ArrowError> {
    let (first, rest) = arguments
        .split_first()
        .ok_or_else(|| ArrowError::ComputeError("no arguments".into()))?;
    rest.iter().try_fold(ArrayRef::clone(first), |one, other| {
        let keep = sure(&keep(&one, other)?);
        let alone = arrow::compute::is_null(other)?;
        zip(&arrow::compute::or(&keep, &alone)?, &one, other)
    })
}

/// False where it is NULL.
fn sure(condition: &BooleanArray) -> BooleanArray {
    match condition.null_count() {
        0 => condition.clone(),
        _ => prep_null_mask_filter(condition),
    }
}
