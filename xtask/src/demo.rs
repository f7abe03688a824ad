//! `cargo xtask demo`: the greeting example on an empty machine, by one command.
//!
//! It does what the guide tells a reader to do, with the same programs: nothing is switched on here that a user of
//! `dbos-host` would not have.
//!
//! This module must not know how any of the parts is built or ended.

use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::guestbook::Guestbook;
use crate::project::Project;
use crate::signals::{self, Relay};
use crate::{guests, postgres, shell};

/// Runs the demo until Ctrl-C, and returns the host's exit status.
pub(crate) fn run(project: &Project) -> Result<ExitCode> {
    postgres::ensure()?;
    let component = guests::greeting(project)?;
    shell::say("building dbos-host and the guestbook (the first time takes about ten minutes)");
    // The same choice of packages as in `cargo xtask test`: another one could have other features of the dependencies,
    // and compile the large ones again.
    shell::run(project.cargo("build").args(["--workspace", "--exclude", "dbos-host-tests", "--bins"]))?;

    let relay = Relay::start()?;
    let guestbook = Guestbook::start(&project.program("guestbook"), &project.cache.join("demo"))?;
    let host = |arguments: &[&str]| {
        let mut command = Command::new(project.program("dbos-host"));
        command.args(arguments).current_dir(project.root.join("examples/greeting"));
        command.env("GUESTBOOK_URL", &guestbook.url).env("GUESTBOOK_KEY", &guestbook.key);
        command
    };
    shell::say("bringing the database up to date");
    let migrated = relay.run(&mut host(&["migrate"]))?;
    if !migrated.success() || relay.is_interrupted() {
        return Ok(signals::exit_code(migrated).into());
    }
    shell::say(&invitation(&guestbook));
    let mut command = host(&["run"]);
    let status = relay.run(command.arg(component))?;
    // The guestbook ends here, after the host.
    drop(guestbook);
    Ok(signals::exit_code(status).into())
}

fn invitation(guestbook: &Guestbook) -> String {
    format!(
        "
Once the host says that it listens, open
  http://localhost:8000/                  the front page
  http://localhost:8000/greeting/Mike     starts a durable workflow that takes five seconds
  http://localhost:8000/greetings         what it wrote to the database
  {url}/greetings/{key}
                                          the signatures in the guestbook
Ctrl-C ends everything. Try it, or kill -9 the host, in the middle of a greeting, and run this command again.
",
        url = guestbook.url,
        key = guestbook.key,
    )
}
