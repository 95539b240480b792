//! Asks on a node with real data, the real engine and the real store; only the network is left out.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::TimeDelta;
use tokio::task::JoinSet;
use ward_data::Silent;
use ward_schemas::ask::{ASK_FORMAT, Ask, Question};
use ward_schemas::delta::Delta;
use ward_schemas::ehds::Purpose;
use ward_schemas::names::Subject;
use ward_schemas::permit::{Holder, PERMIT_FORMAT, Permit};
use ward_schemas::rho::Rho;
use ward_schemas::template::TemplateRef;

use super::*;
use crate::clock::Clock;
use crate::config::{AccessBody, Config};
use crate::ledger::Spent;
use crate::node::{Node, NodeOptions};
use crate::steward::Steward;
use crate::{InitOptions, init};

const TEMPLATE: &str = r#"
id = "patients_by_sex"
version = "1.0.0"
title = "Patients by sex"
question = "How many patients of each sex were born since?"
purposes = ["scientific-research"]
categories = ["ehr"]
parameters.since = { type = "integer", minimum = 1900, maximum = 2020, default = 1950 }

[[tables]]
name = "by_sex"
sql = """
SELECT p.gender_concept_id AS sex, COUNT(DISTINCT p.person_id) AS patients
FROM person p WHERE p.year_of_birth >= $since GROUP BY p.gender_concept_id
"""
rho = "0.005"
contribution = { max_groups = 1, max_rows_per_group = 1 }
keys.sex = { concepts = [8507, 8532], labels = ["male", "female"] }
"#;

/// A time after every real one, which `init` has already written.
struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp(4_000_000_000, 0).expect("in range")
    }
}

/// A hospital with data and one approved template.
struct Hospital {
    dir: tempfile::TempDir,
    config: Config,
    body: SigningKey,
    template: TemplateRef,
}

impl Hospital {
    async fn new() -> Self {
        Self::with(TEMPLATE).await
    }

    async fn with(template: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let source = write_source(dir.path());
        let package = dir.path().join("vocabulary.tar");
        let hash = ward_data::vocabulary::pack(&source, &package).expect("a package");
        let body = SigningKey::generate().expect("randomness");
        let options = InitOptions {
            access_bodies: vec![AccessBody {
                name: "Body".to_owned(),
                key: body.verifying_key(),
            }],
            vocabulary: Some(hash),
            ..InitOptions::new("hospital-a".parse().expect("a name"))
        };
        let made = init(&dir.path().join("node"), &options).await;
        let mut config = Config::load(&made.expect("a node").config).expect("valid");
        config.answers.reply_tick_ms = 50;
        let steward = steward(&config).await;
        steward.confirm_clock().await.expect("confirmed");
        steward.add_vocabulary(&package).await.expect("added");
        let import = steward.import_omop(&source, Arc::new(Silent)).await;
        import.expect("imported");
        let offer = steward.offer(template.to_owned()).await.expect("accepted");
        steward.approve_all().await.expect("approved");
        Self {
            dir,
            config,
            body,
            template: offer.template,
        }
    }

    async fn node(&self) -> Arc<Answerer> {
        self.node_with(None).await
    }

    async fn node_with(&self, stages: Option<Arc<dyn Stages>>) -> Arc<Answerer> {
        let options = NodeOptions {
            stages,
            clock: Arc::new(Fixed),
            ..NodeOptions::default()
        };
        let node = Node::open(self.config.clone(), options).await;
        node.expect("a node").answerer
    }

    fn permit(&self) -> Permit {
        let now = Fixed.now();
        Permit {
            v: PERMIT_FORMAT,
            id: "P-1".parse().expect("a permit"),
            version: 1,
            access_body: "Body".to_owned(),
            issued_at: now,
            valid_from: now,
            valid_until: now + TimeDelta::days(30),
            holder: Holder {
                organisation: "University".to_owned(),
                principal_investigator: "Ada".to_owned(),
                public_body: false,
            },
            persons: [ada()].into(),
            purpose: Purpose::ScientificResearch,
            templates: [self.template.clone()].into(),
            nodes: [self.config.name.clone()].into(),
            budget: rho("1"),
            budget_delta: Delta::ZERO,
            minimum_nodes: 1,
            requester_key: None,
        }
    }

