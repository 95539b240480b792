//! Quantiles out of a tree of noisy counts.
//!
//! The tree's levels are combined into the best linear unbiased estimate of all prefix sums, by two
//! passes (Hay et al., VLDB 2010, section 4, with the weights of an uneven tree as in Honaker,
//! *Efficient Use of Differentially Private Binary Trees*, 2015). For the interval, `P(t) − f·n` is
//! zero at the quantile `t` of the fraction `f`, is linear in the noise, and its variance is known
//! exactly: the points at which it can't be told from zero are the interval (Fieller's argument, so
//! the noise in `n` is accounted for without an expansion).

use super::{Estimate, Noisy, Z95};
use crate::decimal::Grid;

/// The quantile of a fraction, from levels of a tree, each with its span, the coarsest first; `None`
/// where the number of rows can't be told from zero, or the levels make no tree over the grid.
pub(super) fn estimate(levels: &[(&Noisy, u32)], grid: &Grid, fraction: f64) -> Option<Estimate> {
    let mut prefixes = Prefixes::of(&up(levels)?);
    if prefixes.rows <= Z95 * prefixes.rows_variance.sqrt() {
        return None;
    }
    prefixes.rise();
    let edges = Edges::of(grid);
    let value = edges.position(prefixes.crossing(fraction));
    let (first, last) = prefixes.bins(fraction);
    let half_width = (value - edges.at(first)).max(edges.at(last + 1) - value);
    (value.is_finite() && half_width.is_finite()).then_some(Estimate { value, half_width })
}

/// A node of a level that knows what its descendants do.
#[derive(Clone, Copy)]
struct Node {
    count: f64,
    variance: f64,
}

/// A level whose nodes each have `fan_out` children in the next one, but for the last of them.
struct Level {
    nodes: Vec<Node>,
    fan_out: usize,
}

/// From the leaves up: each node's own count and the sum of its children's, weighted by precision.
fn up(levels: &[(&Noisy, u32)]) -> Option<Vec<Level>> {
    let mut done: Vec<Level> = Vec::with_capacity(levels.len());
    let mut span_below = None;
    for (noisy, span) in levels.iter().rev() {
        let own = noisy.values.iter().map(|count| Node {
            count: *count,
            variance: noisy.variance,
        });
        let level = match (done.last(), span_below) {
            (Some(below), Some(narrow)) => joined(own, below, span.checked_div(narrow)?)?,
            _ => Level {
                nodes: own.collect(),
                fan_out: 1,
            },
        };
        done.push(level);
        span_below = Some(*span);
    }
    done.reverse();
    Some(done).filter(|levels| levels.first().is_some_and(|l| !l.nodes.is_empty()))
}

fn joined(own: impl Iterator<Item = Node>, below: &Level, fan_out: u32) -> Option<Level> {
    let fan_out = usize::try_from(fan_out).ok().filter(|k| *k > 0)?;
    let nodes: Vec<_> = own
        .zip(below.nodes.chunks(fan_out).map(sum))
        .map(|(own, children)| own.and(children))
        .collect();
    (nodes.len() == below.nodes.len().div_ceil(fan_out)).then_some(Level { nodes, fan_out })
}

fn sum(nodes: &[Node]) -> Node {
    let none = Node {
        count: 0.0,
        variance: 0.0,
    };
    nodes.iter().fold(none, |a, b| Node {
        count: a.count + b.count,
        variance: a.variance + b.variance,
    })
}

impl Node {
    /// Two independent observations of the same count as one.
    fn and(self, other: Self) -> Self {
        let both = self.variance + other.variance;
        if both == 0.0 {
            return self;
        }
        Self {
            count: (self.count * other.variance + other.count * self.variance) / both,
            variance: self.variance * other.variance / both,
        }
    }
}

/// How many rows lie before each edge of the leaves.
struct Prefixes {
    /// By edge, from the first leaf's lower one on.
    edges: Vec<Prefix>,
    rows: f64,
    rows_variance: f64,
}

