//! Which values of a key that comes from data are shown, and the noisy integers of those.
//!
//! A value is shown if its noisy count of distinct patients reaches the threshold of
//! [`ward_schemas::threshold`]. If more reach it than a node may show, those with the largest noisy
//! counts are shown: a function of noisy values, so it costs nothing, and no patient's rows decide
//! which of another patient's count.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use ward_schemas::data_key::{DataKey, DataValue, ShownValues};
use ward_schemas::plan::{Noise, TablePlan};

use crate::by_value::Sums;
use crate::measure::Source;
use crate::noise::{NoiseError, NoiseSource};
use crate::run::{RunError, saturate};

/// The sums of each value that a patient has: by cell.
pub(crate) type Totals = BTreeMap<DataValue, BTreeMap<usize, Sums>>;

/// Noise for as many values as may be shown, drawn before data is read.
#[derive(Debug)]
pub(crate) struct Drawn {
    /// For the counts that the threshold looks at.
    counts: Vec<i64>,
    /// By component; none for that count.
    measures: Vec<Vec<i64>>,
}

/// Draws the noise of a table.
pub(crate) fn draw(
    table: &TablePlan,
    key: &DataKey,
    scales: &[Noise],
    noise: &NoiseSource,
) -> Result<Drawn, NoiseError> {
    let most = usize::try_from(key.most).map_err(|_| NoiseError)?;
    let measure = |(component, scale): (usize, &Noise)| {
        let length = if component == key.counted {
            0
        } else {
            table.length(component, most)
        };
        noise.draw(scale.sigma, length)
    };
    Ok(Drawn {
        counts: noise.draw(scales[key.counted].sigma, most)?,
        measures: scales
            .iter()
            .enumerate()
            .map(measure)
            .collect::<Result<_, _>>()?,
    })
}

/// A value that is shown, its noisy count, and its sums.
struct Shown {
    value: DataValue,
    count: i128,
    cells: BTreeMap<usize, Sums>,
}

/// The noisy integers of the values that are shown, by component.
pub(crate) fn show(
    table: &TablePlan,
    sources: &[Source],
    scales: &[Noise],
    drawn: Drawn,
    totals: Totals,
    noise: &NoiseSource,
) -> Result<(Vec<Vec<i64>>, ShownValues), RunError> {
    let key = table.data_key.as_ref().ok_or(RunError::Engine)?;
    let threshold = table.threshold(scales).ok_or(RunError::Threshold)?;
    let mut counts = drawn.counts;
    // Only where there are more values than may be shown.
    let missing = totals.len().saturating_sub(counts.len());
    counts.extend(noise.draw(scales[key.counted].sigma, missing)?);
    let shown = above(threshold, key, totals, &counts);
    let component = |(component, noise): (usize, &Vec<i64>)| {
        if component == key.counted {
            Some(shown.iter().map(|shown| saturate(shown.count)).collect())
        } else {
            let tally = sources.get(component)?.tally;
            Some(measured(table, tally, &shown, noise))
        }
    };
    let components = drawn.measures.iter().enumerate().map(component);
    let components = components.collect::<Option<_>>().ok_or(RunError::Engine)?;
    let values = shown.into_iter().map(|shown| shown.value).collect();
    let values = ShownValues::new(key, values).map_err(|_| RunError::Engine)?;
    Ok((components, values))
}

/// The values whose noisy counts reach the threshold, at most as many as may be shown, ascending.
fn above(threshold: u64, key: &DataKey, totals: Totals, noise: &[i64]) -> Vec<Shown> {
    let noisy = |((value, cells), noise): ((DataValue, BTreeMap<usize, Sums>), &i64)| {
        let patients: i128 = cells.values().map(|sums| sums.patients).sum();
        Shown {
            value,
            count: patients.saturating_add(i128::from(*noise)),
            cells,
        }
    };
    let noisy = totals.into_iter().zip(noise).map(noisy);
    let mut shown: Vec<_> = noisy.filter(|s| s.count >= i128::from(threshold)).collect();
    shown.sort_by_key(|s| Reverse(s.count));
    shown.truncate(usize::try_from(key.most).unwrap_or(usize::MAX));
    shown.sort_by(|a, b| a.value.cmp(&b.value));
    shown
}

