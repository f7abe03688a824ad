//! A reader of server-sent events: each one as it comes, and errors that a test can expect.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::message;

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its id.
    pub id: String,
    /// Its kind; `message` if it says none.
    pub kind: String,
    /// Its data.
    pub data: String,
}

/// An answer that is being read.
#[derive(Debug)]
pub struct EventSource {
    stream: BufReader<TcpStream>,
    /// The status code.
    pub status: u16,
    headers: Vec<(String, String)>,
    text: String,
}

impl EventSource {
    /// Asks for events behind this one, and reads the head of the answer.
    ///
    /// # Errors
    /// When there is none.
    pub async fn open(url: &str, seen: Option<&str>) -> io::Result<Self> {
        let rest = url.strip_prefix("http://").ok_or_else(|| invalid("only http:// is spoken here"))?;
        let (place, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        let mut stream = BufReader::new(TcpStream::connect(place).await?);
        let seen = seen.map(|seen| format!("last-event-id: {seen}\r\n")).unwrap_or_default();
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: {place}\r\nconnection: close\r\naccept: text/event-stream\r\n{seen}\r\n"
        );
        stream.write_all(head.as_bytes()).await?;
        let (start, headers) = message::read_head(&mut stream).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let status = start.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok(Self { stream, status: status.ok_or_else(|| invalid("no status"))?, headers, text: String::new() })
    }

    /// A header by its name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        message::header(&self.headers, name)
    }

    /// The next event. `None`: the answer has come to its end.
    ///
    /// # Errors
    /// When the connection has, before the answer.
    pub async fn next(&mut self) -> io::Result<Option<Event>> {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                if let Some(data) = field("data") {
                    let of = |name, default: &str| field(name).unwrap_or(default).to_owned();
                    return Ok(Some(Event { id: of("id", ""), kind: of("event", "message"), data: data.to_owned() }));
                }
            }
            if !self.chunk().await? {
                return if self.text.is_empty() { Ok(None) } else { Err(invalid("an event without an end")) };
            }
        }
    }

    /// Reads a chunk of the body. False: it was the last one.
    async fn chunk(&mut self) -> io::Result<bool> {
        let mut size = String::new();
        if self.stream.read_line(&mut size).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let size = usize::from_str_radix(size.trim(), 16).map_err(|_| invalid("no size of a chunk"))?;
        // With the end of the line that stands behind it.
        let mut chunk = vec![0; size + 2];
        self.stream.read_exact(&mut chunk).await?;
        self.text.push_str(std::str::from_utf8(&chunk[..size]).map_err(|_| invalid("the chunk is not UTF-8"))?);
        Ok(size > 0)
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}
