//! Taking the options about TLS out of a connection string.
//!
//! The driver knows `sslmode` only up to `require`, and files of certificates not at all: it would refuse a string that
//! every provider of managed Postgres hands out. So what concerns TLS is taken out here, and the rest is the driver's to
//! read, and to complain about. A string is a URL or `key=value` pairs, both as libpq has them.

use percent_encoding::percent_decode_str;

/// The options that the driver does not see.
const OPTIONS: [&str; 4] = ["sslmode", "sslrootcert", "sslcert", "sslkey"];

/// A connection string in two parts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Split {
    /// For the driver.
    pub(super) rest: String,
    options: Vec<(String, String)>,
}

impl Split {
    /// Takes a connection string apart.
    pub(super) fn of(text: &str) -> Self {
        let scheme = ["postgres://", "postgresql://"].into_iter().find(|scheme| text.starts_with(scheme));
        match scheme {
            Some(scheme) => Self::of_url(text, scheme.len()),
            None => Self::of_pairs(text),
        }
    }

    /// The value of an option; the last one counts, an empty one is as good as none.
    pub(super) fn option(&self, name: &str) -> Option<&str> {
        let values = self.options.iter().rev().filter(|(option, _)| option == name);
        values.map(|(_, value)| value.as_str()).next().filter(|value| !value.is_empty())
    }

    /// A question mark before the `@` belongs to the password.
    fn of_url(text: &str, start: usize) -> Self {
        let host = text[start..].find('@').map_or(start, |at| start + at + 1);
        let Some(mark) = text[host..].find('?').map(|at| host + at) else {
            return Self { rest: text.to_owned(), options: Vec::new() };
        };
        let (mut kept, mut options) = (Vec::new(), Vec::new());
        for pair in text[mark + 1..].split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
            let name = decode(name);
            if OPTIONS.contains(&name.as_str()) {
                options.push((name, decode(value)));
            } else {
                kept.push(pair);
            }
        }
        let mut rest = text[..mark].to_owned();
        if !kept.is_empty() {
            rest.push('?');
            rest.push_str(&kept.join("&"));
        }
        Self { rest, options }
    }

    fn of_pairs(text: &str) -> Self {
        let (mut rest, mut options) = (String::new(), Vec::new());
        let mut left = text.trim_start();
        while !left.is_empty() {
            // What is no pair is left to the driver, whose error says what is wrong with it.
            let (name, value, length) = pair(left).unwrap_or(("", String::new(), left.len()));
            if OPTIONS.contains(&name) {
                options.push((name.to_owned(), value));
            } else {
                rest.push_str(&left[..length]);
                rest.push(' ');
            }
            left = left[length..].trim_start();
        }
        Self { rest: rest.trim_end().to_owned(), options }
    }
}

/// The pair at the beginning of a text: its name, its value without quotes and backslashes, and its length as written.
fn pair(text: &str) -> Option<(&str, String, usize)> {
    let name = text.split(|c: char| c.is_whitespace() || c == '=').next()?;
    let value = text[name.len()..].trim_start().strip_prefix('=')?.trim_start();
    let quoted = value.starts_with('\'');
    let mut unquoted = String::new();
    let mut letters = value.char_indices().skip(usize::from(quoted));
    let end = loop {
        match letters.next() {
            Some((_, '\\')) => unquoted.extend(letters.next().map(|(_, c)| c)),
            Some((at, '\'')) if quoted => break at + 1,
            Some((at, c)) if c.is_whitespace() && !quoted => break at,
            Some((_, c)) => unquoted.push(c),
            None if quoted => return None,
            None => break value.len(),
        }
    };
    Some((name, unquoted, text.len() - value.len() + end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> (String, Option<String>, Option<String>) {
        let split = Split::of(text);
        let option = |name| split.option(name).map(str::to_owned);
        (split.rest.clone(), option("sslmode"), option("sslrootcert"))
    }

    #[test]
    fn of_a_url() {
        let full = Some("verify-full".to_owned());
        for (text, rest, mode, root) in [
            ("postgres://u:p@h:1/d?sslmode=verify-full", "postgres://u:p@h:1/d", full.clone(), None),
            (
                "postgresql://h/d?application_name=x&sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem&options=a",
                "postgresql://h/d?application_name=x&options=a",
                full.clone(),
                Some("/etc/ca.pem".to_owned()),
            ),
            // The password has a question mark.
            ("postgres://u:p?sslmode=x@h/d", "postgres://u:p?sslmode=x@h/d", None, None),
            ("postgres://u:p?@h/d?sslmode=verify-full", "postgres://u:p?@h/d", full.clone(), None),
            ("postgres://h?sslmode=disable&sslmode=verify-full", "postgres://h", full, None),
            ("postgres://h/d?sslmode=&x", "postgres://h/d?x", None, None),
        ] {
            assert_eq!(split(text), (rest.to_owned(), mode, root), "{text}");
        }
    }

    #[test]
    fn of_pairs() {
        for (text, rest, mode, root) in [
            ("host=h sslmode=require user=u", "host=h user=u", Some("require"), None),
            ("host = h\tsslmode = 'require'", "host = h", Some("require"), None),
            (r"password='sslmode=x\' ' sslrootcert=/a\ b", r"password='sslmode=x\' '", None, Some("/a b")),
            ("sslmode=disable", "", Some("disable"), None),
            // For the driver to refuse.
            ("host=h sslmode", "host=h sslmode", None, None),
            ("password='x sslmode=require", "password='x sslmode=require", None, None),
        ] {
            let expected = (rest.to_owned(), mode.map(str::to_owned), root.map(str::to_owned));
            assert_eq!(split(text), expected, "{text}");
        }
    }
}
