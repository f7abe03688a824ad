//! Digests: of a component, and of a recorded operation.

use std::fmt;

use sha2::{Digest, Sha256};

use super::history::{Operation, OperationKind};

/// The identity of a component: the sha-256 of its bytes, in lowercase hex. What rows carry as `application_version`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ComponentDigest(String);

impl ComponentDigest {
    /// The digest of a component's bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(hex(&Sha256::digest(bytes)))
    }

    /// A digest that the database holds; `None` when the text is not one (another SDK's version, say).
    #[must_use]
    pub fn stored(text: &str) -> Option<Self> {
        let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        (text.len() == 64 && text.bytes().all(is_hex)).then(|| Self(text.into()))
    }

    /// All 64 digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve digits, for people.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl fmt::Display for ComponentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ComponentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ComponentDigest({})", self.short())
    }
}

/// Eight bytes over kind, name and canonical arguments of an operation: enough to tell a replayed call from another one
/// (a chance of 1 in 2⁶⁴ for each step), and small enough to be written with each record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OperationDigest(pub [u8; 8]);

impl OperationDigest {
    /// The digest of an operation. Arguments count by value: the order of an object's keys and white space do not.
    #[must_use]
    pub fn of(operation: &Operation) -> Self {
        // `serde_json` keeps object keys sorted (its `preserve_order` feature is off), which makes this text canonical.
        Self::of_text(operation.kind, &operation.name, &operation.arguments.to_string())
    }

    /// The digest of an operation whose arguments are this text in its canonical form. Of any other text it is the digest of
    /// nothing that is ever recorded.
    pub(super) fn of_text(kind: OperationKind, name: &str, arguments: &str) -> Self {
        let mut hash = Sha256::new();
        // A zero byte can occur in none of the three, so no two different operations have the same input.
        hash.update(kind.as_str());
        hash.update([0]);
        hash.update(name.as_bytes());
        hash.update([0]);
        hash.update(arguments);
        let bytes = hash.finalize();
        let mut first = [0; 8];
        first.copy_from_slice(&bytes[..8]);
        Self(first)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(kind: OperationKind, name: &str, arguments: &str) -> Operation {
        Operation { kind, name: name.into(), arguments: serde_json::from_str(arguments).unwrap() }
    }

    #[test]
    fn a_component_is_known_by_its_sha256() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(ComponentDigest::of(b"").as_str(), empty);
        assert_eq!(ComponentDigest::stored(empty), Some(ComponentDigest::of(b"")));
        assert_eq!(ComponentDigest::stored("v1.2"), None);
    }

    #[test]
    fn an_operation_digest_counts_kind_name_and_values_but_not_key_order() {
        let base = OperationDigest::of(&operation(OperationKind::Transaction, "a", r#"{"x":1,"y":2}"#));
        let same = OperationDigest::of(&operation(OperationKind::Transaction, "a", r#"{ "y":2, "x":1 }"#));
        assert_eq!(base, same);
        for other in [
            operation(OperationKind::Communicator, "a", r#"{"x":1,"y":2}"#),
            operation(OperationKind::Transaction, "b", r#"{"x":1,"y":2}"#),
            operation(OperationKind::Transaction, "a", r#"{"x":1,"y":3}"#),
        ] {
            assert_ne!(base, OperationDigest::of(&other), "{other:?}");
        }
    }
}
