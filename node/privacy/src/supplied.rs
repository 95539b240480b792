//! The functions that the relational execution supplies to the engine that runs it: the code of the
//! streaming execution, as scalar functions of SQL. All are pure and total.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Decimal128Array, Int64Array, LargeBinaryArray};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use ward_schemas::data_key::DataKeyType;
use ward_schemas::decimal::Grid;

use crate::bound::{Seen, SelectionKey, contribution, picked};
use crate::by_value::{self, Values};
use crate::lanes::{Cells, Lane};
use crate::measure::Tally;

/// The type of sums: 2³² patients of at most 2⁴⁰ units each have far fewer digits.
pub(crate) const TOTAL: DataType = DataType::Decimal128(38, 0);

/// `ward_cell(key, …)`: the cell of a row's keys, `Int64`; NULL where one is outside its domain.
pub(crate) fn cell(cells: Cells, keys: Vec<DataType>) -> ScalarUDF {
    supply("ward_cell", keys, DataType::Int64, move |keys, rows| {
        let mut groups = Vec::new();
        cells.read(keys, rows, &mut groups);
        let inside = |group: &u32| *group < cells.count();
        let found = groups.into_iter().map(|g| Some(g).filter(inside));
        Arc::new(found.map(|g| g.map(i64::from)).collect::<Int64Array>())
    })
}

/// `ward_steps_I(value)`: the value as a whole number of its grid's steps from the origin, `Int64`;
/// NULL where it doesn't count.
pub(crate) fn steps(input: usize, value: DataType, grid: Grid, origin: i64) -> ScalarUDF {
    let name = format!("ward_steps_{input}");
    supply(&name, vec![value], DataType::Int64, move |values, _| {
        let mut lane = Lane::default();
        lane.values(&values[0], &grid, origin);
        present(&lane)
    })
}

fn present(lane: &Lane) -> ArrayRef {
    let read = lane.values.iter().zip(&lane.counts);
    let values = read.map(|(value, count)| (*count > 0).then_some(*value));
    Arc::new(values.collect::<Int64Array>())
}

/// `ward_squares_I(value)`: the square of the same number from the grid's centre, less half of the
/// largest; `Int64`, NULL where it doesn't count.
pub(crate) fn squares(input: usize, value: DataType, grid: Grid) -> ScalarUDF {
    let name = format!("ward_squares_{input}");
    supply(&name, vec![value], DataType::Int64, move |values, _| {
        let mut lane = Lane::default();
        lane.squares(&values[0], &grid);
        present(&lane)
    })
}

/// `ward_picks(before, behind, rows)`: how many of a patient's rows count among those, in the order of
/// their values, that come after the first `before` and not after the first `behind`; `Decimal(38, 0)`.
pub(crate) fn picks(limit: u32) -> ScalarUDF {
    let arguments = vec![DataType::Int64; 3];
    supply("ward_picks", arguments, TOTAL, move |columns, _| {
        let of = |column: usize| columns[column].as_primitive::<Int64Type>().values().iter();
        let known = |count: &i64| u64::try_from(*count).unwrap_or(0);
        let picks = of(0).zip(of(1)).zip(of(2)).map(|((before, behind), rows)| {
            let upto = |count| i128::from(picked(known(count), known(rows), limit));
            upto(behind) - upto(before)
        });
        Arc::new(Decimal128Array::from_iter_values(picks).with_data_type(TOTAL))
    })
}

/// `ward_rank(patient, cell)`: where the cell stands in the patient's secret order of groups,
/// `Int64`.
pub(crate) fn rank(key: SelectionKey) -> ScalarUDF {
    let arguments = vec![DataType::Int64, DataType::Int64];
    supply(
        "ward_rank",
        arguments,
        DataType::Int64,
        move |columns, _| {
            let patients = columns[0].as_primitive::<Int64Type>().iter();
            let cells = columns[1].as_primitive::<Int64Type>().iter();
            let rank = |(patient, cell): (Option<i64>, Option<i64>)| {
                let rank = key.of_patient(patient?).rank(u32::try_from(cell?).ok()?);
                // In the order of the unsigned numbers, which not every engine has.
                Some((rank ^ (1 << 63)).cast_signed())
            };
            Arc::new(patients.zip(cells).map(rank).collect::<Int64Array>())
        },
    )
}

