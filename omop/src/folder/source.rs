//! Batches of a Parquet or CSV file, in the file's own types.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use arrow::csv::ReaderBuilder;
use arrow::csv::reader::Format;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::{Columns, ReadCause};

/// The most bytes that a CSV file's header may take.
const HEADER_BYTES: u64 = 1 << 20;
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
/// A byte that UTF-8 text does not contain: no quoting.
const NO_QUOTE: u8 = 0xff;

/// Batches with the columns that were asked for, in the order of the file.
pub(super) enum Source {
    Parquet {
        reader: ParquetRecordBatchReader,
        total_rows: u64,
        rows: u64,
    },
    Csv {
        reader: Box<arrow::csv::Reader<Counted>>,
        bytes: Arc<AtomicU64>,
    },
}

type Locate<'a> = &'a dyn Fn(&[String]) -> Result<Columns, ReadCause>;

impl Source {
    pub(super) fn parquet(
        path: &Path,
        batch_rows: usize,
        locate: impl Fn(&[String]) -> Result<Columns, ReadCause>,
    ) -> Result<(Self, Columns), ReadCause> {
        let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?;
        let names: Vec<String> = builder
            .schema()
            .fields()
            .iter()
            .map(|f| f.name().clone())
            .collect();
        let columns = locate(&names)?;
        let mask =
            ProjectionMask::roots(builder.parquet_schema(), columns.projection.iter().copied());
        let rows = builder.metadata().file_metadata().num_rows();
        let reader = builder
            .with_projection(mask)
            .with_batch_size(batch_rows)
            .build()?;
        let source = Self::Parquet {
            reader,
            total_rows: u64::try_from(rows).unwrap_or(0),
            rows: 0,
        };
        Ok((source, columns))
    }

    pub(super) fn csv(
        path: &Path,
        batch_rows: usize,
        locate: impl Fn(&[String]) -> Result<Columns, ReadCause>,
    ) -> Result<(Self, Columns), ReadCause> {
        csv(path, batch_rows, &locate)
    }

    pub(super) fn next(&mut self) -> Option<Result<RecordBatch, ArrowError>> {
        match self {
            Self::Parquet { reader, rows, .. } => {
                let batch = reader.next()?;
                *rows += batch.as_ref().map_or(0, |b| b.num_rows() as u64);
                Some(batch)
            }
            Self::Csv { reader, .. } => reader.next(),
        }
    }

    pub(super) fn total_rows(&self) -> Option<u64> {
        match self {
            Self::Parquet { total_rows, .. } => Some(*total_rows),
            Self::Csv { .. } => None,
        }
    }

    pub(super) fn position(&self, file_bytes: u64) -> u64 {
        match self {
            Self::Parquet {
                total_rows, rows, ..
            } => {
                let part = u128::from(file_bytes) * u128::from(*rows);
                let position = part / u128::from((*total_rows).max(1));
                u64::try_from(position).unwrap_or(file_bytes)
            }
            Self::Csv { bytes, .. } => bytes.load(Ordering::Relaxed),
        }
    }
}

/// Counts the bytes that were read.
pub(super) struct Counted {
    file: File,
    bytes: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.bytes.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

fn csv(path: &Path, batch_rows: usize, locate: Locate<'_>) -> Result<(Source, Columns), ReadCause> {
    let mut file = File::open(path)?;
    let header = header(&file)?;
    let text = header.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&header);
    let format = dialect(text);
    let names = names(&format, text)?;
    let columns = locate(&names)?;
    let start = (header.len() - text.len()) as u64;
    file.seek(SeekFrom::Start(start))?;

    let fields: Vec<Field> = names
        .iter()
        .map(|name| Field::new(name, DataType::Utf8, true))
        .collect();
    let bytes = Arc::new(AtomicU64::new(start));
    let counted = Counted {
        file,
        bytes: bytes.clone(),
    };
    let reader = ReaderBuilder::new(Arc::new(Schema::new(fields)))
        .with_format(format)
        .with_batch_size(batch_rows)
        .with_projection(columns.projection.clone())
        .build(counted)?;
    let reader = Box::new(reader);
    Ok((Source::Csv { reader, bytes }, columns))
}

fn header(file: &File) -> Result<Vec<u8>, ReadCause> {
    let mut line = Vec::new();
    BufReader::new(file.take(HEADER_BYTES)).read_until(b'\n', &mut line)?;
    if line.is_empty() || std::str::from_utf8(&line).is_err() {
        return Err(ReadCause::NoHeader);
    }
    Ok(line)
}

/// Tab, semicolon or comma, whichever the header has. Tables separated by tabs whose header is not
/// quoted have no quoting at all: so are the vocabularies that OHDSI distributes.
fn dialect(header: &[u8]) -> Format {
    let has = |byte| header.contains(&byte);
    let format = Format::default().with_header(true);
    if has(b'\t') {
        let quote = if has(b'"') { b'"' } else { NO_QUOTE };
        format.with_delimiter(b'\t').with_quote(quote)
    } else if has(b';') && !has(b',') {
        format.with_delimiter(b';')
    } else {
        format.with_delimiter(b',')
    }
}

fn names(format: &Format, header: &[u8]) -> Result<Vec<String>, ReadCause> {
    let (schema, _) = format.infer_schema(header, Some(0))?;
    Ok(schema.fields().iter().map(|f| f.name().clone()).collect())
}
