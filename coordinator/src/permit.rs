//! What the coordinator checks of an ask before it troubles a node. Nodes check it all again.

use chrono::{DateTime, Utc};
use ward_schemas::ask::SignedQuestion;
use ward_schemas::jws::{KeyRing, MessageKind, VerifyingKey};
use ward_schemas::names::Subject;
use ward_schemas::parameter::Parameters;
use ward_schemas::permit::Permit;
use ward_schemas::problem::{ErrorCode, Problem};
use ward_schemas::rho::Rho;
use ward_schemas::template::Template;
use ward_schemas::wire::AskRequest;

/// Checks a request of `requester` for `template` at the time `now`; answers its permit, and the
/// parameters with their types and defaults.
///
/// # Errors
/// The first rule that refuses: permit, person, template, purpose, validity, signature, ρ,
/// parameters.
pub fn permit_check(
    access_bodies: &KeyRing<String>,
    request: &AskRequest,
    template: &Template,
    requester: &Subject,
    now: DateTime<Utc>,
) -> Result<(Permit, Parameters), Problem> {
    let permit = trusted(access_bodies, &request.permit)?;
    check_validity(&permit, now)?;
    check_person(&permit, requester)?;
    check_template(&permit, request)?;
    check_purpose(&permit, request, template)?;
    if let Some(key) = permit.requester_key {
        check_signature(&permit, request, key)?;
    }
    if request.question.rho == Some(Rho::ZERO) {
        return Err(Problem::new(
            ErrorCode::RhoRefused,
            "the ask's rho is 0, for which there is no noise scale",
            "Leave rho out, or give one above zero.",
        ));
    }
    let parameters = template.bind(&request.question.parameters).map_err(|e| {
        let remedy = "`ward template show` lists the parameters.";
        Problem::new(ErrorCode::ParameterInvalid, e.to_string(), remedy)
    })?;
    Ok((permit, parameters))
}

fn trusted(access_bodies: &KeyRing<String>, token: &str) -> Result<Permit, Problem> {
    use ward_schemas::jws::JwsError;
    let refused = |error: JwsError| {
        let code = match error {
            JwsError::UnknownKey(_) | JwsError::Signature => ErrorCode::PermitNotTrusted,
            JwsError::Malformed | JwsError::Kind { .. } | JwsError::Payload(_) => {
                ErrorCode::PermitMalformed
            }
        };
        let remedy = "Send the file exactly as an access body of this network issued it.";
        Problem::new(code, format!("the permit: {error}"), remedy)
    };
    let (permit, body) = access_bodies
        .verify::<Permit>(MessageKind::Permit, token)
        .map_err(refused)?;
    if permit.access_body != *body {
        return Err(Problem::new(
            ErrorCode::PermitNotTrusted,
            format!(
                "the permit says it is of {:?}, and the key of {body:?} signed it",
                permit.access_body
            ),
            "Ask the access body for a permit under its own name.",
        ));
    }
    permit.check().map_err(|e| {
        let remedy = "Ask the access body for a corrected permit.";
        Problem::new(ErrorCode::PermitMalformed, e.to_string(), remedy)
    })?;
    Ok(permit)
}

fn check_validity(permit: &Permit, now: DateTime<Utc>) -> Result<(), Problem> {
    let (from, until) = (permit.valid_from, permit.valid_until);
    if now < from {
        return Err(Problem::new(
            ErrorCode::PermitNotYetValid,
            format!("permit {} is valid from {from}", permit.id),
            "Ask again then.",
        ));
    }
    if now >= until {
        return Err(Problem::new(
            ErrorCode::PermitExpired,
            format!("permit {} was valid until {until}", permit.id),
            "Ask the access body to extend it.",
        ));
    }
    Ok(())
}

fn check_person(permit: &Permit, requester: &Subject) -> Result<(), Problem> {
    if permit.persons.contains(requester) {
        return Ok(());
    }
    Err(Problem::new(
        ErrorCode::PermitWrongPerson,
        format!("permit {} does not name {requester}", permit.id),
        "Ask as a person whom it names, or have the access body add this one.",
    ))
}

fn check_template(permit: &Permit, request: &AskRequest) -> Result<(), Problem> {
    let asked = &request.question.template;
    if permit.templates.contains(asked) {
        return Ok(());
    }
    let detail = match permit.template(&asked.id) {
        Some(named) => format!(
            "permit {} names {} {} with the hash {}, and {} {} with the hash {} was asked",
            permit.id,
            named.id,
            named.version,
            named.hash.short(),
            asked.id,
            asked.version,
            asked.hash.short(),
        ),
        None => format!(
            "permit {} does not name the template {}",
            permit.id, asked.id
        ),
    };
    let remedy = "`ward permit inspect` lists what it names; have the access body amend it.";
    Err(Problem::new(ErrorCode::PermitWrongTemplate, detail, remedy))
}

fn check_purpose(
    permit: &Permit,
    request: &AskRequest,
    template: &Template,
) -> Result<(), Problem> {
    let asked = request.question.purpose;
    if asked != permit.purpose {
        return Err(Problem::new(
            ErrorCode::PermitWrongPurpose,
            format!(
                "permit {} is for {:?}, not {asked:?}",
                permit.id, permit.purpose
            ),
            "Ask for the purpose that the permit names.",
        ));
    }
    if !template.purposes.contains(&asked) {
        return Err(Problem::new(
            ErrorCode::PermitWrongPurpose,
            format!("the template {} does not serve {asked:?}", template.id),
            format!("It serves {:?}.", template.purposes),
        ));
    }
    Ok(())
}

