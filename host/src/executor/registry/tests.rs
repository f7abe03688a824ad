//! Who is told what, and which runs are parked or in doubt.

use futures_util::FutureExt;

use super::*;
use crate::database::{Incarnation, NewRun};
use crate::workflow::{AppName, Arguments, ComponentDigest};

/// A claim of the run; each is another one.
fn claim() -> Claim {
    let (app, version) = (AppName::parse("shop").expect("a name"), ComponentDigest::of(b""));
    let arguments = Arguments::default();
    let run = WorkflowId::stored("a");
    let new = NewRun::new(run, &Incarnation::fresh(), "e", (&app, &version), ("buy", arguments, EpochMs(0)));
    new.claim().clone()
}

#[test]
fn a_parked_run_is_taken_out_when_it_is_due_under_its_own_claim() {
    let (registry, claim) = (Registry::default(), claim());
    registry.enter_parked(&claim, EpochMs(5));
    assert!(registry.enter(&claim).is_none(), "it is here already");
    assert_eq!(registry.take_due(EpochMs(4)).err(), Some(Some(EpochMs(5))));
    let driven = registry.take_due(EpochMs(5)).expect("it is due");
    assert_eq!(*driven.claim(), claim);
    assert_eq!(registry.take_due(EpochMs(9)).err(), Some(None), "it is driven, and stands nowhere else");
    driven.counted(true);
    driven.park(EpochMs(7));
    assert_eq!(registry.interrupted(), [claim], "its attempt has not ended by itself");
    assert!(registry.take_due(EpochMs(7)).is_ok());
    assert!(registry.take_abandoned(), "the test has dropped it");
}

#[test]
fn what_ends_a_claim_finds_it_among_the_parked() {
    let (registry, first, second) = (Registry::default(), claim(), claim());
    registry.enter_parked(&first, EpochMs(5));
    let news = registry.follow(first.run()).expect("it is here");
    registry.enter_parked(&second, EpochMs(7));
    assert_eq!(*news.borrow(), News::LookElsewhere);
    assert_eq!(registry.take_due(EpochMs(6)).err(), Some(Some(EpochMs(7))), "the older claim has left its place");
    assert!(!registry.give_up(&first) && registry.give_up(&second));
    assert_eq!(registry.take_due(EpochMs(9)).err(), Some(None));
    assert!(registry.follow(first.run()).is_none());
}

#[test]
fn a_displaced_run_is_doubted_and_a_claim_that_is_over_is_not() {
    let (registry, first, second) = (Registry::default(), claim(), claim());
    registry.enter_parked(&first, EpochMs(5));
    assert!(!registry.take_abandoned());
    registry.enter_parked(&second, EpochMs(5));
    assert!(registry.take_abandoned(), "the claim that came last may be the older one");
    let news = registry.follow(second.run()).expect("it is here");
    registry.take_due(EpochMs(5)).expect("it is due").gone();
    assert_eq!(*news.borrow(), News::LookElsewhere);
    assert!(!registry.take_abandoned() && registry.follow(second.run()).is_none());
}

#[test]
fn a_word_wakes_who_waits_for_it_and_nobody_else() {
    let (registry, claim) = (Registry::default(), claim());
    let driven = registry.enter(&claim).expect("it is new");
    registry.wake(&claim, EpochMs(1));
    assert_eq!(registry.take_due(EpochMs(9)).err(), Some(None), "it is driven");
    driven.park_for_word();
    assert_eq!(registry.take_due(EpochMs(9)).err(), Some(None), "it has no time");
    registry.wake(&claim, EpochMs(1));
    assert!(registry.sooner().now_or_never().is_some());
    registry.take_due(EpochMs(1)).expect("it is due").park(EpochMs(8));
    registry.wake(&claim, EpochMs(2));
    assert_eq!(registry.take_due(EpochMs(7)).err(), Some(Some(EpochMs(8))), "it waits for a time");
}

#[test]
fn those_who_wait_for_a_parked_run_hear_of_its_end() {
    let (registry, claim) = (Registry::default(), claim());
    registry.enter(&claim).expect("it is new").park(EpochMs(5));
    let news = registry.follow(claim.run()).expect("it is here");
    let driven = registry.take_due(EpochMs(5)).expect("it is due");
    assert!(driven.displaced().now_or_never().is_none());
    driven.ended(Outcome::Success("1".into()));
    assert_eq!(*news.borrow(), News::Ended(Outcome::Success("1".into())));
    assert!(!registry.take_abandoned());
}
