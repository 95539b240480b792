//! Every function over extremes: a value or NULL for each row, and of that row alone.

use arrow::array::{
    Array, BooleanArray, Date32Array, Float64Array, Int64Array, StringArray,
    TimestampMicrosecondArray,
};
use arrow::compute::concat;
use arrow::datatypes::Field;
use datafusion::common::ScalarValue;
use datafusion::common::config::ConfigOptions;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};
use proptest::prelude::*;
use proptest::sample::select;
use ward_schemas::functions::FUNCTIONS;

use super::*;

const INTEGERS: [Option<i64>; 14] = [
    None,
    Some(i64::MIN),
    Some(i64::MIN + 1),
    Some(-400_000_000_000),
    Some(-13),
    Some(-1),
    Some(0),
    Some(1),
    Some(2),
    Some(12),
    Some(1950),
    Some(4_294_967_296),
    Some(9_007_199_254_740_993),
    Some(i64::MAX),
];
const DOUBLES: [Option<f64>; 13] = [
    None,
    Some(f64::NAN),
    Some(f64::NEG_INFINITY),
    Some(f64::MIN),
    Some(-1.5),
    Some(-0.0),
    Some(0.0),
    Some(f64::MIN_POSITIVE),
    Some(0.5),
    Some(2.5),
    Some(1e300),
    Some(f64::MAX),
    Some(f64::INFINITY),
];
/// The calendar of chrono ends at the days ±95 million.
const DAYS: [Option<i32>; 13] = [
    None,
    Some(i32::MIN),
    Some(-96_465_293),
    Some(-96_465_292),
    Some(-719_529),
    Some(-1),
    Some(0),
    Some(11_016),
    Some(19_040),
    Some(95_026_236),
    Some(95_026_237),
    Some(2_000_000_001),
    Some(i32::MAX),
];
const TEXTS: [Option<&str>; 11] = [
    None,
    Some(""),
    Some(" "),
    Some("E11.9"),
    Some("  Größe "),
    Some("ŉǰΐ"),
    Some("İıſK"),
    Some("日本語"),
    Some("e\u{301}"),
    Some("%_\\"),
    Some("\u{10ffff}\0"),
];

/// Values of one type.
fn column(data_type: &DataType, rows: usize) -> BoxedStrategy<ArrayRef> {
    use prop::collection::vec;
    fn array<A: Array + 'static>(array: A) -> ArrayRef {
        Arc::new(array)
    }
    match data_type {
        DataType::Boolean => vec(any::<Option<bool>>(), rows)
            .prop_map(|v| array(BooleanArray::from(v)))
            .boxed(),
        DataType::Int64 => vec(
            prop_oneof![select(&INTEGERS[..]), any::<Option<i64>>()],
            rows,
        )
        .prop_map(|v| array(Int64Array::from(v)))
        .boxed(),
        DataType::Float64 => vec(
            prop_oneof![select(&DOUBLES[..]), any::<Option<f64>>()],
            rows,
        )
        .prop_map(|v| array(Float64Array::from(v)))
        .boxed(),
        DataType::Utf8 => {
            let text = prop_oneof![
                select(&TEXTS[..]).prop_map(|t| t.map(str::to_owned)),
                any::<Option<String>>()
            ];
            vec(text, rows)
                .prop_map(|v| array(StringArray::from(v)))
                .boxed()
        }
        DataType::Date32 => vec(
            prop_oneof![
                select(&DAYS[..]),
                any::<Option<i32>>(),
                (-1000..30_000).prop_map(Some)
            ],
            rows,
        )
        .prop_map(|v| array(Date32Array::from(v)))
        .boxed(),
        _ => vec(
            prop_oneof![select(&INTEGERS[..]), any::<Option<i64>>()],
            rows,
        )
        .prop_map(|v| array(TimestampMicrosecondArray::from(v)))
        .boxed(),
    }
}

/// A unit of time in each row, as statements have it.
fn units(function: &'static Function, rows: usize) -> BoxedStrategy<ArrayRef> {
    prop::collection::vec(select(function.units), rows)
        .prop_map(|v| Arc::new(StringArray::from(v)) as ArrayRef)
        .boxed()
}

fn every() -> Vec<&'static Function> {
    let internal = [
        &numbers::QUOTIENT,
        &numbers::REMAINDER,
        &numbers::UNLESS_NAN,
        &dates::DATE_TEXT,
    ];
    let called = all().into_iter().filter_map(|udf| of(&udf));
    called.chain(internal).collect()
}

