//! A generator of statements that are accepted, and of hospitals with extreme rows.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::support::{Hospital, Measurement, template};

/// A statement, its keys, bounds and limits.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    source: Source,
    filter: &'static str,
    keys: Vec<Key>,
    measures: Vec<Measure>,
    pub(crate) max_groups: u32,
    pub(crate) max_rows: u32,
}

/// What stands behind FROM.
#[derive(Clone, Copy, Debug)]
struct Source {
    sql: &'static str,
    /// Which aliases it has, of `m` (measurements), `p` (persons), `a` (ancestors).
    aliases: &'static str,
}

/// A group key: its expression, the aliases that it reads, its domain.
#[derive(Clone, Copy, Debug)]
struct Key {
    name: &'static str,
    sql: &'static str,
    aliases: &'static str,
    domain: &'static str,
}

/// A measure of `m`, and whether it needs bounds.
#[derive(Clone, Copy, Debug)]
struct Measure {
    sql: &'static str,
    bounds: Option<&'static str>,
}

const SOURCES: &[Source] = &[
    Source {
        sql: "measurement m",
        aliases: "m",
    },
    Source {
        sql: "measurement m JOIN person p ON p.person_id = m.person_id",
        aliases: "mp",
    },
    Source {
        sql: "measurement m LEFT JOIN person p ON p.person_id = m.person_id AND m.value_as_number > 1",
        aliases: "mp",
    },
    Source {
        sql: "person p LEFT JOIN (SELECT person_id, measurement_concept_id, measurement_date, value_as_number * 2 AS value_as_number FROM measurement WHERE value_as_number > 0) m ON m.person_id = p.person_id",
        aliases: "mp",
    },
    Source {
        sql: "measurement m JOIN concept_ancestor a ON a.descendant_concept_id = m.measurement_concept_id",
        aliases: "ma",
    },
    Source {
        sql: "(SELECT x.person_id, x.measurement_concept_id, x.measurement_date, CASE WHEN a.ancestor_concept_id = 1 THEN x.value_as_number END AS value_as_number FROM measurement x LEFT JOIN concept_ancestor a ON a.descendant_concept_id = x.measurement_concept_id) m",
        aliases: "m",
    },
    Source {
        sql: "(SELECT x.* FROM measurement x WHERE EXISTS (SELECT 1 FROM measurement y WHERE y.person_id = x.person_id AND y.value_as_number > x.value_as_number)) m",
        aliases: "m",
    },
    Source {
        sql: "(SELECT x.* FROM measurement x WHERE x.value_as_number > 9 OR NOT EXISTS (SELECT 1 FROM person y WHERE y.person_id = x.person_id AND y.gender_concept_id = 8507)) m",
        aliases: "m",
    },
    Source {
        sql: "(SELECT x.* FROM measurement x WHERE x.measurement_concept_id IN (SELECT descendant_concept_id FROM concept_ancestor WHERE ancestor_concept_id = 1)) m",
        aliases: "m",
    },
    Source {
        sql: "(SELECT person_id, measurement_concept_id, measurement_date, value_as_number FROM measurement WHERE value_as_number > 4 UNION ALL SELECT person_id, measurement_concept_id + 1, measurement_date, NULL FROM measurement UNION ALL SELECT person_id, gender_concept_id, DATE '2020-02-02', 3.5 FROM person) m",
        aliases: "m",
    },
    Source {
        sql: "(SELECT DISTINCT person_id, measurement_concept_id, month_of(measurement_date) AS measurement_date, value_as_number FROM measurement) m",
        aliases: "m",
    },
    Source {
        sql: "(SELECT person_id, measurement_concept_id, MIN(measurement_date) AS measurement_date, SUM(value_as_number) AS value_as_number FROM measurement GROUP BY person_id, measurement_concept_id HAVING COUNT(*) < 9) m",
        aliases: "m",
    },
    Source {
        sql: "(SELECT person_id, COUNT(*) AS measurement_concept_id, MAX(measurement_date) AS measurement_date, AVG(value_as_number) AS value_as_number FROM measurement GROUP BY person_id) m JOIN person p ON p.person_id = m.person_id",
        aliases: "mp",
    },
    Source {
        sql: "(SELECT * FROM (SELECT person_id, measurement_concept_id, measurement_date, value_as_number, ROW_NUMBER() OVER (PARTITION BY person_id ORDER BY measurement_date DESC) AS n FROM measurement) x WHERE n <= 3) m",
        aliases: "m",
    },
    Source {
        sql: "(SELECT person_id, LAG(measurement_concept_id) OVER (PARTITION BY person_id ORDER BY measurement_date) AS measurement_concept_id, measurement_date, AVG(value_as_number) OVER (PARTITION BY person_id ORDER BY measurement_date ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS value_as_number FROM measurement) m",
        aliases: "m",
    },
    Source {
        sql: "(WITH f AS (SELECT person_id, MIN(measurement_date) AS first FROM measurement GROUP BY person_id) SELECT x.person_id, x.measurement_concept_id, f.first AS measurement_date, x.value_as_number FROM measurement x JOIN f ON f.person_id = x.person_id WHERE x.measurement_date > f.first) m LEFT JOIN person p ON p.person_id = m.person_id",
        aliases: "mp",
    },
];

