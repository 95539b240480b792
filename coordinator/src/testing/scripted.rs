//! Nodes that follow a script: real ones never misbehave like this.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use arrow::array::{ArrayRef, Int64Builder, ListBuilder, RecordBatch, StringArray, StringBuilder};
use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::utils::batches_to_flight_data;
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo,
    HandshakeRequest, HandshakeResponse, PollInfo, PutResult, SchemaResult, Ticket,
};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tonic::{Code, Request, Response, Status, Streaming};
use ward_schemas::ask::Ask;
use ward_schemas::canonical::ContentHash;
use ward_schemas::jws::SigningKey;
use ward_schemas::names::NodeName;
use ward_schemas::partial::{AuditHead, NoiseKind};
use ward_schemas::plan::Plan;
use ward_schemas::problem::{ErrorCode, Problem};
use ward_schemas::template::Template;
use ward_schemas::wire::{Decision, OfferReply, TemplateOffer, WIRE_FORMAT};
use ward_transport::{ClientAuth, TlsFiles, incoming, server_config};

use super::{Answer, plan, quote};
use crate::config::NodeConfig;

/// What a node does.
#[derive(Debug)]
pub(crate) enum Script {
    /// Answers as it should.
    Answers,
    /// Answers with a test's noise.
    Frozen,
    /// Answers, out of an audit log longer than can be.
    EndlessLog,
    /// Refuses quotes.
    Refuses(ErrorCode),
    /// Quotes, and breaks off so many answers.
    FailsFirst(AtomicU32),
    /// Compiles another plan, and reads templates otherwise.
    OtherPlan,
    /// Quotes, and never answers.
    Silent,
    /// Does not listen.
    Away,
}

/// A running node.
pub(crate) struct ScriptedNode {
    config: NodeConfig,
    witnesses: Witnesses,
    _serving: JoinSet<()>,
}

type Witnesses = Arc<Mutex<Vec<Option<AuditHead>>>>;

impl ScriptedNode {
    pub(crate) async fn start(
        name: &str,
        files: &TlsFiles,
        vocabulary: ContentHash,
        script: Script,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
        let address = listener.local_addr().expect("address").to_string();
        let key = SigningKey::generate().expect("randomness");
        let config = NodeConfig {
            name: name.parse().expect("name"),
            address: address.parse().expect("address"),
            key: key.verifying_key(),
        };
        let witnesses = Witnesses::default();
        let mut serving = JoinSet::new();
        if !matches!(script, Script::Away) {
            let service = Service {
                name: config.name.clone(),
                key,
                vocabulary,
                script,
                witnesses: Arc::clone(&witnesses),
            };
            let tls = server_config(files, ClientAuth::Required).expect("TLS");
            let server = tonic::transport::Server::builder()
                .add_service(FlightServiceServer::new(service))
                .serve_with_incoming(incoming(listener, tls));
            serving.spawn(async {
                server.await.expect("served");
            });
        }
        Self {
            config,
            witnesses,
            _serving: serving,
        }
    }

    pub(crate) fn config(&self) -> NodeConfig {
        self.config.clone()
    }

    pub(crate) fn name(&self) -> &NodeName {
        &self.config.name
    }

    /// The audit head that came with each call for a partial.
    pub(crate) fn witnesses(&self) -> Vec<Option<AuditHead>> {
        self.witnesses.lock().expect("no panic").clone()
    }
}

struct Service {
    name: NodeName,
    key: SigningKey,
    vocabulary: ContentHash,
    script: Script,
    witnesses: Witnesses,
}

impl Service {
    fn plan(&self, ask: &Ask) -> Plan {
        let mut plan = Plan {
            template: ask.question.template.clone(),
            vocabulary: self.vocabulary,
            ..plan()
        };
        if matches!(self.script, Script::OtherPlan) {
            plan.engine = "ward-privacy/0".into();
        }
        plan
    }

    fn answer(&self, ask: &Ask) -> Vec<FlightData> {
        let mut answer = Answer::of(&self.name, &self.plan(ask));
        if matches!(self.script, Script::Frozen) {
            answer.claims.noise = NoiseKind::Frozen;
        }
        if matches!(self.script, Script::EndlessLog) {
            answer.audit.sequence = u64::MAX;
        }
        let signed = answer.sign(&self.key);
        let mut shown = ListBuilder::new(StringBuilder::new());
        shown.append_null();
        let mut values = ListBuilder::new(Int64Builder::new());
        values.append_value(signed.rows[0].values.iter().copied().map(Some));
        let text = |t: &str| Arc::new(StringArray::from(vec![t])) as ArrayRef;
        let batch = RecordBatch::try_from_iter([
            ("table", text(&signed.rows[0].table)),
            ("component", text(&signed.rows[0].component)),
            ("values", Arc::new(values.finish()) as ArrayRef),
            ("shown", Arc::new(shown.finish()) as ArrayRef),
        ])
        .expect("batch");
        let mut messages = batches_to_flight_data(&batch.schema(), vec![batch]).expect("messages");
        messages[0].app_metadata = signed.envelope.into();
        messages
    }
}

