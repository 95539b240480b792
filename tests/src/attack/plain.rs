//! What a query engine without privacy answers: the mutant of many attacks.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::catalog::{CatalogProvider as _, MemoryCatalogProvider, SchemaProvider};
use datafusion::error::DataFusionError;
use datafusion::prelude::{SessionConfig, SessionContext};

/// The rows of a statement's answer, as DataFusion gives them.
///
/// # Errors
/// When DataFusion fails, which may depend on data.
pub fn answer(
    sql: &str,
    tables: Arc<dyn SchemaProvider>,
) -> Result<Vec<RecordBatch>, DataFusionError> {
    let catalog = MemoryCatalogProvider::new();
    catalog.register_schema("ward", tables)?;
    let config = SessionConfig::new().with_default_catalog_and_schema("ward", "ward");
    let engine = SessionContext::new_with_config(config);
    engine.register_catalog("ward", Arc::new(catalog));
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let answer = async { engine.sql(sql).await?.collect().await };
    runtime.expect("a runtime").block_on(answer)
}
