//! The query string of a request and the body of a form, taken apart as browsers write them. Bytes that are not UTF-8
//! are an error: replaced by a mark, two different values would be one.

/// A value that is no text.
#[derive(Debug, PartialEq)]
pub(super) struct NotText;

impl std::fmt::Display for NotText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("it is not UTF-8")
    }
}

/// The values of `name` in `query`, in order, percent-decoded.
pub(super) fn values(query: &str, name: &str) -> Result<Vec<String>, NotText> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.filter(|(key, _)| decode(key).as_deref() == Ok(name)).map(|(_, value)| decode(value)).collect()
}

/// `+` is a space and `%41` is `A`; what is not a valid escape stays as it is.
fn decode(text: &str) -> Result<String, NotText> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let (byte, tail) = match (first, tail) {
            (b'+', _) => (b' ', tail),
            (b'%', [high, low, tail @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => (high * 16 + low, tail),
                _ => (b'%', &rest[1..]),
            },
            _ => (*first, tail),
        };
        bytes.push(byte);
        rest = tail;
    }
    String::from_utf8(bytes).map_err(|_| NotText)
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::NotText;

    fn values(query: &str, name: &str) -> Vec<String> {
        super::values(query, name).expect("UTF-8")
    }

    #[test]
    fn values_are_found_by_their_decoded_name() {
        let query = "a=1&b=x+y&a=2&&c&na%6De=M%C3%BCller%20%26%20Co";
        assert_eq!(values(query, "a"), ["1", "2"]);
        assert_eq!(values(query, "b"), ["x y"]);
        assert_eq!(values(query, "c"), [""]);
        assert_eq!(values(query, "name"), ["Müller & Co"]);
        assert!(values(query, "d").is_empty());
    }

    #[test]
    fn what_is_no_escape_stays() {
        assert_eq!(values("a=100%&b=%zz&c=%4", "a"), ["100%"]);
        assert_eq!(values("a=100%&b=%zz&c=%4", "b"), ["%zz"]);
        assert_eq!(values("a=100%&b=%zz&c=%4", "c"), ["%4"]);
    }

    #[test]
    fn what_is_no_text_is_an_error_of_its_own_name_only() {
        assert_eq!(super::values("a=%ff&b=1&%ff=2", "a"), Err(NotText));
        assert_eq!(values("a=%ff&b=1&%ff=2", "b"), ["1"]);
    }
}
