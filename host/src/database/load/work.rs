//! The task behind the loader: takes what has come, counts the attempts in one commit, reads the histories, tells each run,
//! and begins again.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio_postgres::{Client, Error, Row, Statement};

use super::plan::{Read, plan};
use super::{Answer, Wanted};
use crate::database::attempt::{self, Counted, Size};
use crate::database::claim::Claim;
use crate::database::connection::{Backoff, Database};
use crate::database::error::{DatabaseError, is_connection_lost};
use crate::database::history::{self, Statements};
use crate::failpoint;

/// Runs whose attempts are counted in one commit: enough that the wait for the disk is nothing for each of them, and so
/// few that nobody waits for long.
const MOST_RUNS: usize = 100;

/// Large histories that are read at once, each into memory and over a connection of the pool, of which others need some.
const LARGE_AT_ONCE: usize = 2;

/// How long one statement may take before it is cancelled, and how long it waits for somebody else's lock. Locks of rows
/// are not waited for at all; this is for those of whole tables.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the server may take for a whole step of this task before the connection is given up: longer than it takes its
/// statements to be cancelled.
const ANSWER_TIMEOUT: Duration = STATEMENT_TIMEOUT.saturating_mul(3);

/// How long giving attempts back may hold up the others.
const GIVE_BACK_TIMEOUT: Duration = Duration::from_secs(2);

/// The task (lifetime: the process).
pub(super) struct Work {
    database: Database,
    session: Option<Session>,
    /// Those that wait, in the order in which they came. The first `alone` of them are tried one by one.
    queue: VecDeque<Wanted>,
    alone: usize,
    large: Arc<Semaphore>,
}

/// A connection with the statements.
struct Session {
    client: Client,
    count: Statement,
    read: Statements,
}

impl Work {
    pub(super) fn new(database: Database) -> Self {
        let large = Arc::new(Semaphore::new(LARGE_AT_ONCE));
        Self { database, session: None, queue: VecDeque::new(), alone: 0, large }
    }

    /// Loads what comes, until the last front is dropped.
    pub(super) async fn run(mut self, mut wanted: mpsc::Receiver<Wanted>) {
        loop {
            if self.queue.is_empty() {
                match wanted.recv().await {
                    Some(first) => self.queue.push_back(first),
                    None => return,
                }
            }
            while self.queue.len() < MOST_RUNS
                && let Ok(more) = wanted.try_recv()
            {
                self.queue.push_back(more);
            }
            let together = self.next();
            if !together.is_empty() {
                self.load(together).await;
            }
        }
    }

    /// The runs that are loaded next: no two claims of one run, and nobody who has gone.
    fn next(&mut self) -> Vec<Wanted> {
        let most = if self.alone > 0 { 1 } else { MOST_RUNS };
        self.alone = self.alone.saturating_sub(1);
        let (mut taken, mut runs, mut left) = (Vec::new(), HashSet::new(), VecDeque::new());
        while taken.len() < most
            && let Some(wanted) = self.queue.pop_front()
        {
            if wanted.answer.is_closed() {
                continue;
            }
            if runs.insert(wanted.claim.run().clone()) {
                taken.push(wanted);
            } else {
                left.push_back(wanted);
            }
        }
        left.append(&mut self.queue);
        self.queue = left;
        taken
    }

    async fn load(&mut self, together: Vec<Wanted>) {
        let counted = match self.count(together).await {
            Ok(counted) => counted,
            Err((together, error)) => return self.refused(together, error),
        };
        for _ in &counted {
            failpoint::hit("attempt.after_count").await;
        }
        let sizes: Vec<Size> = counted.iter().map(|(.., size)| *size).collect();
        let mut counted: Vec<Option<(Wanted, Row, Size)>> = counted.into_iter().map(Some).collect();
        let mut take = |position: usize| counted[position].take().map(|(wanted, row, _)| (wanted, row));
        let mut reads = Vec::new();
        for read in plan(&sizes) {
            match read {
                Read::Alone(position) => {
                    let large = take(position)
                        .map(|(wanted, row)| read_alone(self.database.clone(), Arc::clone(&self.large), wanted, row));
                    large.map(tokio::spawn);
                }
                Read::Together(positions) => reads.push(positions.into_iter().filter_map(&mut take).collect()),
            }
        }
        for read in reads {
            self.read(read).await;
        }
    }

    /// The server refuses something about these runs, or about one of them: each for itself, and then it is told.
    fn refused(&mut self, together: Vec<Wanted>, error: DatabaseError) {
        let mut together = together;
        if together.len() == 1
            && let Some(wanted) = together.pop()
        {
            return wanted.tell(Answer::Failed(error));
        }
        tracing::debug!("{} workflows are loaded one by one: {error}", together.len());
        self.alone += together.len();
        together.into_iter().rev().for_each(|wanted| self.queue.push_front(wanted));
    }

