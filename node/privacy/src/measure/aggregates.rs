//! Aggregates: which components each needs, and how its value follows from them.
//!
//! Inside a column ρ is divided so that the variance of the estimate is smallest, by its first-order
//! expansion: components whose noise at ρ = 1 enters the estimate with standard deviation a₁, a₂, …
//! get parts in the ratio a₁ : a₂ : …, which minimises Σ aᵢ²/ρᵢ. With values that reach R steps from
//! the centre of their bounds, a mean `s/n` that lies half-way (R/2) has a = R for the sum and R/2 for
//! the count: 2 to 1. A variance `h + q/n − (s/n)²` there, of a standard deviation R/2, has R²/2 for
//! the squares (they travel relative to half of the largest), R² for the sum and R²/2 for the count: 1 to
//! 2 to 1. The levels of a tree share alike.

use arrow::datatypes::DataType;
use datafusion::logical_expr::Expr as SqlExpr;
use datafusion::logical_expr::expr::AggregateFunction;
use ward_schemas::decimal::Grid;
use ward_schemas::finish::Expr;
use ward_schemas::names::Ident;

use super::columns::Compiler;
use super::parts::{Part, Reading, WHOLE};
use super::quantile;
use crate::functions;
use crate::refusal::Rule;
use crate::relation::Role;
use crate::scalar::{Scalar, unsupported};

const AGGREGATES: &str = "Use COUNT(*), COUNT(x), COUNT(DISTINCT person_id), SUM, AVG, VAR_SAMP, VAR_POP, STDDEV, STDDEV_POP, MEDIAN and PERCENTILE_CONT";

/// An aggregate in a column.
pub(super) struct Call<'a> {
    pub(super) expr: &'a SqlExpr,
    pub(super) function: &'a AggregateFunction,
    pub(super) column: &'a Ident,
}

/// Whether the aggregate is a variance: its unit is a square.
pub(super) fn is_variance(expr: &SqlExpr) -> bool {
    let SqlExpr::AggregateFunction(function) = strip_alias(expr) else {
        return false;
    };
    matches!(function.func.name(), "var" | "var_pop")
}

