use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::clock::SystemClock;
use crate::store::{Setup, Store};

fn account(permit: u8) -> PermitAccount {
    PermitAccount {
        access_body: "Body".to_owned(),
        permit: format!("P-{permit}").parse().expect("a permit"),
    }
}

fn rho(units: u64) -> Rho {
    Rho::from_units(units).expect("in range")
}

fn at(hours: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000 + hours * 3600, 0).expect("in range")
}

fn policy(yearly: u64, lifetime: u64) -> Policy {
    Policy {
        yearly_rho: rho(yearly),
        lifetime_rho: rho(lifetime),
        max_rho_per_ask: rho(yearly),
        ..Policy::default()
    }
}

fn total<'a>(charges: impl IntoIterator<Item = &'a Charge>) -> u64 {
    charges.into_iter().map(|c| c.rho.units()).sum()
}

/// Hours between asks, a permit, and units of ρ.
fn asks() -> impl Strategy<Value = Vec<(i64, u8, u64)>> {
    proptest::collection::vec((0..2000_i64, 0..3_u8, 1..400_u64), 1..80)
}

/// What the ledger charges of these asks, and how many it refuses.
fn run(asks: &[(i64, u8, u64)], policy: &Policy, budget: Rho) -> (Vec<Charge>, usize) {
    let (mut charges, mut refused, mut hour) = (Vec::new(), 0, 0);
    for (wait, permit, units) in asks {
        hour += wait;
        let account = account(*permit);
        let spent = Spent::of(&charges, &account, at(hour));
        match decide(&spent, policy, budget, rho(*units)) {
            Ok(()) => charges.push(Charge {
                rho: rho(*units),
                at: at(hour),
                account,
            }),
            Err(_) => refused += 1,
        }
    }
    (charges, refused)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_budget_is_ever_exceeded(asks in asks(), yearly in 1..2000_u64, extra in 0..3000_u64, permit in 1..2000_u64) {
        let policy = policy(yearly, yearly + extra);
        let (charges, _) = run(&asks, &policy, rho(permit));
        prop_assert!(total(&charges) <= yearly + extra);
        for last in &charges {
            let year = charges.iter().filter(|c| c.at <= last.at && c.at >= year_start(last.at));
            prop_assert!(total(year) <= yearly);
            let same = charges.iter().filter(|c| c.account == last.account);
            prop_assert!(total(same) <= permit);
        }
    }

    #[test]
    fn only_what_exceeds_a_budget_is_refused(asks in asks()) {
        let all = asks.iter().map(|(_, _, units)| units).sum();
        let (charges, refused) = run(&asks, &policy(all, all), rho(all));
        prop_assert_eq!((charges.len(), refused), (asks.len(), 0));
    }
}

#[test]
fn refusals_name_the_budget_and_what_is_left() {
    let decide = |spent, budget| decide(&spent, &policy(100, 1000), rho(budget), rho(40));
    let year = Spent {
        year: 61,
        lifetime: 61,
        permit: 0,
    };
    let refused = decide(year, 500).expect_err("over the year");
    assert_eq!(refused.code, ErrorCode::BudgetExhausted);
    assert!(
        refused
            .detail
            .contains("365 days has 0.000000039 of 0.0000001 left"),
        "{refused}"
    );
    let lifetime = Spent {
        year: 0,
        lifetime: 990,
        permit: 0,
    };
    let refused = decide(lifetime, 500).expect_err("over the lifetime");
    assert!(refused.detail.contains("lifetime budget"), "{refused}");
    let permit = Spent {
        year: 40,
        lifetime: 40,
        permit: 40,
    };
    let refused = decide(permit, 79).expect_err("over the permit");
    assert_eq!(refused.code, ErrorCode::PermitBudgetExhausted);
    assert!(decide(permit, 80).is_ok(), "to the last unit");
}

