//! A node over mutual TLS on loopback, as Flight clients see it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::utils::flight_data_to_batches;
use arrow_flight::{Action, Criteria, FlightDescriptor, Ticket};
use futures::TryStreamExt as _;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, IsCa,
    KeyPair,
};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tonic::transport::Channel;
use tonic::{Code, Status};
use ward_data::Silent;
use ward_node::audit::Event;
use ward_node::config::{AccessBody, Config, CoordinatorConfig};
use ward_node::{InitOptions, Node, NodeOptions, Steward, init};
use ward_schemas::ask::{ASK_FORMAT, Ask, Question};
use ward_schemas::delta::Delta;
use ward_schemas::ehds::Purpose;
use ward_schemas::jws::{KeyRing, MessageKind, SigningKey, VerifyingKey};
use ward_schemas::partial::PartialEnvelope;
use ward_schemas::permit::{Holder, PERMIT_FORMAT, Permit};
use ward_schemas::problem::{ERROR_CODE_TRAILER, Problem};
use ward_schemas::template::TemplateRef;
use ward_schemas::wire::{
    Decision, NodeStatus, OfferReply, Quote, TemplateOffer, TemplateSummary, WIRE_FORMAT, action,
};
use ward_transport::{
    ClientAuth, TlsFiles, channel, client_config, incoming, install_crypto_provider, server_config,
};

const TEMPLATE: &str = r#"
id = "patients_by_sex"
version = "1.0.0"
title = "Patients by sex"
question = "How many patients are there of each sex?"
purposes = ["scientific-research"]
categories = ["ehr"]

[[tables]]
name = "by_sex"
sql = """
SELECT p.gender_concept_id AS sex, COUNT(DISTINCT p.person_id) AS patients
FROM person p GROUP BY p.gender_concept_id
"""
rho = "0.005"
contribution = { max_groups = 1, max_rows_per_group = 1 }
keys.sex = { concepts = [8507, 8532] }
"#;

type Client = FlightServiceClient<Channel>;

/// A serving node, its certification authority and its access body.
struct Network {
    dir: tempfile::TempDir,
    ca: CertifiedIssuer<'static, KeyPair>,
    config: Config,
    address: SocketAddr,
    key: VerifyingKey,
    body: SigningKey,
    stop: Option<oneshot::Sender<()>>,
}

impl Network {
    async fn start() -> Self {
        install_crypto_provider();
        let dir = tempfile::tempdir().expect("a directory");
        let ca = authority();
        let body = SigningKey::generate().expect("randomness");
        let config = prepare(dir.path(), &ca, &body).await;
        let node = Node::open(config.clone(), NodeOptions::default());
        let node = node.await.expect("a node");
        let listener = node.listen().await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let key = node.verifying_key();
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(async move {
            let shutdown = async move { drop(stopped.await) };
            node.serve(listener, shutdown).await.expect("served");
        });
        Self {
            dir,
            ca,
            config,
            address,
            key,
            body,
            stop: Some(stop),
        }
    }

    /// A client with a certificate of this name.
    fn client(&self, name: &str) -> Client {
        let files = self.identity(name, &self.ca);
        self.connect(Some(&files))
    }

    fn connect(&self, identity: Option<&TlsFiles>) -> Client {
        let tls = client_config(&self.config.tls.ca, identity).expect("TLS");
        let address = self.address.to_string();
        let timeout = Duration::from_secs(10);
        FlightServiceClient::new(channel(&address, &self.config.name, tls, timeout))
    }

    fn identity(&self, name: &str, issuer: &CertifiedIssuer<'static, KeyPair>) -> TlsFiles {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new([name.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, issuer).expect("signed");
        let write = |suffix: &str, text: String| {
            let file = self.dir.path().join(format!("{name}.{suffix}"));
            fs::write(&file, text).expect("written");
            file
        };
        TlsFiles {
            certificate: write("pem", certificate.pem()),
            key: write("key.pem", key.serialize_pem()),
            ca: self.config.tls.ca.clone(),
        }
    }

