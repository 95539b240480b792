//! The way of an ask through the node: gate, replay or charge, run, release.
//!
//! One answer ever leaves for an ask. Asks of the same content take turns; the charge is durable
//! before data is touched, and the partial before it leaves. After a crash a retry finds the
//! charge and finishes under it.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use chrono::{DateTime, Utc};
use futures::FutureExt as _;
use tokio::sync::{OwnedMutexGuard, Semaphore};
use tokio::time::{Duration, Instant};
use ward_data::Snapshot;
use ward_data::vocabulary::Package;
use ward_privacy::{NoiseSource, NoisyVectors, SelectionKey};
use ward_schemas::ask::AskContent;
use ward_schemas::canonical::{CanonicalError, ContentHash};
use ward_schemas::jws::{MessageKind, SigningKey};
use ward_schemas::loss::Loss;
use ward_schemas::partial::{AuditHead, PARTIAL_FORMAT, PartialClaims, PartialEnvelope, Vectors};
use ward_schemas::problem::{ErrorCode, Problem};
use ward_schemas::snapshot::SnapshotId;
use ward_schemas::wire::{Quote, WIRE_FORMAT};

use crate::approvals::{self, Standings};
use crate::audit::{self, Call, Event, Who};
use crate::engine::{self, Compiled, Data};
use crate::gate::{self, Admitted, Caller, Known, Presented, Refusal, Rules};
use crate::ledger::{self, Answered, AskKey, Charge, Entry, PermitAccount};
use crate::state::State;
use crate::store::StoreError;
use crate::strangers::Strangers;

/// A point on an ask's way, for tests that stop a node there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The gate let the ask pass; nothing is charged.
    BeforeCharge,
    /// The charge is durable; no data was touched.
    AfterCharge,
    /// The noisy integers are there; nothing is stored.
    AfterNoise,
    /// The partial is stored; nothing has left.
    BeforeReply,
}

/// Told when an ask reaches a [`Stage`]; a hook for tests, absent in production.
pub trait Stages: Send + Sync {
    /// An ask reached a stage.
    fn reached(&self, stage: Stage);
}

/// A partial on its way out.
pub(crate) struct Reply {
    /// The signed envelope.
    pub(crate) envelope: String,
    /// The integers.
    pub(crate) vectors: Vectors,
    /// The template, whose plan gives them their layout.
    pub(crate) compiled: Arc<Compiled>,
}

/// What answers asks.
pub(crate) struct Answerer {
    pub(crate) state: State,
    pub(crate) rules: Rules,
    pub(crate) signing: SigningKey,
    pub(crate) selection: SelectionKey,
    pub(crate) noise: NoiseSource,
    pub(crate) stages: Option<Arc<dyn Stages>>,
    /// The head in the exported file when the node was opened.
    pub(crate) exported: Option<AuditHead>,
    pub(crate) turns: Turns,
    pub(crate) runs: Semaphore,
    pub(crate) ticks: Ticks,
    pub(crate) strangers: Strangers,
}

/// An ask that passed the gate, with what it needs to run.
struct Admission {
    admitted: Admitted,
    compiled: Arc<Compiled>,
    vocabulary: Arc<Package>,
}

/// What came of entering an ask into the ledger.
enum Entered {
    Charged {
        ask: ContentHash,
        snapshot: SnapshotId,
    },
    Answered(Box<Answered>, AuditHead),
    Refused(Problem),
}

impl Answerer {
    /// Says what an ask would cost, or why it would be refused. Costs nothing.
    pub(crate) async fn quote(&self, caller: &Caller, bytes: &[u8]) -> Result<Quote, Problem> {
        let admission = self.admit(Call::Quote, caller, bytes).await?;
        match self.price(&admission).await {
            Ok(quote) => Ok(quote),
            Err(problem) => {
                let who = admission.admitted.who;
                self.audit_refusal(Call::Quote, who, &problem, None).await;
                Err(problem)
            }
        }
    }

    /// Answers an ask. Runs to its end once it is polled to here by a task of its own: callers
    /// spawn it.
    pub(crate) async fn answer(&self, caller: &Caller, bytes: &[u8]) -> Result<Reply, Problem> {
        let admission = self.admit(Call::Ask, caller, bytes).await?;
        let result = self.answer_admitted(&admission).await;
        self.ticks.next().await;
        result
    }

