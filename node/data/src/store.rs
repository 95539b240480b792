//! Where snapshots lie, and which one is active.
//!
//! ```text
//! DIR/active               the active snapshot's identity; replaced atomically
//! DIR/lock                 held by an import
//! DIR/snapshots/ID/        a whole snapshot: manifest.json, and TABLE/PART.parquet
//! DIR/snapshots/.import-…  a half-written one: ignored, and removed by the next import
//! ```

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use ward_schemas::snapshot::SnapshotId;

use crate::file::{self, At, FileError};
use crate::import::{self, ImportError, ImportReport, Sizes};
use crate::person::PersonKey;
use crate::progress::Progress;
use crate::snapshot::{Snapshot, SnapshotError};

/// How the directory of a half-written snapshot begins.
pub(crate) const UNFINISHED: &str = ".import-";

const ACTIVE: &str = "active";
const LOCK: &str = "lock";
const SNAPSHOTS: &str = "snapshots";

/// A hospital's snapshots.
#[derive(Clone, Debug)]
pub struct Store {
    dir: PathBuf,
}

impl Store {
    /// Opens the store in a directory, which is made if absent.
    ///
    /// # Errors
    /// When the directory can't be made.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        file::create_dir(&dir.join(SNAPSHOTS))?;
        let dir = fs::canonicalize(dir).at(dir)?;
        Ok(Self { dir })
    }

    /// The active snapshot; none before the first import.
    ///
    /// # Errors
    /// When the pointer or the snapshot is damaged.
    pub fn active(&self) -> Result<Option<Snapshot>, StoreError> {
        let id = self.active_id()?;
        id.map(|id| self.snapshot(id)).transpose()
    }

    /// A snapshot that was imported earlier, active or not.
    ///
    /// # Errors
    /// When there is none of this identity, or it is damaged.
    pub fn snapshot(&self, id: SnapshotId) -> Result<Snapshot, StoreError> {
        Ok(Snapshot::open(&self.snapshots().join(id.to_string()), id)?)
    }

    /// All whole snapshots.
    ///
    /// # Errors
    /// When the directory can't be read.
    pub fn list(&self) -> Result<Vec<SnapshotId>, StoreError> {
        let names = file::names(&self.snapshots())?;
        let mut ids: Vec<_> = names.iter().filter_map(|name| name.parse().ok()).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// Imports a folder of OMOP tables (see [`import`]) as a new snapshot, which becomes active when
    /// it is whole. The others stay.
    ///
    /// # Errors
    /// When another import runs, the folder can't be read or holds no patients, or the snapshot
    /// can't be written. Then the active snapshot is what it was.
    pub fn import_omop(
        &self,
        source: &Path,
        key: &PersonKey,
        progress: &dyn Progress,
    ) -> Result<ImportReport, ImportError> {
        self.import_sized(source, key, Sizes::default(), progress)
    }

    /// Removes a snapshot and its files for good.
    ///
    /// # Errors
    /// When it is the active one, or its files can't be removed.
    pub fn remove(&self, id: SnapshotId) -> Result<(), StoreError> {
        if self.active_id()? == Some(id) {
            return Err(StoreError::Active(id));
        }
        // Under a half-written one's name first: a crash then leaves nothing that looks whole.
        let whole = self.snapshots().join(id.to_string());
        let going = self.snapshots().join(format!("{UNFINISHED}{id}"));
        fs::rename(&whole, &going).at(&whole)?;
        Ok(fs::remove_dir_all(&going).at(&going)?)
    }

    pub(crate) fn import_sized(
        &self,
        source: &Path,
        key: &PersonKey,
        sizes: Sizes,
        progress: &dyn Progress,
    ) -> Result<ImportReport, ImportError> {
        let _lock = self.lock()?;
        self.remove_unfinished()?;
        let (snapshot, report) = import::omop(source, key, &self.snapshots(), sizes, progress)?;
        self.activate(&snapshot)?;
        Ok(report)
    }

    fn snapshots(&self) -> PathBuf {
        self.dir.join(SNAPSHOTS)
    }

    fn active_id(&self) -> Result<Option<SnapshotId>, StoreError> {
        let path = self.dir.join(ACTIVE);
        match fs::read_to_string(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            text => match text.at(&path)?.trim().parse() {
                Ok(id) => Ok(Some(id)),
                Err(_) => Err(StoreError::Pointer(path)),
            },
        }
    }

    fn activate(&self, snapshot: &Snapshot) -> Result<(), FileError> {
        let text = format!("{}\n", snapshot.id());
        file::write_atomically(&self.dir.join(ACTIVE), text.as_bytes())
    }

    /// One import at a time; released when the file is closed.
    fn lock(&self) -> Result<File, ImportError> {
        let path = self.dir.join(LOCK);
        let file = File::create(&path).at(&path)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(ImportError::Busy),
            Err(TryLockError::Error(source)) => Err(FileError { path, source }.into()),
        }
    }

    fn remove_unfinished(&self) -> Result<(), FileError> {
        let snapshots = self.snapshots();
        let mut names = file::names(&snapshots)?;
        names.retain(|name| name.starts_with(UNFINISHED));
        for name in names {
            let dir = snapshots.join(name);
            fs::remove_dir_all(&dir).at(&dir)?;
        }
        Ok(())
    }
}

/// Why the store can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file can't be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The snapshot can't be used.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The pointer names no snapshot.
    #[error("{} does not name a snapshot; import the hospital's data again", .0.display())]
    Pointer(PathBuf),
    /// The snapshot is in use.
    #[error("snapshot {0} is the active one; import again before you remove it")]
    Active(SnapshotId),
}
