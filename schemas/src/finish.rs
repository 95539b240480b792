//! Final values: expressions over merged noisy components, with 95 % confidence intervals.
//!
//! All of this is post-processing of released values and costs no privacy (Dwork and Roth, *The
//! Algorithmic Foundations of Differential Privacy*, Prop. 2.1). The components' noises are
//! independent and, summed over nodes, very nearly Gaussian; an expression's standard error is
//! that of its first-order expansion (the delta method). Quantiles are inverted from a tree of
//! counts: see [`TreeLevel`].

mod quantile;

use serde::{Deserialize, Serialize};

use crate::decimal::{Decimal, Grid};
use crate::plan::{Component, ComponentUnit};

/// An expression over the components of one cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Expr {
    /// A component's value, in its real unit (integers times the step).
    Component {
        /// Index into the table's components.
        index: usize,
    },
    /// An exact number.
    Literal {
        /// The number.
        value: Decimal,
    },
    /// Sum.
    Add {
        /// Left operand.
        left: Box<Expr>,
        /// Right operand.
        right: Box<Expr>,
    },
    /// Difference.
    Subtract {
        /// Left operand.
        left: Box<Expr>,
        /// Right operand.
        right: Box<Expr>,
    },
    /// Product.
    Multiply {
        /// Left operand.
        left: Box<Expr>,
        /// Right operand.
        right: Box<Expr>,
    },
    /// Quotient; no value where the denominator can't be told from zero.
    Divide {
        /// Numerator.
        left: Box<Expr>,
        /// Denominator.
        right: Box<Expr>,
    },
    /// Square root; no value where the operand can't be told from zero.
    SquareRoot {
        /// The operand.
        operand: Box<Expr>,
    },
    /// The value below which a fraction of the rows lies, from a tree of counts over a grid's
    /// points. Its interval covers the rounding to the grid too.
    Quantile {
        /// The fraction, between 0 and 1.
        fraction: Decimal,
        /// The grid.
        grid: Grid,
        /// The tree's levels, the coarsest first; the last one has a node a point.
        levels: Vec<TreeLevel>,
    },
}

/// One level of a tree of counts over a grid's points. Every level counts the same rows, with
/// independent noise; together they give prefix sums whose noise grows with the logarithm of the
/// number of points (Hay, Rastogi, Miklau and Suciu, *Boosting the Accuracy of Differentially
/// Private Histograms Through Consistency*, VLDB 2010).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TreeLevel {
    /// Index into the table's components.
    pub component: usize,
    /// How many points a node covers: a multiple of the next level's.
    pub span: u32,
}

/// The merged integers of one component at one cell, in their real unit.
#[derive(Clone, Debug, PartialEq)]
pub struct Noisy {
    /// The noisy values: one, or those of a tree's level.
    pub values: Vec<f64>,
    /// The noise's variance, the same in each of them.
    pub variance: f64,
}

impl Noisy {
    /// A component of one integer a cell.
    pub fn one(value: f64, variance: f64) -> Self {
        Self {
            values: vec![value],
            variance,
        }
    }

    /// What to expect of a component in a group of so many patients with a row each: counts are
    /// the group's size, sums zero, and rows spread evenly over the grid. `variance` is the
    /// noise's, in squared real units.
    pub fn expected(component: &Component, group: u32, variance: f64) -> Self {
        let rows = f64::from(group);
        let values = match &component.unit {
            ComponentUnit::One => vec![rows],
            ComponentUnit::Steps { .. } | ComponentUnit::SquareSteps { .. } => vec![0.0],
            ComponentUnit::Bins { grid, span } => spread(rows, grid.points(), *span),
        };
        Self { values, variance }
    }

    fn value(&self) -> Option<f64> {
        self.values.first().copied()
    }
}

/// Rows evenly over points, counted by so many points each.
#[allow(clippy::cast_precision_loss)] // a few thousand
fn spread(rows: f64, points: u64, span: u32) -> Vec<f64> {
    let span = u64::from(span).max(1);
    let starts = (0..points.div_ceil(span)).map(|node| node * span);
    starts
        .map(|start| rows * (points - start).min(span) as f64 / points as f64)
        .collect()
}

/// A final value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Estimate {
    /// The estimate.
    pub value: f64,
    /// Half the width of its 95 % confidence interval. It covers the noise alone: not bounding,
    /// not sampling.
    pub half_width: f64,
}

/// Two-sided 95 % quantile of the standard normal distribution.
pub const Z95: f64 = 1.959_963_984_540_054;

impl Expr {
    /// A component's value.
    pub fn component(index: usize) -> Self {
        Self::Component { index }
    }

