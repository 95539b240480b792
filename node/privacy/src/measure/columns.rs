//! Output columns: keys, and expressions over aggregates.

use arrow::datatypes::DataType;
use datafusion::common::{DFSchemaRef, ScalarValue};
use datafusion::logical_expr::{Aggregate, BinaryExpr, Expr as SqlExpr, Operator, Projection};
use ward_schemas::decimal::Decimal;
use ward_schemas::finish::Expr;
use ward_schemas::names::Ident;
use ward_schemas::plan::{Column, ColumnContent};
use ward_schemas::template::TableSpec;

use super::aggregates::is_variance;
use super::parts::{Part, Parts};
use super::quantile;
use crate::parse::shorten;
use crate::refusal::Rule;
use crate::relation::Relation;
use crate::scalar::{Scope, unsupported};
use crate::track;

/// Turns the outermost aggregate into components.
pub(super) struct Compiler<'a> {
    pub(super) spec: &'a TableSpec,
    pub(super) scope: Scope<'a>,
    /// Column of the patient.
    pub(super) patient: usize,
    pub(super) aggregate: &'a Aggregate,
    pub(super) parts: Parts,
    /// What the current column is made of, by aggregate.
    pub(super) made_of: Vec<(usize, Vec<Part>)>,
    pub(super) used_bounds: Vec<Ident>,
}

impl<'a> Compiler<'a> {
    pub(super) fn new(
        spec: &'a TableSpec,
        aggregate: &'a Aggregate,
        relation: &'a Relation,
        patient: usize,
    ) -> Self {
        Self {
            spec,
            scope: track::scope(aggregate.input.schema(), relation),
            patient,
            aggregate,
            parts: Parts::new(spec.contribution.max_rows_per_group),
            made_of: Vec::new(),
            used_bounds: Vec::new(),
        }
    }

    pub(super) fn into_parts(self) -> Parts {
        self.parts
    }

    pub(super) fn columns(&mut self, projection: &Projection) -> Result<Vec<Column>, Rule> {
        let mut columns: Vec<Column> = Vec::new();
        for (expr, field) in projection.expr.iter().zip(projection.schema.fields()) {
            let name: Ident = field
                .name()
                .parse()
                .map_err(|_| Rule::Unnamed(shorten(field.name())))?;
            if columns.iter().any(|c| c.name == name) {
                return Err(Rule::ColumnTwice(name.to_string()));
            }
            let content = self.content(expr, &name)?;
            columns.push(Column {
                unit: self.unit(expr, &name),
                name,
                content,
            });
        }
        if self.parts.is_empty() {
            return Err(Rule::NoMeasure);
        }
        Ok(columns)
    }

    fn content(&mut self, expr: &SqlExpr, name: &Ident) -> Result<ColumnContent, Rule> {
        match self.output(expr) {
            Some(index) if index < self.aggregate.group_expr.len() => {
                Ok(ColumnContent::Key { index })
            }
            _ => {
                let finish = self.finish(expr, name)?;
                if !quantile::stands_alone(&finish) {
                    return Err(unsupported(
                        "a quantile combined with other measures",
                        expr,
                        "Select it by itself, and combine the columns of the release",
                    ));
                }
                let weight = self.spec.weights.get(name).copied().unwrap_or(1);
                self.parts.weigh(weight, std::mem::take(&mut self.made_of));
                Ok(ColumnContent::Measure { expr: finish })
            }
        }
    }

    fn unit(&self, expr: &SqlExpr, name: &Ident) -> String {
        let unit = self.spec.bounds.get(name).map_or("", |b| b.unit.as_str());
        let aggregate = self.output(expr);
        let aggregate = aggregate.and_then(|i| i.checked_sub(self.aggregate.group_expr.len()));
        let aggregate = aggregate.and_then(|i| self.aggregate.aggr_expr.get(i));
        if !unit.is_empty() && aggregate.is_some_and(is_variance) {
            return format!("({unit})²");
        }
        unit.to_owned()
    }

    /// The aggregate's output that an expression names: group keys first, then aggregates.
    fn output(&self, expr: &SqlExpr) -> Option<usize> {
        match expr {
            SqlExpr::Alias(alias) => self.output(&alias.expr),
            SqlExpr::Column(column) => self.schema().maybe_index_of_column(column),
            _ => None,
        }
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.aggregate.schema
    }

