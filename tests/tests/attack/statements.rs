//! Statements that the engine accepts, one or more for each thing that it can do.

use std::sync::LazyLock;

use ward_tests::attack::engine::{Tabulation, template};

/// SQL and declarations.
pub(crate) type Statement = (&'static str, &'static str);

const ROWS: &str = "contribution = { max_groups = 1, max_rows_per_group = 2 }";
const SEX: &str = "contribution = { max_groups = 1, max_rows_per_group = 3 }\nkeys.sex = { concepts = [8507, 8532] }\nbounds.x = { lower = \"0\", upper = \"10\", step = \"0.1\" }";
const SEXES: &str = "contribution = { max_groups = 2, max_rows_per_group = 1 }\nkeys.sex = { concepts = [8507, 8532] }";
const CONCEPTS: &str = "contribution = { max_groups = 2, max_rows_per_group = 2 }\nkeys.c = { numbers = [9, 10, 11, 12, 9007199254740991] }\nbounds.x = { lower = \"-5\", upper = \"5\", step = \"0.5\" }";
const MONTHS: &str = "contribution = { max_groups = 3, max_rows_per_group = 1 }\nkeys.month = { calendar = \"month\", from = 2019-07-01, to = 2021-12-01 }\nkeys.kind = { numbers = [9201, 9202, 5083] }";
const BANDS: &str = "contribution = { max_groups = 1, max_rows_per_group = 1 }\nkeys.age = { values = [\"0-17\", \"18-39\", \"40-64\", \"65-79\", \"80+\"] }\nkeys.sex = { concepts = [8507, 8532] }";
const NIGHTS: &str = "contribution = { max_groups = 2, max_rows_per_group = 2 }\nkeys.kind = { numbers = [9201, 9202, 5083] }\nbounds.x = { lower = \"0\", upper = \"30\", step = \"1\" }";
const VALUE: &str = "contribution = { max_groups = 1, max_rows_per_group = 2 }\nbounds.x = { lower = \"-3\", upper = \"9\", step = \"0.5\" }";

/// All of them.
pub(crate) const STATEMENTS: &[Statement] = &[
    ("SELECT COUNT(*) AS n FROM measurement", ROWS),
    (
        "SELECT COUNT(*) AS n, COUNT(DISTINCT person_id) AS patients FROM measurement WHERE measurement_date >= $since",
        ROWS,
    ),
    (
        "SELECT COUNT(value_as_number) AS n, COUNT(visit_occurrence_id) AS at_visits FROM measurement",
        ROWS,
    ),
    (
        "SELECT COUNT(*) FILTER (WHERE measurement_concept_id IN (9, $concept)) AS n, COUNT(DISTINCT person_id) FILTER (WHERE value_as_number > 5) AS high FROM measurement",
        ROWS,
    ),
    (
        "SELECT p.gender_concept_id AS sex, COUNT(*) AS n, COUNT(DISTINCT m.person_id) AS patients, AVG(m.value_as_number) AS x FROM measurement m JOIN person p ON p.person_id = m.person_id GROUP BY 1",
        SEX,
    ),
    (
        "SELECT p.gender_concept_id AS sex, SUM(m.value_as_number) AS x FROM person p LEFT JOIN measurement m ON m.person_id = p.person_id GROUP BY 1",
        SEX,
    ),
    (
        "SELECT p.gender_concept_id AS sex, COUNT(DISTINCT m.person_id) AS some, COUNT(DISTINCT p.person_id) AS all_of_them, 100.0 * COUNT(DISTINCT m.person_id) / COUNT(DISTINCT p.person_id) AS share FROM person p LEFT JOIN (SELECT person_id FROM measurement WHERE value_as_number > 5) m ON m.person_id = p.person_id GROUP BY 1",
        SEXES,
    ),
    (
        "SELECT measurement_concept_id AS c, COUNT(*) AS n, AVG(value_as_number) AS x FROM measurement GROUP BY 1",
        CONCEPTS,
    ),
    (
        "SELECT measurement_concept_id AS c, SUM(value_as_number * 2 - 1) AS x FROM measurement WHERE NOT (value_as_number < 0 OR measurement_date IS NULL) GROUP BY 1",
        CONCEPTS,
    ),
    (
        "SELECT a.descendant_concept_id AS c, COUNT(DISTINCT m.person_id) AS n, SUM(m.value_as_number) AS x FROM measurement m JOIN concept_ancestor a ON a.descendant_concept_id = m.measurement_concept_id WHERE a.ancestor_concept_id = $concept GROUP BY 1",
        CONCEPTS,
    ),
    (
        "SELECT month_of(visit_start_date) AS month, visit_concept_id AS kind, COUNT(*) AS n FROM visit_occurrence GROUP BY 1, 2",
        MONTHS,
    ),
    (
        "SELECT age_band(p.year_of_birth, $since) AS age, p.gender_concept_id AS sex, COUNT(DISTINCT p.person_id) AS n FROM person p GROUP BY 1, 2",
        BANDS,
    ),
    (
        "SELECT age_band(p.year_of_birth, c.condition_start_date) AS age, p.gender_concept_id AS sex, COUNT(DISTINCT p.person_id) AS n FROM condition_occurrence c JOIN person p ON p.person_id = c.person_id GROUP BY 1, 2",
        BANDS,
    ),
    (
        "SELECT visit_concept_id AS kind, AVG(length_of_stay(visit_start_date, visit_end_date)) AS x FROM visit_occurrence GROUP BY 1",
        NIGHTS,
    ),
    (
        "SELECT v.visit_concept_id AS kind, AVG(m.value_as_number) AS x FROM measurement m JOIN visit_occurrence v ON v.person_id = m.person_id AND v.visit_occurrence_id = m.visit_occurrence_id GROUP BY 1",
        NIGHTS,
    ),
    (
        "SELECT COUNT(*) AS n FROM measurement m LEFT JOIN visit_occurrence v ON v.person_id = m.person_id AND v.visit_occurrence_id = m.visit_occurrence_id WHERE v.visit_concept_id = 9201 OR v.visit_concept_id IS NULL",
        ROWS,
    ),
    (
        "SELECT SUM(CAST(value_source_value AS DOUBLE)) AS x FROM measurement",
        VALUE,
    ),
    (
        "SELECT AVG(CASE WHEN value_as_number > 0 THEN value_as_number ELSE days_between($since, measurement_date) END) AS x FROM measurement",
        VALUE,
    ),
    (
        "SELECT SUM(year_of_birth * year_of_birth) AS x FROM person",
        VALUE,
    ),
    (
        "SELECT SUM(m.value_as_number) AS x FROM measurement m JOIN death d ON d.person_id = m.person_id WHERE days_between(m.measurement_date, d.death_date) BETWEEN 0 AND 365",
        VALUE,
    ),
];

