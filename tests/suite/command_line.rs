//! The command line as scripts and people see it: output, errors and exit codes.
//!
//! What differs from one run to the next (times, digests) is masked; all else is compared as it is, because scripts
//! read it and people quote it.

use std::process::Output;

use dbos_host_tests::{Database, HostBuilder, TestPostgres, programs};
use serde_json::{Value, json};
use tokio::process::Command;

/// A finished parent with its child on a fresh database, and how to ask about them.
async fn with_a_family() -> (Database, HostBuilder) {
    let database = TestPostgres::shared().fresh_database().await;
    let builder = HostBuilder::new("family").database(&database).executor("blue");
    let mut host = builder.start().await;
    let reply = host.run_workflow("parent", "p", &json!({ "name": "Ann" })).await.unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(host.stop().await.success());
    (database, builder)
}

/// The program with nothing but these arguments, in an empty folder.
async fn plain(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(programs::host());
    command.args(arguments).current_dir(folder.path()).env_remove("DBOS_DATABASE_URL").env_remove("DBOS_CONFIG");
    command.output().await.expect("the host's binary runs")
}

fn stdout(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).expect("text")
}

/// What a command said that failed with this code. It has printed no result.
fn error(output: &Output, code: i32) -> String {
    let said = String::from_utf8(output.stderr.clone()).expect("text");
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{said}");
    said
}

/// Times become `<time>`, digests `<digest>`.
fn masked(text: &str) -> String {
    let is_time = |word: &str| word.len() == 25 && word.as_bytes()[10] == b'T' && word.as_bytes()[4] == b'-';
    let is_digest = |word: &str| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mask = |word: &str| match word {
        word if is_time(word) => "<time>".to_owned(),
        word if is_digest(word) => "<digest>".to_owned(),
        word => word.to_owned(),
    };
    let line = |line: &str| line.split(' ').map(mask).collect::<Vec<_>>().join(" ") + "\n";
    text.lines().map(line).collect()
}

#[tokio::test]
async fn workflows_are_listed_for_people() {
    let (_database, builder) = with_a_family().await;
    let all = "\
ID   STATUS   NAME    CREATED                    ATTEMPTS  EXECUTOR
p-1  SUCCESS  child   <time>  1         blue
p    SUCCESS  parent  <time>  1         blue
";
    assert_eq!(masked(&stdout(&builder.output(&["workflow", "list"]).await)), all);
    let one = "\
ID  STATUS   NAME    CREATED                    ATTEMPTS  EXECUTOR
p   SUCCESS  parent  <time>  1         blue
";
    assert_eq!(masked(&stdout(&builder.output(&["workflow", "list", "--name", "parent"]).await)), one);
    let none = "ID  STATUS  NAME  CREATED  ATTEMPTS  EXECUTOR\n";
    assert_eq!(stdout(&builder.output(&["workflow", "list", "--status", "error"]).await), none);
    let newest = builder.output(&["workflow", "list", "--limit", "1", "--json"]).await;
    let newest: Value = serde_json::from_str(&stdout(&newest)).expect("JSON");
    assert_eq!((newest.as_array().map(Vec::len), &newest[0]["id"]), (Some(1), &json!("p-1")));
}

