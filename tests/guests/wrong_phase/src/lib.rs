//! Makes each call in each phase, and tells what came of it.

use std::net::{TcpStream, ToSocketAddrs, UdpSocket};

use dbos_guest::{prelude::*, serde};

/// Makes the call of this name. What comes back is `Ok` with the value as text, or the error.
fn attempt(call: &str) -> Result<String> {
    match call {
        "query" => sql::query::<serde::de::IgnoredAny>("SELECT 1", params![]).map(|rows| rows.len().to_string()),
        "execute" => sql::execute("SELECT 1", params![]).map(|rows| rows.to_string()),
        "cursor" => sql::cursor::<serde::de::IgnoredAny>("SELECT 1", params![]).map(|rows| rows.count().to_string()),
        "savepoint" => sql::savepoint(|| Ok("kept".to_owned())),
        "transaction" => empty_transaction(),
        "communicator" => empty_communicator(),
        "parallel" => empty_communicator::start()?.join(),
        "sleep" => sleep(Duration::from_millis(1)).map(|()| "slept".to_owned()),
        "sleep until" => sleep_until(now()).map(|()| "slept".to_owned()),
        "patch" => patch("a patch").map(|applies| applies.to_string()),
        "deprecate" => deprecate_patch("a patch").map(|()| "passed".to_owned()),
        "set event" => set_event("key", &1).map(|()| "set".to_owned()),
        "get event" => get_event_within::<u8>("nobody", "key", Duration::ZERO).map(|seen| format!("{seen:?}")),
        "write stream" => stream("out").write(&1).map(|()| "written".to_owned()),
        "close stream" => stream("out").close().map(|()| "closed".to_owned()),
        "read stream" => read_stream::<u8>("nobody", "out").collect::<Result<Vec<_>>>().map(|seen| format!("{seen:?}")),
        "send" => send("nobody", "", &1).map(|()| "sent".to_owned()),
        "receive" => recv::<u8>("", Duration::ZERO).map(|read| format!("{read:?}")),
        "link" => promise::<u8>("p").link().map(|_| "linked".to_owned()),
        "promise" => promise::<u8>("p").wait(Duration::ZERO).map(|value| format!("{value:?}")),
        "start" => empty_workflow::start().map(|_| "started".to_owned()),
        "continue" => empty_workflow::continue_with(),
        "outcome" => Handle::<String>::of("nobody").join(),
        "id" => workflow_id(),
        "key" => http::get("http://127.0.0.1:1/").idempotency_key().map(|_| "a key".to_owned()),
        "http" => http::get("http://127.0.0.1:1/").send().map(|answer| answer.status().to_string()),
        "env" => env::var("SETTING"),
        "environment" => Ok(std::env::vars().map(|(name, value)| format!("{name}={value};")).collect()),
        "arguments" => Ok(std::env::args().collect()),
        "read file" => Ok(std::fs::read_to_string("/etc/passwd")?),
        "write file" => Ok(std::fs::write("file", "text").map(|()| "written".to_owned())?),
        "list files" => Ok(std::fs::read_dir("/").map(|entries| entries.count().to_string())?),
        "tcp" => Ok(TcpStream::connect("127.0.0.1:1").map(|_| "connected".to_owned())?),
        "udp" => Ok(UdpSocket::bind("127.0.0.1:0").map(|_| "bound".to_owned())?),
        "resolve" => Ok(("localhost", 1).to_socket_addrs().map(|addresses| addresses.count().to_string())?),
        "thread" => Ok(std::thread::Builder::new().spawn(|| ()).map(|_| "spawned".to_owned())?),
        _ => bail!("there is no call `{call}`"),
    }
}

/// The error for people and programs alike, or the value.
fn told(call: &str) -> String {
    match attempt(call) {
        Ok(value) => format!("ok: {value}"),
        Err(error) => format!("{}: {error}", error.name()),
    }
}

#[transaction]
fn empty_transaction() -> String {
    "done".to_owned()
}

#[communicator]
fn empty_communicator() -> String {
    "done".to_owned()
}

#[workflow]
fn empty_workflow() -> String {
    "done".to_owned()
}

#[workflow]
fn in_workflow(call: &str) -> String {
    told(call)
}

#[get("/in_transaction/{call}")]
#[transaction]
fn in_transaction(call: &str) -> String {
    told(call)
}

#[get("/in_communicator/{call}")]
#[communicator]
fn in_communicator(call: &str) -> String {
    told(call)
}

#[get("/in_handler/{call}")]
fn in_handler(call: &str) -> String {
    told(call)
}

/// Waits as programs do that know nothing of durable sleeps.
#[workflow]
fn nap() {
    std::thread::sleep(Duration::from_millis(1));
}
