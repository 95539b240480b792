//! A plain Flight client (pyarrow): with a good certificate and no valid permit it can list
//! templates, and nothing more; without a certificate it can't connect.

use serde_json::{Value, json};
use ward_quickstart::deployment::{COORDINATOR, REQUESTER};
use ward_quickstart::pki::Authority;
use ward_tests::network::{Network, Plan, RunningNode};
use ward_tests::python::Python;
use ward_transport::TlsFiles;

use crate::PROGRAMS;

const NODE: &str = "hospital-a";

#[tokio::test(flavor = "multi_thread")]
async fn pyarrow_lists_templates_and_no_more() {
    let Some(python) = crate::python() else {
        return;
    };
    let network = Plan::generated(&[120]).make(PROGRAMS).await;
    let node = network.start(NODE, &[]).await;
    let before = network.books(NODE, None).await;
    let requester = network.deployment().identity(REQUESTER);
    let good = json!(network.ask("patients_by_age_and_sex", &[])).to_string();

    // A peer of the network, even with a valid ask that it got hold of.
    let tried = all_calls(python, &network, &node, Some(&requester), &good);
    assert_lists(&network, &tried);
    for call in ["get_flight_info", "do_get", "offer", "status"] {
        let message = refusal(&tried, call);
        assert!(message.contains("coordinators"), "{call}: {message}");
    }
    assert_unserved(&tried);

    // The coordinator itself, without a valid permit.
    let mut expired = network.permit();
    expired.valid_from -= chrono::Duration::days(30);
    expired.valid_until = expired.issued_at - chrono::Days::new(1);
    let ask = json!(network.ask_under(&expired, "patients_by_age_and_sex", &[]));
    let coordinator = network.deployment().identity(COORDINATOR);
    let tried = all_calls(
        python,
        &network,
        &node,
        Some(&coordinator),
        &ask.to_string(),
    );
    assert_lists(&network, &tried);
    for call in ["get_flight_info", "do_get"] {
        let message = refusal(&tried, call);
        assert!(message.contains("was valid until"), "{call}: {message}");
        assert!(message.contains("renew"), "{call}: {message}");
    }
    assert_unserved(&tried);
    network.books(NODE, None).await.assert_as_before(&before);
}

#[tokio::test(flavor = "multi_thread")]
async fn pyarrow_without_a_certificate_of_the_network_connects_to_nothing() {
    let Some(python) = crate::python() else {
        return;
    };
    let network = Plan::generated(&[60]).make(PROGRAMS).await;
    let node = network.start(NODE, &[]).await;
    let before = network.books(NODE, None).await;
    let stranger = stranger(&network);
    for identity in [None, Some(&stranger)] {
        let tried = all_calls(python, &network, &node, identity, "{}");
        for call in tried.as_object().expect("calls").keys() {
            let message = refusal(&tried, call);
            // To a handshake pyarrow says less.
            let unavailable = message.contains("Unavailable") || call == "handshake";
            assert!(unavailable, "{call}: {message}");
        }
    }
    let after = network.books(NODE, None).await;
    after.assert_as_before(&before);
    assert_eq!(after.audit.len(), before.audit.len());
}

/// A certificate that says it is the coordinator's, from another authority.
pub(crate) fn stranger(network: &Network) -> TlsFiles {
    let dir = network.scratch("stranger");
    let authority = Authority::create(&dir.join("pki")).expect("an authority");
    let files = TlsFiles {
        certificate: dir.join("stranger.pem"),
        key: dir.join("stranger.key.pem"),
        ca: dir.join("ca.pem"),
    };
    let name = COORDINATOR.parse().expect("a name");
    authority.service(&name, &files).expect("a certificate");
    files
}

fn all_calls(
    python: &Python,
    network: &Network,
    node: &RunningNode,
    identity: Option<&TlsFiles>,
    ask: &str,
) -> Value {
    let case = json!({
        "address": node.address.to_string(),
        "name": node.name,
        "ca": network.deployment().ca(),
        "identity": identity,
        "ask": ask,
    });
    python.run("flight_client.py", &[], &case)
}

fn assert_lists(network: &Network, tried: &Value) {
    let listed = tried["list_flights"]["done"].as_array().expect("templates");
    let mut listed: Vec<_> = listed.iter().map(|t| &t["template"]["id"]).collect();
    listed.sort_by_key(|id| id.to_string());
    let templates = network.deployment().templates().iter();
    let expected: Vec<_> = templates.map(|t| json!(t.id)).collect();
    assert_eq!(listed, expected.iter().collect::<Vec<_>>());
}

fn assert_unserved(tried: &Value) {
    for call in ["do_put", "do_exchange", "get_schema", "handshake"] {
        let message = refusal(tried, call);
        assert!(
            message.contains("a node does not serve"),
            "{call}: {message}"
        );
    }
}

fn refusal<'a>(tried: &'a Value, call: &str) -> &'a str {
    let message = tried[call]["error"].as_str();
    message.unwrap_or_else(|| panic!("{call} was not refused: {}", tried[call]))
}
