//! Opening a guest's connections, so that their streams are bounded ([`super::guest_wire`]).
//!
//! The driver opens sockets itself and lets nobody in between, except where it expects TLS. So a plain TCP connection is
//! opened as one with "TLS" that begins at once, by a connector that encrypts nothing and bounds the stream; everything
//! else that a connection string can say (several hosts, time-outs, keep-alives) stays the driver's. A Unix socket, where
//! the driver knows no TLS, needs none of that and is opened here.

use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use deadpool_postgres::Connect;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, SslMode, SslNegotiation};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres::{CancelToken, Client, Config, Connection, Error, NoTls, Socket};

use super::error::DatabaseError;
use super::guest_wire::Bounded;

/// Opens connections whose streams are bounded.
#[derive(Debug)]
pub(super) struct BoundedConnect;

impl Connect for BoundedConnect {
    fn connect(&self, config: &Config) -> BoxFuture<'_, Result<(Client, JoinHandle<()>), Error>> {
        let config = config.clone();
        Box::pin(async move {
            while let Some(socket) = unix_socket(&config) {
                match UnixStream::connect(socket).await {
                    Ok(stream) => {
                        let (client, connection) = config.connect_raw(Bounded::new(stream), NoTls).await?;
                        return Ok((client, drive(connection)));
                    }
                    // Only the driver can make its errors. If it gets through, the server has come back just now.
                    Err(_) => drop(config.connect(NoTls).await?),
                }
            }
            let mut config = config;
            config.ssl_mode(SslMode::Require).ssl_negotiation(SslNegotiation::Direct);
            let (client, connection) = config.connect(Plain).await?;
            Ok((client, drive(connection)))
        })
    }
}

/// Asks the server to end what runs on a connection of [`BoundedConnect`].
pub(super) async fn cancel(config: &Config, token: &CancelToken) {
    let asked = match unix_socket(config) {
        Some(socket) => match UnixStream::connect(socket).await {
            Ok(stream) => token.cancel_query_raw(stream, NoTls).await,
            Err(error) => return tracing::debug!("a statement could not be cancelled: {error}"),
        },
        None => token.cancel_query(Plain).await,
    };
    if let Err(error) = asked {
        tracing::debug!(error = %DatabaseError::from(error), "a statement could not be cancelled");
    }
}

/// The socket's file, for a server on this machine.
fn unix_socket(config: &Config) -> Option<std::path::PathBuf> {
    let Some(Host::Unix(folder)) = config.get_hosts().first() else { return None };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    Some(folder.join(format!(".s.PGSQL.{port}")))
}

fn drive<S, T>(connection: Connection<S, T>) -> JoinHandle<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = %DatabaseError::from(error), "a connection of an app ended");
        }
    })
}

/// "TLS" that encrypts nothing.
#[derive(Debug, Clone, Copy)]
struct Plain;

impl MakeTlsConnect<Socket> for Plain {
    type Stream = PlainStream;
    type TlsConnect = Self;
    type Error = io::Error;

    fn make_tls_connect(&mut self, _: &str) -> io::Result<Self> {
        Ok(Self)
    }
}

impl TlsConnect<Socket> for Plain {
    type Stream = PlainStream;
    type Error = io::Error;
    type Future = Ready<io::Result<PlainStream>>;

    fn connect(self, stream: Socket) -> Self::Future {
        ready(Ok(PlainStream(Bounded::new(stream))))
    }
}

/// A bounded stream, as the driver wants it.
struct PlainStream(Bounded<Socket>);

impl TlsStream for PlainStream {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for PlainStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for PlainStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}
