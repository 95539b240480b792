//! Profiles: which coordinator, and as whom.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use url::Url;
use ward_transport::TlsFiles;

use crate::args::Connection;

/// How to reach a coordinator, and as whom. Valid: the URL is https and has a host.
///
/// As a TOML file (relative paths start at the file):
/// ```
/// # let dir = std::env::temp_dir();
/// # let profile = ward_cli::profile::Profile::parse(r#"
/// url = "https://coordinator.example:8443"
/// ca = "ca.pem"                       # who signed the coordinator's certificate
/// certificate = "ada.pem"             # your client certificate and its key,
/// key = "ada.key"
/// ## token = "…"                      # or a bearer token
/// ## resolve = "127.0.0.1:8443"       # connect here, whatever DNS says (same port)
/// "#, &dir)?;
/// # assert_eq!(profile.ca, dir.join("ca.pem"));
/// # Ok::<(), ward_cli::profile::ProfileError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Profile {
    /// The coordinator's URL.
    pub url: Url,
    /// PEM file of the authority that signed the coordinator's certificate.
    pub ca: PathBuf,
    /// The caller's client certificate.
    pub identity: Option<TlsFiles>,
    /// The caller's bearer token.
    pub token: Option<Token>,
    /// Where to connect instead of the URL's address; has the URL's port, if the URL has one.
    pub resolve: Option<SocketAddr>,
}

/// A bearer token; never printed.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Token(String);

