//! What tracked statements compute, against a plain reading of each patient's rows.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::util::pretty::pretty_format_batches;
use datafusion::catalog::SchemaProvider;
use datafusion::prelude::{SessionConfig, SessionContext};
use proptest::prelude::*;

use crate::support::{Hospital, Measurement, answer, template};

const DECLARED: &str = "contribution = { max_groups = 1, max_rows_per_group = 100 }\nbounds.total = { lower = \"-100\", upper = \"100\", step = \"0.01\" }";

/// The values of `v` in the rows that a statement finds of a patient.
type Values = fn(&Patient) -> Vec<Option<f64>>;

/// All that a hospital knows of one patient.
struct Patient {
    year: i64,
    rows: Vec<Row>,
    ancestors: Vec<(i64, i64)>,
}

/// A measurement; its place among all stands for its id.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Row {
    concept: i64,
    day: i32,
    value: Option<f64>,
}

impl Row {
    /// What enters sums: a decimal of six places.
    fn decimal(&self) -> Option<i128> {
        let scaled = self.value? * 1e6;
        #[allow(clippy::cast_possible_truncation)]
        (scaled.abs() < 1e20).then_some(scaled.round() as i128)
    }

    /// What is compared: zeros are one, NaN is NULL.
    fn canonical(&self) -> Option<f64> {
        self.value.filter(|v| !v.is_nan()).map(|v| v + 0.0)
    }
}

#[allow(clippy::cast_precision_loss)]
fn count(n: usize) -> Option<f64> {
    Some(n as f64)
}

#[allow(clippy::cast_precision_loss)]
fn sum(rows: &[Row]) -> Option<f64> {
    let decimals: Vec<_> = rows.iter().filter_map(Row::decimal).collect();
    (!decimals.is_empty()).then(|| decimals.iter().sum::<i128>() as f64 / 1e6)
}

#[allow(clippy::cast_precision_loss)]
fn mean(rows: &[Row]) -> Option<f64> {
    let n = rows.iter().filter_map(Row::decimal).count();
    sum(rows).map(|s| s / n as f64)
}

#[allow(clippy::cast_precision_loss)]
fn wrapped(rows: &[Row]) -> f64 {
    let values = rows
        .iter()
        .map(|r| r.concept.wrapping_mul(4_611_686_018_427_387_905));
    values.fold(0_i64, i64::wrapping_add) as f64
}

fn least(rows: &[Row]) -> Option<f64> {
    rows.iter().filter_map(Row::canonical).reduce(f64::min)
}

fn greatest(rows: &[Row]) -> Option<f64> {
    rows.iter().filter_map(Row::canonical).reduce(f64::max)
}

/// One value for a patient that has rows.
fn per_patient(patient: &Patient, of: impl Fn(&[Row]) -> Option<f64>) -> Vec<Option<f64>> {
    match patient.rows.as_slice() {
        [] => Vec::new(),
        rows => vec![of(rows)],
    }
}

#[allow(clippy::cast_precision_loss)]
fn year(patient: &Patient, found: bool) -> Vec<Option<f64>> {
    found
        .then_some(Some((patient.year - 1900) as f64))
        .into_iter()
        .collect()
}

/// In the order of day, then of what the statement reads: the value, or the concept.
fn by_day(patient: &Patient) -> Vec<Row> {
    let mut rows = patient.rows.clone();
    rows.sort_by(|a, b| a.day.cmp(&b.day).then_with(|| by_value(a, b)));
    rows
}

fn by_value(a: &Row, b: &Row) -> Ordering {
    let nulls = a.value.is_none().cmp(&b.value.is_none());
    nulls.then_with(|| match (a.value, b.value) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        _ => Ordering::Equal,
    })
}

fn values(rows: impl IntoIterator<Item = Row>) -> Vec<Option<f64>> {
    rows.into_iter().map(|r| r.value).collect()
}

fn above(rows: &[Row], limit: f64) -> bool {
    // DataFusion compares doubles in their total order, in which NaN has a place.
    let above = |v: f64| v.total_cmp(&limit).is_gt();
    rows.iter().any(|r| r.value.is_some_and(above))
}

const PERSON: &str = "(SELECT p.year_of_birth - 1900 AS v, p.person_id FROM person p WHERE";
const BY_DAY: &str = "OVER (PARTITION BY person_id ORDER BY measurement_date";

