//! What a client asks for is what the handler gets, what the handler answers is what the client gets; and a result can be
//! waited for as long as the client likes, at whichever host.

use dbos_host_tests::{Answer, Database, Gate, Host, HostBuilder, Outside, Reply, Request, TestPostgres, eventually};
use serde_json::json;

use crate::raw_http::Connection;

struct World {
    database: Database,
    builder: HostBuilder,
    outside: Outside,
    /// Closed: the outside answers only when it is opened.
    gate: Gate,
}

async fn world() -> World {
    let (outside, gate) = Outside::held(Answer::Reply(200, "told".into())).await;
    let database = TestPostgres::shared().fresh_database().await;
    let builder = HostBuilder::new("web").database(&database);
    let builder = builder.guest_env("OUTSIDE_URL", &outside.url()).allow(&outside.url());
    World { database, builder, outside, gate }
}

async fn get(host: &Host, path: &str) -> Reply {
    Request::get(host.url(path)).send().await.expect("the host answers")
}

fn ask(host: &Host, id: &str) -> Request {
    Request::post(host.url("/workflows/ask"), &json!({ "text": id })).header("idempotency-key", id)
}

/// What is said to who has waited as long as it wanted.
fn assert_not_yet(reply: &Reply, id: &str, location: &str) {
    assert_eq!(reply.status, 202, "{reply:?}");
    assert_eq!((reply.header("location"), reply.header("retry-after")), (Some(location), Some("1")));
    assert_eq!(reply.json(), json!({ "id": id, "result": format!("/workflows/{id}/result") }));
}

#[tokio::test]
async fn a_result_is_waited_for_as_long_as_the_client_likes() {
    let world = world().await;
    let host = world.builder.start().await;
    let started = ask(&host, "a").header("prefer", "wait=1").send().await.unwrap();
    assert_not_yet(&started, "a", "/workflows/a");
    assert_not_yet(&get(&host, "/workflows/a/result?wait=0").await, "a", "/workflows/a/result");
    let impatient =
        Request::get(host.url("/workflows/a/result")).header("prefer", "respond-async").send().await.unwrap();
    assert_not_yet(&impatient, "a", "/workflows/a/result");
    let waiting = tokio::spawn(Request::get(host.url("/workflows/a/result?wait=60")).send());
    world.gate.open();
    let told = waiting.await.unwrap().unwrap();
    assert_eq!((told.status, told.json(), told.header("content-location")), (200, json!("told"), Some("/workflows/a")));
    let again = get(&host, "/workflows/a/result?wait=0").await;
    assert_eq!((again.status, again.json()), (200, json!("told")));
    let head = Request::new("HEAD", host.url("/workflows/a/result")).send().await.unwrap();
    assert_eq!((head.status, head.header("content-length"), head.body.as_str()), (200, Some("6"), ""));

    let failed = host.run_workflow("fail", "b", &json!({ "text": "unlucky" })).await.unwrap();
    let later = get(&host, "/workflows/b/result").await;
    assert_eq!((failed.status, later.status), (500, 500));
    assert_eq!(failed.json(), later.json());
    assert_eq!((&later.json()["code"], &later.json()["detail"]), (&json!("workflow_failed"), &json!("unlucky")));
}

#[tokio::test]
async fn a_result_can_be_waited_for_at_another_host() {
    let world = world().await;
    let first = world.builder.clone().executor("first").start().await;
    let second = world.builder.clone().executor("second").start().await;
    let ids: Vec<String> = (1..=20).map(|n| format!("run-{n}")).collect();
    for id in &ids {
        first.start_workflow("ask", id, &json!({ "text": id })).await;
    }
    let waiting: Vec<_> = ids
        .iter()
        .chain(&ids)
        .map(|id| tokio::spawn(Request::get(second.url(&format!("/workflows/{id}/result"))).send()))
        .collect();
    world.outside.wait_for(20).await;
    world.gate.open();
    for waiting in waiting {
        let told = waiting.await.unwrap().unwrap();
        assert_eq!((told.status, told.json()), (200, json!("told")));
    }
    assert_eq!(world.outside.received().len(), 20);
}

