//! The node's Arrow Flight service.
//!
//! | call | who | what |
//! | --- | --- | --- |
//! | `ListFlights` | any peer | approved templates |
//! | `GetFlightInfo` | coordinators | gate and quote, free |
//! | `DoGet` | coordinators | gate, replay or charge, run, release |
//! | `DoAction` | coordinators | offer a template, status |

use std::pin::Pin;
use std::sync::Arc;

use arrow_flight::flight_service_server::FlightService;
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightEndpoint, FlightInfo,
    HandshakeRequest, HandshakeResponse, PollInfo, PutResult, SchemaResult, Ticket,
};
use futures::{Stream, StreamExt as _, stream};
use serde::Serialize;
use tonic::{Request, Response, Status, Streaming};
use ward_schemas::plan::ENGINE_VERSION;
use ward_schemas::problem::{ErrorCode, Problem};
use ward_schemas::template::MAX_TEMPLATE_BYTES;
use ward_schemas::wire::{NodeStatus, TemplateOffer, TemplateSummary, WIRE_FORMAT, action};
use ward_transport::ConnectionPeer;

use crate::answer::Answerer;
use crate::audit::{Call, Who};
use crate::error::to_status;
use crate::flight;
use crate::gate::Caller;

/// The largest message that is read, in bytes.
pub(crate) const MAX_REQUEST_BYTES: usize = 1 << 20;

/// The Flight service of a node.
pub(crate) struct Service(pub(crate) Arc<Answerer>);

type Reply<T> = Result<Response<T>, Status>;
type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl FlightService for Service {
    type HandshakeStream = Messages<HandshakeResponse>;
    type ListFlightsStream = Messages<FlightInfo>;
    type DoGetStream = Messages<FlightData>;
    type DoPutStream = Messages<PutResult>;
    type DoActionStream = Messages<arrow_flight::Result>;
    type ListActionsStream = Messages<ActionType>;
    type DoExchangeStream = Messages<FlightData>;

    async fn list_flights(&self, request: Request<Criteria>) -> Reply<Self::ListFlightsStream> {
        self.caller(&request).map_err(|p| to_status(&p))?;
        let templates = self.0.state.approved().await.map_err(|p| to_status(&p))?;
        let flights: Vec<_> = templates.iter().map(template_flight).collect();
        Ok(Response::new(stream::iter(flights).boxed()))
    }

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Reply<FlightInfo> {
        let caller = self.caller(&request).map_err(|p| to_status(&p))?;
        let descriptor = request.into_inner();
        let quote = self
            .0
            .quote(&caller, &descriptor.cmd)
            .await
            .map_err(|p| to_status(&p))?;
        let ticket = Ticket::new(descriptor.cmd.clone());
        let info = described(&quote)?
            .with_endpoint(FlightEndpoint::new().with_ticket(ticket))
            .with_descriptor(descriptor);
        Ok(Response::new(info))
    }

    async fn do_get(&self, request: Request<Ticket>) -> Reply<Self::DoGetStream> {
        let caller = self.caller(&request).map_err(|p| to_status(&p))?;
        let ticket = request.into_inner().ticket;
        let answerer = Arc::clone(&self.0);
        // A task of its own: a client that hangs up must not leave an ask half done.
        let answer = tokio::spawn(async move { answerer.answer(&caller, &ticket).await });
        let reply = answer
            .await
            .map_err(|_| to_status(&fault()))?
            .map_err(|p| to_status(&p))?;
        let messages = flight::encode(reply.compiled.plan(), &reply.vectors, reply.envelope)
            .map_err(|_| to_status(&fault()))?;
        let messages = stream::iter(messages.into_iter().map(Ok));
        Ok(Response::new(messages.boxed()))
    }

    async fn do_action(&self, request: Request<Action>) -> Reply<Self::DoActionStream> {
        let caller = self.caller(&request).map_err(|p| to_status(&p))?;
        let action = request.into_inner();
        let done = match action.r#type.as_str() {
            action::OFFER => self.offer(&caller, &action.body).await,
            action::STATUS => self.status(&caller).await,
            other => Err(Problem::new(
                ErrorCode::NotFound,
                format!("there is no action {other:?}"),
                format!("Use {} or {}.", action::OFFER, action::STATUS),
            )),
        };
        let body = done.map_err(|p| to_status(&p))?;
        let result = arrow_flight::Result::new(body);
        Ok(Response::new(stream::iter([Ok(result)]).boxed()))
    }

    async fn list_actions(&self, _request: Request<Empty>) -> Reply<Self::ListActionsStream> {
        let actions = [
            (action::OFFER, "Offers a template to the steward's inbox."),
            (action::STATUS, "Says how the node is."),
        ];
        let actions = actions.map(|(name, description)| {
            Ok(ActionType {
                r#type: name.to_owned(),
                description: description.to_owned(),
            })
        });
        Ok(Response::new(stream::iter(actions).boxed()))
    }

    async fn handshake(
        &self,
        _request: Request<Streaming<HandshakeRequest>>,
    ) -> Reply<Self::HandshakeStream> {
        Err(not_offered("Handshake"))
    }

    async fn poll_flight_info(&self, _request: Request<FlightDescriptor>) -> Reply<PollInfo> {
        Err(not_offered("PollFlightInfo"))
    }

    async fn get_schema(&self, _request: Request<FlightDescriptor>) -> Reply<SchemaResult> {
        Err(not_offered("GetSchema"))
    }

    async fn do_put(&self, _request: Request<Streaming<FlightData>>) -> Reply<Self::DoPutStream> {
        Err(not_offered("DoPut"))
    }

    async fn do_exchange(
        &self,
        _request: Request<Streaming<FlightData>>,
    ) -> Reply<Self::DoExchangeStream> {
        Err(not_offered("DoExchange"))
    }
}

