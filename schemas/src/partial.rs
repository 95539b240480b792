//! Partials: one node's noisy sufficient statistics, and their exact merge.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::canonical::ContentHash;
use crate::data_key::{DataValue, ShownValues};
use crate::finish::Noisy;
use crate::names::{Ident, NodeName};
use crate::plan::{Noise, Plan, TablePlan};
use crate::rho::Rho;
use crate::snapshot::SnapshotId;

/// The version of the partial format that this crate writes and reads.
pub const PARTIAL_FORMAT: u32 = 2;

/// A node's answer to an ask: what it signs, and the integers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partial {
    /// What it is an answer to, and a digest of the integers.
    pub claims: PartialClaims,
    /// The integers.
    pub vectors: Vectors,
}

/// What a partial says of itself. The same ask gets the same claims, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartialClaims {
    /// Format version: [`PARTIAL_FORMAT`].
    pub v: u32,
    /// Which node.
    pub node: NodeName,
    /// The ask's identity at the node.
    pub ask: ContentHash,
    /// The compiled plan, which gives the integers their meaning.
    pub plan: ContentHash,
    /// The snapshot it ran on.
    pub snapshot: SnapshotId,
    /// Privacy loss that was charged.
    pub rho: Rho,
    /// The noise in the integers.
    pub noise: NoiseKind,
    /// [`Vectors::digest`].
    pub digest: ContentHash,
}

/// The envelope of a partial: signed by the node as a compact JWS, fresh each time it leaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartialEnvelope {
    /// The partial's claims.
    pub claims: PartialClaims,
    /// The head of the node's audit log: whoever keeps it is a witness.
    pub audit: AuditHead,
}

/// The position and hash of an audit log's last record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditHead {
    /// Number of the record, from 1.
    pub sequence: u64,
    /// Its hash.
    pub hash: ContentHash,
}

/// The noise in a partial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoiseKind {
    /// OpenDP's discrete Gaussian: protects patients.
    DiscreteGaussian,
    /// A test's noise: protects nobody. Coordinators refuse it.
    Frozen,
}

/// Integer vectors by table and component, in the lengths of [`TablePlan::length`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vectors {
    values: Vec<Vec<Vec<i64>>>,
    /// By table: the shown values of its key that comes from data.
    shown: Vec<Option<ShownValues>>,
}

impl Vectors {
    /// Vectors of the plan's shape, where all keys are public.
    ///
    /// # Errors
    /// When the shape is another.
    pub fn new(plan: &Plan, values: Vec<Vec<Vec<i64>>>) -> Result<Self, ShapeError> {
        let shown = vec![None; values.len()];
        Self::with_shown(plan, values, shown)
    }

    /// Vectors of the plan's shape with the shown values of each table's key that comes from data.
    ///
    /// # Errors
    /// When the shape is another.
    pub fn with_shown(
        plan: &Plan,
        values: Vec<Vec<Vec<i64>>>,
        shown: Vec<Option<ShownValues>>,
    ) -> Result<Self, ShapeError> {
        if values.len() != plan.tables.len() || shown.len() != values.len() {
            return Err(ShapeError::Tables {
                expected: plan.tables.len(),
                found: values.len(),
            });
        }
        for (table, (components, shown)) in plan.tables.iter().zip(values.iter().zip(&shown)) {
            check_table(table, components, shown.as_ref())?;
        }
        Ok(Self { values, shown })
    }

    /// By table, then component; then, where a key comes from data, by its value; then by cell,
    /// then the component's integers.
    pub fn values(&self) -> &[Vec<Vec<i64>>] {
        &self.values
    }

    /// By table: the shown values of its key that comes from data; `None` where all are public.
    pub fn shown(&self) -> &[Option<ShownValues>] {
        &self.shown
    }

    /// SHA-256 of [`Vectors::to_bytes`] behind `ward:partial:v2\n`. The shape needs no further
    /// mark: plan and shown values fix it.
    pub fn digest(&self) -> ContentHash {
        let mut hasher = Sha256::new();
        hasher.update(b"ward:partial:v2\n");
        hasher.update(self.to_bytes());
        ContentHash::from_digest(hasher.finalize().into())
    }

