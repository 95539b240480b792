//! Rebuilds joins and matches.

use datafusion::common::{Column, JoinType, Result};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, lit};

use super::{Lowered, Lowering};
use crate::relation::{Conditions, JoinKind, MatchKind, Relation};

impl Lowering<'_> {
    /// The side with at most one row a match comes first: DataFusion holds the first side in
    /// memory, and passes the rows of the second through in their order.
    pub(super) fn join(
        &mut self,
        left: &Relation,
        right: &Relation,
        kind: JoinKind,
        conditions: &Conditions,
    ) -> Result<Lowered> {
        let right_columns: Vec<_> = conditions.on.iter().map(|(_, r)| *r).collect();
        let swapped = right.is_one_given(&right_columns);
        let kind = match (kind, swapped) {
            (JoinKind::Inner, _) => JoinType::Inner,
            (JoinKind::Left, false) => JoinType::Left,
            (JoinKind::Left, true) => JoinType::Right,
        };
        let (left, right) = (self.relation(left)?, self.relation(right)?);
        let columns = left.columns.iter().chain(&right.columns).cloned().collect();
        let plan = self.meet(left, right, kind, swapped, conditions)?;
        Ok(Lowered { plan, columns })
    }

    /// The rows that are looked for come first, and are held; but where there is one row a patient
    /// of those that look, these are fewer.
    pub(super) fn matching(
        &mut self,
        left: &Relation,
        right: &Relation,
        kind: MatchKind,
        conditions: &Conditions,
    ) -> Result<Lowered> {
        let (left_on, right_on): (Vec<_>, Vec<_>) = conditions.on.iter().copied().unzip();
        let swapped = right.is_one_given(&right_on) || !left.is_one_given(&left_on);
        let join = match (kind, swapped) {
            (MatchKind::Semi, false) => JoinType::LeftSemi,
            (MatchKind::Semi, true) => JoinType::RightSemi,
            (MatchKind::Anti, false) => JoinType::LeftAnti,
            (MatchKind::Anti, true) => JoinType::RightAnti,
            (MatchKind::Mark, false) => JoinType::LeftMark,
            (MatchKind::Mark, true) => JoinType::RightMark,
        };
        let (left, right) = (self.relation(left)?, self.relation(right)?);
        let mut columns = left.columns.clone();
        let plan = self.meet(left, right, join, swapped, conditions)?;
        if kind == MatchKind::Mark {
            columns.extend(plan.schema().columns().into_iter().last());
            let columns = columns.into_iter().map(Expr::Column);
            return self.project(plan, columns.collect());
        }
        Ok(Lowered { plan, columns })
    }

    fn meet(
        &self,
        left: Lowered,
        right: Lowered,
        kind: JoinType,
        swapped: bool,
        conditions: &Conditions,
    ) -> Result<LogicalPlanBuilder> {
        let on = conditions.on.iter();
        let on = on.map(|(l, r)| (left.columns[*l].clone(), right.columns[*r].clone()));
        let (left_on, right_on): (Vec<Column>, Vec<Column>) = on.unzip();
        let columns: Vec<_> = left.columns.iter().chain(&right.columns).cloned().collect();
        let filter = conditions.filter.as_ref();
        let filter = filter.map(|f| self.scalar(f, &columns)).transpose()?;
        // DataFusion wants a condition even where every pair matches.
        let every_pair = conditions.on.is_empty().then(|| lit(true));
        let filter = filter.or(every_pair);
        if swapped {
            let keys = (right_on, left_on);
            right.plan.join(left.plan.build()?, kind, keys, filter)
        } else {
            let keys = (left_on, right_on);
            left.plan.join(right.plan.build()?, kind, keys, filter)
        }
    }
}
