//! What survives a restart: jobs, releases, and the newest audit head seen of each node.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, Row, SqlSafeStr, SqliteConnection};
use tokio::sync::Mutex;
use ward_schemas::names::{NodeName, PermitId, Subject};
use ward_schemas::partial::AuditHead;
use ward_schemas::problem::{ErrorCode, Problem};
use ward_schemas::release::{Release, ReleaseId};
use ward_schemas::wire::{AskRequest, ReleaseSummary};

const MIGRATION: &str = include_str!("../migrations/0001_jobs_releases_witnesses.sql");
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
const READERS: u32 = 4;
/// The most releases that a list shows.
const LISTED: i64 = 1000;

/// The coordinator's database.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    readers: SqlitePool,
    writer: Arc<Mutex<SqliteConnection>>,
}

/// How a job ended, or that it has not.
#[derive(Debug)]
pub(crate) enum JobState {
    Running,
    Released(Box<Release>),
    Failed(Problem),
}

impl Store {
    /// Opens the database in a directory, and closes the jobs that a crash left running.
    pub(crate) async fn open(dir: &Path) -> Result<Self, StoreError> {
        let file = dir.join("coordinator.sqlite");
        let failed = |source| StoreError::Open {
            file: file.clone(),
            source,
        };
        crate::init::private_dir(dir).map_err(|e| failed(e.into()))?;
        let options = SqliteConnectOptions::new()
            .filename(&file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let mut writer = options.connect().await.map_err(failed)?;
        migrate(&mut writer).await.map_err(failed)?;
        let readers = SqlitePoolOptions::new().max_connections(READERS);
        let store = Self {
            readers: readers.connect_lazy_with(options.read_only(true)),
            writer: Arc::new(Mutex::new(writer)),
        };
        store.apply(Change::CloseInterrupted).await?;
        Ok(store)
    }

    pub(crate) async fn open_job(
        &self,
        id: ReleaseId,
        requester: &Subject,
        permit: &PermitId,
        request: &AskRequest,
    ) -> Result<(), StoreError> {
        self.apply(Change::OpenJob {
            id: id.to_string(),
            requester: requester.to_string(),
            permit: permit.to_string(),
            request: serde_json::to_string(request)?,
        })
        .await
    }

    pub(crate) async fn release(&self, release: &Release) -> Result<(), StoreError> {
        self.apply(Change::Release {
            body: serde_json::to_string(release)?,
            summary: Box::new(ReleaseSummary::from(release)),
            requester: release.requester.to_string(),
        })
        .await
    }

    pub(crate) async fn fail_job(&self, id: ReleaseId, why: &Problem) -> Result<(), StoreError> {
        self.apply(Change::Fail {
            id: id.to_string(),
            problem: serde_json::to_string(why)?,
        })
        .await
    }

    /// Keeps a node's audit head, if it is newer than the one kept.
    pub(crate) async fn witness(&self, node: &NodeName, head: AuditHead) -> Result<(), StoreError> {
        self.apply(Change::Witness {
            node: node.to_string(),
            sequence: i64::try_from(head.sequence).map_err(|_| StoreError::Sequence)?,
            hash: head.hash.to_string(),
        })
        .await
    }

    /// The newest audit head seen of each node.
    pub(crate) async fn witnesses(&self) -> Result<BTreeMap<NodeName, AuditHead>, StoreError> {
        let rows = sqlx::query("SELECT node, sequence, hash FROM witnesses")
            .fetch_all(&self.readers)
            .await?;
        rows.iter()
            .map(|row| {
                let head = AuditHead {
                    sequence: parse_sequence(row.try_get("sequence")?)?,
                    hash: parse(row.try_get("hash")?)?,
                };
                Ok((parse(row.try_get("node")?)?, head))
            })
            .collect()
    }

    /// A requester's job, if there is one of this identity.
    pub(crate) async fn job(
        &self,
        id: ReleaseId,
        requester: &Subject,
    ) -> Result<Option<JobState>, StoreError> {
        let row = sqlx::query(
            "SELECT j.problem, r.body FROM jobs j LEFT JOIN releases r ON r.id = j.id
             WHERE j.id = ? AND j.requester = ?",
        )
        .bind(id.to_string())
        .bind(requester.to_string())
        .fetch_optional(&self.readers)
        .await?;
        let Some(row) = row else { return Ok(None) };
        if let Some(body) = row.try_get::<Option<String>, _>("body")? {
            return Ok(Some(JobState::Released(serde_json::from_str(&body)?)));
        }
        Ok(Some(match row.try_get::<Option<String>, _>("problem")? {
            Some(problem) => JobState::Failed(serde_json::from_str(&problem)?),
            None => JobState::Running,
        }))
    }

    /// A requester's releases, newest first.
    pub(crate) async fn releases(
        &self,
        requester: &Subject,
    ) -> Result<Vec<ReleaseSummary>, StoreError> {
        let rows = sqlx::query(
            "SELECT body FROM releases WHERE requester = ? ORDER BY created_at DESC, id LIMIT ?",
        )
        .bind(requester.to_string())
        .bind(LISTED)
        .fetch_all(&self.readers)
        .await?;
        rows.iter()
            .map(|row| {
                let release: Release = serde_json::from_str(row.try_get("body")?)?;
                Ok(ReleaseSummary::from(&release))
            })
            .collect()
    }

    /// One change, whole or not at all: in a task of its own, so that whoever asked for it may go
    /// away.
    async fn apply(&self, change: Change) -> Result<(), StoreError> {
        let writer = Arc::clone(&self.writer);
        let applied = tokio::spawn(async move {
            let mut writer = writer.lock().await;
            let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
            change.run(&mut transaction).await?;
            transaction.commit().await
        });
        Ok(applied.await.map_err(|_| StoreError::Stopped)??)
    }
}

async fn migrate(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let first = Migration::new(
        1,
        "jobs releases witnesses".into(),
        MigrationType::Simple,
        MIGRATION.into_sql_str(),
        false,
    );
    let migrator = Migrator::with_migrations(vec![first]);
    Ok(migrator.run(connection).await?)
}

enum Change {
    CloseInterrupted,
    OpenJob {
        id: String,
        requester: String,
        permit: String,
        request: String,
    },
    Release {
        summary: Box<ReleaseSummary>,
        requester: String,
        body: String,
    },
    Fail {
        id: String,
        problem: String,
    },
    Witness {
        node: String,
        sequence: i64,
        hash: String,
    },
}

impl Change {
    async fn run(self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        match self {
            Self::CloseInterrupted => close_interrupted(connection).await,
            Self::OpenJob {
                id,
                requester,
                permit,
                request,
            } => {
                let insert = sqlx::query(
                    "INSERT INTO jobs (id, requester, permit, request, opened_at, state)
                     VALUES (?, ?, ?, ?, ?, 'running')",
                );
                let job = insert.bind(id).bind(requester).bind(permit).bind(request);
                job.bind(text(Utc::now())).execute(connection).await?;
                Ok(())
            }
            Self::Release {
                summary,
                requester,
                body,
            } => insert_release(connection, &summary, requester, body).await,
            Self::Fail { id, problem } => {
                let fail = "UPDATE jobs SET state = 'failed', problem = ? WHERE id = ?";
                let fail = sqlx::query(fail).bind(problem).bind(id);
                fail.execute(connection).await?;
                Ok(())
            }
            Self::Witness {
                node,
                sequence,
                hash,
            } => {
                let upsert = sqlx::query(UPSERT_WITNESS).bind(node).bind(sequence);
                let upsert = upsert.bind(hash).bind(text(Utc::now()));
                upsert.execute(connection).await?;
                Ok(())
            }
        }
    }
}

const UPSERT_WITNESS: &str = "INSERT INTO witnesses (node, sequence, hash, seen_at)
    VALUES (?, ?, ?, ?)
    ON CONFLICT (node) DO UPDATE
    SET sequence = excluded.sequence, hash = excluded.hash, seen_at = excluded.seen_at
    WHERE excluded.sequence > sequence";

async fn close_interrupted(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let why = Problem::new(
        ErrorCode::Internal,
        "the coordinator stopped while the ask was under way",
        "Ask again: nodes that answered answer the same at no cost.",
    );
    let why = serde_json::to_string(&why).map_err(|e| sqlx::Error::Encode(e.into()))?;
    let close = "UPDATE jobs SET state = 'failed', problem = ? WHERE state = 'running'";
    sqlx::query(close).bind(why).execute(connection).await?;
    Ok(())
}

async fn insert_release(
    connection: &mut SqliteConnection,
    summary: &ReleaseSummary,
    requester: String,
    body: String,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO releases (id, requester, permit, template, created_at, body)
         VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(summary.id.to_string())
    .bind(requester)
    .bind(summary.permit.to_string())
    .bind(summary.template.hash.to_string())
    .bind(text(summary.created_at))
    .bind(body)
    .execute(&mut *connection)
    .await?;
    sqlx::query("UPDATE jobs SET state = 'released' WHERE id = ?")
        .bind(summary.id.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

fn text(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn parse<T: std::str::FromStr>(text: &str) -> Result<T, StoreError> {
    text.parse()
        .map_err(|_| StoreError::Content(text.to_owned()))
}

fn parse_sequence(sequence: i64) -> Result<u64, StoreError> {
    u64::try_from(sequence).map_err(|_| StoreError::Sequence)
}

/// Why the database can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It can't be opened.
    #[error("{}: can't be opened: {source}; check the directory, its permissions and the free space", file.display())]
    Open {
        /// The file.
        file: PathBuf,
        /// Why.
        source: sqlx::Error,
    },
    /// A statement failed.
    #[error("the database failed: {0}; check the free space and the permissions")]
    Sql(#[from] sqlx::Error),
    /// A stored document can't be read or written.
    #[error("a stored document can't be read: {0}; restore the database from a backup")]
    Json(#[from] serde_json::Error),
    /// A stored name can't be read.
    #[error("the database holds {0:?}, which can't be read; restore it from a backup")]
    Content(String),
    /// An audit log longer than can be.
    #[error("an audit head's sequence is out of range; ask the node's operator")]
    Sequence,
    /// The service is stopping.
    #[error("the coordinator is stopping; ask again later")]
    Stopped,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ada, meaning, no_parameters, node, noon, rho, template};
    use ward_schemas::ask::Question;
    use ward_schemas::canonical::ContentHash;
    use ward_schemas::delta::Delta;
    use ward_schemas::ehds::Purpose;
    use ward_schemas::release::RELEASE_FORMAT;
    use ward_schemas::wire::WIRE_FORMAT;

    fn request() -> AskRequest {
        AskRequest {
            v: WIRE_FORMAT,
            question: Question {
                template: template().reference(),
                parameters: no_parameters(),
                rho: None,
                purpose: Purpose::ScientificResearch,
            },
            permit: "token".into(),
            signature: None,
        }
    }

    fn release(id: ReleaseId) -> Release {
        Release {
            v: RELEASE_FORMAT,
            id,
            template: template().reference(),
            title: "Patients".into(),
            parameters: no_parameters(),
            permit: "P-1".parse().expect("permit"),
            requester: ada(),
            created_at: noon(2),
            rho: rho(),
            delta: Delta::ZERO,
            meaning: Some(meaning()),
            nodes: Vec::new(),
            tables: Vec::new(),
        }
    }

    async fn opened(dir: &Path) -> (Store, ReleaseId) {
        let store = Store::open(dir).await.expect("store");
        let id = ReleaseId::random().expect("randomness");
        let permit = "P-1".parse().expect("permit");
        let opened = store.open_job(id, &ada(), &permit, &request()).await;
        opened.expect("job");
        (store, id)
    }

    #[tokio::test]
    async fn a_release_is_its_requesters_alone_and_survives_a_restart() {
        let dir = tempfile::tempdir().expect("directory");
        let (store, id) = opened(dir.path()).await;
        let job = store.job(id, &ada()).await.expect("read");
        assert!(matches!(job, Some(JobState::Running)));
        store.release(&release(id)).await.expect("stored");
        drop(store);
        let store = Store::open(dir.path()).await.expect("store");
        let job = store.job(id, &ada()).await.expect("read");
        let Some(JobState::Released(found)) = job else {
            panic!("released: {job:?}");
        };
        assert_eq!(*found, release(id));
        let eve = "eve@uni.example".parse().expect("subject");
        assert!(store.job(id, &eve).await.expect("read").is_none());
        assert_eq!(store.releases(&ada()).await.expect("read").len(), 1);
        assert!(store.releases(&eve).await.expect("read").is_empty());
    }

    #[tokio::test]
    async fn jobs_that_a_crash_left_running_have_failed() {
        let dir = tempfile::tempdir().expect("directory");
        let (store, id) = opened(dir.path()).await;
        drop(store);
        let store = Store::open(dir.path()).await.expect("store");
        let job = store.job(id, &ada()).await.expect("read");
        assert!(matches!(job, Some(JobState::Failed(p)) if p.code == ErrorCode::Internal));
    }

    #[tokio::test]
    async fn witnesses_only_move_on() {
        let dir = tempfile::tempdir().expect("directory");
        let store = Store::open(dir.path()).await.expect("store");
        let head = |sequence: u64| AuditHead {
            sequence,
            hash: ContentHash::of_bytes(&sequence.to_le_bytes()),
        };
        for sequence in [3, 5, 4] {
            let kept = store.witness(&node("a"), head(sequence)).await;
            kept.expect("kept");
        }
        let seen = store.witnesses().await.expect("read");
        assert_eq!(seen[&node("a")], head(5));
    }
}