    /// Audits a refusal; of a peer that is no coordinator, only now and then. Where it can't be
    /// written, the refusal stands all the same.
    pub(crate) async fn audit_refusal(
        &self,
        call: Call,
        who: Who,
        problem: &Problem,
        seen: Option<(PermitAccount, u32)>,
    ) {
        let mut detail = problem.detail.clone();
        if problem.code == ErrorCode::PeerNotTrusted {
            match self.strangers.audit(&who.peer, Instant::now()) {
                None => return,
                Some(0) => {}
                Some(more) => detail += &format!("; {more} such refusals before are not listed"),
            }
        }
        let event = Event::refused(call, who, problem.code, &detail);
        let written = self.state.store.write(move |db, now| {
            Box::pin(async move {
                if let Some((account, version)) = seen {
                    ledger::see_permit(&mut *db, &account, version).await?;
                }
                audit::append(db, now, event).await
            })
        });
        if let Err(error) = written.await {
            tracing::error!(%error, "a refusal can't be audited");
        }
    }

    async fn admit(&self, call: Call, caller: &Caller, bytes: &[u8]) -> Result<Admission, Problem> {
        match self.through_gate(caller, bytes).await {
            Ok(admission) => Ok(admission),
            Err(refusal) => {
                let Refusal {
                    problem,
                    who,
                    permit,
                } = *refusal;
                self.audit_refusal(call, who, &problem, permit).await;
                Err(problem)
            }
        }
    }

    async fn through_gate(&self, caller: &Caller, bytes: &[u8]) -> Result<Admission, Box<Refusal>> {
        let presented = gate::present(&self.rules, caller, bytes)?;
        let (known, now) = match self.look_up(&presented).await {
            Ok(found) => found,
            Err(problem) => return Err(presented.refused(problem)),
        };
        let facts = Known {
            newest_permit: known.newest_permit,
            witnessed: known.witnessed,
            standing: known.standings.for_gate(),
        };
        let admitted = gate::admit(&self.rules, presented, &facts, now)?;
        match known.standings {
            Standings::Approved(compiled) => Ok(Admission {
                admitted,
                compiled,
                vocabulary: known.vocabulary,
            }),
            // The gate admits approved templates only.
            _ => Err(Box::new(Refusal {
                problem: fault(),
                who: admitted.who,
                permit: None,
            })),
        }
    }

    async fn look_up(&self, presented: &Presented) -> Result<(Found, DateTime<Utc>), Problem> {
        let vocabulary = self.state.shelf.package()?;
        let standings = self.state.standing(presented.template()).await?;
        let account = PermitAccount::of(presented.permit());
        let now = self.state.store.now().await?;
        let mut db = self.state.store.read().await?;
        let mut witnessed = Vec::new();
        for seen in presented.witness().into_iter().chain(self.exported) {
            let own = audit::hash_at(&mut db, seen.sequence).await?;
            witnessed.push((seen, own));
        }
        let found = Found {
            newest_permit: ledger::newest_permit(&mut db, &account).await?,
            witnessed,
            standings,
            vocabulary,
        };
        Ok((found, now))
    }

    async fn price(&self, admission: &Admission) -> Result<Quote, Problem> {
        let Admission {
            admitted, compiled, ..
        } = admission;
        let (key, snapshots) = self.key(admission).await?;
        let account = PermitAccount::of(&admitted.permit);
        let now = self.state.store.now().await?;
        let mut db = self.state.store.read().await?;
        let spent = ledger::spent(&mut db, &account, now).await?;
        let budget = admitted.permit.loss();
        let charge = match ledger::find(&mut db, key, &snapshots).await? {
            Entry::New => {
                let policy = &self.state.config.policy;
                ledger::decide(&spent, policy, budget, admitted.loss)?;
                admitted.loss
            }
            Entry::Charged { .. } | Entry::Answered(_) => Loss::ZERO,
        };
        Ok(Quote {
            v: WIRE_FORMAT,
            node: self.rules.node.clone(),
            plan: compiled.plan().clone(),
            loss: admitted.loss,
            meaning: engine::stated(admitted.loss),
            charge,
            permit_left: budget.saturating_sub(spent.permit.loss),
        })
    }

