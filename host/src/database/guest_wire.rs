//! What comes from the server on a guest's connection, with a bound on single messages.
//!
//! Problem: the driver collects a whole message before anybody sees it, and a row is one message. `SELECT repeat('x',
//! 1000000000)` is a gigabyte in this host, times the connections of the app, and no setting of the server forbids it. The
//! limit on results ([`MAX_RESULT_BYTES`]) is looked at when the row is there already.
//!
//! So the stream below the driver reads the messages' lengths, which come first. A row that is too large is swallowed as
//! it comes, and an error of the server's form takes its place: the driver fails the statement, the connection stays in
//! order, and the transaction can be rolled back, to a savepoint too. A notice that is too large is left out. Anything
//! else of that size is no answer that a server gives, and ends the connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsStream};

use super::guest_sql::{HostCode, MAX_RESULT_BYTES};

/// The largest message that is passed on. A row of the largest result, and what the protocol and binary forms add to it.
const MAX_MESSAGE: usize = MAX_RESULT_BYTES + 1024 * 1024;

/// A message's first bytes: its kind, and its length without the kind.
const HEADER: usize = 5;

/// How much is read at once.
const PIECE: usize = 16 * 1024;

/// A stream whose messages are bounded (lifetime: one connection).
#[derive(Debug)]
pub(super) struct Bounded<S> {
    stream: S,
    filter: Filter,
    /// What the driver has not taken yet.
    ready: BytesMut,
    piece: Box<[u8]>,
}

/// Where in the messages the stream is.
#[derive(Debug, Default)]
struct Filter {
    header: BytesMut,
    /// What is left of the message that is passed on or swallowed.
    left: usize,
    swallowing: bool,
}

impl Filter {
    /// Takes what came and appends what is passed on.
    fn take(&mut self, mut came: &[u8], passed: &mut BytesMut) -> io::Result<()> {
        while !came.is_empty() {
            if self.left > 0 {
                let now = self.left.min(came.len());
                if !self.swallowing {
                    passed.put_slice(&came[..now]);
                }
                self.left -= now;
                came.advance(now);
                continue;
            }
            let missing = (HEADER - self.header.len()).min(came.len());
            self.header.put_slice(&came[..missing]);
            came.advance(missing);
            if self.header.len() == HEADER {
                self.begin(passed)?;
                self.header.clear();
            }
        }
        Ok(())
    }

    /// Decides about the message that begins.
    fn begin(&mut self, passed: &mut BytesMut) -> io::Result<()> {
        let kind = self.header[0];
        let length = (&self.header[1..]).get_u32();
        // The length counts itself.
        self.left = usize::try_from(length).unwrap_or(usize::MAX).saturating_sub(4);
        self.swallowing = self.left > MAX_MESSAGE;
        match kind {
            _ if !self.swallowing => passed.put_slice(&self.header),
            b'D' => put_error(passed, "a row of the result", self.left),
            b'E' => put_error(passed, "the server's error", self.left),
            b'N' => {}
            _ => {
                let text = format!("a message of the kind {kind} has {} bytes", self.left);
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
        }
        Ok(())
    }
}

/// The message with which a server says that a statement failed.
fn put_error(passed: &mut BytesMut, what: &str, length: usize) {
    let text = format!("{what} has {length} bytes, more than the limit of {MAX_MESSAGE}");
    let fields = [
        (b'S', "ERROR"),
        (b'V', "ERROR"),
        (b'C', HostCode::ResultTooLarge.as_str()),
        (b'M', text.as_str()),
        (b'H', "read a large value in pieces, with substr"),
    ];
    let mut body = BytesMut::new();
    for (field, text) in fields {
        body.put_u8(field);
        body.put_slice(text.as_bytes());
        body.put_u8(0);
    }
    body.put_u8(0);
    passed.put_u8(b'E');
    passed.put_u32(u32::try_from(body.len() + 4).expect("a few hundred bytes"));
    passed.put_slice(&body);
}

impl<S> Bounded<S> {
    /// A stream from its first message.
    pub(super) fn new(stream: S) -> Self {
        Self { stream, filter: Filter::default(), ready: BytesMut::new(), piece: vec![0; PIECE].into() }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.ready.is_empty() {
            let mut piece = ReadBuf::new(&mut this.piece);
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut piece))?;
            if piece.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.filter.take(piece.filled(), &mut this.ready)?;
        }
        let now = this.ready.len().min(buffer.remaining());
        buffer.put_slice(&this.ready[..now]);
        this.ready.advance(now);
        Poll::Ready(Ok(()))
    }
}

impl<S: TlsStream + Unpin> TlsStream for Bounded<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.stream.channel_binding()
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, length: usize) -> Vec<u8> {
        let mut message = vec![kind];
        message.extend(u32::try_from(length + 4).expect("short enough").to_be_bytes());
        message.resize(HEADER + length, b'x');
        message
    }

    /// What is passed on of these messages, when they come in pieces of this size.
    fn passed(messages: &[Vec<u8>], piece: usize) -> io::Result<BytesMut> {
        let (mut filter, mut passed) = (Filter::default(), BytesMut::new());
        for piece in messages.concat().chunks(piece) {
            filter.take(piece, &mut passed)?;
        }
        Ok(passed)
    }

    #[test]
    fn ordinary_messages_pass_as_they_are() {
        let messages = [message(b'T', 30), message(b'D', 0), message(b'D', 70_000), message(b'Z', 1)];
        for piece in [1, 3, 5, 6, 4096, 1 << 20] {
            assert_eq!(passed(&messages, piece).expect("in order"), messages.concat(), "in pieces of {piece}");
        }
    }

    #[test]
    fn a_row_that_is_too_large_becomes_an_error_and_the_rest_passes() {
        let (before, after) = (message(b'D', 10), message(b'C', 8));
        let messages = [before.clone(), message(b'D', MAX_MESSAGE + 1), after.clone()];
        let passed = passed(&messages, 4096).expect("in order");
        let middle = &passed[before.len()..passed.len() - after.len()];
        assert!(passed.starts_with(&before) && passed.ends_with(&after));
        assert_eq!((middle[0], middle.len()), (b'E', 1 + usize::try_from((&middle[1..5]).get_u32()).unwrap()));
        assert!(String::from_utf8_lossy(middle).contains("result_too_large"), "{middle:?}");
    }

    #[test]
    fn a_large_notice_is_left_out_and_other_large_messages_end_the_connection() {
        let after = message(b'Z', 1);
        assert_eq!(passed(&[message(b'N', MAX_MESSAGE + 1), after.clone()], 4096).expect("in order"), after);
        let error = passed(&[message(b'T', MAX_MESSAGE + 1)], 4096).expect_err("no such answer");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
