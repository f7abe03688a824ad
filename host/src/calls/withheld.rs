//! A start that is not written yet.
//!
//! Problem: a workflow of one transaction would be two commits, its start and its step, though nobody needs the start to
//! be durable before: whoever asked for the run waits for its result. So such a start is withheld until the guest's first
//! call. A transaction carries it in its own commit. Before anything else, and after a moment in any case, the journal
//! writes it.
//!
//! Other runs need their start no sooner than something leaves their instances: they begin while the journal writes it.
//!
//! Nothing is lost by a crash: the run was not acknowledged, and had no effect. A start that a transaction has begun to
//! carry stays with it: it cannot be written by itself in the meantime, because the transaction would not see it.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::database::{Entry, Journal, JournalClosed, Landed, NewRun, Room, Ticket};

/// Where the start is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Here, and nowhere else.
    Held,
    /// With a transaction.
    Carried,
    /// With the journal, or written.
    Journaled,
}

/// What became of a start.
#[derive(Debug, Clone, PartialEq)]
pub enum Fate {
    /// As the journal says it, whoever wrote it.
    Landed(Landed),
    /// The run was given up before its start was written, or it cannot be known whether it was.
    Abandoned,
    /// The host is shutting down.
    Closed,
}

impl Fate {
    /// True when the start is durable.
    #[must_use]
    pub fn is_written(&self) -> bool {
        *self == Self::Landed(Landed::Written)
    }
}

impl From<Result<Landed, JournalClosed>> for Fate {
    fn from(landed: Result<Landed, JournalClosed>) -> Self {
        landed.map_or(Self::Closed, Self::Landed)
    }
}

/// A start that is not written yet (lifetime: until it is).
#[derive(Debug)]
pub struct Withheld {
    whole: Whole,
    state: Mutex<State>,
    fate: watch::Sender<Option<Fate>>,
}

/// What there is of a start.
#[derive(Debug)]
enum Whole {
    /// All of it, and the journal that is to have it.
    Start(Box<NewRun>, Journal),
    /// The promise of the journal, which had it before the run began.
    Ticket(Ticket),
}

impl Withheld {
    fn new(whole: Whole, state: State) -> Arc<Self> {
        Arc::new(Self { whole, state: Mutex::new(state), fate: watch::Sender::new(None) })
    }

    /// Withholds the start of a run.
    #[must_use]
    pub fn held(new: NewRun, journal: Journal) -> Arc<Self> {
        Self::new(Whole::Start(Box::new(new), journal), State::Held)
    }

    /// Gives the start of a run to the journal. The run may begin: what it writes comes behind its start, and nothing leaves
    /// its instances before the start is durable.
    #[must_use]
    pub fn journaled(new: NewRun, room: Room<'_>) -> Arc<Self> {
        Self::new(Whole::Ticket(room.append(Entry::Start(Box::new(new)))), State::Journaled)
    }

    /// The journal's promise, if it had the start before the run began.
    #[must_use]
    pub fn ticket(&self) -> Option<&Ticket> {
        match &self.whole {
            Whole::Ticket(ticket) => Some(ticket),
            Whole::Start(..) => None,
        }
    }

    /// The start, unless the journal had it before the run began.
    #[must_use]
    pub fn start(&self) -> Option<&NewRun> {
        match &self.whole {
            Whole::Start(new, _) => Some(new),
            Whole::Ticket(_) => None,
        }
    }

    /// What became of the start, as soon as that is known.
    pub async fn fate(&self) -> Fate {
        if let Some(ticket) = self.ticket() {
            return ticket.durable().await.into();
        }
        let mut fate = self.fate.subscribe();
        let decided = fate.wait_for(Option::is_some).await;
        // The sender is in this very struct, so the wait ends with a fate and not before.
        decided.ok().and_then(|fate| fate.clone()).unwrap_or(Fate::Abandoned)
    }

    /// True when the start was written by now.
    #[must_use]
    pub fn is_written(&self) -> bool {
        match self.ticket() {
            Some(ticket) => ticket.is_written(),
            None => self.fate.borrow().as_ref().is_some_and(Fate::is_written),
        }
    }

    /// Decides the fate, once and for all.
    pub fn decide(&self, fate: Fate) {
        self.fate.send_if_modified(|decided| {
            let is_first = decided.is_none();
            decided.get_or_insert(fate);
            is_first
        });
    }

    /// Lets a transaction carry the start. False: the journal has it.
    pub fn carry(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if *state == State::Held {
            *state = State::Carried;
        }
        *state == State::Carried
    }

    /// Gives the start to the journal. False: a transaction carries it.
    pub fn wait_no_longer(self: &Arc<Self>) -> bool {
        self.hand_over(&[State::Held]);
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) != State::Carried
    }

    /// Gives the start to the journal, and returns what becomes of it. A transaction that has carried it must be over.
    pub async fn write(self: &Arc<Self>) -> Fate {
        self.hand_over(&[State::Held, State::Carried]);
        self.fate().await
    }

    fn hand_over(self: &Arc<Self>, from: &[State]) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !from.contains(&state) || self.fate.borrow().is_some() {
            return;
        }
        let Whole::Start(new, journal) = &self.whole else { return };
        let (new, journal) = (new.clone(), journal.clone());
        *state = State::Journaled;
        // In a task of its own: whoever wants it written may be gone before it is, and others wait for its fate.
        let this = Arc::clone(self);
        tokio::spawn(async move {
            this.decide(journal.write(Entry::Start(new)).await.into());
        });
    }
}

/// Whoever drives the run of a withheld start. However the driving ends, those who wait for the start are told.
#[derive(Debug)]
pub struct Withholding(pub Arc<Withheld>);

impl Drop for Withholding {
    fn drop(&mut self) {
        // Locked until the fate is decided: in between, somebody could give the start to the journal.
        let state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        // What the journal has, it tells.
        if *state != State::Journaled {
            self.0.decide(Fate::Abandoned);
        }
    }
}
