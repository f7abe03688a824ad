//! The log: lines for people or for programs, and nobody minds when its reader has gone.

use std::process::Stdio;

use dbos_host_tests::{HostBuilder, Request, TestPostgres};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

/// The lines of a log as JSON, each of which has the members that every line has.
fn parsed(log: &str) -> Vec<Value> {
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    for line in &lines {
        let time = line["timestamp"].as_str().unwrap_or_default();
        assert!(time.len() == 24 && time.ends_with('Z'), "{line}");
        for member in ["level", "target", "message"] {
            assert!(line[member].is_string(), "{line}");
        }
    }
    lines
}

/// What a guest says that would like to be somebody else.
const HOSTILE: &str = "a\",\"app\":\"other\"}\r{\"message\":\"forged\"}\u{1b}[2J\u{2028}";

#[tokio::test]
async fn a_log_for_programs_has_an_object_in_each_line() {
    let database = TestPostgres::shared().fresh_database().await;
    let builder = HostBuilder::new("talks").database(&database).config("log: { format: json }");
    let mut host = builder.start().await;
    let text = format!("{HOSTILE}\nsecond");
    let reply = host.run_workflow("says", "w-1", &json!({ "text": text })).await.unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(host.stop().await.success());
    let log = host.log();
    let lines = parsed(&log);
    let guest: Vec<&Value> = lines.iter().filter(|line| line["target"] == "guest").collect();
    for line in &guest {
        assert_eq!((&line["level"], &line["app"], &line["workflow"]), (&json!("INFO"), &json!("talks"), &json!("w-1")));
        assert_eq!(line.as_object().map(serde_json::Map::len), Some(6), "{line}");
    }
    // What is written by `log` is one message; what is printed comes in lines.
    let messages: Vec<&str> = guest.iter().filter_map(|line| line["message"].as_str()).collect();
    assert_eq!(messages, [text.as_str(), HOSTILE, "second"]);
    assert!(log.chars().all(|character| character == '\n' || !character.is_control()), "{log:?}");
}

#[tokio::test]
async fn a_log_for_people_shows_whose_line_it_is() {
    let database = TestPostgres::shared().fresh_database().await;
    let mut host = HostBuilder::new("talks").database(&database).start().await;
    let text = format!("{HOSTILE}\n00:00:00 [ERROR] the database is gone");
    let reply = host.run_workflow("says", "w-1", &json!({ "text": text })).await.unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(host.stop().await.success());
    let log = host.log();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("the database is gone")).collect();
    assert_eq!(told.len(), 2, "{log}");
    assert!(told.iter().all(|line| line.starts_with("      ") || line.contains("(talks) ")), "{told:?}");
    assert!(log.chars().all(|character| character == '\n' || !character.is_control()), "{log:?}");
}

#[tokio::test]
async fn the_command_line_decides_over_the_configuration() {
    let builder = HostBuilder::without_component().config("log: { format: text, level: debug }");
    let output = builder.output(&["run", "nothing.wasm", "--log-format", "json", "--log", "warn"]).await;
    let lines = parsed(&String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(5));
    assert_eq!(lines.len(), 1, "only the error is said: {lines:?}");
    assert_eq!((&lines[0]["level"], &lines[0]["code"]), (&json!("ERROR"), &json!("component")));
    assert!(lines[0]["message"].as_str().unwrap_or_default().starts_with("failed to load the component"), "{lines:?}");

    let wrong = HostBuilder::without_component().config("log: { level: 'sandbox=loud' }").output(&["migrate"]).await;
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(wrong.status.code() == Some(3) && said.contains("`log.level` is `sandbox=loud`"), "{said}");
}

#[tokio::test]
async fn a_host_whose_log_nobody_reads_any_more_goes_on() {
    let database = TestPostgres::shared().fresh_database().await;
    let builder = HostBuilder::new("family").database(&database);
    let mut command = builder.command(&["run", "--listen", "127.0.0.1:0"]);
    let mut host = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the host starts");
    let mut lines = BufReader::new(host.stderr.take().expect("a pipe")).lines();
    let url = loop {
        let line = lines.next_line().await.expect("the log can be read").expect("the host listens");
        if let Some((_, url)) = line.split_once("listening on ") {
            break url.to_owned();
        }
    };
    drop(lines);
    for id in ["a", "b"] {
        let request = Request::post(format!("{url}/workflows/parent"), &json!({ "name": "Ann" }));
        let reply = request.header("idempotency-key", id).send().await.unwrap();
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    // Its last words reach nobody, and it ends well all the same.
    let id = i32::try_from(host.id().expect("it runs")).ok().and_then(rustix::process::Pid::from_raw).expect("an id");
    rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("a signal");
    assert!(host.wait().await.expect("it ends").success());
}
