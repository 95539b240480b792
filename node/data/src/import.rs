//! Import of a folder of OMOP tables into a new snapshot.
//!
//! What is stored of a patient depends on that patient's rows alone, in whatever order they come:
//!
//! 1. A row that does not fit the model ([`ward_omop::folder`] says when) is rejected by itself.
//! 2. A patient's identifier is a keyed hash of the source's ([`PersonKey`]). Other identifiers stay
//!    as they are.
//! 3. Rows of a patient who has no row in `person` are rejected.
//! 4. Where other tables have a table's primary key too (`person`, `death`, `visit_occurrence`), one
//!    row of each key of a patient is kept: the first in the order of all columns. So a patient has
//!    one row in `person` and at most one death, the earliest, and a visit is one row to whatever
//!    refers to it. In other tables rows that share a key are kept, and counted, unless they are
//!    equal in all columns: exports number rows carelessly, and what they number is real. Keys are
//!    never judged across patients: one patient's rows would decide over another's.
//! 5. Rows are stored sorted by patient and then by all columns.
//!
//! Memory stays bounded however many patients there are: rows go to spill files by ranges of the
//! patient's identifier, and one range at a time is sorted in memory. What grows with the number of
//! patients is 8 bytes each, to know who has a row in `person`.

use std::fs;
use std::path::{Path, PathBuf};

use arrow::error::ArrowError;
use parquet::errors::ParquetError;
use ward_omop::arrow_schema;
use ward_omop::folder::{Folder, FolderError, ReadError, TableFile};
use ward_schemas::cdm::{self, Table};
use ward_schemas::snapshot::SnapshotId;

pub use self::report::{ImportReport, RejectReason, TableReport};
use crate::file::{self, At, FileError};
use crate::layout::{Parts, part_path};
use crate::manifest::{self, FileEntry, Manifest, TableEntry};
use crate::person::PersonKey;
use crate::progress::{Meter, Progress};
use crate::snapshot::{Snapshot, SnapshotError, Unclustered, Unfinished};

mod cluster;
mod report;
mod sift;
mod spill;
mod write;

use sift::{Patients, Sieve};
use spill::Spill;
use write::PartWriter;

/// How much is done at a time. No patient's rows depend on it, only where they lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// The most rows that are read at once.
    pub(crate) batch_rows: usize,
    /// About how many patients one file holds.
    pub(crate) patients_per_part: u64,
    /// About how much one spill file may take in memory.
    pub(crate) spill_bytes: u64,
    /// How many rows a row group has at least, if there are as many; it ends with its patient.
    pub(crate) group_rows: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            batch_rows: 1 << 16,
            patients_per_part: 1 << 16,
            spill_bytes: 64 << 20,
            group_rows: 1 << 17,
        }
    }
}

/// Imports a folder into a new directory under `snapshots`.
pub(crate) fn omop(
    source: &Path,
    key: &PersonKey,
    snapshots: &Path,
    sizes: Sizes,
    progress: &dyn Progress,
) -> Result<(Snapshot, ImportReport), ImportError> {
    let folder = Folder::open(source)?;
    let Some(person) = folder.table("person") else {
        return Err(ImportError::NoPerson(source.to_owned()));
    };
    let id = SnapshotId::random().map_err(|_| ImportError::Randomness)?;
    let unfinished = Unfinished::create(snapshots, id)?;
    let mut import = Import {
        key,
        progress,
        sizes,
        parts: parts(person, sizes)?,
        dir: unfinished.dir(),
        patients: None,
    };
    let mut entries = Vec::new();
    let mut tables = Vec::new();
    // The model lists person first: who has a row there is known before any other table is read.
    for table in cdm::personal_tables() {
        let (entry, report) = import.table(table, folder.table(table.name))?;
        entries.push(entry);
        tables.push(report);
    }
    if import.patients.is_none_or(|p| p.is_empty()) {
        return Err(ImportError::NoPatients(person.path().to_owned()));
    }
    let manifest = Manifest {
        version: manifest::VERSION,
        snapshot: id,
        model: manifest::model().map_err(|_| SnapshotError::Model)?,
        parts: import.parts,
        tables: entries,
    };
    let snapshot = unfinished.finish(&manifest)?;
    let report = ImportReport {
        snapshot: id,
        tables,
    };
    Ok((snapshot, report))
}

fn parts(person: &TableFile, sizes: Sizes) -> Result<Parts, ReadError> {
    let bytes_per_patient = 128;
    let estimate = person.read(sizes.batch_rows)?.memory_estimate() / bytes_per_patient;
    Ok(Parts::at_least(estimate.div_ceil(sizes.patients_per_part)))
}

struct Import<'a> {
    key: &'a PersonKey,
    progress: &'a dyn Progress,
    sizes: Sizes,
    parts: Parts,
    dir: &'a Path,
    /// Who has a row in `person`; none before that table is done.
    patients: Option<Patients>,
}

