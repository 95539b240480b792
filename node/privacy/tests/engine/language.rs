//! The accepted language: golden statements, and the words of each refusal.

use crate::support::{compile, template};
use ward_privacy::Program;
use ward_schemas::canonical::ContentHash;
use ward_schemas::key::NoVocabulary;
use ward_schemas::library::TEMPLATES;
use ward_schemas::template::Template;

const SEX: &str = "contribution = { max_groups = 1, max_rows_per_group = 2 }\nkeys.sex = { concepts = [8507, 8532] }";
const PLAIN: &str = "contribution = { max_groups = 1, max_rows_per_group = 2 }";
const MEAN: &str = "contribution = { max_groups = 1, max_rows_per_group = 2 }\nbounds.mean = { lower = \"0\", upper = \"10\", step = \"0.1\" }";

#[test]
fn every_template_that_ships_compiles() {
    for (name, text) in TEMPLATES {
        let expanded = Template::parse(text)
            .and_then(|t| t.expand(ContentHash::of_bytes(b"v"), &NoVocabulary))
            .expect(name);
        let program = Program::compile(&expanded).unwrap_or_else(|e| panic!("{name}: {e}"));
        let again = Program::compile(&expanded).expect(name);
        assert_eq!(program.plan().hash(), again.plan().hash());
        assert!(program.plan().noise(program.plan().rho()).is_ok());
    }
}

#[test]
fn accepted() {
    let statements = [
        ("SELECT COUNT(*) AS n FROM person", PLAIN),
        (
            "SELECT COUNT(*) AS n, COUNT(DISTINCT person_id) AS patients FROM measurement WHERE measurement_date >= $since",
            PLAIN,
        ),
        (
            "SELECT gender_concept_id AS sex, COUNT(DISTINCT person_id) AS n FROM person GROUP BY 1",
            SEX,
        ),
        (
            "SELECT p.gender_concept_id AS sex, COUNT(*) AS n FROM measurement m JOIN person p ON m.person_id = p.person_id GROUP BY p.gender_concept_id",
            SEX,
        ),
        (
            "SELECT AVG(value_as_number) AS mean FROM measurement WHERE measurement_concept_id = $concept",
            MEAN,
        ),
        (
            "SELECT SUM(CASE WHEN value_as_number > 5 THEN 1 ELSE 0 END) AS mean FROM measurement",
            MEAN,
        ),
        (
            "SELECT AVG(2 * value_as_number + 1.5) AS mean FROM measurement WHERE value_as_number BETWEEN 1 AND 20",
            MEAN,
        ),
        (
            "SELECT AVG(days_between($since, measurement_date)) AS mean FROM measurement",
            MEAN,
        ),
        (
            "SELECT COUNT(value_as_number) AS n, COUNT(visit_occurrence_id) AS at_visits FROM measurement",
            PLAIN,
        ),
        (
            "SELECT COUNT(*) FILTER (WHERE measurement_concept_id IN (1, 2, $concept)) AS n FROM measurement",
            PLAIN,
        ),
        (
            "SELECT COUNT(*) AS n FROM measurement m JOIN concept_ancestor a ON a.descendant_concept_id = m.measurement_concept_id WHERE a.ancestor_concept_id = $concept",
            PLAIN,
        ),
        (
            "SELECT COUNT(*) AS n FROM measurement m JOIN visit_occurrence v ON v.person_id = m.person_id AND v.visit_occurrence_id = m.visit_occurrence_id WHERE v.visit_concept_id = 9201",
            PLAIN,
        ),
        (
            "SELECT COUNT(DISTINCT m.person_id) AS n, COUNT(DISTINCT p.person_id) AS all_patients, 100.0 * COUNT(DISTINCT m.person_id) / COUNT(DISTINCT p.person_id) AS share FROM person p LEFT JOIN (SELECT person_id FROM measurement WHERE value_as_number > 5) m ON m.person_id = p.person_id",
            PLAIN,
        ),
        (
            "SELECT COUNT(*) AS n FROM person WHERE NOT (year_of_birth < 1950 OR month_of_birth IS NULL) AND -year_of_birth < -1900",
            PLAIN,
        ),
        (
            "SELECT COUNT(*) AS n FROM measurement WHERE CAST(value_source_value AS DOUBLE) > 3",
            PLAIN,
        ),
    ];
    for (sql, declarations) in statements {
        if let Err(refusal) = compile(&template(sql, declarations)) {
            panic!("{sql}\n{refusal}");
        }
    }
}

