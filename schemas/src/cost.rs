//! Cost before data: how precise an answer will be, and what a precision costs.
//!
//! A measure's noise depends on the plan, ρ and the number of nodes alone; how it moves a mean, a
//! ratio or a quantile depends on the group, too: these are stated for a group of a size that the
//! caller names, each patient with one row ([`Noisy::expected`]).

use serde::{Deserialize, Serialize};

use crate::finish::{Expr, Noisy, Z95};
use crate::names::Ident;
use crate::plan::{Column, ColumnContent, Noise, Plan, TablePlan};
use crate::release;
use crate::rho::Rho;

/// The group that a precision is stated for where the caller names none.
pub const USUAL_GROUP: u32 = 1000;

/// What a precision is stated for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assumed {
    /// How many nodes answer.
    pub nodes: u32,
    /// How many patients a group has, all nodes together.
    pub group: u32,
}

/// The expected precision of one measure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasureCost {
    /// The table.
    pub table: Ident,
    /// The measure's column.
    pub column: Ident,
    /// Its unit; empty for counts.
    pub unit: String,
    /// Whether it counts patients or rows: then its precision is the same in every group.
    pub count: bool,
    /// How precise; none where the noise drowns the group.
    pub precision: Option<Precision>,
}

/// The noise of a value: of one cell, in the measure's unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Precision {
    /// Standard deviation, of all nodes' noise together.
    pub sigma: f64,
    /// Half the width of the 95 % confidence interval.
    pub half_width: f64,
}

/// The expected precision of every measure of an ask at `rho`, by table, in the order of the
/// statements.
pub fn measures(plan: &Plan, rho: Rho, assumed: Assumed) -> Vec<MeasureCost> {
    let noise = plan.noise(rho).ok();
    let tables = plan.tables.iter().enumerate();
    tables
        .flat_map(|(t, table)| {
            let noise = noise.as_ref().map(|noise| noise[t].as_slice());
            of_table(table, noise, assumed)
        })
        .collect()
}

fn of_table<'a>(
    table: &'a TablePlan,
    noise: Option<&[Noise]>,
    assumed: Assumed,
) -> impl Iterator<Item = MeasureCost> + use<'a> {
    let cell = noise.map(|noise| expected_cell(table, noise, assumed));
    exprs(table).map(move |(column, expr)| MeasureCost {
        table: table.name.clone(),
        column: column.name.clone(),
        unit: column.unit.clone(),
        count: release::is_count(table, &column.content),
        precision: cell.as_deref().and_then(|cell| precision(expr, cell)),
    })
}

fn exprs(table: &TablePlan) -> impl Iterator<Item = (&Column, &Expr)> {
    table
        .columns
        .iter()
        .filter_map(|column| match &column.content {
            ColumnContent::Measure { expr } => Some((column, expr)),
            _ => None,
        })
}

fn expected_cell(table: &TablePlan, noise: &[Noise], assumed: Assumed) -> Vec<Noisy> {
    let components = table.components.iter().zip(noise);
    components
        .map(|(component, noise)| {
            let sigma = noise.sigma.to_f64() * component.unit.step();
            let variance = sigma * sigma * f64::from(assumed.nodes);
            Noisy::expected(component, assumed.group, variance)
        })
        .collect()
}

fn precision(expr: &Expr, cell: &[Noisy]) -> Option<Precision> {
    let half_width = expr.estimate(cell)?.half_width;
    Some(Precision {
        sigma: half_width / Z95,
        half_width,
    })
}

/// A precision that is wanted: the half-width of a measure's 95 % interval, in every table that has
/// a measure of this name.
#[derive(Clone, Debug, PartialEq)]
pub struct Within {
    /// The measure's column.
    pub column: Ident,
    /// At most this, in the measure's unit.
    pub half_width: f64,
}

/// The smallest ρ of an ask at which the precision is as wanted: the inverse of [`measures`], found
/// by bisection over the units of ρ, since more ρ never means more noise.
///
/// # Errors
/// When the plan has no such measure, or no ρ is enough.
pub fn rho_for(plan: &Plan, within: &Within, assumed: Assumed) -> Result<Rho, CostError> {
    if !names(plan).any(|name| *name == within.column) {
        return Err(CostError::NoMeasure {
            column: within.column.clone(),
            measures: names(plan).cloned().collect(),
        });
    }
    let enough = |units| Rho::from_units(units).filter(|rho| holds(plan, *rho, within, assumed));
    let most = Rho::MAX.units();
    let mut found = enough(most).ok_or_else(|| unreachable(within, assumed))?;
    let mut too_little = 0;
    while found.units() - too_little > 1 {
        let middle = found.units().midpoint(too_little);
        match enough(middle) {
            Some(rho) => found = rho,
            None => too_little = middle,
        }
    }
    Ok(found)
}

fn names(plan: &Plan) -> impl Iterator<Item = &Ident> {
    let columns = plan.tables.iter().flat_map(exprs);
    columns.map(|(column, _)| &column.name)
}

fn holds(plan: &Plan, rho: Rho, within: &Within, assumed: Assumed) -> bool {
    let Ok(noise) = plan.noise(rho) else {
        return false;
    };
    plan.tables.iter().zip(&noise).all(|(table, noise)| {
        let cell = expected_cell(table, noise, assumed);
        let mut named = exprs(table).filter(|(column, _)| column.name == within.column);
        named.all(|(_, expr)| {
            precision(expr, &cell).is_some_and(|p| p.half_width <= within.half_width)
        })
    })
}

fn unreachable(within: &Within, assumed: Assumed) -> CostError {
    CostError::Unreachable {
        column: within.column.clone(),
        half_width: within.half_width,
        nodes: assumed.nodes,
        group: assumed.group,
    }
}

/// Why a precision has no price.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CostError {
    /// No measure of this name.
    #[error("the template has no measure {column}; name one of {}", list(.measures))]
    NoMeasure {
        /// What was named.
        column: Ident,
        /// What there is.
        measures: Vec<Ident>,
    },
    /// No ρ is enough.
    #[error(
        "no rho brings {column} to within ± {half_width} for groups of {group} patients at {nodes} nodes; allow a wider interval, or assume larger groups"
    )]
    Unreachable {
        /// The measure.
        column: Ident,
        /// The half-width that was wanted.
        half_width: f64,
        /// Of how many nodes.
        nodes: u32,
        /// For groups of this size.
        group: u32,
    },
}

fn list(names: &[Ident]) -> String {
    let names: Vec<_> = names.iter().map(Ident::as_str).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests;
