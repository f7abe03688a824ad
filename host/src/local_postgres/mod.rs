//! The Postgres that the host brings itself when no `database_url` is given.
//!
//! A newcomer should not have to set up a database, and development should run on the same engine as production. So the
//! host uses the PostgreSQL programs of the machine, keeps the data under its state folder, and starts and stops the
//! server with itself. It must then hold, whatever is killed and whenever:
//!
//! * Data that was committed is there in the next run.
//! * Two hosts that share a state folder share one server, and the last one stops it.
//! * A server that outlived a killed host is used again. Traces of a dead one keep nobody from starting.
//! * A half-made cluster is never used.
//! * Nobody but the user who runs the host can reach the server: it listens on a Unix socket in a folder of mode 0700,
//!   and on no network address.
//!
//! Asking Postgres whether it runs is not enough: `pg_ctl status` and the server itself only look whether the process
//! number in `postmaster.pid` exists, and call a zombie, or a stranger that got the number after a reboot, a running
//! server. So this module takes a closer look (see `look`), and every move from here on is made under locks of its own
//! (see `lock`), which vanish with the process that held them.
//!
//! This module starts and stops a server. It must not know what is stored in it, nor the driver that talks to it: it
//! names the socket, the user and the database, and that is all. It needs `/proc`, so it works on Linux.
//!
//! | folder or file | what it is |
//! |---|---|
//! | `<state>/postgres/` | the home of the server, 0700, owned by the user that runs the server |
//! | `<state>/postgres/data/` | the cluster |
//! | `<state>/postgres/server.log` | what the server printed |
//! | `<state>/postgres/socket/` | the socket (in `/tmp` when this path is too long for a socket) |
//! | `<state>/postgres.lock`, `.users` | the locks, beside the home since the server's user must not own them |
//! | `<state>/postgres-home` | only when the home had to be somewhere else: its path |

mod account;
mod create;
mod error;
mod local;
mod lock;
mod look;
mod machine;
mod place;
mod programs;
mod remove;
mod server;
#[cfg(test)]
mod tests;

pub use error::LocalPostgresError;
pub use local::{Connection, LocalPostgres};
pub use remove::LocalData;
