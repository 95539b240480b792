//! Exact decimals and the integer grids that values are rounded to before noise.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An exact decimal: `mantissa · 10^-scale`, without trailing zeros; at most 15 digits, so that it
/// is also an exact count of steps and prints back as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Decimal {
    mantissa: i64,
    scale: u8,
}

impl Decimal {
    /// Zero.
    pub const ZERO: Self = Self {
        mantissa: 0,
        scale: 0,
    };
    /// One.
    pub const ONE: Self = Self {
        mantissa: 1,
        scale: 0,
    };

    /// A whole number, if it has at most 15 digits.
    pub fn whole(value: i64) -> Option<Self> {
        let whole = Self {
            mantissa: value,
            scale: 0,
        };
        (value.unsigned_abs() < 10_u64.pow(15)).then_some(whole)
    }

    /// The nearest double.
    pub fn to_f64(self) -> f64 {
        // Both are exact in a double (≤ 15 digits), so the quotient is correctly rounded.
        #[allow(clippy::cast_precision_loss)]
        let mantissa = self.mantissa as f64;
        mantissa / 10_f64.powi(i32::from(self.scale))
    }

    /// The smallest whole number that is not below this.
    pub fn ceil(self) -> i64 {
        let one = 10_i64.pow(u32::from(self.scale));
        self.mantissa.div_euclid(one) + i64::from(self.mantissa.rem_euclid(one) != 0)
    }

    /// The nearest double to the square, to a few units in the last place.
    pub fn squared(self) -> f64 {
        #[allow(clippy::cast_precision_loss)]
        let mantissa = self.mantissa as f64;
        mantissa * mantissa / 10_f64.powi(2 * i32::from(self.scale))
    }

    /// Digits after the point.
    pub fn scale(self) -> u8 {
        self.scale
    }

    /// This, so many times; `None` where that has more than 15 digits.
    fn times(self, count: i64) -> Option<Self> {
        let mut mantissa = self.mantissa.checked_mul(count)?;
        let mut scale = self.scale;
        while scale > 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            scale -= 1;
        }
        (mantissa.unsigned_abs() < 10_u64.pow(15)).then_some(Self { mantissa, scale })
    }

    /// How many times `step` goes into this, if it goes exactly.
    pub fn in_steps_of(self, step: Self) -> Option<i64> {
        let scale = u32::from(self.scale.max(step.scale));
        let widen = |d: Self| i128::from(d.mantissa) * 10_i128.pow(scale - u32::from(d.scale));
        let (value, step) = (widen(self), widen(step));
        if step <= 0 || value % step != 0 {
            return None;
        }
        i64::try_from(value / step).ok()
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let scale = u32::from(self.scale.max(other.scale));
        let widen = |d: &Self| i128::from(d.mantissa) * 10_i128.pow(scale - u32::from(d.scale));
        widen(self).cmp(&widen(other))
    }
}

impl FromStr for Decimal {
    type Err = DecimalSyntax;

    fn from_str(s: &str) -> Result<Self, DecimalSyntax> {
        let (negative, digits) = match s.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, s),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let fraction = fraction.trim_end_matches('0');
        let all_digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
        let point_without_digit = digits.contains('.') && digits.ends_with('.');
        if whole.is_empty() || point_without_digit || !all_digits(whole) || !all_digits(fraction) {
            return Err(DecimalSyntax(s.to_owned()));
        }
        let text = format!("{whole}{fraction}");
        if text.trim_start_matches('0').len() > 15 || fraction.len() > 15 {
            return Err(DecimalSyntax(s.to_owned()));
        }
        let magnitude: i64 = text.parse().map_err(|_| DecimalSyntax(s.to_owned()))?;
        let scale = u8::try_from(fraction.len()).map_err(|_| DecimalSyntax(s.to_owned()))?;
        Ok(Self {
            mantissa: if negative { -magnitude } else { magnitude },
            scale,
        })
    }
}

