//! Compiled plans: the layout of a template's integer vectors, and what they cost.
//!
//! `ward-privacy` compiles a template into this; every node must arrive at the same plan, and its
//! hash in the quote shows that it did. Nothing here depends on data or on parameters.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::canonical::{CanonicalError, ContentHash};
use crate::data_key::DataKey;
use crate::decimal::Grid;
use crate::delta::Delta;
use crate::finish::Expr;
use crate::key::KeyDomain;
use crate::names::Ident;
use crate::rho::{Rho, Sigma};
use crate::template::{Contribution, TemplateRef};
use crate::threshold::threshold;

/// Version of the privacy engine: what an accepted statement means, and what is computed for it.
/// Part of every ask's identity.
pub const ENGINE_VERSION: &str = "ward-privacy/2";

/// A compiled template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// What was compiled.
    pub template: TemplateRef,
    /// By which engine.
    pub engine: String,
    /// With which vocabulary package.
    pub vocabulary: ContentHash,
    /// One plan a table.
    pub tables: Vec<TablePlan>,
}

/// The compiled form of one table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TablePlan {
    /// The table's name.
    pub name: Ident,
    /// Public group keys in the order of the statement: the last one varies fastest over the cells.
    pub keys: Vec<KeyColumn>,
    /// The keys, by index, over which the release adds cells up, into rows of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub totals: Vec<usize>,
    /// The key whose values come from data: for each value that is shown there are all cells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_key: Option<DataKey>,
    /// What one patient may contribute.
    pub contribution: Contribution,
    /// Declared privacy loss of the noise.
    pub rho: Rho,
    /// Declared privacy loss of thresholds, whatever ρ is asked; zero where every key is public.
    pub delta: Delta,
    /// The integer vectors: in each, so many integers a cell as the component is wide.
    pub components: Vec<Component>,
    /// Output columns in the order of the statement.
    pub columns: Vec<Column>,
}

/// A group key's column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyColumn {
    /// Output name.
    pub name: Ident,
    /// All its values.
    pub domain: KeyDomain,
}

/// One integer vector: a sufficient statistic for each cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Component {
    /// What people call it.
    pub name: String,
    /// What one unit means.
    pub unit: ComponentUnit,
    /// The largest L2 norm of what one patient contributes to one cell.
    pub bound: u64,
    /// Its part of the table's ρ, relative to its siblings'.
    pub weight: u32,
}

/// What one unit of a component means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ComponentUnit {
    /// One patient, or one row.
    One,
    /// One step of a grid, counted from `origin` (in steps).
    Steps {
        /// The grid.
        grid: Grid,
        /// Zero for sums, the grid's centre for means.
        origin: i64,
    },
    /// One step of a grid, squared: of values relative to the grid's centre, each square less
    /// [`Grid::half_square`], which halves their noise.
    SquareSteps {
        /// The grid.
        grid: Grid,
    },
    /// One row. The integers of a cell are a level of a tree over the grid's points, from the
    /// lowest on: each counts the rows at `span` points.
    Bins {
        /// The grid.
        grid: Grid,
        /// How many points an integer covers; the last one fewer where the grid ends.
        span: u32,
    },
}

impl ComponentUnit {
    /// What to multiply integers by.
    pub fn step(&self) -> f64 {
        match self {
            Self::One | Self::Bins { .. } => 1.0,
            Self::Steps { grid, .. } => grid.step().to_f64(),
            Self::SquareSteps { grid } => grid.step().squared(),
        }
    }
}

impl Component {
    /// How many integers a cell has.
    pub fn width(&self) -> usize {
        match &self.unit {
            ComponentUnit::One
            | ComponentUnit::Steps { .. }
            | ComponentUnit::SquareSteps { .. } => 1,
            ComponentUnit::Bins { grid, span } => {
                let width = grid.points().div_ceil(u64::from(*span).max(1));
                usize::try_from(width).unwrap_or(usize::MAX)
            }
        }
    }
}

/// An output column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Output name.
    pub name: Ident,
    /// Unit, for people; empty for counts and keys.
    pub unit: String,
    /// Where its values come from.
    pub content: ColumnContent,
}

