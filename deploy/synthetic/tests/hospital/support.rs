//! A hospital in a folder, and its tables in memory.

use std::fs::File;
use std::path::Path;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{Date32Type, Float64Type, Int64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tempfile::TempDir;
use ward_synthetic::{Hospital, Mix, generate};

/// A hospital in a folder that goes with it.
pub(crate) fn hospital(name: &str, seed: u64, patients: u64, mix: Mix) -> TempDir {
    let folder = tempfile::tempdir().expect("temporary folder");
    let hospital = Hospital {
        name: name.into(),
        seed,
        patients,
        mix,
    };
    generate(folder.path(), &hospital, |_| {}).expect("generated");
    folder
}

/// A table, whole.
pub(crate) fn table(folder: &Path, name: &str) -> RecordBatch {
    let file = File::open(folder.join(format!("{name}.parquet"))).expect(name);
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect(name);
    let schema = reader.schema().clone();
    let batches: Vec<RecordBatch> = reader
        .build()
        .expect(name)
        .collect::<Result<_, _>>()
        .expect(name);
    concat_batches(&schema, &batches).expect(name)
}

/// An integer column.
pub(crate) fn integers(batch: &RecordBatch, column: &str) -> Vec<Option<i64>> {
    let array = batch.column_by_name(column).expect(column);
    array.as_primitive::<Int64Type>().iter().collect()
}

/// An integer column without nulls.
pub(crate) fn ids(batch: &RecordBatch, column: &str) -> Vec<i64> {
    let values = integers(batch, column);
    values.into_iter().map(|v| v.expect(column)).collect()
}

/// A column of numbers.
pub(crate) fn numbers(batch: &RecordBatch, column: &str) -> Vec<Option<f64>> {
    let array = batch.column_by_name(column).expect(column);
    array.as_primitive::<Float64Type>().iter().collect()
}

/// A column of dates, as days since 1970.
pub(crate) fn days(batch: &RecordBatch, column: &str) -> Vec<Option<i32>> {
    let array = batch.column_by_name(column).expect(column);
    assert_eq!(array.len(), batch.num_rows());
    array.as_primitive::<Date32Type>().iter().collect()
}
