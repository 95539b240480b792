//! The scalar language: expressions that are accepted and never fail, and the words of each refusal.

use std::sync::Arc;

use datafusion::catalog::SchemaProvider;

use crate::hospital::{self, Layout};
use crate::support::{Hospital, answer, compile, template};

const PLAIN: &str = "contribution = { max_groups = 1, max_rows_per_group = 2 }";

/// A statement in which an expression is counted, and tested for NULL.
fn counting(expression: &str) -> String {
    let sql = format!(
        "SELECT COUNT(*) AS rows, COUNT(x) AS n FROM (SELECT m.person_id, {expression} AS x FROM measurement m JOIN person p ON p.person_id = m.person_id) e WHERE x IS NOT NULL OR x IS NULL"
    );
    template(&sql, PLAIN)
}

const ACCEPTED: [&str; 78] = [
    // Numbers.
    "p.year_of_birth / 10",
    "p.year_of_birth / p.month_of_birth",
    "p.year_of_birth % p.day_of_birth",
    "p.year_of_birth * p.year_of_birth - p.month_of_birth",
    "m.value_as_number / 0",
    "m.value_as_number % m.range_low",
    "-p.year_of_birth",
    "abs(p.year_of_birth) + abs(m.value_as_number)",
    "round(m.value_as_number)",
    "floor(m.value_as_number)",
    "ceil(m.value_as_number)",
    "FLOOR(p.year_of_birth)",
    "ln(m.value_as_number)",
    "sqrt(m.value_as_number)",
    "power(m.value_as_number, 2)",
    "power(m.value_as_number, m.range_high)",
    "CAST(m.value_as_number AS BIGINT)",
    "CAST(round(m.value_as_number) AS INTEGER)",
    "CAST(m.value_source_value AS DOUBLE)",
    "CAST(m.value_source_value AS INT)",
    "CAST(m.value_as_number AS REAL)",
    "m.value_as_number IN (1, 2.5, NULL)",
    "m.value_as_number BETWEEN 1 AND p.year_of_birth",
    // Dates and timestamps.
    "m.measurement_date + INTERVAL '3 months'",
    "m.measurement_date - INTERVAL '1' YEAR",
    "INTERVAL '1 month 3 days' + m.measurement_date",
    "$since + INTERVAL '90 days' > m.measurement_date",
    "m.measurement_datetime + INTERVAL '48 hours'",
    "m.measurement_datetime - INTERVAL '1 month 2 days 3 hours'",
    "m.measurement_date - $since",
    "m.measurement_date + 30",
    "30 + m.measurement_date",
    "m.measurement_date - p.month_of_birth",
    "add_days(m.measurement_date, p.year_of_birth)",
    "add_months(m.measurement_date, p.year_of_birth)",
    "add_months(m.measurement_datetime, p.year_of_birth)",
    "add_hours(m.measurement_datetime, p.year_of_birth)",
    "months_between(p.birth_datetime, m.measurement_date)",
    "years_between($since, m.measurement_date)",
    "hours_between(m.measurement_datetime, p.birth_datetime)",
    "days_between(m.measurement_datetime, $since)",
    "length_of_stay(m.measurement_date, $since)",
    "age_at(p.year_of_birth, m.measurement_date)",
    "age_band(p.year_of_birth, m.measurement_date)",
    "age_on(p.year_of_birth, p.month_of_birth, p.day_of_birth, m.measurement_date)",
    "age_on(p.year_of_birth, NULL, NULL, m.measurement_date)",
    "year_of(m.measurement_date)",
    "quarter_of(m.measurement_date)",
    "month_of(m.measurement_datetime)",
    "week_of(m.measurement_date)",
    "day_of(m.measurement_datetime)",
    "EXTRACT(YEAR FROM m.measurement_date)",
    "EXTRACT(HOUR FROM m.measurement_datetime)",
    "date_part('isodow', m.measurement_date)",
    "date_trunc('Quarter', m.measurement_datetime)",
    "CAST(m.measurement_datetime AS DATE)",
    "CAST(m.measurement_date AS VARCHAR)",
    "CAST(m.measurement_date AS TIMESTAMP)",
    "CAST(m.value_source_value AS DATE)",
    "m.measurement_datetime < TIMESTAMP '2020-01-01 10:00:00'",
    "m.measurement_date = m.measurement_datetime",
    "m.measurement_date >= '2020-01-01'",
    // Texts.
    "m.value_source_value LIKE 'E11%'",
    "m.value_source_value LIKE '%1'",
    "m.value_source_value NOT LIKE '%.%'",
    "m.value_source_value LIKE ''",
    "lower(m.value_source_value) LIKE 'e11%'",
    "starts_with(upper(trim(m.value_source_value)), 'E')",
    "left(m.value_source_value, 3) = 'E11'",
    "length(m.value_source_value)",
    // Choices and conditions.
    "coalesce(m.value_as_number, m.range_low, 0)",
    "coalesce(m.measurement_datetime, m.measurement_date)",
    "nullif(m.value_source_value, '')",
    "least(p.year_of_birth, m.value_as_number) + greatest(1, p.month_of_birth)",
    "(m.value_as_number > 5) IS TRUE",
    "(m.value_as_number > m.range_high) IS NOT FALSE",
    "(m.value_as_number > 5) IS UNKNOWN",
    "CASE p.month_of_birth WHEN 1 THEN 1 / p.day_of_birth ELSE NULL END",
];

