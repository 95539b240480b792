//! Snapshots of many files, each a range of patients, as imports write them.

use std::time::Duration;

use crate::files::{Files, ROW_GROUP, concept};
use crate::support::{answer, answer_by_both, template};

const JOINED: &str = "SELECT p.gender_concept_id AS sex, COUNT(*) AS n, AVG(m.value_as_number) AS mean FROM measurement m JOIN person p ON p.person_id = m.person_id GROUP BY 1";
const OUTER: &str = "SELECT p.gender_concept_id AS sex, COUNT(DISTINCT m.person_id) AS n, AVG(m.value_as_number) AS mean FROM person p LEFT JOIN (SELECT person_id, value_as_number FROM measurement WHERE value_as_number > 100) m ON m.person_id = p.person_id GROUP BY 1";
const LOOKED_UP: &str = "SELECT p.gender_concept_id AS sex, COUNT(*) AS n, AVG(m.value_as_number) AS mean FROM measurement m LEFT JOIN person p ON p.person_id = m.person_id GROUP BY 1";
const DECLARED: &str = "contribution = { max_groups = 1, max_rows_per_group = 3 }\nkeys.sex = { concepts = [8507, 8532] }\nbounds.mean = { lower = \"0\", upper = \"200\", step = \"0.1\" }";

/// What a statement may select from: an operator of each kind over files.
const TRACKED: [&str; 8] = [
    "(SELECT person_id, AVG(value_as_number) AS v FROM measurement GROUP BY person_id)",
    "(SELECT DISTINCT person_id, value_as_number AS v FROM measurement)",
    "(SELECT person_id, v FROM (SELECT person_id, value_as_number AS v, ROW_NUMBER() OVER (PARTITION BY person_id ORDER BY measurement_date DESC) AS n FROM measurement) x WHERE n = 1)",
    "(SELECT person_id, value_as_number AS v FROM measurement m WHERE person_id IN (SELECT person_id FROM person WHERE year_of_birth < 1990))",
    "(SELECT person_id, 1 AS v FROM person p WHERE NOT EXISTS (SELECT 1 FROM measurement m WHERE m.person_id = p.person_id AND m.value_as_number > 198))",
    "(SELECT person_id, value_as_number AS v FROM measurement m WHERE value_as_number < 100 OR EXISTS (SELECT 1 FROM person p WHERE m.person_id = p.person_id AND year_of_birth < 1990))",
    "(SELECT a.person_id, a.value_as_number AS v FROM measurement a WHERE NOT EXISTS (SELECT 1 FROM measurement b WHERE a.person_id = b.person_id AND a.measurement_date < b.measurement_date))",
    "(SELECT person_id, value_as_number AS v FROM measurement UNION ALL SELECT person_id, CAST(year_of_birth AS DOUBLE) FROM person)",
];

/// More files than any machine has processors: all of them answer, and as one file does whose row
/// groups split patients. A join
/// that waits for partitions that don't run would wait for ever, so there is a deadline.
#[test]
fn many_parts_answer_as_one_does() {
    const PATIENTS: u64 = 2000;
    let (few, many) = (
        tempfile::tempdir().expect("dir"),
        tempfile::tempdir().expect("dir"),
    );
    let one = Files::generate(few.path(), 10 * PATIENTS, PATIENTS, 1, 61);
    let parts = Files::generate(many.path(), 10 * PATIENTS, PATIENTS, 200, ROW_GROUP);
    let tracked = TRACKED.map(|rows| format!("SELECT p.gender_concept_id AS sex, COUNT(*) AS n, AVG(v) AS mean FROM (SELECT r.person_id, v FROM {rows} r) m JOIN person p ON p.person_id = m.person_id GROUP BY 1"));
    let statements = [JOINED, OUTER, LOOKED_UP].map(str::to_owned);
    for sql in statements.into_iter().chain(tracked) {
        let text = template(&sql, DECLARED);
        let (done, waited) = std::sync::mpsc::channel();
        let tables = parts.schema();
        let of_parts = text.clone();
        std::thread::spawn(move || done.send(answer_by_both(&of_parts, tables)));
        let of_parts = waited
            .recv_timeout(Duration::from_secs(120))
            .expect("an answer");
        assert_eq!(of_parts, answer(&text, one.schema()), "{sql}");
        assert!(of_parts.values()[0][0].iter().all(|n| *n > 300), "{sql}");
    }
}

#[test]
fn groups_are_bounded_alike_in_any_part() {
    let dirs = [(); 2].map(|()| tempfile::tempdir().expect("dir"));
    let concepts: Vec<_> = (0..10).map(|i| concept(i).to_string()).collect();
    let declared = format!(
        "contribution = {{ max_groups = 3, max_rows_per_group = 2 }}\nkeys.concept = {{ numbers = [{}] }}",
        concepts.join(", ")
    );
    let sql = "SELECT measurement_concept_id AS concept, COUNT(*) AS n FROM measurement GROUP BY 1";
    let text = template(sql, &declared);
    let one = answer_by_both(
        &text,
        Files::generate(dirs[0].path(), 20_000, 1000, 1, ROW_GROUP).schema(),
    );
    let seven = answer_by_both(
        &text,
        Files::generate(dirs[1].path(), 20_000, 1000, 7, 61).schema(),
    );
    assert_eq!(one, seven);
    let total: i64 = one.values()[0][0].iter().sum();
    assert!((3000..=6000).contains(&total), "{total}");
}
