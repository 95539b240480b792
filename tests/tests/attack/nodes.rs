//! A running node: asked the same again and again, asked wrongly, and beside a node whose hospital lacks
//! one patient.

use std::path::Path;

use tokio::process::Command;
use ward_schemas::ask::Ask;
use ward_tests::attack::node::{averaging, lengths};
use ward_tests::flight::{Answer, Failed, Row};
use ward_tests::network::{Given, Network, Plan, RunningNode, Source};

use crate::PROGRAMS;

const NODE: &str = "hospital-a";
const TEMPLATE: &str = "patients_by_age_and_sex";

#[tokio::test(flavor = "multi_thread")]
async fn a_node_holds_and_one_without_noise_is_found_out() {
    let network = Plan::generated(&[60]).make(PROGRAMS).await;
    let node = network.start(NODE, &[]).await;
    let (held, said) = ward_attack(&network, &node).await;
    assert!(held, "{said}");
    for attack in ["averaging", "charge", "noise", "shape", "refusals"] {
        assert!(said.contains(&format!("held    {attack}")), "{said}");
    }
    node.process.kill().await;

    let mutant = Plan::generated(&[60]).make(PROGRAMS).await;
    let node = mutant.start(NODE, &[("WARD_TEST_FREEZE", "zero")]).await;
    let (held, said) = ward_attack(&mutant, &node).await;
    assert!(!held && said.contains("BROKEN  noise"), "{said}");
}

