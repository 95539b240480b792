//! One folder of OMOP tables, as other tools export them.
//!
//! A table is the file `NAME.parquet` or `NAME.csv`, in any case. Columns are found by name in any
//! case, under their names of OMOP 5.4 or 5.3. Types are lenient: an identifier may be an integer,
//! a double or text, a date may be a date, a timestamp or text. What a value means never depends
//! on another row, so no type is guessed from content: every value is read for the type that the
//! model gives its column.
//!
//! | in the file | is read as |
//! | --- | --- |
//! | nothing, empty text, and (but for text) `NULL`, `NA`, `\N` | no value |
//! | no value of a required concept | 0 |
//! | no value of a required text (a concept's name) | empty text |
//! | no value of another required column | a [`Fault`] of the row |
//! | an unreadable value of an optional column | no value, counted in [`TableReader::notes`] |
//! | an unreadable value of a required column | a [`Fault`] of the row |
//! | NaN or an infinity in a column of numbers | a [`Fault`] of the row |
//! | a patient's identifier | text; whole numbers without leading zeros, sign or decimals |

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, SchemaRef};
use arrow::error::ArrowError;
use parquet::errors::ParquetError;
use ward_schemas::cdm::{self, Column, ColumnRole, PrivacyClass, Table};

mod lenient;
mod source;

use source::Source;

/// A folder of OMOP tables.
#[derive(Clone, Debug)]
pub struct Folder {
    files: BTreeMap<&'static str, TableFile>,
}

impl Folder {
    /// Finds the tables of the model in a folder; other files are left alone.
    ///
    /// # Errors
    /// When the folder can't be listed, or two files hold the same table.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let failed = |source| FolderError::List {
            path: path.to_owned(),
            source,
        };
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(path).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let Some((table, format)) = recognise(&path) else {
                continue;
            };
            let bytes = fs::metadata(&path).map_err(failed)?.len();
            let file = TableFile {
                table,
                format,
                bytes,
                path: path.clone(),
            };
            if let Some(other) = files.insert(table.name, file) {
                let table = table.name;
                let [one, two] = ordered(other.path, path);
                return Err(FolderError::Twice { table, one, two });
            }
        }
        Ok(Self { files })
    }

    /// The file of a table (lower-case name), if the folder has one.
    pub fn table(&self, name: &str) -> Option<&TableFile> {
        self.files.get(name)
    }
}

/// The file of one table.
#[derive(Clone, Debug)]
pub struct TableFile {
    table: &'static Table,
    path: PathBuf,
    format: Format,
    bytes: u64,
}

#[derive(Clone, Copy, Debug)]
enum Format {
    Parquet,
    Csv,
}

impl TableFile {
    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its length in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Starts to read it, at most `batch_rows` rows a batch.
    ///
    /// # Errors
    /// When the file can't be opened, has no header, or names a column twice.
    pub fn read(&self, batch_rows: usize) -> Result<TableReader, ReadError> {
        let located = |cause| ReadError {
            path: self.path.clone(),
            cause,
        };
        let open = |names: &[String]| Columns::locate(self.table, names);
        let (source, columns) = match self.format {
            Format::Parquet => Source::parquet(&self.path, batch_rows, open),
            Format::Csv => Source::csv(&self.path, batch_rows, open),
        }
        .map_err(located)?;
        Ok(TableReader {
            table: self.table,
            path: self.path.clone(),
            bytes: self.bytes,
            blanks: vec![0; columns.found.len()],
            schema: source_schema(self.table),
            source,
            columns,
        })
    }
}

/// The rows of one table, batch by batch, in the order of the file.
pub struct TableReader {
    table: &'static Table,
    path: PathBuf,
    bytes: u64,
    schema: SchemaRef,
    source: Source,
    columns: Columns,
    blanks: Vec<u64>,
}

impl TableReader {
    /// How far the reader has come, in bytes of the file (for Parquet in proportion to its rows).
    pub fn position(&self) -> u64 {
        self.source.position(self.bytes)
    }

    /// Roughly how many bytes the whole table takes in memory.
    pub fn memory_estimate(&self) -> u64 {
        let row = 12 * self.table.columns.len() as u64;
        match self.source.total_rows() {
            Some(rows) => rows.saturating_mul(row),
            None => self.bytes.saturating_mul(3),
        }
    }

    /// What a steward should know about how the file was read; complete after the last batch.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = self.columns.notes.clone();
        for (column, blanks) in self.table.columns.iter().zip(&self.blanks) {
            if *blanks > 0 {
                notes.push(format!(
                    "{}: {blanks} values could not be read and were left empty",
                    column.name
                ));
            }
        }
        notes
    }

    fn rows(&mut self, source: &RecordBatch) -> Result<Rows, ArrowError> {
        let mut faults = vec![None; source.num_rows()];
        let mut arrays = Vec::with_capacity(self.table.columns.len());
        for (i, column) in self.table.columns.iter().enumerate() {
            let found = self.columns.found[i].map(|index| source.column(index));
            let read = lenient::read(column, is_patient(column, self.table), found, &mut faults)?;
            self.blanks[i] += read.blanks;
            arrays.push(read.array);
        }
        let batch = RecordBatch::try_new(self.schema.clone(), arrays)?;
        Ok(Rows { batch, faults })
    }
}

impl Iterator for TableReader {
    type Item = Result<Rows, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rows = match self.source.next()? {
            Ok(batch) => self.rows(&batch),
            Err(error) => Err(error),
        };
        Some(rows.map_err(|error| ReadError {
            path: self.path.clone(),
            cause: ReadCause::Content(error),
        }))
    }
}

impl fmt::Debug for TableReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TableReader({})", self.path.display())
    }
}

