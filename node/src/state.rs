//! What the service and the steward's commands share: configuration, store, data, vocabulary.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ward_data::Snapshot;
use ward_schemas::problem::{ErrorCode, Problem};
use ward_schemas::snapshot::SnapshotId;
use ward_schemas::template::{Template, TemplateRef};
use ward_schemas::wire::{Decision, OfferReply, TemplateSummary, WIRE_FORMAT};

use crate::approvals::{self, Programs, Standings};
use crate::audit::{self, Event};
use crate::clock::Clock;
use crate::config::Config;
use crate::error::NodeError;
use crate::store::{Setup, Store};
use crate::vocabulary::Shelf;

/// A node's state on disk, opened.
pub(crate) struct State {
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) data: Arc<ward_data::Store>,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) programs: Programs,
}

impl State {
    /// Opens the state that a configuration names.
    pub(crate) async fn open(config: Config, clock: Arc<dyn Clock>) -> Result<Self, NodeError> {
        let dir = &config.data_dir;
        let setup = Setup {
            file: state_file(dir),
            head_file: config.audit.head_file.clone(),
            clock,
            max_clock_step: config.policy.max_clock_step(),
        };
        let store = Store::open(setup).await?;
        keep_private(dir);
        let data = ward_data::Store::open(dir)?;
        let wanted = config.vocabulary.as_ref().map(|v| v.hash);
        let shelf = Arc::new(Shelf::new(dir.join("vocabulary"), wanted));
        shelf.load().await?;
        Ok(Self {
            config,
            store,
            data: Arc::new(data),
            shelf,
            programs: Programs::default(),
        })
    }

    /// Where a template stands.
    pub(crate) async fn standing(&self, asked: &TemplateRef) -> Result<Standings, Problem> {
        let vocabulary = self.shelf.package()?;
        let mut db = self.store.read().await?;
        approvals::standing(&mut db, &self.programs, vocabulary, asked).await
    }

    /// Takes a template into the inbox.
    pub(crate) async fn offer(&self, source: String, by: String) -> Result<OfferReply, Problem> {
        let vocabulary = self.shelf.package()?;
        let compiled = self.programs.compile(source.clone(), vocabulary).await?;
        let template = compiled.expanded().reference();
        let decision = approvals::offer(&self.store, template.clone(), source, by).await??;
        Ok(OfferReply {
            v: WIRE_FORMAT,
            template,
            decision,
        })
    }

    /// The approved templates that can be asked.
    pub(crate) async fn approved(&self) -> Result<Vec<TemplateSummary>, Problem> {
        let mut db = self.store.read().await?;
        let entries = approvals::list(&mut db).await?;
        Ok(entries
            .into_iter()
            .filter(|e| e.decision == Decision::Approved)
            .filter_map(|e| {
                let template = Template::parse(&e.source).ok()?;
                Some(TemplateSummary::new(&template, e.template))
            })
            .collect())
    }

    /// The active snapshot.
    ///
    /// # Errors
    /// [`ErrorCode::NodeNotReady`] when there is none, or none that is whole.
    pub(crate) async fn active_snapshot(&self) -> Result<Snapshot, Problem> {
        self.on_disk(|data| data.active())
            .await?
            .ok_or_else(|| not_ready("this node has no data yet"))
    }

    /// Audits an active snapshot of which no record tells: its import ended before its record.
    pub(crate) async fn account_for_import(&self) -> Result<(), NodeError> {
        let Ok(snapshot) = self.active_snapshot().await else {
            return Ok(());
        };
        let snapshot = snapshot.id();
        let mut db = self.store.read().await?;
        if !audit::tells_of(&mut db, snapshot).await? {
            let event = Event::Found { snapshot };
            let append = self
                .store
                .write(move |db, now| Box::pin(audit::append(db, now, event)));
            append.await?;
        }
        Ok(())
    }

    /// All snapshots that are there.
    pub(crate) async fn snapshots(&self) -> Result<Vec<SnapshotId>, Problem> {
        self.on_disk(|data| data.list()).await
    }

    /// A snapshot by its identity, if it is still there.
    pub(crate) async fn snapshot(&self, id: SnapshotId) -> Result<Option<Snapshot>, Problem> {
        let open = move |data: &ward_data::Store| match data.list()?.contains(&id) {
            true => data.snapshot(id).map(Some),
            false => Ok(None),
        };
        self.on_disk(open).await
    }

    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ward_data::Store) -> Result<T, ward_data::StoreError> + Send + 'static,
    ) -> Result<T, Problem> {
        let data = Arc::clone(&self.data);
        let unusable = || not_ready("this node's data can't be opened");
        match tokio::task::spawn_blocking(move || work(&data)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                tracing::error!(%error, "the snapshots can't be opened");
                Err(unusable())
            }
            Err(_) => Err(unusable()),
        }
    }
}

/// Nobody but the service's user may see the directory.
fn keep_private(dir: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let private = std::fs::Permissions::from_mode(0o700);
        if let Err(error) = std::fs::set_permissions(dir, private) {
            tracing::warn!(%error, dir = %dir.display(), "others may be able to read data_dir; give it to the service's user alone");
        }
    }
}

/// The file with ledger, audit log and approvals.
pub(crate) fn state_file(data_dir: &Path) -> PathBuf {
    data_dir.join("state.db")
}

fn not_ready(detail: &str) -> Problem {
    Problem::new(
        ErrorCode::NodeNotReady,
        detail,
        "Ask again later; the steward must import data with `ward-node import omop DIR`.",
    )
}
