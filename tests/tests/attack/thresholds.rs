//! Is a value shown that only one patient has? Where keys come from data, with probability δ.
//!
//! At σ = 1 and δ = 0.01 the exact probability is P[1 + Z ≥ 4] = 0.0049: of 10,000 values 49 are
//! expected, and 100 are over 7 standard deviations more, a false failure in 10¹⁰ runs.

use ward_tests::attack::engine::{Tabulation, template};
use ward_tests::attack::hospital::Layout;

use crate::cells;

const VALUES: i64 = 10_000;
const DELTA: &str = "0.01";
const AT_MOST: usize = 100;

#[test]
fn what_one_patient_has_is_shown_as_rarely_as_declared() {
    let declared = format!(
        "delta = \"{DELTA}\"\ncontribution = {{ max_groups = 1, max_rows_per_group = 1 }}\nkeys.code = {{ from_data = \"integer\", most = {VALUES} }}"
    );
    let by_code = "SELECT measurement_concept_id AS code, COUNT(DISTINCT person_id) AS n FROM measurement GROUP BY 1";
    let tabulation = Tabulation::compile(&template(by_code, "0.5", &declared)).expect("accepted");
    let shown = |patients: i64| {
        let of_value = |value| (0..patients).map(move |i| (patients * value + i, value, 1.0));
        let hospital = cells::hospital((0..VALUES).flat_map(of_value));
        let released = tabulation.release(hospital.serve(Layout::PLAIN));
        let shown = released.shown()[0].as_ref().expect("a key from data");
        shown.values().len()
    };
    assert_eq!(shown(0), 0);
    let one = shown(1);
    eprintln!("{one} of {VALUES} values are shown that one patient has, at delta {DELTA}");
    assert!(one <= AT_MOST, "{one}");
    // Mutants: a patient who is two people, and with that a threshold that is one too low.
    let two = shown(2);
    assert!(two > AT_MOST, "{two}");
}
