//! A hospital of extremes: every column of every table holds the values on which expressions fail.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{Field, Schema};
use datafusion::catalog::{MemorySchemaProvider, SchemaProvider};
use datafusion::datasource::MemTable;
use ward_schemas::cdm::{self, Column, ColumnRole, ColumnType, Table};

const INTEGERS: [i64; 9] = [0, i64::MIN, i64::MAX, -1, 1, 12, 31, 1950, 8507];
const DOUBLES: [f64; 9] = [
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
    -0.0,
    0.0,
    1e300,
    -1e-300,
    5.5,
    f64::MAX,
];
const DAYS: [i32; 7] = [
    i32::MIN,
    i32::MAX,
    0,
    -719_529,
    95_026_236,
    95_026_237,
    19_040,
];
const TEXTS: [&str; 8] = [
    "",
    "E11.9",
    "9223372036854775808",
    "1e400",
    "2020-02-30",
    "NaN",
    "%_\\",
    "日本\0",
];

/// All tables, with so many rows each, of a few patients, in batches of seven.
pub(crate) fn tables(rows: usize) -> Arc<dyn SchemaProvider> {
    let provider = MemorySchemaProvider::new();
    for table in cdm::tables() {
        let batch = batch(table, rows);
        let starts = (0..batch.num_rows()).step_by(7);
        let batches = starts.map(|at| batch.slice(at, 7.min(batch.num_rows() - at)));
        let served = MemTable::try_new(batch.schema(), vec![batches.collect()]).expect("table");
        provider
            .register_table(table.name.to_owned(), Arc::new(served))
            .expect("registered");
    }
    Arc::new(provider)
}

fn batch(table: &Table, rows: usize) -> RecordBatch {
    let columns = table.columns.iter().enumerate().map(|(salt, column)| {
        let array = array(table, column, salt, rows);
        let field = Field::new(column.name, array.data_type().clone(), !column.required);
        (field, array)
    });
    let (fields, arrays): (Vec<_>, Vec<_>) = columns.unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("batch")
}

/// Patients and keys are in order; other columns go through their extremes, each at its own pace.
fn array(table: &Table, column: &Column, salt: usize, rows: usize) -> ArrayRef {
    let one_row_each = table.referenced_key() == Some(column.name);
    let at = |row: usize| row + row / (salt + 2) + salt;
    let missing = |row: usize| !column.required && at(row).is_multiple_of(11);
    let value = |row: usize| (!missing(row)).then(|| at(row));
    fn pick<T: Copy>(from: &[T]) -> impl Fn(usize) -> T + '_ {
        |i| from[i % from.len()]
    }
    let rows = 0..rows;
    match (column.role, column.column_type) {
        (ColumnRole::Patient | ColumnRole::Identifier, _) => {
            let id = |row: usize| i64::try_from(if one_row_each { row } else { row / 9 }).ok();
            Arc::new(rows.map(id).collect::<Int64Array>())
        }
        (_, ColumnType::Integer) => Arc::new(
            rows.map(|r| value(r).map(pick(&INTEGERS)))
                .collect::<Int64Array>(),
        ),
        (_, ColumnType::Number) => Arc::new(
            rows.map(|r| value(r).map(pick(&DOUBLES)))
                .collect::<Float64Array>(),
        ),
        (_, ColumnType::Text) => Arc::new(
            rows.map(|r| value(r).map(pick(&TEXTS)))
                .collect::<StringArray>(),
        ),
        (_, ColumnType::Date) => Arc::new(
            rows.map(|r| value(r).map(pick(&DAYS)))
                .collect::<Date32Array>(),
        ),
        (_, ColumnType::Timestamp) => Arc::new(
            rows.map(|r| value(r).map(pick(&INTEGERS)))
                .collect::<TimestampMicrosecondArray>(),
        ),
    }
}
