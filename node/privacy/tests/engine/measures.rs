//! Variances, quantiles and totals: their sensitivity on neighbours, and how good their answers are.

use std::sync::Arc;

use proptest::prelude::*;
use ward_privacy::{Execution, NoiseSource};
use ward_schemas::finish::Estimate;
use ward_schemas::plan::TablePlan;
use ward_schemas::release::{Cell, ReleaseTable, TOTAL};

use crate::support::{Asked, Hospital, NoNoise, answer, compile, template};

const SPREAD_BY_CONCEPT: &str = "SELECT measurement_concept_id AS concept, STDDEV(value_as_number) AS sd, MEDIAN(value_as_number) AS middle FROM measurement GROUP BY 1";

fn spread_by_concept(groups: u32, rows: u32) -> String {
    let bounds = "{ lower = \"0\", upper = \"10\", step = \"0.5\" }";
    let declared = format!(
        "contribution = {{ max_groups = {groups}, max_rows_per_group = {rows} }}\nkeys.concept = {{ numbers = [10, 11, 12] }}\nbounds.sd = {bounds}\nbounds.middle = {bounds}"
    );
    template(SPREAD_BY_CONCEPT, &declared)
}

fn exact() -> NoiseSource {
    NoiseSource::frozen(Box::new(NoNoise))
}

fn hospital() -> impl Strategy<Value = Hospital> {
    let value = prop_oneof![
        (-2_i32..24).prop_map(|v| Some(f64::from(v) / 2.0)),
        Just(Some(f64::INFINITY)),
        Just(Some(f64::NAN)),
        Just(None),
    ];
    let row = (0_i64..4, 10_i64..14, Just(18_000), value);
    prop::collection::vec(row, 0..60).prop_map(|measurements| Hospital {
        measurements,
        ..Hospital::default()
    })
}