const FILTERS: &[&str] = &[
    "",
    "WHERE m.value_as_number > 2",
    "WHERE m.measurement_date >= $since",
    "WHERE m.measurement_date + INTERVAL '3 months' > $since AND (m.value_as_number > 5) IS NOT TRUE",
    "WHERE m.measurement_concept_id IN (10, 11, $concept) OR m.value_as_number IS NULL",
];

const KEYS: &[Key] = &[
    Key {
        name: "concept",
        sql: "m.measurement_concept_id",
        aliases: "m",
        domain: "{ numbers = [12, 10, 9007199254740991, -9007199254740991, 0] }",
    },
    Key {
        name: "year",
        sql: "year_of(m.measurement_date)",
        aliases: "m",
        domain: "{ calendar = \"year\", from = 2018-01-01, to = 2021-12-31 }",
    },
    Key {
        name: "sex",
        sql: "p.gender_concept_id",
        aliases: "p",
        domain: "{ concepts = [8507, 8532], labels = [\"M\", \"F\"] }",
    },
    Key {
        name: "age",
        sql: "age_band(p.year_of_birth, m.measurement_date)",
        aliases: "mp",
        domain: "{ values = [\"18-39\", \"0-17\", \"80+\"] }",
    },
    Key {
        name: "band",
        sql: "m.value_as_number",
        aliases: "m",
        domain: "{ bands = [\"-1.5\", \"0\", \"2.05\", \"7\"], below = true, above = true }",
    },
    Key {
        name: "whole_band",
        sql: "m.measurement_concept_id % 100",
        aliases: "m",
        domain: "{ bands = [\"9.5\", \"11\", \"12\"], above = true }",
    },
    Key {
        name: "high",
        sql: "m.value_as_number > 3",
        aliases: "m",
        domain: "{ booleans = [true, false] }",
    },
    Key {
        name: "month",
        sql: "month_of(add_days(m.measurement_date, m.measurement_concept_id))",
        aliases: "m",
        domain: "{ calendar = \"month\", from = 2019-01-01, to = 2020-12-31 }",
    },
    Key {
        name: "word",
        sql: "CASE WHEN m.value_as_number > 6 THEN 'many' WHEN m.value_as_number > 1 THEN 'Some' END",
        aliases: "m",
        domain: "{ values = [\"Some\", \"none\", \"many\"] }",
    },
    Key {
        name: "ancestor",
        sql: "a.ancestor_concept_id + 1",
        aliases: "a",
        domain: "{ numbers = [2, 11] }",
    },
];

const MEASURES: &[Measure] = &[
    Measure {
        sql: "COUNT(*)",
        bounds: None,
    },
    Measure {
        sql: "COUNT(m.value_as_number)",
        bounds: None,
    },
    Measure {
        sql: "COUNT(DISTINCT m.person_id)",
        bounds: None,
    },
    Measure {
        sql: "COUNT(*) FILTER (WHERE m.value_as_number > 3)",
        bounds: None,
    },
    Measure {
        sql: "SUM(m.value_as_number)",
        bounds: Some("{ lower = \"-10\", upper = \"100\", step = \"0.5\" }"),
    },
    Measure {
        sql: "AVG(m.value_as_number)",
        bounds: Some("{ lower = \"0\", upper = \"7\", step = \"0.001\" }"),
    },
    Measure {
        sql: "AVG(m.measurement_concept_id)",
        bounds: Some("{ lower = \"-100000\", upper = \"100000\", step = \"1\" }"),
    },
    Measure {
        sql: "SUM(2 * m.value_as_number - 1.5) FILTER (WHERE m.measurement_concept_id <> 10)",
        bounds: Some("{ lower = \"-3\", upper = \"3\", step = \"1\" }"),
    },
    Measure {
        sql: "AVG(m.value_as_number / (m.measurement_concept_id - 10))",
        bounds: Some("{ lower = \"-2\", upper = \"12\", step = \"0.25\" }"),
    },
    Measure {
        sql: "SUM(coalesce(abs(m.measurement_concept_id) / 3, 7))",
        bounds: Some("{ lower = \"0\", upper = \"1000\", step = \"1\" }"),
    },
    Measure {
        sql: "STDDEV(m.value_as_number)",
        bounds: Some("{ lower = \"0\", upper = \"7\", step = \"0.001\" }"),
    },
    Measure {
        sql: "VAR_POP(m.measurement_concept_id) FILTER (WHERE m.value_as_number < 4)",
        bounds: Some("{ lower = \"9\", upper = \"13\", step = \"0.5\" }"),
    },
    Measure {
        sql: "MEDIAN(m.value_as_number)",
        bounds: Some("{ lower = \"0\", upper = \"7\", step = \"0.05\" }"),
    },
    Measure {
        sql: "PERCENTILE_CONT(0.9) WITHIN GROUP (ORDER BY days_between($since, m.measurement_date)) FILTER (WHERE m.value_as_number > 1)",
        bounds: Some("{ lower = \"-975\", upper = \"325\", step = \"65\" }"),
    },
    Measure {
        sql: "AVG(days_between($since, m.measurement_date))",
        bounds: Some("{ lower = \"-1000\", upper = \"365\", step = \"5\" }"),
    },
];

