//! Texts that are compared as a whole: what people and scripts see, kept in files that a review can read.
//!
//! A wanted change is taken over by a run with `DBOS_HOST_SNAPSHOTS=write`, and then stands in the diff of the commit.

use std::fs;
use std::path::PathBuf;

use crate::programs;

/// The variable that has snapshots written instead of compared.
const SWITCH: &str = "DBOS_HOST_SNAPSHOTS";

/// Compares `text` with the snapshot of this name.
///
/// # Panics
/// If they differ: with the first line that does, and how to take the new text over.
pub fn check(name: &str, text: &str) {
    let file = file(name);
    if std::env::var_os(SWITCH).is_some_and(|value| value == "write") {
        fs::create_dir_all(file.parent().expect("it is in a folder")).expect("a folder for snapshots");
        fs::write(&file, text).expect("write a snapshot");
        return;
    }
    let kept = fs::read_to_string(&file).unwrap_or_default();
    if kept == text {
        return;
    }
    let (mut old, mut new) = (kept.lines(), text.lines());
    let (number, old, new) = (1..)
        .map(|number| (number, old.next(), new.next()))
        .find(|(_, old, new)| old != new || (old.is_none() && new.is_none()))
        .expect("two texts that differ end");
    panic!(
        "`{}` differs in line {number}\n  kept: {old:?}\n  now:  {new:?}\nif it should: run this test with \
         `{SWITCH}=write` and look at the diff\n--- now:\n{text}---",
        file.display()
    );
}

/// The file of a snapshot.
#[must_use]
pub fn file(name: &str) -> PathBuf {
    programs::source("tests/suite/snapshots").join(name).with_extension("txt")
}
