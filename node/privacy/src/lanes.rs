//! From batches to dense integers: each row's group, and what each input reads from it. The two
//! functions that every execution shares, value → group and value → grid integer, live here.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Date32Type, Float64Type, Int64Type};
use ward_schemas::decimal::{Decimal, Grid};
use ward_schemas::key::{KeyDomain, KeyValue};
use ward_schemas::plan::TablePlan;

use crate::measure::{Input, InputKind, Query};
use crate::stream::Reads;

/// Reads batches of patient, keys and inputs.
#[derive(Debug)]
pub(crate) struct Reader {
    cells: Cells,
    inputs: Vec<InputReader>,
}

/// Finds the cells of rows by their keys.
#[derive(Debug)]
pub(crate) struct Cells {
    keys: Vec<KeyIndex>,
    count: u32,
}

/// A batch as dense integers. The vectors are reused from batch to batch.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    /// The cell of each row; the number of cells where a key is outside its domain.
    pub(crate) groups: Vec<u32>,
    /// One lane an input.
    pub(crate) inputs: Vec<Lane>,
}

/// What one input reads.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    /// 1 where the row counts, else 0; empty where every row counts.
    pub(crate) counts: Vec<u8>,
    /// The grid integer where the row counts, else 0; empty where only presence is read.
    pub(crate) values: Vec<i64>,
}

impl Reader {
    /// A reader for the columns of a query; `None` for a domain of mixed types, which the schemas
    /// don't make.
    pub(crate) fn new(table: &TablePlan, query: &Query) -> Option<Self> {
        Some(Self {
            cells: Cells::new(table)?,
            inputs: query.inputs.iter().map(InputReader::new).collect(),
        })
    }

    /// How many cells there are.
    pub(crate) fn cells(&self) -> u32 {
        self.cells.count()
    }

    /// What each input reads.
    pub(crate) fn reads(&self) -> Vec<Reads> {
        let reads = |input: &InputReader| match input {
            InputReader::EveryRow => Reads::EveryRow,
            InputReader::Presence | InputReader::Value { .. } | InputReader::Square { .. } => {
                Reads::Lane
            }
        };
        self.inputs.iter().map(reads).collect()
    }

    /// Reads a batch's keys and inputs.
    pub(crate) fn read(&self, batch: &RecordBatch, lanes: &mut Lanes) {
        let (keys, inputs) = batch.columns()[1..].split_at(self.cells.keys.len());
        self.cells.read(keys, batch.num_rows(), &mut lanes.groups);
        lanes.inputs.resize_with(self.inputs.len(), Lane::default);
        let mut columns = inputs.iter();
        for (input, lane) in self.inputs.iter().zip(&mut lanes.inputs) {
            lane.clear();
            match input {
                InputReader::EveryRow => {}
                InputReader::Presence => columns.by_ref().take(1).for_each(|c| lane.presence(c)),
                InputReader::Value { grid, origin } => {
                    let value = |c: &ArrayRef| lane.values(c, grid, *origin);
                    columns.by_ref().take(1).for_each(value);
                }
                InputReader::Square { grid } => {
                    let square = |c: &ArrayRef| lane.squares(c, grid);
                    columns.by_ref().take(1).for_each(square);
                }
            }
        }
    }
}

impl Cells {
    /// `None` for a domain of mixed types, which the schemas don't make.
    pub(crate) fn new(table: &TablePlan) -> Option<Self> {
        let keys = table.keys.iter().map(|k| KeyIndex::new(&k.domain));
        Some(Self {
            keys: keys.collect::<Option<_>>()?,
            count: u32::try_from(table.cells()).ok()?,
        })
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// The cell of each row; the number of cells where a key is outside its domain.
    pub(crate) fn read(&self, keys: &[ArrayRef], rows: usize, groups: &mut Vec<u32>) {
        groups.clear();
        groups.resize(rows, 0);
        for (key, column) in self.keys.iter().zip(keys) {
            key.advance(column, groups);
        }
        for group in groups {
            *group = (*group).min(self.count);
        }
    }
}

/// Outside the domain: larger than any cell, and stays so when it is advanced.
const OUTSIDE: u32 = u32::MAX;

/// Finds a key's value in its domain.
#[derive(Debug)]
struct KeyIndex {
    size: u32,
    positions: Positions,
}

#[derive(Debug)]
enum Positions {
    Integers(IntegerIndex),
    Dates(IntegerIndex),
    Texts(HashMap<String, u32>),
    /// Positions of false and of true.
    Booleans([u32; 2]),
    Bands(BandIndex),
}

impl KeyIndex {
    fn new(domain: &KeyDomain) -> Option<Self> {
        let values = domain.values();
        let positions = match values.first()? {
            KeyValue::Integer(_) => Positions::Integers(IntegerIndex::new(all(values, integer)?)),
            KeyValue::Date(_) => Positions::Dates(IntegerIndex::new(all(values, day)?)),
            KeyValue::Text(_) => {
                Positions::Texts(all(values, text)?.into_iter().zip(0..).collect())
            }
            KeyValue::Boolean(_) => {
                let values = all(values, boolean)?;
                let position = |value| (0..).zip(&values).find(|(_, v)| **v == value);
                Positions::Booleans(
                    [false, true].map(|v| position(v).map_or(OUTSIDE, |(at, _)| at)),
                )
            }
            KeyValue::Band { .. } => Positions::Bands(BandIndex::new(&all(values, band)?)),
        };
        Some(Self {
            size: u32::try_from(domain.len()).ok()?,
            positions,
        })
    }

