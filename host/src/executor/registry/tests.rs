//! Who is told what, and which runs are parked or in doubt.

use std::time::Duration;

use futures_util::FutureExt;

use super::*;
use crate::database::{Incarnation, NewRun};
use crate::executor::signals::Look;
use crate::workflow::{AppName, Arguments, ComponentDigest};

/// When everything is due.
const LATE: EpochMs = EpochMs(i64::MAX);

/// A claim of the run; each is another one.
pub(super) fn claim() -> Claim {
    let (app, version) = (AppName::parse("shop").expect("a name"), ComponentDigest::of(b""));
    let arguments = Arguments::default();
    let run = WorkflowId::stored("a");
    let new = NewRun::new(run, &Incarnation::fresh(), "e", (&app, &version), ("buy", arguments, EpochMs(0)));
    new.claim().clone()
}

#[test]
fn a_parked_run_is_taken_out_when_it_is_due_under_its_own_claim() {
    let (registry, claim) = (Registry::default(), claim());
    registry.enter_parked(&claim, EpochMs(5), None);
    assert!(registry.enter(&claim).is_none(), "it is here already");
    assert_eq!(registry.take_due(EpochMs(4)).err(), Some(Some(EpochMs(5))));
    let driven = registry.take_due(EpochMs(5)).expect("it is due");
    assert_eq!(*driven.claim(), claim);
    assert_eq!(registry.take_due(EpochMs(9)).err(), Some(None), "it is driven, and stands nowhere else");
    driven.counted(true);
    driven.park(WaitFor::until(EpochMs(7)));
    assert_eq!(registry.interrupted(), [claim], "its attempt has not ended by itself");
    assert!(registry.take_due(EpochMs(7)).is_ok());
    assert!(registry.take_abandoned(), "the test has dropped it");
}

#[test]
fn what_ends_a_claim_finds_it_among_the_parked() {
    let (registry, first, second) = (Registry::default(), claim(), claim());
    registry.enter_parked(&first, EpochMs(5), None);
    let news = registry.follow(first.run()).expect("it is here");
    registry.enter_parked(&second, EpochMs(7), None);
    assert_eq!(*news.borrow(), News::LookElsewhere);
    assert_eq!(registry.take_due(EpochMs(6)).err(), Some(Some(EpochMs(7))), "the older claim has left its place");
    assert!(!registry.give_up(&first) && registry.give_up(&second));
    assert_eq!(registry.take_due(EpochMs(9)).err(), Some(None));
    assert!(registry.follow(first.run()).is_none());
}

#[test]
fn a_displaced_run_is_doubted_and_a_claim_that_is_over_is_not() {
    let (registry, first, second) = (Registry::default(), claim(), claim());
    registry.enter_parked(&first, EpochMs(5), None);
    assert!(!registry.take_abandoned());
    registry.enter_parked(&second, EpochMs(5), None);
    assert!(registry.take_abandoned(), "the claim that came last may be the older one");
    let news = registry.follow(second.run()).expect("it is here");
    registry.take_due(EpochMs(5)).expect("it is due").gone();
    assert_eq!(*news.borrow(), News::LookElsewhere);
    assert!(!registry.take_abandoned() && registry.follow(second.run()).is_none());
}

