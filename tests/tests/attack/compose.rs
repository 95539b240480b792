//! Statements out of nowhere: relations inside relations, of everything that follows the patient.

use proptest::prelude::*;
use proptest::strategy::Union;
use ward_tests::attack::engine::{Tabulation, template};

/// A composed statement that the engine accepts.
pub(crate) fn accepted() -> impl Strategy<Value = (String, Tabulation)> {
    let statement = (relation(), outermost(), 1_u32..4, 1_u32..4);
    statement.prop_filter_map("refused", |(relation, (sql, declared), groups, rows)| {
        let sql = sql.replace("{}", &relation);
        let contribution = format!(
            "contribution = {{ max_groups = {groups}, max_rows_per_group = {rows} }}\n{declared}"
        );
        let compiled = Tabulation::compile(&template(&sql, "0.5", &contribution));
        Some((sql, compiled.ok()?))
    })
}

/// A tabulation of a relation, and its keys and bounds.
fn outermost() -> impl Strategy<Value = (&'static str, &'static str)> {
    let bounds = "bounds.x = { lower = \"-3\", upper = \"12\", step = \"0.5\" }";
    let by_concept = "bounds.x = { lower = \"-3\", upper = \"12\", step = \"0.5\" }\nkeys.c = { numbers = [0, 1, 2, 9, 10, 11, 9201] }";
    let by_month = "keys.m = { calendar = \"month\", from = 2019-07-01, to = 2021-12-01 }";
    let by_sex = "bounds.x = { lower = \"-3\", upper = \"12\", step = \"0.5\" }\nkeys.sex = { concepts = [8507, 8532] }";
    let spread = "bounds.x = { lower = \"-3\", upper = \"12\", step = \"0.5\" }\nbounds.y = { lower = \"-3\", upper = \"12\", step = \"0.5\" }";
    let by_most = "keys.most = { numbers = [0, 1, 2, 9, 10, 11, 9201] }";
    prop::sample::select(vec![
        ("SELECT MEDIAN(v) AS x, STDDEV(v) AS y FROM ({}) q", spread),
        (
            "SELECT most, COUNT(*) AS n, COUNT(DISTINCT person_id) AS patients FROM (SELECT person_id, MAX(c) OVER (PARTITION BY person_id) AS most FROM ({}) r) q GROUP BY 1",
            by_most,
        ),
        (
            "SELECT COUNT(*) AS n, COUNT(DISTINCT person_id) AS patients, SUM(v) AS x FROM ({}) q",
            bounds,
        ),
        (
            "SELECT c, COUNT(*) AS n, AVG(v) AS x FROM ({}) q GROUP BY 1",
            by_concept,
        ),
        (
            "SELECT month_of(d) AS m, COUNT(v) AS n, COUNT(DISTINCT person_id) AS patients FROM ({}) q GROUP BY 1",
            by_month,
        ),
        (
            "SELECT p.gender_concept_id AS sex, AVG(q.v) AS x, COUNT(DISTINCT q.person_id) AS some FROM person p LEFT JOIN ({}) q ON q.person_id = p.person_id GROUP BY 1",
            by_sex,
        ),
    ])
}

/// A relation of a patient's rows: `person_id`, a date `d`, a double `v` and an integer `c`.
fn relation() -> impl Strategy<Value = String> {
    let table = prop::sample::select(vec![
        "SELECT person_id, measurement_date AS d, value_as_number AS v, measurement_concept_id AS c FROM measurement",
        "SELECT person_id, measurement_date AS d, CAST(value_source_value AS DOUBLE) AS v, measurement_concept_id AS c FROM measurement",
        "SELECT person_id, condition_start_date AS d, 1.0 AS v, condition_concept_id AS c FROM condition_occurrence",
        "SELECT person_id, visit_start_date AS d, CAST(length_of_stay(visit_start_date, visit_end_date) AS DOUBLE) AS v, visit_concept_id AS c FROM visit_occurrence",
        "SELECT person_id, death_date AS d, 0.5 AS v, 0 AS c FROM death",
    ]);
    let table = table.prop_map(str::to_owned);
    table.prop_recursive(4, 12, 2, |inner| {
        let of_one = Union::new(OF_ONE.map(|sql| {
            let fill = move |a: String| sql.replace("{a}", &a);
            inner.clone().prop_map(fill)
        }));
        let of_two = Union::new(OF_TWO.map(|sql| {
            let fill = move |(a, b): (String, String)| sql.replace("{a}", &a).replace("{b}", &b);
            (inner.clone(), inner.clone()).prop_map(fill)
        }));
        prop_oneof![2 => of_one, 1 => of_two]
    })
}

