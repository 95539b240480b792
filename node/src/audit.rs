//! The audit log: who did what, as a hash chain that anybody can verify offline.
//!
//! A record's hash is the `audit` content hash of its canonical JSON, which holds the previous
//! record's hash. A changed, removed or reordered record breaks the chain; a log that was cut
//! short, or rolled back to an older state, is found by comparing it with a head that a witness
//! has kept.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::SqliteConnection;
use ward_schemas::canonical::{ContentHash, canonical_bytes};
use ward_schemas::delta::Delta;
use ward_schemas::ehds::Purpose;
use ward_schemas::names::{Ident, NodeName, PermitId, Subject};
use ward_schemas::partial::AuditHead;
use ward_schemas::problem::ErrorCode;
use ward_schemas::rho::Rho;
use ward_schemas::snapshot::SnapshotId;
use ward_schemas::template::TemplateRef;
use ward_schemas::wire::Decision;

use crate::store::StoreError;

/// The version of the record format that this crate writes and reads.
pub const RECORD_FORMAT: u32 = 1;

/// One record of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Format version: [`RECORD_FORMAT`].
    pub v: u32,
    /// Its number, from 1.
    pub sequence: u64,
    /// When, by the ledger's clock, which never goes back.
    pub at: DateTime<Utc>,
    /// The hash of the record before.
    pub previous: Option<ContentHash>,
    /// What happened.
    pub event: Event,
}

/// Who stands behind a call, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Who {
    /// The name in the peer's certificate.
    pub peer: String,
    /// The requester, as the coordinator authenticated them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requester: Option<Subject>,
    /// The permit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permit: Option<PermitId>,
}

impl Who {
    /// A peer of whom no more is known.
    pub fn peer(name: impl Into<String>) -> Self {
        Self {
            peer: name.into(),
            requester: None,
            permit: None,
        }
    }
}

/// A call that can be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Call {
    /// For a quote.
    Quote,
    /// For a partial.
    Ask,
    /// To take a template into the inbox.
    Offer,
    /// For the node's status.
    Status,
}

/// What happened. Nothing here depends on patient data except the noisy partial's digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Event {
    /// The node's directory was made.
    Initialised {
        /// The node.
        node: NodeName,
        /// The steward's operating-system user.
        by: String,
    },
    /// A snapshot became the active one.
    Imported {
        /// The snapshot.
        snapshot: SnapshotId,
        /// The steward's operating-system user.
        by: String,
    },
    /// A snapshot was found active that no record tells of: its import ended before its record.
    Found {
        /// The snapshot.
        snapshot: SnapshotId,
    },
    /// The steward confirmed the clock after a long step.
    ClockConfirmed {
        /// The steward's operating-system user.
        by: String,
    },
    /// The vocabulary package came.
    VocabularyAdded {
        /// The package.
        vocabulary: ContentHash,
        /// The steward's operating-system user, or the coordinator's URL.
        by: String,
    },
    /// A template was offered for the first time.
    Offered {
        /// The template.
        template: TemplateRef,
        /// Who offered it.
        by: String,
    },
    /// The steward decided on a template.
    Decided {
        /// The template.
        template: TemplateRef,
        /// The decision.
        decision: Decision,
        /// The steward's operating-system user.
        by: String,
    },
    /// A call was refused; nothing was charged.
    Refused {
        /// Which call.
        call: Call,
        /// Who.
        who: Who,
        /// Which rule refused it.
        code: ErrorCode,
        /// Why, shortened to 500 characters.
        detail: String,
    },
    /// An ask was charged; it may now touch data.
    Charged {
        /// The ask's identity.
        ask: ContentHash,
        /// Who.
        who: Who,
        /// The permit's version.
        permit_version: u32,
        /// What was asked.
        template: TemplateRef,
        /// With which parameters.
        parameters: BTreeMap<Ident, String>,
        /// What for.
        purpose: Purpose,
        /// How much.
        rho: Rho,
        /// How much of δ.
        #[serde(default, skip_serializing_if = "Delta::is_zero")]
        delta: Delta,
        /// On which snapshot it runs.
        snapshot: SnapshotId,
    },
    /// A charged ask that was never answered runs again, under the same charge.
    Resumed {
        /// The ask's identity.
        ask: ContentHash,
        /// Who.
        who: Who,
    },
    /// A charged ask failed; it stays charged.
    Failed {
        /// The ask's identity.
        ask: ContentHash,
        /// Who.
        who: Who,
    },
    /// A partial left.
    Answered {
        /// The ask's identity.
        ask: ContentHash,
        /// Who.
        who: Who,
        /// Digest of the noisy integers.
        digest: ContentHash,
    },
    /// The same partial left again, at no charge.
    Replayed {
        /// The ask's identity.
        ask: ContentHash,
        /// Who.
        who: Who,
    },
}

