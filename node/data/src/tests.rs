//! Imports of small folders that the tests write themselves.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use arrow::array::ArrayRef;
use arrow::util::display::array_value_to_string;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tempfile::TempDir;

use crate::import::Sizes;
use crate::{ImportError, ImportReport, PersonKey, Silent, Snapshot, Store};

mod import;
mod soundness;
mod store;
mod tables;

const PERSON: &str = "\
PERSON_ID,GENDER_CONCEPT_ID,YEAR_OF_BIRTH
1,8507,1950
2,8532,1960
3,8507,1970
";

const CONDITION_ERA: &str = "\
condition_era_id,person_id,condition_concept_id,condition_era_start_date,condition_era_end_date
10,1,201826,2010-01-01,2010-02-01
11,2,201826,2011-01-01,2011-02-01
12,1,4229440,2012-01-01,2012-02-01
";

/// A source folder and a store, both gone after the test.
struct Hospital {
    home: TempDir,
    store: Store,
}

impl Hospital {
    fn new(files: &[(&str, &str)]) -> Self {
        let home = tempfile::tempdir().expect("directory");
        let store = Store::open(&home.path().join("data")).expect("store");
        let hospital = Self { home, store };
        fs::create_dir(hospital.source()).expect("directory");
        for (name, text) in files {
            hospital.put(name, text);
        }
        hospital
    }

    fn source(&self) -> PathBuf {
        self.home.path().join("source")
    }

    fn snapshots(&self) -> PathBuf {
        self.home.path().join("data/snapshots")
    }

    fn put(&self, name: &str, text: &str) {
        fs::write(self.source().join(name), text).expect("file");
    }

    fn import(&self) -> Result<ImportReport, ImportError> {
        self.store.import_omop(&self.source(), &key(), &Silent)
    }

    fn import_sized(&self, sizes: Sizes) -> (ImportReport, Snapshot) {
        let report = self
            .store
            .import_sized(&self.source(), &key(), sizes, &Silent)
            .expect("imported");
        (report, self.active())
    }

    fn active(&self) -> Snapshot {
        let active = self.store.active().expect("readable");
        active.expect("a snapshot")
    }

    fn dir(&self, snapshot: &Snapshot) -> PathBuf {
        self.snapshots().join(snapshot.id().to_string())
    }

    /// The rows of a table as texts, by patient, in the order in which they are stored.
    fn stored(&self, snapshot: &Snapshot, table: &str) -> BTreeMap<i64, Vec<String>> {
        let mut names = crate::file::names(&self.dir(snapshot).join(table)).expect("parts");
        names.sort();
        let mut stored: BTreeMap<i64, Vec<String>> = BTreeMap::new();
        for name in names {
            for (patient, row) in rows(&self.dir(snapshot).join(table).join(name)) {
                stored.entry(patient).or_default().push(row);
            }
        }
        stored
    }
}

fn rows(path: &Path) -> Vec<(i64, String)> {
    let file = File::open(path).expect("part");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet");
    let mut rows = Vec::new();
    for batch in reader.build().expect("reader") {
        let batch = batch.expect("rows");
        for row in 0..batch.num_rows() {
            let text = |column: &ArrayRef| array_value_to_string(column, row).expect("text");
            let patient = text(&batch["person_id"]).parse().expect("identifier");
            let values: Vec<_> = batch.columns().iter().map(text).collect();
            rows.push((patient, values.join("|")));
        }
    }
    rows
}

fn key() -> PersonKey {
    PersonKey::from_bytes([7; 32])
}

fn patient(source: &str) -> i64 {
    key().patient(source)
}
