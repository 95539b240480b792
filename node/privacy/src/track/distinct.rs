//! DISTINCT keeps the patient, so equal rows are equal rows of one patient.

use datafusion::logical_expr::Distinct;

use crate::model::Model;
use crate::parse::shorten;
use crate::refusal::Rule;
use crate::relation::{Node, Owner, Relation};
use crate::scalar::Scalar;

use super::{aggregate, relation};

pub(super) fn distinct(distinct: &Distinct, model: &Model) -> Result<Relation, Rule> {
    let rows = match distinct {
        Distinct::All(rows) => relation(rows, model)?,
        Distinct::On(on) => {
            let columns: Vec<_> = on.on_expr.iter().map(ToString::to_string).collect();
            return Err(Rule::Unsupported {
                what: "DISTINCT ON",
                fragment: shorten(&columns.join(", ")),
                remedy: "Number the rows with ROW_NUMBER() OVER (PARTITION BY person_id ORDER BY …) and keep the first",
            });
        }
    };
    let group = (0..rows.fields.len()).map(Scalar::Column).collect();
    let fields = rows.fields.clone();
    let of = |rows, group| Relation {
        owner: Owner::Public,
        fields,
        node: Node::Aggregate {
            input: Box::new(rows),
            group,
            folds: Vec::new(),
        },
    };
    aggregate::grouped(rows, group, of)
        .ok_or_else(|| Rule::Unplannable("DISTINCT without the patient".into()))
}
