//! Making a node: directory, commented configuration, keys, certificate request, first audit record.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use url::Url;
use ward_schemas::canonical::ContentHash;
use ward_schemas::jws::{SigningKey, VerifyingKey};
use ward_schemas::names::NodeName;

use crate::audit::{self, Event};
use crate::clock::SystemClock;
use crate::config::{AccessBody, Config};
use crate::error::NodeError;
use crate::keys;
use crate::state::state_file;
use crate::steward;
use crate::store::{Setup, Store};

/// The configuration's file name in a node's directory.
pub const CONFIG_FILE: &str = "ward-node.toml";

/// What a new node's configuration says. Everything but the name can be filled in later.
#[derive(Clone, Debug)]
pub struct InitOptions {
    /// The node's name.
    pub name: NodeName,
    /// Where to listen, `HOST:PORT`.
    pub listen: String,
    /// Coordinators that may ask.
    pub coordinators: BTreeSet<NodeName>,
    /// Trusted access bodies.
    pub access_bodies: Vec<AccessBody>,
    /// The network's vocabulary package.
    pub vocabulary: Option<ContentHash>,
    /// The coordinator's HTTP service.
    pub coordinator_url: Option<Url>,
    /// Address to use in place of what DNS says of the coordinator.
    pub coordinator_resolve: Option<SocketAddr>,
}

impl InitOptions {
    /// A node of this name, that listens on port 7411 and trusts nobody yet.
    pub fn new(name: NodeName) -> Self {
        Self {
            name,
            listen: "0.0.0.0:7411".to_owned(),
            coordinators: BTreeSet::new(),
            access_bodies: Vec::new(),
            vocabulary: None,
            coordinator_url: None,
            coordinator_resolve: None,
        }
    }
}

/// A node that was made.
#[derive(Clone, Debug)]
pub struct Initialised {
    /// Its configuration file.
    pub config: PathBuf,
    /// The certificate request for the network's certification authority.
    pub certificate_request: PathBuf,
    /// Where the signed certificate goes.
    pub certificate: PathBuf,
    /// Where the certification authority's certificate goes.
    pub ca: PathBuf,
    /// The key that the coordinator checks this node's partials with.
    pub key: VerifyingKey,
}

/// Makes a node in a directory.
///
/// # Errors
/// When there is a node in the directory already (nothing is overwritten, ever), or a file can't
/// be written.
pub async fn init(dir: &Path, options: &InitOptions) -> Result<Initialised, NodeError> {
    let config_file = dir.join(CONFIG_FILE);
    if config_file.exists() || dir.join("keys").exists() {
        return Err(InitError::Exists(dir.to_owned()).into());
    }
    let (request, key) = write_files(dir, options)?;
    let config = Config::load(&config_file)?;
    let store = Store::create(Setup {
        file: state_file(&config.data_dir),
        head_file: config.audit.head_file,
        clock: Arc::new(SystemClock),
        max_clock_step: config.policy.max_clock_step(),
    });
    let store = store.await?;
    let event = Event::Initialised {
        node: options.name.clone(),
        by: steward::user(),
    };
    store
        .write(move |db, now| Box::pin(audit::append(db, now, event)))
        .await?;
    Ok(Initialised {
        config: config_file,
        certificate_request: request,
        certificate: config.tls.certificate,
        ca: config.tls.ca,
        key,
    })
}

fn write_files(dir: &Path, options: &InitOptions) -> Result<(PathBuf, VerifyingKey), InitError> {
    let failed = |file: &Path| {
        let file = file.to_owned();
        move |source| InitError::Write { file, source }
    };
    for name in ["keys", "tls", "data"] {
        let dir = dir.join(name);
        private_dir(&dir).map_err(failed(&dir))?;
    }
    let (person, selection) = (dir.join("keys/person.key"), dir.join("keys/selection.key"));
    keys::write_fresh::<32>(&person).map_err(failed(&person))?;
    keys::write_fresh::<16>(&selection).map_err(failed(&selection))?;
    let signing = dir.join("keys/signing.pem");
    let key = write_signing_key(&signing).map_err(failed(&signing))?;
    let request = dir.join("tls/node.csr.pem");
    write_certificate_request(dir, &request, &options.name).map_err(failed(&request))?;
    // Last: a directory with a configuration is a whole one.
    let config = dir.join(CONFIG_FILE);
    keys::write_private(&config, &config_text(options)).map_err(failed(&config))?;
    Ok((request, key))
}

