//! Which entries share a commit.
//!
//! Problem: in one commit, all statements succeed or none, and they do not run in the order in which the entries came. So
//! entries may share one only if none of them depends on what becomes of another, or where the statements see to it. They
//! do for what a run writes under one claim: its start, its records, its outcome stand or fall together, because each
//! statement asks for the claim, and because a key that is there already fails the whole commit. After that the entries are
//! written apart: no two of one run in a commit, but for the last record and the outcome, which one statement writes.
//!
//! This module must not know SQL or what waits for the entries: it looks at runs and sizes.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use super::{Entry, Pending};
use crate::database::order::Pace;

/// Entries in one commit. Between a hundred and a thousand the database writes no more rows in a second, and the wait for
/// one commit grows.
pub(super) const MOST_ENTRIES: usize = 500;

/// Bytes of payload in one commit, so that a few large results do not keep everybody waiting; one entry may have more.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// Takes the entries for the next commit from the queue; at least one, if there is one that is not blocked. Those of one run
/// keep their order.
/// One that does not go with what is taken waits for the next commit, and what does not touch its runs need not wait with
/// it: a hundred starts of one id must not make a hundred commits of everybody's entries.
///
/// `only_fresh`: nothing that was blocked. Each such try may take as long as a lock is waited for, so they take turns with
/// everybody else's entries: fifty locked rows must not stop ten thousand runs.
///
/// `pace`: which messages may go now. Those that may not stay, and so does what comes behind them in their runs.
pub(super) fn take(queue: &mut VecDeque<Pending>, only_fresh: bool, pace: &mut Pace<'_>) -> Vec<Pending> {
    let now = Instant::now();
    let mut held = |pending: &Pending| match &pending.entry {
        Entry::Send(new) => pace.held(new, pending.held.filter(|until| *until > now)),
        _ => None,
    };
    take_by(Rule::Together, queue, only_fresh, &mut held)
}

/// The same entries in commits that may find some of them written, in their order.
pub(super) fn apart(together: Vec<Pending>) -> Vec<Vec<Pending>> {
    let (mut queue, mut commits) = (VecDeque::from(together), Vec::new());
    while !queue.is_empty() {
        commits.push(take_by(Rule::Apart, &mut queue, false, &mut |_| None));
    }
    commits
}

/// True when entries can be in a commit that may find some of them written.
pub(super) fn is_apart(together: &[Pending]) -> bool {
    let mut touched = HashMap::new();
    together.iter().all(|pending| touch(Rule::Apart, &mut touched, &pending.entry))
}

/// Whether a run may have more in one commit than its last record and its outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    Together,
    Apart,
}

fn take_by(
    rule: Rule,
    queue: &mut VecDeque<Pending>,
    only_fresh: bool,
    held: &mut dyn FnMut(&Pending) -> Option<Instant>,
) -> Vec<Pending> {
    let mut touched: HashMap<String, Touch> = HashMap::new();
    let (mut taken, mut left) = (Vec::new(), VecDeque::new());
    let mut bytes = 0;
    while let Some(mut pending) = queue.pop_front() {
        // What was blocked is tried alone, so that it does not hold up others again.
        if pending.blocked.is_some() {
            let goes = touch(rule, &mut touched, &pending.entry);
            if goes && !only_fresh && taken.is_empty() && pending.blocked_until().is_none() {
                taken.push(pending);
                break;
            }
            // What comes behind it waits for it, its outcome too: in another commit, the outcome would come first.
            touched.insert(pending.entry.run().as_str().to_owned(), Touch::Other);
            left.push_back(pending);
            continue;
        }
        let fits = taken.is_empty() || bytes + pending.entry.payload_bytes() <= MOST_BYTES;
        if taken.len() == MOST_ENTRIES || !fits {
            left.push_back(pending);
            break;
        }
        pending.held = held(&pending);
        if pending.held.is_some() {
            touch(rule, &mut touched, &pending.entry);
            left.push_back(pending);
            continue;
        }
        if touch(rule, &mut touched, &pending.entry) {
            bytes += pending.entry.payload_bytes();
            taken.push(pending);
        } else {
            left.push_back(pending);
        }
    }
    left.append(queue);
    *queue = left;
    taken
}

/// What a run is touched by.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Touch {
    /// Its start, under the claim with this token.
    Start(String),
    /// A record under the claim with this token.
    Record(String),
    Other,
}

