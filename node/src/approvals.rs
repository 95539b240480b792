//! Approvals: the inbox of templates on offer, and what the steward decided.
//!
//! A template is kept by its content hash with its TOML text. At most one content of a name and
//! version is approved at a time, and only what the privacy engine compiles can be.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;
use ward_data::vocabulary::Package;
use ward_schemas::canonical::ContentHash;
use ward_schemas::problem::{ErrorCode, Problem};
use ward_schemas::template::TemplateRef;
use ward_schemas::wire::Decision;

use crate::audit::{self, Event};
use crate::engine::Compiled;
use crate::gate::{Standing, not_approved};
use crate::store::{Store, StoreError, from_micros};

/// The most undecided templates that the inbox takes.
pub const MAX_PENDING: i64 = 1000;

/// A template in the inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboxEntry {
    /// Name, version and content hash.
    pub template: TemplateRef,
    /// The TOML text.
    pub source: String,
    /// Where it stands.
    pub decision: Decision,
    /// When it was first offered.
    pub offered_at: DateTime<Utc>,
    /// Who decided.
    pub decided_by: Option<String>,
}

/// Where a template stands, with what the gate needs of it.
pub(crate) enum Standings {
    Unknown,
    Approved(Arc<Compiled>),
    NotApproved(Decision),
    Altered(ContentHash),
}

impl Standings {
    /// As the gate takes it.
    pub(crate) fn for_gate(&self) -> Standing<'_> {
        match self {
            Self::Unknown => Standing::Unknown,
            Self::Approved(compiled) => Standing::Approved {
                template: compiled.template(),
                plan: compiled.plan(),
            },
            Self::NotApproved(decision) => Standing::NotApproved(*decision),
            Self::Altered(approved) => Standing::Altered {
                approved: *approved,
            },
        }
    }
}

/// Compiled templates by content hash, so that each compiles once.
#[derive(Default)]
pub(crate) struct Programs(Mutex<HashMap<ContentHash, Arc<Compiled>>>);

impl Programs {
    /// The compiled template of this text.
    pub(crate) async fn compile(
        &self,
        source: String,
        vocabulary: Arc<Package>,
    ) -> Result<Arc<Compiled>, Problem> {
        let compiled =
            tokio::task::spawn_blocking(move || Compiled::new(&source, &vocabulary).map(Arc::new))
                .await
                .unwrap_or_else(|_| {
                    Err(Problem::new(
                        ErrorCode::TemplateRefused,
                        "the template can't be compiled",
                        "Report it to Ward's developers with the template.",
                    ))
                })?;
        self.lock()
            .insert(compiled.expanded().hash(), Arc::clone(&compiled));
        Ok(compiled)
    }

