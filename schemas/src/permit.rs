//! Permits: an access body's signed decision who may ask what, why, until when, at what budget.
//!
//! The content follows Article 68(10) of Regulation (EU) 2025/327. A permit travels as a compact
//! JWS ([`crate::jws`]) and is checked at every node, which trusts nobody else's check.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::delta::Delta;
use crate::ehds::Purpose;
use crate::jws::VerifyingKey;
use crate::loss::Loss;
use crate::names::{Ident, NodeName, PermitId, Subject};
use crate::rho::Rho;
use crate::template::TemplateRef;

/// The version of the permit format that this crate writes and reads.
pub const PERMIT_FORMAT: u32 = 1;

/// A permit's content: the payload of its JWS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Permit {
    /// Format version: [`PERMIT_FORMAT`].
    pub v: u32,
    /// Identifier, unique for the access body.
    pub id: PermitId,
    /// Version of the decision, from 1; an amended permit has a higher one.
    pub version: u32,
    /// The access body, as nodes' configurations name it.
    pub access_body: String,
    /// When this version was issued; opt-outs recorded before 00:00 UTC of its date count.
    pub issued_at: DateTime<Utc>,
    /// First moment of validity.
    pub valid_from: DateTime<Utc>,
    /// First moment after validity.
    pub valid_until: DateTime<Utc>,
    /// Who the permit was given to.
    pub holder: Holder,
    /// Who may ask under it.
    pub persons: BTreeSet<Subject>,
    /// What for.
    pub purpose: Purpose,
    /// What may be asked.
    pub templates: BTreeSet<TemplateRef>,
    /// Where.
    pub nodes: BTreeSet<NodeName>,
    /// Privacy loss that the noise of all asks under this permit together may cause, at each node.
    pub budget: Rho,
    /// Privacy loss that their thresholds on keys from data may cause; none where absent.
    #[serde(default, skip_serializing_if = "Delta::is_zero")]
    pub budget_delta: Delta,
    /// How many nodes must answer for a release.
    pub minimum_nodes: u32,
    /// If given, every ask must be signed by this key of the requester, so that a stolen
    /// coordinator can't spend for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requester_key: Option<VerifyingKey>,
}

/// Who a permit was given to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holder {
    /// Organisation.
    pub organisation: String,
    /// Principal investigator.
    pub principal_investigator: String,
    /// Whether it is a public body, which Article 53(2) asks of purposes (a) to (c).
    #[serde(default)]
    pub public_body: bool,
}

/// An access body whose permits a service trusts, as its configuration names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessBody {
    /// Its name, as permits give it.
    pub name: String,
    /// The key that signs its permits, `ed25519:…`.
    pub key: VerifyingKey,
}

/// The longest validity of one permit (Article 68(12)): ten years, in days.
pub const MAX_VALIDITY_DAYS: i64 = 3653;

impl Permit {
    /// Checks what doesn't depend on who asks, when and where.
    ///
    /// # Errors
    /// When the permit contradicts itself or the Regulation.
    pub fn check(&self) -> Result<(), PermitError> {
        if self.v != PERMIT_FORMAT {
            return Err(PermitError::Format(self.v));
        }
        if self.version == 0 {
            return Err(PermitError::Version);
        }
        if self.valid_from >= self.valid_until
            || (self.valid_until - self.valid_from).num_days() > MAX_VALIDITY_DAYS
        {
            return Err(PermitError::Validity);
        }
        if self.purpose.public_bodies_only() && !self.holder.public_body {
            return Err(PermitError::PublicBody(self.purpose));
        }
        let nodes = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        if self.minimum_nodes == 0 || self.minimum_nodes > nodes {
            return Err(PermitError::MinimumNodes {
                minimum: self.minimum_nodes,
                nodes,
            });
        }
        if self.persons.is_empty() || self.templates.is_empty() {
            return Err(PermitError::Empty);
        }
        Ok(())
    }

    /// Both parts of the budget, at each node.
    pub fn loss(&self) -> Loss {
        Loss {
            rho: self.budget,
            delta: self.budget_delta,
        }
    }

    /// The grant for this template, if the permit names it.
    pub fn template(&self, id: &Ident) -> Option<&TemplateRef> {
        self.templates.iter().find(|t| t.id == *id)
    }
}

/// Why a permit can't be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PermitError {
    /// Another format version.
    #[error("permit format {0} is not supported; this node reads format {PERMIT_FORMAT}")]
    Format(u32),
    /// Versions count from 1.
    #[error("a permit's version starts at 1")]
    Version,
    /// The validity is empty or too long.
    #[error("valid_until must lie after valid_from, at most ten years (Article 68(12))")]
    Validity,
    /// A purpose reserved for public bodies.
    #[error("purpose {0:?} is for public bodies only (Article 53(2)); the holder isn't one")]
    PublicBody(Purpose),
    /// More nodes must answer than there are.
    #[error("minimum_nodes is {minimum}, and the permit names {nodes} nodes")]
    MinimumNodes {
        /// As the permit says.
        minimum: u32,
        /// How many it names.
        nodes: u32,
    },
    /// Nobody may ask, or nothing.
    #[error("a permit names at least one person and one template")]
    Empty,
}
