//! Final values: expressions over merged noisy components, with 95 % confidence intervals.
//!
//! All of this is post-processing of released values and costs no privacy (Dwork and Roth, *The
//! Algorithmic Foundations of Differential Privacy*, Prop. 2.1). The components' noises are
//! independent and, summed over nodes, very nearly Gaussian; an expression's standard error is
//! that of its first-order expansion (the delta method).

use serde::{Deserialize, Serialize};

use crate::decimal::Decimal;

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
}

/// The merged value of one component at one cell, in its real unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Noisy {
    /// The noisy value.
    pub value: f64,
    /// The noise's variance.
    pub variance: f64,
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

    /// The value at a cell, with its interval; `None` where a denominator can't be told from zero.
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
                    value: cell.get(*index)?.value,
                    gradient,
                })
            }
            Self::Literal { value } => Some(Dual {
                value: value.to_f64(),
                gradient: vec![0.0; cell.len()],
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
        }
    }
}

/// A value and its gradient by component.
struct Dual {
    value: f64,
    gradient: Vec<f64>,
}

impl Dual {
    /// `a·self + b·other`.
    fn linear(&self, a: f64, other: &Self, b: f64) -> Self {
        let pairs = self.gradient.iter().zip(&other.gradient);
        Self {
            value: a * self.value + b * other.value,
            gradient: pairs.map(|(x, y)| a * x + b * y).collect(),
        }
    }

    fn variance(&self, cell: &[Noisy]) -> f64 {
        let parts = self.gradient.iter().zip(cell);
        parts.map(|(g, noisy)| g * g * noisy.variance).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CELL: [Noisy; 2] = [
        Noisy {
            value: 500.0,
            variance: 100.0,
        },
        Noisy {
            value: 1000.0,
            variance: 400.0,
        },
    ];

    #[test]
    fn a_count_has_its_noise_as_interval() {
        let e = Expr::component(0).estimate(&CELL).expect("value");
        assert!((e.half_width - 19.6).abs() < 0.01, "{e:?}");
    }

    #[test]
    fn a_mean_follows_the_delta_method() {
        let centre = "10".parse().expect("decimal");
        let e = Expr::mean(centre, 0, 1).estimate(&CELL).expect("value");
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
        assert_eq!(zero.estimate(&CELL).map(|e| e.half_width), Some(0.0));
    }

    #[test]
    fn nothing_is_divided_by_what_may_be_zero() {
        let mut cell = CELL;
        cell[1].value = 30.0;
        let centre = "10".parse().expect("decimal");
        assert_eq!(Expr::mean(centre, 0, 1).estimate(&cell), None);
        assert_eq!(Expr::component(7).estimate(&cell), None);
    }
}
