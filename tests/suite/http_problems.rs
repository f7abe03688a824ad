//! What a client hears when it gets no answer: a problem (RFC 9457) with a code that stays, what was expected and what
//! came; and what it asked for has not begun.

use dbos_host_tests::{Answer, Database, Host, HostBuilder, Outside, Reply, Request, TestPostgres, eventually};
use serde_json::{Value, json};

use crate::raw_http::Connection;

async fn started(config: &str) -> (Database, Host) {
    let database = TestPostgres::shared().fresh_database().await;
    let host = HostBuilder::new("web").database(&database).config(config).start().await;
    (database, host)
}

async fn send(host: &Host, method: &str, path: &str, content_type: &str, body: &[u8]) -> Reply {
    let request = Request::new(method, host.url(path)).header("content-type", content_type).body(body);
    request.send().await.expect("the host answers")
}

async fn post(host: &Host, path: &str, body: &Value) -> Reply {
    send(host, "POST", path, "application/json", body.to_string().as_bytes()).await
}

async fn runs(database: &Database) -> i64 {
    database.count("SELECT count(*) FROM dbos.workflow_status", &[]).await
}

/// The document of a problem, once it has what each must have.
fn problem(reply: &Reply, status: u16, code: &str) -> Value {
    assert_eq!((reply.status, reply.header("content-type")), (status, Some("application/problem+json")), "{reply:?}");
    let document = reply.json();
    assert_eq!((&document["status"], &document["code"]), (&json!(status), &json!(code)), "{document}");
    assert_eq!(document["type"], format!("urn:dbos-host:error:{code}"), "{document}");
    assert!(document["title"].is_string() && document["detail"].is_string(), "{document}");
    document
}

#[tokio::test]
async fn every_argument_that_does_not_fit_is_told_before_anything_is_written() {
    let (database, host) = started("").await;
    let arguments = json!({
        "items": [{ "name": "pen", "count": 300 }, { "name": 7, "count": 1 }, { "name": "ink" }],
        "express": "yes", "nte": 1, "note": null,
    });
    let told = problem(&post(&host, "/workflows/order", &arguments).await, 400, "bad_arguments");
    let errors: Vec<(&str, &str, &str)> = told["errors"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|error| {
            let text = |key: &str| error[key].as_str().unwrap_or_default();
            (text("argument"), text("pointer"), text("expected"))
        })
        .collect();
    assert_eq!(
        errors,
        [
            ("customer", "#/customer", ""),
            ("nte", "#/nte", ""),
            ("items", "#/items/0/count", "a whole number from 0 to 255"),
            ("items", "#/items/1/name", "a text"),
            ("items", "#/items/2", "a member `count` (a whole number from 0 to 255)"),
            ("express", "#/express", "`true` or `false`"),
        ]
    );
    assert_eq!((&told["errors"][2]["came"], &told["errors"][5]["came"]), (&json!("`300`"), &json!("`\"yes\"`")));
    let detail = told["detail"].as_str().expect("a text");
    assert!(
        detail.contains("the argument `express` does not fit: expected `true` or `false`, but `\"yes\"` came"),
        "{detail}"
    );
    assert_eq!(runs(&database).await, 0);
    let good = json!({ "customer": "Mike", "items": [{ "name": "pen", "count": 2 }], "express": true });
    let reply = post(&host, "/workflows/order", &good).await;
    assert_eq!((reply.status, reply.json()), (200, json!("2 things for Mike, express: true, note: None")));
}

#[tokio::test]
async fn what_is_not_json_is_told_with_its_place() {
    let (database, host) = started("").await;
    let reply = send(&host, "POST", "/workflows/fail", "application/json", b"{\"text\":\n  oops}").await;
    let told = problem(&reply, 400, "not_json");
    assert_eq!((&told["line"], &told["column"]), (&json!(2), &json!(3)));
    problem(&send(&host, "POST", "/workflows/fail", "application/json", b"{\"text\":\"\xff\"}").await, 400, "not_json");
    problem(&post(&host, "/workflows/fail", &json!(["x"])).await, 400, "bad_arguments");
    for kind in ["application/x-www-form-urlencoded", "text/plain"] {
        let reply = send(&host, "POST", "/workflows/fail", kind, b"{\"text\":\"x\"}").await;
        let told = problem(&reply, 415, "unsupported_media_type");
        assert_eq!(told["detail"], format!("the Content-Type must be `application/json`, but `{kind}` came"));
    }
    let reply = Request::new("POST", host.url("/workflows/fail")).body("{\"text\":\"x\"}").send().await.unwrap();
    problem(&reply, 415, "unsupported_media_type");
    assert_eq!(runs(&database).await, 0);
}

