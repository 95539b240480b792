//! Offering templates to stewards: at start, as soon as a node is back, and from time to time.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use ward_schemas::canonical::ContentHash;
use ward_schemas::names::NodeName;
use ward_schemas::problem::{ErrorCode, Problem};
use ward_schemas::wire::{Decision, TemplateAtNode};

use crate::catalogue::{Catalogue, Entry};
use crate::node::Node;

/// Pause after a failed offer; each further one doubles, up to the offer interval.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

type Decisions = BTreeMap<(NodeName, ContentHash), Result<Decision, Problem>>;

/// What stewards said, as far as the coordinator has heard.
#[derive(Debug, Default)]
pub(crate) struct Offers(RwLock<Decisions>);

impl Offers {
    /// Where a template stands at these nodes.
    pub(crate) fn at_nodes<'a>(
        &self,
        template: ContentHash,
        nodes: impl Iterator<Item = &'a NodeName>,
    ) -> Vec<TemplateAtNode> {
        let heard = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let decision = |node: &NodeName| heard.get(&(node.clone(), template)).cloned();
        nodes
            .map(|node| TemplateAtNode {
                node: node.clone(),
                decision: decision(node).unwrap_or_else(|| Err(not_heard())),
            })
            .collect()
    }

    /// Offers all templates to a node once.
    ///
    /// # Errors
    /// The first problem that another attempt may not have: the node is away or not ready.
    pub(crate) async fn offer_all(
        &self,
        catalogue: &Catalogue,
        name: &NodeName,
        node: &Node,
    ) -> Result<(), Problem> {
        let mut away = Ok(());
        for entry in catalogue.entries() {
            let said = match &away {
                Ok(()) => offer(entry, node).await,
                Err(problem) => Err(Problem::clone(problem)),
            };
            if let Err(problem) = &said
                && passes(problem.code)
            {
                away = Err(problem.clone());
            }
            let mut heard = self.0.write().unwrap_or_else(PoisonError::into_inner);
            heard.insert((name.clone(), entry.template.hash()), said);
        }
        away
    }

    /// Offers all templates to a node for ever.
    pub(crate) async fn keep_offering(
        &self,
        catalogue: &Catalogue,
        name: &NodeName,
        node: &Node,
        interval: Duration,
    ) {
        let mut pause = FIRST_PAUSE;
        let mut was_away = false;
        loop {
            let offered = self.offer_all(catalogue, name, node).await;
            match &offered {
                Ok(()) if was_away => tracing::info!(node = %name, "the node is back"),
                Err(problem) if !was_away => {
                    tracing::warn!(node = %name, code = %problem.code, "the node takes no offers");
                }
                _ => {}
            }
            was_away = offered.is_err();
            pause = if was_away {
                (pause * 2).min(interval)
            } else {
                FIRST_PAUSE
            };
            tokio::time::sleep(if was_away { pause } else { interval }).await;
        }
    }
}

async fn offer(entry: &Entry, node: &Node) -> Result<Decision, Problem> {
    let reply = node.offer(&entry.source).await?;
    let ours = entry.template.reference();
    if reply.template == ours {
        return Ok(reply.decision);
    }
    let (theirs, here) = (reply.template.hash.short(), ours.hash.short());
    Err(Problem::new(
        ErrorCode::TemplateAltered,
        format!(
            "the node reads {} as {theirs}, and the coordinator as {here}",
            ours.id
        ),
        "Bring both to the same version of Ward and the same vocabulary package.",
    ))
}

fn passes(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NodeUnreachable
            | ErrorCode::NodeTimeout
            | ErrorCode::NodeNotReady
            | ErrorCode::LedgerUnavailable
            | ErrorCode::PeerNotTrusted
    )
}

fn not_heard() -> Problem {
    Problem::new(
        ErrorCode::NodeUnreachable,
        "the node has not been offered the template yet",
        "Try again in a minute.",
    )
}
