//! Functions of dates and timestamps. Both are counts, of days and of microseconds, from 1970-01-01;
//! those out of the calendar (±262,000 years) have no month or year, so what asks for one is NULL.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Date32Array, Int64Array, StringArray};
use arrow::datatypes::DataType::{Date32, Int64, Utf8};
use arrow::datatypes::{Date32Type, Int64Type, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::temporal_conversions::{date32_to_datetime, timestamp_us_to_datetime};
use chrono::{Datelike, Days, Months, NaiveDate, NaiveDateTime, Timelike};

use super::{Function, TIMESTAMP, map, map_both};

type Evaluated = Result<ArrayRef, ArrowError>;

pub(super) static FUNCTIONS: [Function; 17] = [
    Function::new(
        "add_days",
        &[(&[Date32, Int64], Date32), (&[TIMESTAMP, Int64], TIMESTAMP)],
        |a| match a[0].data_type() {
            Date32 => map_both::<Date32Type, Int64Type, Date32Type>(&a[0], &a[1], |day, n| {
                i64::from(day).checked_add(n)?.try_into().ok()
            }),
            _ => micros_later(a, 24 * MICROS_PER_HOUR),
        },
    ),
    Function::new("add_hours", &[(&[TIMESTAMP, Int64], TIMESTAMP)], |a| {
        micros_later(a, MICROS_PER_HOUR)
    }),
    Function::new(
        "add_months",
        &[(&[Date32, Int64], Date32), (&[TIMESTAMP, Int64], TIMESTAMP)],
        |a| match a[0].data_type() {
            Date32 => map_both::<Date32Type, Int64Type, Date32Type>(&a[0], &a[1], |day, n| {
                months_later(calendar(day)?, n).map(Date32Type::from_naive_date)
            }),
            _ => map_both::<TimestampMicrosecondType, Int64Type, TimestampMicrosecondType>(
                &a[0],
                &a[1],
                |at, n| {
                    let at = timestamp_us_to_datetime(at)?;
                    let later = months_later(at.date(), n)?.and_time(at.time());
                    Some(later.and_utc().timestamp_micros())
                },
            ),
        },
    ),
    Function::new("age_at", &[(&[Int64, Date32], Int64)], |a| {
        map_both::<Int64Type, Date32Type, Int64Type>(&a[0], &a[1], age_at)
    }),
    Function::new("age_band", &[(&[Int64, Date32], Utf8)], age_bands),
    Function::new(
        "age_on",
        &[(&[Int64, Int64, Int64, Date32], Int64)],
        ages_on,
    ),
    Function {
        units: &[
            "year", "quarter", "month", "week", "day", "dow", "isodow", "doy", "hour",
        ],
        ..Function::new(
            "date_part",
            &[(&[Utf8, Date32], Int64), (&[Utf8, TIMESTAMP], Int64)],
            date_parts,
        )
    },
    Function {
        units: &["day", "week", "month", "quarter", "year"],
        ..Function::new("date_trunc", &[(&[Utf8, Date32], Date32)], date_truncs)
    },
    Function::new("days_between", &[(&[Date32, Date32], Int64)], |a| {
        map_both::<Date32Type, Date32Type, Int64Type>(&a[0], &a[1], |from, to| {
            Some(i64::from(to) - i64::from(from))
        })
    }),
    Function::new("hours_between", &[(&[TIMESTAMP, TIMESTAMP], Int64)], |a| {
        map_both::<TimestampMicrosecondType, TimestampMicrosecondType, Int64Type>(
            &a[0],
            &a[1],
            |from, to| {
                let micros = i128::from(to) - i128::from(from);
                i64::try_from(micros / i128::from(MICROS_PER_HOUR)).ok()
            },
        )
    }),
    Function::new("length_of_stay", &[(&[Date32, Date32], Int64)], |a| {
        map_both::<Date32Type, Date32Type, Int64Type>(&a[0], &a[1], |start, end| {
            Some(i64::from(end) - i64::from(start)).filter(|nights| *nights >= 0)
        })
    }),
    Function::new("month_of", &[(&[Date32], Date32)], |a| {
        first_days(&a[0], Period::Month)
    }),
    Function::new("months_between", &[(&[Date32, Date32], Int64)], |a| {
        map_both::<Date32Type, Date32Type, Int64Type>(&a[0], &a[1], |from, to| {
            Some(months_between(calendar(from)?, calendar(to)?))
        })
    }),
    Function::new("quarter_of", &[(&[Date32], Date32)], |a| {
        first_days(&a[0], Period::Quarter)
    }),
    Function::new("week_of", &[(&[Date32], Date32)], |a| {
        first_days(&a[0], Period::Week)
    }),
    Function::new("year_of", &[(&[Date32], Date32)], |a| {
        first_days(&a[0], Period::Year)
    }),
    Function::new("years_between", &[(&[Date32, Date32], Int64)], |a| {
        map_both::<Date32Type, Date32Type, Int64Type>(&a[0], &a[1], |from, to| {
            Some(months_between(calendar(from)?, calendar(to)?) / 12)
        })
    }),
];

pub(super) static DAY_OF: Function = Function::new(
    "day_of",
    &[(&[Date32], Date32), (&[TIMESTAMP], Date32)],
    |a| match a[0].data_type() {
        Date32 => Ok(Arc::clone(&a[0])),
        _ => map::<TimestampMicrosecondType, Date32Type>(&a[0], |at| {
            i32::try_from(at.div_euclid(24 * MICROS_PER_HOUR)).ok()
        }),
    },
);

// What CAST(date AS VARCHAR) stands for.
pub(super) static DATE_TEXT: Function = Function::new("date_text", &[(&[Date32], Utf8)], |a| {
    let days = a[0].as_primitive::<Date32Type>().iter();
    let texts = days.map(|day| calendar(day?).map(|d| d.to_string()));
    Ok(Arc::new(texts.collect::<StringArray>()))
});

const MICROS_PER_HOUR: i64 = 3_600_000_000;

/// The age bands of `age_band`, youngest first: the first age above, and the name.
const AGE_BANDS: [(i64, &str); 4] = [(18, "0-17"), (40, "18-39"), (65, "40-64"), (80, "65-79")];

/// A span of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Period {
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

impl Period {
    fn named(unit: &str) -> Option<Self> {
        match unit.to_ascii_lowercase().as_str() {
            "day" => Some(Self::Day),
            "week" => Some(Self::Week),
            "month" => Some(Self::Month),
            "quarter" => Some(Self::Quarter),
            "year" => Some(Self::Year),
            _ => None,
        }
    }

    fn first_day(self, date: NaiveDate) -> Option<NaiveDate> {
        match self {
            Self::Day => Some(date),
            Self::Week => {
                let days = date.weekday().num_days_from_monday();
                date.checked_sub_days(Days::new(days.into()))
            }
            Self::Month => date.with_day(1),
            Self::Quarter => date.with_day(1)?.with_month0(date.month0() / 3 * 3),
            Self::Year => date.with_ordinal(1),
        }
    }
}

fn calendar(day: i32) -> Option<NaiveDate> {
    date32_to_datetime(day).map(|at| at.date())
}

fn first_days(dates: &ArrayRef, period: Period) -> Evaluated {
    map::<Date32Type, Date32Type>(dates, |day| first_day(period, day))
}

fn first_day(period: Period, day: i32) -> Option<i32> {
    period
        .first_day(calendar(day)?)
        .map(Date32Type::from_naive_date)
}

fn micros_later(a: &[ArrayRef], micros: i64) -> Evaluated {
    map_both::<TimestampMicrosecondType, Int64Type, TimestampMicrosecondType>(
        &a[0],
        &a[1],
        |at, n| at.checked_add(n.checked_mul(micros)?),
    )
}

fn months_later(date: NaiveDate, months: i64) -> Option<NaiveDate> {
    let count = Months::new(months.unsigned_abs().try_into().ok()?);
    if months < 0 {
        date.checked_sub_months(count)
    } else {
        date.checked_add_months(count)
    }
}

fn months_between(from: NaiveDate, to: NaiveDate) -> i64 {
    if to < from {
        return -months_between(to, from);
    }
    let months = |d: NaiveDate| 12 * i64::from(d.year()) + i64::from(d.month0());
    months(to) - months(from) - i64::from(to.day() < from.day())
}

fn age_at(year: i64, day: i32) -> Option<i64> {
    let age = i64::from(calendar(day)?.year()).checked_sub(year)?;
    (age >= 0).then_some(age)
}

fn age_bands(a: &[ArrayRef]) -> Evaluated {
    let years = a[0].as_primitive::<Int64Type>().iter();
    let pairs = years.zip(a[1].as_primitive::<Date32Type>());
    let bands = pairs.map(|(year, day)| age_at(year?, day?).map(age_band));
    Ok(Arc::new(bands.collect::<StringArray>()))
}

fn age_band(age: i64) -> &'static str {
    let band = AGE_BANDS.iter().find(|(above, _)| age < *above);
    band.map_or("80+", |(_, name)| name)
}

