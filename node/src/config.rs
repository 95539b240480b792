//! A node's configuration: one TOML file.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use url::Url;
use ward_schemas::canonical::ContentHash;
use ward_schemas::delta::Delta;
use ward_schemas::loss::Loss;
use ward_schemas::names::NodeName;
use ward_schemas::rho::Rho;
use ward_transport::TlsFiles;

pub use ward_schemas::permit::AccessBody;

use crate::ledger::YEAR_DAYS;

/// A node's configuration. Relative paths are relative to the directory of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The node's name: the DNS name in its certificate.
    pub name: NodeName,
    /// Where to listen, `HOST:PORT`.
    pub listen: String,
    /// Where snapshots, the ledger, the audit log and the vocabulary package live.
    pub data_dir: PathBuf,
    /// Names of the coordinators that may ask, as in their certificates.
    #[serde(default)]
    pub coordinators: BTreeSet<NodeName>,
    /// Certificate, key and certification authority.
    pub tls: TlsFiles,
    /// The node's secrets.
    pub keys: KeyFiles,
    /// Access bodies whose permits hold here.
    #[serde(default)]
    pub access_bodies: Vec<AccessBody>,
    /// The steward's limits.
    #[serde(default)]
    pub policy: Policy,
    /// How answers are computed and when they leave.
    #[serde(default)]
    pub answers: Answers,
    /// The network's vocabulary package.
    #[serde(default)]
    pub vocabulary: Option<VocabularyConfig>,
    /// Where to fetch the vocabulary package.
    #[serde(default)]
    pub coordinator: Option<CoordinatorConfig>,
    /// The audit log.
    #[serde(default)]
    pub audit: AuditConfig,
}

/// Files with the node's secrets, readable by the service alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyFiles {
    /// Signs partials: Ed25519, PKCS #8 PEM.
    pub signing: PathBuf,
    /// Keys the hash from source person ids to Ward's: 64 hex digits. Never changes.
    pub person: PathBuf,
    /// Keys the choice of each patient's groups and rows: 32 hex digits.
    pub selection: PathBuf,
}

/// The steward's limits on privacy loss.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// For all asks together in any 365 days.
    pub yearly_rho: Rho,
    /// For all asks together, ever.
    pub lifetime_rho: Rho,
    /// For the thresholds of all asks together in any 365 days: half of the 10⁻⁶ at which a year's
    /// ε is stated; the other half is for the conversion.
    pub yearly_delta: Delta,
    /// For the thresholds of all asks together, ever.
    pub lifetime_delta: Delta,
    /// For one ask, at most.
    pub max_rho_per_ask: Rho,
    /// For one ask, at least: cheaper asks would fill the audit log and the store before they
    /// spend the budget.
    pub min_rho_per_ask: Rho,
    /// The longest step of the clock, in days, that needs no `ward-node clock confirm`.
    pub max_clock_step_days: u16,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            yearly_rho: rho_units(500_000_000),
            lifetime_rho: rho_units(5_000_000_000),
            yearly_delta: delta_units(500_000_000),
            lifetime_delta: delta_units(5_000_000_000),
            max_rho_per_ask: rho_units(20_000_000),
            min_rho_per_ask: rho_units(100_000),
            max_clock_step_days: 30,
        }
    }
}

impl Policy {
    /// Both parts of the budget for 365 days.
    pub fn yearly(&self) -> Loss {
        Loss {
            rho: self.yearly_rho,
            delta: self.yearly_delta,
        }
    }

    /// Both parts of the budget for ever.
    pub fn lifetime(&self) -> Loss {
        Loss {
            rho: self.lifetime_rho,
            delta: self.lifetime_delta,
        }
    }

    /// The longest step of the clock that needs no confirmation.
    pub fn max_clock_step(&self) -> TimeDelta {
        TimeDelta::days(i64::from(self.max_clock_step_days))
    }
}

fn rho_units(units: u64) -> Rho {
    Rho::from_units(units).unwrap_or_default()
}

fn delta_units(units: u64) -> Delta {
    Delta::from_units(units).unwrap_or_default()
}

/// How answers are computed and when they leave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Answers {
    /// After the charge, records are written and replies leave at multiples of this many
    /// milliseconds since the node's start only.
    pub reply_tick_ms: u64,
    /// How many asks are computed at once; others wait.
    pub max_concurrent: usize,
}

/// The smallest `reply_tick_ms`.
pub const MIN_REPLY_TICK_MS: u64 = 50;

