//! What the query engine sees.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider, SchemaProvider};
use datafusion::physical_plan::{ExecutionPlanProperties, Partitioning, collect_partitioned};
use datafusion::prelude::{SessionConfig, SessionContext};
use parquet::arrow::ArrowWriter;
use ward_omop::arrow_schema;
use ward_omop::vocabulary::{self, Package};
use ward_schemas::cdm;

use super::*;

fn tables(hospital: &Hospital, snapshot: &Snapshot) -> Arc<dyn SchemaProvider> {
    let dir = hospital.home.path().join("vocabulary");
    fs::create_dir(&dir).expect("directory");
    fs::write(
        dir.join("concept.csv"),
        "concept_id,concept_name\n201826,Diabetes\n",
    )
    .expect("file");
    let file = hospital.home.path().join("package");
    vocabulary::pack(&dir, &file).expect("packed");
    snapshot.tables(&Arc::new(Package::open(&file).expect("package")))
}

fn engine(tables: Arc<dyn SchemaProvider>) -> SessionContext {
    let catalog = MemoryCatalogProvider::new();
    catalog.register_schema("ward", tables).expect("schema");
    let config = SessionConfig::new()
        .with_default_catalog_and_schema("ward", "ward")
        .with_target_partitions(3);
    let engine = SessionContext::new_with_config(config);
    engine.register_catalog("ward", Arc::new(catalog));
    engine
}

async fn number(engine: &SessionContext, sql: &str) -> i64 {
    let rows = engine.sql(sql).await.expect("planned").collect().await;
    rows.expect("run")[0]
        .column(0)
        .as_primitive::<Int64Type>()
        .value(0)
}

#[tokio::test]
async fn every_table_of_the_model_is_there_with_its_types() {
    let hospital = Hospital::new(&[("person.csv", PERSON), ("condition_era.csv", CONDITION_ERA)]);
    hospital.import().expect("imported");
    let tables = tables(&hospital, &hospital.active());
    assert_eq!(tables.table_names().len(), cdm::tables().count());
    let engine = engine(tables.clone());
    for table in cdm::tables() {
        let provider = tables
            .table(table.name)
            .await
            .expect("lookup")
            .expect(table.name);
        assert_eq!(provider.schema(), arrow_schema(table));
        let plan = engine.table(table.name).await.expect("table");
        for rows in plan.collect().await.expect("rows") {
            assert_eq!(rows.schema().fields(), arrow_schema(table).fields());
        }
    }
    let count = |table| format!("SELECT count(*) FROM {table}");
    assert_eq!(number(&engine, &count("person")).await, 3);
    assert_eq!(
        number(&engine, &count("drug_exposure")).await,
        0,
        "missing is empty"
    );
    assert_eq!(number(&engine, &count("concept")).await, 1);
    let joined = "SELECT count(*) FROM condition_era e JOIN person p USING (person_id) \
        JOIN concept c ON c.concept_id = e.condition_concept_id WHERE p.year_of_birth < 1960";
    assert_eq!(number(&engine, joined).await, 1);
    assert!(!tables.table_exist("note"));
}

#[tokio::test]
async fn a_patient_is_never_split() {
    let persons: String = (0..300).map(|i| format!("{i},8507,1950\n")).collect();
    let eras: String = (0..3_000)
        .map(|i| format!("{i},{},201826,2010-01-01,2010-01-02\n", i % 300))
        .collect();
    let header = CONDITION_ERA.lines().next().expect("header");
    let hospital = Hospital::new(&[
        (
            "person.csv",
            &format!("person_id,gender_concept_id,year_of_birth\n{persons}"),
        ),
        ("condition_era.csv", &format!("{header}\n{eras}")),
    ]);
    let (_, snapshot) = hospital.import_sized(Sizes {
        patients_per_part: 20,
        group_rows: 40,
        ..Sizes::default()
    });
    let parts = snapshot.manifest().parts.count();
    assert!(parts > 1);
    let engine = engine(tables(&hospital, &snapshot));
    let scan = engine
        .sql("SELECT person_id FROM condition_era")
        .await
        .expect("planned");
    let plan = scan.create_physical_plan().await.expect("planned");
    assert!(matches!(plan.output_partitioning(), Partitioning::Range(_)));
    assert!(plan.output_ordering().is_some());
    let partitions = collect_partitioned(plan, engine.task_ctx())
        .await
        .expect("run");
    assert_eq!(partitions.len(), parts);
    let mut seen = BTreeSet::new();
    for partition in partitions {
        let ids: Vec<i64> = partition
            .iter()
            .flat_map(|rows| rows.column(0).as_primitive::<Int64Type>().values().to_vec())
            .collect();
        assert!(ids.is_sorted());
        let patients: BTreeSet<_> = ids.into_iter().collect();
        assert!(
            patients.iter().all(|patient| seen.insert(*patient)),
            "in two partitions"
        );
    }
    assert_eq!(seen.len(), 300);
    let joined = "SELECT count(*) FROM condition_era e JOIN person p USING (person_id)";
    assert_eq!(number(&engine, joined).await, 3_000);
}

#[tokio::test]
async fn parquet_and_csv_of_the_same_rows_are_the_same() {
    let csv = "VISIT_OCCURRENCE_ID,PERSON_ID,VISIT_START_DATE,VISIT_END_DATE,ADMITTING_SOURCE_CONCEPT_ID\n\
        716,1,2010-05-06,2010-05-07,\n717,2,2010-05-06,2010-05-09,8870\n";
    let one = Hospital::new(&[("person.csv", PERSON), ("visit_occurrence.csv", csv)]);
    one.import().expect("imported");

    let other = Hospital::new(&[("person.csv", PERSON)]);
    let dates = |ends: [&str; 2]| Arc::new(StringArray::from(ends.to_vec())) as ArrayRef;
    let batch = RecordBatch::try_from_iter([
        (
            "visit_occurrence_id",
            Arc::new(Float64Array::from(vec![717.0, 716.0])) as ArrayRef,
        ),
        ("Person_ID", Arc::new(Int32Array::from(vec![2, 1]))),
        (
            "visit_start_date",
            dates(["20100506", "2010-05-06 00:00:00"]),
        ),
        ("visit_end_date", dates(["2010-05-09", "2010-05-07"])),
        ("admitted_from_concept_id", dates(["8870.0", "NULL"])),
    ])
    .expect("batch");
    let file = File::create(other.source().join("Visit_Occurrence.PARQUET")).expect("file");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("writer");
    writer.write(&batch).expect("written");
    writer.close().expect("closed");
    other.import().expect("imported");

    let tables_of = |hospital: &Hospital| hospital.active().manifest().tables.clone();
    assert_eq!(tables_of(&one), tables_of(&other));
    let engine = engine(tables(&other, &other.active()));
    let inpatient = "SELECT count(*) FROM visit_occurrence WHERE admitted_from_concept_id = 8870 \
        AND visit_concept_id = 0 AND visit_end_date > DATE '2010-05-08'";
    assert_eq!(number(&engine, inpatient).await, 1);
}