/// Where a column's values come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ColumnContent {
    /// The key of this index.
    Key {
        /// Index into [`TablePlan::keys`].
        index: usize,
    },
    /// The key whose values come from data.
    DataKey,
    /// How many nodes show the row's value of that key: the others contribute nothing to the row.
    Nodes,
    /// An expression over the components of the cell.
    Measure {
        /// The expression.
        expr: Expr,
    },
}

/// The noise of one component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Noise {
    /// Its part of the ask's ρ.
    pub rho: Rho,
    /// The discrete Gaussian's scale, in the component's units.
    pub sigma: Sigma,
}

impl Plan {
    /// The plan's content hash, which nodes quote.
    ///
    /// # Errors
    /// Never for a compiled plan; the canonical form reports it all the same.
    pub fn hash(&self) -> Result<ContentHash, CanonicalError> {
        ContentHash::of("plan", self)
    }

    /// The declared privacy loss of all tables.
    pub fn rho(&self) -> Rho {
        self.tables
            .iter()
            .fold(Rho::ZERO, |sum, t| sum.saturating_add(t.rho))
    }

    /// The declared δ of all tables.
    pub fn delta(&self) -> Delta {
        self.tables.iter().map(|t| t.delta).sum()
    }

    /// The noise of every component (by table, then by component) for an ask at `rho`, which is
    /// divided among the tables as declared and in a table by weight. The parts never sum to more
    /// than `rho`.
    ///
    /// # Errors
    /// When ρ is too small for a component to get any noise scale below 2³².
    pub fn noise(&self, rho: Rho) -> Result<Vec<Vec<Noise>>, NoiseError> {
        // Not the saturating sum: with a smaller divisor the shares would add up to more than ρ.
        let declared: u128 = self.tables.iter().map(|t| u128::from(t.rho.units())).sum();
        self.tables
            .iter()
            .map(|table| {
                let units =
                    u128::from(rho.units()) * u128::from(table.rho.units()) / declared.max(1);
                let share = u64::try_from(units).ok().and_then(Rho::from_units);
                table.noise(share.unwrap_or(Rho::ZERO))
            })
            .collect()
    }
}

impl TablePlan {
    /// How many cells there are: the product of the keys' sizes.
    pub fn cells(&self) -> usize {
        self.keys.iter().map(|k| k.domain.len()).product()
    }

    /// How many integers its answer has at most, over all components.
    pub fn integers(&self) -> usize {
        let shown = self.data_key.as_ref().map_or(0, |key| key.most);
        let shown = usize::try_from(shown).unwrap_or(usize::MAX);
        let lengths = (0..self.components.len()).map(|c| self.length(c, shown));
        lengths.fold(0, usize::saturating_add)
    }

    /// The index of each key's value at a cell.
    pub fn key_indices(&self, cell: usize) -> Vec<usize> {
        let mut rest = cell;
        let mut indices: Vec<_> = self
            .keys
            .iter()
            .rev()
            .map(|key| {
                let index = rest % key.domain.len();
                rest /= key.domain.len();
                index
            })
            .collect();
        indices.reverse();
        indices
    }

    /// The totals that the release shows: for every choice of at least one of the keys of
    /// [`TablePlan::totals`], a row for each combination of the other keys' values.
    pub fn total_rows(&self) -> Vec<TotalRow> {
        let mut subsets = vec![Vec::new()];
        for key in &self.totals {
            let with = subsets.iter().cloned().map(|mut subset: Vec<usize>| {
                subset.push(*key);
                subset
            });
            subsets.extend(with.collect::<Vec<_>>());
        }
        let over = subsets.iter().skip(1);
        over.flat_map(|subset| self.totals_over(subset)).collect()
    }

    fn totals_over(&self, subset: &[usize]) -> Vec<TotalRow> {
        let mut rows: BTreeMap<Vec<Option<usize>>, Vec<usize>> = BTreeMap::new();
        for cell in 0..self.cells() {
            let indices = self.key_indices(cell).into_iter().enumerate();
            let keys = indices.map(|(key, at)| (!subset.contains(&key)).then_some(at));
            rows.entry(keys.collect()).or_default().push(cell);
        }
        let row = |(keys, cells)| TotalRow { keys, cells };
        rows.into_iter().map(row).collect()
    }