#[tokio::test]
async fn a_client_that_goes_away_while_it_waits_cancels_nothing() {
    let world = world().await;
    let host = world.builder.start().await;
    let body = r#"{"text":"a"}"#;
    let start = format!(
        "POST /workflows/ask HTTP/1.1\r\nhost: x\r\nidempotency-key: a\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let starting = Connection::open(&host).await.send(&start).await;
    world.outside.wait_for(1).await;
    let waiting = Connection::open(&host).await.send("GET /workflows/a/result HTTP/1.1\r\nhost: x\r\n\r\n").await;
    drop((starting, waiting));
    eventually("the host knows that both are gone", async || (host.open_connections() == 0).then_some(())).await;
    world.gate.open();
    assert_eq!(get(&host, "/workflows/a/result").await.json(), json!("told"));
    assert_eq!(world.outside.received().len(), 1);
    assert_eq!(world.database.wait_for_end("a").await.attempts, 1);
}

#[tokio::test]
async fn who_waits_at_a_host_that_stops_is_told_where_to_ask_again() {
    let world = world().await;
    let mut host = world.builder.start().await;
    host.start_workflow("ask", "a", &json!({ "text": "a" })).await;
    let waiting = Connection::open(&host).await.send("GET /workflows/a/result HTTP/1.1\r\nhost: x\r\n\r\n").await;
    eventually("the host has the request", async || (host.open_connections() == 1).then_some(())).await;
    world.outside.wait_for(1).await;
    let told = async {
        let reply = waiting.ask("").await;
        assert_eq!((reply.status, reply.header("location")), (503, Some("/workflows/a/result")), "{reply:?}");
        assert_eq!((reply.header("retry-after"), &reply.json()["code"]), (Some("5"), &json!("shutting_down")));
    };
    tokio::join!(told, host.stop());
    world.gate.open();
    let host = world.builder.start().await;
    assert_eq!(get(&host, "/workflows/a/result").await.json(), json!("told"));
}

#[tokio::test]
async fn parameters_come_from_path_query_form_and_body() {
    let world = world().await;
    let host = world.builder.start().await;
    let typed = get(&host, "/typed/7?page=2&tag=a&tag=b+c&sorted=true").await;
    assert_eq!(typed.json(), json!({ "id": 7, "page": 2, "tag": ["a", "b c"], "sorted": true }));
    let typed = get(&host, "/typed/7?sorted=false").await;
    assert_eq!(typed.json(), json!({ "id": 7, "page": null, "tag": [], "sorted": false }));
    let post = async |path: &str, kind: &str, body: &str| {
        Request::new("POST", host.url(path)).header("content-type", kind).body(body).send().await.unwrap()
    };
    let form = "application/x-www-form-urlencoded";
    let taken = post("/form", form, "name=M%C3%BCller+%26+Co&age=7&tag=a&tag=b").await;
    assert_eq!(taken.json(), json!({ "name": "Müller & Co", "age": 7, "tag": ["a", "b"] }));
    assert_eq!(post("/form?name=Mike", form, "age=7").await.json()["name"], "Mike");
    let item = json!({ "name": "pen", "count": 2 });
    assert_eq!(post("/json", "application/json", &item.to_string()).await.json(), item);
    assert_eq!(post("/bytes", "text/plain", "abc").await.body, "cba");
    let header = Request::get(host.url("/header")).header("X-Asked", "yes").send().await.unwrap();
    assert_eq!(header.body, "yes");

    for (reply, place, parameter, detail) in [
        (
            get(&host, "/typed/x?sorted=true").await,
            "path",
            "id",
            "expected a whole number of 32 bits, not negative, found `x`",
        ),
        (get(&host, "/typed/7").await, "query string", "sorted", "it is missing"),
        (
            get(&host, "/typed/7?sorted=true&page=300").await,
            "query string",
            "page",
            "expected a whole number from 0 to 255, found `300`",
        ),
        (get(&host, "/typed/7?sorted=%ff").await, "query string", "sorted", "it is not UTF-8"),
        (
            post("/form", form, "name=x&age=old").await,
            "query string or form",
            "age",
            "expected a whole number from 0 to 255, found `old`",
        ),
        (post("/form", "text/plain", "name=x&age=1").await, "query string", "name", "it is missing"),
        (
            post("/json", "application/json", "{\"name\":1}").await,
            "body",
            "item",
            "invalid type: integer `1`, expected a string at line 1 column 9",
        ),
    ] {
        assert_eq!((reply.status, reply.header("content-type")), (400, Some("application/problem+json")), "{reply:?}");
        let told = reply.json();
        assert_eq!(
            (&told["code"], &told["parameter"], &told["in"]),
            (&json!("bad_parameter"), &json!(parameter), &json!(place))
        );
        assert_eq!(told["detail"], format!("`{parameter}` in the {place} does not fit: {detail}"));
    }
}

#[tokio::test]
async fn answers_go_out_as_the_handler_makes_them() {
    let world = world().await;
    let host = world.builder.start().await;
    for (kind, status, content_type, body) in [
        ("text", 200, Some("text/plain; charset=utf-8"), "plain ☃"),
        ("html", 200, Some("text/html; charset=utf-8"), "<p>rich</p>"),
        ("json", 200, Some("application/json"), "[1,2]"),
        ("empty", 204, None, ""),
        ("created", 201, Some("text/plain; charset=utf-8"), "made"),
        ("teapot", 418, None, ""),
    ] {
        let reply = get(&host, &format!("/answer/{kind}")).await;
        assert_eq!((reply.status, reply.header("content-type"), reply.body.as_str()), (status, content_type, body));
    }
    let created = get(&host, "/answer/created").await;
    assert_eq!((created.header("location"), created.header("x-more")), (Some("/made/1"), Some("yes")));
    let refused = get(&host, "/answer/refused").await;
    assert_eq!(
        (refused.status, &refused.json()["balance"], &refused.json()["code"]),
        (403, &json!(30), &json!("poor"))
    );
    let head = Request::new("HEAD", host.url("/answer/created")).send().await.unwrap();
    assert_eq!((head.status, head.header("location"), head.body.as_str()), (201, Some("/made/1"), ""));
}

#[tokio::test]
async fn a_path_is_matched_as_it_is_sent_and_decoded_by_segment() {
    let world = world().await;
    let host = world.builder.start().await;
    for (sent, segment) in [
        ("Mike%20J%C3%B6rg", "Mike Jörg"),
        ("a%2Fb", "a/b"),
        ("%2e%2e", ".."),
        ("100%", "100%"),
        ("a+b", "a+b"),
        ("%6Citeral", "literal"),
        ("Literal", "Literal"),
    ] {
        let path = format!("/segment/{sent}");
        let expected = json!({ "segment": segment, "path": path, "method": "GET" });
        assert_eq!(get(&host, &path).await.json(), expected);
    }
    assert_eq!(get(&host, "/segment/literal").await.body, "the literal");
    let put = Request::new("PUT", host.url("/segment/x")).send().await.unwrap();
    assert_eq!(put.json()["method"], "PUT");
    for nothing in ["/segment/", "/segment", "/segment/a/b", "/segment//", "//segment/a", "/segment/a/"] {
        assert_eq!(get(&host, nothing).await.status, 404, "{nothing}");
    }
    let not_text = get(&host, "/segment/%ff").await;
    assert_eq!((not_text.status, not_text.json()["code"].as_str()), (400, Some("bad_path")));
    let absolute =
        Connection::open(&host).await.ask("GET http://elsewhere/segment/x HTTP/1.1\r\nhost: elsewhere\r\n\r\n");
    assert_eq!(absolute.await.json()["segment"], "x");
    assert_eq!(get(&host, "/slash/").await.body, "with a slash");
}

#[tokio::test]
async fn several_requests_share_a_connection() {
    let world = world().await;
    let host = world.builder.start().await;
    let one = "GET /header HTTP/1.1\r\nhost: x\r\nx-asked: 1\r\n\r\n";
    let last = "GET /header HTTP/1.1\r\nhost: x\r\nx-asked: 2\r\nconnection: close\r\n\r\n";
    let replies = Connection::open(&host).await.send(&format!("{one}{last}")).await.closed().await;
    assert_eq!(replies.matches("HTTP/1.1 200 OK").count(), 2, "{replies}");
    assert!(replies.contains("\r\n\r\n1HTTP") && replies.ends_with("\r\n\r\n2"), "{replies}");
}
