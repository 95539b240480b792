//! Totals: keys over which the release adds noisy cells up.
//!
//! That is post-processing. It is right for rows and sums, which lie in one cell each. A patient
//! counts once in each cell, so patients may be added up over keys only that have one value a patient.

use ward_schemas::plan::KeyColumn;
use ward_schemas::template::TableSpec;

use super::is_of_patient;
use super::parts::Parts;
use crate::refusal::Rule;
use crate::relation::Relation;
use crate::scalar::Scalar;

/// The indices of the keys that have totals.
pub(super) fn indices(
    spec: &TableSpec,
    columns: &[KeyColumn],
    keys: &[Scalar],
    relation: &Relation,
    parts: &Parts,
) -> Result<Vec<usize>, Rule> {
    let keys = columns.iter().zip(keys).enumerate();
    let totalled: Vec<_> = keys
        .filter(|(_, (column, _))| spec.totals.contains(&column.name))
        .collect();
    let of_row = totalled
        .iter()
        .find(|(_, (_, key))| !is_of_patient(key, relation));
    if let (Some((_, (column, _))), Some(component)) = (of_row, parts.counts_patients()) {
        return Err(Rule::TotalsPatients {
            key: column.name.clone(),
            measure: component.name.clone(),
        });
    }
    Ok(totalled.into_iter().map(|(index, _)| index).collect())
}
