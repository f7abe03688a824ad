//! The executor: takes one workflow from its row to its end.
//!
//! A run that has something to do is a task. It makes an instance, replays it from the records, and goes on; when the run
//! has to wait long, when its host loses it, or when a limit is passed, the instance is thrown away and the task decides
//! what comes next. A run that waits is an entry in the registry and nothing else. Nothing in here is needed to be remembered: what a crash takes with it is in the database. This module must not know the HTTP
//! server.

mod ahead;
mod app;
mod attempt;
mod backlog;
mod communicator;
mod continue_as_new;
mod control;
mod difference;
mod drive;
mod events;
mod give_back;
mod habit;
mod handler;
mod messages;
mod outcome;
mod parked;
mod poll;
mod promises;
mod reasons;
mod registry;
mod services;
mod signals;
mod slots;
mod start;
mod streams;
mod teller;
mod transaction;
mod undo;
mod wake;

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Notify, watch};

pub use app::{App, AppSettings};
pub use difference::{ArgumentDifference, Difference};
pub use handler::HandlerError;
pub use messages::SendError;
pub use promises::Settlement;
pub use slots::SlotCounts;
pub use start::{StartError, Started, fresh_id};

use crate::calls::{Interrupt, Withheld};
use crate::clock::Clock;
use crate::database::{Claim, Database, Incarnation, Journal, Loader, TakenRun};
use crate::recovery::Lease;
use crate::sandbox::Sandbox;
use crate::workflow::{AppName, Signer, WorkflowId};
use backlog::Backlog;
use give_back::GiveBack;
use registry::Registry;
use slots::Slots;
use teller::Teller;

/// Who this process is among those that share the database.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The executor's stable id.
    pub executor: String,
    /// This life of it.
    pub incarnation: Incarnation,
}

/// What runs, steps and requests may use of the host, beside what one instance may.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Attempts in a row without a new record before a run is given up.
    pub attempts: u32,
    /// Recorded steps of a run.
    pub steps_per_run: u32,
    /// Started steps of one run that may run at once.
    pub steps_per_run_at_once: u32,
    /// Runs that were started and wait for their first instance.
    pub waiting: u32,
    /// How long a handler may take.
    pub handler: Duration,
    /// How long one run of a transaction's body may take.
    pub transaction: Duration,
    /// Connections by which the journal writes.
    pub journal_connections: NonZeroU32,
}

/// What an executor is made of.
#[derive(Debug)]
pub struct Parts {
    /// The system database.
    pub database: Database,
    /// Its secret.
    pub secret: Vec<u8>,
    /// wasmtime.
    pub sandbox: Sandbox,
    /// The clock.
    pub clock: Clock,
    /// The lease of this process.
    pub lease: Lease,
    /// Who this process is.
    pub identity: Identity,
    /// The apps that it serves.
    pub apps: Vec<App>,
    /// How many instances of each phase may live at once.
    pub slots: SlotCounts,
    /// How much of everything else.
    pub limits: Limits,
    /// Print log lines that a replay repeats.
    pub show_replayed_logs: bool,
    /// How long a write may be put off to share the commit of another; see [`PUT_OFF`].
    pub put_off: Duration,
}

/// How long a start that nobody waits for is withheld until the guest's first call, and how long a transaction stays open
/// for the outcome of its run. A guest that only calls and returns needs microseconds; one that computes must not keep its
/// start from the database, or locks on its rows, for longer than a commit takes.
pub const PUT_OFF: Duration = Duration::from_millis(1);

/// The executor (lifetime: the process). Used behind an [`Arc`].
#[derive(Debug)]
pub struct Executor {
    database: Database,
    journal: Journal,
    loader: Loader,
    secret: Vec<u8>,
    signer: Signer,
    sandbox: Sandbox,
    clock: Clock,
    lease: Lease,
    identity: RwLock<Identity>,
    apps: BTreeMap<AppName, Arc<App>>,
    slots: Slots,
    backlog: Backlog,
    give_back: GiveBack,
    runs: Registry,
    /// Starts that are not written yet, by run.
    withheld: Mutex<HashMap<WorkflowId, Arc<Withheld>>>,
    lapsed: Mutex<Vec<Claim>>,
    changed: Notify,
    to_undo: Notify,
    limits: Limits,
    show_replayed_logs: bool,
    put_off: Duration,
    stopping: watch::Sender<bool>,
    /// For the tasks that runs are: a task holds the executor, not the other way round.
    myself: std::sync::Weak<Executor>,
}

