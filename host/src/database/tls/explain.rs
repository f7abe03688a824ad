//! What a failed handshake means for whoever wrote the connection string.
//!
//! The library's words are those of its inside (`invalid peer certificate: UnknownIssuer`). Whoever reads them at the
//! first start wants to know which of the two sides to change.

use std::error::Error as _;

use rustls::{CertificateError, Error};

/// The reason and the advice for a connection that failed because of TLS; `None` for every other failure.
pub(in crate::database) fn explain(error: &tokio_postgres::Error) -> Option<String> {
    let source = error.source()?;
    if is_not_offered(error) {
        return Some(
            "the server does not offer TLS\n  hint: turn it on there (`ssl = on`), or use `sslmode=disable` where nobody \
             can listen"
                .to_owned(),
        );
    }
    let within = source.downcast_ref::<std::io::Error>()?.get_ref()?.downcast_ref::<Error>()?;
    Some(match within {
        Error::InvalidCertificate(why) => certificate(why),
        other => other.to_string(),
    })
}

fn certificate(why: &CertificateError) -> String {
    match why {
        CertificateError::UnknownIssuer => "the server's certificate comes from an authority that is not trusted\n  \
             hint: give your provider's file of authorities as `sslrootcert`, or `sslrootcert=system` for a public one"
            .to_owned(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let expected = expected.to_str();
            let presented = if presented.is_empty() { "no name that counts".to_owned() } else { presented.join(", ") };
            format!(
                "the server's certificate is not for `{expected}`: it has {presented}\n  hint: connect by a name that it \
                 has as a subject alternative name (a common name does not count), or use `sslmode=verify-ca` with the \
                 authority of your database"
            )
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the server's certificate has expired\n  hint: renew it; or is the clock of this machine wrong?".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet\n  hint: is the clock of this machine wrong?".to_owned()
        }
        other if other.to_string().contains("CaUsedAsEndEntity") => {
            "the server's certificate is itself that of an authority, as a self-signed one often is\n  hint: make an \
             authority, and with it a certificate for the server"
                .to_owned()
        }
        other => format!("the server's certificate is refused: {other}"),
    }
}

/// True for a server that answered that it has no TLS. The driver has no type for it, only this text.
pub(in crate::database) fn is_not_offered(error: &tokio_postgres::Error) -> bool {
    error.source().is_some_and(|source| source.to_string() == "server does not support TLS")
}

/// True for a server that refused a connection because it was not encrypted.
pub(in crate::database) fn wants_tls(error: &tokio_postgres::Error) -> bool {
    // Postgres has no code of its own for it: "no pg_hba.conf entry for host …, no encryption" (before 14 "SSL off").
    error.as_db_error().is_some_and(|db| {
        db.code().code() == "28000" && (db.message().contains("no encryption") || db.message().contains("SSL off"))
    })
}
