//! The thin loop: look, plan, act, again and again, until the process ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::plan::{Findings, Move, plan};
use crate::database::{Backoff, DatabaseError};
use crate::executor::{Executor, Identity};
use crate::failpoint;
use crate::workflow::{AppName, WorkflowId};

/// The pause between two pages of a take-over: a thousand runs each, so a host that died with a hundred thousand costs the
/// database a few seconds of attention and the runs that go on anyway next to nothing.
const PAUSE_BETWEEN_PAGES: Duration = Duration::from_millis(20);

/// Watches the other executors for ever, and at first takes what this executor's old incarnation left.
pub async fn watch(executor: Arc<Executor>, every: Duration) {
    let mut state = State { first_look_of: None, unfinished: false, last_forgot: None };
    let mut backoff = Backoff::new("look after other hosts' workflows");
    loop {
        match look_and_act(&executor, &mut state).await {
            Ok(()) => {
                backoff = Backoff::new("look after other hosts' workflows");
                tokio::time::sleep(every).await;
            }
            // Not clean: again, soon.
            Err(error) => {
                state.unfinished = true;
                backoff.wait(&error).await;
            }
        }
    }
}

struct State {
    first_look_of: Option<Identity>,
    unfinished: bool,
    last_forgot: Option<Instant>,
}

async fn look_and_act(executor: &Arc<Executor>, state: &mut State) -> Result<(), DatabaseError> {
    // Before the identity: what is doubted is what the identity that is looked after below has done, or an earlier one.
    let doubt = executor.take_doubt();
    state.unfinished |= doubt;
    let identity = executor.identity();
    // Before the runs are claimed anew: the attempts are given back under the claims that they were counted with.
    // They are forgotten only behind it. If its answer was lost, they are given back once more: a run that has one attempt
    // too many is better off than one whose host's trouble counts against it for ever.
    let lapsed = executor.lapsed();
    if !lapsed.is_empty() {
        executor.database().give_back_attempts(&lapsed).await?;
        executor.forget_lapsed(&lapsed);
    }
    let seen = state.first_look_of.as_ref().is_some_and(|seen| seen.incarnation == identity.incarnation);
    let findings = Findings {
        expired: executor.database().expired_executors(&identity.executor).await?,
        doubt,
        unfinished: state.unfinished,
        is_first_look: !seen,
    };
    // If anything below fails, the next look has to find its own runs again: an answer may have been lost.
    state.unfinished = findings.doubt || findings.unfinished;
    let mut is_clean = true;
    for action in plan(&identity.executor, &findings, state.last_forgot, Instant::now()) {
        match action {
            Move::TakeOver(dead) => {
                take_over(executor, &identity, &dead).await?;
                if dead == identity.executor {
                    is_clean = !has_left_behind(executor, &identity, &dead).await?;
                    is_clean &= leave_others(executor, &identity).await?;
                }
            }
            Move::AdoptOwn => adopt_own(executor, &identity).await?,
            Move::Forget => {
                executor.database().forget_executors().await?;
                let current: Vec<_> = executor.apps().map(|app| app.current()).collect();
                let current: Vec<_> = current.iter().map(|component| component.digest()).collect();
                executor.database().use_components(&current).await?;
                state.last_forgot = Some(Instant::now());
            }
        }
    }
    // Otherwise the next look begins with them again; those of other executors it looks for anyway.
    if is_clean {
        state.first_look_of = Some(identity);
    }
    state.unfinished = false;
    Ok(())
}

/// Takes what `dead` left, page by page, and drives it. Returns the runs.
pub(super) async fn take_over(
    executor: &Arc<Executor>,
    identity: &Identity,
    dead: &str,
) -> Result<Vec<WorkflowId>, DatabaseError> {
    let mut all: Vec<WorkflowId> = Vec::new();
    let apps: Vec<AppName> = executor.apps().map(|app| app.name().clone()).collect();
    loop {
        failpoint::hit("recovery.before_page").await;
        let owner = (identity.executor.as_str(), &identity.incarnation);
        let after = all.last().map_or("", WorkflowId::as_str);
        let taken = executor.database().take_over(dead, &apps, owner, after).await?;
        failpoint::hit("recovery.after_page").await;
        if taken.is_empty() {
            return Ok(all);
        }
        all.extend(taken.iter().map(|run| run.claim.run().clone()));
        let workflows = if taken.len() == 1 { "workflow" } else { "workflows" };
        tracing::info!("recovering {} unfinished {workflows} of executor `{dead}`", taken.len());
        executor.adopt(taken);
        tokio::time::sleep(PAUSE_BETWEEN_PAGES).await;
    }
}

/// Whether something is left, because somebody else has locked it.
async fn has_left_behind(executor: &Executor, identity: &Identity, dead: &str) -> Result<bool, DatabaseError> {
    let apps: Vec<AppName> = executor.apps().map(|app| app.name().clone()).collect();
    let owner = (identity.executor.as_str(), &identity.incarnation);
    let is_left = executor.database().has_left_behind(dead, &apps, owner).await?;
    if is_left {
        tracing::warn!("somebody else has locked unfinished workflows in the database; they are taken over later");
    }
    Ok(is_left)
}

/// Leaves what this executor had of apps that it does not serve any more to whoever serves them. False: not all of it,
/// because somebody else has locked something.
async fn leave_others(executor: &Arc<Executor>, identity: &Identity) -> Result<bool, DatabaseError> {
    let apps: Vec<AppName> = executor.apps().map(|app| app.name().clone()).collect();
    let nobody = format!("{}-left-{}", identity.executor, &uuid::Uuid::new_v4().simple().to_string()[..6]);
    let owner = (identity.executor.as_str(), &identity.incarnation);
    loop {
        let left = executor.database().leave(&nobody, &apps, owner).await?;
        if left == 0 {
            return Ok(!executor.database().has_to_leave(&apps, owner).await?);
        }
        tracing::info!("{left} unfinished workflows are of apps that this host does not serve; others may take them");
        tokio::time::sleep(PAUSE_BETWEEN_PAGES).await;
    }
}

async fn adopt_own(executor: &Arc<Executor>, identity: &Identity) -> Result<(), DatabaseError> {
    let mut after = String::new();
    loop {
        let owner = (identity.executor.as_str(), &identity.incarnation);
        let own = executor.database().own_runs(owner, &after).await?;
        let Some(last) = own.last() else { return Ok(()) };
        after = last.claim.run().as_str().to_owned();
        executor.adopt(own);
        tokio::time::sleep(PAUSE_BETWEEN_PAGES).await;
    }
}
