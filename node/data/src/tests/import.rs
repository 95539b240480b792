//! What is kept, what is rejected, and what the report says.

use std::sync::Mutex;

use super::*;
use crate::{Progress, RejectReason, TableReport};

const MEASUREMENT_HEADER: &str =
    "MEASUREMENT_ID,PERSON_ID,MEASUREMENT_CONCEPT_ID,MEASUREMENT_DATE,VALUE_AS_NUMBER\n";

fn report(hospital: &Hospital, table: &str) -> TableReport {
    let report = hospital.import().expect("imported");
    let found = report.tables.into_iter().find(|t| t.table == table);
    found.expect("every table is reported")
}

fn measurements(rows: &str) -> (Hospital, TableReport) {
    let text = format!("{MEASUREMENT_HEADER}{rows}");
    let hospital = Hospital::new(&[("person.csv", PERSON), ("Measurement.csv", &text)]);
    let report = report(&hospital, "measurement");
    (hospital, report)
}

#[test]
fn every_reason_is_counted() {
    use RejectReason as R;
    let (_, report) = measurements(
        "1,1,3004410,2020-01-01,5.5\n\
         2,,3004410,2020-01-01,5.5\n\
         3,1,3004410,1 May,5.5\n\
         x,1,3004410,2020-01-01,5.5\n\
         5,1,3004410,2020-01-01,NaN\n\
         6,4,3004410,2020-01-01,5.5\n\
         1.0,1.0,3004410.0,20200101,5.50\n\
         1,1,3004410,2020-01-02,5.5\n",
    );
    assert_eq!((report.read, report.kept), (8, 2));
    let rejected = [
        (R::MissingValue, 1),
        (R::UnreadableValue, 2),
        (R::NotFinite, 1),
        (R::UnknownPatient, 1),
        (R::DuplicateRow, 1),
    ];
    assert_eq!(report.rejected, BTreeMap::from(rejected));
    assert_eq!(report.notes.len(), 3, "{:?}", report.notes);
    assert!(report.notes[2].contains("measurement_id: 1 rows share it"));
    let text = report.to_string();
    assert!(
        text.contains("1 rejected: a number is not finite"),
        "{text}"
    );
}

#[test]
fn a_patient_has_one_row_in_person_and_one_death() {
    let twice = format!("{PERSON}1,8532,1940\n3,8507,1970\n");
    let death = "person_id,death_date\n1,2022-01-01\n1,2021-01-01\n9,2020-01-01\n";
    let hospital = Hospital::new(&[("person.csv", &twice), ("death.csv", death)]);
    let report = hospital.import().expect("imported");
    let rejected: Vec<_> = report.tables.iter().map(|t| t.rejected.clone()).collect();
    assert_eq!(
        rejected[0],
        BTreeMap::from([(RejectReason::DuplicateKey, 2)])
    );
    let snapshot = hospital.active();
    let persons = hospital.stored(&snapshot, "person");
    assert_eq!(persons.len(), 3);
    assert!(
        persons[&patient("1")][0].contains("|8507|1950|"),
        "first of all columns"
    );
    let deaths = hospital.stored(&snapshot, "death");
    assert_eq!(deaths.len(), 1);
    assert!(
        deaths[&patient("1")][0].contains("2021-01-01"),
        "the earliest"
    );
}

#[test]
fn a_visit_is_one_row_to_what_refers_to_it() {
    let visits = "visit_occurrence_id,person_id,visit_start_date,visit_end_date\n\
        5,1,2020-01-02,2020-01-03\n5,1,2020-01-01,2020-01-03\n5,2,2020-01-05,2020-01-05\n";
    let hospital = Hospital::new(&[("person.csv", PERSON), ("visit_occurrence.csv", visits)]);
    let report = report(&hospital, "visit_occurrence");
    assert_eq!(report.kept, 2);
    assert_eq!(report.rejected[&RejectReason::DuplicateKey], 1);
    let stored = hospital.stored(&hospital.active(), "visit_occurrence");
    assert!(
        stored[&patient("1")][0].contains("2020-01-01"),
        "first of all columns"
    );
}

