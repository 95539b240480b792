//! Dialling: Flight channels to nodes, and HTTP clients.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};
use ward_schemas::names::NodeName;

use crate::tls::{TlsError, TlsFiles, client_config};

/// How often an idle connection is checked, and how long the check may take.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// A channel to the node of this name at `address` (host and port). It dials on first use and
/// again after a broken connection; who answers must prove the *name*, wherever it is.
pub fn channel(
    address: &str,
    name: &NodeName,
    mut tls: ClientConfig,
    connect_timeout: Duration,
) -> Channel {
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let connector = TlsConnector::from(Arc::new(tls));
    let (address, server) = (address.to_owned(), name.clone());
    let dial = tower::service_fn(move |_: Uri| {
        let dialled = dial(address.clone(), server.clone(), connector.clone());
        async move { dialled.await.map(TokioIo::new) }
    });
    // The connector does TLS itself: to tonic it is a plain connection.
    Endpoint::from(authority(name, "http"))
        .origin(authority(name, "https"))
        .connect_timeout(connect_timeout)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .connect_with_connector_lazy(dial)
}

/// An HTTP client that trusts `ca` alone, and presents `identity` where given. `resolve` sends a
/// host name to a fixed address; a port in a URL goes before the address's. Neither redirects nor proxies in the environment are followed:
/// both could learn who asks.
///
/// # Errors
/// When a file can't be read, or holds no usable certificate or key.
pub fn http_client(
    ca: &Path,
    identity: Option<&TlsFiles>,
    resolve: Option<(&str, SocketAddr)>,
) -> Result<reqwest::Client, TlsError> {
    let mut tls = client_config(ca, identity)?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .https_only(true)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy();
    if let Some((name, address)) = resolve {
        builder = builder.resolve(name, address);
    }
    builder.build().map_err(TlsError::Client)
}

async fn dial(
    address: String,
    name: NodeName,
    connector: TlsConnector,
) -> io::Result<TlsStream<TcpStream>> {
    let server = ServerName::try_from(name.as_str().to_owned()).map_err(io::Error::other)?;
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    connector.connect(server, tcp).await
}

fn authority(name: &NodeName, scheme: &str) -> Uri {
    Uri::builder()
        .scheme(scheme)
        .authority(name.as_str())
        .path_and_query("/")
        .build()
        .expect("a node name is a DNS name, which is an authority")
}
