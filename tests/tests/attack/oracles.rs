//! Does an error tell that a patient is there? A row on which SQL fails makes no ask fail.

use ward_privacy::NoiseSource;
use ward_tests::attack::engine::{Tabulation, template};
use ward_tests::attack::hospital::Layout;
use ward_tests::attack::plain;

use crate::hospitals::{DAY, Hospital, heavy};

/// A statement, and a patient on whose rows DataFusion fails to run it.
struct Trap {
    sql: &'static str,
    patient: Hospital,
}

const DECLARED: &str = "contribution = { max_groups = 1, max_rows_per_group = 1 }\nbounds.x = { lower = \"0\", upper = \"10\", step = \"1\" }";

#[test]
fn no_patient_makes_an_ask_fail_or_another_one_succeed() {
    let others = heavy(3, Some(4.0), |row| row + 1);
    let mut accepted = 0;
    for Trap { sql, patient } in traps() {
        let hospitals = [others.clone(), others.clone().and(patient)];
        // Mutant: the same statement, run as it stands.
        let plainly = |hospital: &Hospital| plain::answer(sql, hospital.serve(Layout::PLAIN));
        assert!(
            is_oracle(hospitals.each_ref().map(|h| plainly(h).is_ok())),
            "no trap: {sql}"
        );

        let Ok(tabulation) = Tabulation::compile(&template(sql, "0.5", DECLARED)) else {
            // Refused when it is offered, before there is data.
            continue;
        };
        accepted += 1;
        let succeeds = |hospital: &Hospital| {
            let noise = NoiseSource::discrete_gaussian();
            let rho = tabulation.plan().rho();
            tabulation
                .run(hospital.serve(Layout::PLAIN), rho, &noise)
                .is_ok()
        };
        assert_eq!(hospitals.each_ref().map(succeeds), [true; 2], "{sql}");
    }
    assert!(accepted >= 3, "only {accepted} were tried");
}

/// Whether success tells hospitals without and with the patient apart.
fn is_oracle(succeeds: [bool; 2]) -> bool {
    succeeds[0] != succeeds[1]
}

fn traps() -> Vec<Trap> {
    let reads = |text| {
        let mut patient = heavy(1, Some(0.0), |_| 0);
        patient.measurements[0].text = text;
        patient
    };
    let measured = |value| heavy(1, Some(value), |_| 0);
    let dies = |day| {
        let mut patient = heavy(1, None, |_| 0);
        patient.deaths[0].1 = day;
        patient
    };
    let born = |year| {
        let mut patient = heavy(1, None, |_| 0);
        patient.persons[0].born = year;
        patient
    };
    let trap = |sql, patient| Trap { sql, patient };
    vec![
        trap(
            "SELECT SUM(CAST(value_source_value AS DOUBLE)) AS x FROM measurement",
            reads("x"),
        ),
        trap(
            "SELECT SUM(CAST(value_source_value AS BIGINT)) AS x FROM measurement",
            reads("99999999999999999999"),
        ),
        trap(
            "SELECT SUM(CASE WHEN value_source_value = '12' THEN 1.0 ELSE CAST(value_source_value AS DOUBLE) END) AS x FROM measurement",
            reads(""),
        ),
        trap(
            "SELECT SUM(CAST(value_as_number AS BIGINT)) AS x FROM measurement",
            measured(1e300),
        ),
        trap(
            "SELECT SUM(10 / (year_of_birth - 1949)) AS x FROM person",
            born(1949),
        ),
        trap(
            "SELECT SUM(year_of_birth % (year_of_birth - 1949)) AS x FROM person",
            born(1949),
        ),
        trap(
            "SELECT COUNT(*) FILTER (WHERE CAST(death_date AS TIMESTAMP) > TIMESTAMP '2020-01-01 00:00:00') AS x FROM death",
            dies(i32::MAX),
        ),
        trap(
            "SELECT COUNT(*) FILTER (WHERE death_date + INTERVAL '1 month' > DATE '2020-01-01') AS x FROM death",
            dies(i32::MAX - DAY),
        ),
    ]
}
