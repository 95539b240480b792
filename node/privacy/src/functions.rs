//! The scalar functions that ship with the model. All are total: any input gives a value or NULL,
//! never an error. Their versions stand in [`ward_schemas::functions::FUNCTIONS`].

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Date32Array, Int64Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, Int64Type};
use arrow::temporal_conversions::date32_to_datetime;
use chrono::{Datelike, NaiveDate};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// Every function, under its SQL name.
pub(crate) fn all() -> Vec<Arc<ScalarUDF>> {
    let functions = [
        Function::AgeAt,
        Function::AgeBand,
        Function::DaysBetween,
        Function::LengthOfStay,
        Function::MonthOf,
        Function::YearOf,
    ];
    let udf = |f| Arc::new(ScalarUDF::from(Udf::new(f)));
    functions.into_iter().map(udf).collect()
}

/// The age bands of `age_band`, youngest first.
const AGE_BANDS: [(i64, &str); 5] = [
    (18, "0-17"),
    (40, "18-39"),
    (65, "40-64"),
    (80, "65-79"),
    (i64::MAX, "80+"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Function {
    /// `age_at(year_of_birth, date)`: the age reached in the date's year; NULL below zero.
    AgeAt,
    /// `age_band(year_of_birth, date)`: the band of that age: 0-17, 18-39, 40-64, 65-79, 80+.
    AgeBand,
    /// `days_between(from, to)`: days from one date to another; negative where `to` is earlier.
    DaysBetween,
    /// `length_of_stay(start, end)`: nights between two dates; 0 on one day, NULL below.
    LengthOfStay,
    /// `month_of(date)`: the first day of the date's month.
    MonthOf,
    /// `year_of(date)`: the first day of the date's year.
    YearOf,
}

impl Function {
    fn name(self) -> &'static str {
        match self {
            Self::AgeAt => "age_at",
            Self::AgeBand => "age_band",
            Self::DaysBetween => "days_between",
            Self::LengthOfStay => "length_of_stay",
            Self::MonthOf => "month_of",
            Self::YearOf => "year_of",
        }
    }

    fn arguments(self) -> Vec<DataType> {
        match self {
            Self::AgeAt | Self::AgeBand => vec![DataType::Int64, DataType::Date32],
            Self::DaysBetween | Self::LengthOfStay => vec![DataType::Date32, DataType::Date32],
            Self::MonthOf | Self::YearOf => vec![DataType::Date32],
        }
    }

    fn returns(self) -> DataType {
        match self {
            Self::AgeAt | Self::DaysBetween | Self::LengthOfStay => DataType::Int64,
            Self::AgeBand => DataType::Utf8,
            Self::MonthOf | Self::YearOf => DataType::Date32,
        }
    }

    fn evaluate(self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        match (self, arguments) {
            (Self::AgeAt, [year, date]) => Ok(Arc::new(ages(year, date))),
            (Self::AgeBand, [year, date]) => {
                let bands = ages(year, date);
                Ok(Arc::new(
                    bands
                        .iter()
                        .map(|a| a.map(age_band))
                        .collect::<StringArray>(),
                ))
            }
            (Self::DaysBetween, [from, to]) => Ok(Arc::new(days_between(from, to, Some))),
            (Self::LengthOfStay, [from, to]) => {
                Ok(Arc::new(days_between(from, to, |d| (d >= 0).then_some(d))))
            }
            (Self::MonthOf, [date]) => Ok(Arc::new(first_days(date, |d| d.with_day(1)))),
            (Self::YearOf, [date]) => Ok(Arc::new(first_days(date, |d| d.with_ordinal(1)))),
            _ => exec_err!("{} got {} arguments", self.name(), arguments.len()),
        }
    }
}

fn ages(year: &ArrayRef, date: &ArrayRef) -> Int64Array {
    let years = year.as_primitive::<Int64Type>().iter();
    let dates = date.as_primitive::<Date32Type>().iter();
    years
        .zip(dates)
        .map(|(year, date)| {
            let date = date32_to_datetime(date?)?;
            i64::from(date.year())
                .checked_sub(year?)
                .filter(|age| *age >= 0)
        })
        .collect()
}

fn age_band(age: i64) -> &'static str {
    let band = AGE_BANDS.iter().find(|(below, _)| age < *below);
    band.map_or("80+", |(_, name)| name)
}

