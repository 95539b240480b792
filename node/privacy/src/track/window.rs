//! A window's partitions are by the patient, so what it adds to a row is a function of the rows of that patient.
//!
//! What depends on the order of rows that the statement leaves equal is settled by all columns that
//! are read, by the windows or by the SELECT around them: rows that are equal in these are the same
//! row to everything above. What treats equal rows alike (ranks, frames of peers) needs no more
//! order than is written.

use std::collections::BTreeSet;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::{Sort, WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::{
    Expr, Window as WindowPlan, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition,
};

use crate::model::Model;
use crate::multiplicity::Multiplicity;
use crate::parse::shorten;
use crate::refusal::Rule;
use crate::relation::{
    Edge, Field, Frame, FrameUnit, Node, Order, Owner, Relation, Window, WindowKind,
};
use crate::scalar::{Scalar, Scope, unsupported};

use super::fold::{Call, constant, mixed};
use super::{relation, scope};

/// The farthest row that a window function looks at.
const FARTHEST: u64 = 10_000;

pub(super) fn window(plan: &WindowPlan, model: &Model) -> Result<Relation, Rule> {
    let input = relation(&plan.input, model)?;
    let scope = scope(plan.input.schema(), &input);
    let mut fields = input.fields.clone();
    let mut owner = input.owner.clone();
    let mut windows = Vec::new();
    for (expr, field) in plan
        .window_expr
        .iter()
        .zip(plan.schema.fields().iter().skip(fields.len()))
    {
        let mut window = Over::of(expr)?.window(&scope)?;
        if let Owner::Patient { multiplicity, .. } = &mut owner {
            let keeps = |s: &Scalar| matches!(s, Scalar::Column(c) if input.is_patient(*c));
            let Some(patient) = window.partition.iter().position(keeps) else {
                return Err(mixed(&expr.to_string(), "PARTITION BY"));
            };
            // In the order in which snapshots are.
            window.partition.swap(0, patient);
            *multiplicity = numbered(multiplicity.clone(), &window, &input, fields.len());
        }
        fields.push(column(&window, &input, field.name()));
        windows.push(window);
    }
    Ok(Relation {
        node: Node::Window {
            ties: (0..input.fields.len()).collect(),
            input: Box::new(input),
            windows,
        },
        fields,
        owner,
    })
}

/// Lets only those columns break ties of a relation's windows that are read, of which these are
/// read above them.
pub(super) fn read_only(relation: &mut Relation, columns: impl IntoIterator<Item = usize>) {
    let Node::Window {
        input,
        windows,
        ties,
    } = &mut relation.node
    else {
        return;
    };
    let within = windows.iter().flat_map(Window::columns);
    let width = input.fields.len();
    let read: BTreeSet<_> = columns
        .into_iter()
        .chain(within)
        .filter(|c| *c < width)
        .collect();
    *ties = read.iter().copied().collect();
    read_only(input, read);
}

fn column(window: &Window, input: &Relation, name: &str) -> Field {
    let data_type = match &window.kind {
        WindowKind::RowNumber | WindowKind::Rank | WindowKind::DenseRank => {
            arrow::datatypes::DataType::Int64
        }
        WindowKind::Shift { default, .. } => default.data_type(),
        WindowKind::First { argument_type, .. } | WindowKind::Last { argument_type, .. } => {
            argument_type.clone()
        }
        WindowKind::Fold { fold, .. } => fold.result(),
    };
    let whole = |frame: &Frame| (frame.start, frame.end) == (Edge::Unbounded, Edge::Unbounded);
    let one_value = matches!(&window.kind, WindowKind::Fold { frame, .. } if whole(frame));
    Field {
        of_patient: one_value && window.partition.iter().all(|s| input.is_of_patient(s)),
        ordinal: matches!(window.kind, WindowKind::RowNumber),
        ..Field::computed(name, data_type)
    }
}

/// Each number is given once in a partition.
fn numbered(known: Multiplicity, window: &Window, input: &Relation, column: usize) -> Multiplicity {
    if !matches!(window.kind, WindowKind::RowNumber) {
        return known;
    }
    let of_row = window.partition.iter().filter(|s| !input.is_of_patient(s));
    let key: Option<Vec<usize>> = of_row
        .map(|scalar| match scalar {
            Scalar::Column(index) => Some(*index),
            _ => None,
        })
        .chain([Some(column)])
        .collect();
    match key {
        Some(key) => known.and_one_per(key),
        None => known,
    }
}

/// A call of a window function.
struct Over<'a> {
    whole: &'a Expr,
    name: &'a str,
    params: &'a WindowFunctionParams,
}