    /// Table by table, for a reader that knows the plan: the shown values, where a key comes from
    /// data (how many; then each as text, behind its length; numbers in four bytes), then the
    /// integers in eight bytes each; all little-endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (components, shown) in self.values.iter().zip(&self.shown) {
            if let Some(shown) = shown {
                shown.write(&mut bytes);
            }
            for value in components.iter().flatten() {
                bytes.extend(value.to_le_bytes());
            }
        }
        bytes
    }

    /// Reads [`Vectors::to_bytes`] back.
    ///
    /// # Errors
    /// When the bytes don't fill the plan's shape exactly.
    pub fn from_bytes(plan: &Plan, bytes: &[u8]) -> Result<Self, ShapeError> {
        let mut rest = bytes;
        let mut tables = Vec::new();
        let mut all_shown = Vec::new();
        for table in &plan.tables {
            let read = read_table(table, &mut rest).ok_or(ShapeError::Bytes(bytes.len()))?;
            tables.push(read.0);
            all_shown.push(read.1);
        }
        if !rest.is_empty() {
            return Err(ShapeError::Bytes(bytes.len()));
        }
        Self::with_shown(plan, tables, all_shown)
    }
}

type Table = (Vec<Vec<i64>>, Option<ShownValues>);

fn read_table(table: &TablePlan, rest: &mut &[u8]) -> Option<Table> {
    let shown = match &table.data_key {
        None => None,
        Some(key) => Some(ShownValues::read(key, rest)?),
    };
    let values = shown.as_ref().map_or(0, ShownValues::len);
    let mut component = |index| {
        let bytes = rest.split_off(..table.length(index, values).checked_mul(8)?)?;
        let (integers, _) = bytes.as_chunks::<8>();
        Some(
            integers
                .iter()
                .map(|eight| i64::from_le_bytes(*eight))
                .collect(),
        )
    };
    let components = (0..table.components.len()).map(&mut component);
    Some((components.collect::<Option<_>>()?, shown))
}

fn check_table(
    table: &TablePlan,
    components: &[Vec<i64>],
    shown: Option<&ShownValues>,
) -> Result<(), ShapeError> {
    if components.len() != table.components.len() {
        return Err(ShapeError::Components {
            table: table.name.clone(),
            expected: table.components.len(),
            found: components.len(),
        });
    }
    if shown.is_some() != table.data_key.is_some() {
        return Err(ShapeError::Shown(table.name.clone()));
    }
    let shown = shown.map_or(0, ShownValues::len);
    let lengths = components.iter().enumerate();
    let mut lengths = lengths.map(|(i, c)| (table.length(i, shown), c.len()));
    match lengths.find(|(expected, found)| expected != found) {
        None => Ok(()),
        Some((expected, found)) => Err(ShapeError::Cells {
            table: table.name.clone(),
            expected,
            found,
        }),
    }
}

/// Integers that don't fit a plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// Another number of tables.
    #[error("the plan has {expected} tables, the partial {found}")]
    Tables {
        /// In the plan.
        expected: usize,
        /// In the partial.
        found: usize,
    },
    /// Another number of components.
    #[error("table {table} has {expected} components, the partial {found}")]
    Components {
        /// The table.
        table: Ident,
        /// In the plan.
        expected: usize,
        /// In the partial.
        found: usize,
    },
    /// Another number of integers.
    #[error("a component of table {table} has {expected} integers, the partial {found}")]
    Cells {
        /// The table.
        table: Ident,
        /// In the plan.
        expected: usize,
        /// In the partial.
        found: usize,
    },
    /// Shown values where all keys are public, or none where one comes from data.
    #[error("table {0}: values are shown of keys that come from data, and of no others")]
    Shown(Ident),
    /// Bytes that don't fill the shape.
    #[error("{0} bytes don't fill the plan's shape")]
    Bytes(usize),
}

