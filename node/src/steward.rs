//! What a steward does: behind every command of `ward-node`, and for programs that play one.

use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;
use ward_data::{ImportReport, PersonKey, Progress};
use ward_schemas::canonical::ContentHash;
use ward_schemas::names::NodeName;
use ward_schemas::partial::AuditHead;
use ward_schemas::snapshot::SnapshotId;
use ward_schemas::template::TemplateRef;
use ward_schemas::wire::{Decision, OfferReply};

use crate::approvals::{self, ApprovalError, InboxEntry};
use crate::audit::{self, Event, Record, Verifier};
use crate::budget::{self, BudgetReport, PermitLine};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::cost::CostReport;
use crate::engine::Compiled;
use crate::error::NodeError;
use crate::keys;
use crate::ledger::{self, PermitAccount, Total};
use crate::state::State;
use crate::store::StoreError;

/// How many audit records are read at once.
const PAGE: u32 = 1000;

/// A node's state, opened for its steward; a service may run beside it.
pub struct Steward {
    state: State,
    user: String,
}

/// How a node is, for its steward.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Which node.
    pub node: NodeName,
    /// The active snapshot.
    pub snapshot: Option<SnapshotId>,
    /// The vocabulary package that the configuration names.
    pub vocabulary: Option<ContentHash>,
    /// Whether that package is there.
    pub vocabulary_present: bool,
    /// Templates that may be asked.
    pub approved: usize,
    /// Templates that wait for a decision.
    pub pending: usize,
    /// The audit log's head.
    pub audit: Option<AuditHead>,
}

/// A template as the steward sees it before deciding.
pub struct Shown {
    /// The inbox entry.
    pub entry: InboxEntry,
    /// What an ask of it costs, or why the engine refuses it.
    pub cost: Result<CostReport, ward_schemas::problem::Problem>,
}

impl Steward {
    /// Opens a node's state for the operating-system user of this process.
    ///
    /// # Errors
    /// When the state can't be used.
    pub async fn open(config: Config) -> Result<Self, NodeError> {
        Self::open_at(config, Arc::new(SystemClock)).await
    }

    /// Opens a node's state with a clock of one's own.
    ///
    /// # Errors
    /// When the state can't be used.
    pub async fn open_at(config: Config, clock: Arc<dyn Clock>) -> Result<Self, NodeError> {
        Ok(Self {
            state: State::open(config, clock).await?,
            user: user(),
        })
    }

    /// The node's configuration.
    pub fn config(&self) -> &Config {
        &self.state.config
    }

    /// Imports a folder of OMOP tables as a new snapshot, which becomes the active one when it is
    /// whole.
    ///
    /// # Errors
    /// When the folder can't be read or the snapshot can't be written.
    pub async fn import_omop(
        &self,
        source: &Path,
        progress: Arc<dyn Progress + Send>,
    ) -> Result<ImportReport, NodeError> {
        self.state.account_for_import().await?;
        let key = PersonKey::from_bytes(keys::secret(&self.state.config.keys.person)?);
        let (data, source) = (Arc::clone(&self.state.data), source.to_owned());
        let import =
            tokio::task::spawn_blocking(move || data.import_omop(&source, &key, &*progress));
        let report = import
            .await
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
        self.record(Event::Imported {
            snapshot: report.snapshot,
            by: self.user.clone(),
        })
        .await?;
        Ok(report)
    }

    /// Adds the vocabulary package from a file.
    ///
    /// # Errors
    /// When it isn't the package that the configuration names.
    pub async fn add_vocabulary(&self, file: &Path) -> Result<ContentHash, NodeError> {
        let vocabulary = self.state.shelf.add(file).await?;
        self.record(Event::VocabularyAdded {
            vocabulary,
            by: self.user.clone(),
        })
        .await?;
        Ok(vocabulary)
    }

    /// Puts a template into the inbox, as a coordinator's offer would.
    ///
    /// # Errors
    /// When the privacy engine refuses it.
    pub async fn offer(&self, source: String) -> Result<OfferReply, NodeError> {
        Ok(self.state.offer(source, self.user.clone()).await?)
    }

