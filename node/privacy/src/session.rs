//! The engine by itself: private SQL over any DataFusion tables, under a budget.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, UInt64Array};
use arrow::error::ArrowError;
use arrow::util::pretty::pretty_format_batches;
use datafusion::catalog::{MemorySchemaProvider, SchemaProvider, TableProvider};
use ward_schemas::canonical::ContentHash;
use ward_schemas::delta::Delta;
use ward_schemas::key::NoVocabulary;
use ward_schemas::loss::Loss;
use ward_schemas::parameter::{ParameterError, RawParameters};
use ward_schemas::partial::merge;
use ward_schemas::plan::NoiseError;
use ward_schemas::release::{self, Cell, ReleaseTable};
use ward_schemas::rho::Rho;
use ward_schemas::template::{Template, TemplateError};

use crate::bound::SelectionKey;
use crate::model::{Model, ModelError};
use crate::noise::NoiseSource;
use crate::program::Program;
use crate::refusal::Refusal;
use crate::run::{Execution, Request, RunError, run};

/// Tables about patients, and a budget for questions about them.
///
/// Each question is charged before data is touched, and stays charged. The account lives as long as
/// the session: whoever opens several over the same data adds their budgets up.
#[derive(Debug)]
pub struct PrivateSession {
    model: Model,
    tables: Arc<MemorySchemaProvider>,
    selection_key: SelectionKey,
    left: Mutex<Loss>,
}

impl PrivateSession {
    /// A session without tables, for questions that cost at most ρ = `budget` together, and no δ.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn new(budget: Rho) -> Result<Self, SessionError> {
        let mut key = [0; 16];
        getrandom::fill(&mut key).map_err(|_| SessionError::Randomness)?;
        Ok(Self {
            model: Model::empty(),
            tables: Arc::default(),
            selection_key: SelectionKey::from_bytes(key),
            left: Mutex::new(Loss {
                rho: budget,
                delta: Delta::ZERO,
            }),
        })
    }

    /// Lets thresholds, which keys that come from data need, cost at most this δ together.
    #[must_use]
    pub fn with_delta(self, budget: Delta) -> Self {
        let rho = self.left().rho;
        Self {
            left: Mutex::new(Loss { rho, delta: budget }),
            ..self
        }
    }

    /// Adds a table whose rows are about the patient in the column `patient`: see
    /// [`Model::personal`].
    ///
    /// # Errors
    /// When the model can't have the table.
    pub fn personal(
        mut self,
        name: &str,
        table: Arc<dyn TableProvider>,
        patient: &str,
    ) -> Result<Self, SessionError> {
        self.model = self.model.personal(name, table.schema(), patient)?;
        self.serve(name, table)
    }

    /// Adds a table that is about nobody and that everybody may read.
    ///
    /// # Errors
    /// When the model can't have the table.
    pub fn public(
        mut self,
        name: &str,
        table: Arc<dyn TableProvider>,
    ) -> Result<Self, SessionError> {
        self.model = self.model.public(name, table.schema())?;
        self.serve(name, table)
    }

    /// What may still be spent.
    pub fn left(&self) -> Loss {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for one table, declared in TOML as in a template's `[[tables]]`: `name`, `sql`, `rho`,
    /// `delta`, `contribution`, `keys` and `bounds`.
    ///
    /// # Errors
    /// When the declaration or the statement is not accepted, or the budget has no room: then
    /// nothing is charged. When the engine fails: then it is.
    pub async fn ask(&self, declaration: &str) -> Result<Answer, SessionError> {
        let template = Template::parse(&format!("{HEADER}{declaration}"))?;
        let parameters = template.bind(&RawParameters::new())?;
        let expanded = template.expand(ContentHash::of_bytes(b"no vocabulary"), &NoVocabulary)?;
        let program = Program::compile_for(&expanded, &self.model)?;
        let plan = program.plan();
        let noise = plan.noise(plan.rho())?;
        self.charge(Loss {
            rho: plan.rho(),
            delta: plan.delta(),
        })?;
        let request = Request {
            program: &program,
            parameters: &parameters,
            rho: plan.rho(),
            tables: Arc::clone(&self.tables) as Arc<dyn SchemaProvider>,
            selection_key: &self.selection_key,
            execution: Execution::Streaming,
        };
        let noisy = run(request, &NoiseSource::discrete_gaussian()).await?;
        let merged = merge(plan, &noise, &[noisy.vectors]);
        let table = release::tables(plan, &noise, &merged).pop();
        table.map(Answer).ok_or(SessionError::Run(RunError::Engine))
    }

    fn serve(self, name: &str, table: Arc<dyn TableProvider>) -> Result<Self, SessionError> {
        let served = self.tables.register_table(name.to_owned(), table);
        served.map_err(|_| ModelError::Twice(name.to_owned()))?;
        Ok(self)
    }

    fn charge(&self, asked: Loss) -> Result<(), SessionError> {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if !asked.is_within(*left) {
            return Err(SessionError::Budget { asked, left: *left });
        }
        *left = left.saturating_sub(asked);
        Ok(())
    }
}