#[test]
fn a_signal_wakes_the_parked_runs_that_wait_for_it() {
    let (registry, claim) = (Registry::default(), claim());
    let (end, other) = (Signal::Ended(WorkflowId::stored("child")), Signal::Ended(WorkflowId::stored("other")));
    let driven = registry.enter(&claim).expect("it is new");
    registry.raise(&end);
    assert_eq!(registry.take_due(LATE).err(), Some(None), "it is driven");
    assert!(driven.park(WaitFor::signal(end.clone())), "nobody looks yet");
    assert!(registry.newcomer().now_or_never().is_some());
    registry.raise(&other);
    assert_eq!(registry.take_due(LATE).err(), Some(None), "it has no time");
    registry.raise(&end);
    assert!(registry.sooner().now_or_never().is_some());
    let driven = registry.take_due(LATE).expect("it is due");
    driven.park(WaitFor { until: Some(EpochMs(8)), signals: Box::new([end.clone(), other.clone()]) });
    assert_eq!(registry.take_due(EpochMs(7)).err(), Some(Some(EpochMs(8))), "it waits for a time too");
    registry.raise(&other);
    assert!(matches!(registry.take_due(EpochMs(8)), Err(Some(due)) if due > EpochMs(8)), "it is due now, not then");
    registry.take_due(LATE).expect("it is due").park(WaitFor::until(EpochMs(9)));
    registry.raise(&end);
    assert_eq!(registry.take_due(EpochMs(8)).err(), Some(Some(EpochMs(9))), "it waits for nothing else any more");
}

#[test]
fn whoever_leaves_the_registry_waits_for_nothing() {
    let (registry, first, second) = (Registry::default(), claim(), claim());
    let end = Signal::Ended(WorkflowId::stored("child"));
    registry.enter(&first).expect("it is new").park(WaitFor::signal(end.clone()));
    let driven = registry.enter(&second).expect("under another claim");
    assert_eq!(registry.look(Instant::now()), Look::Nobody);
    driven.park(WaitFor::signal(end.clone()));
    assert!(registry.give_up(&second));
    assert_eq!(registry.look(Instant::now()), Look::Nobody);
    let (listening, _) = registry.listen(std::slice::from_ref(&end));
    drop(listening);
    assert_eq!(registry.look(Instant::now()), Look::Nobody);
}

#[test]
fn who_listens_for_the_end_of_a_run_hears_of_doubts() {
    let (registry, claim) = (Registry::default(), claim());
    let (listening, must_look) = registry.listen(&[Signal::Ended(claim.run().clone())]);
    assert!(must_look && listening.heard().now_or_never().is_none());
    registry.enter(&claim).expect("it is new").ended(Outcome::Success("1".into()));
    assert!(listening.heard().now_or_never().is_none(), "whoever has written the outcome says so");
    registry.enter(&claim).expect("it is new").gone();
    assert!(listening.heard().now_or_never().is_some(), "somebody has to look what became of it");
}

#[tokio::test]
async fn what_the_journal_tells_is_raised() {
    let registry = Registry::default();
    let end = Signal::Ended(WorkflowId::stored("child"));
    let (listening, _) = registry.listen(std::slice::from_ref(&end));
    registry.raiser(|_| {}).send(end).await.expect("somebody raises it");
    listening.heard().await;
}

#[test]
fn the_ends_of_runs_that_are_here_are_not_looked_for() {
    let (registry, claim) = (Registry::default(), claim());
    let driven = registry.enter(&claim).expect("it is new");
    let other = Signal::Ended(WorkflowId::stored("other"));
    let (_listening, _) = registry.listen(&[Signal::Ended(claim.run().clone()), other.clone()]);
    let later = Instant::now() + Duration::from_secs(1);
    assert_eq!(registry.look(later), Look::For(vec![other]));
    driven.gone();
    let Look::For(signals) = registry.look(later + Duration::from_secs(1)) else { panic!("it is time to look") };
    assert!(signals.contains(&Signal::Ended(claim.run().clone())), "it is here no more");
}

#[test]
fn those_who_wait_for_a_parked_run_hear_of_its_end() {
    let (registry, claim) = (Registry::default(), claim());
    registry.enter(&claim).expect("it is new").park(WaitFor::until(EpochMs(5)));
    let news = registry.follow(claim.run()).expect("it is here");
    let driven = registry.take_due(EpochMs(5)).expect("it is due");
    assert!(driven.displaced().now_or_never().is_none());
    driven.ended(Outcome::Success("1".into()));
    assert_eq!(*news.borrow(), News::Ended(Outcome::Success("1".into())));
    assert!(!registry.take_abandoned());
}
