//! Releases: merged answers.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::canonical::ContentHash;
use crate::delta::Delta;
use crate::finish::{Estimate, Expr};
use crate::loss::{EpsilonDelta, Loss};
use crate::names::{Ident, NodeName, PermitId, Subject};
use crate::parameter::RawParameters;
use crate::partial::{AuditHead, Block, MergedTable};
use crate::plan::{ColumnContent, ComponentUnit, Noise, Plan, TablePlan, TotalRow};
use crate::problem::Problem;
use crate::rho::Rho;
use crate::snapshot::SnapshotId;
use crate::template::TemplateRef;

/// The version of the release format that this crate writes and reads.
pub const RELEASE_FORMAT: u32 = 1;

/// A release's identity: 16 random bytes, in hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReleaseId([u8; 16]);

impl ReleaseId {
    /// A fresh identity.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for ReleaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ReleaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ReleaseId {
    type Err = ReleaseIdSyntax;

    fn from_str(s: &str) -> Result<Self, ReleaseIdSyntax> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(s, &mut bytes).map_err(|_| ReleaseIdSyntax)?;
        Ok(Self(bytes))
    }
}

impl Serialize for ReleaseId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ReleaseId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}

/// Text that is not a release identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a release is named by 32 hex digits")]
pub struct ReleaseIdSyntax;

/// A merged answer with its provenance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Format version: [`RELEASE_FORMAT`].
    pub v: u32,
    /// Identity.
    pub id: ReleaseId,
    /// What was asked.
    pub template: TemplateRef,
    /// The template's title.
    pub title: String,
    /// With which parameters.
    pub parameters: RawParameters,
    /// Under which permit.
    pub permit: PermitId,
    /// By whom.
    pub requester: Subject,
    /// When it was merged.
    pub created_at: DateTime<Utc>,
    /// Privacy loss of the noise at each node.
    pub rho: Rho,
    /// Privacy loss of thresholds at each node.
    #[serde(default, skip_serializing_if = "Delta::is_zero")]
    pub delta: Delta,
    /// What both mean by themselves, as the nodes state it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meaning: Option<EpsilonDelta>,
    /// What each node of the permit did.
    pub nodes: Vec<NodeOutcome>,
    /// The tables.
    pub tables: Vec<ReleaseTable>,
}

impl Release {
    /// Both parts of the privacy loss at each node.
    pub fn loss(&self) -> Loss {
        Loss {
            rho: self.rho,
            delta: self.delta,
        }
    }
}

/// What one node did about an ask.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeOutcome {
    /// Which node.
    pub node: NodeName,
    /// What it did.
    pub outcome: Outcome,
}

/// What a node did about an ask.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Outcome {
    /// It answered, and its partial is in the release.
    Answered {
        /// The snapshot it ran on.
        snapshot: SnapshotId,
        /// Digest of its partial.
        partial: ContentHash,
        /// Its audit log's head.
        audit: AuditHead,
    },
    /// It is not in the release.
    LeftOut {
        /// Why.
        problem: Problem,
    },
}

impl Outcome {
    /// Whether the node's partial is in the release.
    pub fn answered(&self) -> bool {
        matches!(self, Self::Answered { .. })
    }
}

/// One table of a release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseTable {
    /// The table's name.
    pub name: Ident,
    /// Columns in the order of the statement.
    pub columns: Vec<ReleaseColumn>,
    /// Noise of each component at each node.
    pub noise: Vec<ComponentNoise>,
    /// What decides which values of a key that comes from data are shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<Threshold>,
    /// One row a cell, for each value that is shown where a key comes from data; then the totals.
    pub rows: Vec<Vec<Cell>>,
    /// How many rows at the end are totals: the keys that they add up over read [`TOTAL`].
    #[serde(default)]
    pub totals: usize,
}

/// What a key reads in a row that adds up over it. No key with totals has a value of this label.
pub const TOTAL: &str = "total";
/// Which values of a key that comes from data are shown. Those that few patients have are missing,
/// and a node that doesn't show a value contributes nothing to its rows: their sums are too low
/// by what such nodes hold, and the noise of those that are shown is a little above zero on
/// average, as it helped them over the threshold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// The key's column.
    pub column: Ident,
    /// The least noisy count of patients at which a node shows a value.
    pub patients: u64,
    /// The most values that a node shows: those with the largest noisy counts.
    pub most: u32,
    /// The probability, at most, that a node shows anything that one patient alone has.
    pub delta: Delta,
}