/// The noisy integers of one tally: for each value, each cell.
fn measured(table: &TablePlan, tally: usize, shown: &[Shown], noise: &[i64]) -> Vec<i64> {
    let exact = shown.iter().flat_map(|shown| {
        (0..table.cells()).map(|cell| shown.cells.get(&cell).map_or(0, |s| s.tallies[tally]))
    });
    let pairs = exact.zip(noise);
    pairs
        .map(|(sum, noise)| saturate(sum.saturating_add(i128::from(*noise))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use opendp::domains::{AtomDomain, MapDomain};
    use opendp::measurements::make_gaussian_threshold;
    use opendp::measures::{Approximate, ZeroConcentratedDivergence};
    use opendp::metrics::{AbsoluteDistance, L0PInfDistance};
    use ward_schemas::data_key::DataKeyType;
    use ward_schemas::delta::Delta;
    use ward_schemas::rho::{Rho, Sigma};
    use ward_schemas::threshold::threshold;

    fn key(most: u32) -> DataKey {
        DataKey {
            name: "code".parse().expect("name"),
            from_data: DataKeyType::Integer,
            most,
            counted: 0,
        }
    }

    /// Values from 0 on, with so many patients each.
    fn totals(patients: &[i128]) -> Totals {
        let sums = |patients: &i128| Sums {
            patients: *patients,
            tallies: Vec::new(),
        };
        let cells = patients.iter().map(|p| BTreeMap::from([(0, sums(p))]));
        (0..).map(DataValue::Integer).zip(cells).collect()
    }

    fn shown(threshold: u64, most: u32, patients: &[i128], noise: &[i64]) -> Vec<i64> {
        let shown = above(threshold, &key(most), totals(patients), noise);
        let value = |shown: Shown| match shown.value {
            DataValue::Integer(value) => value,
            other => panic!("{other:?}"),
        };
        shown.into_iter().map(value).collect()
    }

    fn sigma(rho: &str, groups: u32) -> Sigma {
        let rho: Rho = rho.parse().expect(rho);
        Sigma::for_rho(rho, u128::from(groups)).expect("sigma")
    }

    /// 20,000 values of one patient each, at σ = 1 and δ = 0.01: of the discrete Gaussian
    /// P[1 + Z ≥ 4] is 0.0049, so that 98 are expected and 200 are ten standard deviations off:
    /// false failures are rarer than 10⁻¹⁵. One threshold less shows 1170.
    #[test]
    fn what_one_patient_has_is_shown_with_probability_delta_at_most() {
        const VALUES: usize = 20_000;
        let sigma = sigma("0.5", 1);
        let delta: Delta = "0.01".parse().expect("delta");
        let corrected = threshold(sigma, 1, delta).expect("threshold");
        let too_many = |threshold: u64| {
            let noise = NoiseSource::discrete_gaussian()
                .draw(sigma, VALUES)
                .expect("noise");
            let shown = shown(threshold, u32::MAX, &[1; VALUES], &noise).len();
            shown > VALUES / 100
        };
        assert!(!too_many(corrected));
        assert!(
            too_many(corrected - 1),
            "the uncorrected threshold is not seen"
        );
    }

    /// What OpenDP's map charges for a threshold.
    fn opendp_delta(sigma: Sigma, groups: u32, threshold: u64) -> f64 {
        type Charged = Approximate<ZeroConcentratedDivergence>;
        let integers = AtomDomain::<i64>::new_non_nan;
        let domain = MapDomain::new(integers(), integers());
        let metric = L0PInfDistance::<2, _>(AbsoluteDistance::<f64>::default());
        let threshold = i64::try_from(threshold).expect("small");
        let mechanism = make_gaussian_threshold::<_, _, Charged>(
            domain,
            metric,
            sigma.to_f64(),
            threshold,
            None,
        )
        .expect("mechanism");
        let l2 = f64::from(groups).sqrt();
        mechanism.map(&(groups, l2, 1.0)).expect("price").1
    }

    /// P[1 + Z ≥ threshold] by adding the probabilities up, the smallest first.
    fn of_one_patient(sigma: Sigma, threshold: u64) -> f64 {
        let sigma = sigma.to_f64();
        let weight = |k: u32| (-f64::from(k).powi(2) / (2.0 * sigma * sigma)).exp();
        let from = u32::try_from(threshold).expect("small") - 1;
        let above: f64 = (from..from + 500).rev().map(weight).sum();
        let all: f64 = (1..500).rev().map(weight).sum();
        above / (1.0 + 2.0 * all)
    }

    /// What reaches the threshold is shown, and OpenDP 0.16 charges for what exceeds it: less than
    /// the truth. Charged what its map gives for T − 1, it is no less.
    #[test]
    fn opendp_charges_too_little_without_the_correction() {
        for (rho, thresholds) in [("0.5", 2..7), ("0.05", 4..16), ("0.005", 12..50)] {
            let sigma = sigma(rho, 1);
            for t in thresholds {
                let truth = of_one_patient(sigma, t);
                let (as_is, corrected) = (opendp_delta(sigma, 1, t), opendp_delta(sigma, 1, t - 1));
                assert!(as_is < truth, "{rho} {t}: {as_is}, {truth}");
                assert!(corrected >= truth, "{rho} {t}: {corrected}, {truth}");
            }
        }
    }

    /// Ours is the least threshold, and OpenDP's with the correction, whose bound is looser by half
    /// a patient, at most one more.
    #[test]
    fn opendp_agrees_on_the_threshold_with_the_correction() {
        for (rho, groups, delta) in [
            ("0.5", 1, "1e-6"),
            ("0.005", 3, "1e-9"),
            ("0.05", 20, "1e-7"),
        ] {
            let sigma = sigma(rho, groups);
            let t = threshold(sigma, groups, delta.parse().expect("delta")).expect("threshold");
            let delta: f64 = delta.parse().expect("delta");
            assert!(
                f64::from(groups) * of_one_patient(sigma, t) <= delta,
                "{rho}: {t}"
            );
            let corrected = |t| opendp_delta(sigma, groups, t - 1);
            assert!(corrected(t + 1) <= delta, "{rho}: {t}");
            assert!(corrected(t - t.div_ceil(50)) > delta, "{rho}: {t}");
        }
    }

    #[test]
    fn the_largest_noisy_counts_are_shown_in_the_order_of_their_values() {
        let patients = [10, 3, 12, 4, 11];
        assert_eq!(shown(4, 9, &patients, &[0; 5]), [0, 2, 3, 4]);
        assert_eq!(shown(4, 2, &patients, &[0; 5]), [2, 4]);
        assert_eq!(shown(4, 2, &patients, &[9, 0, -3, 0, 0]), [0, 4]);
        assert_eq!(shown(4, 9, &patients, &[-7, 1, -20, -1, 0]), [1, 4]);
    }
}
