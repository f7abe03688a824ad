//! Signatures of links: whoever has one may do the one thing that it is for, and nobody can make one up.
//!
//! A link is handed to somebody who has no other right here, by mail or to another company's webhook. What it permits stands in
//! it, and the signature shows that it was made here. The key comes from the database's secret, so every host that shares the
//! database takes the links of the others, also after a restart.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::id::WorkflowId;
use super::promise::PromiseName;

/// The bytes of a signature: 128 bits, as many as nobody can try.
const LENGTH: usize = 16;

/// Makes signatures, and recognises them (lifetime: the process).
#[derive(Clone)]
pub struct Signer([u8; 32]);

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer(…)")
    }
}

impl Signer {
    /// The signer of links to promises, by the database's secret.
    #[must_use]
    pub fn of_promises(secret: &[u8]) -> Self {
        Self(Sha256::new().chain_update(secret).chain_update("promise").finalize().into())
    }

    fn mac(&self, run: &WorkflowId, name: &PromiseName) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("a key may have any length");
        mac.update(run.as_str().as_bytes());
        // Neither has a zero byte, so no two promises have the same signature.
        mac.update(&[0]);
        mac.update(name.as_str().as_bytes());
        mac
    }

    /// The signature for a promise, in hex.
    #[must_use]
    pub fn sign(&self, run: &WorkflowId, name: &PromiseName) -> String {
        let bytes = self.mac(run, name).finalize().into_bytes();
        bytes[..LENGTH].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// True for the signature of this promise. It takes as long for any other text of its length.
    #[must_use]
    pub fn is_signed(&self, run: &WorkflowId, name: &PromiseName, signature: &str) -> bool {
        let digits = signature.as_bytes();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let bytes: Option<Vec<u8>> = digits.chunks(2).map(byte).collect();
        let is_hex = digits.len() == 2 * LENGTH && digits.iter().all(u8::is_ascii_hexdigit);
        bytes.filter(|_| is_hex).is_some_and(|bytes| self.mac(run, name).verify_truncated_left(&bytes).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_for_one_promise_of_one_run_and_stays_the_same() {
        let signer = Signer::of_promises(b"secret");
        let (run, name) = (WorkflowId::parse("order-7").unwrap(), PromiseName::parse("approval").unwrap());
        // Links outlive versions of this program. The value was computed by another one.
        let signature = "32143cc0d63d9285f33f112e3bada44b";
        assert_eq!(signer.sign(&run, &name), signature);
        assert!(signer.is_signed(&run, &name, signature));
        assert!(signer.is_signed(&run, &name, &signature.to_uppercase()));
        let other = WorkflowId::parse("order-8").unwrap();
        assert!(!signer.is_signed(&other, &name, signature));
        assert!(!signer.is_signed(&run, &PromiseName::parse("approval2").unwrap(), signature));
        assert!(!Signer::of_promises(b"another").is_signed(&run, &name, signature));
        for wrong in ["", "32", &signature[..30], &format!("{signature}00"), &"+1".repeat(16), &"é".repeat(16)] {
            assert!(!signer.is_signed(&run, &name, wrong), "{wrong}");
        }
    }
}
