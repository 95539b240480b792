//! A generated hospital is the same every time, of the model's form, and consistent in itself.

use std::collections::{HashMap, HashSet};
use std::fs;

use arrow::datatypes::{DataType, TimeUnit};
use chrono::NaiveDate;
use tempfile::TempDir;
use ward_omop::vocabulary::{Package, pack};
use ward_schemas::cdm::{self, ColumnRole, ColumnType, Table};
use ward_schemas::key::Vocabulary;
use ward_synthetic::{Mix, vocabulary};

use crate::support::{days, hospital, ids, integers, table};

fn bytes(folder: &TempDir, table: &Table) -> Vec<u8> {
    let path = folder.path().join(format!("{}.parquet", table.name));
    fs::read(path).expect(table.name)
}

#[test]
fn the_same_hospital_has_the_same_bytes_and_another_one_has_not() {
    let base = hospital("a", 7, 300, Mix::General);
    let same = hospital("a", 7, 300, Mix::General);
    let others = [
        hospital("a", 8, 300, Mix::General),
        hospital("b", 7, 300, Mix::General),
        hospital("a", 7, 300, Mix::Rural),
    ];
    for table in cdm::personal_tables() {
        assert!(bytes(&base, table) == bytes(&same, table), "{}", table.name);
        for other in &others {
            assert!(bytes(&base, table) != bytes(other, table), "{}", table.name);
        }
    }
}

#[test]
fn a_smaller_hospital_is_the_beginning_of_a_larger_one() {
    let small = hospital("a", 7, 40, Mix::University);
    let large = hospital("a", 7, 600, Mix::University);
    for model in cdm::personal_tables() {
        let small = table(small.path(), model.name);
        let large = table(large.path(), model.name);
        assert!(large.num_rows() > small.num_rows());
        assert_eq!(small, large.slice(0, small.num_rows()), "{}", model.name);
    }
}

#[test]
fn tables_have_the_columns_of_the_model() {
    let folder = hospital("a", 1, 20, Mix::General);
    vocabulary(folder.path()).expect("vocabulary");
    for model in cdm::tables() {
        let schema = table(folder.path(), model.name).schema();
        let found = schema
            .fields()
            .iter()
            .map(|f| (f.name().as_str(), f.data_type().clone(), f.is_nullable()));
        let columns = model
            .columns
            .iter()
            .map(|c| (c.name, arrow_type(c.column_type), !c.required));
        assert!(found.eq(columns), "{}", model.name);
    }
}

fn arrow_type(column: ColumnType) -> DataType {
    match column {
        ColumnType::Integer => DataType::Int64,
        ColumnType::Number => DataType::Float64,
        ColumnType::Text => DataType::Utf8,
        ColumnType::Date => DataType::Date32,
        ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
    }
}

#[test]
fn rows_refer_to_patients_and_visits_that_exist() {
    for mix in Mix::ALL {
        let folder = hospital("a", 3, 400, mix);
        let persons = table(folder.path(), "person");
        let persons: HashSet<i64> = ids(&persons, "person_id").into_iter().collect();
        assert_eq!(persons.len(), 400);
        let visits = table(folder.path(), "visit_occurrence");
        let visits: HashMap<i64, i64> = ids(&visits, "visit_occurrence_id")
            .into_iter()
            .zip(ids(&visits, "person_id"))
            .collect();
        for model in cdm::personal_tables() {
            let rows = table(folder.path(), model.name);
            let patients = ids(&rows, "person_id");
            assert!(patients.iter().all(|p| persons.contains(p)));
            let key = ids(&rows, model.primary_key.expect("personal tables have one"));
            assert_eq!(key.iter().collect::<HashSet<_>>().len(), key.len());
            for column in ["visit_occurrence_id", "preceding_visit_occurrence_id"] {
                if model.column(column).is_some() {
                    let links = integers(&rows, column).into_iter().zip(&patients);
                    let mut links = links.filter_map(|(visit, p)| Some((visit?, p)));
                    assert!(links.all(|(visit, p)| visits.get(&visit) == Some(p)));
                }
            }
        }
    }
}

/// First and last day of what the hospital may know of each patient.
fn lives(folder: &TempDir) -> HashMap<i64, (i32, i32)> {
    let periods = table(folder.path(), "observation_period");
    let first = days(&periods, "observation_period_start_date");
    let last = days(&periods, "observation_period_end_date");
    let spans = first.into_iter().zip(last);
    let spans = spans.map(|(first, last)| (first.expect("first"), last.expect("last")));
    ids(&periods, "person_id").into_iter().zip(spans).collect()
}

#[test]
fn patients_are_born_before_and_dead_after_all_that_happens_to_them() {
    for mix in Mix::ALL {
        let folder = hospital("a", 5, 400, mix);
        let lives = lives(&folder);
        for model in cdm::personal_tables().filter(|t| t.name != "person") {
            let rows = table(folder.path(), model.name);
            let patients = ids(&rows, "person_id");
            for column in model
                .columns
                .iter()
                .filter(|c| c.column_type == ColumnType::Date)
            {
                for (day, patient) in days(&rows, column.name).into_iter().zip(&patients) {
                    let (first, last) = lives[patient];
                    let inside = day.is_none_or(|day| (first..=last).contains(&day));
                    assert!(inside, "{}.{} of {patient}", model.name, column.name);
                }
            }
        }
        births_precede(&folder, &lives);
        deaths_end(&folder, &lives);
    }
}

