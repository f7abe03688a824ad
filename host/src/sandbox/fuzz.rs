//! Components of any bytes. See [`crate::fuzz`].

use std::sync::OnceLock;
use std::time::Duration;

use super::{ArtefactCache, Limits, Sandbox};

/// What a component needs to be loaded (lifetime: the process).
struct Loader {
    runtime: tokio::runtime::Runtime,
    sandbox: Sandbox,
    /// Compiled components lie here; removed with the process.
    _folder: tempfile::TempDir,
}

/// Any bytes as a component: compiled, checked, and asked to describe itself.
///
/// # Panics
/// If this machine cannot run components.
pub(crate) fn component(data: &[u8]) {
    static LOADER: OnceLock<Loader> = OnceLock::new();
    let loader = LOADER.get_or_init(|| {
        let limits = Limits { memory: 16 << 20, processor: Duration::from_secs(1) };
        let folder = tempfile::tempdir().expect("a temporary folder");
        let cache = ArtefactCache::open(&folder.path().join("cache")).expect("a folder of this process");
        let sandbox = Sandbox::new(cache, limits, 4).expect("a machine that runs components");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        Loader { runtime: runtime.expect("a runtime"), sandbox, _folder: folder }
    });
    match loader.runtime.block_on(loader.sandbox.load(data.to_vec())) {
        Ok(component) => assert!(!component.manifest_json().is_empty(), "an accepted component has described itself"),
        Err(error) => drop(error.to_string()),
    }
}
