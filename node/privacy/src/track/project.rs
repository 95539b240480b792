//! A projection keeps the patient. Sound because each row of it is a total function of one row.

use datafusion::logical_expr::Projection;

use crate::model::Model;
use crate::parse::shorten;
use crate::refusal::Rule;
use crate::relation::{Field, Node, Owner, Relation};
use crate::scalar::Scalar;

use super::{relation, scope, window};

pub(super) fn project(projection: &Projection, model: &Model) -> Result<Relation, Rule> {
    let mut input = relation(&projection.input, model)?;
    let scope = scope(projection.input.schema(), &input);
    let mut expressions = Vec::new();
    let mut fields = Vec::new();
    for (expr, field) in projection.expr.iter().zip(projection.schema.fields()) {
        let scalar = match scope.bare_column(expr) {
            Some(index) => Scalar::Column(index),
            None => scope.scalar(expr)?,
        };
        fields.push(column(
            &input,
            &scalar,
            Field::computed(field.name(), field.data_type().clone()),
        ));
        expressions.push(scalar);
    }
    window::read_only(&mut input, expressions.iter().flat_map(Scalar::columns));
    select(input, expressions, fields).ok_or_else(|| Rule::PatientLost {
        fragment: describe_columns(projection),
    })
}

/// What is known of a column with this expression.
pub(super) fn column(input: &Relation, scalar: &Scalar, computed: Field) -> Field {
    let same = match scalar {
        Scalar::Column(index) => input.fields.get(*index),
        _ => None,
    };
    Field {
        extent: scalar.extent(&input.fields),
        of_patient: input.is_of_patient(scalar),
        role: same.map_or(computed.role, |field| field.role),
        ordinal: same.is_some_and(|field| field.ordinal),
        ..computed
    }
}

/// The columns, if the patient is among them.
pub(super) fn select(
    input: Relation,
    expressions: Vec<Scalar>,
    fields: Vec<Field>,
) -> Option<Relation> {
    let position = |column: usize| {
        let same = |s: &Scalar| matches!(s, Scalar::Column(c) if *c == column);
        expressions.iter().position(same)
    };
    let owner = match &input.owner {
        Owner::Public => Owner::Public,
        Owner::Patient { multiplicity, .. } => Owner::Patient {
            column: patient(&input, &expressions)?,
            multiplicity: multiplicity.moved(position),
        },
    };
    Some(Relation {
        node: Node::Project {
            input: Box::new(input),
            expressions,
        },
        fields,
        owner,
    })
}

/// The expression that is the row's patient.
pub(super) fn patient(input: &Relation, expressions: &[Scalar]) -> Option<usize> {
    let is_patient = |s: &Scalar| matches!(s, Scalar::Column(c) if input.is_patient(*c));
    expressions.iter().position(is_patient)
}

fn describe_columns(projection: &Projection) -> String {
    let columns: Vec<_> = projection.expr.iter().map(ToString::to_string).collect();
    shorten(&format!("SELECT {}", columns.join(", ")))
}
