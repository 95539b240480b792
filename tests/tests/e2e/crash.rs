//! `kill -9` anywhere on the way of an ask: charged once, answered once, and the audit verifies.

use ward_node::Stage;
use ward_node::audit::{Event, Record};
use ward_schemas::ask::Ask;
use ward_schemas::canonical::ContentHash;
use ward_schemas::rho::Rho;
use ward_tests::flight::Answer;
use ward_tests::network::{Books, Network, Plan};

use crate::PROGRAMS;

const NODE: &str = "hospital-a";
const TEMPLATE: &str = "patients_by_age_and_sex";

#[tokio::test(flavor = "multi_thread")]
async fn a_node_killed_before_the_charge_has_charged_nothing() {
    let crashed = Crashed::at(Stage::BeforeCharge).await;
    assert_eq!(crashed.before_retry.charges(), 0);
    assert_eq!(crashed.before_retry.budget.spent_lifetime, 0);
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

/// A node that was killed while it answered an ask.
struct Crashed {
    network: Network,
    ask: Ask,
    rho: Rho,
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
        assert_eq!(quote.charge, quote.rho);
        let (client, asked) = (node.client.clone(), ask.clone());
        let answer = tokio::spawn(async move { client.ask(&asked).await });
        let stopped = node.process.line("stopped at ").await;
        assert_eq!(stopped, format!("{stage:?}"));
        node.process.kill().await;
        let lost = answer.await.expect("no panic");
        assert_eq!(lost.expect_err("no answer").problem, None);
        Self {
            before_retry: network.books(NODE, None).await,
            rho: quote.rho,
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
        assert_eq!(books.budget.spent_lifetime, self.rho.units());
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
