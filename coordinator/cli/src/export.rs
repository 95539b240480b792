//! Answers for programs: raw values, nothing clipped.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, UInt64Array};
use arrow::csv::WriterBuilder;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use arrow::ipc::writer::FileWriter;
use ward_schemas::finish::Estimate;
use ward_schemas::names::Ident;
use ward_schemas::release::{Cell, Release, ReleaseColumn, ReleaseTable};

/// The table of a release that has one, or the one of this name.
///
/// # Errors
/// When the release has several and none is named, or none of this name.
pub fn pick<'a>(
    release: &'a Release,
    name: Option<&Ident>,
) -> Result<&'a ReleaseTable, ExportError> {
    let mut found = release
        .tables
        .iter()
        .filter(|table| name.is_none_or(|name| table.name == *name));
    match (found.next(), found.next()) {
        (Some(table), None) => Ok(table),
        _ => Err(ExportError::Table(
            release.tables.iter().map(|t| t.name.clone()).collect(),
        )),
    }
}

/// A table as CSV with a header, UTF-8; empty where there is no value.
///
/// # Errors
/// Never for a well-formed table.
pub fn csv(release: &Release, table: &ReleaseTable) -> Result<Vec<u8>, ExportError> {
    let mut out = Vec::new();
    let mut writer = WriterBuilder::new().with_header(true).build(&mut out);
    writer.write(&batch(release, table)?)?;
    drop(writer);
    Ok(out)
}

/// A table as an Arrow IPC file (Feather version 2).
///
/// # Errors
/// Never for a well-formed table.
pub fn arrow(release: &Release, table: &ReleaseTable) -> Result<Vec<u8>, ExportError> {
    let batch = batch(release, table)?;
    let mut writer = FileWriter::try_new(Vec::new(), &batch.schema())?;
    writer.write(&batch)?;
    Ok(writer.into_inner()?)
}

/// The whole release as JSON, with its provenance.
///
/// # Errors
/// Never for a release that came over the wire.
pub fn json(release: &Release) -> Result<Vec<u8>, ExportError> {
    let mut out = serde_json::to_vec_pretty(release)?;
    out.push(b'\n');
    Ok(out)
}

/// A table as a record batch: key columns as text; how many nodes are in the row, where that
/// differs; for each measure `NAME` and `NAME_half_width`,
/// null where there is no value. The schema's metadata names the release.
///
/// # Errors
/// Never for a well-formed table.
pub fn batch(release: &Release, table: &ReleaseTable) -> Result<RecordBatch, ExportError> {
    let mut fields = Vec::new();
    let mut arrays: Vec<ArrayRef> = Vec::new();
    let (keys, others): (Vec<_>, Vec<_>) =
        table.columns.iter().enumerate().partition(|(_, c)| c.key);
    let (nodes, measures): (Vec<_>, Vec<_>) = others.into_iter().partition(|(_, c)| c.nodes);
    for (at, column) in keys {
        fields.push(Field::new(column.name.as_str(), DataType::Utf8, false));
        arrays.push(Arc::new(labels(table, at)));
    }
    for (at, column) in nodes {
        fields.push(Field::new(column.name.as_str(), DataType::UInt64, true));
        arrays.push(Arc::new(node_counts(table, at)));
    }
    for (at, column) in measures {
        let names = [
            column.name.to_string(),
            format!("{}_half_width", column.name),
        ];
        fields.extend(names.map(|name| measure_field(&name, column)));
        arrays.push(Arc::new(numbers(table, at, |e| e.value)));
        arrays.push(Arc::new(numbers(table, at, |e| e.half_width)));
    }
    let schema = Schema::new_with_metadata(fields, provenance(release, table));
    Ok(RecordBatch::try_new(Arc::new(schema), arrays)?)
}

fn measure_field(name: &str, column: &ReleaseColumn) -> Field {
    let field = Field::new(name, DataType::Float64, true);
    if column.unit.is_empty() {
        return field;
    }
    field.with_metadata(HashMap::from([("unit".into(), column.unit.clone())]))
}

fn labels(table: &ReleaseTable, at: usize) -> StringArray {
    let label = |row: &Vec<Cell>| match row.get(at) {
        Some(Cell::Key(label)) => label.clone(),
        _ => String::new(),
    };
    table.rows.iter().map(label).map(Some).collect()
}

