//! Patches: how changed code asks whether a run has come here by the old way.
//!
//! A run may go on with another component than the one that it began with. Where the code has changed in the middle, a
//! replay would ask for what is not recorded. So the changed code asks first, and the answer must be the same in each
//! replay and must not stand in the way of a run that knows nothing of it. A patch that applies leaves a record, the
//! *marker*, in front of what it has brought; where another call is recorded in the marker's place, the run has gone the
//! old way, and asking takes no number. The rules are those of DBOS, whose processes read and write the same markers.

use super::history::{Next, Operation, OperationKind};
use super::id::{InvalidName, check_text};

/// The name of a patch: 1 to 255 bytes without control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatchName(String);

/// How the code asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patch {
    /// The code has the old way and the new one.
    Introduced,
    /// The code has the new way only; there may still be markers.
    Deprecated,
}

impl PatchName {
    /// Checks a name that a guest came with.
    ///
    /// # Errors
    /// When it is empty, longer than 255 bytes, or has control characters.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        check_text("name of a patch", text)?;
        Ok(Self(text.into()))
    }

    /// The call that leaves the marker, or passes over it. Both ways of asking are the same call.
    #[must_use]
    pub fn marker(&self) -> Operation {
        let arguments = serde_json::Value::Object(serde_json::Map::new());
        Operation { kind: OperationKind::Patch, name: format!("DBOS.patch-{}", self.0), arguments }
    }
}

impl Patch {
    /// Whether this way of asking takes the next number for the marker, by what stands in its place.
    #[must_use]
    pub fn takes(self, marker: &Operation, next: Next<'_>) -> bool {
        match (self, next) {
            (_, Next::Recorded(name)) => name == marker.name,
            (Self::Introduced, Next::Nothing) => true,
            // Some call is under way there, and a marker is never left without a record in front of later ones.
            (_, Next::Gap) => false,
            // Nobody needs a new marker: there is one way only.
            (Self::Deprecated, Next::Nothing) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_runs_take_the_new_way_and_old_ones_stay_on_the_old_one() {
        let marker = PatchName::parse("check first").unwrap().marker();
        assert_eq!(marker.name, "DBOS.patch-check first");
        for (next, introduced, deprecated) in [
            (Next::Nothing, true, false),
            (Next::Recorded("DBOS.patch-check first"), true, true),
            (Next::Recorded("DBOS.patch-check"), false, false),
            (Next::Recorded("check first"), false, false),
            (Next::Gap, false, false),
        ] {
            assert_eq!(Patch::Introduced.takes(&marker, next), introduced, "{next:?}");
            assert_eq!(Patch::Deprecated.takes(&marker, next), deprecated, "{next:?}");
        }
    }

    #[test]
    fn a_name_that_cannot_be_recorded_is_refused() {
        assert_eq!(PatchName::parse("").unwrap_err().to_string(), "name of a patch `` is not valid: it is empty");
        assert!(PatchName::parse("a\0b").unwrap_err().reason().contains("control characters"));
        assert!(PatchName::parse(&"x".repeat(256)).unwrap_err().reason().contains("255 bytes"));
        assert!(PatchName::parse(&"x".repeat(255)).is_ok());
    }
}