    fn ask_under(&self, permit: &Permit, since: u32) -> Ask {
        let since = ("since".parse().expect("a name"), since.to_string());
        Ask {
            v: ASK_FORMAT,
            question: Question {
                template: self.template.clone(),
                parameters: [since].into(),
                rho: None,
                purpose: Purpose::ScientificResearch,
            },
            requester: ada(),
            permit: self.body.sign(MessageKind::Permit, permit).expect("signed"),
            signature: None,
            witness: None,
        }
    }

    fn ask(&self, since: u32) -> Ask {
        self.ask_under(&self.permit(), since)
    }

    async fn spent(&self) -> Spent {
        let node = self.node().await;
        let mut db = node.state.store.read().await.expect("a connection");
        let account = PermitAccount::of(&self.permit());
        let spent = ledger::spent(&mut db, &account, Fixed.now()).await;
        spent.expect("sums")
    }

    async fn events(&self) -> Vec<Event> {
        let steward = steward(&self.config).await;
        steward.audit_verify(None).await.expect("a whole log");
        let mut events = Vec::new();
        let read = steward.audit_records(|record| events.push(record.event));
        read.await.expect("read");
        events
    }

    fn data(&self) -> PathBuf {
        self.config.data_dir.clone()
    }
}

/// A folder with 600 patients, two in three of them women, and a vocabulary of two concepts.
fn write_source(dir: &Path) -> PathBuf {
    let source = dir.join("source");
    fs::create_dir(&source).expect("a directory");
    let mut person = String::from(
        "person_id,gender_concept_id,year_of_birth,race_concept_id,ethnicity_concept_id\n",
    );
    for id in 0..600 {
        let sex = if id % 3 == 0 { 8507 } else { 8532 };
        person += &format!("{id},{sex},{},0,0\n", 1930 + id % 80);
    }
    fs::write(source.join("person.csv"), person).expect("written");
    let concept = "concept_id,concept_name,domain_id,vocabulary_id,concept_class_id,standard_concept,concept_code,valid_start_date,valid_end_date,invalid_reason\n\
        8507,MALE,Gender,Gender,Gender,S,M,1970-01-01,2099-12-31,\n\
        8532,FEMALE,Gender,Gender,Gender,S,F,1970-01-01,2099-12-31,\n";
    fs::write(source.join("concept.csv"), concept).expect("written");
    source
}

async fn steward(config: &Config) -> Steward {
    let steward = Steward::open_at(config.clone(), Arc::new(Fixed)).await;
    steward.expect("a steward")
}

fn ada() -> Subject {
    "ada@uni.example".parse().expect("a subject")
}

fn loss(text: &str) -> Loss {
    Loss {
        rho: rho(text),
        delta: Delta::ZERO,
    }
}

fn delta(text: &str) -> Delta {
    text.parse().expect("a delta")
}

fn rho(text: &str) -> Rho {
    text.parse().expect("a rho")
}

fn coordinator() -> Caller {
    Caller {
        name: "coordinator.example".to_owned(),
        is_coordinator: true,
    }
}

async fn send(node: &Answerer, ask: &Ask) -> Result<(PartialEnvelope, Vectors), Problem> {
    let bytes = serde_json::to_vec(ask).expect("JSON");
    let reply = node.answer(&coordinator(), &bytes).await?;
    let keys = ward_schemas::jws::KeyRing::new([(node.signing.verifying_key(), ())]);
    let (envelope, ()) = keys
        .verify::<PartialEnvelope>(MessageKind::Partial, &reply.envelope)
        .map(|(envelope, trusted)| (envelope, *trusted))
        .expect("signed by the node");
    assert_eq!(envelope.claims.digest, reply.vectors.digest());
    Ok((envelope, reply.vectors))
}

async fn quote(node: &Answerer, ask: &Ask) -> Result<Quote, Problem> {
    let bytes = serde_json::to_vec(ask).expect("JSON");
    node.quote(&coordinator(), &bytes).await
}

fn count(events: &[Event], is: impl Fn(&Event) -> bool) -> usize {
    events.iter().filter(|e| is(e)).count()
}

fn charged(event: &Event) -> bool {
    matches!(event, Event::Charged { .. })
}

