//! Named points at which a test can kill the process, as `kill -9` would.
//!
//! Each marks a boundary of the promise: before and after an effect, before and after a commit, before an answer. In a
//! build for users [`hit`] is empty. In a build with the feature `failpoints`:
//!
//! * `DBOS_HOST_FAILPOINTS_LOG=<file>`: each visit appends the point's name as a line, so a test learns which there are.
//! * `DBOS_HOST_KILL_AT=<name>#<n>`: the n-th visit (from 1) of that point kills the process with SIGKILL; with `*` for
//!   the name, the n-th visit of any.
//! * `DBOS_HOST_HOLD_AT=<name>#<n>=<file>`: the n-th visit waits until the file exists, so that a test can act in between.

/// A visit of the point `name`.
#[cfg(not(feature = "failpoints"))]
#[inline]
#[expect(clippy::unused_async, reason = "the build for tests waits here")]
pub async fn hit(_name: &'static str) {}

#[cfg(feature = "failpoints")]
pub use enabled::hit;

#[cfg(feature = "failpoints")]
mod enabled {
    use std::collections::HashMap;
    use std::io::Write;
    use std::path::PathBuf;
    use std::sync::{Mutex, OnceLock, PoisonError};
    use std::time::Duration;

    /// The name of all points together.
    const ANY: &str = "*";

    struct Points {
        log: Option<PathBuf>,
        kill: Option<(String, u32)>,
        hold: Option<(String, u32, PathBuf)>,
        visits: Mutex<HashMap<&'static str, u32>>,
    }

    fn points() -> &'static Points {
        static POINTS: OnceLock<Points> = OnceLock::new();
        POINTS.get_or_init(|| {
            let numbered = |text: &str| {
                let (name, n) = text.split_once('#').expect("a fail point is given as `<name>#<n>`");
                (name.to_owned(), n.parse().expect("the visit of a fail point is a number"))
            };
            Points {
                log: std::env::var_os("DBOS_HOST_FAILPOINTS_LOG").map(PathBuf::from),
                kill: std::env::var("DBOS_HOST_KILL_AT").ok().map(|text| numbered(&text)),
                hold: std::env::var("DBOS_HOST_HOLD_AT").ok().map(|text| {
                    let (point, file) = text.split_once('=').expect("a hold is given as `<name>#<n>=<file>`");
                    let (name, n) = numbered(point);
                    (name, n, PathBuf::from(file))
                }),
                visits: Mutex::default(),
            }
        })
    }

    /// A visit of the point `name`.
    pub async fn hit(name: &'static str) {
        let points = points();
        let (visit, any) = {
            let mut visits = points.visits.lock().unwrap_or_else(PoisonError::into_inner);
            let mut count = |name| {
                let visit = visits.entry(name).or_insert(0);
                *visit += 1;
                *visit
            };
            (count(name), count(ANY))
        };
        if let Some(path) = &points.log {
            let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).expect("open the log");
            // In one write, which nobody else's is in the middle of.
            file.write_all(format!("{name}\n").as_bytes()).expect("write the log of fail points");
        }
        if points.kill.as_ref().is_some_and(|(at, n)| (at == name && *n == visit) || (at == ANY && *n == any)) {
            let own = rustix::process::getpid();
            rustix::process::kill_process(own, rustix::process::Signal::KILL).expect("a process may kill itself");
            // The signal may take a moment to arrive; nothing may happen until it does.
            std::future::pending::<()>().await;
        }
        if let Some((at, n, until)) = &points.hold
            && at == name
            && *n == visit
        {
            std::fs::write(until.with_extension("reached"), []).expect("say that the point is reached");
            while !until.exists() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    }
}
