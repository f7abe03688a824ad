//! Which lines are shown.
//!
//! Libraries talk about their own affairs at `info`, so only the host and its guests are heard at that level. Whoever
//! asks for more of one (`DBOS_LOG=guest=debug`) should not lose the others: what is asked for is added to the default,
//! unless it names a level for everything (`DBOS_LOG=debug`, `DBOS_LOG=off`).
//!
//! At `trace`, libraries print what passes through them: wasmtime the arguments of each call of a guest, HTTP libraries
//! parts of requests. An app's secrets are in there, and a log goes where they must not, so no wish makes that heard.

use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{LevelFilter, ParseError};

use super::GUEST;

/// The target of the host's own events, or what theirs begins with.
const HOST: &str = "dbos_host";

/// Warnings of everybody, and what the host and the guests have to tell.
const DEFAULT: &str = "warn,dbos_host=info,guest=info";

/// The filter for the text of `DBOS_LOG`, empty when it is not set.
pub(crate) fn parse(wanted: &str) -> Result<EnvFilter, ParseError> {
    let names_every_target = wanted.split(',').any(|directive| directive.trim().parse::<LevelFilter>().is_ok());
    let directives = match wanted.trim() {
        "" => DEFAULT.to_owned(),
        wanted if names_every_target => wanted.to_owned(),
        wanted => format!("{DEFAULT},{wanted}"),
    };
    EnvFilter::builder().parse(directives)
}

/// Whether an event may be shown, whatever was asked for.
pub(crate) fn may_be_heard(event: &Metadata<'_>) -> bool {
    let target = event.target();
    *event.level() != Level::TRACE || target == GUEST || target == HOST || target.starts_with("dbos_host::")
}

/// Whether anybody's debug lines are shown: then the reader is looking for something, and lines say more.
pub(crate) fn shows_debug(filter: &EnvFilter) -> bool {
    filter.max_level_hint().is_none_or(|level| level >= LevelFilter::DEBUG)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directives(wanted: &str) -> Vec<String> {
        let filter = parse(wanted).expect("a filter").to_string();
        let mut directives: Vec<String> = filter.split(',').map(str::to_owned).collect();
        directives.sort();
        directives
    }

    #[test]
    fn without_a_wish_host_and_guests_are_heard() {
        assert_eq!(directives(""), ["dbos_host=info", "guest=info", "warn"]);
        assert_eq!(directives("  "), ["dbos_host=info", "guest=info", "warn"]);
    }

    #[test]
    fn a_wish_for_one_target_leaves_the_others() {
        assert_eq!(directives("guest=debug"), ["dbos_host=info", "guest=debug", "warn"]);
        assert_eq!(directives("hyper=info"), ["dbos_host=info", "guest=info", "hyper=info", "warn"]);
    }

    #[test]
    fn a_level_for_everything_replaces_the_default() {
        assert_eq!(directives("error"), ["error"]);
        assert_eq!(directives("debug,hyper=off"), ["debug", "hyper=off"]);
    }

    #[test]
    fn debug_is_noticed() {
        assert!(!shows_debug(&parse("").expect("a filter")));
        assert!(shows_debug(&parse("guest=debug").expect("a filter")));
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(parse("dbos_host=loud").is_err());
    }
}