const HEADER: &str = r#"
id = "session"
version = "1.0.0"
title = "A question"
question = "A question"
purposes = ["scientific-research"]
categories = ["ehr"]
[[tables]]
"#;

/// A noisy table.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer(ReleaseTable);

impl Answer {
    /// Cells with their 95 % confidence intervals, and the noise in them.
    pub fn table(&self) -> &ReleaseTable {
        &self.0
    }

    /// One row a group: keys as texts; each measure as a double, NULL where it can't be told, followed
    /// by the half-width of its 95 % confidence interval.
    ///
    /// # Errors
    /// When two columns have one name.
    pub fn to_batch(&self) -> Result<RecordBatch, ArrowError> {
        let mut columns: Vec<(String, ArrayRef, bool)> = Vec::new();
        for (i, column) in self.0.columns.iter().enumerate() {
            let cells = self.0.rows.iter().map(|row| &row[i]);
            if column.key {
                let keys: StringArray = cells.map(key).collect();
                columns.push((column.name.to_string(), Arc::new(keys), false));
            } else if column.nodes {
                let counts: UInt64Array = cells.map(nodes).collect();
                columns.push((column.name.to_string(), Arc::new(counts), true));
            } else {
                let of = |f: fn(&Cell) -> Option<f64>| -> ArrayRef {
                    Arc::new(cells.clone().map(f).collect::<Float64Array>())
                };
                columns.push((column.name.to_string(), of(value), true));
                columns.push((format!("{}_half_width", column.name), of(half_width), true));
            }
        }
        RecordBatch::try_from_iter_with_nullable(columns)
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let batch = self.to_batch().map_err(|_| fmt::Error)?;
        let table = pretty_format_batches(&[batch]).map_err(|_| fmt::Error)?;
        table.fmt(f)
    }
}

fn key(cell: &Cell) -> Option<&str> {
    match cell {
        Cell::Key(label) => Some(label),
        Cell::Nodes(_) | Cell::Estimate(_) => None,
    }
}

fn nodes(cell: &Cell) -> Option<u64> {
    match cell {
        Cell::Nodes(nodes) => u64::try_from(*nodes).ok(),
        Cell::Key(_) | Cell::Estimate(_) => None,
    }
}

fn value(cell: &Cell) -> Option<f64> {
    match cell {
        Cell::Estimate(Some(estimate)) => Some(estimate.value),
        _ => None,
    }
}

fn half_width(cell: &Cell) -> Option<f64> {
    match cell {
        Cell::Estimate(Some(estimate)) => Some(estimate.half_width),
        _ => None,
    }
}

/// A question that got no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// A table that can't be part of the session.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The declaration is not a template's table.
    #[error(transparent)]
    Declaration(#[from] TemplateError),
    /// The statement needs parameters.
    #[error(transparent)]
    Parameters(#[from] ParameterError),
    /// The statement is not accepted.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The ρ is too small for a noise scale.
    #[error(transparent)]
    Noise(#[from] NoiseError),
    /// The budget has no room.
    #[error("the question costs {asked}, and {left} is left of the budget; ask a cheaper one")]
    Budget {
        /// What it costs.
        asked: Loss,
        /// What is left.
        left: Loss,
    },
    /// No randomness.
    #[error("the operating system gives no randomness")]
    Randomness,
    /// The engine failed.
    #[error(transparent)]
    Run(#[from] RunError),
}