/// Compiles a statement.
pub(crate) fn compile((sql, declarations): Statement) -> Tabulation {
    let compiled = Tabulation::compile(&template(sql, "0.5", declarations));
    compiled.unwrap_or_else(|refusal| panic!("{sql}\n{refusal}"))
}

/// The statements above, and all that the engine's golden files accept, by their SQL. What is accepted
/// tomorrow is attacked tomorrow.
pub(crate) static ACCEPTED: LazyLock<Vec<(String, Tabulation)>> = LazyLock::new(|| {
    let mut accepted: Vec<_> = STATEMENTS
        .iter()
        .map(|statement| (statement.0.to_owned(), compile(*statement)))
        .collect();
    let golden = golden();
    let golden = golden.iter().filter_map(|(sql, declared)| {
        let text = template(sql, "0.5", &declarations(declared));
        let compiled = Tabulation::compile(&text).ok()?;
        // Which keys from data are shown is a matter of chance: see `thresholds`.
        let public = compiled.table().data_key.is_none();
        public.then(|| (sql.clone(), compiled))
    });
    accepted.extend(golden);
    assert!(
        accepted.len() > STATEMENTS.len() + 50,
        "golden files are not read"
    );
    accepted
});

fn golden() -> Vec<(String, String)> {
    let dir = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../node/privacy/tests/engine/golden"
    );
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .expect("a directory")
        .map(|file| file.expect("an entry").path())
        .collect();
    files.sort();
    let mut found = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(file).expect("a file");
        let golden: toml::Table = text.parse().expect("TOML");
        let accepted = golden.get("accepted").and_then(toml::Value::as_array);
        for statement in accepted.into_iter().flatten() {
            let field = |name| statement.get(name).and_then(toml::Value::as_str);
            let declared = field("declared").unwrap_or_default();
            found.push((field("sql").expect("SQL").to_owned(), declared.to_owned()));
        }
    }
    found
}

/// As the engine's tests read the words in its golden files.
fn declarations(declared: &str) -> String {
    match declared {
        "" => ROWS.to_owned(),
        "sex" => format!("{ROWS}\nkeys.sex = {{ concepts = [8507, 8532] }}"),
        "mean" => {
            format!("{ROWS}\nbounds.mean = {{ lower = \"0\", upper = \"10\", step = \"0.1\" }}")
        }
        whole if whole.contains("contribution") => whole.to_owned(),
        rest => format!("{ROWS}\n{rest}"),
    }
}