/// Keys that are functions of the patient don't add to what a patient can move.
#[test]
fn keys_of_the_patient_cost_nothing() {
    let groups = |sql: &str| {
        let declared = "contribution = { max_groups = 5, max_rows_per_group = 1 }\nkeys.sex = { concepts = [8507, 8532] }\nkeys.concept = { numbers = [1, 2, 3] }";
        let (_, program) = compile(&template(sql, declared)).expect(sql);
        program.plan().tables[0].contribution.max_groups
    };
    let by_both =
        "SELECT p.gender_concept_id AS sex, m.measurement_concept_id AS concept, COUNT(*) AS n";
    let inner = format!(
        "{by_both} FROM measurement m JOIN person p ON p.person_id = m.person_id GROUP BY 1, 2"
    );
    assert_eq!(groups(&inner), 3);
    let outer = format!(
        "{by_both} FROM measurement m LEFT JOIN person p ON p.person_id = m.person_id GROUP BY 1, 2"
    );
    assert_eq!(groups(&outer), 3);
    let some = format!(
        "{by_both} FROM measurement m LEFT JOIN person p ON p.person_id = m.person_id AND m.value_as_number > 1 GROUP BY 1, 2"
    );
    assert_eq!(groups(&some), 5);
    let computed = inner.replace(
        "p.gender_concept_id AS sex",
        "p.gender_concept_id + m.unit_concept_id AS sex",
    );
    assert_eq!(groups(&computed), 5);
}

