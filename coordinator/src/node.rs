//! One node, over Arrow Flight: the only place where the coordinator dials.

use std::error::Error;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use arrow_flight::decode::{DecodedPayload, FlightDataDecoder};
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{Action, FlightData, FlightDescriptor, Ticket};
use bytes::Bytes;
use futures::TryStreamExt;
use rustls::ClientConfig;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use ward_schemas::ask::Ask;
use ward_schemas::data_key::MAX_TEXT_BYTES;
use ward_schemas::jws::{KeyRing, MAX_TOKEN_BYTES};
use ward_schemas::names::NodeName;
use ward_schemas::plan::{Plan, TablePlan};
use ward_schemas::problem::{ERROR_CODE_TRAILER, ErrorCode, Problem};
use ward_schemas::wire::{OfferReply, Quote, TemplateOffer, WIRE_FORMAT, action};

use crate::accept::{ComponentRow, Received};
use crate::config::{Config, NodeConfig};
use crate::retry::Patience;

/// The largest control message that is read: a plan may list a million cells' keys.
const MAX_CONTROL_BYTES: usize = 64 * 1024 * 1024;
/// Room for names and framing around a partial's integers.
const FRAMING_BYTES: usize = 1024 * 1024;

/// A node as the configuration knows it.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    key: KeyRing<NodeName>,
    channel: Channel,
    quoting: Patience,
    answering: Patience,
}

impl Node {
    /// A node that is dialled when it is first called.
    pub(crate) fn new(node: &NodeConfig, config: &Config, tls: ClientConfig) -> Self {
        let timeout = config.connect_timeout();
        let patience = |deadline| Patience {
            deadline,
            attempts: config.attempts,
            pause: config.retry_pause(),
        };
        Self {
            key: KeyRing::new([(node.key, node.name.clone())]),
            channel: ward_transport::channel(node.address.as_str(), &node.name, tls, timeout),
            quoting: patience(config.quote_deadline()),
            answering: patience(config.answer_deadline()),
        }
    }

    /// The key that signs its partials.
    pub(crate) fn key(&self) -> &KeyRing<NodeName> {
        &self.key
    }

    /// Asks for a quote, which is free.
    pub(crate) async fn quote(&self, ask: &Ask) -> Result<Quote, Problem> {
        let command = json(ask)?;
        self.quoting
            .call(|| async {
                let descriptor = FlightDescriptor::new_cmd(command.clone());
                let mut flight = self.flight(MAX_CONTROL_BYTES);
                let info = flight.get_flight_info(descriptor).await;
                let info = info.map_err(|status| problem_of(&status))?;
                read(&info.into_inner().app_metadata)
            })
            .await
    }

    /// Asks for the partial: the node charges it, once.
    pub(crate) async fn partial(&self, ask: &Ask, plan: &Plan) -> Result<Received, Problem> {
        let ticket = json(ask)?;
        self.answering
            .call(|| async {
                let mut flight = self.flight(partial_bytes(plan));
                let answer = flight.do_get(Ticket::new(ticket.clone())).await;
                receive(
                    answer.map_err(|status| problem_of(&status))?.into_inner(),
                    plan,
                )
                .await
            })
            .await
    }

    /// Offers a template to the steward.
    pub(crate) async fn offer(&self, source: &str) -> Result<OfferReply, Problem> {
        let offer = TemplateOffer {
            v: WIRE_FORMAT,
            source: source.to_owned(),
        };
        let body = json(&offer)?;
        let once = Patience {
            attempts: std::num::NonZeroU32::MIN,
            ..self.quoting
        };
        once.call(|| async {
            let action = Action::new(action::OFFER, body.clone());
            let results = self.flight(MAX_CONTROL_BYTES).do_action(action).await;
            let mut results = results.map_err(|status| problem_of(&status))?.into_inner();
            let first = results.message().await;
            let first = first.map_err(|status| problem_of(&status))?;
            read(&first.ok_or_else(|| unreadable("no result"))?.body)
        })
        .await
    }

    fn flight(&self, limit: usize) -> FlightServiceClient<Channel> {
        FlightServiceClient::new(self.channel.clone()).max_decoding_message_size(limit)
    }
}