impl<'a> Over<'a> {
    fn of(expr: &'a Expr) -> Result<Self, Rule> {
        match expr {
            Expr::Alias(alias) => Self::of(&alias.expr),
            Expr::WindowFunction(function) => Ok(Self {
                whole: expr,
                name: name(function),
                params: &function.params,
            }),
            _ => Err(unsupported("this window function", expr, WINDOWS)),
        }
    }

    fn window(&self, scope: &Scope<'_>) -> Result<Window, Rule> {
        if self.params.null_treatment.is_some() {
            return Err(unsupported(
                "IGNORE NULLS",
                self.whole,
                "Filter with IS NOT NULL in a subquery",
            ));
        }
        let partition = self.params.partition_by.iter();
        let partition = partition.map(|expr| match scope.bare_column(expr) {
            Some(index) => Ok(Scalar::Column(index)),
            None => scope.scalar(expr),
        });
        let order = self.params.order_by.iter().map(|sort| order(sort, scope));
        Ok(Window {
            kind: self.kind(scope)?,
            partition: partition.collect::<Result<_, _>>()?,
            order: order.collect::<Result<_, _>>()?,
        })
    }

    fn kind(&self, scope: &Scope<'_>) -> Result<WindowKind, Rule> {
        let folds = matches!(self.name, "count" | "sum" | "avg" | "min" | "max");
        if self.params.distinct || (!folds && self.params.filter.is_some()) {
            return Err(unsupported(
                "DISTINCT or FILTER of this window function",
                self.whole,
                WINDOWS,
            ));
        }
        match (self.name, self.params.args.as_slice()) {
            ("row_number", []) => self.ordered(WindowKind::RowNumber),
            ("rank", []) => self.ordered(WindowKind::Rank),
            ("dense_rank", []) => self.ordered(WindowKind::DenseRank),
            ("lag", [argument, rest @ ..]) => self.shift(scope, argument, rest, 1),
            ("lead", [argument, rest @ ..]) => self.shift(scope, argument, rest, -1),
            ("first_value", [argument]) => self.ordered(WindowKind::First {
                argument: scope.scalar(argument)?,
                argument_type: scope.type_of(argument)?,
                frame: self.edge_frame(|frame| frame.start == Edge::Unbounded)?,
            }),
            ("last_value", [argument]) => self.ordered(WindowKind::Last {
                argument: scope.scalar(argument)?,
                argument_type: scope.type_of(argument)?,
                frame: self.edge_frame(|frame| frame.end == Edge::Unbounded)?,
            }),
            (_, arguments) if folds => {
                let call = Call {
                    whole: self.whole,
                    name: self.name,
                    arguments,
                    distinct: false,
                    filter: self.params.filter.as_deref(),
                };
                Ok(WindowKind::Fold {
                    fold: call.fold(scope)?,
                    frame: self.frame()?,
                })
            }
            _ => Err(unsupported("this window function", self.whole, WINDOWS)),
        }
    }

    fn ordered(&self, kind: WindowKind) -> Result<WindowKind, Rule> {
        if self.params.order_by.is_empty() {
            return Err(self.unordered());
        }
        Ok(kind)
    }

    fn unordered(&self) -> Rule {
        unsupported(
            "a window function without an order that it needs",
            self.whole,
            "Write OVER (PARTITION BY person_id ORDER BY …)",
        )
    }

    fn shift(
        &self,
        scope: &Scope<'_>,
        argument: &Expr,
        rest: &[Expr],
        direction: i64,
    ) -> Result<WindowKind, Rule> {
        let data_type = scope.type_of(argument)?;
        let refuse = |what| {
            Err(unsupported(
                what,
                self.whole,
                "Write LAG(x), LAG(x, 2) or LAG(x, 2, default), with constants",
            ))
        };
        let rows = match rest.first().map(constant) {
            None => 1,
            Some(Some(ScalarValue::Int64(Some(rows))))
                if (0..=FARTHEST.cast_signed()).contains(rows) =>
            {
                *rows
            }
            Some(_) => return refuse("this distance"),
        };
        let default = match rest.get(1).map(constant) {
            None => ScalarValue::Null,
            Some(Some(value)) => value.clone(),
            Some(None) => return refuse("this default"),
        };
        let default = if default.is_null() {
            ScalarValue::try_from(&data_type).map_err(|e| Rule::Unplannable(e.strip_backtrace()))?
        } else {
            default
        };
        if default.data_type() != data_type || rest.len() > 2 {
            return refuse("this default");
        }
        self.ordered(WindowKind::Shift {
            argument: scope.scalar(argument)?,
            rows: direction * rows,
            default,
        })
    }

