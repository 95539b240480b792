//! Rows on disk, by ranges of the patient's identifier.

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};

use arrow::array::{Int64Array, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;

use super::ImportError;
use crate::file::At;
use crate::layout::Parts;

/// One file for each range.
pub(super) struct Spill {
    ranges: Parts,
    files: Vec<(PathBuf, StreamWriter<BufWriter<File>>)>,
}

impl Spill {
    pub(super) fn create(dir: &Path, ranges: Parts, schema: &Schema) -> Result<Self, ImportError> {
        let files = (0..ranges.count())
            .map(|range| {
                let path = dir.join(format!("{range:03}.arrow"));
                let file = File::create(&path).at(&path)?;
                Ok((path, StreamWriter::try_new_buffered(file, schema)?))
            })
            .collect::<Result<_, ImportError>>()?;
        Ok(Self { ranges, files })
    }

    /// Spills rows, given whose each is.
    pub(super) fn write(
        &mut self,
        batch: &RecordBatch,
        patients: &Int64Array,
    ) -> Result<(), ArrowError> {
        let mut rows_of = vec![Vec::new(); self.files.len()];
        for (row, patient) in (0_u32..).zip(patients.values()) {
            rows_of[self.ranges.of(*patient)].push(row);
        }
        for (rows, (_, writer)) in rows_of.into_iter().zip(&mut self.files) {
            if !rows.is_empty() {
                writer.write(&take_record_batch(batch, &UInt32Array::from(rows))?)?;
            }
        }
        Ok(())
    }

    /// The ranges, in ascending order.
    pub(super) fn finish(self) -> Result<Vec<Range>, ArrowError> {
        self.files
            .into_iter()
            .map(|(path, mut writer)| {
                writer.finish()?;
                Ok(Range(path))
            })
            .collect()
    }
}

/// The rows of one range.
pub(super) struct Range(PathBuf);

impl Range {
    pub(super) fn read(&self) -> Result<Vec<RecordBatch>, ImportError> {
        let file = File::open(&self.0).at(&self.0)?;
        let reader = StreamReader::try_new(BufReader::new(file), None)?;
        Ok(reader.collect::<Result<_, _>>()?)
    }
}
