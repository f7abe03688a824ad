//! What a run shows one behind the other is read by everybody, while it is written and after, from wherever they want, each
//! value once and in order, whatever crashes.

use std::time::{Duration, Instant};

use dbos_host_tests::{Database, Event, EventSource, Host, Request, until};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::events::{Place, get, python};

fn path(run: &str) -> String {
    format!("/workflows/{run}/streams/out")
}

async fn open(host: &Host, run: &str, seen: Option<&str>) -> EventSource {
    EventSource::open(&host.url(&path(run)), seen).await.expect("an answer")
}

async fn next(source: &mut EventSource) -> Event {
    source.next().await.expect("an event").expect("not the end")
}

fn value(offset: usize, data: &Value) -> Event {
    Event { id: offset.to_string(), kind: "message".into(), data: data.to_string() }
}

fn closed(offset: usize) -> Event {
    Event { id: format!("end-{offset}"), kind: "closed".into(), data: "null".into() }
}

/// The offsets and values of a stream, as they are stored.
async fn stored(database: &Database, run: &str, key: &str) -> Vec<(i32, String)> {
    let rows = "SELECT \"offset\", value FROM dbos.streams WHERE workflow_uuid = $1 AND key = $2 ORDER BY 1";
    database.query(rows, &[&run, &key]).await.iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[tokio::test]
async fn a_reader_follows_a_stream_while_it_is_written() {
    let place = Place::of("streams").await;
    let writes = place.builder.start().await;
    let reads = place.builder.clone().executor("reads").start().await;
    let (today, tomorrow) = (json!(["a\nb", { "n": 1 }]), json!([null, [2.0]]));
    writes.start_workflow("show", "shows", &json!({ "today": today, "tomorrow": tomorrow })).await;
    // By the host that writes, by another one, and from the middle.
    let mut here = open(&writes, "shows", None).await;
    let mut there = open(&reads, "shows", None).await;
    let from_one = writes.url(&format!("{}?offset=1", path("shows")));
    let mut middle = EventSource::open(&from_one, None).await.expect("an answer");
    assert_eq!((here.status, here.header("content-type")), (200, Some("text/event-stream")));
    for source in [&mut here, &mut there] {
        assert_eq!(next(source).await, value(0, &today[0]));
        assert_eq!(next(source).await, value(1, &today[1]));
    }
    assert_eq!(next(&mut middle).await, value(1, &today[1]));
    place.database.wait_for_steps("shows", 3).await;
    let told = Request::get(writes.url(&path("shows"))).header("accept", "application/json").send().await.unwrap();
    assert_eq!(told.json(), json!({ "values": today, "next": 2, "closed": false }));
    place.next_day();
    for source in [&mut here, &mut there, &mut middle] {
        assert_eq!(next(source).await, value(2, &tomorrow[0]));
        assert_eq!(next(source).await, value(3, &tomorrow[1]));
        assert_eq!(next(source).await, closed(4));
        assert_eq!(source.next().await.expect("the end"), None);
    }
    let told = Request::get(reads.url(&path("shows"))).header("accept", "application/json").send().await.unwrap();
    assert_eq!(told.body, r#"{"values":["a\nb",{"n":1},null,[2.0]],"next":4,"closed":true}"#);
}

#[tokio::test]
async fn a_reader_on_another_host_hears_of_a_value_within_a_second() {
    let place = Place::of("streams").await;
    let writes = place.builder.start().await;
    let reads = place.builder.clone().executor("reads").start().await;
    let arguments = |today: Value| json!({ "today": today, "tomorrow": [] });
    let mut took = Vec::new();
    // A machine that is busy with other things may hold one of them up.
    for n in 0..5 {
        let run = format!("shows-{n}");
        let asks = reads.url(&path(&run));
        writes.start_workflow("show", &run, &arguments(json!([]))).await;
        let mut source = EventSource::open(&asks, None).await.expect("an answer");
        place.database.wait_for_steps(&run, 1).await;
        // As a DBOS program would, whose writes no host hears of.
        let written = Instant::now();
        let write = "INSERT INTO dbos.streams (workflow_uuid, key, value, \"offset\", serialization)
                     SELECT workflow_uuid, 'out', '7', 0, 'portable_json' FROM dbos.workflow_status WHERE workflow_uuid = $1";
        place.database.query(write, &[&run]).await;
        assert_eq!(next(&mut source).await, value(0, &json!(7)));
        took.push(written.elapsed());
    }
    assert!(took.iter().any(|took| *took < Duration::from_secs(1)), "{took:?}");
}

#[tokio::test]
async fn a_reader_resumes_at_its_last_event() {
    let place = Place::of("streams").await;
    let mut host = place.builder.clone().kill_at("stream.sent#2").start().await;
    host.start_workflow("show", "shows", &json!({ "today": [0, 1, 2], "tomorrow": [3] })).await;
    place.database.wait_for_steps("shows", 4).await;
    let mut source = open(&host, "shows", None).await;
    for n in 0..3 {
        assert_eq!(next(&mut source).await, value(n, &json!(n)));
    }
    // The host dies with the next one on its way, and the answer is cut off.
    place.next_day();
    host.wait_for_exit().await;
    while let Ok(event) = source.next().await {
        assert_eq!(event, Some(value(3, &json!(3))), "the answer has no end");
    }
    let host = place.builder.start().await;
    let mut source = open(&host, "shows", Some("1")).await;
    for n in 2..4 {
        assert_eq!(next(&mut source).await, value(n, &json!(n)));
    }
    assert_eq!(next(&mut source).await, closed(4));
    // Who has seen all values is told of the end, and who has seen that too is told not to come again.
    assert_eq!(next(&mut open(&host, "shows", Some("3")).await).await, closed(4));
    assert_eq!(open(&host, "shows", Some("end-4")).await.status, 204);
    for wrong in ["?offset=x", "?offset=-1"] {
        let reply = get(host.url(&format!("{}{wrong}", path("shows")))).await;
        assert_eq!((reply.status, &reply.json()["code"]), (400, &json!("bad_parameter")), "{reply:?}");
    }
}

#[tokio::test]
async fn a_host_that_stops_lets_its_readers_go() {
    let place = Place::of("streams").await;
    let mut host = place.builder.start().await;
    host.start_workflow("show", "shows", &json!({ "today": [0], "tomorrow": [] })).await;
    let mut source = open(&host, "shows", None).await;
    assert_eq!(next(&mut source).await, value(0, &json!(0)));
    assert!(host.stop().await.success());
    assert_eq!(source.next().await.expect("the end"), None, "not the end of the stream, which goes on");
}

#[tokio::test]
async fn the_end_of_the_run_ends_the_stream() {
    let place = Place::of("streams").await;
    let host = place.builder.start().await;
    host.start_workflow("show_and_close", "closes", &json!({ "values": [1] })).await;
    host.start_workflow("show", "cancelled", &json!({ "today": [1], "tomorrow": [2] })).await;
    // One is closed while its run goes on, the other is not while its run is cancelled.
    let mut source = open(&host, "closes", None).await;
    assert_eq!((next(&mut source).await, next(&mut source).await), (value(0, &json!(1)), closed(1)));
    let mut source = open(&host, "cancelled", None).await;
    assert_eq!(next(&mut source).await, value(0, &json!(1)));
    place
        .database
        .execute(
            "UPDATE dbos.workflow_status SET status = 'CANCELLED', owner_xid = NULL WHERE workflow_uuid = 'cancelled'",
        )
        .await;
    assert_eq!(next(&mut source).await, closed(1));
    host.start_workflow("read", "reads", &json!({ "id": "closes" })).await;
    assert_eq!(place.database.output("reads").await, json!([1]));
    place.next_day();
    assert_eq!(place.database.output("closes").await, json!("stream_closed"));
    let nobody = get(host.url(&path("nobody"))).await;
    assert_eq!((nobody.status, &nobody.json()["code"]), (404, &json!("no_such_workflow")));
    host.start_workflow("read", "reads-nobody", &json!({ "id": "nobody" })).await;
    let error: Value = serde_json::from_str(&place.database.wait_for_end("reads-nobody").await.error.unwrap()).unwrap();
    assert_eq!(error["code"], "no_such_workflow");
}

#[tokio::test]
async fn a_workflow_reads_the_same_in_a_replay() {
    let place = Place::of("streams").await;
    let mut host = place.builder.start().await;
    host.start_workflow("show", "shows", &json!({ "today": [1, { "a": 2 }, 3], "tomorrow": [] })).await;
    host.start_workflow("read_and_rest", "reads", &json!({ "id": "shows" })).await;
    place.database.wait_for_steps("reads", 3).await;
    let end = "UPDATE dbos.workflow_status SET status = 'CANCELLED', owner_xid = NULL WHERE workflow_uuid = 'shows'";
    place.database.execute(end).await;
    let steps = place.database.wait_for_steps("reads", 5).await;
    let read: Vec<(&str, Option<&str>)> =
        steps[..4].iter().map(|step| (step.name.as_str(), step.output.as_deref())).collect();
    let outputs = ["1", r#"{"a":2}"#, "3", r#""__DBOS_STREAM_CLOSED__""#];
    assert_eq!(read, outputs.map(|output| ("DBOS.readStream", Some(output))));
    assert_eq!(steps[4].name, "DBOS.sleep");
    host.kill9().await;
    place.database.execute("UPDATE dbos.streams SET value = '7'").await;
    place.database.execute("UPDATE dbos.workflow_status SET status = 'PENDING' WHERE workflow_uuid = 'shows'").await;
    place.next_day();
    let _host = place.builder.start().await;
    assert_eq!(place.database.output("reads").await, json!([1, { "a": 2 }, 3]));
}

#[tokio::test]
async fn waiting_readers_hold_no_instance_and_are_all_woken() {
    const READERS: usize = 20;
    let place = Place::of("streams").await;
    let builder = place.builder.clone().config("limits: { workflows: 1 }");
    let mut host = builder.start().await;
    host.start_workflow("show", "shows", &json!({ "today": ["seen"], "tomorrow": ["seen too"] })).await;
    for n in 0..READERS {
        host.start_workflow("read", &format!("reads-{n}"), &json!({ "id": "shows" })).await;
    }
    let read = "SELECT count(*) FROM dbos.operation_outputs WHERE function_name = 'DBOS.readStream'";
    let all = i64::try_from(READERS).unwrap();
    until("all have read the first value", async || place.database.count(read, &[]).await == all).await;
    // Those that were taken over wait as those that were not.
    host.kill9().await;
    let host = builder.start().await;
    let reply = get(host.url("/read/shows/0")).await;
    assert_eq!(reply.json(), json!("seen"));
    place.next_day();
    for n in 0..READERS {
        assert_eq!(place.database.output(&format!("reads-{n}")).await, json!(["seen", "seen too"]));
    }
    let ended = get(host.url("/read/shows/2")).await;
    assert_eq!((ended.status, ended.json()), (200, json!(null)));
}

/// Kills the host at each of these visits of a run, one after the other.
#[tokio::test]
async fn offsets_have_no_holes_after_kills() {
    let place = Place::of("streams").await;
    place.builder.migrate().await;
    for visit in ["record.before_commit#3", "record.after_commit#4", "gate.before_answer#6", "finish.before_commit#1"] {
        let run = visit.replace('#', "-");
        let mut host = place.builder.clone().kill_at(visit).start().await;
        // It may die before the start is durable, and whoever gets no answer asks again.
        drop(host.ask_to_start("count", &run, &json!({ "to": 4 })).await);
        host.wait_for_exit().await;
        let host = place.builder.start().await;
        host.start_workflow("count", &run, &json!({ "to": 4 })).await;
        place.database.wait_for_end(&run).await;
        let row = |(offset, value): (i32, i32)| (offset, value.to_string());
        assert_eq!(
            stored(&place.database, &run, "out").await,
            (0..4).map(|n| row((n, n))).collect::<Vec<_>>(),
            "{visit}"
        );
        assert_eq!(stored(&place.database, &run, "even").await, [(0, 0), (1, 2)].map(row), "{visit}");
        let wrong = "SELECT count(*) FROM dbos.streams s FULL JOIN
                       (SELECT * FROM dbos.operation_outputs WHERE function_name = 'DBOS.writeStream') o
                       USING (workflow_uuid, function_id) WHERE s.key IS NULL OR o.function_name IS NULL";
        assert_eq!(place.database.count(wrong, &[]).await, 0, "{visit}: a value and its record are one write");
    }
}

#[tokio::test]
async fn what_is_no_stream_is_refused_and_takes_no_number() {
    let place = Place::of("streams").await;
    let host = place.builder.start().await;
    host.start_workflow("refused", "refused", &json!({})).await;
    let codes = json!(["invalid_key", "invalid_key", "reserved_value", "invalid_id", "invalid_key", "invalid_offset"]);
    assert_eq!(place.database.output("refused").await, codes);
    assert_eq!(place.database.steps("refused").await.len(), 0);
    let reply = get(host.url("/workflows/refused/streams/a%0Ab")).await;
    assert_eq!((reply.status, &reply.json()["code"]), (400, &json!("invalid_key")));
}

/// Values of one that another SDK has written, some in a form that only itself can read.
#[tokio::test]
async fn an_unreadable_value_is_an_error_of_its_reader() {
    let place = Place::of("streams").await;
    let host = place.builder.start().await;
    host.start_workflow("show", "shows", &json!({ "today": [1, 2, 3], "tomorrow": [] })).await;
    place.database.wait_for_steps("shows", 4).await;
    let other = "UPDATE dbos.streams SET value = 'gASV', serialization = 'py_pickle' WHERE \"offset\" = 1";
    place.database.execute(other).await;
    host.start_workflow("read", "reads", &json!({ "id": "shows" })).await;
    let error: Value = serde_json::from_str(&place.database.wait_for_end("reads").await.error.unwrap()).unwrap();
    assert_eq!(error["code"], "unreadable_record");
    let mut source = open(&host, "shows", None).await;
    let seen = [next(&mut source).await, next(&mut source).await, next(&mut source).await];
    assert_eq!(seen.clone().map(|event| event.kind), ["message", "unreadable", "message"]);
    assert_eq!(serde_json::from_str::<Value>(&seen[1].data).unwrap()["code"], "unreadable_record");
    let ask = async |from: u8| {
        let url = host.url(&format!("{}?offset={from}", path("shows")));
        Request::get(url).header("accept", "application/json").send().await.unwrap()
    };
    assert_eq!(ask(0).await.json(), json!({ "values": [1], "next": 1, "closed": false }));
    assert_eq!((ask(1).await.status, &ask(1).await.json()["code"]), (500, &json!("unreadable_record")));
}

#[tokio::test]
async fn a_slow_reader_holds_nobody_up() {
    let place = Place::of("streams").await;
    let host = place.builder.clone().config("limits: { http_ms: 300, requests: 2 }").start().await;
    // More than the buffers of two sockets take.
    host.start_workflow("show_much", "shows", &json!({ "count": 40, "bytes": 500_000 })).await;
    let mut slow = TcpStream::connect(host.address().trim_start_matches("http://")).await.unwrap();
    slow.write_all(format!("GET {} HTTP/1.1\r\nhost: x\r\n\r\n", path("shows")).as_bytes()).await.unwrap();
    place.database.wait_for_end("shows").await;
    let mut source = open(&host, "shows", None).await;
    for n in 0..40 {
        assert_eq!(next(&mut source).await.id, n.to_string());
    }
    assert_eq!(next(&mut source).await, closed(40));
    drop(source);
    until("the connection of who takes nothing is closed", async || host.open_connections() == 0).await;
    drop(slow);
}

#[tokio::test]
async fn a_dbos_client_reads_a_stream() {
    let place = Place::of("streams").await;
    let host = place.builder.start().await;
    host.start_workflow("show", "shows", &json!({ "today": [1, { "of": "two" }], "tomorrow": ["late"] })).await;
    place.database.wait_for_steps("shows", 3).await;
    // It looks by itself only once a minute.
    let program = "for value in client.read_stream('shows', 'out'): print(json.dumps(value), flush=True)";
    let reads = python(&place.database, program);
    let listens =
        "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'";
    let show = async {
        until("the client listens", async || place.database.query(listens, &[]).await[0].get(0)).await;
        place.next_day();
    };
    let (told, ()) = tokio::join!(reads, show);
    assert_eq!(told, "1\n{\"of\": \"two\"}\n\"late\"\n");
}