impl Statement {
    /// The template around it.
    pub(crate) fn text(&self) -> String {
        let keys = self.keys.iter().map(|k| format!("{} AS {}", k.sql, k.name));
        let measures = self.measures.iter().enumerate();
        let measures = measures.map(|(i, m)| format!("{} AS x{i}", m.sql));
        let columns: Vec<_> = keys.chain(measures).collect();
        let groups: Vec<_> = (1..=self.keys.len()).map(|i| i.to_string()).collect();
        let group_by = match groups.as_slice() {
            [] => String::new(),
            groups => format!("GROUP BY {}", groups.join(", ")),
        };
        let sql = format!(
            "SELECT {} FROM {} {} {group_by}",
            columns.join(", "),
            self.source.sql,
            self.filter
        );
        template(&sql, &self.declarations())
    }

    /// Whether its rewrite can be written as SQL: without joins that mark rows.
    pub(crate) fn has_text(&self) -> bool {
        !self.source.sql.contains("OR NOT EXISTS")
    }

    fn declarations(&self) -> String {
        let limits = format!(
            "contribution = {{ max_groups = {}, max_rows_per_group = {} }}",
            self.max_groups, self.max_rows
        );
        let keys = self.keys.iter();
        let keys = keys.map(|k| format!("keys.{} = {}", k.name, k.domain));
        let bounds = self.measures.iter().enumerate();
        let bounds = bounds.filter_map(|(i, m)| Some(format!("bounds.x{i} = {}", m.bounds?)));
        let all: Vec<_> = [limits].into_iter().chain(keys).chain(bounds).collect();
        all.join("\n")
    }
}

/// Any statement of the generator.
pub(crate) fn statement() -> impl Strategy<Value = Statement> {
    select(SOURCES).prop_flat_map(|source| {
        let there = move |key: &Key| key.aliases.chars().all(|a| source.aliases.contains(a));
        let keys: Vec<_> = KEYS.iter().copied().filter(there).collect();
        let most = keys.len().min(2);
        (
            subsequence(keys, 0..=most).prop_shuffle(),
            prop::collection::vec(select(MEASURES), 1..4),
            select(FILTERS),
            1_u32..4,
            1_u32..4,
        )
            .prop_map(
                move |(keys, measures, filter, max_groups, max_rows)| Statement {
                    source,
                    filter,
                    keys,
                    measures,
                    max_groups,
                    max_rows,
                },
            )
    })
}

/// Few patients with many rows, of few values and of extreme ones.
pub(crate) fn hospital() -> impl Strategy<Value = Hospital> {
    let person = (
        select(vec![8507_i64, 8532, 0, 8551]),
        prop_oneof![4 => 1930_i64..2015, 1 => any::<i64>()],
    );
    let persons = prop::collection::vec(person, 6).prop_map(|persons| {
        let ids = [i64::MIN, -1, 0, 1, 2, i64::MAX];
        let with_id = |(id, (sex, born))| (id, sex, born);
        ids.into_iter().zip(persons).map(with_id).collect()
    });
    let measurements = prop::collection::vec(measurement(), 0..120);
    (persons, measurements).prop_map(|(persons, measurements)| Hospital {
        persons,
        measurements,
        ancestors: vec![(10, 10), (10, 11), (1, 10), (1, 12), (1, 12)],
    })
}

/// The largest key that a template can declare.
const LARGEST: i64 = (1 << 53) - 1;

fn measurement() -> impl Strategy<Value = Measurement> {
    let value = prop_oneof![
        6 => (-20_i32..120).prop_map(|v| Some(f64::from(v) / 10.0)),
        2 => Just(None),
        1 => any::<f64>().prop_map(Some),
        1 => select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 1e300, 5e-324]).prop_map(Some),
    ];
    let concept = prop_oneof![
        6 => 9_i64..14,
        1 => select(vec![i64::MAX, i64::MIN, 0, LARGEST, -LARGEST]),
        1 => any::<i64>(),
    ];
    // Most days in 2017 to 2022; the first and last that there are.
    let day = prop_oneof![9 => 17_300_i32..19_200, 1 => select(vec![i32::MIN, i32::MAX])];
    // Two patients with most of the rows; one without a person.
    let patient = select(vec![0_i64, 0, 0, 1, 1, 2, -1, i64::MIN, i64::MAX, 77]);
    (patient, concept, day, value)
}