    async fn answer_admitted(&self, admission: &Admission) -> Result<Reply, Problem> {
        let (key, snapshots) = match self.key(admission).await {
            Ok(found) => found,
            Err(problem) => {
                let who = admission.admitted.who.clone();
                self.audit_refusal(Call::Ask, who, &problem, None).await;
                return Err(problem);
            }
        };
        let _turn = self.turns.take(key.question).await;
        self.reached(Stage::BeforeCharge);
        match self.enter(admission, key, snapshots).await? {
            Entered::Refused(problem) => Err(problem),
            Entered::Answered(answered, head) => self.reply(admission, &answered, head),
            Entered::Charged { ask, snapshot } => {
                self.reached(Stage::AfterCharge);
                self.finish(admission, ask, snapshot).await
            }
        }
    }

    /// The ask's identity on the active snapshot, and all snapshots that are there.
    async fn key(&self, admission: &Admission) -> Result<(AskKey, Vec<SnapshotId>), Problem> {
        let key = ask_key(admission, self.state.active_snapshot().await?.id())?;
        Ok((key, self.state.snapshots().await?))
    }

    /// In one transaction: checks that the template is still approved; finds the stored partial, or
    /// the charge of an ask that was never answered, or charges; and audits which.
    async fn enter(
        &self,
        admission: &Admission,
        key: AskKey,
        snapshots: Vec<SnapshotId>,
    ) -> Result<Entered, StoreError> {
        let admitted = admission.admitted.clone();
        let policy = self.state.config.policy.clone();
        let entered = self.state.store.write(move |db, now| {
            Box::pin(async move {
                let account = PermitAccount::of(&admitted.permit);
                ledger::see_permit(&mut *db, &account, admitted.permit.version).await?;
                let who = admitted.who.clone();
                let asked = &admitted.question.template;
                if let Err(problem) = approvals::still_approved(&mut *db, asked).await? {
                    let event = Event::refused(Call::Ask, who, problem.code, &problem.detail);
                    audit::append(db, now, event).await?;
                    return Ok(Entered::Refused(problem));
                }
                match ledger::find(&mut *db, key, &snapshots).await? {
                    Entry::Answered(answered) => {
                        let ask = answered.claims.ask;
                        let head = audit::append(db, now, Event::Replayed { ask, who }).await?;
                        Ok(Entered::Answered(answered, head))
                    }
                    Entry::Charged { ask, snapshot } => {
                        audit::append(db, now, Event::Resumed { ask, who }).await?;
                        Ok(Entered::Charged { ask, snapshot })
                    }
                    Entry::New => charge(db, now, &admitted, &policy, key, account).await,
                }
            })
        });
        entered.await
    }

    /// Runs a charged ask to its end. From here on every failure is the same one.
    async fn finish(
        &self,
        admission: &Admission,
        ask: ContentHash,
        snapshot: SnapshotId,
    ) -> Result<Reply, Problem> {
        let computed = AssertUnwindSafe(self.compute(admission, snapshot)).catch_unwind();
        let computed = computed
            .await
            .unwrap_or_else(|_| Err("the privacy engine panicked".to_owned()));
        if computed.is_ok() {
            self.reached(Stage::AfterNoise);
        }
        // What others can see of the outcome, from the record's time on, moves at ticks.
        self.ticks.next().await;
        let released = match computed {
            Ok(noisy) => self.release(admission, ask, snapshot, &noisy).await,
            Err(reason) => Err(reason),
        };
        match released {
            Ok((answered, head)) => {
                self.reached(Stage::BeforeReply);
                self.reply(admission, &answered, head)
            }
            Err(reason) => {
                tracing::error!(%ask, %reason, "a charged ask failed");
                self.audit_failure(ask, admission.admitted.who.clone())
                    .await;
                Err(answer_failed())
            }
        }
    }

