//! Changed workflows that old runs go on with.

use crate::{Result, host};

/// Whether this run takes the way that a change of the code has brought. Available in workflows.
///
/// A run is replayed by the very component that started it, so a deployment needs no patch: old runs end with the old
/// code. A patch is needed where the records of one component go on with another: in a fork or a rewind to a version that has
/// a mistake corrected (`dbos-host workflow fork ID --failed --app-version current`). Its replay must ask for what is
/// recorded:
///
/// ```no_run
/// # use dbos_guest::{Result, patch};
/// # fn check() -> Result<()> { Ok(()) }
/// # fn charge() -> Result<()> { Ok(()) }
/// # fn order() -> Result<()> {
/// if patch("check before the charge")? {
///     check()?;
/// }
/// charge()?;
/// # Ok(())
/// # }
/// ```
///
/// * `true` in a run that comes here for the first time. It takes a number and is recorded, as `DBOS.patch-<name>`; the
///   record is written before whatever the workflow does next, and every replay hears `true` again.
/// * `false` in a run that has gone on here without the patch: something else is recorded in this place. It takes no number
///   and costs no write, so that the old code finds its records.
///
/// In a loop each time is a question of its own: a run may take the old way in the rounds that are recorded and the new one
/// in those that follow. Each change of the code needs a name of its own.
///
/// When no run is left that takes the old way, use [`deprecate_patch`].
///
/// # Errors
/// `invalid_patch`, without a record: the name is empty, longer than 255 bytes, or has control characters.
pub fn patch(name: &str) -> Result<bool> {
    host::patch(name)
}

/// Stands in the place of a [`patch`] whose old way is gone, while there are runs that have recorded it. Available in
/// workflows.
///
/// In such a run it passes over the record. In any other it does nothing: no number, no write. When no unfinished run has
/// the record any more, the call can be removed.
///
/// ```no_run
/// # use dbos_guest::{Result, deprecate_patch};
/// # fn check() -> Result<()> { Ok(()) }
/// # fn charge() -> Result<()> { Ok(()) }
/// # fn order() -> Result<()> {
/// deprecate_patch("check before the charge")?;
/// check()?;
/// charge()?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`patch`].
pub fn deprecate_patch(name: &str) -> Result<()> {
    host::deprecate_patch(name)
}
