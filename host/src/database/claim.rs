//! Proof of ownership.
//!
//! A claim can only be made in this module's folder, by the statements that make a host the owner of a run (a start, a
//! take-over), and every function that writes for a run asks for one: an unfenced write does not compile.

use std::fmt;
use std::sync::Arc;

use crate::workflow::WorkflowId;

/// One life of an executor's process: a random id that no guest can guess. The owner tokens of its runs begin with it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Incarnation(Arc<str>);

impl Incarnation {
    /// A new incarnation.
    #[must_use]
    pub fn fresh() -> Self {
        Self(uuid::Uuid::new_v4().simple().to_string().into())
    }

    /// As the database stores it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A token for one claim. Each claim has its own, so that a run which was cancelled and resumed is not mistaken for
    /// its former self by an instance that has not noticed yet.
    pub(super) fn token(&self) -> String {
        format!("{self}:{}", uuid::Uuid::new_v4().simple())
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Enough to tell two apart in a log, too little to forge a token.
        write!(f, "Incarnation({}…)", &self.0[..8])
    }
}

/// Proof that this host owns a run now. What it proves may end at any time; the database checks it at each write.
#[derive(Clone, PartialEq, Eq)]
pub struct Claim {
    run: WorkflowId,
    token: Arc<str>,
}

impl Claim {
    pub(super) fn new(run: WorkflowId, token: &str) -> Self {
        Self { run, token: token.into() }
    }

    /// The run that is owned.
    #[must_use]
    pub fn run(&self) -> &WorkflowId {
        &self.run
    }

    /// True when this incarnation made the claim. A claim of an earlier one is over: the lease that it stood on lapsed.
    #[must_use]
    pub fn is_of(&self, incarnation: &Incarnation) -> bool {
        self.token.strip_prefix(incarnation.as_str()).is_some_and(|rest| rest.starts_with(':'))
    }

    pub(super) fn token(&self) -> &str {
        &self.token
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Claim({})", self.run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_belongs_to_the_incarnation_that_made_it() {
        let (first, second) = (Incarnation::fresh(), Incarnation::fresh());
        let claim = Claim::new(WorkflowId::stored("a"), &first.token());
        assert!(claim.is_of(&first) && !claim.is_of(&second));
    }
}
