//! Secrets from many noisy counts (Dinur and Nissim, *Revealing Information while Preserving Privacy*,
//! PODS 2003).

/// A decoder of secret bits out of noisy counts of known subsets of them.
#[derive(Debug)]
pub struct Decoder {
    /// One row a count: which bits are in it.
    subsets: Vec<Vec<bool>>,
    /// Lower triangle L of LLᵀ = AᵀA + 4σ²·1.
    factor: Vec<Vec<f64>>,
}

impl Decoder {
    /// For counts with noise of scale σ: least squares, with the knowledge that a bit has variance ¼. Of
    /// all linear decoders it errs least.
    pub fn new(subsets: Vec<Vec<bool>>, sigma: f64) -> Self {
        let bits = subsets.first().map_or(0, Vec::len);
        let mut matrix = vec![vec![0.0; bits]; bits];
        for subset in &subsets {
            for i in (0..bits).filter(|i| subset[*i]) {
                for j in (0..=i).filter(|j| subset[*j]) {
                    matrix[i][j] += 1.0;
                }
            }
        }
        for (i, row) in matrix.iter_mut().enumerate() {
            row[i] += 4.0 * sigma * sigma;
        }
        Self {
            subsets,
            factor: cholesky(matrix),
        }
    }

    /// The likelier value of each bit.
    pub fn decode(&self, counts: &[f64]) -> Vec<bool> {
        // Of bits less ½.
        let mut centred = vec![0.0; self.factor.len()];
        for (subset, count) in self.subsets.iter().zip(counts) {
            let size = subset.iter().filter(|inside| **inside).count();
            let size: f64 = std::iter::repeat_n(0.5, size).sum();
            for (sum, inside) in centred.iter_mut().zip(subset) {
                *sum += if *inside { count - size } else { 0.0 };
            }
        }
        self.solve(centred).into_iter().map(|x| x > 0.0).collect()
    }

    fn solve(&self, mut x: Vec<f64>) -> Vec<f64> {
        let l = &self.factor;
        for i in 0..x.len() {
            let known: f64 = (0..i).map(|j| l[i][j] * x[j]).sum();
            x[i] = (x[i] - known) / l[i][i];
        }
        for i in (0..x.len()).rev() {
            let known: f64 = (i + 1..x.len()).map(|j| l[j][i] * x[j]).sum();
            x[i] = (x[i] - known) / l[i][i];
        }
        x
    }
}

/// The lower triangle of a positive definite matrix's root.
fn cholesky(mut a: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    for i in 0..a.len() {
        for j in 0..=i {
            let known: f64 = (0..j).map(|k| a[i][k] * a[j][k]).sum();
            let rest = a[i][j] - known;
            a[i][j] = if i == j { rest.sqrt() } else { rest / a[j][j] };
        }
    }
    a
}
