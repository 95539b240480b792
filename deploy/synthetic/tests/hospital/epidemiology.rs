//! What a generated hospital must show for a question about it to have an interesting answer.

use std::collections::{BTreeMap, HashMap, HashSet};

use arrow::array::RecordBatch;
use chrono::{Datelike, NaiveDate};
use tempfile::TempDir;
use ward_schemas::cdm;
use ward_synthetic::Mix;

use crate::support::{days, hospital, ids, integers, numbers, table};

const TYPE_2_DIABETES: [i64; 5] = [201826, 4193704, 443731, 376065, 443733];
const INFLUENZA: i64 = 4266367;
const TELEHEALTH: i64 = 5083;
const INPATIENT: i64 = 9201;
const HBA1C: i64 = 3004410;
const PERCENT: i64 = 8554;
const AT_HOME: i64 = 32865;

fn dates(batch: &RecordBatch, column: &str) -> Vec<NaiveDate> {
    let days = days(batch, column).into_iter();
    days.map(|d| NaiveDate::from_epoch_days(d.expect(column)).expect("date"))
        .collect()
}

fn share(part: usize, whole: usize) -> f64 {
    f64::from(u32::try_from(part).expect("small")) / f64::from(u32::try_from(whole).expect("small"))
}

fn diabetics(folder: &TempDir) -> HashSet<i64> {
    let conditions = table(folder.path(), "condition_occurrence");
    let concepts = ids(&conditions, "condition_concept_id");
    let rows = ids(&conditions, "person_id").into_iter().zip(concepts);
    rows.filter(|(_, concept)| TYPE_2_DIABETES.contains(concept))
        .map(|(person, _)| person)
        .collect()
}

#[test]
fn diabetes_rises_with_age() {
    let folder = hospital("a", 1, 4_000, Mix::General);
    let diabetics = diabetics(&folder);
    let persons = table(folder.path(), "person");
    let mut by_age = BTreeMap::<i64, (usize, usize)>::new();
    for (id, birth) in ids(&persons, "person_id")
        .into_iter()
        .zip(ids(&persons, "year_of_birth"))
    {
        let (ill, all) = by_age.entry(((2020 - birth) / 20).clamp(0, 3)).or_default();
        *ill += usize::from(diabetics.contains(&id));
        *all += 1;
    }
    let shares: Vec<f64> = by_age
        .values()
        .map(|(ill, all)| share(*ill, *all))
        .collect();
    assert!(shares.is_sorted(), "{shares:?}");
    assert!(
        shares[0] < 0.02 && (0.15..0.4).contains(&shares[3]),
        "{shares:?}"
    );
}

#[test]
fn influenza_comes_in_winter() {
    let folder = hospital("a", 1, 4_000, Mix::General);
    let conditions = table(folder.path(), "condition_occurrence");
    let rows = ids(&conditions, "condition_concept_id")
        .into_iter()
        .zip(dates(&conditions, "condition_start_date"));
    let cases: Vec<u32> = rows
        .filter(|(c, _)| *c == INFLUENZA)
        .map(|(_, d)| d.month())
        .collect();
    let winter = cases.iter().filter(|m| matches!(m, 12 | 1 | 2)).count();
    let summer = cases.iter().filter(|m| matches!(m, 6..=8)).count();
    assert!(
        winter > 10 * summer && winter > 200,
        "{winter} and {summer}"
    );
}

#[test]
fn telehealth_is_rare_until_2019_and_grows_from_2020() {
    let folder = hospital("a", 1, 10_000, Mix::University);
    let visits = table(folder.path(), "visit_occurrence");
    let mut by_year = BTreeMap::<i32, (usize, usize)>::new();
    for (kind, day) in ids(&visits, "visit_concept_id")
        .into_iter()
        .zip(dates(&visits, "visit_start_date"))
    {
        let (remote, all) = by_year.entry(day.year()).or_default();
        *remote += usize::from(kind == TELEHEALTH);
        *all += 1;
    }
    assert_eq!(
        by_year.keys().copied().collect::<Vec<_>>(),
        (2015..=2025).collect::<Vec<_>>()
    );
    let shares: Vec<f64> = by_year
        .values()
        .map(|(remote, all)| share(*remote, *all))
        .collect();
    assert!(shares[..5].iter().all(|s| *s < 0.02), "{shares:?}");
    assert!(shares[4..].is_sorted() && shares[10] > 0.2, "{shares:?}");
}

