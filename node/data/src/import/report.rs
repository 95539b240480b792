//! What an import did: true counts, for the hospital's steward only.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use ward_omop::folder::Cause;
use ward_schemas::cdm::Table;
use ward_schemas::snapshot::SnapshotId;

/// What an import did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImportReport {
    /// The new snapshot.
    pub snapshot: SnapshotId,
    /// Its tables, in the model's order.
    pub tables: Vec<TableReport>,
}

/// What an import did with one table. `read` is `kept` and all rejected together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TableReport {
    /// The table's name.
    pub table: &'static str,
    /// Whether the folder has it; it is empty otherwise.
    pub present: bool,
    /// Rows read.
    pub read: u64,
    /// Rows kept.
    pub kept: u64,
    /// Rows rejected, by the first reason that holds.
    pub rejected: BTreeMap<RejectReason, u64>,
    /// What else a steward should know.
    pub notes: Vec<String>,
}

/// Why a row is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RejectReason {
    /// A required value is missing.
    MissingValue,
    /// A required value can't be read.
    UnreadableValue,
    /// A number is NaN or infinite.
    NotFinite,
    /// The patient has no row in `person`.
    UnknownPatient,
    /// The patient has the very same row again.
    DuplicateRow,
    /// The patient has another row with the same primary key, to which rows of other tables refer.
    DuplicateKey,
}

impl TableReport {
    pub(super) fn new(table: &'static str, present: bool) -> Self {
        Self {
            table,
            present,
            read: 0,
            kept: 0,
            rejected: BTreeMap::new(),
            notes: Vec::new(),
        }
    }

    pub(super) fn reject(&mut self, reason: RejectReason, rows: u64) {
        if rows > 0 {
            *self.rejected.entry(reason).or_default() += rows;
        }
    }

    pub(super) fn note_shared_keys(&mut self, table: &Table, rows: u64) {
        if let Some(key) = table.primary_key.filter(|_| rows > 0) {
            self.notes.push(format!(
                "{key}: {rows} rows share it with another row of the same patient and were kept"
            ));
        }
    }
}

impl From<Cause> for RejectReason {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::Missing => Self::MissingValue,
            Cause::Unreadable => Self::UnreadableValue,
            Cause::NotFinite => Self::NotFinite,
        }
    }
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MissingValue => "a required value is missing",
            Self::UnreadableValue => "a required value can't be read",
            Self::NotFinite => "a number is not finite",
            Self::UnknownPatient => "the patient is not in person",
            Self::DuplicateRow => "the same row is there twice",
            Self::DuplicateKey => "the patient has another row with this key",
        })
    }
}

impl fmt::Display for ImportReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "snapshot {}", self.snapshot)?;
        let columns = ["table", "read", "kept", "rejected"];
        let [table, read, kept, rejected] = columns;
        writeln!(f, "{table:<22}{read:>14}{kept:>14}{rejected:>14}")?;
        self.tables.iter().try_for_each(|t| t.fmt(f))
    }
}

impl fmt::Display for TableReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.present {
            return writeln!(f, "{:<22}{:>14}", self.table, "no file");
        }
        let rejected: u64 = self.rejected.values().sum();
        let Self {
            table, read, kept, ..
        } = self;
        writeln!(f, "{table:<22}{read:>14}{kept:>14}{rejected:>14}")?;
        for (reason, rows) in &self.rejected {
            writeln!(f, "  {rows} rejected: {reason}")?;
        }
        self.notes.iter().try_for_each(|n| writeln!(f, "  {n}"))
    }
}
