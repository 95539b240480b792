//! Values of any type, read for the type that the model gives a column.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Date32Array, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};
use arrow::error::ArrowError;
use chrono::{Datelike, NaiveDate, NaiveTime, Timelike};
use ward_schemas::cdm::{Column, ColumnRole, ColumnType};

use super::{Cause, Fault};

const MICROS_PER_DAY: i64 = 86_400_000_000;
const DAYS_TO_1970: i32 = 719_163;

/// A column in the model's type.
pub(super) struct Read {
    pub(super) array: ArrayRef,
    /// How many unreadable values were left empty.
    pub(super) blanks: u64,
}

/// Reads a column. A row's first fault is put into `faults`.
pub(super) fn read(
    column: &Column,
    is_patient: bool,
    source: Option<&ArrayRef>,
    faults: &mut [Option<Fault>],
) -> Result<Read, ArrowError> {
    let source = match source {
        Some(array) => Values::of(array)?,
        None => Values::Texts(StringArray::new_null(faults.len())),
    };
    if let Some(array) = source.as_is(column, is_patient) {
        return Ok(Read { array, blanks: 0 });
    }
    let mut rows = RowsOf {
        column,
        faults,
        blanks: 0,
    };
    let array: ArrayRef = match column.column_type {
        _ if is_patient => Arc::new(rows.collect::<String, StringArray>(|i| source.patient(i))),
        ColumnType::Integer => Arc::new(rows.collect::<i64, Int64Array>(|i| source.integer(i))),
        ColumnType::Number => Arc::new(rows.collect::<f64, Float64Array>(|i| source.number(i))),
        ColumnType::Text => Arc::new(rows.collect::<String, StringArray>(|i| source.text(i))),
        ColumnType::Date => Arc::new(rows.collect::<i32, Date32Array>(|i| source.date(i))),
        ColumnType::Timestamp => {
            Arc::new(rows.collect::<i64, TimestampMicrosecondArray>(|i| source.timestamp(i)))
        }
    };
    Ok(Read {
        array,
        blanks: rows.blanks,
    })
}

struct RowsOf<'a> {
    column: &'a Column,
    faults: &'a mut [Option<Fault>],
    blanks: u64,
}

impl RowsOf<'_> {
    fn collect<T: Fallback, A: FromIterator<Option<T>>>(
        &mut self,
        value: impl Fn(usize) -> Cell<T>,
    ) -> A {
        (0..self.faults.len())
            .map(|row| self.settle(row, value(row)))
            .collect()
    }

    fn settle<T: Fallback>(&mut self, row: usize, cell: Cell<T>) -> Option<T> {
        let required = self.column.required;
        match cell {
            Cell::Value(value) => return Some(value),
            Cell::NotFinite => self.fault(row, Cause::NotFinite),
            Cell::Unreadable if required => self.fault(row, Cause::Unreadable),
            Cell::Unreadable => self.blanks += 1,
            Cell::Empty if required => {
                let fallback = T::fallback(self.column);
                if fallback.is_none() {
                    self.fault(row, Cause::Missing);
                }
                return fallback;
            }
            Cell::Empty => {}
        }
        None
    }

    fn fault(&mut self, row: usize, cause: Cause) {
        self.faults[row].get_or_insert(Fault {
            column: self.column.name,
            cause,
        });
    }
}

/// What stands for a missing value of a required column.
trait Fallback: Sized {
    fn fallback(_column: &Column) -> Option<Self> {
        None
    }
}

impl Fallback for i64 {
    fn fallback(column: &Column) -> Option<Self> {
        (column.role == ColumnRole::Concept).then_some(0)
    }
}

impl Fallback for String {
    fn fallback(column: &Column) -> Option<Self> {
        (column.column_type == ColumnType::Text).then(Self::new)
    }
}

impl Fallback for i32 {}
impl Fallback for f64 {}

enum Cell<T> {
    Empty,
    Value(T),
    Unreadable,
    NotFinite,
}

impl<T> From<Option<T>> for Cell<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Unreadable, Self::Value)
    }
}

