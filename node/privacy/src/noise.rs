//! Noise: OpenDP's discrete Gaussian, and nothing else in a service that ships.

use opendp::domains::{AtomDomain, VectorDomain};
use opendp::measurements::make_gaussian;
use opendp::measures::ZeroConcentratedDivergence;
use opendp::metrics::L2Distance;
use ward_schemas::partial::NoiseKind;
use ward_schemas::rho::Sigma;

/// Where noise comes from. A partial is stamped with the kind, and coordinators refuse frozen noise.
#[derive(Debug)]
pub struct NoiseSource(Source);

#[derive(Debug)]
enum Source {
    DiscreteGaussian,
    Frozen(Box<dyn FrozenNoise>),
}

/// Noise that a test can predict. It protects nobody.
pub trait FrozenNoise: std::fmt::Debug + Send + Sync {
    /// As many integers as asked for.
    fn draw(&self, sigma: Sigma, length: usize) -> Vec<i64>;
}

impl NoiseSource {
    /// Fresh discrete Gaussian noise of OpenDP's exact sampler.
    pub const fn discrete_gaussian() -> Self {
        Self(Source::DiscreteGaussian)
    }

    /// A test's noise; partials say so.
    pub fn frozen(noise: Box<dyn FrozenNoise>) -> Self {
        Self(Source::Frozen(noise))
    }

    /// What partials are stamped with.
    pub fn kind(&self) -> NoiseKind {
        match self.0 {
            Source::DiscreteGaussian => NoiseKind::DiscreteGaussian,
            Source::Frozen(_) => NoiseKind::Frozen,
        }
    }

    /// `length` integers of noise with scale σ.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub(crate) fn draw(&self, sigma: Sigma, length: usize) -> Result<Vec<i64>, NoiseError> {
        let noise = match &self.0 {
            Source::DiscreteGaussian => gaussian(sigma, length)?,
            Source::Frozen(noise) => noise.draw(sigma, length),
        };
        if noise.len() == length {
            Ok(noise)
        } else {
            Err(NoiseError)
        }
    }
}

/// No noise could be drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no noise could be drawn; check the operating system's source of randomness")]
pub struct NoiseError;

/// The mechanism applied to zeros: its output is the noise alone, so it can be drawn before any
/// data is read, and the time that takes tells nothing about the answer.
fn gaussian(sigma: Sigma, length: usize) -> Result<Vec<i64>, NoiseError> {
    let domain = VectorDomain::new(AtomDomain::<i64>::new_non_nan());
    let metric = L2Distance::<f64>::default();
    make_gaussian::<_, _, ZeroConcentratedDivergence>(domain, metric, sigma.to_f64(), None)
        .and_then(|mechanism| mechanism.invoke(&vec![0; length]))
        .map_err(|_| NoiseError)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ward_schemas::rho::Rho;

    fn sigma(rho: &str, sensitivity_squared: u128) -> Sigma {
        let rho: Rho = rho.parse().expect(rho);
        Sigma::for_rho(rho, sensitivity_squared).expect("sigma")
    }

    #[test]
    fn opendp_agrees_on_the_price() {
        for (rho, sensitivity) in [
            ("0.005", 1_u32),
            ("0.001", 800),
            ("0.25", 3),
            ("0.000001", 7),
        ] {
            let sigma = sigma(rho, u128::from(sensitivity).pow(2));
            let mechanism = make_gaussian::<_, _, ZeroConcentratedDivergence>(
                VectorDomain::new(AtomDomain::<i64>::new_non_nan()),
                L2Distance::<f64>::default(),
                sigma.to_f64(),
                None,
            )
            .expect("mechanism");
            let charged = mechanism.map(&f64::from(sensitivity)).expect("price");
            let declared = rho.parse::<Rho>().expect(rho).to_f64();
            assert!(
                charged <= declared * (1.0 + 1e-12),
                "{charged} > {declared}"
            );
            assert!(charged >= declared * 0.999, "{charged} wastes {declared}");
        }
    }

    /// Pearson's χ² against the discrete Gaussian's exact probabilities.
    fn chi_squared(sample: &[i64], sigma: f64) -> (f64, usize) {
        #[allow(clippy::cast_possible_truncation)]
        let reach = (3.0 * sigma) as i64;
        #[allow(clippy::cast_precision_loss)]
        let weight = |k: i64| (-(k as f64).powi(2) / (2.0 * sigma * sigma)).exp();
        let total: f64 = (-40 * reach..=40 * reach).map(weight).sum();
        #[allow(clippy::cast_precision_loss)]
        let n = sample.len() as f64;
        let inside = -reach..=reach;
        let mut statistic = 0.0;
        for k in inside.clone() {
            #[allow(clippy::cast_precision_loss)]
            let observed = sample.iter().filter(|x| **x == k).count() as f64;
            let expected = n * weight(k) / total;
            statistic += (observed - expected).powi(2) / expected;
        }
        (statistic, inside.count())
    }

    /// False-failure rate below 10⁻⁶: the bound is the χ² mean plus 7 standard deviations, beyond
    /// the 10⁻⁷ quantile at 40 to 60 degrees of freedom.
    #[test]
    fn noise_fits_the_discrete_gaussian_and_half_the_noise_does_not() {
        let full = sigma("0.005", 1);
        let half = sigma("0.02", 1);
        let fits = |drawn: Sigma| {
            let sample = NoiseSource::discrete_gaussian()
                .draw(drawn, 40_000)
                .expect("noise");
            let (statistic, cells) = chi_squared(&sample, full.to_f64());
            #[allow(clippy::cast_precision_loss)]
            let degrees = cells as f64;
            statistic < degrees + 7.0 * (2.0 * degrees).sqrt()
        };
        assert!(fits(full));
        assert!(!fits(half), "the test misses half the noise");
    }

    #[test]
    fn noise_is_fresh() {
        let sigma = sigma("0.000001", 1);
        let draw = || {
            NoiseSource::discrete_gaussian()
                .draw(sigma, 64)
                .expect("noise")
        };
        // Equal by chance with probability below 10⁻¹⁰⁰.
        assert_ne!(draw(), draw());
    }
}
