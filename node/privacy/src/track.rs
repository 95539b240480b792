//! Translates DataFusion's plan into a [`Relation`], tracking the patient; or refuses it. One file a rule.

mod aggregate;
mod conditions;
mod distinct;
mod filter;
mod fold;
mod join;
mod matching;
mod project;
mod scan;
mod subquery;
mod union;
mod window;

use datafusion::common::DFSchema;
use datafusion::logical_expr::LogicalPlan;

use crate::model::Model;
use crate::parse::shorten;
use crate::refusal::Rule;
use crate::relation::{Owner, Relation, Role};
use crate::scalar::Scope;

/// Translates the part of a plan below the outermost aggregate.
///
/// # Errors
/// When a row of it could not be traced to one patient, or could be influenced by another's.
pub(crate) fn relation(plan: &LogicalPlan, model: &Model) -> Result<Relation, Rule> {
    match plan {
        LogicalPlan::TableScan(table) => scan::scan(table, model),
        LogicalPlan::SubqueryAlias(alias) => relation(&alias.input, model),
        LogicalPlan::Filter(rows) => filter::filter(rows, model),
        LogicalPlan::Projection(columns) => project::project(columns, model),
        LogicalPlan::Join(pairs) => join::join(pairs, model),
        LogicalPlan::Aggregate(groups) => aggregate::aggregate(groups, model),
        LogicalPlan::Window(windows) => window::window(windows, model),
        LogicalPlan::Distinct(rows) => distinct::distinct(rows, model),
        LogicalPlan::Union(rows) => union::union(rows, model),
        LogicalPlan::Sort(_) => Err(refuse(
            plan,
            "ORDER BY in a subquery",
            "Leave it out: rows have no order",
        )),
        LogicalPlan::Limit(_) => Err(refuse(
            plan,
            "LIMIT",
            "Which rows it keeps depends on other patients; filter instead",
        )),
        LogicalPlan::Subquery(_) => Err(refuse(
            plan,
            "a subquery in an expression",
            "Join the tables instead",
        )),
        LogicalPlan::Values(_) | LogicalPlan::EmptyRelation(_) => Err(refuse(
            plan,
            "a relation without a table",
            "Select from tables of the clinical data model",
        )),
        LogicalPlan::Repartition(_)
        | LogicalPlan::Statement(_)
        | LogicalPlan::Explain(_)
        | LogicalPlan::Analyze(_)
        | LogicalPlan::Extension(_)
        | LogicalPlan::Dml(_)
        | LogicalPlan::Ddl(_)
        | LogicalPlan::Copy(_)
        | LogicalPlan::DescribeTable(_)
        | LogicalPlan::Unnest(_)
        | LogicalPlan::RecursiveQuery(_) => Err(refuse(
            plan,
            "this operator",
            "Write SELECT, FROM, JOIN, WHERE and GROUP BY",
        )),
    }
}

/// The scope of a plan's columns.
pub(crate) fn scope<'a>(schema: &'a DFSchema, relation: &'a Relation) -> Scope<'a> {
    Scope {
        schema,
        fields: &relation.fields,
    }
}

/// What a plan's operator looks like, for messages.
pub(crate) fn describe(plan: &LogicalPlan) -> String {
    shorten(&plan.display().to_string())
}

fn refuse(plan: &LogicalPlan, what: &'static str, remedy: &'static str) -> Rule {
    Rule::Unsupported {
        what,
        fragment: describe(plan),
        remedy,
    }
}

/// Where a patient has one row, all that is in it is a function of the patient.
fn settled(mut relation: Relation) -> Relation {
    let one = match &relation.owner {
        Owner::Public => false,
        Owner::Patient { multiplicity, .. } => multiplicity.is_one(),
    };
    if one {
        // A patient column behind an outer join may be NULL, which its flag would deny.
        let values = relation.fields.iter_mut();
        values
            .filter(|f| f.role != Role::Patient)
            .for_each(|f| f.of_patient = true);
    }
    relation
}
