//! The executor's id: configured, or made once and kept in the state folder.

use std::io::{ErrorKind, Write};

use super::config::Config;
use super::failure::Failure;

/// The id of this host. A restart has the same one, so it takes its own workflows up at once.
pub(crate) fn of(config: &Config) -> Result<String, Failure> {
    if let Some(id) = &config.executor_id {
        return Ok(id.as_str().to_owned());
    }
    let path = config.state.join("executor-id");
    let failed = |error| Failure::to(format!("keep the executor's id in `{}`", path.display())).because(error);
    match std::fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    // Two hosts that start at once in one folder make different ones; the first file stays, and both read it.
    let id = format!("host-{}", uuid::Uuid::new_v4().simple());
    let id = id[..17].to_owned();
    std::fs::create_dir_all(&config.state).map_err(failed)?;
    let mut file = tempfile::NamedTempFile::new_in(&config.state).map_err(failed)?;
    writeln!(file, "{id}").map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    match file.persist_noclobber(&path) {
        Ok(_) => Ok(id),
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => {
            std::fs::read_to_string(&path).map(|text| text.trim().to_owned()).map_err(failed)
        }
        Err(error) => Err(failed(error.error)),
    }
}
