//! Loading the component that a command names.

use std::io::ErrorKind;
use std::path::Path;

use super::config::Limits;
use super::exit::Exit;
use super::failure::Failure;
use super::progress::telling;
use crate::sandbox::{ArtefactCache, Component, Sandbox};
use crate::{executor, sandbox};

/// Instances beside those that have slots: the ones that only describe a component, and workflows that were given up while
/// they computed and end a moment later.
const OTHERS: u32 = 16;

/// How many instances of each phase the configuration allows.
pub(crate) fn slots(limits: &Limits) -> executor::SlotCounts {
    executor::SlotCounts {
        handlers: limits.handlers.get(),
        workflows: limits.workflows.get(),
        steps: limits.steps.get(),
    }
}

/// What runs, steps and requests may use.
pub(crate) fn run_limits(limits: &Limits) -> executor::Limits {
    executor::Limits {
        attempts: limits.attempts.get(),
        steps_per_run: limits.steps_per_run.get(),
        steps_per_run_at_once: limits.steps_per_run_at_once.get(),
        journal_connections: limits.journal_connections,
        waiting: limits.waiting.get(),
        handler: limits.handler,
        transaction: limits.transaction,
    }
}

/// wasmtime with the configured limits, and a cache for compiled components in the state folder.
pub(crate) fn sandbox(limits: &Limits, state: &Path) -> Result<Sandbox, Failure> {
    let folder = cache_folder(state);
    let cache = ArtefactCache::open(&folder)
        .map_err(|error| Failure::to("open the cache of compiled components").because(error))?;
    let slots = slots(limits);
    let instances = slots.handlers + slots.workflows + slots.steps + OTHERS;
    let memory = usize::try_from(limits.memory_bytes).unwrap_or(usize::MAX);
    let limits = sandbox::Limits { memory, processor: limits.processor };
    Sandbox::new(cache, limits, instances)
        .map_err(|error| Failure::to("prepare the sandbox").because(format!("{error:#}")))
}

#[cfg(not(feature = "failpoints"))]
fn cache_folder(state: &Path) -> std::path::PathBuf {
    state.join("components")
}

/// A hundred hosts of one test run compile each component once.
#[cfg(feature = "failpoints")]
fn cache_folder(state: &Path) -> std::path::PathBuf {
    std::env::var_os("DBOS_HOST_TEST_CACHE").map_or_else(|| state.join("components"), std::path::PathBuf::from)
}

/// Reads, compiles and checks the file.
pub(crate) async fn load(sandbox: &Sandbox, path: &Path) -> Result<(Vec<u8>, Component), Failure> {
    let action = || Failure::to(format!("load the component `{}`", path.display()));
    let bytes = tokio::fs::read(path).await.map_err(|error| {
        let missing = error.kind() == ErrorKind::NotFound;
        let failure = action().because(error).exit(Exit::Component);
        if missing { failure.hint("`dbos-host build` makes components, and prints where they are") } else { failure }
    })?;
    let what = || format!("compiling `{}`, {} KiB of WebAssembly", path.display(), bytes.len() / 1024);
    match telling(what, sandbox.load(bytes.clone())).await {
        Ok(component) => Ok((bytes, component)),
        Err(error) => Err(action().because(error).exit(Exit::Component)),
    }
}

/// What an app has, in words: `2 workflows, 1 step and 3 routes`.
pub(crate) fn summary(component: &Component) -> String {
    let count = |n: usize, word: &str| if n == 1 { format!("1 {word}") } else { format!("{n} {word}s") };
    let manifest = component.manifest();
    format!(
        "{}, {} and {}",
        count(manifest.workflows.len(), "workflow"),
        count(manifest.steps.len(), "step"),
        count(manifest.routes.len(), "route")
    )
}