fn private_dir(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

fn write_signing_key(file: &Path) -> io::Result<VerifyingKey> {
    let key = SigningKey::generate().map_err(io::Error::other)?;
    keys::write_private(file, &key.to_pem().map_err(io::Error::other)?)?;
    Ok(key.verifying_key())
}

fn write_certificate_request(dir: &Path, request: &Path, name: &NodeName) -> io::Result<()> {
    let key = KeyPair::generate().map_err(io::Error::other)?;
    let mut params = CertificateParams::new([name.to_string()]).map_err(io::Error::other)?;
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, name.as_str());
    let csr = params
        .serialize_request(&key)
        .and_then(|csr| csr.pem())
        .map_err(io::Error::other)?;
    keys::write_private(&dir.join("tls/node.key.pem"), &key.serialize_pem())?;
    fs::write(request, csr)
}

fn config_text(options: &InitOptions) -> String {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let coordinators: Vec<_> = options
        .coordinators
        .iter()
        .map(|name| quoted(name.as_str()))
        .collect();
    let access_bodies: String = options
        .access_bodies
        .iter()
        .map(|body| {
            let (name, key) = (quoted(&body.name), quoted(&body.key.to_string()));
            format!("[[access_bodies]]\nname = {name}\nkey = {key}\n")
        })
        .collect();
    CONFIG_TEMPLATE
        .replace("@NAME@", &quoted(options.name.as_str()))
        .replace("@LISTEN@", &quoted(&options.listen))
        .replace("@COORDINATORS@", &coordinators.join(", "))
        .replace("@ACCESS_BODIES@", &or_example(&access_bodies, ACCESS_BODY))
        .replace("@VOCABULARY@", &vocabulary_text(options))
        .replace("@COORDINATOR@", &coordinator_text(options))
}

fn vocabulary_text(options: &InitOptions) -> String {
    let text = options
        .vocabulary
        .map(|hash| format!("[vocabulary]\nhash = \"{hash}\"\n"));
    or_example(&text.unwrap_or_default(), VOCABULARY)
}

fn coordinator_text(options: &InitOptions) -> String {
    let Some(url) = &options.coordinator_url else {
        return or_example("", COORDINATOR);
    };
    let resolve = match options.coordinator_resolve {
        Some(address) => format!("resolve = \"{address}\"\n"),
        None => "# resolve = \"192.0.2.10:8443\"\n".to_owned(),
    };
    format!("[coordinator]\nurl = \"{url}\"\n{RESOLVE_DOC}{resolve}")
}

fn or_example(text: &str, example: &str) -> String {
    if text.is_empty() {
        example.to_owned()
    } else {
        text.to_owned()
    }
}

const ACCESS_BODY: &str = "\
# [[access_bodies]]
# name = \"Health Data Access Body\"
# key = \"ed25519:…\"
";

const VOCABULARY: &str = "\
# [vocabulary]
# hash = \"sha256:…\"
";

const COORDINATOR: &str = "\
# [coordinator]
# url = \"https://coordinator.example:8443\"
";

const RESOLVE_DOC: &str = "\
# Address to use in place of what DNS says of that host; the certificate's name is checked all
# the same.
";

const CONFIG_TEMPLATE: &str = r#"# A node of Ward: the service at one hospital.
# Relative paths are relative to this file's directory. Privacy losses (rho) are decimal strings.

# The node's name: the DNS name in its certificate. Permits name the node by it.
name = @NAME@
# Where to listen for coordinators, HOST:PORT.
listen = @LISTEN@
# Where snapshots, the ledger, the audit log and the vocabulary package live. Back it up as a whole;
# a node that is restored from an old backup refuses to answer, because its ledger has lost charges.
data_dir = "data"
# The coordinators that may ask: DNS names in their certificates. Any other peer of the network can
# only list approved templates.
coordinators = [@COORDINATORS@]

# Mutual TLS. Have tls/node.csr.pem signed by the network's certification authority.
[tls]
# Certificate chain of this node, PEM, its own certificate first.
certificate = "tls/node.pem"
# Private key of that certificate, PEM.
key = "tls/node.key.pem"
# The network's certification authority, PEM: who has no certificate of it can't connect.
ca = "tls/ca.pem"

# The node's secrets. Nobody but the service may read them.
[keys]
# Signs partials (Ed25519). The coordinator knows the public half.
signing = "keys/signing.pem"
# Keys the hash from the hospital's patient ids to Ward's. Never change it.
person = "keys/person.key"
# Keys the choice among a patient's groups where a template bounds them. Never change it.
selection = "keys/selection.key"

# Access bodies whose permits hold here: the name as in their permits, and their public key. Repeat
# the section for each.
@ACCESS_BODIES@
# The steward's limits on privacy loss, for all requesters and permits together.
[policy]
# In any 365 days.
yearly_rho = "0.5"
# Ever.
lifetime_rho = "5"
# In any 365 days, of delta, which only templates with keys from the data cost: half of the 1e-6 at
# which a year's epsilon is stated.
yearly_delta = "5e-7"
# The same, ever.
lifetime_delta = "5e-6"
# For one ask, at most.
max_rho_per_ask = "0.02"
# For one ask, at least: cheaper ones would fill the disk before they spend the budget.
min_rho_per_ask = "0.0001"
# After a longer pause or jump of the clock, in days, nothing is charged until the steward has said
# `ward-node clock confirm`: a clock that runs ahead would free the year's budget.
max_clock_step_days = 30

