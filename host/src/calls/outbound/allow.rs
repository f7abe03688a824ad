//! The operator's list: which origins an app may talk to, and which networks that are not public.
//!
//! An entry is a grant for what it says and nothing more. One that names an address, or `localhost`, can only mean that
//! place, so it is a grant for it. One that names a host is not: where the name leads is decided by somebody else.

use std::net::IpAddr;
use std::str::FromStr;

use reqwest::Url;

use super::address::{self, Network};
use super::resolver::Prohibited;

/// What an app may talk to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AllowList {
    /// The origins; nothing else is asked.
    pub origins: Vec<Origin>,
    /// Networks that their names may lead to, although they are not public.
    pub private: Vec<Network>,
}

/// One entry: `https://api.example.com`, `http://localhost:8080`, `https://*.example.com` for every host below a domain,
/// or `*` for everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(Pattern);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Everything,
    Exactly { scheme: String, host: Host, port: u16 },
    Below { scheme: String, domain: String, port: u16 },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Host {
    Address(IpAddr),
    /// In lower case, international names in their ASCII form, without the dot that may stand at the end.
    Name(String),
}

/// Which addresses a request may go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Those that are public or granted.
    Anywhere,
    /// This machine itself and nothing else: the operator has listed `localhost`.
    ThisMachine,
}

/// Why a request is not sent.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Its origin is not on the list.
    NotListed,
    /// It names an address that is not granted.
    Address(Prohibited),
}

impl AllowList {
    /// Whether a request may be sent, and how far it may go.
    pub(super) fn decide(&self, url: &Url) -> Result<Reach, Refusal> {
        let (Some(host), Some(port)) = (Host::of(url), url.port_or_known_default()) else {
            return Err(Refusal::NotListed);
        };
        let mut fitting = self.origins.iter().filter(|entry| entry.fits(url.scheme(), &host, port)).peekable();
        if fitting.peek().is_none() {
            return Err(Refusal::NotListed);
        }
        let is_named = fitting.any(|entry| matches!(entry.0, Pattern::Exactly { .. }));
        match host {
            // Nobody resolves an address, so nobody would check it later.
            Host::Address(address) if !is_named => match address::forbidden(address, &self.private) {
                Some(kind) => Err(Refusal::Address(Prohibited::new(url.host_str().unwrap_or_default(), address, kind))),
                None => Ok(Reach::Anywhere),
            },
            Host::Name(name) if is_named && name == "localhost" => Ok(Reach::ThisMachine),
            Host::Address(_) | Host::Name(_) => Ok(Reach::Anywhere),
        }
    }
}

impl Origin {
    fn fits(&self, scheme: &str, host: &Host, port: u16) -> bool {
        match &self.0 {
            Pattern::Everything => matches!(scheme, "http" | "https"),
            Pattern::Exactly { scheme: s, host: h, port: p } => s == scheme && h == host && *p == port,
            Pattern::Below { scheme: s, domain, port: p } => {
                let Host::Name(name) = host else { return false };
                let below = name.strip_suffix(domain.as_str());
                s == scheme && *p == port && below.is_some_and(|rest| rest.ends_with('.') && rest.len() > 1)
            }
        }
    }
}

impl Host {
    /// The host of a URL, which its parser has brought into one form: `0x7f.1` and `2130706433` are addresses.
    pub(super) fn of(url: &Url) -> Option<Self> {
        let text = url.host_str()?;
        let address = match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
            Some(v6) => v6.parse().ok().map(IpAddr::V6),
            None => text.parse().ok().map(IpAddr::V4),
        };
        Some(match address {
            Some(address) => Self::Address(address),
            None => Self::Name(text.strip_suffix('.').unwrap_or(text).to_owned()),
        })
    }
}

impl FromStr for Origin {
    type Err = &'static str;

