//! A small HTTP client: one connection for each request, and errors that a test can expect, such as a host that is
//! killed before it answers.

use std::io;

use serde_json::Value;
use tokio::io::{AsyncBufRead, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::message::{self, Sender};

/// A request that is being put together.
#[derive(Debug, Clone)]
pub struct Request {
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// What `Host` says, if not the place that is connected to.
    host: Option<String>,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The headers, as they came.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Request {
    /// A request with any method.
    #[must_use]
    pub fn new(method: &str, url: impl Into<String>) -> Self {
        Self { method: method.into(), url: url.into(), headers: Vec::new(), body: Vec::new(), host: None }
    }

    /// GET.
    #[must_use]
    pub fn get(url: impl Into<String>) -> Self {
        Self::new("GET", url)
    }

    /// POST of a JSON value.
    #[must_use]
    pub fn post(url: impl Into<String>, body: &Value) -> Self {
        Self::new("POST", url).header("content-type", "application/json").body(body.to_string())
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Says another name than that of the place that is connected to.
    #[must_use]
    pub fn named(mut self, host: &str) -> Self {
        self.host = Some(host.into());
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends it and reads the whole answer.
    ///
    /// # Errors
    /// When the connection fails or ends before the answer does.
    pub async fn send(self) -> io::Result<Reply> {
        let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let rest = self.url.strip_prefix("http://").ok_or_else(|| invalid("only http:// is spoken here"))?;
        let (place, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        let mut stream = BufReader::new(TcpStream::connect(place).await?);
        let mut head = format!(
            "{} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: {}\r\n",
            self.method,
            self.host.as_deref().unwrap_or(place),
            self.body.len()
        );
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(&[head.as_bytes(), &self.body].concat()).await?;
        let has_body = self.method != "HEAD";
        Reply::read_from(&mut stream, has_body).await
    }
}

impl Reply {
    /// Reads an answer from a connection that nothing else is read from.
    ///
    /// # Errors
    /// When the connection ends before the answer does.
    pub async fn read(stream: &mut TcpStream) -> io::Result<Self> {
        Self::read_from(&mut BufReader::new(stream), true).await
    }

    async fn read_from(stream: &mut (impl AsyncBufRead + Unpin), has_body: bool) -> io::Result<Self> {
        let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let sender = if has_body { Sender::Server } else { Sender::ServerWithoutBody };
        let message = message::read(stream, sender).await?;
        let message = message.ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "no answer came"))?;
        let status = message.start.split(' ').nth(1).and_then(|status| status.parse().ok());
        let body = String::from_utf8(message.body).map_err(|_| invalid("the answer is not UTF-8"))?;
        Ok(Self { status: status.ok_or_else(|| invalid("no status"))?, headers: message.headers, body })
    }

    /// A header by its name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        message::header(&self.headers, name)
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is no JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("no JSON: {error}: {self:?}"))
    }
}
