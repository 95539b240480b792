//! Privacy losses as ledgers add them up, and as people read them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::decimal::Decimal;
use crate::delta::Delta;
use crate::rho::Rho;

/// A privacy loss: δ-approximate ρ-zCDP (Bun and Steinke, *Concentrated Differential Privacy*, TCC
/// 2016, section 8). Losses of adaptively chosen asks add up, each part by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Loss {
    /// Of the noise.
    pub rho: Rho,
    /// Of thresholds on keys that come from data.
    pub delta: Delta,
}

impl Loss {
    /// No loss.
    pub const ZERO: Self = Self {
        rho: Rho::ZERO,
        delta: Delta::ZERO,
    };

    /// The sum, part by part; each saturates at its largest value.
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        Self {
            rho: self.rho.saturating_add(other.rho),
            delta: self.delta.saturating_add(other.delta),
        }
    }

    /// What is left of this after `spent`, part by part, never below zero.
    #[must_use]
    pub fn saturating_sub(self, spent: Self) -> Self {
        Self {
            rho: self.rho.saturating_sub(spent.rho),
            delta: self.delta.saturating_sub(spent.delta),
        }
    }

    /// Whether both parts are at most those of `budget`.
    pub fn is_within(self, budget: Self) -> bool {
        self.rho <= budget.rho && self.delta <= budget.delta
    }
}

/// `ρ 0.005`, and δ where there is one.
impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ρ {}", self.rho)?;
        if self.delta.is_zero() {
            Ok(())
        } else {
            write!(f, ", δ {}", self.delta)
        }
    }
}

/// The ε of (ε, δ)-differential privacy, in whole units of 10⁻⁶, rounded up. Printed with a
/// precision (`{:.1}`) it is rounded up again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epsilon(u64);

const EPSILON_DIGITS: u32 = 6;

impl Epsilon {
    /// Nothing is lost.
    pub const ZERO: Self = Self(0);

    /// No bound at all.
    pub const UNBOUNDED: Self = Self(u64::MAX);

    /// The least one that is not below `value`; without bound for what is no number.
    pub fn at_least(value: f64) -> Self {
        let units = (value * 1e6).next_up().ceil();
        if units < 1e15 {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            // whole, below 2^53; what is negative becomes 0
            Self(units as u64)
        } else {
            Self::UNBOUNDED
        }
    }
}

impl fmt::Display for Epsilon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::UNBOUNDED {
            return f.write_str("infinity");
        }
        let digits = f.precision().and_then(|p| u32::try_from(p).ok());
        let digits = digits.map_or(EPSILON_DIGITS, |d| d.min(EPSILON_DIGITS));
        let rounded = self.0.div_ceil(10_u64.pow(EPSILON_DIGITS - digits));
        let one = 10_u64.pow(digits);
        let (whole, fraction) = (rounded / one, rounded % one);
        if digits == 0 {
            write!(f, "{whole}")
        } else {
            let width = usize::try_from(digits).unwrap_or_default();
            write!(f, "{whole}.{fraction:0width$}")
        }
    }
}

impl FromStr for Epsilon {
    type Err = EpsilonSyntax;

    fn from_str(s: &str) -> Result<Self, EpsilonSyntax> {
        if s == "infinity" {
            return Ok(Self::UNBOUNDED);
        }
        let syntax = || EpsilonSyntax(s.to_owned());
        let unit: Decimal = "0.000001".parse().map_err(|_| syntax())?;
        let decimal: Decimal = s.parse().map_err(|_| syntax())?;
        let units = decimal.in_steps_of(unit);
        let units = units.and_then(|units| u64::try_from(units).ok());
        units.map(Self).ok_or_else(syntax)
    }
}

impl Serialize for Epsilon {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Epsilon {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}

/// Text that is not an ε.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not an epsilon; write a decimal string with at most 6 digits after the point, or \"infinity\""
)]
pub struct EpsilonSyntax(String);

/// What a [`Loss`] means as (ε, δ)-differential privacy: the probability of anything grows at most
/// by a factor of e^ε and by δ when a patient comes or goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpsilonDelta {
    /// An upper bound on ε.
    pub epsilon: Epsilon,
    /// At this δ, that of the loss included.
    pub delta: Delta,
}

impl fmt::Display for EpsilonDelta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "epsilon <= {:.2} at delta = {}",
            self.epsilon, self.delta
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn loss(rho: &str, delta: &str) -> Loss {
        Loss {
            rho: rho.parse().expect(rho),
            delta: delta.parse().expect(delta),
        }
    }

    #[test]
    fn losses_add_up_part_by_part() {
        let sum = loss("0.005", "1e-7").saturating_add(loss("0.01", "0"));
        assert_eq!(sum, loss("0.015", "1e-7"));
        assert_eq!(sum.saturating_sub(loss("1", "1e-8")), loss("0", "9e-8"));
        assert!(sum.is_within(sum));
        assert!(!sum.is_within(loss("1", "9e-8")) && !sum.is_within(loss("0.014", "1")));
        assert_eq!(sum.to_string(), "ρ 0.015, δ 1e-7");
        assert_eq!(loss("0.005", "0").to_string(), "ρ 0.005");
    }

    #[test]
    fn epsilon_is_printed_rounded_up() {
        let epsilon = Epsilon::at_least(2.601_000_1);
        assert_eq!(epsilon.to_string(), "2.601001");
        assert_eq!(format!("{epsilon:.1} {epsilon:.0}"), "2.7 3");
        assert_eq!(Epsilon::at_least(f64::NAN), Epsilon::UNBOUNDED);
        assert_eq!(Epsilon::at_least(f64::INFINITY).to_string(), "infinity");
    }

    proptest! {
        #[test]
        fn epsilon_is_never_below_the_truth(value in 0.0..1e6_f64) {
            let epsilon = Epsilon::at_least(value);
            #[allow(clippy::cast_precision_loss)]
            let units = epsilon.0 as f64;
            prop_assert!(units >= value * 1e6 && units <= value * 1e6 + 2.0);
            prop_assert_eq!(epsilon.to_string().parse(), Ok(epsilon));
        }
    }
}
