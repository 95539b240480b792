//! The conditions of joins and matches: which columns they equate, and what else they ask of a pair of rows.

use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

use crate::refusal::Rule;
use crate::relation::{Conditions, Relation};
use crate::scalar::{Scalar, Scope};

impl Conditions {
    /// Translates conditions over the columns of two relations, those of the first first.
    pub(super) fn of(
        conditions: impl IntoIterator<Item = Expr>,
        scope: &Scope<'_>,
        left_width: usize,
    ) -> Result<Self, Rule> {
        let mut found = Self {
            on: Vec::new(),
            filter: None,
        };
        for condition in conditions {
            match equated(scope, &condition, left_width) {
                Some(pair) => found.on.push(pair),
                None => found.restrict(scope.scalar(&condition)?),
            }
        }
        Ok(found)
    }

    /// Whether rows only meet rows of the same patient.
    pub(super) fn equate_patients(&self, left: &Relation, right: &Relation) -> bool {
        let patients = |(l, r): &(usize, usize)| left.is_patient(*l) && right.is_patient(*r);
        self.on.iter().any(patients)
    }

    /// Whether all that is asked of the left row is the same for all rows of a patient.
    pub(super) fn look_at_patient(&self, left: &Relation) -> bool {
        let on = self.on.iter().map(|(l, _)| *l);
        let filter = self.filter.iter().flat_map(Scalar::columns);
        let filter = filter.filter(|c| *c < left.fields.len());
        on.chain(filter).all(|c| left.fields[c].of_patient)
    }

    fn restrict(&mut self, predicate: Scalar) {
        self.filter = Some(match self.filter.take() {
            None => predicate,
            Some(before) => Scalar::Binary {
                operator: Operator::And,
                left: Box::new(before),
                right: Box::new(predicate),
            },
        });
    }
}

/// The columns of both sides that a condition equates: of one type, and both identifiers of the
/// same kind or both values.
fn equated(scope: &Scope<'_>, condition: &Expr, left_width: usize) -> Option<(usize, usize)> {
    let Expr::BinaryExpr(BinaryExpr {
        left,
        op: Operator::Eq,
        right,
    }) = condition
    else {
        return None;
    };
    let (a, b) = (scope.bare_column(left)?, scope.bare_column(right)?);
    let (l, r) = (a.min(b), a.max(b));
    let (left, right) = (&scope.fields[l], &scope.fields[r]);
    let alike = left.role == right.role && left.data_type == right.data_type;
    (l < left_width && r >= left_width && alike).then(|| (l, r - left_width))
}
