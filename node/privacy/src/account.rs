//! What a privacy loss means as (ε, δ)-differential privacy: OpenDP's conversion, rounded outward.

use opendp::combinators::ConcentratedMeasure;
use opendp::measures::ZeroConcentratedDivergence;
use ward_schemas::delta::Delta;
use ward_schemas::loss::{Epsilon, EpsilonDelta, Loss};
use ward_schemas::rho::Rho;

/// 10⁻⁶: the least δ at which a loss is stated.
const LEAST_STATED: u64 = 1_000_000_000;

/// An ε for which ρ-zCDP implies (ε, δ)-differential privacy: OpenDP's proven conversion (Canonne,
/// Kamath and Steinke, *The Discrete Gaussian for Differential Privacy*, NeurIPS 2020,
/// Corollary 13) of a double that is not below ρ, at one that is not above δ. Never below the
/// truth; without bound at δ = 0.
pub fn epsilon(rho: Rho, delta: Delta) -> Epsilon {
    if rho == Rho::ZERO {
        return Epsilon::ZERO;
    }
    let profile = ZeroConcentratedDivergence::convert(rho.to_f64().next_up());
    let epsilon = profile.and_then(|profile| profile.epsilon(delta.at_most_f64()));
    epsilon.map_or(Epsilon::UNBOUNDED, Epsilon::at_least)
}

/// States a loss as (ε, δ). δ is 10⁻⁶, or twice the loss's own δ if that is more; what the loss
/// leaves of it is for the conversion (Bun and Steinke, *Concentrated Differential Privacy*, TCC
/// 2016, section 8: δ-approximate ρ-zCDP implies (ε, δ + δ′) where ρ-zCDP implies (ε, δ′)).
pub fn stated(loss: Loss) -> EpsilonDelta {
    let least = Delta::from_units(LEAST_STATED).unwrap_or_default();
    let delta = least.max(loss.delta.saturating_add(loss.delta));
    EpsilonDelta {
        epsilon: epsilon(loss.rho, delta.saturating_sub(loss.delta)),
        delta,
    }
}

/// How often, in percent and rounded up, anybody who sees all that this loss let out, and knows
/// everything about everybody else, can guess rightly whether one given patient is in the data, if
/// that was as likely as not. ρ bounds the Kullback-Leibler divergence of what they see (Bun and
/// Steinke, *Concentrated Differential Privacy*, TCC 2016, Definition 1.1 as α → 1), so √(ρ/2) the
/// total variation (Pinsker's inequality), of which half is the advantage over a coin; δ adds to it.
pub fn best_guess_percent(loss: Loss) -> u8 {
    let percents = 50..100;
    percents
        .into_iter()
        .find(|percent| suffices(*percent, loss))
        .unwrap_or(100)
}

