//! A key that only one patient has: does the answer's shape show that somebody has it?

use ward_tests::attack::hospital::Layout;
use ward_tests::attack::neighbour::excess;
use ward_tests::attack::plain;

use crate::hospitals::{Hospital, heavy};
use crate::statements::{STATEMENTS, Statement, compile};

#[test]
fn a_key_of_one_patient_is_no_different_from_a_key_of_none() {
    let (sql, declared) = by_concept();
    let tabulation = compile((sql, declared));
    let others = heavy(3, Some(4.0), |row| row + 1);
    // In the declared domain, and outside of it.
    for concept in [12, 777] {
        let patient = measured(concept);
        let hospitals = [others.clone(), others.clone().and(patient)];
        let [without, with] = hospitals
            .each_ref()
            .map(|h| tabulation.release(h.serve(Layout::PLAIN)));
        let shape = |vectors: &ward_schemas::partial::Vectors| -> Vec<usize> {
            vectors.values()[0].iter().map(Vec::len).collect()
        };
        assert_eq!(shape(&without), shape(&with));
        assert_eq!(shape(&with), vec![tabulation.table().cells(); 3]);

        let [without, with] = hospitals
            .each_ref()
            .map(|h| tabulation.bounded(h.serve(Layout::PLAIN)));
        assert_eq!(excess(tabulation.plan(), &with, &without), []);
        assert_eq!(with == without, concept == 777);

        // Mutant: the keys that data have.
        let plainly = |hospital: &Hospital| {
            let rows = plain::answer(sql, hospital.serve(Layout::PLAIN)).expect("an answer");
            rows.iter()
                .map(arrow::array::RecordBatch::num_rows)
                .sum::<usize>()
        };
        let [without, with] = hospitals.each_ref().map(plainly);
        assert_ne!(without, with);
    }
}

fn by_concept() -> Statement {
    let begins = "SELECT measurement_concept_id AS c, COUNT(*) AS n";
    let mut found = STATEMENTS.iter().filter(|(sql, _)| sql.starts_with(begins));
    *found.next().expect("listed")
}

fn measured(concept: i64) -> Hospital {
    let mut patient = heavy(1, Some(1.0), |_| 0);
    patient.measurements[0].concept = concept;
    patient
}
