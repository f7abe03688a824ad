//! Errors that go a long way, from a step through several workflows: with their type, with what they were made from, and with
//! the place of a panic.

use std::fmt;
use std::hint::black_box;

use dbos_guest::prelude::*;

/// An error of a type of its own.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum PayError {
    Refused { reason: String, at: u64 },
}

impl fmt::Display for PayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Refused { reason, .. } = self;
        write!(f, "the card was refused: {reason}")
    }
}

impl std::error::Error for PayError {}

/// Fails in the way that is asked for.
#[transaction(read_only)]
fn pay(how: &str) -> Result<()> {
    match how {
        "typed" => {
            // Larger than what a float can hold exactly.
            let error = PayError::Refused { reason: "expired ☃".to_owned(), at: u64::MAX };
            Err(Error::of(error).with_code("E17").do_not_retry())
        }
        "caused" => {
            let price: Result<u8, _> = "x".parse();
            price.context("read the price").context("pay")?;
            Ok(())
        }
        "panics" => look_for_the_card(&[]),
        _ => Ok(()),
    }
}

/// Panics, in a function of a module.
#[inline(never)]
fn look_for_the_card(cards: &[u8]) -> Result<()> {
    let card = wallet::first_card(black_box(cards));
    ensure!(card > 0);
    Ok(())
}

mod wallet {
    #[inline(never)]
    pub(crate) fn first_card(cards: &[u8]) -> u8 {
        *cards.first().expect("a card")
    }
}

#[workflow]
fn child(how: &str) -> Result<()> {
    pay(how)
}

#[workflow]
fn parent(how: &str) -> Result<()> {
    child(how)
}

/// Tells what it got from its child's child's step.
#[workflow]
fn grandparent(how: &str) -> Result<Vec<String>> {
    let error = parent(how).err().context("it went well")?;
    let mut told = vec![error.name().to_owned(), error.message().to_owned(), format!("{:?}", error.code())];
    told.push(format!("{} {:?}", error.is_retryable(), error.downcast::<PayError>()));
    told.extend(error.causes().iter().map(|cause| format!("{}: {}", cause.name(), cause.message())));
    told.extend(error.backtrace().iter().cloned());
    Ok(told)
}

/// Panics by itself.
#[workflow]
fn panics() -> Result<()> {
    look_for_the_card(&[])
}

/// Panics while a client waits.
#[get("/panics")]
fn answer() -> Result<String> {
    look_for_the_card(&[])?;
    Ok(String::new())
}
