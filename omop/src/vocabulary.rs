//! The vocabulary package: the network's public code lists in one file, named by its hash.
//!
//! A package is a tar archive: `manifest.json`, then one Parquet file for each public table of the
//! model. Its rows are sorted by all columns and none is there twice, its headers hold neither
//! time nor owner: the same rows give the same bytes, whatever files they came from.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::{
    SortColumn, concat_batches, filter_record_batch, lexsort_to_indices, partition,
    take_record_batch,
};
use arrow::datatypes::Int64Type;
use arrow::error::ArrowError;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::arrow_writer::{ArrowWriter, ArrowWriterOptions};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use serde::{Deserialize, Serialize};
use ward_schemas::canonical::ContentHash;
use ward_schemas::cdm::{self, Table};
use ward_schemas::key::Vocabulary;

use crate::arrow_schema;
use crate::folder::{Cause, Folder, FolderError, ReadError};

/// The format version of packages.
pub const VERSION: u32 = 1;

const MANIFEST: &str = "manifest.json";
const BATCH_ROWS: usize = 1 << 16;

/// Packs the public tables of an OMOP folder (Parquet or CSV) into one file. The table `concept`
/// has to be there; the others are empty where absent.
///
/// # Errors
/// When the folder or a table can't be read, a row does not fit the model, a concept is there twice
/// with different content, or the file can't be written. Then `out` is as it was.
pub fn pack(source: &Path, out: &Path) -> Result<ContentHash, PackError> {
    let folder = Folder::open(source)?;
    if folder.table("concept").is_none() {
        return Err(PackError::NoConcepts(source.to_owned()));
    }
    let tables: Vec<_> = cdm::public_tables()
        .map(|table| Ok((table, sorted(read(&folder, table)?)?)))
        .collect::<Result<_, PackError>>()?;
    check_keys(&tables)?;
    let bytes = archive(&tables)?;
    write_atomically(out, &bytes).map_err(|source| PackError::Write {
        path: out.to_owned(),
        source,
    })?;
    Ok(ContentHash::of_bytes(&bytes))
}

/// An opened vocabulary package, its tables in memory.
#[derive(Debug)]
pub struct Package {
    hash: ContentHash,
    tables: Vec<(&'static Table, RecordBatch)>,
}

impl Package {
    /// Reads a package from a file.
    ///
    /// # Errors
    /// When the file can't be read or is no package.
    pub fn open(path: &Path) -> Result<Self, PackageError> {
        let bytes = fs::read(path).map_err(|source| PackageError::Open {
            path: path.to_owned(),
            source,
        })?;
        Self::from_bytes(bytes)
    }

    /// Reads a package from its bytes.
    ///
    /// # Errors
    /// When they are no package.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, PackageError> {
        let hash = ContentHash::of_bytes(&bytes);
        let members = members(&Bytes::from(bytes))?;
        let manifest = manifest(&members)?;
        let tables = cdm::public_tables()
            .map(|table| Ok((table, load(table, &manifest, &members)?)))
            .collect::<Result<_, PackageError>>()?;
        Ok(Self { hash, tables })
    }

    /// The SHA-256 of the file's bytes: the package's name.
    pub fn hash(&self) -> ContentHash {
        self.hash
    }

    /// A public table of the model, in the types of [`arrow_schema`] and sorted by all columns.
    pub fn table(&self, name: &str) -> Option<&RecordBatch> {
        let found = self.tables.iter().find(|(table, _)| table.name == name);
        found.map(|(_, rows)| rows)
    }

    fn integers(&self, table: &str, column: &str) -> Option<&Int64Array> {
        self.table(table)?
            .column_by_name(column)?
            .as_primitive_opt::<Int64Type>()
    }
}

impl Vocabulary for Package {
    fn concept_name(&self, concept: i64) -> Option<String> {
        let ids = self.integers("concept", "concept_id")?.values();
        let row = ids.binary_search(&concept).ok()?;
        let names = self.table("concept")?.column_by_name("concept_name")?;
        Some(names.as_string_opt::<i32>()?.value(row).to_owned())
    }

    fn descendants(&self, ancestor: i64) -> BTreeSet<i64> {
        let table = "concept_ancestor";
        let mut found = BTreeSet::from([ancestor]);
        if let (Some(ancestors), Some(descendants)) = (
            self.integers(table, "ancestor_concept_id"),
            self.integers(table, "descendant_concept_id"),
        ) {
            let start = ancestors.values().partition_point(|a| *a < ancestor);
            let end = ancestors.values().partition_point(|a| *a <= ancestor);
            found.extend(&descendants.values()[start..end]);
        }
        found
    }
}

