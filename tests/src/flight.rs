//! A node's Flight service, called without the coordinator's code.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::Int64Type;
use arrow_flight::decode::{DecodedPayload, FlightDataDecoder};
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{Action, Criteria, FlightData, FlightDescriptor, Ticket};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use futures::TryStreamExt as _;
use serde::de::DeserializeOwned;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::Channel;
use tonic::{Code, Status};
use ward_schemas::ask::Ask;
use ward_schemas::data_key::ShownValues;
use ward_schemas::jws::{KeyRing, MessageKind, VerifyingKey};
use ward_schemas::names::NodeName;
use ward_schemas::partial::{PartialEnvelope, Vectors};
use ward_schemas::plan::Plan;
use ward_schemas::problem::{ERROR_CODE_TRAILER, ErrorCode, Problem};
use ward_schemas::wire::{
    NodeStatus, OfferReply, Quote, TemplateOffer, TemplateSummary, WIRE_FORMAT, action,
};
use ward_transport::TlsFiles;

use crate::process::PATIENCE;

/// A connection to a node.
#[derive(Clone)]
pub struct NodeClient {
    flight: FlightServiceClient<Channel>,
    key: KeyRing<NodeName>,
}

/// Table, component and integers of a row, and the shown values of the table's key from data.
pub type Row = (String, String, Vec<i64>, Option<Vec<String>>);

/// A partial as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The envelope; its signature is good.
    pub envelope: PartialEnvelope,
    /// The claims inside it, byte for byte as they were signed.
    pub claims: String,
    /// One row a component.
    pub rows: Vec<Row>,
}

/// A call that failed.
#[derive(Clone, Debug)]
pub struct Failed {
    /// The gRPC code.
    pub grpc: Code,
    /// The message for people.
    pub message: String,
    /// The node's problem, where it gave one.
    pub problem: Option<Problem>,
}

impl NodeClient {
    /// A client of the node `name` at `address`, with this certificate if any.
    pub fn new(
        address: &str,
        name: &NodeName,
        key: VerifyingKey,
        ca: &Path,
        identity: Option<&TlsFiles>,
    ) -> Self {
        let tls = ward_transport::client_config(ca, identity).expect("certificates");
        let channel = ward_transport::channel(address, name, tls, PATIENCE);
        Self {
            flight: FlightServiceClient::new(channel),
            key: KeyRing::new([(key, name.clone())]),
        }
    }

    /// The templates that may be asked.
    pub async fn templates(&self) -> Result<Vec<TemplateSummary>, Failed> {
        let flights = self
            .flight
            .clone()
            .list_flights(Criteria::default())
            .await?;
        let flights: Vec<_> = flights.into_inner().try_collect().await?;
        Ok(flights.iter().map(|f| read(&f.app_metadata)).collect())
    }

    /// What an ask would cost.
    pub async fn quote(&self, ask: &Ask) -> Result<Quote, Failed> {
        self.quote_bytes(json(ask)).await
    }

    /// What these bytes would cost, if they were an ask.
    pub async fn quote_bytes(&self, command: Vec<u8>) -> Result<Quote, Failed> {
        let descriptor = FlightDescriptor::new_cmd(command);
        let info = self.flight.clone().get_flight_info(descriptor).await?;
        Ok(read(&info.into_inner().app_metadata))
    }

    /// The node's partial.
    pub async fn ask(&self, ask: &Ask) -> Result<Answer, Failed> {
        self.ask_bytes(json(ask)).await
    }

    /// The node's partial for these bytes, if they are an ask.
    pub async fn ask_bytes(&self, ticket: Vec<u8>) -> Result<Answer, Failed> {
        let stream = self.flight.clone().do_get(Ticket::new(ticket)).await?;
        let stream = stream.into_inner().map_err(FlightError::from);
        let mut decoder = FlightDataDecoder::new(stream);
        let (mut token, mut rows) = (String::new(), Vec::new());
        while let Some(data) = decoder.try_next().await? {
            match &data.payload {
                DecodedPayload::Schema(_) => {
                    token = String::from_utf8(data.app_metadata().to_vec()).expect("a token");
                }
                DecodedPayload::RecordBatch(batch) => rows.extend(integers(batch)),
                DecodedPayload::None => {}
            }
        }
        let verified = self
            .key
            .verify::<PartialEnvelope>(MessageKind::Partial, &token);
        let (envelope, _) = verified.expect("the node's signature");
        Ok(Answer {
            envelope,
            claims: claims(&token),
            rows,
        })
    }

    /// The messages of the node's partial, as they travel.
    pub async fn messages(&self, ask: &Ask) -> Result<Vec<FlightData>, Failed> {
        let ticket = Ticket::new(json(ask));
        let stream = self.flight.clone().do_get(ticket).await?;
        Ok(stream.into_inner().try_collect().await?)
    }

    /// Offers a template.
    pub async fn offer(&self, source: &str) -> Result<OfferReply, Failed> {
        let offer = TemplateOffer {
            v: WIRE_FORMAT,
            source: source.to_owned(),
        };
        self.act(action::OFFER, json(&offer)).await
    }

