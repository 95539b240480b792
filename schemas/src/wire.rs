//! Control messages: versioned JSON between coordinator and node (Flight), and between `ward` and
//! the coordinator (HTTP).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::ask::Question;
use crate::canonical::ContentHash;
use crate::cost::{Assumed, MeasureCost};
use crate::loss::{EpsilonDelta, Loss};
use crate::names::{Ident, NodeName, PermitId, Subject};
use crate::parameter::{Parameter, RawParameters};
use crate::plan::Plan;
use crate::problem::Problem;
use crate::release::{NodeOutcome, Release, ReleaseId};
use crate::template::{Template, TemplateRef};

/// The version of the control messages that this crate writes and reads.
pub const WIRE_FORMAT: u32 = 2;

/// Flight actions of a node.
pub mod action {
    /// Offers a template: body [`super::TemplateOffer`], answer [`super::OfferReply`].
    pub const OFFER: &str = "ward.template.offer";
    /// Asks how the node is: no body, answer [`super::NodeStatus`].
    pub const STATUS: &str = "ward.status";
}

/// A node's free answer to an ask it would accept: `app_metadata` of its `FlightInfo`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quote {
    /// [`WIRE_FORMAT`].
    pub v: u32,
    /// Which node.
    pub node: NodeName,
    /// What it would compute: same at every node, or the node is left out.
    pub plan: Plan,
    /// Privacy loss that the ask declares.
    pub loss: Loss,
    /// What that loss means by itself.
    pub meaning: EpsilonDelta,
    /// Privacy loss it would charge; none where this very ask has been answered.
    pub charge: Loss,
    /// What is left of the permit's budget at this node.
    pub permit_left: Loss,
}

/// A template on offer to a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TemplateOffer {
    /// [`WIRE_FORMAT`].
    pub v: u32,
    /// The template's TOML text.
    pub source: String,
}

/// What a node says to an offer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfferReply {
    /// [`WIRE_FORMAT`].
    pub v: u32,
    /// The template as the node reads it.
    pub template: TemplateRef,
    /// Where it stands with the steward.
    pub decision: Decision,
}

/// Where a template stands with a steward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// Offered, not decided.
    Pending,
    /// May be asked.
    Approved,
    /// May not be asked.
    Rejected,
    /// Was approved, and may no longer be asked.
    Withdrawn,
}

impl Decision {
    /// The word for it, as it travels and as stores keep it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Withdrawn => "withdrawn",
        }
    }
}

/// How a node is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeStatus {
    /// [`WIRE_FORMAT`].
    pub v: u32,
    /// Which node.
    pub node: NodeName,
    /// Version of its privacy engine.
    pub engine: String,
    /// The vocabulary package it uses, once it has it.
    pub vocabulary: Option<ContentHash>,
    /// Whether a snapshot is active.
    pub has_snapshot: bool,
}

/// A template as lists show it: `app_metadata` of a node's `ListFlights`, and of the
/// coordinator's `GET /v1/templates`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TemplateSummary {
    /// Name, version and identity.
    pub template: TemplateRef,
    /// A few words.
    pub title: String,
    /// The question in plain language.
    pub question: String,
    /// Declared privacy loss at each node.
    pub loss: Loss,
    /// Parameters.
    pub parameters: std::collections::BTreeMap<Ident, Parameter>,
}

impl TemplateSummary {
    /// The summary of a template with this identity.
    pub fn new(template: &Template, reference: TemplateRef) -> Self {
        Self {
            template: reference,
            title: template.title.clone(),
            question: template.question.clone(),
            loss: template.loss(),
            parameters: template.parameters.clone(),
        }
    }
}

/// `GET /v1/templates/{id}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TemplateDetail {
    /// The summary.
    pub summary: TemplateSummary,
    /// The TOML text.
    pub source: String,
    /// Where it stands at each node, as far as the coordinator has heard.
    pub nodes: Vec<TemplateAtNode>,
}

/// Where a template stands at one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TemplateAtNode {
    /// Which node.
    pub node: NodeName,
    /// The steward's decision, or why it isn't known.
    pub decision: Result<Decision, Problem>,
}

/// `POST /v1/quotes` and `POST /v1/asks`: what a requester sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskRequest {
    /// [`WIRE_FORMAT`].
    pub v: u32,
    /// The question.
    pub question: Question,
    /// The permit, as signed by the access body.
    pub permit: String,
    /// The question signed by the requester's key, where the permit binds one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

/// The answer to `POST /v1/quotes`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuoteReply {
    /// What each node of the permit says.
    pub nodes: Vec<NodeQuote>,
    /// What the expected precision is stated for: the accepting nodes, and a usual group. With
    /// the plan in a quote, [`cost::measures`](crate::cost::measures) states it for others.
    pub assumed: Assumed,
    /// The expected precision of every measure; empty where no node accepts.
    pub costs: Vec<MeasureCost>,
}

/// What one node says to a quote request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeQuote {
    /// Which node.
    pub node: NodeName,
    /// Its quote, or why it would refuse.
    pub quote: Result<Quote, Problem>,
}

/// A line of the answer to `POST /v1/asks` (newline-delimited JSON): progress, then one end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case", deny_unknown_fields)]
pub enum AskEvent {
    /// The coordinator opened a job.
    Accepted {
        /// The release's future identity.
        release: ReleaseId,
        /// Nodes of the permit.
        nodes: Vec<NodeName>,
    },
    /// A node moved on.
    Node {
        /// Which node.
        node: NodeName,
        /// To where.
        phase: Phase,
    },
    /// Done.
    Done {
        /// The release.
        release: Box<Release>,
    },
    /// Failed, for this reason; what the nodes did stands beside it.
    Failed {
        /// Why.
        problem: Problem,
        /// What each node did.
        nodes: Vec<NodeOutcome>,
    },
}

/// How far a node is with an ask: coarse, so that no timing of patient data shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Asked for a quote.
    Quoting,
    /// Quoted; asked for its partial.
    Asked,
    /// Its partial is here and checked.
    Answered,
    /// Left out.
    LeftOut,
}

/// A release as lists show it: `GET /v1/releases`, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseSummary {
    /// Identity.
    pub id: ReleaseId,
    /// When it was merged.
    pub created_at: DateTime<Utc>,
    /// What was asked.
    pub template: TemplateRef,
    /// With which parameters.
    pub parameters: RawParameters,
    /// Under which permit.
    pub permit: PermitId,
}

impl From<&Release> for ReleaseSummary {
    fn from(release: &Release) -> Self {
        Self {
            id: release.id,
            created_at: release.created_at,
            template: release.template.clone(),
            parameters: release.parameters.clone(),
            permit: release.permit.clone(),
        }
    }
}

/// `GET /v1/whoami`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WhoAmI {
    /// Who the coordinator takes the caller for.
    pub subject: Subject,
}
