//! Patients' identifiers in a snapshot.

use std::fmt;

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// The bits of a patient's identifier: positive `i64`s.
pub(crate) const PATIENT_BITS: u32 = 63;

/// The key under which a hospital's patient identifiers are hashed. Keep it: with another key
/// every patient becomes another one.
#[derive(Clone)]
pub struct PersonKey(Hmac<Sha256>);

impl PersonKey {
    /// A key from 32 secret random bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Hmac::new_from_slice(&bytes).expect("HMAC takes a key of any length"))
    }

    /// A patient's identifier: the first 63 bits of HMAC-SHA-256 over the source's identifier. It
    /// depends on nothing else, so nobody's identifier tells how many patients there are. Among a
    /// hundred million patients two share an identifier with a chance below 1 in 1,000; they would
    /// count as one patient.
    pub(crate) fn patient(&self, source: &str) -> i64 {
        let digest = self.0.clone().chain_update(source).finalize().into_bytes();
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        // 63 bits always fit, and zero (chance 2^-63) is not positive.
        i64::try_from(u64::from_be_bytes(first) >> 1).map_or(1, |id| id.max(1))
    }
}

impl fmt::Debug for PersonKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PersonKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_keyed_and_positive() {
        let one = PersonKey::from_bytes([1; 32]);
        let two = PersonKey::from_bytes([2; 32]);
        assert_eq!(one.patient("716"), one.patient("716"));
        assert_ne!(one.patient("716"), one.patient("717"));
        assert_ne!(one.patient("716"), two.patient("716"));
        assert!((0..1_000).all(|i| one.patient(&i.to_string()) > 0));
        assert_eq!(format!("{one:?}"), "PersonKey(..)");
    }

    #[test]
    fn the_hash_is_hmac_sha_256() {
        // RFC 4231, test case 1, with the key padded to 32 bytes (HMAC pads with zeros anyway).
        let mut key = [0; 32];
        key[..20].fill(0x0b);
        let first = 0xb034_4c61_d8db_3853_u64 >> 1;
        let id = PersonKey::from_bytes(key).patient("Hi There");
        assert_eq!(u64::try_from(id), Ok(first));
    }
}
