use super::*;
use arrow::array::{Date32Array, Float64Array, StringArray};
use parquet::arrow::ArrowWriter;
use std::sync::Arc;

const CONCEPT: &str = "CONCEPT_ID,CONCEPT_NAME,DOMAIN_ID,VALID_START_DATE\n\
    8532,FEMALE,Gender,19700101\n8507,MALE,Gender,19700101\n";
const ANCESTOR: &str = "ancestor_concept_id,descendant_concept_id,min_levels_of_separation\n\
    1,3,2\n1,2,1\n2,3,1\n1,2,1\n";

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("folder");
    for (name, text) in files {
        fs::write(dir.path().join(name), text).expect("file");
    }
    dir
}

fn packed(files: &[(&str, &str)]) -> Result<Vec<u8>, PackError> {
    let dir = folder(files);
    let out = dir.path().join("vocabulary.ward");
    let hash = pack(dir.path(), &out)?;
    let bytes = fs::read(&out).expect("package");
    assert_eq!(hash, ContentHash::of_bytes(&bytes));
    Ok(bytes)
}

#[test]
fn a_package_answers_for_its_concepts() {
    let bytes =
        packed(&[("CONCEPT.csv", CONCEPT), ("concept_ancestor.CSV", ANCESTOR)]).expect("packed");
    let package = Package::from_bytes(bytes).expect("package");
    assert_eq!(package.concept_name(8507).as_deref(), Some("MALE"));
    assert_eq!(package.concept_name(1), None);
    assert_eq!(package.descendants(1), BTreeSet::from([1, 2, 3]));
    assert_eq!(package.descendants(9), BTreeSet::from([9]));
    let rows = |name| package.table(name).map(RecordBatch::num_rows);
    assert_eq!(
        rows("concept_ancestor"),
        Some(3),
        "the row twice is there once"
    );
    assert_eq!(rows("concept_relationship"), Some(0), "missing is empty");
    assert_eq!(rows("person"), None);
    for table in cdm::public_tables() {
        let schema = package.table(table.name).expect("table").schema();
        assert_eq!(schema, arrow_schema(table));
    }
}

#[test]
fn order_and_format_of_the_source_do_not_matter() {
    let shuffled = "concept_id,concept_name,domain_id,valid_start_date\n\
        8507,MALE,Gender,1970-01-01\n8532,FEMALE,Gender,1970-01-01\n";
    let one = packed(&[("concept.csv", CONCEPT)]).expect("packed");
    let two = packed(&[("Concept.csv", shuffled)]).expect("packed");
    assert_eq!(one, two);

    let dir = tempfile::tempdir().expect("folder");
    let batch = RecordBatch::try_from_iter([
        (
            "Concept_Id",
            Arc::new(Float64Array::from(vec![8507.0, 8532.0])) as ArrayRef,
        ),
        (
            "CONCEPT_NAME",
            Arc::new(StringArray::from(vec!["MALE", "FEMALE"])),
        ),
        (
            "domain_id",
            Arc::new(StringArray::from(vec!["Gender", "Gender"])),
        ),
        ("valid_start_date", Arc::new(Date32Array::from(vec![0, 0]))),
    ])
    .expect("batch");
    let file = fs::File::create(dir.path().join("concept.parquet")).expect("file");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("writer");
    writer.write(&batch).expect("written");
    writer.close().expect("closed");
    let out = dir.path().join("out");
    assert_eq!(
        pack(dir.path(), &out).expect("packed"),
        ContentHash::of_bytes(&one)
    );
}

#[test]
fn tables_as_ohdsi_distributes_them() {
    let concept = "concept_id\tconcept_name\n5\t\"Unbalanced quote\n6\t\n";
    let bytes = packed(&[("CONCEPT.csv", concept)]).expect("packed");
    let package = Package::from_bytes(bytes).expect("package");
    assert_eq!(
        package.concept_name(5).as_deref(),
        Some("\"Unbalanced quote")
    );
    assert_eq!(package.concept_name(6).as_deref(), Some(""));
}

#[test]
fn bad_vocabularies_say_where() {
    let refuse = |files: &[(&str, &str)]| packed(files).expect_err("refused").to_string();
    assert!(refuse(&[]).contains("concept.parquet"));
    let twice = refuse(&[("concept.csv", "concept_id,concept_name\n7,a\n7,b\n")]);
    assert!(twice.contains("concept_id 7"), "{twice}");
    let bad = refuse(&[("concept.csv", "concept_id,concept_name\n7,a\nx,b\n")]);
    assert!(bad.contains("row 2, column concept_id"), "{bad}");
    let two = refuse(&[("concept.csv", CONCEPT), ("CONCEPT.parquet", "")]);
    assert!(two.contains("leave one of them"), "{two}");
}

#[test]
fn damaged_packages_are_refused() {
    let bytes = packed(&[("concept.csv", CONCEPT)]).expect("packed");
    assert!(Package::from_bytes(bytes[..bytes.len() / 2].to_vec()).is_err());
    assert!(matches!(
        Package::from_bytes(Vec::new()),
        Err(PackageError::Missing(_))
    ));
    let text = String::from_utf8_lossy(&bytes[..2048]).into_owned();
    let at = text.find("\"version\":1").expect("manifest") + 10;
    let mut later = bytes.clone();
    later[at] = b'2';
    assert!(matches!(
        Package::from_bytes(later),
        Err(PackageError::Version(2))
    ));
    let rows = text.find("\"rows\":2").expect("manifest") + 7;
    let mut other = bytes;
    other[rows] = b'3';
    assert!(matches!(
        Package::from_bytes(other),
        Err(PackageError::Content("concept"))
    ));
}