/// The program, as anybody can run it.
async fn ward_attack(network: &Network, node: &RunningNode) -> (bool, String) {
    let identity = network
        .deployment()
        .identity(ward_quickstart::deployment::COORDINATOR);
    let key = ward_node::node::verifying_key(&network.config(NODE)).expect("a key");
    let permit = network.scratch("permit.jws");
    std::fs::write(&permit, network.sign(&network.permit())).expect("a file");
    let output = Command::new(env!("CARGO_BIN_EXE_ward-attack"))
        .args(["--url", &format!("https://{}", node.address)])
        .args(["--node", NODE, "--node-key", &key.to_string()])
        .args(["--template", TEMPLATE, "--set", "as_of=2024-02-29"])
        .args([Path::new("--ca"), &identity.ca])
        .args([Path::new("--tls-certificate"), &identity.certificate])
        .args([Path::new("--tls-key"), &identity.key])
        .args([Path::new("--permit"), &permit])
        .output();
    let output = output.await.expect("a program that runs");
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

/// Mutant: asks that differ in a day, of which the answers don't depend. A node that took the same ask for
/// another one each time would answer like this.
#[tokio::test(flavor = "multi_thread")]
async fn answers_that_could_be_averaged_would_show() {
    let network = Plan::generated(&[60]).make(PROGRAMS).await;
    let node = network.start(NODE, &[]).await;
    let mut answers = Vec::new();
    for day in ["2025-01-01", "2025-01-02", "2025-01-03"] {
        let ask = network.ask(TEMPLATE, &[("as_of", day)]);
        answers.push(node.client.ask(&ask).await.expect("a partial"));
    }
    assert!(averaging(&answers).is_err());
    let same: Vec<Answer> = std::iter::repeat_n(answers[0].clone(), 3).collect();
    assert!(averaging(&same).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn all_but_the_integers_is_the_same_beside_a_neighbour() {
    let with = Told::by(&hospital(31).await, &[]).await;
    let without = Told::by(&hospital(30).await, &[]).await;
    assert_eq!(with.words, without.words);
    assert_eq!(with.shape(&|_| true), without.shape(&|_| true));

    // Mutants: a node that leaves empty cells out, and one that fails on this patient's data.
    let frozen = [("WARD_TEST_FREEZE", "zero")];
    let with = Told::by(&hospital(31).await, &frozen).await;
    let without = Told::by(&hospital(30).await, &frozen).await;
    assert_eq!(with.shape(&|_| true), without.shape(&|_| true));
    let filled = |integer: &i64| *integer != 0;
    assert_ne!(with.shape(&filled), without.shape(&filled));
    let fails = Told::by(&hospital(31).await, &[("WARD_TEST_FREEZE", "panic")]).await;
    assert_ne!(fails.words, without.words);
}

/// What a node tells an attacker.
struct Told {
    /// Templates, status, quotes, refusals, and all of an answer's messages but its integers.
    words: Vec<String>,
    answers: Vec<Vec<Row>>,
}

impl Told {
    async fn by(network: &Network, hooks: &[(&str, &str)]) -> Self {
        let node = network.start(NODE, hooks).await;
        let client = &node.client;
        let mut words = vec![
            format!("{:?}", client.templates().await),
            format!("{:?}", client.status().await),
        ];
        let mut answers = Vec::new();
        for ask in asks(network) {
            words.push(format!("{:?}", client.quote(&ask).await));
            words.push(travelled(&node, &ask).await);
            words.push(format!("{:?}", client.quote(&ask).await));
            answers.extend(client.ask(&ask).await.map(|answer| answer.rows));
        }
        node.process.kill().await;
        Self { words, answers }
    }

    /// The lengths of all answers' vectors, with some integers left out.
    fn shape(&self, keep: &dyn Fn(&i64) -> bool) -> Vec<Vec<(String, String, usize)>> {
        let kept = |(table, component, cells, shown): &Row| {
            let cells = cells.iter().copied().filter(keep).collect();
            (table.clone(), component.clone(), cells, shown.clone())
        };
        let answers = self.answers.iter();
        answers
            .map(|rows| lengths(&rows.iter().map(kept).collect::<Vec<_>>()))
            .collect()
    }
}

/// Headers of all messages (schema, dictionaries, lengths and positions of buffers), and how long the
/// rest of them is: integers and signatures differ.
async fn travelled(node: &RunningNode, ask: &Ask) -> String {
    match node.client.messages(ask).await {
        Ok(messages) => {
            let message = |m: &arrow_flight::FlightData| {
                format!(
                    "{:?} {} {}",
                    m.data_header,
                    m.app_metadata.len(),
                    m.data_body.len()
                )
            };
            messages.iter().map(message).collect::<Vec<_>>().join("\n")
        }
        Err(Failed {
            grpc,
            message,
            problem,
        }) => format!("{grpc:?} {message} {problem:?}"),
    }
}

/// Good ones, and bad ones.
fn asks(network: &Network) -> Vec<Ask> {
    let cases: [(&str, Given<'_>); 5] = [
        (TEMPLATE, &[]),
        ("condition_prevalence", &[("condition", "201826")]),
        ("visits_by_month_and_type", &[]),
        (TEMPLATE, &[("as_of", "1066-10-14")]),
        ("condition_prevalence", &[]),
    ];
    cases
        .map(|(template, parameters)| network.ask(template, parameters))
        .to_vec()
}

/// So many patients: the 31st is the only child, and has ten times as many visits as everybody else.
async fn hospital(patients: u32) -> Network {
    let dir = tempfile::tempdir().expect("a directory");
    let mut persons = "person_id,gender_concept_id,year_of_birth\n".to_owned();
    let mut visits =
        "person_id,visit_occurrence_id,visit_concept_id,visit_start_date,visit_end_date\n"
            .to_owned();
    for patient in 0..patients {
        let only_child = patient == 30;
        let born = if only_child { 2015 } else { 1950 };
        persons += &format!("{patient},8507,{born}\n");
        for visit in 0..if only_child { 300 } else { 1 } {
            visits += &format!("{patient},{visit},9201,2020-01-01,2020-01-02\n");
        }
    }
    std::fs::write(dir.path().join("person.csv"), persons).expect("a file");
    std::fs::write(dir.path().join("visit_occurrence.csv"), visits).expect("a file");
    let plan = Plan {
        hospitals: vec![(NODE, Source::Folder(dir.path().to_owned()))],
        ..Plan::generated(&[])
    };
    plan.make(PROGRAMS).await
}