    /// Turns the cell among the keys before this one into the cell among those up to it.
    fn advance(&self, column: &ArrayRef, groups: &mut [u32]) {
        match &self.positions {
            Positions::Integers(index) => {
                let values = column.as_primitive::<Int64Type>();
                let found = values.values().iter().map(|v| index.position(*v));
                self.combine(found, values.nulls(), groups);
            }
            Positions::Dates(index) => {
                let values = column.as_primitive::<Date32Type>();
                let found = values
                    .values()
                    .iter()
                    .map(|v| index.position(i64::from(*v)));
                self.combine(found, values.nulls(), groups);
            }
            Positions::Texts(index) => {
                let values = column.as_string::<i32>();
                let found = values.iter();
                let found = found.map(|v| v.and_then(|v| index.get(v)).copied().unwrap_or(OUTSIDE));
                self.combine(found, None, groups);
            }
            Positions::Booleans([no, yes]) => {
                let values = column.as_boolean();
                let found = values.values().iter().map(|v| if v { *yes } else { *no });
                self.combine(found, values.nulls(), groups);
            }
            Positions::Bands(index) if *column.data_type() == DataType::Int64 => {
                let values = column.as_primitive::<Int64Type>();
                let found = values.values().iter().map(|v| index.of_int(*v));
                self.combine(found, values.nulls(), groups);
            }
            Positions::Bands(index) => {
                let values = column.as_primitive::<Float64Type>();
                let found = values.values().iter().map(|v| index.of_double(*v));
                self.combine(found, values.nulls(), groups);
            }
        }
    }

    fn combine(
        &self,
        found: impl Iterator<Item = u32>,
        nulls: Option<&NullBuffer>,
        groups: &mut [u32],
    ) {
        for (group, position) in groups.iter_mut().zip(found) {
            let inside = *group != OUTSIDE && position != OUTSIDE;
            // Cells are at most 10⁶: inside, nothing wraps.
            let cell = group.wrapping_mul(self.size).wrapping_add(position);
            *group = if inside { cell } else { OUTSIDE };
        }
        if let Some(nulls) = nulls.filter(|n| n.null_count() > 0) {
            for row in (!nulls.inner()).set_indices() {
                groups[row] = OUTSIDE;
            }
        }
    }
}

fn all<T>(values: &[KeyValue], of: fn(&KeyValue) -> Option<T>) -> Option<Vec<T>> {
    values.iter().map(of).collect()
}

fn integer(value: &KeyValue) -> Option<i64> {
    match value {
        KeyValue::Integer(i) => Some(*i),
        _ => None,
    }
}

fn day(value: &KeyValue) -> Option<i64> {
    match value {
        KeyValue::Date(d) => Some(i64::from(Date32Type::from_naive_date(*d))),
        _ => None,
    }
}

fn text(value: &KeyValue) -> Option<String> {
    match value {
        KeyValue::Text(t) => Some(t.clone()),
        _ => None,
    }
}

fn boolean(value: &KeyValue) -> Option<bool> {
    match value {
        KeyValue::Boolean(b) => Some(*b),
        _ => None,
    }
}

fn band(value: &KeyValue) -> Option<(Option<Decimal>, Option<Decimal>)> {
    match value {
        KeyValue::Band { from, to } => Some((*from, *to)),
        _ => None,
    }
}

/// Positions of numbers in bands, which the schemas list from the lowest on and without gaps.
#[derive(Debug)]
struct BandIndex {
    /// The edges as doubles, and as the least whole numbers that are not below them.
    doubles: Vec<f64>,
    integers: Vec<i64>,
    /// The band below the first edge, if any, moves all positions up by one.
    below: bool,
    bands: u32,
}

impl BandIndex {
    fn new(bands: &[(Option<Decimal>, Option<Decimal>)]) -> Self {
        let mut edges: Vec<_> = bands.iter().filter_map(|(from, _)| *from).collect();
        edges.extend(bands.last().and_then(|(_, to)| *to));
        Self {
            doubles: edges.iter().map(|e| e.to_f64()).collect(),
            integers: edges.iter().map(|e| e.ceil()).collect(),
            below: bands.first().is_some_and(|(from, _)| from.is_none()),
            bands: u32::try_from(bands.len()).unwrap_or(OUTSIDE),
        }
    }