impl Compiler<'_> {
    /// The value of an aggregate.
    pub(super) fn measure(&mut self, index: usize, column: &Ident) -> Result<Expr, Rule> {
        let aggregate = self.aggregate;
        let Some(expr) = aggregate.aggr_expr.get(index) else {
            return Err(Rule::Unplannable("a grouping set".into()));
        };
        let SqlExpr::AggregateFunction(function) = strip_alias(expr) else {
            return Err(unsupported("this aggregate", expr, AGGREGATES));
        };
        let call = Call {
            expr,
            function,
            column,
        };
        let (value, parts) = self.call(&call)?;
        self.made_of.push((index, parts));
        Ok(value)
    }

    fn call(&mut self, call: &Call<'_>) -> Result<(Expr, Vec<Part>), Rule> {
        let name = call.function.func.name();
        if quantile::NAMES.contains(&name) && !call.function.params.distinct {
            return self.quantile(call);
        }
        check_modifiers(call)?;
        match (name, call.function.params.distinct) {
            ("count", false) => self.count(call),
            ("count", true) => self.count_patients(call),
            ("sum", false) => self.sum(call),
            ("avg", false) => self.mean(call),
            ("var_pop", false) => self.variance(call, |variance, _| variance),
            ("var", false) => self.variance(call, Expr::of_sample),
            ("stddev_pop", false) => self.variance(call, |variance, _| variance.square_root()),
            ("stddev", false) => self.variance(call, |v, count| v.of_sample(count).square_root()),
            ("min" | "max", _) => Err(unsupported(
                "MIN or MAX",
                call.expr,
                "It shows one patient's value; use AVG or PERCENTILE_CONT, or count patients above a threshold",
            )),
            _ => Err(unsupported("this aggregate", call.expr, AGGREGATES)),
        }
    }

    fn count(&mut self, call: &Call<'_>) -> Result<(Expr, Vec<Part>), Rule> {
        let reading = match call.function.params.args.as_slice() {
            [SqlExpr::Literal(value, _)] if !value.is_null() => self.every_row(call)?,
            [argument] => {
                let present = self.countable(argument)?;
                self.reading(call, argument, present)?
            }
            _ => return Err(Rule::Unplannable("COUNT takes one argument".into())),
        };
        let rows = self.parts.rows(call.column.to_string(), &reading);
        Ok((Expr::component(rows), vec![(rows, WHOLE)]))
    }

    /// Whether an identifier is there may be counted; its value is not looked at. NaN is NULL, as it
    /// is to sums and means.
    fn countable(&self, argument: &SqlExpr) -> Result<Scalar, Rule> {
        let scalar = match self.scope.bare_column(argument) {
            Some(column) => Scalar::Column(column),
            None => self.scope.scalar(argument)?,
        };
        Ok(match self.scope.type_of(argument)? {
            DataType::Float64 => Scalar::Call {
                function: functions::unless_nan(),
                arguments: vec![scalar],
            },
            _ => scalar,
        })
    }

    fn count_patients(&mut self, call: &Call<'_>) -> Result<(Expr, Vec<Part>), Rule> {
        let [argument] = call.function.params.args.as_slice() else {
            return Err(Rule::Unplannable("COUNT takes one argument".into()));
        };
        let patient = self
            .scope
            .bare_column(argument)
            .filter(|i| self.scope.fields[*i].role == Role::Patient);
        let Some(patient) = patient else {
            return Err(unsupported(
                "COUNT(DISTINCT …) of anything but person_id",
                call.expr,
                "Count patients, or rows with COUNT(*)",
            ));
        };
        // Every column of this role is the row's patient or, behind an outer join, NULL; but for the
        // one that owns the row, which is never NULL.
        let reading = if patient == self.patient {
            self.every_row(call)?
        } else {
            self.reading(call, argument, Scalar::Column(patient))?
        };
        let patients = self.parts.patients(call.column.to_string(), &reading);
        Ok((Expr::component(patients), vec![(patients, WHOLE)]))
    }

    fn sum(&mut self, call: &Call<'_>) -> Result<(Expr, Vec<Part>), Rule> {
        let grid = self.grid(call.column)?;
        let reading = self.values(call)?;
        let name = call.column.to_string();
        let sum = self.parts.sum(name, call.column, &reading, grid, 0)?;
        Ok((Expr::component(sum), vec![(sum, WHOLE)]))
    }

    fn mean(&mut self, call: &Call<'_>) -> Result<(Expr, Vec<Part>), Rule> {
        let grid = self.grid(call.column)?;
        let reading = self.values(call)?;
        let (sum, count) = self.moments(call.column, &reading, grid)?;
        let parts = vec![(sum, WHOLE / 3 * 2), (count, WHOLE / 3)];
        Ok((Expr::mean(grid.centre_value(), sum, count), parts))
    }

    fn variance(
        &mut self,
        call: &Call<'_>,
        of: fn(Expr, usize) -> Expr,
    ) -> Result<(Expr, Vec<Part>), Rule> {
        let column = call.column;
        let grid = self.grid(column)?;
        let reading = self.values(call)?;
        let squares = self.parts.squares(column, &reading, grid)?;
        let (sum, count) = self.moments(column, &reading, grid)?;
        let variance =
            Expr::variance(grid, squares, sum, count).ok_or_else(|| Rule::BoundsWide {
                column: column.to_string(),
            })?;
        let parts = vec![(squares, WHOLE / 4), (sum, WHOLE / 2), (count, WHOLE / 4)];
        Ok((of(variance, count), parts))
    }

    /// The sum of values relative to the grid's centre, and their count.
    fn moments(
        &mut self,
        column: &Ident,
        reading: &Reading,
        grid: Grid,
    ) -> Result<(usize, usize), Rule> {
        let name = format!("{column} (sum)");
        let sum = self.parts.sum(name, column, reading, grid, grid.centre())?;
        let name = format!("{column} (count)");
        let count = self
            .parts
            .rows_of_values(name, reading, grid, grid.centre());
        Ok((sum, count))
    }

    /// The grid of the column's bounds.
    pub(super) fn grid(&mut self, column: &Ident) -> Result<Grid, Rule> {
        let missing = || Rule::BoundsMissing {
            column: column.to_string(),
        };
        let bounds = self.spec.bounds.get(column).ok_or_else(missing)?;
        self.used_bounds.push(column.clone());
        bounds.grid().map_err(|e| Rule::Unplannable(e.to_string()))
    }

    /// The first argument as a number.
    pub(super) fn values(&self, call: &Call<'_>) -> Result<Reading, Rule> {
        let Some(argument) = call.function.params.args.first() else {
            return Err(Rule::Unplannable("an aggregate without argument".into()));
        };
        let data_type = self.scope.type_of(argument)?;
        if !matches!(data_type, DataType::Int64 | DataType::Float64) {
            return Err(unsupported(
                "a sum of this type",
                call.expr,
                "Sum integers or doubles",
            ));
        }
        let scalar = self.scope.scalar(argument)?;
        self.reading(call, argument, scalar)
    }

    fn every_row(&self, call: &Call<'_>) -> Result<Reading, Rule> {
        let filter = call.function.params.filter.as_deref();
        Ok(Reading {
            argument: None,
            scalar: None,
            filter: filter.cloned(),
            condition: filter.map(|f| self.scope.scalar(f)).transpose()?,
        })
    }

    fn reading(
        &self,
        call: &Call<'_>,
        argument: &SqlExpr,
        scalar: Scalar,
    ) -> Result<Reading, Rule> {
        Ok(Reading {
            argument: Some(self.without_widening(argument)?.clone()),
            scalar: Some(scalar),
            ..self.every_row(call)?
        })
    }

    /// What an integer is that AVG and its like read as a double: the same grid integer.
    fn without_widening<'e>(&self, argument: &'e SqlExpr) -> Result<&'e SqlExpr, Rule> {
        let (inner, to) = match argument {
            SqlExpr::Alias(alias) => return self.without_widening(&alias.expr),
            SqlExpr::Cast(cast) => (&cast.expr, cast.field.data_type()),
            SqlExpr::TryCast(cast) => (&cast.expr, cast.field.data_type()),
            _ => return Ok(argument),
        };
        let widens = *to == DataType::Float64 && self.scope.type_of(inner)? == DataType::Int64;
        Ok(if widens { inner } else { argument })
    }
}

pub(super) fn strip_alias(expr: &SqlExpr) -> &SqlExpr {
    match expr {
        SqlExpr::Alias(alias) => strip_alias(&alias.expr),
        _ => expr,
    }
}

fn check_modifiers(call: &Call<'_>) -> Result<(), Rule> {
    let params = &call.function.params;
    if !params.order_by.is_empty() || params.null_treatment.is_some() {
        return Err(unsupported(
            "an order inside an aggregate",
            call.expr,
            "Leave it out",
        ));
    }
    Ok(())
}
