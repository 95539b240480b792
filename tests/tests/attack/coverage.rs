//! Do 95 % intervals hold the truth as often as they say? Truth is the bounded quantity, which is what
//! noise is added to; how far bounding itself moves an answer is printed beside it, and no interval speaks of it.

use std::sync::Arc;

use arrow::array::AsArray as _;
use arrow::datatypes::Float64Type;
use datafusion::catalog::SchemaProvider;
use ward_schemas::finish::{Estimate, Z95};
use ward_schemas::rho::Rho;
use ward_tests::attack::gaussian::{DiscreteGaussian, float};
use ward_tests::attack::hospital::{Layout, Tables};
use ward_tests::attack::plain;
use ward_tests::attack::random::SplitMix;

use crate::cells;

/// For counts and sums: at 95 % the standard error is 0.15 %, and 1 % is 6.5 of them.
const RELEASES: i64 = 20_000;
/// For means and ratios, groups of 1,000 patients in so many releases: at 95 % the standard error
/// is 0.37 %, and 2 % is 5.4 of them.
const GROUPS: i64 = 50;
const ASKS: usize = 70;

#[test]
fn counts_are_covered() {
    covers_exactly("COUNT(*)", "");
}

#[test]
fn sums_are_covered() {
    let bounds = "bounds.x = { lower = \"0\", upper = \"2\", step = \"0.1\" }";
    covers_exactly("SUM(value_as_number)", bounds);
}

/// At σ ≥ 20, within 1 % of what the discrete Gaussian puts within 1.96 σ.
fn covers_exactly(measure: &str, bounds: &str) {
    let tabulation = cells::tabulation(measure, "0.125", 10, bounds, RELEASES);
    let declared = tabulation.plan().rho();
    let sigma = tabulation.sigmas(declared)[0];
    assert!(sigma >= 20.0);
    #[allow(clippy::cast_possible_truncation)] // small
    let reach = (Z95 * sigma).floor() as i64;
    let exact = DiscreteGaussian::new(sigma).probability(-reach..=reach);

    let tables = || in_each_cell(3).serve(Layout::PLAIN);
    let truth = tabulation.estimates("x", declared, &[tabulation.bounded(tables())]);
    let coverage = |drawn: Rho| {
        let released = tabulation.release_at(tables(), drawn);
        covered(&tabulation.estimates("x", declared, &[released]), &truth)
    };
    let found = coverage(declared);
    eprintln!("{measure}: {found:.4} covered, exactly {exact:.4}");
    assert!((found - exact).abs() < 0.01, "{found}");
    // Mutants: nine tenths of the noise that intervals speak of, and eleven tenths.
    for percent in [81, 121] {
        let other = Rho::from_units(declared.units() * 100 / percent).expect("a rho");
        let found = coverage(other);
        assert!(
            (found - exact).abs() > 0.01,
            "{percent} goes unseen: {found}"
        );
    }
}

/// Two measures of a concept: the second is `x`.
const MEAN_AND_SHARE: &str = "AVG(value_as_number) AS mean, 100.0 * COUNT(DISTINCT person_id) FILTER (WHERE value_as_number > 6) / COUNT(DISTINCT person_id)";

#[test]
fn means_and_ratios_are_covered() {
    let bounds = "bounds.mean = { lower = \"3\", upper = \"15\", step = \"0.1\" }";
    let tabulation = cells::tabulation(MEAN_AND_SHARE, "0.01", 2, bounds, GROUPS);
    let rho = tabulation.plan().rho();
    let tables = groups().serve(Layout::PLAIN);
    let bounded = tabulation.bounded(Arc::clone(&tables));
    let truth = ["mean", "x"].map(|c| tabulation.estimates(c, rho, std::slice::from_ref(&bounded)));
    tell_what_bounding_does(&truth, Arc::clone(&tables));

    let covered = |drawn: Rho, asks: usize| {
        let releases: Vec<_> = (0..asks)
            .map(|_| tabulation.release_at(Arc::clone(&tables), drawn))
            .collect();
        let column = |i: usize, name| {
            let estimates = releases
                .iter()
                .flat_map(|r| tabulation.estimates(name, rho, std::slice::from_ref(r)));
            let truth = truth[i]
                .iter()
                .cycle()
                .take(asks * truth[i].len())
                .copied()
                .collect::<Vec<_>>();
            covered(&estimates.collect::<Vec<_>>(), &truth)
        };
        [column(0, "mean"), column(1, "x")]
    };
    let found = covered(rho, ASKS);
    eprintln!("means, ratios: {found:.4?} covered");
    assert!(found.iter().all(|c| (0.93..=0.97).contains(c)), "{found:?}");
    // Mutants: half the noise that intervals speak of, and half as much again.
    for percent in [25, 225] {
        let other = Rho::from_units(rho.units() * 100 / percent).expect("a rho");
        let found = covered(other, ASKS / 4);
        assert!(
            found.iter().all(|c| !(0.93..=0.97).contains(c)),
            "{percent} goes unseen: {found:?}"
        );
    }
}

/// The share of intervals that hold the truth.
fn covered(estimates: &[Option<Estimate>], truth: &[Option<Estimate>]) -> f64 {
    let pairs = estimates.iter().zip(truth);
    let holds = |(estimate, truth): &(&Option<Estimate>, &Option<Estimate>)| {
        let (estimate, truth) = (estimate.expect("an estimate"), truth.expect("a truth"));
        // A half-width is no grid point: the slack is for rounding alone.
        (estimate.value - truth.value).abs() <= estimate.half_width * (1.0 + 1e-12)
    };
    float(pairs.filter(holds).count() as i64) / float(estimates.len() as i64)
}

fn tell_what_bounding_does(truth: &[Vec<Option<Estimate>>; 2], tables: Arc<dyn SchemaProvider>) {
    let sql = format!(
        "SELECT measurement_concept_id, {MEAN_AND_SHARE} FROM measurement GROUP BY 1 ORDER BY 1"
    );
    let plain = plain::answer(&sql, tables).expect("an answer");
    for (i, (name, bounded)) in ["means", "ratios"].into_iter().zip(truth).enumerate() {
        let columns: Vec<_> = plain
            .iter()
            .map(|rows| Arc::clone(rows.column(1 + i)))
            .collect();
        let unbounded = columns
            .iter()
            .flat_map(|c| c.as_primitive::<Float64Type>().values());
        let bounded = bounded.iter().flatten();
        let (mut moved, mut half_width) = (0.0, 0.0);
        for (unbounded, bounded) in unbounded.zip(bounded) {
            moved += (bounded.value - unbounded) / float(GROUPS);
            half_width += bounded.half_width / float(GROUPS);
        }
        eprintln!("{name}: bounding moves them by {moved:.4} on average; ± {half_width:.4}");
    }
}

/// So many rows of one patient in each cell.
fn in_each_cell(rows: usize) -> Tables {
    let rows = (0..RELEASES).flat_map(|cell| std::iter::repeat_n((cell, cell, 1.25), rows));
    cells::hospital(rows)
}

/// Groups of 1,000 patients with one to three rows, a hundredth of them far out of bounds.
fn groups() -> Tables {
    let mut random = SplitMix::new(1);
    let mut rows = Vec::new();
    for patient in 0..GROUPS * 1_000 {
        for _ in 0..=random.below(3) {
            let value = 3.0 + f64::from(random.below(80)) / 10.0;
            let value = if random.below(100) == 0 { 400.0 } else { value };
            rows.push((patient, patient / 1_000, value));
        }
    }
    cells::hospital(rows)
}
