//! The coordinator's REST interface.

use std::error::Error;

use reqwest::{RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use url::Url;
use ward_schemas::names::Ident;
use ward_schemas::problem::{Problem, ProblemDocument};
use ward_schemas::release::{NodeOutcome, Release, ReleaseId};
use ward_schemas::wire::{
    AskEvent, AskRequest, QuoteReply, ReleaseSummary, TemplateDetail, TemplateSummary, WhoAmI,
};
use ward_transport::TlsError;

use crate::profile::{Profile, Token};

/// The longest line of an answer that is read, in bytes: a release of the most cells fits.
const MAX_LINE_BYTES: usize = 1 << 30;

/// A connection to a coordinator.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    token: Option<Token>,
}

impl Client {
    /// A client for the profile's coordinator. Nothing is sent yet.
    ///
    /// # Errors
    /// When a file of the profile can't be read, or holds no usable certificate or key.
    pub fn new(profile: &Profile) -> Result<Self, ClientError> {
        let host = profile.url.host_str().unwrap_or_default();
        let resolve = profile.resolve.map(|address| (host, address));
        let http = ward_transport::http_client(&profile.ca, profile.identity.as_ref(), resolve)?;
        Ok(Self::over(http, profile.url.clone(), profile.token.clone()))
    }

    /// A client over a connection pool of the caller's making.
    pub fn over(http: reqwest::Client, base: Url, token: Option<Token>) -> Self {
        Self { http, base, token }
    }

    /// The templates on offer.
    ///
    /// # Errors
    /// When the coordinator can't be reached or refuses.
    pub async fn templates(&self) -> Result<Vec<TemplateSummary>, ClientError> {
        self.get(&["templates"]).await
    }

    /// One template, and where it stands at each node.
    ///
    /// # Errors
    /// When the coordinator can't be reached or doesn't know the template.
    pub async fn template(&self, id: &Ident) -> Result<TemplateDetail, ClientError> {
        self.get(&["templates", id.as_str()]).await
    }

    /// What an ask would cost, and how precise its answer would be. Free.
    ///
    /// # Errors
    /// When the coordinator can't be reached or refuses.
    pub async fn quote(&self, request: &AskRequest) -> Result<QuoteReply, ClientError> {
        let response = self.send(self.post("quotes", request)).await?;
        self.json(response).await
    }

    /// Asks, and tells `on_event` of every step.
    ///
    /// # Errors
    /// When the coordinator can't be reached, refuses, or fails; [`ClientError::Cut`] when the
    /// connection ended first, and then the ask goes on without it.
    pub async fn ask(
        &self,
        request: &AskRequest,
        mut on_event: impl FnMut(&AskEvent),
    ) -> Result<Release, ClientError> {
        let mut response = self.send(self.post("asks", request)).await?;
        let mut lines = Lines::default();
        let mut opened = None;
        let cut = |release, reason| ClientError::Cut { release, reason };
        loop {
            let chunk = response.chunk().await;
            let chunk = chunk.map_err(|e| cut(opened, innermost(&e)))?;
            let ended = chunk.is_none();
            lines.push(chunk.as_deref().unwrap_or(b"\n"))?;
            while let Some(line) = lines.next() {
                let event = self.parse(&line)?;
                on_event(&event);
                match event {
                    AskEvent::Accepted { release, .. } => opened = Some(release),
                    AskEvent::Node { .. } => {}
                    AskEvent::Done { release } => return Ok(*release),
                    AskEvent::Failed { problem, nodes } => {
                        return Err(ClientError::Failed { problem, nodes });
                    }
                }
            }
            if ended {
                return Err(cut(opened, "the coordinator closed it".into()));
            }
        }
    }

    /// The caller's releases.
    ///
    /// # Errors
    /// When the coordinator can't be reached or refuses.
    pub async fn releases(&self) -> Result<Vec<ReleaseSummary>, ClientError> {
        self.get(&["releases"]).await
    }

    /// One release.
    ///
    /// # Errors
    /// When the coordinator can't be reached or doesn't have it.
    pub async fn release(&self, id: ReleaseId) -> Result<Release, ClientError> {
        self.get(&["releases", &id.to_string()]).await
    }

