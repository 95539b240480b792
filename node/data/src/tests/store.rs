//! Snapshots become active when they are whole, and damage is seen.

use super::*;
use crate::StoreError;
use crate::manifest;
use crate::snapshot::SnapshotError;

fn imported() -> (Hospital, Snapshot) {
    let hospital = Hospital::new(&[("person.csv", PERSON), ("condition_era.csv", CONDITION_ERA)]);
    hospital.import().expect("imported");
    let snapshot = hospital.active();
    (hospital, snapshot)
}

#[test]
fn a_new_snapshot_becomes_active_and_the_old_one_stays() {
    let (hospital, old) = imported();
    hospital.put("person.csv", &format!("{PERSON}4,8507,1980\n"));
    let report = hospital.import().expect("imported");
    let new = hospital.active();
    assert_eq!(new.id(), report.snapshot);
    assert_ne!(new.id(), old.id());
    assert_eq!(new.table_counts()["person"], 4);
    let again = hospital.store.snapshot(old.id()).expect("still there");
    assert_eq!(again.table_counts()["person"], 3);
    assert_eq!(hospital.store.list().expect("list").len(), 2);
}

#[test]
fn a_failed_import_leaves_the_active_snapshot() {
    let (hospital, snapshot) = imported();
    hospital.put("condition_era.csv", "condition_era_id,person_id\n1\n");
    hospital.import().expect_err("ragged");
    assert_eq!(hospital.active().id(), snapshot.id());
    assert_eq!(
        crate::file::names(&hospital.snapshots())
            .expect("names")
            .len(),
        1
    );
}

#[test]
fn half_written_snapshots_are_ignored_and_then_removed() {
    let (hospital, snapshot) = imported();
    let half = hospital
        .snapshots()
        .join(".import-00112233445566778899aabbccddeeff");
    fs::create_dir_all(half.join("person")).expect("directory");
    fs::write(half.join("person/000.parquet"), b"PAR1").expect("file");
    assert_eq!(hospital.store.list().expect("list"), [snapshot.id()]);
    assert_eq!(hospital.active().id(), snapshot.id());
    hospital.import().expect("imported");
    assert!(!half.exists());
}

#[test]
fn only_one_import_runs_at_a_time() {
    let (hospital, snapshot) = imported();
    let lock = File::open(hospital.home.path().join("data/lock")).expect("lock");
    lock.lock().expect("held");
    assert!(matches!(hospital.import(), Err(ImportError::Busy)));
    drop(lock);
    hospital.import().expect("free again");
    assert_ne!(hospital.active().id(), snapshot.id());
}

#[test]
fn the_active_snapshot_can_not_be_removed() {
    let (hospital, old) = imported();
    let error = hospital.store.remove(old.id()).expect_err("active");
    assert!(matches!(error, StoreError::Active(_)));
    hospital.import().expect("imported");
    hospital.store.remove(old.id()).expect("removed");
    assert_eq!(
        hospital.store.list().expect("list"),
        [hospital.active().id()]
    );
}

#[test]
fn damage_is_seen_when_the_snapshot_is_opened() {
    let (hospital, snapshot) = imported();
    let manifest = hospital.dir(&snapshot).join(manifest::FILE);
    let text = fs::read_to_string(&manifest).expect("manifest");
    let refused = |text: &str| {
        fs::write(&manifest, text).expect("manifest");
        let error = hospital.store.active().expect_err("damaged").to_string();
        assert!(
            error.contains("import the hospital's data again"),
            "{error}"
        );
        error
    };
    refused("{");
    assert!(refused(&text.replace("\"version\": 1", "\"version\": 2")).contains("version 2"));
    assert!(refused(&text.replacen('{', "{\"more\": 1,", 1)).contains("more"));
    assert!(refused(&text.replace("\"parts\": 1", "\"parts\": 2")).contains("manifest.json"));
    assert!(refused(&text.replace("\"person\"", "\"people\"")).contains("manifest.json"));
    let model = snapshot.manifest().model.to_string();
    let other = format!("sha256:{}", "0".repeat(64));
    assert!(refused(&text.replace(&model, &other)).contains("clinical data model"));
    fs::write(&manifest, &text).expect("manifest");
    hospital.active();

    let part = hospital.dir(&snapshot).join("person/000.parquet");
    fs::remove_file(&part).expect("removed");
    let error = hospital.store.active().expect_err("damaged").to_string();
    assert!(error.contains("000.parquet"), "{error}");
}

#[test]
fn verification_sees_a_changed_byte() {
    let (hospital, snapshot) = imported();
    snapshot.verify().expect("whole");
    let part = hospital.dir(&snapshot).join("condition_era/000.parquet");
    let mut bytes = fs::read(&part).expect("part");
    bytes[100] ^= 1;
    fs::write(&part, bytes).expect("part");
    hospital.active();
    assert!(
        matches!(snapshot.verify(), Err(SnapshotError::Altered(path)) if path.ends_with("condition_era/000.parquet"))
    );
}

#[test]
fn a_pointer_to_nothing_is_an_error() {
    let (hospital, snapshot) = imported();
    let pointer = hospital.home.path().join("data/active");
    fs::write(&pointer, "latest\n").expect("pointer");
    assert!(matches!(
        hospital.store.active(),
        Err(StoreError::Pointer(_))
    ));
    fs::write(&pointer, "00112233445566778899aabbccddeeff\n").expect("pointer");
    assert!(matches!(
        hospital.store.active(),
        Err(StoreError::Snapshot(_))
    ));
    fs::write(&pointer, format!("{}\n", snapshot.id())).expect("pointer");
    hospital.active();
}

#[cfg(unix)]
#[test]
fn nobody_else_can_enter_the_data() {
    use std::os::unix::fs::PermissionsExt;
    let (hospital, snapshot) = imported();
    for dir in [hospital.snapshots(), hospital.dir(&snapshot)] {
        let mode = fs::metadata(dir).expect("directory").permissions().mode();
        assert_eq!(mode & 0o077, 0);
    }
}
