//! A key whose values come from the hospitals' own data, through every part.

use std::fs;

use ward_cli::client::ClientError;
use ward_schemas::ask::Question;
use ward_schemas::ehds::Purpose;
use ward_schemas::finish::Z95;
use ward_schemas::parameter::RawParameters;
use ward_schemas::problem::ErrorCode;
use ward_schemas::release::{Cell, ReleaseTable};
use ward_schemas::wire::{AskRequest, WIRE_FORMAT};
use ward_tests::network::{Network, Plan};

use crate::PROGRAMS;

/// With σ = √(5/(2·2)) for at most five conditions a patient.
const TEMPLATE: &str = r#"
id = "conditions_found"
version = "1.0.0"
title = "Conditions found"
question = "Which conditions are recorded, whatever they are?"
purposes = ["scientific-research"]
categories = ["ehr"]

[[tables]]
name = "by_condition"
sql = "SELECT condition_concept_id AS condition, COUNT(DISTINCT person_id) AS patients FROM condition_occurrence GROUP BY 1"
rho = "2"
delta = "1e-9"
contribution = { max_groups = 5, max_rows_per_group = 1 }
keys.condition = { from_data = "integer", most = 500 }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn values_are_shown_where_enough_patients_have_them() {
    let mut network = Plan::generated(&[400, 300, 200]).make(PROGRAMS).await;
    let running = network.serve(&[]).await;
    drop(running.coordinator);
    for node in &running.nodes {
        node.client.offer(TEMPLATE).await.expect("an inbox entry");
        let steward = network.steward(node.name.as_str()).await;
        steward.approve("conditions_found").await.expect("approved");
    }
    let coordinator = network.deployment().coordinator_config();
    let own = coordinator.parent().expect("a directory").join("templates");
    fs::create_dir_all(&own).expect("a directory");
    fs::write(own.join("conditions_found.toml"), TEMPLATE).expect("a template");
    let coordinator = network.start_coordinator(&running.nodes).await;

    let refused = coordinator
        .client
        .ask(&request(&network, "0"), |_| {})
        .await;
    let Err(ClientError::Failed { problem, nodes }) = refused else {
        panic!("a permit without a delta: {refused:?}");
    };
    assert_eq!((problem.code, nodes.len()), (ErrorCode::TooFewNodes, 3));

    let request = request(&network, "1e-6");
    let release = coordinator.client.ask(&request, |_| {}).await;
    let table = release.expect("a release").tables.remove(0);
    assert_told(&table);
    let again = coordinator.client.ask(&request, |_| {}).await;
    assert_eq!(again.expect("the same").tables, [table]);
    for node in network.deployment().nodes() {
        let spent = network.books(node.as_str(), None).await.budget.lifetime;
        assert_eq!(
            (spent.asks, spent.loss.delta.to_string().as_str()),
            (1, "1e-9")
        );
    }
}

fn request(network: &Network, budget_delta: &str) -> AskRequest {
    let template = network.template_of(TEMPLATE);
    let mut permit = network.permit();
    permit.templates.insert(template.clone());
    permit.budget_delta = budget_delta.parse().expect("delta");
    AskRequest {
        v: WIRE_FORMAT,
        question: Question {
            template,
            parameters: RawParameters::new(),
            rho: None,
            purpose: Purpose::ScientificResearch,
        },
        permit: network.sign(&permit),
        signature: None,
    }
}

/// Each row has its value, in order, how many nodes show it, and a count that they all let through.
fn assert_told(table: &ReleaseTable) {
    let threshold = table.threshold.as_ref().expect("a threshold");
    assert_eq!(threshold.column.as_str(), "condition");
    assert!((5..30).contains(&threshold.patients), "{threshold:?}");
    let mut before = 0;
    let mut nodes_seen = [0; 3];
    for row in &table.rows {
        let [
            Cell::Key(condition),
            Cell::Nodes(nodes),
            Cell::Estimate(Some(patients)),
        ] = row.as_slice()
        else {
            panic!("{row:?}");
        };
        let condition: i64 = condition.parse().expect("a concept");
        assert!(condition > before, "{condition} after {before}");
        before = condition;
        nodes_seen[nodes - 1] += 1;
        #[allow(clippy::cast_precision_loss)]
        let (least, nodes) = ((threshold.patients * *nodes as u64) as f64, *nodes as f64);
        assert!(patients.value >= least, "{row:?}");
        let half_width = Z95 * table.noise[0].sigma * nodes.sqrt();
        assert!((patients.half_width - half_width).abs() < 1e-9, "{row:?}");
    }
    // Common conditions are shown by all, and some by fewer.
    assert!(
        nodes_seen[2] > 0 && nodes_seen[0] + nodes_seen[1] > 0,
        "{nodes_seen:?}"
    );
}
