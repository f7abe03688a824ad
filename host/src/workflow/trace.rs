//! Which trace a run belongs to, in the form of the W3C's recommendation "Trace Context".
//!
//! A request that arrives with a `traceparent` is part of something that began elsewhere, and whoever looks into that
//! wants to find the runs that it has led to, days later and after crashes. So the context is kept with the run, where DBOS's
//! own SDKs keep it. What a client sends is checked here: a value that is not as the recommendation says is ignored, as
//! it demands.

use std::fmt;

/// A trace, and the span within it that something belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    trace: u128,
    span: u64,
    flags: u8,
}

impl TraceContext {
    /// Reads the value of a `traceparent` header. `None`: it is not one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        // A later version may have more behind the four fields of the first one.
        let is_whole = match bytes.get(..2)? {
            b"00" => bytes.len() == 55,
            b"ff" => false,
            _ => bytes.len() == 55 || bytes.get(55) == Some(&b'-'),
        };
        let fields = text.get(..55)?;
        let mut fields = fields.split('-');
        let (version, trace) = (hex(fields.next()?, 2)?, hex(fields.next()?, 32)?);
        let (span, flags) = (hex(fields.next()?, 16)?, hex(fields.next()?, 2)?);
        let is_valid = is_whole && fields.next().is_none() && trace != 0 && span != 0 && version <= 0xff;
        is_valid.then_some(Self { trace, span: u64::try_from(span).ok()?, flags: u8::try_from(flags).ok()? })
    }

    /// The same trace with another span: what is sent onward. A span is never zero.
    #[must_use]
    pub fn with_span(self, span: u64) -> Self {
        Self { span: span.max(1), ..self }
    }

    /// The trace's id, as logs show it.
    #[must_use]
    pub fn trace_id(self) -> String {
        format!("{:032x}", self.trace)
    }

    /// The value of a `traceparent` header.
    #[must_use]
    pub fn to_header(self) -> String {
        // Of the flags only the first is known to this version of the header.
        format!("00-{:032x}-{:016x}-{:02x}", self.trace, self.span, self.flags & 1)
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_header())
    }
}

/// Lowercase hexadecimal digits of exactly this width; the recommendation allows no others.
fn hex(digits: &str, width: usize) -> Option<u128> {
    let is_hex = digits.len() == width && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    is_hex.then(|| u128::from_str_radix(digits, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_context_comes_out_as_it_went_in() {
        let context = TraceContext::parse(HEADER).unwrap();
        assert_eq!(context.to_header(), HEADER);
        assert_eq!(context.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        let onward = context.with_span(0x1f).to_header();
        assert_eq!(onward, "00-4bf92f3577b34da6a3ce929d0e0e4736-000000000000001f-01");
        assert_eq!(TraceContext::parse(&format!("cc{}-more", &HEADER[2..])), Some(context));
    }

    #[test]
    fn what_is_no_context_is_ignored() {
        for wrong in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0é",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.more",
        ] {
            assert_eq!(TraceContext::parse(wrong), None, "{wrong}");
        }
    }
}
