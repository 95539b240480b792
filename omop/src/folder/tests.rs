use super::*;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Decimal128Array, Float64Array, Int32Array, StringArray,
    TimestampNanosecondArray,
};
use arrow::datatypes::{Date32Type, Float64Type, Int64Type, TimestampMicrosecondType};
use parquet::arrow::ArrowWriter;

fn csv(name: &str, text: &str) -> (Vec<Rows>, Vec<String>) {
    let dir = tempfile::tempdir().expect("folder");
    fs::write(dir.path().join(name), text).expect("file");
    read(dir.path(), name)
}

fn parquet(name: &str, columns: Vec<(&str, ArrayRef)>) -> (Vec<Rows>, Vec<String>) {
    let dir = tempfile::tempdir().expect("folder");
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name, array, true)),
    )
    .expect("batch");
    let file = fs::File::create(dir.path().join(name)).expect("file");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("writer");
    writer.write(&batch).expect("written");
    writer.close().expect("closed");
    read(dir.path(), name)
}

fn read(folder: &Path, name: &str) -> (Vec<Rows>, Vec<String>) {
    let table = name.split('.').next().expect("stem").to_lowercase();
    let folder = Folder::open(folder).expect("folder");
    let file = folder.table(&table).expect("table");
    let mut reader = file.read(1024).expect("reader");
    let rows = reader.by_ref().collect::<Result<_, _>>().expect("rows");
    assert_eq!(reader.position(), file.bytes());
    (rows, reader.notes())
}

fn integers(rows: &Rows, column: &str) -> Vec<Option<i64>> {
    let array = rows.batch[column].as_primitive::<Int64Type>();
    array.iter().collect()
}

fn texts(rows: &Rows, column: &str) -> Vec<Option<String>> {
    let array = rows.batch[column].as_string::<i32>();
    array.iter().map(|v| v.map(str::to_owned)).collect()
}

const FAULTS: [Option<Cause>; 4] = [
    Some(Cause::Missing),
    Some(Cause::Unreadable),
    Some(Cause::NotFinite),
    None,
];

fn causes(rows: &Rows) -> Vec<Option<Cause>> {
    rows.faults.iter().map(|f| f.map(|f| f.cause)).collect()
}

#[test]
fn csv_with_numbers_as_text_and_names_of_5_3() {
    let (rows, notes) = csv(
        "VISIT_OCCURRENCE.CSV",
        "\u{feff}VISIT_OCCURRENCE_ID,PERSON_ID,VISIT_CONCEPT_ID,VISIT_START_DATE,VISIT_END_DATE,\
         ADMITTING_SOURCE_CONCEPT_ID,Discharge_To_Concept_Id,UNHEARD_OF\n\
         716.0,007,,2010-05-06,20100507,8870,,x\n",
    );
    let rows = &rows[0];
    assert_eq!(rows.faults, [None]);
    assert_eq!(integers(rows, "visit_occurrence_id"), [Some(716)]);
    assert_eq!(texts(rows, "person_id"), [Some("7".into())]);
    assert_eq!(integers(rows, "visit_concept_id"), [Some(0)]);
    assert_eq!(integers(rows, "admitted_from_concept_id"), [Some(8870)]);
    assert_eq!(integers(rows, "discharged_to_concept_id"), [None]);
    let dates = rows.batch["visit_end_date"].as_primitive::<Date32Type>();
    assert_eq!(dates.value(0), 14_736);
    assert!(
        notes
            .iter()
            .any(|n| n.contains("visit_type_concept_id: read as 0"))
    );
    assert!(notes.iter().any(|n| n.contains("provider_id")));
}

