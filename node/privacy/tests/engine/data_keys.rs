//! Keys whose values come from data, without noise: what reaches the threshold is shown.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use ward_privacy::NoiseSource;
use ward_schemas::data_key::{DataValue, ShownValues};
use ward_schemas::partial::Vectors;

use crate::support::{
    Hospital, Measurement, answer, answer_by_both, answer_with, compile, template,
};

/// Noise so small that two patients are enough: the threshold is 2.
const DECLARED: &str = "delta = \"1e-9\"\nkeys.code = { from_data = \"integer\", most = 100 }";
const BY_CODE: &str = "SELECT measurement_concept_id AS code, COUNT(DISTINCT person_id) AS patients, COUNT(*) AS n FROM measurement GROUP BY 1";
const BY_SEX: &str = "SELECT p.gender_concept_id AS sex, m.measurement_concept_id AS code, COUNT(*) AS n, AVG(m.value_as_number) AS mean FROM measurement m JOIN person p ON p.person_id = m.person_id GROUP BY 1, 2";
/// A patient has a code in several cells.
const BY_HIGH: &str = "SELECT value_as_number > 5 AS high, measurement_concept_id AS code, COUNT(*) AS n, AVG(value_as_number) AS mean FROM measurement GROUP BY 1, 2";
const BOUNDS: &str = "keys.sex = { concepts = [8507, 8532] }\nbounds.mean = { lower = \"0\", upper = \"10\", step = \"0.1\" }";

fn loud(sql: &str, max_groups: u32, more: &str) -> String {
    let contribution = format!(
        "contribution = {{ max_groups = {max_groups}, max_rows_per_group = 2 }}\n{DECLARED}\n{more}"
    );
    template(sql, &contribution).replace("rho = \"0.005\"", "rho = \"1000\"")
}

/// The least noisy count at which a value is shown.
fn threshold(text: &str) -> u64 {
    let (_, program) = compile(text).expect("accepted");
    let plan = program.plan();
    let noise = plan.noise(plan.rho()).expect("noise");
    plan.tables[0].threshold(&noise[0]).expect("a threshold")
}

fn codes(vectors: &Vectors) -> Vec<i64> {
    let code = |value: &DataValue| match value {
        DataValue::Integer(code) => *code,
        other => panic!("{other:?}"),
    };
    shown(vectors).iter().map(code).collect()
}

fn shown(vectors: &Vectors) -> &[DataValue] {
    let shown = vectors.shown()[0].as_ref();
    shown.map(ShownValues::values).expect("a key from data")
}

fn hospital() -> impl Strategy<Value = Hospital> {
    let value = (0_i32..120).prop_map(|v| Some(f64::from(v) / 10.0));
    let row = (0_i64..6, 7_i64..13, 18_000_i32..19_000, value);
    let rows = prop::collection::vec::<BoxedStrategy<Measurement>>(row.boxed(), 0..60);
    rows.prop_map(|measurements| Hospital {
        persons: (0..6)
            .map(|id| (id, if id % 2 == 0 { 8507 } else { 8532 }, 1950 + id))
            .collect(),
        measurements,
        ancestors: Vec::new(),
    })
}

