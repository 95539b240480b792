//! The engine by itself, on tables that nobody made for it.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, Int32Array, RecordBatch, StringViewArray};
use datafusion::datasource::MemTable;
use ward_privacy::{PrivateSession, SessionError};

const STAYS: &str = r#"
name = "stays"
sql = "SELECT ward, COUNT(DISTINCT patient) AS patients, AVG(nights) AS nights FROM stays GROUP BY ward"
rho = "1"
contribution = { max_groups = 1, max_rows_per_group = 4 }
keys.ward = { values = ["a", "b", "c"] }
bounds.nights = { lower = "0", upper = "10", step = "1" }
"#;

/// 32-bit ids, some NULL, and views of text: as a Parquet file of somebody's may have them.
fn session(budget: &str) -> PrivateSession {
    let patients: Int32Array = (0..4000).map(|i| (i % 4 != 0).then_some(i)).collect();
    let wards: StringViewArray = (0..4000).map(|i| Some(["a", "b"][i % 2])).collect();
    let nights: Float32Array = (0..4000).map(|_| Some(4.0)).collect();
    let columns: [(&str, ArrayRef); 3] = [
        ("patient", Arc::new(patients)),
        ("ward", Arc::new(wards)),
        ("nights", Arc::new(nights)),
    ];
    let batch = RecordBatch::try_from_iter(columns).expect("batch");
    let table = MemTable::try_new(batch.schema(), vec![vec![batch]]).expect("table");
    PrivateSession::new(budget.parse().expect(budget))
        .and_then(|s| s.personal("stays", Arc::new(table), "patient"))
        .expect("session")
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("runtime")
}

/// At ρ 1/3 a component has σ ≤ 5 for counts: 100 lies over 15 of them away.
#[test]
fn answers_are_near_the_truth_and_rows_without_a_patient_are_left_out() {
    let answer = runtime().block_on(session("1").ask(STAYS)).expect("answer");
    let batch = answer.to_batch().expect("batch");
    let names: Vec<_> = batch
        .schema()
        .fields()
        .iter()
        .map(|f| f.name().clone())
        .collect();
    assert_eq!(
        names,
        [
            "ward",
            "patients",
            "patients_half_width",
            "nights",
            "nights_half_width"
        ]
    );
    let text = answer.to_string();
    assert!(text.contains("| a ") && text.contains("| c "), "{text}");
    let estimate = |row: usize, column: usize| match &answer.table().rows[row][column] {
        ward_schemas::release::Cell::Estimate(Some(e)) => e.value,
        other => panic!("{other:?}"),
    };
    assert!((estimate(0, 1) - 1000.0).abs() < 100.0, "{text}");
    assert!((estimate(1, 1) - 2000.0).abs() < 100.0, "{text}");
    assert!(estimate(2, 1).abs() < 100.0, "{text}");
    assert!((estimate(1, 2) - 4.0).abs() < 0.5, "{text}");
}

#[test]
fn a_budget_is_spent_by_what_is_accepted_alone() {
    let (runtime, session) = (runtime(), session("1.5"));
    let ask = |text: &str| runtime.block_on(session.ask(text));
    let refused = ask(&STAYS.replace("DISTINCT patient", "DISTINCT ward")).expect_err("refused");
    assert!(matches!(refused, SessionError::Refused(_)), "{refused}");
    assert!(ask(STAYS).is_ok());
    let exhausted = ask(STAYS).expect_err("spent").to_string();
    assert!(
        exhausted.contains("0.5 is left of the budget"),
        "{exhausted}"
    );
    assert_eq!(session.left().rho.to_string(), "0.5");
}

/// 1000 and 2000 patients, σ 1: hundreds of standard deviations over the threshold.
#[test]
fn a_key_from_data_spends_delta() {
    let (runtime, session) = (runtime(), session("3"));
    let found = STAYS
        .replace("values = [\"a\", \"b\", \"c\"]", "from_data = \"text\"")
        .replace("rho =", "delta = \"1e-9\"\nrho =");
    let exhausted = runtime.block_on(session.ask(&found)).expect_err("no delta");
    assert!(
        matches!(exhausted, SessionError::Budget { .. }),
        "{exhausted}"
    );
    let session = session.with_delta("1.5e-9".parse().expect("delta"));
    let answer = runtime.block_on(session.ask(&found)).expect("answer");
    let shown = answer.table().rows.iter().map(|row| &row[..2]);
    let cell = |label: &str| {
        use ward_schemas::release::Cell;
        [Cell::Key(label.to_owned()), Cell::Nodes(1)]
    };
    assert_eq!(shown.collect::<Vec<_>>(), [cell("a"), cell("b")]);
    let batch = answer.to_batch().expect("batch");
    assert_eq!(batch.schema().field(1).name(), "ward_nodes");
    assert_eq!(session.left().to_string(), "ρ 2, δ 5e-10");
}