    async fn compute(&self, admission: &Admission, id: SnapshotId) -> Result<NoisyVectors, String> {
        let snapshot: Snapshot = self
            .state
            .snapshot(id)
            .await
            .map_err(|problem| problem.to_string())?
            .ok_or_else(|| format!("the snapshot {id} is gone"))?;
        let _run = self.runs.acquire().await.map_err(|e| e.to_string())?;
        let data = Data {
            snapshot: &snapshot,
            vocabulary: &admission.vocabulary,
            selection_key: &self.selection,
        };
        let Admitted {
            parameters, loss, ..
        } = &admission.admitted;
        admission
            .compiled
            .run(parameters, loss.rho, &data, &self.noise)
            .await
            .map_err(|error| error.to_string())
    }

    /// Stores the partial and its audit record in one transaction. If another partial is stored
    /// already, that one is the answer.
    async fn release(
        &self,
        admission: &Admission,
        ask: ContentHash,
        snapshot: SnapshotId,
        noisy: &NoisyVectors,
    ) -> Result<(Box<Answered>, AuditHead), String> {
        let digest = noisy.vectors.digest();
        let answered = Box::new(Answered {
            claims: PartialClaims {
                v: PARTIAL_FORMAT,
                node: self.rules.node.clone(),
                ask,
                plan: admission.compiled.plan_hash(),
                snapshot,
                rho: admission.admitted.loss.rho,
                noise: noisy.noise,
                digest,
            },
            vectors: noisy.vectors.to_bytes(),
        });
        let who = admission.admitted.who.clone();
        let key = ask_key(admission, snapshot).map_err(|p| p.to_string())?;
        let written = self.state.store.write(move |db, now| {
            Box::pin(async move {
                if ledger::answer(&mut *db, &answered).await? {
                    let event = Event::Answered { ask, who, digest };
                    return Ok((answered, audit::append(db, now, event).await?));
                }
                match ledger::find(&mut *db, key, &[]).await? {
                    Entry::Answered(earlier) => {
                        let event = Event::Replayed { ask, who };
                        Ok((earlier, audit::append(db, now, event).await?))
                    }
                    _ => Err(StoreError::corrupt("charge", &"it is gone")),
                }
            })
        });
        written.await.map_err(|error| error.to_string())
    }

    fn reply(
        &self,
        admission: &Admission,
        answered: &Answered,
        audit: AuditHead,
    ) -> Result<Reply, Problem> {
        let envelope = PartialEnvelope {
            claims: answered.claims.clone(),
            audit,
        };
        let compiled = Arc::clone(&admission.compiled);
        let vectors = Vectors::from_bytes(compiled.plan(), &answered.vectors);
        let signed = self.signing.sign(MessageKind::Partial, &envelope);
        match (vectors, signed) {
            (Ok(vectors), Ok(envelope)) if answered.claims.plan == compiled.plan_hash() => {
                Ok(Reply {
                    envelope,
                    vectors,
                    compiled,
                })
            }
            _ => Err(answer_failed()),
        }
    }

    async fn audit_failure(&self, ask: ContentHash, who: Who) {
        let event = Event::Failed { ask, who };
        let written = self
            .state
            .store
            .write(move |db, now| Box::pin(audit::append(db, now, event)));
        if let Err(error) = written.await {
            tracing::error!(%error, "a failure can't be audited");
        }
    }

    fn reached(&self, stage: Stage) {
        if let Some(stages) = &self.stages {
            stages.reached(stage);
        }
    }
}

struct Found {
    newest_permit: Option<u32>,
    witnessed: Vec<(AuditHead, Option<ContentHash>)>,
    standings: Standings,
    vocabulary: Arc<Package>,
}

