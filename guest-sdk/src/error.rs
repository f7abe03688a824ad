//! The one error type of a guest program.
//!
//! An error of a step is recorded, handed to the workflow, perhaps recorded again as the workflow's outcome, and read
//! years later by a program in another language. So it cannot be a Rust type: it is a name for programs, a message for
//! people, a code, data, and whether another attempt makes sense. All of it crosses each border unchanged; `?` makes
//! one of any standard error.

mod typed;

use std::fmt;

use serde::Serialize;

/// `Result` with this crate's [`Error`] unless another is named.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something failed, in the form in which it is recorded.
///
/// ```
/// use dbos_guest::prelude::*;
///
/// fn price(text: &str) -> Result<u32> {
///     let price: u32 = text.parse().context("the price is not a number")?;
///     ensure!(price > 0, "the price must not be zero");
///     Ok(price)
/// }
///
/// let error = price("x").unwrap_err();
/// assert_eq!(error.message(), "the price is not a number: invalid digit found in string");
/// assert_eq!(error.name(), "ParseIntError");
/// ```
pub struct Error {
    // Boxed, so that a `Result` of a small value stays small.
    parts: Box<Parts>,
}

#[derive(Clone, Debug, PartialEq)]
struct Parts {
    name: String,
    message: String,
    code: Option<String>,
    /// JSON text, kept as it came so that nothing is lost on the way.
    data: Option<String>,
    retryable: bool,
    causes: Vec<Cause>,
    backtrace: Vec<String>,
    status: Option<u16>,
}

/// What an error was made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    pub(crate) name: String,
    pub(crate) message: String,
}

impl Cause {
    /// Its class, as that of an [`Error`]. `Error`, where only its text is known.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What happened.
    pub fn message(&self) -> &str {
        &self.message
    }
}

/// The name of an error that was made from a message alone.
const PLAIN: &str = "Error";

impl Error {
    /// An error with a message for people. Its name is `Error`, and a communicator that fails with it is tried again.
    pub fn new(message: impl fmt::Display) -> Self {
        Error::from_parts(PLAIN.to_owned(), message.to_string(), None, None, true)
    }

    /// Sets the class of the error, for programs: `OutOfStock`.
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.parts.name = name.into();
        self
    }

    /// Sets a stable code: `E17`. An error of the database has its SQLSTATE here.
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.parts.code = Some(code.into());
        self
    }

    /// Attaches anything more, as JSON. A value that cannot be JSON is left out, for it must not hide the error.
    pub fn with_data(mut self, data: impl Serialize) -> Self {
        self.parts.data = serde_json::to_string(&data).ok();
        self
    }

    /// Sets the HTTP status with which a handler answers if it returns this error; 500 unless set. It concerns only the
    /// handler itself: it is not recorded.
    pub fn with_status(mut self, status: u16) -> Self {
        self.parts.status = Some(status);
        self
    }

    /// A communicator that fails with this is not tried again, however many attempts are left.
    pub fn do_not_retry(mut self) -> Self {
        self.parts.retryable = false;
        self
    }

    /// Puts what was being done before the message: `sign the guestbook: connection refused`. What the error was until now
    /// becomes its nearest [cause](Self::causes); the rest stays.
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        let cause = Cause { name: self.parts.name.clone(), message: self.parts.message.clone() };
        self.parts.causes.insert(0, cause);
        self.parts.message = format!("{context}: {}", self.parts.message);
        self
    }

    /// The class of the error, for programs: `Error`, `SqlError`, `HttpError`, `ParseIntError`, ….
    pub fn name(&self) -> &str {
        &self.parts.name
    }

    /// What happened, for people.
    pub fn message(&self) -> &str {
        &self.parts.message
    }

    /// A stable code or an SQLSTATE, where there is one.
    pub fn code(&self) -> Option<&str> {
        self.parts.code.as_deref()
    }

    /// What was attached as JSON.
    pub fn data(&self) -> Option<serde_json::Value> {
        serde_json::from_str(self.parts.data.as_deref()?).ok()
    }

    /// Whether another attempt makes sense.
    pub fn is_retryable(&self) -> bool {
        self.parts.retryable
    }

    /// What the error was made from, the nearest first: the sources of a standard error, and what was there before each
    /// [`context`](Self::context). They cross each border with the error; 16 of them are kept, with 1,024 characters of each.
    pub fn causes(&self) -> &[Cause] {
        &self.parts.causes
    }

    /// The functions that were left by the panic that this error tells of, the innermost first; 64 of them are kept. Empty for
    /// other errors. A component that is stripped of its names has `function 123` here; `strip = "debuginfo"` in the profile
    /// of `Cargo.toml` keeps them.
    pub fn backtrace(&self) -> &[String] {
        &self.parts.backtrace
    }

    /// The HTTP status that was set.
    pub fn status(&self) -> Option<u16> {
        self.parts.status
    }

    /// The error as the host knows it.
    pub(crate) fn from_parts(
        name: String,
        message: String,
        code: Option<String>,
        data: Option<String>,
        retryable: bool,
    ) -> Self {
        let (causes, backtrace) = (Vec::new(), Vec::new());
        Error { parts: Box::new(Parts { name, message, code, data, retryable, causes, backtrace, status: None }) }
    }

    /// The same, with what it was made from, and where it was.
    pub(crate) fn with_origin(mut self, causes: Vec<Cause>, backtrace: Vec<String>) -> Self {
        (self.parts.causes, self.parts.backtrace) = (causes, backtrace);
        self
    }

    /// What was attached, as the text that crosses to the host.
    pub(crate) fn data_text(&self) -> Option<&str> {
        self.parts.data.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.parts.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts { name, message, code, data, retryable, causes, backtrace, status } = &*self.parts;
        let mut text = f.debug_struct("Error");
        text.field("name", name).field("message", message).field("retryable", retryable);
        code.iter().for_each(|code| _ = text.field("code", code));
        data.iter().for_each(|data| _ = text.field("data", data));
        status.iter().for_each(|status| _ = text.field("status", status));
        if !causes.is_empty() {
            text.field("causes", causes);
        }
        if !backtrace.is_empty() {
            text.field("backtrace", backtrace);
        }
        text.finish()
    }
}