impl From<i32> for Decimal {
    fn from(value: i32) -> Self {
        Self {
            mantissa: i64::from(value),
            scale: 0,
        }
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.mantissa < 0 { "-" } else { "" };
        let width = usize::from(self.scale) + 1;
        let digits = format!("{:0width$}", self.mantissa.unsigned_abs());
        let (whole, fraction) = digits.split_at(digits.len() - usize::from(self.scale));
        if fraction.is_empty() {
            write!(f, "{sign}{whole}")
        } else {
            write!(f, "{sign}{whole}.{fraction}")
        }
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}

/// Text that is not a decimal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a decimal; write it as a string of at most 15 digits, such as \"-3.25\"")]
pub struct DecimalSyntax(String);

/// The integer grid of a bounded value: values are clamped to `[lower, upper]`, then rounded to
/// whole steps. All ends are multiples of the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "GridEnds", into = "GridEnds")]
pub struct Grid {
    lower: Decimal,
    upper: Decimal,
    step: Decimal,
    centre: Decimal,
    lower_steps: i64,
    upper_steps: i64,
    centre_steps: i64,
}

/// A grid spans at most this many steps, so that sums stay exact.
pub const MAX_GRID_STEPS: i64 = 1 << 32;

impl Grid {
    /// A grid over `[lower, upper]` with the given step.
    ///
    /// # Errors
    /// When the ends are not in order, not multiples of the step, or too many steps from zero.
    pub fn new(lower: Decimal, upper: Decimal, step: Decimal) -> Result<Self, GridError> {
        if step <= Decimal::ZERO {
            return Err(GridError::Step(step));
        }
        if lower >= upper {
            return Err(GridError::Order { lower, upper });
        }
        let steps = |end: Decimal| {
            end.in_steps_of(step)
                .ok_or(GridError::Multiple { end, step })
        };
        let (lower_steps, upper_steps) = (steps(lower)?, steps(upper)?);
        let wide = GridError::Wide { lower, upper, step };
        if lower_steps.abs().max(upper_steps.abs()) > MAX_GRID_STEPS {
            return Err(wide);
        }
        let centre_steps = (lower_steps + upper_steps).div_euclid(2);
        let centre = step.times(centre_steps).ok_or(wide)?;
        Ok(Self {
            lower,
            upper,
            step,
            centre,
            lower_steps,
            upper_steps,
            centre_steps,
        })
    }

    /// The step, in the value's unit.
    pub fn step(&self) -> Decimal {
        self.step
    }

    /// The lower end, in the value's unit.
    pub fn lower(&self) -> Decimal {
        self.lower
    }

    /// The upper end, in the value's unit.
    pub fn upper(&self) -> Decimal {
        self.upper
    }

    /// The grid point in the middle (rounded down), in steps: means travel relative to it, which
    /// halves their noise.
    pub fn centre(&self) -> i64 {
        self.centre_steps
    }

    /// The same grid point, in the value's unit.
    pub fn centre_value(&self) -> Decimal {
        self.centre
    }

    /// How many points it has.
    pub fn points(&self) -> u64 {
        (self.upper_steps - self.lower_steps).unsigned_abs() + 1
    }

    /// The lowest point, in steps.
    pub fn lower_steps(&self) -> i64 {
        self.lower_steps
    }

    /// Half the largest square of a grid integer relative to the centre, rounded down: squares
    /// travel relative to it.
    pub fn half_square(&self) -> u128 {
        u128::from(self.reach(self.centre_steps)).pow(2) / 2
    }

    /// The largest magnitude of a grid integer relative to `origin`, in steps.
    pub fn reach(&self, origin: i64) -> u64 {
        (self.lower_steps - origin)
            .unsigned_abs()
            .max((self.upper_steps - origin).unsigned_abs())
    }

    /// The grid integer of a value: clamped, divided by the step, rounded half to even. `None` for
    /// NaN, which counts as NULL. Infinities clamp. Total: no value panics or wraps.
    #[inline]
    pub fn integer(&self, value: f64) -> Option<i64> {
        if value.is_nan() {
            return None;
        }
        let steps = (value / self.step.to_f64()).round_ties_even();
        #[allow(clippy::cast_possible_truncation)] // float casts saturate, then the clamp holds
        Some((steps as i64).clamp(self.lower_steps, self.upper_steps))
    }

    /// [`Grid::integer`] of many values, relative to `origin`: appends to `integers` (0 for NaN) and
    /// to `counts` (0 for NaN, else 1). Written so that it compiles to vector instructions.
    pub fn integers(
        &self,
        values: &[f64],
        origin: i64,
        integers: &mut Vec<i64>,
        counts: &mut Vec<u8>,
    ) {
        // Adding 1.5·2⁵² rounds half to even and leaves the integer in the low bits of the double;
        // after clamping to 2³² steps that is exact.
        const ROUND: f64 = 6_755_399_441_055_744.0;
        let step = self.step.to_f64();
        #[allow(clippy::cast_precision_loss)] // at most 2^32
        let (lower, upper) = (self.lower_steps as f64, self.upper_steps as f64);
        let zero = ROUND.to_bits().cast_signed().wrapping_add(origin);
        integers.extend(values.iter().map(|value| {
            let steps = value / step;
            let steps = if steps > lower { steps } else { lower };
            let steps = if steps < upper { steps } else { upper };
            let integer = (steps + ROUND).to_bits().cast_signed().wrapping_sub(zero);
            if value.is_nan() { 0 } else { integer }
        }));
        counts.extend(values.iter().map(|value| u8::from(!value.is_nan())));
    }