    /// The expression over components that a column's expression over aggregates stands for.
    fn finish(&mut self, expr: &SqlExpr, column: &Ident) -> Result<Expr, Rule> {
        match expr {
            SqlExpr::Alias(alias) => self.finish(&alias.expr, column),
            SqlExpr::Column(_) => match self.output(expr) {
                Some(index) if index >= self.aggregate.group_expr.len() => {
                    self.measure(index - self.aggregate.group_expr.len(), column)
                }
                _ => Err(unsupported(
                    "a group key in arithmetic",
                    expr,
                    "Select the key by itself",
                )),
            },
            SqlExpr::Literal(value, _) => literal(value, expr),
            SqlExpr::Cast(cast) => self.cast(&cast.expr, cast.field.data_type(), column),
            SqlExpr::TryCast(cast) => self.cast(&cast.expr, cast.field.data_type(), column),
            SqlExpr::BinaryExpr(binary) => self.arithmetic(expr, binary, column),
            _ => Err(unsupported(
                "this expression over measures",
                expr,
                "Combine measures and numbers with +, -, * and /",
            )),
        }
    }

    fn arithmetic(&mut self, expr: &SqlExpr, b: &BinaryExpr, column: &Ident) -> Result<Expr, Rule> {
        let left = Box::new(self.finish(&b.left, column)?);
        let right = Box::new(self.finish(&b.right, column)?);
        match b.op {
            Operator::Plus => Ok(Expr::Add { left, right }),
            Operator::Minus => Ok(Expr::Subtract { left, right }),
            Operator::Multiply => Ok(Expr::Multiply { left, right }),
            Operator::Divide => self.quotient(b, left, right),
            _ => Err(unsupported(
                "this operator",
                expr,
                "Combine measures with +, -, * and /",
            )),
        }
    }

    /// Final values are doubles.
    fn cast(&mut self, operand: &SqlExpr, to: &DataType, column: &Ident) -> Result<Expr, Rule> {
        let scope = Scope {
            schema: self.schema(),
            fields: &[],
        };
        if *to == DataType::Float64 || *to == scope.type_of(operand)? {
            return self.finish(operand, column);
        }
        Err(unsupported(
            "a cast of a measure",
            operand,
            "Final values are doubles; cast the release",
        ))
    }

    /// SQL's integer division drops the fraction, which a noisy quotient must not.
    fn quotient(&self, b: &BinaryExpr, left: Box<Expr>, right: Box<Expr>) -> Result<Expr, Rule> {
        let scope = Scope {
            schema: self.schema(),
            fields: &[],
        };
        if scope.type_of(&b.left)? == DataType::Int64 && scope.type_of(&b.right)? == DataType::Int64
        {
            return Err(Rule::Unsupported {
                what: "division of integers",
                fragment: shorten(&b.to_string()),
                remedy: "Write 1.0 * a / b",
            });
        }
        Ok(Expr::Divide { left, right })
    }

    /// Refuses declarations that nothing uses: they are mistakes.
    pub(super) fn check_declarations(&self, columns: &[Column]) -> Result<(), Rule> {
        let is = |name: &Ident, key: bool| {
            columns
                .iter()
                .any(|c| c.name == *name && matches!(c.content, ColumnContent::Key { .. }) == key)
        };
        if let Some(column) = self.spec.keys.keys().find(|name| !is(name, true)) {
            return Err(Rule::KeyUnused {
                column: column.clone(),
            });
        }
        if let Some(column) = self.spec.weights.keys().find(|name| !is(name, false)) {
            return Err(Rule::WeightUnused {
                column: column.clone(),
            });
        }
        let unused = |name: &&Ident| !self.used_bounds.contains(name);
        match self.spec.bounds.keys().find(unused) {
            None => Ok(()),
            Some(column) => Err(Rule::BoundsUnused {
                column: column.clone(),
            }),
        }
    }
}

fn literal(value: &ScalarValue, expr: &SqlExpr) -> Result<Expr, Rule> {
    let value = decimal(value)
        .ok_or_else(|| unsupported("this constant", expr, "Use a decimal of at most 15 digits"))?;
    Ok(Expr::Literal { value })
}

/// A constant as it was written.
pub(super) fn decimal(value: &ScalarValue) -> Option<Decimal> {
    let text = match value {
        ScalarValue::Int64(Some(i)) => i.to_string(),
        ScalarValue::Float64(Some(f)) => f.to_string(),
        _ => return None,
    };
    text.parse().ok()
}
