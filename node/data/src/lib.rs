//! A hospital's data: import, snapshots, and the tables that the privacy engine reads.
//!
//! | module | what |
//! | --- | --- |
//! | [`import`] | reads a folder of OMOP tables into a new snapshot, and reports |
//! | [`store`] | where snapshots lie, and which one is active |
//! | [`snapshot`] | one immutable, checked import |
//! | [`person`] | patients' identifiers: a keyed hash |
//! | [`progress`] | how far an import has come |
//!
//! Of one patient, everything stored depends on that patient's rows alone; the rules are in
//! [`import`].

mod clustering;
mod file;
pub mod import;
mod layout;
mod manifest;
pub mod person;
pub mod progress;
mod provider;
pub mod snapshot;
pub mod store;

pub use file::FileError;
pub use import::{ImportError, ImportReport, RejectReason, TableReport};
pub use person::PersonKey;
pub use progress::{Progress, Silent};
pub use snapshot::Snapshot;
pub use store::{Store, StoreError};
pub use ward_omop::vocabulary;

#[cfg(test)]
mod tests;