#[test]
fn parquet_of_other_types() {
    let (rows, _) = parquet(
        "measurement.parquet",
        vec![
            (
                "MEASUREMENT_ID",
                Arc::new(Float64Array::from(vec![716.0, 717.5])),
            ),
            (
                "person_id",
                Arc::new(
                    Decimal128Array::from(vec![4200, 4300])
                        .with_precision_and_scale(38, 2)
                        .expect("decimals"),
                ),
            ),
            (
                "measurement_concept_id",
                Arc::new(Int32Array::from(vec![None, Some(3)])),
            ),
            (
                "measurement_date",
                Arc::new(TimestampNanosecondArray::from(vec![-1, 0])),
            ),
            (
                "measurement_datetime",
                Arc::new(Date32Array::from(vec![Some(1), None])),
            ),
            (
                "value_as_number",
                Arc::new(StringArray::from(vec!["5.5", "n/a"])),
            ),
            (
                "unit_concept_id",
                Arc::new(Float64Array::from(vec![f64::NAN, 8.0])),
            ),
            (
                "value_source_value",
                Arc::new(Float64Array::from(vec![1.5, 2.0])),
            ),
        ],
    );
    let rows = &rows[0];
    assert_eq!(causes(rows), [None, Some(Cause::Unreadable)]);
    assert_eq!(rows.faults[1].map(|f| f.column), Some("measurement_id"));
    assert_eq!(
        texts(rows, "person_id"),
        [Some("42".into()), Some("43".into())]
    );
    assert_eq!(integers(rows, "measurement_concept_id"), [Some(0), Some(3)]);
    assert_eq!(integers(rows, "unit_concept_id"), [None, Some(8)]);
    let dates = rows.batch["measurement_date"].as_primitive::<Date32Type>();
    assert_eq!(dates.values(), &[-1, 0], "floored, not truncated");
    let times = rows.batch["measurement_datetime"].as_primitive::<TimestampMicrosecondType>();
    assert_eq!(times.value(0), 86_400_000_000);
    let numbers = rows.batch["value_as_number"].as_primitive::<Float64Type>();
    assert_eq!(numbers.iter().collect::<Vec<_>>(), [Some(5.5), None]);
    assert_eq!(texts(rows, "value_source_value")[0].as_deref(), Some("1.5"));
}

#[test]
fn each_fault_is_the_row_s_own() {
    let (rows, notes) = csv(
        "measurement.csv",
        "measurement_id,person_id,measurement_concept_id,measurement_date,value_as_number,range_low\n\
         1,,3,2010-01-01,1,1\n\
         2,1,3,01/02/2010,1,1\n\
         3,1,3,2010-01-01,inf,1\n\
         4,1,3,2010-01-01,1,low\n",
    );
    assert_eq!(causes(&rows[0]), FAULTS);
    assert!(notes.iter().any(|n| n.starts_with("range_low: 1 values")));
    assert!(rows[0].batch["range_low"].is_null(3));
}

#[test]
fn identifiers_of_patients_may_be_text() {
    let (rows, _) = csv(
        "person.csv",
        "person_id;gender_concept_id;year_of_birth\nA-7;8507;1950\n 12.0 ;8532;1951.0\nNULL;8507;1952\n",
    );
    assert_eq!(
        texts(&rows[0], "person_id"),
        [Some("A-7".into()), Some("12".into()), None]
    );
    assert_eq!(causes(&rows[0]), [None, None, Some(Cause::Missing)]);
}

#[test]
fn files_that_are_no_tables_are_named() {
    let dir = tempfile::tempdir().expect("folder");
    let refuse = |text: &[u8]| {
        fs::write(dir.path().join("person.csv"), text).expect("file");
        let folder = Folder::open(dir.path()).expect("folder");
        let file = folder.table("person").expect("table");
        let outcome = file
            .read(10)
            .and_then(|rows| rows.collect::<Result<Vec<_>, _>>());
        outcome.expect_err("refused").to_string()
    };
    assert!(refuse(b"").contains("no header"));
    assert!(refuse(b"PERSON_ID,person_id\n1,1\n").contains("keep one of them"));
    assert!(refuse(b"person_id,year_of_birth\n1\n").contains("person.csv"));
    assert!(refuse(b"person_id,stop\n1,\xff\n").contains("UTF-8"));
    fs::write(dir.path().join("death.parquet"), b"PAR").expect("file");
    let folder = Folder::open(dir.path()).expect("folder");
    let error = folder
        .table("death")
        .expect("table")
        .read(10)
        .expect_err("no Parquet");
    assert!(error.to_string().contains("death.parquet"), "{error}");
    let error = Folder::open(&dir.path().join("nowhere")).expect_err("no folder");
    assert!(error.to_string().contains("nowhere"));
}
