//! A join of two personal relations equates the patient, so pairs are of one patient; a join with a public relation is a function of the personal row.
//! An outer join preserves the personal side: else a public row would stay because nobody matched.

use datafusion::common::{JoinType, NullEquality};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Join, Operator};

use crate::model::Model;
use crate::multiplicity::Multiplicity;
use crate::parse::shorten;
use crate::refusal::Rule;
use crate::relation::{Conditions, Field, JoinKind, Node, Owner, Relation, Role};
use crate::scalar::Scope;

use super::{relation, settled};

/// The most rows of one patient on one side of a join that may multiply rows.
const MOST_MULTIPLIED: u64 = 100;

pub(super) fn join(join: &Join, model: &Model) -> Result<Relation, Rule> {
    let kind = match join.join_type {
        JoinType::Inner => JoinKind::Inner,
        JoinType::Left => JoinKind::Left,
        _ => {
            return Err(Rule::Unsupported {
                what: "this kind of join",
                fragment: fragment(join),
                remedy: "Write JOIN or LEFT JOIN",
            });
        }
    };
    if join.null_equality != NullEquality::NullEqualsNothing {
        return Err(Rule::Unplannable("a join that equates NULLs".into()));
    }
    let (left, right) = (relation(&join.left, model)?, relation(&join.right, model)?);
    let conditions = conditions(join, &left, &right)?;
    let owner = owner(join, kind, &left, &right, &conditions)?;
    let fields = fields(kind, &left, &right, &conditions);
    Ok(settled(Relation {
        node: Node::Join {
            left: Box::new(left),
            right: Box::new(right),
            kind,
            conditions,
        },
        fields,
        owner,
    }))
}

fn conditions(join: &Join, left: &Relation, right: &Relation) -> Result<Conditions, Rule> {
    let fields: Vec<_> = left.fields.iter().chain(&right.fields).cloned().collect();
    let schema = join.left.schema().join(join.right.schema());
    let schema = schema.map_err(|e| Rule::Unplannable(e.strip_backtrace()))?;
    let scope = Scope {
        schema: &schema,
        fields: &fields,
    };
    let keys = join.on.iter().map(|(l, r)| {
        let (left, right) = (Box::new(l.clone()), Box::new(r.clone()));
        Expr::BinaryExpr(BinaryExpr::new(left, Operator::Eq, right))
    });
    let filters = join.filter.iter().flat_map(split_conjunction).cloned();
    Conditions::of(keys.chain(filters), &scope, left.fields.len())
}

fn owner(
    join: &Join,
    kind: JoinKind,
    left: &Relation,
    right: &Relation,
    conditions: &Conditions,
) -> Result<Owner, Rule> {
    let width = left.fields.len();
    let any_number = |column| Owner::Patient {
        column,
        multiplicity: Multiplicity::many(),
    };
    match (&left.owner, &right.owner) {
        (Owner::Public, Owner::Public) => Ok(Owner::Public),
        (Owner::Patient { column, .. }, Owner::Public) => Ok(any_number(*column)),
        (Owner::Public, Owner::Patient { column, .. }) => match kind {
            JoinKind::Inner => Ok(any_number(column + width)),
            JoinKind::Left => Err(Rule::OuterPublic {
                fragment: fragment(join),
            }),
        },
        (
            Owner::Patient {
                column,
                multiplicity: left_rows,
            },
            Owner::Patient {
                multiplicity: right_rows,
                ..
            },
        ) => {
            if !conditions.equate_patients(left, right) {
                return Err(Rule::JoinPatients {
                    fragment: fragment(join),
                });
            }
            let multiplicity = multiplicity(kind, left_rows, right_rows, conditions, width);
            Ok(Owner::Patient {
                column: *column,
                multiplicity: multiplicity.ok_or_else(|| Rule::FanOut {
                    fragment: fragment(join),
                })?,
            })
        }
    }
}

/// How many pairs a patient may have; `None` if many rows meet many.
fn multiplicity(
    kind: JoinKind,
    left: &Multiplicity,
    right: &Multiplicity,
    conditions: &Conditions,
    width: usize,
) -> Option<Multiplicity> {
    let (left_on, right_on): (Vec<_>, Vec<_>) = conditions.on.iter().copied().unzip();
    let mut pairs = left.paired(right, width);
    let mut bounded = left.is_at_most(MOST_MULTIPLIED) || right.is_at_most(MOST_MULTIPLIED);
    if right.is_one_given(&right_on) {
        pairs = left.clone().and(pairs);
        bounded = true;
    }
    if left.is_one_given(&left_on) {
        // Unmatched left rows have NULL in the right side's keys, and are not among its rows.
        if kind == JoinKind::Inner {
            pairs = right.moved(|c| Some(c + width)).and(pairs);
        }
        bounded = true;
    }
    bounded.then_some(pairs)
}

