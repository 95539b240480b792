//! From the rows of a table to its Parquet file, in bounded memory.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::builder::{
    Date32Builder, Float64Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use chrono::{NaiveDate, NaiveDateTime};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use ward_schemas::cdm::{self, ColumnType};

use crate::SyntheticError;

/// Rows that wait in memory before they are encoded.
const BATCH_ROWS: usize = 8_192;
/// Rows of a row group: encoded, some megabytes.
const GROUP_ROWS: usize = 131_072;

/// One value of a row.
pub(crate) enum Cell {
    Null,
    Integer(i64),
    Number(f64),
    Text(&'static str),
    Date(NaiveDate),
    Timestamp(NaiveDateTime),
}

macro_rules! cell_from {
    ($($type:ty => $variant:ident),*) => {$(
        impl From<$type> for Cell {
            fn from(value: $type) -> Self {
                Self::$variant(value)
            }
        }
    )*};
}
cell_from!(i64 => Integer, f64 => Number, &'static str => Text, NaiveDate => Date, NaiveDateTime => Timestamp);

impl<T: Into<Self>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// A column's name and how to read its value off a row.
pub(crate) type Field<T> = (&'static str, fn(&T) -> Cell);

/// A row of a table of the model. Columns without a field are null.
pub(crate) trait Row: Sized + 'static {
    /// The table's name.
    const TABLE: &'static str;
    /// Its columns that are not null.
    const FIELDS: &'static [Field<Self>];
}

/// The Parquet file of one table.
pub(crate) struct Sink<T: Row> {
    path: PathBuf,
    schema: SchemaRef,
    writer: ArrowWriter<File>,
    columns: Vec<Column<T>>,
    waiting: usize,
    written: u64,
}

struct Column<T> {
    builder: Builder,
    read: Option<fn(&T) -> Cell>,
}

impl<T: Row> Sink<T> {
    /// Starts the table's file in a folder; one that is there is replaced.
    pub(crate) fn create(folder: &Path) -> Result<Self, SyntheticError> {
        let table = cdm::table(T::TABLE).expect("rows name tables of the model");
        let path = folder.join(format!("{}.parquet", T::TABLE));
        let schema = ward_omop::arrow_schema(table);
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .build();
        let file = File::create(&path).map_err(|e| SyntheticError::file(&path, e))?;
        let writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties))
            .map_err(|e| SyntheticError::parquet(&path, e))?;
        let columns = table.columns.iter().map(|column| Column {
            builder: Builder::new(column.column_type),
            read: T::FIELDS
                .iter()
                .find(|(name, _)| *name == column.name)
                .map(|(_, read)| *read),
        });
        Ok(Self {
            path,
            schema,
            writer,
            columns: columns.collect(),
            waiting: 0,
            written: 0,
        })
    }

    /// Adds rows.
    pub(crate) fn write(&mut self, rows: &[T]) -> Result<(), SyntheticError> {
        for row in rows {
            for column in &mut self.columns {
                let cell = column.read.map_or(Cell::Null, |read| read(row));
                column.builder.push(cell);
            }
        }
        self.waiting += rows.len();
        if self.waiting >= BATCH_ROWS {
            self.flush()?;
        }
        Ok(())
    }

    /// Ends the file and tells its rows.
    pub(crate) fn finish(mut self) -> Result<(&'static str, u64), SyntheticError> {
        self.flush()?;
        self.writer
            .close()
            .map_err(|e| SyntheticError::parquet(&self.path, e))?;
        Ok((T::TABLE, self.written))
    }

    fn flush(&mut self) -> Result<(), SyntheticError> {
        let arrays = self.columns.iter_mut().map(|c| c.builder.finish());
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), arrays.collect())
            .map_err(|e| SyntheticError::parquet(&self.path, e.into()))?;
        self.writer
            .write(&batch)
            .map_err(|e| SyntheticError::parquet(&self.path, e))?;
        self.written += self.waiting as u64;
        self.waiting = 0;
        Ok(())
    }
}

