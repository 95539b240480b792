//! A certification authority for one network.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use chrono::{DateTime, Datelike, Days, Utc};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateSigningRequestParams,
    DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType, date_time_ymd,
};
use ward_schemas::names::{NodeName, Subject};
use ward_transport::TlsFiles;

use crate::deployment::DeployError;
use crate::deployment::files::{read, write, write_private};

/// How long certificates are valid, in days.
const VALIDITY_DAYS: u64 = 365;

/// A certification authority: it lets services and people into one network.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: PathBuf,
}

impl Authority {
    /// A fresh authority, its certificate (`ca.pem`) and key in the directory `dir`, which is made.
    ///
    /// # Errors
    /// When the files can't be written.
    pub fn create(dir: &Path) -> Result<Self, DeployError> {
        let key = KeyPair::generate()?;
        let mut params = params("Ward network");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = dir.join("ca.pem");
        write(&certificate, &params.self_signed(&key)?.pem())?;
        write_private(&dir.join("ca.key.pem"), &key.serialize_pem())?;
        Ok(Self {
            issuer: Issuer::new(params, key),
            certificate,
        })
    }

    /// The authority's certificate, PEM.
    pub fn certificate(&self) -> &Path {
        &self.certificate
    }

    /// A certificate and key for a service of this name, also good for 127.0.0.1, at `files`.
    ///
    /// # Errors
    /// When the files can't be written.
    pub fn service(&self, name: &NodeName, files: &TlsFiles) -> Result<(), DeployError> {
        let mut params = params(name.as_str());
        params.subject_alt_names = vec![dns(name)?, loopback()];
        self.issue(&params, files)
    }

    /// A client certificate and key for a person of this address, at `files`.
    ///
    /// # Errors
    /// When the address is none, or the files can't be written.
    pub fn person(&self, person: &Subject, files: &TlsFiles) -> Result<(), DeployError> {
        let mut params = params(person.as_str());
        let address = Ia5String::try_from(person.as_str())?;
        params.subject_alt_names = vec![SanType::Rfc822Name(address)];
        self.issue(&params, files)
    }

    /// Signs the certificate request of a node, which keeps its key to itself; the certificate is
    /// also good for 127.0.0.1.
    ///
    /// # Errors
    /// When the request can't be read, or the files can't be written.
    pub fn sign(&self, request: &Path, files: &TlsFiles) -> Result<(), DeployError> {
        let mut request = CertificateSigningRequestParams::from_pem(&read(request)?)?;
        let asked = std::mem::replace(&mut request.params, params(""));
        request.params.distinguished_name = asked.distinguished_name;
        request.params.subject_alt_names = asked.subject_alt_names;
        request.params.subject_alt_names.push(loopback());
        self.publish(&request.signed_by(&self.issuer)?, files)
    }

    fn issue(&self, params: &CertificateParams, files: &TlsFiles) -> Result<(), DeployError> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        write_private(&files.key, &key.serialize_pem())?;
        self.publish(&certificate, files)
    }

    fn publish(&self, certificate: &Certificate, files: &TlsFiles) -> Result<(), DeployError> {
        write(&files.certificate, &certificate.pem())?;
        if files.ca != self.certificate {
            fs::copy(&self.certificate, &files.ca)
                .map_err(|source| DeployError::file(&files.ca, source))?;
        }
        Ok(())
    }
}

/// A certificate of somebody who serves, dials or both, valid from yesterday.
fn params(common_name: &str) -> CertificateParams {
    let now = DateTime::<Utc>::from(SystemTime::now()).date_naive();
    let day = |day: chrono::NaiveDate| {
        let month = u8::try_from(day.month()).unwrap_or(1);
        date_time_ymd(day.year(), month, u8::try_from(day.day()).unwrap_or(1))
    };
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    let mut params = CertificateParams::default();
    params.not_before = day(now - Days::new(1));
    params.not_after = day(now + Days::new(VALIDITY_DAYS));
    params.distinguished_name = name;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.use_authority_key_identifier_extension = true;
    params
}

fn dns(name: &NodeName) -> Result<SanType, DeployError> {
    Ok(SanType::DnsName(Ia5String::try_from(name.as_str())?))
}

fn loopback() -> SanType {
    SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST))
}
