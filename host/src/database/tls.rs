//! TLS to Postgres: what the connection string asks for, and the connector that does it.
//!
//! The words are libpq's, since every provider of managed Postgres hands them out: `sslmode`, `sslrootcert`, `sslcert`,
//! `sslkey`. Encryption alone keeps listeners out; whoever can answer in the server's place is kept out only by a
//! certificate that is checked. So the one thing that must not happen is that a string reads as if it were checked while
//! it is not. Where libpq lets that happen, this module says no: an authority that is named and not used is an error,
//! and a server that offers TLS is never spoken to without it after a handshake that failed.

mod connector;
mod explain;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio_postgres::config::{Host, SslMode, SslNegotiation};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::connection_string::Split;
pub(super) use explain::{explain, is_not_offered, wants_tls};

/// What needs no escape in a connection string.
pub(super) const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// What the connection string asks for cannot be had, or contradicts itself.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// `sslmode` has a value that is not known. It is not repeated: in a URL it may be the rest of a password.
    #[error(
        "`sslmode` has a value that is not known\n  hint: use `disable`, `prefer`, `require`, `verify-ca` or `verify-full`"
    )]
    UnknownMode,
    /// An authority is given and would not be asked.
    #[error(
        "`sslrootcert` has no effect with `sslmode={0}`\n  hint: use `sslmode=verify-full`, or leave `sslrootcert` out"
    )]
    Unchecked(&'static str),
    /// `verify-ca` with every authority that there is: any certificate that somebody bought would do.
    #[error(
        "`sslmode={0}` proves nothing with the authorities of the system, which certify everybody\n  hint: use \
         `sslmode=verify-full`, or give the authority of your database as `sslrootcert`"
    )]
    EverybodysAuthority(&'static str),
    /// One half of a client certificate.
    #[error("`sslcert` and `sslkey` belong together, and one of them is missing")]
    HalfOfAPair,
    /// Direct negotiation, which has no way back, with a mode that has one.
    #[error("`sslnegotiation=direct` needs at least `sslmode=require`")]
    DirectNeedsTls,
    /// A file cannot be used.
    #[error("`{option}` names `{}`, which cannot be used: {reason}", path.display())]
    File {
        /// The option.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Everything else, as the library says it.
    #[error("TLS cannot be prepared: {0}")]
    Library(String),
}

/// How much of the other side is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Nothing is encrypted.
    Disable,
    /// Encrypted if the server offers it.
    Prefer,
    /// Encrypted; nobody is asked whom we speak to.
    Require,
    /// Encrypted, with a certificate of the given authority.
    VerifyCa,
    /// The same, and it is the certificate of this host.
    VerifyFull,
}

/// Who may certify the server.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Authorities {
    System,
    File(PathBuf),
}

/// What we show to a server that asks who we are.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ClientCertificate {
    chain: PathBuf,
    key: PathBuf,
}

/// What a connection string says about TLS: a plan, nothing has been read yet.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Plan {
    mode: Mode,
    authorities: Option<Authorities>,
    client: Option<ClientCertificate>,
}

impl Mode {
    const ALL: [Self; 5] = [Self::Disable, Self::Prefer, Self::Require, Self::VerifyCa, Self::VerifyFull];

