//! The node's durable state in SQLite: one writer, many readers.
//!
//! A single task owns the writing connection. Work reaches it over a channel and runs to its end
//! there, in one `BEGIN IMMEDIATE` transaction, so that a request that is dropped half-way can't
//! leave anything half done.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::BoxFuture;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _, SqlSafeStr as _, SqliteConnection};
use tokio::sync::{mpsc, oneshot};
use ward_schemas::partial::AuditHead;
use ward_schemas::problem::{ErrorCode, Problem};

use crate::audit::{self, Event};
use crate::clock::Clock;

const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
const READERS: u32 = 4;
const QUEUE: usize = 64;

/// The node's durable state.
#[derive(Clone)]
pub(crate) struct Store {
    writer: mpsc::Sender<Job>,
    readers: SqlitePool,
    clock: Arc<dyn Clock>,
    max_clock_step: TimeDelta,
}

type Job = Box<dyn for<'w> FnOnce(&'w mut Writer) -> BoxFuture<'w, ()> + Send>;

/// Where the state is, and by which time it goes.
pub(crate) struct Setup {
    pub(crate) file: PathBuf,
    pub(crate) head_file: Option<PathBuf>,
    pub(crate) clock: Arc<dyn Clock>,
    /// How far a time may be after the highest time seen.
    pub(crate) max_clock_step: TimeDelta,
}

impl Store {
    /// Makes a new, empty state; nothing but `init` may. Until its first record is written it
    /// can't be opened.
    pub(crate) async fn create(setup: Setup) -> Result<Self, StoreError> {
        if setup.file.exists() {
            return Err(StoreError::Exists(setup.file));
        }
        let (options, connection) = connect(&setup.file, true).await?;
        Ok(Self::start(setup, options, connection))
    }

    /// Opens the state of a node that was made. A missing or empty one is refused: it would
    /// forget what was spent.
    pub(crate) async fn open(setup: Setup) -> Result<Self, StoreError> {
        if !setup.file.exists() {
            return Err(StoreError::Missing(setup.file));
        }
        let (options, mut connection) = connect(&setup.file, false).await?;
        if audit::head(&mut connection).await?.is_none() {
            return Err(StoreError::Empty(setup.file));
        }
        Ok(Self::start(setup, options, connection))
    }

    fn start(setup: Setup, options: SqliteConnectOptions, connection: SqliteConnection) -> Self {
        let Setup {
            head_file,
            clock,
            max_clock_step,
            ..
        } = setup;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_lazy_with(options.clone().pragma("query_only", "on"));
        let (writer, jobs) = mpsc::channel(QUEUE);
        let task = Writer {
            options,
            connection: Some(connection),
            clock: Arc::clone(&clock),
            head_file: head_file.map(HeadFile),
        };
        tokio::spawn(task.run(jobs));
        Self {
            writer,
            readers,
            clock,
            max_clock_step,
        }
    }

    /// Runs `work` in one durable transaction, at the ledger's time, which is handed to it. On any
    /// error nothing is written.
    pub(crate) async fn write<T, W>(&self, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: for<'t> FnOnce(
                &'t mut SqliteConnection,
                DateTime<Utc>,
            ) -> BoxFuture<'t, Result<T, StoreError>>
            + Send
            + 'static,
    {
        self.write_within(self.max_clock_step, work).await
    }

    /// Takes the clock's time for the ledger's, however far it is after the highest time seen.
    pub(crate) async fn confirm_clock(&self, by: String) -> Result<DateTime<Utc>, StoreError> {
        let confirm = self.write_within(TimeDelta::MAX, move |db, now| {
            Box::pin(async move {
                audit::append(db, now, Event::ClockConfirmed { by }).await?;
                Ok(now)
            })
        });
        confirm.await
    }