    /// The mean: `centre + sum / count`, where `sum` is relative to the centre.
    pub fn mean(centre: Decimal, sum: usize, count: usize) -> Self {
        Self::Add {
            left: Box::new(Self::Literal { value: centre }),
            right: Box::new(Self::Divide {
                left: Box::new(Self::component(sum)),
                right: Box::new(Self::component(count)),
            }),
        }
    }

    /// The variance of the rows: `mean of squares - square of mean`, where `squares` and `sum` are
    /// relative to the grid's centre, and each square is less half of the largest.
    pub fn variance(grid: Grid, squares: usize, sum: usize, count: usize) -> Option<Self> {
        let literal = |value| Box::new(Self::Literal { value });
        let over_count = |component| Self::Divide {
            left: Box::new(Self::component(component)),
            right: Box::new(Self::component(count)),
        };
        let half = i64::try_from(grid.half_square()).ok()?;
        let half = Self::Multiply {
            left: literal(Decimal::whole(half)?),
            right: Box::new(Self::Multiply {
                left: literal(grid.step()),
                right: literal(grid.step()),
            }),
        };
        Some(Self::Subtract {
            left: Box::new(Self::Add {
                left: Box::new(half),
                right: Box::new(over_count(squares)),
            }),
            right: Box::new(Self::Multiply {
                left: Box::new(over_count(sum)),
                right: Box::new(over_count(sum)),
            }),
        })
    }

    /// The unbiased variance of a sample: the variance of the rows times n / (n - 1).
    #[must_use]
    pub fn of_sample(self, count: usize) -> Self {
        let less_one = Self::Subtract {
            left: Box::new(Self::component(count)),
            right: Box::new(Self::Literal {
                value: Decimal::ONE,
            }),
        };
        Self::Multiply {
            left: Box::new(self),
            right: Box::new(Self::Divide {
                left: Box::new(Self::component(count)),
                right: Box::new(less_one),
            }),
        }
    }

    /// The square root.
    #[must_use]
    pub fn square_root(self) -> Self {
        Self::SquareRoot {
            operand: Box::new(self),
        }
    }

    /// The value at a cell, with its interval; `None` where a denominator, or what a root is drawn
    /// of, can't be told from zero.
    pub fn estimate(&self, cell: &[Noisy]) -> Option<Estimate> {
        let dual = self.dual(cell)?;
        let half_width = Z95 * dual.variance(cell).sqrt();
        (dual.value.is_finite() && half_width.is_finite()).then_some(Estimate {
            value: dual.value,
            half_width,
        })
    }

    fn dual(&self, cell: &[Noisy]) -> Option<Dual> {
        match self {
            Self::Component { index } => {
                let mut gradient = vec![0.0; cell.len()];
                *gradient.get_mut(*index)? = 1.0;
                Some(Dual {
                    value: cell.get(*index)?.value()?,
                    gradient,
                    apart: 0.0,
                })
            }
            Self::Literal { value } => Some(Dual {
                value: value.to_f64(),
                gradient: vec![0.0; cell.len()],
                apart: 0.0,
            }),
            Self::Add { left, right } => {
                Some(left.dual(cell)?.linear(1.0, &right.dual(cell)?, 1.0))
            }
            Self::Subtract { left, right } => {
                Some(left.dual(cell)?.linear(1.0, &right.dual(cell)?, -1.0))
            }
            Self::Multiply { left, right } => {
                let (l, r) = (left.dual(cell)?, right.dual(cell)?);
                let mut product = l.linear(r.value, &r, l.value);
                product.value = l.value * r.value;
                Some(product)
            }
            Self::Divide { left, right } => {
                let (l, r) = (left.dual(cell)?, right.dual(cell)?);
                if r.value.abs() <= Z95 * r.variance(cell).sqrt() || r.value == 0.0 {
                    return None;
                }
                let quotient = l.value / r.value;
                let mut dual = l.linear(1.0 / r.value, &r, -quotient / r.value);
                dual.value = quotient;
                Some(dual)
            }
            Self::SquareRoot { operand } => {
                let dual = operand.dual(cell)?;
                if dual.value <= Z95 * dual.variance(cell).sqrt() || dual.value == 0.0 {
                    return None;
                }
                let root = dual.value.sqrt();
                let mut dual = dual.scaled(0.5 / root);
                dual.value = root;
                Some(dual)
            }
            Self::Quantile {
                fraction,
                grid,
                levels,
            } => {
                let levels = levels
                    .iter()
                    .map(|l| Some((cell.get(l.component)?, l.span)));
                let levels: Option<Vec<_>> = levels.collect();
                let estimate = quantile::estimate(&levels?, grid, fraction.to_f64())?;
                Some(Dual {
                    value: estimate.value,
                    gradient: vec![0.0; cell.len()],
                    apart: (estimate.half_width / Z95).powi(2),
                })
            }
        }
    }
}