    /// The frame's first or last row, which ties must not decide: a frame of peers that reaches to
    /// that end of the partition has the same row there as one of rows.
    fn edge_frame(&self, reaches: impl Fn(&Frame) -> bool) -> Result<Frame, Rule> {
        let frame = self.frame()?;
        match frame.unit {
            FrameUnit::Rows => Ok(frame),
            FrameUnit::Peers if reaches(&frame) => Ok(Frame {
                unit: FrameUnit::Rows,
                ..frame
            }),
            FrameUnit::Peers => Err(unsupported(
                "a frame that ends among rows that are equal in the order",
                self.whole,
                "Write ROWS BETWEEN … AND …; for the last value of all, AND UNBOUNDED FOLLOWING",
            )),
        }
    }

    fn frame(&self) -> Result<Frame, Rule> {
        let written = &self.params.window_frame;
        let unit = match written.units {
            WindowFrameUnits::Rows => FrameUnit::Rows,
            WindowFrameUnits::Range => FrameUnit::Peers,
            WindowFrameUnits::Groups => return Err(self.frame_refused("GROUPS")),
        };
        let bounds = [&written.start_bound, &written.end_bound];
        if unit == FrameUnit::Peers && bounds.into_iter().any(is_distance) {
            return Err(self.frame_refused("RANGE with a distance"));
        }
        let frame = Frame {
            unit,
            start: self.edge(&written.start_bound)?,
            end: self.edge(&written.end_bound)?,
        };
        let unordered = self.params.order_by.is_empty();
        let whole = Frame {
            start: Edge::Unbounded,
            end: Edge::Unbounded,
            unit: FrameUnit::Rows,
        };
        match unit {
            // Without an order all rows are peers.
            FrameUnit::Peers if unordered => Ok(whole),
            FrameUnit::Rows
                if unordered && (frame.start, frame.end) != (whole.start, whole.end) =>
            {
                Err(self.unordered())
            }
            _ if !is_forward(&frame) => {
                Err(self.frame_refused("a frame that ends before it starts"))
            }
            _ => Ok(frame),
        }
    }

    fn edge(&self, bound: &WindowFrameBound) -> Result<Edge, Rule> {
        let rows = |value: &ScalarValue| match value {
            value if value.is_null() => Ok(None),
            ScalarValue::UInt64(Some(rows)) if *rows <= FARTHEST => Ok(Some(*rows)),
            _ => Err(self.frame_refused("this distance")),
        };
        Ok(match bound {
            WindowFrameBound::CurrentRow => Edge::Current,
            WindowFrameBound::Preceding(value) => {
                rows(value)?.map_or(Edge::Unbounded, Edge::Before)
            }
            WindowFrameBound::Following(value) => rows(value)?.map_or(Edge::Unbounded, Edge::After),
        })
    }

    fn frame_refused(&self, what: &'static str) -> Rule {
        Rule::Unsupported {
            what,
            fragment: shorten(&self.params.window_frame.to_string()),
            remedy: "Write ROWS BETWEEN n PRECEDING AND m FOLLOWING with distances up to 10000, or RANGE between UNBOUNDED and CURRENT ROW",
        }
    }
}

const WINDOWS: &str = "Per patient, use ROW_NUMBER, RANK, DENSE_RANK, LAG, LEAD, FIRST_VALUE, LAST_VALUE, COUNT, SUM, AVG, MIN and MAX";

fn name(function: &WindowFunction) -> &str {
    match &function.fun {
        WindowFunctionDefinition::AggregateUDF(function) => function.name(),
        WindowFunctionDefinition::WindowUDF(function) => function.name(),
    }
}

fn order(sort: &Sort, scope: &Scope<'_>) -> Result<Order, Rule> {
    Ok(Order {
        scalar: scope.scalar(&sort.expr)?,
        ascending: sort.asc,
        nulls_first: sort.nulls_first,
    })
}

/// Whether a frame that counts rows starts where it ends or before.
fn is_forward(frame: &Frame) -> bool {
    let place = |edge, unbounded| match edge {
        Edge::Unbounded => unbounded,
        Edge::Current => 0,
        Edge::Before(rows) => -rows.cast_signed(),
        Edge::After(rows) => rows.cast_signed(),
    };
    place(frame.start, i64::MIN) <= place(frame.end, i64::MAX)
}

fn is_distance(bound: &WindowFrameBound) -> bool {
    match bound {
        WindowFrameBound::CurrentRow => false,
        WindowFrameBound::Preceding(value) | WindowFrameBound::Following(value) => !value.is_null(),
    }
}
