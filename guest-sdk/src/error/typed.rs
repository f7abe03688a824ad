//! Errors of a program's own types, which come out of a step or another workflow as they went in.
//!
//! An error crosses as text, so its type is lost on the way. What is kept is the type's name and its JSON, and whoever knows
//! the type makes it anew from those: a parent of its child's error, also if both are in different components.

use serde::{Serialize, de::DeserializeOwned};

use super::{Error, short_type_name};

impl Error {
    /// An error of a type of your own, which [`downcast`](Self::downcast) finds again behind any number of steps and workflows.
    /// Its name is that of the type, its data the value as JSON, its message what it says of itself, with its causes.
    ///
    /// ```
    /// use dbos_guest::prelude::*;
    ///
    /// #[derive(Debug, PartialEq, Serialize, Deserialize)]
    /// enum PayError {
    ///     CardRefused { reason: String },
    ///     OutOfFunds,
    /// }
    ///
    /// impl std::fmt::Display for PayError {
    ///     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
    ///         f.write_str("the card was refused")
    ///     }
    /// }
    ///
    /// impl std::error::Error for PayError {}
    ///
    /// fn pay() -> Result<()> {
    ///     Err(Error::of(PayError::CardRefused { reason: "expired".to_owned() }))
    /// }
    ///
    /// let error = pay().context("order 7").unwrap_err();
    /// assert_eq!(error.message(), "order 7: the card was refused");
    /// assert_eq!(error.downcast(), Some(PayError::CardRefused { reason: "expired".to_owned() }));
    /// ```
    ///
    /// A value that cannot be JSON is left out, for it must not hide the error.
    pub fn of<E: std::error::Error + Serialize>(error: E) -> Self {
        let data = serde_json::to_string(&error).ok();
        let mut made = Error::from(error);
        made.parts.data = data;
        made
    }

    /// The value that the error was made [of](Self::of). `None`: it was made of another type, by its name without its path, or
    /// the value does not fit the type any more.
    pub fn downcast<E: DeserializeOwned>(&self) -> Option<E> {
        if self.parts.name != short_type_name::<E>() {
            return None;
        }
        serde_json::from_str(self.parts.data.as_deref()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::Error;
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Full {
        shelves: u8,
    }

    impl std::fmt::Display for Full {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "{} shelves are full", self.shelves)
        }
    }

    impl std::error::Error for Full {}

    #[derive(Debug, Deserialize)]
    struct Empty {}

    #[test]
    fn an_error_is_known_by_its_type_again() {
        let error = Error::of(Full { shelves: 3 }).context("store").do_not_retry();
        assert_eq!((error.name(), error.message()), ("Full", "store: 3 shelves are full"));
        assert_eq!(error.downcast(), Some(Full { shelves: 3 }));
        assert!(error.downcast::<Empty>().is_none());
        assert_eq!(Error::from(Full { shelves: 3 }).downcast::<Full>(), None, "`?` keeps no value");
    }
}