fn days_between(from: &ArrayRef, to: &ArrayRef, keep: fn(i64) -> Option<i64>) -> Int64Array {
    let from = from.as_primitive::<Date32Type>().iter();
    let to = to.as_primitive::<Date32Type>().iter();
    from.zip(to)
        .map(|(from, to)| keep(i64::from(to?) - i64::from(from?)))
        .collect()
}

fn first_days(date: &ArrayRef, first: fn(NaiveDate) -> Option<NaiveDate>) -> Date32Array {
    date.as_primitive::<Date32Type>()
        .iter()
        .map(|date| {
            let first = first(date32_to_datetime(date?)?.date())?;
            Some(Date32Type::from_naive_date(first))
        })
        .collect()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Udf {
    function: Function,
    signature: Signature,
}

impl Udf {
    fn new(function: Function) -> Self {
        let signature = Signature::exact(function.arguments(), Volatility::Immutable);
        Self {
            function,
            signature,
        }
    }
}

impl ScalarUDFImpl for Udf {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(self.function.returns())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let types = self.function.arguments();
        let arrays = arrays
            .iter()
            .zip(&types)
            .map(|(array, to)| {
                if array.data_type() == to {
                    Ok(Arc::clone(array))
                } else {
                    cast(array, to)
                }
            })
            .collect::<std::result::Result<Vec<_>, _>>()?;
        let rows = args.number_rows;
        let result = self.function.evaluate(&arrays)?;
        // All arguments constant: one value stands for every row.
        if result.len() == 1 && rows != 1 {
            let one = datafusion::scalar::ScalarValue::try_from_array(&result, 0)?;
            return Ok(ColumnarValue::Scalar(one));
        }
        Ok(ColumnarValue::Array(result))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ward_schemas::functions::FUNCTIONS;

    fn dates(days: &[Option<i32>]) -> ArrayRef {
        Arc::new(Date32Array::from(days.to_vec()))
    }

    #[test]
    fn every_function_has_a_version() {
        let names: Vec<_> = all().iter().map(|f| f.name().to_owned()).collect();
        let versions: Vec<_> = FUNCTIONS.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, versions);
    }

    #[test]
    fn any_input_gives_a_value_or_null() {
        let extremes = [Some(i32::MIN), Some(0), Some(19_000), Some(i32::MAX), None];
        let years: ArrayRef = Arc::new(Int64Array::from(vec![
            Some(i64::MIN),
            Some(1970),
            Some(1950),
            Some(i64::MAX),
            None,
        ]));
        for udf in [Function::AgeAt, Function::AgeBand] {
            let result = udf
                .evaluate(&[Arc::clone(&years), dates(&extremes)])
                .expect("total");
            assert_eq!(result.len(), 5);
        }
        for udf in [Function::DaysBetween, Function::LengthOfStay] {
            udf.evaluate(&[dates(&extremes), dates(&extremes)])
                .expect("total");
        }
        for udf in [Function::MonthOf, Function::YearOf] {
            udf.evaluate(&[dates(&extremes)]).expect("total");
        }
    }

    #[test]
    fn ages_fall_into_bands() {
        let bands = [0, 17, 18, 39, 40, 64, 65, 79, 80, 120].map(age_band);
        let expected = [
            "0-17", "0-17", "18-39", "18-39", "40-64", "40-64", "65-79", "65-79", "80+", "80+",
        ];
        assert_eq!(bands, expected);
    }

    #[test]
    fn months_and_years_start_on_their_first_day() {
        // 2022-01-08 is day 19000.
        let month = Function::MonthOf
            .evaluate(&[dates(&[Some(19_040)])])
            .expect("total");
        assert_eq!(month.as_primitive::<Date32Type>().value(0), 19_024);
        let year = Function::YearOf
            .evaluate(&[dates(&[Some(19_040)])])
            .expect("total");
        assert_eq!(year.as_primitive::<Date32Type>().value(0), 18_993);
    }
}