#[tokio::test]
async fn an_answer_is_near_the_truth_and_is_given_again_for_nothing() {
    let hospital = Hospital::new().await;
    let node = hospital.node().await;
    let ask = hospital.ask(1900);
    let before = quote(&node, &ask).await.expect("a quote");
    assert_eq!(
        (before.charge, before.permit_left),
        (loss("0.005"), loss("1"))
    );
    let (first, vectors) = send(&node, &ask).await.expect("an answer");
    let counts = vectors.values().concat().concat();
    // σ is 10: ten of them are enough for any test that will ever run.
    assert!(
        (counts[0] - 200).abs() < 100 && (counts[1] - 400).abs() < 100,
        "{counts:?}"
    );

    let (second, same) = send(&node, &ask).await.expect("the answer again");
    assert_eq!((&second.claims, &same), (&first.claims, &vectors));
    assert!(
        second.audit.sequence > first.audit.sequence,
        "a fresh envelope"
    );
    let after = quote(&node, &ask).await.expect("a quote");
    assert_eq!(
        (after.charge, after.permit_left),
        (Loss::ZERO, loss("0.995"))
    );
    assert_eq!(hospital.spent().await.lifetime.loss, loss("0.005"));
    let events = hospital.events().await;
    assert_eq!(count(&events, charged), 1);
    assert_eq!(count(&events, |e| matches!(e, Event::Replayed { .. })), 1);
}

#[tokio::test]
async fn another_permit_of_the_same_day_gets_the_same_answer() {
    let hospital = Hospital::new().await;
    let node = hospital.node().await;
    let (first, _) = send(&node, &hospital.ask(1900)).await.expect("an answer");
    let other = Permit {
        id: "P-2".parse().expect("a permit"),
        ..hospital.permit()
    };
    let (second, _) = send(&node, &hospital.ask_under(&other, 1900))
        .await
        .expect("the answer");
    assert_eq!(first.claims, second.claims);
}

#[tokio::test]
async fn the_same_ask_sent_at_once_is_charged_once() {
    let hospital = Hospital::new().await;
    let node = hospital.node().await;
    let mut asking = JoinSet::new();
    for _ in 0..8 {
        let (node, ask) = (Arc::clone(&node), hospital.ask(1930));
        asking.spawn(async move { send(&node, &ask).await.expect("an answer") });
    }
    let answers = asking.join_all().await;
    for (envelope, vectors) in &answers {
        assert_eq!(
            (&envelope.claims, vectors),
            (&answers[0].0.claims, &answers[0].1)
        );
    }
    assert_eq!(count(&hospital.events().await, charged), 1);
}