/// Patients by code, of those with rows.
fn patients(hospital: &Hospital) -> BTreeMap<i64, BTreeSet<i64>> {
    let mut patients: BTreeMap<i64, BTreeSet<i64>> = BTreeMap::new();
    for (patient, code, ..) in &hospital.measurements {
        patients.entry(*code).or_default().insert(*patient);
    }
    patients
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn values_that_enough_patients_have_are_shown(hospital in hospital(), batch in 1_usize..20, partitions in 1_usize..4) {
        let vectors = answer_by_both(&loud(BY_CODE, 6, ""), hospital.tables(batch, partitions));
        let mut patients = patients(&hospital);
        patients.retain(|_, patients| patients.len() >= 2);
        prop_assert_eq!(codes(&vectors), patients.keys().copied().collect::<Vec<_>>());
        let rows = |code: i64, patient: i64| {
            let is_this = |m: &&Measurement| m.0 == patient && m.1 == code;
            i64::try_from(hospital.measurements.iter().filter(is_this).count()).expect("few")
        };
        let expected: Vec<(i64, i64)> = patients
            .iter()
            .map(|(code, of)| {
                let distinct = i64::try_from(of.len()).expect("few");
                (distinct, of.iter().map(|p| rows(*code, *p).min(2)).sum())
            })
            .collect();
        let found = vectors.values()[0][0].iter().copied().zip(vectors.values()[0][1].iter().copied());
        prop_assert_eq!(found.collect::<Vec<_>>(), expected);
    }

    /// With public keys beside it, a patient counts once for the threshold, and every cell of a
    /// value is there.
    #[test]
    fn the_threshold_counts_over_all_cells(hospital in hospital(), batch in 1_usize..20, partitions in 1_usize..4) {
        let vectors = answer_by_both(&loud(BY_SEX, 6, BOUNDS), hospital.tables(batch, partitions));
        let mut patients = patients(&hospital);
        patients.retain(|_, patients| patients.len() >= 2);
        prop_assert_eq!(codes(&vectors), patients.keys().copied().collect::<Vec<_>>());
        let [n, _, _, counted] = vectors.values()[0].as_slice() else {
            panic!("four components");
        };
        for (i, (code, of)) in patients.iter().enumerate() {
            prop_assert_eq!(counted[i], i64::try_from(of.len()).expect("few"));
            for (cell, sex) in [0, 1].into_iter().zip([0, 1]) {
                let rows = |p: &i64| {
                    let is_this = |m: &&Measurement| m.0 == *p && m.1 == *code;
                    hospital.measurements.iter().filter(is_this).count().min(2)
                };
                let of_sex = of.iter().filter(|p| *p % 2 == sex);
                let expected: usize = of_sex.map(rows).sum();
                prop_assert_eq!(n[2 * i + cell], i64::try_from(expected).expect("few"));
            }
        }
    }

    /// Frozen noise, neighbours: only values of the patient come or go, by one patient each, at most
    /// `max_groups` of them, and only across the threshold; other values don't move at all.
    #[test]
    fn a_patient_moves_their_own_values_alone(hospital in hospital(), patient in 0_i64..6, max_groups in 1_u32..4) {
        let text = loud(BY_CODE, max_groups, "");
        let counts = |hospital: &Hospital| -> BTreeMap<i64, i64> {
            let vectors = answer(&text, hospital.tables(16, 2));
            codes(&vectors).into_iter().zip(vectors.values()[0][0].iter().copied()).collect()
        };
        let (with, without) = (counts(&hospital), counts(&hospital.without(patient)));
        let threshold = i64::try_from(threshold(&text)).expect("small");
        let theirs: BTreeSet<_> =
            hospital.measurements.iter().filter(|m| m.0 == patient).map(|m| m.1).collect();
        let mut moved = 0;
        for code in 7..13 {
            let (a, b) = (with.get(&code), without.get(&code));
            if a != b {
                moved += 1;
                prop_assert!(theirs.contains(&code));
                prop_assert_eq!(*a.expect("more"), b.map_or(threshold, |b| b + 1));
            }
        }
        prop_assert!(moved <= max_groups);
    }

    #[test]
    fn the_layout_of_the_rows_does_not_matter(hospital in hospital(), batch in 1_usize..20, groups in 2_u32..5) {
        let text = loud(BY_HIGH, groups, &BOUNDS.replace("sex = { concepts = [8507, 8532] }", "high = { booleans = [true, false] }"));
        let mut reversed = hospital.clone();
        reversed.measurements.reverse();
        reversed.persons.reverse();
        let one = answer_by_both(&text, hospital.tables(1000, 1));
        prop_assert_eq!(one, answer_by_both(&text, reversed.tables(batch, 3)));
    }
}

/// Patients 0 to n − 1 have code n, for each n.
fn stairs(steps: i64) -> Hospital {
    let of_code = |code| (0..code).map(move |patient| (patient, code, 18_000, Some(1.0)));
    Hospital {
        persons: Vec::new(),
        measurements: (1..=steps).flat_map(of_code).collect(),
        ancestors: Vec::new(),
    }
}

#[test]
fn at_most_the_declared_number_is_shown_the_largest() {
    let text = loud(BY_CODE, 50, "").replace("most = 100", "most = 3");
    let vectors = answer(&text, stairs(12).tables(16, 2));
    assert_eq!(codes(&vectors), [10, 11, 12]);
    assert_eq!(vectors.values()[0][0], [10, 11, 12]);
}

