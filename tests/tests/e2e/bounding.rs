//! Without noise, merged answers are those of DuckDB with the same bounding, to the integer.
//!
//! The other side is `tests/python/bounding.py`: its own SQL, its own bounding, its own SipHash.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use ward_schemas::partial::{self, MergedTable};
use ward_schemas::plan::Plan as AskPlan;
use ward_schemas::wire::Quote;
use ward_synthetic::{Hospital, Mix};
use ward_tests::network::{Given, Network, Plan, RunningNode, Source, outside_data};
use ward_tests::python::Python;

use crate::PROGRAMS;

type Asked = (&'static str, Given<'static>);

/// Every starter template, with parameters for which generated hospitals have data.
const ASKS: &[Asked] = &[
    ("patients_by_age_and_sex", &[("as_of", "2025-12-31")]),
    // Many aren't born yet.
    ("patients_by_age_and_sex", &[("as_of", "2001-07-01")]),
    (
        "condition_prevalence",
        &[("condition", "201826"), ("as_of", "2022-06-30")],
    ),
    (
        "drug_exposure_by_sex",
        &[("drug", "1503297"), ("since", "2018-01-01")],
    ),
    ("hba1c_by_age_and_sex", &[("since", "2016-01-01")]),
    ("length_of_stay_by_visit_type", &[("since", "2015-01-01")]),
    ("visits_by_month_and_type", &[("since", "2015-01-01")]),
];

/// The same, for the concepts and times of the OHDSI demonstration data.
const OUTSIDE_ASKS: &[Asked] = &[
    ("patients_by_age_and_sex", &[("as_of", "2025-12-31")]),
    (
        "condition_prevalence",
        &[("condition", "40481087"), ("as_of", "2025-12-31")],
    ),
    (
        "condition_prevalence",
        &[("condition", "372328"), ("as_of", "2000-01-01")],
    ),
    (
        "drug_exposure_by_sex",
        &[("drug", "1118084"), ("since", "1900-01-01")],
    ),
    ("hba1c_by_age_and_sex", &[("since", "2015-01-01")]),
    ("length_of_stay_by_visit_type", &[("since", "1900-01-01")]),
    ("visits_by_month_and_type", &[("since", "2015-01-01")]),
];

