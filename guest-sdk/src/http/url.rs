//! As much of URLs as a client needs: their parts, and how a redirect's `Location` is resolved.
//!
//! A full URL library brings the tables of international domain names, several times the size of everything else in a
//! guest. So a URL must already be written as it is sent: ASCII, percent-encoded, host names in their ASCII form.

use std::fmt;

use super::HTTP_ERROR;
use crate::{Error, Result};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scheme {
    Http,
    Https,
}

/// An absolute `http` or `https` URL without its fragment.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Url {
    pub(super) scheme: Scheme,
    /// `host` or `host:port`, in lower case.
    pub(super) authority: String,
    /// Begins with `/`.
    pub(super) path_and_query: String,
}

/// A URL as errors have it. Errors are recorded and logged, and many services take their keys in the query.
pub(super) fn shown(url: &str) -> &str {
    url.split('?').next().unwrap_or_default()
}

impl Url {
    pub(super) fn parse(text: &str) -> Result<Url> {
        let refuse = |why: &str| {
            Err(Error::new(format!("the URL `{}` {why}", shown(text))).with_name(HTTP_ERROR).do_not_retry())
        };
        if let Some(c) = text.chars().find(|c| !c.is_ascii_graphic()) {
            return refuse(&format!("contains {c:?}, which must be percent-encoded"));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return refuse("must begin with `http://` or `https://`");
        };
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return refuse("must begin with `http://` or `https://`"),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(Error::new("a URL must not hold a user or password: send them in a header")
                .with_name(HTTP_ERROR)
                .do_not_retry());
        }
        if authority.is_empty() || authority.starts_with(':') {
            return refuse("names no host");
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Url { scheme, authority: authority.to_ascii_lowercase(), path_and_query: format!("{slash}{path}") })
    }

    /// What `reference` means on the page of this URL (RFC 3986, section 5.2).
    pub(super) fn join(&self, reference: &str) -> Result<Url> {
        let reference = reference.split('#').next().unwrap_or_default();
        let has_scheme = reference.find("://").is_some_and(|at| at < reference.find(['/', '?']).unwrap_or(usize::MAX));
        if has_scheme || reference.starts_with("mailto:") || reference.starts_with("data:") {
            return Url::parse(reference);
        }
        if reference.starts_with("//") {
            return Url::parse(&format!("{}:{reference}", self.scheme));
        }
        let own_path = self.path_and_query.split('?').next().unwrap_or_default();
        let target = match reference.chars().next() {
            None => self.path_and_query.clone(),
            Some('?') => format!("{own_path}{reference}"),
            Some('/') => without_dots(reference),
            Some(_) => {
                let folder = own_path.rfind('/').map_or("/", |at| &own_path[..=at]);
                without_dots(&format!("{folder}{reference}"))
            }
        };
        Url::parse(&format!("{}://{}{target}", self.scheme, self.authority))
    }

    /// Whether both lead to the same scheme, host and port.
    pub(super) fn same_origin(&self, other: &Url) -> bool {
        self.scheme == other.scheme && self.host_and_port() == other.host_and_port()
    }

    fn host_and_port(&self) -> &str {
        let default = match self.scheme {
            Scheme::Http => ":80",
            Scheme::Https => ":443",
        };
        self.authority.strip_suffix(default).unwrap_or(&self.authority)
    }
}

/// Resolves `.` and `..` in a path; the query is left alone.
fn without_dots(target: &str) -> String {
    let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." => {}
            ".." => _ = kept.pop(),
            other => kept.push(other),
        }
        if last && matches!(segment, "." | "..") {
            kept.push("");
        }
    }
    format!("/{}{query}", kept.join("/"))
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.path_and_query)
    }
}

#[cfg(test)]
mod tests {
    use super::Url;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn parts() {
        assert_eq!(url("HTTPS://Example.com:8443/a/B?c#d").to_string(), "https://example.com:8443/a/B?c");
        assert_eq!(url("http://localhost").path_and_query, "/");
        assert_eq!(url("http://localhost?x=http://y").path_and_query, "/?x=http://y");
        assert_eq!(url("http://[::1]:80/").authority, "[::1]:80");
    }

    #[test]
    fn an_error_does_not_show_the_query() {
        let error = Url::parse("htp://a/b?key=sesame").unwrap_err();
        assert_eq!(error.message(), "the URL `htp://a/b` must begin with `http://` or `https://`");
        assert_eq!(super::shown("http://a/b"), "http://a/b");
    }

    #[test]
    fn what_is_no_url_says_why() {
        let refused = |text| Url::parse(text).unwrap_err().message().to_owned();
        assert!(refused("localhost/x").contains("must begin with"));
        assert!(refused("ftp://x/").contains("must begin with"));
        assert!(refused("http:///x").contains("names no host"));
        assert!(refused("http://x/a b").contains("percent-encoded"));
        assert!(refused("http://x/ü").contains("percent-encoded"));
        let secret = refused("http://me:secret@x/");
        assert!(secret.contains("user or password") && !secret.contains("secret"), "{secret}");
    }

    #[test]
    fn references_are_resolved_as_the_standard_says() {
        let base = url("http://a/b/c/d?q");
        for (reference, expected) in [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g/"),
            ("?y", "http://a/b/c/d?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("", "http://a/b/c/d?q"),
            (".", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../../g", "http://a/g"),
            ("../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("g?y/../x", "http://a/b/c/g?y/../x"),
            ("/r?to=http://x/", "http://a/r?to=http://x/"),
            ("https://z/y", "https://z/y"),
            ("g#s", "http://a/b/c/g"),
        ] {
            assert_eq!(base.join(reference).unwrap().to_string(), expected, "{reference}");
        }
    }

    #[test]
    fn the_default_port_is_no_difference() {
        assert!(url("http://a/").same_origin(&url("http://A:80/x")));
        assert!(!url("http://a/").same_origin(&url("https://a/")));
        assert!(!url("http://a/").same_origin(&url("http://a:443/")));
        assert!(!url("https://a:80/").same_origin(&url("https://a/")));
    }
}