const REFUSED: [(&str, &str); 45] = [
    (
        "m.value_source_value LIKE 'E_1%'",
        "this pattern is not accepted",
    ),
    (
        "m.value_source_value LIKE 'E%1'",
        "'E11%', '%E11' or '%E11%'",
    ),
    (
        "m.value_source_value LIKE 'E\\\\%'",
        "this pattern is not accepted",
    ),
    (
        "m.value_source_value LIKE '%%%'",
        "this pattern is not accepted",
    ),
    (
        "m.value_source_value LIKE 'E!%%' ESCAPE '!'",
        "this pattern is not accepted",
    ),
    (
        "m.value_source_value LIKE m.unit_source_value",
        "this pattern is not accepted",
    ),
    ("m.value_source_value ILIKE 'e11%'", "lower(text) LIKE"),
    (
        "m.value_source_value SIMILAR TO 'E'",
        "pattern matching is not accepted",
    ),
    (
        "m.value_source_value ~ 'E'",
        "pattern matching is not accepted",
    ),
    ("m.value_source_value || 'x'", "longer texts"),
    (
        "concat(m.value_source_value, 'x')",
        "`concat(m.value_source_value, Utf8(\"x\"))`. It makes longer texts",
    ),
    (
        "substring(m.value_source_value FROM 2)",
        "Use left(text, n)",
    ),
    ("position('a' IN m.value_source_value)", "Use starts_with"),
    (
        "regexp_like(m.value_source_value, '(a*)*b')",
        "Use starts_with",
    ),
    (
        "m.measurement_date + INTERVAL '1 hour'",
        "a date has no hours",
    ),
    (
        "m.measurement_datetime + INTERVAL '1 minute'",
        "whole hours, days and months",
    ),
    (
        "INTERVAL '1 day' < INTERVAL '2 days'",
        "Use add_days(date, n) or add_months",
    ),
    (
        "m.measurement_datetime - p.birth_datetime",
        "hours_between(from, to)",
    ),
    (
        "m.measurement_date - m.measurement_datetime",
        "days_between(from, to)",
    ),
    (
        "m.measurement_date < now()",
        "`now()`. It depends on the moment",
    ),
    (
        "m.measurement_date < CURRENT_DATE",
        "declare a date parameter",
    ),
    ("m.value_as_number < random()", "It depends on chance"),
    (
        "foo(m.value_as_number)",
        "this function is not accepted: `foo(m.value_as_number)`. Call abs, add_days",
    ),
    ("log10(m.value_as_number)", "Use ln(x) and power(x, y)"),
    ("year(m.measurement_date)", "Use EXTRACT(YEAR FROM date)"),
    (
        "date_trunc('hour', m.measurement_datetime)",
        "this unit of time is not accepted",
    ),
    (
        "date_part(m.value_source_value, m.measurement_date)",
        "this unit of time is not accepted",
    ),
    (
        "EXTRACT(EPOCH FROM m.measurement_datetime)",
        "this unit of time is not accepted",
    ),
    (
        "CAST(m.measurement_datetime AS VARCHAR)",
        "Cast it to DATE first",
    ),
    ("CAST(m.value_as_number AS DECIMAL(10, 2))", "write DOUBLE"),
    (
        "CAST(p.year_of_birth AS DATE)",
        "Only texts, dates and timestamps",
    ),
    ("CAST(m.measurement_date AS BIGINT)", "Cast among BOOLEAN"),
    ("p.year_of_birth + 9223372036854775808", "write DOUBLE"),
    (
        "m.measurement_date > '2020-13-01'",
        "dates are written as '2020-12-31'",
    ),
    ("CAST('abc' AS BIGINT)", "It is no such value"),
    ("X'00' = X'01'", "this constant is not accepted"),
    ("p.year_of_birth & 1", "this operator is not accepted"),
    (
        "abs(p.year_of_birth) FILTER (WHERE true)",
        "a clause of this call",
    ),
    ("\"abs\"(DISTINCT p.year_of_birth)", "a clause of this call"),
    (
        "ABS(p.year_of_birth) OVER (PARTITION BY p.person_id)",
        "write its arguments only",
    ),
    (
        "abs(m.value_source_value)",
        "abs takes (bigint) or (double)",
    ),
    (
        "coalesce(m.value_source_value, 1)",
        "coalesce takes arguments of one type",
    ),
    (
        "coalesce(m.value_as_number)",
        "coalesce takes 2 to 16 arguments",
    ),
    ("abs(m.person_id)", "uses the identifier person_id"),
    ("m.measurement_id % 2", "uses the identifier measurement_id"),
];