/// A value and its gradient by component.
struct Dual {
    value: f64,
    gradient: Vec<f64>,
    /// The variance that no gradient describes: a quantile's, which no other part of a compiled
    /// expression shares.
    apart: f64,
}

impl Dual {
    /// `a·self + b·other`.
    fn linear(&self, a: f64, other: &Self, b: f64) -> Self {
        let pairs = self.gradient.iter().zip(&other.gradient);
        Self {
            value: a * self.value + b * other.value,
            gradient: pairs.map(|(x, y)| a * x + b * y).collect(),
            apart: a * a * self.apart + b * b * other.apart,
        }
    }

    /// `factor·self`.
    fn scaled(self, factor: f64) -> Self {
        Self {
            value: factor * self.value,
            gradient: self.gradient.into_iter().map(|g| factor * g).collect(),
            apart: factor * factor * self.apart,
        }
    }

    fn variance(&self, cell: &[Noisy]) -> f64 {
        let parts = self.gradient.iter().zip(cell);
        let sum: f64 = parts.map(|(g, noisy)| g * g * noisy.variance).sum();
        sum + self.apart
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell() -> [Noisy; 2] {
        [Noisy::one(500.0, 100.0), Noisy::one(1000.0, 400.0)]
    }

    #[test]
    fn a_count_has_its_noise_as_interval() {
        let e = Expr::component(0).estimate(&cell()).expect("value");
        assert!((e.half_width - 19.6).abs() < 0.01, "{e:?}");
    }

    #[test]
    fn a_mean_follows_the_delta_method() {
        let centre = "10".parse().expect("decimal");
        let e = Expr::mean(centre, 0, 1).estimate(&cell()).expect("value");
        assert!((e.value - 10.5).abs() < 1e-12);
        let expected = Z95 * (100.0_f64 / 1e6 + 0.25 * 400.0 / 1e6).sqrt();
        assert!((e.half_width - expected).abs() < 1e-12);
    }

    #[test]
    fn shared_parts_are_not_counted_twice() {
        let x = || Box::new(Expr::component(0));
        let zero = Expr::Subtract {
            left: x(),
            right: x(),
        };
        assert_eq!(zero.estimate(&cell()).map(|e| e.half_width), Some(0.0));
    }

    #[test]
    fn nothing_is_divided_by_what_may_be_zero() {
        let mut cell = cell();
        cell[1].values = vec![30.0];
        let centre = "10".parse().expect("decimal");
        assert_eq!(Expr::mean(centre, 0, 1).estimate(&cell), None);
        assert_eq!(Expr::component(7).estimate(&cell), None);
    }

    /// Values 2, 4, 4, 4, 5, 5, 7, 9, of mean 5 and variance 4, over 0 to 10 in steps of 1.
    fn spread_cell(variance: f64) -> ([Noisy; 3], Grid) {
        let grid = Grid::new(Decimal::ZERO, 10.into(), Decimal::ONE).expect("grid");
        // The squares are relative to 25 / 2, rounded down.
        let squares = 32.0 - 8.0 * 12.0;
        let parts = [squares, 0.0, 8.0].map(|value| Noisy::one(value, variance));
        (parts, grid)
    }

    #[test]
    fn variances_and_deviations_are_those_of_the_rows() {
        let (cell, grid) = spread_cell(1e-6);
        let population = Expr::variance(grid, 0, 1, 2).expect("variance");
        let value = |e: &Expr| e.estimate(&cell).expect("value").value;
        assert!((value(&population) - 4.0).abs() < 1e-12);
        assert!((value(&population.clone().square_root()) - 2.0).abs() < 1e-12);
        let sample = population.of_sample(2);
        assert!((value(&sample) - 32.0 / 7.0).abs() < 1e-12);
        assert!((value(&sample.square_root()) - (32.0_f64 / 7.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn no_root_is_drawn_of_what_may_be_zero() {
        let (cell, grid) = spread_cell(9.0);
        let population = Expr::variance(grid, 0, 1, 2).expect("variance");
        assert!(population.estimate(&cell).is_some());
        assert_eq!(population.square_root().estimate(&cell), None);
    }

    #[test]
    fn a_root_halves_the_relative_error() {
        let e = Expr::component(1)
            .square_root()
            .estimate(&cell())
            .expect("value");
        assert!((e.half_width - Z95 * 20.0 / (2.0 * 1000.0_f64.sqrt())).abs() < 1e-12);
    }
}