/// The rows before an edge: `a + slope·rows + e`, where `e` is independent of the noise in `rows`.
#[derive(Clone, Copy)]
struct Prefix {
    count: f64,
    slope: f64,
    variance: f64,
}

impl Prefixes {
    /// From the root down.
    fn of(levels: &[Level]) -> Self {
        let top = sum(&levels[0].nodes);
        let mut edges = vec![Prefix {
            count: 0.0,
            slope: 0.0,
            variance: 0.0,
        }];
        let root = Descent {
            levels,
            count: top.count,
        };
        root.append(&levels[0].nodes, 0, &mut edges);
        Self {
            edges,
            rows: top.count,
            rows_variance: top.variance,
        }
    }

    /// Replaces the counts by the nearest that rise, as counts of rows before an edge do. That takes
    /// noise away, so the variances are still enough.
    fn rise(&mut self) {
        let curve = rising(self.edges.iter().map(|p| p.count));
        for (edge, count) in self.edges.iter_mut().zip(curve) {
            edge.count = count;
        }
    }

    /// Where the rising counts cross the fraction, in leaves from the first edge; the middle, where
    /// they are level there.
    fn crossing(&self, fraction: f64) -> f64 {
        let target = fraction * self.rows;
        let curve: Vec<_> = self.edges.iter().map(|p| p.count).collect();
        let below = curve.partition_point(|c| *c < target);
        let up_to = curve.partition_point(|c| *c <= target);
        let enter = interpolate(&curve, below, target);
        let leave = interpolate(&curve, up_to, target);
        f64::midpoint(enter, leave)
    }

    /// The first and the last leaf that may hold the quantile.
    fn bins(&self, fraction: f64) -> (usize, usize) {
        let distance = |p: &Prefix| {
            let noise = p.variance + (p.slope - fraction).powi(2) * self.rows_variance;
            (p.count - fraction * self.rows, Z95 * noise.sqrt())
        };
        let starts_before = |p: &Prefix| {
            let (distance, reach) = distance(p);
            distance <= reach
        };
        let ends_behind = |p: &Prefix| {
            let (distance, reach) = distance(p);
            distance >= -reach
        };
        let may = |pair: &[Prefix]| starts_before(&pair[0]) && ends_behind(&pair[1]);
        let last = self.edges.len().saturating_sub(2);
        let first_bin = self.edges.windows(2).position(may).unwrap_or(0);
        let last_bin = self.edges.windows(2).rposition(may).unwrap_or(last);
        (first_bin, last_bin)
    }
}

/// A way down the tree.
struct Descent<'a> {
    /// The levels from the current nodes' on.
    levels: &'a [Level],
    /// The rows of the nodes' parent, everything known.
    count: f64,
}

impl Descent<'_> {
    /// Appends the edges within siblings, the first of which is node `start` of its level.
    fn append(&self, siblings: &[Node], start: usize, edges: &mut Vec<Prefix>) {
        let all = sum(siblings);
        let before_parent = edges.last().map_or(0.0, |p| p.count);
        let (mut before, mut count) = (0.0, before_parent);
        for (i, node) in siblings.iter().enumerate() {
            let share = if all.variance == 0.0 {
                0.0
            } else {
                node.variance / all.variance
            };
            let known = node.count + (self.count - all.count) * share;
            let first = edges.len();
            self.children(start + i, known, edges);
            for edge in &mut edges[first..] {
                *edge = edge.among(before, node.variance, all.variance);
            }
            before += node.variance;
            count += known;
            edges.push(Prefix {
                count,
                slope: 0.0,
                variance: 0.0,
            });
            if let Some(edge) = edges.last_mut() {
                *edge = edge.among(before, 0.0, all.variance);
            }
        }
    }

    /// The edges inside a node, without its own.
    fn children(&self, node: usize, count: f64, edges: &mut Vec<Prefix>) {
        let (Some(level), Some(below)) = (self.levels.first(), self.levels.get(1)) else {
            return;
        };
        let start = node * level.fan_out;
        let end = (start + level.fan_out).min(below.nodes.len());
        let down = Descent {
            levels: &self.levels[1..],
            count,
        };
        down.append(&below.nodes[start..end], start, edges);
        // The last edge is the node's own.
        edges.pop();
    }
}