#[test]
fn refused_with_a_reason() {
    let statements = [
        (
            "SELECT person_id AS n, COUNT(*) AS m FROM person GROUP BY 1",
            PLAIN,
            "uses the identifier person_id as a value",
        ),
        (
            "SELECT COUNT(*) AS n FROM person WHERE person_id = 5",
            PLAIN,
            "`person.person_id = Int64(5)` uses the identifier person_id",
        ),
        (
            "SELECT COUNT(*) AS n FROM measurement WHERE visit_occurrence_id < 100",
            PLAIN,
            "uses the identifier visit_occurrence_id",
        ),
        (
            "SELECT SUM(person_id) AS mean FROM person",
            MEAN,
            "uses the identifier person_id",
        ),
        (
            "SELECT COUNT(*) AS n FROM measurement WHERE CASE WHEN person_id = 5 THEN true ELSE false END",
            PLAIN,
            "uses the identifier person_id",
        ),
        (
            "SELECT COUNT(DISTINCT value_as_number) AS n FROM measurement",
            PLAIN,
            "COUNT(DISTINCT …) of anything but person_id",
        ),
        (
            "SELECT MAX(value_as_number) AS mean FROM measurement",
            MEAN,
            "MIN or MAX is not accepted",
        ),
        (
            "SELECT SUM(value_as_number) AS total FROM measurement",
            PLAIN,
            "Declare bounds.total",
        ),
        (
            "SELECT COUNT(*) AS n FROM person",
            MEAN,
            "bounds.mean is declared",
        ),
        (
            "SELECT COUNT(*) AS n FROM person",
            SEX,
            "keys.sex is declared",
        ),
        (
            "SELECT gender_concept_id AS sex, COUNT(*) AS n FROM person GROUP BY 1",
            PLAIN,
            "Declare keys.sex",
        ),
        (
            "SELECT COUNT(*) AS n FROM person GROUP BY gender_concept_id",
            PLAIN,
            "has no declared values",
        ),
        (
            "SELECT CAST(gender_concept_id AS VARCHAR) AS sex, COUNT(*) AS n FROM person GROUP BY 1",
            SEX,
            "is of type Utf8",
        ),
        (
            "SELECT COUNT(*) AS n FROM measurement a JOIN measurement b ON a.person_id = b.person_id",
            PLAIN,
            "multiplies a patient's rows",
        ),
        (
            "SELECT COUNT(*) AS n FROM measurement a JOIN visit_occurrence b ON a.visit_occurrence_id = b.visit_occurrence_id",
            PLAIN,
            "does not equate their person_id",
        ),
        (
            "SELECT COUNT(*) AS n FROM measurement a, person b WHERE a.person_id = b.person_id",
            PLAIN,
            "does not equate their person_id",
        ),
        (
            "SELECT COUNT(*) AS n FROM measurement m JOIN concept c ON c.concept_id = m.person_id",
            PLAIN,
            "uses the identifier person_id",
        ),
        (
            "SELECT COUNT(*) AS n FROM concept c LEFT JOIN measurement m ON c.concept_id = m.measurement_concept_id",
            PLAIN,
            "belong to no patient",
        ),
        (
            "SELECT COUNT(*) AS n FROM concept c RIGHT JOIN measurement m ON c.concept_id = m.measurement_concept_id",
            PLAIN,
            "this kind of join is not accepted",
        ),
        (
            "SELECT COUNT(*) AS n FROM concept",
            PLAIN,
            "reads no personal table",
        ),
        (
            "SELECT COUNT(*) AS n FROM (SELECT value_as_number FROM measurement) m",
            PLAIN,
            "does not return person_id",
        ),
        (
            "SELECT COUNT(*) AS n FROM (SELECT person_id FROM measurement LIMIT 5) m",
            PLAIN,
            "LIMIT is not accepted",
        ),
        (
            "SELECT COUNT(*) AS n FROM (SELECT DISTINCT person_id FROM measurement) m",
            PLAIN,
            "DISTINCT in a subquery",
        ),
        (
            "SELECT COUNT(*) AS n FROM (SELECT person_id FROM measurement UNION ALL SELECT person_id FROM person) m",
            PLAIN,
            "UNION is not accepted",
        ),
        (
            "SELECT COUNT(*) AS n FROM (SELECT person_id, COUNT(*) AS c FROM measurement GROUP BY 1) m",
            PLAIN,
            "an aggregate in a subquery",
        ),
        (
            "SELECT COUNT(*) AS n FROM person WHERE EXISTS (SELECT 1 FROM death d WHERE d.person_id = person.person_id)",
            PLAIN,
            "a subquery in an expression",
        ),
        (
            "SELECT COUNT(*) AS n FROM person WHERE year_of_birth > (SELECT AVG(year_of_birth) FROM person)",
            PLAIN,
            "a scalar subquery",
        ),
        (
            "SELECT COUNT(*) AS n FROM person WHERE person_id NOT IN (SELECT person_id FROM death)",
            PLAIN,
            "a subquery in an expression",
        ),
        (
            "SELECT COUNT(*) AS n FROM person WHERE year_of_birth / 10 = 195",
            PLAIN,
            "division by zero",
        ),
        (
            "SELECT COUNT(*) AS n FROM person WHERE year_of_birth % 10 = 5",
            PLAIN,
            "this operator is not accepted",
        ),
        (
            "SELECT COUNT(*) AS n FROM measurement WHERE measurement_date + INTERVAL '1 day' > $since",
            PLAIN,
            "can fail on a row",
        ),
        (
            "SELECT COUNT(*) AS n FROM measurement WHERE value_source_value LIKE 'a%'",
            PLAIN,
            "pattern matching",
        ),
        (
            "SELECT COUNT(*) AS n FROM measurement WHERE measurement_date < now()",
            PLAIN,
            "can't be planned",
        ),
        (
            "SELECT COUNT(*) AS n FROM measurement WHERE value_as_number < $limit",
            PLAIN,
            "can't be planned",
        ),
        (
            "SELECT COUNT(*) AS n FROM secrets",
            PLAIN,
            "has no table secrets",
        ),
        (
            "SELECT COUNT(*) AS n FROM public.person",
            PLAIN,
            "has no table public.person",
        ),
        (
            "SELECT COUNT(*) FROM person",
            PLAIN,
            "needs a snake_case name",
        ),
        (
            "SELECT COUNT(*) AS n FROM person HAVING COUNT(*) > 5",
            PLAIN,
            "HAVING is not accepted",
        ),
        (
            "SELECT year_of_birth AS n FROM person",
            PLAIN,
            "returns rows, not an aggregate",
        ),
        (
            "SELECT gender_concept_id AS sex FROM person GROUP BY 1",
            SEX,
            "measures nothing",
        ),
        (
            "SELECT DISTINCT COUNT(*) AS n FROM person",
            PLAIN,
            "SELECT DISTINCT",
        ),
        (
            "SELECT COUNT(*) / COUNT(DISTINCT person_id) AS n FROM measurement",
            PLAIN,
            "division of integers",
        ),
        (
            "SELECT COUNT(*) OVER () AS n FROM measurement",
            PLAIN,
            "returns rows, not an aggregate",
        ),
        (
            "WITH m AS (SELECT * FROM person) SELECT COUNT(*) AS n FROM m",
            PLAIN,
            "this word is not accepted: `WITH`",
        ),
        (
            "SELECT COUNT(*) AS n FROM measurement WHERE CAST(CAST(value_as_concept_id AS DATE) AS VARCHAR) = 'x'",
            PLAIN,
            "can fail on a row",
        ),
        (
            "SELECT COUNT(*) AS n FROM measurement WHERE CAST(measurement_datetime AS DATE) > $since",
            PLAIN,
            "Compare dates with dates",
        ),
        (
            "SELECT COUNT(*) AS n FROM (WITH a AS (SELECT person_id FROM person) SELECT person_id FROM a) z",
            PLAIN,
            "this word is not accepted: `WITH`",
        ),
        (
            "SELECT COUNT(*) AS n FROM person TABLESAMPLE BERNOULLI (1)",
            PLAIN,
            "this word is not accepted: `TABLESAMPLE`",
        ),
        (
            "SELECT COUNT(*) AS n FROM person; DROP TABLE person",
            PLAIN,
            "anything but one SELECT",
        ),
    ];
    for (sql, declarations, reason) in statements {
        match compile(&template(sql, declarations)) {
            Ok(_) => panic!("accepted: {sql}"),
            Err(refusal) => {
                let text = refusal.to_string();
                assert!(text.contains(reason), "{sql}\n{text}\nlacks: {reason}");
            }
        }
    }
}

