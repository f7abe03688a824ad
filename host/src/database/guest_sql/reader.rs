//! Reading the server's binary format without a panic.
//!
//! The bytes come from the server, which is trusted, but a guest chooses the types, and a host that panics on a value
//! that it misunderstood takes all the neighbours with it. So every read is checked, and a value that is too short
//! or too long is an error of that column.

/// Why a column's value cannot be written as JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum DecodeError {
    /// There is no JSON for values like this one.
    #[error("there is no JSON for {0}")]
    NoJson(&'static str),
    /// The bytes are not what the type's binary format says.
    #[error("the value's bytes are not in the expected format")]
    Malformed,
    /// The value is larger than what is left of the limit of a result.
    #[error("the value is too large")]
    TooLarge,
    /// A string that is not UTF-8, which happens if the guest changes `client_encoding`.
    #[error("the text is not UTF-8")]
    NotUtf8,
}

/// What is left to read of one value.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(DecodeError::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(DecodeError::Malformed)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn i16(&mut self) -> Result<i16, DecodeError> {
        self.array().map(i16::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, DecodeError> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64, DecodeError> {
        self.array().map(i64::from_be_bytes)
    }

    /// Everything that is left.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// Everything that is left, as text.
    pub(super) fn text(&mut self) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.rest()).map_err(|_| DecodeError::NotUtf8)
    }

    /// Checks that the value ends here.
    pub(super) fn end(&self) -> Result<(), DecodeError> {
        if self.0.is_empty() { Ok(()) } else { Err(DecodeError::Malformed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_is_too_short_is_an_error() {
        let mut reader = Reader(&[0, 1, 2]);
        assert_eq!(reader.i16(), Ok(1));
        assert_eq!(reader.end(), Err(DecodeError::Malformed));
        assert_eq!(reader.i32(), Err(DecodeError::Malformed));
        assert_eq!(reader.take(2), Err(DecodeError::Malformed));
        assert_eq!(reader.u8(), Ok(2));
        assert_eq!(reader.end(), Ok(()));
    }
}
