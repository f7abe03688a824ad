//! Patches: a question about the run's own history, whose answer is a record or that there is none.
//!
//! Nothing outside is touched by it, so a new marker is sent on its way and the guest goes on: it is written before
//! whatever the guest does next.

use super::{Answer, Gate};
use crate::failpoint;
use crate::workflow::{Code, Failure, OperationDigest, Patch, PatchName, RecordedResult};

impl Gate {
    /// Whether the run takes the way of the patch `name`.
    ///
    /// # Errors
    /// When the instance is given up.
    pub async fn patch(&mut self, patch: Patch, name: &str) -> Answer<bool> {
        let marker = match PatchName::parse(name) {
            Ok(name) => name.marker(),
            Err(error) => return Ok(Err(Failure::new("Error", Code("invalid_patch"), error.to_string()))),
        };
        if !patch.takes(&marker, self.history.peek()) {
            return Ok(Ok(false));
        }
        let (number, found) = self.take(&marker)?;
        if found.is_none() {
            self.before_step().await?;
            let call = (marker.name.as_str(), OperationDigest::of(&marker));
            let record = self.new_record(number, call, RecordedResult::Nothing);
            let completed_at = record.completed_at;
            self.record(record).await?;
            self.time.deliver(completed_at);
            failpoint::hit("gate.before_answer").await;
        }
        Ok(Ok(true))
    }
}
