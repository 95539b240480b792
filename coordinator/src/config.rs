//! The coordinator's configuration: one TOML file.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32, NonZeroU64};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};
use ward_schemas::jws::VerifyingKey;
use ward_schemas::names::{NodeName, Subject};
use ward_transport::TlsFiles;

pub use ward_schemas::permit::AccessBody;

/// All settings. [`crate::init()`] writes a file with every field and what it means; relative paths
/// are relative to that file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address and port to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Directory of the database.
    pub data: PathBuf,
    /// The network's vocabulary package.
    pub vocabulary: PathBuf,
    /// Directory of TOML templates beside those that ship.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub templates: Option<PathBuf>,
    /// How long a node has for a quote, all attempts together.
    #[serde(default = "defaults::quote_deadline_seconds")]
    pub quote_deadline_seconds: NonZeroU64,
    /// How long a node has for its partial, all attempts together.
    #[serde(default = "defaults::answer_deadline_seconds")]
    pub answer_deadline_seconds: NonZeroU64,
    /// How long to wait for a connection to a node.
    #[serde(default = "defaults::connect_timeout_seconds")]
    pub connect_timeout_seconds: NonZeroU64,
    /// How often a node that can't be reached is tried.
    #[serde(default = "defaults::attempts")]
    pub attempts: NonZeroU32,
    /// Pause before the second attempt; each further one doubles, up to 5 seconds.
    #[serde(default = "defaults::retry_pause_milliseconds")]
    pub retry_pause_milliseconds: NonZeroU64,
    /// How often templates are offered to nodes again.
    #[serde(default = "defaults::offer_interval_seconds")]
    pub offer_interval_seconds: NonZeroU64,
    /// How many asks may run at once; further ones wait.
    #[serde(default = "defaults::max_concurrent_asks")]
    pub max_concurrent_asks: NonZeroU16,
    /// How long asks under way may go on after a request to stop.
    #[serde(default = "defaults::drain_seconds")]
    pub drain_seconds: NonZeroU64,
    /// The coordinator's certificate, for requesters and for nodes alike.
    pub tls: TlsFiles,
    /// The nodes of the network.
    #[serde(default)]
    pub nodes: Vec<NodeConfig>,
    /// Who issues permits.
    #[serde(default)]
    pub access_bodies: Vec<AccessBody>,
    /// Who may ask.
    #[serde(default)]
    pub requesters: Vec<RequesterConfig>,
}

/// One node of the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// The name in its certificate.
    pub name: NodeName,
    /// Where it listens.
    pub address: NodeAddress,
    /// The key that signs its partials.
    pub key: VerifyingKey,
}

/// One requester: proves itself by a client certificate with this subject, or by the token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequesterConfig {
    /// The person or machine, as permits name it.
    pub subject: Subject,
    /// The hash of a bearer token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_sha256: Option<TokenHash>,
}

impl Config {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// When the file can't be read, or says something that can't be.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(file).map_err(|source| ConfigError::Read {
            file: file.to_owned(),
            source,
        })?;
        Self::parse(&text, file)
    }

    /// Reads the text of the configuration file `file`.
    ///
    /// # Errors
    /// When the text says something that can't be.
    pub fn parse(text: &str, file: &Path) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|e| ConfigError::Syntax {
            file: file.to_owned(),
            message: e.to_string().trim_end().to_owned(),
        })?;
        config.check(file)?;
        Ok(config.relative_to(file.parent().unwrap_or(Path::new("."))))
    }

    fn check(&self, file: &Path) -> Result<(), ConfigError> {
        self.check_unique(file)?;
        let open = |r: &&RequesterConfig| r.token_sha256 == Some(TokenHash::of(""));
        self.requesters.iter().find(open).map_or(Ok(()), |open| {
            Err(ConfigError::EmptyToken {
                file: file.to_owned(),
                subject: open.subject.clone(),
            })
        })
    }

    fn check_unique(&self, file: &Path) -> Result<(), ConfigError> {
        let nodes = self.nodes.iter().map(|n| n.name.to_string());
        let keys = self.nodes.iter().map(|n| n.key.to_string());
        let bodies = self.access_bodies.iter().map(|b| b.key.to_string());
        let subjects = self.requesters.iter().map(|r| r.subject.to_string());
        let tokens = self.requesters.iter().filter_map(|r| r.token_sha256);
        let twice = first_twice(nodes)
            .map(|name| ("nodes.name", name))
            .or_else(|| first_twice(keys).map(|key| ("nodes.key", key)))
            .or_else(|| first_twice(bodies).map(|key| ("access_bodies.key", key)))
            .or_else(|| first_twice(subjects).map(|s| ("requesters.subject", s)))
            .or_else(|| {
                first_twice(tokens.map(|t| t.to_string())).map(|t| ("requesters.token_sha256", t))
            });
        match twice {
            None => Ok(()),
            Some((field, value)) => Err(ConfigError::Twice {
                file: file.to_owned(),
                field,
                value,
            }),
        }
    }

    fn relative_to(mut self, base: &Path) -> Self {
        self.data = base.join(self.data);
        self.vocabulary = base.join(self.vocabulary);
        self.templates = self.templates.map(|t| base.join(t));
        self.tls = self.tls.relative_to(base);
        self
    }

    pub(crate) fn quote_deadline(&self) -> Duration {
        Duration::from_secs(self.quote_deadline_seconds.get())
    }

    pub(crate) fn answer_deadline(&self) -> Duration {
        Duration::from_secs(self.answer_deadline_seconds.get())
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_secs(self.connect_timeout_seconds.get())
    }

    pub(crate) fn retry_pause(&self) -> Duration {
        Duration::from_millis(self.retry_pause_milliseconds.get())
    }

    pub(crate) fn offer_interval(&self) -> Duration {
        Duration::from_secs(self.offer_interval_seconds.get())
    }

    pub(crate) fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_seconds.get())
    }
}

