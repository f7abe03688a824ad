//! `log`, and what guests print: lines that leave the instance.
//!
//! Two things must not happen. A replay must not print what was printed before; and a line must not be seen before the
//! records behind it are durable, or an operator reads of a payment that a crash then undoes. So in a workflow lines are
//! dropped while the history still answers, and held while tickets are open.
//!
//! Steps that run side by side share the log of their run, and each may find that what *it* depends on is durable. So a line
//! that is held knows behind which records it was said, and is printed when those are durable, whoever finds that out.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::Level;

use super::bindings::imports::log;
use super::chain::Place;
use super::guest::{Guest, Phase, unwind};
use super::log_budget::{LogBudget, Verdict};
use crate::workflow::{AppName, TraceContext, WorkflowId};

/// The longest line, in bytes; what is longer is cut with a mark. Log stores cut at about this size too.
const MAX_LINE: usize = 64 * 1024;

/// How much is held behind an open ticket, in bytes: a guest that logs in a loop must not fill the host's memory. Beyond
/// it `log` waits for the tickets; what is printed to stdout, which cannot wait, or by a transaction, is dropped with a mark.
const MAX_HELD: usize = 1024 * 1024;

/// What becomes of a line that is written now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Print,
    Hold,
    Drop,
}

/// Where the lines of an app go (lifetime: the process). Clones share the budget.
#[derive(Debug, Clone)]
pub struct AppLog {
    app: AppName,
    budget: Arc<LogBudget>,
}

impl AppLog {
    /// The log of an app that may print this much.
    #[must_use]
    pub fn new(app: AppName, budget: LogBudget) -> Self {
        Self { app, budget: Arc::new(budget) }
    }
}

#[derive(Debug)]
struct Inner {
    app: AppLog,
    run: Option<WorkflowId>,
    trace: Option<String>,
    show_replayed: bool,
    mode: Mode,
    /// The records that a line may depend on if it is said now.
    shown: Place,
    /// Lines with what they depend on, none of which is before that of an earlier line.
    held: VecDeque<(Place, Level, String)>,
    held_bytes: usize,
    dropped: u64,
}

/// The lines of one instance, or of a workflow and its steps. Clones write to the same place.
#[derive(Debug, Clone)]
pub struct GuestLog {
    lines: Arc<Mutex<Inner>>,
    panic: Arc<Mutex<Option<String>>>,
}

impl GuestLog {
    /// A log whose lines are printed at once.
    #[must_use]
    pub fn new(app: &AppLog, run: Option<&WorkflowId>) -> Self {
        let lines = Inner {
            app: app.clone(),
            run: run.cloned(),
            trace: None,
            show_replayed: false,
            mode: Mode::Print,
            shown: Place::default(),
            held: VecDeque::new(),
            held_bytes: 0,
            dropped: 0,
        };
        Self { lines: Arc::new(Mutex::new(lines)), panic: Arc::default() }
    }

    /// The same lines for another instance, of a step: why it aborts is its own.
    #[must_use]
    pub fn of_step(&self) -> Self {
        Self { lines: Arc::clone(&self.lines), panic: Arc::default() }
    }

    /// The same, with the trace that the instance works for on each line.
    #[must_use]
    pub fn traced(self, trace: Option<TraceContext>) -> Self {
        self.lock().trace = trace.map(TraceContext::trace_id);
        self
    }

    /// The same, with lines that a replay repeats printed again (for those who debug a replay).
    #[must_use]
    pub fn showing_replayed(self, show: bool) -> Self {
        self.lock().show_replayed = show;
        self
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic while the lock is held leaves at worst a line missing.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_panic(&self) -> MutexGuard<'_, Option<String>> {
        self.panic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a line, or what becomes of it now.
    pub fn line(&self, level: Level, mut text: String) {
        if text.len() > MAX_LINE {
            let mut end = MAX_LINE;
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            text.truncate(end);
            text.push_str(" … (cut)");
        }
        let mut inner = self.lock();
        match inner.mode {
            Mode::Print => inner.print(level, &text),
            Mode::Hold if inner.held_bytes > 2 * MAX_HELD => inner.dropped += 1,
            Mode::Hold => {
                inner.held_bytes += held_size(&text);
                let shown = inner.shown;
                inner.held.push_back((shown, level, text));
            }
            Mode::Drop if inner.show_replayed => inner.print(level, &text),
            Mode::Drop => {}
        }
    }

    /// The guest repeats what it did before.
    pub(super) fn replaying(&self, replaying: bool) {
        let mut inner = self.lock();
        inner.mode = match (replaying, inner.mode) {
            (true, _) => Mode::Drop,
            (false, Mode::Hold) => Mode::Hold,
            (false, _) => Mode::Print,
        };
    }

    /// A result was shown that may not be durable before the records up to this place are.
    pub(super) fn hold(&self, shown: Place) {
        let mut inner = self.lock();
        inner.shown = inner.shown.max(shown);
        if inner.mode == Mode::Print {
            inner.mode = Mode::Hold;
        }
    }

    /// Everything up to this place is durable, and the run's start with it: the lines that were held for that are printed.
    pub(super) fn settled(&self, durable: Place) {
        let mut inner = self.lock();
        if inner.mode == Mode::Hold && inner.shown <= durable {
            inner.mode = Mode::Print;
        }
        while let Some((_, level, text)) = inner.held.pop_front_if(|(shown, ..)| *shown <= durable) {
            inner.held_bytes -= held_size(&text);
            inner.print(level, &text);
        }
        if inner.held.is_empty() && inner.dropped > 0 {
            let dropped = std::mem::take(&mut inner.dropped);
            inner.print(Level::WARN, &format!("{dropped} lines were dropped: too many at once"));
        }
    }

    /// True when a line that is said now would be held.
    pub(super) fn is_held_back(&self) -> bool {
        self.lock().mode == Mode::Hold
    }

    /// True when so much is held that the guest should wait.
    fn is_full(&self) -> bool {
        self.lock().held_bytes > MAX_HELD
    }

    /// The message with which the guest announced that it would abort.
    #[must_use]
    pub fn take_panic(&self) -> Option<String> {
        self.lock_panic().take()
    }
}

/// The line itself, and what it costs to keep a line.
fn held_size(text: &str) -> usize {
    text.len() + 64
}

impl Inner {
    fn print(&self, level: Level, text: &str) {
        match self.app.budget.spend(text.len()) {
            Verdict::Drop => return,
            Verdict::Print => {}
            Verdict::PrintBehind(dropped) => self.tell(dropped),
        }
        self.write(level, text);
    }