/// A source column in one of few types.
enum Values {
    Integers(Int64Array),
    Numbers(Float64Array),
    Texts(StringArray),
    Dates(Date32Array),
    /// Microseconds since 1970, of the clock on the wall or in UTC as the file has it.
    Times(TimestampMicrosecondArray),
}

impl Values {
    fn of(array: &ArrayRef) -> Result<Self, ArrowError> {
        use DataType as D;
        Ok(match array.data_type() {
            D::Int8 | D::Int16 | D::Int32 | D::Int64 | D::UInt8 | D::UInt16 | D::UInt32 => {
                Self::Integers(typed(&cast(array, &D::Int64)?))
            }
            D::Float16 | D::Float32 | D::Float64 => {
                Self::Numbers(typed(&cast(array, &D::Float64)?))
            }
            D::Date32 => Self::Dates(typed(array)),
            D::Date64 => Self::Times(micros(array, TimeUnit::Millisecond)?),
            D::Timestamp(unit, _) => Self::Times(micros(array, *unit)?),
            _ => Self::Texts(typed(&cast(array, &D::Utf8)?)),
        })
    }

    /// The array itself, where no value can be missing, unreadable or not finite.
    fn as_is(&self, column: &Column, is_patient: bool) -> Option<ArrayRef> {
        let array: ArrayRef = match (self, column.column_type) {
            _ if is_patient => return None,
            (Self::Integers(a), ColumnType::Integer) => Arc::new(a.clone()),
            (Self::Texts(a), ColumnType::Text) => Arc::new(a.clone()),
            _ => return None,
        };
        (!column.required || array.null_count() == 0).then_some(array)
    }

    fn integer(&self, row: usize) -> Cell<i64> {
        match self {
            Self::Integers(a) => present(a, row, |a| Cell::Value(a.value(row))),
            Self::Numbers(a) => present(a, row, |a| match a.value(row) {
                v if v.is_nan() => Cell::Empty,
                v => whole_number(v).into(),
            }),
            Self::Texts(a) => worded(a, row, |text| whole_text(text).into()),
            Self::Dates(a) => unreadable(a, row),
            Self::Times(a) => unreadable(a, row),
        }
    }

    fn number(&self, row: usize) -> Cell<f64> {
        let finite = |v: f64| {
            if v.is_finite() {
                Cell::Value(v)
            } else {
                Cell::NotFinite
            }
        };
        match self {
            // Exact up to 2^53, and rounded to nearest beyond.
            #[allow(clippy::cast_precision_loss)]
            Self::Integers(a) => present(a, row, |a| Cell::Value(a.value(row) as f64)),
            Self::Numbers(a) => present(a, row, |a| finite(a.value(row))),
            Self::Texts(a) => worded(a, row, |text| text.parse().map_or(Cell::Unreadable, finite)),
            Self::Dates(a) => unreadable(a, row),
            Self::Times(a) => unreadable(a, row),
        }
    }

    fn text(&self, row: usize) -> Cell<String> {
        match self {
            Self::Integers(a) => present(a, row, |a| Cell::Value(a.value(row).to_string())),
            Self::Numbers(a) => present(a, row, |a| Cell::Value(a.value(row).to_string())),
            Self::Texts(a) => present(a, row, |a| Cell::Value(a.value(row).to_owned())),
            Self::Dates(a) => present(a, row, |a| {
                let days = a.value(row).checked_add(DAYS_TO_1970);
                let date = days.and_then(NaiveDate::from_num_days_from_ce_opt);
                date.map(|d| d.to_string()).into()
            }),
            Self::Times(a) => present(a, row, |a| {
                a.value_as_datetime(row).map(|t| t.to_string()).into()
            }),
        }
    }

    fn date(&self, row: usize) -> Cell<i32> {
        match self {
            Self::Integers(a) => present(a, row, |a| text_date(&a.value(row).to_string()).into()),
            Self::Numbers(a) => present(a, row, |a| match a.value(row) {
                v if v.is_nan() => Cell::Empty,
                v => whole_number(v)
                    .and_then(|n| text_date(&n.to_string()))
                    .into(),
            }),
            Self::Texts(a) => worded(a, row, |text| text_date(text).into()),
            Self::Dates(a) => present(a, row, |a| sensible(a.value(row)).into()),
            Self::Times(a) => present(a, row, |a| {
                let days = i32::try_from(a.value(row).div_euclid(MICROS_PER_DAY));
                days.ok().and_then(sensible).into()
            }),
        }
    }