/// Some rows of a table.
#[derive(Clone, Debug)]
pub struct Rows {
    /// All rows in the types of the model, except that a personal table's `person_id` is the
    /// source's identifier as text, and that nothing is required.
    pub batch: RecordBatch,
    /// For each row what keeps it from being a row of the model, if anything does.
    pub faults: Vec<Option<Fault>>,
}

/// Why a row is no row of the model: the first such column and its cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The column.
    pub column: &'static str,
    /// What is wrong with its value.
    pub cause: Cause,
}

/// What is wrong with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// There is none, and the column requires one.
    Missing,
    /// It can't be read as the column's type, and the column requires one.
    Unreadable,
    /// It is NaN or infinite.
    NotFinite,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "the value is missing",
            Self::Unreadable => "the value can't be read",
            Self::NotFinite => "the value is not a finite number",
        })
    }
}

/// Why a folder can't be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It can't be listed.
    #[error("can't list {path}: {source}; give a readable folder of OMOP tables", path = path.display())]
    List {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Two files of one table.
    #[error("both {one} and {two} hold the table {table}; leave one of them", one = one.display(), two = two.display())]
    Twice {
        /// The table.
        table: &'static str,
        /// One file.
        one: PathBuf,
        /// The other.
        two: PathBuf,
    },
}

/// A file that can't be read, as a whole.
#[derive(Debug, thiserror::Error)]
#[error("can't read {path}: {cause}", path = path.display())]
pub struct ReadError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub cause: ReadCause,
}

/// Why a file can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadCause {
    /// The operating system says no.
    #[error("{0}; check that the file is readable")]
    Io(#[from] io::Error),
    /// Not Parquet.
    #[error("{0}; export the table again as Parquet")]
    Parquet(#[from] ParquetError),
    /// No header line in a CSV file.
    #[error("it has no header line in UTF-8; name the columns in its first line")]
    NoHeader,
    /// Two columns of one name.
    #[error("it has two columns {0:?} but for their case; keep one of them")]
    ColumnTwice(String),
    /// The content does not follow the format.
    #[error(
        "{0}; a CSV file has to be UTF-8, with as many fields in each line as in its header, and quotes around fields with line breaks"
    )]
    Content(#[from] ArrowError),
}

/// Names of OMOP 5.3 for columns of 5.4.
const RENAMED: &[(&str, &str)] = &[
    ("admitted_from_concept_id", "admitting_source_concept_id"),
    ("discharged_to_concept_id", "discharge_to_concept_id"),
];

/// Where each column of the model lies among the columns that are read.
struct Columns {
    found: Vec<Option<usize>>,
    /// Indices into the file's columns, ascending: those to read.
    projection: Vec<usize>,
    notes: Vec<String>,
}

impl Columns {
    fn locate(table: &Table, names: &[String]) -> Result<Self, ReadCause> {
        let positions = positions(names)?;
        let old_name = |column: &Column| RENAMED.iter().find(|(new, _)| *new == column.name);
        let in_file: Vec<Option<usize>> = table
            .columns
            .iter()
            .map(|column| {
                let old = || positions.get(old_name(column)?.1);
                positions.get(column.name).or_else(old).copied()
            })
            .collect();
        let mut projection: Vec<usize> = in_file.iter().flatten().copied().collect();
        projection.sort_unstable();
        let found = in_file
            .iter()
            .map(|index| projection.binary_search(&(*index)?).ok())
            .collect();
        Ok(Self {
            found,
            projection,
            notes: missing_notes(table, &in_file),
        })
    }
}

fn positions(names: &[String]) -> Result<BTreeMap<String, usize>, ReadCause> {
    let mut positions = BTreeMap::new();
    for (index, name) in names.iter().enumerate() {
        let name = name.trim().to_lowercase();
        if !name.is_empty() && positions.insert(name.clone(), index).is_some() {
            return Err(ReadCause::ColumnTwice(name));
        }
    }
    Ok(positions)
}

fn missing_notes(table: &Table, in_file: &[Option<usize>]) -> Vec<String> {
    let missing = |wanted: fn(&Column) -> bool| -> Vec<&str> {
        let columns = table.columns.iter().zip(in_file);
        columns
            .filter(|(column, index)| index.is_none() && wanted(column))
            .map(|(column, _)| column.name)
            .collect()
    };
    let defaulted = |c: &Column| c.required && c.role == ColumnRole::Concept;
    [
        (missing(|c| !c.required), "read as empty"),
        (missing(defaulted), "read as 0"),
        (
            missing(|c| c.required && c.role != ColumnRole::Concept),
            "every row is rejected",
        ),
    ]
    .iter()
    .filter(|(columns, _)| !columns.is_empty())
    .map(|(columns, effect)| format!("no column {}: {effect}", columns.join(", ")))
    .collect()
}

fn recognise(path: &Path) -> Option<(&'static Table, Format)> {
    let name = path.file_name()?.to_str()?.to_lowercase();
    let (stem, extension) = name.rsplit_once('.')?;
    let format = match extension {
        "parquet" => Format::Parquet,
        "csv" => Format::Csv,
        _ => return None,
    };
    Some((cdm::table(stem)?, format))
}

fn ordered(one: PathBuf, two: PathBuf) -> [PathBuf; 2] {
    let mut both = [one, two];
    both.sort();
    both
}

fn is_patient(column: &Column, table: &Table) -> bool {
    table.class == PrivacyClass::Personal && column.role == ColumnRole::Patient
}

fn source_schema(table: &'static Table) -> SchemaRef {
    crate::schema_of(table, |column| {
        let data_type = if is_patient(column, table) {
            DataType::Utf8
        } else {
            crate::arrow_type(column.column_type)
        };
        Field::new(column.name, data_type, true)
    })
}

#[cfg(test)]
mod tests;
