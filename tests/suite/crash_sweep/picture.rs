//! What is left of a run when nothing moves: in the system database, in the app's table and outside.

use std::collections::BTreeMap;

use dbos_host_tests::Step;

/// The name of the record that takes the place of all that a run has recorded before it continued.
const MARK: &str = "dbos-host:continued";

/// Everything that can be seen of a run and its children.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Picture {
    /// Status, name, output and error of each run, by its id.
    pub(super) runs: BTreeMap<String, (String, String, Option<String>, Option<String>)>,
    /// The records, by run and number.
    pub(super) steps: BTreeMap<(String, i32), Step>,
    /// The values of events by run and number, and the last values by run and key.
    pub(super) events: BTreeMap<(String, i32), (String, String)>,
    pub(super) last_events: BTreeMap<(String, String), String>,
    /// The values of streams by run and number: the stream, the offset, the value.
    pub(super) streams: BTreeMap<(String, i32), (String, i32, String)>,
    /// The messages: whom they are for, about what, what they say, and the number that has taken each.
    pub(super) messages: Vec<(String, String, String, Option<i32>)>,
    /// The rows that transactions left, sorted.
    pub(super) effects: Vec<String>,
    /// How many requests each communicator sent, by run and number.
    pub(super) requests: BTreeMap<(String, i32), usize>,
}

impl Picture {
    /// The same without what differs from one run to the next: a sleep's wake time, which may be its argument too, and the
    /// times and ports in what is told of other runs and of requests.
    pub(super) fn timeless(mut self) -> Self {
        for step in self.steps.values_mut().filter(|step| step.name == "DBOS.sleep") {
            (step.output, step.digest) = (None, None);
        }
        for step in self.steps.values_mut() {
            let told = if step.name == "DBOS.getStatus" { &mut step.output } else { &mut step.error };
            *told = told.as_deref().map(without_long_numbers);
        }
        self
    }

    /// The run has continued since it has recorded this step.
    fn is_behind(&self, (run, number): &(String, i32)) -> bool {
        let mut later = self.steps.range((run.clone(), *number)..).take_while(|((other, _), _)| other == run);
        later.any(|(_, step)| step.name == MARK)
    }

    fn is_recorded(&self, step: &(String, i32)) -> bool {
        self.steps.contains_key(step) || self.is_behind(step)
    }

    fn requests_of(&self, step: &(String, i32)) -> usize {
        self.requests.get(step).copied().unwrap_or(0)
    }
}

/// A text without its numbers of five digits and more.
fn without_long_numbers(text: &str) -> String {
    let parts = text.split(|character: char| !character.is_ascii_digit());
    let long = parts.filter(|part| part.len() >= 5);
    long.fold(text.to_owned(), |text, number| text.replace(number, "…"))
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
        let set = picture.steps.iter().filter(|(_, step)| step.name == "DBOS.setEvent").map(|(key, _)| key);
        assert!(set.eq(picture.events.keys()), "{case}: an event and its record are one write: {picture:#?}");
        let last = picture.events.iter().map(|((run, _), (key, value))| ((run.clone(), key.clone()), value.clone()));
        assert_eq!(picture.last_events, last.collect(), "{case}: what is shown is the last value: {picture:#?}");
        let written = |step: &Step| ["DBOS.writeStream", "DBOS.closeStream"].contains(&step.name.as_str());
        let written = picture.steps.iter().filter(|(_, step)| written(step)).map(|(key, _)| key);
        assert!(written.eq(picture.streams.keys()), "{case}: a value and its record are one write: {picture:#?}");
        let named = |name: &'static str| picture.steps.iter().filter(move |(_, step)| step.name == name);
        let sent = named("DBOS.send").filter(|(_, step)| step.error.is_none()).count();
        assert_eq!(picture.messages.len(), sent, "{case}: a message and its record are one write: {picture:#?}");
        let taken: Vec<_> =
            picture.messages.iter().filter_map(|(run, .., taken)| Some((run.clone(), (*taken)?))).collect();
        let received = named("DBOS.recv").filter(|(_, step)| step.output.is_some()).map(|(key, _)| key.clone());
        assert_eq!(taken, received.collect::<Vec<_>>(), "{case}: what is taken is recorded: {picture:#?}");
        for (key, step) in &picture.steps {
            assert!(self.undisturbed.is_recorded(key), "{case}: an unknown step {step:?}");
        }
    }

    /// What must hold when all is over after the host died with these pictures.
    pub(super) fn check_end(&self, case: &str, deaths: &[Picture], end: &Picture) {
        let expected = Picture { requests: self.expected_requests(deaths), ..self.undisturbed.clone() };
        assert_eq!(end.clone().timeless(), expected.timeless(), "{case}");
        for death in deaths {
            for (key, step) in death.steps.iter().filter(|(key, _)| !end.is_behind(key)) {
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
            let more = if last.is_recorded(step) { 0 } else { needed.saturating_sub(sent).max(1) };
            (step.clone(), sent + more)
        };
        needed.iter().map(expected).collect()
    }
}
