//! HTTP/1.1 messages, as far as the suite's own client and server need them.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

/// A request or an answer.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) start: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// Who sent a message. It matters when nothing says how long the body is: a request has none then, an answer goes on
/// to the end of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sender {
    Client,
    Server,
    /// Who answers a HEAD: with the length of a body that does not come.
    ServerWithoutBody,
}

/// Finds a header by its name, in whatever case.
pub(crate) fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// Reads one message. `None`: the other side closed the connection before it began one.
pub(crate) async fn read(stream: &mut (impl AsyncBufRead + Unpin), sender: Sender) -> io::Result<Option<Message>> {
    let Some((start, headers)) = read_head(stream).await? else { return Ok(None) };
    let length = header(&headers, "content-length").map(str::parse::<usize>).transpose();
    let length = length.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let is_chunked = header(&headers, "transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
    let mut body = Vec::new();
    match length {
        _ if sender == Sender::ServerWithoutBody => {}
        _ if is_chunked => read_chunks(stream, &mut body).await?,
        Some(length) => {
            body.resize(length, 0);
            stream.read_exact(&mut body).await?;
        }
        None if sender == Sender::Server => {
            stream.read_to_end(&mut body).await?;
        }
        None => {}
    }
    Ok(Some(Message { start, headers, body }))
}

/// Reads what comes before a body: the first line, and the headers. `None`: the other side closed the connection before.
pub(crate) async fn read_head(
    stream: &mut (impl AsyncBufRead + Unpin),
) -> io::Result<Option<(String, Vec<(String, String)>)>> {
    let start = line(stream).await?;
    if start.is_empty() {
        return Ok(None);
    }
    let mut headers = Vec::new();
    loop {
        let text = line(stream).await?;
        match text.split_once(':') {
            Some((name, value)) => headers.push((name.to_owned(), value.trim().to_owned())),
            None if text.is_empty() => return Ok(Some((start, headers))),
            None => return Err(io::Error::new(io::ErrorKind::InvalidData, format!("no header: `{text}`"))),
        }
    }
}

async fn read_chunks(stream: &mut (impl AsyncBufRead + Unpin), body: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let size = line(stream).await?;
        let size = usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let start = body.len();
        body.resize(start + size, 0);
        stream.read_exact(&mut body[start..]).await?;
        if !line(stream).await?.is_empty() && size > 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a chunk is longer than it says"));
        }
        if size == 0 {
            return Ok(());
        }
    }
}

async fn line(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<String> {
    let mut text = String::new();
    stream.read_line(&mut text).await?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
