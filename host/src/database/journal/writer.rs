//! The task behind the journal: takes what has come, writes it in one commit, tells everybody, and begins again.
//!
//! While a commit is under way, the next one fills up; so commits grow with the load and with the slowness of the disk,
//! and nobody waits for a timer. An error that nobody expected may have come from a single entry: then each is written in
//! a commit of its own, and a bad one costs only itself.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use super::session::Session;
use super::{Landed, Pending, batch};
use crate::database::connection::{Backoff, Database};
use crate::database::error::{DatabaseError, is_connection_lost};
use crate::database::order::Order;
use crate::database::progress::Keys;
use crate::failpoint;
use crate::workflow::{Code, Failure, Signal};

/// How long one statement of the journal may take before it is cancelled and sent again.
pub(super) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a commit may go without an answer before its connection is given up. A commit has six statements at most,
/// each of which may wait for a lock for as long as it is let; they share the connection with BEGIN and COMMIT.
const COMMIT_TIMEOUT: Duration = STATEMENT_TIMEOUT.saturating_mul(7);

/// How long the server may take to let the journal in and to prepare its statements. Something between may take the
/// connection and have nothing behind it.
const OPEN_TIMEOUT: Duration = STATEMENT_TIMEOUT.saturating_mul(2);

/// Somebody else's lock, for too long or in a circle. Two hosts that start each other's children and neighbours may meet so.
const IN_THE_WAY: [SqlState; 2] = [SqlState::LOCK_NOT_AVAILABLE, SqlState::T_R_DEADLOCK_DETECTED];

/// How long at least the journal waits when nothing can be written now but what somebody has locked.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

/// The task (lifetime: the process).
pub(super) struct Writer {
    database: Database,
    session: Option<Session>,
    lost_answers: Arc<AtomicBool>,
    wrote: mpsc::Sender<Signal>,
    order: Order,
}

impl Writer {
    pub(super) fn new(
        database: Database,
        lost_answers: Arc<AtomicBool>,
        (wrote, order): (mpsc::Sender<Signal>, Order),
    ) -> Self {
        Self { database, session: None, lost_answers, wrote, order }
    }

    /// Writes what comes, until the last front of the journal is dropped.
    pub(super) async fn run(mut self, mut entries: mpsc::Receiver<Pending>) {
        let mut queue: VecDeque<Pending> = VecDeque::new();
        let mut only_fresh = false;
        loop {
            fill(&mut queue, &mut entries);
            let together = batch::take(&mut queue, only_fresh, &mut self.order.pace());
            // One that was blocked has had its turn.
            only_fresh = together.iter().any(|pending| pending.blocked.is_some());
            if together.is_empty() {
                // There is nothing, or what is there waits for somebody's lock or for the clock, or behind what does.
                if !more(&mut queue, &mut entries).await {
                    return;
                }
                continue;
            }
            for pending in &together {
                failpoint::hit(pending.entry.point(true)).await;
            }
            // In front of the later entries of their runs.
            for mut pending in self.write(together, Keys::New).await.into_iter().rev() {
                pending.block();
                queue.push_front(pending);
            }
        }
    }

    /// Writes until the fate of each entry is known, and tells it. Returns those for which that takes longer: somebody else
    /// has locked a row that they need, or the server does not get through with them.
    async fn write(&mut self, together: Vec<Pending>, keys: Keys) -> Vec<Pending> {
        // What they were made from was not written, in an earlier commit: nor are they, nor what was made from them. So each
        // is told before the next one is looked at.
        let (entries, mut together) = (together, Vec::new());
        for pending in entries {
            if pending.behind.as_ref().is_some_and(super::Ticket::is_refused) {
                self.tell(pending, Landed::Exists).await;
            } else {
                together.push(pending);
            }
        }
        if together.is_empty() {
            return Vec::new();
        }
        let mut lost_an_answer = false;
        let commits = match self.insist(&together, keys).await {
            Ok(landed) => {
                for (pending, landed) in together.into_iter().zip(landed) {
                    self.tell(pending, landed).await;
                }
                return Vec::new();
            }
            Err(Trouble::Waits(why)) if together.len() == 1 => {
                for pending in &together {
                    tracing::warn!("the records of `{}` wait: {why}", pending.entry.run());
                }
                return together;
            }
            Err(Trouble::Entry(error)) if together.len() == 1 => {
                let failure = Failure::new("DatabaseError", Code("not_recorded"), error.to_string());
                for pending in together {
                    self.tell(pending, Landed::Refused(failure.clone())).await;
                }
                return Vec::new();
            }
            Err(Trouble::MaybeThere { lost_answer }) => {
                lost_an_answer = lost_answer;
                batch::apart(together)
            }
            // One of them is what the server cannot take, or not now. Each for itself.
            Err(Trouble::Entry(_) | Trouble::Waits(_)) => together.into_iter().map(|pending| vec![pending]).collect(),
        };
        // What was made from an entry that turns out to be refused finds that out at the beginning of its turn, and what
        // comes behind one that waits does too.
        let mut blocked: Vec<Pending> = Vec::new();
        for commit in commits {
            let waits = |pending: &Pending| blocked.iter().any(|other| other.entry.run() == pending.entry.run());
            let (waiting, commit): (Vec<_>, Vec<_>) = commit.into_iter().partition(waits);
            blocked.extend(waiting);
            blocked.extend(Box::pin(self.write(commit, Keys::MaybeThere)).await);
        }
        self.note(lost_an_answer);
        blocked
    }

