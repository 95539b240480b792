//! Bad input: every refusal says what is wrong and what would be accepted, spends nothing, and
//! leaves every store as it was (the audit log notes it).

use std::collections::BTreeMap;

use chrono::{Days, Duration};
use ward_cli::client::{Client, ClientError};
use ward_cli::profile::Profile;
use ward_node::audit::Event;
use ward_quickstart::deployment::REQUESTER;
use ward_schemas::ask::Ask;
use ward_schemas::canonical::ContentHash;
use ward_schemas::ehds::Purpose;
use ward_schemas::jws::{MessageKind, SigningKey};
use ward_schemas::library;
use ward_schemas::partial::AuditHead;
use ward_schemas::permit::Permit;
use ward_schemas::problem::ErrorCode;
use ward_schemas::release::Outcome;
use ward_schemas::template::TemplateRef;
use ward_tests::flight::{Failed, NodeClient, tls_refusal};
use ward_tests::network::{Given, Network, Plan, RunningNode, node, rho, sign};

use crate::PROGRAMS;
use crate::answers::failure;
use crate::stranger::stranger;

const NODE: &str = "hospital-a";
const TEMPLATE: &str = "patients_by_age_and_sex";

/// An ask that is refused, with the code and words of the message.
struct Case {
    ask: Ask,
    code: ErrorCode,
    says: &'static [&'static str],
}

async fn one_node() -> (Network, RunningNode) {
    let network = Plan::generated(&[60]).make(PROGRAMS).await;
    let node = network.start(NODE, &[]).await;
    (network, node)
}

/// Quotes and asks are refused alike, free of charge, and noted in the audit.
async fn assert_refused(network: &Network, node: &RunningNode, cases: Vec<Case>) {
    let before = network.books(NODE, None).await;
    for Case { ask, code, says } in &cases {
        let quoted = node.client.quote(ask).await.expect_err("a refusal");
        let asked = node.client.ask(ask).await.expect_err("a refusal");
        for refused in [quoted, asked] {
            assert_eq!(refused.code(), *code, "{refused:?}");
            assert_says(&refused, says);
        }
    }
    let after = network.books(NODE, None).await;
    after.assert_as_before(&before);
    assert_eq!(after.audit.len(), before.audit.len() + 2 * cases.len());
    let noted = after.audit[before.audit.len()..].iter().step_by(2);
    for (record, case) in noted.zip(&cases) {
        let Event::Refused { code, .. } = &record.event else {
            panic!("{record:?}");
        };
        assert_eq!(*code, case.code);
    }
}

