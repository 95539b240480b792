//! The gate: is this ask allowed? A pure function of values.
//!
//! [`present`] reads an ask and checks who signed its permit; what the node knows of that permit
//! and of that template is then looked up; [`admit`] decides. The checks come in one fixed order,
//! so that an ask is refused for the same reason wherever and whenever it is asked.

use chrono::{DateTime, Utc};
use ward_schemas::ask::{ASK_FORMAT, Ask, MAX_ASK_BYTES, Question, SignedQuestion};
use ward_schemas::canonical::ContentHash;
use ward_schemas::jws::{JwsError, KeyRing, MessageKind};
use ward_schemas::loss::Loss;
use ward_schemas::names::{NodeName, Subject};
use ward_schemas::parameter::{ParameterError, Parameters};
use ward_schemas::partial::AuditHead;
use ward_schemas::permit::Permit;
use ward_schemas::plan::Plan;
use ward_schemas::problem::{ErrorCode, Problem};
use ward_schemas::rho::Rho;
use ward_schemas::template::{Template, TemplateRef};
use ward_schemas::wire::Decision;

use crate::audit::Who;
use crate::ledger::PermitAccount;

/// What the configuration says about who may ask what.
#[derive(Clone, Debug)]
pub struct Rules {
    /// This node.
    pub node: NodeName,
    /// Trusted access bodies: their keys, and the name each key is trusted for.
    pub access_bodies: KeyRing<String>,
    /// The most privacy loss of one ask.
    pub max_rho_per_ask: Rho,
    /// The least.
    pub min_rho_per_ask: Rho,
}

/// Who sent the request, by their verified certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The name in the certificate.
    pub name: String,
    /// Whether it is a coordinator that the configuration names.
    pub is_coordinator: bool,
}

impl Caller {
    /// Lets coordinators pass.
    ///
    /// # Errors
    /// [`ErrorCode::PeerNotTrusted`] for everybody else.
    pub fn require_coordinator(&self) -> Result<(), Problem> {
        if self.is_coordinator {
            return Ok(());
        }
        Err(Problem::new(
            ErrorCode::PeerNotTrusted,
            format!("{} is not a coordinator of this node", self.name),
            "Ask through a coordinator that the node's configuration names under `coordinators`.",
        ))
    }
}

/// An ask whose permit a trusted access body signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presented {
    ask: Ask,
    permit: Permit,
    caller: Caller,
}

impl Presented {
    /// The template that is asked.
    pub fn template(&self) -> &TemplateRef {
        &self.ask.question.template
    }

    /// The permit.
    pub fn permit(&self) -> &Permit {
        &self.permit
    }

    /// The audit head that the coordinator has seen of this node.
    pub fn witness(&self) -> Option<AuditHead> {
        self.ask.witness
    }

    /// A refusal of this ask.
    pub(crate) fn refused(&self, problem: Problem) -> Box<Refusal> {
        // A version that isn't valid yet doesn't supersede the one before.
        let holds = problem.code != ErrorCode::PermitNotYetValid;
        Box::new(Refusal {
            problem,
            who: self.who(),
            permit: holds.then(|| (PermitAccount::of(&self.permit), self.permit.version)),
        })
    }

    /// Who asks, for the audit.
    pub fn who(&self) -> Who {
        Who {
            peer: self.caller.name.clone(),
            requester: Some(self.ask.requester.clone()),
            permit: Some(self.permit.id.clone()),
        }
    }
}

/// What the node knows of a presented ask's permit and template.
#[derive(Clone, Debug)]
pub struct Known<'a> {
    /// The newest version of the permit that was ever presented.
    pub newest_permit: Option<u32>,
    /// Audit heads that others have seen of this node, each with the node's own hash there.
    pub witnessed: Vec<(AuditHead, Option<ContentHash>)>,
    /// Where the template stands.
    pub standing: Standing<'a>,
}

/// Where a template stands at the node.
#[derive(Clone, Copy, Debug)]
pub enum Standing<'a> {
    /// Never offered.
    Unknown,
    /// The steward approved this very content.
    Approved {
        /// The template.
        template: &'a Template,
        /// What it compiles to.
        plan: &'a Plan,
    },
    /// Offered, and not approved.
    NotApproved(Decision),
    /// Approved under the same name and version is another content.
    Altered {
        /// What is approved.
        approved: ContentHash,
    },
}

