//! The threshold on distinct patients below which a key that comes from data is not shown.
//!
//! A patient who comes or goes may bring at most G values that nobody else has; each is shown if
//! 1 + Z ≥ T, Z being discrete Gaussian noise. So the release is δ-approximate zCDP (Bun and
//! Steinke, *Concentrated Differential Privacy*, TCC 2016, section 8) as soon as
//! δ ≥ G·P\[Z ≥ T − 1\], by the union bound: what else the patient moves is the Gaussian mechanism.

use num_bigint::BigUint;

use crate::delta::{Delta, UNITS_PER_ONE};
use crate::rho::Sigma;

/// The least noisy count T of distinct patients at which a value is shown, so that with noise of
/// scale `sigma` any of `groups` values that a single patient has are shown with a probability of
/// at most `delta` together. `None` for a δ of zero, which no threshold keeps.
///
/// The tail is bounded, in exact integers rounded against us, by
/// P\[Z ≥ k\] ≤ e^(−k²/2σ²) / ((1 − e^(−k/σ²))·max(1, √(2π)·σ)): above k² + 2k(j−k) ≤ j² a geometric
/// series, below the normaliser of the discrete Gaussian (Canonne, Kamath and Steinke, *The
/// Discrete Gaussian for Differential Privacy*, NeurIPS 2020, Fact 18), which is at least both.
pub fn threshold(sigma: Sigma, groups: u32, delta: Delta) -> Option<u64> {
    if delta.is_zero() {
        return None;
    }
    let is_enough = |k: u64| is_rare(k, sigma, groups, delta);
    let above = (0..u64::BITS)
        .map(|bits| 1 << bits)
        .find(|k| is_enough(*k))?;
    let (mut low, mut high) = (above / 2, above);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if is_enough(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    high.checked_add(1)
}

/// Bits after the point.
const POINT: u32 = 192;
/// e^128 is beyond any δ: more is not computed.
const LARGEST_EXPONENT: u32 = 128;

/// Whether `groups`·P\[Z ≥ k\] ≤ `delta` follows from the bound.
fn is_rare(k: u64, sigma: Sigma, groups: u32, delta: Delta) -> bool {
    let one = BigUint::from(1_u32) << POINT;
    let units = BigUint::from(sigma.units());
    let square = &units * &units;
    let k = BigUint::from(k) << (2 * Sigma::BITS);
    // e^(k²/2σ²) and e^(k/σ²).
    let density = exponential(&((&k * &k) >> (2 * Sigma::BITS)), &(&square * 2_u32));
    let ratio = exponential(&k, &square);
    // √(2π) > 2.506628274.
    let sigma_one = BigUint::from(1_000_000_000_u32) << Sigma::BITS;
    let normaliser = (units * 2_506_628_274_u32).max(sigma_one.clone());
    let chance = BigUint::from(groups) * UNITS_PER_ONE * &one * &ratio * sigma_one;
    chance <= density * (ratio - one) * normaliser * delta.units()
}

/// e^(`numerator`/`denominator`) or less, times 2^[`POINT`]: its series, each term rounded down.
fn exponential(numerator: &BigUint, denominator: &BigUint) -> BigUint {
    let numerator = numerator.min(&(denominator * LARGEST_EXPONENT)).clone();
    let mut term = BigUint::from(1_u32) << POINT;
    let mut sum = term.clone();
    for i in 1_u32..4 * LARGEST_EXPONENT {
        term = term * &numerator / (denominator * i);
        sum += &term;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rho::Rho;

    fn sigma(rho: &str, groups: u32) -> Sigma {
        let rho: Rho = rho.parse().expect(rho);
        Sigma::for_rho(rho, u128::from(groups)).expect("sigma")
    }

    /// P\[Z ≥ k\] by adding the probabilities up, the smallest first.
    fn tail(k: u64, sigma: Sigma) -> f64 {
        let sigma = sigma.to_f64();
        #[allow(clippy::cast_precision_loss)]
        let weight = |j: i64| (-(j as f64).powi(2) / (2.0 * sigma * sigma)).exp();
        #[allow(clippy::cast_possible_truncation)]
        let reach = (40.0 * sigma) as i64 + 40;
        let k = i64::try_from(k).expect("small");
        let above: f64 = (k..k + reach).rev().map(weight).sum();
        let all: f64 = (1..reach).rev().map(weight).sum();
        above / (1.0 + 2.0 * all)
    }

    const DELTAS: [&str; 4] = ["1e-4", "1e-6", "1e-9", "1e-15"];
    const RHOS: [&str; 5] = ["10", "0.5", "0.125", "0.005", "0.0005"];

    /// The exact probability that a single patient's values are shown, all together.
    fn shown(threshold: u64, sigma: Sigma, groups: u32) -> f64 {
        f64::from(groups) * tail(threshold - 1, sigma)
    }

    #[test]
    fn a_single_patients_values_are_shown_with_probability_delta_at_most() {
        for (rho, delta) in RHOS.iter().flat_map(|r| DELTAS.map(|d| (r, d))) {
            for groups in [1, 3, 100] {
                let sigma = sigma(rho, groups);
                let parsed: Delta = delta.parse().expect(delta);
                let t = threshold(sigma, groups, parsed).expect("threshold");
                let delta: f64 = delta.parse().expect(delta);
                assert!(shown(t, sigma, groups) <= delta, "{rho} {delta} {groups}");
                // Nor is it much too high: 2 % lower, or by one, is too low, as is the mutant that
                // forgets that the patient counts: T for P[Z ≥ T].
                let lower = t - t.div_ceil(50);
                assert!(
                    lower < 2 || shown(lower, sigma, groups) > delta,
                    "{rho} {delta} {groups}: {t}"
                );
            }
        }
    }

    /// Releasing at noisy ≥ T and charging P\[Z > T − 1\], as OpenDP 0.16 does, is caught.
    #[test]
    fn the_uncorrected_threshold_exceeds_delta() {
        let sigma = sigma("0.5", 1);
        let delta = 1e-6;
        let uncorrected = (2..100).find(|t| tail(*t, sigma) <= delta).expect("one");
        assert!(shown(uncorrected, sigma, 1) > delta);
        let t = threshold(sigma, 1, "1e-6".parse().expect("delta"));
        assert_eq!(t, Some(uncorrected + 1));
    }

    #[test]
    fn no_threshold_keeps_a_delta_of_zero() {
        assert_eq!(threshold(sigma("0.5", 1), 1, Delta::ZERO), None);
    }

    #[test]
    fn the_widest_noise_has_a_threshold() {
        let widest = Sigma::for_rho(Rho::from_units(1).expect("rho"), 1 << 34).expect("sigma");
        let smallest = Delta::from_units(1).expect("delta");
        let t = threshold(widest, u32::MAX, smallest).expect("threshold");
        #[allow(clippy::cast_precision_loss)]
        let deviations = t as f64 / widest.to_f64();
        assert!((10.0..11.0).contains(&deviations), "{deviations}");
    }
}
