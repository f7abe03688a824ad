//! Who waits for what others do.
//!
//! Problem: ten thousand runs may wait for messages, some with an instance for their first half second, most without. What
//! they wait for may be done in this process, by another host, or by a program that knows nothing of either. A task for
//! each of them that asks the database would be the host's and the database's whole work. So all of them stand here, by
//! what they wait for: whoever does something in this process raises the signal and wakes those concerned, and one task
//! looks for all the others (`poll`), soon after somebody has come, since most waits are short, and then less often.
//!
//! Nothing is lost between looking and waiting as long as whoever waits listens first, looks second, and waits third.
//!
//! This module must not know the database, tasks or what is done about a signal: it keeps who waits, and when it is time to
//! look. It is a part of the registry, under the same lock, so that a run is either here or not parked.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::workflow::{Signal, WorkflowId, doubled};

/// How long after somebody has come it is looked for the first time; each pause after that is twice as long, up to the
/// longest. So what another host does is seen within about twice the time that it took, and within half a second and the
/// look itself; a look for ten thousand takes the database some 35 ms, whatever they were sent before (measured), less than
/// a tenth of a connection's time.
pub(super) const FIRST_LOOK: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Signals whose time comes this soon are looked for with those whose time has come, so that many share a look.
const TOGETHER: Duration = Duration::from_millis(10);

/// Those who wait for one signal.
#[derive(Debug)]
struct Awaited {
    /// With a task that is to go on, by the address of what wakes it: a thousand readers of one stream come and go with each
    /// of its values.
    live: HashMap<usize, Arc<Notify>>,
    /// Parked runs, who leave all at once as a rule.
    parked: Vec<WorkflowId>,
    /// How often it was looked for since the last of them came.
    looks: u8,
    /// When it is looked for again.
    due: Instant,
}

/// Who waits for what (lifetime: the process).
#[derive(Debug, Default)]
pub(super) struct Signals {
    awaited: HashMap<Signal, Awaited>,
    is_looked_for: bool,
    /// Nothing is due before this, so that most looks need not pass all who wait.
    next: Option<Instant>,
}

/// What is to be looked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// These, now.
    For(Vec<Signal>),
    /// Nothing before this time, unless somebody comes.
    NotBefore(Instant),
    /// Nobody waits, and nobody looks any more.
    Nobody,
}

impl Signals {
    /// Enters somebody with a task. True: nobody looks yet.
    pub(super) fn listen(&mut self, signals: &[Signal], heard: &Arc<Notify>, now: Instant) -> bool {
        self.enter(signals, now, |awaited| {
            awaited.live.insert(address(heard), Arc::clone(heard));
        })
    }

    /// Enters a parked run. True: nobody looks yet.
    pub(super) fn park(&mut self, run: &WorkflowId, signals: &[Signal], now: Instant) -> bool {
        // Most signals have one waiter, and there may be many of them: a vector makes room for four unless it is told.
        self.enter(signals, now, |awaited| {
            awaited.parked.reserve_exact(usize::from(awaited.parked.is_empty()));
            awaited.parked.push(run.clone());
        })
    }

    fn enter(&mut self, signals: &[Signal], now: Instant, join: impl Fn(&mut Awaited)) -> bool {
        let due = now + FIRST_LOOK;
        for signal in signals {
            let nobody = || Awaited { live: HashMap::new(), parked: Vec::new(), looks: 0, due };
            let awaited = self.awaited.entry(signal.clone()).or_insert_with(nobody);
            join(awaited);
            awaited.looks = 0;
            awaited.due = awaited.due.min(due);
        }
        self.next = self.next.map(|next| next.min(due));
        !signals.is_empty() && !std::mem::replace(&mut self.is_looked_for, true)
    }

    /// Takes out whoever listened.
    pub(super) fn forget(&mut self, signals: &[Signal], heard: &Arc<Notify>) {
        self.leave(signals, |awaited| {
            awaited.live.remove(&address(heard));
        });
    }

    /// Takes out a run that is parked no more.
    pub(super) fn unpark(&mut self, run: &WorkflowId, signals: &[Signal]) {
        self.leave(signals, |awaited| awaited.parked.retain(|other| other != run));
    }

    fn leave(&mut self, signals: &[Signal], go: impl Fn(&mut Awaited)) {
        for signal in signals {
            if let Some(awaited) = self.awaited.get_mut(signal) {
                go(awaited);
                self.remove_if_alone(signal);
            }
        }
    }

    /// Wakes those with a task, who stay until they have seen enough, and takes out the parked runs that are to be woken: all
    /// at once, since ten thousand may wait for the same, and finding each of them among the others would take seconds.
    pub(super) fn raise(&mut self, signal: &Signal) -> Vec<WorkflowId> {
        let Some(awaited) = self.awaited.get_mut(signal) else { return Vec::new() };
        awaited.live.values().for_each(|heard| heard.notify_one());
        let woken = std::mem::take(&mut awaited.parked);
        self.remove_if_alone(signal);
        woken
    }

    fn remove_if_alone(&mut self, signal: &Signal) {
        if self.awaited.get(signal).is_some_and(|awaited| awaited.live.is_empty() && awaited.parked.is_empty()) {
            self.awaited.remove(signal);
        }
    }

    /// It may have been done, and nobody here knows: those with a task look for themselves, and for the others it is looked
    /// for as if they had just come.
    pub(super) fn doubt(&mut self, signal: &Signal, now: Instant) {
        if let Some(awaited) = self.awaited.get_mut(signal) {
            awaited.looks = 0;
            awaited.due = awaited.due.min(now + FIRST_LOOK);
            self.next = self.next.map(|next| next.min(now + FIRST_LOOK));
            awaited.live.values().for_each(|heard| heard.notify_one());
        }
    }

