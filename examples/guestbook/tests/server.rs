//! The real program, asked over HTTP, and killed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

/// A running guestbook, killed when the test ends.
struct Guestbook {
    child: Child,
    address: String,
}

impl Guestbook {
    fn start(options: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_guestbook"))
            .args(["--listen", "127.0.0.1:0"])
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program is built");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut line).expect("it says something");
        let address = line.trim().strip_prefix("guestbook listening on http://").expect("its address").to_owned();
        Self { child, address }
    }

    fn with_store(store: &Path) -> Self {
        Self::start(&["--store", store.to_str().expect("a plain path")])
    }

    /// Sends a request and returns status and body.
    fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).expect("it accepts");
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: guestbook\r\nConnection: close\r\n{headers}\
             Content-Length: {length}\r\n\r\n{body}"
        )
        .expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        (head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status"), body.to_owned())
    }

    fn key(&self) -> String {
        self.ask("GET", "/key", "", "").1
    }

    fn sign(&self, headers: &str, body: &Value) -> (u16, String) {
        self.ask("POST", "/record_greeting", headers, &body.to_string())
    }

    fn greetings(&self, key: &str) -> Value {
        let (status, body) = self.ask("GET", &format!("/greetings/{key}"), "", "");
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).expect("JSON")
    }
}

impl Drop for Guestbook {
    fn drop(&mut self) {
        // SIGKILL, as everywhere here: what is kept must not depend on a farewell.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_signature_is_answered_and_listed() {
    let guestbook = Guestbook::start(&[]);
    let key = guestbook.key();
    assert_eq!(key.len(), 36);
    let (status, body) = guestbook.sign("", &json!({ "key": key, "name": "Mike" }));
    assert_eq!(status, 200, "{body}");
    let entry: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((&entry["id"], &entry["key"], &entry["name"]), (&json!(1), &json!(key), &json!("Mike")));
    assert!(entry["recorded_at"].as_str().is_some_and(|time| time.ends_with('Z')), "{entry}");
    assert_eq!(guestbook.greetings(&key), json!([entry]));
    assert_eq!(guestbook.greetings(&guestbook.key()), json!([]));

    let (status, page) = guestbook.ask("GET", "/", "", "");
    assert_eq!(status, 200);
    assert!(page.contains("<h1>Guestbook</h1>") && page.contains("<li>Mike "), "{page}");
}

#[test]
fn wrong_requests_get_a_sentence() {
    let guestbook = Guestbook::start(&[]);
    let cases = [
        (json!({ "key": "short", "name": "Mike" }), 400, "a key has 36 characters, and this one has 5"),
        (json!({ "key": "x".repeat(36), "name": "Mike" }), 401, "does not know the key"),
        (json!({ "name": "Mike" }), 400, "missing field `key`"),
        (json!({ "key": guestbook.key(), "name": "" }), 400, "a name has 1 to 200 characters"),
    ];
    for (body, status, sentence) in cases {
        let answer = guestbook.sign("", &body);
        assert!(answer.0 == status && answer.1.contains(sentence), "{body}: {answer:?}");
    }
    assert_eq!(guestbook.ask("GET", "/greetings/short", "", "").0, 400);
    assert_eq!(guestbook.ask("GET", "/nowhere", "", "").0, 404);
    assert_eq!(guestbook.ask("GET", "/record_greeting", "", "").0, 405);
    assert_eq!(guestbook.ask("POST", "/record_greeting", "", &"x".repeat(20_000)).0, 413);
}

#[test]
fn a_store_survives_a_kill_with_entries_and_requests() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = folder.path().join("guestbook.jsonl");
    let guestbook = Guestbook::with_store(&store);
    let key = guestbook.key();
    let body = json!({ "key": key, "name": "Mike" });
    let first = guestbook.sign("Idempotency-Key: run-1-1\r\n", &body);
    drop(guestbook);

    let guestbook = Guestbook::with_store(&store);
    assert_eq!(guestbook.sign("Idempotency-Key: run-1-1\r\n", &body), first);
    assert_eq!(guestbook.sign("Idempotency-Key: run-1-1\r\n", &json!({ "key": key, "name": "Eve" })).0, 422);
    assert_eq!(guestbook.greetings(&key).as_array().map(Vec::len), Some(1));
    guestbook.sign("", &body);
    assert_eq!(guestbook.greetings(&key).as_array().map(Vec::len), Some(2));
}

#[test]
fn a_key_is_good_after_a_start_without_a_store() {
    let key = Guestbook::start(&[]).key();
    let guestbook = Guestbook::start(&[]);
    assert_eq!(guestbook.sign("", &json!({ "key": key, "name": "Mike" })).0, 200);
}
