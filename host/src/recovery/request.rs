//! Taking over because somebody asks for it, and not waiting for the next look.

use std::sync::Arc;
use std::time::Duration;

use super::watch::take_over;
use crate::database::DatabaseError;
use crate::executor::Executor;
use crate::workflow::WorkflowId;

/// Why nothing, or not everything, was taken over.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The executor is the one that was asked.
    #[error("`{0}` is this very host, and runs its workflows")]
    Own(String),
    /// Its lease holds: it may be about to begin what would be begun here as well.
    #[error(
        "the executor `{executor}` holds its lease for another {} ms; if it has died, its workflows are taken over then without being asked for",
        left.as_millis()
    )]
    Alive {
        /// The executor.
        executor: String,
        /// How long its lease holds.
        left: Duration,
    },
    /// This host begins nothing new.
    #[error("the host is shutting down")]
    ShuttingDown,
    /// The database did not answer.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// Takes over the runs of these executors, all of them or, if one of them lives, none. Returns the runs; an executor that no
/// host of this kind has ever been has none. In a task of its own: whoever asks may go away, and what was taken must be
/// driven.
///
/// # Errors
/// When an executor lives, or the database does not answer. What had been taken by then is driven.
pub async fn recover(executor: &Arc<Executor>, dead: Vec<String>) -> Result<Vec<WorkflowId>, RecoverError> {
    let executor = Arc::clone(executor);
    let recovered = tokio::spawn(async move { take_all(&executor, &dead).await });
    recovered.await.unwrap_or(Err(RecoverError::ShuttingDown))
}

async fn take_all(executor: &Arc<Executor>, dead: &[String]) -> Result<Vec<WorkflowId>, RecoverError> {
    let identity = executor.identity();
    if dead.contains(&identity.executor) {
        return Err(RecoverError::Own(identity.executor));
    }
    let leases = executor.database().leases(dead).await?;
    if let Some((executor, left)) = leases.iter().find(|(_, left)| !left.is_zero()) {
        return Err(RecoverError::Alive { executor: executor.clone(), left: *left });
    }
    let mut taken = Vec::new();
    for (dead, _) in &leases {
        if executor.is_stopping() {
            return Err(RecoverError::ShuttingDown);
        }
        match take_over(executor, &identity, dead).await {
            Ok(runs) => taken.extend(runs),
            Err(error) => {
                // The page whose answer was lost may be this host's now.
                executor.doubt();
                return Err(error.into());
            }
        }
    }
    Ok(taken)
}
