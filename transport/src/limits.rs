//! What clients may take up of a service: connections, and time without a request.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

use crate::peer::Peer;

/// Answers up to so many bytes, complete in memory, are a client's own to fetch: the connection
/// counts as idle meanwhile.
const SMALL_ANSWER_BYTES: u64 = 64 * 1024;

/// What clients may take up of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once, those in their TLS handshake included; more clients wait in the
    /// listener's queue.
    pub connections: usize,
    /// Connections at once of one client certificate's names; more are closed.
    pub connections_per_peer: usize,
    /// How long an HTTP client has from its TLS handshake to the end of a first request's head.
    pub first_request: Duration,
    /// How long an HTTP connection stays open without a request under way.
    pub idle: Duration,
}

impl Default for Limits {
    /// 1024 connections, 64 of one peer; 30 seconds for the first request, 120 between requests.
    fn default() -> Self {
        Self {
            connections: 1024,
            connections_per_peer: 64,
            first_request: Duration::from_secs(30),
            idle: Duration::from_secs(120),
        }
    }
}

/// Who is let in. Clones are the same door.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    connections: Arc<Semaphore>,
    per_peer: usize,
    peers: Arc<Mutex<BTreeMap<Peer, usize>>>,
}

impl Door {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            connections: Arc::new(Semaphore::new(limits.connections)),
            per_peer: limits.connections_per_peer,
            peers: Arc::default(),
        }
    }

    /// Waits for room for one more connection. `None` can't be: the door is never closed.
    pub(crate) async fn room(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.connections).acquire_owned().await.ok()
    }

    /// The peer's place among its own connections; `None` where it has them all.
    pub(crate) fn place(&self, peer: &Peer) -> Option<Place> {
        let mut peers = self.peers();
        let taken = peers.entry(peer.clone()).or_default();
        if *taken >= self.per_peer {
            return None;
        }
        *taken += 1;
        Some(Place {
            door: self.clone(),
            peer: peer.clone(),
        })
    }

    fn peers(&self) -> MutexGuard<'_, BTreeMap<Peer, usize>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of a peer's connections, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    door: Door,
    peer: Peer,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut peers = self.door.peers();
        if let Some(taken) = peers.get_mut(&self.peer) {
            *taken -= 1;
            if *taken == 0 {
                peers.remove(&self.peer);
            }
        }
    }
}

/// How many requests are under way on one connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct UnderWay(Arc<watch::Sender<usize>>);

impl UnderWay {
    /// One more, until what is returned is dropped.
    pub(crate) fn begin(&self) -> Request {
        self.0.send_modify(|requests| *requests += 1);
        Request(self.clone())
    }

    /// Ends when there was no request for `first`, or after a change for `later`.
    pub(crate) async fn idle(&self, first: Duration, later: Duration) {
        let mut requests = self.0.subscribe();
        let mut patience = first;
        loop {
            let busy = *requests.borrow_and_update() > 0;
            // Told of every change, even of a request that came and went since the last look.
            let changed = requests.changed();
            if busy {
                let _ = changed.await;
            } else if timeout(patience, changed).await.is_err() {
                return;
            }
            patience = later;
        }
    }
}

/// One request under way.
#[derive(Debug)]
pub(crate) struct Request(UnderWay);

impl Request {
    /// The request ends with its answer's last byte.
    pub(crate) fn until_sent(self, body: Body) -> Answer {
        let small = body.size_hint().exact();
        let small = small.is_some_and(|bytes| bytes <= SMALL_ANSWER_BYTES);
        Answer {
            body,
            _request: (!small).then_some(self),
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.0.0.send_modify(|requests| *requests -= 1);
    }
}

/// The body of an answer.
#[derive(Debug)]
pub(crate) struct Answer {
    body: Body,
    _request: Option<Request>,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(under_way: &UnderWay) -> usize {
        *under_way.0.borrow()
    }

    #[test]
    fn a_request_is_under_way_until_its_answer_is_sent() {
        let under_way = UnderWay::default();
        let stream = futures::stream::pending::<Result<Bytes, std::io::Error>>();
        let streamed = under_way.begin().until_sent(Body::from_stream(stream));
        assert_eq!(requests(&under_way), 1);
        drop(streamed);
        assert_eq!(requests(&under_way), 0);
    }

    #[test]
    fn a_small_answer_that_nobody_fetches_keeps_no_connection() {
        let under_way = UnderWay::default();
        let small = under_way.begin().until_sent(Body::from("no"));
        assert_eq!(requests(&under_way), 0);
        let large = vec![0; 64 * 1024 + 1];
        let large = under_way.begin().until_sent(Body::from(large));
        assert_eq!(requests(&under_way), 1);
        drop((small, large));
    }
}
