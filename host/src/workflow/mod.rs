//! The words of the domain: ids, statuses, failures, history, retry, manifests.
//!
//! Everything here is a value or a pure function of values, so that what must be exact can be tested without a
//! database, a clock or a guest. This module must not know tokio, Postgres or wasm.

mod arguments;
mod budget;
mod code;
mod cut;
mod digest;
mod excerpt;
mod failure;
mod history;
mod id;
mod json;
mod manifest;
mod patch;
mod promise;
mod reason;
mod retry;
mod route;
mod schema;
mod signal;
mod signature;
mod status;
mod stream;
mod taken;
mod terms;
mod time;
mod trace;
mod undo;
mod unique;

pub use arguments::{Arguments, ArgumentsError, Unfit};
pub use budget::Budget;
pub use code::Code;
pub use cut::{Cut, StepTrace, failed_step};
pub use digest::{ComponentDigest, OperationDigest};
pub use excerpt::excerpt;
pub use failure::{Cause, Failure, MOST_FRAMES, Origin};
pub use history::{
    Beginning, CONTINUED, Divergence, History, Next, Operation, OperationKind, Pair, Record, RecordedResult, SLEEP,
    Started,
};
pub use id::{AppName, InvalidName, StepNumber, WorkflowId};
pub use json::{JsonError, check_json};
pub use manifest::{Isolation, Manifest, ManifestError, Parameter, RouteEntry, StepEntry, StepKind, WorkflowEntry};
pub use patch::{Patch, PatchName};
pub use promise::{PROMISE, PromiseName, RESERVED, rejection, resolution, settled};
pub use reason::{Reason, Waiting};
pub use retry::{AttemptBackoff, RetryPolicy, doubled};
pub use route::{Method, PathPattern, path_segment};
pub use schema::{Misfit, Schema};
pub use signal::{Key, Signal, Topic};
pub use signature::Signer;
pub use status::Status;
pub use stream::{CLOSED, Offset, StreamPage, Then};
pub use taken::LastTaken;
pub use terms::{Attributes, Terms, Timeout};
pub use time::{A_HUNDRED_YEARS_MS, EpochMs, WorkflowTime};
pub use trace::TraceContext;
pub use undo::{Registered, StepEnded, UNDO, UndoCall, plan as plan_undo};
pub use unique::{NameClash, check_unique};
