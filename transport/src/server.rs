//! Accepting connections, and serving HTTP on them.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use futures::{Stream, StreamExt, stream};
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;
use tower::ServiceExt;

use crate::limits::{Door, Limits, Place, UnderWay};
use crate::peer::{ConnectionPeer, Peer};

/// How long a client has for its TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client has for the head of an HTTP/1.1 request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// How often an HTTP/2 client is checked, and how long it has to answer.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// How long to wait after a failed accept: out of file descriptors, mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections that finished their TLS handshake, within the default [`Limits`]. Handshakes run
/// side by side under a timeout, so that a slow or hostile client holds up nobody. Failed ones are
/// logged and dropped: the stream goes on.
pub fn incoming(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
) -> impl Stream<Item = io::Result<TlsConnection>> + Send {
    incoming_within(listener, tls, Limits::default())
}

/// The same as [`incoming`], within these limits.
pub fn incoming_within(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    limits: Limits,
) -> impl Stream<Item = io::Result<TlsConnection>> + Send {
    let acceptor = TlsAcceptor::from(tls);
    let door = Door::new(limits);
    accepted(listener, door.clone())
        .map(move |tcp| handshake(tcp, acceptor.clone(), door.clone()))
        .buffer_unordered(limits.connections)
        .filter_map(|connection| std::future::ready(connection.map(Ok)))
}

/// TCP connections, each taken from the listener's queue when there is room for it.
fn accepted(listener: TcpListener, door: Door) -> impl Stream<Item = Accepted> + Send {
    stream::unfold((listener, door), |(listener, door)| async move {
        let room = door.room().await?;
        let tcp = match listener.accept().await {
            Ok((tcp, _)) => Some(tcp),
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                None
            }
        };
        Some((tcp.map(|tcp| (tcp, room)), (listener, door)))
    })
    .filter_map(std::future::ready)
}

type Accepted = (TcpStream, OwnedSemaphorePermit);

async fn handshake(
    (tcp, room): Accepted,
    acceptor: TlsAcceptor,
    door: Door,
) -> Option<TlsConnection> {
    let address = tcp.peer_addr().ok();
    let _ = tcp.set_nodelay(true);
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(tcp)).await {
        Ok(Ok(stream)) => TlsConnection::new(stream, room, &door),
        Ok(Err(error)) => {
            tracing::info!(?address, %error, "TLS handshake failed");
            None
        }
        Err(_) => {
            tracing::info!(?address, "TLS handshake timed out");
            None
        }
    }
}

/// A TLS connection with the peer's names.
#[derive(Debug)]
pub struct TlsConnection {
    stream: TlsStream<TcpStream>,
    peer: ConnectionPeer,
    _room: OwnedSemaphorePermit,
    _place: Option<Place>,
}

impl TlsConnection {
    /// `None` where the client's certificate is good and can't be read, so that it names nobody,
    /// or where the peer has all its connections.
    fn new(stream: TlsStream<TcpStream>, room: OwnedSemaphorePermit, door: &Door) -> Option<Self> {
        let certificates = stream.get_ref().1.peer_certificates();
        let peer = match certificates.and_then(<[_]>::first) {
            Some(certificate) => Some(Peer::of(certificate)?),
            None => None,
        };
        let place = match &peer {
            Some(peer) => Some(place(door, peer)?),
            None => None,
        };
        Some(Self {
            stream,
            peer: ConnectionPeer { peer },
            _room: room,
            _place: place,
        })
    }
}

fn place(door: &Door, peer: &Peer) -> Option<Place> {
    let place = door.place(peer);
    if place.is_none() {
        tracing::warn!(?peer, "closed a connection: the peer has too many");
    }
    place
}

impl Connected for TlsConnection {
    type ConnectInfo = ConnectionPeer;

    fn connect_info(&self) -> ConnectionPeer {
        self.peer.clone()
    }
}

impl AsyncRead for TlsConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for TlsConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Serves HTTP/1.1 and HTTP/2 on the connections until `shutdown`, then lets requests under way
/// finish. Handlers find the [`ConnectionPeer`] among the request's extensions. Connections without
/// a request under way are closed, by the default [`Limits`].
pub async fn serve_http(
    connections: impl Stream<Item = io::Result<TlsConnection>> + Send,
    router: Router,
    shutdown: impl Future<Output = ()> + Send,
) {
    serve_http_within(connections, router, Limits::default(), shutdown).await;
}

/// The same as [`serve_http`], within these limits.
pub async fn serve_http_within(
    connections: impl Stream<Item = io::Result<TlsConnection>> + Send,
    router: Router,
    limits: Limits,
    shutdown: impl Future<Output = ()> + Send,
) {
    let (closing, watch_closing) = watch::channel(false);
    let mut connections = pin!(connections);
    let mut shutdown = pin!(shutdown);
    let mut serving = JoinSet::new();
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            connection = connections.next() => match connection {
                Some(Ok(connection)) => {
                    let closing = watch_closing.clone();
                    serving.spawn(serve_connection(connection, router.clone(), limits, closing));
                }
                Some(Err(error)) => tracing::warn!(%error, "a connection failed"),
                None => break,
            },
            Some(_) = serving.join_next() => {}
        }
    }
    closing.send_replace(true);
    while serving.join_next().await.is_some() {}
}

async fn serve_connection(
    connection: TlsConnection,
    router: Router,
    limits: Limits,
    mut closing: watch::Receiver<bool>,
) {
    let peer = connection.peer.clone();
    let under_way = UnderWay::default();
    let requests = under_way.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        let this = requests.begin();
        request.extensions_mut().insert(peer.clone());
        let answer = router.clone().oneshot(request);
        async move { Ok::<_, Infallible>(answer.await?.map(|body| this.until_sent(body))) }
    });
    let over = async {
        let closed = async {
            let _ = closing.wait_for(|closing| *closing).await;
        };
        tokio::select! {
            () = closed => {}
            () = under_way.idle(limits.first_request, limits.idle) => {}
        }
    };
    let builder = http_builder();
    let mut serving = pin!(builder.serve_connection(TokioIo::new(connection), service));
    let result = tokio::select! {
        result = serving.as_mut() => result,
        () = over => {
            serving.as_mut().graceful_shutdown();
            // Requests under way finish; a client that then keeps the connection is not waited for.
            tokio::select! {
                result = serving => result,
                () = under_way.idle(limits.idle, limits.idle) => Ok(()),
            }
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended early");
    }
}

fn http_builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE);
    builder
}
