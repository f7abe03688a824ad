//! What a look at the database calls for: pure, so that every case can be tested.

use std::time::{Duration, Instant};

/// What a look found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Findings {
    /// Executors whose lease is over.
    pub expired: Vec<String>,
    /// A run of this host may be without anybody who drives it.
    pub doubt: bool,
    /// The last take-over did not come to its end.
    pub unfinished: bool,
    /// This host has just become who it is.
    pub is_first_look: bool,
}

/// Something to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    /// Take the runs of this executor, page by page until none is left.
    TakeOver(String),
    /// Look for runs that this incarnation owns and nobody drives.
    AdoptOwn,
    /// Forget executors that left nothing behind, and say which components are in use.
    Forget,
}

/// How often executors are forgotten; it is house-keeping.
pub const FORGET_EVERY: Duration = Duration::from_secs(3600);

/// What to do, in this order. A host's own old runs come first: they are why it was started.
#[must_use]
pub fn plan(own: &str, findings: &Findings, last_forgot: Option<Instant>, now: Instant) -> Vec<Move> {
    let mut moves = Vec::new();
    let in_doubt = findings.doubt || findings.unfinished;
    // In doubt too: a start that was on its way when the lease lapsed has landed with a claim of the old incarnation.
    if findings.is_first_look || in_doubt {
        moves.push(Move::TakeOver(own.into()));
    }
    moves.extend(findings.expired.iter().filter(|id| *id != own).cloned().map(Move::TakeOver));
    // Last: it finds what a take-over took whose answer was lost.
    if in_doubt {
        moves.push(Move::AdoptOwn);
    }
    if last_forgot.is_none_or(|last| now.duration_since(last) >= FORGET_EVERY) {
        moves.push(Move::Forget);
    }
    moves
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_look_takes_what_the_old_incarnation_left() {
        let now = Instant::now();
        let findings = Findings { is_first_look: true, expired: vec!["b".into()], ..Findings::default() };
        let moves = plan("a", &findings, Some(now), now);
        assert_eq!(moves, [Move::TakeOver("a".into()), Move::TakeOver("b".into())]);
    }

    #[test]
    fn a_quiet_look_calls_for_nothing() {
        let now = Instant::now();
        assert_eq!(plan("a", &Findings::default(), Some(now), now), []);
        assert_eq!(plan("a", &Findings { expired: vec!["a".into()], ..Findings::default() }, Some(now), now), []);
    }

    #[test]
    fn doubt_and_an_unfinished_take_over_make_it_look_at_its_own() {
        let now = Instant::now();
        for findings in
            [Findings { doubt: true, ..Findings::default() }, Findings { unfinished: true, ..Findings::default() }]
        {
            assert_eq!(plan("a", &findings, Some(now), now), [Move::TakeOver("a".into()), Move::AdoptOwn]);
        }
    }

    #[test]
    fn house_keeping_comes_once_an_hour() {
        let now = Instant::now();
        assert_eq!(plan("a", &Findings::default(), None, now), [Move::Forget]);
        assert_eq!(plan("a", &Findings::default(), Some(now), now + FORGET_EVERY), [Move::Forget]);
    }
}
