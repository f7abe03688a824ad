//! The connector: rustls, set up as a plan says.
//!
//! rustls knows one way to check a server: everything. The lesser modes are a verifier of our own here, which leaves
//! checks out; it still proves that the other side has the key of the certificate that it shows. It must not know
//! connection strings.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{Authorities, ClientCertificate, Mode, Plan, TlsError};

/// The protocol name that a server wants to hear when TLS begins without a request for it.
const ALPN: &[u8] = b"postgresql";

/// Makes the connector; reads the files.
pub(super) fn make(plan: &Plan, direct: bool) -> Result<MakeRustlsConnect, TlsError> {
    let library = |error: Error| TlsError::Library(error.to_string());
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let config = config.map_err(library)?.dangerous().with_custom_certificate_verifier(verifier(plan, provider)?);
    let mut config = match &plan.client {
        None => config.with_no_client_auth(),
        Some(client) => {
            let (chain, key) = read_client(client)?;
            config.with_client_auth_cert(chain, key).map_err(|error| TlsError::File {
                option: "sslkey",
                path: client.key.clone(),
                reason: error.to_string(),
            })?
        }
    };
    if direct {
        config.alpn_protocols.push(ALPN.to_vec());
    }
    Ok(MakeRustlsConnect::new(config))
}

fn verifier(plan: &Plan, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    let roots = match &plan.authorities {
        None => None,
        Some(Authorities::System) => Some(system_roots()?),
        Some(Authorities::File(path)) => Some(read_roots(path)?),
    };
    let algorithms = provider.signature_verification_algorithms;
    Ok(match (plan.mode, roots) {
        (Mode::VerifyFull, Some(roots)) => WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| TlsError::Library(error.to_string()))?,
        (_, roots) => Arc::new(Lenient { roots, algorithms }),
    })
}

fn system_roots() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // What the system has and rustls cannot read does not count; without any, nobody could be trusted.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let reasons: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        return Err(TlsError::Library(format!(
            "the system has no authorities ({})\n  hint: install them (Debian's package `ca-certificates`), or name a file \
             as `sslrootcert`",
            if reasons.is_empty() { "none were found".to_owned() } else { reasons.join(", ") }
        )));
    }
    Ok(roots)
}

fn read_roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let unusable = |reason: String| TlsError::File { option: "sslrootcert", path: path.to_owned(), reason };
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates("sslrootcert", path)? {
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    Ok(roots)
}

fn read_client(client: &ClientCertificate) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let chain = read_certificates("sslcert", &client.chain)?;
    let key = read("sslkey", &client.key)?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|_| TlsError::File {
        option: "sslkey",
        path: client.key.clone(),
        reason: "it has no private key in PEM format; one with a password is not supported".into(),
    })?;
    Ok((chain, key))
}

fn read_certificates(option: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(option, path)?;
    let unusable = |reason: &str| TlsError::File { option, path: path.to_owned(), reason: reason.to_owned() };
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(unusable("it has no certificate in PEM format")),
        Err(_) => Err(unusable("it is damaged: a certificate in it is no PEM")),
    }
}

fn read(option: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| TlsError::File { option, path: path.to_owned(), reason: error.to_string() })
}

/// Checks less than everything: the authority if there are `roots`, and never the name.
#[derive(Debug)]
struct Lenient {
    roots: Option<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(roots) = &self.roots {
            let parsed = ParsedCertificate::try_from(certificate)?;
            verify_server_cert_signed_by_trust_anchor(&parsed, roots, intermediates, now, self.algorithms.all)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
