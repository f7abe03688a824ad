//! Promises: what a workflow waits for and somebody else settles.

use std::{fmt, marker::PhantomData, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use crate::{Error, Result, arguments::decode_result, host, send_once, sleep::milliseconds};

/// A promise of this run, by its name: made anew at any time, it is the same one. Available in workflows.
///
/// ```no_run
/// # use dbos_guest::prelude::*;
/// # fn mail(link: &str) -> Result<()> { Ok(()) }
/// # fn ask() -> Result<bool> {
/// let approval = promise::<bool>("approval");
/// mail(&approval.link()?)?;
/// let approved = approval.wait(Duration::from_secs(86_400))?.unwrap_or(false);
/// # Ok(approved)
/// # }
/// ```
pub fn promise<T>(name: impl Into<String>) -> Promise<T> {
    Promise { name: name.into(), value: PhantomData }
}

/// A promise; see [`promise`].
pub struct Promise<T> {
    name: String,
    value: PhantomData<fn() -> T>,
}

impl<T> fmt::Debug for Promise<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Promise").field(&self.name).finish()
    }
}

impl<T> Promise<T> {
    /// The path by which whoever has it may settle the promise, with a signature that nobody can make up: a POST there resolves
    /// it with its JSON body, one to the same path with `/reject` before the `?` rejects it. It is the same at every call,
    /// costs no record, and is good as long as the run goes on. Put the address of the host in front of it where it is sent:
    /// a communicator has that in its `env`, and an address that changes is then nobody's divergence.
    ///
    /// # Errors
    /// When the name is not one: as a step's, of 200 bytes at most.
    pub fn link(&self) -> Result<String> {
        host::promise_link(&self.name)
    }

    /// Waits until the promise is settled, within this time. `None`: it was not; it can still be, and be waited for again.
    ///
    /// The first settlement is the only one; one that came before the wait counts. What this returned once, it returns in every
    /// replay, that the time was over included.
    ///
    /// # Errors
    /// The reason, if it was rejected. When the name is not valid, or the value is not a `T`.
    pub fn wait(&self, time: Duration) -> Result<Option<T>>
    where
        T: DeserializeOwned,
    {
        let settled = host::promise_wait(&self.name, milliseconds(time))?;
        settled.map(|json| decode_result(&self.name, &json)).transpose()
    }
}

/// Resolves the promise `name` of the run `id`, unless it is settled. Available in workflows and handlers, as
/// [`send_once`] is.
///
/// # Errors
/// As for [`send_once`].
pub fn resolve(id: &str, name: &str, value: &(impl Serialize + ?Sized)) -> Result<()> {
    settle(id, name, &json!({ "resolved": value }))
}

/// Rejects the promise `name` of the run `id` for this reason, unless it is settled. As [`resolve`].
///
/// # Errors
/// As for [`send_once`].
pub fn reject(id: &str, name: &str, reason: &Error) -> Result<()> {
    let reason = json!({
        "name": reason.name(), "message": reason.message(), "code": reason.code(), "data": reason.data(),
    });
    settle(id, name, &json!({ "rejected": reason }))
}

fn settle(id: &str, name: &str, settlement: &serde_json::Value) -> Result<()> {
    // Its topic keeps it apart from letters; its key makes the first one the only one.
    let promise = format!("dbos-host.promise:{name}");
    send_once(id, &promise, settlement, &promise)
}