    /// Writes until the database has answered.
    async fn insist(&mut self, together: &[Pending], mut keys: Keys) -> Result<Vec<Landed>, Trouble> {
        let mut backoff = Backoff::new("write the journal");
        let mut lost_answer = false;
        loop {
            if keys == Keys::MaybeThere && !batch::is_apart(together) {
                return Err(Trouble::MaybeThere { lost_answer });
            }
            let mut session = match self.session.take() {
                Some(session) if !session.client.is_closed() => session,
                _ => match tokio::time::timeout(OPEN_TIMEOUT, Session::open(&self.database)).await {
                    Ok(Ok(session)) => session,
                    Ok(Err(error)) => {
                        backoff.wait(&error).await;
                        continue;
                    }
                    Err(elapsed) => {
                        backoff.wait(&elapsed).await;
                        continue;
                    }
                },
            };
            let Ok(written) = tokio::time::timeout(COMMIT_TIMEOUT, session.commit(together, keys, &self.order)).await
            else {
                // Neither an answer nor the server's own time limit: the connection leads nowhere.
                tracing::warn!("the database does not answer the journal; it connects anew");
                lost_answer = true;
                keys = Keys::MaybeThere;
                continue;
            };
            let error = match written {
                Ok(landed) => {
                    self.session = Some(session);
                    self.note(lost_answer);
                    return Ok(landed);
                }
                Err(error) => error,
            };
            if keys == Keys::New && error.code() == Some(&SqlState::UNIQUE_VIOLATION) {
                // A record is there already. Nothing was written, so nobody has lost anything but a moment.
                keys = Keys::MaybeThere;
                self.session = Some(session);
                continue;
            }
            if is_connection_lost(&error) {
                // The commit may have landed: its keys are there then.
                (lost_answer, keys) = (true, Keys::MaybeThere);
            }
            let error = match Trouble::of(error) {
                Ok(trouble) => {
                    self.session = Some(session);
                    self.note(lost_answer);
                    return Err(trouble);
                }
                Err(error) => error,
            };
            // What is wrong may be the session's: a default that it was opened with (read-only, until the disk has room
            // again), statements that do not fit the tables any more or are gone. So the next try is in a new one.
            drop(session);
            backoff.wait(&error).await;
        }
    }

    /// Tells what became of an entry: whoever has handed it in, and whoever may wait for it.
    async fn tell(&self, pending: Pending, landed: Landed) {
        failpoint::hit(pending.entry.point(false)).await;
        // What was there before may be its own, written by a commit whose answer was lost: then nobody was told.
        let signal = pending.entry.raises().filter(|_| matches!(landed, Landed::Written | Landed::Exists));
        pending.promise.tell(landed);
        if let Some(signal) = signal {
            // Without room, or with nobody who raises it, it is found by a look.
            let _ = self.wrote.try_send(signal);
        }
    }

    /// After the entries' fate is known: whoever looks from now on finds what was written twice.
    fn note(&self, lost_answer: bool) {
        if lost_answer {
            self.lost_answers.store(true, Ordering::SeqCst);
        }
    }
}