impl Prefix {
    /// The same edge, seen from the parent of the node that it lies in: `before` is the variance of
    /// the siblings in front of that node, `own` the node's, `all` theirs together. Given the
    /// parent's rows, the siblings are normal with covariance `diag(w) − w·wᵀ/Σw`.
    fn among(self, before: f64, own: f64, all: f64) -> Self {
        let moved = before + self.slope * own;
        let slope = if all == 0.0 { 0.0 } else { moved / all };
        let spread = before + self.slope.powi(2) * own - moved * slope;
        Self {
            count: self.count,
            slope,
            variance: self.variance + spread.max(0.0),
        }
    }
}

/// The non-decreasing sequence nearest to this one in squares (pool adjacent violators).
fn rising(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut blocks: Vec<(f64, usize)> = Vec::new();
    for value in values {
        let mut block = (value, 1);
        while let Some((mean, size)) = blocks.pop_if(|(mean, _)| *mean > block.0) {
            block = pooled((mean, size), block);
        }
        blocks.push(block);
    }
    let level = |(mean, size)| std::iter::repeat_n(mean, size);
    blocks.into_iter().flat_map(level).collect()
}

#[allow(clippy::cast_precision_loss)] // a few thousand
fn pooled(a: (f64, usize), b: (f64, usize)) -> (f64, usize) {
    let size = a.1 + b.1;
    let sum = a.0 * a.1 as f64 + b.0 * b.1 as f64;
    (sum / size as f64, size)
}

/// Where the line into point `at` has the target's height.
#[allow(clippy::cast_precision_loss)] // a few thousand
fn interpolate(curve: &[f64], at: usize, target: f64) -> f64 {
    let Some(before) = at.checked_sub(1) else {
        return 0.0;
    };
    let Some(height) = curve.get(at) else {
        return before as f64;
    };
    let rise = height - curve[before];
    before as f64 + ((target - curve[before]) / rise).clamp(0.0, 1.0)
}

/// The edges of the leaves, in the value's unit: half-way between points, and the grid's ends.
struct Edges {
    first: f64,
    step: f64,
    points: f64,
}

impl Edges {
    #[allow(clippy::cast_precision_loss)] // at most 2^33
    fn of(grid: &Grid) -> Self {
        Self {
            first: grid.lower_steps() as f64,
            step: grid.step().to_f64(),
            points: grid.points() as f64,
        }
    }

    #[allow(clippy::cast_precision_loss)] // a few thousand
    fn at(&self, edge: usize) -> f64 {
        self.position(edge as f64)
    }

