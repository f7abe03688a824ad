//! What is different on a terminal: tables keep to its width, and what deletes asks first. `script` is the terminal.

use dbos_host_tests::{Database, HostBuilder, TestPostgres};
use serde_json::json;
use tokio::process::Command;

/// Runs a command of the host on a terminal of so many columns, with these words typed, and returns what it shows and how
/// it ends.
async fn on_a_terminal(builder: &HostBuilder, columns: u16, words: &[&str], typed: &str) -> (String, Option<i32>) {
    let command = builder.command(words);
    let command = command.as_std();
    let program = std::iter::once(command.get_program()).chain(command.get_args());
    let quoted = |word: &std::ffi::OsStr| format!("'{}'", word.to_string_lossy().replace('\'', "'\\''"));
    let line: Vec<String> = program.map(quoted).collect();
    let mut script = Command::new("sh");
    script.arg("-c").arg("printf '%s' \"$TYPED\" | script --quiet --return --command \"$LINE\" /dev/null");
    script.env("LINE", format!("stty cols {columns} -echo; {}", line.join(" "))).env("TYPED", typed);
    script.env("TERM", "xterm").env_remove("NO_COLOR").current_dir(builder.folder());
    let output = script.output().await.expect("`script` runs");
    (String::from_utf8_lossy(&output.stdout).replace("\r\n", "\n"), output.status.code())
}

async fn with_a_family() -> (Database, HostBuilder) {
    let database = TestPostgres::shared().fresh_database().await;
    let builder = HostBuilder::new("family").database(&database).executor("blue");
    let mut host = builder.start().await;
    let id = "01a20282-4500-7626-ae25-49a15327a812";
    let reply = host.run_workflow("grandparent", id, &json!({ "name": "Ann" })).await.unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(host.stop().await.success());
    (database, builder)
}

#[tokio::test]
async fn a_table_is_as_wide_as_the_terminal() {
    let (_database, builder) = with_a_family().await;
    for columns in [70, 90, 200] {
        let (shown, code) = on_a_terminal(&builder, columns, &["workflow", "list"], "").await;
        assert_eq!(code, Some(0), "{shown}");
        assert!(shown.starts_with("\u{1b}[1mID"), "{shown:?}");
        let plain = shown.replace("\u{1b}[1m", "").replace("\u{1b}[0m", "");
        assert!(plain.lines().all(|line| line.chars().count() <= usize::from(columns)), "{columns}: {plain}");
        assert!(plain.contains("01a20282-4500-7626-ae25-49a15327a812"), "an id is never cut: {plain}");
        assert_eq!(plain.contains("EXECUTOR"), columns == 200, "{plain}");
    }
}

#[tokio::test]
async fn a_reset_asks_and_takes_no_for_an_answer() {
    let (database, builder) = with_a_family().await;
    let tables = "SELECT count(*) FROM pg_namespace WHERE nspname IN ('dbos', 'dbos_host')";
    let (shown, code) = on_a_terminal(&builder, 100, &["reset"], "no\n").await;
    assert!(shown.contains("3 workflows of `family`") && shown.contains("Delete all of it? [y/N]"), "{shown}");
    assert!(shown.contains("[not_confirmed]: failed to reset the database"), "{shown}");
    assert_eq!((code, database.count(tables, &[]).await), (Some(1), 2));

    let (shown, code) = on_a_terminal(&builder, 100, &["reset"], "y\n").await;
    assert!(shown.contains("Deleted."), "{shown}");
    assert_eq!((code, database.count(tables, &[]).await), (Some(0), 0));
}
