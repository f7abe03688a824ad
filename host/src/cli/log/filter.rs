//! Which lines are shown.
//!
//! Libraries talk about their own affairs at `info`, so only the host and its guests are heard at that level. Whoever
//! asks for more of one (`guest=debug`) should not lose the others: what is asked for is added to the default, unless it
//! names a level for everything (`debug`, `off`). The host's parts are known by their folder (`sandbox=debug`), so that
//! nobody has to know what its crate is called.
//!
//! At `trace`, libraries print what passes through them: wasmtime the arguments of each call of a guest, HTTP libraries
//! parts of requests. An app's secrets are in there, and a log goes where they must not, so no wish makes that heard.

use std::fmt;
use std::str::FromStr;

use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{LevelFilter, ParseError};

use super::GUEST;

/// The target of the host's own events, or what theirs begins with.
const HOST: &str = "dbos_host";

/// Warnings of everybody, and what the host and the guests have to tell.
const DEFAULT: &str = "warn,dbos_host=info,guest=info";

/// A wish for log lines, checked: empty, a level, or levels by target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogFilter(String);

impl FromStr for LogFilter {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let directives = directives(text.trim());
        EnvFilter::builder().parse(&directives)?;
        Ok(Self(directives))
    }
}

/// Whether an event may be shown, whatever was asked for.
pub(crate) fn may_be_heard(event: &Metadata<'_>) -> bool {
    let target = event.target();
    *event.level() != Level::TRACE || target == GUEST || target == HOST || target.starts_with("dbos_host::")
}

impl LogFilter {
    /// The filter itself.
    pub(super) fn into_filter(self) -> EnvFilter {
        EnvFilter::builder().parse(&self.0).expect("it was parsed when it was made")
    }

    /// Whether anybody's debug lines are shown: then the reader is looking for something, and lines say more.
    pub(super) fn shows_debug(&self) -> bool {
        self.clone().into_filter().max_level_hint().is_none_or(|level| level >= LevelFilter::DEBUG)
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn directives(wanted: &str) -> String {
    if wanted.is_empty() {
        return DEFAULT.to_owned();
    }
    let (mut own, mut names_every_target) = (Vec::new(), false);
    for directive in wanted.split(',').map(str::trim) {
        let is_level = directive.parse::<LevelFilter>().is_ok();
        names_every_target |= is_level;
        let name = directive.split(['=', '[']).next().unwrap_or_default();
        own.push(directive.to_owned());
        // Whether it is a library or a folder of the host: the one that it is not has no lines.
        if !is_level && !name.is_empty() && !name.starts_with("dbos_host") && name != GUEST {
            own.push(format!("dbos_host::{directive}"));
        }
    }
    let own = own.join(",");
    if names_every_target { own } else { format!("{DEFAULT},{own}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(wanted: &str) -> Vec<String> {
        let filter: LogFilter = wanted.parse().expect("a filter");
        let mut directives: Vec<String> = filter.into_filter().to_string().split(',').map(str::to_owned).collect();
        directives.sort();
        directives
    }

    fn filter(wanted: &str) -> LogFilter {
        wanted.parse().expect("a filter")
    }

    #[test]
    fn without_a_wish_host_and_guests_are_heard() {
        assert_eq!(parsed(""), ["dbos_host=info", "guest=info", "warn"]);
        assert_eq!(parsed("  "), ["dbos_host=info", "guest=info", "warn"]);
    }

    #[test]
    fn a_wish_for_one_target_leaves_the_others() {
        assert_eq!(parsed("guest=debug"), ["dbos_host=info", "guest=debug", "warn"]);
        assert_eq!(
            parsed("hyper=info"),
            ["dbos_host::hyper=info", "dbos_host=info", "guest=info", "hyper=info", "warn"]
        );
    }

    #[test]
    fn a_level_for_everything_replaces_the_default() {
        assert_eq!(parsed("error"), ["error"]);
        assert_eq!(parsed("debug,guest=off"), ["debug", "guest=off"]);
    }

    #[test]
    fn a_part_of_the_host_is_known_by_its_folder() {
        assert_eq!(parsed("info, sandbox=debug"), ["dbos_host::sandbox=debug", "info", "sandbox=debug"]);
        assert!(parsed("database::journal=trace").contains(&"dbos_host::database::journal=trace".to_owned()));
    }

    #[test]
    fn debug_is_noticed() {
        assert!(!filter("").shows_debug());
        assert!(filter("guest=debug").shows_debug());
    }

    #[test]
    fn nonsense_is_refused() {
        assert!("dbos_host=loud".parse::<LogFilter>().is_err());
    }
}
