use std::sync::Arc;

use proptest::prelude::*;
use ward_schemas::delta::Delta;
use ward_schemas::rho::Rho;

use super::*;
use crate::clock::SystemClock;
use crate::store::{Setup, Store};

fn account(permit: u8) -> PermitAccount {
    PermitAccount {
        access_body: "Body".to_owned(),
        permit: format!("P-{permit}").parse().expect("a permit"),
    }
}

fn loss(rho: u64, delta: u64) -> Loss {
    Loss {
        rho: Rho::from_units(rho).expect("in range"),
        delta: Delta::from_units(delta).expect("in range"),
    }
}

fn total(asks: u64, rho: u64, delta: u64) -> Total {
    Total {
        asks,
        loss: loss(rho, delta),
    }
}

fn at(hours: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000 + hours * 3600, 0).expect("in range")
}

fn policy(yearly: Loss, lifetime: Loss) -> Policy {
    Policy {
        yearly_rho: yearly.rho,
        lifetime_rho: lifetime.rho,
        yearly_delta: yearly.delta,
        lifetime_delta: lifetime.delta,
        max_rho_per_ask: yearly.rho,
        ..Policy::default()
    }
}

/// Units of ρ and of δ, added up without any type's limits.
fn sum<'a>(charges: impl IntoIterator<Item = &'a Charge>) -> (u64, u64) {
    let units = charges
        .into_iter()
        .map(|c| (c.loss.rho.units(), c.loss.delta.units()));
    units.fold((0, 0), |sum, c| (sum.0 + c.0, sum.1 + c.1))
}

fn is_within((rho, delta): (u64, u64), budget: Loss) -> bool {
    rho <= budget.rho.units() && delta <= budget.delta.units()
}

/// Hours since the ask before, a permit, and a loss; thresholds are rare.
type Asked = (i64, u8, Loss);

fn asks() -> impl Strategy<Value = Vec<Asked>> {
    let units = (1..400_u64, prop_oneof![3 => Just(0), 1 => 1..400_u64]);
    let loss = units.prop_map(|(rho, delta)| loss(rho, delta));
    proptest::collection::vec((0..2000_i64, 0..3_u8, loss), 1..80)
}

fn budget() -> impl Strategy<Value = Loss> {
    (1..2000_u64, 0..2000_u64).prop_map(|(rho, delta)| loss(rho, delta))
}

type Decide = fn(&Spent, &Policy, Loss, Loss) -> Result<(), Problem>;

/// What a ledger that decides so charges of these asks, and how many it refuses.
fn run(decide: Decide, asks: &[Asked], policy: &Policy, budget: Loss) -> (Vec<Charge>, usize) {
    let (mut charges, mut refused, mut hour) = (Vec::new(), 0, 0);
    for (wait, permit, loss) in asks {
        hour += wait;
        let account = account(*permit);
        let spent = Spent::of(&charges, &account, at(hour));
        match decide(&spent, policy, budget, *loss) {
            Ok(()) => charges.push(Charge {
                loss: *loss,
                at: at(hour),
                account,
            }),
            Err(_) => refused += 1,
        }
    }
    (charges, refused)
}

