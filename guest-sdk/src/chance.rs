//! Time and chance: what a workflow may ask for without a step.
//!
//! A program that asks for the time or draws a number does something else each time, so a replay would drift. Recording
//! each answer would cost a write for each. Neither is needed in a workflow: the host derives both from what is recorded
//! anyway. The standard library and other crates are answered in the same way; these functions are the short way to it.

use std::time::SystemTime;

use crate::host;

/// What time it is.
///
/// In a workflow this is **workflow time**: it begins when the run was started, stands still between two calls of the host,
/// and moves on to the end of each step, sleep or wait whose result the workflow gets. It takes no number and costs no
/// write, never goes back, and is the same in every replay. It is behind the clock on the wall by what the workflow has
/// computed since, and after a crash by how long the workflow was down, until the next call ends.
///
/// In handlers and steps it is the real time.
pub fn now() -> SystemTime {
    SystemTime::now()
}

/// A random value: any of an integer's, `true` or `false`, a float from 0 up to but not including 1, or an array of bytes.
///
/// ```no_run
/// # use dbos_guest::random;
/// let die = random::<u32>() % 6 + 1;
/// let salt: [u8; 16] = random();
/// ```
///
/// In a workflow it is drawn from a seed that the host makes of the run's id and a secret of the database. It takes no
/// number and costs no write, and is the same in every replay; two runs draw different values, and nobody can tell them
/// from the id. Whoever may read the system tables can compute them: a key that must be kept from the operator of the
/// database is drawn in a step and not returned.
///
/// In handlers and steps it is drawn anew in each attempt.
pub fn random<T: Random>() -> T {
    T::random()
}

/// A random UUID (version 4) as text in lowercase: an id for something that the workflow makes. As [`random`] in every
/// respect.
pub fn uuid() -> String {
    uuid_of(random())
}

fn uuid_of(random: [u8; 16]) -> String {
    // RFC 9562, section 5.4: four bits say the version and two the variant; the other 122 are random.
    const BITS_SAID: u128 = 0xf << 76 | 0b11 << 62;
    const VERSION_4: u128 = 4 << 76 | 0b10 << 62;
    let digits = format!("{:032x}", u128::from_be_bytes(random) & !BITS_SAID | VERSION_4);
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

/// What [`random`] can draw. Not for other types.
pub trait Random: sealed::Sealed {
    #[doc(hidden)]
    fn random() -> Self;
}

mod sealed {
    pub trait Sealed {}
}

impl<const N: usize> sealed::Sealed for [u8; N] {}
impl<const N: usize> Random for [u8; N] {
    fn random() -> Self {
        let mut bytes = [0; N];
        host::random_bytes(&mut bytes);
        bytes
    }
}

macro_rules! integers {
    ($($integer:ty),*) => { $(
        impl sealed::Sealed for $integer {}
        impl Random for $integer {
            fn random() -> Self {
                <$integer>::from_le_bytes(random())
            }
        }
    )* };
}
integers!(u8, u16, u32, u64, u128, i8, i16, i32, i64, i128);

impl sealed::Sealed for bool {}
impl Random for bool {
    fn random() -> Self {
        random::<u8>() & 1 == 1
    }
}

impl sealed::Sealed for f64 {}
impl Random for f64 {
    fn random() -> Self {
        // As many bits as the mantissa holds, so that each value is as far from the next.
        (random::<u64>() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::{random, uuid, uuid_of};

    #[test]
    fn a_uuid_says_what_it_is() {
        assert_eq!(uuid_of([0; 16]), "00000000-0000-4000-8000-000000000000");
        assert_eq!(uuid_of([0xff; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        let counted: [u8; 16] = std::array::from_fn(|n| n as u8);
        assert_eq!(uuid_of(counted), "00010203-0405-4607-8809-0a0b0c0d0e0f");
        assert_ne!(uuid(), uuid());
    }

    #[test]
    fn what_is_drawn_differs_and_keeps_its_bounds() {
        assert_ne!(random::<u128>(), random::<u128>());
        assert_ne!(random::<[u8; 19]>(), random::<[u8; 19]>());
        let floats: Vec<f64> = (0..1000).map(|_| random()).collect();
        assert!(floats.iter().all(|float| (0.0..1.0).contains(float)), "{floats:?}");
        let heads = (0..1000).filter(|_| random::<bool>()).count();
        assert!((300..700).contains(&heads), "{heads} of 1,000");
    }
}