    async fn write_within<T, W>(&self, max_step: TimeDelta, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: for<'t> FnOnce(
                &'t mut SqliteConnection,
                DateTime<Utc>,
            ) -> BoxFuture<'t, Result<T, StoreError>>
            + Send
            + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |writer| {
            Box::pin(async move {
                let result = writer.transact(max_step, work).await;
                // Whoever asked may have gone; what is written stays written.
                let _ = reply.send(result);
            })
        });
        self.writer
            .send(job)
            .await
            .map_err(|_| StoreError::Stopped)?;
        answer.await.map_err(|_| StoreError::Stopped)?
    }

    /// A connection that can only read.
    pub(crate) async fn read(
        &self,
    ) -> Result<sqlx::pool::PoolConnection<sqlx::Sqlite>, StoreError> {
        Ok(self.readers.acquire().await?)
    }

    /// The time, never before a time at which anything was written.
    pub(crate) async fn now(&self) -> Result<DateTime<Utc>, StoreError> {
        let mut db = self.read().await?;
        let highest = highest_time(&mut db).await?;
        ledger_time(self.clock.now(), highest, self.max_clock_step)
    }
}

async fn connect(
    file: &Path,
    create: bool,
) -> Result<(SqliteConnectOptions, SqliteConnection), StoreError> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(create)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT);
    let open = |source| StoreError::Open {
        file: file.to_owned(),
        source,
    };
    let mut connection = options.connect().await.map_err(open)?;
    migrations()
        .run(&mut connection)
        .await
        .map_err(|e| open(e.into()))?;
    Ok((options.create_if_missing(false), connection))
}

fn migrations() -> Migrator {
    let scripts = [
        ("state", include_str!("../migrations/0001_state.sql")),
        ("delta", include_str!("../migrations/0002_delta.sql")),
    ];
    let migrations = (1..).zip(scripts).map(|(version, (name, sql))| {
        let sql = sql.into_sql_str();
        Migration::new(version, name.into(), MigrationType::Simple, sql, false)
    });
    Migrator::with_migrations(migrations.collect())
}

struct Writer {
    options: SqliteConnectOptions,
    connection: Option<SqliteConnection>,
    clock: Arc<dyn Clock>,
    head_file: Option<HeadFile>,
}

impl Writer {
    async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(job) = jobs.recv().await {
            job(&mut self).await;
        }
    }

    async fn transact<T, W>(&mut self, max_step: TimeDelta, work: W) -> Result<T, StoreError>
    where
        W: for<'t> FnOnce(
            &'t mut SqliteConnection,
            DateTime<Utc>,
        ) -> BoxFuture<'t, Result<T, StoreError>>,
    {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.options.connect().await?,
        };
        match transaction(&mut connection, self.clock.now(), max_step, work).await {
            Ok((value, head)) => {
                self.export(&mut connection, head).await;
                self.connection = Some(connection);
                Ok(value)
            }
            Err(error) => {
                // SQLite may have rolled back by itself, or not: a new connection knows.
                let _ = connection.close().await;
                Err(error)
            }
        }
    }

    async fn export(&self, db: &mut SqliteConnection, head: Option<AuditHead>) {
        if let (Some(file), Some(head)) = (&self.head_file, head)
            && let Err(error) = file.advance(db, head).await
        {
            tracing::error!(%error, "the audit head can't be exported");
        }
    }
}

async fn transaction<T, W>(
    connection: &mut SqliteConnection,
    system_time: DateTime<Utc>,
    max_step: TimeDelta,
    work: W,
) -> Result<(T, Option<AuditHead>), StoreError>
where
    W: for<'t> FnOnce(
        &'t mut SqliteConnection,
        DateTime<Utc>,
    ) -> BoxFuture<'t, Result<T, StoreError>>,
{
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let now = ledger_time(system_time, highest_time(&mut transaction).await?, max_step)?;
    sqlx::query("UPDATE clock SET highest = ?")
        .bind(now.timestamp_micros())
        .execute(&mut *transaction)
        .await?;
    let value = work(&mut transaction, now).await?;
    let head = audit::head(&mut transaction).await?;
    transaction.commit().await?;
    Ok((value, head))
}