fn refusal(code: ErrorCode) -> Status {
    let problem = Problem::new(code, "the script says no", "Change the script.");
    let details = serde_json::to_vec(&problem).expect("json");
    Status::with_details(Code::FailedPrecondition, "no", details.into())
}

type Answers<T> = BoxStream<'static, Result<T, Status>>;

#[async_trait::async_trait]
impl FlightService for Service {
    type HandshakeStream = Answers<HandshakeResponse>;
    type ListFlightsStream = Answers<FlightInfo>;
    type DoGetStream = Answers<FlightData>;
    type DoPutStream = Answers<PutResult>;
    type DoActionStream = Answers<arrow_flight::Result>;
    type ListActionsStream = Answers<ActionType>;
    type DoExchangeStream = Answers<FlightData>;

    async fn get_flight_info(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        if let Script::Refuses(code) = self.script {
            return Err(refusal(code));
        }
        let ask: Ask = serde_json::from_slice(&request.into_inner().cmd).expect("an ask");
        let mut quote = quote(self.name.as_str());
        quote.plan = self.plan(&ask);
        let json = serde_json::to_vec(&quote).expect("json");
        Ok(Response::new(FlightInfo::new().with_app_metadata(json)))
    }

    async fn do_get(
        &self,
        request: Request<Ticket>,
    ) -> Result<Response<Self::DoGetStream>, Status> {
        let ask: Ask = serde_json::from_slice(&request.into_inner().ticket).expect("an ask");
        self.witnesses.lock().expect("no panic").push(ask.witness);
        let mut messages: Vec<_> = self.answer(&ask).into_iter().map(Ok).collect();
        match &self.script {
            Script::Silent => std::future::pending().await,
            Script::FailsFirst(left) if left.load(Ordering::Relaxed) > 0 => {
                left.fetch_sub(1, Ordering::Relaxed);
                messages.truncate(1);
                messages.push(Err(Status::unavailable("broken off")));
            }
            _ => {}
        }
        Ok(Response::new(stream::iter(messages).boxed()))
    }

    async fn do_action(
        &self,
        request: Request<Action>,
    ) -> Result<Response<Self::DoActionStream>, Status> {
        let body = request.into_inner().body;
        let offer: TemplateOffer = serde_json::from_slice(&body).expect("an offer");
        let template = Template::parse(&offer.source).expect("a template");
        let expanded = template.expand(self.vocabulary, &ward_schemas::key::NoVocabulary);
        let mut template = expanded.expect("expanded").reference();
        if matches!(self.script, Script::OtherPlan) {
            template.hash = ContentHash::of_bytes(b"other");
        }
        let reply = OfferReply {
            v: WIRE_FORMAT,
            template,
            decision: Decision::Approved,
        };
        let body = serde_json::to_vec(&reply).expect("json").into();
        let result = Ok(arrow_flight::Result { body });
        Ok(Response::new(stream::iter([result]).boxed()))
    }

    async fn handshake(
        &self,
        _: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        Err(Status::unimplemented("handshake"))
    }

    async fn list_flights(
        &self,
        _: Request<Criteria>,
    ) -> Result<Response<Self::ListFlightsStream>, Status> {
        Err(Status::unimplemented("list"))
    }

    async fn poll_flight_info(
        &self,
        _: Request<FlightDescriptor>,
    ) -> Result<Response<PollInfo>, Status> {
        Err(Status::unimplemented("poll"))
    }

    async fn get_schema(
        &self,
        _: Request<FlightDescriptor>,
    ) -> Result<Response<SchemaResult>, Status> {
        Err(Status::unimplemented("schema"))
    }

    async fn do_put(
        &self,
        _: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoPutStream>, Status> {
        Err(Status::unimplemented("put"))
    }

    async fn list_actions(
        &self,
        _: Request<Empty>,
    ) -> Result<Response<Self::ListActionsStream>, Status> {
        Err(Status::unimplemented("actions"))
    }

    async fn do_exchange(
        &self,
        _: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        Err(Status::unimplemented("exchange"))
    }
}
