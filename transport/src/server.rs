//! Accepting connections, and serving HTTP on them.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use futures::{Stream, StreamExt};
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::server::Connected;
use tower::ServiceExt;

use crate::peer::{ConnectionPeer, Peer};

/// How long a client has for its TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client has for the head of an HTTP/1.1 request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Handshakes under way at once; more clients wait in the listener's queue.
const MAX_HANDSHAKES: usize = 1024;
/// How long to wait after a failed accept: out of file descriptors, mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections that finished their TLS handshake. Handshakes run side by side under a timeout, so
/// that a slow or hostile client holds up nobody. Failed ones are logged and dropped: the stream
/// goes on.
pub fn incoming(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
) -> impl Stream<Item = io::Result<TlsConnection>> + Send {
    let acceptor = TlsAcceptor::from(tls);
    TcpListenerStream::new(listener)
        .map(move |tcp| handshake(tcp, acceptor.clone()))
        .buffer_unordered(MAX_HANDSHAKES)
        .filter_map(|connection| std::future::ready(connection.map(Ok)))
}

async fn handshake(tcp: io::Result<TcpStream>, acceptor: TlsAcceptor) -> Option<TlsConnection> {
    let tcp = match tcp {
        Ok(tcp) => tcp,
        Err(error) => {
            tracing::warn!(%error, "accept failed");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            return None;
        }
    };
    let address = tcp.peer_addr().ok();
    let _ = tcp.set_nodelay(true);
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(tcp)).await {
        Ok(Ok(stream)) => TlsConnection::new(stream),
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
}

impl TlsConnection {
    /// `None` where the client's certificate is good and can't be read: it names nobody.
    fn new(stream: TlsStream<TcpStream>) -> Option<Self> {
        let certificates = stream.get_ref().1.peer_certificates();
        let peer = match certificates.and_then(<[_]>::first) {
            Some(certificate) => Some(Peer::of(certificate)?),
            None => None,
        };
        let peer = ConnectionPeer { peer };
        Some(Self { stream, peer })
    }
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
/// finish. Handlers find the [`ConnectionPeer`] among the request's extensions.
pub async fn serve_http(
    connections: impl Stream<Item = io::Result<TlsConnection>> + Send,
    router: Router,
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
                    serving.spawn(serve_connection(connection, router.clone(), watch_closing.clone()));
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
    mut closing: watch::Receiver<bool>,
) {
    let peer = connection.peer.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        router.clone().oneshot(request)
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT);
    builder.http2().timer(TokioTimer::new());
    let mut serving = pin!(builder.serve_connection(TokioIo::new(connection), service));
    let closed = async {
        let _ = closing.wait_for(|closing| *closing).await;
    };
    let result = tokio::select! {
        result = serving.as_mut() => result,
        () = closed => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended early");
    }
}
