//! Patches: a question about the run's own history, whose answer is a record or that there is none.
//!
//! Nothing outside is touched by it, so a new marker is sent on its way and the guest goes on: it is written before
//! whatever the guest does next.

use super::{Answer, Gate};
use crate::calls::arguments::invalid;
use crate::workflow::{Code, Patch, PatchName};

impl Gate {
    /// Whether the run takes the way of the patch `name`.
    ///
    /// # Errors
    /// When the instance is given up.
    pub async fn patch(&mut self, patch: Patch, name: &str) -> Answer<bool> {
        let marker = match PatchName::parse(name) {
            Ok(name) => name.marker(),
            Err(error) => return Ok(Err(invalid(Code("invalid_patch"), &error))),
        };
        if !patch.takes(&marker, self.history.peek()) {
            return Ok(Ok(false));
        }
        self.note(&marker, None).await?;
        Ok(Ok(true))
    }
}
