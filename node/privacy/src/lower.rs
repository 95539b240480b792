//! Rebuilds a DataFusion plan from a [`Query`]. Only plans rebuilt here run, under the optimizer
//! rules listed in [`crate::run()`].

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::{Column, JoinType, Result, ScalarValue, plan_datafusion_err, plan_err};
use datafusion::logical_expr::expr::{InList, ScalarFunction};
use datafusion::logical_expr::{
    Between, BinaryExpr, Case, Expr, LogicalPlan, LogicalPlanBuilder, Operator, TableSource,
    TryCast, lit,
};
use ward_schemas::cdm;
use ward_schemas::parameter::{Parameters, Value};

use crate::measure::{Input, InputKind, Query};
use crate::relation::{JoinKind, Node, Relation};
use crate::scalar::Scalar;

/// The rows of a query as a plan whose columns are: the patient, the keys, the inputs but for those
/// that count every row. An input that is presence is Boolean; one that is a value is its number,
/// NULL where it doesn't count.
///
/// # Errors
/// When a table is missing.
pub(crate) fn rows(
    query: &Query,
    parameters: &Parameters,
    tables: &HashMap<&'static str, Arc<dyn TableSource>>,
) -> Result<LogicalPlan> {
    let mut lowering = Lowering {
        parameters,
        tables,
        names: 0,
    };
    let input = lowering.relation(&query.relation)?;
    let mut columns = vec![input.column(query.patient)?];
    for key in &query.keys {
        columns.push(lowering.scalar(key, &input.columns)?);
    }
    for read in query.inputs.iter().filter(|i| !i.is_every_row()) {
        columns.push(lowering.input(read, &input.columns)?);
    }
    let named = columns
        .into_iter()
        .enumerate()
        .map(|(i, e)| e.alias(format!("out{i}")));
    input.plan.project(named)?.build()
}

/// The tables of the model that a query reads.
pub(crate) fn tables_of(relation: &Relation, found: &mut Vec<&'static cdm::Table>) {
    match &relation.node {
        Node::Scan { table } => found.push(table),
        Node::Filter { input, .. } | Node::Project { input, .. } => tables_of(input, found),
        Node::Join { left, right, .. } => {
            tables_of(left, found);
            tables_of(right, found);
        }
    }
}

struct Lowering<'a> {
    parameters: &'a Parameters,
    tables: &'a HashMap<&'static str, Arc<dyn TableSource>>,
    names: usize,
}

/// A plan with columns of unique, unqualified names.
struct Lowered {
    plan: LogicalPlanBuilder,
    columns: Vec<Column>,
}

impl Lowered {
    fn column(&self, index: usize) -> Result<Expr> {
        column(&self.columns, index)
    }
}

fn column(columns: &[Column], index: usize) -> Result<Expr> {
    let column = columns.get(index).cloned();
    column
        .map(Expr::Column)
        .ok_or_else(|| plan_datafusion_err!("column {index} of {}", columns.len()))
}

