//! The system database: one file for each move in a workflow's life, and the journal through which records go.
//!
//! Problem: several hosts share one database, any of them may die, hang or wake up late at any moment, and answers to
//! commits get lost. So every write for a run locks its status row, compares the owner's token in the same statement,
//! and says exactly which of four things happened. No function here decides what happens next; that is the executor's.
//!
//! This module must not know wasm or HTTP. `tokio_postgres` is named nowhere else.

mod app_migration;
mod app_role;
mod attempt;
mod awaited;
mod cancel;
mod claim;
mod component;
mod connection;
mod connection_string;
mod continue_as_new;
mod cut;
mod deadline;
mod deployment;
mod dequeue;
mod error;
mod event;
mod finish;
mod fork;
mod guest_connect;
mod guest_cursor;
mod guest_patience;
mod guest_pool;
mod guest_savepoint;
mod guest_session;
mod guest_sql;
mod guest_wire;
mod history;
mod journal;
mod last_flight;
mod lease;
mod load;
mod lost;
mod message;
mod migration;
mod notify;
mod order;
mod ordinality;
mod pooler;
mod prepare;
mod progress;
mod read;
mod receive;
mod record;
mod reset;
mod resume;
mod retention;
mod rewind;
mod settlement;
mod shutdown;
mod start;
mod status;
mod stream;
mod survey;
mod take_over;
mod tls;
mod undo;
mod url;
mod waiting;

#[cfg(test)]
mod test_server;

pub use app_migration::{AppMigrationError, AppMigrationReport};
pub use app_role::{GuestLogin, RoleError};
pub use attempt::Attempt;
pub use awaited::pages;
pub use cancel::{Cancel, HowToCancel};
pub use claim::{Claim, Incarnation};
pub use component::StoredComponent;
pub use connection::{Backoff, Database, until_answered};
pub use continue_as_new::Continuation;
pub use cut::{Refusal, Version};
pub use deployment::DeployError;
pub use dequeue::Served;
pub use error::DatabaseError;
pub use finish::{FinalOutcome, Finish};
pub use fork::NewFork;
pub use guest_cursor::CursorNumber;
pub use guest_pool::GuestPool;
pub use guest_session::{Doom, Doomed, GuestSession, SessionEnd};
pub use guest_sql::SqlFailure;
#[cfg(feature = "failpoints")]
pub(crate) use guest_sql::fuzz as fuzz_sql;
pub use journal::{Entry, Journal, JournalClosed, Landed, Room, Ticket};
pub use last_flight::{Carried, Flight};
pub use lease::{LeaseConnection, Renewal};
pub use load::{Load, Loaded, Loader, LoaderClosed};
pub use message::{NewSend, nobody};
pub use migration::{MigrationError, Readiness, Report as MigrationReport};
pub use notify::Channel;
pub use read::{ListFilter, Outcome, RunRow, StepRow, stored_json};
pub use receive::{NewReceive, Received};
pub use record::{Effect, NewRecord};
pub use reset::{Belongings, ResetError};
pub use resume::Resume;
pub use retention::{Boundary, EndOrder, RemovedPage, Remover};
pub use start::{Existing, NewRun, WORKFLOW_EXISTS};
pub use status::RunStatus;
pub use survey::{RunDetails, SHOWN, StepDetails, Survey};
pub use take_over::TakenRun;
#[cfg(test)]
pub(crate) use test_server::TestServer;
pub use tls::TlsError;
pub use undo::{NewUndo, UndoRow};
pub use url::{ConnectError, DatabaseUrl};
