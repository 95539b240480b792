//! Sums over the store of charges. What is added up lies in covering indices, beside which no
//! partial is read.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;
use ward_schemas::delta::Delta;
use ward_schemas::loss::Loss;
use ward_schemas::rho::Rho;

use super::{PermitAccount, Spent, Total, year_start};
use crate::store::{StoreError, from_micros};

/// Number of charges, and the sums of their ρ and δ in units.
type Row = (i64, i64, i64);

/// What has been charged.
pub(crate) async fn spent(
    db: &mut SqliteConnection,
    account: &PermitAccount,
    now: DateTime<Utc>,
) -> Result<Spent, StoreError> {
    let (year, lifetime) = spent_by_all(&mut *db, now).await?;
    let permit: Row = sqlx::query_as(
        "SELECT COUNT(*), COALESCE(SUM(rho), 0), COALESCE(SUM(delta), 0) \
         FROM charge WHERE access_body = ? AND permit = ?",
    )
    .bind(&account.access_body)
    .bind(account.permit.as_str())
    .fetch_one(db)
    .await?;
    Ok(Spent {
        year,
        lifetime,
        permit: total(permit)?,
    })
}

/// What has been charged on all permits together: in the last 365 days, and ever.
pub(crate) async fn spent_by_all(
    db: &mut SqliteConnection,
    now: DateTime<Utc>,
) -> Result<(Total, Total), StoreError> {
    let year = spent_since(&mut *db, year_start(now)).await?;
    Ok((year, spent_since(db, DateTime::UNIX_EPOCH).await?))
}

async fn spent_since(db: &mut SqliteConnection, start: DateTime<Utc>) -> Result<Total, StoreError> {
    let sums: Row = sqlx::query_as(
        "SELECT COUNT(*), COALESCE(SUM(rho), 0), COALESCE(SUM(delta), 0) \
         FROM charge WHERE charged_at >= ?",
    )
    .bind(start.timestamp_micros())
    .fetch_one(db)
    .await?;
    total(sums)
}

/// What each permit has used.
pub(crate) async fn by_permit(
    db: &mut SqliteConnection,
) -> Result<Vec<(PermitAccount, Total)>, StoreError> {
    let rows: Vec<(String, String, i64, i64, i64)> = sqlx::query_as(
        "SELECT access_body, permit, COUNT(*), SUM(rho), SUM(delta) FROM charge \
         GROUP BY access_body, permit ORDER BY access_body, permit",
    )
    .fetch_all(db)
    .await?;
    let accounts = rows
        .into_iter()
        .map(|(access_body, permit, asks, rho, delta)| {
            let permit = permit
                .parse()
                .map_err(|e| StoreError::corrupt("permit", &e))?;
            let account = PermitAccount {
                access_body,
                permit,
            };
            Ok((account, total((asks, rho, delta))?))
        });
    accounts.collect()
}

/// What was charged in each calendar month (UTC, `2026-11`) that has a charge from `start` on.
pub(crate) async fn by_month(
    db: &mut SqliteConnection,
    start: DateTime<Utc>,
) -> Result<BTreeMap<String, Total>, StoreError> {
    let rows: Vec<(String, i64, i64, i64)> = sqlx::query_as(
        "SELECT strftime('%Y-%m', charged_at / 1000000, 'unixepoch'), \
         COUNT(*), SUM(rho), SUM(delta) FROM charge WHERE charged_at >= ? GROUP BY 1",
    )
    .bind(start.timestamp_micros())
    .fetch_all(db)
    .await?;
    let months = rows.into_iter();
    months
        .map(|(month, asks, rho, delta)| Ok((month, total((asks, rho, delta))?)))
        .collect()
}

/// When the oldest charge of the rolling year was made.
pub(crate) async fn oldest_of_year(
    db: &mut SqliteConnection,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    let micros: Option<i64> =
        sqlx::query_scalar("SELECT MIN(charged_at) FROM charge WHERE charged_at >= ?")
            .bind(year_start(now).timestamp_micros())
            .fetch_one(db)
            .await?;
    micros.map(from_micros).transpose()
}

/// Sums beyond the largest ρ or δ are as good as those: no budget is larger.
fn total((asks, rho, delta): Row) -> Result<Total, StoreError> {
    let units = |sum: i64| u64::try_from(sum).map_err(|e| StoreError::corrupt("charge", &e));
    Ok(Total {
        asks: units(asks)?,
        loss: Loss {
            rho: Rho::from_units(units(rho)?).unwrap_or(Rho::MAX),
            delta: Delta::from_units(units(delta)?).unwrap_or(Delta::ONE),
        },
    })
}
