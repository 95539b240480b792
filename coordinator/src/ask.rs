//! The way of an ask through the coordinator: quotes, partials, merge.

use std::collections::BTreeMap;

use chrono::Utc;
use futures::future::join_all;
use tokio::sync::mpsc;
use ward_schemas::ask::{ASK_FORMAT, Ask};
use ward_schemas::cost::{self, Assumed, USUAL_GROUP};
use ward_schemas::names::{NodeName, Subject};
use ward_schemas::parameter::Parameters;
use ward_schemas::partial::{self, AuditHead, Vectors};
use ward_schemas::permit::Permit;
use ward_schemas::problem::{ErrorCode, Problem};
use ward_schemas::release::{
    self, NodeOutcome, Outcome, RELEASE_FORMAT, Release, ReleaseId, ReleaseTable,
};
use ward_schemas::rho::Rho;
use ward_schemas::template::ExpandedTemplate;
use ward_schemas::wire::{AskEvent, AskRequest, NodeQuote, Phase, Quote, QuoteReply};

use crate::accept::{Accepted, Expected, accept_partial};
use crate::agree::{Agreed, Quotes, choose_plan};
use crate::node::Node;
use crate::store::Store;

/// Nodes by name, and what is remembered of them.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) nodes: BTreeMap<NodeName, Node>,
    pub(crate) store: Store,
}

/// A request that passed the coordinator's checks.
#[derive(Clone, Debug)]
pub(crate) struct Checked {
    pub(crate) request: AskRequest,
    pub(crate) requester: Subject,
    pub(crate) permit: Permit,
    pub(crate) parameters: Parameters,
    pub(crate) template: ExpandedTemplate,
}

/// Where progress goes. Nobody may be listening: the ask goes on.
#[derive(Clone, Debug)]
pub(crate) struct Events(pub(crate) mpsc::UnboundedSender<AskEvent>);

impl Events {
    pub(crate) fn send(&self, event: AskEvent) {
        let _ = self.0.send(event);
    }

    fn phase(&self, node: &NodeName, phase: Phase) {
        let node = node.clone();
        self.send(AskEvent::Node { node, phase });
    }
}

/// An ask without a release.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) problem: Problem,
    pub(crate) nodes: Vec<NodeOutcome>,
}

type Answers = BTreeMap<NodeName, Result<Accepted, Problem>>;

/// Asks all nodes of the permit for quotes: what `POST /v1/quotes` answers.
pub(crate) async fn quote(network: &Network, checked: &Checked) -> Result<QuoteReply, Problem> {
    let witnesses = network.store.witnesses().await.map_err(internal)?;
    let quotes = quotes(network, checked, &witnesses).await;
    let (agreed, quotes) = choose_plan(&checked.template, checked.rho(), quotes);
    let accepting = quotes.values().flatten().count();
    let assumed = Assumed {
        nodes: u32::try_from(accepting).unwrap_or(u32::MAX),
        group: USUAL_GROUP,
    };
    let costs = agreed.map(|agreed| cost::measures(&agreed.plan, checked.rho(), assumed));
    let nodes = quotes
        .into_iter()
        .map(|(node, quote)| NodeQuote { node, quote });
    Ok(QuoteReply {
        nodes: nodes.collect(),
        assumed,
        costs: costs.unwrap_or_default(),
    })
}

/// Asks all nodes of the permit, and merges what comes back.
pub(crate) async fn ask(
    network: &Network,
    checked: &Checked,
    id: ReleaseId,
    events: &Events,
) -> Result<Release, Failure> {
    let witnesses = network.store.witnesses().await.map_err(Failure::internal)?;
    for node in &checked.permit.nodes {
        events.phase(node, Phase::Quoting);
    }
    let quotes = quotes(network, checked, &witnesses).await;
    let (agreed, quotes) = choose_plan(&checked.template, checked.rho(), quotes);
    for node in quotes.iter().filter(|(_, q)| q.is_err()).map(|(n, _)| n) {
        events.phase(node, Phase::LeftOut);
    }
    // Too few nodes: found out here, before any of them has charged anything.
    checked.enough(quotes.values().flatten().count(), || {
        left_out(
            quotes
                .iter()
                .filter_map(|(n, q)| Some((n, q.as_ref().err()?))),
        )
    })?;
    let Some(agreed) = agreed else {
        return Err(Failure::internal("quotes without a plan"));
    };
    let answers = answers(network, checked, &agreed, quotes, &witnesses, events).await;
    remember_heads(&network.store, &answers).await;
    checked.enough(answers.values().flatten().count(), || outcomes(&answers))?;
    merge(checked, id, &agreed, answers).await
}

