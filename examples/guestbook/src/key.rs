//! The keys that a signer needs.
//!
//! A key is a UUID, 36 characters long. The guestbook does not remember which ones it gave out: any well-formed one is
//! good. So a key from the guide works after the guestbook was started anew, with or without a store. It tells signers
//! apart and protects nothing, which is right for a guestbook.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// How long a key is, with its hyphens.
pub(crate) const LENGTH: usize = 36;

/// A well-formed key, in small letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Key(Uuid);

/// Why a text is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadKey {
    /// Most likely a text that was never a key, or was cut off.
    #[error("a key has {LENGTH} characters, and this one has {0}: get one from GET /key")]
    Length(usize),
    /// It looks like a key, but nobody gives out such.
    #[error("this guestbook does not know the key: get one from GET /key")]
    Unknown,
}

impl Key {
    /// A new key.
    pub(crate) fn new() -> Self {
        Self(Uuid::new_v4())
    }

    /// Reads a key.
    pub(crate) fn parse(text: &str) -> Result<Self, BadKey> {
        let length = text.chars().count();
        if length != LENGTH {
            return Err(BadKey::Length(length));
        }
        Uuid::try_parse(text).map(Self).map_err(|_| BadKey::Unknown)
    }
}

impl TryFrom<String> for Key {
    type Error = BadKey;

    fn try_from(text: String) -> Result<Self, BadKey> {
        Self::parse(&text)
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.to_string()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_has_36_characters_and_is_read_back() {
        let key = Key::new();
        assert_eq!(key.to_string().len(), LENGTH);
        assert_eq!(Key::parse(&key.to_string()), Ok(key));
        assert_eq!(Key::parse(&key.to_string().to_uppercase()), Ok(key));
        assert_ne!(Key::new(), key);
    }

    #[test]
    fn other_texts_are_refused_with_a_reason() {
        assert_eq!(Key::parse(""), Err(BadKey::Length(0)));
        assert_eq!(Key::parse(&Key::new().to_string().replace('-', "")), Err(BadKey::Length(32)));
        assert_eq!(Key::parse(&"x".repeat(36)), Err(BadKey::Unknown));
        assert_eq!(BadKey::Length(3).to_string(), "a key has 36 characters, and this one has 3: get one from GET /key");
    }
}
