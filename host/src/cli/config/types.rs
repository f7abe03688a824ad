//! Settings that are more than a text.

use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

/// A text that must not reach a log, an error or a record. Whoever needs it says so by [`Secret::expose`].
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    /// The text itself.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is nothing to hide.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Where a server listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listen(SocketAddr);

impl Listen {
    /// The routes of apps: a port that is easy to remember, on this machine only. Being reachable from elsewhere is a
    /// decision that somebody has to make.
    pub(super) const DEFAULT: Self = Self::local(8000);

    const fn local(port: u16) -> Self {
        Self(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))
    }
}

impl From<Listen> for SocketAddr {
    fn from(listen: Listen) -> Self {
        listen.0
    }
}

/// `127.0.0.1:8000`, `[::1]:8000`, `localhost:8000`, or a port alone, which means this machine only.
impl FromStr for Listen {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let port = text.strip_prefix("localhost:").unwrap_or(text);
        // `u16` would take `+80` as well.
        if port.bytes().all(|byte| byte.is_ascii_digit())
            && let Ok(port) = port.parse()
        {
            return Ok(Self::local(port));
        }
        text.parse().map(Self).map_err(|_| "expected an address and a port, like `127.0.0.1:8000`, or a port")
    }
}

/// Where the admin server listens, if it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AdminListen {
    /// Nowhere.
    Off,
    /// At an address that only this machine can reach.
    At(SocketAddr),
}

impl AdminListen {
    /// The port of DBOS's own admin servers, which tools for them ask.
    pub(super) const DEFAULT: Self = Self::At(Listen::local(3001).0);

    /// The address, if there is one.
    pub(crate) fn address(self) -> Option<SocketAddr> {
        match self {
            Self::Off => None,
            Self::At(address) => Some(address),
        }
    }
}

/// As a [`Listen`], or `off`. Whoever reaches the admin server can stop workflows, and it asks for no password.
impl FromStr for AdminListen {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "off" {
            return Ok(Self::Off);
        }
        let Listen(address) = text.parse().map_err(
            |_| "expected an address of this machine and a port, like `127.0.0.1:3001`, or a port, or `off`",
        )?;
        if address.ip().is_loopback() {
            Ok(Self::At(address))
        } else {
            Err("it could be reached from other machines, and it lets anybody cancel workflows\n\
                 hint: keep it at `127.0.0.1:3001`, and reach it from elsewhere by a tunnel: \
                 `ssh -L 3001:localhost:3001 <this machine>`")
        }
    }
}

/// The stable identity of a host among those that share a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExecutorId(String);

impl ExecutorId {
    /// Ids stand in rows, indexes and log lines; 128 bytes are enough for a host name and more.
    const MOST_BYTES: usize = 128;

    /// The id as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ExecutorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ExecutorId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = (1..=Self::MOST_BYTES).contains(&text.len());
        if fits && text.chars().all(|c| c.is_ascii_graphic()) {
            Ok(Self(text.to_owned()))
        } else {
            Err("expected 1 to 128 visible ASCII characters without spaces")
        }
    }
}

/// The name of a database role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RoleName(String);

impl RoleName {
    /// Postgres cuts longer names off, and two names could become one.
    const MOST_BYTES: usize = 63;

    /// The name as text, not quoted for SQL.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RoleName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() || text.len() > Self::MOST_BYTES || text.chars().any(char::is_control) {
            Err("expected the name of a database role, 1 to 63 bytes")
        } else if text.starts_with("pg_") {
            Err("names that start with `pg_` belong to Postgres")
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_show_itself() {
        let secret = Secret::from("sesame".to_owned());
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        assert_eq!(secret.expose(), "sesame");
    }

    #[test]
    fn a_port_alone_means_this_machine() {
        let listen = |text: &str| text.parse().map(|listen: Listen| SocketAddr::from(listen).to_string());
        assert_eq!(listen("8080"), Ok("127.0.0.1:8080".to_owned()));
        assert_eq!(listen("localhost:0"), Ok("127.0.0.1:0".to_owned()));
        assert_eq!(listen("0.0.0.0:80"), Ok("0.0.0.0:80".to_owned()));
        assert_eq!(listen("[::1]:80"), Ok("[::1]:80".to_owned()));
        for wrong in ["", "70000", "+80", ":80", "example.com:80", "127.0.0.1"] {
            assert!(listen(wrong).is_err(), "`{wrong}` was taken");
        }
    }

    #[test]
    fn the_admin_server_is_for_this_machine_only() {
        assert_eq!("off".parse(), Ok(AdminListen::Off));
        for (text, address) in [("9000", "127.0.0.1:9000"), ("[::1]:1", "[::1]:1"), ("127.0.0.2:1", "127.0.0.2:1")] {
            assert_eq!(text.parse::<AdminListen>().map(AdminListen::address), Ok(address.parse().ok()), "{text}");
        }
        for open in ["0.0.0.0:3001", "[::]:3001", "10.0.0.1:3001", "[::ffff:127.0.0.1]:3001"] {
            let error = open.parse::<AdminListen>().expect_err(open);
            assert!(error.contains("reached from other machines") && error.contains("\nhint: "), "{error}");
        }
        assert!("on".parse::<AdminListen>().is_err());
    }

    #[test]
    fn ids_and_roles_have_limits() {
        assert!("blue-1".parse::<ExecutorId>().is_ok());
        assert!("a b".parse::<ExecutorId>().is_err());
        assert!("".parse::<ExecutorId>().is_err());
        assert!("x".repeat(129).parse::<ExecutorId>().is_err());
        assert!("shop_guest".parse::<RoleName>().is_ok());
        assert!("x".repeat(64).parse::<RoleName>().is_err());
        assert_eq!("pg_me".parse::<RoleName>(), Err("names that start with `pg_` belong to Postgres"));
    }
}
