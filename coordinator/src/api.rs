//! The REST interface of requesters and nodes.

use std::convert::Infallible;
use std::io;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, FromRequestParts, Path, State};
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, extract::rejection::BytesRejection};
use futures::{Stream, StreamExt, stream};
use serde::Deserialize;
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio_stream::wrappers::UnboundedReceiverStream;
use ward_schemas::ask::MAX_ASK_BYTES;
use ward_schemas::names::{Ident, Subject};
use ward_schemas::problem::{ERROR_CODE_TRAILER, ErrorCode, Problem};
use ward_schemas::release::{Release, ReleaseId};
use ward_schemas::wire::{
    AskEvent, AskRequest, QuoteReply, ReleaseSummary, TemplateDetail, TemplateSummary, WIRE_FORMAT,
    WhoAmI,
};
use ward_transport::ConnectionPeer;

use crate::ask::internal;
use crate::auth::authenticate;
use crate::service::Coordinator;
use crate::store::JobState;

/// Bytes of the vocabulary package that are read at once.
const CHUNK: usize = 256 * 1024;

/// All routes.
pub(crate) fn router(coordinator: Coordinator) -> Router {
    Router::new()
        .route("/v1/templates", get(templates))
        .route("/v1/templates/{id}", get(template))
        .route("/v1/quotes", post(quotes))
        .route("/v1/asks", post(asks))
        .route("/v1/releases", get(releases))
        .route("/v1/releases/{id}", get(release))
        .route("/v1/vocabulary/{hash}", get(vocabulary))
        .route("/v1/whoami", get(whoami))
        .route("/v1/health", get(health))
        .fallback(async || no_such("nothing is served at this path"))
        .method_not_allowed_fallback(async || no_such("this path takes another method"))
        .layer(DefaultBodyLimit::max(MAX_ASK_BYTES))
        .with_state(coordinator)
}

type Answer<T> = Result<Json<T>, Refused>;

async fn templates(
    State(coordinator): State<Coordinator>,
    _: Requester,
) -> Json<Vec<TemplateSummary>> {
    Json(coordinator.templates())
}

async fn template(
    State(coordinator): State<Coordinator>,
    _: Requester,
    Path(id): Path<String>,
) -> Answer<TemplateDetail> {
    let found = id.parse::<Ident>().ok();
    let found = found.and_then(|id| coordinator.template(&id));
    found.map(Json).ok_or_else(|| {
        let remedy = "`ward template list` shows those there are.";
        let detail = format!("there is no template {id:?}");
        Refused(Problem::new(ErrorCode::TemplateUnknown, detail, remedy))
    })
}

async fn quotes(
    State(coordinator): State<Coordinator>,
    Requester(requester): Requester,
    Posted(request): Posted,
) -> Answer<QuoteReply> {
    Ok(Json(coordinator.quote(request, requester).await?))
}

async fn asks(
    State(coordinator): State<Coordinator>,
    Requester(requester): Requester,
    Posted(request): Posted,
) -> Result<Response, Refused> {
    let events = coordinator.ask(request, requester).await?;
    let lines = UnboundedReceiverStream::new(events).map(|event| Ok::<_, Infallible>(line(&event)));
    let headers = [(CONTENT_TYPE, "application/x-ndjson")];
    Ok((headers, Body::from_stream(lines)).into_response())
}

async fn releases(
    State(coordinator): State<Coordinator>,
    Requester(requester): Requester,
) -> Answer<Vec<ReleaseSummary>> {
    let found = coordinator.store().releases(&requester).await;
    Ok(Json(found.map_err(internal)?))
}

async fn release(
    State(coordinator): State<Coordinator>,
    Requester(requester): Requester,
    Path(id): Path<String>,
) -> Answer<Release> {
    let unknown = |_| not_found("there is no such release of yours", "See GET /v1/releases.");
    let id: ReleaseId = id.parse().map_err(unknown)?;
    match coordinator
        .store()
        .job(id, &requester)
        .await
        .map_err(internal)?
    {
        Some(JobState::Released(release)) => Ok(Json(*release)),
        Some(JobState::Failed(problem)) => Err(Refused(problem)),
        Some(JobState::Running) => {
            Err(not_found("the ask is still under way", "Try again in a while.").into())
        }
        None => Err(unknown(ward_schemas::release::ReleaseIdSyntax).into()),
    }
}

/// The vocabulary package, for nodes and requesters.
async fn vocabulary(
    State(coordinator): State<Coordinator>,
    parts: Parts,
    Path(hash): Path<String>,
) -> Result<Response, Refused> {
    let peer = parts.extensions.get::<ConnectionPeer>();
    let peer = peer.and_then(|p| p.peer.as_ref());
    if !peer.is_some_and(|p| coordinator.is_node(p)) {
        requester(&coordinator, &parts)?;
    }
    let (here, file) = coordinator.vocabulary();
    if hash != here.to_string() {
        let remedy = format!("The network uses {here}: configure that one.");
        return Err(not_found("this vocabulary package is not here", remedy).into());
    }
    let file = File::open(file).await.map_err(internal)?;
    let length = file.metadata().await.map_err(internal)?.len();
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/x-tar")),
        (CONTENT_LENGTH, HeaderValue::from(length)),
    ];
    Ok((headers, Body::from_stream(chunks(file))).into_response())
}

