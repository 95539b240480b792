//! Typed errors: one code list, mapped once to gRPC and once to HTTP problem details (RFC 9457).

use std::fmt;

use serde::{Deserialize, Serialize};

/// The name of the gRPC trailer that carries the code.
pub const ERROR_CODE_TRAILER: &str = "x-ward-error-code";

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $grpc:ident, $http:literal, $title:literal;)*) => {
        /// Why something was refused or failed. Codes never depend on patient data.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum ErrorCode {
            $($(#[$doc])* #[serde(rename = $text)] $name,)*
        }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The code as it travels.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }

            /// A few words, the same for every occurrence.
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title),* }
            }

            /// The gRPC status.
            pub fn grpc(self) -> GrpcCode {
                match self { $(Self::$name => GrpcCode::$grpc),* }
            }

            /// The HTTP status.
            pub fn http(self) -> u16 {
                match self { $(Self::$name => $http),* }
            }
        }
    };
}

codes! {
    /// No or a bad credential.
    Unauthenticated = "UNAUTHENTICATED", Unauthenticated, 401, "Not authenticated";
    /// The peer's certificate is good, and it may not do this.
    PeerNotTrusted = "PEER_NOT_TRUSTED", PermissionDenied, 403, "This peer is not trusted here";
    /// A message that can't be read.
    MalformedRequest = "MALFORMED_REQUEST", InvalidArgument, 400, "The request can't be read";
    /// A message of another format version.
    UnsupportedVersion = "UNSUPPORTED_VERSION", InvalidArgument, 400, "The format version is not supported";
    /// A permit that can't be read or contradicts itself.
    PermitMalformed = "PERMIT_MALFORMED", InvalidArgument, 400, "The permit can't be read";
    /// A permit that no trusted access body signed.
    PermitNotTrusted = "PERMIT_NOT_TRUSTED", PermissionDenied, 403, "No trusted access body signed the permit";
    /// Before its validity.
    PermitNotYetValid = "PERMIT_NOT_YET_VALID", PermissionDenied, 403, "The permit is not valid yet";
    /// After its validity.
    PermitExpired = "PERMIT_EXPIRED", PermissionDenied, 403, "The permit has expired";
    /// A newer version of the permit is known.
    PermitSuperseded = "PERMIT_SUPERSEDED", PermissionDenied, 403, "A newer version of the permit exists";
    /// Not for this node.
    PermitWrongNode = "PERMIT_WRONG_NODE", PermissionDenied, 403, "The permit does not name this node";
    /// Not for this person.
    PermitWrongPerson = "PERMIT_WRONG_PERSON", PermissionDenied, 403, "The permit does not name this person";
    /// Not for this template.
    PermitWrongTemplate = "PERMIT_WRONG_TEMPLATE", PermissionDenied, 403, "The permit does not name this template";
    /// Not for this purpose.
    PermitWrongPurpose = "PERMIT_WRONG_PURPOSE", PermissionDenied, 403, "The purpose does not fit";
    /// The permit binds the requester's key, and the ask is not signed by it.
    AskSignature = "ASK_SIGNATURE", PermissionDenied, 403, "The ask is not signed by the requester's key";
    /// No such template.
    TemplateUnknown = "TEMPLATE_UNKNOWN", NotFound, 404, "No such template";
    /// Offered, and not approved by this hospital's steward.
    TemplateNotApproved = "TEMPLATE_NOT_APPROVED", FailedPrecondition, 409, "The template is not approved here";
    /// Same name, other content.
    TemplateAltered = "TEMPLATE_ALTERED", PermissionDenied, 403, "The template is not the approved one";
    /// A template that can't be accepted by any node.
    TemplateRefused = "TEMPLATE_REFUSED", InvalidArgument, 400, "The template is outside the accepted form";
    /// Parameters of a wrong name, type or domain.
    ParameterInvalid = "PARAMETER_INVALID", InvalidArgument, 400, "A parameter is not accepted";
    /// More privacy loss than the steward allows one ask, or too little for any noise scale.
    RhoRefused = "RHO_REFUSED", InvalidArgument, 400, "The ask's rho is not accepted";
    /// The population's budget is spent.
    BudgetExhausted = "BUDGET_EXHAUSTED", FailedPrecondition, 409, "The node's privacy budget is spent";
    /// The permit's budget is spent.
    PermitBudgetExhausted = "PERMIT_BUDGET_EXHAUSTED", FailedPrecondition, 409, "The permit's privacy budget is spent";
    /// The ledger can't be written.
    LedgerUnavailable = "LEDGER_UNAVAILABLE", Unavailable, 503, "The ledger can't be written";
    /// The node has no data, or no vocabulary package yet.
    NodeNotReady = "NODE_NOT_READY", Unavailable, 503, "The node is not ready";
    /// The node's state is older than what a witness has seen.
    NodeRolledBack = "NODE_ROLLED_BACK", FailedPrecondition, 409, "The node's audit log is older than a witness";
    /// Anything that goes wrong after the charge.
    AnswerFailed = "ANSWER_FAILED", Internal, 500, "The answer could not be computed";
    /// No such node.
    NodeUnknown = "NODE_UNKNOWN", NotFound, 404, "No such node";
    /// The node can't be reached.
    NodeUnreachable = "NODE_UNREACHABLE", Unavailable, 503, "The node can't be reached";
    /// The node did not answer in time.
    NodeTimeout = "NODE_TIMEOUT", DeadlineExceeded, 504, "The node did not answer in time";
    /// The node's partial is not what was asked, or not properly signed.
    PartialRefused = "PARTIAL_REFUSED", FailedPrecondition, 502, "The node's partial is not acceptable";
    /// The node compiled another plan than the others.
    PlanDiffers = "PLAN_DIFFERS", FailedPrecondition, 502, "The node's plan differs";
    /// Fewer nodes answered than the permit asks for.
    TooFewNodes = "TOO_FEW_NODES", FailedPrecondition, 409, "Too few nodes answered";
    /// No such thing.
    NotFound = "NOT_FOUND", NotFound, 404, "Not found";
    /// A fault of the service.
    Internal = "INTERNAL", Internal, 500, "The service failed";
}