/// What the clock says, but never before the highest time seen; and refused far after it: a clock
/// that jumps would make every charge a year old.
fn ledger_time(
    clock: DateTime<Utc>,
    highest: DateTime<Utc>,
    max_step: TimeDelta,
) -> Result<DateTime<Utc>, StoreError> {
    let limit = highest.checked_add_signed(max_step);
    let is_new = highest == DateTime::UNIX_EPOCH;
    if is_new || limit.is_none_or(|limit| clock <= limit) {
        return Ok(to_micros(clock).max(highest));
    }
    Err(StoreError::ClockStep {
        clock,
        highest,
        days: max_step.num_days(),
    })
}

async fn highest_time(db: &mut SqliteConnection) -> Result<DateTime<Utc>, StoreError> {
    let micros: i64 = sqlx::query_scalar("SELECT highest FROM clock")
        .fetch_one(db)
        .await?;
    from_micros(micros)
}

/// A stored time.
pub(crate) fn from_micros(micros: i64) -> Result<DateTime<Utc>, StoreError> {
    DateTime::from_timestamp_micros(micros).ok_or_else(|| StoreError::corrupt("time", &micros))
}

/// Whole microseconds, as the store keeps them.
fn to_micros(time: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(time.timestamp_micros()).unwrap_or(time)
}

/// A file that holds the newest audit head, for a witness to keep.
pub(crate) struct HeadFile(pub(crate) PathBuf);

impl HeadFile {
    /// The head in the file; `None` where there is no file yet.
    pub(crate) fn read(&self) -> Result<Option<AuditHead>, HeadFileError> {
        match std::fs::read_to_string(&self.0) {
            Ok(text) => match audit::parse_head(&text) {
                Ok(head) => Ok(Some(head)),
                Err(_) => Err(HeadFileError::Content(self.0.clone())),
            },
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(self.unusable(e)),
        }
    }

    /// Puts a newer head of the same log into the file. A head that this log doesn't hold is a
    /// witness against it, and stays.
    async fn advance(
        &self,
        db: &mut SqliteConnection,
        head: AuditHead,
    ) -> Result<(), HeadFileError> {
        if let Some(seen) = self.read()? {
            if audit::hash_at(db, seen.sequence).await? != Some(seen.hash) {
                return Err(HeadFileError::Witness {
                    file: self.0.clone(),
                    sequence: seen.sequence,
                });
            }
            if seen.sequence >= head.sequence {
                return Ok(());
            }
        }
        self.write(head).map_err(|e| self.unusable(e))
    }

    fn write(&self, head: AuditHead) -> io::Result<()> {
        let dir = match self.0.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        let mut temporary = tempfile::NamedTempFile::new_in(dir)?;
        writeln!(temporary, "{}", audit::format_head(head))?;
        temporary.as_file().sync_all()?;
        temporary.persist(&self.0)?;
        Ok(())
    }

    fn unusable(&self, source: io::Error) -> HeadFileError {
        HeadFileError::File {
            file: self.0.clone(),
            source,
        }
    }
}

