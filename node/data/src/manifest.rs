//! What a snapshot consists of.

use serde::{Deserialize, Serialize};
use ward_schemas::canonical::{CanonicalError, ContentHash};
use ward_schemas::cdm;
use ward_schemas::snapshot::SnapshotId;

use crate::layout::Parts;

/// The format version of manifests and of the directory that they describe.
pub(crate) const VERSION: u32 = 1;
pub(crate) const FILE: &str = "manifest.json";

/// A snapshot's manifest: written last, so that a snapshot with one is whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    pub(crate) version: u32,
    pub(crate) snapshot: SnapshotId,
    /// The hash of the model's personal tables at the import.
    pub(crate) model: ContentHash,
    /// How many files a table has.
    pub(crate) parts: Parts,
    /// The model's personal tables, in the model's order.
    pub(crate) tables: Vec<TableEntry>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TableEntry {
    pub(crate) name: String,
    /// One file a part, in the order of the parts.
    pub(crate) files: Vec<FileEntry>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileEntry {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) sha256: ContentHash,
}

impl TableEntry {
    pub(crate) fn rows(&self) -> u64 {
        self.files.iter().map(|f| f.rows).sum()
    }
}

/// The hash of the personal tables' columns: a snapshot of other columns can't be read.
pub(crate) fn model() -> Result<ContentHash, CanonicalError> {
    let tables: Vec<_> = cdm::personal_tables()
        .map(|table| {
            let columns: Vec<_> = table
                .columns
                .iter()
                .map(|c| (c.name, c.column_type, c.required))
                .collect();
            (table.name, columns)
        })
        .collect();
    ContentHash::of("model", &tables)
}