impl Executor {
    /// Puts an executor together. It does nothing until it is asked to.
    #[must_use]
    pub fn new(parts: Parts) -> Arc<Self> {
        let runs = Registry::new(parts.clock.clone());
        let teller = Teller::open(parts.database.clone());
        let wrote = runs.raiser(move |signal| teller.tell(signal));
        Arc::new_cyclic(|myself| Self {
            journal: Journal::open(&parts.database, parts.limits.journal_connections, &wrote),
            loader: Loader::open(parts.database.clone()),
            give_back: GiveBack::open(parts.database.clone()),
            database: parts.database,
            signer: Signer::of_promises(&parts.secret),
            secret: parts.secret,
            sandbox: parts.sandbox,
            lease: parts.lease,
            identity: RwLock::new(parts.identity),
            apps: parts.apps.into_iter().map(|app| (app.name().clone(), Arc::new(app))).collect(),
            slots: Slots::new(parts.slots),
            backlog: Backlog::new(parts.limits.waiting),
            runs,
            clock: parts.clock,
            withheld: Mutex::default(),
            lapsed: Mutex::default(),
            changed: Notify::new(),
            to_undo: Notify::new(),
            limits: parts.limits,
            show_replayed_logs: parts.show_replayed_logs,
            put_off: parts.put_off,
            stopping: watch::Sender::new(false),
            myself: myself.clone(),
        })
    }

    fn this(&self) -> Arc<Self> {
        self.myself.upgrade().expect("a method of the executor is called through its `Arc`")
    }

    /// The system database.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// The apps, in the order of their names.
    pub fn apps(&self) -> impl Iterator<Item = &Arc<App>> {
        self.apps.values()
    }

    /// True once after something happened that may have left a run of this host without anybody who drives it: an
    /// answer of the journal was lost, or a run was given up before its end.
    #[must_use]
    pub fn take_doubt(&self) -> bool {
        let lost_answers = self.journal.take_lost_answers();
        self.runs.take_abandoned() || lost_answers
    }

    /// A run of this host may be without anybody who drives it: the answer to a claim was lost.
    pub fn doubt(&self) {
        self.runs.doubt();
    }

    /// Who this process is now.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Another process has taken this one's identity: new runs are started under another. The old ones are lost, which
    /// their instances find out at their next write.
    pub fn change_identity(&self, identity: Identity) {
        let cut_short = self.runs.interrupted();
        self.lapsed.lock().unwrap_or_else(PoisonError::into_inner).extend(cut_short);
        *self.identity.write().unwrap_or_else(PoisonError::into_inner) = identity;
    }

    /// Returns when an effect of the run may begin. A host past its lease may have lost the run already; its writes would
    /// be refused, but an effect on the outside cannot be taken back.
    async fn may_begin(&self, claim: &Claim) -> Result<(), Interrupt> {
        tokio::select! {
            biased;
            () = self.stopped() => return Err(Interrupt::ShuttingDown),
            () = self.lease.held() => {}
        }
        if claim.is_of(&self.identity().incarnation) { Ok(()) } else { Err(Interrupt::Lost) }
    }

    /// The runs whose attempts a change of identity cut short: that was not their fault.
    #[must_use]
    pub fn lapsed(&self) -> Vec<Claim> {
        self.lapsed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The attempts of these were given back: the ones that [`Self::lapsed`] told last. Others may stand behind them by now.
    pub fn forget_lapsed(&self, given_back: &[Claim]) {
        let mut lapsed = self.lapsed.lock().unwrap_or_else(PoisonError::into_inner);
        let told = given_back.len().min(lapsed.len());
        lapsed.drain(..told);
    }

    /// Drives runs that this host has taken over. Those that it drives already are left alone.
    pub fn adopt(&self, taken: Vec<TakenRun>) {
        for run in &taken {
            self.drive_taken(run);
        }
    }

    /// Nothing new begins from now on: effects that have not begun, runs, instances.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// True after [`Self::stop`].
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Returns when no run has an instance any more; after [`Self::stop`] that is when the running calls have ended.
    pub async fn quiet(&self) {
        self.slots.all_free().await;
    }

    /// The runs whose attempts the shutdown cut short, for giving those back.
    #[must_use]
    pub fn interrupted(&self) -> Vec<Claim> {
        self.runs.interrupted()
    }
}
