//! A component cannot harm its host by being loaded, nor in the places between the calls: its start, the allocation of
//! its arguments, the clearing up after its answers.

mod component;

use dbos_host_tests::{Database, Host, HostBuilder, Request, TestPostgres};
use serde_json::json;

use component::{LOOP, Parts};

/// Limits that are met soon.
const NARROW: &str = "limits: { processor_ms: 200, memory_mib: 64, attempts: 1 }";

/// The exit code for a component that was refused.
const REFUSED: i32 = 5;

const COMPUTES: &str = "the guest used more than 200ms of processor time between two calls";

/// A host for a component; the file is in its folder.
fn builder(parts: &Parts) -> HostBuilder {
    let builder = HostBuilder::without_component().config(NARROW);
    let file = builder.folder().join("by_hand.wasm");
    std::fs::write(&file, parts.build()).expect("write the component");
    builder.wasm(file)
}

/// What a host says about a component that it must refuse. It does so before it looks for its database, which is nowhere.
async fn refusal(parts: &Parts) -> String {
    let output = builder(parts).database_url("postgresql://127.0.0.1:1/nowhere").output(&["run"]).await;
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(REFUSED), "{said}");
    assert!(said.contains("error[component]: failed to load the component"), "{said}");
    said
}

async fn started(parts: &Parts) -> (Database, Host) {
    let database = TestPostgres::shared().fresh_database().await;
    let host = builder(parts).database(&database).start().await;
    (database, host)
}

/// Asserts that workflows, steps and handlers of the component end with this, and that the host goes on.
async fn ends_everywhere(parts: &Parts, expected: &str) {
    let (_database, host) = started(parts).await;
    for _ in 0..2 {
        let reply = Request::get(host.url("/page")).send().await.unwrap();
        assert_eq!((reply.status, &reply.json()["code"]), (500, &json!("handler_failed")), "{reply:?}");
        assert!(reply.body.contains(expected), "{reply:?}");
    }
    let reply = host.run_workflow("flow", "flow", &json!({})).await.unwrap();
    assert_eq!(reply.json()["workflowStatus"], "MAX_RECOVERY_ATTEMPTS_EXCEEDED", "{reply:?}");
    assert!(host.log().contains(expected), "{}", host.log());
}

#[tokio::test]
async fn one_that_does_as_it_should_is_run() {
    let (_database, host) = started(&Parts::default()).await;
    let reply = host.run_workflow("flow", "flow", &json!({})).await.unwrap();
    assert_eq!((reply.status, reply.body.as_str()), (200, "null"), "{reply:?}");
    let reply = Request::get(host.url("/page")).send().await.unwrap();
    assert_eq!((reply.status, reply.body.as_str()), (200, "null"), "{reply:?}");
}

#[tokio::test]
async fn a_loop_in_its_start_or_description() {
    let start = Parts { fields: format!("(func $start {LOOP}) (start $start)"), ..Parts::default() };
    let describe = Parts { describe: LOOP.into(), ..Parts::default() };
    let post_return = Parts { post_return: LOOP.into(), ..Parts::default() };
    for parts in [start, describe, post_return] {
        let said = refusal(&parts).await;
        assert!(said.contains(&format!("it cannot describe itself: {COMPUTES}")), "{said}");
    }
}

#[tokio::test]
async fn a_loop_in_the_allocation_of_its_arguments() {
    ends_everywhere(&Parts { realloc: format!("{LOOP} (unreachable)"), ..Parts::default() }, COMPUTES).await;
}

#[tokio::test]
async fn a_loop_in_a_call() {
    ends_everywhere(&Parts { run: LOOP.into(), ..Parts::default() }, COMPUTES).await;
}

#[tokio::test]
async fn a_loop_behind_its_answer() {
    // The first answer is the description's; the loop is for those that come after.
    let fields = "(global $answers (mut i32) (i32.const 0))";
    let run = "(global.set $answers (i32.const 1))";
    let post_return = format!("(if (global.get $answers) (then {LOOP}))");
    let parts = Parts { fields: fields.into(), run: run.into(), post_return, ..Parts::default() };
    ends_everywhere(&parts, COMPUTES).await;
}

#[tokio::test]
async fn arguments_that_are_allocated_outside_of_its_memory() {
    ends_everywhere(
        &Parts { realloc: "(i32.const -16)".into(), ..Parts::default() },
        "realloc return: beyond end of memory",
    )
    .await;
}

#[tokio::test]
async fn a_table_bomb() {
    let fields = "(table $bomb 1 funcref)";
    let run = "(drop (table.grow $bomb (ref.null func) (i32.const 1000000)))";
    let parts = Parts { fields: fields.into(), run: run.into(), ..Parts::default() };
    ends_everywhere(&parts, "the guest needs tables of more than 100000 elements").await;
}

#[tokio::test]
async fn a_memory_bomb() {
    let run = "(drop (memory.grow (i32.const 60000)))";
    let parts = Parts { run: run.into(), ..Parts::default() };
    ends_everywhere(&parts, "the guest needs more memory than the limit of 67108864 bytes").await;
}

#[tokio::test]
async fn more_tables_memories_or_elements_than_there_are_at_the_start() {
    let tables = Parts { fields: "(table 1 funcref)".repeat(100), ..Parts::default() };
    let elements = Parts { fields: "(table 10000000 funcref)".into(), ..Parts::default() };
    let memories = Parts { fields: "(memory 1)".repeat(10), ..Parts::default() };
    let memory = Parts { fields: "(memory 60000)".into(), ..Parts::default() };
    for parts in [tables, elements, memories, memory] {
        let said = refusal(&parts).await;
        assert!(said.contains("limit") || said.contains("exceed"), "{said}");
    }
}

#[tokio::test]
async fn a_manifest_of_a_million_routes() {
    let route = r#"{"name":"r","method":"GET","path":"/r"},"#;
    let manifest = format!(r#"{{"sdk":"x","routes":[{}{{}}]}}"#, route.repeat(300_000));
    let said = refusal(&Parts { manifest, ..Parts::default() }).await;
    assert!(said.contains("its values need more than 134217728 bytes of memory"), "{said}");
    let manifest = format!(r#"{{"sdk":"x","routes":[{}]}}"#, route.repeat(20_000).trim_end_matches(','));
    let said = refusal(&Parts { manifest, ..Parts::default() }).await;
    assert!(said.contains("it has more than 10000 entries"), "{said}");
}

#[tokio::test]
async fn a_manifest_of_many_megabytes() {
    let padded = |length: usize| format!("{}{}", " ".repeat(length), Parts::default().manifest);
    let said = refusal(&Parts { manifest: padded(17 << 20), ..Parts::default() }).await;
    assert!(said.contains("more than the limit of 16777216"), "{said}");
    let said = refusal(&Parts { manifest: padded(40 << 20), ..Parts::default() }).await;
    assert!(said.contains("the guest passed more than 34603008 bytes in one call or answer"), "{said}");
}
