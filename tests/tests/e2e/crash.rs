//! `kill -9` anywhere on the way of an ask: charged once, answered once, and the audit verifies.

use ward_node::Stage;
use ward_node::audit::{Event, Record};
use ward_schemas::ask::Ask;
use ward_schemas::canonical::ContentHash;
use ward_schemas::loss::Loss;
use ward_schemas::problem::ErrorCode;
use ward_schemas::release::Outcome;

use ward_tests::flight::Answer;
use ward_tests::network::{Books, Network, Plan};

use crate::PROGRAMS;
use crate::answers::failure;

const NODE: &str = "hospital-a";
const TEMPLATE: &str = "patients_by_age_and_sex";

#[tokio::test(flavor = "multi_thread")]
async fn a_node_killed_before_the_charge_has_charged_nothing() {
    let crashed = Crashed::at(Stage::BeforeCharge).await;
    assert_eq!(crashed.before_retry.charges(), 0);
    assert_eq!(crashed.before_retry.budget.lifetime.loss, Loss::ZERO);
    crashed.retry_is_one_answer_for_one_charge().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_killed_after_the_charge_finishes_under_it() {
    let crashed = Crashed::at(Stage::AfterCharge).await;
    assert_eq!(crashed.before_retry.charges(), 1);
    crashed.retry_is_one_answer_for_one_charge().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_killed_with_noise_drawn_draws_again_and_nobody_saw_the_first() {
    let crashed = Crashed::at(Stage::AfterNoise).await;
    assert_eq!(crashed.before_retry.charges(), 1);
    assert_eq!(digests(&crashed.before_retry.audit), []);
    crashed.retry_is_one_answer_for_one_charge().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_killed_before_the_reply_sends_what_it_had_stored() {
    let crashed = Crashed::at(Stage::BeforeReply).await;
    assert_eq!(crashed.before_retry.charges(), 1);
    let [stored] = digests(&crashed.before_retry.audit)[..] else {
        panic!("one partial was stored");
    };
    let answer = crashed.retry_is_one_answer_for_one_charge().await;
    assert_eq!(answer.envelope.claims.digest, stored);
}

/// A fault after the charge is one code, whatever it was; what was charged stays charged.
#[tokio::test(flavor = "multi_thread")]
async fn a_panic_after_the_charge_is_the_usual_failure_and_a_retry_answers() {
    let network = Plan::generated(&[120]).make(PROGRAMS).await;
    let ask = network.ask(TEMPLATE, &[("as_of", "2024-05-06")]);
    let node = network.start(NODE, &[("WARD_TEST_FREEZE", "panic")]).await;
    let loss = node.client.quote(&ask).await.expect("a quote").loss;
    for _ in 0..2 {
        let failed = node.client.ask(&ask).await.expect_err("no answer");
        assert_eq!(failed.code(), ErrorCode::AnswerFailed);
    }
    node.process.kill().await;
    let before_retry = network.books(NODE, None).await;
    let failed = |r: &&Record| matches!(r.event, Event::Failed { .. });
    assert_eq!(before_retry.audit.iter().filter(failed).count(), 2);
    let crashed = Crashed {
        network,
        ask,
        loss,
        before_retry,
    };
    crashed.retry_is_one_answer_for_one_charge().await;
}

/// Through all parts: the node that answered is not charged again, nor the one that died.
#[tokio::test(flavor = "multi_thread")]
async fn a_requester_asks_again_after_a_crash_and_nobody_is_charged_twice() {
    let mut network = Plan::generated(&[60, 60]).make(PROGRAMS).await;
    let stop = [("WARD_TEST_STOP_AT", "after-noise")];
    let mut nodes = vec![
        network.start("hospital-b", &[]).await,
        network.start(NODE, &stop).await,
    ];
    let coordinator = network.start_coordinator(&nodes).await;
    let request = network.request(&network.permit(), TEMPLATE, &[]);
    let (client, asked) = (coordinator.client.clone(), request.clone());
    let lost = tokio::spawn(async move { client.ask(&asked, |_| {}).await });
    let mut dying = nodes.pop().expect("two nodes");
    dying.process.line("stopped at ").await;
    dying.process.kill().await;
    let (problem, outcomes) = failure(lost.await.expect("no panic"));
    assert_eq!(problem.code, ErrorCode::TooFewNodes);
    let answered = outcomes.iter().filter(|n| n.outcome.answered());
    assert_eq!(answered.count(), 1);

    let _back = network.start(NODE, &[]).await;
    let release = coordinator
        .client
        .ask(&request, |_| {})
        .await
        .expect("a release");
    for node in &release.nodes {
        let Outcome::Answered { partial, audit, .. } = node.outcome else {
            panic!("{node:?}");
        };
        let books = network.books(node.node.as_str(), Some(audit)).await;
        assert_eq!(books.charges(), 1);
        assert_eq!(digests(&books.audit), [partial]);
    }
}

/// A node that was killed while it answered an ask.
struct Crashed {
    network: Network,
    ask: Ask,
    loss: Loss,
    before_retry: Books,
}

impl Crashed {
    async fn at(stage: Stage) -> Self {
        let network = Plan::generated(&[120]).make(PROGRAMS).await;
        let name = match stage {
            Stage::BeforeCharge => "before-charge",
            Stage::AfterCharge => "after-charge",
            Stage::AfterNoise => "after-noise",
            Stage::BeforeReply => "before-reply",
        };
        let ask = network.ask(TEMPLATE, &[("as_of", "2024-05-06")]);
        let mut node = network.start(NODE, &[("WARD_TEST_STOP_AT", name)]).await;
        let quote = node.client.quote(&ask).await.expect("a quote");
        assert_eq!(quote.charge, quote.loss);
        let (client, asked) = (node.client.clone(), ask.clone());
        let answer = tokio::spawn(async move { client.ask(&asked).await });
        let stopped = node.process.line("stopped at ").await;
        assert_eq!(stopped, format!("{stage:?}"));
        node.process.kill().await;
        let lost = answer.await.expect("no panic");
        assert_eq!(lost.expect_err("no answer").problem, None);
        Self {
            before_retry: network.books(NODE, None).await,
            loss: quote.loss,
            network,
            ask,
        }
    }

    async fn retry_is_one_answer_for_one_charge(&self) -> Answer {
        let node = self.network.start(NODE, &[]).await;
        let first = node.client.ask(&self.ask).await.expect("an answer");
        let second = node.client.ask(&self.ask).await.expect("an answer");
        assert_eq!(first.content(), second.content());
        node.process.kill().await;
        let node = self.network.start(NODE, &[]).await;
        let mut ask = self.ask.clone();
        ask.witness = Some(second.envelope.audit);
        let third = node.client.ask(&ask).await.expect("an answer");
        assert_eq!(first.content(), third.content());
        let witness = Some(third.envelope.audit);
        let books = self.network.books(NODE, witness).await;
        assert!(books.audit.starts_with(&self.before_retry.audit));
        assert_eq!(books.charges(), 1);
        assert_eq!(books.budget.lifetime.loss, self.loss);
        let charged = |r: &&Record| matches!(r.event, Event::Charged { .. });
        assert_eq!(books.audit.iter().filter(charged).count(), 1);
        assert_eq!(digests(&books.audit), [first.envelope.claims.digest]);
        first
    }
}

/// Digests of the partials that were stored.
fn digests(audit: &[Record]) -> Vec<ContentHash> {
    let answered = audit.iter().filter_map(|record| match record.event {
        Event::Answered { digest, .. } => Some(digest),
        _ => None,
    });
    answered.collect()
}
