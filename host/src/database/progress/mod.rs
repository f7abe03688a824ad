//! Writing how far runs have come: the results of steps that are no transactions, and outcomes, of many runs at once.
//!
//! One statement does both, because a run's last record and its outcome may come together, and the outcome must not be
//! written if the record is not: a run that another record was found for is replayed, and may end otherwise. So does what a
//! record has an effect on in the system database (`effects`).

mod effects;
mod lone;
mod statements;

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error};

use self::effects::Effects;
pub(super) use self::lone::write as write_lone;
pub(super) use self::statements::{Keys, Prepared, Statements, prepare};

use super::finish::{FinalOutcome, Finish};
use super::journal::Landed;
use super::ordinality::place;
use super::record::NewRecord;
use crate::workflow::{RecordedResult, Status, WorkflowId};

/// What became of records and outcomes, in the order in which they were given.
///
/// A record. [`Landed::Written`]: the step will never run again. [`Landed::Exists`]: another one is there.
///
/// An outcome. [`Landed::Written`]: the run has ended, once and for all. [`Landed::NotOwner`]: it ended or was taken
/// before; so does the answer to a commit that was sent twice look. The caller reads what is recorded.
/// [`Landed::Exists`]: the run goes on, because its last record is another one than the outcome was made from.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) records: Vec<Landed>,
    pub(super) outcomes: Vec<Landed>,
}

impl Progress {
    /// Both, one after the other.
    pub(super) fn into_iters(self) -> (std::vec::IntoIter<Landed>, std::vec::IntoIter<Landed>) {
        (self.records.into_iter(), self.outcomes.into_iter())
    }
}

/// Writes records, with their effects, and outcomes. Sends its statement when it is first polled, so that others can be sent
/// behind it: what effects need has been prepared before ([`Statements::prepare_effects`]).
pub(super) async fn write(
    client: &Client,
    statements: &Prepared,
    (records, outcomes): (&[&NewRecord], &[&Finish]),
) -> Result<Progress, Error> {
    let mut progress =
        Progress { records: vec![Landed::Written; records.len()], outcomes: vec![Landed::Written; outcomes.len()] };
    if records.is_empty() && outcomes.is_empty() {
        return Ok(progress);
    }
    let results: Vec<(Option<&str>, Option<String>)> = records.iter().map(|new| of_result(&new.result)).collect();
    let of_records = [
        &column(records, |new| new.claim.run().as_str()) as &(dyn ToSql + Sync),
        &column(records, |new| new.claim.token()),
        &column(records, |new| new.step.get()),
        &column(records, |new| new.name.as_str()),
        &results.iter().map(|(output, _)| *output).collect::<Vec<_>>(),
        &results.iter().map(|(_, error)| error.as_deref()).collect::<Vec<_>>(),
        &column(records, |new| new.child.as_ref().map(WorkflowId::as_str)),
        &column(records, |new| new.started_at.0),
        &column(records, |new| new.completed_at.0),
        &column(records, |new| new.app.as_str()),
        &column(records, |new| new.digest.as_ref().map(|digest| digest.0.as_slice())),
    ];
    let effects = Effects::of(records);
    let of_effects = effects.columns();
    let pair = statements.pair(!effects.is_empty());
    let rows = if outcomes.is_empty() {
        client.query(&pair.records, &[&of_records[..], &of_effects].concat()).await?
    } else {
        let ends: Vec<(&str, Option<&str>, Option<String>)> = outcomes.iter().map(|new| of_end(&new.outcome)).collect();
        let of_outcomes = [
            &column(outcomes, |new| new.claim.run().as_str()) as &(dyn ToSql + Sync),
            &column(outcomes, |new| new.claim.token()),
            &ends.iter().map(|(status, ..)| *status).collect::<Vec<_>>(),
            &ends.iter().map(|(_, output, _)| *output).collect::<Vec<_>>(),
            &ends.iter().map(|(.., error)| error.as_deref()).collect::<Vec<_>>(),
        ];
        client.query(&pair.with_outcomes, &[&of_records[..], &of_outcomes[..], &of_effects].concat()).await?
    };
    for row in rows {
        let (is_outcome, owned): (bool, bool) = (row.get(0), row.get(2));
        let told = if is_outcome { &mut progress.outcomes } else { &mut progress.records };
        told[place(&row, 1)] = if owned { Landed::Exists } else { Landed::NotOwner };
    }
    Ok(progress)
}

/// One column of an array parameter.
pub(super) fn column<'a, N, T>(rows: &[&'a N], of: impl Fn(&'a N) -> T) -> Vec<T> {
    rows.iter().map(|row| of(row)).collect()
}

fn of_result(result: &RecordedResult) -> (Option<&str>, Option<String>) {
    match result {
        RecordedResult::Output(json) => (Some(json), None),
        RecordedResult::Failed(failure) => (None, Some(failure.to_stored())),
        RecordedResult::Nothing => (None, None),
    }
}

pub(super) fn of_end(outcome: &FinalOutcome) -> (&'static str, Option<&str>, Option<String>) {
    match outcome {
        FinalOutcome::Success(json) => (Status::Success.as_str(), Some(json), None),
        FinalOutcome::Error(failure) => (Status::Error.as_str(), None, Some(failure.to_stored())),
        FinalOutcome::DeadLetter(failure) => {
            (Status::MaxRecoveryAttemptsExceeded.as_str(), None, Some(failure.to_stored()))
        }
    }
}