    /// What is to be looked for now.
    pub(super) fn look(&mut self, now: Instant) -> Look {
        if self.awaited.is_empty() {
            (self.is_looked_for, self.next) = (false, None);
            return Look::Nobody;
        }
        if let Some(next) = self.next.filter(|next| *next > now) {
            return Look::NotBefore(next);
        }
        let (mut signals, mut next) = (Vec::new(), now + LONGEST_PAUSE);
        for (signal, awaited) in &mut self.awaited {
            if awaited.due <= now + TOGETHER {
                awaited.looks = awaited.looks.saturating_add(1);
                awaited.due = now + doubled(FIRST_LOOK, awaited.looks.into(), LONGEST_PAUSE);
                signals.push(signal.clone());
            }
            next = next.min(awaited.due);
        }
        self.next = Some(next);
        if signals.is_empty() { Look::NotBefore(next) } else { Look::For(signals) }
    }

    /// Nobody looks any more: whoever waits is woken, to look for itself and come again. Tells the parked runs.
    pub(super) fn abandon(&mut self) -> Vec<WorkflowId> {
        self.is_looked_for = false;
        let signals: Vec<Signal> = self.awaited.keys().cloned().collect();
        signals.iter().flat_map(|signal| self.raise(signal)).collect()
    }
}

/// By what somebody with a task is found again: it is there as long as it is entered, so no other one has its address.
fn address(heard: &Arc<Notify>) -> usize {
    Arc::as_ptr(heard).addr()
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::workflow::Topic;

    fn ended(run: &str) -> Signal {
        Signal::Ended(WorkflowId::stored(run))
    }

    #[test]
    fn a_signal_wakes_those_who_wait_for_it_and_nobody_else() {
        let (mut signals, now) = (Signals::default(), Instant::now());
        let (one, other) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let message = Signal::Message(WorkflowId::stored("m"), Topic::stored("t"));
        assert!(signals.listen(&[ended("a"), message.clone()], &one, now));
        assert!(!signals.listen(&[ended("b")], &other, now), "somebody looks already");
        signals.park(&WorkflowId::stored("p"), std::slice::from_ref(&message), now);
        assert_eq!(signals.raise(&message), [WorkflowId::stored("p")]);
        assert!(one.notified().now_or_never().is_some() && other.notified().now_or_never().is_none());
        signals.unpark(&WorkflowId::stored("p"), std::slice::from_ref(&message));
        assert!(signals.raise(&message).is_empty());
        assert!(one.notified().now_or_never().is_some(), "who listens is told as often as it is raised");
        signals.forget(&[ended("a"), message.clone()], &one);
        signals.raise(&message);
        assert!(one.notified().now_or_never().is_none());
    }

    #[test]
    fn it_is_looked_for_soon_after_somebody_comes_and_then_less_often() {
        let (mut signals, start) = (Signals::default(), Instant::now());
        let heard = Arc::new(Notify::new());
        assert_eq!(signals.look(start), Look::Nobody);
        signals.listen(&[ended("a")], &heard, start);
        let mut now = start;
        let mut pauses = Vec::new();
        for _ in 0..7 {
            let Look::NotBefore(next) = signals.look(now) else { panic!("it was looked for just now") };
            pauses.push((next - now).as_millis());
            now = next;
            assert_eq!(signals.look(now), Look::For(vec![ended("a")]));
        }
        assert_eq!(pauses, [20, 40, 80, 160, 320, 500, 500]);
        signals.listen(&[ended("b")], &heard, now);
        assert_eq!(signals.look(now), Look::NotBefore(now + FIRST_LOOK));
        assert_eq!(
            signals.look(now + FIRST_LOOK),
            Look::For(vec![ended("b")]),
            "the others are not looked for with it"
        );
        signals.doubt(&ended("a"), now + FIRST_LOOK);
        assert_eq!(signals.look(now + FIRST_LOOK * 2), Look::For(vec![ended("a")]));
        signals.forget(&[ended("a"), ended("b")], &heard);
        assert_eq!(signals.look(now), Look::Nobody);
        assert!(signals.listen(&[ended("c")], &heard, now), "nobody looks any more");
    }

    #[test]
    fn many_come_and_go_in_no_time() {
        let (mut signals, now) = (Signals::default(), Instant::now());
        let readers: Vec<_> = (0..20_000).map(|_| Arc::new(Notify::new())).collect();
        for _ in 0..5 {
            for reader in &readers {
                signals.listen(&[ended("a")], reader, now);
            }
            for reader in &readers {
                signals.forget(&[ended("a")], reader);
            }
        }
        assert!(signals.awaited.is_empty());
        // Looking for each of them among the others takes minutes here.
        assert!(now.elapsed() < std::time::Duration::from_secs(10), "{:?}", now.elapsed());
    }

    #[test]
    fn nobody_is_left_alone_when_nobody_looks_any_more() {
        let (mut signals, now) = (Signals::default(), Instant::now());
        let heard = Arc::new(Notify::new());
        signals.listen(&[ended("a")], &heard, now);
        signals.park(&WorkflowId::stored("p"), &[ended("b")], now);
        assert_eq!(signals.abandon(), [WorkflowId::stored("p")]);
        assert!(heard.notified().now_or_never().is_some());
    }
}