const OF_ONE: [&str; 18] = [
    "SELECT person_id, d, MAX(v) OVER (PARTITION BY person_id ORDER BY d ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) AS v, DENSE_RANK() OVER (PARTITION BY person_id ORDER BY v) AS c FROM ({a}) r",
    "SELECT person_id, d, FIRST_VALUE(v) OVER (PARTITION BY person_id, c ORDER BY d DESC) AS v, c FROM ({a}) r",
    "SELECT person_id, d, v, c FROM ({a}) r WHERE v > 2 OR d < $since",
    "SELECT person_id, d, v * 2 - 1 AS v, c FROM ({a}) r WHERE c IN (9, 10, 9201)",
    "SELECT DISTINCT person_id, d, v, c FROM ({a}) r",
    "SELECT person_id, d, v, c FROM (SELECT person_id, d, v, c, ROW_NUMBER() OVER (PARTITION BY person_id ORDER BY d) AS k FROM ({a}) r) w WHERE k = 1",
    "SELECT person_id, d, v, c FROM (SELECT person_id, d, v, c, ROW_NUMBER() OVER (PARTITION BY c, person_id ORDER BY v DESC) AS k FROM ({a}) r) w WHERE k <= 2",
    "SELECT person_id, d, LAG(v) OVER (PARTITION BY person_id ORDER BY d) AS v, c FROM ({a}) r",
    "SELECT person_id, LEAD(d) OVER (PARTITION BY person_id ORDER BY d) AS d, v, c FROM ({a}) r",
    "SELECT person_id, d, SUM(v) OVER (PARTITION BY person_id ORDER BY d) AS v, c FROM ({a}) r",
    "SELECT person_id, d, AVG(v) OVER (PARTITION BY person_id ORDER BY d ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS v, RANK() OVER (PARTITION BY person_id ORDER BY d) AS c FROM ({a}) r",
    "SELECT person_id, MIN(d) AS d, MAX(v) AS v, COUNT(*) AS c FROM ({a}) r GROUP BY person_id",
    "SELECT person_id, MAX(d) AS d, SUM(v) AS v, COUNT(DISTINCT c) AS c FROM ({a}) r GROUP BY person_id HAVING COUNT(*) > 1",
    "SELECT person_id, MAX(d) AS d, AVG(v) AS v, c FROM ({a}) r GROUP BY person_id, c",
    "SELECT r.person_id, r.d, r.v, a.ancestor_concept_id AS c FROM ({a}) r JOIN concept_ancestor a ON a.descendant_concept_id = r.c",
    "SELECT person_id, d, v, c FROM ({a}) r WHERE c IN (SELECT descendant_concept_id FROM concept_ancestor WHERE ancestor_concept_id = $concept)",
    "SELECT r.person_id, r.d, r.v, p.year_of_birth AS c FROM ({a}) r JOIN person p ON p.person_id = r.person_id",
    "SELECT r.person_id, e.death_date AS d, r.v, r.c FROM ({a}) r LEFT JOIN death e ON e.person_id = r.person_id AND e.death_date > r.d",
];

const OF_TWO: [&str; 8] = [
    "SELECT person_id, d, v, c FROM ({a}) r UNION ALL SELECT person_id, d, v, c FROM ({b}) s",
    "SELECT person_id, d, v, c FROM ({a}) r UNION SELECT person_id, d, v, c FROM ({b}) s",
    "SELECT person_id, d, v, c FROM ({a}) r WHERE EXISTS (SELECT 1 FROM ({b}) s WHERE s.person_id = r.person_id AND s.d <= r.d)",
    "SELECT person_id, d, v, c FROM ({a}) r WHERE NOT EXISTS (SELECT 1 FROM ({b}) s WHERE s.person_id = r.person_id AND s.c = r.c AND s.v > r.v)",
    "SELECT person_id, d, v, c FROM ({a}) r WHERE r.person_id IN (SELECT s.person_id FROM ({b}) s WHERE s.v > 3)",
    "SELECT person_id, d, v, c FROM ({a}) r WHERE r.v > 5 OR EXISTS (SELECT 1 FROM ({b}) s WHERE s.person_id = r.person_id)",
    "SELECT r.person_id, r.d, r.v, s.k AS c FROM ({a}) r JOIN (SELECT person_id, COUNT(*) AS k FROM ({b}) t GROUP BY person_id) s ON s.person_id = r.person_id",
    "SELECT r.person_id, s.d AS d, r.v, r.c FROM ({a}) r LEFT JOIN (SELECT person_id, c, MIN(d) AS d FROM ({b}) t GROUP BY person_id, c) s ON s.person_id = r.person_id AND s.c = r.c",
];

/// Each piece is accepted by itself: what nobody accepts is not attacked.
#[test]
fn every_piece_is_accepted() {
    let rows = "SELECT person_id, measurement_date AS d, value_as_number AS v, measurement_concept_id AS c FROM measurement";
    let declared = "contribution = { max_groups = 1, max_rows_per_group = 1 }";
    for piece in OF_ONE.iter().chain(&OF_TWO) {
        let relation = piece.replace("{a}", rows).replace("{b}", rows);
        let sql = format!("SELECT COUNT(*) AS n FROM ({relation}) q");
        if let Err(refusal) = Tabulation::compile(&template(&sql, "0.5", declared)) {
            panic!("{sql}\n{refusal}");
        }
    }
}
