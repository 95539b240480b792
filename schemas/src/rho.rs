//! Privacy loss in exact integer units, and the noise that pays for it.
//!
//! ρ is that of zero-concentrated differential privacy (Bun and Steinke, *Concentrated
//! Differential Privacy*, TCC 2016). One unit is 10⁻⁹.

use std::fmt;
use std::str::FromStr;

use num_bigint::BigUint;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::decimal::Decimal;

/// A privacy loss ρ in whole units of 10⁻⁹; written as a decimal, such as `0.005`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Rho(u64);

const UNITS_PER_ONE: u64 = 1_000_000_000;
/// Larger losses give no protection worth the name, and sums of them could leave 2⁵³.
const MAX_UNITS: u64 = 1_000 * UNITS_PER_ONE;

impl Rho {
    /// No loss.
    pub const ZERO: Self = Self(0);

    /// The largest loss: 1000.
    pub const MAX: Self = Self(MAX_UNITS);

    /// A loss of so many units of 10⁻⁹; `None` over ρ = 1000.
    pub const fn from_units(units: u64) -> Option<Self> {
        if units <= MAX_UNITS {
            Some(Self(units))
        } else {
            None
        }
    }

    /// Units of 10⁻⁹.
    pub const fn units(self) -> u64 {
        self.0
    }

    /// The nearest double, for display and for conversion to (ε, δ).
    pub fn to_f64(self) -> f64 {
        #[allow(clippy::cast_precision_loss)] // below 2^53
        let units = self.0 as f64;
        units / 1e9
    }

    /// The sum; saturates at the largest value, which no budget reaches.
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0).min(MAX_UNITS))
    }

    /// The difference, never below zero.
    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// The part `weight / total` of this, rounded down, so that parts never sum to more.
    #[must_use]
    pub fn share(self, weight: u64, total: u64) -> Self {
        let part = u128::from(self.0) * u128::from(weight) / u128::from(total.max(1));
        Self(u64::try_from(part).unwrap_or(self.0).min(self.0))
    }
}

impl FromStr for Rho {
    type Err = RhoSyntax;

    fn from_str(s: &str) -> Result<Self, RhoSyntax> {
        let unit: Decimal = "0.000000001".parse().map_err(|_| RhoSyntax(s.to_owned()))?;
        let decimal: Decimal = s.parse().map_err(|_| RhoSyntax(s.to_owned()))?;
        decimal
            .in_steps_of(unit)
            .and_then(|units| u64::try_from(units).ok())
            .and_then(Self::from_units)
            .ok_or_else(|| RhoSyntax(s.to_owned()))
    }
}

impl fmt::Display for Rho {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:09}", self.0 / UNITS_PER_ONE, self.0 % UNITS_PER_ONE);
        f.pad(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl fmt::Debug for Rho {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rho({self})")
    }
}

impl Serialize for Rho {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rho {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}

/// Text that is not a ρ.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a rho; write a decimal string from \"0\" to \"1000\" with at most 9 digits after the point"
)]
pub struct RhoSyntax(String);

/// A noise scale σ in grid steps, as a whole number of 2⁻²⁰: exact in a double, always rounded up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sigma(u64);

const SIGMA_UNITS: u64 = 1 << Sigma::BITS;

impl Sigma {
    /// The smallest σ with `Δ² / (2σ²) ≤ ρ`, for an integer query whose squared L2 sensitivity is
    /// `sensitivity_squared` (Canonne, Kamath and Steinke, *The Discrete Gaussian for Differential
    /// Privacy*, NeurIPS 2020, Theorem 4). `None` when ρ is zero or σ exceeds 2³².
    pub fn for_rho(rho: Rho, sensitivity_squared: u128) -> Option<Self> {
        if rho == Rho::ZERO {
            return None;
        }
        // σ² ≥ Δ²·10⁹ / (2·units); in units of 2⁻²⁰ that is times 2⁴⁰.
        let numerator = (BigUint::from(sensitivity_squared) * UNITS_PER_ONE) << 40_u32;
        let denominator = BigUint::from(2 * rho.units());
        let square = (numerator + &denominator - 1_u32) / denominator;
        let root = square.sqrt();
        let root = if &root * &root < square {
            root + 1_u32
        } else {
            root
        };
        u64::try_from(root)
            .ok()
            .filter(|units| *units <= SIGMA_UNITS << 32)
            .map(Self)
    }

    /// How many bits of [`Sigma::units`] lie after the point.
    pub(crate) const BITS: u32 = 20;

    /// The scale times 2²⁰.
    pub(crate) const fn units(self) -> u64 {
        self.0
    }

    /// The scale as a double; exact.
    pub fn to_f64(self) -> f64 {
        #[allow(clippy::cast_precision_loss)] // at most 2^52
        let units = self.0 as f64;
        units / 1_048_576.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rho(s: &str) -> Rho {
        s.parse().expect(s)
    }

    #[test]
    fn a_count_at_0_005_has_sigma_10() {
        assert_eq!(
            Sigma::for_rho(rho("0.005"), 1).map(Sigma::to_f64),
            Some(10.0)
        );
    }

    #[test]
    fn text_round_trips() {
        for text in ["0", "0.005", "1000", "0.000000001"] {
            assert_eq!(rho(text).to_string(), text);
        }
        for bad in ["-1", "0.0000000001", "1001", "x"] {
            assert!(bad.parse::<Rho>().is_err(), "{bad}");
        }
    }

    #[test]
    fn no_noise_scale_without_budget() {
        assert_eq!(Sigma::for_rho(Rho::ZERO, 1), None);
    }

    proptest! {
        #[test]
        fn sigma_pays_for_itself_and_no_smaller_one_does(
            units in 1_u64..=MAX_UNITS, sensitivity in 1_u64..(1 << 20)
        ) {
            let square = u128::from(sensitivity).pow(2);
            let Some(Sigma(sigma)) = Sigma::for_rho(Rho(units), square) else {
                return Ok(());
            };
            // Δ²·10⁹·2⁴⁰ ≤ 2·units·σ², all exact.
            let need = (BigUint::from(square) * UNITS_PER_ONE) << 40_u32;
            let pays = |s: u64| need <= BigUint::from(s).pow(2) * (2 * units);
            prop_assert!(pays(sigma));
            prop_assert!(!pays(sigma - 1));
        }

        #[test]
        fn shares_never_exceed_the_whole(units in 0_u64..=MAX_UNITS, a in 1_u64..100, b in 1_u64..100) {
            let whole = Rho(units);
            let sum = whole.share(a, a + b).units() + whole.share(b, a + b).units();
            prop_assert!(sum <= units);
        }
    }
}
