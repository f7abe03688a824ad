//! Certificates that are made for one test: an authority, and what it certifies.
//!
//! The files that a host is given lie in a folder that is removed with the authority.

use std::fs;
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use tempfile::TempDir;

/// An authority.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    certificate: String,
    folder: TempDir,
}

/// A certificate with its key, in PEM format.
#[derive(Debug)]
pub struct Certificate {
    chain: String,
    key: String,
}

impl Authority {
    /// An authority of this name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("a key pair");
        let issuer = CertifiedIssuer::self_signed(parameters, key).expect("an authority");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let certificate = issuer.pem();
        fs::write(folder.path().join("ca.pem"), &certificate).expect("a file for the authority");
        Self { issuer, certificate, folder }
    }

    /// Its certificate.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The file with its certificate.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Its own certificate in the place of a server's, as one has who signs it with its own key.
    #[must_use]
    pub fn as_server(&self) -> Certificate {
        Certificate { chain: self.certificate.clone(), key: self.issuer.key().serialize_pem() }
    }

    /// A certificate for a server with these names.
    #[must_use]
    pub fn certify(&self, names: &[&str]) -> Certificate {
        self.sign(&parameters(names))
    }

    /// The same, but it expired long ago.
    #[must_use]
    pub fn certify_expired(&self, names: &[&str]) -> Certificate {
        let mut parameters = parameters(names);
        parameters.not_before = rcgen::date_time_ymd(2001, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(2002, 1, 1);
        self.sign(&parameters)
    }

    /// A certificate that lets a database role in, as files: the certificate and its key.
    #[must_use]
    pub fn certify_client(&self, role: &str) -> (PathBuf, PathBuf) {
        let mut parameters = parameters(&[]);
        parameters.distinguished_name.push(DnType::CommonName, role);
        let certificate = self.sign(&parameters);
        let [chain, key] = ["pem", "key"].map(|extension| self.folder.path().join(format!("{role}.{extension}")));
        fs::write(&chain, certificate.chain).expect("a file for a certificate");
        fs::write(&key, certificate.key).expect("a file for a key");
        (chain, key)
    }

    fn sign(&self, parameters: &CertificateParams) -> Certificate {
        let key = KeyPair::generate().expect("a key pair");
        let certificate = parameters.signed_by(&key, &self.issuer).expect("a certificate");
        Certificate { chain: certificate.pem(), key: key.serialize_pem() }
    }
}

impl Certificate {
    /// The certificate.
    #[must_use]
    pub fn chain(&self) -> &str {
        &self.chain
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }
}

fn parameters(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    CertificateParams::new(names).expect("names that a certificate can have")
}