enum Builder {
    Integer(Int64Builder),
    Number(Float64Builder),
    Text(StringBuilder),
    Date(Date32Builder),
    Timestamp(TimestampMicrosecondBuilder),
}

impl Builder {
    fn new(column: ColumnType) -> Self {
        match column {
            ColumnType::Integer => Self::Integer(Int64Builder::new()),
            ColumnType::Number => Self::Number(Float64Builder::new()),
            ColumnType::Text => Self::Text(StringBuilder::new()),
            ColumnType::Date => Self::Date(Date32Builder::new()),
            ColumnType::Timestamp => Self::Timestamp(TimestampMicrosecondBuilder::new()),
        }
    }

    /// A cell of another type than the column's is null; the tests see to it that none is.
    fn push(&mut self, cell: Cell) {
        match (self, cell) {
            (Self::Integer(b), Cell::Integer(v)) => b.append_value(v),
            (Self::Integer(b), _) => b.append_null(),
            (Self::Number(b), Cell::Number(v)) => b.append_value(v),
            (Self::Number(b), _) => b.append_null(),
            (Self::Text(b), Cell::Text(v)) => b.append_value(v),
            (Self::Text(b), _) => b.append_null(),
            (Self::Date(b), Cell::Date(v)) => b.append_value(days(v)),
            (Self::Date(b), _) => b.append_null(),
            (Self::Timestamp(b), Cell::Timestamp(v)) => {
                b.append_value(v.and_utc().timestamp_micros());
            }
            (Self::Timestamp(b), _) => b.append_null(),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Integer(b) => Arc::new(b.finish()),
            Self::Number(b) => Arc::new(b.finish()),
            Self::Text(b) => Arc::new(b.finish()),
            Self::Date(b) => Arc::new(b.finish()),
            Self::Timestamp(b) => Arc::new(b.finish()),
        }
    }
}

/// Days since 1970-01-01.
fn days(date: NaiveDate) -> i32 {
    date.to_epoch_days()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{
        Condition, ConditionEra, Death, DrugEra, Exposure, Measurement, Observation, Period,
        Person, Procedure, Visit,
    };
    use crate::{Hospital, Mix, generate};
    use arrow::array::Array;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    /// A field of another name or type than its column's leaves the column null.
    fn every_field_arrives<T: Row>(folder: &Path) {
        let file = File::open(folder.join(format!("{}.parquet", T::TABLE))).expect("file");
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("reader");
        let batches: Vec<RecordBatch> = reader
            .build()
            .expect("reader")
            .collect::<Result<_, _>>()
            .expect("batches");
        for (name, _) in T::FIELDS {
            let arrives = |b: &RecordBatch| {
                let column = b.column_by_name(name).expect(name);
                column.null_count() < column.len()
            };
            assert!(batches.iter().any(arrives), "{}.{name}", T::TABLE);
        }
    }

    #[test]
    fn every_field_arrives_in_its_column() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let hospital = Hospital {
            name: "a".into(),
            seed: 1,
            patients: 300,
            mix: Mix::Geriatric,
        };
        generate(folder.path(), &hospital, |_| {}).expect("generated");
        every_field_arrives::<Person>(folder.path());
        every_field_arrives::<Period>(folder.path());
        every_field_arrives::<Visit>(folder.path());
        every_field_arrives::<Condition>(folder.path());
        every_field_arrives::<Exposure>(folder.path());
        every_field_arrives::<Procedure>(folder.path());
        every_field_arrives::<Measurement>(folder.path());
        every_field_arrives::<Observation>(folder.path());
        every_field_arrives::<Death>(folder.path());
        every_field_arrives::<DrugEra>(folder.path());
        every_field_arrives::<ConditionEra>(folder.path());
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named_in_the_error() {
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        let error = Sink::<Person>::create(file.path()).err().expect("refused");
        let path = file.path().join("person.parquet");
        assert!(error.to_string().contains(&*path.to_string_lossy()));
    }
}
