//! Real TLS connections on loopback: who gets in, and who they turn out to be.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::routing::get;
use axum::{Extension, Router};
use futures::{Stream, StreamExt};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType, date_time_ymd,
};
use rustls::pki_types::ServerName;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower::ServiceExt;
use ward_transport::{
    ClientAuth, ConnectionPeer, Limits, TlsConnection, TlsFiles, channel, client_config,
    http_client, incoming, incoming_within, serve_http, serve_http_within, server_config,
};

/// A certification authority in a directory.
struct Authority {
    dir: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("directory");
        let key = KeyPair::generate().expect("key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "test network");
        let pem = params.self_signed(&key).expect("certificate").pem();
        fs::write(dir.path().join("ca.pem"), pem).expect("written");
        let issuer = Issuer::new(params, key);
        Self { dir, issuer }
    }

    fn issue(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> TlsFiles {
        let key = KeyPair::generate().expect("key");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).expect("certificate");
        let file = |end: &str| self.dir.path().join(format!("{name}.{end}"));
        fs::write(file("pem"), certificate.pem()).expect("written");
        fs::write(file("key"), key.serialize_pem()).expect("written");
        TlsFiles {
            certificate: file("pem"),
            key: file("key"),
            ca: self.ca(),
        }
    }

    fn service(&self, name: &str) -> TlsFiles {
        self.issue(name, |params| {
            let name = name.try_into().expect("name");
            params.subject_alt_names = vec![SanType::DnsName(name)];
        })
    }

    fn person(&self, email: &str) -> TlsFiles {
        self.issue("person", |params| {
            let email = email.try_into().expect("e-mail");
            params.subject_alt_names = vec![SanType::Rfc822Name(email)];
        })
    }

    fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }
}

/// A server that answers who it sees.
struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Server {
    async fn start(files: &TlsFiles, auth: ClientAuth) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
        let address = listener.local_addr().expect("address");
        let tls = server_config(files, auth).expect("TLS");
        let (stop, stopped) = oneshot::channel::<()>();
        let router = Router::new().route("/who", get(who));
        let serving = tokio::spawn(serve_http(incoming(listener, tls), router, async {
            let _ = stopped.await;
        }));
        Self {
            address,
            stop,
            serving,
        }
    }

    async fn ask(&self, ca: &Path, identity: Option<&TlsFiles>) -> reqwest::Result<String> {
        let client = http_client(ca, identity, Some(("hospital-a", self.address)));
        let url = format!("https://hospital-a:{}/who", self.address.port());
        client.expect("client").get(url).send().await?.text().await
    }

    async fn stop(self) {
        let _ = self.stop.send(());
        self.serving.await.expect("served to the end");
    }
}

async fn who(Extension(ConnectionPeer { peer }): Extension<ConnectionPeer>) -> String {
    let subject = peer.and_then(|p| p.subject());
    subject.map_or_else(|| "nobody".to_owned(), |s| s.to_string())
}

#[tokio::test]
async fn a_client_is_who_its_certificate_says() {
    let network = Authority::new();
    let server = Server::start(&network.service("hospital-a"), ClientAuth::Optional).await;
    let (ada, node) = (
        network.person("ada@uni.example"),
        network.service("hospital-b"),
    );
    let seen = async |identity| server.ask(&network.ca(), identity).await.expect("answer");
    assert_eq!(seen(Some(&ada)).await, "ada@uni.example");
    assert_eq!(seen(Some(&node)).await, "hospital-b");
    assert_eq!(seen(None).await, "nobody");
    server.stop().await;
}

#[tokio::test]
async fn strangers_do_not_get_in() {
    let (network, other) = (Authority::new(), Authority::new());
    let server = Server::start(&network.service("hospital-a"), ClientAuth::Required).await;
    let stranger = other.person("eve@elsewhere.example");
    let ada = network.person("ada@uni.example");
    assert!(server.ask(&network.ca(), None).await.is_err());
    assert!(server.ask(&network.ca(), Some(&stranger)).await.is_err());
    assert!(server.ask(&other.ca(), Some(&ada)).await.is_err());
    assert!(server.ask(&network.ca(), Some(&ada)).await.is_ok());
    server.stop().await;
}

#[tokio::test]
async fn a_channel_checks_the_name_and_not_the_address() {
    let network = Authority::new();
    let server = Server::start(&network.service("hospital-a"), ClientAuth::Required).await;
    let coordinator = network.service("coordinator");
    let call = async |name: &str| {
        let tls = client_config(&network.ca(), Some(&coordinator)).expect("TLS");
        let name = name.parse().expect("name");
        let channel = channel(
            &server.address.to_string(),
            &name,
            tls,
            Duration::from_secs(5),
        );
        let request = http::Request::post("/who").body(tonic::body::Body::empty());
        channel.oneshot(request.expect("request")).await
    };
    assert!(call("hospital-a").await.is_ok());
    assert!(call("hospital-b").await.is_err());
    server.stop().await;
}

/// The connections of a listener, within limits, and its address.
async fn listening(
    files: &TlsFiles,
    limits: Limits,
) -> (impl Stream<Item = TlsConnection> + use<>, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
    let address = listener.local_addr().expect("address");
    let tls = server_config(files, ClientAuth::Optional).expect("TLS");
    let connections = incoming_within(listener, tls, limits);
    let connections = connections.map(|connection| connection.expect("a connection"));
    (Box::pin(connections), address)
}

