//! What became of workflows that a command was to change: told one by one, so that a script which names twenty of them
//! knows about each.

use std::collections::HashSet;

use serde_json::json;

use crate::cli::escape;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::workflow::{Code, Status, WorkflowId};

/// A workflow, and what became of it.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) run: WorkflowId,
    pub(super) verdict: Verdict,
}

/// What became of it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Verdict {
    /// What was asked for holds, in this word.
    Done(&'static str),
    /// It has ended in a status that does not allow it.
    Ended(Status),
    /// Its steps are undone, or were.
    Undone,
    /// There is none.
    Unknown,
}

/// The ids of a command line, each once.
pub(super) fn distinct(ids: &[String]) -> Vec<WorkflowId> {
    let mut seen = HashSet::new();
    ids.iter().map(|id| WorkflowId::stored(id)).filter(|id| seen.insert(id.clone())).collect()
}

/// Tells what was done on standard output, and what was not as errors. The exit code is that of the last error.
pub(super) fn report(verb: &str, changes: Vec<Change>, as_json: bool) -> Result<Exit, Failure> {
    if as_json {
        let rows: Vec<_> = changes.iter().map(Change::to_json).collect();
        output::print(&super::pretty(&rows)?)?;
    } else {
        let lines: Vec<String> = changes.iter().filter_map(Change::line).collect();
        if !lines.is_empty() {
            output::print(&lines.join("\n"))?;
        }
    }
    let mut failures: Vec<Failure> = changes.iter().filter_map(|change| change.failure(verb)).collect();
    let last = failures.pop();
    for failure in failures {
        failure.report();
    }
    last.map_or(Ok(Exit::Success), Err)
}

impl Change {
    fn line(&self) -> Option<String> {
        let Verdict::Done(word) = self.verdict else { return None };
        Some(format!("{}  {}", escape::line(self.run.as_str()), word.replace('_', " ")))
    }

    fn to_json(&self) -> serde_json::Value {
        let (result, status) = match self.verdict {
            Verdict::Done(word) => (word, None),
            Verdict::Ended(status) => ("ended", Some(status)),
            Verdict::Undone => ("undone", None),
            Verdict::Unknown => ("unknown", None),
        };
        json!({ "id": self.run.as_str(), "result": result, "status": status })
    }

    fn failure(&self, verb: &str) -> Option<Failure> {
        match self.verdict {
            Verdict::Done(_) => None,
            Verdict::Ended(status) => Some(
                Failure::to(format!("{verb} the workflow `{}`", self.run))
                    .because(format!("it has ended: {status}"))
                    .exit(Exit::Conflict)
                    .code(Code("workflow_ended")),
            ),
            Verdict::Undone => Some(
                Failure::to(format!("{verb} the workflow `{}`", self.run))
                    .because(format!("its steps are undone, or were: see `{}-undo`", self.run))
                    .exit(Exit::Conflict)
                    .code(Code("undone")),
            ),
            Verdict::Unknown => Some(super::not_found(self.run.as_str())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_is_named_twice_is_changed_once() {
        let ids = distinct(&["a".into(), "b".into(), "a".into()]);
        assert_eq!(ids.iter().map(WorkflowId::as_str).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn the_exit_code_is_that_of_the_last_error() {
        let change = |id: &str, verdict| Change { run: WorkflowId::stored(id), verdict };
        let changes = [
            change("a", Verdict::Done("cancelled")),
            change("b", Verdict::Unknown),
            change("c", Verdict::Ended(Status::Success)),
        ];
        let lines: Vec<_> = changes.iter().filter_map(Change::line).collect();
        assert_eq!(lines, ["a  cancelled"]);
        let failures: Vec<_> = changes.iter().filter_map(|change| change.failure("cancel")).collect();
        assert_eq!(failures.iter().map(Failure::exit_code).collect::<Vec<_>>(), [Exit::NotFound, Exit::Conflict]);
        assert_eq!(
            failures[1].to_string(),
            "[workflow_ended]: failed to cancel the workflow `c`\n  because it has ended: SUCCESS"
        );
    }
}
