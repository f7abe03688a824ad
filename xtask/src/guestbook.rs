//! The stand-in guestbook as a process of its own.
//!
//! It is the outside world of the example: it must be there before the host is, and outlive it, so that the host's last
//! requests are answered. What people wrote in it is kept between runs, under one key, so that someone who kills the host
//! and starts again can count the signatures.
//!
//! This module must not know who signs.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::shell;
use crate::signals::terminate;

/// Where the guide expects it.
const USUAL: &str = "127.0.0.1:8080";

/// A key is a UUID in its usual form.
const KEY_LENGTH: usize = 36;

/// A server on this machine that takes longer to answer a one-line request hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running guestbook, ended when this is dropped.
pub(crate) struct Guestbook {
    child: Child,
    pub(crate) url: String,
    pub(crate) key: String,
}

impl Guestbook {
    /// Starts it and gets a key. What it keeps is in `folder`.
    pub(crate) fn start(program: &Path, folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("create `{}`", folder.display()))?;
        // Another program may have the port. Any other will do, too: the host is told where the guestbook is.
        let listen = if TcpListener::bind(USUAL).is_ok() { USUAL } else { "127.0.0.1:0" };
        if listen != USUAL {
            shell::say(&format!("port {USUAL} is in use: the guestbook takes another one"));
        }
        let mut command = Command::new(program);
        command.args(["--listen", listen, "--store"]).arg(folder.join("guestbook.jsonl"));
        // A process group of its own: Ctrl-C in the terminal is for us, and we end the host first.
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("start `{}`", program.display()))?;
        let mut output = BufReader::new(child.stdout.take().expect("standard output is piped"));
        // From here on the process is ended when something fails.
        let mut guestbook = Self { child, url: String::new(), key: String::new() };
        let mut line = String::new();
        output.read_line(&mut line).context("read what the guestbook says")?;
        guestbook.url =
            announced_url(&line).with_context(|| format!("start the guestbook: it said `{}`", line.trim()))?;
        // Nobody needs the rest, but a full pipe would stop it.
        std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        guestbook.key = kept_key(&folder.join("guestbook-key"), &guestbook.url)?;
        Ok(guestbook)
    }
}

impl Drop for Guestbook {
    fn drop(&mut self) {
        terminate(&mut self.child);
    }
}

/// The key of the last run, or a new one.
fn kept_key(file: &Path, url: &str) -> Result<String> {
    match fs::read_to_string(file) {
        Ok(key) if key.len() == KEY_LENGTH => Ok(key),
        _ => {
            let key = get(url, "/key")?.trim().to_owned();
            ensure!(key.len() == KEY_LENGTH, "get a key from the guestbook: `{key}` has not {KEY_LENGTH} characters");
            fs::write(file, &key).with_context(|| format!("write `{}`", file.display()))?;
            Ok(key)
        }
    }
}

fn announced_url(line: &str) -> Option<String> {
    let url = &line[line.find("http://")?..];
    Some(url.trim_end().trim_end_matches('/').to_owned())
}

/// The body that a server on this machine answers with.
fn get(url: &str, path: &str) -> Result<String> {
    let address = url.strip_prefix("http://").with_context(|| format!("understand the address `{url}`"))?;
    let mut stream = TcpStream::connect(address).with_context(|| format!("connect to `{url}`"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).with_context(|| format!("read the answer of `{url}{path}`"))?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.split(' ').nth(1) == Some("200") => Ok(body.to_owned()),
        _ => bail!("get `{url}{path}`: the answer was `{}`", answer.lines().next().unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that gives one answer to one request.
    fn serve_once(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = BufReader::new(stream.try_clone().unwrap()).lines();
            while head.next().is_some_and(|line| !line.unwrap().is_empty()) {}
            stream.write_all(answer.as_bytes()).unwrap();
        });
        url
    }

    #[test]
    fn the_url_is_read_from_what_the_guestbook_says() {
        let line = "guestbook listening on http://127.0.0.1:8080\n";
        assert_eq!(announced_url(line).as_deref(), Some("http://127.0.0.1:8080"));
        assert_eq!(announced_url("error: port in use\n"), None);
    }

    #[test]
    fn a_key_is_got_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        let key = "7f0c4a52-90f4-4f4e-9a36-0a3f6f1f7f11";
        let url = serve_once("HTTP/1.0 200 OK\r\ncontent-length: 37\r\n\r\n7f0c4a52-90f4-4f4e-9a36-0a3f6f1f7f11\n");
        assert_eq!(kept_key(&file, &url).unwrap(), key);
        // The server is gone by now.
        assert_eq!(kept_key(&file, &url).unwrap(), key);
    }

    #[test]
    fn a_refusal_is_an_error_with_its_first_line() {
        let url = serve_once("HTTP/1.0 503 Service Unavailable\r\n\r\nno keys today");
        let error = get(&url, "/key").unwrap_err().to_string();
        assert_eq!(error, format!("get `{url}/key`: the answer was `HTTP/1.0 503 Service Unavailable`"));
    }
}
