//! A scan carries the patient of each row, or is network-public. Sound because a snapshot's rows each
//! belong to one patient, and public rows are the same whoever is a patient.

use datafusion::logical_expr::TableScan;

use crate::model::Model;
use crate::refusal::Rule;
use crate::relation::Relation;

pub(super) fn scan(scan: &TableScan, model: &Model) -> Result<Relation, Rule> {
    let table = model
        .table(scan.table_name.table())
        .ok_or_else(|| Rule::Unplannable(format!("no table {}", scan.table_name)))?;
    if scan.projection.is_some() || !scan.filters.is_empty() || scan.fetch.is_some() {
        return Err(Rule::Unplannable(format!(
            "a narrowed scan of {}",
            scan.table_name
        )));
    }
    Ok(table.scan())
}
