//! Waiting for the end of a run, whoever drives it.

use std::time::Duration;

use tokio::sync::watch;

use super::Executor;
use super::Started;
use super::registry::News;
use crate::calls::{Interrupt, Listening, WaitFor};
use crate::database::{Outcome, until_answered};
use crate::workflow::{Signal, WorkflowId};

/// How long a run may wait with its instance before it gives the instance up. A replay costs microseconds for each
/// record, so this is generous; it keeps short waits free of any cost.
const PARK_AFTER: Duration = Duration::from_millis(500);

/// How long news of a run of this process are waited for before its row is looked at as well.
const LONGEST_TRUST: Duration = Duration::from_secs(5);

impl Executor {
    /// The outcome of a run, however long it takes. `None`: there is no such run.
    pub async fn outcome_of(&self, run: &WorkflowId) -> Option<Outcome> {
        loop {
            if let Some(news) = self.runs.follow(run)
                && let Some(outcome) = heard(news).await
            {
                return Some(outcome);
            }
            let listening = self.listening(&[Signal::Ended(run.clone())]);
            match self.outcome_so_far(run).await {
                None => return None,
                Some(Some(outcome)) => return Some(outcome),
                Some(None) => {}
            }
            // Whoever ends it: this process, or others.
            listening.heard().await;
        }
    }

    /// The outcome of a run that was just started, however long it takes. `None`: there is no such run.
    pub async fn outcome_of_started(&self, started: Started) -> Option<Outcome> {
        if let Some(news) = started.news
            && let Some(outcome) = heard(news).await
        {
            return Some(outcome);
        }
        self.outcome_of(&started.id).await
    }

    /// The outcome as the database has it. `None` inside: the run goes on. `None` outside: there is no such run. Without
    /// the database it waits until that is back.
    pub async fn outcome_so_far(&self, run: &WorkflowId) -> Option<Option<Outcome>> {
        until_answered("read the outcome of a workflow", || self.database.outcome(run)).await
    }

    /// As [`Self::outcome_of`], for a run that waits: it keeps its instance for a short wait only, and not while others
    /// have none.
    pub(super) async fn outcome_or_park(&self, run: &WorkflowId) -> Result<Option<Outcome>, Interrupt> {
        // The outcome that is there already comes first, however long the look at the database takes: a run that was
        // made again because its wait is over must not be parked again, or it would be for ever while others wait.
        if self.runs.follow(run).is_none() {
            match self.outcome_so_far(run).await {
                None => return Ok(None),
                Some(Some(outcome)) => return Ok(Some(outcome)),
                Some(None) => {}
            }
        }
        self.or_park(self.outcome_of(run), WaitFor::signal(Signal::Ended(run.clone()))).await
    }

    /// Waits with the instance, for a short wait only, until a signal was heard or the time has come.
    pub(super) async fn heard_or_park(&self, wait: WaitFor, listening: &Listening) -> Result<(), Interrupt> {
        self.or_park(self.heard_or_due(&wait.clone(), listening), wait).await
    }

    /// Returns when a signal was heard or the time has come.
    pub(super) async fn heard_or_due(&self, wait: &WaitFor, listening: &Listening) {
        let time = async {
            match wait.until {
                Some(wake) => self.clock.sleep_until(wake).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = listening.heard() => {}
            () = time => {}
        }
    }

    /// What `comes`, if that is soon. Otherwise the instance is given up, and the run waits for the same without it.
    async fn or_park<T>(&self, comes: impl Future<Output = T>, wait: WaitFor) -> Result<T, Interrupt> {
        tokio::select! {
            biased;
            come = comes => Ok(come),
            () = self.park_after_a_while(&wait) => Err(Interrupt::Suspended(wait)),
            () = self.stopped() => Err(Interrupt::ShuttingDown),
        }
    }

    async fn park_after_a_while(&self, wait: &WaitFor) {
        // Who is known to wait long need not keep its instance until that has turned out.
        if wait.signals.is_empty()
            && let Some(wake) = wait.until
            && u128::from(wake.millis_since(self.clock.now())) > PARK_AFTER.as_millis()
        {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(PARK_AFTER) => {}
            () = self.slots.pressed() => {}
        }
    }

    /// Returns when the host is told to stop.
    pub async fn stopped(&self) {
        let mut stopping = self.stopping.subscribe();
        // The sender lives in this very struct, so the wait ends with the wish to stop and nothing else.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    }
}

/// The outcome of a run that this process drives. `None`: it is not heard of here, and its row is to be looked at. Others can
/// end a run too (a cancel), so nobody trusts in hearing of it for long.
async fn heard(mut news: watch::Receiver<News>) -> Option<Outcome> {
    let ended = news.wait_for(|news| *news != News::Running);
    match tokio::time::timeout(LONGEST_TRUST, ended).await {
        Ok(Ok(seen)) => match &*seen {
            News::Ended(outcome) => Some(outcome.clone()),
            _ => None,
        },
        _ => None,
    }
}