    /// The inbox.
    ///
    /// # Errors
    /// When the state can't be read.
    pub async fn templates(&self) -> Result<Vec<InboxEntry>, NodeError> {
        let mut db = self.state.store.read().await?;
        Ok(approvals::list(&mut db).await?)
    }

    /// One template, by `ID`, `ID@VERSION` or the start of its hash.
    ///
    /// # Errors
    /// When no or several templates are meant.
    pub async fn template(&self, selector: &str) -> Result<InboxEntry, NodeError> {
        Ok(approvals::select(self.templates().await?, selector)?)
    }

    /// One template with what it costs.
    ///
    /// # Errors
    /// When no or several templates are meant, or the vocabulary package isn't there.
    pub async fn show(&self, selector: &str) -> Result<Shown, NodeError> {
        let entry = self.template(selector).await?;
        let compiled = self.compile(&entry).await;
        let cost = compiled.map(|c| CostReport(c.plan().clone()));
        Ok(Shown { entry, cost })
    }

    /// Approves a template, if the privacy engine compiles it.
    ///
    /// # Errors
    /// When it can't be approved.
    pub async fn approve(&self, selector: &str) -> Result<TemplateRef, NodeError> {
        let entry = self.template(selector).await?;
        self.approve_entry(entry).await
    }

    /// Approves every template that waits for a decision.
    ///
    /// # Errors
    /// When one can't be approved; those before it are.
    pub async fn approve_all(&self) -> Result<Vec<TemplateRef>, NodeError> {
        let mut approved = Vec::new();
        for entry in self.templates().await? {
            if entry.decision == Decision::Pending {
                approved.push(self.approve_entry(entry).await?);
            }
        }
        Ok(approved)
    }

    /// Rejects a template that waits for a decision.
    ///
    /// # Errors
    /// When it doesn't.
    pub async fn reject(&self, selector: &str) -> Result<TemplateRef, NodeError> {
        let entry = self.template(selector).await?;
        self.decide(entry.template, Decision::Rejected).await
    }

    /// Withdraws an approval: at once, also for a service that runs.
    ///
    /// # Errors
    /// When the template isn't approved.
    pub async fn withdraw(&self, selector: &str) -> Result<TemplateRef, NodeError> {
        let entry = self.template(selector).await?;
        self.decide(entry.template, Decision::Withdrawn).await
    }

    /// Lets the ledger go by the clock again after a step longer than the policy's.
    ///
    /// # Errors
    /// When the state can't be written.
    pub async fn confirm_clock(&self) -> Result<DateTime<Utc>, NodeError> {
        Ok(self.state.store.confirm_clock(self.user.clone()).await?)
    }

    /// What was spent and what is left.
    ///
    /// # Errors
    /// When the ledger can't be read.
    pub async fn budget(&self) -> Result<BudgetReport, NodeError> {
        let now = self.state.store.now().await?;
        let mut db = self.state.store.read().await?;
        let (year, lifetime) = ledger::spent_by_all(&mut db, now).await?;
        let permits = ledger::by_permit(&mut db).await?;
        Ok(BudgetReport {
            node: self.state.config.name.clone(),
            policy: self.state.config.policy.clone(),
            year,
            lifetime,
            oldest_of_year: ledger::oldest_of_year(&mut db, now).await?,
            months: by_month(&mut db, now).await?,
            permits: permits.into_iter().map(permit_line).collect(),
        })
    }

    /// Reads the audit log to its end, a record at a time, without checking it.
    ///
    /// # Errors
    /// When it can't be read.
    pub async fn audit_records(&self, mut each: impl FnMut(Record)) -> Result<(), NodeError> {
        let unreadable = |e| StoreError::corrupt("audit record", &e);
        self.audit_pages(|stored| {
            each(serde_json::from_str(&stored.record).map_err(unreadable)?);
            Ok(())
        })
        .await
    }

    /// Verifies the audit log, and holds it against a head that a witness has kept.
    ///
    /// # Errors
    /// When a record was changed, removed or reordered, or the witness has seen more or other ones.
    pub async fn audit_verify(
        &self,
        witness: Option<AuditHead>,
    ) -> Result<Option<AuditHead>, NodeError> {
        let mut verifier = Verifier::new(witness);
        self.audit_pages(|stored| Ok(verifier.check(stored).map(drop)?))
            .await?;
        Ok(verifier.finish()?)
    }

