//! What the fuzzers run: one function for each border at which somebody else chooses the bytes.
//!
//! A parser that panics, hangs or fills the memory takes down every workflow of its host; and one that reads a thing and
//! means another does worse. So each function here takes any bytes, hands them to the code that reads such bytes in the
//! host, and asserts what must hold whatever came of it: what was read is read the same again, what goes in comes out
//! equal, what was accepted does not fail later.
//!
//! `cargo xtask fuzz` runs them with made-up bytes, guided by what they reach. The found cases lie in `fuzz/corpus`, a
//! folder for each function, and a test runs all of them, so that what was mended stays so.
//!
//! Only in builds with fail points, which are for tests. The functions stand beside what they look into; here is their
//! list, and those that need nothing but what a module shows to all.

use crate::workflow::{Arguments, ArgumentsError, Manifest, StepKind};

/// A function for a fuzzer.
pub type Target = fn(&[u8]);

/// Every function, by the name of its folder in `fuzz/corpus`.
pub const TARGETS: &[(&str, Target)] = &[
    ("arguments", arguments),
    ("component", crate::sandbox::fuzz::component),
    ("config", crate::cli::fuzz_config),
    ("manifest", manifest),
    ("outbound", crate::calls::fuzz_outbound),
    ("sql_parameters", crate::database::fuzz_sql::parameters),
    ("sql_rows", crate::database::fuzz_sql::rows),
    ("sql_statement", crate::database::fuzz_sql::statement),
    ("trigger", crate::trigger::fuzz::trigger),
];

/// Runs a function by its name.
///
/// # Panics
/// If there is none of this name, or it finds something.
pub fn run(name: &str, data: &[u8]) {
    let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).expect("a target of the list");
    target(data);
}

/// The JSON of a manifest.
///
/// # Panics
/// If an accepted manifest is read otherwise a second time, or has a retry policy that cannot be followed.
pub fn manifest(data: &[u8]) {
    let Ok(json) = std::str::from_utf8(data) else { return };
    let manifest = match Manifest::parse(json) {
        Ok(manifest) => manifest,
        Err(error) => return drop(error.to_string()),
    };
    assert_eq!(Manifest::parse(json).as_ref(), Ok(&manifest), "a manifest means one thing");
    for workflow in &manifest.workflows {
        assert_eq!(manifest.workflow(&workflow.name), Some(workflow), "names are unique");
        drop(Arguments::default().check(&workflow.parameters));
    }
    for step in &manifest.steps {
        assert_eq!(manifest.step(&step.name), Some(step), "names are unique");
        let StepKind::Communicator { retry, .. } = &step.kind else { continue };
        for attempt in [1, 2, 100, u32::MAX - 1] {
            let delay = retry.delay_after(attempt);
            assert!(delay.is_none_or(|delay| delay <= retry.max_interval), "a wait ends at the longest one");
        }
    }
    crate::trigger::fuzz::routes(&manifest);
}

/// A line with a manifest, and arguments for its first workflow.
///
/// # Panics
/// If arguments that fit are others after they were stored.
pub fn arguments(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == b'\n');
    let manifest = parts.next().and_then(|json| Manifest::parse(std::str::from_utf8(json).ok()?).ok());
    let parameters = manifest.and_then(|mut manifest| manifest.workflows.pop()).map(|workflow| workflow.parameters);
    let (parameters, json) = (parameters.unwrap_or_default(), parts.next().unwrap_or_default());
    let said = |error: ArgumentsError| drop(error.to_string());
    let text = std::str::from_utf8(json).ok();
    // As another client may have stored them.
    let _ = Arguments::from_stored(text, Some("portable_json"), &parameters).map_err(said);
    let Ok(value) = serde_json::from_slice(json) else { return };
    let arguments = match Arguments::from_json(value) {
        Ok(arguments) => arguments,
        Err(error) => return said(error),
    };
    let _ = arguments.check(&parameters).map_err(said);
    let again = Arguments::from_stored(Some(&arguments.to_stored()), Some("portable_json"), &parameters);
    assert_eq!(again.as_ref(), Ok(&arguments), "what was stored is what is read");
    let crossed = serde_json::from_str(&arguments.to_json()).map(Arguments);
    assert_eq!(crossed.ok().as_ref(), Some(&arguments), "what crosses to the guest is what was given");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    fn corpus() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus")
    }

    /// The files of a folder.
    fn entries(folder: &Path) -> Vec<std::path::PathBuf> {
        let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("`{}`: {error}", folder.display()));
        let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        paths.sort();
        paths
    }

    #[test]
    fn each_target_has_found_cases_and_each_folder_a_target() {
        let folders = entries(&corpus());
        let folders = folders.iter().map(|path| path.file_name().expect("a name").to_string_lossy().into_owned());
        let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(folders.collect::<BTreeSet<_>>(), targets, "`fuzz/corpus` has a folder for each target");
        for target in targets {
            let program = corpus().join(format!("../fuzz_targets/{target}.rs"));
            assert!(program.exists(), "`fuzz/fuzz_targets/{target}.rs` is missing");
        }
    }

    #[test]
    fn the_found_cases_stay_mended() {
        for (name, target) in TARGETS {
            let cases = entries(&corpus().join(name));
            assert!(!cases.is_empty(), "`fuzz/corpus/{name}` is empty");
            for case in cases {
                let data = fs::read(&case).expect("a found case can be read");
                // Its name, where a panic can be seen to belong to it.
                eprintln!("{}", case.display());
                target(&data);
            }
        }
    }
}