/// Why a vocabulary can't be packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The folder can't be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A table can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// No concept table.
    #[error("{} holds no table concept; give a folder with concept.parquet or concept.csv", .0.display())]
    NoConcepts(PathBuf),
    /// A row outside the model.
    #[error("table {table}, row {row}, column {column}: {cause}; mend or remove the row")]
    Row {
        /// The table.
        table: &'static str,
        /// The row, from 1.
        row: usize,
        /// The column.
        column: &'static str,
        /// What is wrong.
        cause: Cause,
    },
    /// One identifier for two rows.
    #[error("table {table} has two different rows with {column} {value}; keep one of them")]
    Twice {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// The identifier.
        value: i64,
    },
    /// The rows can't be brought into the model's types; too many for memory, for instance.
    #[error("the rows can't be sorted: {0}; leave out vocabularies that no template names")]
    Rows(#[from] ArrowError),
    /// The package can't be encoded.
    #[error("the package can't be encoded: {0}")]
    Encode(#[from] ParquetError),
    /// The archive can't be built.
    #[error("the package can't be built: {0}")]
    Archive(#[from] io::Error),
    /// The package can't be written.
    #[error("can't write {path}: {source}; give a file in a writable folder", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Why a file is no vocabulary package.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// The file can't be read.
    #[error("can't read {path}: {source}; give the file of a vocabulary package", path = path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not a tar archive.
    #[error("it is no archive: {0}; fetch the vocabulary package again")]
    Archive(#[from] io::Error),
    /// A part is missing.
    #[error("it has no {0}; fetch the vocabulary package again")]
    Missing(String),
    /// The manifest can't be read.
    #[error("its manifest can't be read: {0}; fetch the vocabulary package again")]
    Manifest(#[from] serde_json::Error),
    /// A later or unknown format.
    #[error(
        "it has format version {0}, and this program reads version {VERSION}; update the program or pack the vocabulary again"
    )]
    Version(u32),
    /// A table that can't be read.
    #[error("its table {table} can't be read: {source}; fetch the vocabulary package again")]
    Table {
        /// The table.
        table: &'static str,
        /// Why.
        source: ParquetError,
    },
    /// A table that is not what the manifest or the model says.
    #[error(
        "its table {0} does not have the rows, columns or order that a package has; pack the vocabulary again"
    )]
    Content(&'static str),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    version: u32,
    tables: Vec<TableEntry>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TableEntry {
    name: String,
    rows: u64,
}

fn read(folder: &Folder, table: &'static Table) -> Result<RecordBatch, PackError> {
    let schema = arrow_schema(table);
    let mut batches = Vec::new();
    let mut before = 0;
    if let Some(file) = folder.table(table.name) {
        for rows in file.read(BATCH_ROWS)? {
            let rows = rows?;
            let fault = rows.faults.iter().enumerate();
            if let Some((i, fault)) = fault.filter_map(|(i, f)| Some((i, (*f)?))).next() {
                return Err(PackError::Row {
                    table: table.name,
                    row: before + i + 1,
                    column: fault.column,
                    cause: fault.cause,
                });
            }
            before += rows.faults.len();
            let columns = rows.batch.columns().to_vec();
            batches.push(RecordBatch::try_new(schema.clone(), columns)?);
        }
    }
    Ok(concat_batches(&schema, &batches)?)
}

fn sorted(rows: RecordBatch) -> Result<RecordBatch, ArrowError> {
    if rows.num_rows() == 0 {
        return Ok(rows);
    }
    let columns: Vec<SortColumn> = rows
        .columns()
        .iter()
        .map(|values| SortColumn {
            values: values.clone(),
            options: None,
        })
        .collect();
    let order = lexsort_to_indices(&columns, None)?;
    let rows = take_record_batch(&rows, &order)?;
    let mut first = vec![false; rows.num_rows()];
    for run in partition(rows.columns())?.ranges() {
        first[run.start] = true;
    }
    filter_record_batch(&rows, &BooleanArray::from(first))
}

fn check_keys(tables: &[(&'static Table, RecordBatch)]) -> Result<(), PackError> {
    for (table, rows) in tables {
        let Some(column) = table.primary_key else {
            continue;
        };
        let keys = rows.column_by_name(column);
        let Some(keys) = keys.and_then(|k| k.as_primitive_opt::<Int64Type>()) else {
            continue;
        };
        if let Some(pair) = keys.values().windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(PackError::Twice {
                table: table.name,
                column,
                value: pair[0],
            });
        }
    }
    Ok(())
}

fn archive(tables: &[(&'static Table, RecordBatch)]) -> Result<Vec<u8>, PackError> {
    let manifest = Manifest {
        version: VERSION,
        tables: tables
            .iter()
            .map(|(table, rows)| TableEntry {
                name: table.name.to_owned(),
                rows: rows.num_rows() as u64,
            })
            .collect(),
    };
    let mut builder = tar::Builder::new(Vec::new());
    let manifest = serde_json::to_vec(&manifest).map_err(io::Error::from)?;
    append(&mut builder, MANIFEST, &manifest)?;
    for (table, rows) in tables {
        append(&mut builder, &member(table), &encode(rows)?)?;
    }
    Ok(builder.into_inner()?)
}

fn member(table: &Table) -> String {
    format!("{}.parquet", table.name)
}

fn append(builder: &mut tar::Builder<Vec<u8>>, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    builder.append_data(&mut header, name, bytes)
}

fn encode(rows: &RecordBatch) -> Result<Vec<u8>, ParquetError> {
    let properties = WriterProperties::builder()
        .set_created_by("ward".to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .build();
    let options = ArrowWriterOptions::new()
        .with_properties(properties)
        .with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(Vec::new(), rows.schema(), options)?;
    writer.write(rows)?;
    writer.into_inner()
}

fn write_atomically(out: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = match out.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(out)?;
    Ok(())
}

fn members(bytes: &Bytes) -> Result<Vec<(String, Bytes)>, io::Error> {
    let mut archive = tar::Archive::new(&bytes[..]);
    archive
        .entries()?
        .map(|entry| {
            let entry = entry?;
            let name = entry.path()?.to_string_lossy().into_owned();
            let size = usize::try_from(entry.size()).map_err(io::Error::other)?;
            let start = usize::try_from(entry.raw_file_position()).map_err(io::Error::other)?;
            match start.checked_add(size) {
                Some(end) if end <= bytes.len() => Ok((name, bytes.slice(start..end))),
                _ => Err(io::ErrorKind::UnexpectedEof.into()),
            }
        })
        .collect()
}

fn find<'a>(members: &'a [(String, Bytes)], name: &str) -> Result<&'a Bytes, PackageError> {
    let found = members.iter().find(|(member, _)| member == name);
    found
        .map(|(_, bytes)| bytes)
        .ok_or_else(|| PackageError::Missing(name.to_owned()))
}

fn manifest(members: &[(String, Bytes)]) -> Result<Manifest, PackageError> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let bytes = find(members, MANIFEST)?;
    let Versioned { version } = serde_json::from_slice(bytes)?;
    if version != VERSION {
        return Err(PackageError::Version(version));
    }
    Ok(serde_json::from_slice(bytes)?)
}

fn load(
    table: &'static Table,
    manifest: &Manifest,
    members: &[(String, Bytes)],
) -> Result<RecordBatch, PackageError> {
    let failed = |source| PackageError::Table {
        table: table.name,
        source,
    };
    let bytes = find(members, &member(table))?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes.clone())
        .and_then(|builder| builder.with_batch_size(BATCH_ROWS).build())
        .map_err(failed)?;
    let schema = arrow_schema(table);
    let wrong = || PackageError::Content(table.name);
    let batches = reader
        .map(|batch| {
            let batch = batch.map_err(|e| failed(e.into()))?;
            let same = batch.schema().fields() == schema.fields();
            same.then_some(batch).ok_or_else(wrong)
        })
        .collect::<Result<Vec<_>, _>>()?;
    let rows = concat_batches(&schema, &batches).map_err(|e| failed(e.into()))?;
    let expected = manifest.tables.iter().find(|t| t.name == table.name);
    let complete = expected.is_some_and(|t| t.rows == rows.num_rows() as u64);
    (complete && first_column_ascends(&rows))
        .then_some(rows)
        .ok_or_else(wrong)
}

/// Look-ups search by the first column.
fn first_column_ascends(rows: &RecordBatch) -> bool {
    let first: Option<&ArrayRef> = rows.columns().first();
    first
        .and_then(|ids| ids.as_primitive_opt::<Int64Type>())
        .is_some_and(|ids| ids.values().is_sorted())
}

#[cfg(test)]
mod tests;