    fn word(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

impl Plan {
    /// What is meant by a string that says nothing.
    const DEFAULT: Self = Self { mode: Mode::Prefer, authorities: None, client: None };

    /// Relative paths are relative to the working folder, as for libpq.
    fn read(split: &Split) -> Result<Self, TlsError> {
        let given = match split.option("sslmode") {
            None => None,
            Some(word) => Some(Mode::ALL.into_iter().find(|mode| mode.word() == word).ok_or(TlsError::UnknownMode)?),
        };
        let absolute = |path: &str| std::path::absolute(path).unwrap_or_else(|_| path.into());
        let authorities = split.option("sslrootcert").map(|text| match text {
            "system" => Authorities::System,
            path => Authorities::File(absolute(path)),
        });
        let (mode, authorities) = Self::decide(given, authorities)?;
        let client = match (split.option("sslcert"), split.option("sslkey")) {
            (None, None) => None,
            (Some(chain), Some(key)) => Some(ClientCertificate { chain: absolute(chain), key: absolute(key) }),
            _ => return Err(TlsError::HalfOfAPair),
        };
        Ok(Self { mode, authorities, client })
    }

    /// Which mode and authorities are meant.
    ///
    /// Without a word, `prefer` as in libpq: a server on this machine has no TLS as it is installed, a managed one
    /// refuses anything else, and both must work with the string that their owner has. Whoever names an authority wants
    /// it asked, so that alone means `verify-full`; `require` with an authority is `verify-ca`, as libpq has it.
    fn decide(given: Option<Mode>, authorities: Option<Authorities>) -> Result<(Mode, Option<Authorities>), TlsError> {
        match (given, authorities) {
            (None, None) => Ok((Self::DEFAULT.mode, None)),
            (None, some) => Ok((Mode::VerifyFull, some)),
            (Some(mode @ (Mode::Disable | Mode::Prefer)), Some(_)) => Err(TlsError::Unchecked(mode.word())),
            (Some(mode @ (Mode::Disable | Mode::Prefer | Mode::Require)), None) => Ok((mode, None)),
            (Some(mode @ (Mode::Require | Mode::VerifyCa)), Some(Authorities::System)) => {
                Err(TlsError::EverybodysAuthority(mode.word()))
            }
            (Some(mode @ Mode::VerifyCa), None) => Err(TlsError::EverybodysAuthority(mode.word())),
            (Some(Mode::Require | Mode::VerifyCa), Some(file)) => Ok((Mode::VerifyCa, Some(file))),
            (Some(Mode::VerifyFull), given) => Ok((Mode::VerifyFull, given.or(Some(Authorities::System)))),
        }
    }
}

/// How connections to a database are protected (lifetime: the process). Files are read once, when it is made.
#[derive(Clone)]
pub(super) struct Tls {
    plan: Plan,
    connector: MakeRustlsConnect,
    /// With `prefer`: the server has said that it has no TLS.
    has_none: Arc<AtomicBool>,
}

impl Tls {
    /// For a Unix socket, which nobody can listen to: libpq ignores `sslmode` there, and servers offer no TLS.
    pub(super) fn none(config: &mut tokio_postgres::Config) -> Self {
        config.ssl_mode(SslMode::Disable);
        let connector = connector::make(&Plan::DEFAULT, false).expect("without certificates there is nothing to fail");
        Self { plan: Plan::DEFAULT, connector, has_none: Arc::default() }
    }

    /// What the connection string asks for. `config` is what the driver made of the rest of it; its mode is set here.
    pub(super) fn of(split: &Split, config: &mut tokio_postgres::Config) -> Result<Self, TlsError> {
        let plan = Plan::read(split)?;
        let hosts = config.get_hosts();
        if !hosts.is_empty() && hosts.iter().all(|host| matches!(host, Host::Unix(_))) {
            return Ok(Self::none(config));
        }
        config.ssl_mode(match plan.mode {
            Mode::Disable => SslMode::Disable,
            Mode::Prefer => SslMode::Prefer,
            Mode::Require | Mode::VerifyCa | Mode::VerifyFull => SslMode::Require,
        });
        let direct = config.get_ssl_negotiation() == SslNegotiation::Direct;
        if direct && matches!(plan.mode, Mode::Disable | Mode::Prefer) {
            return Err(TlsError::DirectNeedsTls);
        }
        Ok(Self { connector: connector::make(&plan, direct)?, plan, has_none: Arc::default() })
    }

    /// For the driver.
    pub(super) fn connector(&self) -> MakeRustlsConnect {
        self.connector.clone()
    }

    /// The server has answered that it has no TLS.
    pub(super) fn note_none(&self) {
        self.has_none.store(true, Ordering::SeqCst);
    }

    /// Whether it has, so that what is said to it may be said in the open.
    pub(super) fn has_none(&self) -> bool {
        self.has_none.load(Ordering::SeqCst)
    }

    /// The options for a connection string that another program is given, with `?` before them; empty for the defaults.
    pub(super) fn parameters(&self) -> String {
        let mut options = Vec::new();
        if self.plan.mode != Plan::DEFAULT.mode {
            options.push(("sslmode", self.plan.mode.word().to_owned()));
        }
        match &self.plan.authorities {
            None => {}
            Some(Authorities::System) => options.push(("sslrootcert", "system".to_owned())),
            Some(Authorities::File(path)) => options.push(("sslrootcert", path.display().to_string())),
        }
        if let Some(client) = &self.plan.client {
            options.push(("sslcert", client.chain.display().to_string()));
            options.push(("sslkey", client.key.display().to_string()));
        }
        let options: Vec<String> =
            options.iter().map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, PLAIN))).collect();
        if options.is_empty() { String::new() } else { format!("?{}", options.join("&")) }
    }
}

#[cfg(test)]
mod tests;
