//! Questions through every part: requester, coordinator, nodes, engine, and back.

use ward_cli::client::ClientError;
use ward_schemas::names::NodeName;
use ward_schemas::problem::ErrorCode;
use ward_schemas::release::{Cell, Outcome, Release};
use ward_schemas::wire::{AskEvent, Phase};
use ward_tests::network::{Given, Network, Plan};

use crate::PROGRAMS;

#[tokio::test(flavor = "multi_thread")]
async fn three_questions_are_answered_by_all_nodes() {
    let mut network = Plan::generated(&[300, 200, 100]).make(PROGRAMS).await;
    let running = network.serve(&[]).await;
    let client = &running.coordinator.client;
    let permit = network.permit();
    let questions: [(&str, Given<'_>, usize); 3] = [
        ("patients_by_age_and_sex", &[], 10),
        ("condition_prevalence", &[("condition", "201826")], 10),
        ("visits_by_month_and_type", &[], 576),
    ];
    for (template, parameters, cells) in questions {
        let request = network.request(&permit, template, parameters);
        let mut events = Vec::new();
        let release = client.ask(&request, |event| events.push(event.clone()));
        let release = release.await.expect("a release");
        assert_eq!(release.tables[0].rows.len(), cells, "{template}");
        assert_eq!(release.rho, release_rho(&network, template));
        assert_eq!(answered(&release), network.deployment().nodes());
        assert_told(&events, &network);
        let stored = client.release(release.id).await.expect("a stored release");
        assert_eq!(stored, release);
        for table in &release.tables {
            assert!(
                table
                    .rows
                    .iter()
                    .all(|row| row.len() == table.columns.len())
            );
        }
    }
    assert_sees_the_patients(&network, client).await;
    let listed = client.releases().await.expect("releases");
    assert_eq!(listed.len(), 4);
}

/// The sum of all cells is the number of patients, 600, but for noise: 30 draws of σ 10, so a
/// standard deviation of 55; off by 6 of them (or more) with probability 2·10⁻⁹.
async fn assert_sees_the_patients(network: &Network, client: &ward_cli::client::Client) {
    let as_of = [("as_of", "2026-06-01")];
    let request = network.request(&network.permit(), "patients_by_age_and_sex", &as_of);
    let release = client.ask(&request, |_| {}).await.expect("a release");
    let estimates = release.tables[0].rows.iter().map(|row| match &row[2] {
        Cell::Estimate(Some(estimate)) => estimate.value,
        other => panic!("{other:?}"),
    });
    let sum: f64 = estimates.sum();
    assert!((sum - 600.0).abs() < 330.0, "{sum}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_down_is_named_and_left_out() {
    let mut network = Plan::generated(&[60, 60, 60]).make(PROGRAMS).await;
    let mut nodes = Vec::new();
    for name in ["hospital-a", "hospital-b"] {
        nodes.push(network.start(name, &[]).await);
    }
    let coordinator = network.start_coordinator(&nodes).await;
    let mut permit = network.permit();
    permit.minimum_nodes = 2;
    let request = network.request(&permit, "patients_by_age_and_sex", &[]);
    let release = coordinator.client.ask(&request, |_| {}).await;
    let release = release.expect("two of three answer");
    assert_eq!(answered(&release).len(), 2);
    let problem = left_out(&release, "hospital-c");
    assert_eq!(problem.code, ErrorCode::NodeUnreachable);
    assert!(problem.detail.contains("can't be reached"), "{problem}");

    permit.minimum_nodes = 3;
    let as_of = [("as_of", "2026-02-01")];
    let request = network.request(&permit, "patients_by_age_and_sex", &as_of);
    let before = network.books("hospital-a", None).await;
    let refused = coordinator.client.ask(&request, |_| {}).await;
    let (problem, nodes) = failure(refused);
    assert_eq!(problem.code, ErrorCode::TooFewNodes);
    assert!(problem.detail.contains("at least 3"), "{problem}");
    assert!(nodes.iter().any(|n| n.node.as_str() == "hospital-c"));
    network
        .books("hospital-a", None)
        .await
        .assert_as_before(&before);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_coordinator_refuses_frozen_noise() {
    let mut network = Plan::generated(&[60]).make(PROGRAMS).await;
    let running = network.serve(&[("WARD_TEST_FREEZE", "zero")]).await;
    let request = network.request(&network.permit(), "patients_by_age_and_sex", &[]);
    let (problem, nodes) = failure(running.coordinator.client.ask(&request, |_| {}).await);
    assert_eq!(problem.code, ErrorCode::TooFewNodes);
    let Outcome::LeftOut { problem } = &nodes[0].outcome else {
        panic!("{nodes:?}");
    };
    assert_eq!(problem.code, ErrorCode::PartialRefused);
    assert!(problem.detail.contains("protects nobody"), "{problem}");
}

/// What a failed ask said.
pub(crate) fn failure(
    result: Result<Release, ClientError>,
) -> (
    ward_schemas::problem::Problem,
    Vec<ward_schemas::release::NodeOutcome>,
) {
    match result {
        Err(ClientError::Failed { problem, nodes }) => (problem, nodes),
        Err(ClientError::Problem(problem)) => (problem, Vec::new()),
        other => panic!("{other:?}"),
    }
}

fn release_rho(network: &Network, template: &str) -> ward_schemas::rho::Rho {
    let (_, text) = ward_schemas::library::TEMPLATES
        .iter()
        .find(|(name, _)| *name == template)
        .expect("a starter template");
    assert_eq!(network.template(template), network.template_of(text));
    let parsed = ward_schemas::template::Template::parse(text);
    parsed.expect("a template").rho()
}

fn answered(release: &Release) -> Vec<NodeName> {
    let nodes = release.nodes.iter().filter(|n| n.outcome.answered());
    nodes.map(|n| n.node.clone()).collect()
}

fn left_out(release: &Release, name: &str) -> ward_schemas::problem::Problem {
    let node = release.nodes.iter().find(|n| n.node.as_str() == name);
    match &node.expect("named in the release").outcome {
        Outcome::LeftOut { problem } => problem.clone(),
        Outcome::Answered { .. } => panic!("{name} answered"),
    }
}

/// Progress names every node, from quoting to its answer.
fn assert_told(events: &[AskEvent], network: &Network) {
    for node in network.deployment().nodes() {
        let phases = events.iter().filter_map(|event| match event {
            AskEvent::Node { node: of, phase } if of == node => Some(*phase),
            _ => None,
        });
        let phases: Vec<_> = phases.collect();
        assert_eq!(phases, [Phase::Quoting, Phase::Asked, Phase::Answered]);
    }
}