/// An ask that may be answered, if the ledger allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// The permit.
    pub permit: Permit,
    /// What is asked.
    pub question: Question,
    /// Typed parameters, defaults filled in.
    pub parameters: Parameters,
    /// Privacy loss of the whole ask.
    pub loss: Loss,
    /// Who asks.
    pub who: Who,
}

/// A refusal, with what is known of who asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub problem: Problem,
    /// Who.
    pub who: Who,
    /// The permit and its version, where a trusted access body signed it and it has begun to hold.
    pub permit: Option<(PermitAccount, u32)>,
}

/// Reads an ask, and checks that a coordinator sent it under a permit of a trusted access body.
///
/// # Errors
/// The first of these rules that the ask breaks.
pub fn present(rules: &Rules, caller: &Caller, bytes: &[u8]) -> Result<Presented, Box<Refusal>> {
    let mut who = Who::peer(caller.name.clone());
    let refusal = |who: &Who, problem| {
        Box::new(Refusal {
            problem,
            who: who.clone(),
            permit: None,
        })
    };
    caller
        .require_coordinator()
        .map_err(|problem| refusal(&who, problem))?;
    let ask = read(bytes).map_err(|problem| refusal(&who, problem))?;
    who.requester = Some(ask.requester.clone());
    let permit = signed_permit(rules, &ask.permit).map_err(|problem| refusal(&who, problem))?;
    Ok(Presented {
        ask,
        permit,
        caller: caller.clone(),
    })
}

/// Decides whether a presented ask may be answered.
///
/// # Errors
/// The first rule that the ask breaks.
pub fn admit(
    rules: &Rules,
    presented: Presented,
    known: &Known<'_>,
    now: DateTime<Utc>,
) -> Result<Admitted, Box<Refusal>> {
    match check(rules, &presented, known, now) {
        Ok((parameters, loss)) => Ok(Admitted {
            who: presented.who(),
            permit: presented.permit,
            question: presented.ask.question,
            parameters,
            loss,
        }),
        Err(problem) => Err(presented.refused(problem)),
    }
}

fn check(
    rules: &Rules,
    presented: &Presented,
    known: &Known<'_>,
    now: DateTime<Utc>,
) -> Result<(Parameters, Loss), Problem> {
    let Presented { ask, permit, .. } = presented;
    valid_now(permit, known.newest_permit, now)?;
    names_node(permit, &rules.node)?;
    names_person(permit, &ask.requester)?;
    signed_by_requester(permit, ask)?;
    serves_purpose(permit, &ask.question)?;
    grants_template(permit, &ask.question.template)?;
    known
        .witnessed
        .iter()
        .try_for_each(|(seen, own)| not_rolled_back(*seen, *own))?;
    let (template, plan) = approved(&ask.question.template, known.standing)?;
    template_serves_purpose(template, &ask.question)?;
    let parameters = template
        .bind(&ask.question.parameters)
        .map_err(|e| parameter_refused(&e))?;
    let loss = Loss {
        rho: acceptable_rho(rules, plan, ask.question.rho)?,
        delta: plan.delta(),
    };
    Ok((parameters, loss))
}

fn read(bytes: &[u8]) -> Result<Ask, Problem> {
    const REMEDY: &str = "Send one JSON ask, as the interface describes it.";
    let malformed = |detail: String| Problem::new(ErrorCode::MalformedRequest, detail, REMEDY);
    if bytes.len() > MAX_ASK_BYTES {
        return Err(malformed(format!(
            "the ask has {} bytes and the limit is {MAX_ASK_BYTES}",
            bytes.len()
        )));
    }
    let value: serde_json::Value = serde_json::from_slice(bytes)
        .map_err(|e| malformed(format!("the ask is not JSON: {e}")))?;
    if let Some(v) = value.get("v").and_then(serde_json::Value::as_u64)
        && v != u64::from(ASK_FORMAT)
    {
        return Err(Problem::new(
            ErrorCode::UnsupportedVersion,
            format!("the ask has format version {v}"),
            format!("Send format version {ASK_FORMAT}."),
        ));
    }
    serde_json::from_value(value).map_err(|e| malformed(format!("the ask can't be read: {e}")))
}