    fn of_double(&self, value: f64) -> u32 {
        if value.is_nan() {
            return OUTSIDE;
        }
        self.position(self.doubles.partition_point(|edge| *edge <= value))
    }

    fn of_int(&self, value: i64) -> u32 {
        self.position(self.integers.partition_point(|edge| *edge <= value))
    }

    /// The band behind so many edges.
    fn position(&self, behind: usize) -> u32 {
        let at = (behind + usize::from(self.below)).checked_sub(1);
        let at = at.and_then(|at| u32::try_from(at).ok());
        at.filter(|at| *at < self.bands).unwrap_or(OUTSIDE)
    }
}

/// Positions of integers: by a multiplicative perfect hash, which public keys make possible, or by
/// a map where the search for one would take long.
#[derive(Debug)]
enum IntegerIndex {
    Perfect {
        multiplier: u64,
        shift: u32,
        /// Value and position; an empty slot holds a value that hashes elsewhere.
        slots: Vec<(i64, u32)>,
    },
    Map(HashMap<i64, u32>),
}

impl IntegerIndex {
    fn new(values: Vec<i64>) -> Self {
        const MOST_BITS: u32 = 16;
        const MULTIPLIERS: u64 = 256;
        // From 8 slots a value on: by the birthday bound, one of the multipliers soon does.
        let fewest_bits = (values.len() * 8).next_power_of_two().ilog2();
        for bits in fewest_bits..=MOST_BITS {
            let shift = 64 - bits;
            let multipliers = (1..=MULTIPLIERS).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
            let mut separating = multipliers.filter(|m| separates(&values, *m, shift));
            if let Some(multiplier) = separating.next() {
                return Self::perfect(&values, multiplier, shift);
            }
        }
        Self::Map(values.into_iter().zip(0..).collect())
    }

    fn perfect(values: &[i64], multiplier: u64, shift: u32) -> Self {
        // An empty slot may hold any value that lies in another slot: it is never found there.
        let elsewhere = |at: usize| (0..).find(|v| slot(*v, multiplier, shift) != at);
        let empty = |at| (elsewhere(at).unwrap_or_default(), OUTSIDE);
        let mut slots: Vec<_> = (0..1 << (64 - shift)).map(empty).collect();
        for (value, position) in values.iter().zip(0..) {
            slots[slot(*value, multiplier, shift)] = (*value, position);
        }
        Self::Perfect {
            multiplier,
            shift,
            slots,
        }
    }

    #[inline]
    fn position(&self, value: i64) -> u32 {
        match self {
            Self::Perfect {
                multiplier,
                shift,
                slots,
            } => {
                let (held, position) = slots[slot(value, *multiplier, *shift)];
                if held == value { position } else { OUTSIDE }
            }
            Self::Map(map) => map.get(&value).copied().unwrap_or(OUTSIDE),
        }
    }
}

#[inline]
fn slot(value: i64, multiplier: u64, shift: u32) -> usize {
    (value.cast_unsigned().wrapping_mul(multiplier) >> shift) as usize
}

fn separates(values: &[i64], multiplier: u64, shift: u32) -> bool {
    let mut taken = vec![false; 1 << (64 - shift)];
    let mut slots = values.iter().map(|v| slot(*v, multiplier, shift));
    slots.all(|slot| !std::mem::replace(&mut taken[slot], true))
}

/// How an input is read.
#[derive(Debug)]
enum InputReader {
    EveryRow,
    Presence,
    Value { grid: Grid, origin: i64 },
    Square { grid: Grid },
}

impl InputReader {
    fn new(input: &Input) -> Self {
        match &input.kind {
            InputKind::Presence(_) if input.is_every_row() => Self::EveryRow,
            InputKind::Presence(_) => Self::Presence,
            InputKind::Value { grid, origin, .. } => Self::Value {
                grid: *grid,
                origin: *origin,
            },
            InputKind::Square { grid, .. } => Self::Square { grid: *grid },
        }
    }
}

impl Lane {
    fn clear(&mut self) {
        self.counts.clear();
        self.values.clear();
    }