#[test]
fn events_of_a_rejected_person_go_with_it() {
    let person = format!("{PERSON}4,8507,unknown\n");
    let era = format!("{CONDITION_ERA}13,4,201826,2010-01-01,2010-02-01\n");
    let hospital = Hospital::new(&[("person.csv", &person), ("CONDITION_ERA.CSV", &era)]);
    let report = report(&hospital, "condition_era");
    assert_eq!((report.read, report.kept), (4, 3));
    assert_eq!(report.rejected[&RejectReason::UnknownPatient], 1);
}

#[test]
fn one_key_at_two_patients_is_left_alone() {
    let (hospital, report) = measurements("7,1,3,2020-01-01,1\n7,2,3,2020-01-01,1\n");
    assert_eq!((report.kept, report.rejected.len()), (2, 0));
    assert_eq!(hospital.stored(&hospital.active(), "measurement").len(), 2);
}

#[test]
fn identifiers_are_hashed_for_patients_only() {
    let (hospital, _) = measurements("716.0,002,3,2020-01-01,1\n");
    let rows = hospital.stored(&hospital.active(), "measurement");
    assert!(rows[&patient("2")][0].starts_with("716|"));
}

#[test]
fn folders_without_patients_are_refused() {
    let refused = |files: &[(&str, &str)]| {
        let hospital = Hospital::new(files);
        let error = hospital.import().expect_err("refused").to_string();
        assert!(hospital.store.active().expect("readable").is_none());
        assert_eq!(hospital.store.list().expect("list"), []);
        assert!(
            crate::file::names(&hospital.snapshots())
                .expect("names")
                .is_empty()
        );
        error
    };
    assert!(refused(&[("death.csv", "person_id,death_date\n")]).contains("no table person"));
    assert!(refused(&[("person.csv", "person_id,year_of_birth\n")]).contains("no patient"));
    let ragged = format!("{CONDITION_ERA}13,4\n");
    let error = refused(&[("person.csv", PERSON), ("condition_era.csv", &ragged)]);
    assert!(error.contains("condition_era.csv"), "{error}");
}

#[test]
fn progress_adds_up_to_the_length_of_each_file() {
    #[derive(Default)]
    struct Seen(Mutex<Vec<(String, u64, u64)>>);
    impl Progress for Seen {
        fn table(&self, name: &str, total_bytes: u64) {
            let mut seen = self.0.lock().expect("lock");
            seen.push((name.to_owned(), total_bytes, 0));
        }
        fn advanced(&self, bytes: u64) {
            let mut seen = self.0.lock().expect("lock");
            seen.last_mut().expect("a table").2 += bytes;
        }
        fn finished(&self) {}
    }
    let hospital = Hospital::new(&[("person.csv", PERSON), ("condition_era.csv", CONDITION_ERA)]);
    let seen = Seen::default();
    let report = hospital
        .store
        .import_omop(&hospital.source(), &key(), &seen);
    let tables = report.expect("imported").tables.len();
    let seen = seen.0.into_inner().expect("lock");
    assert_eq!(seen.len(), tables);
    assert!(
        seen.iter().all(|(_, total, done)| total == done),
        "{seen:?}"
    );
    assert!(
        seen.iter()
            .any(|(name, total, _)| name == "person" && *total == PERSON.len() as u64)
    );
}

#[test]
fn a_report_reads_as_a_table_and_as_json() {
    let hospital = Hospital::new(&[("person.csv", PERSON)]);
    let report = hospital.import().expect("imported");
    let text = report.to_string();
    assert!(text.contains(&report.snapshot.to_string()));
    assert!(text.contains("no file"));
    let json = serde_json::to_value(&report).expect("JSON");
    assert_eq!(json["tables"][0]["kept"], 3);
}