#[tokio::test]
async fn delta_is_charged_where_the_permit_allows_it() {
    let public = r#"{ concepts = [8507, 8532], labels = ["male", "female"] }"#;
    let from_data = TEMPLATE
        .replace(public, r#"{ from_data = "integer", most = 5 }"#)
        .replace("rho =", "delta = \"2e-7\"\nrho =");
    let hospital = Hospital::with(&from_data).await;
    let node = hospital.node().await;
    let silent = send(&node, &hospital.ask(1900))
        .await
        .expect_err("no delta");
    assert_eq!(silent.code, ErrorCode::PermitBudgetExhausted);
    assert!(silent.detail.contains("a delta of 2e-7"), "{silent}");
    assert_eq!(
        hospital.spent().await,
        Spent::default(),
        "nothing was touched"
    );

    let permit = Permit {
        budget_delta: delta("5e-7"),
        ..hospital.permit()
    };
    let quoted = quote(&node, &hospital.ask_under(&permit, 1900)).await;
    let quoted = quoted.expect("a quote");
    assert_eq!(
        (quoted.charge, quoted.loss.delta),
        (quoted.loss, delta("2e-7"))
    );
    assert_eq!(quoted.meaning, engine::stated(quoted.loss));
    for since in [1900, 1910] {
        let answer = send(&node, &hospital.ask_under(&permit, since)).await;
        answer.expect("an answer");
    }
    let third = send(&node, &hospital.ask_under(&permit, 1920)).await;
    let third = third.expect_err("spent");
    assert!(third.detail.contains("has 1e-7 of 5e-7 left"), "{third}");
    let spent = hospital.spent().await;
    assert_eq!(
        (spent.permit.asks, spent.year.loss.delta),
        (2, delta("4e-7"))
    );
    let of_two = |e: &Event| matches!(e, Event::Charged { delta: d, .. } if *d == delta("2e-7"));
    assert_eq!(count(&hospital.events().await, of_two), 2);
}

#[tokio::test]
async fn of_65_asks_with_room_for_64_one_is_refused() {
    let mut hospital = Hospital::new().await;
    hospital.config.policy.yearly_rho = rho("0.32");
    let node = hospital.node().await;
    let mut asking = JoinSet::new();
    for since in 1900..1965 {
        let (node, ask) = (Arc::clone(&node), hospital.ask(since));
        asking.spawn(async move { send(&node, &ask).await.err() });
    }
    let refused: Vec<_> = asking.join_all().await.into_iter().flatten().collect();
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(refused[0].code, ErrorCode::BudgetExhausted);
    assert_eq!(hospital.spent().await.year.loss, loss("0.32"));
    let next = quote(&node, &hospital.ask(1999))
        .await
        .expect_err("no room");
    assert_eq!(next.code, ErrorCode::BudgetExhausted);
    assert_eq!(
        quote(&node, &hospital.ask(1900))
            .await
            .map(|q| q.charge)
            .ok(),
        Some(Loss::ZERO)
    );
}

#[tokio::test]
async fn a_permit_spends_no_more_than_its_own_budget() {
    let hospital = Hospital::new().await;
    let node = hospital.node().await;
    let small = Permit {
        budget: rho("0.008"),
        ..hospital.permit()
    };
    send(&node, &hospital.ask_under(&small, 1900))
        .await
        .expect("room for one");
    let refused = send(&node, &hospital.ask_under(&small, 1901))
        .await
        .expect_err("not for two");
    assert_eq!(refused.code, ErrorCode::PermitBudgetExhausted);
    assert!(refused.detail.contains("0.003 of 0.008"), "{refused}");
}

/// Stops an ask at a stage, once, as a crash would.
struct Crash {
    at: Stage,
    done: AtomicBool,
}

impl Stages for Crash {
    fn reached(&self, stage: Stage) {
        if stage == self.at && !self.done.swap(true, Ordering::SeqCst) {
            panic!("crashed at {stage:?}");
        }
    }
}

/// Tells that an ask has its noisy integers.
struct Computed(tokio::sync::Notify);

impl Stages for Computed {
    fn reached(&self, stage: Stage) {
        if stage == Stage::AfterNoise {
            self.0.notify_one();
        }
    }
}

#[tokio::test]
async fn what_was_computed_is_recorded_at_a_tick() {
    let mut hospital = Hospital::new().await;
    hospital.config.answers.reply_tick_ms = 3_600_000;
    let computed = Arc::new(Computed(tokio::sync::Notify::new()));
    let node = hospital.node_with(Some(Arc::clone(&computed) as _)).await;
    let asking = tokio::spawn({
        let (node, ask) = (Arc::clone(&node), hospital.ask(1900));
        async move { send(&node, &ask).await.map(drop) }
    });
    computed.0.notified().await;
    // Each takes its place behind whatever the ask has given to the one writer.
    for _ in 0..50 {
        flush(&node).await;
    }
    let events = hospital.events().await;
    assert_eq!(count(&events, charged), 1);
    assert_eq!(count(&events, |e| matches!(e, Event::Answered { .. })), 0);
    assert!(!asking.is_finished(), "it waits for the tick");
    asking.abort();
}

#[test]
fn ticks_are_multiples_of_their_length() {
    let ms = Duration::from_millis;
    for (elapsed, next) in [
        (0, 50),
        (1, 50),
        (49, 50),
        (50, 100),
        (51, 100),
        (1234, 1250),
    ] {
        assert_eq!(next_tick(ms(elapsed), ms(50)), ms(next), "{elapsed} ms");
    }
    assert_eq!(next_tick(Duration::from_micros(99_999), ms(50)), ms(100));
}

async fn crash(hospital: &Hospital, at: Stage, ask: &Ask) {
    let done = AtomicBool::new(false);
    let node = hospital.node_with(Some(Arc::new(Crash { at, done }))).await;
    let ask = ask.clone();
    let crashed = tokio::spawn(async move { send(&node, &ask).await.map(drop) }).await;
    assert!(crashed.is_err_and(|e| e.is_panic()));
}

#[tokio::test]
async fn a_retry_after_a_crash_never_charges_twice() {
    let hospital = Hospital::new().await;
    let stages = [
        Stage::BeforeCharge,
        Stage::AfterCharge,
        Stage::AfterNoise,
        Stage::BeforeReply,
    ];
    for (since, stage) in (1900..).zip(stages) {
        let ask = hospital.ask(since);
        crash(&hospital, stage, &ask).await;
        let node = hospital.node().await;
        let (first, vectors) = send(&node, &ask).await.expect("the retry");
        let (again, same) = send(&node, &ask).await.expect("once more");
        assert_eq!((first.claims, vectors), (again.claims, same), "{stage:?}");
    }
    let events = hospital.events().await;
    assert_eq!(count(&events, charged), 4);
    assert_eq!(count(&events, |e| matches!(e, Event::Answered { .. })), 4);
    assert_eq!(count(&events, |e| matches!(e, Event::Resumed { .. })), 2);
    assert_eq!(hospital.spent().await.lifetime.asks, 4);
}

#[tokio::test]
async fn a_retry_after_an_import_finishes_on_the_snapshot_of_its_charge() {
    let hospital = Hospital::new().await;
    let ask = hospital.ask(1900);
    let before = active(&hospital).await;
    crash(&hospital, Stage::AfterCharge, &ask).await;
    import_again(&hospital).await;
    let node = hospital.node().await;
    let (envelope, _) = send(&node, &ask).await.expect("the retry");
    assert_eq!(envelope.claims.snapshot, before);
    assert_eq!(count(&hospital.events().await, charged), 1);
    let (next, _) = send(&node, &ask).await.expect("on the new data");
    assert_ne!(next.claims.snapshot, before, "new data is another ask");
    assert_eq!(count(&hospital.events().await, charged), 2);
}

#[tokio::test]
async fn a_charge_whose_snapshot_is_gone_makes_way_for_another() {
    let hospital = Hospital::new().await;
    let ask = hospital.ask(1900);
    let before = active(&hospital).await;
    crash(&hospital, Stage::AfterCharge, &ask).await;
    import_again(&hospital).await;
    let data = ward_data::Store::open(&hospital.data()).expect("the data");
    data.remove(before).expect("removed");
    let node = hospital.node().await;
    let quoted = quote(&node, &ask).await.expect("a quote");
    assert_eq!(quoted.charge, loss("0.005"));
    let (envelope, _) = send(&node, &ask).await.expect("on the new data");
    assert_eq!(envelope.claims.snapshot, active(&hospital).await);
    assert_eq!(count(&hospital.events().await, charged), 2);
    assert_eq!(hospital.spent().await.lifetime.asks, 2);
}

async fn active(hospital: &Hospital) -> SnapshotId {
    let status = steward(&hospital.config).await.status().await;
    status.expect("a status").snapshot.expect("a snapshot")
}

async fn import_again(hospital: &Hospital) {
    let source = hospital.dir.path().join("source");
    let steward = steward(&hospital.config).await;
    let import = steward.import_omop(&source, Arc::new(Silent)).await;
    import.expect("imported");
}

#[tokio::test]
async fn a_full_disk_charges_nothing() {
    let mut hospital = Hospital::new().await;
    // Too long for the room that is left inside the database's pages.
    let name = "Body".repeat(5000);
    hospital.config.access_bodies[0].name.clone_from(&name);
    let node = hospital.node().await;
    let permit = Permit {
        access_body: name,
        ..hospital.permit()
    };
    let ask = hospital.ask_under(&permit, 1900);
    let records = hospital.events().await.len();
    fill_the_disk(&node).await;
    let refused = send(&node, &ask).await.expect_err("no room");
    assert_eq!(refused.code, ErrorCode::LedgerUnavailable);
    assert!(refused.detail.contains("nothing was charged"), "{refused}");
    assert!(refused.remedy.contains("disk space"), "{refused}");
    assert_eq!(hospital.spent().await, Spent::default());
    assert_eq!(hospital.events().await.len(), records);
    send(&node, &ask)
        .await
        .expect("an answer when there is room again");
}

async fn flush(node: &Answerer) {
    let nothing = node.state.store.write(|_, _| Box::pin(async { Ok(()) }));
    nothing.await.expect("a transaction");
}

/// Lets the database grow no further. The limit is the writer's connection's, and goes with it.
async fn fill_the_disk(node: &Answerer) {
    let fill = node.state.store.write(|db, _| {
        Box::pin(async move {
            // SQLite raises the limit to the size that the database has.
            sqlx::query("PRAGMA max_page_count = 1").execute(db).await?;
            Ok(())
        })
    });
    fill.await.expect("filled");
}

#[tokio::test]
async fn a_node_that_was_rolled_back_refuses() {
    let mut hospital = Hospital::new().await;
    let old = hospital.dir.path().join("old");
    copy_state(&hospital.data(), &old);
    let node = hospital.node().await;
    let (first, _) = send(&node, &hospital.ask(1900)).await.expect("an answer");
    let witnessed = |since| Ask {
        witness: Some(first.audit),
        ..hospital.ask(since)
    };
    send(&node, &witnessed(1901))
        .await
        .expect("not older than the witness");
    drop(node);
    copy_state(&old, &hospital.data());

    let node = hospital.node().await;
    let refused = send(&node, &witnessed(1900))
        .await
        .expect_err("rolled back");
    assert_eq!(refused.code, ErrorCode::NodeRolledBack);
    // The log grows past the witness; its record there is another one.
    for _ in 0..6 {
        let refused = send(&node, &witnessed(1900))
            .await
            .expect_err("rolled back");
        assert_eq!(refused.code, ErrorCode::NodeRolledBack);
    }
    drop(node);

    let head_file = hospital.dir.path().join("head");
    fs::write(&head_file, audit::format_head(first.audit)).expect("written");
    hospital.config.audit.head_file = Some(head_file);
    let refused = send(&*hospital.node().await, &hospital.ask(1900)).await;
    assert_eq!(
        refused.expect_err("the file tells").code,
        ErrorCode::NodeRolledBack
    );
    let verified = steward(&hospital.config)
        .await
        .audit_verify(Some(first.audit))
        .await;
    assert!(verified.is_err());
}

/// Of a roll-back, the file stays a witness: reopening and writing never replace it.
#[tokio::test]
async fn a_rolled_back_node_keeps_its_head_file() {
    let mut hospital = Hospital::new().await;
    let head_file = hospital.dir.path().join("head");
    hospital.config.audit.head_file = Some(head_file.clone());
    let old = hospital.dir.path().join("old");
    copy_state(&hospital.data(), &old);
    let node = hospital.node().await;
    send(&node, &hospital.ask(1900)).await.expect("an answer");
    // The export comes after the commit, and before the next transaction.
    flush(&node).await;
    let witness = fs::read_to_string(&head_file).expect("a head");
    drop(node);
    copy_state(&old, &hospital.data());
    for _ in 0..3 {
        let node = hospital.node().await;
        // The log grows past the witness; its record there is another one.
        for _ in 0..6 {
            let refused = send(&node, &hospital.ask(1900)).await;
            let refused = refused.expect_err("rolled back");
            assert_eq!(refused.code, ErrorCode::NodeRolledBack);
        }
        assert_eq!(fs::read_to_string(&head_file).ok().as_ref(), Some(&witness));
    }
}

#[tokio::test]
async fn a_head_file_without_a_head_is_named_with_the_remedy() {
    let mut hospital = Hospital::new().await;
    let head_file = hospital.dir.path().join("head");
    hospital.config.audit.head_file = Some(head_file.clone());
    for text in ["", "yesterday's"] {
        fs::write(&head_file, text).expect("written");
        let options = NodeOptions {
            clock: Arc::new(Fixed),
            ..NodeOptions::default()
        };
        let opened = Node::open(hospital.config.clone(), options).await;
        let message = opened.err().expect("no head").to_string();
        assert!(message.contains("holds no audit head"), "{message}");
        assert!(message.contains("audit verify --head"), "{message}");
        assert_eq!(fs::read_to_string(&head_file).ok().as_deref(), Some(text));
    }
}

fn copy_state(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for name in ["state.db", "state.db-wal", "state.db-shm"] {
        let _ = fs::remove_file(to.join(name));
        if from.join(name).exists() {
            fs::copy(from.join(name), to.join(name)).expect("copied");
        }
    }
}

#[tokio::test]
async fn refusals_are_audited_and_charge_nothing() {
    let hospital = Hospital::new().await;
    let node = hospital.node().await;
    let expired = Permit {
        valid_from: Fixed.now() - TimeDelta::days(2),
        valid_until: Fixed.now() - TimeDelta::days(1),
        version: 7,
        ..hospital.permit()
    };
    let refused = send(&node, &hospital.ask_under(&expired, 1900))
        .await
        .expect_err("expired");
    assert_eq!(refused.code, ErrorCode::PermitExpired);
    // The expired version is the newer one, so the one before is no longer good.
    let refused = quote(&node, &hospital.ask(1900))
        .await
        .expect_err("superseded");
    assert_eq!(refused.code, ErrorCode::PermitSuperseded);
    let stranger = Caller {
        name: "stranger".to_owned(),
        is_coordinator: false,
    };
    let refused = node
        .quote(&stranger, b"anything")
        .await
        .expect_err("no coordinator");
    assert_eq!(refused.code, ErrorCode::PeerNotTrusted);
    for _ in 0..20 {
        let again = node.quote(&stranger, b"anything").await;
        assert_eq!(again.expect_err("refused as before"), refused);
    }

    assert_eq!(hospital.spent().await, Spent::default());
    let events = hospital.events().await;
    let seen: Vec<_> = events
        .iter()
        .filter_map(|e| match e {
            Event::Refused {
                call, who, code, ..
            } => Some((*call, who.requester.clone(), who.permit.is_some(), *code)),
            _ => None,
        })
        .collect();
    assert_eq!(
        seen,
        [
            (Call::Ask, Some(ada()), true, ErrorCode::PermitExpired),
            (Call::Quote, Some(ada()), true, ErrorCode::PermitSuperseded),
            (Call::Quote, None, false, ErrorCode::PeerNotTrusted),
        ]
    );
}

#[tokio::test]
async fn a_withdrawn_template_is_refused_at_once() {
    let hospital = Hospital::new().await;
    let node = hospital.node().await;
    send(&node, &hospital.ask(1900)).await.expect("an answer");
    let steward = steward(&hospital.config).await;
    steward
        .withdraw("patients_by_sex")
        .await
        .expect("withdrawn");
    let refused = send(&node, &hospital.ask(1900))
        .await
        .expect_err("withdrawn");
    assert_eq!(refused.code, ErrorCode::TemplateNotApproved);
    let altered = TEMPLATE.replace("How many", "Tell how many");
    let offer = steward.offer(altered).await.expect("accepted");
    steward
        .approve(&offer.template.hash.short())
        .await
        .expect("approved");
    let refused = send(&node, &hospital.ask(1900))
        .await
        .expect_err("another content");
    assert_eq!(refused.code, ErrorCode::TemplateAltered);
}

/// Holds an ask that the gate has let pass until it may go on.
struct Held {
    there: tokio::sync::Notify,
    go_on: Mutex<std::sync::mpsc::Receiver<()>>,
}

impl Stages for Held {
    fn reached(&self, stage: Stage) {
        if stage == Stage::BeforeCharge {
            self.there.notify_one();
            let go_on = self.go_on.lock().expect("unpoisoned");
            go_on.recv().expect("the test goes on");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_that_is_withdrawn_behind_the_gate_is_refused() {
    let hospital = Hospital::new().await;
    let (let_go, go_on) = std::sync::mpsc::channel();
    let held = Arc::new(Held {
        there: tokio::sync::Notify::new(),
        go_on: Mutex::new(go_on),
    });
    let node = hospital.node_with(Some(Arc::clone(&held) as _)).await;
    let ask = hospital.ask(1900);
    let asking = tokio::spawn(async move { send(&node, &ask).await });
    held.there.notified().await;
    let steward = steward(&hospital.config).await;
    steward
        .withdraw("patients_by_sex")
        .await
        .expect("withdrawn");
    let_go.send(()).expect("the ask waits");
    let refused = asking.await.expect("no panic").expect_err("withdrawn");
    assert_eq!(refused.code, ErrorCode::TemplateNotApproved);
    assert_eq!(hospital.spent().await, Spent::default());
    let last = hospital.events().await.pop();
    assert!(
        matches!(&last, Some(Event::Refused { code, .. }) if *code == refused.code),
        "{last:?}"
    );
}

#[tokio::test]
async fn a_permit_that_is_not_valid_yet_supersedes_nothing() {
    let hospital = Hospital::new().await;
    let node = hospital.node().await;
    let next = Permit {
        version: 2,
        valid_from: Fixed.now() + TimeDelta::days(1),
        ..hospital.permit()
    };
    let refused = quote(&node, &hospital.ask_under(&next, 1900)).await;
    let refused = refused.expect_err("tomorrow");
    assert_eq!(refused.code, ErrorCode::PermitNotYetValid);
    quote(&node, &hospital.ask(1900))
        .await
        .expect("the one before");
}

#[tokio::test]
async fn sql_outside_the_accepted_form_is_refused_when_offered() {
    let hospital = Hospital::new().await;
    let steward = steward(&hospital.config).await;
    let limit = TEMPLATE.replace(
        "GROUP BY p.gender_concept_id",
        "GROUP BY p.gender_concept_id LIMIT 1",
    );
    let refused = steward.offer(limit).await.expect_err("a limit");
    let crate::NodeError::Problem(problem) = refused else {
        panic!("{refused}");
    };
    assert_eq!(problem.code, ErrorCode::TemplateRefused);
    assert!(problem.to_string().contains("LIMIT"), "{problem}");
    assert_eq!(steward.templates().await.expect("the inbox").len(), 1);
}

#[tokio::test]
async fn a_node_without_data_or_vocabulary_says_so() {
    let mut hospital = Hospital::new().await;
    fs::remove_file(hospital.data().join("active")).expect("removed");
    let refused = send(&*hospital.node().await, &hospital.ask(1900))
        .await
        .expect_err("no data");
    assert_eq!(refused.code, ErrorCode::NodeNotReady);
    assert!(refused.remedy.contains("import omop"), "{refused}");
    hospital.config.vocabulary = None;
    let refused = send(&*hospital.node().await, &hospital.ask(1900))
        .await
        .expect_err("no package");
    assert_eq!(refused.code, ErrorCode::NodeNotReady);
    assert!(refused.remedy.contains("vocabulary add"), "{refused}");
    assert_eq!(hospital.spent().await, Spent::default());
}

#[tokio::test]
async fn an_import_that_was_not_recorded_is_found() {
    let hospital = Hospital::new().await;
    let data = ward_data::Store::open(&hospital.data()).expect("the data");
    let person = crate::keys::secret(&hospital.config.keys.person).expect("a key");
    let key = ward_data::PersonKey::from_bytes(person);
    let source = hospital.dir.path().join("source");
    let report = data.import_omop(&source, &key, &Silent).expect("imported");
    let found = Event::Found {
        snapshot: report.snapshot,
    };
    for _ in 0..2 {
        hospital.node().await;
        assert_eq!(count(&hospital.events().await, |e| *e == found), 1);
    }
    import_again(&hospital).await;
    hospital.node().await;
    let events = hospital.events().await;
    assert_eq!(count(&events, |e| matches!(e, Event::Found { .. })), 1);
}

#[tokio::test]
async fn a_node_without_its_ledger_does_not_start_a_new_one() {
    let hospital = Hospital::new().await;
    for name in ["state.db", "state.db-wal", "state.db-shm"] {
        let _ = fs::remove_file(hospital.data().join(name));
    }
    let node = Node::open(hospital.config.clone(), NodeOptions::default()).await;
    let steward = Steward::open(hospital.config.clone()).await;
    for refused in [node.err(), steward.err()] {
        let message = refused.expect("no ledger").to_string();
        assert!(message.contains("state.db is missing"), "{message}");
        assert!(message.contains("newest backup"), "{message}");
    }
    assert!(!hospital.data().join("state.db").exists());
}

#[cfg(unix)]
#[tokio::test]
async fn nobody_else_may_see_the_data() {
    use std::os::unix::fs::PermissionsExt as _;
    let hospital = Hospital::new().await;
    let mode = || {
        let data = fs::metadata(hospital.data()).expect("a directory");
        data.permissions().mode() & 0o777
    };
    assert_eq!(mode(), 0o700);
    fs::set_permissions(hospital.data(), fs::Permissions::from_mode(0o755)).expect("set");
    hospital.node().await;
    assert_eq!(mode(), 0o700);
}

#[tokio::test]
async fn a_damaged_snapshot_charges_nothing() {
    let hospital = Hospital::new().await;
    let snapshot = active(&hospital).await;
    let manifest = hospital
        .data()
        .join(format!("snapshots/{snapshot}/manifest.json"));
    fs::write(manifest, "{").expect("written");
    let refused = send(&*hospital.node().await, &hospital.ask(1900))
        .await
        .expect_err("damaged");
    assert_eq!(refused.code, ErrorCode::NodeNotReady);
    assert_eq!(hospital.spent().await, Spent::default());
}