/// `Error` itself does not implement `std::error::Error`, so that this conversion can exist for everything that does.
/// The error's name is that of its type, its message includes those of its causes.
impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut causes = Vec::new();
        let mut cause = error.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Nothing but its text is known of a source.
            causes.push(Cause { name: PLAIN.to_owned(), message: text.clone() });
            // Many errors repeat their cause in their own text.
            if !message.contains(&text) {
                message = format!("{message}: {text}");
            }
            cause = error.source();
        }
        Error::new(message).with_name(short_type_name::<E>()).with_origin(causes, Vec::new())
    }
}

/// `ParseIntError` of `core::num::error::ParseIntError`, `Wrapper` of `a::Wrapper<b::Inner>`.
fn short_type_name<E>() -> &'static str {
    let full = std::any::type_name::<E>();
    let plain = full.split('<').next().unwrap_or(full);
    match plain.rsplit("::").next() {
        Some("Error") | None => PLAIN,
        Some(name) => name,
    }
}

/// Says what was being done when something failed.
pub trait Context<T> {
    /// Puts `context` before the message of the error.
    fn context(self, context: impl fmt::Display) -> Result<T>;

    /// As `context`, with a text that is made only if there is an error.
    fn with_context<C: fmt::Display>(self, context: impl FnOnce() -> C) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, context: impl fmt::Display) -> Result<T> {
        self.map_err(|error| error.into().context(context))
    }

    fn with_context<C: fmt::Display>(self, context: impl FnOnce() -> C) -> Result<T> {
        self.map_err(|error| error.into().context(context()))
    }
}

impl<T> Context<T> for Option<T> {
    fn context(self, context: impl fmt::Display) -> Result<T> {
        self.ok_or_else(|| Error::new(context))
    }

    fn with_context<C: fmt::Display>(self, context: impl FnOnce() -> C) -> Result<T> {
        self.ok_or_else(|| Error::new(context()))
    }
}

/// Returns an [`Error`] with a formatted message from the function.
#[macro_export]
macro_rules! bail {
    ($($message:tt)+) => {
        return ::std::result::Result::Err($crate::Error::new(::std::format!($($message)+)).into())
    };
}

/// Returns an [`Error`] with a formatted message from the function unless the condition holds.
#[macro_export]
macro_rules! ensure {
    ($condition:expr $(,)?) => {
        $crate::ensure!($condition, "the condition does not hold: `{}`", ::std::stringify!($condition))
    };
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            $crate::bail!($($message)+);
        }
    };
}

#[cfg(test)]
mod tests {
    use super::{Context, Error, Result};

    #[test]
    fn any_standard_error_keeps_its_type_as_the_name_and_its_causes_in_the_message() {
        #[derive(Debug)]
        struct Outer(std::num::ParseIntError);
        impl std::fmt::Display for Outer {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("the price is wrong")
            }
        }
        impl std::error::Error for Outer {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                Some(&self.0)
            }
        }
        let error = Error::from(Outer("x".parse::<u8>().unwrap_err()));
        assert_eq!((error.name(), error.message()), ("Outer", "the price is wrong: invalid digit found in string"));
        let causes: Vec<_> = error.causes().iter().map(|cause| (cause.name(), cause.message())).collect();
        assert_eq!(causes, [("Error", "invalid digit found in string")]);
        let error = Error::from(std::io::Error::other("disk"));
        assert_eq!((error.name(), error.message()), ("Error", "disk"));
    }

    #[test]
    fn context_changes_nothing_but_the_message() {
        let error = Error::new("no").with_name("N").with_code("c").with_data([1]).do_not_retry();
        let error = Err::<(), _>(error).with_context(|| format!("step {}", 2)).unwrap_err();
        assert_eq!(error.message(), "step 2: no");
        assert_eq!(
            error.causes().iter().map(|cause| (cause.name(), cause.message())).collect::<Vec<_>>(),
            [("N", "no")]
        );
        assert_eq!((error.name(), error.code(), error.is_retryable()), ("N", Some("c"), false));
        assert_eq!(error.data(), Some(serde_json::json!([1])));
        assert_eq!(None::<u8>.context("nothing there").unwrap_err().message(), "nothing there");
    }

    #[test]
    fn bail_and_ensure_return_from_the_function() {
        fn check(n: u32) -> Result<u32> {
            ensure!(n != 1);
            ensure!(n < 10, "{n} is too much");
            if n == 5 {
                bail!("five");
            }
            Ok(n)
        }
        assert_eq!(check(3).unwrap(), 3);
        assert_eq!(check(1).unwrap_err().message(), "the condition does not hold: `n != 1`");
        assert_eq!(check(11).unwrap_err().message(), "11 is too much");
        assert_eq!(check(5).unwrap_err().message(), "five");
    }
}