impl Checked {
    /// Privacy loss at each node.
    pub(crate) fn rho(&self) -> Rho {
        let declared = self.template.template().rho();
        self.request.question.rho.unwrap_or(declared)
    }

    fn ask(&self, witness: Option<AuditHead>) -> Ask {
        Ask {
            v: ASK_FORMAT,
            question: self.request.question.clone(),
            requester: self.requester.clone(),
            permit: self.request.permit.clone(),
            signature: self.request.signature.clone(),
            witness,
        }
    }

    /// Whether so many nodes make a release.
    fn enough(
        &self,
        nodes: usize,
        outcomes: impl FnOnce() -> Vec<NodeOutcome>,
    ) -> Result<(), Failure> {
        too_few(&self.permit, nodes).map_or(Ok(()), |problem| {
            Err(Failure {
                problem,
                nodes: outcomes(),
            })
        })
    }
}

impl Failure {
    fn internal(error: impl std::fmt::Display) -> Self {
        Self {
            problem: internal(error),
            nodes: Vec::new(),
        }
    }
}

/// A fault of this service: told in full to its log, and in general to requesters.
pub(crate) fn internal(error: impl std::fmt::Display) -> Problem {
    tracing::error!(%error, "the coordinator failed");
    Problem::new(
        ErrorCode::Internal,
        "the coordinator failed",
        "Ask its operator, who finds the reason in its log; then ask again.",
    )
}

/// The problem, where a release would hold fewer nodes than the permit asks for.
fn too_few(permit: &Permit, nodes: usize) -> Option<Problem> {
    let minimum = permit.minimum_nodes;
    if u32::try_from(nodes).is_ok_and(|n| n < minimum) {
        return Some(Problem::new(
            ErrorCode::TooFewNodes,
            format!("{nodes} nodes can answer, and the permit asks for at least {minimum}"),
            "See why each node is left out. Asking again costs nothing where a node has answered.",
        ));
    }
    None
}

async fn quotes(
    network: &Network,
    checked: &Checked,
    witnesses: &BTreeMap<NodeName, AuditHead>,
) -> Quotes {
    let quotes = checked.permit.nodes.iter().map(async |name| {
        let quote = match network.nodes.get(name) {
            Some(node) => node.quote(&checked.ask(witnesses.get(name).copied())).await,
            None => Err(unknown(name)),
        };
        (name.clone(), quote)
    });
    join_all(quotes).await.into_iter().collect()
}

async fn answers(
    network: &Network,
    checked: &Checked,
    agreed: &Agreed,
    quotes: Quotes,
    witnesses: &BTreeMap<NodeName, AuditHead>,
    events: &Events,
) -> Answers {
    let answers = quotes.into_iter().map(async |(name, quote)| {
        let witness = witnesses.get(&name).copied();
        let answer = answer(network, checked, agreed, &name, quote, witness, events).await;
        (name, answer)
    });
    join_all(answers).await.into_iter().collect()
}

async fn answer(
    network: &Network,
    checked: &Checked,
    agreed: &Agreed,
    name: &NodeName,
    quote: Result<Quote, Problem>,
    witness: Option<AuditHead>,
    events: &Events,
) -> Result<Accepted, Problem> {
    quote?;
    let node = network.nodes.get(name).ok_or_else(|| unknown(name))?;
    events.phase(name, Phase::Asked);
    let received = node.partial(&checked.ask(witness), &agreed.plan).await;
    let expected = Expected {
        node: name,
        key: node.key(),
        plan: &agreed.plan,
        plan_hash: agreed.hash,
        parameters: &checked.parameters,
        permit: &checked.permit,
        rho: checked.rho(),
        witness,
    };
    let accepted = received.and_then(|received| accept_partial(&expected, &received));
    match &accepted {
        Ok(_) => events.phase(name, Phase::Answered),
        Err(problem) => {
            tracing::warn!(node = %name, code = %problem.code, "left out a node");
            events.phase(name, Phase::LeftOut);
        }
    }
    accepted
}

/// A head that can't be kept is told to the operator: the nodes have charged, so the release goes
/// on without it.
async fn remember_heads(store: &Store, answers: &Answers) {
    for (node, answer) in answers {
        if let Ok(accepted) = answer
            && let Err(error) = store.witness(node, accepted.audit).await
        {
            tracing::error!(%node, %error, "the node's audit head can't be kept");
        }
    }
}

