//! Connections: how many there are, and how long each may do nothing.
//!
//! A client that sends one byte a minute, or never reads its answer, holds a socket and what belongs to it for as long as
//! it likes. hyper ends a connection whose request's head does not arrive in time, idle ones included; a body has
//! its own time-out where it is read; and [`Patient`] ends a connection that takes nothing of its answer. So every
//! connection comes free, and the next client gets its place. This module must not know what is answered.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, Sleep};

use super::limits::HttpLimits;

/// What hyper reads of a head before it gives up with an answer of its own, which has a status and no body. The limits
/// that answer with a problem are below, so that only what is absurd meets these.
const ABSURD_HEAD: usize = 128 * 1024;
const ABSURD_FIELDS: usize = 500;

/// The pause after a connection could not be accepted: the process has no file descriptor left, and needs a moment.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// Answers a request.
pub(super) trait Answers: Send + Sync + 'static {
    /// The answer.
    fn answer(self: Arc<Self>, request: http::Request<Incoming>) -> impl Future<Output = Response> + Send;
}

/// Serves until `stop`, then finishes the requests that have begun.
pub(super) async fn serve(
    listener: TcpListener,
    limits: HttpLimits,
    answers: Arc<impl Answers>,
    stop: impl Future<Output = ()>,
) {
    let places = Arc::new(Semaphore::new(usize::try_from(limits.connections).unwrap_or(usize::MAX >> 4)));
    let stopping = watch::Sender::new(false);
    let mut stop = pin!(stop);
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await.expect("the semaphore is never closed");
            (place, accept(&listener).await)
        };
        let (place, stream) = tokio::select! {
            biased;
            () = &mut stop => break,
            next = next => next,
        };
        tokio::spawn(connection(stream, place, limits, Arc::clone(&answers), stopping.subscribe()));
    }
    drop(listener);
    stopping.send_replace(true);
    // When every place is free, every connection has ended.
    drop(places.acquire_many(limits.connections).await);
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(AFTER_FAILURE).await;
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    _place: OwnedSemaphorePermit,
    limits: HttpLimits,
    answers: Arc<impl Answers>,
    mut stopping: watch::Receiver<bool>,
) {
    // Without this an answer may wait 40 ms for the client's acknowledgement.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!("cannot set TCP_NODELAY: {error}");
    }
    let stream = TokioIo::new(Patient { stream, patience: limits.patience, gives_up: None });
    let service = service_fn(move |request| {
        let answers = Arc::clone(&answers);
        async move { Ok::<_, Infallible>(answers.answer(request).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.patience);
    builder.max_buf_size(ABSURD_HEAD).max_headers(ABSURD_FIELDS);
    let mut connection = pin!(builder.serve_connection(stream, service));
    let stopped = async {
        // An error is as good as a stop: the server that sends it is gone.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("a connection ended: {error}");
    }
}

/// A stream whose client must take what it is sent.
struct Patient {
    stream: TcpStream,
    patience: Duration,
    /// Set while the client takes nothing.
    gives_up: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    fn wait<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.gives_up = None;
            return polled;
        }
        let patience = self.patience;
        let gives_up =
            self.gives_up.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + patience)));
        gives_up.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Patient {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.wait(cx, polled)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.wait(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
