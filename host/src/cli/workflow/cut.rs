//! From where a workflow is done again, and with which component: what `workflow fork` and `workflow rewind` are both told.

use clap::Args;
use clap::builder::TypedValueParser as _;

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::database::{Refusal, Version};
use crate::workflow::{ComponentDigest, Cut, StepNumber};

/// From where, and with what. The step must be said: going on somewhere else than was meant does things twice.
#[derive(Debug, Args)]
pub(super) struct CutArgs {
    #[command(flatten)]
    from: From,

    /// Go on with this component: its digest, or `current` for the one of new workflows [default: the one it has]
    #[arg(long, value_name = "DIGEST", value_parser = version)]
    app_version: Option<Version>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct From {
    /// Keep what the steps before this one have recorded
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i32).range(1..).map(StepNumber::stored))]
    step: Option<StepNumber>,

    /// Keep what was recorded before the step that failed
    #[arg(long)]
    failed: bool,
}

impl CutArgs {
    pub(super) fn cut(&self) -> Cut {
        self.from.step.map_or(Cut::Failure, Cut::Step)
    }

    pub(super) fn version(&self) -> Version {
        self.app_version.clone().unwrap_or(Version::Same)
    }
}

fn version(text: &str) -> Result<Version, &'static str> {
    match text {
        "current" => Ok(Version::Current),
        _ => ComponentDigest::stored(text)
            .map(Version::Given)
            .ok_or("expected a digest of 64 digits as `workflow get` shows it, or `current`"),
    }
}

/// What is told when nothing was done.
pub(super) fn refused(verb: &str, id: &str, refusal: &Refusal) -> Failure {
    if let Refusal::Unknown(run) = refusal {
        return super::not_found(run.as_str());
    }
    let failure = Failure::to(format!("{verb} the workflow `{id}`")).because(refusal.to_string());
    let failure = failure.exit(Exit::Conflict).code(refusal.code());
    refusal.advice().into_iter().fold(failure, Failure::hint)
}
