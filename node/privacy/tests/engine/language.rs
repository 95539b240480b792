//! What compiles to what: the shipped templates, and statements whose plans would explode.

use crate::support::{compile, template};
use ward_privacy::Program;
use ward_schemas::canonical::ContentHash;
use ward_schemas::key::NoVocabulary;
use ward_schemas::library::TEMPLATES;
use ward_schemas::template::Template;

const PLAIN: &str = "contribution = { max_groups = 1, max_rows_per_group = 2 }";

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
    // What is aggregated to one row a patient, or tested of the patient, is of the patient.
    let counted = "SELECT s.c AS sex, m.measurement_concept_id AS concept, COUNT(*) AS n FROM measurement m JOIN (SELECT person_id, COUNT(*) AS c FROM measurement GROUP BY person_id) s ON s.person_id = m.person_id GROUP BY 1, 2";
    assert_eq!(groups(counted), 3);
    assert_eq!(groups(&counted.replace("JOIN (", "LEFT JOIN (")), 3);
    let by_visit = counted
        .replace(
            "SELECT person_id, COUNT(*)",
            "SELECT person_id, visit_occurrence_id, COUNT(*)",
        )
        .replace("BY person_id)", "BY 1, 2)")
        .replace(
            "m.person_id GROUP",
            "m.person_id AND s.visit_occurrence_id = m.visit_occurrence_id GROUP",
        );
    assert_eq!(groups(&by_visit), 5);
    let over = "SELECT c AS sex, concept, COUNT(*) AS n FROM (SELECT person_id, measurement_concept_id AS concept, COUNT(*) OVER (PARTITION BY person_id) AS c FROM measurement) m GROUP BY 1, 2";
    assert_eq!(groups(over), 3);
    let running = over.replace(
        "PARTITION BY person_id)",
        "PARTITION BY person_id ORDER BY measurement_date)",
    );
    assert_eq!(groups(&running), 5);
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
    // A filter on a key of a group may be moved below it, and would double on its way.
    let levels = |level: fn(usize) -> String| {
        let names: Vec<_> = (1..30)
            .map(|i| format!("d{i} AS ({})", level(i - 1)))
            .collect();
        format!(
            "WITH d0 AS (SELECT person_id, year_of_birth AS y FROM person), {} SELECT COUNT(*) AS n FROM d29 WHERE y > 5",
            names.join(", ")
        )
    };
    let grouped =
        levels(|i| format!("SELECT person_id, y + y AS y FROM d{i} GROUP BY person_id, y + y"));
    let distinct = levels(|i| format!("SELECT DISTINCT person_id, y + y AS y FROM d{i}"));
    let united = levels(|i| {
        format!("SELECT person_id, y + y AS y FROM d{i} UNION SELECT person_id, 1 FROM person")
    });
    let windowed = levels(|i| {
        format!(
            "SELECT person_id, y + y AS y, COUNT(*) OVER (PARTITION BY person_id, y) AS c FROM d{i}"
        )
    });
    for sql in [
        deep, tests, between, doubling, grouped, distinct, united, windowed,
    ] {
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