/// What statements select from.
#[rustfmt::skip]
#[allow(clippy::cast_precision_loss)]
fn cases() -> Vec<(String, Values)> {
    let fold = |f: &str| format!("(SELECT person_id, {f} AS v FROM measurement GROUP BY person_id)");
    let person = |c: &str| format!("{PERSON} {c})");
    let window = |w: &str| format!("(SELECT person_id, {w} AS v FROM measurement)");
    let exists = "EXISTS (SELECT 1 FROM measurement m WHERE m.person_id = p.person_id AND m.value_as_number > 5)";
    vec![
        (fold("COUNT(*)"), |p| per_patient(p, |r| count(r.len()))),
        (fold("COUNT(value_as_number)"), |p| per_patient(p, |r| count(r.iter().filter_map(Row::canonical).count()))),
        (fold("COUNT(DISTINCT value_as_number)"), |p| per_patient(p, |r| count(r.iter().filter_map(Row::canonical).map(f64::to_bits).collect::<BTreeSet<_>>().len()))),
        (fold("COUNT(*) FILTER (WHERE measurement_concept_id = 10)"), |p| per_patient(p, |r| count(r.iter().filter(|r| r.concept == 10).count()))),
        (fold("SUM(value_as_number)"), |p| per_patient(p, sum)),
        (fold("AVG(value_as_number)"), |p| per_patient(p, mean)),
        (fold("AVG(measurement_concept_id)"), |p| per_patient(p, |r| Some(r.iter().map(|r| r.concept as f64).sum::<f64>() / r.len() as f64))),
        (fold("SUM(measurement_concept_id)"), |p| per_patient(p, |r| Some(r.iter().map(|r| r.concept as f64).sum()))),
        // Sums of integers wrap.
        (fold("SUM(measurement_concept_id * 4611686018427387905)"), |p| per_patient(p, |r| Some(wrapped(r)))),
        (window("SUM(measurement_concept_id * 4611686018427387905) OVER (PARTITION BY person_id)"), |p| vec![Some(wrapped(&p.rows)); p.rows.len()]),
        (fold("MIN(value_as_number)"), |p| per_patient(p, least)),
        (fold("MAX(value_as_number)"), |p| per_patient(p, greatest)),
        ("(SELECT person_id, value_as_number, COUNT(*) AS v FROM measurement GROUP BY person_id, value_as_number)".into(), |p| {
            let mut groups: BTreeMap<Option<u64>, usize> = BTreeMap::new();
            for row in &p.rows {
                *groups.entry(row.canonical().map(f64::to_bits)).or_default() += 1;
            }
            groups.into_values().map(count).collect()
        }),
        ("(SELECT DISTINCT person_id, value_as_number AS v FROM measurement)".into(), |p| {
            p.rows.iter().map(|r| r.canonical().map(f64::to_bits)).collect::<BTreeSet<_>>().into_iter().map(|b| b.map(f64::from_bits)).collect()
        }),
        ("(SELECT person_id, value_as_number AS v FROM measurement UNION ALL SELECT person_id, CAST(year_of_birth - 1900 AS DOUBLE) FROM person)".into(), |p| {
            values(p.rows.clone()).into_iter().chain(year(p, true)).collect()
        }),
        ("(SELECT person_id, measurement_concept_id AS v FROM measurement UNION SELECT person_id, 10 FROM person)".into(), |p| {
            p.rows.iter().map(|r| r.concept).chain([10]).collect::<BTreeSet<_>>().into_iter().map(|c| Some(c as f64)).collect()
        }),
        (person(exists), |p| year(p, above(&p.rows, 5.0))),
        (person(&format!("NOT {exists}")), |p| year(p, !above(&p.rows, 5.0))),
        (person(&format!("year_of_birth = 1953 OR {exists}")), |p| year(p, p.year == 1953 || above(&p.rows, 5.0))),
        (person(&format!("year_of_birth = 1953 OR NOT {exists}")), |p| year(p, p.year == 1953 || !above(&p.rows, 5.0))),
        (person("person_id IN (SELECT person_id FROM measurement WHERE measurement_concept_id = 10)"), |p| year(p, p.rows.iter().any(|r| r.concept == 10))),
        (person("person_id IN (SELECT person_id FROM measurement GROUP BY person_id HAVING COUNT(*) > 3)"), |p| year(p, p.rows.len() > 3)),
        ("(SELECT a.person_id, a.value_as_number AS v FROM measurement a WHERE EXISTS (SELECT 1 FROM measurement b WHERE b.person_id = a.person_id AND b.measurement_date > a.measurement_date))".into(), |p| {
            let last = p.rows.iter().map(|r| r.day).max();
            values(p.rows.iter().copied().filter(|r| Some(r.day) < last))
        }),
        ("(SELECT person_id, value_as_number AS v FROM measurement WHERE measurement_concept_id IN (SELECT descendant_concept_id FROM concept_ancestor WHERE ancestor_concept_id = $concept))".into(), |p| {
            values(p.rows.iter().copied().filter(|r| p.ancestors.contains(&(10, r.concept))))
        }),
        ("(SELECT person_id, value_as_number AS v FROM measurement m WHERE NOT EXISTS (SELECT 1 FROM concept_ancestor a WHERE a.descendant_concept_id = m.measurement_concept_id))".into(), |p| {
            values(p.rows.iter().copied().filter(|r| p.ancestors.iter().all(|a| a.1 != r.concept)))
        }),
        ("(WITH f AS (SELECT person_id, MIN(measurement_date) AS d FROM measurement GROUP BY person_id) SELECT m.person_id, value_as_number AS v FROM measurement m JOIN f ON f.person_id = m.person_id WHERE m.measurement_date = f.d)".into(), |p| {
            let first = p.rows.iter().map(|r| r.day).min();
            values(p.rows.iter().copied().filter(|r| Some(r.day) == first))
        }),
        (format!("(SELECT person_id, v FROM (SELECT person_id, value_as_number AS v, ROW_NUMBER() {BY_DAY} DESC) AS n FROM measurement) x WHERE n = 1)"), |p| {
            let last = p.rows.iter().map(|r| r.day).max();
            values(by_day(p).into_iter().find(|r| Some(r.day) == last))
        }),
        (format!("(SELECT b.person_id, b.value_as_number AS v FROM (SELECT * FROM (SELECT person_id, ROW_NUMBER() {BY_DAY}) AS n FROM measurement) x WHERE n <= 2) a JOIN measurement b ON b.person_id = a.person_id)"), |p| {
            let times = p.rows.len().min(2);
            values(p.rows.iter().copied().flat_map(|r| std::iter::repeat_n(r, times)))
        }),
        (window(&format!("RANK() {BY_DAY})")), |p| {
            p.rows.iter().map(|r| count(1 + p.rows.iter().filter(|o| o.day < r.day).count())).collect()
        }),
        (window(&format!("DENSE_RANK() {BY_DAY})")), |p| {
            let days = |d| p.rows.iter().map(|o| o.day).filter(|o| *o < d).collect::<BTreeSet<_>>().len();
            p.rows.iter().map(|r| count(1 + days(r.day))).collect()
        }),
        (window(&format!("LAG(value_as_number) {BY_DAY})")), |p| {
            let rows = by_day(p);
            (0..rows.len()).map(|i| i.checked_sub(1).and_then(|i| rows[i].value)).collect()
        }),
        (window(&format!("LEAD(measurement_concept_id, 2, 7) {BY_DAY})")), |p| {
            let mut rows = p.rows.clone();
            rows.sort_by_key(|r| (r.day, r.concept));
            (0..rows.len()).map(|i| Some(rows.get(i + 2).map_or(7.0, |r| r.concept as f64))).collect()
        }),
        (window(&format!("FIRST_VALUE(value_as_number) {BY_DAY})")), |p| {
            let rows = by_day(p);
            rows.iter().map(|_| rows[0].value).collect()
        }),
        (window(&format!("LAST_VALUE(value_as_number) {BY_DAY} ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)")), |p| {
            let rows = by_day(p);
            rows.iter().map(|_| rows[rows.len() - 1].value).collect()
        }),
        (window(&format!("SUM(value_as_number) {BY_DAY})")), |p| {
            let until = |day| p.rows.iter().copied().filter(|r| r.day <= day).collect::<Vec<_>>();
            p.rows.iter().map(|r| sum(&until(r.day))).collect()
        }),
        (window(&format!("AVG(value_as_number) {BY_DAY} ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING)")), |p| {
            let rows = by_day(p);
            (0..rows.len()).map(|i| mean(&rows[i.saturating_sub(2)..(i + 2).min(rows.len())])).collect()
        }),
        (window(&format!("MAX(value_as_number) {BY_DAY} ROWS BETWEEN 2 FOLLOWING AND 3 FOLLOWING)")), |p| {
            let rows = by_day(p);
            (0..rows.len()).map(|i| greatest(&rows[(i + 2).min(rows.len())..(i + 4).min(rows.len())])).collect()
        }),
        (window(&format!("FIRST_VALUE(value_as_number) {BY_DAY} ROWS BETWEEN 3 PRECEDING AND 2 PRECEDING)")), |p| {
            let rows = by_day(p);
            (0..rows.len()).map(|i| i.checked_sub(2).and_then(|_| rows[i.saturating_sub(3)].value)).collect()
        }),
        (window(&format!("LAST_VALUE(value_as_number) {BY_DAY} DESC ROWS BETWEEN 1 FOLLOWING AND 10000 FOLLOWING)")), |p| {
            let mut rows = p.rows.clone();
            rows.sort_by(|a, b| b.day.cmp(&a.day).then_with(|| by_value(a, b)));
            (1..=rows.len()).map(|i| rows[i..].last().and_then(|r| r.value)).collect()
        }),
        (window(&format!("SUM(value_as_number) {BY_DAY} ROWS BETWEEN 2 PRECEDING AND 1 PRECEDING)")), |p| {
            let rows = by_day(p);
            (0..rows.len()).map(|i| sum(&rows[i.saturating_sub(2)..i])).collect()
        }),
        (window(&format!("MIN(value_as_number) {BY_DAY} ROWS BETWEEN CURRENT ROW AND 2 FOLLOWING)")), |p| {
            let rows = by_day(p);
            (0..rows.len()).map(|i| least(&rows[i..(i + 3).min(rows.len())])).collect()
        }),
        (window(&format!("COUNT(*) {BY_DAY} RANGE BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING)")), |p| {
            p.rows.iter().map(|r| count(p.rows.iter().filter(|o| o.day >= r.day).count())).collect()
        }),
        (window("RANK() OVER (PARTITION BY person_id ORDER BY value_as_number DESC NULLS FIRST)"), |p| {
            let before = |r: &Row, o: &Row| match (r.canonical(), o.canonical()) {
                (Some(r), Some(o)) => o > r,
                (r, o) => r.is_some() && o.is_none(),
            };
            p.rows.iter().map(|r| count(1 + p.rows.iter().filter(|o| before(r, o)).count())).collect()
        }),
        // Rows that are equal in all columns are numbered twice, in opposite orders.
        ("(SELECT person_id, 10 * a + b AS v FROM (SELECT person_id, ROW_NUMBER() OVER (PARTITION BY person_id ORDER BY c) AS a, ROW_NUMBER() OVER (PARTITION BY person_id ORDER BY c DESC) AS b FROM (SELECT person_id, measurement_concept_id AS c FROM measurement) m) n WHERE a < 3 AND b < 4)".into(), |p| {
            let mut rows: Vec<_> = p.rows.iter().map(|r| (r.concept, 0)).collect();
            rows.sort_unstable();
            (1..).zip(&mut rows).for_each(|(a, row)| row.1 = a);
            rows.sort_unstable_by_key(|(c, a)| (-c, *a));
            let numbered = (1..).zip(rows).filter(|(b, (_, a))| *a < 3 && *b < 4);
            numbered.map(|(b, (_, a))| Some(f64::from(10 * a + b))).collect()
        }),
        (window("COUNT(*) OVER (PARTITION BY person_id)"), |p| vec![count(p.rows.len()); p.rows.len()]),
        (window("MIN(value_as_number) FILTER (WHERE measurement_concept_id = 10) OVER (PARTITION BY person_id)"), |p| {
            let tens: Vec<_> = p.rows.iter().copied().filter(|r| r.concept == 10).collect();
            vec![least(&tens); p.rows.len()]
        }),
    ]
}