    fn get(&self, hash: ContentHash) -> Option<Arc<Compiled>> {
        self.lock().get(&hash).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ContentHash, Arc<Compiled>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes an accepted template into the inbox, if it is new there; says where it stands.
pub(crate) async fn offer(
    store: &Store,
    template: TemplateRef,
    source: String,
    by: String,
) -> Result<Result<Decision, Problem>, StoreError> {
    store
        .write(move |db, now| {
            Box::pin(async move {
                if let Some(known) = by_hash(&mut *db, template.hash).await? {
                    return Ok(Ok(known.decision));
                }
                if pending(&mut *db).await? >= MAX_PENDING {
                    return Ok(Err(inbox_full()));
                }
                insert(&mut *db, now, &template, &source).await?;
                audit::append(db, now, Event::Offered { template, by }).await?;
                Ok(Ok(Decision::Pending))
            })
        })
        .await
}

/// Writes the steward's decision.
///
/// # Errors
/// The inner error says why the decision can't be; nothing is written then.
pub(crate) async fn decide(
    store: &Store,
    template: TemplateRef,
    decision: Decision,
    by: String,
) -> Result<Result<(), ApprovalError>, StoreError> {
    store
        .write(move |db, now| {
            Box::pin(async move {
                if let Err(refused) = may_decide(&mut *db, &template, decision).await? {
                    return Ok(Err(refused));
                }
                update(&mut *db, now, &template, decision, &by).await?;
                let event = Event::Decided {
                    template,
                    decision,
                    by,
                };
                audit::append(db, now, event).await?;
                Ok(Ok(()))
            })
        })
        .await
}

/// Where a template stands.
pub(crate) async fn standing(
    db: &mut SqliteConnection,
    programs: &Programs,
    vocabulary: Arc<Package>,
    asked: &TemplateRef,
) -> Result<Standings, Problem> {
    let rows = by_name(&mut *db, asked).await?;
    let approved = rows.iter().find(|r| r.decision == Decision::Approved);
    match (
        approved,
        rows.iter().find(|r| r.template.hash == asked.hash),
    ) {
        (Some(approved), _) if approved.template == *asked => {
            approved_program(programs, vocabulary, approved).await
        }
        (Some(approved), _) => Ok(Standings::Altered(approved.template.hash)),
        (None, Some(known)) => Ok(Standings::NotApproved(known.decision)),
        (None, None) => Ok(Standings::Unknown),
    }
}

async fn approved_program(
    programs: &Programs,
    vocabulary: Arc<Package>,
    approved: &InboxEntry,
) -> Result<Standings, Problem> {
    if let Some(compiled) = programs.get(approved.template.hash) {
        return Ok(Standings::Approved(compiled));
    }
    let compiled = programs
        .compile(approved.source.clone(), vocabulary)
        .await?;
    // With another vocabulary package the same text is another template.
    if compiled.expanded().hash() == approved.template.hash {
        Ok(Standings::Approved(compiled))
    } else {
        Ok(Standings::NotApproved(Decision::Pending))
    }
}

/// Whether a template that was approved a moment ago still is.
///
/// # Errors
/// The inner error is the refusal of one that isn't.
pub(crate) async fn still_approved(
    db: &mut SqliteConnection,
    asked: &TemplateRef,
) -> Result<Result<(), Problem>, StoreError> {
    let entry = by_hash(db, asked.hash).await?;
    Ok(match entry.map_or(Decision::Withdrawn, |e| e.decision) {
        Decision::Approved => Ok(()),
        decision => Err(not_approved(asked, decision)),
    })
}

/// Every template in the inbox, by name and version.
pub(crate) async fn list(db: &mut SqliteConnection) -> Result<Vec<InboxEntry>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT hash, id, version, source, decision, offered_at, decided_by \
         FROM template ORDER BY id, version, offered_at, hash",
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(entry).collect()
}

/// The one template that a steward means by `ID`, `ID@VERSION` or the start of its content hash.
///
/// # Errors
/// When no or several templates are meant.
pub(crate) fn select(entries: Vec<InboxEntry>, text: &str) -> Result<InboxEntry, ApprovalError> {
    let mut meant: Vec<_> = entries.into_iter().filter(|e| means(e, text)).collect();
    match meant.len() {
        1 => Ok(meant.remove(0)),
        0 => Err(ApprovalError::Unknown(text.to_owned())),
        _ => Err(ApprovalError::Ambiguous {
            text: text.to_owned(),
            meant: meant
                .iter()
                .map(|e| {
                    let TemplateRef { id, version, hash } = &e.template;
                    format!("{id}@{version} {} ({})", hash.short(), e.decision.as_str())
                })
                .collect::<Vec<_>>()
                .join(", "),
        }),
    }
}

fn means(entry: &InboxEntry, text: &str) -> bool {
    let TemplateRef { id, version, hash } = &entry.template;
    let hash = hash.to_string();
    let digits = hash.trim_start_matches("sha256:");
    id.as_str() == text
        || format!("{id}@{version}") == text
        || hash == text
        || (text.len() >= 6 && digits.starts_with(text))
}

async fn may_decide(
    db: &mut SqliteConnection,
    template: &TemplateRef,
    decision: Decision,
) -> Result<Result<(), ApprovalError>, StoreError> {
    let rows = by_name(db, template).await?;
    let Some(entry) = rows.iter().find(|r| r.template.hash == template.hash) else {
        return Ok(Err(ApprovalError::Unknown(template.hash.to_string())));
    };
    let other = rows
        .iter()
        .find(|r| r.decision == Decision::Approved && r.template.hash != template.hash);
    Ok(match (entry.decision, decision, other) {
        (
            Decision::Pending | Decision::Rejected | Decision::Withdrawn,
            Decision::Approved,
            None,
        )
        | (Decision::Pending, Decision::Rejected, _)
        | (Decision::Approved, Decision::Withdrawn, _) => Ok(()),
        (
            Decision::Pending | Decision::Rejected | Decision::Withdrawn,
            Decision::Approved,
            Some(other),
        ) => Err(ApprovalError::OtherApproved {
            id: template.id.to_string(),
            version: template.version.to_string(),
            approved: other.template.hash,
        }),
        (from, to, _) => Err(ApprovalError::Step {
            id: template.id.to_string(),
            from: from.as_str(),
            to: to.as_str(),
        }),
    })
}

async fn insert(
    db: &mut SqliteConnection,
    now: DateTime<Utc>,
    template: &TemplateRef,
    source: &str,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO template (hash, id, version, source, decision, offered_at) \
         VALUES (?, ?, ?, ?, 'pending', ?)",
    )
    .bind(template.hash.to_string())
    .bind(template.id.as_str())
    .bind(template.version.as_str())
    .bind(source)
    .bind(now.timestamp_micros())
    .execute(db)
    .await?;
    Ok(())
}