/// Whether `(percent − 50) / 50 ≥ √(ρ/2) + δ`, in exact integers.
fn suffices(percent: u8, loss: Loss) -> bool {
    let one = u128::from(Delta::ONE.units());
    let advantage = u128::from(percent - 50) * one;
    let Some(rest) = advantage.checked_sub(50 * u128::from(loss.delta.units())) else {
        return false;
    };
    // rest / (50·10¹⁵) ≥ √(units / (2·10⁹)), squared.
    8 * rest * rest >= 10_u128.pow(25) * u128::from(loss.rho.units())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value(epsilon: Epsilon) -> f64 {
        epsilon.to_string().parse().expect("a number")
    }

    /// ρ + 2·√(ρ·ln(1/δ)): Bun and Steinke, Proposition 1.3.
    fn closed_form(rho: f64, delta: f64) -> f64 {
        rho + 2.0 * (rho * (1.0 / delta).ln()).sqrt()
    }

    /// The exact δ of a Gaussian mechanism of loss ρ at ε (Balle and Wang, *Improving the Gaussian
    /// Mechanism*, ICML 2018, Theorem 8), by integrating the upper tail: no bound may go below it.
    fn gaussian_delta(rho: f64, epsilon: f64) -> f64 {
        let mu = (2.0 * rho).sqrt();
        let tail = |x: f64| {
            let steps = 20_000;
            let width = 40.0 / f64::from(steps);
            let density = |t: f64| (-t * t / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
            (0..steps)
                .map(|i| density(x + (f64::from(i) + 0.5) * width) * width)
                .sum::<f64>()
        };
        tail(epsilon / mu - mu / 2.0) - epsilon.exp() * tail(epsilon / mu + mu / 2.0)
    }

    #[test]
    fn known_values() {
        let at = |rho: &str, delta: &str| {
            let delta = delta.parse().expect(delta);
            format!("{:.2}", epsilon(rho.parse().expect(rho), delta))
        };
        assert_eq!(at("0.5", "1e-6"), "5.23");
        assert_eq!(at("0.155", "1e-6"), "2.73");
        assert_eq!(at("0", "1e-6"), "0.00");
        assert_eq!(at("0.5", "0"), "infinity");
    }

    #[test]
    fn an_epsilon_of_four_fifths_would_be_found() {
        for rho in ["0.005", "0.155", "0.5"] {
            let rho: Rho = rho.parse().expect(rho);
            let delta: Delta = "1e-6".parse().expect("delta");
            let too_small = value(epsilon(rho, delta)) * 0.8;
            assert!(gaussian_delta(rho.to_f64(), too_small) > 1.001e-6, "{rho}");
        }
    }

    #[test]
    fn thresholds_and_the_conversion_share_what_is_stated() {
        let state = |delta: &str| {
            stated(Loss {
                rho: "0.5".parse().expect("rho"),
                delta: delta.parse().expect(delta),
            })
        };
        assert_eq!(state("0").delta.to_string(), "1e-6");
        assert_eq!(state("5e-7").delta.to_string(), "1e-6");
        assert_eq!(state("5e-6").delta.to_string(), "1e-5");
        assert!(state("5e-7").epsilon > state("0").epsilon);
        let half = "5e-7".parse().expect("delta");
        assert_eq!(
            state("5e-7").epsilon,
            epsilon("0.5".parse().expect("rho"), half)
        );
        assert_eq!(state("1").epsilon, Epsilon::UNBOUNDED);
    }

    #[test]
    fn a_guess_is_a_coin_at_no_loss_and_certain_at_a_large_one() {
        let guess = |rho: &str, delta: &str| {
            best_guess_percent(Loss {
                rho: rho.parse().expect(rho),
                delta: delta.parse().expect(delta),
            })
        };
        assert_eq!(guess("0", "0"), 50);
        assert_eq!(guess("0.000000001", "0"), 51);
        assert_eq!(guess("0.5", "0"), 75);
        assert_eq!(guess("2", "0"), 100);
        assert_eq!(guess("1000", "1"), 100);
        assert_eq!(guess("0", "0.5"), 75);
        // What a Gaussian of this loss in truth allows (Balle and Wang, as above): Φ(μ/2).
        for (rho, truth) in [("0.5", 69.2), ("0.155", 61.0), ("0.005", 52.0)] {
            assert!(f64::from(guess(rho, "0")) >= truth, "{rho}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn it_lies_between_the_gaussian_and_the_closed_form(
            units in 1_000_u64..2_000_000_000, delta in 1_000_u64..1_000_000_000_000,
        ) {
            let rho = Rho::from_units(units).expect("rho");
            let delta = Delta::from_units(delta).expect("delta");
            let found = value(epsilon(rho, delta));
            prop_assert!(found <= closed_form(rho.to_f64(), delta.at_most_f64()) + 2e-6);
            let exact = gaussian_delta(rho.to_f64(), found);
            prop_assert!(exact <= delta.at_most_f64() * 1.001, "{exact} > {delta}");
        }

        #[test]
        fn it_grows_with_rho_and_falls_with_delta(
            units in 1_u64..1_000_000_000_000, more in 0_u64..1_000_000_000,
            delta in 1_u64..1_000_000_000_000_000,
        ) {
            let rho = |units: u64| Rho::from_units(units.min(1_000_000_000_000)).expect("rho");
            let small = Delta::from_units(delta / 2).expect("delta");
            let delta = Delta::from_units(delta).expect("delta");
            prop_assert!(epsilon(rho(units), delta) <= epsilon(rho(units + more), delta));
            prop_assert!(epsilon(rho(units), delta) <= epsilon(rho(units), small));
        }
    }
}
