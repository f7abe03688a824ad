//! How a workflow is started.

use std::time::Duration;

use serde::Serialize;

use crate::{Error, Result, host, sleep::milliseconds};

/// How a workflow is started.
///
/// ```no_run
/// # use dbos_guest::prelude::*;
/// # #[workflow]
/// # fn ship(order: u64) -> Result<()> { Ok(()) }
/// # fn start() -> Result<()> {
/// let options = StartOptions::new()
///     .id("shipment-7")
///     .timeout(Duration::from_secs(3600))
///     .attributes(json!({ "customer": "acme" }));
/// ship::start_with(options, 7)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct StartOptions {
    id: Option<String>,
    timeout: Option<Duration>,
    detached: bool,
    attributes: Option<std::result::Result<String, String>>,
}

impl StartOptions {
    /// The defaults.
    pub fn new() -> Self {
        StartOptions::default()
    }

    /// The id of the run. If there is a run with this id already, none is started and the handle is that of the first,
    /// so a start under an id of one's own can safely be repeated.
    ///
    /// Without it, the id is `<parent>-<step number>` in a workflow and a new UUIDv7 in a handler.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// How long the run may last from its start. When it has not ended by then, it is cancelled wherever it is, within a second
    /// of that, also if no host runs at that moment: then by the next one. Those who wait for it hear the error `cancelled`.
    ///
    /// The deadline is stored with the run, and the runs that it starts have it too, unless they are given a time of their own,
    /// which may be longer, or are [`detached`](Self::detached).
    pub fn timeout(mut self, time: Duration) -> Self {
        self.timeout = Some(time);
        self
    }

    /// The deadline of the run that starts this one does not count for it.
    pub fn detached(mut self) -> Self {
        self.detached = true;
        self
    }

    /// A JSON object that is stored with the run, by which DBOS's clients find it. It has 16 KiB at most; names that begin with
    /// `dbos.` are reserved.
    pub fn attributes(mut self, attributes: impl Serialize) -> Self {
        self.attributes = Some(serde_json::to_string(&attributes).map_err(|error| error.to_string()));
        self
    }

    /// As they cross to the host.
    pub(crate) fn into_host(self) -> Result<host::StartOptions> {
        let attributes = self.attributes.transpose().map_err(|error| {
            let message = format!("the attributes cannot be written as JSON: {error}");
            Error::new(message).with_name(crate::arguments::ARGUMENT_ERROR).do_not_retry()
        })?;
        Ok(host::StartOptions {
            id: self.id,
            awaited: false,
            milliseconds: self.timeout.map(milliseconds),
            detached: self.detached,
            attributes,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::StartOptions;

    #[test]
    fn attributes_that_are_no_json_are_an_error_of_the_start() {
        let options = StartOptions::new().attributes(BTreeMap::from([((1, 2), 3)]));
        let error = options.into_host().unwrap_err();
        assert!(error.message().starts_with("the attributes cannot be written as JSON"), "{error}");
    }
}
