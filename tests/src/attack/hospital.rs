//! Small hospitals in memory, served to the engine in any layout.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray, new_null_array,
};
use arrow::datatypes::DataType;
use datafusion::catalog::{MemTable, MemorySchemaProvider, SchemaProvider};
use ward_omop::arrow_schema;
use ward_schemas::cdm::{self, Table};

/// A column and its values.
pub type Named = (&'static str, ArrayRef);

/// Tables by name; the others of the model are empty.
#[derive(Clone, Debug, Default)]
pub struct Tables(BTreeMap<&'static str, RecordBatch>);

/// How rows lie.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Rows in a batch.
    pub batch: usize,
    /// Partitions, filled in turn.
    pub partitions: usize,
    /// Whether rows come last first.
    pub reversed: bool,
}

impl Layout {
    /// All in one.
    pub const PLAIN: Self = Self {
        batch: 1 << 16,
        partitions: 1,
        reversed: false,
    };
}

impl Tables {
    /// With a table of these columns; required ones that aren't given are zero or empty, others NULL.
    #[must_use]
    pub fn with(mut self, name: &'static str, given: &[Named]) -> Self {
        let table = cdm::table(name).expect("a table of the model");
        self.0.insert(table.name, build(table, given));
        self
    }

    /// Serves them.
    pub fn serve(&self, layout: Layout) -> Arc<dyn SchemaProvider> {
        let provider = MemorySchemaProvider::new();
        for table in cdm::tables() {
            let rows = self.0.get(table.name).cloned();
            let rows = rows.unwrap_or_else(|| RecordBatch::new_empty(arrow_schema(table)));
            let served = MemTable::try_new(rows.schema(), layout.parts(&rows)).expect("a table");
            let name = table.name.to_owned();
            provider
                .register_table(name, Arc::new(served))
                .expect("a new name");
        }
        Arc::new(provider)
    }
}

impl Layout {
    fn parts(self, rows: &RecordBatch) -> Vec<Vec<RecordBatch>> {
        let mut parts = vec![Vec::new(); self.partitions];
        let starts = (0..rows.num_rows()).step_by(self.batch);
        for (i, start) in starts.enumerate() {
            let batch = rows.slice(start, self.batch.min(rows.num_rows() - start));
            parts[i % self.partitions].push(if self.reversed {
                reversed(&batch)
            } else {
                batch
            });
        }
        if self.reversed {
            parts.iter_mut().for_each(|part| part.reverse());
        }
        parts
    }
}

fn reversed(batch: &RecordBatch) -> RecordBatch {
    let last_first = (0..batch.num_rows() as u64).rev();
    let indices = arrow::array::UInt64Array::from_iter_values(last_first);
    arrow::compute::take_record_batch(batch, &indices).expect("indices inside")
}

fn build(table: &Table, given: &[Named]) -> RecordBatch {
    let schema = arrow_schema(table);
    for (name, _) in given {
        assert!(table.column(name).is_some(), "{} has no {name}", table.name);
    }
    let rows = given.first().map_or(0, |(_, array)| array.len());
    let columns = schema.fields().iter().map(|field| {
        let given = given.iter().find(|(name, _)| name == field.name());
        match given {
            Some((_, array)) => Arc::clone(array),
            None if field.is_nullable() => new_null_array(field.data_type(), rows),
            None => zeros(field.data_type(), rows),
        }
    });
    let columns = columns.collect();
    RecordBatch::try_new(schema, columns).expect("columns of the model's types")
}

fn zeros(data_type: &DataType, rows: usize) -> ArrayRef {
    match data_type {
        DataType::Int64 => integers(std::iter::repeat_n(0, rows)),
        DataType::Date32 => dates(std::iter::repeat_n(0, rows)),
        DataType::Utf8 => Arc::new(StringArray::from(vec![""; rows])),
        other => panic!("no required column is {other}"),
    }
}

/// A column of integers.
pub fn integers(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<Int64Array>())
}

/// A column of doubles, some of them NULL.
pub fn doubles(values: impl IntoIterator<Item = Option<f64>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<Float64Array>())
}

/// A column of days since 1970.
pub fn dates(values: impl IntoIterator<Item = i32>) -> ArrayRef {
    Arc::new(values.into_iter().map(Some).collect::<Date32Array>())
}
