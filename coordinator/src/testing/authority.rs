//! A certification authority in a directory.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use tempfile::TempDir;
use ward_transport::TlsFiles;

pub(crate) struct Authority {
    dir: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("directory");
        let key = KeyPair::generate().expect("key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let name = &mut params.distinguished_name;
        name.push(DnType::CommonName, "test network");
        let pem = params.self_signed(&key).expect("certificate").pem();
        fs::write(dir.path().join("ca.pem"), pem).expect("written");
        let issuer = Issuer::new(params, key);
        Self { dir, issuer }
    }

    pub(crate) fn service(&self, name: &str) -> TlsFiles {
        self.issue(name, SanType::DnsName(name.try_into().expect("name")))
    }

    pub(crate) fn person(&self, email: &str) -> TlsFiles {
        let name = SanType::Rfc822Name(email.try_into().expect("e-mail"));
        self.issue(email, name)
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    fn issue(&self, file: &str, name: SanType) -> TlsFiles {
        let key = KeyPair::generate().expect("key");
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![name];
        let certificate = params.signed_by(&key, &self.issuer).expect("certificate");
        let path = |end: &str| self.dir.path().join(format!("{file}.{end}"));
        fs::write(path("pem"), certificate.pem()).expect("written");
        fs::write(path("key"), key.serialize_pem()).expect("written");
        TlsFiles {
            certificate: path("pem"),
            key: path("key"),
            ca: self.ca(),
        }
    }
}
