//! A patient's own chance: one random stream for each patient of each hospital.
//!
//! Basic arithmetic alone, no logarithms or cosines: the same bits on every platform.

use chrono::NaiveDate;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::hospital::Hospital;
use crate::span::Span;

/// The random stream of one patient.
pub(crate) struct Chance(ChaCha8Rng);

impl Chance {
    /// The stream of the hospital's patient of this number.
    pub(crate) fn of_patient(hospital: &Hospital, number: u64) -> Self {
        let mut key = [0; 32];
        let (seed, name) = key.split_at_mut(8);
        seed.copy_from_slice(&hospital.seed.to_le_bytes());
        for (i, byte) in hospital.name.bytes().enumerate() {
            let slot = &mut name[i % 24];
            *slot = slot.rotate_left(3) ^ byte;
        }
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(number);
        Self(rng)
    }

    /// Uniform from 0 to below 1.
    #[allow(clippy::cast_precision_loss)] // 53 bits fit
    pub(crate) fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Whether something of this probability happens.
    pub(crate) fn happens(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// A whole number from `low` to `high`, both included.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)] // small numbers
    pub(crate) fn within(&mut self, low: i64, high: i64) -> i64 {
        low + (self.unit() * (high - low + 1) as f64) as i64
    }

    /// Bell-shaped, mean 0, standard deviation 1, never beyond 3.5.
    pub(crate) fn spread(&mut self) -> f64 {
        const ROOT_OF_3: f64 = 1.732_050_807_568_877_2;
        (0..4).map(|_| self.unit() - 0.5).sum::<f64>() * ROOT_OF_3
    }

    /// A whole number of this mean, at most one away from it.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // small and not negative
    pub(crate) fn count(&mut self, mean: f64) -> u32 {
        mean as u32 + u32::from(self.happens(mean.fract()))
    }

    /// The index of one of the weights, drawn in proportion.
    pub(crate) fn index(&mut self, weights: impl Iterator<Item = f64> + Clone) -> usize {
        let mut left = self.unit() * weights.clone().sum::<f64>();
        let mut last = 0;
        for (i, weight) in weights.enumerate() {
            if left < weight {
                return i;
            }
            left -= weight;
            last = i;
        }
        last
    }

    /// A day of the span.
    pub(crate) fn day(&mut self, span: Span) -> NaiveDate {
        span.day(self.within(0, span.days() - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hospital::Mix;

    fn first(name: &str, seed: u64, number: u64) -> u64 {
        let hospital = Hospital {
            name: name.into(),
            seed,
            patients: 1,
            mix: Mix::General,
        };
        Chance::of_patient(&hospital, number).0.next_u64()
    }

    #[test]
    fn name_seed_and_number_each_make_another_stream() {
        let base = first("a", 1, 1);
        assert_eq!(base, first("a", 1, 1));
        for other in [first("b", 1, 1), first("a", 2, 1), first("a", 1, 2)] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn draws_have_the_moments_they_promise() {
        let hospital = Hospital {
            name: "a".into(),
            seed: 1,
            patients: 1,
            mix: Mix::General,
        };
        let mut chance = Chance::of_patient(&hospital, 1);
        let draws: Vec<f64> = (0..20_000).map(|_| chance.spread()).collect();
        let mean = draws.iter().sum::<f64>() / 20_000.0;
        let variance = draws.iter().map(|d| d * d).sum::<f64>() / 20_000.0;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05);
        let counted: u32 = (0..20_000).map(|_| chance.count(1.3)).sum();
        assert!((f64::from(counted) / 20_000.0 - 1.3).abs() < 0.02);
        assert!((0..1000).all(|_| (2..=5).contains(&chance.within(2, 5))));
    }
}