/// A function, and arguments of some types that it takes.
fn call_of_any() -> impl Strategy<Value = (&'static Function, Vec<ArrayRef>)> {
    let signatures = every().into_iter().flat_map(|f| {
        let lists: Vec<Vec<DataType>> = match f.takes {
            Takes::Types(choices) => choices.iter().map(|(types, _)| types.to_vec()).collect(),
            Takes::Alike(least, most) => {
                let types = [
                    DataType::Boolean,
                    DataType::Int64,
                    DataType::Float64,
                    DataType::Utf8,
                    DataType::Date32,
                    TIMESTAMP,
                ];
                let lists = types
                    .into_iter()
                    .flat_map(|t| [vec![t.clone(); least], vec![t; most.min(3)]]);
                lists.collect()
            }
        };
        lists.into_iter().map(move |types| (f, types))
    });
    let signatures: Vec<_> = signatures.collect();
    (select(signatures), 0_usize..40).prop_flat_map(|((f, types), rows)| {
        let columns: Vec<_> = types
            .iter()
            .enumerate()
            .map(|(i, t)| {
                if i == 0 && !f.units.is_empty() {
                    units(f, rows)
                } else {
                    column(t, rows)
                }
            })
            .collect();
        (Just(f), columns)
    })
}

fn invoke(function: &'static Function, args: Vec<ColumnarValue>, rows: usize) -> ColumnarValue {
    let types: Vec<_> = args.iter().map(ColumnarValue::data_type).collect();
    let udf = udf(function);
    let result = udf.return_type(&types).expect("accepted");
    let field = |t: &DataType| Arc::new(Field::new("x", t.clone(), true));
    let args = ScalarFunctionArgs {
        arg_fields: types.iter().map(field).collect(),
        args,
        number_rows: rows,
        return_field: field(&result),
        config_options: Arc::new(ConfigOptions::new()),
    };
    let value = udf
        .invoke_with_args(args)
        .unwrap_or_else(|e| panic!("{}: {e}", function.name));
    assert_eq!(value.data_type(), result, "{}", function.name);
    value
}

fn on_arrays(function: &'static Function, args: &[ArrayRef]) -> ArrayRef {
    let rows = args[0].len();
    let values = args.iter().map(|a| ColumnarValue::Array(Arc::clone(a)));
    match invoke(function, values.collect(), rows) {
        ColumnarValue::Array(array) => array,
        ColumnarValue::Scalar(value) => panic!("one {value} for {rows} rows"),
    }
}