/// Components that a patient moves by more than the plan declares.
fn exceeded(declared: &TablePlan, computed: &str, hospital: &Hospital) -> Vec<String> {
    let with = answer(computed, hospital.tables(16, 2));
    let mut found = Vec::new();
    for patient in 0..4 {
        let without = answer(computed, hospital.without(patient).tables(16, 2));
        let pairs = with.values()[0].iter().zip(&without.values()[0]);
        for (component, (a, b)) in declared.components.iter().zip(pairs) {
            let moved: i64 = a.iter().zip(b).map(|(a, b)| (a - b).pow(2)).sum();
            if u128::from(moved.unsigned_abs()) > declared.sensitivity_squared(component) {
                found.push(component.name.clone());
            }
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn one_patient_moves_squares_and_trees_by_at_most_what_is_declared(
        hospital in hospital(), groups in 1_u32..4, rows in 1_u32..4
    ) {
        let text = spread_by_concept(groups, rows);
        let (_, program) = compile(&text).expect("accepted");
        let found = exceeded(&program.plan().tables[0], &text, &hospital);
        prop_assert!(found.is_empty(), "{found:?}");
    }
}

/// Mutants: rows that are neither scaled nor picked, and groups that are not chosen.
#[test]
fn patients_who_are_not_bounded_would_be_seen() {
    let rows = |concept| (0..6).map(move |_| (1, concept, 18_000, Some(10.0)));
    let hospital = Hospital {
        measurements: (10..13).flat_map(rows).collect(),
        ..Hospital::default()
    };
    let (_, program) = compile(&spread_by_concept(1, 2)).expect("accepted");
    let declared = &program.plan().tables[0];
    let all: Vec<_> = declared.components.iter().map(|c| c.name.clone()).collect();
    for mutant in [spread_by_concept(1, 6), spread_by_concept(3, 2)] {
        assert_eq!(exceeded(declared, &mutant, &hospital), all);
    }
    let found = exceeded(declared, &spread_by_concept(1, 2), &hospital);
    assert!(found.is_empty(), "{found:?}");
}

/// A patient's rows count at their own ranks: 9 rows, of which 3 count.
#[test]
fn rows_are_picked_evenly_over_their_order() {
    let hospital = Hospital {
        measurements: [8.0, 1.0, 3.0, 2.0, 9.0, 7.0, 4.0, 6.0, 5.0]
            .map(|value| (1, 10, 18_000, Some(value)))
            .to_vec(),
        ..Hospital::default()
    };
    let vectors = answer(&spread_by_concept(1, 3), hospital.tables(2, 1));
    let leaves = vectors.values()[0].last().expect("leaves");
    let found: Vec<_> = (0..21).filter(|at| leaves[*at] > 0).collect();
    // Ranks 1, 4 and 7 of nine.
    assert_eq!(found, [4, 10, 16]);
    assert_eq!(leaves.iter().sum::<i64>(), 3);
}

#[test]
fn without_noise_spreads_and_medians_are_those_of_the_rows() {
    let value = |i: i64| {
        (
            i,
            10,
            18_000,
            Some(f64::from(i32::try_from(i % 9).expect("few"))),
        )
    };
    let hospital = Hospital {
        measurements: (0..90_000).map(value).collect(),
        ..Hospital::default()
    };
    let asked = Asked::compile(&spread_by_concept(1, 1));
    let vectors = asked.answer(Execution::Streaming, 3, hospital.tables(8192, 2), &exact());
    let release = asked.release(vectors, 1);
    let [sd, middle] = [1, 2].map(|column| estimate(&release, 0, column));
    assert!(
        (sd.value - (20.0_f64 / 3.0 * 90_000.0 / 89_999.0).sqrt()).abs() < 1e-9,
        "{sd:?}"
    );
    assert!((middle.value - 4.0).abs() < 1e-9, "{middle:?}");
    // Nobody has rows of the other concepts.
    assert!(matches!(release.rows[1][1], Cell::Estimate(None)));
}

fn estimate(release: &ReleaseTable, row: usize, column: usize) -> Estimate {
    match &release.rows[row][column] {
        Cell::Estimate(Some(estimate)) => *estimate,
        other => panic!("no estimate: {other:?}"),
    }
}

const GROUPS: usize = 60;
const PATIENTS: usize = 1000;

/// Groups of 1,000 patients whose values pile up around another point each.
fn groups() -> Hospital {
    let value = |group: usize, patient: usize| {
        // A deterministic spread: sums of three digits of the patient's number.
        let spread = patient % 10 + patient / 10 % 10 + patient / 100;
        f64::from(u32::try_from(group + 3 * spread + patient % 7).expect("small")) / 10.0
    };
    let rows = (0..GROUPS).flat_map(|group| (0..PATIENTS).map(move |patient| (group, patient)));
    let rows = rows.map(|(group, patient)| {
        let number = |n: usize| i64::try_from(n).expect("small");
        let person = number(group * PATIENTS + patient);
        (person, number(group), 18_000, Some(value(group, patient)))
    });
    Hospital {
        measurements: rows.collect(),
        ..Hospital::default()
    }
}

const ASKS: usize = 20;

/// By group, over [`groups`] and so many asks: the share of intervals that hold the measure of the bounded
/// rows, and their mean half-width; for the noise that was drawn, and for a quarter of it.
fn coverage(measure: &str, rho: &str) -> [(f64, f64); 2] {
    let numbers: Vec<_> = (0..GROUPS).map(|g| g.to_string()).collect();
    let declared = format!(
        "contribution = {{ max_groups = 1, max_rows_per_group = 1 }}\nkeys.cell = {{ numbers = [{}] }}\nbounds.x = {{ lower = \"0\", upper = \"15\", step = \"0.1\" }}",
        numbers.join(", ")
    );
    let sql = format!(
        "SELECT measurement_concept_id AS cell, {measure} AS x FROM measurement GROUP BY 1"
    );
    let asked = Asked::compile(&template(&sql, &declared).replace("0.005", rho));
    let tables = groups().tables(8192, 2);
    let answer =
        |noise: &NoiseSource| asked.answer(Execution::Streaming, 3, Arc::clone(&tables), noise);
    let truth = asked.release(answer(&exact()), 1_000);
    let releases: Vec<_> = (0..ASKS)
        .map(|_| answer(&NoiseSource::discrete_gaussian()))
        .collect();
    [1, 16].map(|times| {
        let (mut held, mut width) = (0.0, 0.0);
        for vectors in &releases {
            let release = asked.release(vectors.clone(), times);
            for group in 0..GROUPS {
                let [found, truth] = [&release, &truth].map(|r| estimate(r, group, 1));
                held += f64::from(u8::from(
                    (found.value - truth.value).abs() <= found.half_width,
                ));
                width += found.half_width;
            }
        }
        let intervals = f64::from(u32::try_from(ASKS * GROUPS).expect("few"));
        (held / intervals, width / intervals)
    })
}

/// 95 % intervals of medians hold the median of the bounded rows at least as often as they say: 1,200 of
/// them, which cover rounding to the grid too, so that over 98 % do. Then the standard error is 0.4 %,
/// and 93 % lies over 12 of them away.
#[test]
fn intervals_of_medians_hold_them() {
    let [(held, width), (mutant, _)] = coverage("MEDIAN(value_as_number)", "0.01");
    eprintln!("medians of {PATIENTS} patients: {held:.4} covered, ± {width:.3} on average");
    assert!(held >= 0.93, "{held}");
    assert!(width < 0.5, "{width}");
    assert!(
        mutant < 0.93,
        "a quarter of the noise goes unseen: {mutant}"
    );
}

/// 95 % intervals of standard deviations: the standard error of 1,200 is 0.63 %, and 3.5 % is over 5 of them.
#[test]
fn intervals_of_deviations_hold_them() {
    let [(held, width), (mutant, _)] = coverage("STDDEV(value_as_number)", "0.1");
    eprintln!("deviations of {PATIENTS} patients: {held:.4} covered, ± {width:.3} on average");
    assert!((0.915..=0.985).contains(&held), "{held}");
    assert!(
        mutant < 0.915,
        "a quarter of the noise goes unseen: {mutant}"
    );
}

/// A million values that lie apart, one a patient: a quantile's rank is off by less than 1 % at
/// rho 0.005. The noise of a rank has a standard deviation below 100 rows here, 1 % is 10,000.
#[test]
fn quantiles_of_a_million_values_have_their_ranks() {
    const VALUES: usize = 1_000_000;
    // Coprime to a million: each value once, in a disorder.
    let value = |i: usize| f64::from(u32::try_from(i * 7919 % VALUES).expect("small"));
    let rows = (0..VALUES).map(|i| (i64::try_from(i).expect("small"), 10, 18_000, Some(value(i))));
    let hospital = Hospital {
        measurements: rows.collect(),
        ..Hospital::default()
    };
    let bounds = "{ lower = \"0\", upper = \"1000000\", step = \"250\" }";
    let declared = format!(
        "contribution = {{ max_groups = 1, max_rows_per_group = 1 }}\nbounds.a = {bounds}\nbounds.b = {bounds}\nbounds.c = {bounds}"
    );
    let sql = "SELECT PERCENTILE_CONT(0.1) WITHIN GROUP (ORDER BY value_as_number) AS a, MEDIAN(value_as_number) AS b, PERCENTILE_CONT(0.99) WITHIN GROUP (ORDER BY value_as_number) AS c FROM measurement";
    let asked = Asked::compile(&template(sql, &declared));
    // One tree for all of them.
    assert_eq!(asked.table().components.len(), 6);
    let noise = NoiseSource::discrete_gaussian();
    let vectors = asked.answer(Execution::Streaming, 3, hospital.tables(8192, 2), &noise);
    let release = asked.release(vectors, 1);
    for (column, fraction) in [0.1, 0.5, 0.99].into_iter().enumerate() {
        let found = estimate(&release, 0, column);
        let rank = found.value / 1e6;
        assert!((rank - fraction).abs() < 0.01, "{fraction}: {rank}");
        assert!(found.half_width < 10_000.0, "{found:?}");
    }
}

const CROSS: &str = "SELECT p.gender_concept_id AS sex, m.measurement_concept_id AS concept, COUNT(*) AS n, AVG(m.value_as_number) AS mean FROM measurement m JOIN person p ON p.person_id = m.person_id GROUP BY 1, 2";

/// Noisy cells and their totals add up, and a total's noise is that of its cells.
#[test]
fn totals_are_the_sums_of_their_cells() {
    let declared = "contribution = { max_groups = 2, max_rows_per_group = 2 }\nkeys.sex = { concepts = [8507, 8532], labels = [\"m\", \"f\"] }\nkeys.concept = { numbers = [10, 11, 12] }\ntotals = [\"sex\", \"concept\"]\nbounds.mean = { lower = \"0\", upper = \"10\", step = \"0.1\" }";
    let asked = Asked::compile(&template(CROSS, declared));
    let tables = Hospital::default().tables(1, 1);
    let noise = NoiseSource::discrete_gaussian();
    let release = asked.release(asked.answer(Execution::Streaming, 3, tables, &noise), 1);
    assert_eq!((release.rows.len(), release.totals), (12, 6));
    let cells = release.rows.len() - release.totals;
    for (row, total) in release.rows.iter().enumerate().skip(cells) {
        let within = |cell: &Vec<Cell>| {
            cell[..2]
                .iter()
                .zip(total)
                .all(|(key, total)| *total == Cell::Key(TOTAL.to_owned()) || key == total)
        };
        let parts: Vec<_> = (0..cells).filter(|c| within(&release.rows[*c])).collect();
        let sum: f64 = parts.iter().map(|c| estimate(&release, *c, 2).value).sum();
        let variance: f64 = parts
            .iter()
            .map(|c| estimate(&release, *c, 2).half_width.powi(2))
            .sum();
        let total = estimate(&release, row, 2);
        assert!((total.value - sum).abs() < 1e-9, "{total:?}");
        assert!(
            (total.half_width - variance.sqrt()).abs() < 1e-9,
            "{total:?}"
        );
    }
}

/// What columns share is measured once, and their weights decide what noise they get.
#[test]
fn columns_share_what_they_measure_alike() {
    let bounds = "{ lower = \"0\", upper = \"10\", step = \"0.1\" }";
    let weights = |weights: &str| {
        let declared = format!(
            "contribution = {{ max_groups = 1, max_rows_per_group = 1 }}\nbounds.mean = {bounds}\nbounds.sd = {bounds}\n{weights}"
        );
        let sql = "SELECT COUNT(value_as_number) AS n, AVG(value_as_number) AS mean, STDDEV(value_as_number) AS sd, COUNT(*) AS rows FROM measurement";
        let asked = Asked::compile(&template(sql, &declared));
        let components = asked.table().components.iter();
        components
            .map(|c| (c.name.clone(), c.weight))
            .collect::<Vec<_>>()
    };
    let named = |parts: [(&str, u32); 4]| parts.map(|(name, weight)| (name.to_owned(), weight));
    // In twelfths: the count from all three, the sum 8 of the mean's and 6 of the deviation's.
    let equal = named([
        ("n", 19),
        ("mean (sum)", 14),
        ("sd (squares)", 3),
        ("rows", 12),
    ]);
    assert_eq!(weights(""), equal);
    let declared = "weights = { n = 4, mean = 2 }";
    let weighed = [
        ("n", 4 * 12 + 2 * 4 + 3),
        ("mean (sum)", 2 * 8 + 6),
        ("sd (squares)", 3),
        ("rows", 12),
    ];
    assert_eq!(weights(declared), named(weighed));
}