/// Notes the runs that an entry touches. False: it does not go with what was noted before, nor does what touches its runs
/// after it.
fn touch(rule: Rule, touched: &mut HashMap<String, Touch>, entry: &Entry) -> bool {
    let (run, parent, by) = match entry {
        // Nobody's message touches nothing of the run that it is for.
        Entry::Send(new) if new.record.is_none() => return true,
        Entry::Send(_) | Entry::Receive(_) => (entry.run(), None, Touch::Other),
        Entry::Start(new) => match &new.parent {
            None => (new.claim().run(), None, Touch::Start(new.claim().token().to_owned())),
            Some(record) => (new.claim().run(), Some(record.claim.run()), Touch::Other),
        },
        Entry::Record(new) => (new.claim.run(), None, Touch::Record(new.claim.token().to_owned())),
        Entry::Finish(new) => (new.claim.run(), None, Touch::Other),
    };
    let goes = match (touched.get(run.as_str()), entry) {
        (None, _) => parent.is_none_or(|parent| !touched.contains_key(parent.as_str())),
        (Some(Touch::Start(token)), Entry::Record(new)) => rule == Rule::Together && *token == new.claim.token(),
        (Some(Touch::Start(token)), Entry::Finish(new)) => rule == Rule::Together && *token == new.claim.token(),
        (Some(Touch::Record(token)), Entry::Record(new)) => rule == Rule::Together && *token == new.claim.token(),
        (Some(Touch::Record(token)), Entry::Finish(new)) => *token == new.claim.token(),
        (Some(_), _) => false,
    };
    touched.insert(run.as_str().to_owned(), if goes { by } else { Touch::Other });
    touched.extend(parent.map(|parent| (parent.as_str().to_owned(), Touch::Other)));
    goes
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Blocked;
    use super::*;
    use crate::database::claim::{Claim, Incarnation};
    use crate::database::finish::{FinalOutcome, Finish};
    use crate::database::message::NewSend;
    use crate::database::order::Order;
    use crate::database::record::NewRecord;
    use crate::database::start::NewRun;
    use crate::workflow::{
        AppName, Arguments, ComponentDigest, EpochMs, OperationDigest, RecordedResult, StepNumber, Topic, WorkflowId,
    };

    fn claim(run: &str, token: &str) -> Claim {
        Claim::new(WorkflowId::stored(run), token)
    }

    fn record_of(run: &str, token: &str, result: &str) -> NewRecord {
        NewRecord {
            claim: claim(run, token),
            app: AppName::parse("shop").unwrap(),
            step: StepNumber::stored(1),
            name: "pay".into(),
            digest: Some(OperationDigest([0; 8])),
            result: RecordedResult::Output(result.into()),
            child: None,
            started_at: EpochMs(1),
            completed_at: EpochMs(2),
            effect: None,
        }
    }

    fn record(run: &str) -> Entry {
        Entry::Record(Box::new(record_of(run, "t", "1")))
    }

    fn finish(run: &str, token: &str) -> Entry {
        Entry::Finish(Box::new(Finish { claim: claim(run, token), outcome: FinalOutcome::Success("1".into()) }))
    }

    fn start(run: &str, parent: Option<&str>) -> Entry {
        let app = AppName::parse("shop").unwrap();
        let arguments = Arguments::from_json(serde_json::json!({})).unwrap();
        let mut new = NewRun::new(
            WorkflowId::stored(run),
            &Incarnation::fresh(),
            "e",
            (&app, &ComponentDigest::of(b"")),
            ("buy", arguments, EpochMs(1)),
        );
        new.parent = parent.map(|parent| record_of(parent, "t", "1"));
        Entry::Start(Box::new(new))
    }

    fn next(queue: &mut VecDeque<Pending>, only_fresh: bool) -> Vec<Pending> {
        take(queue, only_fresh, &mut Order::default().pace())
    }

    fn taken(entries: Vec<Entry>) -> Vec<usize> {
        let mut queue: VecDeque<Pending> = entries.into_iter().map(Entry::pending).collect();
        let mut sizes = Vec::new();
        while !queue.is_empty() {
            sizes.push(next(&mut queue, false).len());
        }
        sizes
    }

    #[test]
    fn entries_of_different_runs_share_a_commit() {
        assert_eq!(taken(vec![record("a"), start("b", None), finish("c", "t"), start("d", Some("e"))]), [4]);
        assert_eq!(taken(Vec::new()), [0; 0]);
    }

    #[test]
    fn what_one_run_writes_under_one_claim_is_a_commit() {
        let start = start("a", None);
        let Entry::Start(new) = &start else { unreachable!() };
        let token = new.claim().token().to_owned();
        let record = || Entry::Record(Box::new(record_of("a", &token, "1")));
        let finish = finish("a", &token);
        let entries: Vec<Pending> = [start, record(), record(), finish].map(Entry::pending).into();
        assert!(!is_apart(&entries));
        let mut queue = VecDeque::from(entries);
        let entries = next(&mut queue, false);
        assert_eq!((entries.len(), queue.len()), (4, 0));
        let sizes: Vec<usize> = apart(entries).iter().map(Vec::len).collect();
        assert_eq!(sizes, [1, 1, 2], "once some of it may be written, only the last record goes with the outcome");
    }

    #[test]
    fn what_is_not_under_one_claim_is_not() {
        assert_eq!(taken(vec![record("a"), finish("a", "t")]), [2]);
        assert_eq!(taken(vec![record("a"), finish("a", "another claim")]), [1, 1]);
        assert_eq!(taken(vec![finish("a", "t"), record("a")]), [1, 1]);
        assert_eq!(taken(vec![start("a", None), record("a")]), [1, 1]);
        assert_eq!(taken(vec![start("a", None), start("a", None)]), [1, 1]);
        assert_eq!(taken(vec![start("a", Some("a")), record("a")]), [1, 1]);
        assert_eq!(taken(vec![start("b", Some("a")), record("a")]), [1, 1]);
        assert_eq!(taken(vec![start("b", Some("a")), start("c", Some("a"))]), [1, 1]);
    }

    #[test]
    fn what_must_wait_does_not_make_others_wait() {
        assert_eq!(taken(vec![start("a", None), start("a", None), record("b")]), [2, 1]);
        assert_eq!(taken(vec![record("a"), start("b", Some("a")), record("c")]), [2, 1]);
        // But what touches a run that waits, waits behind it, in its order.
        assert_eq!(taken(vec![record("a"), start("b", Some("a")), record("b"), finish("a", "t")]), [1, 1, 2]);
        assert_eq!(taken(vec![finish("a", "t"), record("a"), finish("a", "t")]), [1, 2]);
    }

    /// A queue of entries, each with the seconds for which it is still blocked, if somebody's lock was in its way.
    fn queue(entries: Vec<(Entry, Option<u64>)>) -> VecDeque<Pending> {
        let pending = |(entry, seconds): (Entry, Option<u64>)| {
            let pause = Duration::from_secs(1);
            let blocked =
                seconds.map(|seconds| Blocked { until: Instant::now() + Duration::from_secs(seconds), pause });
            Pending { blocked, ..entry.pending() }
        };
        entries.into_iter().map(pending).collect()
    }

    #[test]
    fn an_outcome_waits_behind_its_blocked_record() {
        let mut queue = queue(vec![(record("a"), Some(60)), (finish("a", "t"), None), (record("b"), None)]);
        let taken = next(&mut queue, false);
        assert_eq!(taken.iter().map(|pending| pending.entry.run().as_str()).collect::<Vec<_>>(), ["b"]);
        assert!(next(&mut queue, false).is_empty());
        assert_eq!(queue.len(), 2);
    }

    #[test]
    fn what_was_blocked_takes_turns_with_the_others() {
        let mut queue = queue(vec![(record("a"), Some(0)), (record("b"), Some(0)), (record("c"), None)]);
        let first = |taken: Vec<Pending>| taken.first().map(|pending| pending.entry.run().as_str().to_owned());
        assert_eq!(first(next(&mut queue, false)).as_deref(), Some("a"));
        assert_eq!(first(next(&mut queue, true)).as_deref(), Some("c"));
        assert_eq!(first(next(&mut queue, true)), None);
        assert_eq!(first(next(&mut queue, false)).as_deref(), Some("b"));
    }

    #[test]
    fn what_waits_for_the_clock_keeps_its_order_and_holds_up_its_run_only() {
        let (topic, to) = (Topic::parse(None).unwrap(), || WorkflowId::stored("to"));
        let sent = |by| Entry::Send(Box::new(NewSend::new(by, to(), topic.clone(), "1".into(), None)));
        let mut entries: Vec<Entry> = (0..60).map(|_| sent(None)).collect();
        entries.extend([sent(Some(record_of("a", "t", "1"))), finish("a", "t"), record("b")]);
        let mut queue = queue(entries.into_iter().map(|entry| (entry, None)).collect());
        assert_eq!(next(&mut queue, false).len(), 51, "fifty messages to one mailbox, and the record");
        assert_eq!(queue.iter().filter(|pending| pending.is_ready()).count(), 1, "the outcome behind a message");
        for pending in &mut queue {
            pending.held = pending.held.map(|_| Instant::now());
        }
        let sizes = [next(&mut queue, false), next(&mut queue, false)].map(|taken| taken.len());
        assert_eq!(sizes, [11, 1]);
    }

    #[test]
    fn a_commit_has_an_end() {
        let many = (0..=MOST_ENTRIES).map(|n| record(&n.to_string())).collect();
        assert_eq!(taken(many), [MOST_ENTRIES, 1]);
        let large = |run: &str| Entry::Record(Box::new(record_of(run, "t", &"x".repeat(MOST_BYTES))));
        assert_eq!(taken(vec![large("a"), large("b"), record("c")]), [1, 1, 1]);
    }
}
