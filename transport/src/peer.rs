//! Who is at the other end of a connection.

use rustls::pki_types::CertificateDer;
use ward_schemas::names::{NodeName, Subject};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The names in a verified client certificate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer {
    dns_names: Vec<String>,
    email_names: Vec<String>,
    common_name: Option<String>,
}

impl Peer {
    /// The names in a certificate that TLS has verified; `None` if it can't be read.
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let common_name = parsed.subject().iter_common_name().next();
        let mut peer = Self {
            dns_names: Vec::new(),
            email_names: Vec::new(),
            common_name: common_name.and_then(|n| n.as_str().ok()).map(str::to_owned),
        };
        let names = parsed.subject_alternative_name().ok()?;
        for name in names.iter().flat_map(|n| &n.value.general_names) {
            match name {
                GeneralName::DNSName(dns) => peer.dns_names.push(dns.to_ascii_lowercase()),
                GeneralName::RFC822Name(email) => peer.email_names.push((*email).to_owned()),
                _ => {}
            }
        }
        Some(peer)
    }

    /// Whether the certificate is that of the service of this name: one of its DNS names.
    pub fn is_node(&self, name: &NodeName) -> bool {
        self.dns_names.iter().any(|dns| dns == name.as_str())
    }

    /// The person or machine: the first e-mail name, else the first DNS name, else the common
    /// name. `None` where that is no subject.
    pub fn subject(&self) -> Option<Subject> {
        let mut names = self.email_names.iter().chain(&self.dns_names);
        names.next().or(self.common_name.as_ref())?.parse().ok()
    }
}

/// What is known of a connection; in the extensions of each of its requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionPeer {
    /// Who the client proved to be, if it proved anything.
    pub peer: Option<Peer>,
}
