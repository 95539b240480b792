//! Quantiles: a tree of counts over the points of the column's grid.

use datafusion::logical_expr::Expr as SqlExpr;
use ward_schemas::decimal::Decimal;
use ward_schemas::finish::Expr;

use super::aggregates::Call;
use super::columns::{Compiler, decimal};
use super::parts::{Part, WHOLE};
use crate::refusal::Rule;
use crate::scalar::unsupported;

/// The aggregates that are quantiles.
pub(super) const NAMES: [&str; 4] = [
    "median",
    "approx_median",
    "percentile_cont",
    "approx_percentile_cont",
];

/// The most points of a quantile's grid.
pub(super) const MAX_POINTS: u64 = 4096;

/// Whether an expression holds no quantile, or one that no other measure is combined with: what two
/// noisy values have in common is known of sums, and not of quantiles.
pub(super) fn stands_alone(expr: &Expr) -> bool {
    let (mut measures, mut quantiles) = (0, 0);
    let mut rest = vec![expr];
    while let Some(expr) = rest.pop() {
        match expr {
            Expr::Literal { .. } => {}
            Expr::Component { .. } => measures += 1,
            Expr::Quantile { .. } => quantiles += 1,
            Expr::SquareRoot { operand } => rest.push(operand),
            Expr::Add { left, right }
            | Expr::Subtract { left, right }
            | Expr::Multiply { left, right }
            | Expr::Divide { left, right } => rest.extend([&**left, &**right]),
        }
    }
    quantiles == 0 || (quantiles == 1 && measures == 0)
}

impl Compiler<'_> {
    /// A quantile's value.
    pub(super) fn quantile(&mut self, call: &Call<'_>) -> Result<(Expr, Vec<Part>), Rule> {
        let fraction = fraction(call)?;
        let grid = self.grid(call.column)?;
        if grid.points() > MAX_POINTS {
            return Err(Rule::QuantilePoints {
                column: call.column.to_string(),
                points: grid.points(),
            });
        }
        let reading = self.values(call)?;
        let spans = spans(grid.points());
        let levels = self.parts.tree(call.column, &reading, grid, &spans);
        let part = WHOLE / levels.len() as u64;
        let parts = levels.iter().map(|level| (level.component, part)).collect();
        let value = Expr::Quantile {
            fraction,
            grid,
            levels,
        };
        Ok((value, parts))
    }
}

/// The fraction of a quantile: a constant between 0 and 1.
fn fraction(call: &Call<'_>) -> Result<Decimal, Rule> {
    let params = &call.function.params;
    let descends = params.order_by.iter().any(|sort| !sort.asc);
    if params.null_treatment.is_some() || descends {
        return Err(unsupported(
            "this order of a quantile",
            call.expr,
            "Order ascending, and take the fraction from below",
        ));
    }
    let half: Option<Decimal> = "0.5".parse().ok();
    let fraction = match params.args.as_slice() {
        [_] => half,
        [_, fraction] => constant(fraction),
        _ => {
            return Err(unsupported(
                "a third argument",
                call.expr,
                "Write PERCENTILE_CONT(fraction) WITHIN GROUP (ORDER BY value)",
            ));
        }
    };
    fraction
        .filter(|f| Decimal::ZERO < *f && *f < Decimal::ONE)
        .ok_or_else(|| {
            unsupported(
                "a fraction that is no constant between 0 and 1",
                call.expr,
                "Write 0.5 for the median; the ends would show one patient's value",
            )
        })
}

fn constant(expr: &SqlExpr) -> Option<Decimal> {
    match expr {
        SqlExpr::Literal(value, _) => decimal(value),
        SqlExpr::Cast(cast) => constant(&cast.expr),
        SqlExpr::Alias(alias) => constant(&alias.expr),
        _ => None,
    }
}

/// How many points a node of each level covers, from the coarsest level to the leaves. With fan-out k
/// and h levels that share ρ alike, a prefix is a sum of about h·(k−1)/2 nodes, each of a
/// variance that grows with h: the tree has the smallest h²·(k−1).
fn spans(points: u64) -> Vec<u32> {
    let fan_out = |levels: u32| (2_u64..).find(|k| k.saturating_pow(levels) >= points);
    let shapes = (1..=12_u32).filter_map(|levels| Some((levels, fan_out(levels)?)));
    let noise = |(levels, fan_out): &(u32, u64)| u64::from(*levels).pow(2) * (fan_out - 1);
    let (levels, fan_out) = shapes.min_by_key(noise).unwrap_or((1, points));
    let span = |level: u32| u32::try_from(fan_out.saturating_pow(level)).unwrap_or(u32::MAX);
    (0..levels).rev().map(span).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_are_deep_where_there_are_many_points() {
        assert_eq!(spans(2), [1]);
        assert_eq!(spans(16), [4, 1]);
        assert_eq!(spans(121), [25, 5, 1]);
        assert_eq!(spans(4096), [1024, 256, 64, 16, 4, 1]);
    }

    #[test]
    fn every_column_can_be_divided_among_its_levels() {
        for points in 2..=MAX_POINTS {
            assert_eq!(WHOLE % spans(points).len() as u64, 0, "{points}");
        }
    }
}