impl Service {
    /// Who calls, by the certificate that TLS verified.
    fn caller<T>(&self, request: &Request<T>) -> Result<Caller, Problem> {
        let connection = request.extensions().get::<ConnectionPeer>();
        let peer = connection.and_then(|c| c.peer.as_ref()).ok_or_else(|| {
            Problem::new(
                ErrorCode::Unauthenticated,
                "the connection has no client certificate",
                "Connect with a certificate of the network's certification authority.",
            )
        })?;
        let mut coordinators = self.0.state.config.coordinators.iter();
        let name = peer
            .subject()
            .map_or_else(|| "a peer without a name".to_owned(), |s| s.to_string());
        Ok(Caller {
            name,
            is_coordinator: coordinators.any(|name| peer.is_node(name)),
        })
    }

    async fn offer(&self, caller: &Caller, body: &[u8]) -> Result<Vec<u8>, Problem> {
        let offered = match caller.require_coordinator().and_then(|()| read_offer(body)) {
            Ok(offer) => self.0.state.offer(offer.source, caller.name.clone()).await,
            Err(problem) => Err(problem),
        };
        self.audited(Call::Offer, caller, offered).await
    }

    async fn status(&self, caller: &Caller) -> Result<Vec<u8>, Problem> {
        let status = match caller.require_coordinator() {
            Ok(()) => node_status(&self.0).await,
            Err(problem) => Err(problem),
        };
        self.audited(Call::Status, caller, status).await
    }

    async fn audited<T: Serialize>(
        &self,
        call: Call,
        caller: &Caller,
        result: Result<T, Problem>,
    ) -> Result<Vec<u8>, Problem> {
        match result {
            Ok(reply) => serde_json::to_vec(&reply).map_err(|_| fault()),
            Err(problem) => {
                let who = Who::peer(caller.name.clone());
                self.0.audit_refusal(call, who, &problem, None).await;
                Err(problem)
            }
        }
    }
}

/// How a node is.
pub(crate) async fn node_status(answerer: &Answerer) -> Result<NodeStatus, Problem> {
    let state = &answerer.state;
    Ok(NodeStatus {
        v: WIRE_FORMAT,
        node: answerer.rules.node.clone(),
        engine: ENGINE_VERSION.to_owned(),
        vocabulary: state.shelf.loaded().map(|package| package.hash()),
        has_snapshot: state.active_snapshot().await.is_ok(),
    })
}

fn read_offer(body: &[u8]) -> Result<TemplateOffer, Problem> {
    let malformed = |detail: String| {
        Problem::new(
            ErrorCode::MalformedRequest,
            detail,
            "Send the JSON of one template offer, as the interface describes it.",
        )
    };
    let offer: TemplateOffer = serde_json::from_slice(body)
        .map_err(|e| malformed(format!("the offer can't be read: {e}")))?;
    if offer.v != WIRE_FORMAT {
        return Err(Problem::new(
            ErrorCode::UnsupportedVersion,
            format!("the offer has format version {}", offer.v),
            format!("Send format version {WIRE_FORMAT}."),
        ));
    }
    if offer.source.len() > MAX_TEMPLATE_BYTES {
        return Err(malformed(format!(
            "the template has {} bytes and the limit is {MAX_TEMPLATE_BYTES}",
            offer.source.len()
        )));
    }
    Ok(offer)
}

fn template_flight(summary: &TemplateSummary) -> Result<FlightInfo, Status> {
    let path = vec![
        summary.template.id.to_string(),
        summary.template.version.to_string(),
    ];
    Ok(described(summary)?.with_descriptor(FlightDescriptor::new_path(path)))
}

fn described<T: Serialize>(content: &T) -> Result<FlightInfo, Status> {
    let json = serde_json::to_vec(content).map_err(|_| to_status(&fault()))?;
    let info = FlightInfo::new()
        .try_with_schema(&flight::schema())
        .map_err(|_| to_status(&fault()))?;
    Ok(info.with_app_metadata(json))
}

fn fault() -> Problem {
    Problem::new(
        ErrorCode::Internal,
        "the node failed",
        "Ask the same again; it is safe. The hospital's operator finds the reason in the node's log.",
    )
}

fn not_offered(call: &str) -> Status {
    Status::unimplemented(format!(
        "a node does not serve {call}. Use ListFlights, GetFlightInfo, DoGet or DoAction."
    ))
}
