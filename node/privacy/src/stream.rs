//! The streaming execution: bounds patients one after the other, in one pass over rows that come
//! clustered by patient. Memory does not grow with the number of patients.

mod histogram;

use ward_schemas::template::Contribution;

use self::histogram::Histogram;
use crate::bound::{Seen, SelectionKey, contribution};
use crate::lanes::{Lane, Lanes};
use crate::measure::Tally;

/// What is kept of one partition's rows.
#[derive(Debug)]
pub(crate) struct Kernel {
    limits: Contribution,
    /// The tallies of one integer a cell, each with its place among all.
    tallies: Vec<(usize, Tally)>,
    key: SelectionKey,
    inputs: usize,
    /// The inputs that count every row.
    every_row: Vec<usize>,
    patient: Option<i64>,
    first: Option<i64>,
    /// The current patient's rows by cell; one cell more for rows outside the domain, which starts
    /// at 1 so that it is never touched.
    rows: Vec<u64>,
    /// The same by cell, then input.
    seen: Vec<Seen>,
    /// The cells in which the current patient has rows.
    touched: Touched,
    /// Where more cells are touched than a patient may keep.
    ranked: Vec<(u64, u32)>,
    /// The current patient's rows by value, of the tallies that want that.
    histograms: Vec<Histogram>,
    /// By tally, then cell, then the tally's integers.
    totals: Vec<Vec<i128>>,
}

/// What an input reads of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reads {
    /// Nothing: every row counts.
    EveryRow,
    /// A lane.
    Lane,
}

/// Rows that are not clustered by patient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the rows are not in the order of their patients")]
pub(crate) struct Unclustered;

/// What came of a partition.
#[derive(Debug)]
pub(crate) struct Partition {
    /// Its first and last patient.
    pub(crate) patients: Option<(i64, i64)>,
    /// Sums of bounded contributions, by tally, then cell, then the tally's integers.
    pub(crate) totals: Vec<Vec<i128>>,
}

impl Kernel {
    pub(crate) fn new(
        limits: Contribution,
        tallies: &[Tally],
        cells: usize,
        reads: &[Reads],
        key: SelectionKey,
    ) -> Self {
        let inputs = reads.len();
        let every_row = (0..inputs).filter(|i| reads[*i] == Reads::EveryRow);
        let mut rows = vec![0; cells + 1];
        rows[cells] = 1;
        Self {
            every_row: every_row.collect(),
            limits,
            histograms: Histogram::of_tallies(tallies, cells),
            totals: tallies.iter().map(|t| vec![0; cells * t.width()]).collect(),
            tallies: Histogram::without(tallies),
            key,
            inputs,
            patient: None,
            first: None,
            rows,
            seen: vec![Seen::default(); (cells + 1) * inputs],
            touched: Touched::new(cells),
            ranked: Vec::new(),
        }
    }

    /// Reads a batch.
    ///
    /// # Errors
    /// When a patient comes after a later one.
    pub(crate) fn read(&mut self, patients: &[i64], lanes: &Lanes) -> Result<(), Unclustered> {
        let mut start = 0;
        for run in patients.chunk_by(|a, b| a == b) {
            self.enter(run[0])?;
            let end = start + run.len();
            self.run(start, end, lanes);
            start = end;
        }
        Ok(())
    }

    /// The sums, once all rows are read.
    pub(crate) fn finish(mut self) -> Partition {
        self.leave();
        Partition {
            patients: self.first.zip(self.patient),
            totals: self.totals,
        }
    }

    fn enter(&mut self, patient: i64) -> Result<(), Unclustered> {
        match self.patient {
            Some(current) if current == patient => return Ok(()),
            Some(current) if current > patient => return Err(Unclustered),
            Some(_) => self.leave(),
            None => self.first = Some(patient),
        }
        self.patient = Some(patient);
        Ok(())
    }

    fn run(&mut self, start: usize, end: usize, lanes: &Lanes) {
        let groups = &lanes.groups[start..end];
        self.touched.count(&mut self.rows, groups);
        for (i, lane) in lanes.inputs.iter().enumerate() {
            self.read_lane(i, lane, groups, start..end);
        }
        for histogram in &mut self.histograms {
            histogram.read(groups, lanes, start..end);
        }
    }

    fn read_lane(
        &mut self,
        input: usize,
        lane: &Lane,
        groups: &[u32],
        rows: std::ops::Range<usize>,
    ) {
        if lane.counts.is_empty() {
            return;
        }
        let (seen, inputs) = (self.seen.as_mut_slice(), self.inputs);
        let counts = groups.iter().zip(&lane.counts[rows.clone()]);
        if lane.values.is_empty() {
            for (group, count) in counts {
                seen[*group as usize * inputs + input].add(*count, 0);
            }
        } else {
            for ((group, count), value) in counts.zip(&lane.values[rows]) {
                seen[*group as usize * inputs + input].add(*count, *value);
            }
        }
    }