fn partial_bytes(plan: &Plan) -> usize {
    let of_table = |table: &TablePlan| {
        let most = table.data_key.as_ref().map_or(0, |key| key.most);
        let texts = usize::try_from(most).unwrap_or(usize::MAX);
        let texts = texts.saturating_mul(table.components.len() * (MAX_TEXT_BYTES + 4));
        texts.saturating_add(table.integers().saturating_mul(8))
    };
    let tables = plan.tables.iter().map(of_table);
    tables.fold(FRAMING_BYTES, usize::saturating_add)
}

/// Reads a partial: the envelope beside the schema, then one row a component.
async fn receive(stream: Streaming<FlightData>, plan: &Plan) -> Result<Received, Problem> {
    let expected = plan.tables.iter().map(|t| t.components.len()).sum();
    let mut decoder = FlightDataDecoder::new(stream.map_err(FlightError::from));
    let mut received = Received {
        envelope: String::new(),
        rows: Vec::new(),
    };
    while let Some(data) = decoder.try_next().await.map_err(flight_problem)? {
        match &data.payload {
            DecodedPayload::Schema(_) => received.envelope = envelope(&data.app_metadata())?,
            DecodedPayload::RecordBatch(batch) => {
                received.rows.extend(rows(batch).ok_or_else(other_columns)?);
            }
            DecodedPayload::None => {}
        }
        if received.rows.len() > expected {
            return Err(unreadable("more rows than the plan has components"));
        }
    }
    Ok(received)
}

fn envelope(metadata: &[u8]) -> Result<String, Problem> {
    if metadata.len() > MAX_TOKEN_BYTES {
        return Err(unreadable("an envelope over 64 KiB"));
    }
    let text = std::str::from_utf8(metadata);
    Ok(text
        .map_err(|_| unreadable("an envelope that is not text"))?
        .to_owned())
}

fn rows(batch: &RecordBatch) -> Option<Vec<ComponentRow>> {
    let tables = batch.column_by_name("table")?.as_string_opt::<i32>()?;
    let components = batch.column_by_name("component")?.as_string_opt::<i32>()?;
    let values = batch.column_by_name("values")?.as_list_opt::<i32>()?;
    let integers = values.values().as_primitive_opt::<Int64Type>()?;
    let shown = batch.column_by_name("shown")?.as_list_opt::<i32>()?;
    let texts = shown.values().as_string_opt::<i32>()?;
    let columns: [&dyn Array; 5] = [tables, components, values, integers, texts];
    if columns.iter().any(|column| column.null_count() > 0) {
        return None;
    }
    let row = |at: usize| {
        let cells = values.value(at);
        let cells = cells.as_primitive_opt::<Int64Type>()?;
        let texts = shown.is_valid(at).then(|| shown.value(at));
        let texts = texts
            .as_ref()
            .map(|t| t.as_string::<i32>().iter().flatten());
        Some(ComponentRow {
            shown: texts.map(|texts| texts.map(str::to_owned).collect()),
            table: tables.value(at).to_owned(),
            component: components.value(at).to_owned(),
            values: cells.values().to_vec(),
        })
    };
    (0..batch.num_rows()).map(row).collect()
}

fn json<T: Serialize>(message: &T) -> Result<Bytes, Problem> {
    let bytes = serde_json::to_vec(message);
    bytes.map(Bytes::from).map_err(|e| {
        let remedy = "Tell the coordinator's operator.";
        Problem::new(ErrorCode::Internal, format!("the message: {e}"), remedy)
    })
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|e| unreadable(&e.to_string()))
}

fn other_columns() -> Problem {
    unreadable("columns other than table, component, values and shown")
}

fn unreadable(what: &str) -> Problem {
    Problem::new(
        ErrorCode::PartialRefused,
        format!("the node's message can't be read: {what}"),
        "Bring node and coordinator to the same version of Ward.",
    )
}

fn flight_problem(error: FlightError) -> Problem {
    match error {
        FlightError::Tonic(status) => problem_of(&status),
        other => unreadable(&other.to_string()),
    }
}

/// What a gRPC status means: the node's own problem where it gave one, else trouble on the way.
pub(crate) fn problem_of(status: &Status) -> Problem {
    if let Ok(problem) = serde_json::from_slice::<Problem>(status.details()) {
        return problem;
    }
    if let Some(code) = code_of(status) {
        return Problem::new(code, status.message(), "Ask the node's operator.");
    }
    match status.code() {
        Code::DeadlineExceeded => Problem::new(
            ErrorCode::NodeTimeout,
            "the node did not answer in time",
            "Ask again later: what it has answered by then costs nothing more.",
        ),
        Code::Unimplemented
        | Code::InvalidArgument
        | Code::OutOfRange
        | Code::ResourceExhausted => unreadable(status.message()),
        Code::PermissionDenied | Code::Unauthenticated => Problem::new(
            ErrorCode::PeerNotTrusted,
            format!(
                "the node does not let the coordinator in: {}",
                status.message()
            ),
            "The node's operator adds the coordinator's name to `coordinators`.",
        ),
        _ => Problem::new(
            ErrorCode::NodeUnreachable,
            format!("the node can't be reached: {}", reasons(status)),
            "Ask again when its operator has it up; what it has answered costs nothing more.",
        ),
    }
}

