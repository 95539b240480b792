//! Two asks that differ in one patient: everybody, and everybody but who was born in 1900. The attacker
//! knows that only she was, and whose the other rows are; her own rows are the secret.
//!
//! The difference of the answers holds the noise of both: at ρ = ½ each it is worth μ = Δ/(√2·σ) = 0.71.
//! With 20,000 releases a side μ̂ has a standard error of 0.013, so that 0.71 ± 0.08 are 6 of them.

use ward_privacy::NoiseSource;
use ward_tests::attack::engine::{Recorder, Tabulation};
use ward_tests::attack::gaussian::{empirical_mu, float};
use ward_tests::attack::hospital::{Layout, Tables};

use crate::cells;

const RELEASES: i64 = 20_000;
const ACCEPTED: std::ops::Range<f64> = 0.63..0.79;

#[test]
fn the_difference_of_two_asks_hides_a_patient_twice() {
    let everybody = cells::tabulation("COUNT(*)", "0.5", 10, "", RELEASES);
    let others = "COUNT(*) FILTER (WHERE value_as_number <> 1900)";
    let others = cells::tabulation(others, "0.5", 10, "", RELEASES);
    let asks = [&everybody, &others];
    let fresh = || NoiseSource::discrete_gaussian();
    let mu = mu(asks, fresh);
    eprintln!("differences: mu = {mu:.3}");
    assert!(ACCEPTED.contains(&mu), "{mu}");

    // Mutant: noise that follows from the ask's shape, as of a generator that an ask seeds.
    let derived = || NoiseSource::frozen(Box::new(Recorder::default()));
    let mu = self::mu(asks, derived);
    assert!(!ACCEPTED.contains(&mu), "derived noise goes unseen: {mu}");
}

fn mu(asks: [&Tabulation; 2], noise: impl Fn() -> NoiseSource) -> f64 {
    let differences = |hospital: &Tables| {
        let [one, other] = asks.map(|ask| {
            let tables = hospital.serve(Layout::PLAIN);
            let answer = ask.run(tables, ask.plan().rho(), &noise());
            answer.expect("an answer").values()[0][0].clone()
        });
        let pairs = one.iter().zip(&other);
        pairs.map(|(a, b)| float(a - b)).collect::<Vec<_>>()
    };
    empirical_mu(&differences(&hospital(10)), &differences(&hospital(0)), 5.0)
}

/// In each cell three others with one row, and the patient with so many.
fn hospital(rows: i64) -> Tables {
    let cell = |cell: i64| {
        let others = (0..3).map(move |i| (4 * cell + i, cell, 1950.0));
        let hers = (0..rows).map(move |_| (4 * cell + 3, cell, 1900.0));
        others.chain(hers)
    };
    cells::hospital((0..RELEASES).flat_map(cell))
}
