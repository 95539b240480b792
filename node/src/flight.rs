//! Partials as Arrow Flight streams.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Builder, ListBuilder, RecordBatch, StringArray, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow_flight::FlightData;
use arrow_flight::utils::batches_to_flight_data;
use bytes::Bytes;
use ward_schemas::partial::Vectors;
use ward_schemas::plan::Plan;

/// The columns of every partial: one row a component, in the order of the plan. `shown` has the
/// values of the table's key that comes from data, as text; null where all keys are public.
pub fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("table", DataType::Utf8, false),
        Field::new("component", DataType::Utf8, false),
        Field::new("values", DataType::List(item()), false),
        Field::new("shown", DataType::List(text()), true),
    ]))
}

/// The messages of a partial: the schema, which carries the signed envelope as metadata, then one
/// batch.
///
/// # Errors
/// Never for vectors of this plan; Arrow reports it all the same.
pub(crate) fn encode(
    plan: &Plan,
    vectors: &Vectors,
    envelope: String,
) -> Result<Vec<FlightData>, ArrowError> {
    let mut messages = batches_to_flight_data(&schema(), vec![batch(plan, vectors)?])?;
    if let Some(first) = messages.first_mut() {
        first.app_metadata = Bytes::from(envelope);
    }
    Ok(messages)
}

fn item() -> Arc<Field> {
    Arc::new(Field::new("item", DataType::Int64, false))
}

fn text() -> Arc<Field> {
    Arc::new(Field::new("item", DataType::Utf8, false))
}

fn batch(plan: &Plan, vectors: &Vectors) -> Result<RecordBatch, ArrowError> {
    let named = || {
        let tables = plan.tables.iter().zip(vectors.shown());
        tables.flat_map(|(t, s)| t.components.iter().map(move |c| (t, s, c)))
    };
    let tables: StringArray = named().map(|(t, ..)| Some(t.name.as_str())).collect();
    let components: StringArray = named().map(|(.., c)| Some(c.name.as_str())).collect();
    let mut shown = ListBuilder::new(StringBuilder::new()).with_field(text());
    for (_, values, _) in named() {
        let values = values.as_ref().map(|v| v.values().iter());
        shown.append_option(values.map(|values| values.map(|v| Some(v.to_string()))));
    }
    let mut values = ListBuilder::new(Int64Builder::new()).with_field(item());
    for vector in vectors.values().iter().flatten() {
        values.values().append_slice(vector);
        values.append(true);
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(tables),
        Arc::new(components),
        Arc::new(values.finish()),
        Arc::new(shown.finish()),
    ];
    RecordBatch::try_new(schema(), columns)
}
