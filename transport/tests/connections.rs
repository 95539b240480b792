//! Real TLS connections on loopback: who gets in, and who they turn out to be.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::routing::get;
use axum::{Extension, Router};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType, date_time_ymd,
};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tower::ServiceExt;
use ward_transport::{
    ClientAuth, ConnectionPeer, TlsFiles, channel, client_config, http_client, incoming,
    serve_http, server_config,
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