#[tokio::test]
async fn a_workflow_is_shown_for_people_and_programs() {
    let (_database, builder) = with_a_family().await;
    let expected = "\
id         p-1
status     SUCCESS
name       child
app        family
version    <digest>
executor   blue
attempts   1
parent     p
created    <time>
updated    <time>
completed  <time>
input      {\"namedArgs\":{\"name\":\"the child of Ann\"},\"positionalArgs\":[]}
output     \"the child of Ann has grown\"
";
    assert_eq!(masked(&stdout(&builder.output(&["workflow", "get", "p-1"]).await)), expected);
    let shown: Value =
        serde_json::from_str(&stdout(&builder.output(&["workflow", "get", "p", "--json"]).await)).expect("JSON");
    assert_eq!((&shown["id"], &shown["status"], &shown["error"]), (&json!("p"), &json!("SUCCESS"), &Value::Null));
    assert_eq!(shown["output"], "the child of Ann has grown");
    assert!(shown["createdAt"].is_i64() && shown["completedAt"].is_i64(), "{shown}");
}

#[tokio::test]
async fn steps_are_shown_for_people_and_programs() {
    let (_database, builder) = with_a_family().await;
    let expected = "\
STEP  NAME            ENDED                      CHILD  RESULT
1     child           <time>  p-1    -
2     DBOS.getResult  <time>  p-1    \"the child of Ann has grown\"
";
    assert_eq!(masked(&stdout(&builder.output(&["workflow", "steps", "p"]).await)), expected);
    let steps: Value =
        serde_json::from_str(&stdout(&builder.output(&["workflow", "steps", "p-1", "--json"]).await)).expect("JSON");
    assert_eq!(steps.as_array().map(Vec::len), Some(1));
    let step = &steps[0];
    assert_eq!((&step["step"], &step["name"], &step["child"]), (&json!(1), &json!("grow"), &Value::Null));
    assert_eq!(step["output"], "the child of Ann has grown");
}

#[tokio::test]
async fn what_does_not_exist_is_told() {
    let (_database, builder) = with_a_family().await;
    for word in ["get", "steps", "events"] {
        let said = error(&builder.output(&["workflow", word, "nobody"]).await, 6);
        assert_eq!(
            said,
            "error[no_such_workflow]: failed to find the workflow `nobody`\n  because there is none with this id\n"
        );
    }
}

#[tokio::test]
async fn a_database_that_no_host_has_made_ready_is_told() {
    let database = TestPostgres::shared().fresh_database().await;
    let builder = HostBuilder::without_component().database(&database);
    let expected = "\
error[database]: failed to read the database
  because the system tables are missing or older than this program
  hint: run `dbos-host migrate`
";
    assert_eq!(error(&builder.output(&["workflow", "list"]).await, 4), expected);
    let tables = "SELECT count(*) FROM pg_namespace WHERE nspname IN ('dbos', 'dbos_host')";
    assert_eq!(database.count(tables, &[]).await, 0, "who only reads makes nothing");
}

#[tokio::test]
async fn a_database_that_does_not_answer_is_told_without_its_password() {
    let url = "postgres://me:sesame@127.0.0.1:1/x";
    let said = error(&plain(&["workflow", "list", "--database-url", url]).await, 4);
    assert!(
        said.starts_with(
            "error[database]: failed to open the database\n  because cannot connect to the database at 127.0.0.1:1/x"
        ),
        "{said}"
    );
    assert!(!said.contains("sesame"), "{said}");
}

#[tokio::test]
async fn a_component_is_described_for_people_and_programs() {
    let output = plain(&["inspect", &programs::guest("retries").display().to_string()]).await;
    let text = masked(&stdout(&output));
    let expected = "\
KIND          NAME             DETAILS
workflow      asks             (how)
workflow      increments       ()
communicator  ask_and_give_up  () 4 attempts
communicator  ask_four_times   () 4 attempts
communicator  ask_in_a_hurry   () 2 attempts
communicator  ask_once         () 1 attempt
transaction   increment        () serializable
transaction   mark             (text) serializable

imports
  dbos:host/";
    assert!(text.starts_with("digest   <digest>\nsize     "), "{text}");
    assert!(text.contains(expected), "{text}");

    let output = plain(&["inspect", "--json", &programs::guest("retries").display().to_string()]).await;
    let told: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    assert_eq!(told["digest"].as_str().map(str::len), Some(64));
    assert!(
        told["imports"].as_array().is_some_and(|imports| imports.contains(&json!("dbos:host/sql@0.1.0"))),
        "{told}"
    );
    let steps = told["manifest"]["steps"].as_array().expect("steps");
    let four = steps.iter().find(|step| step["name"] == "ask_four_times").expect("the step");
    assert_eq!(
        (&four["attempts"], &four["intervalMs"], &four["maxIntervalMs"]),
        (&json!(4), &json!(10000), &json!(30000))
    );
}

#[tokio::test]
async fn the_version_is_for_people_or_programs() {
    assert_eq!(stdout(&plain(&["version"]).await), "dbos-host 0.1.0 (dbos:host@0.1.0)\n");
    let expected = "{\"interface\":\"dbos:host@0.1.0\",\"version\":\"0.1.0\"}\n";
    assert_eq!(stdout(&plain(&["version", "--json"]).await), expected);
    assert_eq!(stdout(&plain(&["--version"]).await), "dbos-host 0.1.0\n");
}

#[tokio::test]
async fn a_wrong_command_line_is_told() {
    let cases: [(&[&str], &str); 4] = [
        (&["nonsense"], "error: unrecognized subcommand 'nonsense'\n"),
        (
            &["run", "--listen", "nowhere"],
            "error: invalid value 'nowhere' for '--listen <ADDRESS>': expected an address and a port, like \
             `127.0.0.1:8000`, or a port\n",
        ),
        (&["workflow", "list", "--limit", "0"], "error: invalid value '0' for '--limit <LIMIT>'"),
        (&["workflow", "get"], "error: the following required arguments were not provided:\n  <ID>\n"),
    ];
    for (arguments, expected) in cases {
        let said = error(&plain(arguments).await, 2);
        assert!(said.starts_with(expected), "{arguments:?}: {said}");
    }
}

#[tokio::test]
async fn a_wrong_configuration_is_told_with_file_and_line() {
    let none = "\
error[configuration]: failed to read the configuration
  because the app has no name
  hint: write `name: my-app` into `dbos-config.yaml`
";
    assert_eq!(error(&plain(&["migrate"]).await, 3), none);
    // A component brings its name along.
    let said = error(&plain(&["run"]).await, 3);
    assert!(said.contains("because no component is given\n  hint: name the .wasm file on the command line"), "{said}");

    let builder = HostBuilder::without_component().config("name: family\nlimits:\n  memory_mb: 5");
    let said = error(&builder.output(&["migrate"]).await, 3);
    assert!(
        said.contains("dbos-config.yaml") && said.contains("line 3: the key `limits.memory_mb` is unknown"),
        "{said}"
    );
    assert!(said.contains("\n  hint: did you mean `limits.memory_mib`?\n"), "{said}");
}

#[tokio::test]
async fn an_address_in_use_is_told() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let database = TestPostgres::shared().fresh_database().await;
    let wasm = programs::guest("family").display().to_string();
    let output =
        HostBuilder::without_component().database(&database).output(&["run", &wasm, "--listen", &address]).await;
    let said = error(&output, 1);
    let expected = format!(
        "error[cannot_listen]: failed to serve HTTP\n  because {address} is in use by another program\n  hint: stop it, or choose \
         another port with `--listen`\n"
    );
    assert!(said.ends_with(&expected), "{said}");
}
