//! Where a key's values come from data, a group is a value and a cell, and has a name instead of a
//! number; a patient's groups of one value count once among the value's distinct patients.

use datafusion::common::Result;
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::{
    Expr, ExprFunctionExt as _, ExprSchemable as _, LogicalPlan, LogicalPlanBuilder, ident, lit,
    when,
};
use datafusion::scalar::ScalarValue;
use ward_schemas::data_key::DataKeyType;

use super::{CELL, PATIENT, Rewriting, value};
use crate::bound::SelectionKey;
use crate::supplied;

/// The column of the value that comes from data.
pub(super) const VALUE: &str = "data_value";
const FIRST: &str = "place_in_value";

impl Rewriting<'_> {
    pub(super) fn by_value(
        &self,
        rows: LogicalPlan,
        from_data: DataKeyType,
        key: &SelectionKey,
    ) -> Result<LogicalPlan> {
        let named = self.name_groups(self.read(rows)?, from_data)?;
        let grouped = self.group(named, &supplied::rank_by_name(key.clone()))?;
        let placed = self.place_in_value(self.keep(grouped)?)?;
        self.add_up(placed, Some(first_of_value()?))?.build()
    }

    /// Cells become groups; rows in none are dropped.
    fn name_groups(
        &self,
        rows: LogicalPlanBuilder,
        from_data: DataKeyType,
    ) -> Result<LogicalPlanBuilder> {
        let group = supplied::group(from_data, ident(VALUE).get_type(rows.schema())?);
        let group = group.call(vec![ident(VALUE), ident(CELL)]);
        let inputs = self.query.inputs.iter().enumerate();
        let read = inputs.filter(|(_, input)| !input.is_every_row());
        let values = read.map(|(i, _)| ident(value(i)));
        let named = [ident(PATIENT), group.alias(CELL)]
            .into_iter()
            .chain(values);
        rows.project(named)?
            .alias("named_rows")?
            .filter(ident(CELL).is_not_null())
    }

    /// The groups, and where each is among its patient's of one value.
    fn place_in_value(&self, groups: LogicalPlanBuilder) -> Result<LogicalPlanBuilder> {
        let of_value = supplied::value_of_group().call(vec![ident(CELL)]);
        let place = row_number()
            .partition_by(vec![ident(PATIENT), of_value])
            .order_by(vec![ident(CELL).sort(true, false)])
            .build()?;
        let placed = groups.window([place.alias(FIRST)])?;
        let columns: Vec<_> = placed.schema().columns();
        placed
            .project(columns.into_iter().map(Expr::Column))?
            .alias("kept_groups")
    }
}

/// 1 for the first group of a patient and a value, else 0.
fn first_of_value() -> Result<Expr> {
    let total = |units| lit(ScalarValue::Decimal128(Some(units), 38, 0));
    when(ident(FIRST).eq(lit(1_u64)), total(1)).otherwise(total(0))
}
