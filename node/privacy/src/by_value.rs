//! The streaming execution where a key's values come from data: bounds patients one after the
//! other, in one pass, like [`crate::stream`]. A group is a value and a cell of the public keys.
//!
//! Memory grows with the number of groups that patients keep; a patient keeps at most `max_groups`.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, AsArray, Date32Array, Decimal128Array, Int64Array, LargeBinaryArray,
    RecordBatch, StringArray,
};
use arrow::datatypes::{DataType, Date32Type, Field, Int64Type, Schema, SchemaRef};
use arrow::error::ArrowError;
use chrono::NaiveDate;
use ward_schemas::data_key::{DataKeyType, DataValue, is_showable};
use ward_schemas::template::Contribution;

use crate::bound::{Seen, SelectionKey, contribution};
use crate::lanes::Lanes;
use crate::measure::Tally;
use crate::stream::{Reads, Unclustered};

/// What is kept of one partition's rows.
#[derive(Debug)]
pub(crate) struct ByValue {
    limits: Contribution,
    tallies: Vec<Tally>,
    key: SelectionKey,
    cells: u32,
    inputs: usize,
    /// The inputs that count every row.
    every_row: Vec<usize>,
    patient: Option<i64>,
    first: Option<i64>,
    /// The current patient's groups, and where their rows are.
    places: HashMap<Group, usize>,
    /// By place.
    rows: Vec<u64>,
    /// By place, then input.
    seen: Vec<Seen>,
    /// Sums of bounded contributions.
    totals: HashMap<Group, Sums>,
}

/// A value and a cell, as bytes.
type Group = Box<[u8]>;

/// The sums of one group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    /// Patients, each in one of the cells of a value: over the cells they add up to the distinct
    /// patients of the value.
    pub(crate) patients: i128,
    /// By tally.
    pub(crate) tallies: Vec<i128>,
}

impl Sums {
    /// Adds those of other patients.
    pub(crate) fn add(&mut self, other: &Self) {
        self.patients += other.patients;
        self.tallies.resize(other.tallies.len(), 0);
        for (sum, other) in self.tallies.iter_mut().zip(&other.tallies) {
            *sum += other;
        }
    }
}

impl ByValue {
    pub(crate) fn new(
        limits: Contribution,
        tallies: &[Tally],
        cells: u32,
        reads: &[Reads],
        key: SelectionKey,
    ) -> Self {
        let inputs = reads.len();
        let every_row = (0..inputs).filter(|i| reads[*i] == Reads::EveryRow);
        Self {
            every_row: every_row.collect(),
            limits,
            tallies: tallies.to_vec(),
            key,
            cells,
            inputs,
            patient: None,
            first: None,
            places: HashMap::new(),
            rows: Vec::new(),
            seen: Vec::new(),
            totals: HashMap::new(),
        }
    }

    /// Reads a batch, and the values of its rows.
    ///
    /// # Errors
    /// When a patient comes after a later one.
    pub(crate) fn read(
        &mut self,
        patients: &[i64],
        lanes: &Lanes,
        values: &Values<'_>,
    ) -> Result<(), Unclustered> {
        let mut group = Vec::new();
        for (row, patient) in patients.iter().enumerate() {
            self.enter(*patient)?;
            if lanes.groups[row] < self.cells {
                group.clear();
                if !values.write(row, &mut group) {
                    continue;
                }
                group.extend(lanes.groups[row].to_be_bytes());
                if let Some(place) = self.place(&group, || values.is_showable(row)) {
                    self.read_row(row, place, lanes);
                }
            }
        }
        Ok(())
    }

