//! The segments of a path: percent-encoded as they were sent, decoded for those who use them.
//!
//! A path is matched as it was sent, and only then is each segment decoded. So `%2F` is a slash within a segment, never
//! the end of one. Bytes that are no UTF-8 are refused: replaced by a mark, two different paths would be one.

use http::StatusCode;
use percent_encoding::percent_decode_str;

use super::problem::Problem;
pub(super) use crate::workflow::path_segment as encoded;
use crate::workflow::{Code, excerpt};

/// Decodes one segment; `what` names it in the problem.
pub(super) fn decoded(what: &str, segment: &str) -> Result<String, Problem> {
    // What is no escape stays as it is.
    let bytes = percent_decode_str(segment).collect();
    String::from_utf8(bytes).map_err(|_| {
        let text = format!("`{what}` in the path is `{}`, which is not UTF-8", excerpt(segment));
        Problem::new(StatusCode::BAD_REQUEST, Code("bad_path"), text).with("parameter", what)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_decoded() {
        for (segment, expected) in [
            ("Mike%20J%C3%B6rg", "Mike Jörg"),
            ("100%", "100%"),
            ("%zz%2", "%zz%2"),
            ("%+1", "%+1"),
            ("%2Fetc", "/etc"),
            ("", ""),
        ] {
            assert_eq!(decoded("x", segment).expect("UTF-8"), expected);
        }
        assert!(decoded("x", "%FF").is_err());
        assert!(decoded("x", "%C3").is_err());
    }

    #[test]
    fn what_is_encoded_is_decoded_again() {
        for text in ["a/b ä", "%41", "~._-", "\u{1F600}"] {
            assert_eq!(decoded("x", &encoded(text)).expect("UTF-8"), text);
        }
        assert_eq!(encoded("a/b ä"), "a%2Fb%20%C3%A4");
    }
}
