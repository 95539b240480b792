//! Signed messages: compact JWS (RFC 7515) with Ed25519 (RFC 8037), and nothing else.
//!
//! One algorithm, one key type and a fixed `typ` a message kind: there is nothing to negotiate,
//! so nothing to downgrade. Signatures are checked strictly (no small-order keys, no malleable
//! encodings). `kid` names the key: SHA-256 over the raw public key, first 16 bytes, in hex.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ed25519_dalek::{Signature, Signer as _};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};

/// The largest token that is read, in bytes.
pub const MAX_TOKEN_BYTES: usize = 64 * 1024;

/// What a signed message is, as its `typ` header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// An access body's permit.
    Permit,
    /// A requester's own signature under an ask.
    Ask,
    /// A node's partial.
    Partial,
}

impl MessageKind {
    fn typ(self) -> &'static str {
        match self {
            Self::Permit => "ward-permit+jws",
            Self::Ask => "ward-ask+jws",
            Self::Partial => "ward-partial+jws",
        }
    }
}

/// A private Ed25519 key.
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// A fresh key out of the operating system's randomness.
    ///
    /// # Errors
    /// When the operating system gives none.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        Ok(Self(ed25519_dalek::SigningKey::from_bytes(&seed)))
    }

    /// The public half.
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey(self.0.verifying_key())
    }

    /// The key in PKCS #8 PEM, as files hold it.
    ///
    /// # Errors
    /// Never for a valid key; the encoder reports it all the same.
    pub fn to_pem(&self) -> Result<String, KeySyntax> {
        use ed25519_dalek::pkcs8::EncodePrivateKey as _;
        use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
        let pem = self.0.to_pkcs8_pem(LineEnding::LF).map_err(|_| KeySyntax)?;
        Ok(pem.as_str().to_owned())
    }

    /// Reads PKCS #8 PEM.
    ///
    /// # Errors
    /// When the text is no Ed25519 private key.
    pub fn from_pem(pem: &str) -> Result<Self, KeySyntax> {
        use ed25519_dalek::pkcs8::DecodePrivateKey as _;
        ed25519_dalek::SigningKey::from_pkcs8_pem(pem)
            .map(Self)
            .map_err(|_| KeySyntax)
    }

    /// Signs a message: `base64(header).base64(payload).base64(signature)`.
    ///
    /// # Errors
    /// When the payload can't be written as JSON.
    pub fn sign<T: Serialize>(&self, kind: MessageKind, payload: &T) -> Result<String, JwsError> {
        let header = Header {
            alg: "EdDSA".into(),
            kid: self.verifying_key().key_id(),
            typ: kind.typ().into(),
        };
        let encode = |bytes: Result<Vec<u8>, serde_json::Error>| {
            bytes
                .map(|b| BASE64.encode(b))
                .map_err(|e| JwsError::Payload(e.to_string()))
        };
        let head = encode(serde_json::to_vec(&header))?;
        let body = encode(serde_json::to_vec(payload))?;
        let input = format!("{head}.{body}");
        let signature = BASE64.encode(self.0.sign(input.as_bytes()).to_bytes());
        Ok(format!("{input}.{signature}"))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.verifying_key().key_id())
    }
}

/// A public Ed25519 key; written `ed25519:` and 43 characters of unpadded URL-safe base64.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct VerifyingKey(ed25519_dalek::VerifyingKey);

impl VerifyingKey {
    /// The key's name in `kid` headers.
    pub fn key_id(&self) -> String {
        hex::encode(&Sha256::digest(self.0.as_bytes())[..16])
    }
}

impl fmt::Display for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ed25519:{}", BASE64.encode(self.0.as_bytes()))
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for VerifyingKey {
    type Err = KeySyntax;

    fn from_str(s: &str) -> Result<Self, KeySyntax> {
        let text = s.strip_prefix("ed25519:").ok_or(KeySyntax)?;
        let bytes = BASE64.decode(text).map_err(|_| KeySyntax)?;
        let bytes = bytes.try_into().map_err(|_| KeySyntax)?;
        let key = ed25519_dalek::VerifyingKey::from_bytes(&bytes).map_err(|_| KeySyntax)?;
        if key.is_weak() {
            return Err(KeySyntax);
        }
        Ok(Self(key))
    }
}

impl Serialize for VerifyingKey {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for VerifyingKey {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}

/// Text that is not a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not an Ed25519 key; a public key is written ed25519: and 43 characters of URL-safe base64, a private key is PKCS #8 PEM"
)]
pub struct KeySyntax;

/// Keys by their id, each with what it is trusted for.
#[derive(Clone, Debug, Default)]
pub struct KeyRing<T>(BTreeMap<String, (VerifyingKey, T)>);

