//! How patients are laid out over files: by equal ranges of their identifiers.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::person::PATIENT_BITS;

/// Parts of equal ranges of identifiers, a power of two of them. The same for all tables of a
/// snapshot, so that part i of one table holds the patients of part i of every other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub(crate) struct Parts {
    bits: u32,
}

impl Parts {
    const MOST_BITS: u32 = 8;

    /// At least `wanted` parts, if that is not too many.
    pub(crate) fn at_least(wanted: u64) -> Self {
        let bits = wanted.max(1).next_power_of_two().trailing_zeros();
        Self {
            bits: bits.min(Self::MOST_BITS),
        }
    }

    pub(crate) fn count(self) -> usize {
        1 << self.bits
    }

    /// The part that a patient (positive) belongs to.
    pub(crate) fn of(self, patient: i64) -> usize {
        usize::try_from(patient >> (PATIENT_BITS - self.bits)).unwrap_or(0)
    }

    /// The first identifier of each part but the first.
    pub(crate) fn splits(self) -> impl Iterator<Item = i64> {
        let width = PATIENT_BITS - self.bits;
        (1_i64..)
            .take(self.count() - 1)
            .map(move |part| part << width)
    }
}

impl From<Parts> for u32 {
    fn from(parts: Parts) -> Self {
        1 << parts.bits
    }
}

impl TryFrom<u32> for Parts {
    type Error = String;

    fn try_from(count: u32) -> Result<Self, String> {
        let parts = Self::at_least(count.into());
        if u32::from(parts) == count {
            Ok(parts)
        } else {
            Err(format!("a table can't have {count} parts"))
        }
    }
}

/// Where a part of a table lies in a snapshot's directory.
pub(crate) fn part_path(snapshot: &Path, table: &str, part: usize) -> PathBuf {
    snapshot.join(table).join(format!("{part:03}.parquet"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_agree_with_parts() {
        for wanted in [0, 1, 2, 5, 1 << 40] {
            let parts = Parts::at_least(wanted);
            assert_eq!(parts.of(1), 0);
            assert_eq!(parts.of(i64::MAX), parts.count() - 1);
            for (i, split) in parts.splits().enumerate() {
                assert_eq!((parts.of(split - 1), parts.of(split)), (i, i + 1));
            }
            assert_eq!(parts.splits().count(), parts.count() - 1);
        }
        assert_eq!(Parts::at_least(5).count(), 8);
        assert_eq!(Parts::at_least(1 << 40).count(), 256);
        assert!(Parts::try_from(3).is_err());
    }
}
