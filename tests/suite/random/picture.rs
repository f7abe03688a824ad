//! What is left of programs when all is over, a line for each fact, sorted by program: so that a difference is read as such.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use dbos_host_tests::{Database, Outside};

/// What is left of each program, by the id of its first run.
#[derive(Debug, Default)]
pub(super) struct Picture {
    programs: BTreeMap<String, Vec<String>>,
    /// How many requests each key came with.
    requests: BTreeMap<String, usize>,
}

/// Each statement finds the run to which a fact belongs, and the fact. What differs between two lives is left out: times,
/// also those in the row of a run whose status was asked for, and the wake time of a sleep, which is a part of its digest.
const FACTS: &[&str] = &[
    "SELECT workflow_uuid, concat_ws(' ', s.status, s.name, s.parent_workflow_id, i.inputs, o.output, o.error)
       FROM dbos.workflow_status s LEFT JOIN dbos.workflow_input i USING (workflow_uuid)
                                   LEFT JOIN dbos.workflow_output o USING (workflow_uuid)",
    "SELECT workflow_uuid, concat_ws(' ', 'step', lpad(function_id::text, 4), function_name, child_workflow_id, error,
                                     CASE WHEN function_name NOT IN ('DBOS.sleep', 'DBOS.getStatus') THEN output || ' ' || encode(digest, 'hex') END)
       FROM dbos.operation_outputs LEFT JOIN dbos_host.operation_digest USING (workflow_uuid, function_id)",
    "SELECT run, 'row ' || step FROM effects",
    "SELECT workflow_uuid, concat_ws(' ', 'event', key, value) FROM dbos.workflow_events",
    "SELECT workflow_uuid, concat_ws(' ', 'event', function_id, key, value) FROM dbos.workflow_events_history",
    "SELECT workflow_uuid, concat_ws(' ', 'stream', key, \"offset\", function_id, value) FROM dbos.streams",
    "SELECT destination_uuid, concat_ws(' ', 'message', topic, message, consumed, consumed_by_function_id)
       FROM dbos.notifications",
];

impl Picture {
    pub(super) async fn take(database: &Database, outside: &Outside) -> Self {
        let mut picture = Self::default();
        for facts in FACTS {
            // The error of a run whose deadline has passed says when that was.
            let facts = format!(
                r#"SELECT run, regexp_replace(fact, '(deadline\\*":)\d+', '\1…', 'g') FROM ({facts}) AS f (run, fact)"#
            );
            for row in database.query(&facts, &[]).await {
                let (run, fact): (String, String) = (row.get(0), row.get(1));
                picture.programs.entry(root_of(&run).to_owned()).or_default().push(format!("{run}: {fact}"));
            }
        }
        picture.programs.values_mut().for_each(|facts| facts.sort());
        for request in outside.received() {
            let key = request.header("idempotency-key").expect("every request has a key");
            *picture.requests.entry(key.to_owned()).or_default() += 1;
        }
        picture
    }

    /// How many facts there are.
    pub(super) fn facts(&self) -> usize {
        self.programs.values().map(Vec::len).sum()
    }

    /// Checks what must hold when nothing has disturbed the programs.
    pub(super) fn check_undisturbed(&self) {
        let twice: Vec<_> = self.requests.iter().filter(|(_, times)| **times != 1).collect();
        assert!(twice.is_empty(), "without a crash every request is sent once: {twice:?}");
    }

    /// Checks that nothing has become of the programs but what becomes of them undisturbed. A communicator whose record
    /// was not there at a death is run again: at most once for each of `lives`.
    ///
    /// The error names a program, and tells what differs.
    pub(super) fn compare(&self, undisturbed: &Self, lives: usize) -> Result<(), (String, String)> {
        for (root, expected) in &undisturbed.programs {
            let facts = self.programs.get(root).map_or(&[][..], Vec::as_slice);
            if facts != expected {
                return Err((root.clone(), difference(expected, facts)));
            }
        }
        if let Some(unknown) = self.programs.keys().find(|root| !undisturbed.programs.contains_key(*root)) {
            return Err((unknown.clone(), "is there and ought not to be".to_owned()));
        }
        for key in self.requests.keys().chain(undisturbed.requests.keys()) {
            let times = self.requests.get(key).copied().unwrap_or(0);
            if times == 0 || times > lives || !undisturbed.requests.contains_key(key) {
                let text = format!("the request `{key}` was sent {times} times in {lives} lives");
                return Err((root_of(key).to_owned(), text));
            }
        }
        Ok(())
    }
}

/// The first run of the program to which a run belongs.
fn root_of(run: &str) -> &str {
    run.split('-').next().expect("a text has a first part")
}

fn difference(expected: &[String], facts: &[String]) -> String {
    let mut text = String::new();
    for missing in expected.iter().filter(|fact| !facts.contains(fact)) {
        writeln!(text, "- {missing}").expect("writing to a string does not fail");
    }
    for unknown in facts.iter().filter(|fact| !expected.contains(fact)) {
        writeln!(text, "+ {unknown}").expect("writing to a string does not fail");
    }
    if text.is_empty() { "a fact is there twice".to_owned() } else { text }
}
