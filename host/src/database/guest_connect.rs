//! Opening a guest's connections, so that their streams are bounded ([`super::guest_wire`]).
//!
//! The driver opens sockets itself and lets nobody in between, except where it does TLS. So the bound is part of the
//! connector: the stream that comes out of a TLS handshake is bounded, and a plain TCP connection is opened as one with
//! "TLS" that begins at once, by a connector that encrypts nothing and bounds the stream. Everything else that a
//! connection string can say (several hosts, time-outs, keep-alives) stays the driver's. A Unix socket, where the driver
//! knows no TLS, is opened here.

use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use deadpool_postgres::Connect;
use futures_util::TryFutureExt;
use futures_util::future::{BoxFuture, MapOk};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, SslMode, SslNegotiation};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres::{CancelToken, Client, Config, Connection, Error, NoTls, Socket};

use super::error::DatabaseError;
use super::guest_wire::Bounded;
use super::tls::{self, Tls};
use super::url::DatabaseUrl;

/// Opens connections whose streams are bounded (lifetime: the app).
pub(super) struct BoundedConnect(Tls);

impl BoundedConnect {
    /// For connections to this database.
    pub(super) fn to(url: &DatabaseUrl) -> Self {
        Self(url.tls().clone())
    }

    /// With TLS, or not at all.
    async fn encrypted(&self, config: &Config) -> Result<(Client, JoinHandle<()>), Error> {
        let mut config = config.clone();
        config.ssl_mode(SslMode::Require);
        let (client, connection) = config.connect(Encrypted(self.0.connector())).await?;
        Ok((client, drive(connection)))
    }
}

impl std::fmt::Debug for BoundedConnect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BoundedConnect").finish_non_exhaustive()
    }
}

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
            match config.get_ssl_mode() {
                SslMode::Disable => plain(&config).await,
                // As the driver has it: without TLS only where the server says that it has none.
                SslMode::Prefer => match self.encrypted(&config).await {
                    Err(error) if tls::is_not_offered(&error) => {
                        self.0.note_none();
                        plain(&config).await
                    }
                    other => other,
                },
                _ => self.encrypted(&config).await,
            }
        })
    }
}

async fn plain(config: &Config) -> Result<(Client, JoinHandle<()>), Error> {
    let mut config = config.clone();
    config.ssl_mode(SslMode::Require).ssl_negotiation(SslNegotiation::Direct);
    let (client, connection) = config.connect(Plain).await?;
    Ok((client, drive(connection)))
}

/// Asks the server to end what runs on a connection of [`BoundedConnect`].
pub(super) async fn cancel(url: &DatabaseUrl, token: &CancelToken) {
    let config = url.config();
    let asked = match (unix_socket(config), config.get_ssl_mode()) {
        (Some(socket), _) => match UnixStream::connect(socket).await {
            Ok(stream) => token.cancel_query_raw(stream, NoTls).await,
            Err(error) => return tracing::debug!("a statement could not be cancelled: {error}"),
        },
        (None, SslMode::Disable) => token.cancel_query(Plain).await,
        (None, SslMode::Prefer) if url.tls().has_none() => token.cancel_query(Plain).await,
        (None, _) => token.cancel_query(Encrypted(url.tls().connector())).await,
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
    type Stream = Bounded<PlainStream>;
    type TlsConnect = Self;
    type Error = io::Error;

    fn make_tls_connect(&mut self, _: &str) -> io::Result<Self> {
        Ok(Self)
    }
}

impl TlsConnect<Socket> for Plain {
    type Stream = Bounded<PlainStream>;
    type Error = io::Error;
    type Future = Ready<io::Result<Self::Stream>>;

    fn connect(self, stream: Socket) -> Self::Future {
        ready(Ok(Bounded::new(PlainStream(stream))))
    }
}

/// TLS, as the connection string asks for it.
#[derive(Clone)]
struct Encrypted<M>(M);

impl<M: MakeTlsConnect<Socket>> MakeTlsConnect<Socket> for Encrypted<M> {
    type Stream = Bounded<M::Stream>;
    type TlsConnect = Encrypted<M::TlsConnect>;
    type Error = M::Error;

    fn make_tls_connect(&mut self, host: &str) -> Result<Self::TlsConnect, M::Error> {
        self.0.make_tls_connect(host).map(Encrypted)
    }
}

impl<C: TlsConnect<Socket>> TlsConnect<Socket> for Encrypted<C> {
    type Stream = Bounded<C::Stream>;
    type Error = C::Error;
    type Future = MapOk<C::Future, fn(C::Stream) -> Self::Stream>;

    fn connect(self, stream: Socket) -> Self::Future {
        self.0.connect(stream).map_ok(Bounded::new)
    }
}

/// A socket in the place of a TLS stream.
struct PlainStream(Socket);

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