impl Lowering<'_> {
    fn fresh(&mut self) -> String {
        self.names += 1;
        format!("c{}", self.names)
    }

    fn relation(&mut self, relation: &Relation) -> Result<Lowered> {
        match &relation.node {
            Node::Scan { table } => self.scan(table),
            Node::Filter { input, predicate } => {
                let input = self.relation(input)?;
                let predicate = self.scalar(predicate, &input.columns)?;
                Ok(Lowered {
                    plan: input.plan.filter(predicate)?,
                    columns: input.columns,
                })
            }
            Node::Project { input, expressions } => {
                let input = self.relation(input)?;
                let expressions = expressions.iter().map(|e| self.scalar(e, &input.columns));
                let expressions = expressions.collect::<Result<Vec<_>>>()?;
                self.project(input.plan, expressions)
            }
            Node::Join {
                left,
                right,
                kind,
                on,
                filter,
            } => self.join(left, right, *kind, on, filter.as_ref()),
        }
    }

    fn scan(&mut self, table: &cdm::Table) -> Result<Lowered> {
        let Some(source) = self.tables.get(table.name) else {
            return plan_err!("no table {}", table.name);
        };
        let name = self.fresh();
        let plan = LogicalPlanBuilder::scan(name.as_str(), Arc::clone(source), None)?;
        let columns = table.columns.iter();
        let columns = columns.map(|c| Expr::Column(Column::new(Some(name.as_str()), c.name)));
        self.project(plan, columns.collect())
    }

    fn project(&mut self, plan: LogicalPlanBuilder, expressions: Vec<Expr>) -> Result<Lowered> {
        let names: Vec<_> = expressions.iter().map(|_| self.fresh()).collect();
        let named = expressions.into_iter().zip(&names).map(|(e, n)| e.alias(n));
        Ok(Lowered {
            plan: plan.project(named)?,
            columns: names.into_iter().map(Column::new_unqualified).collect(),
        })
    }

    /// The side with at most one row a match comes first: DataFusion holds the first side in
    /// memory, and passes the rows of the second through in their order.
    fn join(
        &mut self,
        left: &Relation,
        right: &Relation,
        kind: JoinKind,
        on: &[(usize, usize)],
        filter: Option<&Scalar>,
    ) -> Result<Lowered> {
        let right_columns: Vec<_> = on.iter().map(|(_, r)| *r).collect();
        let swapped = right.is_one_given(&right_columns);
        let (left, right) = (self.relation(left)?, self.relation(right)?);
        let keys = on
            .iter()
            .map(|(l, r)| (left.columns[*l].clone(), right.columns[*r].clone()));
        let keys: (Vec<_>, Vec<_>) = keys.unzip();
        let columns: Vec<_> = left.columns.iter().chain(&right.columns).cloned().collect();
        let filter = filter.map(|f| self.scalar(f, &columns)).transpose()?;
        let plan = match (kind, swapped) {
            (JoinKind::Inner, false) => {
                left.plan
                    .join(right.plan.build()?, JoinType::Inner, keys, filter)
            }
            (JoinKind::Left, false) => {
                left.plan
                    .join(right.plan.build()?, JoinType::Left, keys, filter)
            }
            (kind, true) => {
                let kind = match kind {
                    JoinKind::Inner => JoinType::Inner,
                    JoinKind::Left => JoinType::Right,
                };
                right
                    .plan
                    .join(left.plan.build()?, kind, (keys.1, keys.0), filter)
            }
        };
        Ok(Lowered {
            plan: plan?,
            columns,
        })
    }

    fn input(&self, input: &Input, columns: &[Column]) -> Result<Expr> {
        let filter = input
            .filter
            .as_ref()
            .map(|f| self.scalar(f, columns))
            .transpose()?;
        match &input.kind {
            InputKind::Presence(None) => Ok(filter.unwrap_or_else(|| lit(true))),
            InputKind::Presence(Some(scalar)) => {
                let present = self.scalar(scalar, columns)?.is_not_null();
                Ok(match filter {
                    None => present,
                    Some(filter) => filter.and(present),
                })
            }
            InputKind::Value { scalar, .. } => {
                let value = self.scalar(scalar, columns)?;
                Ok(match filter {
                    None => value,
                    Some(filter) => case(None, vec![(filter, value)], None),
                })
            }
        }
    }

    fn scalar(&self, scalar: &Scalar, columns: &[Column]) -> Result<Expr> {
        let lower = |s: &Scalar| self.scalar(s, columns);
        Ok(match scalar {
            Scalar::Column(index) => column(columns, *index)?,
            Scalar::Literal(value) => lit(value.clone()),
            Scalar::Parameter(name) => match self.parameters.get(name) {
                Some(value) => lit(parameter(value)),
                None => return plan_err!("no parameter {name}"),
            },
            Scalar::Binary {
                operator,
                left,
                right,
            } => binary(lower(left)?, *operator, lower(right)?),
            Scalar::Not(e) => Expr::Not(Box::new(lower(e)?)),
            Scalar::IsNull(e) => lower(e)?.is_null(),
            Scalar::IsNotNull(e) => lower(e)?.is_not_null(),
            Scalar::InList {
                operand,
                list,
                negated,
            } => Expr::InList(InList::new(
                Box::new(lower(operand)?),
                list.iter().map(lower).collect::<Result<_>>()?,
                *negated,
            )),
            Scalar::Between {
                operand,
                low,
                high,
                negated,
            } => Expr::Between(Between::new(
                Box::new(lower(operand)?),
                *negated,
                Box::new(lower(low)?),
                Box::new(lower(high)?),
            )),
            Scalar::Case {
                base,
                arms,
                otherwise,
            } => {
                let arms = arms.iter().map(|(w, t)| Ok((lower(w)?, lower(t)?)));
                let arms = arms.collect::<Result<Vec<_>>>()?;
                let optional = |e: &Option<Box<Scalar>>| e.as_ref().map(|e| lower(e)).transpose();
                case(optional(base)?, arms, optional(otherwise)?)
            }
            Scalar::TryCast { operand, to } => {
                Expr::TryCast(TryCast::new(Box::new(lower(operand)?), to.clone()))
            }
            Scalar::Call {
                function,
                arguments,
            } => Expr::ScalarFunction(ScalarFunction::new_udf(
                Arc::clone(function),
                arguments.iter().map(lower).collect::<Result<_>>()?,
            )),
        })
    }
}

fn binary(left: Expr, operator: Operator, right: Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr::new(Box::new(left), operator, Box::new(right)))
}

fn case(base: Option<Expr>, arms: Vec<(Expr, Expr)>, otherwise: Option<Expr>) -> Expr {
    let boxed = |(when, then)| (Box::new(when), Box::new(then));
    Expr::Case(Case::new(
        base.map(Box::new),
        arms.into_iter().map(boxed).collect(),
        otherwise.map(Box::new),
    ))
}

fn parameter(value: &Value) -> ScalarValue {
    use arrow::datatypes::Date32Type;
    match value {
        Value::Date(date) => ScalarValue::Date32(Some(Date32Type::from_naive_date(*date))),
        Value::Integer(i) => ScalarValue::Int64(Some(*i)),
        Value::Text(t) => ScalarValue::Utf8(Some(t.clone())),
    }
}