#[tokio::test]
async fn what_does_not_exist_is_told() {
    let (database, host) = started("").await;
    let told = problem(&post(&host, "/workflows/nobody", &json!({})).await, 404, "unknown_workflow");
    assert_eq!(told["workflows"], json!(["ask", "ask_child", "fail", "order"]));
    for path in ["/workflows/nobody", "/workflows/nobody/result"] {
        problem(&send(&host, "GET", path, "text/plain", b"").await, 404, "no_such_workflow");
    }
    for path in ["/workflows", "/workflows/", "/workflows//result", "/workflows/a/b", "/workflows/a/", "/nowhere", "//"]
    {
        problem(&send(&host, "GET", path, "text/plain", b"").await, 404, "unknown_route");
    }
    for (path, other) in [("/slash", "/slash/"), ("/header/", "/header")] {
        let told = problem(&send(&host, "GET", path, "text/plain", b"").await, 404, "unknown_route");
        let hint = format!("no route of an app answers `{path}`\nhint: there is one for `{other}`");
        assert_eq!(told["detail"], hint);
    }
    for id in ["%00", &"x".repeat(513)] {
        problem(&send(&host, "GET", &format!("/workflows/{id}"), "text/plain", b"").await, 400, "invalid_id");
    }
    problem(&send(&host, "GET", "/workflows/%ff/result", "text/plain", b"").await, 400, "bad_path");
    problem(&send(&host, "GET", "/workflows/x/result?wait=soon", "text/plain", b"").await, 400, "bad_parameter");
    assert_eq!(runs(&database).await, 0);
}

#[tokio::test]
async fn a_wrong_method_is_told_with_those_that_there_are() {
    let (_database, host) = started("").await;
    for (method, path, allow) in [
        ("DELETE", "/workflows/x", "GET, HEAD, POST, OPTIONS"),
        ("POST", "/workflows/x/result", "GET, HEAD, OPTIONS"),
        ("POST", "/header", "GET, HEAD, OPTIONS"),
        ("DELETE", "/segment/x", "GET, HEAD, PUT, OPTIONS"),
        ("GET", "/form", "POST, OPTIONS"),
        ("BREW", "/form", "POST, OPTIONS"),
    ] {
        let reply = send(&host, method, path, "text/plain", b"").await;
        let told = problem(&reply, 405, "method_not_allowed");
        assert_eq!(reply.header("allow"), Some(allow));
        assert_eq!(told["detail"], format!("`{path}` is answered to {allow}, not to {method}"));
        let asked = send(&host, "OPTIONS", path, "text/plain", b"").await;
        assert_eq!((asked.status, asked.header("allow"), asked.body.as_str()), (204, Some(allow), ""));
    }
    problem(&send(&host, "OPTIONS", "/nowhere", "text/plain", b"").await, 404, "unknown_route");
}

#[tokio::test]
async fn an_id_of_another_call_is_told_with_the_difference() {
    let (database, host) = started("").await;
    let start = async |workflow: &str, arguments: Value| {
        let request = Request::post(host.url(&format!("/workflows/{workflow}")), &arguments);
        request.header("idempotency-key", "taken").header("prefer", "respond-async").send().await.unwrap()
    };
    let items = json!([{ "name": "pen", "count": 1 }]);
    let first = json!({ "customer": "Mike", "items": items, "express": true });
    assert_eq!(start("order", first.clone()).await.status, 202);
    assert_eq!(start("order", first).await.status, 202, "the same call is the same run");
    let other = json!({ "customer": "x".repeat(1000), "items": items, "express": true, "note": "hi" });
    let told = problem(&start("order", other).await, 409, "id_conflict");
    assert_eq!(told["id"], "taken");
    let cut = format!("\"{}…", "x".repeat(99));
    assert_eq!(
        told["arguments"],
        json!([{ "name": "customer", "stored": "\"Mike\"", "sent": cut }, { "name": "note", "stored": null, "sent": "\"hi\"" }])
    );
    let told = problem(&start("fail", json!({ "text": "x" })).await, 409, "id_conflict");
    assert_eq!(told["workflow"], json!({ "stored": "order", "sent": "fail" }));
    assert_eq!(runs(&database).await, 1);
}

