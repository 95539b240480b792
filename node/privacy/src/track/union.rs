//! A union's inputs hold the patient in the same column, so each row has the patient it had; or they are all public.

use datafusion::logical_expr::Union;

use crate::model::Model;
use crate::parse::shorten;
use crate::refusal::Rule;
use crate::relation::{Field, Node, Owner, Relation, Role, held};
use crate::scalar::Extent;

use super::relation;

pub(super) fn union(union: &Union, model: &Model) -> Result<Relation, Rule> {
    let inputs = union.inputs.iter().map(|plan| relation(plan, model));
    let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
    let owner = owner(union, &inputs)?;
    let patient = match &owner {
        Owner::Public => None,
        Owner::Patient { column, .. } => Some(*column),
    };
    let mut fields = Vec::new();
    for (index, field) in union.schema.fields().iter().enumerate() {
        let columns: Vec<&Field> = inputs.iter().filter_map(|i| i.fields.get(index)).collect();
        let alike = |f: &&Field| f.data_type == held(field.data_type().clone());
        if columns.len() != inputs.len() || !columns.iter().all(alike) {
            return Err(Rule::Unplannable(format!(
                "the branches of the UNION differ in the type of {}",
                field.name()
            )));
        }
        fields.push(Field {
            role: role(&columns),
            of_patient: patient == Some(index),
            ordinal: columns.iter().all(|f| f.ordinal),
            extent: columns.iter().fold(Extent::COLUMN, |e, f| e.max(f.extent)),
            ..Field::computed(field.name(), field.data_type().clone())
        });
    }
    Ok(Relation {
        node: Node::Union { inputs },
        fields,
        owner,
    })
}

/// Columns of different roles are identifiers at least.
fn role(columns: &[&Field]) -> Role {
    match columns {
        [first, rest @ ..] if rest.iter().all(|f| f.role == first.role) => first.role,
        _ => Role::Identifier,
    }
}

fn owner(union: &Union, inputs: &[Relation]) -> Result<Owner, Rule> {
    let refuse = |what, remedy| {
        let names: Vec<_> = union.schema.fields().iter().map(|f| f.name()).collect();
        Err(Rule::Unsupported {
            what,
            fragment: shorten(&format!("{names:?}")),
            remedy,
        })
    };
    let personal = inputs
        .iter()
        .filter(|i| i.owner != Owner::Public)
        .collect::<Vec<_>>();
    let Some(first) = personal.first() else {
        return Ok(Owner::Public);
    };
    if personal.len() < inputs.len() {
        return refuse(
            "a UNION of personal and public rows",
            "A public row has no patient; join the public table instead",
        );
    }
    let holds = |column: &usize| personal.iter().all(|i| i.is_patient(*column));
    let Some(column) = (0..first.fields.len()).find(holds) else {
        return refuse(
            "a UNION whose branches have person_id in different places",
            "Select person_id as the same column of each branch",
        );
    };
    let multiplicity = personal
        .iter()
        .filter_map(|i| match &i.owner {
            Owner::Public => None,
            Owner::Patient { multiplicity, .. } => Some(multiplicity.clone()),
        })
        .reduce(|one, two| one.together(&two));
    Ok(Owner::Patient {
        column,
        multiplicity: multiplicity.unwrap_or_default(),
    })
}
