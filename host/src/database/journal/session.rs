//! A connection of the journal, and what it sends for one commit.
//!
//! Everything goes out at once and is answered at once, so that a commit costs one round trip and not one for each of its
//! statements. When a statement fails, the transaction is aborted, and the COMMIT behind it rolls back with an answer that
//! looks like success; so each statement's result is looked at.
//!
//! This module must not know which entries may share a commit, or what becomes of those that are not written.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use futures_util::future::{join, join5};
use tokio_postgres::{Client, Error, Statement};

use super::writer::STATEMENT_TIMEOUT;
use super::{Entry, Landed, Pending};
use crate::database::connection::Database;
use crate::database::error::DatabaseError;
use crate::database::finish::Finish;
use crate::database::message::{self, NewSend};
use crate::database::order::Order;
use crate::database::progress::{self, Keys, Progress};
use crate::database::receive::{self, NewReceive};
use crate::database::record::NewRecord;
use crate::database::start::{self, NewRun};
use crate::workflow::WorkflowId;

/// How long a statement waits for a row that somebody else has locked. Those who mean well (a take-over, a cancel, a last
/// flight) hold one for milliseconds. What has to wait longer waits by itself, and not in the way of every other run.
const LOCK_TIMEOUT_MS: u32 = 1000;

/// How long plans are kept. One that was made for a table of a few rows reads the table from end to end, and goes on to
/// do so when it has a million: the server looks again when its statistics change, which may take minutes. Making the
/// plans takes about three milliseconds.
const PLANS_LAST: Duration = Duration::from_secs(1);

/// A connection with the journal's statements.
pub(super) struct Session {
    pub(super) client: Client,
    starts: start::Statements,
    pub(super) progress: progress::Statements,
    /// Prepared at the first use: most hosts never have any.
    send: Option<Statement>,
    receive: Option<Statement>,
    /// When plans were last made, at the earliest.
    pub(super) planned_at: Instant,
}

impl Session {
    pub(super) async fn open(database: &Database) -> Result<Self, DatabaseError> {
        let client = database.own_client().await?;
        // A lock that somebody holds for hours must not stop every run of this host in silence: the statement is
        // cancelled, the log says so, and it is sent again.
        // The statements' plans do not depend on what is in the arrays; making them anew each time costs more than they do.
        let timeout = STATEMENT_TIMEOUT.as_millis();
        let settings = format!(
            "SET lock_timeout = '{LOCK_TIMEOUT_MS}ms'; SET statement_timeout = {timeout}; \
             SET plan_cache_mode = force_generic_plan"
        );
        client.batch_execute(&settings).await?;
        let (starts, progress) = (start::prepare(&client).await?, progress::prepare(&client).await?);
        Ok(Self { client, starts, progress, send: None, receive: None, planned_at: Instant::now() })
    }

    /// Writes the entries in one commit and says what became of each.
    pub(super) async fn commit(
        &mut self,
        together: &[Pending],
        keys: Keys,
        order: &Order,
    ) -> Result<Vec<Landed>, Error> {
        let Sorted { starts, children, parents, sends, receives, progress, first_progress, started } =
            Sorted::of(together);
        self.make_ready(&[&progress, &first_progress], (!sends.is_empty(), !receives.is_empty())).await?;
        let client = &self.client;
        if let ([Pending { entry: Entry::Record(new), .. }], Keys::New) = (together, keys)
            && new.effect.is_none()
        {
            return Ok(vec![progress::write_lone(client, self.progress.lone(), new).await?]);
        }
        let of_runs = [starts.is_empty(), children.is_empty(), progress.is_empty(), first_progress.is_empty()];
        let kinds = of_runs.into_iter().chain([sends.is_empty(), receives.is_empty()]);
        // A statement alone is a transaction by itself, and saves two messages.
        let is_alone = kinds.filter(|is_empty| !is_empty).count() == 1;
        let control = async |statement: &str| if is_alone { Ok(()) } else { client.batch_execute(statement).await };
        // `join` polls in the order of its arguments, and each of these sends its messages when it is first polled.
        // Starts come late: they lock the executor's own row, for which the renewal of its lease would have to wait while
        // another statement waits for a run that somebody else has locked. What comes behind them waits for nobody: it
        // touches what this commit has begun, and nothing under an id that somebody else had before.
        let writes = join5(
            join(control("BEGIN"), progress.write(client, &self.progress, keys)),
            join(
                message::write(client, self.send.as_ref(), (&sends, order)),
                receive::write(client, self.receive.as_ref(), &receives),
            ),
            start::write_children(client, &self.starts, (&children, &parents)),
            start::write(client, &self.starts, &starts),
            first_progress.write_begun(client, &self.progress),
        );
        let (written, committed) = join(writes, control("COMMIT")).await;
        let ((begun, written), (sends, receives), children, starts, first_written) = written;
        begun?;
        // In the order in which they were sent: what comes behind the one that failed fails because of it.
        let (written, sends, receives, children) = (written?, sends?, receives?, children?);
        let (starts, first_written) = (starts?, first_written?);
        committed?;
        let [mut starts, mut children, mut sends, mut receives] =
            [starts, children, sends, receives].map(Vec::into_iter);
        let [mut of_known, mut of_started] = [written, first_written].map(Progress::into_iters);
        let landed = together.iter().map(|pending| {
            let of_run = if started.contains(pending.entry.run()) { &mut of_started } else { &mut of_known };
            match &pending.entry {
                Entry::Start(new) if new.parent.is_none() => starts.next(),
                Entry::Start(_) => children.next(),
                Entry::Record(_) => of_run.0.next(),
                Entry::Finish(_) => of_run.1.next(),
                Entry::Send(_) => sends.next(),
                Entry::Receive(_) => receives.next(),
            }
        });
        Ok(landed.map(|landed| landed.expect("each statement tells of all that it was given")).collect())
    }

