//! The routes of an app: methods and path patterns, and whether two patterns can match one path.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

/// The methods that a route can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// Reads.
    Get,
    /// Makes something.
    Post,
    /// Replaces.
    Put,
    /// Changes.
    Patch,
    /// Removes.
    Delete,
}

impl Method {
    /// The method as it stands in a request.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A path like `/greeting/{name}`: literal segments, and placeholders that match one segment each.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PathPattern(String);

impl PathPattern {
    /// Checks a pattern.
    ///
    /// # Errors
    /// A sentence that says what is wrong: no leading slash, a character that no path has, braces that are not a whole segment, a placeholder that
    /// occurs twice, or a path that is the host's own.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err(format!("path `{text}` must begin with `/`"));
        };
        let mut seen = Vec::new();
        for segment in rest.split('/') {
            match placeholder(segment) {
                Some("") => return Err(format!("path `{text}` has a placeholder without a name")),
                Some(name) if seen.contains(&name) => {
                    return Err(format!("path `{text}` has the placeholder `{name}` twice"));
                }
                Some(name) => seen.push(name),
                None if segment.contains(['{', '}', '*']) => {
                    return Err(format!("path `{text}`: a placeholder is a whole segment, like `/greeting/{{name}}`"));
                }
                None => {
                    if let Some(wrong) = segment.chars().find(|character| !is_of_a_path(*character)) {
                        return Err(format!(
                            "path `{text}`: no request can have the character `{}` in its path; write it percent-encoded",
                            wrong.escape_debug()
                        ));
                    }
                }
            }
        }
        match rest.split('/').next() {
            Some("workflows") => Err(format!("path `{text}`: `/workflows` is the host's own")),
            _ => Ok(Self(text.into())),
        }
    }

    /// The pattern as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What tells patterns apart: two with the same shape match the same paths. Placeholders count by place, not by name.
    #[must_use]
    pub fn shape(&self) -> String {
        let segments = self.0.split('/').map(|segment| if placeholder(segment).is_some() { "{}" } else { segment });
        segments.collect::<Vec<_>>().join("/")
    }
}

/// What a segment of a path is made of (`pchar` of RFC 3986); everything else is percent-encoded there.
fn is_of_a_path(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@%".contains(character)
}

fn placeholder(segment: &str) -> Option<&str> {
    let name = segment.strip_prefix('{')?.strip_suffix('}')?;
    (!name.contains(['{', '}', '*'])).then_some(name)
}

/// All but what RFC 3986 calls unreserved.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A text as one segment of a path.
#[must_use]
pub fn path_segment(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_checked() {
        for good in ["/", "/a", "/greeting/{name}", "/{a}/b/{c}/"] {
            assert!(PathPattern::parse(good).is_ok(), "{good}");
        }
        for (bad, reason) in [
            ("a", "must begin with `/`"),
            ("/a{b}", "a whole segment"),
            ("/{}", "without a name"),
            ("/{a}/{a}", "twice"),
            ("/{*rest}", "a whole segment"),
            ("/workflows/x", "the host's own"),
            ("/a?b", "no request can have the character `?`"),
            ("/a b", "percent-encoded"),
            ("/é", "percent-encoded"),
        ] {
            let error = PathPattern::parse(bad).unwrap_err();
            assert!(error.contains(reason), "{bad}: {error}");
        }
    }

    #[test]
    fn names_of_placeholders_do_not_tell_patterns_apart() {
        let parse = |text| PathPattern::parse(text).unwrap();
        assert_eq!(parse("/a/{x}").shape(), parse("/a/{y}").shape());
        assert_ne!(parse("/a/{x}").shape(), parse("/a/b").shape());
        assert_ne!(parse("/a").shape(), parse("/a/").shape());
    }
}
