//! Names that people give: parsed once, valid ever after.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Text that is not the name it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {what}: {rule}")]
pub struct NameError {
    /// What was written.
    pub text: String,
    /// What it should have been, with its article.
    pub what: &'static str,
    /// How such a name is written.
    pub rule: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(NameError { text: text.to_owned(), what: $what, rule: $rule })
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(de::Error::custom)
            }
        }
    };
}

name!(
    /// A node's name: the DNS name in its TLS certificate, by which alone it is known.
    NodeName,
    "a node name",
    "use a DNS name of lower-case letters, digits, hyphens and dots, such as hospital-a",
    |s| is_dns_name(s)
);

name!(
    /// A template's or a table's name, and of parameters, keys and columns: snake_case.
    Ident,
    "an identifier",
    "use snake_case: a lower-case letter, then at most 62 lower-case letters, digits and underscores",
    |s| is_snake_case(s)
);

name!(
    /// A person or machine that asks, as the permit names them (an address such as ada@uni.example).
    Subject,
    "a subject",
    "use 1 to 200 visible ASCII characters without spaces",
    |s| !s.is_empty() && s.len() <= 200 && s.bytes().all(|b| b.is_ascii_graphic())
);

name!(
    /// A permit's identifier, unique for its access body.
    PermitId,
    "a permit identifier",
    "use 1 to 100 ASCII letters, digits, dots, slashes, hyphens and underscores",
    |s| !s.is_empty()
        && s.len() <= 100
        && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"./-_".contains(&b))
);

name!(
    /// A template's version: three numbers, as in 1.0.0.
    Version,
    "a version",
    "use three numbers separated by dots, as in 1.0.0",
    |s| s.split('.').count() == 3
        && s.split('.').all(|n| {
            !n.is_empty()
                && n.len() <= 6
                && n.bytes().all(|b| b.is_ascii_digit())
                && (n == "0" || !n.starts_with('0'))
        })
);

fn is_dns_name(s: &str) -> bool {
    s.len() <= 253
        && s.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        })
}

fn is_snake_case(s: &str) -> bool {
    s.len() <= 63
        && s.starts_with(|c: char| c.is_ascii_lowercase())
        && s.bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_names_parse_and_bad_ones_say_how() {
        assert!("hospital-a.example".parse::<NodeName>().is_ok());
        assert!("Hospital A".parse::<NodeName>().is_err());
        assert!("patients_by_age".parse::<Ident>().is_ok());
        assert!("1st".parse::<Ident>().is_err());
        assert!("ada@uni.example".parse::<Subject>().is_ok());
        assert!("a b".parse::<Subject>().is_err());
        assert!("1.0.0".parse::<Version>().is_ok());
        let error = "1.0".parse::<Version>().expect_err("two numbers");
        assert!(error.to_string().contains("1.0.0"));
    }
}
