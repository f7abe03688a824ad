//! What must be known before a run is done again from one of its steps: whether there is such a run, where it is cut, and
//! which component goes on with it.
//!
//! Problem: whoever forks or rewinds a run means well and may be wrong about it. A run that has not failed has no failed
//! step, and one that is given a component without its workflow would wait for ever for a host that has it. So all of that
//! is found out before anything is written, and told.

use tokio_postgres::{GenericClient, Row};

use super::component::COMPONENT_HAS_RUN;
use super::error::DatabaseError;
use crate::workflow::{
    CONTINUED, Code, ComponentDigest, Cut, EpochMs, Failure, Status, StepNumber, StepTrace, UNDO, WorkflowId,
    failed_step,
};

/// With which component a run goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Version {
    /// The one that it has.
    Same,
    /// The one that new runs of its app take.
    Current,
    /// This one.
    Given(ComponentDigest),
}

/// Why a run is not forked or rewound. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such run.
    #[error("there is no workflow `{0}`")]
    Unknown(WorkflowId),
    /// Only a run that has ended is rewound.
    #[error("the workflow `{0}` has not ended, it is {1}")]
    NotEnded(WorkflowId, Status),
    /// A run that has no failed step.
    #[error("the workflow `{0}` has not failed, it is {1}")]
    NotFailed(WorkflowId, Status),
    /// The component is not in the database, or it has no workflow of this name.
    #[error("there is no component `{0}` with the workflow `{1}` in the database")]
    NoComponent(String, String),
    /// The app has no component for new runs.
    #[error("no component with the workflow `{0}` is deployed")]
    NothingDeployed(String),
    /// Its steps are undone, or were.
    #[error("the steps of the workflow `{0}` are undone, or were")]
    Undone(WorkflowId),
    /// It is what undoes another run, which is done once.
    #[error("the workflow `{0}` undoes another one, which is done once")]
    Undoes(WorkflowId),
    /// The id for the fork is another run's.
    #[error("there is a workflow `{0}` already")]
    Taken(WorkflowId),
}

impl Refusal {
    /// The code by which it is looked up.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Unknown(_) => Code("no_such_workflow"),
            Self::NotEnded(..) => Code("not_ended"),
            Self::NotFailed(..) => Code("not_failed"),
            Self::NoComponent(..) | Self::NothingDeployed(_) => Code("unknown_version"),
            Self::Undone(_) => Code("undone"),
            Self::Undoes(_) => Code("undoes"),
            Self::Taken(_) => super::start::WORKFLOW_EXISTS,
        }
    }

    /// What can be done about it.
    #[must_use]
    pub fn advice(&self) -> Option<&'static str> {
        match self {
            Self::NotEnded(..) => Some("cancel it first"),
            Self::NotFailed(..) => Some("say from which step"),
            Self::NoComponent(..) => Some("deploy it first"),
            Self::Undone(_) => Some("start a new one, or fork it from a step before the first that is undone"),
            Self::Undoes(_) => Some("rewind it to its failed step, if it could not undo all"),
            Self::Unknown(_) | Self::NothingDeployed(_) | Self::Taken(_) => None,
        }
    }
}

/// A run that is to be cut.
pub(super) struct Target {
    pub(super) status: Status,
    /// It undoes another run.
    pub(super) undoes: bool,
    /// The component that it goes on with, if that is another one.
    pub(super) version: Option<String>,
}

// Before the look: a component that is found behind this is not removed for want of runs.
const USE: &str = "
UPDATE dbos_host.component_use SET used_at = now()
 WHERE digest = coalesce($2, (SELECT application_version FROM dbos.workflow_status WHERE workflow_uuid = $1))";