fn scalar(array: &ArrayRef, row: usize) -> ColumnarValue {
    ColumnarValue::Scalar(ScalarValue::try_from_array(array, row).expect("a row"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    /// No input fails, and a row's value is the same alone, in a batch and among constants.
    #[test]
    fn functions_are_total_functions_of_one_row((function, args) in call_of_any()) {
        let rows = args[0].len();
        let whole = on_arrays(function, &args);
        prop_assert_eq!(whole.len(), rows);
        let alone: Vec<_> = (0..rows)
            .map(|row| {
                let of_row: Vec<_> = args.iter().map(|a| a.slice(row, 1)).collect();
                on_arrays(function, &of_row)
            })
            .collect();
        let alone: Vec<_> = alone.iter().map(AsRef::as_ref).collect();
        if rows > 0 {
            prop_assert_eq!(&concat(&alone).expect("rows"), &whole, "{}", function.name);
            let constants = args.iter().map(|a| scalar(a, 0)).collect();
            let constant = invoke(function, constants, 7);
            prop_assert!(matches!(&constant, ColumnarValue::Scalar(_)), "{}", function.name);
            let constant = constant.into_array(1).expect("one");
            prop_assert_eq!(&constant, &whole.slice(0, 1), "{}", function.name);
        }
    }

    /// Where the last argument is a constant, as it mostly is.
    #[test]
    fn constants_among_arrays_are_repeated((function, args) in call_of_any()) {
        let rows = args[0].len();
        if rows > 0 && args.len() > 1 {
            let (last, first) = args.split_last().expect("arguments");
            let mut values: Vec<_> = first.iter().map(|a| ColumnarValue::Array(Arc::clone(a))).collect();
            values.push(scalar(last, 0));
            let mixed = invoke(function, values, rows).into_array(rows).expect("array");
            let repeated = scalar(last, 0).into_array(rows).expect("array");
            let whole = on_arrays(function, &first.iter().cloned().chain([repeated]).collect::<Vec<_>>());
            prop_assert_eq!(&mixed, &whole, "{}", function.name);
        }
    }

    /// Texts only become shorter, so a batch of results fits where the batch of arguments does.
    #[test]
    fn texts_do_not_grow((function, args) in call_of_any()) {
        let result = on_arrays(function, &args);
        if let (Some(texts), Some(given)) = (result.as_string_opt::<i32>(), args[0].as_string_opt::<i32>()) {
            let one_of_them = matches!(function.takes, Takes::Alike(..));
            for (text, given) in texts.iter().zip(given) {
                if let (Some(text), Some(given), false) = (text, given, one_of_them) {
                    prop_assert!(text.len() <= given.len(), "{}", function.name);
                }
            }
        }
    }
}

#[test]
fn every_function_has_a_version() {
    let names: Vec<_> = all().iter().map(|f| f.name().to_owned()).collect();
    let versions: Vec<_> = FUNCTIONS.iter().map(|f| f.name).collect();
    assert_eq!(names, versions);
}

#[test]
fn the_readme_lists_every_function() {
    let readme = include_str!("../../README.md");
    for f in FUNCTIONS {
        let line = format!("- `{}({})`: {}.\n", f.name, f.arguments, f.meaning);
        assert!(readme.contains(&line), "{line}");
    }
}

/// What a function says of one row, as text; empty for NULL.
fn of_row(name: &str, args: &[ScalarValue]) -> String {
    let function = *every().iter().find(|f| f.name == name).expect(name);
    let args: Vec<_> = args.iter().cloned().map(ColumnarValue::Scalar).collect();
    let value = invoke(function, args, 1).into_array(1).expect("one");
    arrow::util::display::array_value_to_string(&value, 0).expect("text")
}

fn date(text: &str) -> ScalarValue {
    let parsed = ScalarValue::Utf8(Some(text.to_owned())).cast_to(&DataType::Date32);
    parsed.expect("a date")
}

fn time(text: &str) -> ScalarValue {
    let parsed = ScalarValue::Utf8(Some(text.to_owned())).cast_to(&TIMESTAMP);
    parsed.expect("a timestamp")
}

fn int(n: i64) -> ScalarValue {
    ScalarValue::Int64(Some(n))
}

fn double(x: f64) -> ScalarValue {
    ScalarValue::Float64(Some(x))
}

fn text(t: &str) -> ScalarValue {
    ScalarValue::Utf8(Some(t.to_owned()))
}

#[test]
fn dates_are_counted_as_people_do() {
    let day = |t| date(t);
    let cases = [
        ("add_months", vec![day("2023-01-31"), int(1)], "2023-02-28"),
        ("add_months", vec![day("2024-03-31"), int(-1)], "2024-02-29"),
        (
            "add_months",
            vec![time("2023-01-31T10:30:00"), int(13)],
            "2024-02-29T10:30:00",
        ),
        ("add_days", vec![day("2024-02-28"), int(2)], "2024-03-01"),
        (
            "add_days",
            vec![time("2024-02-28T23:00:00"), int(1)],
            "2024-02-29T23:00:00",
        ),
        (
            "add_hours",
            vec![time("2024-02-28T23:00:00"), int(48)],
            "2024-03-01T23:00:00",
        ),
        (
            "months_between",
            vec![day("2023-01-31"), day("2023-02-28")],
            "0",
        ),
        (
            "months_between",
            vec![day("2023-01-15"), day("2024-01-15")],
            "12",
        ),
        (
            "months_between",
            vec![day("2024-01-15"), day("2023-01-16")],
            "-11",
        ),
        (
            "years_between",
            vec![day("2000-02-29"), day("2001-02-28")],
            "0",
        ),
        (
            "years_between",
            vec![day("2000-02-29"), day("2001-03-01")],
            "1",
        ),
        (
            "days_between",
            vec![day("2024-02-28"), day("2024-03-01")],
            "2",
        ),
        (
            "hours_between",
            vec![time("2024-01-01T10:30:00"), time("2024-01-02T09:00:00")],
            "22",
        ),
        (
            "length_of_stay",
            vec![day("2024-01-02"), day("2024-01-01")],
            "",
        ),
        ("month_of", vec![day("2022-02-17")], "2022-02-01"),
        ("quarter_of", vec![day("2022-12-31")], "2022-10-01"),
        ("week_of", vec![day("2023-01-01")], "2022-12-26"),
        ("week_of", vec![day("2023-01-02")], "2023-01-02"),
        ("year_of", vec![day("2022-02-17")], "2022-01-01"),
        ("day_of", vec![time("1969-12-31T23:59:59")], "1969-12-31"),
        (
            "date_trunc",
            vec![text("QUARTER"), day("2022-05-17")],
            "2022-04-01",
        ),
        ("date_part", vec![text("week"), day("2021-01-03")], "53"),
        ("date_part", vec![text("dow"), day("2021-01-03")], "0"),
        ("date_part", vec![text("isodow"), day("2021-01-03")], "7"),
        ("date_part", vec![text("quarter"), day("2021-12-03")], "4"),
        ("date_part", vec![text("doy"), day("2020-12-31")], "366"),
        (
            "date_part",
            vec![text("HOUR"), time("2020-12-31T23:59:59")],
            "23",
        ),
        ("date_text", vec![day("2020-12-31")], "2020-12-31"),
    ];
    for (name, args, expected) in cases {
        assert_eq!(of_row(name, &args), expected, "{name} {args:?}");
    }
}

#[test]
fn ages_are_reached_on_birthdays() {
    let null = || ScalarValue::Int64(None);
    let on = |year, month, day, when| of_row("age_on", &[int(year), month, day, date(when)]);
    assert_eq!(on(1950, int(6), int(15), "2020-06-14"), "69");
    assert_eq!(on(1950, int(6), int(15), "2020-06-15"), "70");
    assert_eq!(on(1950, int(6), null(), "2020-06-15"), "70");
    assert_eq!(on(1950, null(), int(31), "2020-06-30"), "69");
    assert_eq!(on(1950, null(), null(), "2020-07-01"), "70");
    assert_eq!(on(1950, int(13), null(), "2020-07-01"), "");
    assert_eq!(on(2021, int(1), int(1), "2020-07-01"), "");
    assert_eq!(of_row("age_at", &[int(1950), date("2020-01-01")]), "70");
    let bands = [0, 17, 18, 39, 40, 64, 65, 79, 80, 120];
    let bands = bands.map(|age| of_row("age_band", &[int(2020 - age), date("2020-01-01")]));
    let expected = [
        "0-17", "0-17", "18-39", "18-39", "40-64", "40-64", "65-79", "65-79", "80+", "80+",
    ];
    assert_eq!(bands, expected);
}

#[test]
fn numbers_out_of_domain_are_null() {
    let cases = [
        ("abs", vec![int(i64::MIN)], ""),
        ("abs", vec![double(-2.5)], "2.5"),
        ("round", vec![double(2.5)], "2.0"),
        ("round", vec![double(3.5)], "4.0"),
        ("ceil", vec![double(2.1)], "3.0"),
        ("floor", vec![double(-2.1)], "-3.0"),
        ("floor", vec![int(i64::MAX)], "9223372036854775807"),
        ("ln", vec![double(0.0)], ""),
        ("ln", vec![double(1.0)], "0.0"),
        ("sqrt", vec![double(-1.0)], ""),
        ("sqrt", vec![double(9.0)], "3.0"),
        ("power", vec![double(0.0), double(-1.0)], ""),
        ("power", vec![double(2.0), double(10.0)], "1024.0"),
        ("quotient", vec![int(7), int(0)], ""),
        ("quotient", vec![int(i64::MIN), int(-1)], ""),
        ("quotient", vec![int(-7), int(2)], "-3"),
        ("remainder", vec![int(-7), int(2)], "-1"),
        ("remainder", vec![int(i64::MIN), int(-1)], "0"),
        ("remainder", vec![double(7.5), double(0.0)], ""),
    ];
    for (name, args, expected) in cases {
        assert_eq!(of_row(name, &args), expected, "{name} {args:?}");
    }
}

#[test]
fn texts_and_choices_are_as_expected() {
    let null = || ScalarValue::Utf8(None);
    let cases = [
        ("lower", vec![text("GRÖSSE İ")], "grösse İ"),
        ("upper", vec![text("größe")], "GRÖßE"),
        ("trim", vec![text("  E11 \t ")], "E11 \t"),
        ("length", vec![text("日本")], "2"),
        ("left", vec![text("日本語"), int(2)], "日本"),
        ("left", vec![text("ab"), int(5)], "ab"),
        ("left", vec![text("ab"), int(-1)], ""),
        ("starts_with", vec![text("E11.9"), text("E11")], "true"),
        ("starts_with", vec![text("e11.9"), text("E11")], "false"),
        ("coalesce", vec![null(), text("b"), text("c")], "b"),
        ("nullif", vec![text("a"), text("a")], ""),
        ("nullif", vec![text("a"), null()], "a"),
        ("greatest", vec![text("a"), null(), text("B")], "a"),
        (
            "least",
            vec![int(3), int(-3), ScalarValue::Int64(None)],
            "-3",
        ),
        ("greatest", vec![double(1.0), double(f64::INFINITY)], "inf"),
    ];
    for (name, args, expected) in cases {
        assert_eq!(of_row(name, &args), expected, "{name} {args:?}");
    }
}