impl Token {
    /// The token's text, for the `Authorization` header.
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl From<String> for Token {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Profile {
    /// Puts a profile together: flags first, then the environment, then the profile's file.
    ///
    /// # Errors
    /// When a file can't be read, or url or ca are given nowhere.
    pub fn load(
        flags: &Connection,
        environment: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, ProfileError> {
        let file = match named_file(flags, &environment) {
            Some(file) => Some(file),
            None => user_file(&environment).filter(|file| file.exists()),
        };
        let mut fields = match &file {
            Some(file) => Fields::read(file)?,
            None => Fields::default(),
        };
        if let Some(token) = environment("WARD_TOKEN") {
            let token = token.into_string().map_err(|_| ProfileError::TokenText)?;
            fields.token = Some(Token(token));
        }
        fields.set(flags);
        fields.complete(file.as_deref())
    }

    /// Reads a profile's text; relative paths start at `base`.
    ///
    /// # Errors
    /// When the text is no profile.
    pub fn parse(toml: &str, base: &Path) -> Result<Self, ProfileError> {
        let file = base.join("profile.toml");
        Fields::parse(toml, &file)?.complete(Some(&file))
    }
}

fn named_file(
    flags: &Connection,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Option<PathBuf> {
    let named = environment("WARD_PROFILE").filter(|name| !name.is_empty());
    flags.profile.clone().or(named.map(PathBuf::from))
}

fn user_file(environment: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let home = || environment("HOME").map(|home| Path::new(&home).join(".config"));
    let directory = environment("XDG_CONFIG_HOME").map(PathBuf::from);
    Some(directory.or_else(home)?.join("ward").join("profile.toml"))
}

/// The fields of a profile, each perhaps.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    url: Option<String>,
    ca: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    token: Option<Token>,
    resolve: Option<SocketAddr>,
}

impl Fields {
    fn read(file: &Path) -> Result<Self, ProfileError> {
        let text = fs::read_to_string(file).map_err(|source| ProfileError::Read {
            file: file.to_owned(),
            source,
        })?;
        Self::parse(&text, file)
    }

    fn parse(toml: &str, file: &Path) -> Result<Self, ProfileError> {
        let mut fields: Self = toml::from_str(toml).map_err(|source| ProfileError::Syntax {
            file: file.to_owned(),
            source: Box::new(source),
        })?;
        let base = file.parent().unwrap_or(Path::new(""));
        let paths = [&mut fields.ca, &mut fields.certificate, &mut fields.key];
        for path in paths.into_iter().flatten() {
            *path = base.join(&*path);
        }
        Ok(fields)
    }

    fn set(&mut self, flags: &Connection) {
        let replace = |field: &mut Option<PathBuf>, flag: &Option<PathBuf>| {
            if flag.is_some() {
                field.clone_from(flag);
            }
        };
        replace(&mut self.ca, &flags.ca);
        replace(&mut self.certificate, &flags.tls_certificate);
        replace(&mut self.key, &flags.tls_key);
        self.url = flags.url.clone().or(self.url.take());
        self.resolve = flags.resolve.or(self.resolve);
    }

    fn complete(self, file: Option<&Path>) -> Result<Profile, ProfileError> {
        let missing = |field| ProfileError::Missing {
            field,
            file: file.map(Path::to_owned),
        };
        let ca = self.ca.ok_or_else(|| missing("ca"))?;
        let identity = match (self.certificate, self.key) {
            (Some(certificate), Some(key)) => Some(TlsFiles {
                certificate,
                key,
                ca: ca.clone(),
            }),
            (None, None) => None,
            (Some(_), None) => return Err(missing("key")),
            (None, Some(_)) => return Err(missing("certificate")),
        };
        let url = https(&self.url.ok_or_else(|| missing("url"))?)?;
        check_port(&url, self.resolve)?;
        Ok(Profile {
            url,
            ca,
            identity,
            token: self.token,
            resolve: self.resolve,
        })
    }
}

fn https(text: &str) -> Result<Url, ProfileError> {
    Url::parse(text)
        .ok()
        .filter(|url| url.scheme() == "https" && url.has_host())
        .ok_or_else(|| ProfileError::Url(text.to_owned()))
}

/// The URL's port would be used, and that of `resolve` ignored.
fn check_port(url: &Url, resolve: Option<SocketAddr>) -> Result<(), ProfileError> {
    match (url.port(), resolve) {
        (Some(port), Some(resolve)) if port != resolve.port() => {
            Err(ProfileError::Port { port, resolve })
        }
        _ => Ok(()),
    }
}

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The file can't be read.
    #[error("the profile {} can't be read: {source}; check --profile and $WARD_PROFILE", file.display())]
    Read {
        /// Which file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no profile.
    #[error("the profile {} can't be understood; correct it: {}", file.display(), source.to_string().trim_end())]
    Syntax {
        /// Which file.
        file: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A field is given nowhere.
    #[error("{}", missing(field, file.as_deref()))]
    Missing {
        /// Which field.
        field: &'static str,
        /// The profile's file, if there is one.
        file: Option<PathBuf>,
    },
    /// Not an https URL.
    #[error("{0:?} is not the URL of a coordinator; write it as https://HOST:PORT")]
    Url(String),
    /// Two ports for one connection.
    #[error(
        "the url has port {port}, and resolve is {resolve}; give both the same port, or leave it out of the url"
    )]
    Port {
        /// That of the URL.
        port: u16,
        /// The address to connect to.
        resolve: SocketAddr,
    },
    /// The token can't be a header.
    #[error("$WARD_TOKEN is not a token: it is not text; set it to the token you were given")]
    TokenText,
}

fn missing(field: &str, file: Option<&Path>) -> String {
    let flag = match field {
        "certificate" => "tls-certificate",
        "key" => "tls-key",
        other => other,
    };
    match file {
        Some(file) => format!(
            "the profile {} has no {field}; add {field} = \"…\" to it, or give --{flag}",
            file.display()
        ),
        None => format!(
            "which coordinator? There is no profile and no --{flag}; name a profile with --profile \
             FILE or $WARD_PROFILE (TOML with url and ca), or give --url and --ca"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "url = 'https://c.example:8443'\nca = 'ca.pem'\n";

    fn no_environment(_: &str) -> Option<OsString> {
        None
    }

    fn parse(text: &str) -> Result<Profile, ProfileError> {
        Profile::parse(text, Path::new("/etc/ward"))
    }

    #[test]
    fn relative_paths_start_at_the_file() {
        let text = format!("{TEXT}certificate = 'ada.pem'\nkey = '/keys/ada.key'\n");
        let profile = parse(&text).expect("profile");
        assert_eq!(profile.ca, Path::new("/etc/ward/ca.pem"));
        let identity = profile.identity.expect("identity");
        assert_eq!(identity.certificate, Path::new("/etc/ward/ada.pem"));
        assert_eq!(identity.key, Path::new("/keys/ada.key"));
    }

    #[test]
    fn mistakes_name_the_file_and_the_remedy() {
        let refuse = |text: &str| parse(text).expect_err(text).to_string();
        let unknown = refuse("uri = 'x'");
        assert!(
            unknown.contains("/etc/ward/profile.toml"),
            "no file: {unknown}"
        );
        assert!(unknown.contains("line 1") && unknown.contains("uri"));
        assert!(refuse("ca = 'x'").contains("has no url; add"));
        assert!(refuse(&TEXT.replace("https", "http")).contains("https://HOST:PORT"));
        assert!(refuse(&format!("{TEXT}key = 'x'")).contains("--tls-certificate"));
    }

    #[test]
    fn there_is_one_port_to_connect_to() {
        let with = |port| format!("{TEXT}resolve = '127.0.0.1:{port}'\n");
        assert!(parse(&with(8443)).is_ok());
        let error = parse(&with(9443)).expect_err("two ports").to_string();
        assert!(error.contains("8443") && error.contains("127.0.0.1:9443"));
        assert!(parse(&with(9443).replace(":8443'", "'")).is_ok());
    }

    #[test]
    fn a_missing_file_is_named() {
        let flags = Connection {
            profile: Some("/nowhere/p.toml".into()),
            ..Connection::default()
        };
        let error = Profile::load(&flags, no_environment).expect_err("no file");
        assert!(error.to_string().contains("/nowhere/p.toml"), "{error}");
    }

    #[test]
    fn without_any_profile_the_error_says_how_to_give_one() {
        let error = Profile::load(&Connection::default(), no_environment).expect_err("none");
        assert!(error.to_string().contains("$WARD_PROFILE"), "{error}");
    }

    #[test]
    fn flags_go_before_the_environment_and_that_before_the_file() {
        let dir = tempfile::tempdir().expect("dir");
        let file = dir.path().join("p.toml");
        fs::write(&file, format!("{TEXT}token = 'old'")).expect("written");
        let flags = Connection {
            url: Some("https://other.example".into()),
            ..Connection::default()
        };
        let environment = |name: &str| match name {
            "WARD_PROFILE" => Some(file.clone().into_os_string()),
            "WARD_TOKEN" => Some("new".into()),
            _ => None,
        };
        let profile = Profile::load(&flags, environment).expect("profile");
        assert_eq!(profile.url.host_str(), Some("other.example"));
        assert_eq!(profile.token, Some(Token::from("new".to_owned())));
        assert_eq!(profile.ca, dir.path().join("ca.pem"));
        assert!(!format!("{profile:?}").contains("new"));
    }
}
