//! What do the last digits of a noisy number tell? With noise in doubles, they told everything
//! (Mironov, *On Significance of the Least Significant Bits for Differential Privacy*, CCS 2012).
//!
//! Every integer can be the answer whatever the data, with even remainders: a discrete Gaussian of σ = 10
//! is uniform modulo 8 or 10 up to exp(−2π²·100/64) = 10⁻¹³. And a final value is a grid point, the same
//! double for the same integer.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::AsArray as _;
use arrow::datatypes::Float64Type;
use ward_tests::attack::gaussian::{Fit, float};
use ward_tests::attack::hospital::{Layout, Tables};
use ward_tests::attack::plain;
use ward_tests::attack::random::SplitMix;

use crate::cells;

const RELEASES: i64 = 20_000;
const MODULI: [i64; 4] = [2, 3, 8, 10];

#[test]
fn remainders_tell_nothing() {
    let tabulation = cells::tabulation("COUNT(*)", "0.5", 10, "", RELEASES);
    for patients in [0, 1] {
        let released = tabulation.release(hospital(patients).serve(Layout::PLAIN));
        let cells = &released.values()[0][0];
        assert_eq!(telling(cells), [] as [i64; 0]);
        // Mutants: noise in steps of two, and of five.
        for step in [2, 5] {
            let truth = 10 * patients;
            let coarse: Vec<_> = cells
                .iter()
                .map(|c| truth + (c - truth) / step * step)
                .collect();
            assert_ne!(
                telling(&coarse),
                [] as [i64; 0],
                "steps of {step} go unseen"
            );
        }
    }
}

/// The moduli whose remainders are not uniform.
fn telling(cells: &[i64]) -> Vec<i64> {
    let uneven = |modulus: &i64| {
        let bins = (0..*modulus).map(|r| {
            let found = cells.iter().filter(|c| c.rem_euclid(*modulus) == r).count();
            (float(found as i64), float(RELEASES) / float(*modulus))
        });
        !Fit::of(bins).is_good()
    };
    MODULI.into_iter().filter(uneven).collect()
}

#[test]
fn a_final_value_says_no_more_than_its_integer() {
    let bounds = "bounds.x = { lower = \"0\", upper = \"1\", step = \"0.1\" }";
    let tabulation = cells::tabulation("SUM(value_as_number)", "0.5", 10, bounds, RELEASES);
    let mut doubles = BTreeMap::new();
    for patients in [0, 1] {
        let released = tabulation.release(hospital(patients).serve(Layout::PLAIN));
        let integers = released.values()[0][0].clone();
        let rho = tabulation.plan().rho();
        for (integer, estimate) in integers
            .iter()
            .zip(tabulation.estimates("x", rho, &[released]))
        {
            let value = estimate.expect("a sum").value;
            assert!(is_grid_point(value), "{value}");
            assert_eq!(
                *doubles.entry(*integer).or_insert(value.to_bits()),
                value.to_bits()
            );
        }
    }
}

/// Mutant: doubles, noise on the grid added, as plain SQL would have it. All the noise does not hide
/// that somebody has a value of 0.713.
#[test]
fn values_that_keep_their_digits_would_show() {
    let sql = "SELECT measurement_concept_id, SUM(value_as_number) FROM measurement GROUP BY 1";
    let sums = |hospital: Tables| {
        let rows = plain::answer(sql, hospital.serve(Layout::PLAIN)).expect("an answer");
        let sums: Vec<_> = rows.iter().map(|r| Arc::clone(r.column(1))).collect();
        let sums = sums
            .iter()
            .flat_map(|sums| sums.as_primitive::<Float64Type>().values());
        sums.copied().collect::<Vec<_>>()
    };
    let mut random = SplitMix::new(1);
    for sum in sums(hospital(1)).into_iter().take(100) {
        let noise = float(i64::from(random.below(1000))) * 0.1;
        assert!(!is_grid_point(sum + noise), "{sum}");
    }
}

/// Whether it is the double of a whole number of tenths.
fn is_grid_point(value: f64) -> bool {
    ((value * 10.0).round() * 0.1).to_bits() == value.to_bits()
}

/// So many patients in each cell, with ten rows of 0.713.
fn hospital(patients: i64) -> Tables {
    let cells = 0..patients * RELEASES;
    cells::hospital(cells.flat_map(|cell| [(cell, cell, 0.713); 10]))
}