/// At ρ 0.005 with σ 10 and δ 10⁻⁹ the threshold is 62: that one of 20 values of one patient each is
/// shown has a probability below 10⁻⁷; that one of 1000 is not, far less.
#[test]
fn with_noise_few_patients_are_not_shown_and_many_are() {
    let text = template(
        BY_CODE,
        &format!("contribution = {{ max_groups = 1, max_rows_per_group = 1 }}\n{DECLARED}"),
    )
    .replace("0.005", "0.01");
    assert_eq!(threshold(&text), 62);
    let mut hospital = stairs(0);
    let rows = (0..3000_i64).map(|p| (p, if p < 20 { p } else { 1000 + p % 2 }, 18_000, None));
    hospital.measurements = rows.collect();
    let noise = NoiseSource::discrete_gaussian();
    let vectors = answer_with(&text, hospital.tables(64, 2), &noise);
    assert_eq!(codes(&vectors), [1000, 1001]);
}

#[test]
fn texts_and_dates_are_keys_and_unfit_texts_are_not() {
    let text = |key: &str, from_data: &str| {
        let sql = format!(
            "SELECT {key} AS code, COUNT(DISTINCT person_id) AS n FROM measurement GROUP BY 1"
        );
        loud(&sql, 6, "").replace("\"integer\"", &format!("\"{from_data}\""))
    };
    let hospital = stairs(5);
    let named = "CASE WHEN measurement_concept_id = 3 THEN 'three' WHEN measurement_concept_id = 4 THEN '' WHEN measurement_concept_id = 5 THEN 'five' END";
    let vectors = answer_by_both(&text(named, "text"), hospital.tables(4, 2));
    let texts: Vec<_> = shown(&vectors).iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["five", "three"]);
    assert_eq!(vectors.values()[0][0], [5, 3]);
    let vectors = answer_by_both(&text("measurement_date", "date"), hospital.tables(4, 2));
    let dates: Vec<_> = shown(&vectors).iter().map(ToString::to_string).collect();
    assert_eq!(dates, ["2019-04-14"]);
}

/// A value of the patient is one group, so no more noise is added than for one.
#[test]
fn a_key_of_the_patient_costs_one_group() {
    let groups = |sql: &str| {
        let (_, program) = compile(&loud(sql, 5, "")).expect("accepted");
        program.plan().tables[0].contribution.max_groups
    };
    assert_eq!(groups(BY_CODE), 5);
    let of_patient = "SELECT year_of_birth AS code, COUNT(*) AS n FROM person GROUP BY 1";
    assert_eq!(groups(of_patient), 1);
}

/// The statement's own count of patients is the threshold's, wherever it stands; where it leaves
/// somebody out, or other keys divide it, another one is made.
#[test]
fn the_threshold_looks_at_a_count_of_all_patients() {
    let counted = |sql: &str, more: &str| {
        let (_, program) = compile(&loud(sql, 6, more)).expect("accepted");
        let table = program.plan().tables[0].clone();
        let counted = table.data_key.expect("a key from data").counted;
        (
            counted,
            table.components.len(),
            table.components[counted].name.clone(),
        )
    };
    let bounds = "bounds.mean = { lower = \"0\", upper = \"10\", step = \"0.1\" }";
    let own = "SELECT AVG(value_as_number) AS mean, measurement_concept_id AS code, COUNT(DISTINCT person_id) AS patients FROM measurement GROUP BY 2";
    assert_eq!(counted(own, bounds), (2, 3, "patients".to_owned()));
    let vectors = answer(&loud(own, 6, bounds), stairs(4).tables(4, 2));
    assert_eq!(codes(&vectors), [2, 3, 4]);
    // 1.0 is 40 steps below the centre.
    assert_eq!(
        vectors.values()[0],
        [vec![-80, -120, -160], vec![2, 3, 4], vec![2, 3, 4]]
    );
    let some = "SELECT measurement_concept_id AS code, COUNT(DISTINCT person_id) FILTER (WHERE value_as_number > 1) AS patients FROM measurement GROUP BY 1";
    assert_eq!(counted(some, ""), (1, 2, "patients by code".to_owned()));
    assert_eq!(counted(BY_SEX, BOUNDS).0, 3);
}

#[test]
fn another_type_than_declared_is_refused() {
    let text = loud(BY_CODE, 1, "").replace("\"integer\"", "\"text\"");
    let refusal = compile(&text).expect_err("refused").to_string();
    assert!(refusal.contains("texts from data"), "{refusal}");
    let unused = loud("SELECT COUNT(*) AS n FROM measurement", 1, "");
    let refusal = compile(&unused).expect_err("refused").to_string();
    assert!(refusal.contains("keys.code is declared"), "{refusal}");
}
