//! Telling why runs wait, for those who ask another host, or a command.
//!
//! One task writes what has lasted for a second and is not told, many runs in one statement, once a second at most. It knows
//! nothing of runs; `registry` says what is to be told. Nothing depends on it: without the database, or with a table that has
//! lost its rows, people are told less until it is written again.

use std::time::Duration;

use super::Executor;
use super::registry::{Page, Registry};
use super::slots::Slot;
use crate::database::{Claim, Database, Incarnation, RunDetails, RunRow};
use crate::workflow::{Reason, Status, WorkflowId};

/// The rest between two writes.
const REST: Duration = Duration::from_secs(1);

/// How often it is asked whether what was told is still there. The table forgets at a crash of the server, since nothing that
/// could be written again is worth being kept through one.
const CHECK: Duration = Duration::from_secs(10);

/// How long the database may take for a page.
const TIMEOUT: Duration = Duration::from_secs(10);

impl Executor {
    /// Tells why runs wait, until the host stops.
    pub async fn tell_reasons(self: std::sync::Arc<Self>) {
        let teller = Teller { runs: self.runs.clone(), database: self.database.clone() };
        loop {
            tokio::select! {
                biased;
                () = self.stopped() => return,
                () = tokio::time::sleep(CHECK) => {}
                () = self.runs.reasons() => tokio::time::sleep(REST).await,
            }
            if let Err(error) = teller.tell(&self.identity().incarnation).await {
                tracing::debug!("cannot tell why workflows wait: {error}");
            }
        }
    }

    /// A slot for a run.
    pub(super) async fn workflow_slot(&self, claim: &Claim, is_fresh: bool) -> Slot {
        let _waits = self.runs.waits(claim, Reason::Slot);
        if is_fresh { self.slots.fresh_workflow().await } else { self.slots.workflow().await }
    }

    /// A slot for a step of a run.
    pub(super) async fn step_slot(&self, claim: &Claim) -> Slot {
        let _waits = self.runs.waits(claim, Reason::Slot);
        self.slots.step().await
    }

    /// What this process knows better of a run than its row says: why it waits, this very moment.
    pub fn tell_row(&self, run: &mut RunRow) {
        if run.status == Status::Pending
            && let Some(waiting) = self.runs.waiting(&WorkflowId::stored(&run.id))
        {
            run.waiting = waiting;
        }
    }

    /// The same.
    pub fn tell_details(&self, run: &mut RunDetails) {
        if run.status.as_deref() == Some(Status::Pending.as_str())
            && let Some(waiting) = self.runs.waiting(&WorkflowId::stored(&run.workflow_uuid))
        {
            run.waiting = waiting;
        }
    }
}

/// The database does not answer, or not in time.
type Failed = Box<dyn std::error::Error + Send + Sync>;

struct Teller {
    runs: Registry,
    database: Database,
}

impl Teller {
    /// Writes what there is to be told. What is too short yet is looked at again after the next rest.
    async fn tell(&self, incarnation: &Incarnation) -> Result<(), Failed> {
        let is_kept = tokio::time::timeout(TIMEOUT, self.database.keeps_reasons(incarnation)).await??;
        if !is_kept {
            self.runs.tell_again(Vec::new());
        }
        let mut left = self.runs.noted();
        loop {
            let page = self.runs.take_reasons();
            if !page.is_empty()
                && let Err(error) = self.write(&page).await
            {
                self.runs.tell_again(page.over);
                return Err(error);
            }
            left = left.saturating_sub(page.examined);
            if left == 0 || page.examined == 0 {
                break;
            }
        }
        self.runs.note_again();
        Ok(())
    }

    async fn write(&self, page: &Page) -> Result<(), Failed> {
        Ok(tokio::time::timeout(TIMEOUT, self.database.tell_reasons(&page.waiting, &page.over)).await??)
    }
}
