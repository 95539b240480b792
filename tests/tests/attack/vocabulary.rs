//! Codes that one hospital coined, perhaps for one patient, lie beside its data. Nothing of them enters
//! an answer: public tables and keys are the network's.

use std::sync::Arc;

use ward_omop::vocabulary::Package;
use ward_schemas::partial::Vectors;
use ward_tests::attack::engine::{Tabulation, template};
use ward_tests::attack::raw::{Imported, VOCABULARY, package};

/// The second patient has what the hospital calls 2000000001.
const DATA: [(&str, &str); 2] = [
    (
        "person.csv",
        "person_id,gender_concept_id,year_of_birth\n1,8507,1950\n2,8532,1960\n",
    ),
    (
        "measurement.csv",
        "person_id,measurement_id,measurement_concept_id,measurement_date\n1,1,10,2020-08-26\n2,2,2000000001,2020-08-26\n",
    ),
];
/// What the hospital's own vocabulary says of it: it is a kind of 10.
const OWN: [(&str, &str); 2] = [
    (
        "concept.csv",
        "concept_id,concept_name\n10,ten\n2000000001,disease of Mrs X\n",
    ),
    (
        "concept_ancestor.csv",
        "ancestor_concept_id,descendant_concept_id\n10,10\n10,2000000001\n",
    ),
];
const KIND_OF_TEN: &str = "SELECT COUNT(*) AS n FROM measurement m JOIN concept_ancestor a ON a.descendant_concept_id = m.measurement_concept_id WHERE a.ancestor_concept_id = 10";
const ROWS: &str = "contribution = { max_groups = 1, max_rows_per_group = 1 }";
const BELOW_TEN: &str =
    "contribution = { max_groups = 1, max_rows_per_group = 1 }\nkeys.c = { descendants_of = 10 }";

#[test]
fn a_hospitals_own_codes_enter_no_answer() {
    let network = package(&owned(&VOCABULARY));
    let with_own = Imported::new(&owned(&[DATA, OWN].concat()));
    let without = Imported::new(&owned(&DATA));
    assert_eq!(answer(&with_own, &network), answer(&without, &network));

    // Mutant: a node that packs its own vocabulary.
    let own = package(&owned(&OWN));
    assert_ne!(answer(&with_own, &own), answer(&without, &network));
}

#[test]
fn a_hospitals_own_codes_become_no_keys() {
    let keys = |vocabulary: &Package| {
        let sql = "SELECT measurement_concept_id AS c, COUNT(*) AS n FROM measurement GROUP BY 1";
        let text = template(sql, "0.5", BELOW_TEN);
        let compiled = Tabulation::compile_with(&text, vocabulary).expect("accepted");
        format!("{:?}", compiled.table().keys)
    };
    let shows = |keys: String| keys.contains("2000000001") || keys.contains("Mrs X");
    assert!(!shows(keys(&package(&owned(&VOCABULARY)))));
    assert!(shows(keys(&package(&owned(&OWN)))), "mutant");
}

fn answer(hospital: &Imported, vocabulary: &Arc<Package>) -> Vectors {
    let tabulation = Tabulation::compile(&template(KIND_OF_TEN, "0.5", ROWS));
    tabulation
        .expect("accepted")
        .bounded(hospital.serve(vocabulary))
}

fn owned(files: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    files
        .iter()
        .map(|(name, text)| (*name, (*text).to_owned()))
        .collect()
}