fn check_signature(
    permit: &Permit,
    request: &AskRequest,
    key: VerifyingKey,
) -> Result<(), Problem> {
    let refused = |detail: String| {
        let remedy = "Sign the ask with the key that the permit names: `ward ask --key FILE`.";
        Problem::new(ErrorCode::AskSignature, detail, remedy)
    };
    let token = request.signature.as_deref().ok_or_else(|| {
        refused(format!(
            "permit {} asks for a signature by {key}",
            permit.id
        ))
    })?;
    let ring = KeyRing::new([(key, ())]);
    let (signed, ()) = ring
        .verify::<SignedQuestion>(MessageKind::Ask, token)
        .map_err(|e| refused(format!("the ask's signature: {e}")))?;
    if signed.permit != permit.id || signed.question != request.question {
        return Err(refused(
            "the signature is under another question or permit".into(),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ada, node, noon, permit, template};
    use ward_schemas::ask::Question;
    use ward_schemas::canonical::ContentHash;
    use ward_schemas::ehds::Purpose;
    use ward_schemas::jws::SigningKey;
    use ward_schemas::wire::WIRE_FORMAT;

    /// A request on the 2nd of January that is fine, until a test changes a part of it.
    struct Case {
        key: SigningKey,
        permit: Permit,
        request: AskRequest,
        requester: Subject,
        now: DateTime<Utc>,
    }

    impl Case {
        fn new() -> Self {
            let question = Question {
                template: template().reference(),
                parameters: crate::testing::no_parameters(),
                rho: None,
                purpose: Purpose::ScientificResearch,
            };
            Self {
                key: SigningKey::generate().expect("randomness"),
                permit: permit(&[node("a"), node("b")]),
                request: AskRequest {
                    v: WIRE_FORMAT,
                    question,
                    permit: String::new(),
                    signature: None,
                },
                requester: ada(),
                now: noon(2),
            }
        }

        fn check(&self) -> Result<Permit, Problem> {
            let ring = KeyRing::new([(self.key.verifying_key(), "HDAB".to_owned())]);
            let signed = self.key.sign(MessageKind::Permit, &self.permit);
            let token = if self.request.permit.is_empty() {
                signed.expect("signed")
            } else {
                self.request.permit.clone()
            };
            let request = AskRequest {
                permit: token,
                ..self.request.clone()
            };
            let template = template();
            let checked = permit_check(
                &ring,
                &request,
                template.template(),
                &self.requester,
                self.now,
            );
            checked.map(|(permit, _)| permit)
        }
    }

    fn refusal(change: impl FnOnce(&mut Case)) -> ErrorCode {
        let mut case = Case::new();
        change(&mut case);
        let problem = case.check().expect_err("refused");
        assert!(problem.remedy.ends_with('.'), "{problem:?}");
        problem.code
    }

    #[test]
    fn a_good_request_passes() {
        let case = Case::new();
        assert_eq!(case.check().as_ref(), Ok(&case.permit));
    }

    #[test]
    fn each_rule_has_its_code() {
        let other_key = SigningKey::generate().expect("randomness");
        assert_eq!(
            refusal(|c| c.request.permit = "x".into()),
            ErrorCode::PermitMalformed
        );
        assert_eq!(
            refusal(|c| {
                let forged = other_key.sign(MessageKind::Permit, &c.permit);
                c.request.permit = forged.expect("signed");
            }),
            ErrorCode::PermitNotTrusted
        );
        assert_eq!(
            refusal(|c| c.permit.access_body = "Other".into()),
            ErrorCode::PermitNotTrusted
        );
        assert_eq!(
            refusal(|c| c.permit.minimum_nodes = 9),
            ErrorCode::PermitMalformed
        );
        assert_eq!(
            refusal(|c| c.now = c.permit.valid_from - chrono::TimeDelta::seconds(1)),
            ErrorCode::PermitNotYetValid
        );
        assert_eq!(
            refusal(|c| c.now = c.permit.valid_until),
            ErrorCode::PermitExpired
        );
        assert_eq!(
            refusal(|c| c.requester = "eve@uni.example".parse().expect("subject")),
            ErrorCode::PermitWrongPerson
        );
        assert_eq!(
            refusal(|c| c.request.question.template.hash = ContentHash::of_bytes(b"other")),
            ErrorCode::PermitWrongTemplate
        );
        assert_eq!(
            refusal(|c| c.request.question.purpose = Purpose::Education),
            ErrorCode::PermitWrongPurpose
        );
        assert_eq!(
            refusal(|c| {
                c.request.question.purpose = Purpose::Education;
                c.permit.purpose = Purpose::Education;
            }),
            ErrorCode::PermitWrongPurpose
        );
        assert_eq!(
            refusal(|c| c.request.question.rho = Some(Rho::ZERO)),
            ErrorCode::RhoRefused
        );
        assert_eq!(
            refusal(|c| {
                let name = "since".parse().expect("name");
                c.request
                    .question
                    .parameters
                    .insert(name, "2020-01-01".into());
            }),
            ErrorCode::ParameterInvalid
        );
    }

    #[test]
    fn a_bound_key_must_sign_this_very_question() {
        let key = SigningKey::generate().expect("randomness");
        let bind = |c: &mut Case| c.permit.requester_key = Some(key.verifying_key());
        let sign = |c: &mut Case| {
            let signed = SignedQuestion {
                permit: c.permit.id.clone(),
                question: c.request.question.clone(),
            };
            c.request.signature = key.sign(MessageKind::Ask, &signed).ok();
        };
        assert_eq!(refusal(bind), ErrorCode::AskSignature);
        assert_eq!(
            refusal(|c| {
                bind(c);
                sign(c);
                c.request.question.rho = Some(crate::testing::rho());
            }),
            ErrorCode::AskSignature
        );
        let mut good = Case::new();
        bind(&mut good);
        sign(&mut good);
        assert!(good.check().is_ok());
    }
}
