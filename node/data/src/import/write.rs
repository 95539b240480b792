//! The Parquet file of one part of a table.

use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, SchemaRef};
use parquet::arrow::arrow_writer::{ArrowWriter, ArrowWriterOptions};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use ward_schemas::cdm;

use super::ImportError;
use crate::clustering;
use crate::file::{At, Hashing};
use crate::layout::Parts;
use crate::manifest::FileEntry;

/// Writes rows in order, row groups ending between patients.
pub(super) struct PartWriter {
    path: PathBuf,
    writer: ArrowWriter<Hashing<File>>,
    /// How many rows a full row group has at least.
    full_group: usize,
    /// How many the current one has so far.
    group_rows: usize,
    rows: u64,
}

impl PartWriter {
    pub(super) fn create(
        path: PathBuf,
        schema: SchemaRef,
        full_group: usize,
    ) -> Result<Self, ImportError> {
        let file = Hashing::new(File::create(&path).at(&path)?);
        let properties = WriterProperties::builder()
            .set_created_by("ward".to_owned())
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(None)
            .build();
        let options = ArrowWriterOptions::new()
            .with_properties(properties)
            .with_skip_arrow_metadata(true);
        match ArrowWriter::try_new_with_options(file, schema, options) {
            Err(source) => Err(ImportError::Encode { path, source }),
            Ok(writer) => Ok(Self {
                path,
                writer,
                full_group,
                group_rows: 0,
                rows: 0,
            }),
        }
    }

    /// Writes all rows of some patients, sorted by patient.
    pub(super) fn write(&mut self, rows: &RecordBatch) -> Result<(), ImportError> {
        self.write_groups(rows)
            .map_err(|source| encode(&self.path, source))
    }

    /// Makes the file durable, and reads it once to check that it is clustered.
    pub(super) fn finish(self, parts: Parts, part: usize) -> Result<FileEntry, ImportError> {
        let path = self.path;
        let file = self.writer.into_inner();
        let file = file.map_err(|source| encode(&path, source))?;
        file.inner().sync_all().at(&path)?;
        match clustering::check(&path, parts, part) {
            Ok(rows) if rows == self.rows => Ok(FileEntry {
                rows,
                bytes: file.bytes(),
                sha256: file.hash(),
            }),
            Ok(_) => Err(unclustered(path, clustering::Unclustered::Order)),
            Err(cause) => Err(unclustered(path, cause)),
        }
    }

    fn write_groups(&mut self, rows: &RecordBatch) -> Result<(), ParquetError> {
        let patients = rows[cdm::PATIENT].as_primitive::<Int64Type>().values();
        let mut start = 0;
        while start < rows.num_rows() {
            let end = group_end(patients, start, self.full_group - self.group_rows);
            self.writer.write(&rows.slice(start, end - start))?;
            self.group_rows += end - start;
            if self.group_rows >= self.full_group {
                self.writer.flush()?;
                self.group_rows = 0;
            }
            start = end;
        }
        self.rows += rows.num_rows() as u64;
        Ok(())
    }
}

/// Where a group that has room for `room` more rows ends: with the patient of the last of them.
fn group_end(patients: &[i64], start: usize, room: usize) -> usize {
    match patients.get(start + room - 1) {
        None => patients.len(),
        Some(last) => patients.partition_point(|patient| patient <= last),
    }
}

fn encode(path: &Path, source: ParquetError) -> ImportError {
    ImportError::Encode {
        path: path.to_owned(),
        source,
    }
}

fn unclustered(path: PathBuf, cause: clustering::Unclustered) -> ImportError {
    ImportError::Unclustered { path, cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_end_with_their_patient() {
        let patients = [1, 1, 2, 2, 2, 3];
        assert_eq!(group_end(&patients, 0, 1), 2);
        assert_eq!(group_end(&patients, 0, 2), 2);
        assert_eq!(group_end(&patients, 0, 3), 5);
        assert_eq!(group_end(&patients, 2, 1), 5);
        assert_eq!(group_end(&patients, 5, 1), 6);
        assert_eq!(group_end(&patients, 0, 100), 6);
    }
}