    fn from_str(entry: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected an origin, like `https://api.example.com`, `http://localhost:8080` or `https://*.example.com`, or `*`";
        if entry == "*" {
            return Ok(Self(Pattern::Everything));
        }
        let (entry, is_below) = match entry.split_once("://*.") {
            Some((scheme, rest)) => (format!("{scheme}://{rest}"), true),
            None => (entry.to_owned(), false),
        };
        if !entry.contains("://") {
            return Err(EXPECTED);
        }
        let url = Url::parse(&entry).map_err(|_| EXPECTED)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("expected the scheme `http` or `https`");
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err("expected an origin without a path: every path of a host is allowed, or none");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("expected an origin without user and password");
        }
        let (Some(host), Some(port)) = (Host::of(&url), url.port_or_known_default()) else { return Err(EXPECTED) };
        let scheme = url.scheme().to_owned();
        match host {
            Host::Name(name) if name.contains('*') => {
                Err("expected a `*` only as the first label of the host, like `https://*.example.com`")
            }
            Host::Address(_) if is_below => Err("expected a name below the `*`: there is nothing below an address"),
            Host::Name(domain) if is_below => Ok(Self(Pattern::Below { scheme, domain, port })),
            host => Ok(Self(Pattern::Exactly { scheme, host, port })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(origins: &[&str], private: &[&str]) -> AllowList {
        AllowList {
            origins: origins.iter().map(|entry| entry.parse().unwrap()).collect(),
            private: private.iter().map(|network| network.parse().unwrap()).collect(),
        }
    }

    /// What is decided, in a word.
    fn decided(list: &AllowList, url: &str) -> &'static str {
        match list.decide(&Url::parse(url).unwrap()) {
            Ok(Reach::Anywhere) => "anywhere",
            Ok(Reach::ThisMachine) => "this machine",
            Err(Refusal::NotListed) => "not listed",
            Err(Refusal::Address(_)) => "address",
        }
    }

    #[test]
    fn scheme_host_and_port_count() {
        let list = list(&["https://api.example.com", "http://bücher.example"], &[]);
        for allowed in [
            "https://api.example.com/v1?x=1",
            "https://API.example.com:443/",
            "https://api.example.com./",
            "https://user:password@api.example.com/",
            "http://xn--bcher-kva.example/",
            "http://B%C3%BCcher.example/",
        ] {
            assert_eq!(decided(&list, allowed), "anywhere", "{allowed}");
        }
        for other in [
            "http://api.example.com/",
            "https://api.example.com:8443/",
            "https://api.example.com.evil.net/",
            "https://evil.net/api.example.com",
            "https://api.example.com@evil.net/",
            "https://evil.net\\@api.example.com/",
            "ftp://api.example.com/",
        ] {
            assert_eq!(decided(&list, other), "not listed", "{other}");
        }
        assert_eq!(decided(&AllowList::default(), "https://api.example.com/"), "not listed");
    }

    #[test]
    fn a_star_stands_for_subdomains_only() {
        let list = list(&["https://*.example.com"], &[]);
        assert_eq!(decided(&list, "https://a.b.example.com/"), "anywhere");
        assert_eq!(decided(&list, "https://example.com/"), "not listed");
        assert_eq!(decided(&list, "https://badexample.com/"), "not listed");
    }

    #[test]
    fn an_address_is_granted_by_its_own_entry_or_its_network() {
        let star = list(&["*"], &[]);
        let private = list(&["*"], &["127.0.0.0/8", "10.0.0.0/8"]);
        let named = list(&["http://127.0.0.1:8080", "http://[fd00::1]"], &[]);
        for (list, url, expected) in [
            (&star, "http://93.184.216.34/", "anywhere"),
            (&star, "http://127.0.0.1:8080/", "address"),
            (&star, "http://169.254.169.254/latest/meta-data", "address"),
            (&star, "http://[::ffff:127.0.0.1]/", "address"),
            (&star, "http://[::1]/", "address"),
            // Other ways to write 127.0.0.1.
            (&star, "http://2130706433/", "address"),
            (&star, "http://0177.0.0.1/", "address"),
            (&star, "http://0x7f.1/", "address"),
            (&star, "http://127.0.0.1./", "address"),
            (&star, "http://%31%32%37.0.0.1/", "address"),
            (&star, "http://①②⑦.0.0.1/", "address"),
            (&private, "http://127.0.0.1:8080/", "anywhere"),
            (&private, "http://10.1.2.3/", "anywhere"),
            (&private, "http://[::ffff:10.1.2.3]/", "anywhere"),
            (&private, "http://192.168.0.1/", "address"),
            (&named, "http://127.0.0.1:8080/", "anywhere"),
            (&named, "http://2130706433:8080/", "anywhere"),
            (&named, "http://[fd00:0::0001]/", "anywhere"),
            (&named, "http://127.0.0.1/", "not listed"),
            (&named, "http://localhost:8080/", "not listed"),
            (&named, "http://[::ffff:127.0.0.1]:8080/", "not listed"),
        ] {
            assert_eq!(decided(list, url), expected, "{url}");
        }
    }

    #[test]
    fn this_machine_is_granted_by_its_name_only_where_it_is_listed() {
        let named = list(&["http://localhost:8080", "*"], &[]);
        assert_eq!(decided(&named, "http://LOCALHOST.:8080/"), "this machine");
        // The resolver will find that it is not public.
        assert_eq!(decided(&named, "http://localhost:8081/"), "anywhere");
        assert_eq!(decided(&list(&["http://*.localhost"], &[]), "http://a.localhost/"), "anywhere");
    }

    #[test]
    fn entries_that_mean_nothing_are_refused() {
        for entry in [
            "example.com",
            "localhost:8080",
            "ftp://x",
            "https://x/path",
            "https://x/?q",
            "https://a.*.b",
            "https://*.10.0.0.1",
            "https://user@x",
            "https://",
        ] {
            assert!(entry.parse::<Origin>().unwrap_err().starts_with("expected"), "{entry}");
        }
    }

    /// What a guest hands over in pieces and what the client makes of it: the check sees the latter.
    #[test]
    fn a_path_that_moves_the_host_is_seen_where_it_moves_it() {
        let list = list(&["http://allowed.example"], &[]);
        for path in ["@evil.example/", ".evil.example/", ":81/", "/ok"] {
            let uri = http::Uri::builder().scheme("http").authority("allowed.example").path_and_query(path).build();
            let Ok(uri) = uri else { continue };
            let request = reqwest::Request::try_from(http::Request::get(uri).body("").unwrap());
            let Ok(request) = request else { continue };
            let goes_to_allowed = request.url().host_str() == Some("allowed.example") && request.url().port().is_none();
            assert_eq!(decided(&list, request.url().as_str()) == "anywhere", goes_to_allowed, "{path}");
        }
    }
}
