//! An aggregate inside a statement groups by the patient, so each of its rows is a function of the rows of one patient, in any order.

use arrow::datatypes::DataType;
use datafusion::logical_expr::Aggregate;

use crate::model::Model;
use crate::multiplicity::Multiplicity;
use crate::refusal::Rule;
use crate::relation::{Field, Node, Owner, Relation};
use crate::scalar::Scalar;

use super::fold::{Call, mixed};
use super::{project, relation, scope, settled};

pub(super) fn aggregate(aggregate: &Aggregate, model: &Model) -> Result<Relation, Rule> {
    let input = relation(&aggregate.input, model)?;
    let scope = scope(aggregate.input.schema(), &input);
    let group = aggregate.group_expr.iter();
    let group = group.map(|expr| match scope.bare_column(expr) {
        Some(index) => Ok(Scalar::Column(index)),
        None => scope.scalar(expr),
    });
    let group = group.collect::<Result<Vec<_>, _>>()?;
    let folds = aggregate.aggr_expr.iter();
    let folds = folds.map(|expr| Call::of(expr)?.fold(&scope));
    let folds = folds.collect::<Result<Vec<_>, _>>()?;
    let names = aggregate.schema.fields().iter();
    let columns = group.iter().zip(names.clone()).map(|(scalar, field)| {
        let computed = Field::computed(field.name(), field.data_type().clone());
        project::column(&input, scalar, computed)
    });
    let folded = folds.iter().zip(names.skip(group.len()));
    let folded = folded.map(|(fold, field)| Field::computed(field.name(), fold.result()));
    let fields = columns.chain(folded).collect();
    grouped(input, group, |input, group| Relation {
        owner: Owner::Public,
        fields,
        node: Node::Aggregate {
            input: Box::new(input),
            group,
            folds,
        },
    })
    .ok_or_else(|| mixed(&describe(aggregate), "GROUP BY"))
}

/// The relation with its owner: one row for each combination of the group, which has the patient.
pub(super) fn grouped(
    input: Relation,
    group: Vec<Scalar>,
    of: impl FnOnce(Relation, Vec<Scalar>) -> Relation,
) -> Option<Relation> {
    let owner = match &input.owner {
        Owner::Public => Owner::Public,
        Owner::Patient { multiplicity, .. } => {
            let of_row = |(_, scalar): &(usize, &Scalar)| !input.is_of_patient(scalar);
            let key = group.iter().enumerate().filter(of_row).map(|(i, _)| i);
            // Doubles are made canonical, which makes equal what was not.
            let position = |column: usize| {
                let same = |s: &Scalar| matches!(s, Scalar::Column(c) if *c == column);
                let kept = input.fields[column].data_type != DataType::Float64;
                group.iter().position(same).filter(|_| kept)
            };
            Owner::Patient {
                column: project::patient(&input, &group)?,
                multiplicity: Multiplicity::one_per(key).and(multiplicity.moved(position)),
            }
        }
    };
    let mut relation = of(input, group);
    relation.owner = owner;
    Some(settled(relation))
}

fn describe(aggregate: &Aggregate) -> String {
    let list = |exprs: &[datafusion::logical_expr::Expr]| {
        let exprs: Vec<_> = exprs.iter().map(ToString::to_string).collect();
        exprs.join(", ")
    };
    match aggregate.group_expr.as_slice() {
        [] => list(&aggregate.aggr_expr),
        group => format!("{} GROUP BY {}", list(&aggregate.aggr_expr), list(group)),
    }
}
