//! What is left of a run when nothing moves: in the system database, in the app's table and outside.

use std::collections::BTreeMap;

use dbos_host_tests::Step;

/// Everything that can be seen of a run and its children.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Picture {
    /// Status, name, output and error of each run, by its id.
    pub(super) runs: BTreeMap<String, (String, String, Option<String>, Option<String>)>,
    /// The records, by run and number.
    pub(super) steps: BTreeMap<(String, i32), Step>,
    /// The rows that transactions left, sorted.
    pub(super) effects: Vec<String>,
    /// How many requests each communicator sent, by run and number.
    pub(super) requests: BTreeMap<(String, i32), usize>,
}

impl Picture {
    /// The same without what differs from one run to the next: a sleep's wake time, which may be its argument too.
    pub(super) fn timeless(mut self) -> Self {
        for step in self.steps.values_mut().filter(|step| step.name == "DBOS.sleep") {
            (step.output, step.digest) = (None, None);
        }
        self
    }

    fn requests_of(&self, step: &(String, i32)) -> usize {
        self.requests.get(step).copied().unwrap_or(0)
    }
}

/// What must hold at a crash, and when all is over.
#[derive(Debug)]
pub(super) struct Rules {
    /// How it looks without a crash.
    pub(super) undisturbed: Picture,
    /// True for the names of steps whose commit leaves one row.
    pub(super) leaves_a_row: fn(&str) -> bool,
}

impl Rules {
    /// What must hold when the process is dead, whenever it died: a transaction's row and its record are one commit.
    pub(super) fn check_crash(&self, case: &str, picture: &Picture) {
        let rows = picture.steps.values().filter(|step| (self.leaves_a_row)(&step.name)).count();
        assert_eq!(picture.effects.len(), rows, "{case}: rows and records are one commit: {picture:#?}");
        for (key, step) in &picture.steps {
            assert!(self.undisturbed.steps.contains_key(key), "{case}: an unknown step {step:?}");
        }
    }

    /// What must hold when all is over after the host died with these pictures.
    pub(super) fn check_end(&self, case: &str, deaths: &[Picture], end: &Picture) {
        let expected = Picture { requests: self.expected_requests(deaths), ..self.undisturbed.clone() };
        assert_eq!(end.clone().timeless(), expected.timeless(), "{case}");
        for death in deaths {
            for (key, step) in &death.steps {
                assert_eq!(end.steps.get(key), Some(step), "{case}: a record never changes");
            }
        }
    }

    /// A communicator that was recorded at a death is never run again. One that was not is run anew, and sends what is
    /// left of what it sends undisturbed: at least one request, even if all of them had been sent before.
    fn expected_requests(&self, deaths: &[Picture]) -> BTreeMap<(String, i32), usize> {
        let needed = &self.undisturbed.requests;
        let Some(last) = deaths.last() else { return needed.clone() };
        let expected = |(step, needed): (&(String, i32), &usize)| {
            let sent = last.requests_of(step);
            let more = if last.steps.contains_key(step) { 0 } else { needed.saturating_sub(sent).max(1) };
            (step.clone(), sent + more)
        };
        needed.iter().map(expected).collect()
    }
}
