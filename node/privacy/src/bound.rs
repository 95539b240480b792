//! Bounds each patient's contribution, and adds it up.
//!
//! For each patient: rows outside the key domain are dropped; of the groups left, at most
//! `max_groups` stay, the first in the order of (keyed 128-bit hash of patient and group, then the
//! group); in each of them at most L = `max_rows_per_group` rows count, by scaling: with m > L rows
//! a patient counts as L rows with sum round(s·L/m), so that a mean stays the mean. All of it is a
//! function of this patient's rows and the key alone, whatever their order.

use std::collections::HashMap;
use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher24};
use ward_schemas::template::Contribution;

use crate::measure::{Tally, TallyKind};

/// The secret by which a node chooses among a patient's groups. Reusing it over asks is sound:
/// given the key, each patient's choice depends on that patient's rows alone.
#[derive(Clone)]
pub struct SelectionKey([u8; 16]);

impl SelectionKey {
    /// A key of these bytes, which should be random and kept.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    fn rank(&self, patient: i64, group: u32) -> u128 {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        hasher.write(&patient.to_le_bytes());
        hasher.write(&group.to_le_bytes());
        hasher.finish128().as_u128()
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
    rows: u64,
    /// Sum of their grid integers, s.
    sum: i128,
}

/// The rows read so far, by patient and group.
#[derive(Debug)]
pub(crate) struct Collected {
    inputs: usize,
    slots: HashMap<(i64, u32), usize>,
    seen: Vec<Seen>,
}

impl Collected {
    pub(crate) fn new(inputs: usize) -> Self {
        Self {
            inputs,
            slots: HashMap::new(),
            seen: Vec::new(),
        }
    }

    /// Opens the record of a patient in a group; a row is there even if no input reads it.
    pub(crate) fn slot(&mut self, patient: i64, group: u32) -> &mut [Seen] {
        let next = self.slots.len();
        let slot = *self.slots.entry((patient, group)).or_insert(next);
        if slot == next {
            self.seen.resize((next + 1) * self.inputs, Seen::default());
        }
        &mut self.seen[slot * self.inputs..(slot + 1) * self.inputs]
    }

    /// Sums of bounded contributions: by tally, then group.
    pub(crate) fn totals(
        &self,
        limits: Contribution,
        tallies: &[Tally],
        groups: usize,
        key: &SelectionKey,
    ) -> Vec<Vec<i128>> {
        let mut totals = vec![vec![0; groups]; tallies.len()];
        for (group, slot) in self.chosen(limits, key) {
            let seen = &self.seen[slot * self.inputs..(slot + 1) * self.inputs];
            for (total, tally) in totals.iter_mut().zip(tallies) {
                total[group as usize] += contribution(*tally, seen, limits.max_rows_per_group);
            }
        }
        totals
    }

    /// The groups that stay, over all patients, with their slots.
    fn chosen(&self, limits: Contribution, key: &SelectionKey) -> Vec<(u32, usize)> {
        let mut entries: Vec<_> = self
            .slots
            .iter()
            .map(|((patient, group), slot)| (*patient, key.rank(*patient, *group), *group, *slot))
            .collect();
        entries.sort_unstable();
        entries
            .chunk_by(|a, b| a.0 == b.0)
            .flat_map(|patient| patient.iter().take(limits.max_groups as usize))
            .map(|(_, _, group, slot)| (*group, *slot))
            .collect()
    }
}

impl Seen {
    /// Reads a row; `value` is 0 where only presence counts.
    #[inline]
    pub(crate) fn read(&mut self, value: i64) {
        self.rows += 1;
        self.sum += i128::from(value);
    }
}