/// The merged components of one table.
#[derive(Clone, Debug, PartialEq)]
pub struct MergedTable {
    /// Sums over nodes, by component, in the order of [`Vectors::values`].
    pub sums: Vec<Vec<i128>>,
    /// The variance of one node's noise, by component, in squared units.
    pub variances: Vec<f64>,
    /// All cells, once; where a key comes from data, for each value that any node shows, ascending.
    pub blocks: Vec<Block>,
}

/// All cells of a merged table, or those of one value of its key that comes from data. A node that
/// doesn't show the value contributes nothing: the sums are below those over all nodes, by what the
/// patients add who have it there, about a threshold's number at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The value, if a key comes from data.
    pub value: Option<DataValue>,
    /// How many nodes are in the sums.
    pub nodes: usize,
}

/// Adds partials up, exactly.
///
/// All of them must be of this plan and at this noise, which the caller has checked by their
/// claims.
pub fn merge(plan: &Plan, noise: &[Vec<Noise>], partials: &[Vectors]) -> Vec<MergedTable> {
    plan.tables
        .iter()
        .zip(noise)
        .enumerate()
        .map(|(t, (table, noise))| {
            let variances = noise.iter().map(|n| n.sigma.to_f64().powi(2)).collect();
            let (sums, blocks) = match &table.data_key {
                None => add_cells(t, table, partials),
                Some(_) => add_values(t, table, partials),
            };
            MergedTable {
                sums,
                variances,
                blocks,
            }
        })
        .collect()
}

type Sums = (Vec<Vec<i128>>, Vec<Block>);

fn add_cells(t: usize, table: &TablePlan, partials: &[Vectors]) -> Sums {
    let mut sums: Vec<_> = (0..table.components.len())
        .map(|component| vec![0; table.length(component, 0)])
        .collect();
    for partial in partials {
        for (sums, values) in sums.iter_mut().zip(&partial.values[t]) {
            add_to(sums, values);
        }
    }
    let block = Block {
        value: None,
        nodes: partials.len(),
    };
    (sums, vec![block])
}

/// The values' union over nodes, and the sums of those that show each.
fn add_values(t: usize, table: &TablePlan, partials: &[Vectors]) -> Sums {
    let mut nodes: BTreeMap<&DataValue, usize> = BTreeMap::new();
    for value in partials
        .iter()
        .filter_map(|p| p.shown[t].as_ref())
        .flat_map(ShownValues::values)
    {
        *nodes.entry(value).or_default() += 1;
    }
    let position: BTreeMap<_, _> = nodes.keys().zip(0_usize..).collect();
    let sums = (0..table.components.len()).map(|component| {
        // Integers a value.
        let width = table.length(component, 1);
        let mut sums = vec![0; table.length(component, nodes.len())];
        for partial in partials {
            let shown = partial.shown[t].iter().flat_map(ShownValues::values);
            let integers = partial.values[t][component].chunks_exact(width);
            for (value, integers) in shown.zip(integers) {
                add_to(&mut sums[position[&value] * width..], integers);
            }
        }
        sums
    });
    let sums = sums.collect();
    let block = |(value, nodes): (&DataValue, usize)| Block {
        value: Some(value.clone()),
        nodes,
    };
    (sums, nodes.into_iter().map(block).collect())
}

fn add_to(sums: &mut [i128], values: &[i64]) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += i128::from(*value);
    }
}

