//! The check that a file is clustered: each patient in one place.

use std::fs::File;
use std::path::Path;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use ward_schemas::cdm;

use crate::layout::Parts;

/// Reads the patients of part `part` and checks that they belong to it, that they only grow, and
/// that none spans two row groups. Gives how many rows there are.
pub(crate) fn check(path: &Path, parts: Parts, part: usize) -> Result<u64, Unclustered> {
    let file = File::open(path).map_err(|e| ParquetError::External(Box::new(e)))?;
    let metadata = ArrowReaderMetadata::load(&file, Default::default())?;
    let mut last = None;
    let mut rows = 0;
    for group in 0..metadata.metadata().num_row_groups() {
        let file = file.try_clone();
        let file = file.map_err(|e| ParquetError::External(Box::new(e)))?;
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata.clone());
        let mask = ProjectionMask::columns(builder.parquet_schema(), [cdm::PATIENT]);
        let reader = builder.with_projection(mask).with_row_groups(vec![group]);
        let mut before_group = last;
        for batch in reader.build()? {
            let batch = batch.map_err(ParquetError::from)?;
            let patients = batch
                .column(0)
                .as_primitive_opt::<Int64Type>()
                .ok_or(Unclustered::Order)?;
            for &patient in patients.values() {
                if before_group.take().is_some_and(|before| before == patient) {
                    return Err(Unclustered::Spans);
                }
                if last.is_some_and(|last| last > patient) {
                    return Err(Unclustered::Order);
                }
                if patient <= 0 || parts.of(patient) != part {
                    return Err(Unclustered::Part);
                }
                last = Some(patient);
                rows += 1;
            }
        }
    }
    Ok(rows)
}

/// Why a file is not clustered. Says nothing of whose rows.
#[derive(Debug, thiserror::Error)]
pub enum Unclustered {
    /// The file can't be read.
    #[error(transparent)]
    Read(#[from] ParquetError),
    /// Patients out of order.
    #[error("its patients are out of order")]
    Order,
    /// A patient in two row groups.
    #[error("a patient spans two row groups")]
    Spans,
    /// A patient of another file.
    #[error("a patient belongs to another file")]
    Part,
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use parquet::arrow::ArrowWriter;

    const LAST: i64 = i64::MAX;

    /// Checks a file of row groups with these patients as the first of two parts.
    fn outcome(groups: &[&[i64]]) -> Result<u64, Unclustered> {
        let file = tempfile::NamedTempFile::new().expect("file");
        let batch = |patients: &[i64]| {
            let patients: ArrayRef = Arc::new(Int64Array::from(patients.to_vec()));
            RecordBatch::try_from_iter([(cdm::PATIENT, patients)]).expect("batch")
        };
        let mut writer = ArrowWriter::try_new(file.as_file(), batch(&[]).schema(), None);
        let writer = writer.as_mut().expect("writer");
        for patients in groups {
            writer.write(&batch(patients)).expect("written");
            writer.flush().expect("row group");
        }
        writer.finish().expect("closed");
        check(file.path(), Parts::at_least(2), 0)
    }

    #[test]
    fn each_patient_lies_in_one_place() {
        assert!(matches!(outcome(&[]), Ok(0)));
        assert!(matches!(outcome(&[&[1, 1, 2], &[3, 3]]), Ok(5)));
        assert!(matches!(
            outcome(&[&[1, 2], &[2, 3]]),
            Err(Unclustered::Spans)
        ));
        assert!(matches!(outcome(&[&[1, 2, 1]]), Err(Unclustered::Order)));
        assert!(matches!(outcome(&[&[2, 3], &[1]]), Err(Unclustered::Order)));
        assert!(matches!(outcome(&[&[1, LAST]]), Err(Unclustered::Part)));
        assert!(matches!(outcome(&[&[0, 1]]), Err(Unclustered::Part)));
    }
}