impl<T> KeyRing<T> {
    /// A ring of the given keys.
    pub fn new(keys: impl IntoIterator<Item = (VerifyingKey, T)>) -> Self {
        Self(
            keys.into_iter()
                .map(|(k, t)| (k.key_id(), (k, t)))
                .collect(),
        )
    }

    /// Checks a token and reads its payload, with what the signing key is trusted for.
    ///
    /// # Errors
    /// When the token is malformed, of another kind, or not signed by a key of the ring.
    pub fn verify<P: DeserializeOwned>(
        &self,
        kind: MessageKind,
        token: &str,
    ) -> Result<(P, &T), JwsError> {
        let parts = split(token)?;
        let header: Header =
            serde_json::from_slice(&parts.header).map_err(|_| JwsError::Malformed)?;
        if header.alg != "EdDSA" || header.typ != kind.typ() {
            return Err(JwsError::Kind {
                expected: kind.typ(),
                found: header.typ,
            });
        }
        let (key, trusted_for) = self
            .0
            .get(&header.kid)
            .ok_or_else(|| JwsError::UnknownKey(header.kid.clone()))?;
        key.0
            .verify_strict(parts.signed.as_bytes(), &parts.signature)
            .map_err(|_| JwsError::Signature)?;
        let payload =
            serde_json::from_slice(&parts.payload).map_err(|e| JwsError::Payload(e.to_string()))?;
        Ok((payload, trusted_for))
    }
}

/// Reads a token's payload *without* checking who signed it: for display only.
///
/// # Errors
/// When the token or its payload is malformed.
pub fn read_unverified<P: DeserializeOwned>(token: &str) -> Result<P, JwsError> {
    serde_json::from_slice(&split(token)?.payload).map_err(|e| JwsError::Payload(e.to_string()))
}

struct Parts<'a> {
    signed: &'a str,
    header: Vec<u8>,
    payload: Vec<u8>,
    signature: Signature,
}

fn split(token: &str) -> Result<Parts<'_>, JwsError> {
    let token = token.trim_end();
    if token.len() > MAX_TOKEN_BYTES {
        return Err(JwsError::Malformed);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(JwsError::Malformed)?;
    let (header, payload) = signed.split_once('.').ok_or(JwsError::Malformed)?;
    let decode = |text: &str| BASE64.decode(text).map_err(|_| JwsError::Malformed);
    Ok(Parts {
        signed,
        header: decode(header)?,
        payload: decode(payload)?,
        signature: Signature::from_slice(&decode(signature)?).map_err(|_| JwsError::Malformed)?,
    })
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    kid: String,
    typ: String,
}

/// Why a token is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwsError {
    /// Not three base64 parts with a known header.
    #[error("not a compact JWS (header.payload.signature in URL-safe base64)")]
    Malformed,
    /// Another algorithm or kind of message.
    #[error("expected an EdDSA token of type {expected}, found type {found:?}")]
    Kind {
        /// Expected `typ`.
        expected: &'static str,
        /// Found `typ`.
        found: String,
    },
    /// The key is not in the ring.
    #[error("signed by the key {0}, which is not trusted here")]
    UnknownKey(String),
    /// The signature is wrong.
    #[error("the signature is wrong: the token was altered, or another key signed it")]
    Signature,
    /// The payload is not what it should be.
    #[error("the payload can't be read: {0}")]
    Payload(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> (String, KeyRing<&'static str>) {
        let key = SigningKey::generate().expect("randomness");
        let token = key.sign(MessageKind::Permit, &"hello").expect("signed");
        (token, KeyRing::new([(key.verifying_key(), "body")]))
    }

    #[test]
    fn a_good_token_verifies() {
        let (token, ring) = token();
        let (payload, body) = ring
            .verify::<String>(MessageKind::Permit, &token)
            .expect("verified");
        assert_eq!((payload.as_str(), *body), ("hello", "body"));
    }

    #[test]
    fn any_changed_character_is_found() {
        let (token, ring) = token();
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).expect("ascii");
            assert!(
                ring.verify::<String>(MessageKind::Permit, &changed)
                    .is_err(),
                "{at}"
            );
        }
    }

    #[test]
    fn another_key_or_kind_is_refused() {
        let (token, ring) = token();
        assert!(matches!(
            ring.verify::<String>(MessageKind::Partial, &token),
            Err(JwsError::Kind { .. })
        ));
        let (_, other) = self::token();
        assert!(matches!(
            other.verify::<String>(MessageKind::Permit, &token),
            Err(JwsError::UnknownKey(_))
        ));
    }

    #[test]
    fn keys_read_back() {
        let key = SigningKey::generate().expect("randomness");
        let pem = key.to_pem().expect("pem");
        let again = SigningKey::from_pem(&pem).expect("key");
        assert_eq!(again.verifying_key(), key.verifying_key());
        let text = key.verifying_key().to_string();
        assert_eq!(text.parse(), Ok(key.verifying_key()));
    }
}