/// Waits for an entry, or until one that waits may be tried again. False: the journal is closed.
async fn more(queue: &mut VecDeque<Pending>, entries: &mut mpsc::Receiver<Pending>) -> bool {
    let next =
        queue.iter().flat_map(|pending| [pending.blocked.map(|blocked| blocked.until), pending.held]).flatten().min();
    // The earliest may be due by now, or be due and wait behind another of its run.
    let soon = Instant::now() + SHORTEST_PAUSE;
    let due = async {
        match next {
            Some(until) => tokio::time::sleep_until(until.max(soon).into()).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        entry = entries.recv() => match entry {
            Some(entry) => queue.push_back(entry),
            None => return false,
        },
        () = due => {}
    }
    true
}

/// Moves what waits for its turn to where the next commit is made up, as much as one commit can have. What is beyond it
/// stays in the channel, whose end those who append must feel. Messages that wait for the clock do not count: each has a
/// sender that waits for it, and one mailbox that many write to must not stop everybody else.
fn fill(queue: &mut VecDeque<Pending>, entries: &mut mpsc::Receiver<Pending>) {
    let mut room = batch::MOST_ENTRIES.saturating_sub(queue.iter().filter(|pending| pending.is_ready()).count());
    while room > 0 {
        let Ok(more) = entries.try_recv() else { return };
        queue.push_back(more);
        room -= 1;
    }
}

/// Why the entries of a commit were not written, although the database answers.
enum Trouble {
    /// Some of them may be there, and they must be written apart. An answer may have been lost before.
    MaybeThere { lost_answer: bool },
    /// One of them is what the server cannot take.
    Entry(DatabaseError),
    /// One of them cannot be written now, and may hold up the others: for this reason.
    Waits(&'static str),
}

impl Trouble {
    /// What kind of trouble an error means.
    ///
    /// # Errors
    /// When it is the database's own.
    fn of(error: Error) -> Result<Self, DatabaseError> {
        if is_without_room_to_notify(&error) {
            Ok(Self::Waits("a session that listens and does not read has filled the database's queue of notifications"))
        } else if is_an_entrys_fault(&error) {
            Ok(Self::Entry(error.into()))
        } else if error.code().is_some_and(|code| IN_THE_WAY.contains(code)) {
            Ok(Self::Waits("somebody else has locked the row in the database"))
        } else if error.code() == Some(&SqlState::QUERY_CANCELED) {
            Ok(Self::Waits("the database took too long for them, or an operator has cancelled the statement"))
        } else {
            Err(error.into())
        }
    }
}

/// True when the queue of notifications is full, which DBOS's trigger needs for each message. The word stays as it is in the
/// languages that the server may answer in.
fn is_without_room_to_notify(error: &Error) -> bool {
    error
        .as_db_error()
        .is_some_and(|error| *error.code() == SqlState::PROGRAM_LIMIT_EXCEEDED && error.message().contains("NOTIFY"))
}

/// True when an entry itself is what the server cannot take (class 22, data exceptions; 54, program limits): it would
/// never be written, however often it is sent. Everything else is the database's state, which passes.
fn is_an_entrys_fault(error: &Error) -> bool {
    error.code().is_some_and(|state| state.code().starts_with("22") || state.code().starts_with("54"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::claim::Claim;
    use crate::database::finish::{FinalOutcome, Finish};
    use crate::database::journal::Entry;
    use crate::workflow::WorkflowId;

    #[test]
    fn those_who_append_feel_that_the_database_is_slow() {
        let (sender, mut entries) = mpsc::channel(4 * batch::MOST_ENTRIES);
        for n in 0..4 * batch::MOST_ENTRIES {
            let claim = Claim::new(WorkflowId::stored(&n.to_string()), "t");
            let entry = Entry::Finish(Box::new(Finish { claim, outcome: FinalOutcome::Success("1".into()) }));
            sender.try_send(entry.pending()).unwrap();
        }
        let mut queue: VecDeque<Pending> = VecDeque::new();
        fill(&mut queue, &mut entries);
        assert_eq!(queue.len(), batch::MOST_ENTRIES);
        batch::take(&mut queue, false, &mut Order::default().pace());
        fill(&mut queue, &mut entries);
        assert_eq!((queue.len(), entries.len()), (batch::MOST_ENTRIES, 2 * batch::MOST_ENTRIES));
    }
}