    /// Bounds the current patient, and adds what is left of them.
    fn leave(&mut self) {
        let Some(patient) = self.patient else {
            return;
        };
        self.choose(patient);
        let limit = self.limits.max_rows_per_group;
        for histogram in &mut self.histograms {
            histogram.leave(&self.rows, limit, &mut self.totals);
        }
        for group in self.touched.groups() {
            let cell = *group as usize;
            let seen = &mut self.seen[cell * self.inputs..(cell + 1) * self.inputs];
            for input in &self.every_row {
                seen[*input].rows = self.rows[cell];
            }
            for (place, tally) in &self.tallies {
                self.totals[*place][cell] += contribution(*tally, seen, limit);
            }
            seen.fill(Seen::default());
            self.rows[cell] = 0;
        }
        self.touched.keep(&[]);
    }

    /// Leaves in `touched` the groups that the patient keeps.
    fn choose(&mut self, patient: i64) {
        let most = self.limits.max_groups as usize;
        if self.touched.groups().len() <= most {
            return;
        }
        let key = self.key.of_patient(patient);
        let rank = |group: &u32| (key.rank(*group), *group);
        self.ranked.extend(self.touched.groups().iter().map(rank));
        self.ranked.select_nth_unstable(most - 1);
        let (kept, dropped) = self.ranked.split_at(most);
        for (_, group) in dropped {
            let cell = *group as usize;
            self.rows[cell] = 0;
            self.seen[cell * self.inputs..(cell + 1) * self.inputs].fill(Seen::default());
        }
        self.touched.keep(kept);
        self.ranked.clear();
    }
}

/// A list of different cells.
#[derive(Debug)]
struct Touched {
    /// The list, and room for one more than all cells.
    cells: Vec<u32>,
    length: usize,
}

impl Touched {
    fn new(cells: usize) -> Self {
        Self {
            cells: vec![0; cells + 1],
            length: 0,
        }
    }

    fn groups(&self) -> &[u32] {
        &self.cells[..self.length]
    }

    /// Counts rows by cell, and lists the cells that had none. Without a branch: which rows are the
    /// first of their cells is a matter of chance.
    fn count(&mut self, rows: &mut [u64], groups: &[u32]) {
        let (cells, mut length) = (self.cells.as_mut_slice(), self.length);
        for group in groups {
            let rows = &mut rows[*group as usize];
            cells[length] = *group;
            length += usize::from(*rows == 0);
            *rows += 1;
        }
        self.length = length;
    }