#[tokio::test]
async fn what_is_too_large_is_told() {
    let (database, host) = started("limits: { body_kib: 2, answer_kib: 3 }").await;
    let large = json!({ "text": "x".repeat(3000) });
    let told = problem(&post(&host, "/workflows/fail", &large).await, 413, "body_too_large");
    assert_eq!(
        (&told["detail"], &told["limit"]),
        (&json!("the body is larger than the limit of 2048 bytes"), &json!(2048))
    );
    problem(&send(&host, "POST", "/bytes", "text/plain", &[b'x'; 2049]).await, 413, "body_too_large");
    assert_eq!(send(&host, "POST", "/bytes", "text/plain", &[b'x'; 2048]).await.status, 200);
    // The same when the client does not say in advance how much comes.
    let chunk = format!("401\r\n{}\r\n", "x".repeat(0x401));
    let head = "POST /bytes HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    let reply = Connection::open(&host).await.ask(&format!("{head}{chunk}{chunk}0\r\n\r\n")).await;
    problem(&reply, 413, "body_too_large");

    let long = format!("/header?{}", "x".repeat(8 * 1024));
    problem(&send(&host, "GET", &long, "text/plain", b"").await, 414, "uri_too_long");
    let many = (0..101).fold(Request::get(host.url("/header")), |request, n| request.header(&format!("x-{n}"), "v"));
    problem(&many.send().await.unwrap(), 431, "headers_too_large");
    let wide = Request::get(host.url("/header")).header("x-wide", &"x".repeat(33 * 1024));
    problem(&wide.send().await.unwrap(), 431, "headers_too_large");

    let answer = async |path: &str| send(&host, "GET", path, "text/plain", b"").await;
    assert_eq!(answer("/answer/large?size=3072").await.body.len(), 3072);
    problem(&answer("/answer/large?size=3073").await, 500, "answer_too_large");
    assert_eq!(answer("/answer/headers?size=100").await.status, 200);
    problem(&answer("/answer/headers?size=101").await, 500, "answer_too_large");
    assert_eq!(runs(&database).await, 0);
}