/// A column of a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseColumn {
    /// Name.
    pub name: Ident,
    /// Unit; empty for counts and keys.
    pub unit: String,
    /// Whether it is a group key.
    pub key: bool,
    /// Whether it counts patients or rows: then whatever is below zero is noise.
    #[serde(default)]
    pub count: bool,
    /// Whether it tells how many nodes are in the row.
    #[serde(default)]
    pub nodes: bool,
}

/// The noise that each node added to one component.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComponentNoise {
    /// The component.
    pub component: String,
    /// Standard deviation, in its real unit.
    pub sigma: f64,
    /// Its part of ρ.
    pub rho: Rho,
}

/// One cell of a release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Cell {
    /// A key's label.
    Key(String),
    /// How many nodes are in the row.
    Nodes(usize),
    /// An estimate; none where a denominator can't be told from zero.
    Estimate(Option<Estimate>),
}

/// Evaluates the final expressions of merged tables.
pub fn tables(plan: &Plan, noise: &[Vec<Noise>], merged: &[MergedTable]) -> Vec<ReleaseTable> {
    plan.tables
        .iter()
        .zip(noise.iter().zip(merged))
        .map(|(table, (noise, merged))| release_table(table, noise, merged))
        .collect()
}

fn release_table(plan: &TablePlan, noise: &[Noise], merged: &MergedTable) -> ReleaseTable {
    let columns = plan.columns.iter().map(|column| ReleaseColumn {
        name: column.name.clone(),
        unit: column.unit.clone(),
        key: matches!(
            column.content,
            ColumnContent::Key { .. } | ColumnContent::DataKey
        ),
        count: is_count(plan, &column.content),
        nodes: column.content == ColumnContent::Nodes,
    });
    let threshold = shown_from(plan, noise);
    let noise = plan.components.iter().zip(noise);
    let noise = noise.map(|(component, noise)| ComponentNoise {
        component: component.name.clone(),
        sigma: noise.sigma.to_f64() * component.unit.step(),
        rho: noise.rho,
    });
    let totals = plan.total_rows();
    let cells = (0..plan.cells()).map(|cell| {
        let keys = plan.key_indices(cell).into_iter().map(Some).collect();
        TotalRow {
            keys,
            cells: vec![cell],
        }
    });
    let cells: Vec<_> = cells.collect();
    let blocks = merged.blocks.len();
    ReleaseTable {
        name: plan.name.clone(),
        columns: columns.collect(),
        noise: noise.collect(),
        threshold,
        totals: blocks * totals.len(),
        rows: in_blocks(blocks, &cells)
            .chain(in_blocks(blocks, &totals))
            .map(|(block, row)| release_row(plan, merged, block, row))
            .collect(),
    }
}

fn in_blocks(blocks: usize, rows: &[TotalRow]) -> impl Iterator<Item = (usize, &TotalRow)> {
    (0..blocks).flat_map(move |block| rows.iter().map(move |row| (block, row)))
}

fn shown_from(plan: &TablePlan, noise: &[Noise]) -> Option<Threshold> {
    let key = plan.data_key.as_ref()?;
    Some(Threshold {
        column: key.name.clone(),
        patients: plan.threshold(noise)?,
        most: key.most,
        delta: plan.delta,
    })
}

/// Whether a column is a count of patients or rows.
pub(crate) fn is_count(plan: &TablePlan, content: &ColumnContent) -> bool {
    let ColumnContent::Measure {
        expr: Expr::Component { index },
    } = content
    else {
        return false;
    };
    let component = plan.components.get(*index);
    component.is_some_and(|c| c.unit == ComponentUnit::One)
}

fn release_row(plan: &TablePlan, merged: &MergedTable, block: usize, row: &TotalRow) -> Vec<Cell> {
    let noisy = merged.cells(plan, block, &row.cells);
    let label = |index: usize| match row.keys[index] {
        Some(at) => plan.keys[index].domain.labels()[at].clone(),
        None => TOTAL.to_owned(),
    };
    let Block { value, nodes } = &merged.blocks[block];
    plan.columns
        .iter()
        .map(|column| match &column.content {
            ColumnContent::Key { index } => Cell::Key(label(*index)),
            ColumnContent::DataKey => {
                Cell::Key(value.as_ref().map(ToString::to_string).unwrap_or_default())
            }
            ColumnContent::Nodes => Cell::Nodes(*nodes),
            ColumnContent::Measure { expr } => Cell::Estimate(expr.estimate(&noisy)),
        })
        .collect()
}
