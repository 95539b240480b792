//! Differentially private SQL for DataFusion: a statement and its privacy declaration in, noisy
//! integer vectors out.
//!
//! The unit of privacy is a patient: all rows that carry one `person_id`. A statement passes
//! through, in this order,
//!
//! 1. **limit**: its size and nesting are bounded, then it is parsed;
//! 2. **track**: DataFusion's plan is translated, by exhaustive match, into Ward's own
//!    relation, which knows the patient of every row, or it is refused with a reason;
//! 3. **measure**: the outermost aggregate becomes integer vectors of known
//!    sensitivity ([`ward_schemas::plan`]);
//! 4. [`run()`]: noise is drawn, the relation is rebuilt as a DataFusion plan and executed, and each
//!    patient's contribution is bounded before it is added up.
//!
//! Steps 1 to 3 are [`Program::compile`]: they see no data, and what they accept can't fail on a row.
//! No network, no disk: the caller serves the tables.
//!
//! [`PrivateSession`] does all of this for tables of anybody's, under a budget of its own.
//! [`rewrite()`] gives the bounded sums, still without noise, as a plan that other engines can run.
//! Ward's nodes use neither: they charge a ledger, then call [`run()`].

pub mod account;
mod bound;
mod by_value;
mod clustered;
mod context;
mod functions;
mod lanes;
mod lower;
mod measure;
mod model;
mod multiplicity;
mod noise;
mod parse;
mod program;
mod refusal;
mod relation;
mod rewrite;
mod run;
mod scalar;
mod session;
mod show;
mod stream;
mod supplied;
mod syntax;
mod track;
mod windows;

pub use bound::SelectionKey;
pub use model::{Model, ModelError};
pub use noise::{FrozenNoise, NoiseError, NoiseSource};
pub use program::Program;
pub use refusal::{Refusal, Rule};
pub use rewrite::Rewrite;
pub use run::{Execution, NoisyVectors, Request, RunError, rewrite, run};
pub use session::{Answer, PrivateSession, SessionError};

/// The README's example runs with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