/// Why the file with the newest audit head can't be used.
#[derive(Debug, thiserror::Error)]
pub enum HeadFileError {
    /// It holds something else.
    #[error(
        "the head file {} holds no audit head; put the newest head that a witness has seen there, as SEQUENCE:HASH, or remove it if `ward-node audit verify --head` accepts every witness's",
        .0.display()
    )]
    Content(PathBuf),
    /// The log doesn't hold its head.
    #[error(
        "the head file {} has seen a record {sequence} that this node's audit log does not hold, and is kept; restore the node's newest state",
        file.display()
    )]
    Witness {
        /// The file.
        file: PathBuf,
        /// The record's number.
        sequence: u64,
    },
    /// It can't be read or written.
    #[error("the head file {} can't be read or written: {source}; check its path and owner", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The log can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why the durable state can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is none.
    #[error(
        "the node's state {} is missing, and a new one would forget what was spent; correct `data_dir`, or restore the directory from its newest backup",
        .0.display()
    )]
    Missing(PathBuf),
    /// It was never written, or emptied.
    #[error(
        "the node's state {} holds no audit record, so it is not the one that `ward-node init` made; restore the directory from its newest backup",
        .0.display()
    )]
    Empty(PathBuf),
    /// There is one where a new one should be.
    #[error("the state {} exists, and nothing is overwritten; choose another directory", .0.display())]
    Exists(PathBuf),
    /// It can't be opened.
    #[error(
        "the node's state {} can't be opened: {source}; check that the directory exists, belongs to this user and has free space",
        file.display()
    )]
    Open {
        /// The file.
        file: PathBuf,
        /// Why.
        source: sqlx::Error,
    },
    /// SQLite failed: the disk is full, most of the time.
    #[error("the node's state can't be read or written: {0}; check the disk's free space")]
    Database(#[from] sqlx::Error),
    /// What is stored is not what was written.
    #[error("a stored {what} can't be read: {detail}; restore the state from a backup")]
    Corrupt {
        /// What.
        what: &'static str,
        /// Why.
        detail: String,
    },
    /// The clock is far after the highest time seen.
    #[error(
        "the clock says {clock}, more than {days} days (policy.max_clock_step_days) after {highest}, the last time that the ledger has seen; correct the clock or, if it is right, confirm it with `ward-node clock confirm`"
    )]
    ClockStep {
        /// What the clock says.
        clock: DateTime<Utc>,
        /// The highest time seen.
        highest: DateTime<Utc>,
        /// The longest step, in days.
        days: i64,
    },
    /// The writer is gone.
    #[error("the node's state is closed: the service is stopping; ask again when it is back")]
    Stopped,
}