impl Event {
    /// A refusal, its detail shortened.
    pub fn refused(call: Call, who: Who, code: ErrorCode, detail: &str) -> Self {
        Self::Refused {
            call,
            who,
            code,
            detail: detail.chars().take(500).collect(),
        }
    }
}

/// A record as it is stored: its canonical JSON, and the hash over that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    /// Its number.
    pub sequence: u64,
    /// Canonical JSON of the [`Record`].
    pub record: String,
    /// Its content hash.
    pub hash: String,
}

/// Reads `SEQUENCE:HASH`, as `audit verify --head` takes it and head files hold it.
///
/// # Errors
/// When the text is something else.
pub fn parse_head(text: &str) -> Result<AuditHead, HeadSyntax> {
    let (sequence, hash) = text.trim().split_once(':').ok_or(HeadSyntax)?;
    Ok(AuditHead {
        sequence: sequence.parse().map_err(|_| HeadSyntax)?,
        hash: hash.parse().map_err(|_| HeadSyntax)?,
    })
}

/// Writes what [`parse_head`] reads.
pub fn format_head(head: AuditHead) -> String {
    format!("{}:{}", head.sequence, head.hash)
}

/// Text that is not an audit head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an audit head is written SEQUENCE:HASH, as in 42:sha256:0123…")]
pub struct HeadSyntax;

/// Checks a log record by record, from the first.
#[derive(Clone, Debug, Default)]
pub struct Verifier {
    last: Option<(AuditHead, DateTime<Utc>)>,
    witness: Option<AuditHead>,
}

impl Verifier {
    /// A verifier that will also hold the log against a head that a witness has kept.
    pub fn new(witness: Option<AuditHead>) -> Self {
        Self {
            last: None,
            witness,
        }
    }

    /// Checks the next record.
    ///
    /// # Errors
    /// When it is not what was written there.
    pub fn check(&mut self, stored: &StoredRecord) -> Result<Record, AuditFault> {
        let sequence = self.last.map_or(1, |(head, _)| head.sequence + 1);
        if stored.sequence != sequence {
            return Err(AuditFault::Missing(sequence));
        }
        let (record, hash) = unaltered(stored).ok_or(AuditFault::Altered(sequence))?;
        let previous = self.last.map(|(head, _)| head.hash);
        let goes_back = self.last.is_some_and(|(_, at)| record.at < at);
        if record.sequence != sequence || record.previous != previous || goes_back {
            return Err(AuditFault::Order(sequence));
        }
        let head = AuditHead { sequence, hash };
        if self
            .witness
            .is_some_and(|w| w.sequence == sequence && w.hash != hash)
        {
            return Err(AuditFault::Witness(sequence));
        }
        self.last = Some((head, record.at));
        Ok(record)
    }

    /// Ends the check: the head, once there is a record.
    ///
    /// # Errors
    /// When the witness has seen more than the log holds.
    pub fn finish(self) -> Result<Option<AuditHead>, AuditFault> {
        let head = self.last.map(|(head, _)| head);
        let length = head.map_or(0, |head| head.sequence);
        match self.witness {
            Some(witness) if witness.sequence > length => Err(AuditFault::Short {
                length,
                witness: witness.sequence,
            }),
            Some(witness) if witness.sequence == 0 => Err(AuditFault::Witness(0)),
            _ => Ok(head),
        }
    }
}

fn unaltered(stored: &StoredRecord) -> Option<(Record, ContentHash)> {
    let record: Record = serde_json::from_str(&stored.record).ok()?;
    let canonical = canonical_bytes(&record).ok()?;
    let hash = ContentHash::of("audit", &record).ok()?;
    (canonical == stored.record.as_bytes() && hash.to_string() == stored.hash)
        .then_some((record, hash))
}

/// What is wrong with an audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuditFault {
    /// A number is missing.
    #[error("record {0} is missing: it was removed; restore the log from a backup and investigate")]
    Missing(u64),
    /// A record is not what was hashed.
    #[error("record {0} was changed; restore the log from a backup and investigate")]
    Altered(u64),
    /// A record does not follow the one before.
    #[error(
        "record {0} does not follow the record before it: records were exchanged, inserted or replaced; restore the log from a backup and investigate"
    )]
    Order(u64),
    /// The witness has another record.
    #[error(
        "record {0} is not the one that the witness has seen: the log was rolled back and went on, or was rewritten; restore the newest state"
    )]
    Witness(u64),
    /// The witness has more records.
    #[error(
        "the log ends at record {length}, and the witness has seen record {witness}: it was cut short or rolled back; restore the newest state"
    )]
    Short {
        /// Records in the log.
        length: u64,
        /// Records that the witness has seen.
        witness: u64,
    },
}

