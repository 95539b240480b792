//! Ward's own relational algebra. Each relation knows the patient of every row; each operator maps
//! one patient's rows to that patient's rows, deterministically and regardless of their order.

use std::sync::Arc;

use arrow::datatypes::DataType;

use crate::model::Table;
use crate::scalar::{Extent, Scalar};

/// A relation: an operator, and what is known of its rows.
#[derive(Clone, Debug)]
pub(crate) struct Relation {
    pub(crate) node: Node,
    pub(crate) fields: Vec<Field>,
    pub(crate) owner: Owner,
}

/// Whose rows they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Nobody's: network-public.
    Public,
    /// Each row is of the patient in this column, which is never NULL.
    Patient {
        column: usize,
        multiplicity: Multiplicity,
    },
}

/// How many rows a patient may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Multiplicity {
    /// At most one.
    One,
    /// At most one for each combination of these columns.
    OnePer(Vec<usize>),
    /// Any number.
    Many,
}

/// A column of a relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) data_type: DataType,
    pub(crate) role: Role,
    /// How large the expression behind it is.
    pub(crate) extent: Extent,
    /// Whether it is a function of the patient: equal in all rows of one.
    pub(crate) of_patient: bool,
}

/// What a column may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The patient: joined on and counted, never a value.
    Patient,
    /// A row's identifier: joined on, never a value.
    Identifier,
    /// A value.
    Value,
}

/// The operators.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    /// All rows of a table of the model.
    Scan { table: Arc<Table> },
    /// The rows for which the predicate is true.
    Filter {
        input: Box<Relation>,
        predicate: Scalar,
    },
    /// Other columns of the same rows.
    Project {
        input: Box<Relation>,
        expressions: Vec<Scalar>,
    },
    /// Pairs of rows that agree on `on` and for which the filter is true.
    Join {
        left: Box<Relation>,
        right: Box<Relation>,
        kind: JoinKind,
        on: Vec<(usize, usize)>,
        filter: Option<Scalar>,
    },
}

/// The joins that are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JoinKind {
    /// Matching pairs.
    Inner,
    /// Matching pairs, and left rows without a match.
    Left,
}

impl Relation {
    /// Whether it is public, or a patient has at most one row of it for given values of these
    /// columns: then it is the smaller side of a join.
    pub(crate) fn is_one_given(&self, columns: &[usize]) -> bool {
        match &self.owner {
            Owner::Public => true,
            Owner::Patient { multiplicity, .. } => multiplicity.is_one_given(columns),
        }
    }
}

impl Multiplicity {
    /// Whether a patient has at most one row for given values of these columns.
    pub(crate) fn is_one_given(&self, columns: &[usize]) -> bool {
        match self {
            Self::One => true,
            Self::OnePer(key) => key.iter().all(|c| columns.contains(c)),
            Self::Many => false,
        }
    }

    /// The same knowledge after columns moved; forgotten where a key column is gone.
    pub(crate) fn moved(&self, to: impl Fn(usize) -> Option<usize>) -> Self {
        match self {
            Self::One => Self::One,
            Self::Many => Self::Many,
            Self::OnePer(key) => {
                let moved: Option<Vec<_>> = key.iter().map(|c| to(*c)).collect();
                moved.map_or(Self::Many, Self::OnePer)
            }
        }
    }
}
