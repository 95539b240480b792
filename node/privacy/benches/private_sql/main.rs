//! What privacy costs: private aggregates against plain DataFusion, over the same files in the same
//! process, two threads each.
//!
//! ```text
//! cargo bench -p ward-privacy
//! ```
//!
//! `WARD_BENCH_ROWS` (default 50 million) and `WARD_BENCH_PATIENTS` (default 1 million) set the
//! size, `WARD_BENCH_RUNS` (default 5) the runs, whose median counts. Ends with one line
//! `ratio NAME VALUE` a comparison: private time (or peak memory) over plain.

mod files;
mod memory;
mod private;

use std::path::Path;
use std::time::{Duration, Instant};

use datafusion::prelude::{SessionConfig, SessionContext};
use tokio::runtime::Runtime;
use ward_privacy::Execution;

use files::Files;
use private::Private;

/// A comparison: a name, the plain statement, the private one and its declarations.
struct Comparison {
    name: &'static str,
    plain: &'static str,
    private: &'static str,
    declared: String,
    execution: Execution,
}

const PARTITIONS: usize = 2;

fn comparisons() -> Vec<Comparison> {
    let concepts: Vec<_> = (0..files::CONCEPTS)
        .map(|i| files::concept(i).to_string())
        .collect();
    let by_concept = format!("keys.concept = {{ numbers = [{}] }}", concepts.join(", "));
    let three_groups = "contribution = { max_groups = 3, max_rows_per_group = 5 }";
    let one_group = "contribution = { max_groups = 1, max_rows_per_group = 5 }";
    let bounds = "bounds.mean = { lower = \"0\", upper = \"200\", step = \"0.1\" }";
    let count_mean = |name, execution| Comparison {
        name,
        plain: "SELECT measurement_concept_id, COUNT(*), AVG(value_as_number) FROM measurement GROUP BY 1",
        private: "SELECT measurement_concept_id AS concept, COUNT(*) AS n, AVG(value_as_number) AS mean FROM measurement GROUP BY 1",
        declared: format!("{three_groups}\n{by_concept}\n{bounds}"),
        execution,
    };
    vec![
        count_mean("count_mean", Execution::Streaming),
        Comparison {
            name: "distinct_by_group",
            plain: "SELECT measurement_concept_id, COUNT(DISTINCT person_id) FROM measurement GROUP BY 1",
            private: "SELECT measurement_concept_id AS concept, COUNT(DISTINCT person_id) AS patients FROM measurement GROUP BY 1",
            declared: format!("{three_groups}\n{by_concept}"),
            execution: Execution::Streaming,
        },
        Comparison {
            name: "distinct_filtered",
            plain: "SELECT COUNT(DISTINCT person_id) FROM measurement WHERE value_as_number > 140",
            private: "SELECT COUNT(DISTINCT person_id) AS patients FROM measurement WHERE value_as_number > 140",
            declared: one_group.to_owned(),
            execution: Execution::Streaming,
        },
        Comparison {
            name: "join_person",
            plain: "SELECT p.gender_concept_id, CASE WHEN 2020 - p.year_of_birth < 18 THEN '0-17' WHEN 2020 - p.year_of_birth < 40 THEN '18-39' WHEN 2020 - p.year_of_birth < 65 THEN '40-64' WHEN 2020 - p.year_of_birth < 80 THEN '65-79' ELSE '80+' END, COUNT(*), AVG(m.value_as_number) FROM measurement m JOIN person p ON p.person_id = m.person_id GROUP BY 1, 2",
            private: "SELECT p.gender_concept_id AS sex, age_band(p.year_of_birth, DATE '2020-01-01') AS age, COUNT(*) AS n, AVG(m.value_as_number) AS mean FROM measurement m JOIN person p ON p.person_id = m.person_id GROUP BY 1, 2",
            declared: format!(
                "{one_group}\nkeys.sex = {{ concepts = [8507, 8532] }}\nkeys.age = {{ values = [\"0-17\", \"18-39\", \"40-64\", \"65-79\", \"80+\"] }}\n{bounds}"
            ),
            execution: Execution::Streaming,
        },
        count_mean("rewrite_count_mean", Execution::Relational),
    ]
}

fn main() {
    let files = files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(PARTITIONS)
        .enable_all()
        .build()
        .expect("runtime");
    if memory::child(&runtime, &files, &comparisons()[0]) {
        return;
    }
    let mut ratios = Vec::new();
    for comparison in comparisons() {
        let (plain, private) = compare(&runtime, &files, &comparison);
        let ratio = private.as_secs_f64() / plain.as_secs_f64();
        println!(
            "{}: plain {plain:.2?}, private {private:.2?}",
            comparison.name
        );
        ratios.push((comparison.name, ratio));
    }
    ratios.push(("peak_memory", memory::ratio()));
    for (name, ratio) in ratios {
        println!("ratio {name} {ratio:.3}");
    }
}

/// Medians of alternating runs, after one run of each to warm the page cache.
fn compare(runtime: &Runtime, files: &Files, comparison: &Comparison) -> (Duration, Duration) {
    let private = Private::compile(comparison);
    let (mut plain_times, mut private_times) = (Vec::new(), Vec::new());
    for run in 0..=setting("WARD_BENCH_RUNS", 5) {
        let started = Instant::now();
        runtime.block_on(plain(files, comparison.plain));
        let plain_time = started.elapsed();
        let started = Instant::now();
        runtime.block_on(private.run(files));
        if run > 0 {
            plain_times.push(plain_time);
            private_times.push(started.elapsed());
        }
    }
    (median(plain_times), median(private_times))
}

/// The files stay under the build directory, so that a second run finds them.
fn files() -> Files {
    let rows = setting("WARD_BENCH_ROWS", 50_000_000);
    let patients = setting("WARD_BENCH_PATIENTS", 1_000_000);
    let name = format!("measurements-{rows}-{patients}");
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    Files::generate(&dir, rows, patients, PARTITIONS as u64, files::ROW_GROUP)
}

/// A number out of the environment.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect(name))
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// The plain statement, with all of DataFusion's optimizer rules.
async fn plain(files: &Files, sql: &str) {
    let config = SessionConfig::new().with_target_partitions(PARTITIONS);
    let context = SessionContext::new_with_config(config);
    for (name, table) in files.tables() {
        context.register_table(name, table).expect("registered");
    }
    let rows = context
        .sql(sql)
        .await
        .expect("planned")
        .collect()
        .await
        .expect("run");
    assert!(
        rows.iter()
            .map(arrow::array::RecordBatch::num_rows)
            .sum::<usize>()
            > 0
    );
}
