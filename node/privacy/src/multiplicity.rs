//! How many rows one patient may have in a relation.

/// What is known of the number of a patient's rows.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Multiplicity {
    /// For each of these sets of columns: at most one row for each combination of their values.
    keys: Vec<Vec<usize>>,
    /// At most so many in all.
    most: Option<u64>,
}

impl Multiplicity {
    /// At most one row.
    pub(crate) fn one() -> Self {
        Self::one_per([])
    }

    /// Any number.
    pub(crate) fn many() -> Self {
        Self::default()
    }

    /// At most one row for each combination of values of these columns.
    pub(crate) fn one_per(key: impl IntoIterator<Item = usize>) -> Self {
        Self::of([key.into_iter().collect()], None)
    }

    fn of(keys: impl IntoIterator<Item = Vec<usize>>, most: Option<u64>) -> Self {
        // Joins multiply keys; what is forgotten is only not known.
        const KEPT: usize = 8;
        let mut kept: Vec<Vec<usize>> = Vec::new();
        for mut key in keys {
            key.sort_unstable();
            key.dedup();
            if kept.len() < KEPT && !kept.contains(&key) {
                kept.push(key);
            }
        }
        let one = kept.iter().any(Vec::is_empty).then_some(1);
        Self {
            keys: kept,
            most: one.or(most),
        }
    }

    /// Whether a patient has at most one row.
    pub(crate) fn is_one(&self) -> bool {
        self.most.is_some_and(|most| most <= 1)
    }

    /// Whether a patient has at most one row for given values of these columns.
    pub(crate) fn is_one_given(&self, columns: &[usize]) -> bool {
        let given = |key: &Vec<usize>| key.iter().all(|c| columns.contains(c));
        self.is_one() || self.keys.iter().any(given)
    }

    /// Whether a patient has at most so many rows.
    pub(crate) fn is_at_most(&self, rows: u64) -> bool {
        self.most.is_some_and(|most| most <= rows)
    }

    /// The same rows, of which there is also at most one for each combination of these columns.
    pub(crate) fn and_one_per(self, key: impl IntoIterator<Item = usize>) -> Self {
        let keys = [key.into_iter().collect()].into_iter().chain(self.keys);
        Self::of(keys, self.most)
    }

    /// The same rows after columns moved; a key that lost a column is forgotten.
    pub(crate) fn moved(&self, to: impl Fn(usize) -> Option<usize>) -> Self {
        let moved = |key: &Vec<usize>| key.iter().map(|c| to(*c)).collect();
        Self::of(self.keys.iter().filter_map(moved), self.most)
    }

    /// Those of the rows that have one value, or one of a number of values, in a column.
    pub(crate) fn restricted(&self, column: usize, values: u64) -> Self {
        let single = self.keys.contains(&vec![column]).then_some(values);
        let most = self.most.into_iter().chain(single).min();
        let drop = |key: &Vec<usize>| key.iter().copied().filter(|c| *c != column).collect();
        let keys: Vec<_> = match values {
            0 | 1 => self.keys.iter().map(drop).collect(),
            _ => self.keys.clone(),
        };
        Self::of(keys, most)
    }

    /// Pairs of a row of this and a row of the other, whose columns come after `width` columns.
    pub(crate) fn paired(&self, other: &Self, width: usize) -> Self {
        let pair = |left: &Vec<usize>, right: &Vec<usize>| {
            let right = right.iter().map(|c| c + width);
            left.iter().copied().chain(right).collect()
        };
        let keys = self
            .keys
            .iter()
            .flat_map(|left| other.keys.iter().map(move |right| pair(left, right)));
        let most = self.most.zip(other.most);
        Self::of(keys, most.map(|(left, right)| left.saturating_mul(right)))
    }

    /// What is known by either.
    pub(crate) fn and(self, other: Self) -> Self {
        let most = self.most.into_iter().chain(other.most).min();
        Self::of(self.keys.into_iter().chain(other.keys), most)
    }

    /// The rows of both, one after the other.
    pub(crate) fn together(&self, other: &Self) -> Self {
        let most = self.most.zip(other.most);
        Self::of([], most.map(|(one, two)| one.saturating_add(two)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_bounded_bounds_the_rows() {
        let numbered = Multiplicity::many().and_one_per([3]);
        assert!(numbered.is_one_given(&[3]) && !numbered.is_at_most(1000));
        let few = numbered.restricted(3, 5);
        assert!(few.is_at_most(5) && !few.is_at_most(4));
        assert!(numbered.restricted(3, 1).is_one());
        assert!(!numbered.restricted(2, 1).is_at_most(1000));
    }

    #[test]
    fn a_number_among_others_bounds_only_with_them() {
        let numbered = Multiplicity::one_per([2, 3]);
        let few = numbered.restricted(3, 5);
        assert!(!few.is_at_most(1000) && !few.is_one_given(&[2]));
        assert!(numbered.restricted(3, 1).is_one_given(&[2]));
    }

    #[test]
    fn what_moves_away_is_forgotten() {
        let known = Multiplicity::one_per([1]).and(Multiplicity::one_per([2, 4]));
        let moved = known.moved(|c| c.checked_sub(2));
        assert!(
            moved.is_one_given(&[0, 2]) && !moved.is_one_given(&[0]) && !moved.is_one_given(&[1])
        );
        assert!(Multiplicity::one().moved(|_| None).is_one());
    }

    #[test]
    fn rows_of_both_add_up() {
        let five = Multiplicity::one_per([0]).restricted(0, 5);
        let both = five.together(&Multiplicity::one());
        assert!(both.is_at_most(6) && !both.is_at_most(5) && !both.is_one_given(&[0]));
        assert!(!five.together(&Multiplicity::many()).is_at_most(1000));
    }
}