    /// Says that lines are missing.
    fn tell(&self, dropped: u64) {
        let limit = self.app.budget.kib_per_second();
        let text = format!("{dropped} lines of the app were dropped: it may print {limit} KiB a second");
        self.write(Level::WARN, &text);
    }

    fn write(&self, level: Level, text: &str) {
        let (app, run) = (self.app.app.as_str(), self.run.as_ref().map_or("", WorkflowId::as_str));
        let trace = self.trace.as_deref();
        match level {
            Level::ERROR => tracing::error!(target: "guest", app, workflow = run, trace, "{text}"),
            Level::WARN => tracing::warn!(target: "guest", app, workflow = run, trace, "{text}"),
            Level::INFO => tracing::info!(target: "guest", app, workflow = run, trace, "{text}"),
            Level::DEBUG => tracing::debug!(target: "guest", app, workflow = run, trace, "{text}"),
            Level::TRACE => tracing::trace!(target: "guest", app, workflow = run, trace, "{text}"),
        }
    }
}

/// The instance is gone, and a flood may have been its last word.
impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(dropped) = self.app.budget.untold() {
            self.tell(dropped);
        }
    }
}

impl log::Host for Guest {
    async fn write(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        let level = match level {
            log::Level::Trace => Level::TRACE,
            log::Level::Debug => Level::DEBUG,
            log::Level::Info => Level::INFO,
            log::Level::Warn => Level::WARN,
            log::Level::Error => Level::ERROR,
        };
        self.log.line(level, message);
        if self.log.is_full() {
            match self.phase_mut() {
                Phase::Workflow(gate) => unwind(gate.settle().await)?,
                Phase::Communicator(calls) => unwind(calls.clear().await)?,
                _ => {}
            }
        }
        Ok(())
    }

    async fn panic(&mut self, message: String, location: Option<String>) -> wasmtime::Result<()> {
        let text = location.map_or(message.clone(), |location| format!("{message}, at {location}"));
        *self.log.lock_panic() = Some(text.chars().take(MAX_LINE).collect());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> GuestLog {
        GuestLog::new(&AppLog::new(AppName::parse("test").expect("a name"), LogBudget::new(1 << 20)), None)
    }

    fn held_and_mode(log: &GuestLog) -> (usize, Mode) {
        let inner = log.lock();
        (inner.held.len(), inner.mode)
    }

    #[test]
    fn lines_behind_an_open_ticket_are_held_until_it_is_settled() {
        let log = log();
        log.hold(Place(1));
        log.line(Level::INFO, "paid".into());
        assert_eq!(log.lock().held.len(), 1);
        log.replaying(false);
        log.line(Level::INFO, "and shipped".into());
        assert_eq!(log.lock().held.len(), 2);
        log.settled(Place(1));
        assert_eq!(held_and_mode(&log), (0, Mode::Print));
    }

    #[test]
    fn a_line_waits_for_the_records_before_it_and_for_no_later_ones() {
        let log = log();
        log.hold(Place(1));
        log.line(Level::INFO, "one step has ended".into());
        log.hold(Place(2));
        log.line(Level::INFO, "the other too".into());
        log.settled(Place(0));
        assert_eq!(held_and_mode(&log), (2, Mode::Hold));
        log.settled(Place(1));
        assert_eq!(held_and_mode(&log), (1, Mode::Hold), "the second line is behind a record that is on its way");
        log.settled(Place(2));
        assert_eq!(held_and_mode(&log), (0, Mode::Print));
    }

    #[test]
    fn lines_of_a_replay_are_dropped() {
        let log = log();
        log.replaying(true);
        log.line(Level::INFO, "again".into());
        log.hold(Place(1));
        assert_eq!(held_and_mode(&log), (0, Mode::Drop));
        log.replaying(false);
        assert_eq!(log.lock().mode, Mode::Print);
    }

    #[test]
    fn long_lines_are_cut_at_a_character() {
        let log = log();
        log.hold(Place(1));
        log.line(Level::INFO, "ä".repeat(MAX_LINE));
        let inner = log.lock();
        assert!(inner.held[0].2.len() < MAX_LINE + 20 && inner.held[0].2.ends_with("(cut)"));
    }
}