#[test]
fn stays_last_nights_and_other_visits_do_not() {
    let folder = hospital("a", 1, 3_000, Mix::Geriatric);
    let visits = table(folder.path(), "visit_occurrence");
    let nights = days(&visits, "visit_start_date")
        .into_iter()
        .zip(days(&visits, "visit_end_date"))
        .map(|(start, end)| end.expect("end") - start.expect("start"));
    let (mut stays, mut all) = (0, 0);
    for (kind, nights) in ids(&visits, "visit_concept_id").into_iter().zip(nights) {
        if kind == INPATIENT {
            (stays, all) = (stays + 1, all + nights);
        } else {
            assert_eq!(nights, 0);
        }
    }
    assert!(
        (8 * stays..15 * stays).contains(&all),
        "{all} nights of {stays} stays"
    );
}

#[test]
fn hba1c_is_in_percent_with_one_decimal_and_higher_in_diabetes() {
    let folder = hospital("a", 1, 4_000, Mix::University);
    let diabetics = diabetics(&folder);
    let rows = table(folder.path(), "measurement");
    let values = numbers(&rows, "value_as_number")
        .into_iter()
        .zip(integers(&rows, "unit_concept_id"));
    let rows = ids(&rows, "measurement_concept_id")
        .into_iter()
        .zip(ids(&rows, "person_id"))
        .zip(values);
    let mut means = HashMap::<bool, (f64, f64)>::new();
    for ((_, person), (value, unit)) in rows.filter(|((concept, _), _)| *concept == HBA1C) {
        let value = value.expect("value");
        assert_eq!(unit, Some(PERCENT));
        assert!((value * 10.0 - (value * 10.0).round()).abs() < 1e-9);
        let (sum, count) = means.entry(diabetics.contains(&person)).or_default();
        (*sum, *count) = (*sum + value, *count + 1.0);
    }
    let mean = |ill| means[&ill].0 / means[&ill].1;
    assert!((6.8..7.6).contains(&mean(true)), "{}", mean(true));
    assert!((5.0..6.2).contains(&mean(false)), "{}", mean(false));
}

#[test]
fn devices_at_home_are_read_outside_visits() {
    let folder = hospital("a", 1, 2_000, Mix::University);
    let rows = table(folder.path(), "measurement");
    let types = ids(&rows, "measurement_type_concept_id");
    let visits = integers(&rows, "visit_occurrence_id");
    let at_home = types.iter().filter(|t| **t == AT_HOME).count();
    assert!(at_home > 1_000, "{at_home}");
    assert!(
        types
            .iter()
            .zip(&visits)
            .all(|(t, visit)| (*t == AT_HOME) == visit.is_none())
    );
}

#[test]
fn hospitals_differ_by_their_mix() {
    let mean_birth = |mix| {
        let folder = hospital("a", 1, 1_000, mix);
        let births = ids(&table(folder.path(), "person"), "year_of_birth");
        births.iter().sum::<i64>() / 1_000
    };
    let [university, general, rural, geriatric, maternity] = Mix::ALL.map(mean_birth);
    assert!(geriatric + 15 < rural && rural + 3 < general);
    assert!(general <= university && university + 15 < maternity);
}

#[test]
fn a_patient_has_some_tens_of_rows() {
    let folder = hospital("a", 1, 1_000, Mix::General);
    let rows: usize = cdm::personal_tables()
        .map(|t| table(folder.path(), t.name).num_rows())
        .sum();
    assert!((20_000..50_000).contains(&rows), "{rows}");
}
