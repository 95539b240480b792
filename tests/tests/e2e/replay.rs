//! Same ask, same answer, once charged; and the last of the budget goes to one.

use chrono::{Days, NaiveDate};
use futures::future::join_all;
use ward_schemas::ask::Ask;
use ward_schemas::loss::Loss;
use ward_schemas::problem::ErrorCode;
use ward_tests::network::{Network, Plan};

use crate::PROGRAMS;

const NODE: &str = "hospital-a";
const TEMPLATE: &str = "patients_by_age_and_sex";

#[tokio::test(flavor = "multi_thread")]
async fn the_same_ask_gets_the_same_partial_and_spends_nothing() {
    let network = Plan::generated(&[120]).make(PROGRAMS).await;
    let node = network.start(NODE, &[]).await;
    let ask = network.ask(TEMPLATE, &[]);
    let first = node.client.ask(&ask).await.expect("a partial");
    let spent = network.books(NODE, None).await;
    let quote = node.client.quote(&ask).await.expect("a quote");
    assert_eq!(quote.charge, Loss::ZERO);

    // The default written out, another permit, another purpose of words: still the same ask.
    let mut written_out = network.ask(TEMPLATE, &[("as_of", "2025-12-31")]);
    let mut permit = network.permit();
    permit.id = "E2E-OTHER".parse().expect("a permit's name");
    written_out.permit = network.sign(&permit);
    for again in [&ask, &written_out] {
        let second = node.client.ask(again).await.expect("a partial");
        assert_eq!(first.content(), second.content());
        assert!(second.envelope.audit.sequence > first.envelope.audit.sequence);
    }
    let books = network.books(NODE, Some(first.envelope.audit)).await;
    assert_eq!(books.budget, spent.budget);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_ask_sent_at_once_is_charged_once() {
    let network = Plan::generated(&[120]).make(PROGRAMS).await;
    let node = network.start(NODE, &[]).await;
    let ask = network.ask(TEMPLATE, &[("as_of", "2023-03-04")]);
    let answers = join_all((0..8).map(|_| node.client.ask(&ask))).await;
    let answers: Vec<_> = answers
        .into_iter()
        .map(|answer| answer.expect("a partial"))
        .collect();
    for answer in &answers {
        assert_eq!(answer.content(), answers[0].content());
    }
    let books = network.books(NODE, None).await;
    assert_eq!(books.charges(), 1);
    assert_eq!(books.budget.lifetime.loss.rho.units(), 5_000_000);
}

/// An ask costs ρ 0.005, and the year has 0.32.
#[tokio::test(flavor = "multi_thread")]
async fn of_65_parallel_asks_on_room_for_64_exactly_one_is_refused() {
    let plan = Plan {
        budget: "0.32",
        ..Plan::generated(&[120])
    };
    let network = plan.make(PROGRAMS).await;
    let node = network.start(NODE, &[]).await;
    let asks: Vec<_> = (0..65).map(|n| on_day(&network, n)).collect();
    let answers = join_all(asks.iter().map(|ask| node.client.ask(ask))).await;
    let refused: Vec<_> = answers.iter().filter_map(|a| a.as_ref().err()).collect();
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(refused[0].code(), ErrorCode::BudgetExhausted);
    assert!(
        refused[0].message.contains("has 0 of 0.32 left"),
        "{}",
        refused[0].message
    );
    assert!(refused[0].message.contains("answered before is free"));
    let books = network.books(NODE, None).await;
    assert_eq!(books.charges(), 64);
    assert_eq!(books.budget.lifetime.loss.rho.units(), 320_000_000);

    // What was answered is still free.
    let again = answers.iter().position(Result::is_ok).expect("an answer");
    let replayed = node.client.ask(&asks[again]).await.expect("a partial");
    let first = answers[again].as_ref().expect("a partial");
    assert_eq!(replayed.content(), first.content());
}

fn on_day(network: &Network, n: u64) -> Ask {
    let start = NaiveDate::from_ymd_opt(2020, 1, 1).expect("a date");
    let day = start.checked_add_days(Days::new(n)).expect("a date");
    network.ask(TEMPLATE, &[("as_of", &day.to_string())])
}