async fn update(
    db: &mut SqliteConnection,
    now: DateTime<Utc>,
    template: &TemplateRef,
    decision: Decision,
    by: &str,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE template SET decision = ?, decided_at = ?, decided_by = ? WHERE hash = ?")
        .bind(decision.as_str())
        .bind(now.timestamp_micros())
        .bind(by)
        .bind(template.hash.to_string())
        .execute(db)
        .await?;
    Ok(())
}

async fn pending(db: &mut SqliteConnection) -> Result<i64, StoreError> {
    Ok(
        sqlx::query_scalar("SELECT COUNT(*) FROM template WHERE decision = 'pending'")
            .fetch_one(db)
            .await?,
    )
}

fn inbox_full() -> Problem {
    Problem::new(
        ErrorCode::TemplateRefused,
        format!("{MAX_PENDING} templates wait for this node's steward, and no more are taken"),
        "Ask the steward to decide on those that wait.",
    )
}

async fn by_hash(
    db: &mut SqliteConnection,
    hash: ContentHash,
) -> Result<Option<InboxEntry>, StoreError> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT hash, id, version, source, decision, offered_at, decided_by \
         FROM template WHERE hash = ?",
    )
    .bind(hash.to_string())
    .fetch_optional(db)
    .await?;
    row.map(entry).transpose()
}

async fn by_name(
    db: &mut SqliteConnection,
    template: &TemplateRef,
) -> Result<Vec<InboxEntry>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT hash, id, version, source, decision, offered_at, decided_by \
         FROM template WHERE id = ? AND version = ?",
    )
    .bind(template.id.as_str())
    .bind(template.version.as_str())
    .fetch_all(db)
    .await?;
    rows.into_iter().map(entry).collect()
}

type Row = (String, String, String, String, String, i64, Option<String>);

fn entry(row: Row) -> Result<InboxEntry, StoreError> {
    let (hash, id, version, source, decision, offered_at, decided_by) = row;
    let corrupt = |e: &dyn std::fmt::Display| StoreError::corrupt("template", e);
    Ok(InboxEntry {
        template: TemplateRef {
            id: id.parse().map_err(|e| corrupt(&e))?,
            version: version.parse().map_err(|e| corrupt(&e))?,
            hash: hash.parse().map_err(|e| corrupt(&e))?,
        },
        source,
        decision: parse_decision(&decision)?,
        offered_at: from_micros(offered_at)?,
        decided_by,
    })
}

fn parse_decision(text: &str) -> Result<Decision, StoreError> {
    [
        Decision::Pending,
        Decision::Approved,
        Decision::Rejected,
        Decision::Withdrawn,
    ]
    .into_iter()
    .find(|d| d.as_str() == text)
    .ok_or_else(|| StoreError::corrupt("decision", &text))
}

/// Why a steward's decision can't be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApprovalError {
    /// No such template.
    #[error(
        "no template {0:?} was offered to this node; `ward-node template list` lists those that were"
    )]
    Unknown(String),
    /// Several are meant.
    #[error("{text:?} means several templates: {meant}; name one by the start of its hash")]
    Ambiguous {
        /// What the steward wrote.
        text: String,
        /// What it may mean.
        meant: String,
    },
    /// Another content of the same name and version is approved.
    #[error("another content of {id}@{version} is approved ({approved}); withdraw that one first")]
    OtherApproved {
        /// Name.
        id: String,
        /// Version.
        version: String,
        /// What is approved.
        approved: ContentHash,
    },
    /// Not a step that there is.
    #[error(
        "{id} is {from} and can't become {to}; pending, rejected and withdrawn templates can be approved, pending ones rejected, approved ones withdrawn"
    )]
    Step {
        /// Name.
        id: String,
        /// Where it stands.
        from: &'static str,
        /// What was asked.
        to: &'static str,
    },
    /// It was offered under another vocabulary package.
    #[error(
        "{0} was offered when this node used another vocabulary package; have it offered again, and approve the new one"
    )]
    OtherVocabulary(ContentHash),
    /// The privacy engine refuses it.
    #[error("the template can't be approved: {0}")]
    Refused(Problem),
}

#[cfg(test)]
mod tests;
