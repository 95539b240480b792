//! Nothing of patients in logs, control messages and the audit: no identifier, no true count.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::RowAccessor as _;
use serde_json::json;
use ward_tests::network::{Given, Network, Plan, Served, Source};

use crate::PROGRAMS;

const NODE: &str = "hospital-a";
/// Identifiers at the source start with this.
const FIRST_PATIENT: u64 = 7_716_000_000_000;
/// True numbers of the hospital below: patients, men, women, visits, diagnoses.
const MEN: u64 = 271;
const WOMEN: u64 = 216;
const VISITS: u64 = 1_931;
const DIAGNOSES: u64 = 2_677;

#[tokio::test(flavor = "multi_thread")]
async fn logs_and_control_messages_hold_no_identifier_and_no_true_count() {
    let dir = tempfile::tempdir().expect("a directory");
    write_hospital(dir.path());
    let plan = Plan {
        hospitals: vec![(NODE, Source::Folder(dir.path().to_owned()))],
        ..Plan::generated(&[])
    };
    let mut network = plan.make(PROGRAMS).await;
    let everything = "info,ward_node=trace,ward_privacy=trace,ward_data=trace,datafusion=debug";
    let running = network.serve(&[("RUST_LOG", everything)]).await;
    let seen = everything_but_the_answers(&network, &running).await;
    assert!(seen.contains("hospital-a"), "nothing was seen");

    let secrets = secrets(&network);
    assert!(secrets.len() > 2 * 487, "identifiers are looked for");
    assert_eq!(found(&seen, &secrets), [] as [&str; 0]);
    // What the test is worth: each of them would be found.
    for secret in &secrets {
        let leak = format!("{seen}\n2027-01-01T00:00:00Z INFO rows={secret}\n");
        assert_eq!(found(&leak, &secrets), [secret.as_str()]);
    }
}

/// Logs of node and coordinator, lists, quotes, refusals, status, envelopes, audit.
async fn everything_but_the_answers(network: &Network, running: &Served) -> String {
    let mut seen = String::new();
    let client = &running.nodes[0].client;
    let asks: [(&str, Given<'_>); 4] = [
        ("patients_by_age_and_sex", &[]),
        ("condition_prevalence", &[("condition", "201826")]),
        ("length_of_stay_by_visit_type", &[]),
        ("patients_by_age_and_sex", &[("as_of", "not a date")]),
    ];
    for (template, parameters) in asks {
        let request = network.request(&network.permit(), template, parameters);
        let coordinator = &running.coordinator.client;
        let released = coordinator.ask(&request, |event| {
            if !matches!(event, ward_schemas::wire::AskEvent::Done { .. }) {
                note(&mut seen, event);
            }
        });
        assert_eq!(
            released.await.is_ok(),
            !parameters.contains(&("as_of", "not a date"))
        );
        let ask = network.ask(template, parameters);
        match client.ask(&ask).await {
            Ok(answer) => note(&mut seen, &answer.envelope),
            Err(refused) => seen.push_str(&refused.message),
        }
        match client.quote(&ask).await {
            Ok(quote) => note(&mut seen, &quote),
            Err(refused) => seen.push_str(&refused.message),
        }
    }
    note(&mut seen, &client.templates().await.expect("templates"));
    note(&mut seen, &client.status().await.expect("a status"));
    note(&mut seen, &network.books(NODE, None).await.audit);
    seen.push_str(&running.nodes[0].process.said());
    seen.push_str(&running.coordinator.process.said());
    seen
}

fn note<T: serde::Serialize>(seen: &mut String, message: &T) {
    writeln!(seen, "{}", json!(message)).expect("memory");
}

/// The secrets that occur as words of their own.
fn found<'a>(text: &str, secrets: &'a [String]) -> Vec<&'a str> {
    let words: std::collections::HashSet<_> = text.split(|c: char| !c.is_alphanumeric()).collect();
    let found = secrets
        .iter()
        .filter(|secret| words.contains(secret.as_str()));
    found.map(String::as_str).collect()
}

/// Numbers of patients and rows, identifiers at the source and in the snapshot.
fn secrets(network: &Network) -> Vec<String> {
    let counts = [MEN, WOMEN, MEN + WOMEN, VISITS, DIAGNOSES];
    let source = (0..MEN + WOMEN).map(|n| FIRST_PATIENT + n);
    let mut secrets: Vec<_> = counts
        .into_iter()
        .chain(source)
        .map(|n| n.to_string())
        .collect();
    let snapshots = network.config(NODE).data_dir.join("snapshots");
    for snapshot in fs::read_dir(snapshots).expect("snapshots") {
        let persons = snapshot.expect("a snapshot").path().join("person");
        for file in fs::read_dir(persons).expect("files") {
            secrets.extend(identifiers(&file.expect("a file").path()));
        }
    }
    secrets
}

fn identifiers(file: &Path) -> Vec<String> {
    let file = fs::File::open(file).expect("a file");
    let reader = SerializedFileReader::new(file).expect("Parquet");
    let rows = reader.get_row_iter(None).expect("rows");
    let id = |row: parquet::record::Row| row.get_long(0).expect("an identifier").to_string();
    rows.map(|row| id(row.expect("a row"))).collect()
}

/// A hospital whose every count is a number that nothing else is.
fn write_hospital(dir: &Path) {
    let patients = MEN + WOMEN;
    let person = |n: u64| FIRST_PATIENT + n;
    let mut persons = "person_id,gender_concept_id,year_of_birth\n".to_owned();
    for n in 0..patients {
        let sex = if n < MEN { 8507 } else { 8532 };
        writeln!(persons, "{},{sex},1970", person(n)).expect("memory");
    }
    let mut visits =
        "visit_occurrence_id,person_id,visit_concept_id,visit_start_date,visit_end_date\n"
            .to_owned();
    for n in 0..VISITS {
        let person = person(n % patients);
        writeln!(visits, "{n},{person},9202,2024-05-06,2024-05-07").expect("memory");
    }
    let mut diagnoses =
        "condition_occurrence_id,person_id,condition_concept_id,condition_start_date\n".to_owned();
    for n in 0..DIAGNOSES {
        let person = person(n % patients);
        writeln!(diagnoses, "{n},{person},201826,2024-05-06").expect("memory");
    }
    for (table, text) in [
        ("person", persons),
        ("visit_occurrence", visits),
        ("condition_occurrence", diagnoses),
    ] {
        fs::write(dir.join(table).with_extension("csv"), text).expect("a file");
    }
}
