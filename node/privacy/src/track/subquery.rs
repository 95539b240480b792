//! EXISTS, NOT EXISTS and IN in WHERE are matches with the subquery's rows. They are translated here,
//! by their definition, so that no rule that decorrelates has to be trusted to keep the meaning.
//!
//! NOT IN is refused: one NULL among the selected rows would leave no row of anybody. So is a
//! reference to the outer row from below an aggregate: the fold of no rows is a row.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field as ArrowField};
use datafusion::common::tree_node::{Transformed, TreeNode as _, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, DataFusionError, Result as PlanResult, TableReference};
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Distinct, Expr, LogicalPlan, Operator};

use crate::model::Model;
use crate::parse::shorten;
use crate::refusal::Rule;
use crate::relation::{Conditions, MatchKind, Relation};
use crate::scalar::{Scalar, Scope, unsupported};

use super::{filter, matching, project, relation, scope};

/// Whether an expression tests a subquery.
pub(super) fn is_in(expr: &Expr) -> bool {
    let test = |e: &Expr| {
        Ok(matches!(
            e,
            Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_)
        ))
    };
    // The closure doesn't fail.
    expr.exists(test).unwrap_or(true)
}

/// The rows for which a test of subqueries is true.
pub(super) fn rows_where(
    input: Relation,
    schema: &DFSchema,
    test: &Expr,
    model: &Model,
) -> Result<Relation, Rule> {
    if let Some((test, negated)) = Test::of(test)? {
        let kind = if negated {
            MatchKind::Anti
        } else {
            MatchKind::Semi
        };
        return test.matching(input, schema, kind, model);
    }
    let width = input.fields.len();
    let mut marking = Marking {
        rows: input,
        schema,
        marks: Vec::new(),
        model,
    };
    let predicate = marking.mark(test)?;
    let marked = marking.rows;
    let schema = with_marks(schema, &marking.marks)?;
    let predicate = scope(&schema, &marked).scalar(&predicate)?;
    let rows = filter::keep(marked, predicate);
    let (columns, fields) = (
        (0..width).map(Scalar::Column),
        rows.fields[..width].to_vec(),
    );
    project::select(rows, columns.collect(), fields)
        .ok_or_else(|| Rule::Unplannable("a patient among the marks".into()))
}

/// A subquery, and for IN the value that is looked for.
struct Test<'a> {
    whole: &'a Expr,
    operand: Option<&'a Expr>,
    subquery: &'a LogicalPlan,
}

impl<'a> Test<'a> {
    /// A test that stands alone, and whether it is negated.
    fn of(expr: &'a Expr) -> Result<Option<(Self, bool)>, Rule> {
        match expr {
            Expr::Exists(exists) => Ok(Some(Self::exists(expr, exists))),
            Expr::InSubquery(within) if !within.negated => {
                Ok(Some((Self::within(expr, within), false)))
            }
            Expr::InSubquery(_) => Err(not_in(expr)),
            Expr::Not(inner) => match inner.as_ref() {
                Expr::Exists(exists) => {
                    let (test, negated) = Self::exists(expr, exists);
                    Ok(Some((test, !negated)))
                }
                Expr::InSubquery(_) => Err(not_in(expr)),
                _ => Ok(None),
            },
            _ => Ok(None),
        }
    }

    fn exists(whole: &'a Expr, exists: &'a Exists) -> (Self, bool) {
        let test = Self {
            whole,
            operand: None,
            subquery: &exists.subquery.subquery,
        };
        (test, exists.negated)
    }

    fn within(whole: &'a Expr, within: &'a InSubquery) -> Self {
        Self {
            whole,
            operand: Some(&within.expr),
            subquery: &within.subquery.subquery,
        }
    }