#[test]
fn a_charge_comes_free_after_a_year_and_never_in_the_lifetime() {
    let charges = [Charge {
        rho: rho(60),
        at: at(0),
        account: account(1),
    }];
    let spent = |hours| Spent::of(&charges, &account(1), at(hours));
    assert_eq!(spent(365 * 24).year, 60);
    assert_eq!(spent(365 * 24 + 1).year, 0);
    assert_eq!(spent(365 * 24 + 1).lifetime, 60);
    assert_eq!(spent(365 * 24 + 1).permit, 60);
}

async fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::create(Setup {
        file: dir.path().join("state.db"),
        head_file: None,
        clock: Arc::new(SystemClock),
        max_clock_step: chrono::TimeDelta::days(30),
    });
    let store = store.await.expect("a store");
    (dir, store)
}

fn key(ask: u64, snapshot: SnapshotId) -> AskKey {
    let mut bytes = ask.to_le_bytes().to_vec();
    let question = ContentHash::of_bytes(&bytes);
    bytes.extend(snapshot.to_string().into_bytes());
    AskKey {
        ask: ContentHash::of_bytes(&bytes),
        question,
        snapshot,
    }
}

async fn add(store: &Store, key: AskKey, charge_: Charge) {
    store
        .write(move |db, _| Box::pin(async move { charge(db, key, &charge_).await }))
        .await
        .expect("a charge");
}

#[tokio::test]
async fn the_store_adds_up_what_the_function_adds_up() {
    let (_dir, store) = store().await;
    let snapshot = SnapshotId::random().expect("randomness");
    let mut charges = Vec::new();
    for i in 0..40_u8 {
        let charge = Charge {
            rho: rho(u64::from(i) * 7 + 1),
            at: at(i64::from(i) * 500),
            account: account(i % 3),
        };
        charges.push(charge.clone());
        add(&store, key(u64::from(i), snapshot), charge).await;
    }
    let mut db = store.read().await.expect("a connection");
    for hours in [0, 5_000, 8_760, 15_000, 40_000] {
        for permit in 0..4 {
            let sum = spent(&mut db, &account(permit), at(hours))
                .await
                .expect("sums");
            assert_eq!(sum, Spent::of(&charges, &account(permit), at(hours)));
        }
    }
}

#[tokio::test]
async fn an_ask_is_charged_once_and_found_after_a_new_snapshot() {
    let (_dir, store) = store().await;
    let old = SnapshotId::random().expect("randomness");
    let new = SnapshotId::random().expect("randomness");
    let charged = Charge {
        rho: rho(5),
        at: at(0),
        account: account(1),
    };
    add(&store, key(1, old), charged.clone()).await;
    let again = store
        .write(move |db, _| Box::pin(async move { charge(db, key(1, old), &charged).await }))
        .await;
    assert!(again.is_err(), "one row an identity");
    let mut db = store.read().await.expect("a connection");
    let there = [old, new];
    let found = find(&mut db, key(1, new), &there).await.expect("an entry");
    assert!(
        matches!(found, Entry::Charged { snapshot, .. } if snapshot == old),
        "{found:?}"
    );
    let other = find(&mut db, key(2, new), &there).await.expect("an entry");
    assert!(matches!(other, Entry::New), "{other:?}");
    let gone = find(&mut db, key(1, new), &[new]).await.expect("an entry");
    assert!(matches!(gone, Entry::New), "{gone:?}");
}

#[tokio::test]
async fn the_newest_permit_version_is_kept() {
    let (_dir, store) = store().await;
    for version in [2, 5, 3] {
        store
            .write(move |db, _| Box::pin(async move { see_permit(db, &account(1), version).await }))
            .await
            .expect("written");
    }
    let mut db = store.read().await.expect("a connection");
    assert_eq!(
        newest_permit(&mut db, &account(1)).await.expect("read"),
        Some(5)
    );
    assert_eq!(
        newest_permit(&mut db, &account(2)).await.expect("read"),
        None
    );
}