fn hospital() -> impl Strategy<Value = Hospital> {
    let value = prop_oneof![
        6 => (-20_i32..120).prop_map(|v| Some(f64::from(v) / 10.0)),
        1 => Just(None),
        2 => prop_oneof![Just(f64::NAN), Just(-f64::NAN), Just(f64::INFINITY), Just(0.0), Just(-0.0), Just(1e300), Just(9.9e13), Just(1e14), Just(1e-9), Just(f64::NEG_INFINITY)].prop_map(Some),
    ];
    let measurement = (0_i64..6, 9_i64..12, 18_300_i32..18_304, value);
    prop::collection::vec(measurement, 0..50).prop_map(|measurements| Hospital {
        persons: (0..6).map(|id| (id, 8507, 1950 + id)).collect(),
        measurements,
        ancestors: vec![(10, 10), (10, 11), (1, 10)],
    })
}

fn patient(hospital: &Hospital, id: i64) -> Patient {
    let row = |m: &Measurement| Row {
        concept: m.1,
        day: m.2,
        value: m.3,
    };
    let rows = hospital.measurements.iter().filter(|m| m.0 == id);
    Patient {
        year: 1950 + id,
        rows: rows.map(row).collect(),
        ancestors: hospital.ancestors.clone(),
    }
}

