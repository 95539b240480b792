//! Who is asking: a client certificate or a bearer token of a listed requester.

use ward_schemas::names::Subject;
use ward_schemas::problem::{ErrorCode, Problem};
use ward_transport::Peer;

use crate::config::{RequesterConfig, TokenHash};

/// Finds out which listed requester a request is from. A token counts before a certificate, and a
/// wrong token is refused whatever the certificate says.
///
/// # Errors
/// When neither proves a listed requester.
pub fn authenticate(
    requesters: &[RequesterConfig],
    peer: Option<&Peer>,
    authorization: Option<&str>,
) -> Result<Subject, Problem> {
    match (authorization, peer) {
        (Some(header), _) => by_token(requesters, header),
        (None, Some(peer)) => by_certificate(requesters, peer),
        (None, None) => Err(refused(
            "the request has neither a client certificate nor a bearer token",
        )),
    }
}

fn by_token(requesters: &[RequesterConfig], header: &str) -> Result<Subject, Problem> {
    let token = header
        .strip_prefix("Bearer ")
        .ok_or_else(|| refused("the Authorization header is not a bearer token"))?;
    if token.trim().is_empty() {
        return Err(refused("the bearer token is empty"));
    }
    let hash = TokenHash::of(token.trim());
    // No early end: all hashes are compared, each in constant time.
    let matches = requesters
        .iter()
        .fold(None, |found, r| match r.token_sha256 == Some(hash) {
            true => Some(&r.subject),
            false => found,
        });
    matches
        .cloned()
        .ok_or_else(|| refused("the bearer token is not one of a listed requester"))
}

fn by_certificate(requesters: &[RequesterConfig], peer: &Peer) -> Result<Subject, Problem> {
    let subject = peer
        .subject()
        .ok_or_else(|| refused("the client certificate names no subject"))?;
    if requesters.iter().any(|r| r.subject == subject) {
        return Ok(subject);
    }
    Err(Problem::new(
        ErrorCode::PeerNotTrusted,
        format!("{subject} is not a requester here"),
        "The coordinator's operator adds the subject to `requesters`.",
    ))
}

fn refused(detail: &str) -> Problem {
    Problem::new(
        ErrorCode::Unauthenticated,
        detail,
        "Present the client certificate or the token of a requester that the coordinator lists.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::ada;

    fn requesters() -> Vec<RequesterConfig> {
        let listed = |name: &str, token: Option<&str>| RequesterConfig {
            subject: name.parse().expect("subject"),
            token_sha256: token.map(TokenHash::of),
        };
        vec![
            listed("bob@uni.example", Some("bob's")),
            listed("ada@uni.example", Some("ada's")),
            listed("machine", None),
        ]
    }

    fn code(authorization: Option<&str>) -> ErrorCode {
        let refused = authenticate(&requesters(), None, authorization);
        refused.expect_err("refused").code
    }

    #[test]
    fn a_token_is_its_requester() {
        let subject = authenticate(&requesters(), None, Some("Bearer ada's"));
        assert_eq!(subject, Ok(ada()));
    }

    #[test]
    fn an_empty_token_is_nobodys_even_where_it_is_listed() {
        let open = RequesterConfig {
            subject: ada(),
            token_sha256: Some(TokenHash::of("")),
        };
        let refused = authenticate(&[open], None, Some("Bearer  ")).expect_err("refused");
        assert!(refused.detail.contains("empty"), "{refused}");
    }

    #[test]
    fn everything_else_is_nobody() {
        assert_eq!(code(None), ErrorCode::Unauthenticated);
        assert_eq!(code(Some("Bearer eve's")), ErrorCode::Unauthenticated);
        assert_eq!(code(Some("Bearer ")), ErrorCode::Unauthenticated);
        assert_eq!(code(Some("Basic YWRh")), ErrorCode::Unauthenticated);
    }
}