    fn matching(
        &self,
        left: Relation,
        left_schema: &DFSchema,
        kind: MatchKind,
        model: &Model,
    ) -> Result<Relation, Rule> {
        let body = Body::of(self.subquery);
        self.refuse_outer(body.core)?;
        let (outer, inner): (Vec<&Expr>, Vec<&Expr>) =
            body.conjuncts.iter().partition(|e| e.contains_outer());
        let right = relation(body.core, model)?;
        let right = filter::rows_where(right, body.core.schema(), &inner, model)?;
        let conditions = self.conditions(&body, &outer)?;
        let fields: Vec<_> = left.fields.iter().chain(&right.fields).cloned().collect();
        let schema = left_schema.join(&inner_schema(body.core.schema())?);
        let scope = Scope {
            schema: &schema.map_err(unplannable)?,
            fields: &fields,
        };
        let conditions = Conditions::of(conditions, &scope, left.fields.len())?;
        matching::matching(left, right, kind, conditions, || fragment(self.whole))
    }

    fn refuse_outer(&self, core: &LogicalPlan) -> Result<(), Rule> {
        let refers = core.exists(|plan| Ok(plan.contains_outer_reference()));
        let limited = matches!(core, LogicalPlan::Limit(_));
        // The closure doesn't fail.
        if !limited && refers.unwrap_or(true) {
            return Err(Rule::Unsupported {
                what: "a reference to the outer row from deep inside a subquery",
                fragment: fragment(self.whole),
                remedy: "Refer to it in the WHERE of the subquery itself; for aggregates, JOIN a subquery that has GROUP BY person_id",
            });
        }
        Ok(())
    }

    /// What must hold of the outer row and a row of the subquery.
    fn conditions(&self, body: &Body<'_>, outer: &[&Expr]) -> Result<Vec<Expr>, Rule> {
        let core = body.core.schema();
        let mut conditions = Vec::new();
        for condition in outer {
            conditions.push(inner_names((*condition).clone(), core).map_err(unplannable)?);
        }
        if let Some(operand) = self.operand {
            let output = match body.output {
                Some(output) => output.clone(),
                None => Expr::Column(Column::from(core.qualified_field(0))),
            };
            let output = inner_names(output, core).map_err(unplannable)?;
            let (left, right) = (Box::new(operand.clone()), Box::new(output));
            conditions.push(Expr::BinaryExpr(BinaryExpr::new(left, Operator::Eq, right)));
        }
        Ok(conditions)
    }
}

/// A subquery taken apart: what it selects first, its conditions, and what they are over.
struct Body<'a> {
    output: Option<&'a Expr>,
    conjuncts: Vec<&'a Expr>,
    core: &'a LogicalPlan,
}

impl<'a> Body<'a> {
    /// Which rows there are, and how often, is all that matters to a test; so what is selected is
    /// not computed but where it is looked for.
    fn of(subquery: &'a LogicalPlan) -> Self {
        let mut core = subquery;
        if let LogicalPlan::Distinct(Distinct::All(input)) = core {
            core = input;
        }
        let mut output = None;
        if let LogicalPlan::Projection(projection) = core {
            output = projection.expr.first();
            core = &projection.input;
        }
        let mut conjuncts = Vec::new();
        while let LogicalPlan::Filter(filter) = core {
            conjuncts.extend(split_conjunction(&filter.predicate));
            core = &filter.input;
        }
        Self {
            output,
            conjuncts,
            core,
        }
    }
}

/// Replaces tests by columns that say how they came out.
struct Marking<'a> {
    rows: Relation,
    schema: &'a DFSchema,
    marks: Vec<Column>,
    model: &'a Model,
}

