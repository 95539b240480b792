//! The ledger: a durable account of the privacy spent on this node's population.
//!
//! [`decide`] is a pure function of what was charged and what is asked, in exact integer units.
//! Around it stands the store of charges: one unique row an ask identity, which is first charged
//! and then answered. What is charged stays charged.

mod totals;

use std::fmt::Display;

use chrono::{DateTime, Duration, Utc};
use sqlx::SqliteConnection;
use ward_schemas::canonical::ContentHash;
use ward_schemas::loss::Loss;
use ward_schemas::names::PermitId;
use ward_schemas::partial::PartialClaims;
use ward_schemas::permit::Permit;
use ward_schemas::problem::{ErrorCode, Problem};
use ward_schemas::snapshot::SnapshotId;

use crate::config::Policy;
use crate::store::StoreError;

pub(crate) use self::totals::{by_month, by_permit, oldest_of_year, spent, spent_by_all};

/// The length of the rolling year, in days.
pub const YEAR_DAYS: i64 = 365;

/// A permit's account: permit identifiers are unique for an access body only.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PermitAccount {
    /// The access body.
    pub access_body: String,
    /// The permit.
    pub permit: PermitId,
}

impl PermitAccount {
    /// The account that all versions of this permit share.
    pub fn of(permit: &Permit) -> Self {
        Self {
            access_body: permit.access_body.clone(),
            permit: permit.id.clone(),
        }
    }
}

/// One charge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// How much.
    pub loss: Loss,
    /// When, by the ledger's clock.
    pub at: DateTime<Utc>,
    /// On which permit.
    pub account: PermitAccount,
}

/// Some charges together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    /// How many asks were charged.
    pub asks: u64,
    /// What they cost.
    pub loss: Loss,
}

impl Total {
    fn add(&mut self, loss: Loss) {
        self.asks += 1;
        self.loss = self.loss.saturating_add(loss);
    }
}

/// What has been charged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// In the last 365 days.
    pub year: Total,
    /// Ever.
    pub lifetime: Total,
    /// On the permit.
    pub permit: Total,
}

impl Spent {
    /// Adds charges up.
    pub fn of<'a>(
        charges: impl IntoIterator<Item = &'a Charge>,
        account: &PermitAccount,
        now: DateTime<Utc>,
    ) -> Self {
        let start = year_start(now);
        let mut spent = Self::default();
        for charge in charges {
            spent.lifetime.add(charge.loss);
            if charge.at >= start {
                spent.year.add(charge.loss);
            }
            if charge.account == *account {
                spent.permit.add(charge.loss);
            }
        }
        spent
    }
}

/// The first moment of the rolling year that ends now.
pub fn year_start(now: DateTime<Utc>) -> DateTime<Utc> {
    now.checked_sub_signed(Duration::days(YEAR_DAYS))
        .unwrap_or(DateTime::<Utc>::MIN_UTC)
}

/// Decides whether an ask may be charged: a privacy filter for ρ and δ at once, sound whatever
/// earlier answers made people ask next (Whitehouse et al., *Fully-Adaptive Composition in
/// Differential Privacy*, ICML 2023, on approximate zCDP).
///
/// # Errors
/// [`ErrorCode::BudgetExhausted`] when the population's budget, of the year or of the lifetime,
/// has no room for it; [`ErrorCode::PermitBudgetExhausted`] when the permit's has none.
pub fn decide(spent: &Spent, policy: &Policy, permit: Loss, asked: Loss) -> Result<(), Problem> {
    let bounds = [
        (Bound::Lifetime, spent.lifetime, policy.lifetime()),
        (Bound::Year, spent.year, policy.yearly()),
        (Bound::Permit, spent.permit, permit),
    ];
    bounds.into_iter().try_for_each(|(bound, spent, budget)| {
        let left = budget.saturating_sub(spent.loss);
        if asked.rho > left.rho {
            return Err(bound.exhausted("rho", &left.rho, &budget.rho, &asked.rho));
        }
        if asked.delta > left.delta {
            return Err(bound.exhausted("delta", &left.delta, &budget.delta, &asked.delta));
        }
        Ok(())
    })
}

#[derive(Clone, Copy)]
enum Bound {
    Year,
    Lifetime,
    Permit,
}

impl Bound {
    fn exhausted(
        self,
        part: &str,
        left: &dyn Display,
        budget: &dyn Display,
        asked: &dyn Display,
    ) -> Problem {
        let (code, whose, otherwise) = match self {
            Self::Year => (
                ErrorCode::BudgetExhausted,
                "this node's budget for 365 days",
                "when earlier charges are a year old",
            ),
            Self::Lifetime => (
                ErrorCode::BudgetExhausted,
                "this node's lifetime budget",
                "after the steward has decided on the lifetime budget",
            ),
            Self::Permit => (
                ErrorCode::PermitBudgetExhausted,
                "the permit's budget at this node",
                "under an amended permit",
            ),
        };
        Problem::new(
            code,
            format!("the ask costs a {part} of {asked}, and {whose} has {left} of {budget} left"),
            format!(
                "Ask with a {part} of at most {left}, or {otherwise}; an ask that was answered before is free."
            ),
        )
    }
}

