//! Answers err by as much as their intervals say: no less (or patients are not protected), no more.

use chrono::{Days, NaiveDate};
use futures::{StreamExt as _, stream};
use ward_schemas::finish::{Estimate, Z95};
use ward_schemas::partial::{self, MergedTable};
use ward_schemas::release::{Cell, Release};
use ward_tests::network::{Network, Plan, RunningCoordinator, outside_data};

use crate::PROGRAMS;

/// Asks, each with another date. With the 20 counts of each answer that makes 4,400 errors, and a
/// standard error of 1/√8,800 = 1.1 % for their root mean square.
const ASKS: u64 = 220;
/// What the root mean square may differ by: 7.5 standard errors, a false failure in 10¹³ runs.
const RMSE_TOLERANCE: f64 = 0.08;
/// What the mean may be off by, in standard errors: a false failure in 150,000 runs.
const MEAN_TOLERANCE: f64 = 4.5;

#[tokio::test(flavor = "multi_thread")]
async fn generated_hospitals_get_the_noise_that_answers_claim() {
    // Type 2 diabetes.
    errors_are_as_claimed(Plan::generated(&[150, 100, 100]), "201826").await;
}

/// On data outside the project: see [`outside_data`].
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs data: WARD_TEST_OMOP=DIR WARD_TEST_VOCABULARY=DIR"]
async fn outside_hospitals_get_the_noise_that_answers_claim() {
    let (hospitals, vocabulary) = outside_data();
    let plan = Plan {
        hospitals,
        vocabulary,
        ..Plan::generated(&[])
    };
    // Viral sinusitis.
    errors_are_as_claimed(plan, "40481087").await;
}

async fn errors_are_as_claimed(plan: Plan, condition: &str) {
    let mut network = plan.make(PROGRAMS).await;
    let truth = truth(&network, condition).await;
    let running = network.serve(&[]).await;
    let days = (0..ASKS).map(day);
    let releases = stream::iter(days)
        .map(|day| one_answer(&network, &running.coordinator, condition, day))
        .buffer_unordered(4);
    let releases: Vec<_> = releases.collect().await;
    let errors: Vec<_> = releases.iter().flat_map(|r| errors(r, &truth)).collect();
    let statistics = Statistics::of(&errors);
    eprintln!(
        "{} errors over {} asks: {statistics:?}",
        errors.len(),
        releases.len()
    );
    assert!(errors.len() >= 4_000);
    assert!(statistics.fit(), "{statistics:?}");

    // What the test is worth: half the noise, and a fifth of it as a bias, are found out: the
    // bias is 13 standard errors, and would hide behind one of 8, in 10¹⁵ runs.
    let halved: Vec<_> = errors.iter().map(|e| e / 2.0).collect();
    assert!(!Statistics::of(&halved).fit());
    let shifted: Vec<_> = errors.iter().map(|e| e + 0.2).collect();
    assert!(!Statistics::of(&shifted).fit());
}

/// Records end with 2025, and ages are those of the year: in 2026 the answer is the same every day.
fn day(n: u64) -> NaiveDate {
    let start = NaiveDate::from_ymd_opt(2026, 1, 1).expect("a date");
    start.checked_add_days(Days::new(n)).expect("a date")
}

async fn one_answer(
    network: &Network,
    coordinator: &RunningCoordinator,
    condition: &str,
    day: NaiveDate,
) -> Release {
    let day = day.to_string();
    let parameters = [("condition", condition), ("as_of", &day)];
    let request = network.request(&network.permit(), "condition_prevalence", &parameters);
    let release = coordinator.client.ask(&request, |_| {}).await;
    release.expect("a release")
}

/// The counts without noise, from the nodes themselves before they serve: an ask of a day that isn't
/// asked again.
async fn truth(network: &Network, condition: &str) -> MergedTable {
    let parameters = [("condition", condition), ("as_of", "2026-12-31")];
    let ask = network.ask("condition_prevalence", &parameters);
    let mut partials = Vec::new();
    let mut plan = None;
    for node in network.deployment().nodes() {
        let frozen = [("WARD_TEST_FREEZE", "zero")];
        let node = network.start(node.as_str(), &frozen).await;
        let quote = node.client.quote(&ask).await.expect("a quote");
        let answer = node.client.ask(&ask).await.expect("a partial");
        node.process.kill().await;
        partials.push(answer.vectors(&quote.plan));
        plan = Some(quote.plan);
    }
    let plan = plan.expect("a node");
    let noise = plan.noise(plan.rho()).expect("noise");
    let merged = partial::merge(&plan, &noise, &partials);
    merged.into_iter().next().expect("a table")
}

/// Errors of all counts, in units of the standard deviation that their intervals claim.
fn errors(release: &Release, truth: &MergedTable) -> Vec<f64> {
    let table = &release.tables[0];
    let column = |name: &str| {
        let found = table.columns.iter().position(|c| c.name.as_str() == name);
        found.expect("a column")
    };
    let mut errors = Vec::new();
    for (name, sums) in ["affected", "patients"].into_iter().zip(&truth.sums) {
        let column = column(name);
        for (row, sum) in table.rows.iter().zip(sums) {
            errors.push(error(&row[column], *sum));
        }
    }
    errors
}

fn error(cell: &Cell, truth: i128) -> f64 {
    let Cell::Estimate(Some(Estimate { value, half_width })) = cell else {
        panic!("{cell:?} is no count");
    };
    #[allow(clippy::cast_precision_loss)] // small counts
    let truth = truth as f64;
    (value - truth) / (half_width / Z95)
}

#[derive(Debug)]
struct Statistics {
    mean_in_standard_errors: f64,
    root_mean_square: f64,
}

impl Statistics {
    fn of(errors: &[f64]) -> Self {
        #[allow(clippy::cast_precision_loss)] // thousands
        let n = errors.len() as f64;
        let mean = errors.iter().sum::<f64>() / n;
        let square = errors.iter().map(|e| e * e).sum::<f64>() / n;
        Self {
            mean_in_standard_errors: mean * n.sqrt(),
            root_mean_square: square.sqrt(),
        }
    }

    fn fit(&self) -> bool {
        self.mean_in_standard_errors.abs() < MEAN_TOLERANCE
            && (self.root_mean_square - 1.0).abs() < RMSE_TOLERANCE
    }
}
