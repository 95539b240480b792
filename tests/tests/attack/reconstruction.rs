//! A secret bit of each of 200 patients, from 800 noisy counts of random subsets of them (Dinur and
//! Nissim, *Revealing Information while Preserving Privacy*, PODS 2003).
//!
//! The attacker knows everything but the bits and decodes as well as a linear decoder can. Each count
//! is charged its part of ρ, whoever is in it, so a patient who is in half of them is worth μ = √ρ:
//! against Gaussian noise that is 60.5 % of the bits at ρ = ½, and 83 % at ρ = 8. On the average of
//! 64 secrets the standard error is below 0.45 %: the limits, 63 % and 75 %, are over 5 and 17 of them
//! away. (With 25 secrets the first would be 3.6, a false failure in 6,000 runs.)

use std::sync::Arc;

use datafusion::catalog::SchemaProvider;
use ward_schemas::partial::Vectors;
use ward_schemas::rho::Rho;
use ward_schemas::template::Template;
use ward_tests::attack::engine::{Tabulation, template};
use ward_tests::attack::gaussian::float;
use ward_tests::attack::hospital::{Layout, Tables, integers};
use ward_tests::attack::random::SplitMix;
use ward_tests::attack::reconstruction::Decoder;

const PATIENTS: usize = 200;
/// 16 tables of 50 measures.
const TABLES: usize = 16;
const COUNTS: usize = 50;
const SECRETS: u64 = 64;
const AT_MOST: f64 = 0.63;
const MUTANT_OVER: f64 = 0.75;

#[test]
fn most_secrets_stay_secret() {
    let attack = Attack::new();
    let (fit, mutant) = (attack.recovered("0.5"), attack.recovered("8"));
    eprintln!("recovered at rho 0.5: {fit:.3}; at rho 8: {mutant:.3}");
    assert!(fit <= AT_MOST, "{fit}");
    assert!(mutant > MUTANT_OVER, "the attack is too weak: {mutant}");
}

struct Attack {
    tabulation: Tabulation,
    /// What everybody may know of each patient: here the year of birth says who it is.
    public: Vec<i64>,
    /// By count, who is in it.
    subsets: Vec<Vec<bool>>,
}

impl Attack {
    fn new() -> Self {
        let mut random = SplitMix::new(1);
        let mut draw = || (random.bits() >> 2).cast_signed() | 1;
        let public: Vec<_> = (0..PATIENTS).map(|_| draw()).collect();
        let multipliers: Vec<_> = (0..TABLES * COUNTS).map(|_| draw()).collect();
        let is_in = |patient: &i64, m: &i64| patient.wrapping_mul(*m) > 0;
        let subset = |m| public.iter().map(|patient| is_in(patient, m)).collect();
        Self {
            tabulation: Tabulation::of(questions(&multipliers)).expect("accepted"),
            subsets: multipliers.iter().map(subset).collect(),
            public,
        }
    }

    /// The share of bits that are recovered.
    fn recovered(&self, rho: &str) -> f64 {
        let rho: Rho = rho.parse().expect("a rho");
        let decoder = Decoder::new(self.subsets.clone(), self.tabulation.sigmas(rho)[0]);
        let right = (0..SECRETS).map(|seed| {
            let mut random = SplitMix::new(2 + seed);
            let secret: Vec<_> = (0..PATIENTS).map(|_| random.bit()).collect();
            let released = self.tabulation.release_at(self.hospital(&secret), rho);
            let guess = decoder.decode(&counts(&released));
            let right = guess.iter().zip(&secret).filter(|(g, s)| g == s);
            right.count()
        });
        let all = SECRETS * PATIENTS as u64;
        float(right.sum::<usize>() as i64) / float(all.cast_signed())
    }

    fn hospital(&self, secret: &[bool]) -> Arc<dyn SchemaProvider> {
        let sex = |bit: &bool| if *bit { 8507 } else { 8532 };
        let columns = [
            ("person_id", integers(0..self.public.len() as i64)),
            ("year_of_birth", integers(self.public.iter().copied())),
            ("gender_concept_id", integers(secret.iter().map(sex))),
        ];
        Tables::default()
            .with("person", &columns)
            .serve(Layout::PLAIN)
    }
}

fn counts(released: &Vectors) -> Vec<f64> {
    let cells = released.values().iter().flatten().flatten();
    cells.map(|count| float(*count)).collect()
}

/// How many have the bit among those whom an integer product, which wraps, makes positive.
fn questions(multipliers: &[i64]) -> Template {
    let one = template(
        "",
        "0.03125",
        "contribution = { max_groups = 1, max_rows_per_group = 1 }",
    );
    let mut template = Template::parse(&one).expect("a template");
    let table = template.tables.pop().expect("a table");
    for (i, multipliers) in multipliers.chunks(COUNTS).enumerate() {
        let counts = multipliers.iter().enumerate().map(|(j, m)| {
            format!("COUNT(DISTINCT person_id) FILTER (WHERE gender_concept_id = 8507 AND year_of_birth * {m} > 0) AS n{j}")
        });
        let counts: Vec<_> = counts.collect();
        let mut table = table.clone();
        table.name = format!("t{i}").parse().expect("a name");
        table.sql = format!("SELECT {} FROM person", counts.join(", "));
        template.tables.push(table);
    }
    template
}