impl StoreError {
    pub(crate) fn corrupt(what: &'static str, why: &dyn Display) -> Self {
        Self::Corrupt {
            what,
            detail: why.to_string(),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "the ledger is unavailable");
        if let StoreError::ClockStep { .. } = error {
            return Self::new(
                ErrorCode::LedgerUnavailable,
                "the node's clock has jumped, so nothing was charged and nothing leaves",
                "Ask again later; the hospital's steward must correct the clock, or confirm it with `ward-node clock confirm`.",
            );
        }
        Self::new(
            ErrorCode::LedgerUnavailable,
            "the node's ledger can't be read or written, so nothing was charged and nothing leaves",
            "Ask again later; the hospital's operator must free disk space or restore the ledger.",
        )
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use ward_schemas::delta::Delta;

    use super::*;
    use crate::ledger;

    struct Given(Mutex<DateTime<Utc>>);

    impl Clock for Given {
        fn now(&self) -> DateTime<Utc> {
            *self.0.lock().expect("unpoisoned")
        }
    }

    fn setup(dir: &Path, clock: Arc<Given>) -> Setup {
        Setup {
            file: dir.join("state.db"),
            head_file: None,
            clock,
            max_clock_step: TimeDelta::days(30),
        }
    }

    #[tokio::test]
    async fn a_clock_that_jumps_is_confirmed_or_refused() {
        const DAY: i64 = 86_400;
        let dir = tempfile::tempdir().expect("a directory");
        let clock = Arc::new(Given(Mutex::new(at(1000))));
        let set = |seconds| *clock.0.lock().expect("unpoisoned") = at(seconds);
        let store = Store::create(setup(dir.path(), Arc::clone(&clock))).await;
        let store = store.expect("a store");
        let write = || store.write(|db, now| Box::pin(audit::append(db, now, event())));
        write().await.expect("a record");
        set(1000 + 30 * DAY);
        write().await.expect("a month later");
        set(1001 + 60 * DAY);
        for refused in [write().await.map(drop), store.now().await.map(drop)] {
            let refused = refused.expect_err("a jump");
            assert!(matches!(refused, StoreError::ClockStep { .. }), "{refused}");
            let problem = Problem::from(refused);
            assert_eq!(problem.code, ErrorCode::LedgerUnavailable);
            assert!(problem.remedy.contains("clock confirm"), "{problem}");
        }
        set(1000 + 31 * DAY);
        write()
            .await
            .expect("the clock was corrected, and nothing is lost");
        set(1000 + 400 * DAY);
        let confirmed = store.confirm_clock("steward".into()).await;
        assert_eq!(confirmed.expect("confirmed"), at(1000 + 400 * DAY));
        write().await.expect("after the confirmation");
        let mut db = store.read().await.expect("a connection");
        let log = audit::page(&mut db, 0, 10).await.expect("the log");
        assert_eq!(log.len(), 5);
        assert!(
            log[3].record.contains("clock-confirmed"),
            "{}",
            log[3].record
        );
    }

    #[tokio::test]
    async fn only_a_state_that_was_made_can_be_opened() {
        let dir = tempfile::tempdir().expect("a directory");
        let clock = Arc::new(Given(Mutex::new(at(1000))));
        let open = || Store::open(setup(dir.path(), Arc::clone(&clock)));
        let create = || Store::create(setup(dir.path(), Arc::clone(&clock)));
        let missing = open().await.err().expect("nothing there");
        assert!(matches!(missing, StoreError::Missing(_)), "{missing}");
        assert!(missing.to_string().contains("newest backup"), "{missing}");
        assert!(!dir.path().join("state.db").exists(), "nothing was made");
        let store = create().await.expect("a store");
        let empty = open().await.err().expect("no record");
        assert!(matches!(empty, StoreError::Empty(_)), "{empty}");
        assert!(empty.to_string().contains("newest backup"), "{empty}");
        store
            .write(|db, now| Box::pin(audit::append(db, now, event())))
            .await
            .expect("a record");
        open().await.expect("the store");
        let exists = create().await.err().expect("there is one");
        assert!(matches!(exists, StoreError::Exists(_)), "{exists}");
    }

    /// A state as the first version of this crate made it, with one charge.
    async fn old_state(file: &Path) {
        let options = SqliteConnectOptions::new().filename(file);
        let mut db = options
            .create_if_missing(true)
            .connect()
            .await
            .expect("a file");
        let mut first = migrations();
        first.migrations.to_mut().truncate(1);
        first.run(&mut db).await.expect("the first tables");
        audit::append(&mut db, at(1000), event())
            .await
            .expect("a record");
        let charge =
            "INSERT INTO charge VALUES ('a', 'q', 's', 'Body', 'P-1', 5, ?, 'charged', NULL, NULL)";
        let charged = sqlx::query(charge).bind(at(1000).timestamp_micros());
        charged.execute(&mut db).await.expect("a charge");
        db.close().await.expect("written");
    }

    #[tokio::test]
    async fn an_older_state_keeps_its_charges() {
        let dir = tempfile::tempdir().expect("a directory");
        let clock = Arc::new(Given(Mutex::new(at(1000))));
        old_state(&dir.path().join("state.db")).await;
        let store = Store::open(setup(dir.path(), clock)).await;
        let mut db = store
            .expect("the store")
            .read()
            .await
            .expect("a connection");
        let (year, lifetime) = ledger::spent_by_all(&mut db, at(1000)).await.expect("sums");
        assert_eq!((year.asks, year.loss.rho.units()), (1, 5));
        assert_eq!(lifetime.loss.delta, Delta::ZERO);
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).expect("in range")
    }

    fn event() -> Event {
        Event::Initialised {
            node: "a".parse().expect("a name"),
            by: "tests".into(),
        }
    }

