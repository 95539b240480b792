//! Sorting by patient, and judging rows that a patient has twice.

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::{
    SortColumn, concat_batches, filter_record_batch, lexsort_to_indices, partition,
    take_record_batch,
};
use arrow::datatypes::Int64Type;
use arrow::error::ArrowError;
use ward_omop::arrow_schema;
use ward_schemas::cdm::{self, Table};

/// Rows sorted by patient, by primary key and then by all columns.
pub(super) struct Clustered {
    pub(super) rows: RecordBatch,
    /// How many rows were dropped.
    pub(super) duplicates: u64,
    /// How many rows have the primary key of another row of their patient and were kept.
    pub(super) shared_keys: u64,
}

pub(super) fn cluster(
    table: &'static Table,
    batches: &[RecordBatch],
) -> Result<Clustered, ArrowError> {
    let all = sorted(table, &concat_batches(&arrow_schema(table), batches)?)?;
    let rows = filter_record_batch(&all, &first_of_equals(table, &all)?)?;
    Ok(Clustered {
        duplicates: (all.num_rows() - rows.num_rows()) as u64,
        shared_keys: shared_keys(table, &rows),
        rows,
    })
}

/// Whose each row is.
pub(super) fn patients(rows: &RecordBatch) -> impl Iterator<Item = i64> {
    integers(rows, cdm::PATIENT).values().iter().copied()
}

fn sorted(table: &Table, rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let first = [Some(cdm::PATIENT), table.primary_key];
    let leading = first.iter().flatten().map(|name| &rows[*name]);
    let columns: Vec<SortColumn> = leading.chain(rows.columns()).map(ascending).collect();
    let order = lexsort_to_indices(&columns, None)?;
    take_record_batch(rows, &order)
}

fn ascending(values: &ArrayRef) -> SortColumn {
    SortColumn {
        values: values.clone(),
        options: None,
    }
}

/// Which rows are the first of those that are equal: in patient and key, where other tables have the
/// key too, and otherwise in all columns.
fn first_of_equals(table: &Table, sorted: &RecordBatch) -> Result<BooleanArray, ArrowError> {
    let equal = match table.referenced_key() {
        Some(key) => &[sorted[cdm::PATIENT].clone(), sorted[key].clone()],
        None => sorted.columns(),
    };
    let mut first = vec![false; sorted.num_rows()];
    for run in partition(equal)?.ranges() {
        first[run.start] = true;
    }
    Ok(first.into())
}

fn shared_keys(table: &Table, sorted: &RecordBatch) -> u64 {
    let Some(key) = table.primary_key else {
        return 0;
    };
    let keys = integers(sorted, key).values();
    let patients = integers(sorted, cdm::PATIENT).values();
    let shares = |row: &usize| {
        let same = |ids: &[i64]| ids[*row] == ids[row - 1];
        same(keys) && same(patients)
    };
    (1..sorted.num_rows()).filter(shares).count() as u64
}

fn integers<'a>(rows: &'a RecordBatch, column: &str) -> &'a Int64Array {
    rows[column]
        .as_primitive_opt::<Int64Type>()
        .expect("the model's identifiers are integers, and rows have the model's types")
}