fn signed_permit(rules: &Rules, token: &str) -> Result<Permit, Problem> {
    let (permit, trusted_for) = rules
        .access_bodies
        .verify::<Permit>(MessageKind::Permit, token)
        .map_err(|e| permit_token_refused(&e))?;
    if permit.access_body != *trusted_for {
        return Err(Problem::new(
            ErrorCode::PermitNotTrusted,
            format!(
                "the permit {} names the access body {:?}, and {trusted_for:?} signed it",
                permit.id, permit.access_body
            ),
            "Use the permit as its access body issued it.",
        ));
    }
    permit.check().map_err(|e| {
        Problem::new(
            ErrorCode::PermitMalformed,
            format!("the permit {} can't hold: {e}", permit.id),
            "Ask the access body for a corrected permit.",
        )
    })?;
    Ok(permit)
}

fn permit_token_refused(error: &JwsError) -> Problem {
    let detail = format!("the permit is not accepted: {error}");
    match error {
        JwsError::UnknownKey(_) | JwsError::Signature => Problem::new(
            ErrorCode::PermitNotTrusted,
            detail,
            "Use a permit as issued by an access body that this node's configuration names under `access_bodies`.",
        ),
        JwsError::Malformed | JwsError::Kind { .. } | JwsError::Payload(_) => Problem::new(
            ErrorCode::PermitMalformed,
            detail,
            "Send the permit's file as the access body issued it.",
        ),
    }
}

fn valid_now(permit: &Permit, newest: Option<u32>, now: DateTime<Utc>) -> Result<(), Problem> {
    let id = &permit.id;
    if now < permit.valid_from {
        return Err(Problem::new(
            ErrorCode::PermitNotYetValid,
            format!("the permit {id} is valid from {}", permit.valid_from),
            "Ask again then.",
        ));
    }
    if now >= permit.valid_until {
        return Err(Problem::new(
            ErrorCode::PermitExpired,
            format!("the permit {id} was valid until {}", permit.valid_until),
            "Ask the access body to renew it.",
        ));
    }
    match newest.filter(|newest| *newest > permit.version) {
        None => Ok(()),
        Some(newest) => Err(Problem::new(
            ErrorCode::PermitSuperseded,
            format!(
                "this is version {} of the permit {id}, and version {newest} has been presented",
                permit.version
            ),
            "Use the newest version.",
        )),
    }
}

fn names_node(permit: &Permit, node: &NodeName) -> Result<(), Problem> {
    if permit.nodes.contains(node) {
        return Ok(());
    }
    Err(Problem::new(
        ErrorCode::PermitWrongNode,
        format!("the permit {} does not name the node {node}", permit.id),
        format!("Ask the nodes that it names: {}.", list(&permit.nodes)),
    ))
}

fn names_person(permit: &Permit, requester: &Subject) -> Result<(), Problem> {
    if permit.persons.contains(requester) {
        return Ok(());
    }
    Err(Problem::new(
        ErrorCode::PermitWrongPerson,
        format!("the permit {} does not name {requester}", permit.id),
        "Use a permit of your own, or have the access body add you to this one.",
    ))
}

fn signed_by_requester(permit: &Permit, ask: &Ask) -> Result<(), Problem> {
    let Some(key) = permit.requester_key else {
        return Ok(());
    };
    let refused = |detail: String| {
        Problem::new(
            ErrorCode::AskSignature,
            detail,
            format!(
                "Sign the question with the private key of {key}, which the permit {} binds.",
                permit.id
            ),
        )
    };
    let token = ask
        .signature
        .as_deref()
        .ok_or_else(|| refused("the ask is not signed by its requester".into()))?;
    let (signed, ()) = KeyRing::new([(key, ())])
        .verify::<SignedQuestion>(MessageKind::Ask, token)
        .map(|(signed, trusted)| (signed, *trusted))
        .map_err(|e| refused(format!("the requester's signature is not accepted: {e}")))?;
    if signed.permit == permit.id && signed.question == ask.question {
        Ok(())
    } else {
        Err(refused(
            "the requester signed another question than the one that is asked".into(),
        ))
    }
}

fn serves_purpose(permit: &Permit, question: &Question) -> Result<(), Problem> {
    if permit.purpose == question.purpose {
        return Ok(());
    }
    Err(Problem::new(
        ErrorCode::PermitWrongPurpose,
        format!(
            "the ask is for {:?}, and the permit {} for {:?}",
            question.purpose, permit.id, permit.purpose
        ),
        "Ask for the permit's purpose, or apply for another permit.",
    ))
}