# How answers are computed and when they leave.
[answers]
# Records are written and replies leave at multiples of this many milliseconds, so that their timing
# tells little about the data; at least 50.
reply_tick_ms = 250
# How many asks are computed at once; others wait.
max_concurrent = 2

# The network's vocabulary package, by the hash that `ward-coordinator vocabulary pack` printed.
@VOCABULARY@
# The coordinator's HTTP service, from which the vocabulary package is fetched. Without it, add the
# file with `ward-node vocabulary add FILE`.
@COORDINATOR@
# The audit log.
[audit]
# A file that always holds the newest head, best on another machine's disk: a node whose log is
# older than this file refuses to answer. `ward-node audit verify --head` takes its content.
# head_file = "/mnt/witness/audit-head"
"#;

/// Why a node can't be made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// There is one.
    #[error("{} holds a node already, and nothing is overwritten; choose another directory", .0.display())]
    Exists(PathBuf),
    /// A file can't be written.
    #[error("{} can't be written: {source}; check the directory's owner and free space", file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> InitOptions {
        InitOptions::new("hospital-a".parse().expect("a name"))
    }

    #[tokio::test]
    async fn a_new_node_is_whole_and_never_overwritten() {
        let dir = tempfile::tempdir().expect("a directory");
        let made = init(dir.path(), &options()).await.expect("a node");
        let config = Config::load(&made.config).expect("its configuration");
        assert_eq!(config.name.as_str(), "hospital-a");
        let key = keys::signing(&config.keys.signing).expect("its key");
        assert_eq!(key.verifying_key(), made.key);
        keys::secret::<32>(&config.keys.person).expect("a person key");
        keys::secret::<16>(&config.keys.selection).expect("a selection key");
        let csr = fs::read_to_string(&made.certificate_request).expect("a request");
        assert!(
            csr.starts_with("-----BEGIN CERTIFICATE REQUEST-----"),
            "{csr}"
        );

        let before = fs::read(&config.keys.person).expect("a key");
        let again = init(dir.path(), &options())
            .await
            .expect_err("a node is there");
        assert!(
            again.to_string().contains("holds a node already"),
            "{again}"
        );
        assert_eq!(fs::read(&config.keys.person).expect("a key"), before);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn secrets_are_for_the_service_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().expect("a directory");
        init(dir.path(), &options()).await.expect("a node");
        for file in [
            "keys/signing.pem",
            "keys/person.key",
            "keys/selection.key",
            "tls/node.key.pem",
            "keys",
            "data",
        ] {
            let mode = fs::metadata(dir.path().join(file))
                .expect("a file")
                .permissions()
                .mode();
            assert_eq!(mode & 0o077, 0, "{file} has mode {mode:o}");
        }
    }

    #[test]
    fn options_become_configuration() {
        let key = SigningKey::generate().expect("randomness").verifying_key();
        let hash = ContentHash::of_bytes(b"a package");
        let options = InitOptions {
            coordinators: ["coordinator.example".parse().expect("a name")].into(),
            access_bodies: vec![AccessBody {
                name: "Body \"A\"".to_owned(),
                key,
            }],
            vocabulary: Some(hash),
            coordinator_url: Some("https://c.example:8443".parse().expect("a URL")),
            coordinator_resolve: Some(([127, 0, 0, 1], 8443).into()),
            ..options()
        };
        let config = Config::parse(&config_text(&options), Path::new("")).expect("valid");
        assert_eq!(config.coordinators, options.coordinators);
        assert_eq!(config.access_bodies, options.access_bodies);
        assert_eq!(config.vocabulary.map(|v| v.hash), Some(hash));
        let coordinator = config.coordinator.expect("a coordinator");
        assert_eq!(coordinator.resolve, options.coordinator_resolve);
    }

    #[test]
    fn every_field_is_there_and_commented() {
        let text = config_text(&options());
        let config = Config::parse(&text, Path::new("")).expect("valid");
        assert_eq!(config.policy, crate::config::Policy::default());
        assert_eq!(config.answers, crate::config::Answers::default());
        let lines: Vec<_> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let is_field = line.contains(" = ") && !line.starts_with('#');
            assert!(
                !is_field || lines[at - 1].starts_with("# "),
                "{line} has no comment"
            );
        }
        for field in ["access_bodies", "vocabulary", "coordinator", "head_file"] {
            assert!(text.contains(field), "{field} is missing");
        }
    }
}