    fn timestamp(&self, row: usize) -> Cell<i64> {
        let midnight = |days: i32| i64::from(days) * MICROS_PER_DAY;
        match self {
            Self::Texts(a) => worded(a, row, |text| text_timestamp(text).into()),
            Self::Times(a) => present(a, row, |a| {
                let micros = a.value(row);
                let days = i32::try_from(micros.div_euclid(MICROS_PER_DAY));
                days.ok().and_then(sensible).map(|_| micros).into()
            }),
            _ => match self.date(row) {
                Cell::Value(days) => Cell::Value(midnight(days)),
                Cell::Empty => Cell::Empty,
                Cell::Unreadable | Cell::NotFinite => Cell::Unreadable,
            },
        }
    }

    fn patient(&self, row: usize) -> Cell<String> {
        match self {
            Self::Texts(a) => worded(a, row, |text| {
                Cell::Value(whole_text(text).map_or_else(|| text.to_owned(), |n| n.to_string()))
            }),
            _ => match self.integer(row) {
                Cell::Value(n) => Cell::Value(n.to_string()),
                Cell::Empty => Cell::Empty,
                Cell::Unreadable | Cell::NotFinite => Cell::Unreadable,
            },
        }
    }
}

fn typed<A: Array + Clone + 'static>(array: &ArrayRef) -> A {
    array
        .as_any()
        .downcast_ref::<A>()
        .expect("the array was just cast to, or matched as, this type")
        .clone()
}

/// Drops the zone: nothing but the reading of the clock is kept.
fn micros(array: &ArrayRef, unit: TimeUnit) -> Result<TimestampMicrosecondArray, ArrowError> {
    let raw: Int64Array = typed(&cast(array, &DataType::Int64)?);
    let convert = |v: i64| match unit {
        TimeUnit::Second => v.saturating_mul(1_000_000),
        TimeUnit::Millisecond => v.saturating_mul(1_000),
        TimeUnit::Microsecond => v,
        TimeUnit::Nanosecond => v.div_euclid(1_000),
    };
    Ok(raw.iter().map(|v| v.map(convert)).collect())
}

fn present<A: Array, T>(array: &A, row: usize, value: impl Fn(&A) -> Cell<T>) -> Cell<T> {
    if array.is_null(row) {
        Cell::Empty
    } else {
        value(array)
    }
}

fn unreadable<A: Array, T>(array: &A, row: usize) -> Cell<T> {
    present(array, row, |_| Cell::Unreadable)
}

/// Text of a column that is not text itself.
fn worded<T>(array: &StringArray, row: usize, value: impl Fn(&str) -> Cell<T>) -> Cell<T> {
    present(array, row, |a| {
        let text = a.value(row).trim();
        let says_nothing = ["", "NULL", "NA", "\\N"]
            .iter()
            .any(|word| text.eq_ignore_ascii_case(word));
        if says_nothing {
            Cell::Empty
        } else {
            value(text)
        }
    })
}

/// 716 of 716.0; doubles from 2^53 on are ambiguous.
fn whole_number(value: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    // In range and whole, so the cast is exact.
    #[allow(clippy::cast_possible_truncation)]
    (value.fract() == 0.0 && value.abs() < EXACT).then_some(value as i64)
}

/// 716 of "716", "0716", "+716" and "716.0".
fn whole_text(text: &str) -> Option<i64> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    rest.bytes()
        .all(|b| b == b'0')
        .then(|| whole.parse().ok())?
}