async fn whoami(Requester(subject): Requester) -> Json<WhoAmI> {
    Json(WhoAmI { subject })
}

async fn health() -> Json<serde_json::Value> {
    Json(serde_json::json!({ "status": "ok" }))
}

fn line(event: &AskEvent) -> Bytes {
    let mut line = serde_json::to_vec(event).unwrap_or_else(|error| {
        // Events hold no value that JSON can't; what remains is running out of memory.
        tracing::error!(%error, "an event can't be written");
        Vec::new()
    });
    line.push(b'\n');
    line.into()
}

fn chunks(file: File) -> impl Stream<Item = io::Result<Bytes>> {
    stream::try_unfold(file, async |mut file| {
        let mut chunk = Vec::with_capacity(CHUNK);
        let read = (&mut file)
            .take(CHUNK as u64)
            .read_to_end(&mut chunk)
            .await?;
        Ok((read > 0).then(|| (Bytes::from(chunk), file)))
    })
}

/// The authenticated requester of a request.
struct Requester(Subject);

impl FromRequestParts<Coordinator> for Requester {
    type Rejection = Refused;

    async fn from_request_parts(
        parts: &mut Parts,
        coordinator: &Coordinator,
    ) -> Result<Self, Refused> {
        Ok(Self(requester(coordinator, parts)?))
    }
}

fn requester(coordinator: &Coordinator, parts: &Parts) -> Result<Subject, Problem> {
    let peer = parts.extensions.get::<ConnectionPeer>();
    let header = parts.headers.get(AUTHORIZATION);
    // A header that is no text is no token either.
    let header = header.map(|h| h.to_str().unwrap_or_default());
    authenticate(
        coordinator.requesters(),
        peer.and_then(|p| p.peer.as_ref()),
        header,
    )
}

/// An ask request in a body.
struct Posted(AskRequest);

impl<S: Send + Sync> axum::extract::FromRequest<S> for Posted {
    type Rejection = Refused;

    async fn from_request(request: axum::extract::Request, state: &S) -> Result<Self, Refused> {
        let body = Bytes::from_request(request, state).await;
        let body = body.map_err(|e: BytesRejection| malformed(e.body_text()))?;
        Ok(Self(read_request(&body)?))
    }
}

fn read_request(body: &[u8]) -> Result<AskRequest, Problem> {
    #[derive(Deserialize)]
    struct Versioned {
        v: u32,
    }
    let Versioned { v } = serde_json::from_slice(body).map_err(|e| malformed(e.to_string()))?;
    if v != WIRE_FORMAT {
        return Err(Problem::new(
            ErrorCode::UnsupportedVersion,
            format!("the request is of format {v}"),
            format!("This coordinator reads format {WIRE_FORMAT}."),
        ));
    }
    serde_json::from_slice(body).map_err(|e| malformed(e.to_string()))
}

fn malformed(detail: String) -> Problem {
    let remedy = "Send the JSON of an ask request, of at most 256 KiB.";
    Problem::new(ErrorCode::MalformedRequest, detail, remedy)
}

fn not_found(detail: &str, remedy: impl Into<String>) -> Problem {
    Problem::new(ErrorCode::NotFound, detail, remedy)
}

fn no_such(detail: &str) -> Refused {
    let remedy = "The routes are GET /v1/templates, /v1/templates/{id}, /v1/releases, \
                  /v1/releases/{id}, /v1/vocabulary/{hash}, /v1/whoami, /v1/health and \
                  POST /v1/quotes, /v1/asks.";
    Refused(not_found(detail, remedy))
}

/// A problem as an answer: RFC 9457.
#[derive(Debug)]
struct Refused(Problem);

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let document = self.0.document();
        let status = StatusCode::from_u16(document.status);
        let mut response = Json(&document).into_response();
        *response.status_mut() = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(CONTENT_TYPE, kind);
        let code = HeaderValue::from_static(self.0.code.as_str());
        headers.insert(ERROR_CODE_TRAILER, code);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_an_http_status() {
        for code in ErrorCode::ALL {
            let response = Refused(Problem::new(*code, "x", "Y.")).into_response();
            assert_eq!(response.status().as_u16(), code.http());
            assert_eq!(response.headers()[ERROR_CODE_TRAILER], code.as_str());
            assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        }
    }

    #[test]
    fn other_versions_and_fields_are_refused() {
        let code = |body: &str| read_request(body.as_bytes()).expect_err(body).code;
        let versioned = |v: u32| code(&format!(r#"{{"v": {v}, "new": 1}}"#));
        assert_eq!(versioned(WIRE_FORMAT + 1), ErrorCode::UnsupportedVersion);
        assert_eq!(versioned(WIRE_FORMAT - 1), ErrorCode::UnsupportedVersion);
        assert_eq!(versioned(WIRE_FORMAT), ErrorCode::MalformedRequest);
        assert_eq!(code("ward"), ErrorCode::MalformedRequest);
    }
}