impl Default for Answers {
    fn default() -> Self {
        Self {
            reply_tick_ms: 250,
            max_concurrent: 2,
        }
    }
}

impl Answers {
    /// The coarse clock's step.
    pub fn reply_tick(&self) -> Duration {
        Duration::from_millis(self.reply_tick_ms)
    }
}

/// The network's vocabulary package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VocabularyConfig {
    /// SHA-256 of the package file.
    pub hash: ContentHash,
}

/// Where the coordinator's HTTP service is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CoordinatorConfig {
    /// Base URL, `https://…`.
    #[serde(with = "url_text")]
    pub url: Url,
    /// Address to use in place of what DNS says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolve: Option<SocketAddr>,
}

/// The audit log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditConfig {
    /// A file that always holds the newest head, best on another machine's disk: a node whose log
    /// is older than this file refuses to answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_file: Option<PathBuf>,
}

impl Config {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// When the file is missing, is not TOML, has an unknown field or an impossible value; the
    /// error names file and line.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(file).map_err(|source| ConfigError::Read {
            file: file.to_owned(),
            source,
        })?;
        let base = file.parent().unwrap_or(Path::new(""));
        Self::parse(&text, base).map_err(|fault| ConfigError::Content {
            file: file.to_owned(),
            fault,
        })
    }

    /// Reads a configuration whose relative paths are relative to `base`.
    ///
    /// # Errors
    /// When the text is not TOML, has an unknown field or an impossible value.
    pub fn parse(toml: &str, base: &Path) -> Result<Self, ConfigFault> {
        let config: Self = toml::from_str(toml).map_err(|e| ConfigFault::Syntax(e.to_string()))?;
        config.check()?;
        Ok(config.relative_to(base))
    }

    fn check(&self) -> Result<(), ConfigFault> {
        if self.answers.reply_tick_ms < MIN_REPLY_TICK_MS {
            return Err(ConfigFault::ReplyTick(self.answers.reply_tick_ms));
        }
        if self.answers.max_concurrent == 0 {
            return Err(ConfigFault::MaxConcurrent);
        }
        if !self.listen.contains(':') {
            return Err(ConfigFault::Listen(self.listen.clone()));
        }
        let Policy {
            yearly_rho,
            lifetime_rho,
            yearly_delta,
            lifetime_delta,
            max_rho_per_ask,
            min_rho_per_ask,
            max_clock_step_days,
        } = self.policy;
        if !(1..YEAR_DAYS).contains(&i64::from(max_clock_step_days)) {
            return Err(ConfigFault::ClockStep(max_clock_step_days));
        }
        let rising = [min_rho_per_ask, max_rho_per_ask, yearly_rho, lifetime_rho];
        if !rising.is_sorted() || yearly_delta > lifetime_delta {
            return Err(ConfigFault::Policy);
        }
        match &self.coordinator {
            Some(c) if c.url.scheme() != "https" => Err(ConfigFault::Url(c.url.clone())),
            _ => self.check_access_bodies(),
        }
    }

    fn check_access_bodies(&self) -> Result<(), ConfigFault> {
        let mut keys = BTreeSet::new();
        match self
            .access_bodies
            .iter()
            .find(|body| !keys.insert(body.key.key_id()))
        {
            None => Ok(()),
            Some(twice) => Err(ConfigFault::KeyTwice(twice.name.clone())),
        }
    }

    fn relative_to(mut self, base: &Path) -> Self {
        self.data_dir = base.join(&self.data_dir);
        self.tls = self.tls.relative_to(base);
        self.keys.signing = base.join(&self.keys.signing);
        self.keys.person = base.join(&self.keys.person);
        self.keys.selection = base.join(&self.keys.selection);
        self.audit.head_file = self.audit.head_file.map(|file| base.join(file));
        self
    }
}

mod url_text {
    use serde::{Deserialize as _, Deserializer, Serializer, de};
    use url::Url;

    pub(super) fn serialize<S: Serializer>(url: &Url, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(url.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Url, D::Error> {
        let text = String::deserialize(d)?;
        text.parse()
            .map_err(|e| de::Error::custom(format!("{text:?} is not a URL: {e}")))
    }
}

/// A configuration file that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error(
        "the configuration {} can't be read: {source}; name it with --config, or make one with `ward-node init`",
        file.display()
    )]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What it says can't be.
    #[error("the configuration {}: {fault}", file.display())]
    Content {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        fault: ConfigFault,
    },
}

