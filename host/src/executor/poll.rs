//! Looking for what others do who say nothing: other hosts, and programs that know nothing of this one.
//!
//! One task asks for all who wait in this process, clients, handlers, live runs and parked ones, as long as anybody does
//! (`signals` says when for what). What it finds it raises, as whoever does such a thing in this process does at once.

use std::time::{Duration, Instant};

use super::Executor;
use super::registry::Registry;
use super::signals::{FIRST_LOOK, Look};
use crate::calls::Listening;
use crate::database::{Database, pages};
use crate::workflow::Signal;

/// The rest after a look, as a multiple of it. With so many who wait that a look takes long, all of them wait longer, and a
/// connection of the pool has three quarters of its time for others.
const REST: u32 = 3;

/// The longest rest: a look that has failed after half a minute says nothing about the next one.
const LONGEST_REST: Duration = Duration::from_secs(2);

/// How long the database may take for a page. Those who wait would not hear of anything while something between holds the
/// connection open and has nothing behind it.
const TIMEOUT: Duration = Duration::from_secs(30);

impl Executor {
    /// Listens for signals. From here on nothing is missed: what was done before is seen by looking, and what is done later
    /// is heard.
    pub(super) fn listening(&self, signals: &[Signal]) -> Listening {
        let (listening, must_look) = self.runs.listen(signals);
        if must_look {
            self.look_out();
        }
        listening
    }

    /// Begins to look for what somebody waits for.
    pub(super) fn look_out(&self) {
        Poll::begin(&self.runs, &self.database);
    }
}

/// The task that looks. If it ends by a bug, those who wait are woken: they look for themselves and come again.
struct Poll {
    runs: Registry,
    database: Database,
}

impl Poll {
    fn begin(runs: &Registry, database: &Database) {
        let poll = Self { runs: runs.clone(), database: database.clone() };
        tokio::spawn(async move { poll.look().await });
    }

    /// Looks for what stands on one page, and raises what has been done. What is not found out is looked for again.
    async fn look_for(&self, page: &[Signal]) {
        match tokio::time::timeout(TIMEOUT, self.database.raised(page)).await {
            Ok(Ok(raised)) => raised.iter().for_each(|signal| self.runs.raise(signal)),
            Ok(Err(error)) => tracing::debug!("cannot look for what is waited for: {error}"),
            Err(elapsed) => tracing::debug!("cannot look for what is waited for: {elapsed}"),
        }
    }

    /// Looks until nobody waits any more.
    async fn look(&self) {
        loop {
            match self.runs.look(Instant::now()) {
                Look::Nobody => return,
                Look::NotBefore(next) => tokio::select! {
                    () = tokio::time::sleep_until(next.into()) => {}
                    // It is not looked for before that, and others may come with it.
                    () = self.runs.newcomer() => tokio::time::sleep(FIRST_LOOK).await,
                },
                Look::For(signals) => {
                    let begun = Instant::now();
                    for page in pages(signals) {
                        self.look_for(&page).await;
                    }
                    tokio::time::sleep((begun.elapsed() * REST).min(LONGEST_REST)).await;
                }
            }
        }
    }
}