fn template_serves_purpose(template: &Template, question: &Question) -> Result<(), Problem> {
    if template.purposes.contains(&question.purpose) {
        return Ok(());
    }
    Err(Problem::new(
        ErrorCode::PermitWrongPurpose,
        format!(
            "the template {} does not serve the purpose {:?}",
            template.id, question.purpose
        ),
        format!("It serves {:?}.", template.purposes),
    ))
}

fn grants_template(permit: &Permit, asked: &TemplateRef) -> Result<(), Problem> {
    if permit.templates.contains(asked) {
        return Ok(());
    }
    let same_name = |t: &&TemplateRef| t.id == asked.id && t.version == asked.version;
    match permit.templates.iter().find(same_name) {
        Some(granted) => Err(altered(asked, granted.hash, "the permit grants")),
        None => Err(Problem::new(
            ErrorCode::PermitWrongTemplate,
            format!(
                "the permit {} does not name the template {} {}",
                permit.id, asked.id, asked.version
            ),
            format!(
                "Ask one that it names: {}.",
                list(
                    permit
                        .templates
                        .iter()
                        .map(|t| format!("{} {}", t.id, t.version))
                )
            ),
        )),
    }
}

fn altered(asked: &TemplateRef, expected: ContentHash, who: &str) -> Problem {
    Problem::new(
        ErrorCode::TemplateAltered,
        format!(
            "{} {} is asked with the content {}, and {who} {expected}",
            asked.id, asked.version, asked.hash
        ),
        "Ask the template unaltered, or publish the altered one under a new version.",
    )
}

fn not_rolled_back(seen: AuditHead, own: Option<ContentHash>) -> Result<(), Problem> {
    if own == Some(seen.hash) {
        return Ok(());
    }
    Err(Problem::new(
        ErrorCode::NodeRolledBack,
        format!(
            "a witness has seen record {} of this node's audit log, which {}",
            seen.sequence,
            if own.is_some() {
                "is now another"
            } else {
                "is no longer there"
            }
        ),
        "The steward must restore the node's newest state: its ledger has lost charges.",
    ))
}

fn approved<'a>(
    asked: &TemplateRef,
    standing: Standing<'a>,
) -> Result<(&'a Template, &'a Plan), Problem> {
    match standing {
        Standing::Approved { template, plan } => Ok((template, plan)),
        Standing::Altered { approved } => Err(altered(asked, approved, "the steward approved")),
        Standing::Unknown => Err(Problem::new(
            ErrorCode::TemplateUnknown,
            format!(
                "no template {} {} with the content {} was offered to this node",
                asked.id, asked.version, asked.hash
            ),
            "Offer it, and have the steward approve it; `ListFlights` lists what may be asked.",
        )),
        Standing::NotApproved(decision) => Err(not_approved(asked, decision)),
    }
}

/// The refusal of a template that the steward has not approved, or no longer.
pub(crate) fn not_approved(asked: &TemplateRef, decision: Decision) -> Problem {
    Problem::new(
        ErrorCode::TemplateNotApproved,
        format!(
            "the template {} {} is {} at this node",
            asked.id,
            asked.version,
            decision.as_str()
        ),
        "Only the hospital's steward can approve it; `ListFlights` lists what may be asked.",
    )
}

fn parameter_refused(error: &ParameterError) -> Problem {
    Problem::new(
        ErrorCode::ParameterInvalid,
        error.to_string(),
        "Correct the parameter; the template lists each with its domain.",
    )
}

fn acceptable_rho(rules: &Rules, plan: &Plan, asked: Option<Rho>) -> Result<Rho, Problem> {
    let rho = asked.unwrap_or_else(|| plan.rho());
    let (least, most) = (rules.min_rho_per_ask, rules.max_rho_per_ask);
    let outside = |allowed: String| {
        Problem::new(
            ErrorCode::RhoRefused,
            format!("the ask's rho is {rho}, and the steward allows {allowed} for one ask"),
            format!("Ask with a rho of at most {most} and at least {least}."),
        )
    };
    if rho > most {
        return Err(outside(most.to_string()));
    }
    plan.noise(rho).map_err(|e| {
        Problem::new(
            ErrorCode::RhoRefused,
            e.to_string(),
            format!("The template's own rho is {}.", plan.rho()),
        )
    })?;
    if rho < least {
        return Err(outside(format!("no less than {least}")));
    }
    Ok(rho)
}

fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<_> = items.into_iter().map(|item| item.to_string()).collect();
    items.join(", ")
}

#[cfg(test)]
mod tests;