impl Marking<'_> {
    /// Under AND and OR alone a test that is NULL may count as false, as a mark has it.
    fn mark(&mut self, expr: &Expr) -> Result<Expr, Rule> {
        if let Expr::BinaryExpr(BinaryExpr {
            left,
            op: op @ (Operator::And | Operator::Or),
            right,
        }) = expr
        {
            let (left, right) = (self.mark(left)?, self.mark(right)?);
            return Ok(Expr::BinaryExpr(BinaryExpr::new(
                Box::new(left),
                *op,
                Box::new(right),
            )));
        }
        match Test::of(expr)? {
            Some((test, negated)) => self.column(&test, negated),
            None if is_in(expr) => Err(unsupported(
                "a subquery in an expression",
                expr,
                "In WHERE, combine EXISTS, NOT EXISTS and IN (SELECT …) with AND and OR alone",
            )),
            None => Ok(expr.clone()),
        }
    }

    fn column(&mut self, test: &Test<'_>, negated: bool) -> Result<Expr, Rule> {
        let rows = self.rows.clone();
        let schema = with_marks(self.schema, &self.marks)?;
        self.rows = test.matching(rows, &schema, MatchKind::Mark, self.model)?;
        let name = format!("test {}", self.marks.len() + 1);
        let mark = Column::new(Some(TableReference::bare("subquery")), name);
        self.marks.push(mark.clone());
        let mark = Expr::Column(mark);
        Ok(if negated { !mark } else { mark })
    }
}

fn with_marks(schema: &DFSchema, marks: &[Column]) -> Result<DFSchema, Rule> {
    let field = |mark: &Column| {
        let field = Arc::new(ArrowField::new(&mark.name, DataType::Boolean, false));
        (mark.relation.clone(), field)
    };
    let marks = marks.iter().map(field).collect();
    let marks = DFSchema::new_with_metadata(marks, Default::default());
    let both = marks.and_then(|marks| schema.join(&marks));
    both.map_err(unplannable)
}

/// The subquery's columns under names that the outer relation's don't have.
fn inner_schema(schema: &DFSchema) -> Result<DFSchema, Rule> {
    let named = schema
        .iter()
        .map(|(relation, field)| (Some(inner_name(relation)), Arc::clone(field)));
    DFSchema::new_with_metadata(named.collect(), Default::default()).map_err(unplannable)
}

fn inner_name(relation: Option<&TableReference>) -> TableReference {
    TableReference::bare(match relation {
        Some(relation) => format!("subquery {relation}"),
        None => "subquery".to_owned(),
    })
}

/// The expression over both rows' columns.
fn inner_names(expr: Expr, schema: &DFSchema) -> PlanResult<Expr> {
    let renamed = expr.transform_up(|e| match e {
        Expr::OuterReferenceColumn(_, column) => Ok(Transformed::yes(Expr::Column(column))),
        Expr::Column(column) => {
            let (relation, field) = schema.qualified_field_from_column(&column)?;
            let name = Column::new(Some(inner_name(relation)), field.name());
            Ok(Transformed::yes(Expr::Column(name)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(renamed.data)
}

fn not_in(expr: &Expr) -> Rule {
    Rule::Unsupported {
        what: "NOT IN (SELECT …)",
        fragment: fragment(expr),
        remedy: "One NULL among the selected rows would leave no row at all. Write NOT EXISTS (SELECT 1 FROM … WHERE person_id = outer.person_id AND …)",
    }
}

/// The test, with the tables that it looks into.
fn fragment(expr: &Expr) -> String {
    let mut tables = Vec::new();
    let looked = expr.apply(|e| {
        if let Expr::Exists(Exists { subquery, .. })
        | Expr::InSubquery(InSubquery { subquery, .. }) = e
        {
            subquery.subquery.apply(|plan| {
                if let LogicalPlan::TableScan(scan) = plan {
                    tables.push(scan.table_name.to_string());
                }
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        Ok(TreeNodeRecursion::Continue)
    });
    let within = match looked {
        Ok(_) => format!("SELECT … FROM {}", tables.join(", ")),
        Err(_) => "SELECT …".to_owned(),
    };
    shorten(&expr.to_string().replace("<subquery>", &within))
}

#[allow(clippy::needless_pass_by_value)] // it is an argument of map_err
fn unplannable(error: DataFusionError) -> Rule {
    Rule::Unplannable(error.strip_backtrace())
}