impl MergedTable {
    /// The components of these cells of a block together, in real units: cells hold disjoint rows,
    /// and their noises are independent, so both add up.
    pub fn cells(&self, plan: &TablePlan, block: usize, cells: &[usize]) -> Vec<Noisy> {
        let components = plan.components.iter().enumerate();
        components
            .map(|(c, component)| {
                let step = component.unit.step();
                let width = component.width();
                // The count that a threshold looks at is over all cells.
                let is_counted = plan.data_key.as_ref().is_some_and(|key| key.counted == c);
                let at: Vec<_> = if is_counted {
                    vec![block]
                } else {
                    let first = block * plan.cells();
                    cells.iter().map(|cell| (first + cell) * width).collect()
                };
                let sum = |i| at.iter().map(|at| self.sums[c][at + i]).sum::<i128>();
                #[allow(clippy::cast_precision_loss)] // display precision
                let real = |i| sum(i) as f64 * step;
                #[allow(clippy::cast_precision_loss)] // at most a million, by a handful
                let noises = (at.len() * self.blocks[block].nodes) as f64;
                Noisy {
                    values: (0..width).map(real).collect(),
                    variance: noises * self.variances[c] * step * step,
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_key::tests::{data_key, shown};
    use crate::data_key::{DataKey, DataKeyType};
    use crate::delta::Delta;
    use crate::key::{KeyDomain, KeySpec, NoVocabulary, expand};
    use crate::plan::{Component, ComponentUnit, ENGINE_VERSION, KeyColumn};
    use crate::rho::Sigma;
    use crate::template::{Contribution, TemplateRef};
    use proptest::prelude::*;

    fn domain() -> KeyDomain {
        let spec = KeySpec::Numbers {
            numbers: vec![1, 2, 3],
        };
        expand(&spec, &NoVocabulary).expect("domain")
    }

    /// A table by a public key of three values and, perhaps, one from data: a count by group, and
    /// the patients by value where the threshold looks.
    fn table(data_key: Option<DataKey>) -> TablePlan {
        let component = |name: &str| Component {
            name: name.to_owned(),
            unit: ComponentUnit::One,
            bound: 1,
            weight: 1,
        };
        TablePlan {
            name: "t".parse().expect("name"),
            keys: vec![KeyColumn {
                name: "band".parse().expect("name"),
                domain: domain(),
            }],
            totals: Vec::new(),
            data_key: data_key.map(|key| DataKey { counted: 1, ..key }),
            contribution: Contribution {
                max_groups: 2,
                max_rows_per_group: 1,
            },
            rho: Rho::from_units(5_000_000).expect("rho"),
            delta: Delta::from_units(1_000_000).expect("delta"),
            components: vec![component("rows"), component("patients")],
            columns: Vec::new(),
        }
    }

    fn plan(tables: Vec<TablePlan>) -> Plan {
        Plan {
            template: TemplateRef {
                id: "t".parse().expect("id"),
                version: "1.0.0".parse().expect("version"),
                hash: ContentHash::of_bytes(b"t"),
            },
            engine: ENGINE_VERSION.to_owned(),
            vocabulary: ContentHash::of_bytes(b"v"),
            tables,
        }
    }

    /// A partial of one public table and one that shows these values; its integers count up.
    fn vectors(plan: &Plan, values: &[DataValue], from: i64) -> Vectors {
        let key = plan.tables[1].data_key.as_ref().expect("a data key");
        let shown = ShownValues::new(key, values.to_vec()).expect("fit");
        let mut next = from..;
        let mut of_table = |table: &TablePlan| {
            (0..table.components.len())
                .map(|c| next.by_ref().take(table.length(c, values.len())).collect())
                .collect()
        };
        let integers = plan.tables.iter().map(&mut of_table).collect();
        Vectors::with_shown(plan, integers, vec![None, Some(shown)]).expect("shape")
    }

    fn both(from_data: DataKeyType) -> Plan {
        plan(vec![table(None), table(Some(data_key(from_data)))])
    }

    proptest! {
        #[test]
        fn bytes_round_trip_and_nothing_may_be_missing(
            (from_data, values) in shown(), from in any::<i32>(), cut in 1_usize..40
        ) {
            let plan = both(from_data);
            let vectors = vectors(&plan, &values, from.into());
            let mut bytes = vectors.to_bytes();
            prop_assert_eq!(Vectors::from_bytes(&plan, &bytes), Ok(vectors));
            let short = &bytes[..bytes.len() - cut.min(bytes.len())];
            prop_assert!(Vectors::from_bytes(&plan, short).is_err());
            bytes.push(0);
            prop_assert!(Vectors::from_bytes(&plan, &bytes).is_err());
        }

        #[test]
        fn another_value_or_integer_is_another_digest((from_data, values) in shown()) {
            let plan = both(from_data);
            let digest = |values: &[DataValue], from| vectors(&plan, values, from).digest();
            prop_assert_ne!(digest(&values, 0), digest(&values, 1));
            if let Some((_, fewer)) = values.split_first() {
                prop_assert_ne!(digest(&values, 0), digest(fewer, 0));
            }
        }

        /// Against a plain reading: for each value the sum over the nodes that show it.
        #[test]
        fn each_value_is_summed_over_the_nodes_that_show_it(
            nodes in prop::collection::vec((prop::collection::btree_set(0_i64..8, 0..5), any::<i32>()), 1..5)
        ) {
            let plan = both(DataKeyType::Integer);
            let of_node = |(values, from): &(std::collections::BTreeSet<i64>, i32)| {
                let values: Vec<_> = values.iter().copied().map(DataValue::Integer).collect();
                vectors(&plan, &values, (*from).into())
            };
            let partials: Vec<_> = nodes.iter().map(of_node).collect();
            let noise = plan.noise(plan.rho()).expect("noise");
            let merged = &merge(&plan, &noise, &partials)[1];
            let table = &plan.tables[1];
            let mut block = 0;
            for value in (0..8).map(DataValue::Integer) {
                let at = |v: &Vectors| {
                    let shown = v.shown()[1].as_ref().expect("a data key");
                    shown.values().iter().position(|shown| *shown == value)
                };
                let showing: Vec<_> =
                    partials.iter().filter_map(|v| Some((&v.values()[1], at(v)?))).collect();
                if showing.is_empty() {
                    continue;
                }
                for cell in 0..3 {
                    prop_assert_eq!(merged.blocks[block].value.as_ref(), Some(&value));
                    prop_assert_eq!(merged.blocks[block].nodes, showing.len());
                    let noisy = merged.cells(table, block, &[cell]);
                    let sum: i64 = showing.iter().map(|(v, at)| v[0][at * 3 + cell]).sum();
                    let patients: i64 = showing.iter().map(|(v, at)| v[1][*at]).sum();
                    #[allow(clippy::cast_precision_loss)]
                    let expected = [sum as f64, patients as f64];
                    prop_assert_eq!([noisy[0].values[0], noisy[1].values[0]], expected);
                    #[allow(clippy::cast_precision_loss)]
                    let variance = noise[1][0].sigma.to_f64().powi(2) * showing.len() as f64;
                    prop_assert!((noisy[0].variance - variance).abs() < 1e-6 * variance);
                }
                block += 1;
            }
            prop_assert_eq!(merged.blocks.len(), block);
        }
    }

    #[test]
    fn shown_values_belong_to_a_key_from_data() {
        let plan = both(DataKeyType::Integer);
        let good = vectors(&plan, &[DataValue::Integer(1)], 0);
        let shown = good.shown()[1].clone();
        let refused = |shown| Vectors::with_shown(&plan, good.values().to_vec(), shown).is_err();
        assert!(refused(vec![None, None]));
        assert!(refused(vec![shown.clone(), shown.clone()]));
        assert!(refused(vec![None]));
        assert!(!refused(vec![None, shown]));
    }

    #[test]
    fn a_key_from_data_can_have_any_number_of_groups() {
        let [public, from_data]: [TablePlan; 2] =
            both(DataKeyType::Text).tables.try_into().expect("two");
        let many = |table: TablePlan| TablePlan {
            contribution: Contribution {
                max_groups: 100,
                max_rows_per_group: 1,
            },
            ..table
        };
        let squared = |table: TablePlan| table.sensitivity_squared(&table.components[0]);
        assert_eq!(
            (squared(many(public)), squared(many(from_data.clone()))),
            (3, 100)
        );
        let noise = plan(vec![from_data.clone()])
            .noise(from_data.rho)
            .expect("noise");
        let sigma: Sigma = noise[0][1].sigma;
        let expected = crate::threshold::threshold(sigma, 2, from_data.delta);
        assert_eq!(from_data.threshold(&noise[0]), expected);
    }
}