    /// How the node is.
    pub async fn status(&self) -> Result<NodeStatus, Failed> {
        self.act(action::STATUS, Vec::new()).await
    }

    async fn act<T: DeserializeOwned>(&self, name: &str, body: Vec<u8>) -> Result<T, Failed> {
        let results = self
            .flight
            .clone()
            .do_action(Action::new(name, body))
            .await?;
        let results: Vec<_> = results.into_inner().try_collect().await?;
        Ok(read(&results[0].body))
    }
}

impl Answer {
    /// What must be the same each time the partial leaves: all but the envelope around it.
    pub fn content(&self) -> (&str, &[Row]) {
        (&self.claims, &self.rows)
    }

    /// The integers in the plan's shape; they are those that the node signed.
    pub fn vectors(&self, plan: &Plan) -> Vectors {
        let mut rows = self.rows.iter();
        let mut shown = Vec::new();
        let tables = plan.tables.iter().map(|table| {
            let texts = rows.as_slice()[0].3.as_ref();
            let key = table.data_key.as_ref().zip(texts);
            let parsed = key.map(|(key, texts)| ShownValues::parse(key, texts).expect("fit"));
            shown.push(parsed);
            let component = |c: &ward_schemas::plan::Component| {
                let row = rows.next().expect("a row for each component");
                assert_eq!((row.0.as_str(), &row.1), (table.name.as_str(), &c.name));
                assert_eq!(row.3.as_ref(), texts);
                row.2.clone()
            };
            table.components.iter().map(component).collect()
        });
        let tables = tables.collect();
        let vectors = Vectors::with_shown(plan, tables, shown).expect("the plan's shape");
        assert_eq!(vectors.digest(), self.envelope.claims.digest);
        vectors
    }
}

impl Failed {
    /// The node's error code; anything but a node's problem fails the test.
    pub fn code(&self) -> ErrorCode {
        self.problem
            .as_ref()
            .unwrap_or_else(|| panic!("{self:?}"))
            .code
    }
}

impl From<Status> for Failed {
    fn from(status: Status) -> Self {
        let problem: Option<Problem> = serde_json::from_slice(status.details()).ok();
        if let Some(problem) = &problem {
            let trailer = status.metadata().get(ERROR_CODE_TRAILER);
            let trailer = trailer.and_then(|t| t.to_str().ok());
            assert_eq!(trailer, Some(problem.code.as_str()), "{status:?}");
            assert_eq!(status.message(), problem.to_string());
        }
        Self {
            grpc: status.code(),
            message: with_sources(&status),
            problem,
        }
    }
}

impl From<FlightError> for Failed {
    fn from(error: FlightError) -> Self {
        match error {
            FlightError::Tonic(status) => (*status).into(),
            other => Self {
                grpc: Code::Unknown,
                message: other.to_string(),
                problem: None,
            },
        }
    }
}

/// The JSON of the claims in a signed envelope: the first field, before `audit`.
fn claims(token: &str) -> String {
    let payload = token.split('.').nth(1).expect("a compact JWS");
    let payload = BASE64_URL_SAFE_NO_PAD.decode(payload).expect("base64");
    let payload = String::from_utf8(payload).expect("text");
    let (claims, _) = payload
        .split_once(r#","audit":"#)
        .expect("claims, then audit");
    claims.to_owned()
}

/// What TLS says to a client that a node does not let in: a Flight client hears only that the
/// connection was closed.
pub async fn tls_refusal(
    address: SocketAddr,
    name: &NodeName,
    ca: &Path,
    identity: Option<&TlsFiles>,
) -> String {
    let tls = ward_transport::client_config(ca, identity).expect("certificates");
    let tcp = TcpStream::connect(address).await.expect("a listener");
    let server = name.to_string().try_into().expect("a name");
    let connected = TlsConnector::from(Arc::new(tls)).connect(server, tcp).await;
    let heard = match connected {
        // In TLS 1.3 a client is done before the server has judged its certificate.
        Ok(mut connection) => connection.read(&mut [0]).await.map(|_| ()),
        Err(error) => Err(error),
    };
    heard.expect_err("a refusal").to_string()
}

/// A status and the errors under it.
fn with_sources(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

fn integers(batch: &RecordBatch) -> Vec<Row> {
    let text = |column: usize, row| {
        batch
            .column(column)
            .as_string::<i32>()
            .value(row)
            .to_owned()
    };
    let values = batch.column(2).as_list::<i32>();
    let shown = batch.column(3).as_list::<i32>();
    let row = |row| {
        let texts = shown.is_valid(row).then(|| shown.value(row));
        let texts = texts.map(|t| {
            t.as_string::<i32>()
                .iter()
                .flatten()
                .map(str::to_owned)
                .collect()
        });
        let cells = values.value(row);
        let cells = cells.as_primitive::<Int64Type>().values().to_vec();
        (text(0, row), text(1, row), cells, texts)
    };
    (0..batch.num_rows()).map(row).collect()
}

fn json<T: serde::Serialize>(message: &T) -> Vec<u8> {
    serde_json::to_vec(message).expect("JSON")
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> T {
    serde_json::from_slice(bytes).expect("a message of this version")
}