/// Days since 1970 of 2010-05-06 and 20100506, a time of day after it or not.
fn text_date(text: &str) -> Option<i32> {
    let bytes = text.as_bytes();
    let (year, month, day, rest) = match bytes {
        [_, _, _, _, b'-', _, _, b'-', _, _, rest @ ..] => {
            (&bytes[..4], &bytes[5..7], &bytes[8..10], rest)
        }
        [_, _, _, _, _, _, _, _] => (&bytes[..4], &bytes[4..6], &bytes[6..8], &[][..]),
        _ => return None,
    };
    if !matches!(rest, [] | [b' ' | b'T', ..]) {
        return None;
    }
    let year = i32::try_from(digits(year)?).ok()?;
    let date = NaiveDate::from_ymd_opt(year, digits(month)?, digits(day)?)?;
    sensible(date.num_days_from_ce() - DAYS_TO_1970)
}

fn digits(bytes: &[u8]) -> Option<u32> {
    bytes.iter().try_fold(0, |n, b| {
        b.is_ascii_digit().then(|| 10 * n + u32::from(b - b'0'))
    })
}

/// Microseconds since 1970 of a date with a time of day after it or not; a zone is dropped.
fn text_timestamp(text: &str) -> Option<i64> {
    let midnight = i64::from(text_date(text)?) * MICROS_PER_DAY;
    let Some(time) = text.get(11..).filter(|rest| !rest.is_empty()) else {
        return Some(midnight);
    };
    let clock = time.split(['Z', '+', '-', ' ']).next()?;
    let time = NaiveTime::parse_from_str(clock, "%H:%M:%S%.f")
        .or_else(|_| NaiveTime::parse_from_str(clock, "%H:%M"))
        .ok()?;
    let seconds = i64::from(time.num_seconds_from_midnight());
    Some(midnight + seconds * 1_000_000 + i64::from(time.nanosecond() / 1_000))
}

/// Only the years 1 to 9999, which every date function can handle.
fn sensible(days_since_1970: i32) -> Option<i32> {
    const FIRST: i32 = 1 - DAYS_TO_1970;
    const LAST: i32 = 2_932_896;
    (FIRST..=LAST)
        .contains(&days_since_1970)
        .then_some(days_since_1970)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_in_all_their_forms() {
        let day = |y, m, d| {
            let date = NaiveDate::from_ymd_opt(y, m, d).expect("date");
            Some(date.num_days_from_ce() - DAYS_TO_1970)
        };
        assert_eq!(text_date("1970-01-01"), Some(0));
        assert_eq!(text_date("20100506"), day(2010, 5, 6));
        assert_eq!(text_date("2010-05-06 10:00"), day(2010, 5, 6));
        assert_eq!(text_date("9999-12-31"), day(9999, 12, 31));
        assert_eq!(sensible(day(9999, 12, 31).expect("day") + 1), None);
        assert_eq!(text_date("0001-01-01"), day(1, 1, 1));
        for bad in [
            "06/05/2010",
            "2010-13-01",
            "2010-5-6",
            "2010-05-06x",
            "é010-05-0",
            "0000-01-01",
        ] {
            assert_eq!(text_date(bad), None, "{bad}");
        }
    }

    #[test]
    fn timestamps_keep_the_reading_of_the_clock() {
        let noon = 43_200_000_000;
        for text in [
            "1970-01-01 12:00",
            "1970-01-01T12:00:00",
            "1970-01-01T12:00:00.000Z",
            "1970-01-01 12:00:00+02:00",
            "1970-01-01 12:00:00 UTC",
        ] {
            assert_eq!(text_timestamp(text), Some(noon), "{text}");
        }
        assert_eq!(text_timestamp("1970-01-01"), Some(0));
        assert_eq!(text_timestamp("1970-01-01 25:00"), None);
    }

    #[test]
    fn whole_numbers_in_all_their_forms() {
        for text in ["716", "716.0", "0716", "+716", "716.00"] {
            assert_eq!(whole_text(text), Some(716), "{text}");
        }
        for text in ["716.5", "abc", "1e3", "", ".0", "9223372036854775808"] {
            assert_eq!(whole_text(text), None, "{text}");
        }
        assert_eq!(whole_number(716.0), Some(716));
        assert_eq!(whole_number(0.5), None);
        assert_eq!(whole_number(f64::INFINITY), None);
        assert_eq!(whole_number(9_007_199_254_740_992.0), None);
    }
}