/// What identifies an ask, before and after a new snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AskKey {
    /// The ask's identity.
    pub(crate) ask: ContentHash,
    /// The identity without the snapshot.
    pub(crate) question: ContentHash,
    /// The snapshot it would run on.
    pub(crate) snapshot: SnapshotId,
}

/// What the ledger holds for an ask.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    /// Nothing.
    New,
    /// It was charged and never answered.
    Charged {
        /// The identity it was charged under.
        ask: ContentHash,
        /// The snapshot it must run on.
        snapshot: SnapshotId,
    },
    /// It was answered.
    Answered(Box<Answered>),
}

/// A stored partial.
#[derive(Clone, Debug)]
pub(crate) struct Answered {
    /// What the partial says of itself.
    pub(crate) claims: PartialClaims,
    /// Its integers.
    pub(crate) vectors: Vec<u8>,
}

/// Identity, snapshot; claims and integers once it is answered.
type ChargeRow = (String, String, Option<String>, Option<Vec<u8>>);

/// Looks an ask up: by its identity, or as an unanswered charge of the same question on another of
/// the snapshots that there are. A charge whose snapshot is gone can't be answered any more.
pub(crate) async fn find(
    db: &mut SqliteConnection,
    key: AskKey,
    snapshots: &[SnapshotId],
) -> Result<Entry, StoreError> {
    let rows: Vec<ChargeRow> = sqlx::query_as(
        "SELECT ask, snapshot, claims, vectors FROM charge \
         WHERE ask = ?1 OR (question = ?2 AND state = 'charged') \
         ORDER BY (ask = ?1) DESC, charged_at",
    )
    .bind(key.ask.to_string())
    .bind(key.question.to_string())
    .fetch_all(db)
    .await?;
    let own = key.ask.to_string();
    let there: Vec<_> = snapshots.iter().map(ToString::to_string).collect();
    let row = rows
        .into_iter()
        .find(|(ask, snapshot, ..)| *ask == own || there.contains(snapshot));
    let corrupt = |e: &dyn Display| StoreError::corrupt("charge", e);
    match row {
        None => Ok(Entry::New),
        Some((_, _, Some(claims), Some(vectors))) => Ok(Entry::Answered(Box::new(Answered {
            claims: serde_json::from_str(&claims).map_err(|e| corrupt(&e))?,
            vectors,
        }))),
        Some((ask, snapshot, ..)) => Ok(Entry::Charged {
            ask: ask.parse().map_err(|e| corrupt(&e))?,
            snapshot: snapshot.parse().map_err(|e| corrupt(&e))?,
        }),
    }
}

/// Writes a charge.
pub(crate) async fn charge(
    db: &mut SqliteConnection,
    key: AskKey,
    charge: &Charge,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO charge \
         (ask, question, snapshot, access_body, permit, rho, delta, charged_at, state) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'charged')",
    )
    .bind(key.ask.to_string())
    .bind(key.question.to_string())
    .bind(key.snapshot.to_string())
    .bind(&charge.account.access_body)
    .bind(charge.account.permit.as_str())
    .bind(to_sql(charge.loss.rho.units())?)
    .bind(to_sql(charge.loss.delta.units())?)
    .bind(charge.at.timestamp_micros())
    .execute(db)
    .await?;
    Ok(())
}

/// Turns a charged ask into an answered one. `false` when it is no longer merely charged: then
/// another partial is stored, and this one must not leave.
pub(crate) async fn answer(
    db: &mut SqliteConnection,
    answered: &Answered,
) -> Result<bool, StoreError> {
    let claims =
        serde_json::to_string(&answered.claims).map_err(|e| StoreError::corrupt("partial", &e))?;
    let done = sqlx::query(
        "UPDATE charge SET state = 'answered', claims = ?, vectors = ? \
         WHERE ask = ? AND state = 'charged'",
    )
    .bind(claims)
    .bind(&answered.vectors)
    .bind(answered.claims.ask.to_string())
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Remembers a permit's version, if it is the newest.
pub(crate) async fn see_permit(
    db: &mut SqliteConnection,
    account: &PermitAccount,
    version: u32,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO permit (access_body, permit, version) VALUES (?, ?, ?) \
         ON CONFLICT DO UPDATE SET version = MAX(version, excluded.version)",
    )
    .bind(&account.access_body)
    .bind(account.permit.as_str())
    .bind(i64::from(version))
    .execute(db)
    .await?;
    Ok(())
}

/// The newest version of a permit that was ever presented.
pub(crate) async fn newest_permit(
    db: &mut SqliteConnection,
    account: &PermitAccount,
) -> Result<Option<u32>, StoreError> {
    let version: Option<i64> =
        sqlx::query_scalar("SELECT version FROM permit WHERE access_body = ? AND permit = ?")
            .bind(&account.access_body)
            .bind(account.permit.as_str())
            .fetch_optional(db)
            .await?;
    version
        .map(|v| u32::try_from(v).map_err(|e| StoreError::corrupt("permit version", &e)))
        .transpose()
}

fn to_sql(units: u64) -> Result<i64, StoreError> {
    i64::try_from(units).map_err(|e| StoreError::corrupt("charge", &e))
}

#[cfg(test)]
mod tests;
