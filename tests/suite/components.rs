//! A file that cannot be run is refused with its name and the reason, before anything else happens.

use std::fs;
use std::path::Path;
use std::process::Command;

use dbos_host_tests::programs::{guest, host};

/// The exit code for a component that was refused.
const REFUSED: i32 = 5;

/// A component's first eight bytes: the magic word, version 13, layer 1.
const COMPONENT: [u8; 8] = *b"\0asm\x0d\0\x01\0";

/// Shows what `inspect` says about a file with these bytes, after the file's name was found in it.
fn refusal(name: &str, bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join(name);
    fs::write(&file, bytes).expect("write the file");
    refusal_of(&file)
}

fn refusal_of(file: &Path) -> String {
    let output = Command::new(host()).arg("inspect").arg(file).output().expect("the host starts");
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(REFUSED), "{said}");
    assert!(output.stdout.is_empty(), "what is refused is not described");
    assert!(said.contains(&format!("`{}`", file.display())), "the file is named: {said}");
    said
}

/// A component that imports an instance under each of these names, and nothing else.
fn importing(names: &[&str]) -> Vec<u8> {
    let byte = |number: usize| u8::try_from(number).expect("these components are small");
    let mut imports = vec![byte(names.len())];
    for name in names {
        // A plain name, then "an instance of type 0".
        imports.extend([0, byte(name.len())]);
        imports.extend(name.as_bytes());
        imports.extend([5, 0]);
    }
    let mut bytes = COMPONENT.to_vec();
    // One type: an instance that exports nothing.
    bytes.extend([7, 3, 1, 0x42, 0]);
    bytes.extend([10, byte(imports.len())]);
    bytes.extend(imports);
    bytes
}

#[test]
fn a_file_that_is_not_wasm() {
    let said = refusal("letter.wasm", b"Dear reader");
    assert!(said.contains("because it is not WebAssembly: it does not begin with the bytes `00 61 73 6d`"), "{said}");
}

#[test]
fn an_empty_file() {
    let said = refusal("empty.wasm", b"");
    assert!(said.contains("because it is not WebAssembly"), "{said}");
}

#[test]
fn a_file_that_does_not_exist() {
    let output = Command::new(host()).args(["inspect", "/nowhere/app.wasm"]).output().expect("the host starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(REFUSED), "{said}");
    assert!(said.contains("`/nowhere/app.wasm`") && said.contains("No such file"), "{said}");
}

#[test]
fn a_core_module_is_told_from_a_component() {
    let said = refusal("module.wasm", b"\0asm\x01\0\0\0");
    assert!(said.contains("because it is a core WebAssembly module, not a component"), "{said}");
    assert!(said.contains("hint: build it with `cargo build --target wasm32-wasip2`"), "{said}");
}

#[test]
fn a_component_that_is_cut_off_anywhere() {
    let whole = fs::read(guest("family")).expect("a guest");
    for part in [9, whole.len() / 3, whole.len() - 1] {
        let said = refusal("cut.wasm", &whole[..part]);
        assert!(said.contains("because it is damaged or cut off"), "{part} bytes: {said}");
    }
}

#[test]
fn every_import_that_is_not_granted_is_listed() {
    let said =
        refusal("greedy.wasm", &importing(&["acme:store/files@1.0.0", "wasi:cli/stdout@0.2.0", "dev:gpu/compute"]));
    assert!(said.contains("because it imports what this host does not grant:"), "{said}");
    assert!(said.contains("- acme:store/files@1.0.0") && said.contains("- dev:gpu/compute"), "{said}");
    assert!(!said.contains("wasi:cli"), "what is granted is not listed: {said}");
}

/// What a guest of a later SDK would be: it imports an interface of the host's own package that is not there yet.
#[test]
fn an_interface_that_the_host_does_not_have_is_named() {
    let text = fs::read(guest("family")).expect("a guest");
    let (known, later) = (b"dbos:host/workflow@0.1.0", b"dbos:host/workfold@0.1.0");
    let mut bytes = text.clone();
    for at in (0..text.len() - known.len()).filter(|at| text[*at..].starts_with(known)) {
        bytes[at..at + later.len()].copy_from_slice(later);
    }
    let said = refusal("later.wasm", &bytes);
    assert!(said.contains("dbos:host/workfold@0.1.0"), "{said}");
}

#[test]
fn a_component_that_is_no_app() {
    let said = refusal("plain.wasm", &COMPONENT);
    assert!(said.contains("because it does not export `dbos:host/app@0.1.0`"), "{said}");
    assert!(said.contains("hint: is `dbos-guest` used"), "{said}");
}

#[test]
fn a_manifest_that_contradicts_itself_tells_all_contradictions() {
    let said = refusal_of(&guest("twins"));
    assert!(said.contains("- there are two workflows `twin`"), "{said}");
    assert!(said.contains("both answer GET /star/{"), "{said}");
}

#[test]
fn run_refuses_before_it_touches_a_database() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("letter.wasm");
    fs::write(&file, "Dear reader").expect("write the file");
    // Nothing listens at port 1: reaching for the database first would be another error.
    let output = Command::new(host())
        .args(["run", "--database-url", "postgres://nobody@127.0.0.1:1/none", "--state"])
        .arg(folder.path().join("state"))
        .arg(&file)
        .output()
        .expect("the host starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(REFUSED), "{said}");
    assert!(said.contains("letter.wasm") && said.contains("it is not WebAssembly"), "{said}");
}
