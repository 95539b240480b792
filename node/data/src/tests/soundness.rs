//! One patient's rows change what is stored of that patient, whatever their order and number.

use proptest::prelude::*;

use super::*;
use crate::layout::Parts;

const PERSON_HEADER: &str = "person_id,gender_concept_id,year_of_birth";
const ERA_HEADER: &str = "condition_era_id,person_id,condition_concept_id,condition_era_start_date,condition_era_end_date";

/// Rows of one of a few patients, some in `person` and some not, many of them faulty or repeated.
fn person_row() -> impl Strategy<Value = String> {
    (
        0..9,
        prop::sample::select(vec!["8507", "8532", ""]),
        prop::sample::select(vec!["1950", "1950.0", "x"]),
    )
        .prop_map(|(person, gender, year)| format!("{person},{gender},{year}"))
}

fn era_row() -> impl Strategy<Value = String> {
    let day = prop::sample::select(vec!["2010-01-01", "20100102", "", "soon"]);
    (0..4, 0..9, 0..3, day)
        .prop_map(|(id, person, concept, day)| format!("{id},{person},{concept},{day},2011-01-01"))
}

fn sizes() -> impl Strategy<Value = Sizes> {
    (1..50_usize, 1..4_usize).prop_map(|(batch_rows, group_rows)| Sizes {
        batch_rows,
        patients_per_part: 4,
        spill_bytes: 400,
        group_rows,
    })
}

fn text(header: &str, rows: &[String]) -> String {
    format!("{header}\n{}\n", rows.join("\n"))
}

fn hospital(persons: &[String], eras: &[String]) -> Hospital {
    // One good row and as many bytes in any order: then there is always a patient, and the layout
    // (which follows from the size of the source) stays the same.
    let persons = [&["0,8507,1949".to_owned()], persons].concat();
    Hospital::new(&[
        ("person.csv", &text(PERSON_HEADER, &persons)),
        ("condition_era.csv", &text(ERA_HEADER, eras)),
    ])
}

fn shuffled() -> impl Strategy<Value = (Vec<String>, Vec<String>, Vec<String>, Vec<String>)> {
    let persons = prop::collection::vec(person_row(), 1..30);
    let eras = prop::collection::vec(era_row(), 0..80);
    (persons, eras).prop_flat_map(|(persons, eras)| {
        let shuffled = (
            Just(persons.clone()).prop_shuffle(),
            Just(eras.clone()).prop_shuffle(),
        );
        (Just(persons), Just(eras), shuffled).prop_map(|(p, e, (sp, se))| (p, e, sp, se))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn order_of_rows_does_not_matter(
        (persons, eras, shuffled_persons, shuffled_eras) in shuffled(),
        one in sizes(),
        other in sizes(),
    ) {
        let other = Sizes { group_rows: one.group_rows, ..other };
        let here = hospital(&persons, &eras);
        let there = hospital(&shuffled_persons, &shuffled_eras);
        let (report, snapshot) = here.import_sized(one);
        let (shuffled_report, shuffled_snapshot) = there.import_sized(other);
        snapshot.verify().expect("clustered");
        prop_assert_eq!(report.tables, shuffled_report.tables);
        prop_assert_eq!(snapshot.manifest().parts, shuffled_snapshot.manifest().parts);
        // Equal hashes of every file.
        prop_assert_eq!(&snapshot.manifest().tables, &shuffled_snapshot.manifest().tables);
    }

    #[test]
    fn a_patient_who_leaves_changes_nobody_else(
        (persons, eras, _, _) in shuffled(),
        leaves in 1..9_u32,
        one in sizes(),
        other in sizes(),
    ) {
        let leaver = leaves.to_string();
        let keep = |rows: &[String], column: usize| -> Vec<String> {
            let stays = |row: &&String| row.split(',').nth(column) != Some(leaver.as_str());
            rows.iter().filter(stays).cloned().collect()
        };
        let with = hospital(&persons, &eras);
        let without = hospital(&keep(&persons, 0), &keep(&eras, 1));
        let (_, with_snapshot) = with.import_sized(one);
        let (_, without_snapshot) = without.import_sized(other);
        for table in ["person", "condition_era"] {
            let mut all = with.stored(&with_snapshot, table);
            all.remove(&patient(&leaver));
            prop_assert_eq!(all, without.stored(&without_snapshot, table));
        }
    }
}

#[test]
fn many_patients_lie_in_many_parts_and_row_groups() {
    let persons: Vec<_> = (0..200).map(|i| format!("{i},8507,1950")).collect();
    let eras: Vec<_> = (0..2_000)
        .map(|i| format!("{i},{},201826,2010-01-01,2010-01-02", i % 199))
        .collect();
    let hospital = hospital(&persons, &eras);
    let (_, snapshot) = hospital.import_sized(Sizes {
        batch_rows: 100,
        patients_per_part: 16,
        spill_bytes: 4_000,
        group_rows: 25,
    });
    snapshot.verify().expect("clustered");
    let parts = snapshot.manifest().parts;
    assert!(parts > Parts::at_least(2));
    let path = hospital.dir(&snapshot).join("condition_era/000.parquet");
    let file = File::open(path).expect("part");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet");
    let groups = reader.metadata().row_groups();
    assert!(groups.len() > 1);
    let full = &groups[..groups.len() - 1];
    assert!(full.iter().all(|g| (25..36).contains(&g.num_rows())));
    assert_eq!(hospital.stored(&snapshot, "condition_era").len(), 199);
}
