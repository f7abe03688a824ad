//! Committing a transaction whose result its run has seen.
//!
//! A task holds the session and waits for the run's outcome, for as long as a guest takes to return from its last step. It
//! holds locks of the guest's rows meanwhile, so it does not wait long, and whoever needs the record orders the commit.

use std::sync::Arc;
use std::time::Duration;

use crate::calls::{Ahead, Committed, Fate, Interrupt, Orders, Withheld};
use crate::database::{Carried, Flight, GuestSession, Landed, NewRecord, SessionEnd};
use crate::failpoint;

/// Holds a transaction that can only fail by a conflict or the database's trouble, until its commit is ordered; at most as
/// long as the commit may be put off.
pub(super) fn commit_ahead(session: GuestSession, record: NewRecord, start: Arc<Withheld>, put_off: Duration) -> Ahead {
    let (ahead, orders) = Ahead::new();
    tokio::spawn(hold(session, record, start, orders, put_off));
    ahead
}

async fn hold(session: GuestSession, record: NewRecord, start: Arc<Withheld>, mut orders: Orders, put_off: Duration) {
    failpoint::hit("transaction.shown").await;
    let outcome = match tokio::time::timeout(put_off, &mut orders.order).await {
        Ok(Ok(outcome)) => outcome,
        // The instance was dropped: the run was cancelled, or the host stops. It is as if the step had not run.
        Ok(Err(_)) => return session.rollback().await,
        Err(_too_long) => None,
    };
    let committed = if outcome.is_some() { Committed::StepAndOutcome } else { Committed::Step };
    let carried = start.start().map(|start| Carried { start, outcome });
    let end = session.commit(Some(&Flight { record, carried })).await;
    let end = match end {
        SessionEnd::Committed => Ok(committed),
        SessionEnd::NotOwner | SessionEnd::StartExists => Err(Interrupt::Lost),
        other => {
            tracing::debug!("a result that a workflow has seen was not committed: {other:?}");
            Err(Interrupt::Undone)
        }
    };
    match end {
        Ok(_) => start.decide(Fate::Landed(Landed::Written)),
        // The journal finds out which of the reasons it was, by the same keys, and whether the commit has landed after all.
        Err(_) => drop(start.write().await),
    }
    // The instance may be gone; what was committed is found by whoever looks.
    let _ = orders.end.send(end);
}
