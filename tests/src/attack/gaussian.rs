//! The discrete Gaussian as it should be, and distinguishing by it.

use std::ops::RangeInclusive;

/// Integers with probability proportional to exp(−k²/2σ²).
#[derive(Clone, Copy, Debug)]
pub struct DiscreteGaussian {
    sigma: f64,
    total: f64,
}

/// How well a sample fits.
#[derive(Clone, Copy, Debug)]
pub struct Fit {
    /// Pearson's χ².
    pub statistic: f64,
    /// Its degrees of freedom.
    pub degrees: f64,
}

impl DiscreteGaussian {
    /// Of this scale.
    pub fn new(sigma: f64) -> Self {
        let mut unit = Self { sigma, total: 1.0 };
        unit.total = unit.probability(-unit.reach(12.0)..=unit.reach(12.0));
        unit
    }

    /// The probability of a range. Beyond 12σ lie 10⁻³².
    pub fn probability(&self, range: RangeInclusive<i64>) -> f64 {
        let weight = |k: i64| (-(float(k) / self.sigma).powi(2) / 2.0).exp();
        range.map(weight).sum::<f64>() / self.total
    }

    /// Pearson's χ² over some 60 bins within 3σ, and both tails.
    pub fn fit(&self, sample: &[i64]) -> Fit {
        let (reach, width) = (self.reach(3.0), self.reach(0.1).max(1));
        let far = self.reach(12.0);
        let starts = (-reach..=reach).step_by(usize::try_from(width).expect("positive"));
        let mut edges: Vec<_> = std::iter::once(-far).chain(starts).collect();
        edges.push(far + 1);
        let ranges = edges.windows(2).map(|edge| edge[0]..=edge[1] - 1);
        let n = count(sample);
        let parts = ranges.map(|range| {
            let found = sample.iter().filter(|x| range.contains(x)).count();
            (float(found as i64), n * self.probability(range))
        });
        Fit::of(parts)
    }

    fn reach(&self, sigmas: f64) -> i64 {
        #[allow(clippy::cast_possible_truncation)] // scales are below 2³²
        let reach = (sigmas * self.sigma).ceil() as i64;
        reach
    }
}

impl Fit {
    /// Of found and expected numbers.
    pub fn of(bins: impl Iterator<Item = (f64, f64)>) -> Self {
        let parts: Vec<_> = bins
            .map(|(found, expected)| (found - expected).powi(2) / expected)
            .collect();
        Self {
            statistic: parts.iter().sum(),
            degrees: count(&parts) - 1.0,
        }
    }

    /// Whether χ² is below a bound that a fitting sample exceeds with probability under 10⁻⁷: with
    /// x = 16 and d degrees, P(χ² ≥ d + 2√(dx) + 2x) ≤ e⁻ˣ (Laurent and Massart, *Adaptive Estimation of a
    /// Quadratic Functional by Model Selection*, Ann. Stat. 2000, Lemma 1).
    pub fn is_good(&self) -> bool {
        self.statistic < self.degrees + 2.0 * (16.0 * self.degrees).sqrt() + 32.0
    }
}

/// The μ of Gaussian differential privacy that a distinguisher reaches who says "with" at or above a
/// threshold: Φ⁻¹(1 − FPR) − Φ⁻¹(FNR) (Dong, Roth and Su, *Gaussian Differential Privacy*, JRSS B 2022).
/// No error in a sample counts as half of one.
pub fn empirical_mu(with: &[f64], without: &[f64], threshold: f64) -> f64 {
    let rate = |missed: usize, of: &[f64]| {
        let n = count(of);
        (float(missed as i64) / n).clamp(0.5 / n, 1.0 - 0.5 / n)
    };
    let alarms = without.iter().filter(|x| **x >= threshold).count();
    let misses = with.iter().filter(|x| **x < threshold).count();
    normal_quantile(1.0 - rate(alarms, without)) - normal_quantile(rate(misses, with))
}

/// The root mean square.
pub fn root_mean_square(errors: &[i64]) -> f64 {
    let squares: f64 = errors.iter().map(|e| float(*e).powi(2)).sum();
    (squares / count(errors)).sqrt()
}

/// Φ⁻¹, by bisection.
pub fn normal_quantile(p: f64) -> f64 {
    let (mut low, mut high) = (-8.0, 8.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if normal_cdf(middle) < p {
            low = middle;
        } else {
            high = middle;
        }
    }
    (low + high) / 2.0
}

/// Φ, by its series (Marsaglia, *Evaluating the Normal Distribution*, J. Stat. Software 2004).
fn normal_cdf(x: f64) -> f64 {
    let (mut sum, mut term, mut odd) = (x, x, 1.0);
    while term.abs() > 1e-17 {
        odd += 2.0;
        term *= x * x / odd;
        sum += term;
    }
    0.5 + sum * (-x * x / 2.0).exp() / std::f64::consts::TAU.sqrt()
}

/// An integer as a double.
pub fn float(integer: i64) -> f64 {
    #[allow(clippy::cast_precision_loss)] // counts and noise are far below 2⁵³
    let float = integer as f64;
    float
}

fn count<T>(of: &[T]) -> f64 {
    float(of.len() as i64)
}