#[test]
fn accepted_expressions_never_fail() {
    let (none, some) = (
        hospital::tables(Layout::of(0)),
        hospital::tables(Layout::of(150)),
    );
    for expression in ACCEPTED {
        let text = counting(expression);
        if let Err(refusal) = compile(&text) {
            panic!("{expression}\n{refusal}");
        }
        let rows =
            |tables: &Arc<dyn SchemaProvider>| answer(&text, Arc::clone(tables)).values()[0][0][0];
        assert_eq!(rows(&none), 0, "{expression}");
        // 17 patients have measurements, of which two count.
        assert_eq!(rows(&some), 34, "{expression}");
    }
}

#[test]
fn parameters_have_the_values_of_their_types() {
    let hospital = Hospital {
        persons: vec![(1, 8507, 1950)],
        measurements: [7.0, 7.5, 8.0].map(|v| (1, 10, 18_000, Some(v))).to_vec(),
        ancestors: Vec::new(),
    };
    let declared = "contribution = { max_groups = 1, max_rows_per_group = 9 }";
    let counted = |condition: &str| {
        let sql = format!("SELECT COUNT(*) AS n FROM measurement WHERE {condition}");
        answer(&template(&sql, declared), hospital.tables(2, 1)).values()[0][0][0]
    };
    assert_eq!(counted("value_as_number > $above"), 1);
    assert_eq!(counted("value_as_number >= $above AND NOT $all"), 2);
    assert_eq!(counted("$all"), 0);
}

/// DataFusion compares timestamps with dates and texts in nanoseconds, which end in 2262: an open stay
/// is often stored as one until 9999.
#[test]
fn far_times_compare_as_near_ones_do() {
    // The years 1600, 2019, 2021 and 9999.
    let days = [-135_140, 17_900, 18_700, 2_932_896];
    let hospital = Hospital {
        persons: vec![(1, 8507, 1950)],
        measurements: days.map(|day| (1, 10, day, None)).to_vec(),
        ancestors: Vec::new(),
    };
    let declared = "contribution = { max_groups = 1, max_rows_per_group = 9 }";
    let time = "CAST(measurement_date AS TIMESTAMP)";
    for (condition, rows) in [
        (format!("{time} >= $since"), 2),
        (format!("{time} < '2020-01-01'"), 2),
        (format!("{time} = measurement_date"), 4),
        (format!("{time} BETWEEN $since AND DATE '9999-12-31'"), 2),
        (format!("{time} IN ($since, DATE '9999-12-31')"), 1),
        (format!("coalesce({time}, measurement_date) > $since"), 2),
    ] {
        let sql = format!("SELECT COUNT(*) AS n FROM measurement WHERE {condition}");
        let counted = answer(&template(&sql, declared), hospital.tables(2, 1)).values()[0][0][0];
        assert_eq!(counted, rows, "{condition}");
    }
}

#[test]
fn refused_expressions_say_what_to_write() {
    let mut wrong = Vec::new();
    for (expression, reason) in REFUSED {
        let found = compile(&counting(expression)).err();
        let text = found.map_or_else(|| "accepted".to_owned(), |refusal| refusal.to_string());
        if !text.contains(reason) {
            wrong.push(format!("{expression}\n{text}\nlacks: {reason}\n"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The hospital of extremes must be one on which what isn't total fails.
#[tokio::test]
async fn extremes_make_partial_expressions_fail() {
    use datafusion::prelude::SessionContext;
    for expression in [
        "SELECT year_of_birth / month_of_birth FROM person",
        "SELECT CAST(value_source_value AS BIGINT) FROM measurement",
        "SELECT measurement_date + INTERVAL '1 month' FROM measurement",
        "SELECT CAST(measurement_date AS VARCHAR) FROM measurement",
    ] {
        let context = SessionContext::new();
        for name in ["person", "measurement"] {
            let tables = hospital::tables(Layout::of(150));
            let table = tables.table(name).await.expect("served").expect(name);
            context.register_table(name, table).expect("registered");
        }
        let rows = context.sql(expression).await.expect("planned");
        assert!(rows.collect().await.is_err(), "{expression}");
    }
}
