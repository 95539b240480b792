//! Rebuilds a DataFusion plan from a [`Query`]. Only plans rebuilt here run, under the optimizer
//! rules listed in [`crate::run()`].

mod aggregate;
mod canonical;
mod join;
mod scalar;
mod union;
mod window;

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::{Column, Result, plan_datafusion_err, plan_err};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, TableSource, TryCast, lit};
use scalar::case;
use ward_schemas::parameter::Parameters;

use crate::measure::{Input, InputKind, Query};
use crate::model::Table;
use crate::relation::{Field, Node, Relation, Role};

/// The rows of a query as a plan whose columns are: the patient, the keys, the inputs but for those
/// that count every row, the key that comes from data if there is one. An input that is presence is Boolean; one that is a value is its number,
/// NULL where it doesn't count.
///
/// # Errors
/// When a table is missing.
pub(crate) fn rows(
    query: &Query,
    parameters: &Parameters,
    tables: &HashMap<String, Arc<dyn TableSource>>,
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
    if let Some(key) = &query.data_key {
        columns.push(lowering.scalar(key, &input.columns)?);
    }
    let named = columns
        .into_iter()
        .enumerate()
        .map(|(i, e)| e.alias(format!("out{i}")));
    input.plan.project(named)?.build()
}

/// The tables of the model that a query reads.
pub(crate) fn tables_of<'a>(relation: &'a Relation, found: &mut Vec<&'a Table>) {
    if let Node::Scan { table } = &relation.node {
        found.push(table);
    }
    for input in relation.node.inputs() {
        tables_of(input, found);
    }
}

struct Lowering<'a> {
    parameters: &'a Parameters,
    tables: &'a HashMap<String, Arc<dyn TableSource>>,
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
                conditions,
            } => self.join(left, right, *kind, conditions),
            Node::Match {
                left,
                right,
                kind,
                conditions,
            } => self.matching(left, right, *kind, conditions),
            Node::Union { inputs } => self.union(inputs),
            Node::Aggregate {
                input,
                group,
                folds,
            } => self.aggregate(input, group, folds),
            Node::Window {
                input,
                windows,
                ties,
            } => self.window(input, windows, ties),
        }
    }

    fn scan(&mut self, table: &Table) -> Result<Lowered> {
        let Some(source) = self.tables.get(&table.name) else {
            return plan_err!("no table {}", table.name);
        };
        let name = self.fresh();
        let served = |field: &Field| Expr::Column(Column::new(Some(name.as_str()), &field.name));
        let mut plan = LogicalPlanBuilder::scan(table.name.as_str(), Arc::clone(source), None)?
            .alias(name.as_str())?;
        let patient = table.fields.iter().find(|f| f.role == Role::Patient);
        let mut columns = Vec::new();
        for field in &table.fields {
            let found = table.served.field_with_name(&field.name)?;
            columns.push(if *found.data_type() == field.data_type {
                served(field)
            } else {
                Expr::TryCast(TryCast::new(
                    Box::new(served(field)),
                    field.data_type.clone(),
                ))
            });
            if found.is_nullable() && patient == Some(field) {
                plan = plan.filter(served(field).is_not_null())?;
            }
        }
        self.project(plan, columns)
    }

    fn project(&mut self, plan: LogicalPlanBuilder, expressions: Vec<Expr>) -> Result<Lowered> {
        let names: Vec<_> = expressions.iter().map(|_| self.fresh()).collect();
        let named = expressions.into_iter().zip(&names).map(|(e, n)| e.alias(n));
        Ok(Lowered {
            plan: plan.project(named)?,
            columns: names.into_iter().map(Column::new_unqualified).collect(),
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
            InputKind::Value { scalar, .. } | InputKind::Square { scalar, .. } => {
                let value = self.scalar(scalar, columns)?;
                Ok(match filter {
                    None => value,
                    Some(filter) => case(None, vec![(filter, value)], None),
                })
            }
        }
    }
}

fn column(columns: &[Column], index: usize) -> Result<Expr> {
    let column = columns.get(index).cloned();
    column
        .map(Expr::Column)
        .ok_or_else(|| plan_datafusion_err!("column {index} of {}", columns.len()))
}
