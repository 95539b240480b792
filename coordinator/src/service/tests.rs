//! The whole coordinator on loopback, with real TLS and Flight, among nodes that misbehave.

use std::fs;
use std::num::{NonZeroU16, NonZeroU64};
use std::sync::atomic::AtomicU32;

use futures::StreamExt;
use reqwest::StatusCode;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use ward_schemas::ask::Question;
use ward_schemas::ehds::Purpose;
use ward_schemas::jws::{MessageKind, SigningKey};
use ward_schemas::permit::Permit;
use ward_schemas::problem::{ErrorCode, ProblemDocument};
use ward_schemas::release::{Outcome, Release};
use ward_schemas::wire::{Decision, Phase, ReleaseSummary, WIRE_FORMAT};
use ward_transport::TlsFiles;

use super::*;
use crate::config::{AccessBody, TokenHash};
use crate::testing::authority::Authority;
use crate::testing::scripted::{Script, ScriptedNode};
use crate::testing::{self, TEMPLATE, ada, loss, node};

const TOKEN: &str = "ada's token";

/// A coordinator and its nodes.
struct World {
    authority: Authority,
    coordinator: Coordinator,
    nodes: Vec<ScriptedNode>,
    hdab: SigningKey,
    address: std::net::SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl World {
    /// Nodes a, b, c … that follow these scripts.
    async fn new(scripts: impl IntoIterator<Item = Script>) -> Self {
        Self::with(scripts, |_| {}).await
    }

    async fn with(
        scripts: impl IntoIterator<Item = Script>,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let authority = Authority::new();
        let hdab = SigningKey::generate().expect("randomness");
        let files = authority.service("coordinator");
        let mut config = config(&authority, files, &hdab);
        let vocabulary = Package::open(&config.vocabulary).expect("package").hash();
        let mut nodes = Vec::new();
        for (name, script) in ["a", "b", "c", "d", "e"].into_iter().zip(scripts) {
            let files = authority.service(name);
            nodes.push(ScriptedNode::start(name, &files, vocabulary, script).await);
        }
        config.nodes = nodes.iter().map(ScriptedNode::config).collect();
        change(&mut config);
        let coordinator = Coordinator::open(config).await.expect("coordinator");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
        let address = listener.local_addr().expect("address");
        let (stop, stopped) = oneshot::channel::<()>();
        let served = coordinator.clone();
        let serving = tokio::spawn(async move {
            let stopped = async {
                let _ = stopped.await;
            };
            served.serve(listener, stopped).await;
        });
        Self {
            authority,
            coordinator,
            nodes,
            hdab,
            address,
            stop,
            serving,
        }
    }

    /// An ask of Ada's for all nodes, at least `minimum` of which must answer.
    fn request(&self, minimum: u32, change: impl FnOnce(&mut Permit)) -> AskRequest {
        let id = "patients_by_sex".parse().expect("name");
        let detail = self.coordinator.template(&id).expect("template");
        let template = detail.summary.template;
        let names: Vec<_> = self.nodes.iter().map(|n| n.name().clone()).collect();
        let mut permit = testing::permit(&names);
        permit.valid_from = Utc::now() - chrono::TimeDelta::days(1);
        permit.valid_until = Utc::now() + chrono::TimeDelta::days(1);
        permit.templates = [template.clone()].into();
        permit.minimum_nodes = minimum;
        change(&mut permit);
        let permit = self.hdab.sign(MessageKind::Permit, &permit);
        AskRequest {
            v: WIRE_FORMAT,
            question: Question {
                template,
                parameters: testing::no_parameters(),
                rho: None,
                purpose: Purpose::ScientificResearch,
            },
            permit: permit.expect("signed"),
            signature: None,
        }
    }

    fn client(&self, identity: Option<&TlsFiles>) -> reqwest::Client {
        let resolve = Some(("coordinator", self.address));
        let client = ward_transport::http_client(&self.authority.ca(), identity, resolve);
        client.expect("client")
    }

    fn url(&self, path: &str) -> String {
        format!("https://coordinator:{}/v1/{path}", self.address.port())
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        let request = self.client(None).get(self.url(path)).bearer_auth(TOKEN);
        let answer = request.send().await.expect("answer");
        answer.json().await.expect("JSON")
    }

    async fn post(&self, path: &str, request: &AskRequest) -> reqwest::Response {
        let client = self.client(None);
        let post = client.post(self.url(path)).bearer_auth(TOKEN).json(request);
        post.send().await.expect("answer")
    }

    /// All events of an ask over HTTP.
    async fn ask(&self, request: &AskRequest) -> Vec<AskEvent> {
        let answer = self.post("asks", request).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let text = answer.text().await.expect("lines");
        let lines = text.lines().map(serde_json::from_str);
        lines.collect::<Result<_, _>>().expect("events")
    }

    async fn stop(self) {
        let _ = self.stop.send(());
        self.serving.await.expect("served to the end");
    }
}

fn config(authority: &Authority, tls: TlsFiles, hdab: &SigningKey) -> Config {
    let dir = authority.dir();
    let concepts = "concept_id,concept_name,domain_id,vocabulary_id,concept_class_id,\
                    standard_concept,concept_code,valid_start_date,valid_end_date,invalid_reason\n\
                    0,None,Metadata,None,Undefined,,0,1970-01-01,2099-12-31,\n";
    fs::create_dir_all(dir.join("omop")).expect("directory");
    fs::write(dir.join("omop/concept.csv"), concepts).expect("written");
    let vocabulary = dir.join("vocabulary.ward");
    ward_omop::vocabulary::pack(&dir.join("omop"), &vocabulary).expect("package");
    fs::create_dir_all(dir.join("templates")).expect("directory");
    fs::write(dir.join("templates/patients.toml"), TEMPLATE).expect("written");
    let text = "listen = \"127.0.0.1:0\"\ndata = \"data\"\nvocabulary = \"vocabulary.ward\"\n\
                templates = \"templates\"\nretry_pause_milliseconds = 1\n\
                [tls]\ncertificate = \"x\"\nkey = \"x\"\nca = \"x\"\n";
    let parsed = Config::parse(text, &dir.join("coordinator.toml")).expect("config");
    Config {
        tls,
        access_bodies: vec![AccessBody {
            name: "HDAB".into(),
            key: hdab.verifying_key(),
        }],
        requesters: vec![
            RequesterConfig {
                subject: ada(),
                token_sha256: Some(TokenHash::of(TOKEN)),
            },
            RequesterConfig {
                subject: "bob@uni.example".parse().expect("subject"),
                token_sha256: None,
            },
        ],
        ..parsed
    }
}

fn done(events: &[AskEvent]) -> &Release {
    match events.last() {
        Some(AskEvent::Done { release }) => release,
        other => panic!("a release: {other:?}"),
    }
}

/// What became of each node: `None` if it is in the release.
fn left_out(outcomes: &[ward_schemas::release::NodeOutcome]) -> Vec<Option<ErrorCode>> {
    let code = |outcome: &Outcome| match outcome {
        Outcome::Answered { .. } => None,
        Outcome::LeftOut { problem } => Some(problem.code),
    };
    outcomes.iter().map(|o| code(&o.outcome)).collect()
}

#[tokio::test]
async fn good_answers_are_merged_and_the_others_named() {
    let world = World::new([
        Script::Answers,
        Script::Frozen,
        Script::Refuses(ErrorCode::BudgetExhausted),
        Script::FailsFirst(AtomicU32::new(2)),
        Script::OtherPlan,
    ])
    .await;
    let events = world.ask(&world.request(2, |_| {})).await;
    let release = done(&events);
    let expected = [
        None,
        Some(ErrorCode::PartialRefused),
        Some(ErrorCode::BudgetExhausted),
        None,
        Some(ErrorCode::PlanDiffers),
    ];
    assert_eq!(left_out(&release.nodes), expected);
    let cell = serde_json::to_value(&release.tables[0].rows[0][1]).expect("json");
    assert_eq!(cell["value"], 202.0);
    // It can be read again, by Ada alone.
    let again: Release = world.get(&format!("releases/{}", release.id)).await;
    assert_eq!(&again, release);
    let listed: Vec<ReleaseSummary> = world.get("releases").await;
    assert_eq!(listed, [ReleaseSummary::from(release)]);
    let bob = world.authority.person("bob@uni.example");
    let url = world.url(&format!("releases/{}", release.id));
    let answer = world.client(Some(&bob)).get(url).send().await;
    assert_eq!(answer.expect("answer").status(), StatusCode::NOT_FOUND);
    world.stop().await;
}

#[tokio::test]
async fn a_node_is_told_of_the_newest_audit_head_seen_of_it() {
    let world = World::new([Script::Answers]).await;
    let request = world.request(1, |_| {});
    world.ask(&request).await;
    world.ask(&request).await;
    let witnesses = world.nodes[0].witnesses();
    let sequences: Vec<_> = witnesses.iter().map(|w| w.map(|h| h.sequence)).collect();
    assert_eq!(sequences, [None, Some(7)]);
    world.stop().await;
}

#[tokio::test]
async fn an_audit_log_longer_than_can_be_costs_its_node_the_release_and_nobody_else() {
    let world = World::new([Script::Answers, Script::EndlessLog]).await;
    let events = world.ask(&world.request(1, |_| {})).await;
    let expected = [None, Some(ErrorCode::PartialRefused)];
    assert_eq!(left_out(&done(&events).nodes), expected);
    world.stop().await;
}

#[tokio::test]
async fn too_few_nodes_are_found_out_before_any_is_charged() {
    let world = World::new([
        Script::Answers,
        Script::Refuses(ErrorCode::TemplateNotApproved),
    ])
    .await;
    let request = world.request(2, |_| {});
    let events = world.ask(&request).await;
    let Some(AskEvent::Failed { problem, nodes }) = events.last() else {
        panic!("failed: {events:?}");
    };
    assert_eq!(problem.code, ErrorCode::TooFewNodes);
    assert_eq!(left_out(nodes), [Some(ErrorCode::TemplateNotApproved)]);
    assert!(world.nodes[0].witnesses().is_empty(), "nothing was charged");
    let Some(AskEvent::Accepted { release, .. }) = events.first() else {
        panic!("accepted: {events:?}");
    };
    let told: ProblemDocument = world.get(&format!("releases/{release}")).await;
    assert_eq!(told.code, ErrorCode::TooFewNodes);
    world.stop().await;
}

#[tokio::test]
async fn nodes_that_are_away_silent_or_unknown_are_named() {
    let scripts = [Script::Answers, Script::Away, Script::Silent];
    let patience = NonZeroU64::MIN.saturating_add(3);
    let world = World::with(scripts, |c| c.answer_deadline_seconds = patience).await;
    let request = world.request(1, |permit| {
        permit.nodes.insert(node("elsewhere"));
    });
    let events = world.ask(&request).await;
    let expected = [
        None,
        Some(ErrorCode::NodeUnreachable),
        Some(ErrorCode::NodeTimeout),
        Some(ErrorCode::NodeUnknown),
    ];
    assert_eq!(left_out(&done(&events).nodes), expected);
    world.stop().await;
}

#[tokio::test]
async fn an_ask_goes_on_when_its_client_is_gone() {
    let world = World::new([Script::Answers]).await;
    let request = world.request(1, |_| {});
    let events = world.coordinator.ask(request, ada()).await;
    drop(events.expect("opened"));
    let coordinator = world.coordinator.clone();
    world.stop().await;
    let released = coordinator.store().releases(&ada()).await.expect("read");
    assert_eq!(released.len(), 1);
}

#[tokio::test]
async fn quotes_say_what_each_node_would_charge() {
    let world = World::new([Script::Answers, Script::Answers, Script::Away]).await;
    let answer = world.post("quotes", &world.request(1, |_| {})).await;
    let reply: QuoteReply = answer.json().await.expect("JSON");
    let charges: Vec<_> = reply.nodes.iter().map(|n| n.quote.as_ref().ok()).collect();
    let charges: Vec<_> = charges.into_iter().map(|q| q.map(|q| q.charge)).collect();
    assert_eq!(charges, [Some(loss()), Some(loss()), None]);
    assert_eq!((reply.assumed.nodes, reply.assumed.group), (2, 1000));
    let precision = reply.costs[0].precision.expect("a precision");
    assert!((precision.half_width - 27.7).abs() < 0.1);
    assert!(world.nodes[0].witnesses().is_empty(), "nothing was charged");
    world.stop().await;
}

#[tokio::test]
async fn refusals_are_problem_documents() {
    let world = World::new([Script::Answers]).await;
    let expired = world.request(1, |p| {
        p.valid_until = p.valid_from + chrono::TimeDelta::hours(1);
    });
    let answer = world.post("asks", &expired).await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let problem: ProblemDocument = answer.json().await.expect("JSON");
    assert_eq!(problem.code, ErrorCode::PermitExpired);
    assert!(problem.remedy.contains("access body"), "{problem:?}");
    let code = async |request: reqwest::RequestBuilder| {
        let answer = request.send().await.expect("answer");
        answer.json::<ProblemDocument>().await.expect("JSON").code
    };
    let nobody = world.client(None);
    let eve = world.client(Some(&world.authority.person("eve@uni.example")));
    let ada = |path: &str| world.client(None).post(world.url(path)).bearer_auth(TOKEN);
    let templates = world.url("templates");
    assert_eq!(
        code(nobody.get(&templates)).await,
        ErrorCode::Unauthenticated
    );
    let wrong = nobody.get(&templates).bearer_auth("guess");
    assert_eq!(code(wrong).await, ErrorCode::Unauthenticated);
    assert_eq!(code(eve.get(&templates)).await, ErrorCode::PeerNotTrusted);
    assert_eq!(
        code(ada("asks").body("{}")).await,
        ErrorCode::MalformedRequest
    );
    assert_eq!(code(ada("nowhere")).await, ErrorCode::NotFound);
    let large = "x".repeat(ward_schemas::ask::MAX_ASK_BYTES + 1);
    assert_eq!(
        code(ada("asks").body(large)).await,
        ErrorCode::MalformedRequest
    );
    world.stop().await;
}

#[tokio::test]
async fn a_node_fetches_the_vocabulary_package_and_nothing_else() {
    let world = World::new([Script::Answers]).await;
    let client = world.client(Some(&world.authority.service("a")));
    let (hash, _) = world.coordinator.vocabulary();
    let url = world.url(&format!("vocabulary/{hash}"));
    let answer = client.get(url).send().await.expect("answer");
    let bytes = answer.bytes().await.expect("bytes");
    assert_eq!(ContentHash::of_bytes(&bytes), hash);
    let other = world.url(&format!("vocabulary/{}", ContentHash::of_bytes(b"other")));
    let answer = client.get(other).send().await.expect("answer");
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    let answer = client.get(world.url("templates")).send().await;
    assert_eq!(answer.expect("answer").status(), StatusCode::FORBIDDEN);
    world.stop().await;
}

#[tokio::test]
async fn offers_tell_where_each_steward_stands() {
    let world = World::new([Script::Answers, Script::OtherPlan, Script::Away]).await;
    let offered = world.coordinator.offer_templates().await;
    assert!(offered[&node("a")].is_ok());
    assert!(offered[&node("c")].is_err());
    let detail: TemplateDetail = world.get("templates/patients_by_sex").await;
    let decisions: Vec<_> = detail.nodes.into_iter().map(|n| n.decision).collect();
    let [a, b, c] = decisions.try_into().expect("three nodes");
    assert_eq!(a, Ok(Decision::Approved));
    assert_eq!(b.expect_err("altered").code, ErrorCode::TemplateAltered);
    assert_eq!(c.expect_err("away").code, ErrorCode::NodeUnreachable);
    world.stop().await;
}

#[tokio::test]
async fn what_can_not_be_opened_is_named() {
    let authority = Authority::new();
    let hdab = SigningKey::generate().expect("randomness");
    let config = config(&authority, authority.service("coordinator"), &hdab);
    let refuse = async |change: fn(&mut Config)| {
        let mut config = config.clone();
        change(&mut config);
        let error = Coordinator::open(config).await.expect_err("refused");
        error.to_string()
    };
    let error = refuse(|c| c.tls.key = "/nowhere/key.pem".into()).await;
    assert!(error.contains("/nowhere/key.pem"), "{error}");
    let error = refuse(|c| c.vocabulary = "/nowhere/vocabulary.ward".into()).await;
    assert!(error.contains("vocabulary pack"), "{error}");
    let error = refuse(|c| c.templates = Some("/nowhere/templates".into())).await;
    assert!(error.contains("/nowhere/templates"), "{error}");
    let error = refuse(|c| c.data = "/dev/null/data".into()).await;
    assert!(error.contains("/dev/null/data"), "{error}");
    let good = Config {
        drain_seconds: NonZeroU64::MIN,
        ..config
    };
    assert!(Coordinator::open(good).await.is_ok());
}

#[tokio::test]
async fn events_tell_of_every_node_in_order() {
    let world = World::new([Script::Answers]).await;
    let events = world.coordinator.ask(world.request(1, |_| {}), ada()).await;
    let events = tokio_stream::wrappers::UnboundedReceiverStream::new(events.expect("opened"));
    let told: Vec<_> = events
        .map(|event| serde_json::to_value(event).expect("json"))
        .map(|event| (event["event"].clone(), event["phase"].clone()))
        .collect()
        .await;
    let told: Vec<_> = told
        .iter()
        .map(|(event, phase)| phase.as_str().or(event.as_str()))
        .collect();
    let expected = ["accepted", "quoting", "asked", "answered", "done"];
    assert_eq!(told, expected.map(Some));
    world.stop().await;
}

#[tokio::test]
async fn asks_over_the_cap_wait() {
    let world = World::with([Script::Silent], |c| {
        c.max_concurrent_asks = NonZeroU16::MIN;
        c.answer_deadline_seconds = NonZeroU64::MIN;
    })
    .await;
    let ask = async || {
        let events = world.coordinator.ask(world.request(1, |_| {}), ada()).await;
        events.expect("opened")
    };
    let (mut first, mut second) = (ask().await, ask().await);
    assert!(matches!(
        second.recv().await,
        Some(AskEvent::Accepted { .. })
    ));
    // The first has its answer's whole deadline, in which the second could begin.
    let next = second.recv().await;
    assert!(matches!(
        next,
        Some(AskEvent::Node {
            phase: Phase::Quoting,
            ..
        })
    ));
    let told = std::iter::from_fn(|| first.try_recv().ok());
    let ended = told.into_iter().any(|event| {
        matches!(
            event,
            AskEvent::Node {
                phase: Phase::LeftOut,
                ..
            }
        )
    });
    assert!(ended, "the second began beside the first");
    world.stop().await;
}
