//! Seeing to it that runs which failed or were cancelled are undone.
//!
//! Problem: whoever ends such a run may be a command, another program, or a host that dies in the next moment. So every host
//! looks for them: at its start, again and again, and at once when it has ended one itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::database::Backoff;
use crate::executor::Executor;

/// How often a host looks without a reason. What this host or its user does is looked for at once; the rest was left by somebody
/// who died, and a look goes through all sagas that are under way.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The pause between two looks is this many times as long as the look, whoever asks for one.
const PAUSE_FOR_LOOK: u32 = 3;

/// Starts what undoes runs, for ever.
pub async fn undo_what_failed(executor: Arc<Executor>) {
    let what = "look for workflows that are to be undone";
    let mut backoff = Backoff::new(what);
    loop {
        let begun = Instant::now();
        match executor.start_undos().await {
            Ok(()) => {
                backoff = Backoff::new(what);
                tokio::time::sleep(begun.elapsed() * PAUSE_FOR_LOOK).await;
                tokio::select! {
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                    () = executor.to_undo() => {}
                }
            }
            Err(error) => {
                // An answer may have been lost, and with it runs that this host owns now.
                executor.doubt();
                backoff.wait(&error).await;
            }
        }
    }
}
