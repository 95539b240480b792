//! The failure probability δ in exact integer units of 10⁻¹⁵.

use std::fmt;
use std::iter::Sum;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A failure probability δ in whole units of 10⁻¹⁵, from 0 to 1; written as `5e-7` or `0.0000005`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Delta(u64);

/// Digits after the point of a unit.
const DIGITS: u32 = 15;
pub(crate) const UNITS_PER_ONE: u64 = 10_u64.pow(DIGITS);

impl Delta {
    /// No chance of failure.
    pub const ZERO: Self = Self(0);

    /// Certain failure.
    pub const ONE: Self = Self(UNITS_PER_ONE);

    /// So many units of 10⁻¹⁵; `None` over one.
    pub const fn from_units(units: u64) -> Option<Self> {
        if units <= UNITS_PER_ONE {
            Some(Self(units))
        } else {
            None
        }
    }

    /// Units of 10⁻¹⁵.
    pub const fn units(self) -> u64 {
        self.0
    }

    /// Whether it is zero.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.0 == 0
    }

    /// The sum; saturates at one, which promises nothing.
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0).min(UNITS_PER_ONE))
    }

    /// The difference, never below zero.
    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// A double that is not above it: what a conversion may use.
    pub fn at_most_f64(self) -> f64 {
        #[allow(clippy::cast_precision_loss)] // below 2^53
        let units = self.0 as f64;
        #[allow(clippy::cast_precision_loss)] // exact
        let nearest = units / UNITS_PER_ONE as f64;
        nearest.next_down().max(0.0)
    }
}

impl Sum for Delta {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::ZERO, Self::saturating_add)
    }
}

impl FromStr for Delta {
    type Err = DeltaSyntax;

    fn from_str(s: &str) -> Result<Self, DeltaSyntax> {
        units(s)
            .and_then(Self::from_units)
            .ok_or_else(|| DeltaSyntax(s.to_owned()))
    }
}

/// The text's whole number of units, if it is one.
fn units(text: &str) -> Option<u64> {
    let (mantissa, exponent) = match text.split_once('e') {
        Some((mantissa, exponent)) => (mantissa, negative(exponent)?),
        None => (text, 0),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
        Some(_) => return None,
        None => (mantissa, ""),
    };
    let digits = format!("{whole}{fraction}");
    if whole.is_empty() || digits.len() > 32 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let places = exponent + u32::try_from(fraction.len()).ok()?;
    let number: u128 = digits.parse().ok()?;
    let units = if places <= DIGITS {
        number.checked_mul(10_u128.pow(DIGITS - places))?
    } else {
        let divisor = 10_u128.checked_pow(places - DIGITS)?;
        number.is_multiple_of(divisor).then_some(number / divisor)?
    };
    u64::try_from(units).ok()
}

/// How far `-7` moves the point to the left.
fn negative(exponent: &str) -> Option<u32> {
    let digits = exponent.strip_prefix('-')?;
    (digits.len() <= 2 && digits.bytes().all(|b| b.is_ascii_digit()))
        .then(|| digits.parse().ok())
        .flatten()
}

impl fmt::Display for Delta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_multiple_of(UNITS_PER_ONE) {
            return f.pad(&(self.0 / UNITS_PER_ONE).to_string());
        }
        let exponent = DIGITS - self.0.ilog10();
        let digits = self.0.to_string();
        let (whole, fraction) = digits.split_at(1);
        match fraction.trim_end_matches('0') {
            "" => f.pad(&format!("{whole}e-{exponent}")),
            fraction => f.pad(&format!("{whole}.{fraction}e-{exponent}")),
        }
    }
}

impl fmt::Debug for Delta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Delta({self})")
    }
}

impl Serialize for Delta {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Delta {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}

/// Text that is not a δ.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a delta; write a string from \"0\" to \"1\" that is a multiple of 1e-15, such as \"5e-7\" or \"0.0000005\""
)]
pub struct DeltaSyntax(String);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn delta(text: &str) -> Delta {
        text.parse().expect(text)
    }

    #[test]
    fn both_ways_of_writing_mean_the_same() {
        for (text, units, printed) in [
            ("0", 0, "0"),
            ("0e-7", 0, "0"),
            ("1", UNITS_PER_ONE, "1"),
            ("0.000001", 1_000_000_000, "1e-6"),
            ("5e-7", 500_000_000, "5e-7"),
            ("1.25e-7", 125_000_000, "1.25e-7"),
            ("0.00000012500", 125_000_000, "1.25e-7"),
            ("1e-15", 1, "1e-15"),
            ("10e-16", 1, "1e-15"),
        ] {
            assert_eq!(delta(text).units(), units, "{text}");
            assert_eq!(delta(text).to_string(), printed);
        }
    }

    #[test]
    fn what_is_not_a_whole_number_of_units_is_refused() {
        for bad in [
            "",
            "-1e-6",
            "1e6",
            "1e+6",
            "1e-16",
            "2",
            "1.0000000000000001",
            ".5",
            "5.",
            "e-7",
            "1e-",
            "1e-999",
            "x",
            "1_0e-7",
            "NaN",
        ] {
            let message = bad.parse::<Delta>().expect_err(bad).to_string();
            assert!(message.contains("1e-15"), "{message}");
        }
    }

    #[test]
    fn sums_stop_at_one() {
        let sum: Delta = [delta("5e-7"), delta("2.5e-7")].into_iter().sum();
        assert_eq!(sum, delta("7.5e-7"));
        assert_eq!(delta("1").saturating_add(delta("1e-15")), delta("1"));
        assert_eq!(delta("1e-7").saturating_sub(delta("2e-7")), Delta::ZERO);
    }

    proptest! {
        #[test]
        fn text_round_trips_and_doubles_lie_below(units in 0..=UNITS_PER_ONE) {
            let delta = Delta(units);
            prop_assert_eq!(delta.to_string().parse::<Delta>().ok(), Some(delta));
            // Exact: a double times 10¹⁵ as a ratio of integers.
            let below = delta.at_most_f64();
            prop_assert!(below == 0.0 || exceeds(units, below));
        }
    }

    /// Whether `units / 10¹⁵ > value`, in exact arithmetic.
    fn exceeds(units: u64, value: f64) -> bool {
        use num_bigint::BigUint;
        let bits = value.to_bits();
        let exponent = i32::try_from(bits >> 52).expect("positive") - 1075;
        let mantissa = BigUint::from((bits & ((1 << 52) - 1)) | (1 << 52));
        let scale = u32::try_from(-exponent).expect("below one");
        (BigUint::from(units) << scale) > mantissa * UNITS_PER_ONE
    }
}