/// Rows, and the sum of their values on the grid.
fn expected(hospital: &Hospital, of: Values) -> [i64; 2] {
    let values = hospital.persons.iter().map(|p| of(&patient(hospital, p.0)));
    let values: Vec<_> = values.flatten().collect();
    let known = values.iter().copied().flatten().filter(|v| !v.is_nan());
    #[allow(clippy::cast_possible_truncation)]
    let steps = known.map(|v| (v.clamp(-100.0, 100.0) / 0.01).round_ties_even() as i64);
    [i64::try_from(values.len()).expect("few"), steps.sum()]
}

fn statement(rows: &str) -> String {
    let sql = format!("SELECT COUNT(*) AS n, SUM(v) AS total FROM {rows} rows");
    template(&sql, DECLARED)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn statements_agree_with_a_plain_reading(hospital in hospital(), batch in 1_usize..20, partitions in 1_usize..4, seed in 1_u64..1000) {
        for (rows, of) in cases() {
            let found = answer(&statement(&rows), hospital.shuffled(batch, partitions, seed));
            let found: Vec<_> = found.values()[0].iter().map(|cells| cells[0]).collect();
            prop_assert_eq!(found, expected(&hospital, of), "{}", rows);
        }
    }
}

/// With few rows a patient, so that the bound is what holds.
const TIGHT: &str = "contribution = { max_groups = 1, max_rows_per_group = 3 }\nbounds.total = { lower = \"-100\", upper = \"100\", step = \"0.01\" }";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3))]

    #[test]
    fn one_patient_moves_each_component_by_at_most_its_bound(hospital in hospital(), patient in 0_i64..6, seed in 1_u64..1000) {
        for (rows, _) in cases() {
            let text = template(&format!("SELECT COUNT(*) AS n, SUM(v) AS total FROM {rows} rows"), TIGHT);
            let with = answer(&text, hospital.shuffled(7, 2, seed));
            let without = answer(&text, hospital.without(patient).shuffled(11, 3, seed + 1));
            for (component, bound) in [3, 3 * 10_000].into_iter().enumerate() {
                let moved = with.values()[0][component][0] - without.values()[0][component][0];
                prop_assert!(moved.abs() <= bound, "{}: {}", rows, moved);
            }
        }
    }
}