    /// Who the coordinator takes the caller for.
    ///
    /// # Errors
    /// When the coordinator can't be reached or refuses.
    pub async fn whoami(&self) -> Result<WhoAmI, ClientError> {
        self.get(&["whoami"]).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, ClientError> {
        let response = self.send(self.http.get(self.url(path))).await?;
        self.json(response).await
    }

    fn post(&self, path: &str, request: &AskRequest) -> RequestBuilder {
        self.http.post(self.url(&[path])).json(request)
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(path);
        }
        url
    }

    /// Sends a request; an answer that is no success becomes an error.
    async fn send(&self, mut request: RequestBuilder) -> Result<Response, ClientError> {
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.secret());
        }
        let response = request.send().await.map_err(|e| self.unreachable(&e))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = response.bytes().await.map_err(|e| self.unreachable(&e))?;
        Err(match serde_json::from_slice::<ProblemDocument>(&body) {
            Ok(document) => ClientError::Problem(document.into()),
            Err(_) => ClientError::Status {
                url: self.base.to_string(),
                status,
            },
        })
    }

    async fn json<T: DeserializeOwned>(&self, response: Response) -> Result<T, ClientError> {
        let body = response.bytes().await.map_err(|e| self.unreachable(&e))?;
        self.parse(&body)
    }

    fn parse<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, ClientError> {
        serde_json::from_slice(bytes).map_err(|source| ClientError::Answer {
            url: self.base.to_string(),
            source,
        })
    }

    fn unreachable(&self, error: &reqwest::Error) -> ClientError {
        ClientError::Unreachable {
            url: self.base.to_string(),
            reason: innermost(error),
        }
    }
}

/// The innermost reason: the outer ones say only that a request failed.
fn innermost(error: &reqwest::Error) -> String {
    let mut reason: &dyn Error = error;
    while let Some(source) = reason.source() {
        reason = source;
    }
    reason.to_string()
}

/// Cuts a stream of bytes into lines.
#[derive(Default)]
struct Lines {
    buffer: Vec<u8>,
    searched: usize,
}

impl Lines {
    fn push(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() > MAX_LINE_BYTES {
            return Err(ClientError::Long);
        }
        Ok(())
    }

    /// The next whole line that isn't blank.
    fn next(&mut self) -> Option<Vec<u8>> {
        while let Some(at) = self.buffer[self.searched..]
            .iter()
            .position(|b| *b == b'\n')
        {
            let rest = self.buffer.split_off(self.searched + at + 1);
            let line = std::mem::replace(&mut self.buffer, rest);
            self.searched = 0;
            if !line.trim_ascii().is_empty() {
                return Some(line);
            }
        }
        self.searched = self.buffer.len();
        None
    }
}

/// Why the coordinator gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Certificate files that can't be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No connection.
    #[error(
        "the coordinator at {url} can't be reached: {reason}; check the profile's url and ca, and that the coordinator runs"
    )]
    Unreachable {
        /// Its URL.
        url: String,
        /// Why.
        reason: String,
    },
    /// It refused, and said why.
    #[error(transparent)]
    Problem(Problem),
    /// The ask failed, and the coordinator said why.
    #[error("{problem}")]
    Failed {
        /// Why.
        problem: Problem,
        /// What each node did.
        nodes: Vec<NodeOutcome>,
    },
    /// The connection ended before the answer.
    #[error("the connection ended before the answer: {reason}. {}", remedy(*.release))]
    Cut {
        /// The release that was under way.
        release: Option<ReleaseId>,
        /// Why.
        reason: String,
    },
    /// A failure without a reason.
    #[error(
        "{url} answered {status} and no reason; check that the profile's url is a Ward coordinator's"
    )]
    Status {
        /// Its URL.
        url: String,
        /// HTTP status.
        status: StatusCode,
    },
    /// An answer in another form.
    #[error(
        "{url} answered what this version of ward can't read: {source}; check the url, and that both sides have the same version"
    )]
    Answer {
        /// Its URL.
        url: String,
        /// Where it differs.
        source: serde_json::Error,
    },
    /// A line without end.
    #[error(
        "the coordinator's answer has a line of over {MAX_LINE_BYTES} bytes; check that the profile's url is a Ward coordinator's"
    )]
    Long,
}

fn remedy(release: Option<ReleaseId>) -> String {
    match release {
        Some(id) => format!(
            "The coordinator goes on; get the answer with: ward release show {id}, or ask again: \
             the same ask is charged once"
        ),
        None => "Ask again: the same ask is charged once".into(),
    }
}

#[cfg(test)]
mod tests;
