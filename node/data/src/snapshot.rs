//! One immutable, checked import of a hospital's data.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::catalog::SchemaProvider;
use serde::Deserialize;
use ward_omop::vocabulary::Package;
use ward_schemas::cdm;
use ward_schemas::snapshot::SnapshotId;

pub use crate::clustering::Unclustered;
use crate::file::{self, At, FileError};
use crate::layout::part_path;
use crate::manifest::{self, Manifest, TableEntry};
use crate::provider::Tables;
use crate::{clustering, store};

/// One import: every personal table of the model, each patient's rows in one place.
///
/// A table is a fixed number of Parquet files, each for one range of patient identifiers; within a
/// file rows are sorted by patient and then by all columns.
#[derive(Clone, Debug)]
pub struct Snapshot {
    dir: PathBuf,
    manifest: Arc<Manifest>,
}

impl Snapshot {
    /// Opens a snapshot's directory: reads its manifest and checks that every file is there and as
    /// long as it says.
    pub(crate) fn open(dir: &Path, id: SnapshotId) -> Result<Self, SnapshotError> {
        let path = dir.join(manifest::FILE);
        let manifest = parse(&fs::read(&path).at(&path)?)?;
        if manifest.model != manifest::model().map_err(|_| SnapshotError::Model)? {
            return Err(SnapshotError::Model);
        }
        let snapshot = Self {
            dir: dir.to_owned(),
            manifest: Arc::new(manifest),
        };
        snapshot.check_shape(id)?;
        Ok(snapshot)
    }

    /// Its identity: random, and so telling nothing of its content.
    pub fn id(&self) -> SnapshotId {
        self.manifest.snapshot
    }

    /// Every table of the model by its name, personal ones from this snapshot and public ones from
    /// the vocabulary package, with exactly the types of [`ward_omop::arrow_schema`].
    ///
    /// A personal table is partitioned by ranges of `person_id`, the same for every table, and
    /// sorted by it; a scan is never split inside a file.
    pub fn tables(&self, vocabulary: &Arc<Package>) -> Arc<dyn SchemaProvider> {
        Arc::new(Tables::new(&self.dir, &self.manifest, vocabulary))
    }

    /// How many rows each personal table has: true counts, for the hospital's steward only.
    pub fn table_counts(&self) -> BTreeMap<&str, u64> {
        let tables = self.manifest.tables.iter();
        tables.map(|t| (t.name.as_str(), t.rows())).collect()
    }

    /// Reads every file and checks its hash, its number of rows, and that no patient's rows are in
    /// two places.
    ///
    /// # Errors
    /// When a file is not the one that was imported.
    pub fn verify(&self) -> Result<(), SnapshotError> {
        for table in &self.manifest.tables {
            for (part, entry) in table.files.iter().enumerate() {
                let path = part_path(&self.dir, &table.name, part);
                if file::hash(&path)? != entry.sha256 {
                    return Err(SnapshotError::Altered(path));
                }
                let rows = clustering::check(&path, self.manifest.parts, part);
                match rows {
                    Ok(rows) if rows == entry.rows => {}
                    Ok(_) => return Err(SnapshotError::Altered(path)),
                    Err(cause) => return Err(SnapshotError::Unclustered { path, cause }),
                }
            }
        }
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn check_shape(&self, id: SnapshotId) -> Result<(), SnapshotError> {
        let manifest = &self.manifest;
        let names = manifest.tables.iter().map(|t| t.name.as_str());
        if manifest.snapshot != id || !names.eq(cdm::personal_tables().map(|t| t.name)) {
            return Err(SnapshotError::Altered(self.dir.join(manifest::FILE)));
        }
        manifest.tables.iter().try_for_each(|t| self.check_files(t))
    }

    fn check_files(&self, table: &TableEntry) -> Result<(), SnapshotError> {
        if table.files.len() != self.manifest.parts.count() {
            return Err(SnapshotError::Altered(self.dir.join(manifest::FILE)));
        }
        for (part, entry) in table.files.iter().enumerate() {
            let path = part_path(&self.dir, &table.name, part);
            if fs::metadata(&path).at(&path)?.len() != entry.bytes {
                return Err(SnapshotError::Altered(path));
            }
        }
        Ok(())
    }
}

/// Why a snapshot can't be used. Each is mended by importing again.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// A file is missing or can't be read.
    #[error("the snapshot is damaged: {0}; import the hospital's data again")]
    File(#[from] FileError),
    /// The manifest can't be read.
    #[error("the snapshot's manifest can't be read: {0}; import the hospital's data again")]
    Manifest(#[from] serde_json::Error),
    /// Another format.
    #[error(
        "the snapshot has format version {0}, and this program reads version {v}; update the program or import the hospital's data again",
        v = manifest::VERSION
    )]
    Version(u32),
    /// Imported under another version of the model.
    #[error(
        "the snapshot was imported under another version of the clinical data model; import the hospital's data again"
    )]
    Model,
    /// Not the file that was imported.
    #[error("{} is not the file that was imported; restore it or import the hospital's data again", .0.display())]
    Altered(PathBuf),
    /// A patient's rows are in two places.
    #[error("{path}: {cause}; import the hospital's data again", path = path.display())]
    Unclustered {
        /// The file.
        path: PathBuf,
        /// How.
        cause: Unclustered,
    },
}

fn parse(bytes: &[u8]) -> Result<Manifest, SnapshotError> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let Versioned { version } = serde_json::from_slice(bytes)?;
    if version != manifest::VERSION {
        return Err(SnapshotError::Version(version));
    }
    Ok(serde_json::from_slice(bytes)?)
}

/// The directory of a snapshot that is not whole yet; removed when dropped, unless [`Self::finish`]
/// has made it a snapshot.
pub(crate) struct Unfinished {
    snapshots: PathBuf,
    dir: PathBuf,
}

impl Unfinished {
    pub(crate) fn create(snapshots: &Path, id: SnapshotId) -> Result<Self, FileError> {
        let dir = snapshots.join(format!("{}{id}", store::UNFINISHED));
        file::create_dir(&dir)?;
        Ok(Self {
            snapshots: snapshots.to_owned(),
            dir,
        })
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes the manifest, makes everything durable, and gives the directory its name.
    pub(crate) fn finish(self, manifest: &Manifest) -> Result<Snapshot, SnapshotError> {
        let id = manifest.snapshot;
        for table in &manifest.tables {
            file::sync_dir(&self.dir.join(&table.name))?;
        }
        let text = serde_json::to_vec_pretty(manifest).map_err(SnapshotError::from)?;
        file::write_atomically(&self.dir.join(manifest::FILE), &text)?;
        let whole = self.snapshots.join(id.to_string());
        fs::rename(&self.dir, &whole).at(&whole)?;
        file::sync_dir(&self.snapshots)?;
        Snapshot::open(&whole, id)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Best effort: what stays is removed by the next import.
        let _ = fs::remove_dir_all(&self.dir);
    }
}
