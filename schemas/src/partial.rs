//! Partials: one node's noisy sufficient statistics, and their exact merge.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::canonical::ContentHash;
use crate::finish::Noisy;
use crate::names::{Ident, NodeName};
use crate::plan::{Component, Noise, Plan, TablePlan};
use crate::rho::Rho;
use crate::snapshot::SnapshotId;

/// The version of the partial format that this crate writes and reads.
pub const PARTIAL_FORMAT: u32 = 1;

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

/// Integer vectors by table and component: by cell, and in each cell so many integers as the
/// component is wide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vectors(Vec<Vec<Vec<i64>>>);

impl Vectors {
    /// Vectors of the plan's shape.
    ///
    /// # Errors
    /// When the shape is another.
    pub fn new(plan: &Plan, values: Vec<Vec<Vec<i64>>>) -> Result<Self, ShapeError> {
        if values.len() != plan.tables.len() {
            return Err(ShapeError::Tables {
                expected: plan.tables.len(),
                found: values.len(),
            });
        }
        for (table, components) in plan.tables.iter().zip(&values) {
            check_table(table, components)?;
        }
        Ok(Self(values))
    }

    /// By table, then component, then cell, then the component's integers.
    pub fn values(&self) -> &[Vec<Vec<i64>>] {
        &self.0
    }

    /// SHA-256 of the integers, eight bytes each, little-endian, behind `ward:partial:v1\n`. The
    /// shape needs no mark: the plan fixes it.
    pub fn digest(&self) -> ContentHash {
        let mut hasher = Sha256::new();
        hasher.update(b"ward:partial:v1\n");
        for value in self.flat() {
            hasher.update(value.to_le_bytes());
        }
        ContentHash::from_digest(hasher.finalize().into())
    }

    /// The integers as bytes, for a store that knows the plan.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.flat().flat_map(i64::to_le_bytes).collect()
    }

    /// Reads [`Vectors::to_bytes`] back.
    ///
    /// # Errors
    /// When the bytes don't fill the plan's shape exactly.
    pub fn from_bytes(plan: &Plan, bytes: &[u8]) -> Result<Self, ShapeError> {
        let mut values = bytes.chunks_exact(8).map(|chunk| {
            let mut eight = [0; 8];
            eight.copy_from_slice(chunk);
            i64::from_le_bytes(eight)
        });
        let tables = plan
            .tables
            .iter()
            .map(|table| {
                let cells = table.cells();
                let component = |c: &Component| {
                    let integers = cells.saturating_mul(c.width());
                    values.by_ref().take(integers).collect()
                };
                table.components.iter().map(component).collect()
            })
            .collect();
        if values.next().is_some() || !bytes.len().is_multiple_of(8) {
            return Err(ShapeError::Bytes(bytes.len()));
        }
        Self::new(plan, tables)
    }

    fn flat(&self) -> impl Iterator<Item = i64> {
        self.0.iter().flatten().flatten().copied()
    }
}

fn check_table(table: &TablePlan, components: &[Vec<i64>]) -> Result<(), ShapeError> {
    if components.len() != table.components.len() {
        return Err(ShapeError::Components {
            table: table.name.clone(),
            expected: table.components.len(),
            found: components.len(),
        });
    }
    let expected = |c: &Component| table.cells().saturating_mul(c.width());
    let pairs = table.components.iter().map(expected).zip(components);
    match pairs
        .into_iter()
        .find(|(expected, found)| found.len() != *expected)
    {
        None => Ok(()),
        Some((expected, found)) => Err(ShapeError::Cells {
            table: table.name.clone(),
            expected,
            found: found.len(),
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
    /// Bytes that don't fill the shape.
    #[error("{0} bytes don't fill the plan's shape")]
    Bytes(usize),
}

/// The merged components of one table.
#[derive(Clone, Debug, PartialEq)]
pub struct MergedTable {
    /// Sums over nodes, by component, then cell, then the component's integers.
    pub sums: Vec<Vec<i128>>,
    /// The summed noise's variance, by component, in squared units.
    pub variances: Vec<f64>,
}

/// Adds partials up, exactly.
///
/// All of them must be of this plan and at this noise, which the caller has checked by their
/// claims.
pub fn merge(plan: &Plan, noise: &[Vec<Noise>], partials: &[Vectors]) -> Vec<MergedTable> {
    #[allow(clippy::cast_precision_loss)] // a handful of nodes
    let nodes = partials.len() as f64;
    plan.tables
        .iter()
        .zip(noise)
        .enumerate()
        .map(|(t, (table, noise))| MergedTable {
            sums: table
                .components
                .iter()
                .enumerate()
                .map(|(c, component)| {
                    let integers = table.cells() * component.width();
                    add_up(integers, partials.iter().map(|p| &p.0[t][c]))
                })
                .collect(),
            variances: noise
                .iter()
                .map(|n| n.sigma.to_f64().powi(2) * nodes)
                .collect(),
        })
        .collect()
}

fn add_up<'a>(integers: usize, vectors: impl Iterator<Item = &'a Vec<i64>>) -> Vec<i128> {
    let mut sums = vec![0; integers];
    for vector in vectors {
        for (sum, value) in sums.iter_mut().zip(vector) {
            *sum += i128::from(*value);
        }
    }
    sums
}

impl MergedTable {
    /// The components of these cells together, in real units: cells hold disjoint rows, and their
    /// noises are independent, so both add up.
    pub fn cells(&self, plan: &TablePlan, cells: &[usize]) -> Vec<Noisy> {
        #[allow(clippy::cast_precision_loss)] // at most a million
        let count = cells.len() as f64;
        plan.components
            .iter()
            .zip(self.sums.iter().zip(&self.variances))
            .map(|(component, (sums, variance))| {
                let step = component.unit.step();
                let width = component.width();
                let sum = |i| {
                    cells
                        .iter()
                        .map(|cell| sums[cell * width + i])
                        .sum::<i128>()
                };
                #[allow(clippy::cast_precision_loss)] // display precision
                let real = |i| sum(i) as f64 * step;
                Noisy {
                    values: (0..width).map(real).collect(),
                    variance: variance * count * step * step,
                }
            })
            .collect()
    }
}