fn node_counts(table: &ReleaseTable, at: usize) -> UInt64Array {
    let count = |row: &Vec<Cell>| match row.get(at) {
        Some(Cell::Nodes(nodes)) => u64::try_from(*nodes).ok(),
        _ => None,
    };
    table.rows.iter().map(count).collect()
}

fn numbers(table: &ReleaseTable, at: usize, part: impl Fn(&Estimate) -> f64) -> Float64Array {
    let number = |row: &Vec<Cell>| match row.get(at) {
        Some(Cell::Estimate(estimate)) => estimate.as_ref().map(&part),
        _ => None,
    };
    table.rows.iter().map(number).collect()
}

fn provenance(release: &Release, table: &ReleaseTable) -> HashMap<String, String> {
    HashMap::from([
        ("ward.release".into(), release.id.to_string()),
        ("ward.template".into(), release.template.hash.to_string()),
        ("ward.table".into(), table.name.to_string()),
    ])
}

/// Why an answer can't be written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// One table is written at a time.
    #[error("csv and arrow hold one table; choose one of {} with --table (the same ask costs nothing again)", names(.0))]
    Table(Vec<Ident>),
    /// Arrow refuses the table.
    #[error("the table can't be written: {0}; get the whole release with --format json")]
    Arrow(#[from] ArrowError),
    /// The release can't be JSON.
    #[error("the release can't be written: {0}")]
    Json(#[from] serde_json::Error),
}

fn names(tables: &[Ident]) -> String {
    let names: Vec<_> = tables.iter().map(Ident::as_str).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::tests::{release, release_by_code};
    use std::io::Cursor;

    #[test]
    fn csv_keeps_raw_values() {
        let release = release();
        let table = pick(&release, None).expect("one table");
        let text = String::from_utf8(csv(&release, table).expect("csv")).expect("text");
        let expected = "\
age,sex,patients,patients_half_width,mean_hba1c,mean_hba1c_half_width
0-17,male,-7.0,39.2,,
0-17,female,104.0,39.2,5.43,0.234
\"80+, or unknown\",male,12345.0,39.2,7.125,0.0123
\"80+, or unknown\",female,6172.5,39.2,6.9,0.0246
";
        assert_eq!(text, expected);
    }

    #[test]
    fn rows_of_a_key_from_data_tell_their_nodes() {
        let release = release_by_code();
        let table = pick(&release, None).expect("one table");
        let text = String::from_utf8(csv(&release, table).expect("csv")).expect("text");
        let expected = "\
code,code_nodes,patients,patients_half_width
A10,3,104.0,39.2
B20,1,61.0,22.6
";
        assert_eq!(text, expected);
    }

    #[test]
    fn arrow_reads_back() {
        let release = release();
        let table = pick(&release, None).expect("one table");
        let file = arrow(&release, table).expect("arrow");
        let mut reader =
            arrow::ipc::reader::FileReader::try_new(Cursor::new(file), None).expect("file");
        let batch = reader.next().expect("a batch").expect("batch");
        assert_eq!(batch, super::batch(&release, table).expect("batch"));
        let schema = batch.schema();
        assert_eq!(schema.metadata()["ward.release"], release.id.to_string());
        let mean = schema.field_with_name("mean_hba1c").expect("field");
        assert_eq!(mean.metadata()["unit"], "%");
        assert_eq!(batch["mean_hba1c"].null_count(), 1);
    }

    #[test]
    fn json_reads_back() {
        let bytes = json(&release()).expect("json");
        let read: Release = serde_json::from_slice(&bytes).expect("release");
        assert_eq!(read, release());
    }

    #[test]
    fn several_tables_need_a_choice() {
        let mut release = release();
        let mut second = release.tables[0].clone();
        second.name = "second".parse().expect("name");
        release.tables.push(second);
        let error = pick(&release, None).expect_err("several").to_string();
        assert!(error.contains("--table") && error.contains("by_age_sex, second"));
        let name = "second".parse().expect("name");
        assert_eq!(pick(&release, Some(&name)).expect("named").name, name);
        let name = "third".parse().expect("name");
        assert!(pick(&release, Some(&name)).is_err());
    }
}