fn births_precede(folder: &TempDir, lives: &HashMap<i64, (i32, i32)>) {
    let persons = table(folder.path(), "person");
    let part = |name| ids(&persons, name).into_iter();
    let birth = part("year_of_birth")
        .zip(part("month_of_birth"))
        .zip(part("day_of_birth"));
    for (id, ((year, month), day)) in part("person_id").zip(birth) {
        let small = |n: i64| u32::try_from(n).expect("month or day");
        let year = i32::try_from(year).expect("year");
        let birth = NaiveDate::from_ymd_opt(year, small(month), small(day)).expect("date");
        assert!(birth.to_epoch_days() <= lives[&id].0);
    }
}

fn deaths_end(folder: &TempDir, lives: &HashMap<i64, (i32, i32)>) {
    let deaths = table(folder.path(), "death");
    for (id, day) in ids(&deaths, "person_id")
        .into_iter()
        .zip(days(&deaths, "death_date"))
    {
        assert_eq!(day, Some(lives[&id].1));
    }
}

#[test]
fn spans_end_after_they_start() {
    let folder = hospital("a", 9, 600, Mix::Geriatric);
    for (name, start, end) in [
        (
            "observation_period",
            "observation_period_start_date",
            "observation_period_end_date",
        ),
        ("visit_occurrence", "visit_start_date", "visit_end_date"),
        (
            "condition_occurrence",
            "condition_start_date",
            "condition_end_date",
        ),
        (
            "drug_exposure",
            "drug_exposure_start_date",
            "drug_exposure_end_date",
        ),
        ("drug_era", "drug_era_start_date", "drug_era_end_date"),
        (
            "condition_era",
            "condition_era_start_date",
            "condition_era_end_date",
        ),
    ] {
        let rows = table(folder.path(), name);
        let spans = days(&rows, start).into_iter().zip(days(&rows, end));
        assert!(
            spans
                .filter(|(_, end)| end.is_some())
                .all(|(start, end)| start <= end),
            "{name}"
        );
    }
}

#[test]
fn the_vocabulary_explains_every_concept_that_is_used() {
    let folder = tempfile::tempdir().expect("temporary folder");
    vocabulary(folder.path()).expect("vocabulary");
    let known: HashSet<i64> = ids(&table(folder.path(), "concept"), "concept_id")
        .into_iter()
        .collect();
    assert!(known.contains(&0));
    for mix in Mix::ALL {
        let hospital = hospital("a", 2, 2_000, mix);
        for model in cdm::personal_tables() {
            let rows = table(hospital.path(), model.name);
            for column in model
                .columns
                .iter()
                .filter(|c| c.role == ColumnRole::Concept)
            {
                let unknown = integers(&rows, column.name)
                    .into_iter()
                    .flatten()
                    .find(|c| !known.contains(c));
                assert_eq!(unknown, None, "{}.{}", model.name, column.name);
            }
        }
    }
}

#[test]
fn descendants_reach_from_the_class_to_the_record() {
    let folder = tempfile::tempdir().expect("temporary folder");
    vocabulary(folder.path()).expect("vocabulary");
    let ancestors = table(folder.path(), "concept_ancestor");
    let pairs: HashMap<(i64, i64), (i64, i64)> = ids(&ancestors, "ancestor_concept_id")
        .into_iter()
        .zip(ids(&ancestors, "descendant_concept_id"))
        .zip(
            ids(&ancestors, "min_levels_of_separation")
                .into_iter()
                .zip(ids(&ancestors, "max_levels_of_separation")),
        )
        .collect();
    assert_eq!(pairs.len(), ancestors.num_rows());
    for concept in ids(&table(folder.path(), "concept"), "concept_id") {
        assert_eq!(pairs.get(&(concept, concept)), Some(&(0, 0)));
    }
    let diabetes_and_its_complication = pairs.get(&(201820, 443731));
    assert_eq!(diabetes_and_its_complication, Some(&(3, 3)));
    assert_eq!(pairs.get(&(316866, 320128)), Some(&(1, 1)));
    let antidiabetics_and_a_tablet = pairs.get(&(21600712, 40164929));
    assert_eq!(antidiabetics_and_a_tablet, Some(&(2, 2)));
    let kidney_disease_by_two_ways = pairs.get(&(4274025, 443731));
    assert_eq!(kidney_disease_by_two_ways, Some(&(2, 5)));
}

#[test]
fn the_vocabulary_makes_a_package() {
    let folder = tempfile::tempdir().expect("temporary folder");
    vocabulary(folder.path()).expect("vocabulary");
    let file = folder.path().join("vocabulary.tar");
    pack(folder.path(), &file).expect("packed");
    let package = Package::open(&file).expect("package");
    let diabetes = package.descendants(201820);
    assert!(diabetes.is_superset(&[201820, 201254, 201826, 443731].into()));
    assert!(!diabetes.contains(&320128));
    let name = package.concept_name(5083);
    assert_eq!(name.as_deref(), Some("Telehealth"));
}
