//! Is this patient in the data? The best test there is, on hundreds of thousands of releases of
//! neighbours.
//!
//! Each cell of a table gets noise of its own, so a table of so many cells is so many releases. The
//! patient moves each component by all of its sensitivity (10 rows, or 10 rows of 10 steps, or of 100
//! squared steps) at ρ = ½ for all together (for one alone σ = Δ), and the distinguisher weighs them by the
//! logarithm of the likelihood ratio, so that it would reach μ = √(2ρ) = 1 against a continuous Gaussian.
//!
//! With n releases a side μ̂ has a standard error of 1.86/√n, 0.0038 for 240,000: the upper end 1.02
//! is 5.3 of them away (a false failure in 10⁷ runs), the lower end 0.93 is 18. With 10⁵ releases it
//! would be 3.4, a false failure in 3,000 runs.

use std::ops::Range;

use ward_schemas::rho::Rho;
use ward_tests::attack::engine::Tabulation;
use ward_tests::attack::gaussian::{empirical_mu, float};
use ward_tests::attack::hospital::{Layout, Tables};

use crate::cells;

const RELEASES: i64 = 240_000;
/// Enough to see what a mutant reaches: a standard error below 0.1 up to μ = 4.
const FEW: i64 = 20_000;
const ACCEPTED: Range<f64> = 0.93..1.02;
const RHO: &str = "0.5";

const COUNT: &str = "COUNT(*)";
const SUM: &str = "SUM(value_as_number)";
const MEAN: &str = "AVG(value_as_number)";
const VARIANCE: &str = "VAR_POP(value_as_number)";

/// Has more rows than the limit, and their values are out of bounds.
const PATIENT: Patient = Patient {
    rows: 12,
    value: 1e12,
    identifiers: 1,
};

#[test]
fn counts_hide_a_patient_as_well_as_they_claim() {
    let attack = |cells| Attack::new(COUNT, cells);
    hides_and_finds_mutants("counts", attack);
}

#[test]
fn sums_hide_a_patient_as_well_as_they_claim() {
    let attack = |cells| Attack::new(SUM, cells);
    hides_and_finds_mutants("sums", attack);

    // With wider bounds the same ρ means more noise; the mutant has that of the declared ones.
    let unclamped = Attack {
        engine: tabulation(SUM, FEW, "10"),
        ..Attack::new(SUM, FEW)
    };
    let noise = unclamped.engine.sigmas(rho("50"));
    assert_eq!(noise, unclamped.sigmas);
    finds(&unclamped, PATIENT, "50", "a clamp at ten times the bounds");
}

#[test]
fn means_hide_a_patient_as_well_as_they_claim() {
    let attack = |cells| Attack::new(MEAN, cells);
    hides_and_finds_mutants("means", attack);
}

#[test]
fn variances_hide_a_patient_as_well_as_they_claim() {
    let attack = |cells| Attack::new(VARIANCE, cells);
    hides_and_finds_mutants("variances", attack);
}

fn hides_and_finds_mutants(name: &str, attack: impl Fn(i64) -> Attack) {
    let mu = attack(RELEASES).mu(PATIENT, RHO);
    eprintln!("{name}: mu = {mu:.4} at {RELEASES} releases a side");
    assert!(ACCEPTED.contains(&mu), "{name}: {mu}");

    let few = attack(FEW);
    finds(&few, PATIENT, "2", "half the noise");
    let two = Patient {
        rows: 24,
        identifiers: 2,
        ..PATIENT
    };
    finds(&few, two, RHO, "a patient who is two people");
}

fn finds(mutant: &Attack, patient: Patient, rho: &str, what: &str) {
    let mu = mutant.mu(patient, rho);
    assert!(!ACCEPTED.contains(&mu), "{what} goes unseen: {mu}");
}

/// What the patient has in each cell.
#[derive(Clone, Copy)]
struct Patient {
    rows: i64,
    value: f64,
    /// Under how many identifiers the rows lie.
    identifiers: i64,
}

struct Attack {
    /// What answers.
    engine: Tabulation,
    cells: i64,
    /// What the distinguisher reckons with, by component: what the others of a cell add, what the patient
    /// adds, and the declared noise.
    others: Vec<f64>,
    moves: Vec<f64>,
    sigmas: Vec<f64>,
}

impl Attack {
    fn new(measure: &str, cells: i64) -> Self {
        let declared = tabulation(measure, 1, "1");
        let bounded = |patient| {
            let answer = declared.bounded(hospital(1, patient).serve(Layout::PLAIN));
            let components = answer.values()[0].iter();
            components.map(|cells| float(cells[0])).collect::<Vec<_>>()
        };
        let (others, all) = (bounded(None), bounded(Some(PATIENT)));
        Self {
            engine: tabulation(measure, cells, "1"),
            cells,
            moves: all.iter().zip(&others).map(|(a, o)| a - o).collect(),
            others,
            sigmas: declared.sigmas(rho(RHO)),
        }
    }

    /// The μ reached against noise for this ρ; the threshold is half way, whatever comes.
    fn mu(&self, patient: Patient, noise: &str) -> f64 {
        let with = self.statistics(Some(patient), noise);
        let without = self.statistics(None, noise);
        empirical_mu(&with, &without, self.statistic(|i| self.moves[i]) / 2.0)
    }

    /// Of each release, the statistic of what it says beyond the others.
    fn statistics(&self, patient: Option<Patient>, noise: &str) -> Vec<f64> {
        let tables = hospital(self.cells, patient).serve(Layout::PLAIN);
        let released = self.engine.release_at(tables, rho(noise));
        let components = &released.values()[0];
        let cells = 0..components[0].len();
        let excess = |cell: usize| self.statistic(|i| float(components[i][cell]) - self.others[i]);
        cells.map(excess).collect()
    }

    /// The logarithm of the likelihood ratio, but for a constant.
    fn statistic(&self, value: impl Fn(usize) -> f64) -> f64 {
        let components = self.moves.iter().zip(&self.sigmas).enumerate();
        let part = |(i, (moves, sigma)): (usize, (&f64, &f64))| moves * value(i) / (sigma * sigma);
        components.map(part).sum()
    }
}

/// In every cell one other patient with a single row of value 0, and perhaps the patient.
fn hospital(cells: i64, patient: Option<Patient>) -> Tables {
    let mut rows: Vec<_> = (0..cells).map(|cell| (-1 - cell, cell, 0.0)).collect();
    if let Some(patient) = patient {
        for cell in 0..cells {
            let id = |row| cell * patient.identifiers + row % patient.identifiers;
            rows.extend((0..patient.rows).map(|row| (id(row), cell, patient.value)));
        }
    }
    cells::hospital(rows)
}

fn tabulation(measure: &str, cells: i64, reach: &str) -> Tabulation {
    let bounds =
        format!("bounds.x = {{ lower = \"-{reach}\", upper = \"{reach}\", step = \"0.1\" }}");
    let bounds = if measure == COUNT { "" } else { &bounds };
    cells::tabulation(measure, RHO, 10, bounds, cells)
}

fn rho(text: &str) -> Rho {
    text.parse().expect("a rho")
}
