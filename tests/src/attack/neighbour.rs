//! How far one patient moves an answer.

use ward_schemas::partial::Vectors;
use ward_schemas::plan::Plan;

/// A component that one patient moves further than the plan declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excess {
    /// Table and component.
    pub component: String,
    /// The squared L2 distance between neighbours.
    pub moved: u128,
    /// The squared sensitivity that noise was drawn for.
    pub declared: u128,
}

/// The components that move further than declared between answers to neighbours with the same noise.
pub fn excess(plan: &Plan, with: &Vectors, without: &Vectors) -> Vec<Excess> {
    let mut found = Vec::new();
    for (t, table) in plan.tables.iter().enumerate() {
        for (c, component) in table.components.iter().enumerate() {
            let moved = distance_squared(&with.values()[t][c], &without.values()[t][c]);
            let declared = table.sensitivity_squared(component);
            if moved > declared {
                let component = format!("{}: {}", table.name, component.name);
                found.push(Excess {
                    component,
                    moved,
                    declared,
                });
            }
        }
    }
    found
}

fn distance_squared(a: &[i64], b: &[i64]) -> u128 {
    assert_eq!(a.len(), b.len(), "the shape is the plan's");
    let parts = a
        .iter()
        .zip(b)
        .map(|(a, b)| u128::from(a.abs_diff(*b)).pow(2));
    parts.fold(0, u128::saturating_add)
}
