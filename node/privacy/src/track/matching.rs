//! A match keeps, drops or marks a personal row by whether rows of the same patient, or public rows, meet it: a function of that patient's rows and public data.
//! Public rows are not matched with personal ones: whether they stay would depend on anybody.

use arrow::datatypes::DataType;

use crate::refusal::Rule;
use crate::relation::{Conditions, Field, MatchKind, Node, Owner, Relation};

/// Matches rows; `fragment` tells for messages what asked for it.
pub(super) fn matching(
    left: Relation,
    right: Relation,
    kind: MatchKind,
    conditions: Conditions,
    fragment: impl FnOnce() -> String,
) -> Result<Relation, Rule> {
    match (&left.owner, &right.owner) {
        (_, Owner::Public) => {}
        (Owner::Public, Owner::Patient { .. }) => {
            return Err(Rule::MatchPublic {
                fragment: fragment(),
            });
        }
        (Owner::Patient { .. }, Owner::Patient { .. }) => {
            if !conditions.equate_patients(&left, &right) {
                return Err(Rule::MatchPatients {
                    fragment: fragment(),
                });
            }
        }
    }
    let mut fields = left.fields.clone();
    if kind == MatchKind::Mark {
        fields.push(Field {
            of_patient: conditions.look_at_patient(&left),
            ..Field::computed("mark", DataType::Boolean)
        });
    }
    Ok(Relation {
        fields,
        owner: left.owner.clone(),
        node: Node::Match {
            left: Box::new(left),
            right: Box::new(right),
            kind,
            conditions,
        },
    })
}