    fn presence(&mut self, column: &ArrayRef) {
        let present = column.as_boolean().iter();
        self.counts
            .extend(present.map(|p| u8::from(p == Some(true))));
    }

    /// Appends a column's grid integers, relative to the origin.
    pub(crate) fn values(&mut self, column: &ArrayRef, grid: &Grid, origin: i64) {
        if *column.data_type() == DataType::Int64 {
            let values = column.as_primitive::<Int64Type>().values().iter();
            self.values
                .extend(values.map(|v| grid.integer_of_int(*v) - origin));
            self.counts.resize(column.len(), 1);
        } else {
            let values = column.as_primitive::<Float64Type>().values();
            grid.integers(values, origin, &mut self.values, &mut self.counts);
        }
        self.drop_nulls(column.nulls());
    }

    /// Squares relative to the grid's centre, less half of the largest.
    pub(crate) fn squares(&mut self, column: &ArrayRef, grid: &Grid) {
        self.values(column, grid, grid.centre());
        // The bound of a component keeps squares far below this.
        let half = i64::try_from(grid.half_square()).unwrap_or(i64::MAX);
        for (value, count) in self.values.iter_mut().zip(&self.counts) {
            let square = value.saturating_mul(*value).saturating_sub(half);
            *value = if *count > 0 { square } else { 0 };
        }
    }

    fn drop_nulls(&mut self, nulls: Option<&NullBuffer>) {
        let Some(nulls) = nulls.filter(|n| n.null_count() > 0) else {
            return;
        };
        for row in (!nulls.inner()).set_indices() {
            (self.counts[row], self.values[row]) = (0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use ward_schemas::key::{KeySpec, NoVocabulary, expand};

    proptest! {
        #[test]
        fn every_value_is_found_and_no_other(
            values in prop::collection::hash_set(any::<i64>(), 1..200), others in prop::collection::vec(any::<i64>(), 50)
        ) {
            let values: Vec<_> = values.into_iter().collect();
            let index = IntegerIndex::new(values.clone());
            for (i, value) in (0..).zip(&values) {
                prop_assert_eq!(index.position(*value), i);
            }
            for other in others.into_iter().chain([0, 1, -1, i64::MIN, i64::MAX]) {
                if !values.contains(&other) {
                    prop_assert_eq!(index.position(other), OUTSIDE);
                }
            }
        }
    }

    /// Edges and values in tenths: a value is in the band whose edges surround it.
    fn band_of(edges: &[i64], value: i64, below: bool, above: bool) -> u32 {
        let lows = edges.iter().map(|e| Some(*e));
        let highs = edges.iter().skip(1).map(|e| Some(*e));
        let mut bands: Vec<_> = lows.zip(highs.chain([None])).collect();
        if !above {
            bands.pop();
        }
        if below {
            bands.insert(0, (None, edges.first().copied()));
        }
        let holds = |(from, to): &(Option<i64>, Option<i64>)| {
            from.is_none_or(|from| from <= value) && to.is_none_or(|to| value < to)
        };
        let found = bands.iter().position(holds);
        found.map_or(OUTSIDE, |at| u32::try_from(at).expect("few"))
    }

    fn tenths(tenths: i64) -> Decimal {
        let sign = if tenths < 0 { "-" } else { "" };
        let digits = tenths.unsigned_abs();
        let text = format!("{sign}{}.{}", digits / 10, digits % 10);
        text.parse().expect("decimal")
    }

    proptest! {
        #[test]
        fn a_number_lies_in_the_band_around_it(
            edges in prop::collection::btree_set(-60_i64..60, 1..8), value in -80_i64..80, below: bool, above: bool
        ) {
            let edges: Vec<_> = edges.into_iter().collect();
            let spec = KeySpec::Bands { bands: edges.iter().map(|e| tenths(*e)).collect(), below, above, labels: None };
            let Ok(domain) = expand(&spec, &NoVocabulary) else {
                return Ok(());
            };
            let index = BandIndex::new(&all(domain.values(), band).expect("bands"));
            let double = tenths(value).to_f64();
            prop_assert_eq!(index.of_double(double), band_of(&edges, value, below, above));
            prop_assert_eq!(index.of_int(value), band_of(&edges, 10 * value, below, above));
            prop_assert_eq!(index.of_double(f64::NAN), OUTSIDE);
            prop_assert_eq!(index.of_double(f64::INFINITY), band_of(&edges, 1000, below, above));
            prop_assert_eq!(index.of_int(i64::MIN), band_of(&edges, -1000, below, above));
        }
    }
}