/// The gRPC status codes in use, by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum GrpcCode {
    /// INVALID_ARGUMENT.
    InvalidArgument = 3,
    /// DEADLINE_EXCEEDED.
    DeadlineExceeded = 4,
    /// NOT_FOUND.
    NotFound = 5,
    /// PERMISSION_DENIED.
    PermissionDenied = 7,
    /// FAILED_PRECONDITION.
    FailedPrecondition = 9,
    /// INTERNAL.
    Internal = 13,
    /// UNAVAILABLE.
    Unavailable = 14,
    /// UNAUTHENTICATED.
    Unauthenticated = 16,
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One occurrence of an error: the body of a problem-details answer, and the message of a gRPC
/// status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{detail}. {remedy}")]
#[serde(deny_unknown_fields)]
pub struct Problem {
    /// Which rule refused, or what failed.
    pub code: ErrorCode,
    /// What was asked and why it is refused; no final full stop.
    pub detail: String,
    /// What would be accepted, or what to do; a sentence.
    pub remedy: String,
}

impl Problem {
    /// A problem of this code.
    pub fn new(code: ErrorCode, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            remedy: remedy.into(),
        }
    }

    /// The RFC 9457 document.
    pub fn document(&self) -> ProblemDocument {
        ProblemDocument {
            problem_type: format!("urn:ward:error:{}", self.code.as_str()),
            title: self.code.title().to_owned(),
            status: self.code.http(),
            detail: self.detail.clone(),
            code: self.code,
            remedy: self.remedy.clone(),
        }
    }
}

/// An RFC 9457 problem-details document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemDocument {
    /// A URN of the code.
    #[serde(rename = "type")]
    pub problem_type: String,
    /// The code's title.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// This occurrence.
    pub detail: String,
    /// The code.
    pub code: ErrorCode,
    /// What to do.
    pub remedy: String,
}

impl From<ProblemDocument> for Problem {
    fn from(d: ProblemDocument) -> Self {
        Self::new(d.code, d.detail, d.remedy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_travel_as_their_text() {
        for code in ErrorCode::ALL {
            let json = serde_json::to_string(code).expect("json");
            assert_eq!(json, format!("{:?}", code.as_str()));
        }
    }
}
