//! Hospitals as folders of CSV files, imported as nodes import them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::catalog::SchemaProvider;
use tempfile::TempDir;
use ward_data::{PersonKey, Silent, Store};
use ward_omop::vocabulary::{self, Package};

/// Files by name.
pub type Files<'a> = &'a [(&'a str, String)];

/// The network's vocabulary: concept 10 and what lies below it.
pub const VOCABULARY: [(&str, &str); 2] = [
    (
        "concept.csv",
        "concept_id,concept_name\n1,any\n10,ten\n11,eleven\n",
    ),
    (
        "concept_ancestor.csv",
        "ancestor_concept_id,descendant_concept_id\n1,10\n10,10\n10,11\n",
    ),
];

/// A vocabulary package of these files.
pub fn package(files: Files<'_>) -> Arc<Package> {
    let dir = tempfile::tempdir().expect("a directory");
    let out = dir.path().join("package");
    vocabulary::pack(&write(dir.path(), files), &out).expect("packed");
    Arc::new(Package::open(&out).expect("a package"))
}

/// An import; its files are gone when it is dropped.
pub struct Imported {
    _home: TempDir,
    store: Store,
}

impl Imported {
    /// Imports a folder of these files. It can't fail: somebody has a row in `person.csv`.
    pub fn new(files: Files<'_>) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let store = Store::open(&home.path().join("data")).expect("a store");
        let key = PersonKey::from_bytes([7; 32]);
        let source = write(home.path(), files);
        store.import_omop(&source, &key, &Silent).expect("imported");
        Self { _home: home, store }
    }

    /// As the engine sees it.
    pub fn serve(&self, vocabulary: &Arc<Package>) -> Arc<dyn SchemaProvider> {
        let active = self.store.active().expect("readable");
        active.expect("a snapshot").tables(vocabulary)
    }
}

fn write(home: &Path, files: Files<'_>) -> PathBuf {
    let source = home.join("source");
    fs::create_dir(&source).expect("a directory");
    for (name, text) in files {
        fs::write(source.join(name), text).expect("a file");
    }
    source
}