/// The record that goes after `previous`, ready to be stored.
fn seal(
    previous: Option<AuditHead>,
    at: DateTime<Utc>,
    event: Event,
) -> Result<(StoredRecord, AuditHead), StoreError> {
    let record = Record {
        v: RECORD_FORMAT,
        sequence: previous.map_or(1, |head| head.sequence + 1),
        at,
        previous: previous.map(|head| head.hash),
        event,
    };
    let unwritable = |e| StoreError::corrupt("audit record", &e);
    let text = canonical_bytes(&record).map_err(unwritable)?;
    let hash = ContentHash::of("audit", &record).map_err(unwritable)?;
    let stored = StoredRecord {
        sequence: record.sequence,
        record: String::from_utf8(text).map_err(|e| StoreError::corrupt("audit record", &e))?,
        hash: hash.to_string(),
    };
    let head = AuditHead {
        sequence: record.sequence,
        hash,
    };
    Ok((stored, head))
}

/// Writes a record at the end of the log.
pub(crate) async fn append(
    db: &mut SqliteConnection,
    at: DateTime<Utc>,
    event: Event,
) -> Result<AuditHead, StoreError> {
    let (stored, new_head) = seal(head(db).await?, at, event)?;
    sqlx::query("INSERT INTO audit (sequence, record, hash) VALUES (?, ?, ?)")
        .bind(to_sql(stored.sequence)?)
        .bind(stored.record)
        .bind(stored.hash)
        .execute(db)
        .await?;
    Ok(new_head)
}

/// The log's last record.
pub(crate) async fn head(db: &mut SqliteConnection) -> Result<Option<AuditHead>, StoreError> {
    let row: Option<(i64, String)> =
        sqlx::query_as("SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1")
            .fetch_optional(db)
            .await?;
    row.map(|(sequence, hash)| {
        Ok(AuditHead {
            sequence: from_sql(sequence)?,
            hash: hash
                .parse()
                .map_err(|e| StoreError::corrupt("audit hash", &e))?,
        })
    })
    .transpose()
}

/// The node's own hash at a number.
pub(crate) async fn hash_at(
    db: &mut SqliteConnection,
    sequence: u64,
) -> Result<Option<ContentHash>, StoreError> {
    let Ok(sequence) = to_sql(sequence) else {
        return Ok(None);
    };
    let hash: Option<String> = sqlx::query_scalar("SELECT hash FROM audit WHERE sequence = ?")
        .bind(sequence)
        .fetch_optional(db)
        .await?;
    hash.map(|h| h.parse().map_err(|e| StoreError::corrupt("audit hash", &e)))
        .transpose()
}

/// Whether a record tells of this snapshot's import.
pub(crate) async fn tells_of(
    db: &mut SqliteConnection,
    snapshot: SnapshotId,
) -> Result<bool, StoreError> {
    let found: Option<i64> = sqlx::query_scalar(
        "SELECT sequence FROM audit \
         WHERE json_extract(record, '$.event.type') IN ('imported', 'found') \
           AND json_extract(record, '$.event.snapshot') = ? \
         ORDER BY sequence DESC LIMIT 1",
    )
    .bind(snapshot.to_string())
    .fetch_optional(db)
    .await?;
    Ok(found.is_some())
}

/// Up to `limit` records after a number.
pub(crate) async fn page(
    db: &mut SqliteConnection,
    after: u64,
    limit: u32,
) -> Result<Vec<StoredRecord>, StoreError> {
    let rows: Vec<(i64, String, String)> = sqlx::query_as(
        "SELECT sequence, record, hash FROM audit WHERE sequence > ? ORDER BY sequence LIMIT ?",
    )
    .bind(to_sql(after)?)
    .bind(limit)
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|(sequence, record, hash)| {
            Ok(StoredRecord {
                sequence: from_sql(sequence)?,
                record,
                hash,
            })
        })
        .collect()
}

fn to_sql(sequence: u64) -> Result<i64, StoreError> {
    i64::try_from(sequence).map_err(|e| StoreError::corrupt("audit sequence", &e))
}

fn from_sql(sequence: i64) -> Result<u64, StoreError> {
    u64::try_from(sequence).map_err(|e| StoreError::corrupt("audit sequence", &e))
}

#[cfg(test)]
mod tests;
