//! Exact content hashing.
//!
//! The canonical form is RFC 8785 (JSON Canonicalization Scheme), narrowed so that no two
//! implementations can disagree: numbers are integers of magnitude below 2⁵³ (decimals and wider
//! integers travel as strings) and object names are ASCII. A hash is SHA-256 over
//! `ward:KIND:v1\n` followed by that form; the prefix keeps hashes of different kinds apart.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// A SHA-256 content hash; written `sha256:` and 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentHash([u8; 32]);

impl ContentHash {
    /// The hash of `value`'s canonical form, in the name space `kind`.
    ///
    /// # Errors
    /// When the value holds a number or a name outside the canonical form.
    pub fn of<T: Serialize>(kind: &str, value: &T) -> Result<Self, CanonicalError> {
        let mut hasher = Sha256::new();
        hasher.update(format!("ward:{kind}:v1\n"));
        hasher.update(canonical_bytes(value)?);
        Ok(Self(hasher.finalize().into()))
    }

    /// The plain SHA-256 of a file's bytes.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// A hash computed elsewhere.
    pub const fn from_digest(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first 12 hex digits: enough for people to tell two apart, never for a decision.
    pub fn short(&self) -> String {
        hex::encode(&self.0[..6])
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", hex::encode(self.0))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ContentHash {
    type Err = HashSyntax;

    fn from_str(s: &str) -> Result<Self, HashSyntax> {
        let digits = s.strip_prefix("sha256:").ok_or(HashSyntax)?;
        if digits.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(HashSyntax);
        }
        let mut digest = [0; 32];
        hex::decode_to_slice(digits, &mut digest).map_err(|_| HashSyntax)?;
        Ok(Self(digest))
    }
}

impl Serialize for ContentHash {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ContentHash {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}

/// Text that is not a content hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a hash is written sha256: followed by 64 lower-case hex digits")]
pub struct HashSyntax;

/// The canonical bytes of a value.
///
/// # Errors
/// When the value holds a number or a name outside the canonical form.
pub fn canonical_bytes<T: Serialize>(value: &T) -> Result<Vec<u8>, CanonicalError> {
    let value = serde_json::to_value(value).map_err(|e| CanonicalError::Json(e.to_string()))?;
    check(&value)?;
    serde_json_canonicalizer::to_vec(&value).map_err(|e| CanonicalError::Json(e.to_string()))
}

const EXACT: i64 = 1 << 53;

fn check(value: &Value) -> Result<(), CanonicalError> {
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
        Value::Number(n) => match n.as_i64() {
            Some(i) if -EXACT < i && i < EXACT => Ok(()),
            _ => Err(CanonicalError::Number(n.to_string())),
        },
        Value::Array(items) => items.iter().try_for_each(check),
        Value::Object(fields) => fields.iter().try_for_each(|(name, value)| {
            if !name.is_ascii() {
                return Err(CanonicalError::Name(name.clone()));
            }
            check(value)
        }),
    }
}

/// Why a value has no canonical form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalError {
    /// A number that JSON readers may round.
    #[error("the number {0} is not an integer below 2^53; write it as a string")]
    Number(String),
    /// A name whose sort order depends on the implementation.
    #[error("the name {0:?} is not ASCII; use ASCII names")]
    Name(String),
    /// The value can't be written as JSON.
    #[error("the value can't be written as JSON: {0}")]
    Json(String),
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn order_of_names_does_not_matter_and_kind_does() {
        let a = ContentHash::of("x", &json!({"b": 1, "a": [true, null]})).expect("canonical");
        let b = ContentHash::of("x", &json!({"a": [true, null], "b": 1})).expect("canonical");
        let c = ContentHash::of("y", &json!({"a": [true, null], "b": 1})).expect("canonical");
        assert_eq!(a, b);
        assert_ne!(a, c);
    }

    #[test]
    fn ambiguous_values_have_no_hash() {
        assert!(canonical_bytes(&json!({"x": 0.1})).is_err());
        assert!(canonical_bytes(&json!({"x": 1_u64 << 53})).is_err());
        assert!(canonical_bytes(&json!({"é": 1})).is_err());
    }

    #[test]
    fn rfc_8785_layout() {
        let bytes = canonical_bytes(&json!({"b": "é\u{1}\n", "a": 10})).expect("canonical");
        assert_eq!(bytes, "{\"a\":10,\"b\":\"é\\u0001\\n\"}".as_bytes());
    }

    #[test]
    fn hashes_read_back() {
        let hash = ContentHash::of_bytes(b"ward");
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert_eq!("sha256:00".parse::<ContentHash>(), Err(HashSyntax));
    }
}