    /// First and last patient, and the sums, once all rows are read.
    pub(crate) fn finish(mut self) -> (Option<(i64, i64)>, HashMap<Group, Sums>) {
        self.leave();
        (self.first.zip(self.patient), self.totals)
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

    /// Where a group's rows are; none where its value may not be shown.
    fn place(&mut self, group: &[u8], is_showable: impl FnOnce() -> bool) -> Option<usize> {
        if let Some(place) = self.places.get(group) {
            return Some(*place);
        }
        is_showable().then(|| {
            let place = self.rows.len();
            self.places.insert(group.into(), place);
            self.rows.push(0);
            self.seen.resize((place + 1) * self.inputs, Seen::default());
            place
        })
    }

    fn read_row(&mut self, row: usize, place: usize, lanes: &Lanes) {
        self.rows[place] += 1;
        let seen = &mut self.seen[place * self.inputs..(place + 1) * self.inputs];
        for (seen, lane) in seen.iter_mut().zip(&lanes.inputs) {
            if let Some(count) = lane.counts.get(row) {
                seen.add(*count, lane.values.get(row).copied().unwrap_or(0));
            }
        }
    }

    /// Bounds the current patient, and adds what is left of them.
    fn leave(&mut self) {
        let mut counted = None;
        for (group, place) in self.choose() {
            let seen = &mut self.seen[place * self.inputs..(place + 1) * self.inputs];
            for input in &self.every_row {
                seen[*input] = Seen::new(self.rows[place], 0);
            }
            let value: Group = split(&group).0.into();
            let sums = self.totals.entry(group).or_insert_with(|| Sums {
                patients: 0,
                tallies: vec![0; self.tallies.len()],
            });
            if counted.as_ref() != Some(&value) {
                sums.patients += 1;
                counted = Some(value);
            }
            for (total, tally) in sums.tallies.iter_mut().zip(&self.tallies) {
                *total += contribution(*tally, seen, self.limits.max_rows_per_group);
            }
        }
        self.rows.clear();
        self.seen.clear();
    }

    /// The groups that the patient keeps: the first `max_groups` by rank, in the order of value and
    /// cell.
    fn choose(&mut self) -> Vec<(Group, usize)> {
        // What one patient needed is not kept for all that follow.
        let mut kept: Vec<_> = std::mem::take(&mut self.places).into_iter().collect();
        let most = self.limits.max_groups as usize;
        if let Some(patient) = self.patient.filter(|_| kept.len() > most) {
            let rank = |group: &Group| (self.key.rank_of(patient, group), group.clone());
            kept.sort_by_cached_key(|(group, _)| rank(group));
            kept.truncate(most);
        }
        kept.sort_unstable_by(|(a, _), (b, _)| split(a).cmp(&split(b)));
        kept
    }
}

/// The values of a batch's rows.
pub(crate) enum Values<'a> {
    Text(&'a StringArray),
    Integer(&'a Int64Array),
    Date(&'a Date32Array),
}

impl<'a> Values<'a> {
    /// The values in a column of this type.
    pub(crate) fn new(from_data: DataKeyType, column: &'a ArrayRef) -> Option<Self> {
        Some(match from_data {
            DataKeyType::Text => Self::Text(column.as_string_opt()?),
            DataKeyType::Integer => Self::Integer(column.as_primitive_opt::<Int64Type>()?),
            DataKeyType::Date => Self::Date(column.as_primitive_opt::<Date32Type>()?),
        })
    }

    /// The name of a row's group; none where its value is NULL or may not be shown.
    pub(crate) fn group(&self, row: usize, cell: u32) -> Option<Vec<u8>> {
        let mut name = Vec::new();
        let is_there = self.write(row, &mut name) && self.is_showable(row);
        name.extend(cell.to_be_bytes());
        is_there.then_some(name)
    }

    /// Whether a row's value may be shown.
    fn is_showable(&self, row: usize) -> bool {
        match self {
            Self::Text(texts) => is_showable(texts.value(row)),
            Self::Integer(_) => true,
            Self::Date(days) => date(days.value(row)).is_some(),
        }
    }

    /// Writes a row's value; false where it is NULL.
    fn write(&self, row: usize, bytes: &mut Vec<u8>) -> bool {
        match self {
            Self::Text(texts) if texts.is_valid(row) => bytes.extend(texts.value(row).as_bytes()),
            Self::Integer(integers) if integers.is_valid(row) => {
                bytes.extend(integers.value(row).to_le_bytes());
            }
            Self::Date(days) if days.is_valid(row) => bytes.extend(days.value(row).to_le_bytes()),
            _ => return false,
        }
        true
    }
}

fn date(days: i32) -> Option<NaiveDate> {
    let date = Date32Type::to_naive_date_opt(days)?;
    let is_shown = DataKeyType::Date.admits(&DataValue::Date(date));
    is_shown.then_some(date)
}

/// The value's bytes, and those of the cell.
pub(crate) fn split(group: &[u8]) -> (&[u8], &[u8]) {
    group.split_at(group.len() - size_of::<u32>())
}

/// What a group's bytes stand for.
fn parse(from_data: DataKeyType, group: &[u8]) -> Option<(DataValue, usize)> {
    let (value, cell) = split(group);
    let value = match from_data {
        DataKeyType::Text => DataValue::Text(String::from_utf8(value.to_vec()).ok()?),
        DataKeyType::Integer => DataValue::Integer(i64::from_le_bytes(value.try_into().ok()?)),
        DataKeyType::Date => DataValue::Date(date(i32::from_le_bytes(value.try_into().ok()?))?),
    };
    let cell = u32::from_be_bytes(cell.try_into().ok()?);
    Some((value, usize::try_from(cell).ok()?))
}

/// The columns of a partition's sums: groups, patients, tallies.
pub(crate) fn schema(tallies: usize) -> SchemaRef {
    let sums = |name: String| Field::new(name, DataType::Decimal128(38, 0), false);
    let mut fields = vec![
        Field::new("group", DataType::LargeBinary, false),
        sums("patients".to_owned()),
    ];
    fields.extend((0..tallies).map(|i| sums(format!("t{i}"))));
    Arc::new(Schema::new(fields))
}

/// A partition's sums: a row a group, in any order.
pub(crate) fn batch(
    schema: &SchemaRef,
    totals: HashMap<Group, Sums>,
) -> Result<RecordBatch, ArrowError> {
    let (groups, sums): (Vec<_>, Vec<_>) = totals.into_iter().unzip();
    let groups = LargeBinaryArray::from_iter_values(&groups);
    let column = |of: &dyn Fn(&Sums) -> i128| -> Result<ArrayRef, ArrowError> {
        let column: Decimal128Array = sums.iter().map(of).map(Some).collect();
        Ok(Arc::new(column.with_precision_and_scale(38, 0)?))
    };
    let mut columns: Vec<ArrayRef> = vec![Arc::new(groups), column(&|s| s.patients)?];
    for tally in 0..schema.fields().len() - columns.len() {
        columns.push(column(&|s| s.tallies[tally])?);
    }
    RecordBatch::try_new(Arc::clone(schema), columns)
}

/// Reads [`batch`]'s rows: value, cell and sums of each.
pub(crate) fn groups(
    from_data: DataKeyType,
    batch: &RecordBatch,
) -> Option<Vec<(DataValue, usize, Sums)>> {
    let sums = |column: usize, row: usize| {
        let column = batch.column(column).as_primitive_opt()?;
        Some(arrow::array::PrimitiveArray::<
            arrow::datatypes::Decimal128Type,
        >::value(column, row))
    };
    let names = batch.column(0).as_binary_opt::<i64>()?;
    let group = |row: usize| {
        let (value, cell) = parse(from_data, names.value(row))?;
        let tallies = (2..batch.num_columns()).map(|c| sums(c, row));
        let sums = Sums {
            patients: sums(1, row)?,
            tallies: tallies.collect::<Option<_>>()?,
        };
        Some((value, cell, sums))
    };
    (0..batch.num_rows()).map(group).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::lanes::Lane;
    use crate::measure::TallyKind;
    use proptest::prelude::*;

    const CELLS: u32 = 3;
    const REACH: i64 = 50;
    /// A patient, a value (or none), a cell (or one outside), a number (or none).
    type Row = (i64, Option<i64>, u32, Option<i64>);
    type Groups = BTreeMap<(i64, usize), Sums>;

    fn key() -> SelectionKey {
        SelectionKey::from_bytes([7; 16])
    }

    fn tallies(limits: Contribution) -> [Tally; 3] {
        let rows = u64::from(limits.max_rows_per_group);
        let tally = |input, kind, bound| Tally { input, kind, bound };
        [
            tally(0, TallyKind::Patients, 1),
            tally(1, TallyKind::Rows, rows),
            tally(0, TallyKind::Sum, rows * REACH.unsigned_abs()),
        ]
    }

    fn kernel(rows: &[Row], batch: usize, limits: Contribution) -> Groups {
        let mut sorted = rows.to_vec();
        sorted.sort_by_key(|r| r.0);
        let reads = [Reads::Lane, Reads::EveryRow];
        let mut kernel = ByValue::new(limits, &tallies(limits), CELLS, &reads, key());
        for rows in sorted.chunks(batch.max(1)) {
            let lane = Lane {
                counts: rows.iter().map(|r| u8::from(r.3.is_some())).collect(),
                values: rows.iter().map(|r| r.3.unwrap_or(0)).collect(),
            };
            let lanes = Lanes {
                groups: rows.iter().map(|r| r.2).collect(),
                inputs: vec![lane, Lane::default()],
            };
            let values: ArrayRef = Arc::new(rows.iter().map(|r| r.1).collect::<Int64Array>());
            let values = Values::new(DataKeyType::Integer, &values).expect("integers");
            let patients: Vec<_> = rows.iter().map(|r| r.0).collect();
            kernel.read(&patients, &lanes, &values).expect("sorted");
        }
        let batch = batch_of(kernel.finish().1, 3);
        let groups = groups(DataKeyType::Integer, &batch).expect("groups");
        let group = |(value, cell, sums)| match value {
            DataValue::Integer(value) => ((value, cell), sums),
            other => panic!("{other:?}"),
        };
        groups.into_iter().map(group).collect()
    }

    fn batch_of(totals: HashMap<Group, Sums>, tallies: usize) -> RecordBatch {
        batch(&schema(tallies), totals).expect("a batch")
    }

    /// The definition, patient by patient.
    fn plain(rows: &[Row], limits: Contribution) -> Groups {
        let mut found: BTreeMap<(i64, i64, u32), Vec<Option<i64>>> = BTreeMap::new();
        for (patient, value, cell, number) in rows.iter().filter(|r| r.2 < CELLS) {
            if let Some(value) = value {
                found
                    .entry((*patient, *value, *cell))
                    .or_default()
                    .push(*number);
            }
        }
        let rank = |(patient, value, cell): &(i64, i64, u32)| {
            let name = [value.to_le_bytes().as_slice(), &cell.to_be_bytes()].concat();
            (*patient, key().rank_of(*patient, &name), *value, *cell)
        };
        let mut ranked: Vec<_> = found.keys().map(rank).collect();
        ranked.sort_unstable();
        let limit = i128::from(limits.max_rows_per_group);
        let mut groups = Groups::new();
        for patient in ranked.chunk_by(|a, b| a.0 == b.0) {
            let kept = &patient[..patient.len().min(limits.max_groups as usize)];
            let of_value = |v: i64| kept.iter().filter(move |k| k.2 == v).map(|k| k.3).min();
            let firsts: BTreeSet<_> = kept.iter().map(|k| (k.2, of_value(k.2))).collect();
            for (p, _, v, c) in kept {
                let numbers: Vec<_> = found[&(*p, *v, *c)].iter().flatten().collect();
                let all = i128::try_from(found[&(*p, *v, *c)].len()).expect("few");
                let m = i128::try_from(numbers.len()).expect("few");
                let s: i128 = numbers.into_iter().map(|v| i128::from(*v)).sum();
                let scaled = (2 * s * limit + m).checked_div_euclid(2 * m).unwrap_or(0);
                groups.entry((*v, *c as usize)).or_default().add(&Sums {
                    patients: i128::from(firsts.contains(&(*v, Some(*c)))),
                    tallies: vec![
                        i128::from(m > 0),
                        all.min(limit),
                        if m > limit { scaled } else { s },
                    ],
                });
            }
        }
        groups
    }

    fn rows() -> impl Strategy<Value = Vec<Row>> {
        let row = (
            0_i64..6,
            prop::option::weighted(0.9, -3_i64..3),
            0_u32..=CELLS,
            prop::option::weighted(0.9, -REACH..=REACH),
        );
        prop::collection::vec(row, 0..60)
    }

    fn limits() -> impl Strategy<Value = Contribution> {
        (1_u32..4, 1_u32..5).prop_map(|(max_groups, max_rows_per_group)| Contribution {
            max_groups,
            max_rows_per_group,
        })
    }

    /// Whether a patient of these rows moves the patients of the values, or a tally, by more than
    /// is declared.
    fn exceeds(rows: &[Row], declared: Contribution, bounded: impl Fn(&[Row]) -> Groups) -> bool {
        let groups = i128::from(declared.max_groups);
        let whole = bounded(rows);
        (0..6).any(|patient| {
            let without: Vec<_> = rows.iter().copied().filter(|r| r.0 != patient).collect();
            let less = bounded(&without);
            let of = |g: &Groups, at, of: fn(&Sums) -> &[i128], i: usize| {
                g.get(at).map_or(0, |s| of(s)[i])
            };
            let all: BTreeSet<_> = whole.keys().chain(less.keys()).collect();
            let tallies = tallies(declared);
            let moved = |i: usize| -> i128 {
                let tally: fn(&Sums) -> &[i128] = |s| &s.tallies;
                let cells = all
                    .iter()
                    .map(|at| of(&whole, at, tally, i) - of(&less, at, tally, i));
                cells.map(|d| d.pow(2)).sum()
            };
            let mut patients: BTreeMap<i64, i128> = BTreeMap::new();
            for at in &all {
                let one: fn(&Sums) -> &[i128] = |s| std::slice::from_ref(&s.patients);
                *patients.entry(at.0).or_default() +=
                    of(&whole, at, one, 0) - of(&less, at, one, 0);
            }
            let by_value = patients.values().any(|d| !(0..=1).contains(d))
                || patients.values().sum::<i128>() > groups;
            let mut of_tallies = tallies.iter().enumerate();
            by_value || of_tallies.any(|(i, t)| moved(i) > i128::from(t.bound).pow(2) * groups)
        })
    }

    proptest! {
        #[test]
        fn the_kernel_does_what_the_definition_says(rows in rows(), limits in limits(), batch in 1_usize..30) {
            prop_assert_eq!(kernel(&rows, batch, limits), plain(&rows, limits));
        }

        #[test]
        fn one_patient_moves_the_sums_by_at_most_the_declared_sensitivity(
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
        let of_value = |v| (0..CELLS).flat_map(move |c| vec![(3, Some(v), c, Some(REACH)); 5]);
        let rows: Vec<Row> = (-3..3).flat_map(of_value).collect();
        let groups_forgotten = Contribution {
            max_groups: 2,
            ..limits
        };
        let rows_forgotten = Contribution {
            max_rows_per_group: 3,
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

    fn written(from_data: DataKeyType, column: &ArrayRef) -> Vec<Option<DataValue>> {
        let values = Values::new(from_data, column).expect("its type");
        let read = |row| {
            let mut group = Vec::new();
            let is_shown = values.write(row, &mut group) && values.is_showable(row);
            group.extend(7_u32.to_be_bytes());
            let parsed = is_shown.then(|| parse(from_data, &group))?;
            parsed.map(|(value, cell)| {
                assert_eq!(cell, 7);
                value
            })
        };
        (0..column.len()).map(read).collect()
    }

    #[test]
    fn only_values_that_may_be_shown_are_in_a_group() {
        let long = "x".repeat(201);
        let texts = ["a", "", "a\u{202e}", "a\nb", &long, "ä b"];
        let texts: StringArray = texts.into_iter().map(Some).chain([None]).collect();
        let text = |t: &str| Some(DataValue::Text(t.to_owned()));
        assert_eq!(
            written(DataKeyType::Text, &(Arc::new(texts) as ArrayRef)),
            [text("a"), None, None, None, None, text("ä b"), None]
        );
        let integers = Int64Array::from(vec![Some(i64::MIN), None, Some(i64::MAX)]);
        let integer = |i| Some(DataValue::Integer(i));
        assert_eq!(
            written(DataKeyType::Integer, &(Arc::new(integers) as ArrayRef)),
            [integer(i64::MIN), None, integer(i64::MAX)]
        );
        let days = Date32Array::from(vec![
            i32::MIN,
            -719_163,
            -719_162,
            2_932_896,
            2_932_897,
            i32::MAX,
        ]);
        let day = |y, m, d| {
            Some(DataValue::Date(
                NaiveDate::from_ymd_opt(y, m, d).expect("day"),
            ))
        };
        assert_eq!(
            written(DataKeyType::Date, &(Arc::new(days) as ArrayRef)),
            [None, None, day(1, 1, 1), day(9999, 12, 31), None, None]
        );
    }

    /// Two values and cells never share a name, whatever their bytes.
    #[test]
    fn a_cell_is_no_part_of_a_value() {
        let name = |text: &str, cell: u32| [text.as_bytes(), &cell.to_be_bytes()].concat();
        assert_ne!(name("a", 0), name("a", 1));
        assert_ne!(split(&name("ab", 1)), split(&name("a", 0x6200_0001)));
        assert_eq!(split(&name("ab", 1)).0, b"ab");
    }

    #[test]
    fn rows_out_of_order_are_an_error() {
        let limits = Contribution {
            max_groups: 1,
            max_rows_per_group: 1,
        };
        let mut kernel = ByValue::new(limits, &[], CELLS, &[], key());
        let lanes = Lanes {
            groups: vec![0; 2],
            inputs: Vec::new(),
        };
        let values: ArrayRef = Arc::new(Int64Array::from(vec![1, 1]));
        let values = Values::new(DataKeyType::Integer, &values).expect("integers");
        assert_eq!(kernel.read(&[2, 1], &lanes, &values), Err(Unclustered));
    }
}