    /// The grid integer of an integer value; equal to `integer` of the same number.
    #[inline]
    pub fn integer_of_int(&self, value: i64) -> i64 {
        #[allow(clippy::cast_precision_loss)] // beyond 2^53 it is clamped anyway
        self.integer(value as f64).unwrap_or(self.lower_steps)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GridEnds {
    lower: Decimal,
    upper: Decimal,
    step: Decimal,
}

impl TryFrom<GridEnds> for Grid {
    type Error = GridError;

    fn try_from(e: GridEnds) -> Result<Self, GridError> {
        Self::new(e.lower, e.upper, e.step)
    }
}

impl From<Grid> for GridEnds {
    fn from(g: Grid) -> Self {
        Self {
            lower: g.lower,
            upper: g.upper,
            step: g.step,
        }
    }
}

/// Why bounds and a step make no grid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GridError {
    /// The step is not positive.
    #[error("the step {0} is not positive")]
    Step(Decimal),
    /// The ends are not in order.
    #[error("the lower bound {lower} is not below the upper bound {upper}")]
    Order {
        /// Lower end.
        lower: Decimal,
        /// Upper end.
        upper: Decimal,
    },
    /// An end is not a multiple of the step.
    #[error("the bound {end} is not a multiple of the step {step}")]
    Multiple {
        /// The end.
        end: Decimal,
        /// The step.
        step: Decimal,
    },
    /// Too many steps.
    #[error(
        "{lower} to {upper} in steps of {step} reaches over 2^32 steps from zero; use a wider step"
    )]
    Wide {
        /// Lower end.
        lower: Decimal,
        /// Upper end.
        upper: Decimal,
        /// Step.
        step: Decimal,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn d(s: &str) -> Decimal {
        s.parse().expect(s)
    }

    fn hba1c() -> Grid {
        Grid::new(d("3.0"), d("20.0"), d("0.1")).expect("grid")
    }

    #[test]
    fn decimals_print_as_read_without_trailing_zeros() {
        for (text, printed) in [
            ("3.0", "3"),
            ("-0.25", "-0.25"),
            ("0.10", "0.1"),
            ("007", "7"),
        ] {
            assert_eq!(d(text).to_string(), printed);
        }
        for bad in [
            "",
            ".5",
            "5.",
            "1e3",
            "+1",
            "--1",
            "1_000",
            "1234567890123456",
        ] {
            assert!(bad.parse::<Decimal>().is_err(), "{bad}");
        }
    }

    #[test]
    fn extremes_land_on_the_ends() {
        let g = hba1c();
        assert_eq!(g.integer(f64::NAN), None);
        assert_eq!(g.integer(f64::INFINITY), Some(200));
        assert_eq!(g.integer(f64::NEG_INFINITY), Some(30));
        assert_eq!(g.integer(1e300), Some(200));
        assert_eq!(g.integer(-0.0), Some(30));
        assert_eq!(g.integer_of_int(i64::MIN), 30);
        assert_eq!(g.centre(), 115);
        assert_eq!(g.reach(g.centre()), 85);
    }

    #[test]
    fn bounds_must_fit_the_step() {
        assert!(matches!(
            Grid::new(d("0.05"), d("1"), d("0.1")),
            Err(GridError::Multiple { .. })
        ));
        assert!(matches!(
            Grid::new(d("0"), d("999999999999"), d("0.1")),
            Err(GridError::Wide { .. })
        ));
        assert!(matches!(
            Grid::new(d("900000000000000"), d("910000000000000"), d("0.0001")),
            Err(GridError::Wide { .. })
        ));
    }

    proptest! {
        #[test]
        fn every_double_maps_inside(value in any::<f64>()) {
            let g = hba1c();
            if let Some(i) = g.integer(value) {
                prop_assert!((30..=200).contains(&i));
            } else {
                prop_assert!(value.is_nan());
            }
        }

        #[test]
        fn many_values_map_as_one_does(
            values in prop::collection::vec(prop_oneof![any::<f64>(), -5.0..25.0, (0..500_i32).prop_map(|i| f64::from(i) / 20.0)], 0..40),
            origin in -50_i64..200,
        ) {
            let (mut integers, mut counts) = (Vec::new(), Vec::new());
            hba1c().integers(&values, origin, &mut integers, &mut counts);
            for ((value, integer), count) in values.iter().zip(integers).zip(counts) {
                let expected = hba1c().integer(*value);
                prop_assert_eq!(count, u8::from(expected.is_some()));
                prop_assert_eq!(integer, expected.map_or(0, |e| e - origin));
            }
        }

        #[test]
        fn grid_points_map_to_themselves(i in 30_i64..=200) {
            #[allow(clippy::cast_precision_loss)]
            let value = i as f64 / 10.0;
            prop_assert_eq!(hba1c().integer(value), Some(i));
        }
    }
}
