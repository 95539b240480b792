//! The glue to the privacy engine and to the data layer: the only module that calls `ward-privacy`.

use std::fmt::Display;
use std::sync::Arc;

use ward_data::Snapshot;
use ward_data::vocabulary::Package;
pub(crate) use ward_privacy::account::{best_guess_percent, stated};
use ward_privacy::{
    Execution, NoiseSource, NoisyVectors, Program, Request, RunError, SelectionKey,
};
use ward_schemas::canonical::ContentHash;
use ward_schemas::parameter::Parameters;
use ward_schemas::plan::Plan;
use ward_schemas::problem::{ErrorCode, Problem};
use ward_schemas::rho::Rho;
use ward_schemas::template::{ExpandedTemplate, Template};

/// A template that the engine accepts, ready to run.
pub(crate) struct Compiled {
    expanded: ExpandedTemplate,
    program: Program,
    plan_hash: ContentHash,
}

impl Compiled {
    /// Reads, expands and compiles a template.
    ///
    /// # Errors
    /// [`ErrorCode::TemplateRefused`] with the rule that refuses it.
    pub(crate) fn new(source: &str, vocabulary: &Package) -> Result<Self, Problem> {
        let expanded = expand(source, vocabulary)?;
        let program = Program::compile(&expanded).map_err(|e| refused(&e))?;
        let plan_hash = program.plan().hash().map_err(|e| refused(&e))?;
        Ok(Self {
            expanded,
            program,
            plan_hash,
        })
    }

    /// The template with its keys resolved.
    pub(crate) fn expanded(&self) -> &ExpandedTemplate {
        &self.expanded
    }

    /// The template as its author wrote it.
    pub(crate) fn template(&self) -> &Template {
        self.expanded.template()
    }

    /// What it compiles to.
    pub(crate) fn plan(&self) -> &Plan {
        self.program.plan()
    }

    /// The plan's content hash.
    pub(crate) fn plan_hash(&self) -> ContentHash {
        self.plan_hash
    }

    /// Computes the noisy partial of an ask that has been charged.
    pub(crate) async fn run(
        &self,
        parameters: &Parameters,
        rho: Rho,
        data: &Data<'_>,
        noise: &NoiseSource,
    ) -> Result<NoisyVectors, RunError> {
        let request = Request {
            program: &self.program,
            parameters,
            rho,
            tables: data.snapshot.tables(data.vocabulary),
            selection_key: data.selection_key,
            execution: Execution::Streaming,
        };
        ward_privacy::run(request, noise).await
    }
}

/// What an ask runs on.
pub(crate) struct Data<'a> {
    /// The hospital's patients.
    pub(crate) snapshot: &'a Snapshot,
    /// The network's code lists.
    pub(crate) vocabulary: &'a Arc<Package>,
    /// Keys each patient's choice of groups and rows.
    pub(crate) selection_key: &'a SelectionKey,
}

/// Reads a template and resolves its keys.
fn expand(source: &str, vocabulary: &Package) -> Result<ExpandedTemplate, Problem> {
    Template::parse(source)
        .and_then(|template| template.expand(vocabulary.hash(), vocabulary))
        .map_err(|e| refused(&e))
}

fn refused(why: &dyn Display) -> Problem {
    Problem::new(
        ErrorCode::TemplateRefused,
        why.to_string().trim_end_matches('.'),
        "Correct the template as the message says, and offer it again.",
    )
}
