//! Sleeps: the wake time is the record, and the wait comes after it.
//!
//! A crash must not start a wait anew, so the record is durable before the wait begins. Its result is not the record but
//! the end of the wait.

use serde_json::{Value, json};

use super::{Answer, Gate};
use crate::calls::interrupt::WaitFor;
use crate::calls::listening::Listening;
use crate::failpoint;
use crate::workflow::{
    A_HUNDRED_YEARS_MS, Code, EpochMs, Failure, Operation, OperationDigest, OperationKind, RecordedResult, SLEEP,
};

/// The longest sleep.
const MAX_SLEEP_MS: u64 = A_HUNDRED_YEARS_MS;

impl Gate {
    /// A durable sleep. When it returns, the clock has passed the recorded wake time.
    ///
    /// # Errors
    /// When the instance is given up, as it is in a long sleep.
    pub async fn sleep(&mut self, milliseconds: u64) -> Answer<()> {
        if milliseconds > MAX_SLEEP_MS {
            return Ok(Err(too_long(&format!("a sleep of {milliseconds} ms"))));
        }
        self.wait_until(json!({ "milliseconds": milliseconds }), |now| now.after_ms(milliseconds)).await
    }

    /// A durable sleep until a time. When it returns, the clock has passed it, and so has the time that the guest sees.
    ///
    /// # Errors
    /// When the instance is given up, as it is in a long sleep.
    pub async fn sleep_until(&mut self, milliseconds: u64) -> Answer<()> {
        // Compared with what the guest sees: what is refused here must be refused in each replay, years later too.
        let wake = EpochMs(i64::try_from(milliseconds).unwrap_or(i64::MAX));
        if wake > self.time.now().after_ms(MAX_SLEEP_MS) {
            return Ok(Err(too_long(&format!("a sleep until {milliseconds} ms after 1970-01-01T00:00:00Z"))));
        }
        self.wait_until(json!({ "until": milliseconds }), |_| wake).await
    }

    /// `wake` tells the wake time by what time it is, the first time that the guest comes here.
    async fn wait_until(&mut self, arguments: Value, wake: impl FnOnce(EpochMs) -> EpochMs) -> Answer<()> {
        let operation = Operation { kind: OperationKind::Sleep, name: SLEEP.into(), arguments };
        let (number, found) = self.history_only(&operation)?;
        let wake = match found {
            Some(record) => {
                let wake = record.wake_time();
                // The wait goes on where it was: steps that ran beside it, and have no record, do too.
                if wake > self.services.clock().now() && !self.history.is_replaying() {
                    self.leave()?;
                }
                wake
            }
            None => {
                self.before_step().await?;
                let wake = wake(self.services.clock().now());
                let output = RecordedResult::Output(wake.to_seconds_json());
                let mut record = self.new_record(number, (&operation.name, OperationDigest::of(&operation)), output);
                // A time that is over was waited for until now.
                record.completed_at = wake.max(record.started_at);
                self.record(record).await?;
                // The wake time must be durable before the wait begins: a crash must not start the wait anew.
                self.settle().await?;
                wake
            }
        };
        self.wait(WaitFor::until(wake), &Listening::to_nothing()).await?;
        self.time.deliver(wake);
        failpoint::hit("gate.before_answer").await;
        Ok(Ok(()))
    }
}

fn too_long(sleep: &str) -> Failure {
    let text = format!("{sleep} is longer than the limit of {MAX_SLEEP_MS} ms");
    Failure::new("Error", Code("sleep_too_long"), text)
}