async fn charge(
    db: &mut sqlx::SqliteConnection,
    now: DateTime<Utc>,
    admitted: &Admitted,
    policy: &crate::config::Policy,
    key: AskKey,
    account: PermitAccount,
) -> Result<Entered, StoreError> {
    let who = admitted.who.clone();
    let spent = ledger::spent(&mut *db, &account, now).await?;
    if let Err(problem) = ledger::decide(&spent, policy, admitted.permit.loss(), admitted.loss) {
        let event = Event::refused(Call::Ask, who, problem.code, &problem.detail);
        audit::append(db, now, event).await?;
        return Ok(Entered::Refused(problem));
    }
    let charge = Charge {
        loss: admitted.loss,
        at: now,
        account,
    };
    ledger::charge(&mut *db, key, &charge).await?;
    let event = Event::Charged {
        ask: key.ask,
        who,
        permit_version: admitted.permit.version,
        template: admitted.question.template.clone(),
        parameters: admitted
            .parameters
            .iter()
            .map(|(name, value)| (name.clone(), value.to_string()))
            .collect(),
        purpose: admitted.question.purpose,
        rho: admitted.loss.rho,
        delta: admitted.loss.delta,
        snapshot: key.snapshot,
    };
    audit::append(db, now, event).await?;
    Ok(Entered::Charged {
        ask: key.ask,
        snapshot: key.snapshot,
    })
}

fn ask_key(admission: &Admission, snapshot: SnapshotId) -> Result<AskKey, Problem> {
    let Admission {
        admitted, compiled, ..
    } = admission;
    let content = AskContent {
        template: admitted.question.template.hash,
        engine: compiled.plan().engine.clone(),
        vocabulary: compiled.plan().vocabulary,
        parameters: admitted.parameters.clone(),
        rho: admitted.loss.rho,
        snapshot,
        opt_out_cutoff: admitted.permit.issued_at.date_naive(),
        opt_out_exception: false,
    };
    let without_identity = |e: CanonicalError| {
        Problem::new(
            ErrorCode::ParameterInvalid,
            format!("the ask has no canonical form: {e}"),
            "Use parameters of a smaller magnitude.",
        )
    };
    Ok(AskKey {
        ask: content.identity().map_err(without_identity)?,
        question: question_hash(&content).map_err(without_identity)?,
        snapshot,
    })
}

/// The identity without the snapshot.
fn question_hash(content: &AskContent) -> Result<ContentHash, CanonicalError> {
    let mut value =
        serde_json::to_value(content).map_err(|e| CanonicalError::Json(e.to_string()))?;
    if let Some(fields) = value.as_object_mut() {
        fields.remove("snapshot");
    }
    ContentHash::of("question", &value)
}

fn fault() -> Problem {
    Problem::new(
        ErrorCode::Internal,
        "the node failed before anything was charged",
        "Ask the same again; the hospital's operator finds the reason in the node's log.",
    )
}

fn answer_failed() -> Problem {
    Problem::new(
        ErrorCode::AnswerFailed,
        "the ask was charged, and its answer could not be computed",
        "Ask the same again: it runs under the same charge. If it goes on, the hospital's operator finds the reason in the node's log.",
    )
}

/// The coarse clock: what depends on how long a computation took moves at its ticks only. One for
/// the whole node, so that no ask's own start shifts them.
pub(crate) struct Ticks {
    start: Instant,
    length: Duration,
}

impl Ticks {
    /// A clock that starts now.
    pub(crate) fn start(length: Duration) -> Self {
        Self {
            start: Instant::now(),
            length,
        }
    }

    async fn next(&self) {
        let next = next_tick(self.start.elapsed(), self.length);
        tokio::time::sleep_until(self.start + next).await;
    }
}

/// The first multiple of `length` after `elapsed`.
fn next_tick(elapsed: Duration, length: Duration) -> Duration {
    let length_ms = length.as_millis().max(1);
    let next_ms = (elapsed.as_millis() / length_ms + 1) * length_ms;
    Duration::from_millis(u64::try_from(next_ms).unwrap_or(u64::MAX))
}

/// Lets asks of the same content take turns.
#[derive(Default)]
pub(crate) struct Turns(Mutex<HashMap<ContentHash, Weak<tokio::sync::Mutex<()>>>>);

impl Turns {
    async fn take(&self, question: ContentHash) -> OwnedMutexGuard<()> {
        self.turn(question).lock_owned().await
    }

    fn turn(&self, question: ContentHash) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = turns.get(&question).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::new(tokio::sync::Mutex::new(()));
        turns.insert(question, Arc::downgrade(&turn));
        turn
    }
}

#[cfg(test)]
mod tests;
