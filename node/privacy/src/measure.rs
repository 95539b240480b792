//! The outermost aggregate: group keys, measures and final expressions become the layout of
//! integer vectors.

mod aggregates;
mod columns;
mod data_key;
mod keys;
mod parts;
mod quantile;
mod totals;

use std::collections::BTreeMap;

use datafusion::logical_expr::{Aggregate, LogicalPlan, Projection};
use ward_schemas::decimal::Grid;
use ward_schemas::key::KeyDomain;
use ward_schemas::names::Ident;
use ward_schemas::plan::{KeyColumn, TablePlan};
use ward_schemas::template::{Contribution, TableSpec};

use self::columns::Compiler;
use crate::model::Model;
use crate::refusal::Rule;
use crate::relation::{Owner, Relation};
use crate::scalar::{Scalar, unsupported};
use crate::track;

/// What is computed for one table: the rows, and how each turns into contributions.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    pub(crate) relation: Relation,
    /// Column of the patient.
    pub(crate) patient: usize,
    /// One expression a key, in the order of the plan's keys.
    pub(crate) keys: Vec<Scalar>,
    /// The key that comes from data.
    pub(crate) data_key: Option<Scalar>,
    /// What is read from each row.
    pub(crate) inputs: Vec<Input>,
    /// What is added up of the inputs.
    pub(crate) tallies: Vec<Tally>,
    /// How the plan's components follow from the tallies, one each.
    pub(crate) sources: Vec<Source>,
}

/// What a measure reads from a row: nothing where the filter is not true.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    pub(crate) kind: InputKind,
    pub(crate) filter: Option<Scalar>,
}

impl Input {
    /// Whether every row counts: then there is nothing to read.
    pub(crate) fn is_every_row(&self) -> bool {
        matches!(self.kind, InputKind::Presence(None)) && self.filter.is_none()
    }
}

/// What a measure reads.
#[derive(Clone, Debug)]
pub(crate) enum InputKind {
    /// Whether the row counts: always, or where the expression is not NULL.
    Presence(Option<Scalar>),
    /// A value on a grid, relative to its origin.
    Value {
        scalar: Scalar,
        grid: Grid,
        origin: i64,
    },
    /// The square of a value on a grid, relative to its centre, less [`Grid::half_square`].
    Square { scalar: Scalar, grid: Grid },
}

/// One patient's contribution to one group, given what an input read of their rows there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) input: usize,
    pub(crate) kind: TallyKind,
    /// The largest L2 norm of one patient's part of one cell.
    pub(crate) bound: u64,
}

impl Tally {
    /// How many integers a cell has.
    pub(crate) fn width(&self) -> usize {
        match self.kind {
            TallyKind::Patients | TallyKind::Rows | TallyKind::Sum => 1,
            TallyKind::Bins { points } => points as usize,
        }
    }
}

/// How rows turn into a contribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TallyKind {
    /// 1 if there is any.
    Patients,
    /// m, at most the limit L.
    Rows,
    /// The sum, scaled by L/m where m exceeds L.
    Sum,
    /// The rows at each of so many values, from 0 on; at most L of them, spread over their order.
    Bins { points: u32 },
}

/// Where a component's integers come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) tally: usize,
    /// How many of the tally's integers each of the component's adds up, within a cell.
    pub(crate) span: usize,
}

/// Compiles the planned statement of one table.
///
/// # Errors
/// When it is outside the accepted form.
pub(crate) fn compile(
    spec: &TableSpec,
    domains: &BTreeMap<Ident, KeyDomain>,
    plan: &LogicalPlan,
    model: &Model,
) -> Result<(TablePlan, Query), Rule> {
    let (projection, aggregate) = outermost(plan)?;
    let relation = track::relation(&aggregate.input, model)?;
    let Owner::Patient { column, .. } = relation.owner else {
        return Err(Rule::Public);
    };
    let mut compiler = Compiler::new(spec, aggregate, &relation, column);
    let columns = compiler.columns(projection)?;
    let data_key = compiler.data_key(&columns)?;
    let (key_columns, keys) = compiler.keys(&columns, domains, data_key.as_ref())?;
    compiler.check_declarations(&columns)?;
    let parts = compiler.into_parts();
    if let Some(key) = &data_key {
        key.check(&parts)?;
    }
    let totals = totals::indices(spec, &key_columns, &keys, &relation, &parts)?;
    let declared = spec.contribution.max_groups;
    let of_row = |key: &data_key::Found| !is_of_patient(&key.scalar, &relation);
    let max_groups = if data_key.as_ref().is_some_and(of_row) {
        declared
    } else {
        reachable_groups(declared, &key_columns, &keys, &relation)
    };
    let contribution = Contribution {
        max_groups,
        ..spec.contribution
    };
    let mut table = TablePlan {
        name: spec.name.clone(),
        keys: key_columns,
        totals,
        data_key: None,
        contribution,
        rho: spec.rho,
        delta: spec.delta,
        components: parts.components()?,
        columns,
    };
    let mut query = Query {
        patient: column,
        keys,
        data_key: None,
        inputs: parts.inputs,
        tallies: parts.tallies,
        sources: parts.sources,
        relation,
    };
    if let Some(key) = data_key {
        key.add(&mut table, &mut query)?;
    }
    Ok((table, query))
}

/// How many groups one patient's rows can fall into: keys that are functions of the patient have
/// one value there, so they cost nothing.
fn reachable_groups(
    declared: u32,
    columns: &[KeyColumn],
    keys: &[Scalar],
    relation: &Relation,
) -> u32 {
    let reachable = columns
        .iter()
        .zip(keys)
        .filter(|(_, key)| !is_of_patient(key, relation))
        .fold(1_usize, |n, (column, _)| {
            n.saturating_mul(column.domain.len())
        });
    u32::try_from(reachable).unwrap_or(u32::MAX).min(declared)
}

/// Whether an expression has one value in all rows of a patient.
fn is_of_patient(scalar: &Scalar, relation: &Relation) -> bool {
    let mut columns = scalar.columns().into_iter();
    columns.all(|c| relation.fields[c].of_patient)
}

fn outermost(plan: &LogicalPlan) -> Result<(&Projection, &Aggregate), Rule> {
    let not_aggregate = |plan| Rule::NotAggregate {
        fragment: track::describe(plan),
    };
    let LogicalPlan::Projection(projection) = plan else {
        return Err(match plan {
            LogicalPlan::Distinct(_) => Rule::Unsupported {
                what: "SELECT DISTINCT",
                fragment: track::describe(plan),
                remedy: "Groups are distinct already",
            },
            _ => not_aggregate(plan),
        });
    };
    match projection.input.as_ref() {
        LogicalPlan::Aggregate(aggregate) => Ok((projection, aggregate)),
        LogicalPlan::Filter(filter)
            if matches!(filter.input.as_ref(), LogicalPlan::Aggregate(_)) =>
        {
            Err(unsupported(
                "HAVING",
                &filter.predicate,
                "Filter the release: that is free",
            ))
        }
        other => Err(not_aggregate(other)),
    }
}