    fn keep(&mut self, ranked: &[(u64, u32)]) {
        for (cell, (_, kept)) in self.cells.iter_mut().zip(ranked) {
            *cell = *kept;
        }
        self.length = ranked.len();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::lanes::Lane;
    use crate::measure::TallyKind;
    use proptest::prelude::*;

    const CELLS: usize = 6;
    const REACH: i64 = 50;
    /// A patient, a cell (or one outside), a value (or none).
    type Row = (i64, u32, Option<i64>);

    fn key() -> SelectionKey {
        SelectionKey::from_bytes([7; 16])
    }

    fn tallies(limits: Contribution) -> [Tally; 3] {
        let rows = u64::from(limits.max_rows_per_group);
        let tally = |kind, bound| Tally {
            input: 0,
            kind,
            bound,
        };
        [
            tally(TallyKind::Patients, 1),
            tally(TallyKind::Rows, rows),
            tally(TallyKind::Sum, rows * REACH.unsigned_abs()),
        ]
    }

    fn kernel(rows: &[Row], batch: usize, limits: Contribution) -> Vec<Vec<i128>> {
        let mut sorted = rows.to_vec();
        sorted.sort_by_key(|r| r.0);
        let mut kernel = Kernel::new(limits, &tallies(limits), CELLS, &[Reads::Lane], key());
        for rows in sorted.chunks(batch.max(1)) {
            let lane = Lane {
                counts: rows.iter().map(|r| u8::from(r.2.is_some())).collect(),
                values: rows.iter().map(|r| r.2.unwrap_or(0)).collect(),
            };
            let lanes = Lanes {
                groups: rows.iter().map(|r| r.1).collect(),
                inputs: vec![lane],
            };
            let patients: Vec<_> = rows.iter().map(|r| r.0).collect();
            kernel.read(&patients, &lanes).expect("sorted");
        }
        kernel.finish().totals
    }

    /// The definition, patient by patient.
    fn plain(rows: &[Row], limits: Contribution) -> Vec<Vec<i128>> {
        let mut groups: BTreeMap<(i64, u32), Vec<Option<i64>>> = BTreeMap::new();
        for (patient, group, value) in rows.iter().filter(|r| (r.1 as usize) < CELLS) {
            groups.entry((*patient, *group)).or_default().push(*value);
        }
        let mut ranked: Vec<_> = groups
            .keys()
            .map(|(p, g)| (*p, key().of_patient(*p).rank(*g), *g))
            .collect();
        ranked.sort_unstable();
        let limit = i128::from(limits.max_rows_per_group);
        let mut totals = vec![vec![0; CELLS]; 3];
        for patient in ranked.chunk_by(|a, b| a.0 == b.0) {
            for (p, _, g) in patient.iter().take(limits.max_groups as usize) {
                let values: Vec<_> = groups[&(*p, *g)].iter().flatten().collect();
                let m = i128::try_from(values.len()).expect("few");
                let s: i128 = values.into_iter().map(|v| i128::from(*v)).sum();
                let cell = *g as usize;
                totals[0][cell] += i128::from(m > 0);
                totals[1][cell] += m.min(limit);
                totals[2][cell] += if m > limit {
                    (2 * s * limit + m).div_euclid(2 * m)
                } else {
                    s
                };
            }
        }
        totals
    }

    fn rows() -> impl Strategy<Value = Vec<Row>> {
        let row = (
            0_i64..8,
            0_u32..7,
            prop::option::weighted(0.9, -REACH..=REACH),
        );
        prop::collection::vec(row, 0..80)
    }

    fn limits() -> impl Strategy<Value = Contribution> {
        (1_u32..4, 1_u32..5).prop_map(|(max_groups, max_rows_per_group)| Contribution {
            max_groups,
            max_rows_per_group,
        })
    }

    /// Whether a patient of these rows moves a total by more than is declared.
    fn exceeds(
        rows: &[Row],
        declared: Contribution,
        bounded: impl Fn(&[Row]) -> Vec<Vec<i128>>,
    ) -> bool {
        let whole = bounded(rows);
        let groups = i128::from(declared.max_groups);
        (0..8).any(|patient| {
            let without: Vec<_> = rows.iter().copied().filter(|r| r.0 != patient).collect();
            let less = bounded(&without);
            let pairs = whole.iter().zip(&less).zip(tallies(declared));
            pairs.into_iter().any(|((a, b), tally)| {
                let moved: i128 = a.iter().zip(b).map(|(x, y)| (x - y).pow(2)).sum();
                moved > i128::from(tally.bound).pow(2) * groups
            })
        })
    }

    proptest! {
        #[test]
        fn the_kernel_does_what_the_definition_says(rows in rows(), limits in limits(), batch in 1_usize..30) {
            prop_assert_eq!(kernel(&rows, batch, limits), plain(&rows, limits));
        }

        #[test]
        fn one_patient_moves_the_totals_by_at_most_the_declared_sensitivity(
            rows in rows(), limits in limits()
        ) {
            prop_assert!(!exceeds(&rows, limits, |rows| kernel(rows, 16, limits)));
        }

        #[test]
        fn the_order_of_a_patients_rows_does_not_matter(rows in rows().prop_shuffle(), limits in limits()) {
            let mut sorted = rows.clone();
            sorted.sort_unstable();
            prop_assert_eq!(kernel(&rows, 5, limits), kernel(&sorted, 64, limits));
        }
    }

    /// The test of sensitivity must find a bounder that forgets a limit.
    #[test]
    fn mutants_exceed_the_sensitivity() {
        let limits = Contribution {
            max_groups: 1,
            max_rows_per_group: 2,
        };
        let rows: Vec<Row> = (0..6).flat_map(|g| vec![(3, g, Some(REACH)); 5]).collect();
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
                exceeds(&rows, limits, |rows| kernel(rows, 16, mutant)),
                "{mutant:?}"
            );
        }
        assert!(!exceeds(&rows, limits, |rows| kernel(rows, 16, limits)));
    }

    #[test]
    fn groups_are_chosen_by_key() {
        let limits = Contribution {
            max_groups: 1,
            max_rows_per_group: 1,
        };
        let choice = |seed: u8| {
            let mut kernel = Kernel::new(
                limits,
                &tallies(limits)[..1],
                CELLS,
                &[Reads::Lane],
                SelectionKey::from_bytes([seed; 16]),
            );
            let lane = Lane {
                counts: vec![1; CELLS],
                values: Vec::new(),
            };
            let lanes = Lanes {
                groups: (0..6).collect(),
                inputs: vec![lane],
            };
            kernel.read(&[42; CELLS], &lanes).expect("sorted");
            kernel.finish().totals
        };
        assert!((1..50).any(|seed| choice(seed) != choice(0)));
        assert_eq!(choice(0)[0].iter().sum::<i128>(), 1);
    }

    #[test]
    fn rows_out_of_order_are_an_error() {
        let limits = Contribution {
            max_groups: 1,
            max_rows_per_group: 1,
        };
        let mut kernel = Kernel::new(limits, &tallies(limits), CELLS, &[Reads::Lane], key());
        let lane = Lane {
            counts: vec![1; 2],
            values: vec![0; 2],
        };
        let lanes = Lanes {
            groups: vec![0; 2],
            inputs: vec![lane],
        };
        assert_eq!(kernel.read(&[2, 1], &lanes), Err(Unclustered));
    }
}
