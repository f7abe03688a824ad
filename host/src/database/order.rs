//! The times that messages get, and when a mailbox has to wait for the clock.
//!
//! Messages are taken in the order of their times, and by SDKs of DBOS by nothing else. A commit may have many to one mailbox,
//! so each gets a millisecond of its own, behind all that this host has sent there before.
//!
//! Problem: with more than a thousand in a second these times would run ahead of the clock, by minutes after a while. Whoever
//! sends there next and does not know of them (this host after a restart, another one, an SDK) would be read first. So a
//! mailbox that is ahead by as much as is let gets nothing more for a moment, and its senders wait.
//!
//! This module must not know SQL, or who waits for what is sent.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::message::NewSend;
use crate::workflow::{Topic, WorkflowId};

/// How far the times of a mailbox may be ahead of the database's clock. No process starts again in so short a time, so what is
/// sent after a crash is behind what was sent before; and a commit may still have fifty messages to one mailbox.
const MOST_AHEAD_MS: i64 = 50;

/// What is further ahead is so because the clock was set back: another server has taken over, with a clock of its own. Nobody
/// waits for that, it could be an hour.
const SET_BACK_MS: i64 = 1000;

/// A mailbox: whose, and about what.
type Mailbox = (WorkflowId, Topic);

/// What this host has sent (lifetime: the process). Clones are of the same: a mailbox gets messages over every connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Order(Arc<Mutex<Sent>>);

#[derive(Debug, Default)]
struct Sent {
    /// When the last message to each mailbox was sent, as long as that is not over by the database's clock.
    last: HashMap<Mailbox, i64>,
    /// The database's clock, and when it was read. It is some moments old, so that a mailbox seems to be further ahead than it
    /// is.
    clock: Option<(i64, Instant)>,
}

impl Order {
    fn sent(&self) -> MutexGuard<'_, Sent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first millisecond that is behind every message that was sent there.
    pub(super) fn earliest(&self, new: &NewSend) -> i64 {
        self.sent().last.get(&mailbox(new)).map_or(0, |last| last.saturating_add(1))
    }

    /// Notes what a commit has sent, at this time by the database's clock. What is before it, the next message is behind anyway.
    pub(super) fn note(&self, sent_now: &[(&NewSend, i64)], now: i64) {
        let mut sent = self.sent();
        sent.clock = Some((now, Instant::now()));
        sent.last.retain(|_, last| *last >= now);
        for (new, at) in sent_now.iter().filter(|(_, at)| *at >= now) {
            let last = sent.last.entry(mailbox(new)).or_insert(*at);
            *last = (*last).max(*at);
        }
    }

    /// Begins to count what goes into a commit.
    pub(super) fn pace(&self) -> Pace<'_> {
        let (sent, begun) = (self.sent(), Instant::now());
        let passed = |read_at: Instant| i64::try_from((begun - read_at).as_millis()).unwrap_or(i64::MAX);
        let now = sent.clock.map_or(0, |(clock, read_at)| clock.saturating_add(passed(read_at)));
        Pace { sent, begun, now, taken: HashMap::new(), waiting: HashMap::new() }
    }
}

fn mailbox(new: &NewSend) -> Mailbox {
    (new.to.clone(), new.topic.clone())
}

/// Which messages may go into a commit (lifetime: as long as it is made up).
#[derive(Debug)]
pub(super) struct Pace<'a> {
    sent: MutexGuard<'a, Sent>,
    begun: Instant,
    /// What the database's clock shows now, about.
    now: i64,
    taken: HashMap<Mailbox, i64>,
    /// The mailboxes of which a message waits, by their hashes: thousands may wait, and are looked at for each commit.
    waiting: HashMap<u64, Instant>,
}

impl Pace<'_> {
    /// Counts a message, or says until when it has to wait: `known`, if that was said before. None overtakes one that waits.
    pub(super) fn held(&mut self, new: &NewSend, known: Option<Instant>) -> Option<Instant> {
        let mut hash = DefaultHasher::new();
        (&new.to, &new.topic).hash(&mut hash);
        let hash = hash.finish();
        let until = known.or_else(|| self.waiting.get(&hash).copied()).or_else(|| self.counted(new));
        if let Some(until) = until {
            self.waiting.entry(hash).or_insert(until);
        }
        until
    }

    fn counted(&mut self, new: &NewSend) -> Option<Instant> {
        let mailbox = mailbox(new);
        let first = self.sent.last.get(&mailbox).map_or(self.now, |last| self.now.max(last.saturating_add(1)));
        let taken = self.taken.entry(mailbox).or_default();
        let ahead = first.saturating_add(*taken).saturating_sub(self.now);
        if (MOST_AHEAD_MS..SET_BACK_MS).contains(&ahead) {
            let too_far = u64::try_from(ahead - MOST_AHEAD_MS).unwrap_or(0) + 1;
            return Some(self.begun + Duration::from_millis(too_far));
        }
        *taken += 1;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(to: &str) -> NewSend {
        NewSend::new(None, WorkflowId::stored(to), Topic::stored("t"), "1".into(), None)
    }

    /// How many messages to a mailbox go into one commit, of a thousand.
    fn goes(order: &Order, to: &str) -> usize {
        let mut pace = order.pace();
        (0..1000).take_while(|_| pace.held(&message(to), None).is_none()).count()
    }

    #[test]
    fn a_mailbox_is_as_far_ahead_as_it_may_be() {
        let order = Order::default();
        assert_eq!(goes(&order, "a"), 50, "the clock is not known, and what is in one commit counts all the same");
        order.note(&[(&message("a"), 1_000_020)], 1_000_000);
        assert!((29..35).contains(&goes(&order, "a")), "{}", goes(&order, "a"));
        assert_eq!(goes(&order, "b"), 50);
        order.note(&[(&message("a"), 1_000_060)], 1_000_001);
        let until = order.pace().held(&message("a"), None).expect("it is too far ahead");
        assert!(until < Instant::now() + Duration::from_millis(20));
        assert_eq!(order.earliest(&message("a")), 1_000_061);
    }

    #[test]
    fn nobody_overtakes_a_message_that_waits() {
        let order = Order::default();
        let mut pace = order.pace();
        let known = Instant::now() + Duration::from_millis(1);
        assert_eq!(pace.held(&message("a"), Some(known)), Some(known));
        assert_eq!(pace.held(&message("a"), None), Some(known), "there would be room for it");
        assert_eq!(pace.held(&message("b"), None), None);
    }

    #[test]
    fn nobody_waits_for_a_clock_that_was_set_back() {
        let order = Order::default();
        order.note(&[(&message("a"), 2_000_000)], 2_000_000);
        order.note(&[], 1_000_000);
        assert_eq!(goes(&order, "a"), 1000);
        assert_eq!(order.earliest(&message("a")), 2_000_001, "the order is kept all the same");
    }
}
