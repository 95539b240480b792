//! One patient more or fewer, whoever it is and whatever they have: the same noise, drawn in the same
//! order, and sums that move by no more than was declared.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use ward_privacy::{Execution, NoiseSource};
use ward_schemas::partial::Vectors;
use ward_tests::attack::engine::{Recorder, Tabulation};
use ward_tests::attack::hospital::Layout;
use ward_tests::attack::neighbour::{Excess, excess};
use ward_tests::attack::plain;

use crate::compose;
use crate::hospitals::{Hospital, PATIENTS, heavy, hospital, layout};
use crate::statements::{ACCEPTED, STATEMENTS, compile};

proptest! {
    #![proptest_config(crate::cases(400))]

    /// Rows of the two hospitals lie in different batches, partitions and orders, and either execution
    /// answers.
    #[test]
    fn one_patient_moves_no_component_further_than_declared(
        hospital in hospital(),
        leaver in prop::sample::select(PATIENTS.to_vec()),
        statement in any::<prop::sample::Index>(),
        ways in (way(), way()),
    ) {
        let (sql, tabulation) = statement.get(&ACCEPTED);
        let with = replay(tabulation, &hospital, ways.0);
        let without = replay(tabulation, &hospital.without(leaver), ways.1);
        prop_assert_eq!(with.0.draws(), without.0.draws());
        prop_assert_eq!(excess(tabulation.plan(), &with.1, &without.1), [], "{}", sql);
    }

    /// The same for relations inside relations.
    #[test]
    fn one_patient_moves_no_composed_statement_further_than_declared(
        (sql, tabulation) in compose::accepted(),
        hospital in hospital(),
        leaver in prop::sample::select(PATIENTS.to_vec()),
        ways in (way(), way()),
    ) {
        let with = replay(&tabulation, &hospital, ways.0);
        let without = replay(&tabulation, &hospital.without(leaver), ways.1);
        prop_assert_eq!(with.0.draws(), without.0.draws());
        prop_assert_eq!(excess(tabulation.plan(), &with.1, &without.1), [], "{}", sql);
        let again = replay(&tabulation, &hospital, ways.1);
        prop_assert_eq!(with.1, again.1, "{}", sql);
    }

    /// However rows lie, the answer is the same.
    #[test]
    fn no_layout_shows(
        hospital in hospital(),
        statement in any::<prop::sample::Index>(),
        ways in (way(), way()),
    ) {
        let (sql, tabulation) = statement.get(&ACCEPTED);
        let [one, other] = [ways.0, ways.1].map(|way| replay(tabulation, &hospital, way).1);
        prop_assert_eq!(one, other, "{}", sql);
    }
}

fn way() -> impl Strategy<Value = (Layout, Execution)> {
    let executions = [Execution::Streaming, Execution::Relational];
    (layout(), prop::sample::select(executions.to_vec()))
}

/// An answer, and what was drawn for it. No data makes it fail.
fn replay(
    tabulation: &Tabulation,
    hospital: &Hospital,
    (layout, execution): (Layout, Execution),
) -> (Recorder, Vectors) {
    let recorder = Recorder::default();
    let noise = NoiseSource::frozen(Box::new(recorder.clone()));
    let rho = tabulation.plan().rho();
    let answer = tabulation.execute(execution, hospital.serve(layout), rho, &noise);
    (recorder, answer.expect("no data makes it fail"))
}

/// Ten thousand rows, each of which alone would be outrageous.
#[test]
fn outliers_move_no_component_further_than_declared() {
    let outrageous = [1e12, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0];
    for (i, (sql, tabulation)) in ACCEPTED.iter().enumerate() {
        let value = outrageous[i % outrageous.len()];
        let outlier = heavy(10_000, Some(value), |_| 0);
        assert_eq!(moved(tabulation, outlier), [], "{value}: {sql}");
    }
}

/// Mutant: the outlier's rows under forty identifiers, as if nobody had been bounded. A statement that
/// does not show it would pass the tests above whatever the engine did.
#[test]
fn a_patient_who_is_not_bounded_would_show() {
    let unseen = ACCEPTED.iter().filter(|(_, tabulation)| {
        let mut values = [1e12, 6.0, 4.0].into_iter();
        values.all(|value| {
            let unbounded = heavy(200, Some(value), |row| 100 + row / 5);
            moved(tabulation, unbounded).is_empty()
        })
    });
    let unseen: Vec<_> = unseen.map(|(sql, _)| sql.as_str()).collect();
    eprintln!(
        "{} of {} show nothing: {unseen:#?}",
        unseen.len(),
        ACCEPTED.len()
    );
    let listed = STATEMENTS.iter().find(|(sql, _)| unseen.contains(sql));
    assert_eq!(listed, None);
    assert!(5 * unseen.len() <= ACCEPTED.len());
}

/// The same mutant, for relations inside relations.
#[test]
fn a_patient_who_is_not_bounded_would_show_in_composed_statements() {
    const STATEMENTS: usize = 60;
    let mut runner = TestRunner::deterministic();
    let seen = (0..STATEMENTS).filter(|_| {
        let drawn = compose::accepted().new_tree(&mut runner);
        let (_, tabulation) = drawn.expect("one is accepted").current();
        let unbounded = heavy(200, Some(6.0), |row| 100 + row / 5);
        !moved(&tabulation, unbounded).is_empty()
    });
    let seen = seen.count();
    eprintln!("{seen} of {STATEMENTS} show an unbounded patient");
    assert!(3 * seen >= STATEMENTS, "{seen}");
}

/// Mutant: the first of rows that are equal in what they are ordered by, as SQL has it: it depends on
/// how they lie.
#[test]
fn ties_that_the_layout_breaks_would_show() {
    let first = "SELECT SUM(value_as_number) AS x FROM (SELECT person_id, value_as_number, ROW_NUMBER() OVER (PARTITION BY person_id ORDER BY measurement_date) AS n FROM measurement) m WHERE n = 1";
    let bounds = "contribution = { max_groups = 1, max_rows_per_group = 1 }\nbounds.x = { lower = \"0\", upper = \"9\", step = \"1\" }";
    let tabulation = compile((first, bounds));
    let mut hospital = heavy(3, None, |_| 0);
    for (row, value) in hospital.measurements.iter_mut().zip([1.0, 2.0, 3.0]) {
        row.value = Some(value);
    }
    let ways = [false, true].map(|reversed| Layout {
        reversed,
        ..Layout::PLAIN
    });
    let [one, other] = ways.map(|way| tabulation.bounded(hospital.serve(way)));
    assert_eq!(one, other);
    let plainly = |way| plain::answer(first, hospital.serve(way)).expect("an answer");
    let [one, other] = ways.map(plainly);
    assert_ne!(one, other);
}

/// What a patient moves beside three others.
fn moved(tabulation: &Tabulation, patient: Hospital) -> Vec<Excess> {
    let others = heavy(3, Some(4.0), |row| row + 1);
    let without = tabulation.bounded(others.serve(Layout::PLAIN));
    let with = tabulation.bounded(others.and(patient).serve(Layout::PLAIN));
    excess(tabulation.plan(), &with, &without)
}

/// Mutant: patients who are numbered by counting. When the first one leaves, every other gets another
/// number, with it another order of their groups, and so other groups.
#[test]
fn patients_numbered_by_counting_would_show() {
    let by_concept = "SELECT measurement_concept_id AS c, COUNT(*)";
    let found = ACCEPTED.iter().find(|(sql, _)| sql.starts_with(by_concept));
    let (_, tabulation) = found.expect("listed");
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
