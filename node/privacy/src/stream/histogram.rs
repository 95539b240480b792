//! One patient's rows by value, in each cell.

use std::ops::Range;

use crate::bound::picked;
use crate::lanes::Lanes;
use crate::measure::{Tally, TallyKind};

/// The current patient's rows by cell and value: dense, so that memory depends on the layout alone.
#[derive(Debug)]
pub(super) struct Histogram {
    input: usize,
    /// The tally's place among all.
    place: usize,
    cells: u32,
    points: usize,
    rows: Vec<u64>,
    /// Where there are any.
    touched: Vec<usize>,
}

impl Histogram {
    /// One for each tally that counts rows by value.
    pub(super) fn of_tallies(tallies: &[Tally], cells: usize) -> Vec<Self> {
        let histogram = |(place, tally): (usize, &Tally)| match tally.kind {
            TallyKind::Bins { points } => Some(Self {
                input: tally.input,
                place,
                cells: u32::try_from(cells).ok()?,
                points: points as usize,
                rows: vec![0; cells * points as usize],
                touched: Vec::new(),
            }),
            TallyKind::Patients | TallyKind::Rows | TallyKind::Sum => None,
        };
        tallies.iter().enumerate().filter_map(histogram).collect()
    }

    /// The other tallies, each with its place.
    pub(super) fn without(tallies: &[Tally]) -> Vec<(usize, Tally)> {
        let places = tallies.iter().copied().enumerate();
        places
            .filter(|(_, t)| !matches!(t.kind, TallyKind::Bins { .. }))
            .collect()
    }

    /// Reads these rows of a batch; `groups` are theirs.
    pub(super) fn read(&mut self, groups: &[u32], lanes: &Lanes, rows: Range<usize>) {
        let lane = &lanes.inputs[self.input];
        let read = lane.counts[rows.clone()].iter().zip(&lane.values[rows]);
        for (group, (count, value)) in groups.iter().zip(read) {
            if *count == 0 || *group >= self.cells {
                continue;
            }
            let Ok(point) = usize::try_from(*value) else {
                continue;
            };
            let at = *group as usize * self.points + point.min(self.points - 1);
            if self.rows[at] == 0 {
                self.touched.push(at);
            }
            self.rows[at] += 1;
        }
    }

    /// Adds what the patient's rows count for, in the cells that have rows kept, and forgets them.
    pub(super) fn leave(&mut self, kept: &[u64], limit: u32, totals: &mut [Vec<i128>]) {
        self.touched.sort_unstable();
        let points = self.points;
        for cell in self.touched.chunk_by(|a, b| a / points == b / points) {
            if kept[cell[0] / points] > 0 {
                let all = cell.iter().map(|at| self.rows[*at]).sum();
                let mut before = 0;
                for at in cell {
                    let behind = before + self.rows[*at];
                    let count = picked(behind, all, limit) - picked(before, all, limit);
                    totals[self.place][*at] += i128::from(count);
                    before = behind;
                }
            }
            for at in cell {
                self.rows[*at] = 0;
            }
        }
        self.touched.clear();
    }
}