    fn position(&self, edges: f64) -> f64 {
        let steps = (edges - 0.5).clamp(0.0, self.points - 1.0);
        (self.first + steps) * self.step
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decimal::Decimal;
    use proptest::prelude::*;

    fn grid(points: usize) -> Grid {
        let upper = i32::try_from(points).expect("few") - 1;
        Grid::new(Decimal::ZERO, upper.into(), Decimal::ONE).expect("grid")
    }

    /// Exact counts by level, the coarsest first.
    fn counts(leaves: &[f64], spans: &[u32]) -> Vec<Vec<f64>> {
        let level = |span: &u32| {
            leaves
                .chunks(*span as usize)
                .map(|c| c.iter().sum())
                .collect()
        };
        spans.iter().map(level).collect()
    }

    fn noisy(counts: Vec<Vec<f64>>, variances: &[f64]) -> Vec<Noisy> {
        let level = |(values, variance): (_, &f64)| Noisy {
            values,
            variance: *variance,
        };
        counts.into_iter().zip(variances).map(level).collect()
    }

    fn prefixes(tree: &[Noisy], spans: &[u32]) -> Prefixes {
        let levels: Vec<_> = tree.iter().zip(spans.iter().copied()).collect();
        Prefixes::of(&up(&levels).expect("tree"))
    }

    fn median(leaves: &[f64], spans: &[u32], variance: f64) -> Option<Estimate> {
        let tree = noisy(counts(leaves, spans), &vec![variance; spans.len()]);
        let levels: Vec<_> = tree.iter().zip(spans.iter().copied()).collect();
        estimate(&levels, &grid(leaves.len()), 0.5)
    }

    #[test]
    fn without_noise_the_median_is_the_rows() {
        let e = median(&[1.0, 0.0, 5.0, 3.0, 0.0, 1.0], &[4, 2, 1], 0.0).expect("value");
        // 5 of 10 rows lie below 1.5 + 4/5.
        assert!((e.value - 2.3).abs() < 1e-12, "{e:?}");
        // Half of the rows each side of a gap: its middle.
        let e = median(&[4.0, 0.0, 0.0, 4.0], &[2, 1], 0.0).expect("value");
        assert!((e.value - 1.5).abs() < 1e-12, "{e:?}");
        assert_eq!(median(&[0.0; 4], &[2, 1], 0.0), None);
    }

    #[test]
    fn nothing_is_said_of_what_may_be_no_rows() {
        assert_eq!(median(&[3.0; 4], &[2, 1], 100.0), None);
        assert!(median(&[300.0; 4], &[2, 1], 100.0).is_some());
    }

    fn tree() -> impl Strategy<Value = (Vec<u32>, usize, Vec<f64>)> {
        let shape = prop_oneof![
            Just(vec![1]),
            Just(vec![2, 1]),
            Just(vec![9, 3, 1]),
            Just(vec![8, 4, 1]),
        ];
        shape.prop_flat_map(|spans| {
            let variances = prop::collection::vec(0.5_f64..9.0, spans.len());
            (Just(spans), 2_usize..24, variances)
        })
    }

    proptest! {
        /// The estimate is linear in the noise, so its variance is a sum over the integers.
        #[test]
        fn the_variances_of_prefixes_are_those_of_their_parts((spans, leaves, variances) in tree(), fraction in 0.1_f64..0.9) {
            let zero = counts(&vec![0.0; leaves], &spans);
            let mut sums = vec![0.0; leaves + 1];
            for level in 0..spans.len() {
                for node in 0..zero[level].len() {
                    let mut unit = zero.clone();
                    unit[level][node] = 1.0;
                    let moved = prefixes(&noisy(unit, &variances), &spans);
                    for (sum, prefix) in sums.iter_mut().zip(&moved.edges) {
                        *sum += (prefix.count - fraction * moved.rows).powi(2) * variances[level];
                    }
                }
            }
            let known = prefixes(&noisy(zero, &variances), &spans);
            prop_assert_eq!(known.edges.len(), leaves + 1);
            for (sum, p) in sums.iter().zip(&known.edges) {
                let variance = p.variance + (p.slope - fraction).powi(2) * known.rows_variance;
                prop_assert!((sum - variance).abs() < 1e-9 * (1.0 + variance), "{sum} {variance}");
            }
        }

        /// All levels agree, so combining them changes nothing.
        #[test]
        fn exact_counts_stay((spans, leaves, variances) in tree(), seed in 0_u32..1000) {
            let leaves: Vec<_> = (0..leaves).map(|i| f64::from((seed >> (i % 9)) & 7)).collect();
            let known = prefixes(&noisy(counts(&leaves, &spans), &variances), &spans);
            let mut before = 0.0;
            for (leaf, edge) in leaves.iter().zip(&known.edges) {
                prop_assert!((edge.count - before).abs() < 1e-9);
                before += leaf;
            }
        }

        #[test]
        fn curves_rise_and_keep_their_sum(values in prop::collection::vec(-50.0_f64..50.0, 1..40)) {
            let curve = rising(values.iter().copied());
            prop_assert!(curve.is_sorted());
            let (sum, kept): (f64, f64) = (values.iter().sum(), curve.iter().sum());
            prop_assert!((sum - kept).abs() < 1e-9);
        }
    }
}