    #[tokio::test]
    async fn the_clock_never_goes_back() {
        let dir = tempfile::tempdir().expect("a directory");
        let clock = Arc::new(Given(Mutex::new(at(1000))));
        let file = dir.path().join("state.db");
        let setup = || Setup {
            file: file.clone(),
            head_file: None,
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            max_clock_step: TimeDelta::days(30),
        };
        let store = Store::create(setup()).await.expect("a store");
        let now = |store: Store| async move {
            store
                .write(|_, now| Box::pin(async move { Ok(now) }))
                .await
                .expect("a time")
        };
        assert_eq!(now(store.clone()).await, at(1000));
        *clock.0.lock().expect("unpoisoned") = at(500);
        assert_eq!(now(store.clone()).await, at(1000));
        store
            .write(|db, now| Box::pin(audit::append(db, now, event())))
            .await
            .expect("a record");
        drop(store);
        let store = Store::open(setup()).await.expect("the store again");
        assert_eq!(store.now().await.expect("a time"), at(1000));
        assert_eq!(now(store).await, at(1000));
    }

    #[tokio::test]
    async fn a_full_disk_leaves_everything_as_it_was() {
        let dir = tempfile::tempdir().expect("a directory");
        let clock = Arc::new(Given(Mutex::new(at(1000))));
        let store = Store::create(setup(dir.path(), clock))
            .await
            .expect("a store");
        let before = store
            .write(|db, now| Box::pin(audit::append(db, now, event())))
            .await
            .expect("a record");
        let full = store
            .write(|db, now| {
                Box::pin(async move {
                    audit::append(&mut *db, now, event()).await?;
                    sqlx::query("PRAGMA max_page_count = 1")
                        .execute(&mut *db)
                        .await?;
                    sqlx::query("INSERT INTO audit VALUES (99, hex(zeroblob(1000000)), 'x')")
                        .execute(db)
                        .await?;
                    Ok(())
                })
            })
            .await
            .expect_err("no room");
        assert!(full.to_string().contains("full"), "{full}");
        assert_eq!(Problem::from(full).code, ErrorCode::LedgerUnavailable);
        let mut db = store.read().await.expect("a connection");
        let after = audit::head(&mut db).await.expect("a head");
        assert_eq!(after, Some(before));
        store
            .write(|db, now| Box::pin(audit::append(db, now, event())))
            .await
            .expect("writes go on when there is room again");
    }

    #[tokio::test]
    async fn work_goes_on_when_whoever_asked_is_gone() {
        let dir = tempfile::tempdir().expect("a directory");
        let clock = Arc::new(Given(Mutex::new(at(1000))));
        let store = Store::create(setup(dir.path(), clock))
            .await
            .expect("a store");
        let (started, begun) = oneshot::channel();
        let (go_on, wait) = oneshot::channel::<()>();
        let other = store.clone();
        let asking = tokio::spawn(async move {
            other
                .write(move |db, now| {
                    Box::pin(async move {
                        let _ = started.send(());
                        let _ = wait.await;
                        audit::append(db, now, event()).await
                    })
                })
                .await
        });
        begun.await.expect("the work began");
        asking.abort();
        go_on.send(()).expect("the work waits");
        let head = store
            .write(|db, _| Box::pin(audit::head(db)))
            .await
            .expect("a head");
        assert_eq!(head.map(|h| h.sequence), Some(1));
    }

    #[tokio::test]
    async fn the_head_file_follows_the_log() {
        let dir = tempfile::tempdir().expect("a directory");
        let head_file = dir.path().join("head");
        let clock = Arc::new(Given(Mutex::new(at(1000))));
        let store = Store::create(Setup {
            head_file: Some(head_file.clone()),
            ..setup(dir.path(), clock)
        });
        let store = store.await.expect("a store");
        let head = store
            .write(|db, now| Box::pin(audit::append(db, now, event())))
            .await
            .expect("a record");
        // The export comes after the commit; the next transaction comes after the export.
        store
            .write(|_, _| Box::pin(async { Ok(()) }))
            .await
            .expect("a transaction");
        assert_eq!(HeadFile(head_file).read().expect("a file"), Some(head));
    }
}
