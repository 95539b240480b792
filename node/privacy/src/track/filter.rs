//! A filter keeps the patient. Sound because whether a row stays is a total function of that row;
//! tests of subqueries are matches with another relation.

use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{Expr, Filter, Operator};

use crate::model::Model;
use crate::multiplicity::Multiplicity;
use crate::refusal::Rule;
use crate::relation::{Field, Node, Owner, Relation};
use crate::scalar::Scalar;

use super::{relation, scope, settled, subquery};

pub(super) fn filter(filter: &Filter, model: &Model) -> Result<Relation, Rule> {
    let input = relation(&filter.input, model)?;
    let conjuncts = split_conjunction(&filter.predicate);
    rows_where(input, filter.input.schema(), &conjuncts, model)
}

/// The rows for which all conjuncts are true.
pub(super) fn rows_where(
    input: Relation,
    schema: &DFSchema,
    conjuncts: &[&Expr],
    model: &Model,
) -> Result<Relation, Rule> {
    let (tests, values): (Vec<&Expr>, Vec<&Expr>) =
        conjuncts.iter().partition(|e| subquery::is_in(e));
    let rows = match conjunction(values.into_iter().cloned()) {
        None => input,
        Some(predicate) => {
            let predicate = scope(schema, &input).scalar(&predicate)?;
            keep(input, predicate)
        }
    };
    tests.into_iter().try_fold(rows, |rows, test| {
        subquery::rows_where(rows, schema, test, model)
    })
}

/// A filter keeps everything that is known of the rows, and what it compares with constants may
/// bound how many a patient has.
pub(super) fn keep(input: Relation, predicate: Scalar) -> Relation {
    let owner = match &input.owner {
        Owner::Public => Owner::Public,
        Owner::Patient {
            column,
            multiplicity,
        } => Owner::Patient {
            column: *column,
            multiplicity: restricted(multiplicity.clone(), &predicate, &input.fields),
        },
    };
    settled(Relation {
        fields: input.fields.clone(),
        owner,
        node: Node::Filter {
            input: Box::new(input),
            predicate,
        },
    })
}

fn restricted(known: Multiplicity, predicate: &Scalar, fields: &[Field]) -> Multiplicity {
    let mut multiplicity = known;
    let mut rest = vec![predicate];
    while let Some(scalar) = rest.pop() {
        match scalar {
            Scalar::Binary {
                operator: Operator::And,
                left,
                right,
            } => rest.extend([&**left, &**right]),
            other => {
                if let Some((column, values)) = values(other, fields) {
                    multiplicity = multiplicity.restricted(column, values);
                }
            }
        }
    }
    multiplicity
}

/// A column that has one of so many values where the predicate is true.
fn values(predicate: &Scalar, fields: &[Field]) -> Option<(usize, u64)> {
    let Scalar::Binary {
        operator,
        left,
        right,
    } = predicate
    else {
        return None;
    };
    let Scalar::Column(column) = &**left else {
        return None;
    };
    let field = &fields[*column];
    let from_one = |last: i64| {
        // An outer join keeps a row where there is none.
        let count = u64::try_from(last).unwrap_or(0).max(1);
        field.ordinal.then_some((*column, count))
    };
    match (operator, &**right) {
        // Zeros of either sign are equal, and two values.
        (Operator::Eq, Scalar::Literal(_) | Scalar::Parameter(_)) => {
            (field.data_type != DataType::Float64).then_some((*column, 1))
        }
        (Operator::LtEq, Scalar::Literal(ScalarValue::Int64(Some(last)))) => from_one(*last),
        (Operator::Lt, Scalar::Literal(ScalarValue::Int64(Some(end)))) => {
            from_one(end.saturating_sub(1))
        }
        _ => None,
    }
}
