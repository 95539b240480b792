//! Compiling a template: from SQL to a plan of known cost, without seeing data.

use std::collections::BTreeMap;
use std::thread;

use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::analyzer::AnalyzerRule;
use datafusion::optimizer::analyzer::type_coercion::TypeCoercion;
use datafusion::sql::planner::{PlannerContext, SqlToRel};
use ward_schemas::names::Ident;
use ward_schemas::parameter::Parameter;
use ward_schemas::plan::{ENGINE_VERSION, Plan};
use ward_schemas::template::{ExpandedTemplate, TableSpec};

use crate::context::{Context, parameter_field};
use crate::measure::{self, Query};
use crate::model::Model;
use crate::parse;
use crate::refusal::{Refusal, Rule};

/// A compiled template: what it costs and what its integers mean ([`Program::plan`]), and how to
/// compute them ([`crate::run()`]).
#[derive(Clone, Debug)]
pub struct Program {
    plan: Plan,
    queries: Vec<Query>,
}

impl Program {
    /// Compiles a template against the clinical data model. Sees no data, and what it accepts can't fail on a row.
    ///
    /// # Errors
    /// When a statement is outside the accepted form: which rule refuses it, and what to write
    /// instead.
    pub fn compile(template: &ExpandedTemplate) -> Result<Self, Refusal> {
        Self::compile_for(template, &Model::clinical())
    }

    /// Compiles a template against other tables than the clinical data model's.
    ///
    /// # Errors
    /// As [`Program::compile`].
    pub fn compile_for(template: &ExpandedTemplate, model: &Model) -> Result<Self, Refusal> {
        let mut plan = Plan {
            template: template.reference(),
            engine: ENGINE_VERSION.to_owned(),
            vocabulary: template.vocabulary(),
            tables: Vec::new(),
        };
        let mut queries = Vec::new();
        let no_keys = BTreeMap::new();
        for spec in &template.template().tables {
            let domains = template.keys(&spec.name).unwrap_or(&no_keys);
            let parameters = &template.template().parameters;
            let compiled = on_a_big_stack(|| {
                let statement = plan_statement(spec, parameters, model)?;
                measure::compile(spec, domains, &statement, model)
            });
            let (table, query) = compiled.map_err(|rule| Refusal {
                table: spec.name.clone(),
                rule,
            })?;
            plan.tables.push(table);
            queries.push(query);
        }
        limit_work(&plan)?;
        Ok(Self { plan, queries })
    }

    /// Layout and cost: the same at every node.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    pub(crate) fn queries(&self) -> &[Query] {
        &self.queries
    }
}

/// Noise is drawn for every cell of every component, before anything else happens.
fn limit_work(plan: &Plan) -> Result<(), Refusal> {
    const MOST: usize = 1_000_000;
    let mut integers = 0_usize;
    for table in &plan.tables {
        integers = integers.saturating_add(table.integers());
        if integers > MOST {
            return Err(Refusal {
                table: table.name.clone(),
                rule: Rule::Large {
                    what: "integers in its answer (cells times components times their width, all tables together)",
                    found: integers,
                    limit: MOST,
                },
            });
        }
    }
    Ok(())
}

/// Planners recurse over expressions, and a stack that overflows ends the process.
fn on_a_big_stack<T: Send>(work: impl FnOnce() -> Result<T, Rule> + Send) -> Result<T, Rule> {
    const BYTES: usize = 256 << 20;
    let failed = |why: &str| Err(Rule::Unplannable(why.to_owned()));
    thread::scope(|scope| {
        let worker = thread::Builder::new()
            .name("ward-plan".into())
            .stack_size(BYTES)
            .spawn_scoped(scope, work);
        match worker.map(thread::ScopedJoinHandle::join) {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => failed("the planner panicked"),
            Err(_) => failed("no thread for the planner"),
        }
    })
}

/// Plans the statement with typed placeholders, and makes implicit casts visible. No optimizer
/// rule runs here: what is checked is what the author wrote.
fn plan_statement(
    spec: &TableSpec,
    parameters: &BTreeMap<Ident, Parameter>,
    model: &Model,
) -> Result<LogicalPlan, Rule> {
    let statement = parse::parse(&spec.sql)?;
    let context = Context::new(model);
    let fields = parameters
        .iter()
        .map(|(name, p)| Some(parameter_field(name.as_str(), p.value_type())));
    let mut planner = PlannerContext::new().with_prepare_param_data_types(fields.collect());
    let plan = SqlToRel::new(&context)
        .sql_statement_to_plan_with_context(statement, &mut planner)
        .and_then(|plan| {
            use datafusion::logical_expr::planner::ContextProvider as _;
            TypeCoercion::new().analyze(plan, context.options())
        });
    // Some messages list every column there is.
    plan.map_err(|e| Rule::Unplannable(parse::cut(&e.strip_backtrace(), 500)))
}