    fn ask(&self, template: &TemplateRef) -> Vec<u8> {
        let now = chrono::DateTime::<chrono::Utc>::from(std::time::SystemTime::now());
        let permit = Permit {
            v: PERMIT_FORMAT,
            id: "P-1".parse().expect("a permit"),
            version: 1,
            access_body: "Body".to_owned(),
            issued_at: now,
            valid_from: now - chrono::TimeDelta::days(1),
            valid_until: now + chrono::TimeDelta::days(1),
            holder: Holder {
                organisation: "University".to_owned(),
                principal_investigator: "Ada".to_owned(),
                public_body: false,
            },
            persons: ["ada@uni.example".parse().expect("a subject")].into(),
            purpose: Purpose::ScientificResearch,
            templates: [template.clone()].into(),
            nodes: [self.config.name.clone()].into(),
            budget: "0.1".parse().expect("a rho"),
            budget_delta: Delta::ZERO,
            minimum_nodes: 1,
            requester_key: None,
        };
        let ask = Ask {
            v: ASK_FORMAT,
            question: Question {
                template: template.clone(),
                parameters: Default::default(),
                rho: None,
                purpose: Purpose::ScientificResearch,
            },
            requester: "ada@uni.example".parse().expect("a subject"),
            permit: self
                .body
                .sign(MessageKind::Permit, &permit)
                .expect("signed"),
            signature: None,
            witness: None,
        };
        serde_json::to_vec(&ask).expect("JSON")
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        drop(self.stop.take());
    }
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    CertifiedIssuer::self_signed(params, key).expect("an authority")
}

/// A node with a signed certificate and data.
async fn prepare(dir: &Path, ca: &CertifiedIssuer<'static, KeyPair>, body: &SigningKey) -> Config {
    let source = write_source(dir);
    let package = dir.join("vocabulary.tar");
    let hash = ward_data::vocabulary::pack(&source, &package).expect("a package");
    let options = InitOptions {
        listen: "127.0.0.1:0".to_owned(),
        coordinators: ["coordinator.example".parse().expect("a name")].into(),
        access_bodies: vec![AccessBody {
            name: "Body".to_owned(),
            key: body.verifying_key(),
        }],
        vocabulary: Some(hash),
        ..InitOptions::new("hospital-a".parse().expect("a name"))
    };
    let made = init(&dir.join("node"), &options).await.expect("a node");
    let request = fs::read_to_string(&made.certificate_request).expect("a request");
    let request = CertificateSigningRequestParams::from_pem(&request).expect("a request");
    let certificate = request.signed_by(ca).expect("signed");
    fs::write(&made.certificate, certificate.pem()).expect("written");
    fs::write(&made.ca, ca.pem()).expect("written");
    let config = Config::load(&made.config).expect("valid");
    let steward = Steward::open(config.clone()).await.expect("a steward");
    steward.add_vocabulary(&package).await.expect("added");
    let imported = steward.import_omop(&source, Arc::new(Silent)).await;
    imported.expect("imported");
    config
}

fn write_source(dir: &Path) -> PathBuf {
    let source = dir.join("source");
    fs::create_dir(&source).expect("a directory");
    let mut person = String::from("person_id,gender_concept_id,year_of_birth\n");
    for id in 0..300 {
        let sex = if id % 3 == 0 { 8507 } else { 8532 };
        person += &format!("{id},{sex},{}\n", 1930 + id % 80);
    }
    fs::write(source.join("person.csv"), person).expect("written");
    let concept = "concept_id,concept_name\n8507,MALE\n8532,FEMALE\n";
    fs::write(source.join("concept.csv"), concept).expect("written");
    source
}

/// Serves one file over HTTPS, whatever is asked.
fn serve_file(files: &TlsFiles, listener: TcpListener, content: Vec<u8>) {
    let tls = server_config(files, ClientAuth::Required).expect("TLS");
    let mut tls = Arc::unwrap_or_clone(tls);
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    tokio::spawn(async move {
        let mut connections = Box::pin(incoming(listener, Arc::new(tls)));
        while let Some(connection) = connections.try_next().await.expect("a connection") {
            let mut connection = BufReader::new(connection);
            let mut line = String::from("a request");
            while !line.trim().is_empty() {
                line.clear();
                connection.read_line(&mut line).await.expect("a line");
            }
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
                content.len()
            );
            let reply = [head.as_bytes(), &content].concat();
            connection.write_all(&reply).await.expect("written");
            connection.flush().await.expect("sent");
        }
    });
}