fn contribution(tally: Tally, seen: &[Seen], limit: u32) -> i128 {
    let Seen { rows, sum } = seen[tally.input];
    match tally.kind {
        TallyKind::Patients => i128::from(rows > 0),
        TallyKind::Rows => i128::from(rows.min(u64::from(limit))),
        TallyKind::Sum => scaled(sum, rows, limit),
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TALLIES: [Tally; 3] = [
        Tally {
            input: 0,
            kind: TallyKind::Patients,
        },
        Tally {
            input: 0,
            kind: TallyKind::Rows,
        },
        Tally {
            input: 0,
            kind: TallyKind::Sum,
        },
    ];
    const GROUPS: usize = 6;
    const REACH: i64 = 50;

    type Row = (i64, u32, i64);

    fn totals(rows: &[Row], limits: Contribution) -> Vec<Vec<i128>> {
        let mut collected = Collected::new(1);
        for (patient, group, value) in rows {
            collected.slot(*patient, *group)[0].read(*value);
        }
        collected.totals(limits, &TALLIES, GROUPS, &SelectionKey::from_bytes([7; 16]))
    }

    fn distance_squared(a: &[i128], b: &[i128]) -> i128 {
        a.iter().zip(b).map(|(x, y)| (x - y).pow(2)).sum()
    }

    fn rows() -> impl Strategy<Value = Vec<Row>> {
        let row = (0_i64..8, 0_u32..6, -REACH..=REACH);
        prop::collection::vec(row, 0..80)
    }

    fn limits() -> impl Strategy<Value = Contribution> {
        (1_u32..4, 1_u32..5).prop_map(|(max_groups, max_rows_per_group)| Contribution {
            max_groups,
            max_rows_per_group,
        })
    }

    /// The largest squared distance that the declared sensitivity allows, by tally.
    fn allowed(limits: Contribution) -> [i128; 3] {
        let rows = i128::from(limits.max_rows_per_group);
        [1, rows, rows * i128::from(REACH)].map(|b| b * b * i128::from(limits.max_groups))
    }

    /// Sensitivity of a bounder to the patients of these rows, against what is declared.
    fn exceeds(
        rows: &[Row],
        limits: Contribution,
        bounded: impl Fn(&[Row]) -> Vec<Vec<i128>>,
    ) -> bool {
        let whole = bounded(rows);
        (0..8).any(|patient| {
            let without: Vec<_> = rows.iter().copied().filter(|r| r.0 != patient).collect();
            let less = bounded(&without);
            let distances = whole.iter().zip(&less).map(|(a, b)| distance_squared(a, b));
            distances.zip(allowed(limits)).any(|(d, a)| d > a)
        })
    }

    proptest! {
        #[test]
        fn one_patient_moves_the_totals_by_at_most_the_declared_sensitivity(
            rows in rows(), limits in limits()
        ) {
            prop_assert!(!exceeds(&rows, limits, |rows| totals(rows, limits)));
        }

        #[test]
        fn the_order_of_rows_does_not_matter(rows in rows().prop_shuffle(), limits in limits()) {
            let mut sorted = rows.clone();
            sorted.sort_unstable();
            prop_assert_eq!(totals(&rows, limits), totals(&sorted, limits));
        }

        #[test]
        fn scaling_keeps_the_bound_and_the_mean(values in prop::collection::vec(-REACH..=REACH, 1..40), limit in 1_u32..6) {
            let rows = values.len() as u64;
            let sum: i128 = values.iter().map(|v| i128::from(*v)).sum();
            let s = scaled(sum, rows, limit);
            prop_assert!(s.abs() <= i128::from(limit) * i128::from(REACH));
            let kept = i128::from(rows.min(u64::from(limit)));
            // |s/kept − sum/rows| ≤ ½/kept
            let error = (s * i128::from(rows) - sum * kept).abs();
            prop_assert!(2 * error <= i128::from(rows));
        }
    }

    /// The test above must find a bounder that forgets a limit.
    #[test]
    fn mutants_exceed_the_sensitivity() {
        let limits = Contribution {
            max_groups: 1,
            max_rows_per_group: 2,
        };
        let rows: Vec<Row> = (0..6).flat_map(|g| vec![(3, g, REACH); 5]).collect();
        let groups_forgotten = Contribution {
            max_groups: 6,
            ..limits
        };
        let rows_forgotten = Contribution {
            max_rows_per_group: 5,
            ..limits
        };
        for mutant in [groups_forgotten, rows_forgotten] {
            assert!(
                exceeds(&rows, limits, |rows| totals(rows, mutant)),
                "{mutant:?}"
            );
        }
        assert!(!exceeds(&rows, limits, |rows| totals(rows, limits)));
    }

    #[test]
    fn groups_are_chosen_by_key() {
        let limits = Contribution {
            max_groups: 1,
            max_rows_per_group: 1,
        };
        let mut collected = Collected::new(1);
        for group in 0..6 {
            collected.slot(42, group)[0].read(0);
        }
        let choice = |seed: u8| {
            let key = SelectionKey::from_bytes([seed; 16]);
            collected.totals(limits, &TALLIES[..1], GROUPS, &key)
        };
        assert!((1..50).any(|seed| choice(seed) != choice(0)));
        let total: i128 = choice(0)[0].iter().sum();
        assert_eq!(total, 1);
    }
}