/// `ward_part_J(rows, sum)`: what a patient with so many rows and this sum of steps adds to a group,
/// `Decimal(38, 0)`.
pub(crate) fn part(index: usize, tally: Tally, limit: u32) -> ScalarUDF {
    let tally = Tally { input: 0, ..tally };
    let arguments = vec![DataType::Int64, DataType::Int64];
    let name = format!("ward_part_{index}");
    supply(&name, arguments, TOTAL, move |columns, _| {
        let rows = columns[0].as_primitive::<Int64Type>().iter();
        let sums = columns[1].as_primitive::<Int64Type>().iter();
        let part = |(rows, sum): (Option<i64>, Option<i64>)| {
            let rows = rows.and_then(|rows| u64::try_from(rows).ok());
            // The sum of no rows is NULL.
            let seen = Seen::new(rows.unwrap_or(0), sum.unwrap_or(0));
            contribution(tally, &[seen], limit)
        };
        let parts = rows.zip(sums).map(part);
        Arc::new(Decimal128Array::from_iter_values(parts).with_data_type(TOTAL))
    })
}

/// `ward_group(value, cell)`: the name of the group of a value that comes from data and a cell, `Binary`;
/// NULL where a row is in none.
pub(crate) fn group(from_data: DataKeyType, value: DataType) -> ScalarUDF {
    let arguments = vec![value, DataType::Int64];
    supply(
        "ward_group",
        arguments,
        DataType::LargeBinary,
        move |columns, rows| {
            let values = Values::new(from_data, &columns[0]);
            let cells = columns[1].as_primitive::<Int64Type>().iter();
            let name = |(row, cell): (usize, Option<i64>)| {
                let cell = u32::try_from(cell?).ok()?;
                values.as_ref()?.group(row, cell)
            };
            let names = (0..rows).zip(cells).map(name);
            Arc::new(names.collect::<LargeBinaryArray>())
        },
    )
}

/// `ward_value(group)`: the value in a group's name, `Binary`.
pub(crate) fn value_of_group() -> ScalarUDF {
    let arguments = vec![DataType::LargeBinary];
    supply(
        "ward_value",
        arguments,
        DataType::LargeBinary,
        |columns, _| {
            let groups = columns[0].as_binary::<i64>().iter();
            let values = groups.map(|group| group.map(|group| by_value::split(group).0));
            Arc::new(values.collect::<LargeBinaryArray>())
        },
    )
}

/// `ward_rank(patient, group)`: where a group with a name stands in the patient's secret order,
/// `Binary`.
pub(crate) fn rank_by_name(key: SelectionKey) -> ScalarUDF {
    let arguments = vec![DataType::Int64, DataType::LargeBinary];
    supply(
        "ward_rank",
        arguments,
        DataType::LargeBinary,
        move |columns, _| {
            let patients = columns[0].as_primitive::<Int64Type>().iter();
            let groups = columns[1].as_binary::<i64>().iter();
            let rank = |(patient, group): (Option<i64>, Option<&[u8]>)| {
                Some(key.rank_of(patient?, group?).to_be_bytes())
            };
            Arc::new(patients.zip(groups).map(rank).collect::<LargeBinaryArray>())
        },
    )
}

type Body = dyn Fn(&[ArrayRef], usize) -> ArrayRef + Send + Sync;

fn supply(
    name: &str,
    arguments: Vec<DataType>,
    returns: DataType,
    body: impl Fn(&[ArrayRef], usize) -> ArrayRef + Send + Sync + 'static,
) -> ScalarUDF {
    ScalarUDF::from(Supplied {
        name: name.to_owned(),
        signature: Signature::exact(arguments, Volatility::Immutable),
        returns,
        body: Arc::new(body),
    })
}

struct Supplied {
    name: String,
    signature: Signature,
    returns: DataType,
    body: Arc<Body>,
}

impl ScalarUDFImpl for Supplied {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(self.returns.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = args.args.iter().map(|a| a.to_array(args.number_rows));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let result = (self.body)(&columns, args.number_rows);
        Ok(ColumnarValue::Array(result))
    }
}

/// What a body captured (a secret, among other things) is not shown.
impl fmt::Debug for Supplied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl PartialEq for Supplied {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.body, &other.body)
    }
}

impl Eq for Supplied {}

impl Hash for Supplied {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}
