//! How each patient's contribution is bounded.
//!
//! For each patient: rows outside the key domain are dropped; of the groups left, at most
//! `max_groups` stay, the first in the order of (rank, group), where the rank mixes a keyed 128-bit
//! hash of the patient with the group; in each of them at most L = `max_rows_per_group` rows count, by scaling: with m > L rows
//! a patient counts as L rows with sum round(s·L/m), so that a mean stays the mean. All of it is a
//! function of this patient's rows and the key alone, whatever their order.

use std::hash::Hasher;

use crate::measure::{Tally, TallyKind};
use siphasher::sip128::{Hasher128, SipHasher24};

/// The secret by which a node chooses among a patient's groups. Reusing it over asks is sound:
/// given the key, each patient's choice depends on that patient's rows alone.
#[derive(Clone)]
pub struct SelectionKey([u8; 16]);

impl SelectionKey {
    /// A key of these bytes, which should be random and kept.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The rank of a patient's group that has no number, but a name.
    pub(crate) fn rank_of(&self, patient: i64, group: &[u8]) -> u128 {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        hasher.write(&patient.to_le_bytes());
        hasher.write(group);
        hasher.finish128().as_u128()
    }

    /// The secret by which this patient's groups are ranked.
    pub(crate) fn of_patient(&self, patient: i64) -> PatientKey {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        hasher.write(&patient.to_le_bytes());
        let hash = hasher.finish128();
        PatientKey(hash.h1, hash.h2)
    }
}

/// A keyed hash of one patient.
#[derive(Clone, Copy)]
pub(crate) struct PatientKey(u64, u64);

impl PatientKey {
    /// The rank of a group: one keyed hash a patient, and two multiplications a group. That the
    /// choice is fair asks for no more; that it is sound asks only that it be a function of the
    /// key, the patient and the group.
    #[inline]
    pub(crate) fn rank(self, group: u32) -> u64 {
        let mixed = (self.0 ^ u64::from(group)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = ((mixed ^ (mixed >> 32)) ^ self.1).wrapping_mul(0xd6e8_feb8_6659_fd93);
        mixed ^ (mixed >> 32)
    }
}

impl std::fmt::Debug for SelectionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SelectionKey(…)")
    }
}

/// What one input saw of one patient in one group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Rows that count, m.
    pub(crate) rows: u64,
    /// Sum of their grid integers, s. It would take a patient with 2²³ rows to wrap it, and what it
    /// contributes is clamped all the same.
    sum: i64,
}

impl Seen {
    /// So many rows that count, and the sum of their grid integers.
    pub(crate) fn new(rows: u64, sum: i64) -> Self {
        Self { rows, sum }
    }

    /// Reads a row that counts (1) or doesn't (0); the value is 0 where it doesn't, or where only
    /// presence is read.
    #[inline]
    pub(crate) fn add(&mut self, count: u8, value: i64) {
        self.rows += u64::from(count);
        self.sum = self.sum.wrapping_add(value);
    }
}

/// What a patient with these rows adds to a group: at most the tally's bound, whatever the rows.
pub(crate) fn contribution(tally: Tally, seen: &[Seen], limit: u32) -> i128 {
    let Seen { rows, sum } = seen[tally.input];
    let bound = i128::from(tally.bound);
    match tally.kind {
        TallyKind::Patients => i128::from(rows > 0),
        TallyKind::Rows => i128::from(rows.min(u64::from(limit))),
        // A cell has many of these: see [`picked`].
        TallyKind::Bins { .. } => 0,
        TallyKind::Sum => scaled(i128::from(sum), rows, limit).clamp(-bound, bound),
    }
}

/// round(s·L/m) for m > L, halves up; s itself otherwise. Its magnitude is at most L times the
/// largest value's.
fn scaled(sum: i128, rows: u64, limit: u32) -> i128 {
    let (rows, limit) = (i128::from(rows), i128::from(limit));
    if rows <= limit {
        return sum;
    }
    (2 * sum * limit + rows).div_euclid(2 * rows)
}

/// How many of the first `before` of a patient's m rows, in the order of their values, count. With m > L
/// rows those at the ranks ⌊(2i+1)·m/2L⌋ for i = 0 … L−1 do: spread evenly, so that quantiles stay
/// where they are. Rank r < b if and only if (2i+1)·m < 2L·b, which holds for ⌈(2L·b − m)/2m⌉ of the i.
pub(crate) fn picked(before: u64, rows: u64, limit: u32) -> u64 {
    if rows <= u64::from(limit) {
        return before;
    }
    let (before, rows, limit) = (u128::from(before), u128::from(rows), u128::from(limit));
    let picked = (2 * limit * before + rows - 1) / (2 * rows);
    u64::try_from(picked).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn scaling_keeps_the_bound_and_the_mean(
            values in prop::collection::vec(-50_i64..=50, 1..40), limit in 1_u32..6
        ) {
            let rows = values.len() as u64;
            let sum: i128 = values.iter().map(|v| i128::from(*v)).sum();
            let s = scaled(sum, rows, limit);
            prop_assert!(s.abs() <= i128::from(limit) * 50);
            let kept = i128::from(rows.min(u64::from(limit)));
            // |s/kept − sum/rows| ≤ ½/kept
            let error = (s * i128::from(rows) - sum * kept).abs();
            prop_assert!(2 * error <= i128::from(rows));
        }

        #[test]
        fn picks_are_the_rows_at_their_ranks(rows in 1_u64..60, limit in 1_u32..12) {
            let (m, l) = (rows, u64::from(limit));
            let ranks: Vec<u64> = if m > l {
                (0..l).map(|i| (2 * i + 1) * m / (2 * l)).collect()
            } else {
                (0..m).collect()
            };
            for before in 0..=m {
                let expected = ranks.iter().filter(|r| **r < before).count() as u64;
                prop_assert_eq!(picked(before, m, limit), expected);
            }
            prop_assert!(picked(m, m, limit) <= l);
        }

        #[test]
        fn no_number_of_rows_picks_more_than_the_limit(rows in 1_u64.., limit in 1_u32..=100_000) {
            prop_assert!(picked(rows, rows, limit) <= u64::from(limit));
        }

        #[test]
        fn no_rows_whatever_exceed_the_bound(rows in any::<u64>(), sum in any::<i64>(), bound in 0_u64..1 << 40) {
            let tally = Tally { input: 0, kind: TallyKind::Sum, bound };
            let moved = contribution(tally, &[Seen { rows, sum }], 3);
            prop_assert!(moved.unsigned_abs() <= u128::from(bound));
        }
    }
}