/// A client that says nothing after its handshake.
async fn silent(
    ca: PathBuf,
    identity: Option<TlsFiles>,
    address: SocketAddr,
) -> TlsStream<TcpStream> {
    let tls = client_config(&ca, identity.as_ref()).expect("TLS");
    let tcp = TcpStream::connect(address).await.expect("connected");
    let server = ServerName::try_from("hospital-a").expect("name");
    let connected = TlsConnector::from(Arc::new(tls)).connect(server, tcp);
    connected.await.expect("handshake")
}

/// Until the server closes.
async fn closed(mut connection: TlsStream<TcpStream>) {
    let mut rest = Vec::new();
    // Without a TLS close it is an error, and closed all the same.
    let _ = connection.read_to_end(&mut rest).await;
}

#[tokio::test]
async fn clients_over_the_cap_wait_until_there_is_room() {
    let network = Authority::new();
    let limits = Limits {
        connections: 1,
        ..Limits::default()
    };
    let (mut connections, address) = listening(&network.service("hospital-a"), limits).await;
    let clients: Vec<_> = (0..2)
        .map(|_| tokio::spawn(silent(network.ca(), None, address)))
        .collect();
    let first = connections.next().await.expect("first");
    // Long enough for many handshakes, if there were room for one.
    for _ in 0..20_000 {
        let next = futures::poll!(connections.next());
        assert!(next.is_pending(), "a second connection beside the first");
        tokio::task::yield_now().await;
    }
    drop(first);
    connections.next().await.expect("second");
    for client in clients {
        client.await.expect("connected");
    }
}

#[tokio::test]
async fn one_peer_does_not_take_the_room_of_others() {
    let network = Authority::new();
    let limits = Limits {
        connections_per_peer: 1,
        ..Limits::default()
    };
    let (mut connections, address) = listening(&network.service("hospital-a"), limits).await;
    let ada = network.person("ada@uni.example");
    let connect = |files: &TlsFiles| {
        let connected = silent(network.ca(), Some(files.clone()), address);
        tokio::spawn(async { closed(connected.await).await })
    };
    let _open = connect(&ada);
    let first = connections.next().await.expect("Ada's first");
    let refused = connect(&ada);
    // Nobody else comes in: the stream goes on while Ada's second connection is closed.
    tokio::select! {
        _ = connections.next() => panic!("Ada has a second connection"),
        closed = refused => closed.expect("closed"),
    }
    let _other = connect(&network.service("hospital-b"));
    connections.next().await.expect("another peer");
    drop(first);
    let _again = connect(&ada);
    connections.next().await.expect("Ada again");
}

#[tokio::test]
async fn silent_connections_are_closed_and_requests_under_way_are_not() {
    const SHORT: Duration = Duration::from_millis(20);
    let network = Authority::new();
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (beginning, going_on) = (Arc::clone(&begun), Arc::clone(&go_on));
    let slow = async move || {
        beginning.notify_one();
        going_on.notified().await;
        "answered"
    };
    let router = Router::new().route("/slow", get(slow));
    let files = network.service("hospital-a");
    let serve = async |first_request| {
        let limits = Limits {
            first_request,
            idle: SHORT,
            ..Limits::default()
        };
        let (connections, address) = listening(&files, limits).await;
        let connections = connections.map(Ok);
        let never = std::future::pending();
        tokio::spawn(serve_http_within(
            connections,
            router.clone(),
            limits,
            never,
        ));
        address
    };
    let address = serve(Limits::default().first_request).await;
    let hasty = serve(SHORT).await;
    let client = http_client(&network.ca(), None, Some(("hospital-a", address)));
    let url = format!("https://hospital-a:{}/slow", address.port());
    let request = client.expect("client").get(url).send();
    let request = tokio::spawn(async { request.await?.text().await });
    begun.notified().await;
    // Each takes as long as the request's connection may be idle.
    for _ in 0..5 {
        closed(silent(network.ca(), None, hasty).await).await;
    }
    go_on.notify_one();
    let answer = request.await.expect("no panic").expect("answer");
    assert_eq!(answer, "answered");
}

#[test]
fn bad_files_are_named_with_a_remedy() {
    let network = Authority::new();
    let good = network.service("hospital-a");
    let other = network.service("hospital-b");
    let refuse = |files: &TlsFiles| {
        let error = server_config(files, ClientAuth::Required).expect_err("refused");
        error.to_string()
    };
    let missing = TlsFiles {
        certificate: "/nowhere/cert.pem".into(),
        ..good.clone()
    };
    let error = refuse(&missing);
    assert!(
        error.contains("/nowhere/cert.pem") && error.contains("path"),
        "{error}"
    );
    let swapped = TlsFiles {
        certificate: good.key.clone(),
        ..good.clone()
    };
    assert!(refuse(&swapped).contains("BEGIN CERTIFICATE"));
    let no_key = TlsFiles {
        key: good.certificate.clone(),
        ..good.clone()
    };
    assert!(refuse(&no_key).contains("private key"));
    let mismatch = TlsFiles {
        key: other.key,
        ..good
    };
    assert!(refuse(&mismatch).contains("belong together"));
    let expired = network.issue("old", |params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    });
    assert!(refuse(&expired).contains("get a new one"));
}
