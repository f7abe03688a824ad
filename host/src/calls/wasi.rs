//! WASI 0.2 for guests: what ordinary toolchains' components need to load, and as little as that.
//!
//! stdout and stderr become log lines, the file system is empty, there are no arguments and no sockets. In a workflow the
//! clock is workflow time and randomness comes from a seed, so that standard libraries (`SystemTime`, `HashMap`) do the
//! same in each replay.

use std::time::Duration;

use bytes::Bytes;
use rand_chacha::rand_core::Rng;
use tracing::Level;
use wasmtime::component::Linker;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtxView, WasiHttpView};

use super::bindings;
use super::clocks::{Guarded, GuardedClock};
use super::guest::Guest;
use super::log::GuestLog;
use super::random::{Draws, Seeds};
use super::requests;
use crate::workflow::{LastTaken, WorkflowTime};

/// What a guest may write at once, as WASI itself limits a blocking write; a line that is longer is cut into pieces. Each
/// write is one call of the host that does not yield, and all of it may be empty lines.
const LINE_BUFFER: usize = 4096;

/// Random bytes of one call: what any key or seed needs, thousands of times. The host holds them until they are copied.
const MAX_RANDOM: u64 = 1024 * 1024;

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.outbound }
    }
}

/// Everything that a guest may import.
///
/// # Errors
/// Only if two definitions clash, which would be a bug here.
pub fn add_to_linker<T>(linker: &mut Linker<T>) -> wasmtime::Result<()>
where
    T: WasiView + WasiHttpView + AsMut<Guest> + 'static,
{
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    // What a phase may forbid replaces what was just defined.
    linker.allow_shadowing(true);
    wasmtime_wasi::p2::bindings::clocks::monotonic_clock::add_to_linker::<T, GuardedClock>(linker, |state| {
        Guarded::of(state.as_mut())
    })?;
    requests::guard(linker)?;
    linker.allow_shadowing(false);
    bindings::Guest::add_to_linker::<T, wasmtime::component::HasSelf<Guest>>(linker, T::as_mut)
}

/// For an instance that only says what the app has.
pub(super) fn closed(log: &GuestLog) -> WasiCtx {
    builder(log).build()
}

/// For a handler or a step: the app's environment.
pub(super) fn acting(log: &GuestLog, env: &[(String, String)]) -> WasiCtx {
    builder(log).envs(env).build()
}

/// For a workflow.
pub(super) fn deterministic(log: &GuestLog, time: WorkflowTime, seeds: &Seeds, taken: &LastTaken) -> WasiCtx {
    // A seed is asked for before the first call, or never: it is the oldest one's.
    let mut draws = Draws::new(seeds, 0, taken);
    let insecure_seed = u128::from(draws.next_u64()) << 64 | u128::from(draws.next_u64());
    builder(log)
        .wall_clock(Frozen(time.clone()))
        .monotonic_clock(Frozen(time))
        .secure_random(Draws::new(seeds, 2, taken))
        .insecure_random(Draws::new(seeds, 1, taken))
        .insecure_random_seed(insecure_seed)
        .build()
}

fn builder(log: &GuestLog) -> WasiCtxBuilder {
    let mut builder = WasiCtxBuilder::new();
    builder
        .stdout(Output { log: log.clone(), level: Level::INFO })
        .stderr(Output { log: log.clone(), level: Level::WARN })
        .allow_tcp(false)
        .allow_udp(false)
        .max_random_size(MAX_RANDOM);
    builder
}

/// Both clocks of a workflow: they stand still between two results.
struct Frozen(WorkflowTime);

impl Frozen {
    fn since_epoch(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.now().0).unwrap_or(0))
    }
}

impl HostWallClock for Frozen {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        self.since_epoch()
    }
}

impl HostMonotonicClock for Frozen {
    fn resolution(&self) -> u64 {
        1_000_000
    }

    fn now(&self) -> u64 {
        u64::try_from(self.since_epoch().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// stdout or stderr: each line becomes a log line.
struct Output {
    log: GuestLog,
    level: Level,
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        // Only WASI 0.3 uses it, which is not linked.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(Lines { log: self.log.clone(), level: self.level, rest: Vec::new() })
    }
}

/// Cuts a stream of bytes into lines.
struct Lines {
    log: GuestLog,
    level: Level,
    rest: Vec<u8>,
}

impl Lines {
    fn emit(&self, line: &[u8]) {
        self.log.line(self.level, String::from_utf8_lossy(line).into_owned());
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Lines {
    async fn ready(&mut self) {}
}

impl OutputStream for Lines {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        // More than `check_write` allowed: a guest that does so is broken or wants to keep the host busy in one call.
        if bytes.len() > LINE_BUFFER {
            return Err(StreamError::trap("more was written than the stream had room for"));
        }
        let mut pieces = bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            self.rest.extend_from_slice(piece);
            if pieces.peek().is_some() || self.rest.len() > LINE_BUFFER {
                let line = std::mem::take(&mut self.rest);
                self.emit(&line);
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(LINE_BUFFER)
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if !self.rest.is_empty() {
            self.emit(&self.rest);
        }
    }
}