#[tokio::test(flavor = "multi_thread")]
async fn answers_on_generated_hospitals_are_duckdbs() {
    let Some(python) = crate::python() else {
        return;
    };
    let network = Plan::generated(&[400, 300, 200]).make(PROGRAMS).await;
    let compared = compare(python, &network, ASKS).await;
    // Limits that bound nobody would show nothing.
    let visits = "visits_by_month_and_type";
    for (template, table, limit) in [
        (visits, "by_type", "groups_cut"),
        (visits, "telehealth_by_year", "groups_cut"),
        (visits, "telehealth_by_year", "rows_cut"),
        ("hba1c_by_age_and_sex", "hba1c", "rows_cut"),
        ("length_of_stay_by_visit_type", "stays", "rows_cut"),
    ] {
        let cut = compared.cut(template, table, limit);
        assert!(cut >= 10, "{template}, {table}: {limit} {cut}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_on_omop_folders_of_other_tools_are_duckdbs() {
    let Some(python) = crate::python() else {
        return;
    };
    let dir = tempfile::tempdir().expect("a directory");
    let (clean, disguised) = disguise(python, dir.path());
    let plan = Plan {
        hospitals: vec![
            ("hospital-clean", Source::Folder(clean)),
            ("hospital-disguised", Source::Folder(disguised.folder)),
        ],
        ..Plan::generated(&[])
    };
    let network = plan.make(PROGRAMS).await;
    for node in ["hospital-clean", "hospital-disguised"] {
        assert_eq!(rows_kept(&network, node), disguised.rows, "{node}");
    }
    let compared = compare(python, &network, ASKS).await;

    // The same patients under other names: where no limit has a choice, the same answer.
    for (template, tables) in &compared.by_node {
        let [clean, disguised] = &tables[..] else {
            panic!("two nodes");
        };
        let has_choice = ["visits_by_month_and_type"].contains(template);
        assert!(clean == disguised || has_choice, "{template}");
    }
}

/// On data outside the project: see [`outside_data`].
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs data: WARD_TEST_OMOP=DIR WARD_TEST_VOCABULARY=DIR"]
async fn answers_on_outside_data_are_duckdbs() {
    let (hospitals, vocabulary) = outside_data();
    let Some(python) = crate::python() else {
        return;
    };
    let plan = Plan {
        hospitals,
        vocabulary,
        ..Plan::generated(&[])
    };
    let network = plan.make(PROGRAMS).await;
    for node in network.deployment().nodes() {
        eprintln!("{node}: {:?}", rows_kept(&network, node.as_str()));
    }
    let compared = compare(python, &network, OUTSIDE_ASKS).await;
    for ((_, parameters), (plan, tables)) in OUTSIDE_ASKS.iter().zip(&compared.duckdb) {
        for (table, answer) in plan.tables.iter().zip(tables.as_array().expect("tables")) {
            let sums = answer["sums"].as_array().expect("sums").iter();
            let total = |cells: &Value| -> i64 {
                let cells = cells.as_array().expect("cells").iter();
                cells.filter_map(Value::as_i64).sum()
            };
            let totals = table
                .components
                .iter()
                .map(|c| &c.name)
                .zip(sums.map(total));
            let totals: Vec<_> = totals.collect();
            eprintln!("{} {parameters:?}: {totals:?}", table.name);
        }
    }
}

/// What DuckDB made of the same asks, and each node's own integers.
struct Compared {
    duckdb: Vec<(AskPlan, Value)>,
    by_node: Vec<(&'static str, Vec<partial::Vectors>)>,
}

async fn compare(python: &Python, network: &Network, asks: &[Asked]) -> Compared {
    let frozen = [("WARD_TEST_FREEZE", "zero")];
    let mut nodes = Vec::new();
    for name in network.deployment().nodes() {
        nodes.push(network.start(name.as_str(), &frozen).await);
    }
    let (mut answers, mut by_node) = (Vec::new(), Vec::new());
    for (template, parameters) in asks {
        let (plan, vectors) = ask_all(network, &nodes, template, parameters).await;
        let noise = plan.noise(plan.rho()).expect("noise");
        let merged = partial::merge(&plan, &noise, &vectors);
        answers.push((plan, parameters, merged));
        by_node.push((*template, vectors));
    }
    let asks = answers.iter().map(|(plan, parameters, _)| {
        let parameters: BTreeMap<_, _> = parameters.iter().copied().collect();
        json!({"parameters": parameters, "plan": plan})
    });
    let case = json!({
        "nodes": nodes.iter().map(|node| source(network, node)).collect::<Vec<_>>(),
        "vocabulary": network.deployment().vocabulary_package(),
        "asks": asks.collect::<Vec<_>>(),
    });
    let duckdb = python.run("bounding.py", &[], &case);
    let duckdb = duckdb["asks"].as_array().expect("answers").clone();
    assert_eq!(duckdb.len(), answers.len());
    for ((plan, _, merged), theirs) in answers.iter().zip(&duckdb) {
        assert_equal(plan, merged, theirs);
    }
    let plans = answers.into_iter().map(|(plan, ..)| plan);
    Compared {
        duckdb: plans.zip(duckdb).collect(),
        by_node,
    }
}

async fn ask_all(
    network: &Network,
    nodes: &[RunningNode],
    template: &str,
    parameters: Given<'_>,
) -> (AskPlan, Vec<partial::Vectors>) {
    let ask = network.ask(template, parameters);
    let mut vectors = Vec::new();
    let mut quoted: Option<Quote> = None;
    for node in nodes {
        let quote = node.client.quote(&ask).await.expect("a quote");
        let answer = node.client.ask(&ask).await.expect("a partial");
        let frozen = partial::NoiseKind::Frozen;
        assert_eq!(answer.envelope.claims.noise, frozen);
        vectors.push(answer.vectors(&quote.plan));
        quoted = Some(quote);
    }
    (quoted.expect("a node").plan, vectors)
}

fn assert_equal(plan: &AskPlan, ours: &[MergedTable], theirs: &Value) {
    for (t, (table, ours)) in plan.tables.iter().zip(ours).enumerate() {
        for (c, (component, ours)) in table.components.iter().zip(&ours.sums).enumerate() {
            let theirs = theirs[t]["sums"][c].as_array().expect("cells");
            let theirs = theirs
                .iter()
                .map(|sum| i128::from(sum.as_i64().expect("an integer")));
            assert_eq!(
                *ours,
                theirs.collect::<Vec<_>>(),
                "{}, {}, {}",
                plan.template.id,
                table.name,
                component.name
            );
        }
    }
}

impl Compared {
    fn cut(&self, template: &str, table: &str, what: &str) -> u64 {
        let mut found = self
            .duckdb
            .iter()
            .filter(|(plan, _)| plan.template.id.as_str() == template);
        let (plan, tables) = found.next().expect("an ask");
        let at = plan.tables.iter().position(|t| t.name.as_str() == table);
        tables[at.expect("a table")][what]
            .as_u64()
            .expect("a number")
    }
}

/// Where DuckDB finds what a node has.
fn source(network: &Network, node: &RunningNode) -> Value {
    let config = network.config(node.name.as_str());
    let key = std::fs::read_to_string(&config.keys.selection).expect("a key");
    let store = ward_data::Store::open(&config.data_dir).expect("a store");
    let snapshot = store.active().expect("a store").expect("a snapshot").id();
    let folder = config.data_dir.join("snapshots").join(snapshot.to_string());
    json!({"snapshot": folder, "selection_key": key.trim()})
}

/// A hospital as another tool would export it.
struct Disguised {
    folder: PathBuf,
    rows: BTreeMap<String, u64>,
}

fn disguise(python: &Python, dir: &Path) -> (PathBuf, Disguised) {
    let clean = dir.join("clean");
    let hospital = Hospital {
        name: "hospital-clean".to_owned(),
        seed: 11,
        patients: 250,
        mix: Mix::General,
    };
    ward_synthetic::generate(&clean, &hospital, |_| {}).expect("a hospital");
    let folder = dir.join("disguised");
    let made = python.run("disguise.py", &[&clean, &folder], &Value::Null);
    let rows = serde_json::from_value(made["rows"].clone()).expect("rows");
    (clean, Disguised { folder, rows })
}

/// Rows of each table in the active snapshot.
fn rows_kept(network: &Network, name: &str) -> BTreeMap<String, u64> {
    let store = ward_data::Store::open(&network.config(name).data_dir).expect("a store");
    let snapshot = store.active().expect("a store").expect("a snapshot");
    let counts = snapshot.table_counts();
    counts
        .into_iter()
        .map(|(table, rows)| (table.to_owned(), rows))
        .collect()
}
