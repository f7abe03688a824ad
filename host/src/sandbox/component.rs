//! A component: loaded, checked, ready to make instances of.
//!
//! Whoever starts the host with a wrong file should learn which file and what is wrong with it: not wasm at all, a core
//! module, cut off, imports that no host grants (all of them), no app in it, or an app that contradicts itself.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::types::ComponentItem;

use super::end::{GuestEnd, Panic};
use super::engine::Sandbox;
use super::instance::Instance;
use crate::calls::bindings;
use crate::calls::{AppLog, Guest, GuestLog, LogBudget};
use crate::workflow::{AppName, ComponentDigest, Manifest, ManifestError};

/// The largest component, in bytes. Python's interpreter makes components of 18 MB; a row of the database ends at 1 GB.
const MAX_COMPONENT_BYTES: usize = 256 * 1024 * 1024;

/// How long a component may take to describe itself, its start included. It has no outside to wait for, so this is for
/// guests that wait on the clock; computing ends at `limits.processor_ms`. Python needs less than a second on a slow
/// machine.
const MAX_DESCRIBING: Duration = Duration::from_secs(30);

/// What it may print while it does: enough for an error.
const DESCRIBING_BYTES_PER_SECOND: u64 = 4096;

/// How long compiling may take. The largest components that toolchains make take ten seconds on two cores; and the
/// compiler cannot be interrupted, so what takes longer goes on until it is done, with nobody to wait for it.
const MAX_COMPILING: Duration = Duration::from_secs(300);

/// The interface that makes a component an app.
const APP: &str = "dbos:host/app@0.1.0";

/// What this host grants, by the beginning of the name; the rest of the name is checked by wasmtime.
const GRANTED: &[&str] = &[
    "dbos:host/communicator@0.1.0",
    "dbos:host/events@0.1.0",
    "dbos:host/log@0.1.0",
    "dbos:host/messages@0.1.0",
    "dbos:host/parallel@0.1.0",
    "dbos:host/promises@0.1.0",
    "dbos:host/sleep@0.1.0",
    "dbos:host/sql@0.1.0",
    "dbos:host/streams@0.1.0",
    "dbos:host/transaction@0.1.0",
    "dbos:host/types@0.1.0",
    "dbos:host/workflow@0.1.0",
    "wasi:cli/",
    "wasi:clocks/",
    "wasi:filesystem/",
    "wasi:http/types@",
    "wasi:http/outgoing-handler@",
    "wasi:io/",
    "wasi:random/",
    "wasi:sockets/",
];

/// A component that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It is too large.
    #[error("it has {0} bytes, more than the limit of {MAX_COMPONENT_BYTES}")]
    TooLarge(usize),
    /// It is something else.
    #[error("it is not WebAssembly: it does not begin with the bytes `00 61 73 6d`")]
    NotWasm,
    /// It is a core module.
    #[error(
        "it is a core WebAssembly module, not a component\n  hint: build it with `cargo build --target wasm32-wasip2` or \
         `cargo component build`"
    )]
    CoreModule,
    /// It is cut off or damaged.
    #[error("it is damaged or cut off, or uses features that this host does not have: {0}")]
    Invalid(String),
    /// It asks for more than there is.
    #[error("it imports what this host does not grant:{}", .0.iter().map(|i| format!("\n  - {i}")).collect::<String>())]
    Imports(Vec<String>),
    /// It is no app.
    #[error(
        "it does not export `{APP}`, so it is not an app for this host\n  hint: is `dbos-guest` used, and does the crate \
         have at least one workflow, step or route?"
    )]
    NoApp,
    /// An import or export has the right name and another type.
    #[error("it does not fit this host: {0}")]
    Mismatch(String),
    /// The compiler needs too long.
    #[error("it could not be compiled within {MAX_COMPILING:?}")]
    Compiling,
    /// `describe` failed.
    #[error("it cannot describe itself: {0}")]
    Describe(String),
    /// What it says about itself is wrong.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The app has nothing.
    #[error("its app is empty: no workflow, no step, no route")]
    Empty,
}

/// A component (lifetime: the process).
pub struct Component {
    sandbox: Sandbox,
    digest: ComponentDigest,
    manifest: Arc<Manifest>,
    manifest_json: String,
    pre: bindings::GuestPre<super::instance::State>,
}

impl std::fmt::Debug for Component {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Component").field("digest", &self.digest).finish_non_exhaustive()
    }
}