    /// Counts attempts until the database has answered, and tells those for whom that is all.
    async fn count(&mut self, together: Vec<Wanted>) -> Result<Vec<(Wanted, Row, Size)>, (Vec<Wanted>, DatabaseError)> {
        let counted = self.ask(&together, "count attempts", async |session: &Session, claims: &[&Claim]| {
            attempt::count(&session.client, &session.count, claims).await
        });
        let counted = match counted.await {
            Ok(counted) => counted,
            Err(error) => return Err((together, error)),
        };
        let mut ready = Vec::new();
        for (wanted, counted) in together.into_iter().zip(counted) {
            match counted {
                Counted::Done { row, size } => ready.push((wanted, row, size)),
                Counted::Locked => wanted.tell(Answer::Locked),
                Counted::NotOwner => wanted.tell(Answer::NotOwner),
            }
        }
        Ok(ready)
    }

    /// Reads what these runs have, and tells them.
    async fn read(&mut self, together: Vec<(Wanted, Row)>) {
        let (together, rows): (Vec<Wanted>, Vec<Row>) = together.into_iter().unzip();
        let stored = self.ask(&together, "load workflows", async |session: &Session, claims: &[&Claim]| {
            history::read(&session.client, &session.read, claims).await
        });
        match stored.await {
            Ok(stored) => {
                for ((wanted, row), stored) in together.into_iter().zip(rows).zip(stored) {
                    wanted.tell(Answer::Found(row, stored));
                }
            }
            Err(error) => {
                give_back(&self.database, &together).await;
                self.refused(together, error);
            }
        }
    }

    /// Asks about runs until the database has answered.
    ///
    /// # Errors
    /// What it answered, if it refuses.
    async fn ask<T>(
        &mut self,
        together: &[Wanted],
        what: &'static str,
        question: impl AsyncFn(&Session, &[&Claim]) -> Result<T, Error>,
    ) -> Result<T, DatabaseError> {
        let claims: Vec<&Claim> = together.iter().map(|wanted| &wanted.claim).collect();
        let mut backoff = Backoff::new(what);
        loop {
            let asked = async {
                let session = match self.session.take().filter(|session| !session.client.is_closed()) {
                    Some(session) => session,
                    None => Session::open(&self.database).await.map_err(Unanswered::NoSession)?,
                };
                let answer = question(&session, &claims).await.map_err(Unanswered::Question)?;
                Ok((session, answer))
            };
            match tokio::time::timeout(ANSWER_TIMEOUT, asked).await {
                Ok(Ok((session, answer))) => {
                    self.session = Some(session);
                    return Ok(answer);
                }
                // What is wrong may be the session's, so the next question is asked in a new one.
                Ok(Err(Unanswered::Question(error))) if !is_connection_lost(&error) => return Err(error.into()),
                Ok(Err(Unanswered::Question(error))) => backoff.wait(&DatabaseError::from(error)).await,
                Ok(Err(Unanswered::NoSession(error))) => backoff.wait(&error).await,
                Err(elapsed) => backoff.wait(&elapsed).await,
            }
        }
    }
}

/// Why there is no answer.
enum Unanswered {
    NoSession(DatabaseError),
    Question(Error),
}

/// Reads a large run beside the others.
async fn read_alone(database: Database, large: Arc<Semaphore>, wanted: Wanted, row: Row) {
    let _place = large.acquire().await.expect("the semaphore is never closed");
    if wanted.answer.is_closed() {
        return;
    }
    let mut backoff = Backoff::new("load a workflow");
    loop {
        match database.read_history(&wanted.claim).await {
            Ok(stored) => return wanted.tell(Answer::Found(row, stored)),
            Err(error) if error.is_connection_lost() => backoff.wait(&error).await,
            Err(error) => {
                give_back(&database, std::slice::from_ref(&wanted)).await;
                return wanted.tell(Answer::Failed(error));
            }
        }
    }
}

/// Gives the attempts back that were counted for runs whose histories the server refuses to read: no instance is made, and
/// the database's trouble must not use up a run's attempts. If that fails too, they stay counted.
async fn give_back(database: &Database, together: &[Wanted]) {
    let claims: Vec<Claim> = together.iter().map(|wanted| wanted.claim.clone()).collect();
    match tokio::time::timeout(GIVE_BACK_TIMEOUT, database.give_back_attempts(&claims)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("cannot give attempts back: {error}"),
        Err(elapsed) => tracing::debug!("cannot give attempts back: {elapsed}"),
    }
}

impl Session {
    async fn open(database: &Database) -> Result<Self, DatabaseError> {
        let client = database.own_client().await?;
        // Every row that these statements touch is looked for by its key. A plan that was made while a table was small, and
        // that reads it from end to end, would be kept when it has a million rows.
        let settings = format!(
            "SET lock_timeout = {}; SET statement_timeout = {}; SET enable_seqscan = off; \
             SET plan_cache_mode = force_generic_plan",
            LOCK_TIMEOUT.as_millis(),
            STATEMENT_TIMEOUT.as_millis()
        );
        client.batch_execute(&settings).await?;
        let (count, read) = (attempt::prepare(&client).await?, history::prepare(&client).await?);
        Ok(Self { client, count, read })
    }
}