    /// Makes plans anew where they are old, and prepares what this commit needs and most do not.
    async fn make_ready(&mut self, steps: &[&Steps<'_>], (sends, receives): (bool, bool)) -> Result<(), Error> {
        if self.planned_at.elapsed() > PLANS_LAST {
            self.client.batch_execute("DISCARD PLANS").await?;
            self.planned_at = Instant::now();
        }
        if steps.iter().any(|steps| steps.has_effects()) {
            self.progress.prepare_effects(&self.client).await?;
        }
        if sends && self.send.is_none() {
            self.send = Some(message::prepare(&self.client).await?);
        }
        if receives && self.receive.is_none() {
            self.receive = Some(receive::prepare(&self.client).await?);
        }
        Ok(())
    }
}

/// The entries of a commit, by the statements that write them.
#[derive(Default)]
struct Sorted<'a> {
    starts: Vec<&'a NewRun>,
    children: Vec<&'a NewRun>,
    /// The parents' records of the children.
    parents: Vec<&'a NewRecord>,
    sends: Vec<&'a NewSend>,
    receives: Vec<&'a NewReceive>,
    /// Of runs that are there.
    progress: Steps<'a>,
    /// Of runs that start in this very commit.
    first_progress: Steps<'a>,
    started: HashSet<&'a WorkflowId>,
}

impl<'a> Sorted<'a> {
    fn of(together: &'a [Pending]) -> Self {
        let mut sorted = Self::default();
        for pending in together {
            match &pending.entry {
                Entry::Start(new) => match &new.parent {
                    None => {
                        sorted.started.insert(new.claim().run());
                        sorted.starts.push(&**new);
                    }
                    Some(parent) => {
                        sorted.children.push(&**new);
                        sorted.parents.push(parent);
                    }
                },
                Entry::Record(new) => sorted.steps_of(new.claim.run()).records.push(&**new),
                Entry::Finish(new) => sorted.steps_of(new.claim.run()).outcomes.push(&**new),
                Entry::Send(new) => sorted.sends.push(&**new),
                Entry::Receive(new) => sorted.receives.push(&**new),
            }
        }
        sorted
    }

    fn steps_of(&mut self, run: &WorkflowId) -> &mut Steps<'a> {
        if self.started.contains(run) { &mut self.first_progress } else { &mut self.progress }
    }
}

/// Records and outcomes.
#[derive(Default)]
struct Steps<'a> {
    records: Vec<&'a NewRecord>,
    outcomes: Vec<&'a Finish>,
}

impl Steps<'_> {
    fn is_empty(&self) -> bool {
        self.records.is_empty() && self.outcomes.is_empty()
    }

    fn has_effects(&self) -> bool {
        self.records.iter().any(|new| new.effect.is_some())
    }

    async fn write(&self, client: &Client, statements: &progress::Statements, keys: Keys) -> Result<Progress, Error> {
        progress::write(client, statements.of(keys), (&self.records, &self.outcomes)).await
    }

    /// The same for runs that this very transaction has begun, if they are those.
    async fn write_begun(&self, client: &Client, statements: &progress::Statements) -> Result<Progress, Error> {
        progress::write(client, statements.begun(), (&self.records, &self.outcomes)).await
    }
}
