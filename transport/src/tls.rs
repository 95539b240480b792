//! TLS configurations out of PEM files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use serde::{Deserialize, Serialize};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Makes *ring* the process's provider of cryptography: the first thing in every `main`. May be
/// called again.
pub fn install_crypto_provider() {
    // An error says that a provider is installed already.
    let _ = ring::default_provider().install_default();
}

/// The PEM files by which a service proves its name and checks those of others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// Certificate chain, the service's own certificate first.
    pub certificate: PathBuf,
    /// Private key of the first certificate.
    pub key: PathBuf,
    /// Certification authorities that peers' certificates must come from.
    pub ca: PathBuf,
}

impl TlsFiles {
    /// The same files, with relative paths taken from `base`.
    #[must_use]
    pub fn relative_to(&self, base: &Path) -> Self {
        Self {
            certificate: base.join(&self.certificate),
            key: base.join(&self.key),
            ca: base.join(&self.ca),
        }
    }
}

/// Whether a client must present a certificate. One that is presented must be good either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// No certificate, no connection.
    Required,
    /// A client may prove itself by other means.
    Optional,
}

/// The server side of TLS 1.3 and 1.2, for HTTP/2 and HTTP/1.1.
///
/// # Errors
/// When a file can't be read, or holds no usable certificate or key.
pub fn server_config(files: &TlsFiles, auth: ClientAuth) -> Result<Arc<ServerConfig>, TlsError> {
    let roots = Arc::new(roots(&files.ca)?);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
    let verifier = match auth {
        ClientAuth::Required => verifier,
        ClientAuth::Optional => verifier.allow_unauthenticated(),
    };
    let verifier = verifier.build().map_err(|e| TlsError::Unusable {
        file: files.ca.clone(),
        reason: e.to_string(),
    })?;
    let identity = Identity::read(files)?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| identity.unusable(&e))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(identity.chain.clone(), identity.key.clone_key())
        .map_err(|e| identity.unusable(&e))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The client side of TLS 1.3 and 1.2, with a certificate where `identity` is given.
///
/// # Errors
/// When a file can't be read, or holds no usable certificate or key.
pub fn client_config(ca: &Path, identity: Option<&TlsFiles>) -> Result<ClientConfig, TlsError> {
    let unusable = |e: rustls::Error| TlsError::Unusable {
        file: ca.to_owned(),
        reason: e.to_string(),
    };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_root_certificates(roots(ca)?);
    let Some(files) = identity else {
        return Ok(builder.with_no_client_auth());
    };
    let identity = Identity::read(files)?;
    builder
        .with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())
        .map_err(|e| identity.unusable(&e))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn roots(ca: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca)? {
        roots.add(certificate).map_err(|e| TlsError::Unusable {
            file: ca.to_owned(),
            reason: e.to_string(),
        })?;
    }
    Ok(roots)
}

/// A certificate chain and the key of its first certificate.
struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    certificate_file: PathBuf,
}

impl Identity {
    fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let chain = certificates(&files.certificate)?;
        check_validity(&files.certificate, &chain[0])?;
        let pem = read(&files.key)?;
        let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| TlsError::NoKey {
            file: files.key.clone(),
        })?;
        Ok(Self {
            chain,
            key,
            certificate_file: files.certificate.clone(),
        })
    }

    fn unusable(&self, error: &rustls::Error) -> TlsError {
        TlsError::Unusable {
            file: self.certificate_file.clone(),
            reason: error.to_string(),
        }
    }
}

/// At least one certificate.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let none = || TlsError::NoCertificate {
        file: file.to_owned(),
    };
    let found: Vec<_> = CertificateDer::pem_slice_iter(&read(file)?)
        .collect::<Result<_, _>>()
        .map_err(|_| none())?;
    if found.is_empty() {
        return Err(none());
    }
    Ok(found)
}

fn check_validity(file: &Path, certificate: &CertificateDer<'_>) -> Result<(), TlsError> {
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|_| TlsError::NoCertificate {
            file: file.to_owned(),
        })?;
    if parsed.validity().is_valid() {
        return Ok(());
    }
    Err(TlsError::NotValidNow {
        file: file.to_owned(),
        from: parsed.validity().not_before.to_string(),
        until: parsed.validity().not_after.to_string(),
    })
}

fn read(file: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(file).map_err(|source| TlsError::Read {
        file: file.to_owned(),
        source,
    })
}

/// Why TLS can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read.
    #[error("{}: can't be read: {source}; check the path and the permissions", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file without certificates.
    #[error("{}: holds no certificate in PEM form; give a file with -----BEGIN CERTIFICATE-----", file.display())]
    NoCertificate {
        /// The file.
        file: PathBuf,
    },
    /// A file without a private key.
    #[error("{}: holds no private key in PEM form; give an unencrypted file with -----BEGIN PRIVATE KEY-----", file.display())]
    NoKey {
        /// The file.
        file: PathBuf,
    },
    /// A certificate out of its validity.
    #[error("{}: the certificate is valid from {from} until {until}, and not now; get a new one from your certification authority, or set the clock", file.display())]
    NotValidNow {
        /// The file.
        file: PathBuf,
        /// First moment.
        from: String,
        /// Last moment.
        until: String,
    },
    /// Certificate or key that TLS can't work with.
    #[error("{}: can't be used: {reason}; check that certificate and key belong together", file.display())]
    Unusable {
        /// The file.
        file: PathBuf,
        /// Why.
        reason: String,
    },
    /// The HTTP client can't be set up.
    #[error("the HTTP client can't be set up: {0}; check the certificate files")]
    Client(reqwest::Error),
}