impl Drop for Poll {
    fn drop(&mut self) {
        // After a regular end somebody else may look already; then nothing here is this task's.
        if std::thread::panicking() {
            self.runs.nobody_looks();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calls::WaitFor;
    use crate::database::{Claim, Incarnation, NewRun, TestServer};
    use crate::workflow::{AppName, Arguments, ComponentDigest, EpochMs, Key, Offset, Topic, WorkflowId};

    /// Twice as long as the longest pause between two looks.
    const LONG: Duration = Duration::from_secs(1);

    /// A machine that has other things to do may need several times as long as the pauses.
    const PATIENCE: Duration = Duration::from_secs(10);

    /// Each signal, with what another program does that raises it.
    fn signals() -> [(Signal, &'static str); 5] {
        let run = || WorkflowId::stored("a");
        [
            (
                Signal::Message(run(), Topic::stored("t")),
                "INSERT INTO dbos.notifications (destination_uuid, topic, message) VALUES ('a', 't', '1')",
            ),
            (
                Signal::Event(run(), Key::stored("k")),
                "INSERT INTO dbos.workflow_events (workflow_uuid, key, value) VALUES ('a', 'k', '1')",
            ),
            (
                Signal::Stream(run(), Key::stored("s"), Offset::FIRST),
                "INSERT INTO dbos.streams (workflow_uuid, key, value, \"offset\") VALUES ('a', 's', '1', 0)",
            ),
            (Signal::Ended(run()), "UPDATE dbos.workflow_status SET status = 'CANCELLED'"),
            (Signal::Stream(run(), Key::stored("s"), Offset::FIRST.plus(1)), "SELECT 1"),
        ]
    }

    #[tokio::test]
    async fn what_another_program_does_is_heard() {
        let database = TestServer::fresh_database().await;
        database.migrate().await.unwrap();
        database.execute_all("INSERT INTO dbos.workflow_status (workflow_uuid, status) VALUES ('a', 'PENDING')").await;
        let registry = Registry::default();
        for (signal, done) in signals() {
            let (listening, must_look) = registry.listen(std::slice::from_ref(&signal));
            if must_look {
                Poll::begin(&registry, &database);
            }
            if done != "SELECT 1" {
                // Long enough for the pauses to have grown to their longest.
                let early = tokio::time::timeout(LONG, listening.heard()).await;
                assert!(early.is_err(), "nothing was done about {signal}");
            }
            database.execute_all(done).await;
            let heard = tokio::time::timeout(PATIENCE, listening.heard()).await;
            assert!(heard.is_ok(), "nothing was heard of {signal}");
        }
    }

    #[tokio::test]
    async fn who_cannot_be_looked_for_does_not_keep_the_others_from_hearing() {
        let database = TestServer::fresh_database().await;
        database.migrate().await.unwrap();
        let [first, second] = ["a", "b"].map(WorkflowId::stored);
        database.execute_all("INSERT INTO dbos.workflow_status (workflow_uuid, status) VALUES ('a', 'PENDING')").await;
        let kinds = [
            (Signal::Message(first.clone(), Topic::stored("t")), Signal::Ended(second.clone()), "notifications"),
            (Signal::Ended(first.clone()), Signal::Event(first.clone(), Key::stored("k")), "workflow_status"),
        ];
        database
            .execute_all("INSERT INTO dbos.workflow_events (workflow_uuid, key, value) VALUES ('a', 'k', '1')")
            .await;
        for (blind, seen, table) in kinds {
            let lock = database.lock_table(&format!("dbos.{table}")).await;
            let registry = Registry::default();
            let (_waits, _) = registry.listen(&[blind]);
            let (listening, _) = registry.listen(&[seen]);
            Poll::begin(&registry, &database);
            let heard = tokio::time::timeout(PATIENCE * 3, listening.heard()).await;
            assert!(heard.is_ok(), "although somebody has locked `{table}`");
            drop(lock);
        }
    }

    fn claim(run: &WorkflowId) -> Claim {
        let (app, version) = (AppName::parse("shop").expect("a name"), ComponentDigest::of(b""));
        let what = ("buy", Arguments::default(), EpochMs(0));
        NewRun::new(run.clone(), &Incarnation::fresh(), "e", (&app, &version), what).claim().clone()
    }

    #[tokio::test]
    async fn ten_thousand_that_wait_have_one_task() {
        let database = TestServer::fresh_database().await;
        database.migrate().await.unwrap();
        let registry = Registry::default();
        let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let before = tasks();
        let waiting = |n| WorkflowId::stored(&format!("w-{n}"));
        for n in 0..10_000 {
            let run = waiting(n);
            let message = Signal::Message(run.clone(), Topic::stored("t"));
            if registry.enter(&claim(&run)).expect("it is new").park(WaitFor::signal(message)) {
                Poll::begin(&registry, &database);
            }
        }
        assert_eq!(tasks(), before + 1);
        let message = "INSERT INTO dbos.workflow_status (workflow_uuid, status) VALUES ('w-7777', 'PENDING');
                       INSERT INTO dbos.notifications (destination_uuid, topic, message) VALUES ('w-7777', 't', '1')";
        database.execute_all(message).await;
        tokio::time::timeout(PATIENCE, registry.sooner()).await.expect("somebody is due");
        let woken = registry.take_due(EpochMs(i64::MAX)).expect("it is due");
        assert_eq!(*woken.claim().run(), waiting(7777));
        assert!(registry.take_due(EpochMs(i64::MAX)).is_err(), "nobody else is");
    }
}