    /// How the node is.
    ///
    /// # Errors
    /// When the state can't be read.
    pub async fn status(&self) -> Result<Status, NodeError> {
        let templates = self.templates().await?;
        let count = |decision| templates.iter().filter(|t| t.decision == decision).count();
        let mut db = self.state.store.read().await?;
        Ok(Status {
            node: self.state.config.name.clone(),
            snapshot: self.state.data.active()?.map(|s| s.id()),
            vocabulary: self.state.config.vocabulary.as_ref().map(|v| v.hash),
            vocabulary_present: self.state.shelf.loaded().is_some(),
            approved: count(Decision::Approved),
            pending: count(Decision::Pending),
            audit: audit::head(&mut db).await?,
        })
    }

    async fn approve_entry(&self, entry: InboxEntry) -> Result<TemplateRef, NodeError> {
        let compiled = self.compile(&entry).await.map_err(ApprovalError::Refused)?;
        if compiled.expanded().hash() != entry.template.hash {
            return Err(ApprovalError::OtherVocabulary(entry.template.hash).into());
        }
        self.decide(entry.template, Decision::Approved).await
    }

    async fn compile(
        &self,
        entry: &InboxEntry,
    ) -> Result<Arc<Compiled>, ward_schemas::problem::Problem> {
        let vocabulary = self.state.shelf.package()?;
        let programs = &self.state.programs;
        programs.compile(entry.source.clone(), vocabulary).await
    }

    async fn decide(
        &self,
        template: TemplateRef,
        decision: Decision,
    ) -> Result<TemplateRef, NodeError> {
        let by = self.user.clone();
        approvals::decide(&self.state.store, template.clone(), decision, by).await??;
        Ok(template)
    }

    async fn record(&self, event: Event) -> Result<(), NodeError> {
        let append = self
            .state
            .store
            .write(move |db, now: DateTime<Utc>| Box::pin(audit::append(db, now, event)));
        append.await?;
        Ok(())
    }

    async fn audit_pages(
        &self,
        mut each: impl FnMut(&audit::StoredRecord) -> Result<(), NodeError>,
    ) -> Result<(), NodeError> {
        let mut after = 0;
        loop {
            let mut db = self.state.store.read().await?;
            let page = audit::page(&mut db, after, PAGE).await?;
            page.iter().try_for_each(&mut each)?;
            match page.last() {
                Some(last) => after = last.sequence,
                None => return Ok(()),
            }
        }
    }
}

/// Every month that is listed, those without a charge too.
async fn by_month(
    db: &mut SqliteConnection,
    now: DateTime<Utc>,
) -> Result<Vec<(String, Total)>, StoreError> {
    let months = budget::months(now);
    let start = months.first().copied().unwrap_or(now);
    let mut charged = ledger::by_month(db, start).await?;
    let totals = months.into_iter().map(|month| {
        let name = budget::month_name(month);
        let total = charged.remove(&name).unwrap_or_default();
        (name, total)
    });
    Ok(totals.collect())
}

fn permit_line((account, total): (PermitAccount, Total)) -> PermitLine {
    PermitLine {
        access_body: account.access_body,
        permit: account.permit,
        total,
    }
}

/// The operating-system user of this process, for the audit: who decides must be known.
pub(crate) fn user() -> String {
    let sudo = std::env::var("SUDO_USER").ok();
    match (process_user(), sudo) {
        (user, Some(before)) => format!("{user} (sudo by {before})"),
        (user, None) => user,
    }
}

#[cfg(unix)]
fn process_user() -> String {
    use std::os::unix::fs::MetadataExt as _;
    let Ok(process) = std::fs::metadata("/proc/self") else {
        return environment_user();
    };
    let uid = process.uid().to_string();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| format!("uid {uid}"))
}

#[cfg(not(unix))]
fn process_user() -> String {
    environment_user()
}

fn environment_user() -> String {
    ["USER", "USERNAME", "LOGNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok())
        .unwrap_or_else(|| "unknown".to_owned())
}
