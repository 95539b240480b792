//! One patient more or fewer, whoever it is and whatever they have: the same noise, drawn in the same
//! order, and sums that move by no more than was declared.

use std::sync::LazyLock;

use proptest::prelude::*;
use ward_privacy::NoiseSource;
use ward_schemas::partial::Vectors;
use ward_tests::attack::engine::{Recorder, Tabulation};
use ward_tests::attack::hospital::Layout;
use ward_tests::attack::neighbour::{Excess, excess};

use crate::hospitals::{Hospital, PATIENTS, heavy, hospital, layout};
use crate::statements::{STATEMENTS, compile};

static TABULATIONS: LazyLock<Vec<Tabulation>> =
    LazyLock::new(|| STATEMENTS.iter().copied().map(compile).collect());

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Rows of the two hospitals lie in different batches, partitions and orders.
    #[test]
    fn one_patient_moves_no_component_further_than_declared(
        hospital in hospital(),
        leaver in prop::sample::select(PATIENTS.to_vec()),
        statement in 0..STATEMENTS.len(),
        layouts in (layout(), layout()),
    ) {
        let tabulation = &TABULATIONS[statement];
        let with = replay(tabulation, &hospital, layouts.0);
        let without = replay(tabulation, &hospital.without(leaver), layouts.1);
        prop_assert_eq!(with.0.draws(), without.0.draws());
        prop_assert_eq!(excess(tabulation.plan(), &with.1, &without.1), []);
    }
}

/// An answer, and what was drawn for it. No data makes it fail.
fn replay(tabulation: &Tabulation, hospital: &Hospital, layout: Layout) -> (Recorder, Vectors) {
    let recorder = Recorder::default();
    let noise = NoiseSource::frozen(Box::new(recorder.clone()));
    let rho = tabulation.plan().rho();
    let answer = tabulation.run(hospital.serve(layout), rho, &noise);
    (recorder, answer.expect("no data makes it fail"))
}

/// Ten thousand rows, each of which alone would be outrageous.
#[test]
fn outliers_move_no_component_further_than_declared() {
    let outrageous = [
        1e12,
        -1e12,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        -0.0,
    ];
    let others = || heavy(3, Some(4.0), |row| row + 1);
    for tabulation in TABULATIONS.iter() {
        for value in outrageous {
            let outlier = heavy(10_000, Some(value), |_| 0);
            let moved = moved(tabulation, others(), outlier);
            assert_eq!(moved, [], "{value}: {tabulation:?}");
        }
    }
}

/// Mutant: the outlier's rows under forty identifiers, as if nobody had been bounded. If this did not
/// show, a statement would pass the tests above whatever the engine did.
#[test]
fn each_statement_would_show_a_patient_who_is_not_bounded() {
    for ((sql, _), tabulation) in STATEMENTS.iter().zip(TABULATIONS.iter()) {
        let unbounded = heavy(40, Some(1e12), |row| 100 + row);
        let moved = moved(tabulation, heavy(3, Some(4.0), |row| row + 1), unbounded);
        assert_ne!(moved, [], "goes unseen: {sql}");
    }
}

fn moved(tabulation: &Tabulation, others: Hospital, patient: Hospital) -> Vec<Excess> {
    let without = tabulation.bounded(others.serve(Layout::PLAIN));
    let with = tabulation.bounded(others.and(patient).serve(Layout::PLAIN));
    excess(tabulation.plan(), &with, &without)
}

/// Mutant: patients who are numbered by counting. When the first one leaves, every other gets another
/// number, with it another order of their groups, and so other groups.
#[test]
fn patients_numbered_by_counting_would_show() {
    let by_concept = "SELECT measurement_concept_id AS c, COUNT(*)";
    let mut statements = STATEMENTS.iter();
    let statement = statements.position(|(sql, _)| sql.starts_with(by_concept));
    let tabulation = &TABULATIONS[statement.expect("listed")];
    let everybody = || (0..40).map(three_groups).reduce(Hospital::and);
    let everybody = everybody().expect("somebody");
    let answer = |hospital: &Hospital| tabulation.bounded(hospital.serve(Layout::PLAIN));
    let moved = |less: &Hospital| excess(tabulation.plan(), &answer(&everybody), &answer(less));

    let mut rest = everybody.without(0);
    assert_eq!(moved(&rest), []);
    rest.measurements.iter_mut().for_each(|m| m.patient -= 1);
    assert_ne!(moved(&rest), []);
}

/// More groups than the two that count, and not everybody's the same.
fn three_groups(patient: i64) -> Hospital {
    let mut hospital = heavy(3, Some(4.0), |_| patient);
    for (row, concept) in hospital.measurements.iter_mut().zip(9..) {
        row.concept = concept + patient % 2;
    }
    hospital
}
