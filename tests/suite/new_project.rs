//! A project that `new` makes builds, runs, and passes its own tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use dbos_host_tests::{HostBuilder, Request, TestPostgres, programs};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

fn sdk() -> String {
    programs::source("guest-sdk").display().to_string()
}

/// The program with these words in a folder.
async fn host(folder: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(programs::host());
    command.args(words).current_dir(folder).env("CARGO_TARGET_DIR", programs::guest_target());
    command.output().await.expect("the host's binary runs")
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).expect("text")
}

/// A new project, with the versions of dependencies that this checkout has: nothing new is downloaded or compiled. The
/// tests share a target folder, where each needs a name of its own.
async fn project(name: &str) -> (TempDir, PathBuf) {
    let parent = tempfile::tempdir().expect("a folder");
    let said = stdout(&host(parent.path(), &["new", name, "--sdk-path", &sdk()]).await);
    assert!(said.starts_with(&format!("made `{name}`\n")), "{said}");
    let folder = parent.path().join(name);
    let lock = fs::read_to_string(programs::source("examples/greeting/Cargo.lock")).expect("the example's versions");
    fs::write(folder.join("Cargo.lock"), lock.replace("\"greeting\"", &format!("\"{name}\""))).expect("a file");
    (parent, folder)
}

#[tokio::test]
async fn a_new_project_is_built_and_run() {
    let (_parent, folder) = project("built-and-run").await;
    let said = stdout(&host(&folder, &["build"]).await);
    let (component, rest) = said.split_once('\n').expect("several lines");
    assert!(rest.starts_with("digest   ") && rest.ends_with("\nhas      1 workflow, 2 steps and 2 routes\n"), "{said}");
    let told = stdout(&host(&folder, &["build", "--json"]).await);
    let told: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!((told.as_array().map(Vec::len), &told[0]["path"]), (Some(1), &json!(component)));

    let database = TestPostgres::shared().fresh_database().await;
    let migrations = format!("migrations: {}", folder.join("migrations").display());
    let builder = HostBuilder::without_component().wasm(component).config(&migrations).database(&database);
    builder.migrate().await;
    let mut host = builder.start().await;
    let reply = Request::get(host.url("/welcome/Ann")).send().await.unwrap();
    assert_eq!((reply.status, reply.body.as_str()), (200, "Welcome, Ann!"));
    let row = "SELECT count(*) FROM visits WHERE name = 'Ann' AND greeting = 'Welcome, Ann!'";
    assert_eq!(database.count(row, &[]).await, 1);
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_new_project_passes_its_own_tests() {
    let (_parent, folder) = project("passes-tests").await;
    let mut test = Command::new("cargo");
    test.arg("test").current_dir(&folder).env("CARGO_TARGET_DIR", programs::guest_target());
    test.env("DBOS_HOST", programs::host()).env_remove("DBOS_DATABASE_URL");
    let output = test.output().await.expect("cargo runs");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    assert!(said.contains("test a_visitor_is_welcomed_and_recorded ... ok"), "{said}");
    assert!(said.contains("test tests::visitors_are_counted ... ok"), "{said}");
}

#[tokio::test]
async fn nothing_that_exists_is_written_over() {
    let parent = tempfile::tempdir().expect("a folder");
    fs::create_dir(parent.path().join("my-app")).expect("a folder");
    let file = parent.path().join("my-app").join("mine.txt");
    fs::write(&file, "mine").expect("a file");
    let refused = host(parent.path(), &["new", "my-app", "--sdk-path", &sdk()]).await;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.starts_with("error[exists_already]: failed to make the project `my-app`"), "{said}");
    let left: Vec<_> = fs::read_dir(parent.path()).expect("a folder").collect();
    assert_eq!((left.len(), fs::read_to_string(&file).expect("still there").as_str()), (1, "mine"));

    fs::remove_file(file).expect("a file");
    stdout(&host(parent.path(), &["new", "my-app"]).await);
    let manifest = fs::read_to_string(parent.path().join("my-app").join("Cargo.toml")).expect("a manifest");
    assert!(manifest.contains("dbos-guest = { git = \"https://"), "{manifest}");
}

#[tokio::test]
async fn what_cannot_be_built_is_told() {
    let empty = tempfile::tempdir().expect("a folder");
    let refused = host(empty.path(), &["build"]).await;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(6) && said.contains("could not find `Cargo.toml`"), "{said}");

    let (_parent, folder) = project("cannot-be-built").await;
    let source = folder.join("src/lib.rs");
    fs::write(&source, "//! Nothing.\nlet wrong").expect("a file");
    let refused = host(&folder, &["build", "--", "--locked"]).await;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!((refused.status.code(), refused.stdout.as_slice()), (Some(1), b"".as_slice()), "{said}");
    assert!(said.contains("error[build_failed]: failed to build the project"), "{said}");
    assert!(said.contains("src/lib.rs:2"), "cargo's own words are shown: {said}");

    fs::write(&source, "//! Nothing.\n").expect("a file");
    let refused = host(&folder, &["build"]).await;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(5), "{said}");
    assert!(said.contains("so it is not an app for this host"), "{said}");
}