#[tokio::test]
async fn a_vocabulary_package_that_was_fetched_is_audited() {
    let mut network = Network::start().await;
    drop(network.stop.take());
    let config = &mut network.config;
    fs::remove_dir_all(config.data_dir.join("vocabulary")).expect("removed");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let url: url::Url = "https://coordinator.example/".parse().expect("a URL");
    config.coordinator = Some(CoordinatorConfig {
        url: url.clone(),
        resolve: Some(address),
    });
    let package = fs::read(network.dir.path().join("vocabulary.tar")).expect("a package");
    let files = network.identity("coordinator.example", &network.ca);
    serve_file(&files, listener, package);

    let node = Node::open(network.config.clone(), NodeOptions::default());
    let node = node.await.expect("a node");
    let listener = node.listen().await.expect("a port");
    let serving = tokio::spawn(async move { node.serve(listener, std::future::pending()).await });
    let steward = Steward::open(network.config.clone());
    let steward = steward.await.expect("a steward");
    let added = Event::VocabularyAdded {
        vocabulary: network.config.vocabulary.as_ref().expect("a package").hash,
        by: url.to_string(),
    };
    let mut audited = false;
    while !audited {
        assert!(!serving.is_finished(), "the node serves");
        let read = steward.audit_records(|record| audited |= record.event == added);
        read.await.expect("an audit log");
    }
    serving.abort();
}

async fn act(client: &mut Client, name: &str, body: Vec<u8>) -> Result<Vec<u8>, Status> {
    let action = Action::new(name, body);
    let results: Vec<_> = client
        .do_action(action)
        .await?
        .into_inner()
        .try_collect()
        .await?;
    Ok(results[0].body.to_vec())
}

async fn offer(client: &mut Client) -> Result<OfferReply, Status> {
    let offer = TemplateOffer {
        v: WIRE_FORMAT,
        source: TEMPLATE.to_owned(),
    };
    let body = serde_json::to_vec(&offer).expect("JSON");
    let reply = act(client, action::OFFER, body).await?;
    Ok(serde_json::from_slice(&reply).expect("a reply"))
}

async fn list(client: &mut Client) -> Vec<TemplateSummary> {
    let flights = client
        .list_flights(Criteria::default())
        .await
        .expect("a list");
    let flights: Vec<_> = flights.into_inner().try_collect().await.expect("flights");
    flights
        .iter()
        .map(|f| serde_json::from_slice(&f.app_metadata).expect("a summary"))
        .collect()
}

/// The envelope, and the integers of the one component.
async fn get(
    client: &mut Client,
    ticket: Ticket,
    key: VerifyingKey,
) -> (PartialEnvelope, Vec<i64>) {
    use arrow::array::{AsArray as _, ListArray};
    use arrow::datatypes::Int64Type;
    let stream = client.do_get(ticket).await.expect("an answer").into_inner();
    let messages: Vec<_> = stream.try_collect().await.expect("messages");
    let token = std::str::from_utf8(&messages[0].app_metadata).expect("text");
    let (envelope, _) = KeyRing::new([(key, ())])
        .verify::<PartialEnvelope>(MessageKind::Partial, token)
        .map(|(envelope, trusted)| (envelope, *trusted))
        .expect("signed by the node");
    let batches = flight_data_to_batches(&messages).expect("a batch");
    assert_eq!(batches[0].schema(), ward_node::flight::schema());
    let values: &ListArray = batches[0].column(2).as_list();
    let first = values.value(0);
    (
        envelope,
        first.as_primitive::<Int64Type>().values().to_vec(),
    )
}

/// The code in the trailer, which must be that of the problem in the details.
fn refused<T: std::fmt::Debug>(result: Result<T, Status>) -> (Code, String) {
    let status = result.expect_err("refused");
    let problem: Problem = serde_json::from_slice(status.details()).expect("a problem");
    let trailer = status.metadata().get(ERROR_CODE_TRAILER);
    let code = trailer.and_then(|v| v.to_str().ok()).unwrap_or_default();
    assert_eq!(code, problem.code.as_str());
    assert_eq!(status.message(), problem.to_string());
    (status.code(), code.to_owned())
}