fn ages_on(a: &[ArrayRef]) -> Evaluated {
    let [years, months, days] = [0, 1, 2].map(|i| a[i].as_primitive::<Int64Type>());
    let dates = a[3].as_primitive::<Date32Type>();
    let births = years.iter().zip(months).zip(days);
    let ages = births
        .zip(dates)
        .map(|(((year, month), day), date)| age_on(year?, month, day, date?));
    Ok(Arc::new(ages.collect::<Int64Array>()))
}

fn age_on(year: i64, month: Option<i64>, day: Option<i64>, on: i32) -> Option<i64> {
    let birthday = match (month, day) {
        (None, _) => (7, 1),
        (Some(month), day) => (month, day.unwrap_or(15)),
    };
    if !(1..=12).contains(&birthday.0) || !(1..=31).contains(&birthday.1) {
        return None;
    }
    let on = calendar(on)?;
    let before = (i64::from(on.month()), i64::from(on.day())) < birthday;
    let age = i64::from(on.year())
        .checked_sub(year)?
        .checked_sub(i64::from(before))?;
    (age >= 0).then_some(age)
}

fn date_parts(a: &[ArrayRef]) -> Evaluated {
    let of = |moments: Vec<Option<NaiveDateTime>>| {
        let units = a[0].as_string::<i32>().iter();
        let parts = units
            .zip(moments)
            .map(|(unit, at)| date_part(unit?, at?))
            .collect::<Int64Array>();
        Ok(Arc::new(parts) as ArrayRef)
    };
    match a[1].data_type() {
        Date32 => {
            let days = a[1].as_primitive::<Date32Type>().iter();
            of(days.map(|day| date32_to_datetime(day?)).collect())
        }
        _ => {
            let times = a[1].as_primitive::<TimestampMicrosecondType>().iter();
            of(times.map(|at| timestamp_us_to_datetime(at?)).collect())
        }
    }
}

fn date_part(unit: &str, at: NaiveDateTime) -> Option<i64> {
    let part = match unit.to_ascii_lowercase().as_str() {
        "year" => return Some(at.year().into()),
        "quarter" => at.month0() / 3 + 1,
        "month" => at.month(),
        "week" => at.iso_week().week(),
        "day" => at.day(),
        "dow" => at.weekday().num_days_from_sunday(),
        "isodow" => at.weekday().number_from_monday(),
        "doy" => at.ordinal(),
        "hour" => at.hour(),
        _ => return None,
    };
    Some(part.into())
}

fn date_truncs(a: &[ArrayRef]) -> Evaluated {
    let units = a[0].as_string::<i32>().iter();
    let pairs = units.zip(a[1].as_primitive::<Date32Type>());
    let days = pairs.map(|(unit, day)| first_day(Period::named(unit?)?, day?));
    Ok(Arc::new(days.collect::<Date32Array>()))
}
