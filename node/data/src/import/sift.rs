//! Which rows may be kept, and whose they are.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, StringArray};
use arrow::compute::{filter, filter_record_batch};
use arrow::error::ArrowError;
use ward_omop::arrow_schema;
use ward_omop::folder::Rows;
use ward_schemas::cdm::{self, Table};

use super::report::{RejectReason, TableReport};
use crate::person::PersonKey;

/// Who has a row in `person`, in ascending order.
#[derive(Debug, Default)]
pub(super) struct Patients(Vec<i64>);

impl Patients {
    /// Adds patients that come after those already there.
    pub(super) fn extend(&mut self, patients: impl Iterator<Item = i64>) {
        self.0.extend(patients);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn contains(&self, patient: i64) -> bool {
        self.0.binary_search(&patient).is_ok()
    }
}

/// Rejects rows, each by itself, and hashes patients' identifiers.
pub(super) struct Sieve<'a> {
    table: &'static Table,
    key: &'a PersonKey,
    /// None: everybody.
    known: Option<&'a Patients>,
    /// Rows of a patient often follow each other.
    last: Option<(String, i64)>,
}

impl<'a> Sieve<'a> {
    pub(super) fn new(
        table: &'static Table,
        key: &'a PersonKey,
        known: Option<&'a Patients>,
    ) -> Self {
        Self {
            table,
            key,
            known,
            last: None,
        }
    }

    /// The rows that may be kept, in the model's types, and whose they are.
    pub(super) fn sift(
        &mut self,
        rows: &Rows,
        report: &mut TableReport,
    ) -> Result<(RecordBatch, Int64Array), ArrowError> {
        let sources = rows.batch[cdm::PATIENT].as_string::<i32>();
        let mut patients = Vec::with_capacity(sources.len());
        let mut keep = Vec::with_capacity(sources.len());
        for row in 0..sources.len() {
            let judged = self.judge(rows, sources, row);
            keep.push(judged.is_ok());
            patients.push(judged.unwrap_or_default());
            if let Err(reason) = judged {
                report.reject(reason, 1);
            }
        }
        report.read += sources.len() as u64;
        let keep = BooleanArray::from(keep);
        let patients: ArrayRef = Arc::new(Int64Array::from(patients));
        let patients = filter(&patients, &keep)?;
        let batch = self.assemble(&filter_record_batch(&rows.batch, &keep)?, &patients)?;
        Ok((batch, patients.as_primitive().clone()))
    }

    fn judge(
        &mut self,
        rows: &Rows,
        sources: &StringArray,
        row: usize,
    ) -> Result<i64, RejectReason> {
        if let Some(fault) = rows.faults[row] {
            return Err(fault.cause.into());
        }
        let patient = self.patient(sources.value(row));
        match self.known {
            Some(known) if !known.contains(patient) => Err(RejectReason::UnknownPatient),
            _ => Ok(patient),
        }
    }

    fn patient(&mut self, source: &str) -> i64 {
        match &self.last {
            Some((last, patient)) if last == source => *patient,
            _ => {
                let patient = self.key.patient(source);
                self.last = Some((source.to_owned(), patient));
                patient
            }
        }
    }

    fn assemble(&self, kept: &RecordBatch, patients: &ArrayRef) -> Result<RecordBatch, ArrowError> {
        let columns = self.table.columns.iter().zip(kept.columns());
        let columns = columns
            .map(|(column, array)| {
                if column.name == cdm::PATIENT {
                    patients
                } else {
                    array
                }
            })
            .cloned()
            .collect();
        RecordBatch::try_new(arrow_schema(self.table), columns)
    }
}
