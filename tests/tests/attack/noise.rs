//! Is the noise in releases the noise that was declared? Its size, its distribution, and whether each
//! cell and each release has its own.

use ward_schemas::partial::Vectors;
use ward_schemas::rho::Rho;
use ward_tests::attack::engine::Tabulation;
use ward_tests::attack::gaussian::{DiscreteGaussian, float, root_mean_square};
use ward_tests::attack::hospital::{Layout, Tables};
use ward_tests::attack::random::SplitMix;

use crate::cells;

/// The relative standard error of a root mean square is 1/√(2n), 0.5 %: 3 % are 6 of them, a false
/// failure in 5·10⁸ runs. (With 10⁴ releases it would be one in 45,000.)
const RELEASES: i64 = 20_000;
const TOLERANCE: f64 = 0.03;

#[test]
fn counts_have_the_declared_noise() {
    declared_noise("COUNT(*)", "");
}

#[test]
fn sums_have_the_declared_noise() {
    let bounds = "bounds.x = { lower = \"0\", upper = \"20\", step = \"0.5\" }";
    declared_noise("SUM(value_as_number)", bounds);
}

fn declared_noise(measure: &str, bounds: &str) {
    let tabulation = cells::tabulation(measure, "0.5", 2, bounds, RELEASES);
    let declared = tabulation.plan().rho();
    let sigma = tabulation.sigmas(declared)[0];
    let noise = |rho| noise(&tabulation, rho);

    let (one, two) = (noise(declared), noise(declared));
    eprintln!("{measure}: RMSE {:.4} σ", root_mean_square(&one) / sigma);
    assert_eq!(fault(sigma, &one, &two), None);

    let half = noise(times(declared, 4, 1));
    assert_eq!(fault(sigma, &half, &half), Some("size"));
    let nine_tenths = noise(times(declared, 100, 81));
    assert_eq!(fault(sigma, &nine_tenths, &two), Some("size"));
    assert_eq!(fault(sigma, &uniform(sigma), &two), Some("distribution"));
    assert_eq!(fault(sigma, &one, &one), Some("freshness"));
    let in_pairs: Vec<_> = one.iter().step_by(2).flat_map(|x| [*x, *x]).collect();
    assert_eq!(fault(sigma, &in_pairs, &two), Some("freshness"));
}

/// What is wrong with the noise of a release, beside another release.
fn fault(sigma: f64, one: &[i64], two: &[i64]) -> Option<&'static str> {
    let size = root_mean_square(one) / sigma;
    if (size - 1.0).abs() > TOLERANCE {
        return Some("size");
    }
    if related(sigma, one, two) || related(sigma, one, &one[1..]) {
        return Some("freshness");
    }
    let fits = DiscreteGaussian::new(sigma).fit(one).is_good();
    (!fits).then_some("distribution")
}

/// Whether two samples correlate by 6 standard errors: by chance in 5·10⁸ runs.
fn related(sigma: f64, one: &[i64], two: &[i64]) -> bool {
    let pairs: Vec<_> = one.iter().zip(two).collect();
    let products = pairs.iter().map(|(a, b)| float(**a) * float(**b));
    let sum = products.sum::<f64>() / (sigma * sigma);
    sum.abs() > 6.0 * f64::from(u32::try_from(pairs.len()).expect("few")).sqrt()
}

/// A release less the bounded truth.
fn noise(tabulation: &Tabulation, rho: Rho) -> Vec<i64> {
    let tables = || hospital().serve(Layout::PLAIN);
    let integers = |vectors: Vectors| vectors.values()[0][0].clone();
    let truth = integers(tabulation.bounded(tables()));
    let released = integers(tabulation.release_at(tables(), rho));
    released.iter().zip(truth).map(|(r, t)| r - t).collect()
}

/// Three rows in every other cell.
fn hospital() -> Tables {
    let cells = (0..RELEASES).step_by(2);
    cells::hospital(cells.flat_map(|cell| [(cell, cell, 7.7); 3]))
}

/// Of the same size.
fn uniform(sigma: f64) -> Vec<i64> {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // small and positive
    let reach = (3_f64.sqrt() * sigma).round() as u32;
    let mut random = SplitMix::new(1);
    let value = |_| i64::from(random.below(2 * reach + 1)) - i64::from(reach);
    (0..RELEASES).map(value).collect()
}

fn times(rho: Rho, numerator: u64, denominator: u64) -> Rho {
    Rho::from_units(rho.units() * numerator / denominator).expect("a rho")
}