/// Whether these charges keep to every budget, at every time.
fn keep_to(charges: &[Charge], policy: &Policy, permit: Loss) -> bool {
    is_within(sum(charges), policy.lifetime())
        && charges.iter().all(|last| {
            let start = year_start(last.at);
            let year = charges.iter().filter(|c| c.at <= last.at && c.at >= start);
            let same = charges.iter().filter(|c| c.account == last.account);
            is_within(sum(year), policy.yearly()) && is_within(sum(same), permit)
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_budget_is_ever_exceeded(asks in asks(), yearly in budget(), extra in budget(), permit in budget()) {
        let policy = policy(yearly, yearly.saturating_add(extra));
        let (charges, _) = run(decide, &asks, &policy, permit);
        prop_assert!(keep_to(&charges, &policy, permit));
    }

    #[test]
    fn only_what_exceeds_a_budget_is_refused(asks in asks()) {
        let all = asks.iter().fold(Loss::ZERO, |sum, (.., loss)| sum.saturating_add(*loss));
        let (charges, refused) = run(decide, &asks, &policy(all, all), all);
        prop_assert_eq!((charges.len(), refused), (asks.len(), 0));
    }
}

#[test]
fn mutants_exceed_a_budget() {
    let blind_to_delta: Decide = |spent, policy, permit, asked| {
        let delta = Delta::ZERO;
        decide(spent, policy, permit, Loss { delta, ..asked })
    };
    let wants_any_room: Decide =
        |spent, policy, permit, _| decide(spent, policy, permit, loss(1, 1));
    let forgets_the_year: Decide = |spent, policy, permit, asked| {
        let year = Total::default();
        decide(&Spent { year, ..*spent }, policy, permit, asked)
    };
    let forgets_the_permit: Decide = |spent, policy, budget, asked| {
        let permit = Total::default();
        decide(&Spent { permit, ..*spent }, policy, budget, asked)
    };
    // Room for 14 in the year, and three in four ask on a permit with room for 8.
    let asks: Vec<Asked> = (0..60).map(|i| (100, i % 4 / 3, loss(50, 70))).collect();
    let (policy, permit) = (policy(loss(1020, 1000), loss(1520, 1500)), loss(610, 600));
    let keeps = |decide| keep_to(&run(decide, &asks, &policy, permit).0, &policy, permit);
    assert!(keeps(decide));
    for mutant in [
        blind_to_delta,
        wants_any_room,
        forgets_the_year,
        forgets_the_permit,
    ] {
        assert!(!keeps(mutant), "the check misses a mutant");
    }
}

#[test]
fn refusals_name_the_budget_and_what_is_left() {
    let policy = policy(loss(100, 10), loss(1000, 10));
    let decide = |spent, budget| decide(&spent, &policy, budget, loss(40, 0));
    let year = Spent {
        year: total(1, 61, 0),
        lifetime: total(1, 61, 0),
        permit: Total::default(),
    };
    let refused = decide(year, loss(500, 0)).expect_err("over the year");
    assert_eq!(refused.code, ErrorCode::BudgetExhausted);
    assert!(
        refused
            .detail
            .contains("a rho of 0.00000004, and this node's budget for 365 days has 0.000000039 of 0.0000001 left"),
        "{refused}"
    );
    let lifetime = Spent {
        year: Total::default(),
        lifetime: total(1, 990, 0),
        permit: Total::default(),
    };
    let refused = decide(lifetime, loss(500, 0)).expect_err("over the lifetime");
    assert!(refused.detail.contains("lifetime budget"), "{refused}");
    let permit = Spent {
        year: total(1, 40, 0),
        lifetime: total(1, 40, 0),
        permit: total(1, 40, 0),
    };
    let refused = decide(permit, loss(79, 0)).expect_err("over the permit");
    assert_eq!(refused.code, ErrorCode::PermitBudgetExhausted);
    assert!(decide(permit, loss(80, 0)).is_ok(), "to the last unit");
}

#[test]
fn delta_is_bounded_beside_rho() {
    let policy = policy(loss(100, 10), loss(1000, 15));
    let decide = |year, ever, permit, budget| {
        let spent = Spent {
            year: total(1, 1, year),
            lifetime: total(1, 1, ever),
            permit: total(1, 1, permit),
        };
        decide(&spent, &policy, loss(50, budget), loss(1, 4)).err()
    };
    assert_eq!(decide(6, 11, 6, 10), None, "to the last unit");
    let refused = decide(0, 0, 0, 0).expect("a permit that says nothing allows none");
    assert_eq!(refused.code, ErrorCode::PermitBudgetExhausted);
    assert!(
        refused.detail.contains(
            "the ask costs a delta of 4e-15, and the permit's budget at this node has 0 of 0 left"
        ),
        "{refused}"
    );
    let refused = decide(7, 11, 0, 10).expect("over the year");
    assert_eq!(refused.code, ErrorCode::BudgetExhausted);
    assert!(
        refused.detail.contains("365 days has 3e-15 of 1e-14 left"),
        "{refused}"
    );
    let refused = decide(6, 12, 0, 10).expect("over the lifetime");
    assert!(
        refused
            .detail
            .contains("lifetime budget has 3e-15 of 1.5e-14"),
        "{refused}"
    );
    assert!(
        refused.remedy.contains("a delta of at most 3e-15"),
        "{refused}"
    );
}

#[test]
fn a_sum_that_saturates_leaves_nothing() {
    let most = Loss {
        rho: Rho::MAX,
        delta: Delta::ONE,
    };
    let spent = Total {
        asks: 2,
        loss: most.saturating_add(most),
    };
    let spent = Spent {
        year: spent,
        lifetime: spent,
        permit: spent,
    };
    for asked in [loss(1, 0), loss(0, 1)] {
        assert!(
            decide(&spent, &policy(most, most), most, asked).is_err(),
            "{asked}"
        );
    }
}

#[test]
fn a_charge_comes_free_after_a_year_and_never_in_the_lifetime() {
    let charges = [Charge {
        loss: loss(60, 7),
        at: at(0),
        account: account(1),
    }];
    let spent = |hours| Spent::of(&charges, &account(1), at(hours));
    assert_eq!(spent(365 * 24).year, total(1, 60, 7));
    assert_eq!(spent(365 * 24 + 1).year, Total::default());
    assert_eq!(spent(365 * 24 + 1).lifetime, total(1, 60, 7));
    assert_eq!(spent(365 * 24 + 1).permit, total(1, 60, 7));
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
            loss: loss(u64::from(i) * 7 + 1, u64::from(i % 4)),
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
async fn permits_and_months_add_up_to_the_whole() {
    let (_dir, store) = store().await;
    let snapshot = SnapshotId::random().expect("randomness");
    // From November 2023 on, three charges a month or so.
    for i in 0..12_u8 {
        let charge = Charge {
            loss: loss(10, u64::from(i % 2)),
            at: at(i64::from(i) * 240),
            account: account(i % 3),
        };
        add(&store, key(u64::from(i), snapshot), charge).await;
    }
    let mut db = store.read().await.expect("a connection");
    let permits = by_permit(&mut db).await.expect("sums");
    let expected: Vec<_> = (0..3).map(|i| (account(i), total(4, 40, 2))).collect();
    assert_eq!(permits, expected);
    let months = by_month(&mut db, at(240)).await.expect("sums");
    let asks: Vec<_> = months.iter().map(|(m, t)| (m.as_str(), t.asks)).collect();
    assert_eq!(
        asks,
        [
            ("2023-11", 1),
            ("2023-12", 3),
            ("2024-01", 3),
            ("2024-02", 3),
            ("2024-03", 1)
        ]
    );
    assert_eq!(months["2023-12"], total(3, 30, 1));
    let (year, lifetime) = spent_by_all(&mut db, at(8_760 + 300)).await.expect("sums");
    assert_eq!((year, lifetime), (total(10, 100, 5), total(12, 120, 6)));
}

#[tokio::test]
async fn an_ask_is_charged_once_and_found_after_a_new_snapshot() {
    let (_dir, store) = store().await;
    let old = SnapshotId::random().expect("randomness");
    let new = SnapshotId::random().expect("randomness");
    let charged = Charge {
        loss: loss(5, 0),
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