fn first_twice(values: impl Iterator<Item = String>) -> Option<String> {
    let mut seen = BTreeSet::new();
    values.into_iter().find(|value| !seen.insert(value.clone()))
}

mod defaults {
    use std::num::{NonZeroU16, NonZeroU32, NonZeroU64};

    const fn seconds(n: u64) -> NonZeroU64 {
        match NonZeroU64::new(n) {
            Some(n) => n,
            None => NonZeroU64::MIN,
        }
    }

    pub(super) fn quote_deadline_seconds() -> NonZeroU64 {
        seconds(15)
    }

    pub(super) fn answer_deadline_seconds() -> NonZeroU64 {
        seconds(300)
    }

    pub(super) fn connect_timeout_seconds() -> NonZeroU64 {
        seconds(5)
    }

    pub(super) fn attempts() -> NonZeroU32 {
        NonZeroU32::MIN.saturating_add(3)
    }

    pub(super) fn retry_pause_milliseconds() -> NonZeroU64 {
        seconds(250)
    }

    pub(super) fn offer_interval_seconds() -> NonZeroU64 {
        seconds(60)
    }

    pub(super) fn max_concurrent_asks() -> NonZeroU16 {
        NonZeroU16::MIN.saturating_add(31)
    }

    pub(super) fn drain_seconds() -> NonZeroU64 {
        seconds(30)
    }
}

/// Where a node listens: `HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeAddress(String);

impl NodeAddress {
    /// The address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NodeAddress {
    type Err = AddressSyntax;

    fn from_str(s: &str) -> Result<Self, AddressSyntax> {
        let (host, port) = s.rsplit_once(':').ok_or(AddressSyntax)?;
        let visible = host.bytes().all(|b| b.is_ascii_graphic() && b != b'/');
        match port.parse::<u16>() {
            Ok(1..) if visible && !host.is_empty() => Ok(Self(s.to_owned())),
            _ => Err(AddressSyntax),
        }
    }
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Serialize for NodeAddress {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for NodeAddress {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}

/// Text that is not a node's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a node's address is written HOST:PORT, such as ward.hospital-a.example:8815")]
pub struct AddressSyntax;

/// SHA-256 of a bearer token; written as 64 lower-case hex digits.
#[derive(Clone, Copy, Debug)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash of a token.
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }
}

/// Compares in constant time: every byte is looked at.
impl PartialEq for TokenHash {
    fn eq(&self, other: &Self) -> bool {
        let pairs = self.0.iter().zip(&other.0);
        std::hint::black_box(pairs.fold(0, |sum, (a, b)| sum | (a ^ b))) == 0
    }
}

impl Eq for TokenHash {}

impl FromStr for TokenHash {
    type Err = TokenHashSyntax;

    fn from_str(s: &str) -> Result<Self, TokenHashSyntax> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(s, &mut bytes).map_err(|_| TokenHashSyntax)?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl Serialize for TokenHash {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TokenHash {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}

/// Text that is not the hash of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "token_sha256 is the SHA-256 of the token in 64 hex digits, as `printf %s TOKEN | sha256sum` prints it"
)]
pub struct TokenHashSyntax;