/// Behind an outer join a field is still a function of the patient if the patient alone decides
/// whether there is a match; the right side's patient is there only where there is one.
fn fields(
    kind: JoinKind,
    left: &Relation,
    right: &Relation,
    conditions: &Conditions,
) -> Vec<Field> {
    let inner = kind == JoinKind::Inner;
    let kept = inner || conditions.look_at_patient(left);
    let right = right.fields.iter().cloned().map(|field| Field {
        of_patient: field.of_patient && kept && (inner || field.role != Role::Patient),
        ordinal: field.ordinal && inner,
        ..field
    });
    left.fields.iter().cloned().chain(right).collect()
}

fn fragment(join: &Join) -> String {
    let on = join.on.iter().map(|(l, r)| format!("{l} = {r}"));
    let filter = join.filter.iter().map(ToString::to_string);
    let conditions: Vec<_> = on.chain(filter).collect();
    shorten(&format!(
        "{} JOIN ON {}",
        join.join_type,
        conditions.join(" AND ")
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The rows of one patient, of two columns.
    type Rows = Vec<[Option<u8>; 2]>;

    fn rows() -> impl Strategy<Value = Rows> {
        let value = || prop_oneof![Just(None), (0_u8..3).prop_map(Some)];
        prop::collection::vec([value(), value()], 0..5)
    }

    fn subsets(width: usize) -> impl Iterator<Item = Vec<usize>> {
        (0..1_usize << width).map(move |set| (0..width).filter(|c| set & (1 << c) != 0).collect())
    }

    fn is_one_given(rows: &[Vec<Option<u8>>], columns: &[usize]) -> bool {
        let key = |row: &Vec<Option<u8>>| columns.iter().map(|c| row[*c]).collect::<Vec<_>>();
        let keys: std::collections::BTreeSet<_> = rows.iter().map(key).collect();
        keys.len() == rows.len()
    }

    /// All that holds of these rows.
    fn known(rows: &Rows) -> Multiplicity {
        let rows: Vec<Vec<_>> = rows.iter().map(|r| r.to_vec()).collect();
        let keys = subsets(2).filter(|columns| is_one_given(&rows, columns));
        let known = keys.map(Multiplicity::one_per).reduce(Multiplicity::and);
        known.unwrap_or_default()
    }

    fn pairs(
        kind: JoinKind,
        left: &Rows,
        right: &Rows,
        on: &[(usize, usize)],
    ) -> Vec<Vec<Option<u8>>> {
        let meet = |l: &[Option<u8>; 2], r: &[Option<u8>; 2]| {
            on.iter().all(|(a, b)| l[*a].is_some() && l[*a] == r[*b])
        };
        let of_row = |l: &[Option<u8>; 2]| {
            let met = right.iter().filter(|r| meet(l, r));
            let mut pairs: Vec<_> = met.map(|r| [*l, *r].concat()).collect();
            if pairs.is_empty() && kind == JoinKind::Left {
                pairs.push([*l, [None, None]].concat());
            }
            pairs
        };
        left.iter().flat_map(of_row).collect()
    }

    proptest! {
        #[test]
        fn what_is_known_of_pairs_holds(
            left in rows(),
            right in rows(),
            on in prop::collection::vec((0_usize..2, 0_usize..2), 0..3),
            kind in prop_oneof![Just(JoinKind::Inner), Just(JoinKind::Left)],
        ) {
            let found = pairs(kind, &left, &right, &on);
            let conditions = Conditions { on, filter: None };
            if let Some(claimed) = multiplicity(kind, &known(&left), &known(&right), &conditions, 2) {
                for columns in subsets(4).filter(|c| claimed.is_one_given(c)) {
                    prop_assert!(is_one_given(&found, &columns), "{columns:?} of {claimed:?}");
                }
                for rows in (0..30).filter(|n| claimed.is_at_most(*n)) {
                    prop_assert!(found.len() as u64 <= rows, "{rows} of {claimed:?}");
                }
            }
        }
    }
}