/// Looks at a run. `lock`: what ends the statement.
pub(super) async fn look(
    client: &impl GenericClient,
    run: &WorkflowId,
    version: &Version,
    lock: &str,
) -> Result<Result<Target, Refusal>, DatabaseError> {
    let look = format!(
        "SELECT s.status, coalesce(s.name, ''), v.digest, {COMPONENT_HAS_RUN}
           FROM dbos.workflow_status s
           LEFT JOIN LATERAL (
               SELECT coalesce($2::text, (SELECT version_name FROM dbos.application_versions
                                           WHERE application_name = s.application_name
                                           ORDER BY version_timestamp DESC LIMIT 1)) AS digest) v ON true
          WHERE s.workflow_uuid = $1 {lock}"
    );
    let given = match version {
        Version::Given(digest) => Some(digest.as_str()),
        Version::Same | Version::Current => None,
    };
    client.execute(USE, &[&run.as_str(), &given]).await?;
    let Some(row) = client.query_opt(&look, &[&run.as_str(), &given]).await? else {
        return Ok(Err(Refusal::Unknown(run.clone())));
    };
    Ok(target(&row, run, version))
}

fn target(row: &Row, run: &WorkflowId, version: &Version) -> Result<Target, Refusal> {
    // A run in a status that this program does not know is none that it could change.
    let status = row.get::<_, Option<&str>>(0).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| Refusal::Unknown(run.clone()))?;
    let (name, digest): (String, Option<String>) = (row.get(1), row.get(2));
    let undoes = name.starts_with(UNDO);
    let version = match (version, digest) {
        (Version::Same, _) => None,
        (_, Some(digest)) if row.get(3) => Some(digest),
        (_, Some(digest)) => return Err(Refusal::NoComponent(digest, name)),
        (_, None) => return Err(Refusal::NothingDeployed(name)),
    };
    Ok(Target { status, undoes, version })
}

const STEPS: &str = "
SELECT function_id, error, coalesce(started_at_epoch_ms, 0), coalesce(completed_at_epoch_ms, started_at_epoch_ms, 0)
  FROM dbos.operation_outputs WHERE workflow_uuid = $1 AND function_id >= $2 ORDER BY function_id";

// The mark that a run has left where it has continued with other arguments.
const MARK: &str = "
SELECT max(function_id) FROM dbos.operation_outputs WHERE workflow_uuid = $1 AND function_name = $2";

const ERROR: &str = "
SELECT coalesce(o.error, s.error) FROM dbos.workflow_status s
  LEFT JOIN dbos.workflow_output o ON o.workflow_uuid = s.workflow_uuid
 WHERE s.workflow_uuid = $1";

/// Where a run in this status is cut. What it has recorded before it continued with other arguments is gone, so that is not
/// before the first step behind that.
pub(super) async fn step(
    client: &impl GenericClient,
    run: &WorkflowId,
    status: Status,
    cut: Cut,
) -> Result<Result<StepNumber, Refusal>, DatabaseError> {
    let mark: Option<i32> = client.query_one(MARK, &[&run.as_str(), &CONTINUED]).await?.get(0);
    let begin = mark.and_then(|mark| StepNumber::stored(mark).next()).unwrap_or(StepNumber::FIRST);
    match (cut, status) {
        (Cut::Step(step), _) => return Ok(Ok(step.max(begin))),
        (Cut::Failure, Status::Error | Status::Cancelled | Status::MaxRecoveryAttemptsExceeded) => {}
        (Cut::Failure, Status::Success | Status::Pending | Status::Enqueued | Status::Delayed) => {
            return Ok(Err(Refusal::NotFailed(run.clone(), status)));
        }
    }
    let failure = |text: Option<&str>| text.map(Failure::from_stored);
    let trace = |row: &Row| StepTrace {
        step: StepNumber::stored(row.get(0)),
        failure: failure(row.get(1)),
        started_at: EpochMs(row.get(2)),
        completed_at: EpochMs(row.get(3)),
    };
    let steps: Vec<StepTrace> = client.query(STEPS, &[&run.as_str(), &begin.get()]).await?.iter().map(trace).collect();
    let error = client.query_opt(ERROR, &[&run.as_str()]).await?;
    let error = error.and_then(|row| failure(row.get(0)));
    Ok(Ok(failed_step(begin, &steps, error.as_ref())))
}