/// What the tests above would see of statements that are not tracked: DataFusion itself answers
/// them otherwise when rows come in another order, or when another patient is there.
#[test]
fn what_is_not_tracked_shows() {
    let hospital = Hospital {
        persons: (0..6).map(|id| (id, 8507, 1950 + id)).collect(),
        measurements: (0..60)
            .map(|i| {
                (
                    i % 6,
                    10,
                    18_300,
                    Some(0.1 * f64::from(i32::try_from(i * i % 17).expect("small"))),
                )
            })
            .collect(),
        ancestors: Vec::new(),
    };
    let tie = "SELECT person_id, value_as_number FROM (SELECT person_id, value_as_number, ROW_NUMBER() OVER (PARTITION BY person_id ORDER BY measurement_date) AS n FROM measurement) WHERE n = 1 AND person_id = 1";
    let double = "SELECT person_id, SUM(value_as_number) FROM measurement WHERE person_id = 1 GROUP BY person_id";
    for order in [tie, double] {
        let answers = (0..20).map(|seed| plain(order, hospital.shuffled(100, 1, seed)));
        let answers: BTreeSet<_> = answers.collect();
        assert!(answers.len() > 1, "{order}");
    }
    let window =
        "SELECT person_id, COUNT(*) OVER (ORDER BY measurement_date) AS c FROM measurement";
    let other = "SELECT person_id FROM person WHERE person_id = 1 AND EXISTS (SELECT 1 FROM measurement m WHERE m.person_id > 4)";
    let null = "SELECT person_id FROM person WHERE person_id NOT IN (SELECT visit_occurrence_id FROM measurement) AND person_id = 1";
    for (mixed, leaves) in [(window, 0), (other, 5), (null, 0)] {
        let one = |h: &Hospital| {
            let rows = plain(mixed, h.tables(100, 1));
            rows.lines()
                .filter(|l| l.contains("| 1 "))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let mut less = hospital.without(leaves);
        if mixed == null {
            less.measurements.clear();
        }
        assert_ne!(one(&hospital), one(&less), "{mixed}");
    }
}

/// DataFusion's own answer, as text.
fn plain(sql: &str, tables: Arc<dyn SchemaProvider>) -> String {
    let config = SessionConfig::new().with_target_partitions(1);
    let context = SessionContext::new_with_config(config);
    let catalog = context.catalog("datafusion").expect("catalog");
    catalog
        .register_schema("public", tables)
        .expect("registered");
    let answer = async { context.sql(sql).await?.collect().await };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("runtime");
    let batches = runtime.block_on(answer).expect("an answer");
    pretty_format_batches(&batches).expect("text").to_string()
}

fn chain(levels: usize, level: impl Fn(String) -> String) -> String {
    let names = (1..levels).map(|i| format!("a{i} AS ({})", level(format!("a{}", i - 1))));
    let names: Vec<_> = names.collect();
    format!(
        "WITH a0 AS (SELECT person_id, measurement_concept_id AS x FROM measurement), {} SELECT COUNT(*) AS n FROM a{}",
        names.join(", "),
        levels - 1
    )
}

/// As deep as statements may be, on the stack of a test's thread, which is that of a service's.
#[test]
fn the_deepest_statements_run() {
    let levels: [fn(String) -> String; 6] = [
        |a| format!("SELECT person_id, COUNT(x) AS x FROM {a} GROUP BY person_id"),
        |a| {
            format!(
                "SELECT person_id, SUM(x) OVER (PARTITION BY person_id ORDER BY x) AS x FROM {a}"
            )
        },
        |a| {
            format!(
                "SELECT person_id, x FROM {a} z WHERE EXISTS (SELECT 1 FROM person p WHERE p.person_id = z.person_id)"
            )
        },
        |a| {
            format!(
                "SELECT z.person_id, x + 1 AS x FROM {a} z JOIN person p ON p.person_id = z.person_id"
            )
        },
        |a| format!("SELECT person_id, x FROM {a} UNION SELECT person_id, 1 FROM person"),
        |a| {
            format!(
                "SELECT DISTINCT person_id, MAX(COUNT(x)) OVER (PARTITION BY person_id ORDER BY y) AS x FROM (SELECT person_id, x, x + 1 AS y FROM {a}) z WHERE x < 5 OR EXISTS (SELECT 1 FROM person p WHERE p.person_id = z.person_id) GROUP BY person_id, y HAVING COUNT(*) > 0"
            )
        },
    ];
    let hospital = Hospital {
        persons: (0..6).map(|id| (id, 8507, 1950 + id)).collect(),
        measurements: (0..20).map(|i| (i % 6, 10, 18_300, None)).collect(),
        ancestors: Vec::new(),
    };
    for level in levels {
        // Two queries a level in the last.
        let sql = chain(
            if level(String::new()).contains("FROM (") {
                20
            } else {
                38
            },
            level,
        );
        let declared = "contribution = { max_groups = 1, max_rows_per_group = 2 }";
        let n = answer(&template(&sql, declared), hospital.tables(5, 3));
        assert!(n.values()[0][0][0] >= 6, "{sql}");
    }
}