/// What a configuration says and can't be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigFault {
    /// Not TOML, or not the fields that there are; names the line.
    #[error("{0}correct that line; `ward-node init` writes an example with every field explained")]
    Syntax(String),
    /// Not `HOST:PORT`.
    #[error("listen = {0:?} names no port; write HOST:PORT, as in \"0.0.0.0:7411\"")]
    Listen(String),
    /// The coarse clock is too fine.
    #[error("answers.reply_tick_ms = {0} is too small; use at least {MIN_REPLY_TICK_MS}")]
    ReplyTick(u64),
    /// No ask could ever be computed.
    #[error("answers.max_concurrent = 0 lets nothing be computed; use at least 1")]
    MaxConcurrent,
    /// Limits that contradict each other.
    #[error(
        "policy: min_rho_per_ask must not exceed max_rho_per_ask, nor that yearly_rho, nor that lifetime_rho; nor yearly_delta lifetime_delta"
    )]
    Policy,
    /// The clock could not move, or could jump over the rolling year.
    #[error("policy.max_clock_step_days = {0} is out of range; use 1 to 364")]
    ClockStep(u16),
    /// The coordinator's URL is not HTTPS.
    #[error("coordinator.url = {0} is not https; the coordinator serves nothing else")]
    Url(Url),
    /// Two access bodies with one key.
    #[error("access_bodies: the key of {0:?} is there twice; give every access body its own")]
    KeyTwice(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = r#"
        name = "hospital-a"
        listen = "127.0.0.1:0"
        data_dir = "data"
        [tls]
        certificate = "tls/node.pem"
        key = "tls/node.key.pem"
        ca = "tls/ca.pem"
        [keys]
        signing = "keys/signing.pem"
        person = "keys/person.key"
        selection = "keys/selection.key"
    "#;

    fn parse(text: &str) -> Result<Config, ConfigFault> {
        Config::parse(text, Path::new("/srv/ward"))
    }

    #[test]
    fn defaults_and_relative_paths() {
        let config = parse(MINIMAL).expect("a configuration");
        assert_eq!(config.policy.yearly_rho.to_string(), "0.5");
        assert_eq!(config.policy.lifetime_rho.to_string(), "5");
        assert_eq!(config.policy.yearly_delta.to_string(), "5e-7");
        assert_eq!(config.policy.lifetime_delta.to_string(), "5e-6");
        assert_eq!(config.policy.max_rho_per_ask.to_string(), "0.02");
        assert_eq!(config.policy.min_rho_per_ask.to_string(), "0.0001");
        assert_eq!(config.answers.reply_tick_ms, 250);
        assert_eq!(config.data_dir, Path::new("/srv/ward/data"));
        assert_eq!(config.tls.ca, Path::new("/srv/ward/tls/ca.pem"));
    }

    #[test]
    fn an_unknown_field_is_named_with_its_line() {
        let text = MINIMAL.replace("data_dir", "databse_dir");
        let message = parse(&text).expect_err("unknown field").to_string();
        assert!(message.contains("line 4"), "{message}");
        assert!(message.contains("databse_dir"), "{message}");
        assert!(message.contains("correct that line"), "{message}");
    }

    #[test]
    fn a_missing_file_is_named_with_the_remedy() {
        let message = Config::load(Path::new("/nowhere/ward-node.toml"))
            .expect_err("no such file")
            .to_string();
        assert!(message.contains("/nowhere/ward-node.toml"), "{message}");
        assert!(message.contains("ward-node init"), "{message}");
    }

    #[test]
    fn impossible_values_are_refused() {
        let with = |extra: &str| parse(&format!("{MINIMAL}\n{extra}"));
        assert_eq!(
            with("[answers]\nreply_tick_ms = 10"),
            Err(ConfigFault::ReplyTick(10))
        );
        assert_eq!(
            with("[policy]\nyearly_rho = \"6\""),
            Err(ConfigFault::Policy)
        );
        assert_eq!(
            with("[policy]\nyearly_delta = \"1e-5\""),
            Err(ConfigFault::Policy)
        );
        assert_eq!(
            with("[policy]\nmin_rho_per_ask = \"0.03\""),
            Err(ConfigFault::Policy)
        );
        assert_eq!(
            with("[policy]\nmax_clock_step_days = 365"),
            Err(ConfigFault::ClockStep(365))
        );
        assert!(matches!(
            with("[coordinator]\nurl = \"http://c.example\""),
            Err(ConfigFault::Url(_))
        ));
        assert!(matches!(
            with("[policy]\nyearly_rho = 0.5"),
            Err(ConfigFault::Syntax(_))
        ));
    }
}