/// Why a configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("{}: can't be read: {source}; make one with `ward-coordinator init DIR`, or name it with --config FILE", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not TOML, or not the fields of a configuration.
    #[error("{}: {message}\nThe file that `ward-coordinator init DIR` writes explains every field", file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// Line, column and mistake.
        message: String,
    },
    /// Something that names one thing names two.
    #[error("{}: {field} has {value} twice; each must be unique: remove or rename one", file.display())]
    Twice {
        /// The file.
        file: PathBuf,
        /// The field.
        field: &'static str,
        /// Its value.
        value: String,
    },
    /// A token that everybody has.
    #[error("{}: token_sha256 of {subject} is the hash of the empty token, which anybody can present; give a token of at least 32 random characters, or leave token_sha256 out", file.display())]
    EmptyToken {
        /// The file.
        file: PathBuf,
        /// Whose token.
        subject: Subject,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use ward_schemas::jws::SigningKey;

    const MINIMAL: &str = r#"
listen = "127.0.0.1:0"
data = "data"
vocabulary = "vocabulary.ward"
[tls]
certificate = "tls/coordinator.pem"
key = "/etc/ward/coordinator.key"
ca = "tls/ca.pem"
"#;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(text, Path::new("/srv/ward/coordinator.toml"))
    }

    fn refuse(text: &str) -> String {
        let error = parse(text).expect_err("refused").to_string();
        assert!(error.starts_with("/srv/ward/coordinator.toml: "), "{error}");
        error
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let config = parse(MINIMAL).expect("config");
        assert_eq!(config.data, Path::new("/srv/ward/data"));
        assert_eq!(config.tls.ca, Path::new("/srv/ward/tls/ca.pem"));
        assert_eq!(config.tls.key, Path::new("/etc/ward/coordinator.key"));
        assert_eq!(config.attempts.get(), 4);
    }

    #[test]
    fn mistakes_name_the_line_and_what_would_do() {
        let unknown = refuse(&MINIMAL.replace("vocabulary =", "vocabluary ="));
        assert!(unknown.contains("line 4"), "{unknown}");
        assert!(unknown.contains("vocabluary") && unknown.contains("init DIR"));
        let zero = refuse(&format!("attempts = 0\n{MINIMAL}"));
        assert!(zero.contains("line 1"), "{zero}");
        let node = "[[nodes]]\nname = \"Hospital A\"\n";
        assert!(refuse(&format!("{MINIMAL}{node}")).contains("lower-case"));
        let token = "[[requesters]]\nsubject = \"ada\"\ntoken_sha256 = \"secret\"\n";
        assert!(refuse(&format!("{MINIMAL}{token}")).contains("sha256sum"));
    }

    #[test]
    fn addresses_have_a_host_and_a_port() {
        assert!("[::1]:8815".parse::<NodeAddress>().is_ok());
        for bad in ["hospital-a", "hospital-a:0", ":8815", "https://a:1"] {
            assert!(bad.parse::<NodeAddress>().is_err(), "{bad}");
        }
    }

    #[test]
    fn names_are_unique() {
        let key = || SigningKey::generate().expect("randomness").verifying_key();
        let node = |key| format!("[[nodes]]\nname = \"a\"\naddress = \"a:1\"\nkey = \"{key}\"\n");
        let error = refuse(&format!("{MINIMAL}{}{}", node(key()), node(key())));
        assert!(error.contains("nodes.name has a twice"), "{error}");
    }

    #[test]
    fn the_empty_token_is_nobodys() {
        let requester = |token| {
            let hash = TokenHash::of(token);
            format!("{MINIMAL}[[requesters]]\nsubject = \"ada\"\ntoken_sha256 = \"{hash}\"\n")
        };
        let error = refuse(&requester(""));
        assert!(error.contains("of ada is the hash of the empty"), "{error}");
        assert!(parse(&requester("ada's")).is_ok());
    }

    #[test]
    fn a_missing_file_says_how_to_make_one() {
        let error = Config::load(Path::new("/nowhere/coordinator.toml")).expect_err("missing");
        assert!(error.to_string().contains("ward-coordinator init"));
    }

    #[test]
    fn token_hashes_differ_by_any_byte() {
        assert_eq!(TokenHash::of("a"), TokenHash::of("a"));
        assert_ne!(TokenHash::of("a"), TokenHash::of("b"));
    }
}
