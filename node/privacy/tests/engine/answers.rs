//! Answers on known data, without noise: against a plain reimplementation, and on neighbours.

use proptest::prelude::*;

use crate::support::{Hospital, Measurement, answer, answer_with, template};
use ward_privacy::NoiseSource;

const MEAN_BY_SEX: &str = "SELECT p.gender_concept_id AS sex, COUNT(*) AS n, COUNT(DISTINCT m.person_id) AS patients, AVG(m.value_as_number) AS mean FROM measurement m JOIN person p ON p.person_id = m.person_id GROUP BY 1";
const DECLARED: &str = "contribution = { max_groups = 1, max_rows_per_group = 2 }\nkeys.sex = { concepts = [8507, 8532] }\nbounds.mean = { lower = \"0\", upper = \"10\", step = \"0.1\" }";
/// Components of `MEAN_BY_SEX`: n, patients, sum, count; bounds on one patient's part of each.
const BOUNDS: [i64; 4] = [2, 1, 2 * 50, 2];

fn measurement() -> impl Strategy<Value = Measurement> {
    let value = prop_oneof![
        4 => (0_i32..120).prop_map(|v| Some(f64::from(v) / 10.0)),
        1 => Just(None),
        1 => prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(-0.0), Just(1e300), Just(f64::NEG_INFINITY)].prop_map(Some),
    ];
    (0_i64..6, 9_i64..12, 18_000_i32..19_000, value)
}

fn hospital() -> impl Strategy<Value = Hospital> {
    prop::collection::vec(measurement(), 0..60).prop_map(|measurements| Hospital {
        persons: (0..6)
            .map(|id| (id, if id % 2 == 0 { 8507 } else { 8532 }, 1950 + id))
            .collect(),
        measurements,
        ancestors: vec![(10, 10), (10, 11), (1, 10)],
    })
}

/// What the engine should find, row by row and without DataFusion.
fn expected(hospital: &Hospital) -> Vec<Vec<i64>> {
    let mut cells = vec![vec![0; 2]; 4];
    for (id, gender, _) in &hospital.persons {
        let rows: Vec<_> = hospital
            .measurements
            .iter()
            .filter(|m| m.0 == *id)
            .collect();
        let values: Vec<i64> = rows
            .iter()
            .filter_map(|m| m.3.filter(|v| !v.is_nan()))
            .map(|v| {
                #[allow(clippy::cast_possible_truncation)]
                let steps = (v.clamp(0.0, 10.0) * 10.0).round() as i64;
                steps - 50
            })
            .collect();
        let cell = usize::from(*gender == 8532);
        let (m, n) = (
            i64::try_from(values.len()).expect("few"),
            i64::try_from(rows.len()).expect("few"),
        );
        let sum: i64 = values.iter().sum();
        cells[0][cell] += n.min(2);
        cells[1][cell] += i64::from(n > 0);
        cells[2][cell] += if m <= 2 {
            sum
        } else {
            (4 * sum + m).div_euclid(2 * m)
        };
        cells[3][cell] += m.min(2);
    }
    cells
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_engine_agrees_with_a_plain_reading(hospital in hospital(), batch in 1_usize..20, partitions in 1_usize..4) {
        let vectors = answer(&template(MEAN_BY_SEX, DECLARED), hospital.tables(batch, partitions));
        prop_assert_eq!(&vectors.values()[0], &expected(&hospital));
    }

    #[test]
    fn the_layout_of_the_rows_does_not_matter(hospital in hospital(), batch in 1_usize..20) {
        let text = template(MEAN_BY_SEX, DECLARED);
        let mut reversed = hospital.clone();
        reversed.measurements.reverse();
        reversed.persons.reverse();
        let one = answer(&text, hospital.tables(1000, 1));
        prop_assert_eq!(one, answer(&text, reversed.tables(batch, 3)));
    }

    #[test]
    fn one_patient_moves_each_component_by_at_most_its_bound(hospital in hospital(), patient in 0_i64..6) {
        let text = template(MEAN_BY_SEX, DECLARED);
        let with = answer(&text, hospital.tables(16, 2));
        let without = answer(&text, hospital.without(patient).tables(16, 2));
        for (component, bound) in BOUNDS.into_iter().enumerate() {
            let distance: i64 = with.values()[0][component]
                .iter()
                .zip(&without.values()[0][component])
                .map(|(a, b)| (a - b).pow(2))
                .sum();
            prop_assert!(distance <= bound * bound, "component {component}: {distance}");
        }
    }
}

/// The neighbour test must see a patient whose rows are not bounded: the same data with the
/// patient's rows under one id each.
#[test]
fn an_unbounded_patient_would_be_seen() {
    let rows = |id: fn(i64) -> i64| Hospital {
        persons: (0..20).map(|i| (i, 8507, 1950)).collect(),
        measurements: (0..20).map(|i| (id(i), 10, 18_000, Some(10.0))).collect(),
        ancestors: Vec::new(),
    };
    let text = template(MEAN_BY_SEX, DECLARED);
    let total = |h: &Hospital| answer(&text, h.tables(8, 1)).values()[0][0][0];
    assert_eq!(total(&rows(|_| 7)), BOUNDS[0]);
    assert!(total(&rows(|i| i)) > BOUNDS[0]);
}

#[test]
fn public_tables_restrict_and_empty_groups_appear() {
    let hospital = Hospital {
        persons: vec![(1, 8507, 1950), (2, 8532, 1960), (3, 8507, 1970)],
        measurements: vec![
            (1, 10, 18_000, None),
            (1, 11, 18_000, None),
            (2, 12, 18_000, None),
        ],
        ancestors: vec![(10, 10), (10, 11), (99, 12)],
    };
    let sql = "SELECT p.gender_concept_id AS sex, COUNT(DISTINCT m.person_id) AS affected, COUNT(DISTINCT p.person_id) AS patients FROM person p LEFT JOIN (SELECT x.person_id FROM measurement x JOIN concept_ancestor a ON a.descendant_concept_id = x.measurement_concept_id WHERE a.ancestor_concept_id = $concept) m ON m.person_id = p.person_id GROUP BY 1";
    let declared = "contribution = { max_groups = 1, max_rows_per_group = 1 }\nkeys.sex = { concepts = [8507, 8532, 8551] }";
    let vectors = answer(&template(sql, declared), hospital.tables(2, 2));
    assert_eq!(vectors.values()[0], [vec![1, 0, 0], vec![2, 1, 0]]);
}

/// Noise of the declared scale is in the answer: 2000 cells of a count with σ = 10; the standard
/// deviation's own error is 10/√4000 ≈ 0.16, so the bounds lie over 6 of them away.
#[test]
fn the_declared_noise_is_in_the_answer() {
    let values: Vec<_> = (0..2000).map(|i| i.to_string()).collect();
    let declared = format!(
        "contribution = {{ max_groups = 1, max_rows_per_group = 1 }}\nkeys.year = {{ numbers = [{}] }}",
        values.join(", ")
    );
    let text = template(
        "SELECT year_of_birth AS year, COUNT(*) AS n FROM person GROUP BY 1",
        &declared,
    );
    let tables = Hospital::default().tables(1, 1);
    let vectors = answer_with(&text, tables, &NoiseSource::discrete_gaussian());
    let cells = &vectors.values()[0][0];
    #[allow(clippy::cast_precision_loss)]
    let deviation = (cells.iter().map(|c| (c * c) as f64).sum::<f64>() / 2000.0).sqrt();
    assert!((9.0..11.0).contains(&deviation), "{deviation}");
}
