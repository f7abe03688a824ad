//! The guide, chapter by chapter, as somebody does it who reads it for the first time: the real program, both of its
//! builds, the real guestbook.

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use dbos_host_tests::wait::until;
use dbos_host_tests::{Database, Host, HostBuilder, Reply, Request, TestPostgres, programs};
use rustix::process::{Pid, Signal};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// The program, built by `cargo build --target wasm32-wasip2` and by `cargo component build`.
const BUILDS: [&str; 2] = ["greeting", "greeting-component"];

const THANKS: &str = "Thank you for being awesome, Mike!";

/// The stand-in for the guestbook that somebody else runs. Killed when it is dropped.
struct Guestbook {
    _child: Child,
    url: String,
    key: String,
}

impl Guestbook {
    async fn start() -> Self {
        let mut command = Command::new(programs::guestbook());
        command.args(["--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("the guestbook starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("its output is piped");
        BufReader::new(stdout).read_line(&mut line).await.expect("it says where it listens");
        let url = line.trim().strip_prefix("guestbook listening on ").expect("its address").to_owned();
        let key = Request::get(format!("{url}/key")).send().await.expect("it answers").body;
        Self { _child: child, url, key }
    }

    /// Who has signed with this guestbook's key.
    async fn signatures(&self) -> Vec<String> {
        let reply = Request::get(format!("{}/greetings/{}", self.url, self.key)).send().await.expect("it answers");
        let entries = reply.json();
        let names =
            entries.as_array().expect("a list").iter().map(|entry| entry["name"].as_str().expect("a name").to_owned());
        names.collect()
    }
}

/// The greeting app as its folder has it.
fn app(build: &str, guestbook: &Guestbook) -> HostBuilder {
    HostBuilder::new(build)
        .config(include_str!("../../examples/greeting/dbos-config.yaml"))
        .migrations("examples/greeting/migrations")
        .environment("GUESTBOOK_URL", &guestbook.url)
        .environment("GUESTBOOK_KEY", &guestbook.key)
}

async fn app_on_a_fresh_database(build: &str, guestbook: &Guestbook) -> (Database, HostBuilder) {
    let database = TestPostgres::shared().fresh_database().await;
    let builder = app(build, guestbook).database(&database);
    (database, builder)
}

async fn get(host: &Host, path: &str) -> Reply {
    Request::get(host.url(path)).send().await.expect("the host answers")
}

/// The id of the one run there is.
async fn only_run(database: &Database) -> String {
    let rows = database.query("SELECT workflow_uuid FROM dbos.workflow_status", &[]).await;
    assert_eq!(rows.len(), 1, "there is one run");
    rows[0].get(0)
}

#[tokio::test]
async fn the_guide_works_from_its_first_chapter_to_its_last() {
    let guestbook = Guestbook::start().await;
    for (number, build) in BUILDS.into_iter().enumerate() {
        let (database, builder) = app_on_a_fresh_database(build, &guestbook).await;

        let migrated = builder.output(&["migrate"]).await;
        assert_eq!(String::from_utf8_lossy(&migrated.stdout), "Completed schema migration\n");
        let host = builder.jumping_clock().start().await;
        the_host_has_said_who_it_is(&host);

        let front = get(&host, "/").await;
        assert_eq!((front.status, front.header("content-type")), (200, Some("text/html; charset=utf-8")));
        assert!(front.body.contains("<h1>Welcome!</h1>"), "{front:?}");
        assert_eq!(get(&host, "/greetings").await.json(), json!([]));

        let greeted = get(&host, "/greeting/Mike").await;
        assert_eq!((greeted.status, greeted.body.as_str()), (200, THANKS));
        assert_eq!(database.output(&only_run(&database).await).await, json!(THANKS));
        assert_eq!(get(&host, "/greetings").await.json(), json!([{ "name": "Mike", "note": THANKS }]));
        assert_eq!(guestbook.signatures().await.len(), 2 * number + 1);
        the_workflow_has_said_what_it_does(&host);

        // A handler that calls the workflow directly waits and answers with its result.
        let waited = get(&host, "/greeting/Anna/wait").await;
        assert_eq!((waited.status, waited.body.as_str()), (200, "Thank you for being awesome, Anna!"));
        assert_eq!(database.count("SELECT count(*) FROM greetings WHERE name = 'Anna'", &[]).await, 1);
        assert_eq!(guestbook.signatures().await.len(), 2 * number + 2);
    }
}

fn the_host_has_said_who_it_is(host: &Host) {
    let log = host.log();
    for said in [
        "[INFO] dbos-host 0.1.0",
        "[INFO] app `greeting` ",
        "[INFO] database: ",
        "[INFO] listening on http://127.0.0.1:",
    ] {
        assert!(log.contains(said), "`{said}` is missing in:\n{log}");
    }
}

fn the_workflow_has_said_what_it_does(host: &Host) {
    let log = host.log();
    let lines = [
        "[INFO] (greeting) >>> STEP 1: Signed the Guestbook: {",
        "[INFO] (greeting) >>> Press Ctrl-C to stop the app (5 of 5)",
        "[INFO] (greeting) >>> Greeting to Mike recorded in the database!",
        "[INFO] (greeting) >>> STEP 2: Wrote the greeting to Mike down",
    ];
    let mut from = 0;
    for said in lines {
        let at = log[from..].find(said).unwrap_or_else(|| panic!("`{said}` is missing, or too early, in:\n{log}"));
        // Before it stands the time, as in 14:41:13, and a space.
        let time: Vec<char> = log[..from + at].chars().rev().take(9).collect();
        assert!(time[0] == ' ' && time[3] == ':' && time[6] == ':', "no time before `{said}`");
        assert_eq!(log.matches(said).count(), 1, "`{said}` is said once");
        from += at;
    }
}

#[tokio::test]
async fn killed_between_any_two_sleeps_it_leaves_one_signature_and_one_row() {
    for build in BUILDS {
        for sleep in 2..=6 {
            let guestbook = Guestbook::start().await;
            let (database, builder) = app_on_a_fresh_database(build, &guestbook).await;
            builder.migrate().await;
            let builder = builder.jumping_clock();
            // The first answer that a workflow gets is the signature, the next five are those of the sleeps.
            let mut host = builder.clone().kill_at(&format!("gate.before_answer#{sleep}")).start().await;
            assert!(Request::get(host.url("/greeting/Mike/wait")).send().await.is_err(), "the host is killed");
            host.wait_for_exit().await;
            let _host = builder.start().await;
            assert_eq!(database.output(&only_run(&database).await).await, json!(THANKS));
            assert_eq!(guestbook.signatures().await, ["Mike"]);
            assert_eq!(database.count("SELECT count(*) FROM greetings", &[]).await, 1);
        }
    }
}

#[tokio::test]
async fn what_a_replay_repeats_is_said_again_only_if_it_is_asked_for() {
    let guestbook = Guestbook::start().await;
    for (argument, times) in [(None, 0), (Some("--show-replayed-logs"), 1)] {
        let (database, builder) = app_on_a_fresh_database("greeting", &guestbook).await;
        builder.migrate().await;
        let builder = builder.jumping_clock();
        let mut host = builder.clone().kill_at("gate.before_answer#4").start().await;
        assert!(Request::get(host.url("/greeting/Mike/wait")).send().await.is_err(), "the host is killed");
        host.wait_for_exit().await;
        assert_eq!(host.log().matches("STEP 1").count(), 1);
        let builder = argument.into_iter().fold(builder, |builder, argument| builder.argument(argument));
        let host = builder.start().await;
        database.wait_for_end(&only_run(&database).await).await;
        assert_eq!(host.log().matches("STEP 1").count(), times, "{argument:?}");
        assert_eq!(host.log().matches("STEP 2").count(), 1, "{argument:?}");
    }
}

/// Ends a local Postgres that a failed test has left behind.
struct LocalServer(std::path::PathBuf);

impl Drop for LocalServer {
    fn drop(&mut self) {
        let pid = std::fs::read_to_string(self.0.join("postgres/data/postmaster.pid")).unwrap_or_default();
        let pid = pid.lines().next().and_then(|line| line.parse().ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended in this moment.
            let _ = rustix::process::kill_process(pid, Signal::QUIT);
        }
    }
}

#[tokio::test]
async fn with_a_local_postgres_and_a_real_clock_the_user_does_nothing_after_a_kill() {
    let guestbook = Guestbook::start().await;
    let builder = app("greeting", &guestbook).own_state();
    // The user who runs the local Postgres must be able to pass through the folder above.
    std::fs::set_permissions(builder.folder(), std::fs::Permissions::from_mode(0o755)).expect("open the folder");
    let _server = LocalServer(builder.state().to_owned());
    builder.migrate().await;

    let mut first = builder.start().await;
    assert_eq!(get(&first, "/greeting/Mike").await.body, THANKS);
    first.wait_for_log("(3 of 5)").await;
    first.kill9().await;

    let mut second = builder.start().await;
    second.wait_for_log(">>> STEP 2: ").await;
    let log = second.log();
    assert!(!log.contains("STEP 1") && !log.contains("(1 of 5)") && !log.contains("(2 of 5)"), "said before: {log}");
    assert!(log.contains("(4 of 5)") && log.contains("(5 of 5)"), "{log}");
    let run = builder.output(&["workflow", "list", "--json"]).await;
    let runs: Value = serde_json::from_slice(&run.stdout).expect("JSON");
    assert_eq!(runs.as_array().map(Vec::len), Some(1), "{runs}");
    until("the run is a success", async || {
        let listed = builder.output(&["workflow", "list", "--status", "SUCCESS", "--json"]).await;
        serde_json::from_slice::<Value>(&listed.stdout)
            .is_ok_and(|runs| runs.as_array().is_some_and(|runs| runs.len() == 1))
    })
    .await;
    assert_eq!(get(&second, "/greetings").await.json(), json!([{ "name": "Mike", "note": THANKS }]));
    assert_eq!(guestbook.signatures().await, ["Mike"]);

    assert!(second.stop().await.success(), "Ctrl-C ends it well");
    let socket = builder.state().join("postgres/socket");
    assert!(!socket.join(".s.PGSQL.5432").exists(), "Postgres was stopped with the host");
    assert!(builder.state().join("postgres/data/PG_VERSION").exists(), "its data are kept");
}

#[tokio::test]
async fn a_key_that_is_missing_or_wrong_is_told() {
    let mut guestbook = Guestbook::start().await;
    for key in ["", "short"] {
        guestbook.key = key.to_owned();
        let (_database, builder) = app_on_a_fresh_database("greeting", &guestbook).await;
        builder.migrate().await;
        let host = builder.start().await;
        let reply = get(&host, "/greeting/Mike/wait").await;
        assert_eq!((reply.status, reply.header("content-type")), (500, Some("application/problem+json")));
        let expected = format!(
            "`GUESTBOOK_KEY` must be a key of 36 characters, not {}\nhint: get one from {}/key",
            key.len(),
            guestbook.url
        );
        assert_eq!(reply.json()["detail"], expected);
        assert!(host.log().contains("`GUESTBOOK_KEY` must be a key of 36 characters"), "the console says it too");
    }
}