impl Sandbox {
    /// Compiles a component, or takes it from the cache, and checks it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub async fn load(&self, bytes: Vec<u8>) -> Result<Component, LoadError> {
        check_header(&bytes)?;
        let digest = ComponentDigest::of(&bytes);
        let (sandbox, of) = (self.clone(), digest.clone());
        // Compiling takes tens of milliseconds to seconds: not on a thread that serves others.
        let compiling = tokio::task::spawn_blocking(move || sandbox.cache.load(&sandbox.engine, &of, &bytes));
        let compiled = tokio::time::timeout(MAX_COMPILING, compiling).await.map_err(|_| LoadError::Compiling)?;
        let compiled = compiled.map_err(|error| LoadError::Invalid(error.to_string()))?;
        let compiled = compiled.map_err(|error| LoadError::Invalid(format!("{error:#}")))?;
        self.check_imports(&compiled)?;
        let pre = self.linker.instantiate_pre(&compiled).map_err(|error| LoadError::Mismatch(format!("{error:#}")))?;
        let pre = bindings::GuestPre::new(pre).map_err(|error| LoadError::Mismatch(format!("{error:#}")))?;
        let manifest = Arc::new(Manifest::parse("{}")?);
        let component = Component { sandbox: self.clone(), digest, manifest, manifest_json: String::new(), pre };
        component.describe().await
    }

    fn check_imports(&self, compiled: &wasmtime::component::Component) -> Result<(), LoadError> {
        let kind = compiled.component_type();
        let foreign: Vec<String> = kind
            .imports(&self.engine)
            .map(|(name, _)| name.to_owned())
            .filter(|name| !GRANTED.iter().any(|granted| name.starts_with(granted)))
            .collect();
        if !foreign.is_empty() {
            return Err(LoadError::Imports(foreign));
        }
        let is_app = kind
            .exports(&self.engine)
            .any(|(name, item)| name == APP && matches!(item.ty, ComponentItem::ComponentInstance(_)));
        if is_app { Ok(()) } else { Err(LoadError::NoApp) }
    }
}

fn check_header(bytes: &[u8]) -> Result<(), LoadError> {
    if bytes.len() > MAX_COMPONENT_BYTES {
        return Err(LoadError::TooLarge(bytes.len()));
    }
    if !bytes.starts_with(b"\0asm") {
        return Err(LoadError::NotWasm);
    }
    // Version 1, layer 0 is a core module (https://webassembly.github.io/spec/core/binary/modules.html).
    if bytes.get(4..8) == Some(&[1, 0, 0, 0]) { Err(LoadError::CoreModule) } else { Ok(()) }
}

impl Component {
    async fn describe(mut self) -> Result<Self, LoadError> {
        let name = AppName::parse("describe").map_err(|error| LoadError::Describe(error.to_string()))?;
        let log = AppLog::new(name, LogBudget::new(DESCRIBING_BYTES_PER_SECOND));
        let guest = Guest::describing(GuestLog::new(&log, None));
        let describing = async { Instance::new(&self, guest, ()).describe().await };
        let Ok(end) = tokio::time::timeout(MAX_DESCRIBING, describing).await else {
            return Err(LoadError::Describe(format!("it took longer than {MAX_DESCRIBING:?}")));
        };
        let json = match end {
            GuestEnd::Returned(json) => json,
            GuestEnd::Interrupted(interrupt) => return Err(LoadError::Describe(interrupt.to_string())),
            GuestEnd::Limit(limit) => return Err(LoadError::Describe(limit.to_string())),
            GuestEnd::Panicked(Panic { text, .. }) | GuestEnd::Broken(text) => return Err(LoadError::Describe(text)),
        };
        let manifest = Manifest::parse(&json)?;
        if manifest.workflows.is_empty() && manifest.steps.is_empty() && manifest.routes.is_empty() {
            return Err(LoadError::Empty);
        }
        (self.manifest, self.manifest_json) = (Arc::new(manifest), json);
        Ok(self)
    }

    /// Its identity.
    #[must_use]
    pub fn digest(&self) -> &ComponentDigest {
        &self.digest
    }

    /// What it says about itself.
    #[must_use]
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// What it imports, by name.
    #[must_use]
    pub fn imports(&self) -> Vec<String> {
        let kind = self.pre.instance_pre().component().component_type();
        kind.imports(&self.sandbox.engine).map(|(name, _)| name.to_owned()).collect()
    }

    /// The same as the guest wrote it.
    #[must_use]
    pub fn manifest_json(&self) -> &str {
        &self.manifest_json
    }

    pub(super) fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    pub(super) fn pre(&self) -> &bindings::GuestPre<super::instance::State> {
        &self.pre
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_file_is_told_apart_by_its_header() {
        assert!(matches!(check_header(b"hello"), Err(LoadError::NotWasm)));
        assert!(matches!(check_header(b""), Err(LoadError::NotWasm)));
        assert!(matches!(check_header(b"\0asm\x01\0\0\0"), Err(LoadError::CoreModule)));
        assert!(check_header(b"\0asm\x0d\0\x01\0").is_ok());
    }
}