#[tokio::test]
async fn what_is_not_http_or_absurd_gets_a_bare_status() {
    let (_database, host) = started("").await;
    let fields: String = (0..600).map(|n| format!("x-{n}: v\r\n")).collect();
    for (sent, status) in [
        ("hello\r\n\r\n".to_owned(), 400),
        (format!("GET /header HTTP/1.1\r\n{fields}\r\n"), 431),
        (format!("GET /header HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(200_000)), 431),
        (format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(70_000)), 414),
    ] {
        let reply = Connection::open(&host).await.ask(&sent).await;
        assert_eq!((reply.status, reply.body.as_str()), (status, ""), "{}", &sent[..20]);
    }
    assert_eq!(Request::get(host.url("/header")).send().await.unwrap().status, 200);
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_told() {
    let (_database, host) = started("").await;
    for (kind, what) in [("split", "value of the header `x-split`"), ("status", "status 99")] {
        let reply = send(&host, "GET", &format!("/answer/{kind}"), "text/plain", b"").await;
        let told = problem(&reply, 500, "invalid_answer");
        assert_eq!(told["detail"], format!("the handler's answer is not valid: {what}"));
    }
}

#[tokio::test]
async fn who_comes_when_the_host_is_full_is_turned_away_before_anything_is_written() {
    let (outside, gate) = Outside::held(Answer::Reply(200, "told".into())).await;
    let database = TestPostgres::shared().fresh_database().await;
    let builder = HostBuilder::new("web").database(&database).config("limits: { requests: 3 }");
    let host = builder.guest_env("OUTSIDE_URL", &outside.url()).allow(&outside.url()).start().await;
    // One place each: a start that waits, a handler that waits, and a client that waits for a result.
    let waiting = [
        tokio::spawn(
            Request::post(host.url("/workflows/ask"), &json!({ "text": "a" })).header("idempotency-key", "a").send(),
        ),
        tokio::spawn(Request::new("POST", host.url("/ask/b/wait")).send()),
    ];
    outside.wait_for(2).await;
    let ask_for_result = || tokio::spawn(Request::get(host.url("/workflows/a/result")).send());
    let mut result = ask_for_result();
    eventually("all places are taken", async || {
        let reply = Request::get(host.url("/workflows/a")).send().await.unwrap();
        if result.is_finished() {
            // It came while this very look had the last place.
            result = ask_for_result();
        }
        (reply.status == 503).then_some(())
    })
    .await;
    let before = runs(&database).await;
    for request in [
        Request::post(host.url("/workflows/ask"), &json!({ "text": "c" })),
        Request::new("POST", host.url("/ask/c")),
        Request::get(host.url("/nowhere")),
    ] {
        let reply = request.send().await.unwrap();
        problem(&reply, 503, "too_busy");
        assert_eq!(reply.header("retry-after"), Some("1"));
    }
    assert_eq!(runs(&database).await, before);
    gate.open();
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap().unwrap().status, 200);
    }
    assert_eq!(result.await.unwrap().unwrap().json(), json!("told"));
    assert_eq!(Request::get(host.url("/workflows/a")).send().await.unwrap().status, 200);
}

#[tokio::test]
async fn a_handler_whose_client_went_away_keeps_its_place() {
    let (outside, gate) = Outside::held(Answer::Reply(200, "told".into())).await;
    let database = TestPostgres::shared().fresh_database().await;
    let builder = HostBuilder::new("web").database(&database).config("limits: { requests: 1 }");
    let host = builder.guest_env("OUTSIDE_URL", &outside.url()).allow(&outside.url()).start().await;
    let client = Connection::open(&host).await.send("POST /ask/a/wait HTTP/1.1\r\nhost: x\r\n\r\n").await;
    outside.wait_for(1).await;
    drop(client);
    eventually("the host knows that the client is gone", async || (host.open_connections() == 0).then_some(())).await;
    problem(&Request::get(host.url("/header")).send().await.unwrap(), 503, "too_busy");
    gate.open();
    eventually("the handler has ended", async || {
        (Request::get(host.url("/header")).send().await.unwrap().status == 200).then_some(())
    })
    .await;
    assert_eq!(runs(&database).await, 2, "the workflow that the handler waited for, and its child");
}

#[tokio::test]
async fn a_client_that_dawdles_loses_its_connection() {
    let (_database, host) = started("limits: { http_ms: 300, connections: 4 }").await;
    // A head that never ends, no head at all, and a body that never comes.
    let head = Connection::open(&host).await.send("GET /header HTTP/1.1\r\nx-slow:").await;
    let idle = Connection::open(&host).await;
    let body = Connection::open(&host).await;
    let reply = body.ask("POST /bytes HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nabc").await;
    let told = problem(&reply, 408, "body_too_slow");
    assert_eq!(told["detail"], "the body did not arrive within 300 ms");
    head.closed().await;
    idle.closed().await;
    // Four that do nothing take every place; a fifth gets one of theirs.
    let dawdling = [(); 4].map(|()| Connection::open(&host));
    let dawdling = futures_util::future::join_all(dawdling).await;
    let reply = Request::get(host.url("/header")).send().await.expect("a place comes free");
    assert_eq!(reply.status, 200);
    drop(dawdling);
}

#[tokio::test]
async fn a_client_that_never_reads_its_answer_loses_its_connection() {
    let (_database, host) = started("limits: { http_ms: 300 }").await;
    // More than the buffers of two sockets take.
    let path = "/answer/large?size=16000000";
    let client = Connection::open(&host).await.send(&format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
    eventually("the host closes the connection", async || (host.open_connections() == 0).then_some(())).await;
    drop(client);
}
