//! Ward's own relational algebra. Each relation knows the patient of every row; each operator maps
//! one patient's rows to that patient's rows, deterministically and regardless of their order.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::ScalarValue;

use crate::model::Table;
use crate::multiplicity::Multiplicity;
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

/// A column of a relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) data_type: DataType,
    pub(crate) role: Role,
    /// How large the expression behind it is.
    pub(crate) extent: Extent,
    /// Whether it is a function of the patient: equal in all rows of one. A column of the role
    /// [`Role::Patient`] is one where it is the row's patient, never NULL.
    pub(crate) of_patient: bool,
    /// Whether it is a whole number from 1 on.
    pub(crate) ordinal: bool,
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
    /// Pairs of rows that meet the conditions.
    Join {
        left: Box<Relation>,
        right: Box<Relation>,
        kind: JoinKind,
        conditions: Conditions,
    },
    /// Rows of the left side, by whether a row of the right side meets the conditions with them.
    Match {
        left: Box<Relation>,
        right: Box<Relation>,
        kind: MatchKind,
        conditions: Conditions,
    },
    /// The rows of all of them, which have the same columns.
    Union { inputs: Vec<Relation> },
    /// One row for each combination of values of the group, NULL being one: these values, then what
    /// the rows are folded to.
    Aggregate {
        input: Box<Relation>,
        group: Vec<Scalar>,
        folds: Vec<Fold>,
    },
    /// The same rows with further columns, which look at other rows of the partition.
    Window {
        input: Box<Relation>,
        windows: Vec<Window>,
        /// The columns of the input that break ties: all that anything reads.
        ties: Vec<usize>,
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

/// What a match decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MatchKind {
    /// Rows with a match stay.
    Semi,
    /// Rows without a match stay.
    Anti,
    /// All rows stay; a last column says whether there is a match.
    Mark,
}

/// When two rows meet: columns of the left and the right side that are equal, and a predicate over
/// the columns of both.
#[derive(Clone, Debug)]
pub(crate) struct Conditions {
    pub(crate) on: Vec<(usize, usize)>,
    pub(crate) filter: Option<Scalar>,
}

/// Rows to one value, whatever their order.
#[derive(Clone, Debug)]
pub(crate) struct Fold {
    pub(crate) kind: FoldKind,
    /// NULL where the row doesn't count.
    pub(crate) argument: Scalar,
    /// The argument's type.
    pub(crate) data_type: DataType,
}

/// How rows are folded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FoldKind {
    /// How many aren't NULL.
    Count,
    /// How many different values there are.
    CountDistinct,
    /// Integers wrap; doubles are added as decimals of six places.
    Sum,
    /// As decimals of six places.
    Mean,
    Least,
    Greatest,
}

/// A value for each row that looks at other rows of its partition.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    pub(crate) kind: WindowKind,
    pub(crate) partition: Vec<Scalar>,
    pub(crate) order: Vec<Order>,
}

/// One key of an order.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) scalar: Scalar,
    pub(crate) ascending: bool,
    pub(crate) nulls_first: bool,
}

/// What is looked at.
#[derive(Clone, Debug)]
pub(crate) enum WindowKind {
    /// 1 for the first row.
    RowNumber,
    /// 1 more than the rows before the first of those that are equal in the order.
    Rank,
    /// The same, where rows that are equal in the order count as one.
    DenseRank,
    /// The argument of the row so many before, or after where negative; else the default.
    Shift {
        argument: Scalar,
        rows: i64,
        default: ScalarValue,
    },
    /// The argument of the frame's first row.
    First {
        argument: Scalar,
        argument_type: DataType,
        frame: Frame,
    },
    /// The argument of the frame's last row.
    Last {
        argument: Scalar,
        argument_type: DataType,
        frame: Frame,
    },
    /// The frame's rows folded.
    Fold { fold: Fold, frame: Frame },
}

/// The rows around a row that a window function looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) unit: FrameUnit,
    pub(crate) start: Edge,
    pub(crate) end: Edge,
}

/// What a frame counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameUnit {
    /// Rows, all columns breaking ties.
    Rows,
    /// Rows that are equal in the order stand together.
    Peers,
}

/// Where a frame starts or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edge {
    /// With the partition.
    Unbounded,
    Current,
    /// So many rows before.
    Before(u64),
    /// So many rows after.
    After(u64),
}

impl Window {
    /// The columns it reads.
    pub(crate) fn columns(&self) -> Vec<usize> {
        let argument = match &self.kind {
            WindowKind::RowNumber | WindowKind::Rank | WindowKind::DenseRank => None,
            WindowKind::Shift { argument, .. }
            | WindowKind::First { argument, .. }
            | WindowKind::Last { argument, .. } => Some(argument),
            WindowKind::Fold { fold, .. } => Some(&fold.argument),
        };
        let order = self.order.iter().map(|key| &key.scalar);
        let read = self.partition.iter().chain(order).chain(argument);
        read.flat_map(Scalar::columns).collect()
    }
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

    /// Whether a column is the row's patient.
    pub(crate) fn is_patient(&self, column: usize) -> bool {
        let field = self.fields.get(column);
        field.is_some_and(|f| f.role == Role::Patient && f.of_patient)
    }

    /// Whether an expression has one value in all rows of a patient.
    pub(crate) fn is_of_patient(&self, scalar: &Scalar) -> bool {
        let columns = scalar.columns();
        columns.into_iter().all(|c| self.fields[c].of_patient)
    }
}

impl Field {
    /// A value that an operator computes.
    pub(crate) fn computed(name: &str, data_type: DataType) -> Self {
        Self {
            name: name.to_owned(),
            data_type: held(data_type),
            role: Role::Value,
            extent: Extent::COLUMN,
            of_patient: false,
            ordinal: false,
        }
    }
}

/// The type in which a value is held. Timestamps are of microseconds: DataFusion compares them with
/// dates and texts in nanoseconds, in which the years before 1678 and after 2262 are NULL.
pub(crate) fn held(data_type: DataType) -> DataType {
    match data_type {
        DataType::Timestamp(_, None) => DataType::Timestamp(TimeUnit::Microsecond, None),
        other => other,
    }
}

impl Node {
    /// The relations it reads.
    pub(crate) fn inputs(&self) -> Vec<&Relation> {
        match self {
            Self::Scan { .. } => Vec::new(),
            Self::Filter { input, .. }
            | Self::Project { input, .. }
            | Self::Aggregate { input, .. }
            | Self::Window { input, .. } => vec![input],
            Self::Join { left, right, .. } | Self::Match { left, right, .. } => vec![left, right],
            Self::Union { inputs } => inputs.iter().collect(),
        }
    }
}