impl Import<'_> {
    fn table(
        &mut self,
        table: &'static Table,
        file: Option<&TableFile>,
    ) -> Result<(TableEntry, TableReport), ImportError> {
        let mut report = TableReport::new(table.name, file.is_some());
        let bytes = file.map_or(0, TableFile::bytes);
        let mut meter = Meter::start(self.progress, table.name, bytes);
        let dir = self.dir.join(format!("{}.spill", table.name));
        file::create_dir(&dir)?;
        let spill = self.spill(table, file, &dir, &mut report, &mut meter)?;
        let files = self.write(table, spill, &mut report, &mut meter)?;
        fs::remove_dir_all(&dir).at(&dir)?;
        meter.finish();
        let name = table.name.to_owned();
        Ok((TableEntry { name, files }, report))
    }

    /// Reads the source and spills the rows that may be kept.
    fn spill(
        &self,
        table: &'static Table,
        file: Option<&TableFile>,
        dir: &Path,
        report: &mut TableReport,
        meter: &mut Meter<'_>,
    ) -> Result<Spill, ImportError> {
        let mut sieve = Sieve::new(table, self.key, self.patients.as_ref());
        let Some(file) = file else {
            return Spill::create(dir, self.parts, &arrow_schema(table));
        };
        let mut reader = file.read(self.sizes.batch_rows)?;
        let ranges = Parts::at_least(reader.memory_estimate().div_ceil(self.sizes.spill_bytes));
        let mut spill = Spill::create(dir, self.parts.max(ranges), &arrow_schema(table))?;
        while let Some(rows) = reader.next() {
            let (batch, patients) = sieve.sift(&rows?, report)?;
            spill.write(&batch, &patients)?;
            meter.read_to(reader.position());
        }
        report.notes = reader.notes();
        Ok(spill)
    }

    /// Sorts the spilled rows, range by range, and writes the table's files.
    fn write(
        &mut self,
        table: &'static Table,
        spill: Spill,
        report: &mut TableReport,
        meter: &mut Meter<'_>,
    ) -> Result<Vec<FileEntry>, ImportError> {
        let dir = self.dir.join(table.name);
        file::create_dir(&dir)?;
        let ranges = spill.finish()?;
        let per_part = ranges.len() / self.parts.count();
        let duplicate = match table.referenced_key() {
            Some(_) => RejectReason::DuplicateKey,
            None => RejectReason::DuplicateRow,
        };
        let mut shared_keys = 0;
        let mut patients = Patients::default();
        let mut entries = Vec::with_capacity(self.parts.count());
        for (part, ranges_of_part) in ranges.chunks(per_part).enumerate() {
            let path = part_path(self.dir, table.name, part);
            let mut writer = PartWriter::create(path, arrow_schema(table), self.sizes.group_rows)?;
            for (i, range) in ranges_of_part.iter().enumerate() {
                let sorted = cluster::cluster(table, &range.read()?)?;
                report.reject(duplicate, sorted.duplicates);
                report.kept += sorted.rows.num_rows() as u64;
                shared_keys += sorted.shared_keys;
                if self.patients.is_none() {
                    patients.extend(cluster::patients(&sorted.rows));
                }
                writer.write(&sorted.rows)?;
                meter.sorted(part * per_part + i + 1, ranges.len());
            }
            entries.push(writer.finish(self.parts, part)?);
        }
        self.patients.get_or_insert(patients);
        report.note_shared_keys(table, shared_keys);
        Ok(entries)
    }
}

/// Why a folder can't be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Another import runs.
    #[error("another import into this data directory is running; wait until it is done")]
    Busy,
    /// The folder can't be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A table can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// No person table.
    #[error("{} holds no table person; give a folder with person.parquet or person.csv", .0.display())]
    NoPerson(PathBuf),
    /// No row of the person table can be used.
    #[error("{} holds no patient with person_id and year_of_birth; export the table again", .0.display())]
    NoPatients(PathBuf),
    /// A file of the data directory can't be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// Rows can't be sorted or spilled.
    #[error("rows can't be sorted: {0}; check the free space of the data directory")]
    Rows(#[from] ArrowError),
    /// A file can't be encoded.
    #[error("can't write {path}: {source}; check the free space of the data directory", path = path.display())]
    Encode {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ParquetError,
    },
    /// What was written is not clustered: a fault of this program or of the disk.
    #[error("{path}: {cause}; check the disk, and report this", path = path.display())]
    Unclustered {
        /// The file.
        path: PathBuf,
        /// How.
        cause: Unclustered,
    },
    /// The snapshot that was just written can't be used.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The operating system gives no randomness.
    #[error("the operating system gives no random numbers; try again")]
    Randomness,
}