#[tokio::test]
async fn from_an_offer_to_an_answer() {
    let network = Network::start().await;
    let mut client = network.client("coordinator.example");
    let reply = offer(&mut client).await.expect("accepted");
    assert_eq!(reply.decision, Decision::Pending);
    assert!(list(&mut client).await.is_empty(), "nobody approved it");
    let ask = network.ask(&reply.template);
    let quoted = client
        .get_flight_info(FlightDescriptor::new_cmd(ask.clone()))
        .await;
    let (code, name) = refused(quoted);
    assert_eq!(
        (code, name.as_str()),
        (Code::FailedPrecondition, "TEMPLATE_NOT_APPROVED")
    );

    let steward = Steward::open(network.config.clone())
        .await
        .expect("a steward");
    steward.approve("patients_by_sex").await.expect("approved");
    assert_eq!(list(&mut client).await[0].template, reply.template);
    let info = client.get_flight_info(FlightDescriptor::new_cmd(ask)).await;
    let info = info.expect("a quote").into_inner();
    let quote: Quote = serde_json::from_slice(&info.app_metadata).expect("a quote");
    assert_eq!(quote.charge.rho.to_string(), "0.005");
    let ticket = info.endpoint[0].ticket.clone().expect("a ticket");
    let schema = info.try_decode_schema().expect("a schema");
    assert_eq!(&schema, ward_node::flight::schema().as_ref());

    let (first, counts) = get(&mut client, ticket.clone(), network.key).await;
    let (second, again) = get(&mut client, ticket, network.key).await;
    assert_eq!((&first.claims, &counts), (&second.claims, &again));
    assert!(second.audit.sequence > first.audit.sequence);
    assert_eq!(first.claims.plan, quote.plan.hash().expect("a hash"));
    assert!((counts[0] - 100).abs() < 100 && (counts[1] - 200).abs() < 100);
    let status = act(&mut client, action::STATUS, Vec::new())
        .await
        .expect("a status");
    // The head would tell when an ask's record was stored.
    let fields: serde_json::Value = serde_json::from_slice(&status).expect("JSON");
    assert_eq!(fields.get("audit"), None);
    let status: NodeStatus = serde_json::from_slice(&status).expect("a status");
    assert!(status.has_snapshot && status.vocabulary.is_some());
}

#[tokio::test]
async fn another_peer_of_the_network_can_list_and_nothing_more() {
    let network = Network::start().await;
    let mut coordinator = network.client("coordinator.example");
    let template = offer(&mut coordinator).await.expect("accepted").template;
    let steward = Steward::open(network.config.clone())
        .await
        .expect("a steward");
    steward.approve_all().await.expect("approved");

    let mut other = network.client("hospital-b");
    assert_eq!(list(&mut other).await.len(), 1);
    let not_trusted = (Code::PermissionDenied, "PEER_NOT_TRUSTED".to_owned());
    let ask = network.ask(&template);
    let quoted = other
        .get_flight_info(FlightDescriptor::new_cmd(ask.clone()))
        .await;
    assert_eq!(refused(quoted.map(drop)), not_trusted);
    assert_eq!(
        refused(other.do_get(Ticket::new(ask)).await.map(drop)),
        not_trusted
    );
    assert_eq!(refused(offer(&mut other).await), not_trusted);
    assert_eq!(
        refused(act(&mut other, action::STATUS, Vec::new()).await),
        not_trusted
    );
}

#[tokio::test]
async fn who_has_no_certificate_of_the_network_cannot_connect() {
    let network = Network::start().await;
    let mut nobody = network.connect(None);
    assert!(nobody.list_flights(Criteria::default()).await.is_err());
    let stranger = network.identity("coordinator.example", &authority());
    let mut stranger = network.connect(Some(&stranger));
    assert!(stranger.list_flights(Criteria::default()).await.is_err());
}

#[tokio::test]
async fn a_malformed_ticket_is_refused() {
    let network = Network::start().await;
    let mut client = network.client("coordinator.example");
    for ticket in [b"".as_slice(), b"ticket", b"{\"v\":1}", b"[]"] {
        let answer = client.do_get(Ticket::new(ticket.to_vec())).await;
        let malformed = (Code::InvalidArgument, "MALFORMED_REQUEST".to_owned());
        assert_eq!(refused(answer.map(drop)), malformed);
    }
    let unknown = act(&mut client, "ward.nothing", Vec::new()).await;
    assert_eq!(refused(unknown), (Code::NotFound, "NOT_FOUND".to_owned()));
}