    /// How many integers a component has: for each cell as many as it is wide; where a key comes
    /// from data, all of them for each of its `shown` values, but for the count that its threshold
    /// looks at, which has one a value.
    pub fn length(&self, component: usize, shown: usize) -> usize {
        let width = self.components.get(component).map_or(0, Component::width);
        let length = self.cells().saturating_mul(width);
        match &self.data_key {
            None => length,
            Some(key) if key.counted == component => shown,
            Some(_) => length.saturating_mul(shown),
        }
    }

    /// The least noisy count of patients at which a node shows a value of the key that comes from
    /// data, given the table's noise; `None` where there is no such key.
    pub fn threshold(&self, noise: &[Noise]) -> Option<u64> {
        let counted = self.data_key.as_ref()?.counted;
        threshold(
            noise.get(counted)?.sigma,
            self.contribution.max_groups,
            self.delta,
        )
    }

    /// The squared L2 sensitivity of a component: one patient adds at most `bound` (in L2) to each
    /// of at most `max_groups` groups (and where all keys are public there are no more than
    /// [`TablePlan::cells`]).
    pub fn sensitivity_squared(&self, component: &Component) -> u128 {
        let cells = match self.data_key {
            None => u128::try_from(self.cells()).unwrap_or(u128::MAX),
            Some(_) => u128::MAX,
        };
        let groups = u128::from(self.contribution.max_groups).min(cells);
        u128::from(component.bound).pow(2).saturating_mul(groups)
    }

    fn noise(&self, rho: Rho) -> Result<Vec<Noise>, NoiseError> {
        let total = self.components.iter().map(|c| u64::from(c.weight)).sum();
        self.components
            .iter()
            .map(|component| {
                let rho = rho.share(component.weight.into(), total);
                let sigma = Sigma::for_rho(rho, self.sensitivity_squared(component));
                match sigma {
                    Some(sigma) => Ok(Noise { rho, sigma }),
                    None => Err(NoiseError {
                        table: self.name.clone(),
                        component: component.name.clone(),
                        rho,
                    }),
                }
            })
            .collect()
    }
}

/// A row of a release, and the cells in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TotalRow {
    /// The index of each key's value; none of the keys that it adds up over.
    pub keys: Vec<Option<usize>>,
    /// The cells that it adds up.
    pub cells: Vec<usize>,
}

/// A ρ too small for the noise to be of any use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "table {table}: {component} gets rho {rho}, for which the noise exceeds 2^32 units; ask with a larger rho or narrower bounds"
)]
pub struct NoiseError {
    /// The table.
    pub table: Ident,
    /// The component.
    pub component: String,
    /// What it gets.
    pub rho: Rho,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plan(rhos: &[u64]) -> Plan {
        let component = |name: &str, weight| Component {
            name: name.to_owned(),
            unit: ComponentUnit::One,
            bound: 1,
            weight,
        };
        let table = |(i, rho): (usize, &u64)| TablePlan {
            name: format!("t{i}").parse().expect("name"),
            keys: Vec::new(),
            totals: Vec::new(),
            data_key: None,
            contribution: Contribution {
                max_groups: 1,
                max_rows_per_group: 1,
            },
            rho: Rho::from_units(*rho).expect("rho"),
            delta: Delta::ZERO,
            components: vec![component("a", 1), component("b", 2)],
            columns: Vec::new(),
        };
        Plan {
            template: TemplateRef {
                id: "t".parse().expect("id"),
                version: "1.0.0".parse().expect("version"),
                hash: ContentHash::of_bytes(b"t"),
            },
            engine: ENGINE_VERSION.to_owned(),
            vocabulary: ContentHash::of_bytes(b"v"),
            tables: rhos.iter().enumerate().map(table).collect(),
        }
    }

    proptest! {
        #[test]
        fn the_parts_never_sum_to_more_than_the_ask(
            rhos in prop::collection::vec(prop_oneof![1_u64..1_000_000_000_000, Just(1_000_000_000_000)], 1..16),
            asked in 1_000_u64..1_000_000_000_000,
        ) {
            let asked = Rho::from_units(asked).expect("rho");
            if let Ok(noise) = plan(&rhos).noise(asked) {
                let sum: u64 = noise.iter().flatten().map(|n| n.rho.units()).sum();
                prop_assert!(sum <= asked.units());
            }
        }
    }
}
