//! How long finished runs are kept.
//!
//! Problem: nobody but the operator knows how long a result may still be asked for, or a request with its key be sent again:
//! with the run its id is forgotten, and the same request starts another one. So nothing is removed unless somebody
//! says what may go. Then it has to be done at the side: in small pages with pauses between them, by one host at a time, so
//! that those who work hardly notice; and it may end at any point, for each page is whole.
//!
//! What a page is, and what stays because it is needed, is the matter of `database/retention.rs`. This module must not know
//! wasm or HTTP.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::database::{Backoff, Boundary, Database, DatabaseError, EndOrder, Remover};
use crate::workflow::AppName;

/// How often a running host looks. What has become too old goes a minute later than it could; and a look that finds
/// nothing costs the database some statements.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// A running host's pause after each piece of work, in times of what the piece took: one connection is busy for half of the
/// time. Without pauses, 6,000 runs went in a second on a machine of two busy cores (measured, of a million).
const PAUSE_FOR_WORK: u32 = 1;

/// How long the look at what runs hold is good for, and in times of what it took. A sweep of many millions takes hours, and
/// what a run gets a handle of meanwhile must stay.
const HELD_FOR: Duration = Duration::from_secs(2);
const PAUSE_FOR_HELD: u32 = 10;

/// How often a running host looks for components that nobody needs: the look may read all runs.
const COMPONENTS_EVERY: Duration = Duration::from_secs(3600);

/// Which finished runs of an app are kept. What is past one of the two may go; without either, nothing may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keep {
    /// Those that ended within this time.
    pub age: Option<Duration>,
    /// This many, the newest.
    pub count: Option<u32>,
}

impl Keep {
    /// True when nothing may go.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }
}

/// How a sweep is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Only find out what would go.
    DryRun,
    /// Remove it as fast as one connection can.
    Swift,
    /// Remove it with pauses, unless another host is at it.
    Gentle,
}

/// What a sweep did to the runs of an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Runs that were removed.
    pub removed: u64,
    /// Runs that stay because others that have not ended may need them.
    pub needed: u64,
}

/// Removes what may go.
///
/// When it returns, all of it is gone that could have gone when it began. `None`: another host is at it.
///
/// # Errors
/// When the database does not answer. What was removed is removed whole, the rest is there.
pub async fn sweep(
    database: &Database,
    keep: &[(AppName, Keep)],
    manner: Manner,
) -> Result<Option<BTreeMap<String, Swept>>, DatabaseError> {
    let mut swept: BTreeMap<String, Swept> = keep.iter().map(|(app, _)| (app.to_string(), Swept::default())).collect();
    let mut remover = Remover::open(database).await?;
    if manner == Manner::Gentle && !remover.try_lock().await? {
        return Ok(None);
    }
    let pause = async |begun: Instant| {
        if manner == Manner::Gentle {
            tokio::time::sleep(begun.elapsed() * PAUSE_FOR_WORK).await;
        }
    };
    let mut boundaries: Vec<Boundary> = Vec::new();
    for (app, keep) in keep {
        let begun = Instant::now();
        let age = keep.age.map(|age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
        boundaries.extend(remover.boundary(app, age, keep.count.map(i64::from)).await?);
        // Counting a million runs takes a second.
        pause(begun).await;
    }
    if boundaries.is_empty() {
        return Ok(Some(swept));
    }
    let mut after = EndOrder::default();
    let mut held: Option<(Instant, Duration)> = None;
    loop {
        let begun = Instant::now();
        if held.is_none_or(|(at, took)| at.elapsed() > HELD_FOR.max(took * PAUSE_FOR_HELD)) {
            remover.look_at_held().await?;
            held = Some((begun, begun.elapsed()));
        }
        let Some(page) = remover.remove_page(&boundaries, &after, manner == Manner::DryRun).await? else {
            return Ok(Some(swept));
        };
        for (app, count) in page.removed {
            swept.entry(app).or_default().removed += count;
        }
        for (app, count) in page.needed {
            swept.entry(app).or_default().needed += count;
        }
        after = page.after;
        pause(begun).await;
    }
}

/// Keeps these apps' finished runs as they are to be kept, for ever.
pub async fn keep(database: Database, keep: Vec<(AppName, Keep)>) {
    let keep: Vec<_> = keep.into_iter().filter(|(_, keep)| !keep.is_everything()).collect();
    if keep.is_empty() {
        return;
    }
    let mut backoff = Backoff::new("remove finished workflows");
    let mut components: Option<Instant> = None;
    loop {
        let due = components.is_none_or(|last| last.elapsed() >= COMPONENTS_EVERY);
        match keep_once(&database, &keep, due).await {
            Ok(()) => {
                backoff = Backoff::new("remove finished workflows");
                components = if due { Some(Instant::now()) } else { components };
                tokio::time::sleep(LOOK_EVERY).await;
            }
            Err(error) => backoff.wait(&error).await,
        }
    }
}

async fn keep_once(database: &Database, keep: &[(AppName, Keep)], components: bool) -> Result<(), DatabaseError> {
    let Some(swept) = sweep(database, keep, Manner::Gentle).await? else { return Ok(()) };
    for (app, Swept { removed, .. }) in swept.iter().filter(|(_, swept)| swept.removed > 0) {
        tracing::info!(app, "removed {removed} finished workflows");
    }
    if components {
        for digest in database.remove_unused_components(false).await? {
            tracing::info!("removed the component {digest}, which no workflow needs any more");
        }
    }
    Ok(())
}
