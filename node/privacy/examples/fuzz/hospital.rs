//! A hospital of extremes: every column of every table holds the values on which expressions fail.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{Field, Schema};
use datafusion::catalog::{MemorySchemaProvider, SchemaProvider};
use datafusion::datasource::MemTable;
use ward_schemas::cdm::{self, Column, ColumnRole, ColumnType, PrivacyClass, Table};

const INTEGERS: [i64; 9] = [0, i64::MIN, i64::MAX, -1, 1, 12, 31, 1950, 2];
const CONCEPTS: [i64; 7] = [8507, 8532, 10, 11, 0, i64::MAX, 9201];
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
const DAYS: [i32; 9] = [
    i32::MIN,
    i32::MAX,
    0,
    -719_529,
    19_040,
    19_041,
    18_262,
    95_026_236,
    95_026_237,
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

/// How rows lie, and whose are missing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub(crate) rows: usize,
    pub(crate) batch: usize,
    pub(crate) reversed: bool,
    pub(crate) without: Option<i64>,
}

impl Layout {
    /// So many rows a table, in batches of seven.
    pub(crate) fn of(rows: usize) -> Self {
        Self {
            rows,
            batch: 7,
            reversed: false,
            without: None,
        }
    }

    fn rows_of(&self, table: &Table) -> Vec<usize> {
        let personal = table.class == PrivacyClass::Personal;
        let missing = |row: &usize| personal && self.without == Some(patient(table, *row));
        let rows = (0..self.rows).filter(|row| !missing(row));
        if self.reversed {
            rows.rev().collect()
        } else {
            rows.collect()
        }
    }
}

/// All tables; a patient has nine rows in each, but one where a patient has one.
pub(crate) fn tables(layout: Layout) -> Arc<dyn SchemaProvider> {
    let provider = MemorySchemaProvider::new();
    for table in cdm::tables() {
        let batch = batch(table, &layout.rows_of(table));
        let starts = (0..batch.num_rows()).step_by(layout.batch);
        let batches = starts.map(|at| batch.slice(at, layout.batch.min(batch.num_rows() - at)));
        let served = MemTable::try_new(batch.schema(), vec![batches.collect()]).expect("table");
        provider
            .register_table(table.name.to_owned(), Arc::new(served))
            .expect("registered");
    }
    Arc::new(provider)
}

fn batch(table: &Table, rows: &[usize]) -> RecordBatch {
    let columns = table.columns.iter().enumerate().map(|(salt, column)| {
        let array = array(table, column, salt, rows);
        let field = Field::new(column.name, array.data_type().clone(), !column.required);
        (field, array)
    });
    let (fields, arrays): (Vec<_>, Vec<_>) = columns.unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("batch")
}

fn patient(table: &Table, row: usize) -> i64 {
    let one_row_each = table.referenced_key() == Some(cdm::PATIENT);
    i64::try_from(if one_row_each { row } else { row / 9 }).expect("few")
}

/// Keys are unique, and links lead to a row of the same patient; other columns go through their
/// extremes, each at its own pace.
fn array(table: &Table, column: &Column, salt: usize, rows: &[usize]) -> ArrayRef {
    let at = |row: usize| row + row / (salt + 2) + salt;
    let missing = |row: usize| !column.required && at(row).is_multiple_of(11);
    let link = |row: usize| i64::try_from(row / 3 * 3).expect("few");
    fn pick<T: Copy>(from: &[T]) -> impl Fn(usize) -> T + '_ {
        |i| from[i % from.len()]
    }
    let values = rows.iter().map(|&row| (!missing(row)).then(|| at(row)));
    match (column.role, column.column_type) {
        _ if column.name == cdm::PATIENT && table.class == PrivacyClass::Personal => {
            let ids = rows.iter().map(|&row| patient(table, row));
            Arc::new(ids.collect::<Int64Array>())
        }
        _ if table.primary_key == Some(column.name) => {
            let ids = rows.iter().map(|&row| i64::try_from(row).expect("few"));
            Arc::new(ids.collect::<Int64Array>())
        }
        (ColumnRole::Patient | ColumnRole::Identifier, _) => {
            let ids = rows.iter().map(|&row| (!missing(row)).then(|| link(row)));
            Arc::new(ids.collect::<Int64Array>())
        }
        (ColumnRole::Concept, ColumnType::Integer) => Arc::new(
            values
                .map(|v| v.map(pick(&CONCEPTS)))
                .collect::<Int64Array>(),
        ),
        (_, ColumnType::Integer) => Arc::new(
            values
                .map(|v| v.map(pick(&INTEGERS)))
                .collect::<Int64Array>(),
        ),
        (_, ColumnType::Number) => Arc::new(
            values
                .map(|v| v.map(pick(&DOUBLES)))
                .collect::<Float64Array>(),
        ),
        (_, ColumnType::Text) => {
            Arc::new(values.map(|v| v.map(pick(&TEXTS))).collect::<StringArray>())
        }
        (_, ColumnType::Date) => {
            Arc::new(values.map(|v| v.map(pick(&DAYS))).collect::<Date32Array>())
        }
        (_, ColumnType::Timestamp) => Arc::new(
            values
                .map(|v| v.map(pick(&INTEGERS)))
                .collect::<TimestampMicrosecondArray>(),
        ),
    }
}