/// Merges off the async threads: a release may have a million cells.
async fn merge(
    checked: &Checked,
    id: ReleaseId,
    agreed: &Agreed,
    answers: Answers,
) -> Result<Release, Failure> {
    let nodes = outcomes(&answers);
    let meaning = agreed.meaning;
    let agreed = agreed.clone();
    let merged = tokio::task::spawn_blocking(move || merged_tables(&agreed, answers));
    let question = &checked.request.question;
    Ok(Release {
        v: RELEASE_FORMAT,
        id,
        template: question.template.clone(),
        title: checked.template.template().title.clone(),
        parameters: question.parameters.clone(),
        permit: checked.permit.id.clone(),
        requester: checked.requester.clone(),
        created_at: Utc::now(),
        rho: checked.rho(),
        delta: checked.template.template().loss().delta,
        meaning: Some(meaning),
        nodes,
        tables: merged.await.map_err(Failure::internal)?,
    })
}

fn merged_tables(agreed: &Agreed, answers: Answers) -> Vec<ReleaseTable> {
    let accepted = answers.into_values().flatten();
    let vectors: Vec<Vectors> = accepted.map(|a| a.vectors).collect();
    let merged = partial::merge(&agreed.plan, &agreed.noise, &vectors);
    release::tables(&agreed.plan, &agreed.noise, &merged)
}

fn outcomes(answers: &Answers) -> Vec<NodeOutcome> {
    answers
        .iter()
        .map(|(node, answer)| NodeOutcome {
            node: node.clone(),
            outcome: match answer {
                Ok(accepted) => accepted.outcome(),
                Err(problem) => Outcome::LeftOut {
                    problem: problem.clone(),
                },
            },
        })
        .collect()
}

fn left_out<'a>(nodes: impl Iterator<Item = (&'a NodeName, &'a Problem)>) -> Vec<NodeOutcome> {
    nodes
        .map(|(node, problem)| NodeOutcome {
            node: node.clone(),
            outcome: Outcome::LeftOut {
                problem: problem.clone(),
            },
        })
        .collect()
}

fn unknown(name: &NodeName) -> Problem {
    Problem::new(
        ErrorCode::NodeUnknown,
        format!("this coordinator does not know the node {name}"),
        "Its operator adds the node to `nodes`, or the access body takes it out of the permit.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Answer, meaning, node, permit, plan, rho};
    use ward_schemas::release::Cell;

    fn accepted(name: &str) -> Accepted {
        let answer = Answer::new(&node(name));
        Accepted {
            vectors: Vectors::new(&plan(), vec![vec![vec![101, -3]]]).expect("shape"),
            claims: answer.claims,
            audit: answer.audit,
        }
    }

    #[test]
    fn the_permit_says_how_many_nodes_make_a_release() {
        let mut permit = permit(&[node("a"), node("b"), node("c")]);
        permit.minimum_nodes = 2;
        let problem = too_few(&permit, 1).expect("too few");
        assert_eq!(problem.code, ErrorCode::TooFewNodes);
        assert!(problem.detail.contains("at least 2"), "{problem}");
        assert_eq!(too_few(&permit, 2), None);
    }

    #[tokio::test]
    async fn a_head_that_can_not_be_kept_holds_up_no_other() {
        let dir = tempfile::tempdir().expect("directory");
        let store = Store::open(dir.path()).await.expect("store");
        let mut endless = accepted("a");
        endless.audit.sequence = u64::MAX;
        let answers = Answers::from([(node("a"), Ok(endless)), (node("b"), Ok(accepted("b")))]);
        remember_heads(&store, &answers).await;
        let kept = store.witnesses().await.expect("read");
        assert_eq!(kept, [(node("b"), accepted("b").audit)].into());
    }

    #[test]
    fn sums_leave_out_who_is_left_out_and_name_them() {
        let answers = Answers::from([
            (node("a"), Ok(accepted("a"))),
            (node("b"), Err(unknown(&node("b")))),
            (node("c"), Ok(accepted("c"))),
        ]);
        let told: Vec<_> = outcomes(&answers);
        let answered: Vec<_> = told.iter().map(|o| o.outcome.answered()).collect();
        assert_eq!(answered, [true, false, true]);
        let agreed = Agreed {
            plan: plan(),
            hash: plan().hash().expect("hash"),
            noise: plan().noise(rho()).expect("noise"),
            meaning: meaning(),
        };
        let [table] = merged_tables(&agreed, answers).try_into().expect("one");
        let values = table.rows.iter().map(|row| match &row[1] {
            Cell::Estimate(Some(e)) => (e.value, e.half_width),
            other => panic!("an estimate: {other:?}"),
        });
        let values: Vec<_> = values.collect();
        assert_eq!([values[0].0, values[1].0], [202.0, -6.0]);
        assert!((values[0].1 - 1.96 * 200_f64.sqrt()).abs() < 0.01);
    }
}