fn code_of(status: &Status) -> Option<ErrorCode> {
    let text = status.metadata().get(ERROR_CODE_TRAILER)?.to_str().ok()?;
    ErrorCode::ALL
        .iter()
        .find(|code| code.as_str() == text)
        .copied()
}

/// A status's message, and those of the errors under it.
fn reasons(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut source = status.source();
    while let Some(error) = source {
        let reason = error.to_string();
        if !text.contains(&reason) {
            text = format!("{text}: {reason}");
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Builder, ListBuilder, StringArray, StringBuilder};
    use std::sync::Arc;
    use tonic::metadata::MetadataMap;

    fn batch(cells: &[Option<i64>]) -> RecordBatch {
        shown_batch(None, cells)
    }

    fn shown_batch(texts: Option<&[Option<&str>]>, cells: &[Option<i64>]) -> RecordBatch {
        let mut shown = ListBuilder::new(StringBuilder::new());
        shown.append_option(texts.map(|texts| texts.iter().copied()));
        let mut values = ListBuilder::new(Int64Builder::new());
        values.append_value(cells.iter().copied());
        let text = |t: &str| Arc::new(StringArray::from(vec![t])) as ArrayRef;
        RecordBatch::try_from_iter([
            ("table", text("by_sex")),
            ("component", text("patients")),
            ("shown", Arc::new(shown.finish()) as ArrayRef),
            ("values", Arc::new(values.finish()) as ArrayRef),
        ])
        .expect("batch")
    }

    #[test]
    fn rows_read_back() {
        let [row] = rows(&batch(&[Some(5), Some(-1)]))
            .expect("rows")
            .try_into()
            .expect("one");
        assert_eq!(
            (row.table.as_str(), row.component.as_str()),
            ("by_sex", "patients")
        );
        assert_eq!((row.shown, row.values.as_slice()), (None, &[5, -1][..]));
        let read = rows(&shown_batch(Some(&[Some("A"), Some("B")]), &[Some(5)])).expect("rows");
        assert_eq!(read[0].shown, Some(vec!["A".to_owned(), "B".to_owned()]));
    }

    #[test]
    fn missing_values_and_columns_are_no_rows() {
        assert_eq!(rows(&batch(&[Some(5), None])), None);
        assert_eq!(rows(&shown_batch(Some(&[None]), &[Some(5)])), None);
        let part = batch(&[Some(5)]).project(&[0, 1]).expect("batch");
        assert_eq!(rows(&part), None);
    }

    #[test]
    fn a_nodes_own_problem_comes_through() {
        let problem = Problem::new(ErrorCode::BudgetExhausted, "spent", "Wait.");
        let details = serde_json::to_vec(&problem).expect("json");
        let status = Status::with_details(Code::FailedPrecondition, "spent", details.into());
        assert_eq!(problem_of(&status), problem);
        let mut trailers = MetadataMap::new();
        let code = "TEMPLATE_NOT_APPROVED".parse().expect("value");
        trailers.insert(ERROR_CODE_TRAILER, code);
        let status = Status::with_metadata(Code::FailedPrecondition, "no", trailers);
        assert_eq!(problem_of(&status).code, ErrorCode::TemplateNotApproved);
    }

    #[test]
    fn broken_connections_are_told_from_refusals() {
        let code = |code| problem_of(&Status::new(code, "x")).code;
        assert_eq!(code(Code::Unavailable), ErrorCode::NodeUnreachable);
        assert_eq!(code(Code::Unknown), ErrorCode::NodeUnreachable);
        assert_eq!(code(Code::Unimplemented), ErrorCode::PartialRefused);
        assert_eq!(code(Code::PermissionDenied), ErrorCode::PeerNotTrusted);
        assert_eq!(code(Code::DeadlineExceeded), ErrorCode::NodeTimeout);
    }
}
