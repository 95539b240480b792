//! Rebuilds unions.

use datafusion::common::{Column, Result, plan_err};
use datafusion::logical_expr::Expr;

use super::{Lowered, Lowering};
use crate::relation::Relation;

impl Lowering<'_> {
    /// All inputs' columns get the names of the first's.
    pub(super) fn union(&mut self, inputs: &[Relation]) -> Result<Lowered> {
        let Some((first, rest)) = inputs.split_first() else {
            return plan_err!("a union of nothing");
        };
        let mut whole = self.lowered(first)?;
        for input in rest {
            let input = self.lowered(input)?;
            let named = input.columns.into_iter().zip(&whole.columns);
            let named = named.map(|(column, name)| Expr::Column(column).alias(&name.name));
            let input = input.plan.project(named)?.build()?;
            whole.plan = whole.plan.union(input)?;
        }
        Ok(Lowered {
            columns: whole
                .columns
                .into_iter()
                .map(|c| Column::new_unqualified(c.name))
                .collect(),
            plan: whole.plan,
        })
    }

    /// With exactly its columns: a plan may hold more.
    fn lowered(&mut self, relation: &Relation) -> Result<Lowered> {
        let lowered = self.relation(relation)?;
        let columns = lowered.columns.into_iter().map(Expr::Column);
        self.project(lowered.plan, columns.collect())
    }
}
