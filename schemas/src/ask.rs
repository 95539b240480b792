//! Asks: one template with its parameters, under a permit.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::canonical::{CanonicalError, ContentHash};
use crate::ehds::Purpose;
use crate::names::{PermitId, Subject};
use crate::parameter::{Parameters, RawParameters};
use crate::partial::AuditHead;
use crate::rho::Rho;
use crate::snapshot::SnapshotId;
use crate::template::TemplateRef;

/// The version of the ask format that this crate writes and reads.
pub const ASK_FORMAT: u32 = 1;

/// The largest ask that is read, in bytes.
pub const MAX_ASK_BYTES: usize = 256 * 1024;

/// An ask as it travels from the coordinator to a node: a Flight command, and a Flight ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// Format version: [`ASK_FORMAT`].
    pub v: u32,
    /// What is asked.
    pub question: Question,
    /// Who asks, as the coordinator authenticated them.
    pub requester: Subject,
    /// The permit, as signed by the access body.
    pub permit: String,
    /// The question signed by the requester's key ([`SignedQuestion`]), where the permit binds one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// The newest audit head of this node that the coordinator has seen: a node that is older
    /// than this was rolled back, and refuses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witness: Option<AuditHead>,
}

/// What is asked: all that a requester decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The template, by content hash.
    pub template: TemplateRef,
    /// Parameters, as text.
    #[serde(default)]
    pub parameters: RawParameters,
    /// Privacy loss at each node; the template's own where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rho: Option<Rho>,
    /// What for.
    pub purpose: Purpose,
}

/// What a requester's own key signs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedQuestion {
    /// The permit under which it is asked.
    pub permit: PermitId,
    /// The question.
    pub question: Question,
}

/// What makes two asks at a node the same: the same content gets the same answer, at no further
/// cost. Who asks and under which permit belongs to the envelope and to the audit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskContent {
    /// The template's content hash.
    pub template: ContentHash,
    /// Version of the privacy engine.
    pub engine: String,
    /// The vocabulary package.
    pub vocabulary: ContentHash,
    /// Typed parameters, defaults filled in.
    pub parameters: Parameters,
    /// Privacy loss of the whole ask.
    pub rho: Rho,
    /// The snapshot it runs on.
    pub snapshot: SnapshotId,
    /// Opt-outs recorded before 00:00 UTC of this date count (Article 71).
    pub opt_out_cutoff: NaiveDate,
    /// Whether an exception of Article 71(4) keeps opted-out patients in.
    pub opt_out_exception: bool,
}

impl AskContent {
    /// The ask's identity at this node.
    ///
    /// # Errors
    /// Never for parameters that were bound to a template; the canonical form reports it all the
    /// same.
    pub fn identity(&self) -> Result<ContentHash, CanonicalError> {
        ContentHash::of("ask", self)
    }
}
