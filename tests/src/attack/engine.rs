//! The engine in process: a template, compiled and run as a node does, with noise of the attack's choice.

use std::sync::{Arc, Mutex, PoisonError};

use datafusion::catalog::SchemaProvider;
use ward_omop::vocabulary::Package;
use ward_privacy::{
    Execution, FrozenNoise, NoiseSource, Program, Refusal, Request, RunError, SelectionKey, run,
};
use ward_schemas::canonical::ContentHash;
use ward_schemas::finish::Estimate;
use ward_schemas::key::{NoVocabulary, Vocabulary};
use ward_schemas::partial::{self, Vectors};
use ward_schemas::plan::{Plan, TablePlan};
use ward_schemas::release::{self, Cell};
use ward_schemas::rho::{Rho, Sigma};
use ward_schemas::template::Template;

/// A compiled template; its parameters have their defaults.
#[derive(Debug)]
pub struct Tabulation {
    template: Template,
    program: Program,
}

impl Tabulation {
    /// Compiles a template's text.
    ///
    /// # Errors
    /// When the engine refuses it. A text that is no template fails the test.
    pub fn compile(text: &str) -> Result<Self, Refusal> {
        Self::of(Template::parse(text).expect("a template"))
    }

    /// Compiles a template.
    ///
    /// # Errors
    /// When the engine refuses it.
    pub fn of(template: Template) -> Result<Self, Refusal> {
        Self::expanded(template, ContentHash::of_bytes(b"none"), &NoVocabulary)
    }

    /// Compiles a template's text with a vocabulary, which keys may be of.
    ///
    /// # Errors
    /// When the engine refuses it.
    pub fn compile_with(text: &str, package: &Package) -> Result<Self, Refusal> {
        let template = Template::parse(text).expect("a template");
        Self::expanded(template, package.hash(), package)
    }

    fn expanded(
        template: Template,
        hash: ContentHash,
        vocabulary: &dyn Vocabulary,
    ) -> Result<Self, Refusal> {
        let expanded = template.clone().expand(hash, vocabulary).expect("keys");
        let program = Program::compile(&expanded)?;
        Ok(Self { template, program })
    }

    /// What it costs and what its integers mean.
    pub fn plan(&self) -> &Plan {
        self.program.plan()
    }

    /// The only table.
    pub fn table(&self) -> &TablePlan {
        let [table] = self.plan().tables.as_slice() else {
            panic!("{} tables", self.plan().tables.len());
        };
        table
    }

    /// The noise scale of each component of the only table, in its own units, at this ρ.
    pub fn sigmas(&self, rho: Rho) -> Vec<f64> {
        let noise = self.plan().noise(rho).expect("noise scales");
        noise[0].iter().map(|n| n.sigma.to_f64()).collect()
    }

    /// A release, as a node makes it.
    pub fn release(&self, tables: Arc<dyn SchemaProvider>) -> Vectors {
        self.release_at(tables, self.plan().rho())
    }

    /// A release at another ρ than the template's.
    pub fn release_at(&self, tables: Arc<dyn SchemaProvider>, rho: Rho) -> Vectors {
        let noise = NoiseSource::discrete_gaussian();
        self.run(tables, rho, &noise).expect("an answer")
    }

    /// The bounded sums themselves.
    pub fn bounded(&self, tables: Arc<dyn SchemaProvider>) -> Vectors {
        let none = NoiseSource::frozen(Box::new(NoNoise));
        self.run(tables, self.plan().rho(), &none)
            .expect("an answer")
    }

    /// What a requester sees in a column of the only table, by cell, when these partials are merged.
    pub fn estimates(&self, column: &str, rho: Rho, partials: &[Vectors]) -> Vec<Option<Estimate>> {
        let noise = self.plan().noise(rho).expect("noise scales");
        let merged = partial::merge(self.plan(), &noise, partials);
        let table = release::tables(self.plan(), &noise, &merged).pop();
        let table = table.expect("a table");
        let named = table.columns.iter().position(|c| c.name.as_str() == column);
        let named = named.expect("a column");
        let estimate = |row: &Vec<Cell>| match &row[named] {
            Cell::Estimate(estimate) => *estimate,
            other => panic!("{column} is no measure: {other:?}"),
        };
        table.rows.iter().map(estimate).collect()
    }

    /// Runs it as nodes do.
    ///
    /// # Errors
    /// As [`run`] has them.
    pub fn run(
        &self,
        tables: Arc<dyn SchemaProvider>,
        rho: Rho,
        noise: &NoiseSource,
    ) -> Result<Vectors, RunError> {
        self.execute(Execution::Streaming, tables, rho, noise)
    }

    /// Runs it in one of both ways.
    ///
    /// # Errors
    /// As [`run`] has them.
    pub fn execute(
        &self,
        execution: Execution,
        tables: Arc<dyn SchemaProvider>,
        rho: Rho,
        noise: &NoiseSource,
    ) -> Result<Vectors, RunError> {
        let parameters = self.template.bind(&Default::default()).expect("defaults");
        let request = Request {
            program: &self.program,
            parameters: &parameters,
            rho,
            tables,
            selection_key: &SelectionKey::from_bytes([3; 16]),
            execution,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let answer = runtime.expect("a runtime").block_on(run(request, noise));
        answer.map(|noisy| noisy.vectors)
    }
}

/// No noise at all.
#[derive(Clone, Copy, Debug)]
pub struct NoNoise;

impl FrozenNoise for NoNoise {
    fn draw(&self, _sigma: Sigma, length: usize) -> Vec<i64> {
        vec![0; length]
    }
}

/// Noise that is the same in every run that draws alike, with a record of what was drawn.
#[derive(Clone, Debug, Default)]
pub struct Recorder(Arc<Mutex<Vec<(Sigma, usize)>>>);

impl Recorder {
    /// All draws so far: their scales and lengths, in order.
    pub fn draws(&self) -> Vec<(Sigma, usize)> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl FrozenNoise for Recorder {
    fn draw(&self, sigma: Sigma, length: usize) -> Vec<i64> {
        let mut draws = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        draws.push((sigma, length));
        let first = i64::try_from(draws.len()).expect("few draws");
        (0..)
            .map(|i| (first * 7919 + i * 104_729) % 1009 - 504)
            .take(length)
            .collect()
    }
}

/// A template of one table around a statement, with the parameters `$since` (2020-01-01), `$concept` (10),
/// `$above` (7.5) and `$all` (false).
pub fn template(sql: &str, rho: &str, declarations: &str) -> String {
    format!(
        r#"
id = "attack"
version = "1.0.0"
title = "An attack"
question = "What does an answer tell of one patient?"
purposes = ["scientific-research"]
categories = ["ehr"]
[parameters.since]
type = "date"
minimum = 2000-01-01
maximum = 2030-12-31
default = 2020-01-01
[parameters.concept]
type = "concept"
default = 10
[parameters.above]
type = "number"
minimum = "0"
maximum = "100"
default = "7.5"
[parameters.all]
type = "boolean"
default = false
[[tables]]
name = "t"
sql = """{sql}"""
rho = "{rho}"
{declarations}
"#
    )
}