fn assert_says(refused: &Failed, says: &[&str]) {
    let message = &refused.message;
    for words in says {
        assert!(message.contains(words), "{words:?} is not in {message:?}");
    }
    let problem = refused.problem.as_ref().expect("a problem");
    assert!(problem.remedy.ends_with('.'), "{problem:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn permits_that_do_not_hold() {
    let (network, node) = one_node().await;
    let case = |change: &dyn Fn(&mut Permit), code, says| {
        let mut permit = network.permit();
        change(&mut permit);
        Case {
            ask: network.ask_under(&permit, TEMPLATE, &[]),
            code,
            says,
        }
    };
    let with_token = |permit: String, code, says| Case {
        ask: Ask {
            permit,
            ..network.ask(TEMPLATE, &[])
        },
        code,
        says,
    };
    let other_key = SigningKey::generate().expect("randomness");
    let forged = sign(&network.permit(), &other_key);
    let spliced = {
        let mut rich = network.permit();
        rich.budget = rho("1000");
        let (rich, good) = (network.sign(&rich), network.sign(&network.permit()));
        let signature = good.rsplit_once('.').expect("a signature").1.to_owned();
        let signed = rich.rsplit_once('.').expect("a signature").0.to_owned();
        format!("{signed}.{signature}")
    };
    let body = network.deployment().access_body_key();
    let other_kind = body.sign(MessageKind::Ask, &network.permit());
    let cases = vec![
        with_token(
            "no permit".into(),
            ErrorCode::PermitMalformed,
            &["as the access body issued it"],
        ),
        with_token(
            other_kind.expect("signed"),
            ErrorCode::PermitMalformed,
            &["permit"],
        ),
        with_token(forged, ErrorCode::PermitNotTrusted, &["`access_bodies`"]),
        with_token(
            spliced,
            ErrorCode::PermitNotTrusted,
            &["signature", "`access_bodies`"],
        ),
        case(
            &|p| p.access_body = "Body of Nowhere".into(),
            ErrorCode::PermitNotTrusted,
            &["Body of Nowhere", "as its access body issued it"],
        ),
        case(
            &|p| {
                p.valid_from -= Duration::days(30);
                p.valid_until = p.issued_at - Duration::hours(1);
            },
            ErrorCode::PermitExpired,
            &["E2E-1 was valid until", "renew"],
        ),
        case(
            &|p| p.valid_from = p.issued_at + Days::new(2),
            ErrorCode::PermitNotYetValid,
            &["E2E-1 is valid from", "Ask again then"],
        ),
        case(
            &|p| p.nodes = [self::node("hospital-z")].into(),
            ErrorCode::PermitWrongNode,
            &["does not name the node hospital-a", "hospital-z"],
        ),
        case(
            &|p| p.persons = ["bob@uni.example".parse().expect("a person")].into(),
            ErrorCode::PermitWrongPerson,
            &["does not name ada@university.example", "permit of your own"],
        ),
        case(
            &|p| p.templates.retain(|t| t.id.as_str() != TEMPLATE),
            ErrorCode::PermitWrongTemplate,
            &[
                "does not name the template patients_by_age_and_sex",
                "condition_prevalence 1.0.0",
            ],
        ),
        case(
            &|p| p.purpose = Purpose::Education,
            ErrorCode::PermitWrongPurpose,
            &[
                "ScientificResearch",
                "Education",
                "apply for another permit",
            ],
        ),
        case(
            &|p| p.requester_key = Some(other_key.verifying_key()),
            ErrorCode::AskSignature,
            &["not signed by its requester", "private key of ed25519:"],
        ),
        case(
            &|p| p.version = 0,
            ErrorCode::PermitMalformed,
            &["version starts at 1", "corrected permit"],
        ),
    ];
    assert_refused(&network, &node, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permit_that_was_amended_holds_no_more() {
    let (network, node) = one_node().await;
    let mut amended = network.permit();
    amended.version = 2;
    let ask = network.ask_under(&amended, TEMPLATE, &[]);
    node.client.ask(&ask).await.expect("a partial");
    let superseded = Case {
        ask: network.ask(TEMPLATE, &[("as_of", "2021-01-01")]),
        code: ErrorCode::PermitSuperseded,
        says: &[
            "version 1 of the permit E2E-1, and version 2",
            "Use the newest version",
        ],
    };
    assert_refused(&network, &node, vec![superseded]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permit_that_is_spent_costs_the_node_nothing() {
    let (network, node) = one_node().await;
    let mut permit = network.permit();
    permit.budget = rho("0.008");
    let first = network.ask_under(&permit, TEMPLATE, &[]);
    node.client.ask(&first).await.expect("a partial");
    let second = Case {
        ask: network.ask_under(&permit, TEMPLATE, &[("as_of", "2021-01-01")]),
        code: ErrorCode::PermitBudgetExhausted,
        says: &[
            "costs a rho of 0.005",
            "has 0.003 of 0.008 left",
            "at most 0.003",
        ],
    };
    assert_refused(&network, &node, vec![second]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_and_rho_outside_their_domains() {
    let (network, node) = one_node().await;
    let parameter = |template, parameters: Given<'_>, says| Case {
        ask: network.ask(template, parameters),
        code: ErrorCode::ParameterInvalid,
        says,
    };
    let dear = |amount, says| {
        let mut ask = network.ask(TEMPLATE, &[]);
        ask.question.rho = Some(rho(amount));
        Case {
            ask,
            code: ErrorCode::RhoRefused,
            says,
        }
    };
    let cases = vec![
        parameter(
            TEMPLATE,
            &[("as_of", "yesterday")],
            &[
                "as_of",
                "\"yesterday\"",
                "a date from 2000-01-01 to 2030-12-31",
            ],
        ),
        parameter(
            TEMPLATE,
            &[("as_of", "1999-12-31")],
            &["as_of", "a date from 2000-01-01 to 2030-12-31"],
        ),
        parameter(
            TEMPLATE,
            &[("as_of", "2024-2-3")],
            &["as_of", "a date from"],
        ),
        parameter(TEMPLATE, &[("as_off", "2024-01-01")], &["as_off", "as_of"]),
        parameter("condition_prevalence", &[], &["condition", "a concept id"]),
        parameter(
            "condition_prevalence",
            &[("condition", "1 OR 1=1")],
            &["condition", "a positive whole number"],
        ),
        parameter(
            "condition_prevalence",
            &[("condition", "-5")],
            &["condition", "a positive whole number"],
        ),
        dear("101", &["101", "allows 100 for one ask", "at most 100"]),
        dear("0", &["exceeds 2^32", "own rho is 0.005"]),
    ];
    assert_refused(&network, &node, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn templates_that_the_steward_did_not_approve() {
    let (network, node) = one_node().await;
    let (_, starter) = library::TEMPLATES
        .iter()
        .find(|(name, _)| *name == TEMPLATE)
        .expect("a starter template");
    let pending = starter.replace("version = \"1.0.0\"", "version = \"1.1.0\"");
    let altered = starter.replace("rho = \"0.005\"", "rho = \"0.006\"");
    let never_offered = starter.replace("version = \"1.0.0\"", "version = \"1.2.0\"");
    for source in [&pending, &altered] {
        node.client.offer(source).await.expect("an inbox entry");
    }
    let case = |template: TemplateRef, code, says| {
        let mut permit = network.permit();
        permit.templates.insert(template.clone());
        let mut ask = network.ask_under(&permit, TEMPLATE, &[]);
        ask.question.template = template;
        Case { ask, code, says }
    };
    let not_in_permit = {
        let mut ask = network.ask(TEMPLATE, &[]);
        ask.question.template.hash = ContentHash::of_bytes(b"another content");
        Case {
            ask,
            code: ErrorCode::TemplateAltered,
            says: &["the permit grants", "unaltered"],
        }
    };
    let cases = vec![
        case(
            network.template_of(&pending),
            ErrorCode::TemplateNotApproved,
            &[
                "patients_by_age_and_sex 1.1.0 is pending",
                "Only the hospital's steward",
            ],
        ),
        case(
            network.template_of(&altered),
            ErrorCode::TemplateAltered,
            &["the steward approved sha256:", "under a new version"],
        ),
        case(
            network.template_of(&never_offered),
            ErrorCode::TemplateUnknown,
            &[
                "no template patients_by_age_and_sex 1.2.0",
                "was offered",
                "ListFlights",
            ],
        ),
        not_in_permit,
    ];
    assert_refused(&network, &node, cases).await;

    // An approval that is taken back holds no more, at once.
    let steward = network.steward(NODE).await;
    let hash = network.template(TEMPLATE).hash.short();
    steward.withdraw(&hash).await.expect("withdrawn");
    let withdrawn = Case {
        ask: network.ask(TEMPLATE, &[]),
        code: ErrorCode::TemplateNotApproved,
        says: &["is withdrawn at this node"],
    };
    assert_refused(&network, &node, vec![withdrawn]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_a_witness_knows_to_be_older_answers_nothing() {
    let (network, node) = one_node().await;
    let log = network.steward(NODE).await.audit_verify(None).await;
    let head = log.expect("a whole log").expect("a head");
    let case = |witness: AuditHead, says| Case {
        ask: Ask {
            witness: Some(witness),
            ..network.ask(TEMPLATE, &[])
        },
        code: ErrorCode::NodeRolledBack,
        says,
    };
    let hash = ContentHash::of_bytes(b"another record");
    let ahead = AuditHead {
        sequence: head.sequence + 100,
        hash,
    };
    let other = AuditHead { hash, ..head };
    let cases = vec![
        case(
            ahead,
            &["no longer there", "restore the node's newest state"],
        ),
        case(
            other,
            &["is now another", "restore the node's newest state"],
        ),
    ];
    assert_refused(&network, &node, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_that_are_no_asks() {
    let (network, node) = one_node().await;
    let before = network.books(NODE, None).await;
    let good = serde_json::to_value(network.ask(TEMPLATE, &[])).expect("JSON");
    let changed = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut ask = good.clone();
        change(&mut ask);
        ask.to_string().into_bytes()
    };
    let malformed = ErrorCode::MalformedRequest;
    let tickets: [(Vec<u8>, ErrorCode, &str); 8] = [
        (Vec::new(), malformed, "is not JSON"),
        (b"\xff\xfe\x00".to_vec(), malformed, "is not JSON"),
        (
            good.to_string().into_bytes()[..100].to_vec(),
            malformed,
            "is not JSON",
        ),
        (b"{}".to_vec(), malformed, "missing field"),
        (
            changed(&|ask| ask["exception"] = true.into()),
            malformed,
            "unknown field `exception`",
        ),
        (
            changed(&|ask| ask["question"]["rho"] = 0.005.into()),
            malformed,
            "can't be read",
        ),
        (
            changed(&|ask| ask["v"] = 2.into()),
            ErrorCode::UnsupportedVersion,
            "format version 1",
        ),
        (vec![b' '; 300_000], malformed, "the limit is 262144"),
    ];
    for (ticket, code, says) in &tickets {
        let quoted = node.client.quote_bytes(ticket.clone()).await;
        let asked = node.client.ask_bytes(ticket.clone()).await;
        for refused in [
            quoted.expect_err("a refusal"),
            asked.expect_err("a refusal"),
        ] {
            assert_eq!(refused.code(), *code);
            assert_says(&refused, &[says]);
        }
    }
    network.books(NODE, None).await.assert_as_before(&before);
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_outside_the_accepted_form() {
    let (network, node) = one_node().await;
    let before = network.books(NODE, None).await;
    let plain = "SELECT COUNT(*) AS n FROM person p";
    let statements: [(&str, &[&str]); 12] = [
        ("SELECT p.person_id AS n FROM person p", &["aggregate"]),
        ("SELECT * FROM person", &["aggregate"]),
        ("SELECT COUNT(*) AS n FROM person p LIMIT 5", &["LIMIT"]),
        (
            "SELECT MAX(p.year_of_birth) AS n FROM person p",
            &["MIN or MAX", "AVG"],
        ),
        (
            "SELECT COUNT(*) AS n FROM person p WHERE p.person_id = 5",
            &["identifier person_id"],
        ),
        (
            "SELECT COUNT(*) AS n FROM person p WHERE random() < 0.5",
            &["random"],
        ),
        (
            "SELECT COUNT(*) AS n FROM person p WHERE p.year_of_birth < (SELECT AVG(q.year_of_birth) FROM person q)",
            &["subquery"],
        ),
        (
            "SELECT COUNT(*) AS n FROM visit_occurrence v JOIN measurement m ON m.person_id = v.person_id",
            &["multiplies a patient's rows"],
        ),
        (
            "SELECT SUM(p.year_of_birth) AS n FROM person p",
            &["Declare bounds.n"],
        ),
        (
            "SELECT p.gender_concept_id AS sex, COUNT(*) AS n FROM person p GROUP BY 1",
            &["Declare keys.sex"],
        ),
        (
            "SELECT COUNT(*) AS n FROM patients",
            &["patients", "clinical data model"],
        ),
        ("DROP TABLE person", &["table counts"]),
    ];
    for (sql, says) in statements {
        let refused = node.client.offer(&template(sql)).await.expect_err(sql);
        assert_eq!(refused.code(), ErrorCode::TemplateRefused, "{sql}");
        assert_says(&refused, says);
        assert_says(&refused, &["offer it again"]);
    }
    let hidden = template(plain).replace("How many?", "How many\u{202e}?");
    let nameless = template(plain).replace("id = ", "name = ");
    for (source, says) in [(hidden, "U+202E"), (nameless, "name")] {
        let refused = node.client.offer(&source).await.expect_err(says);
        assert_eq!(refused.code(), ErrorCode::TemplateRefused);
        assert_says(&refused, &[says]);
    }
    network.books(NODE, None).await.assert_as_before(&before);
    // The same template with an accepted statement is taken.
    node.client
        .offer(&template(plain))
        .await
        .expect("an inbox entry");
}

fn template(sql: &str) -> String {
    format!(
        r#"
id = "anything"
version = "1.0.0"
title = "Anything"
question = "How many?"
purposes = ["scientific-research"]
categories = ["ehr"]

[[tables]]
name = "counts"
sql = """{sql}"""
rho = "0.001"
contribution = {{ max_groups = 1, max_rows_per_group = 1 }}
"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_without_a_certificate_of_the_network() {
    let (network, node) = one_node().await;
    let before = network.books(NODE, None).await;
    let ask = network.ask(TEMPLATE, &[]);
    let address = node.address.to_string();
    let key = ward_node::node::verifying_key(&network.config(NODE)).expect("a key");
    let ca = network.deployment().ca();
    let stranger = stranger(&network);
    for (identity, says) in [
        (None, "CertificateRequired"),
        // The other authority bears the same name, and has another key.
        (Some(&stranger), "DecryptError"),
    ] {
        let refused = tls_refusal(node.address, &node.name, &ca, identity).await;
        assert!(refused.contains(says), "{refused}");
        let client = NodeClient::new(&address, &node.name, key, &ca, identity);
        let refused = client.ask(&ask).await.expect_err("no connection");
        assert_eq!(refused.problem, None);
        client.templates().await.expect_err("no connection");
    }

    // Of the network, and no coordinator.
    let requester = network.deployment().identity(REQUESTER);
    let requester = network.client(&node.name, node.address, &requester);
    let refused = requester.ask(&ask).await.expect_err("a refusal");
    assert_eq!(refused.code(), ErrorCode::PeerNotTrusted);
    assert_says(
        &refused,
        &[REQUESTER, "is not a coordinator", "`coordinators`"],
    );
    assert!(requester.templates().await.is_ok());
    network.books(NODE, None).await.assert_as_before(&before);

    // And who answers must be the node: its certificate says so, not its address.
    let other = self::node("hospital-b");
    let mistaken = NodeClient::new(
        &address,
        &other,
        key,
        &ca,
        Some(&network.deployment().identity(NODE)),
    );
    let refused = mistaken.templates().await.expect_err("another node");
    assert!(
        refused.message.contains("hospital-b"),
        "{}",
        refused.message
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_node_in_a_permit_is_named_and_left_out() {
    let mut network = Plan::generated(&[60]).make(PROGRAMS).await;
    let running = network.serve(&[]).await;
    let mut permit = network.permit();
    permit.nodes.insert(node("hospital-z"));
    let request = network.request(&permit, TEMPLATE, &[]);
    let release = running
        .coordinator
        .client
        .ask(&request, |_| {})
        .await
        .expect("a release");
    let outcomes: BTreeMap<_, _> = release
        .nodes
        .into_iter()
        .map(|n| (n.node.to_string(), n.outcome))
        .collect();
    assert!(outcomes[NODE].answered());
    let Outcome::LeftOut { problem } = &outcomes["hospital-z"] else {
        panic!("{outcomes:?}");
    };
    assert_eq!(problem.code, ErrorCode::NodeUnknown);
    assert!(problem.detail.contains("hospital-z"), "{problem}");
    assert!(
        problem.remedy.contains("takes it out of the permit"),
        "{problem}"
    );

    let before = network.books(NODE, None).await;
    permit.minimum_nodes = 2;
    let request = network.request(&permit, TEMPLATE, &[("as_of", "2021-01-01")]);
    let (problem, _) = failure(running.coordinator.client.ask(&request, |_| {}).await);
    assert_eq!(problem.code, ErrorCode::TooFewNodes);
    network.books(NODE, None).await.assert_as_before(&before);
}

/// What the coordinator can see, it refuses itself; nodes don't hear of it.
#[tokio::test(flavor = "multi_thread")]
async fn the_coordinator_refuses_what_it_can_see() {
    let mut network = Plan::generated(&[60]).make(PROGRAMS).await;
    let running = network.serve(&[]).await;
    let before = network.books(NODE, None).await;
    let request = |change: &dyn Fn(&mut Permit), parameters: Given<'_>| {
        let mut permit = network.permit();
        change(&mut permit);
        network.request(&permit, TEMPLATE, parameters)
    };
    let altered = {
        let mut request = request(&|_| {}, &[]);
        request.question.template.hash = ContentHash::of_bytes(b"another content");
        request
    };
    let cases = [
        (
            request(&|p| p.valid_until = p.issued_at - Duration::hours(1), &[]),
            ErrorCode::PermitExpired,
        ),
        (
            request(
                &|p| p.persons = ["bob@uni.example".parse().expect("a person")].into(),
                &[],
            ),
            ErrorCode::PermitWrongPerson,
        ),
        (
            request(&|p| p.access_body = "Nobody".into(), &[]),
            ErrorCode::PermitNotTrusted,
        ),
        (
            request(&|_| {}, &[("as_of", "soon")]),
            ErrorCode::ParameterInvalid,
        ),
        (altered, ErrorCode::TemplateAltered),
    ];
    for (request, code) in &cases {
        let (problem, _) = failure(running.coordinator.client.ask(request, |_| {}).await);
        assert_eq!(problem.code, *code, "{problem}");
        assert!(problem.remedy.ends_with('.'), "{problem}");
    }
    assert_nobody_gets_in(&network, &request(&|_| {}, &[])).await;
    let after = network.books(NODE, None).await;
    after.assert_as_before(&before);
    assert_eq!(after.audit.len(), before.audit.len());
}

async fn assert_nobody_gets_in(network: &Network, request: &ward_schemas::wire::AskRequest) {
    let file = network.deployment().profile();
    let text = std::fs::read_to_string(&file).expect("a profile");
    let mut profile = Profile::parse(&text, file.parent().expect("a directory")).expect("valid");
    profile.identity = None;
    let nobody = Client::new(&profile).expect("a client");
    let (problem, _) = failure(nobody.ask(request, |_| {}).await);
    assert_eq!(problem.code, ErrorCode::Unauthenticated);
    assert!(
        problem.detail.contains("neither a client certificate nor"),
        "{problem}"
    );
    profile.identity = Some(stranger(network));
    let stranger = Client::new(&profile).expect("a client");
    let refused = stranger.ask(request, |_| {}).await;
    assert!(
        matches!(refused, Err(ClientError::Unreachable { .. })),
        "{refused:?}"
    );
}