/// Statements that are small and whose plans would not be: refused at once.
#[test]
fn explosions_are_refused() {
    let deep = format!(
        "SELECT COUNT(*) AS n FROM person WHERE year_of_birth{} > 5",
        " + 1".repeat(1500)
    );
    let tests = format!(
        "SELECT COUNT(*) AS n FROM person WHERE year_of_birth{}",
        " IS NULL".repeat(1500)
    );
    let between = format!(
        "SELECT COUNT(*) AS n FROM person WHERE year_of_birth BETWEEN 1 AND 2{}",
        " BETWEEN false AND true".repeat(200)
    );
    let mut doubling = "SELECT person_id, year_of_birth AS y FROM person".to_owned();
    for level in 0..30 {
        doubling = format!("SELECT person_id, y + y AS y FROM ({doubling}) d{level}");
    }
    let doubling = format!("SELECT COUNT(*) AS n FROM ({doubling}) d WHERE y > 5");
    for sql in [deep, tests, between, doubling] {
        let refusal = compile(&template(&sql, PLAIN))
            .expect_err("refused")
            .to_string();
        assert!(
            refusal.contains("the limit is") || refusal.contains("can't be planned"),
            "{refusal}"
        );
    }
    let wide: Vec<_> = (0..2000).map(|i| i.to_string()).collect();
    let many = format!(
        "contribution = {{ max_groups = 1, max_rows_per_group = 1 }}\nkeys.a = {{ numbers = [{0}] }}\nkeys.b = {{ numbers = [{0}] }}",
        wide[..900].join(", ")
    );
    let sql = "SELECT year_of_birth AS a, month_of_birth AS b, COUNT(*) AS n, COUNT(DISTINCT person_id) AS m FROM person GROUP BY 1, 2";
    let refusal = compile(&template(sql, &many))
        .expect_err("refused")
        .to_string();
    assert!(refusal.contains("cells times components"), "{refusal}");
}
