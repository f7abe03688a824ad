//! A pooler that lends a session of the server for one transaction, as PgBouncer does in transaction mode.
//!
//! It is the smallest thing that behaves so: it lets everybody in, takes a session off its shelf when a client begins to
//! speak, and puts it back when the server says that no transaction is open. All clients must log in alike.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::database::Database;
use crate::postgres::TestPostgres;
use crate::proxy::Frame;

/// The request for TLS, which is answered by "no".
const TLS_REQUEST: [u8; 4] = 80_877_103_u32.to_be_bytes();

/// Which session is lent next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lending {
    /// The one that was returned last, as PgBouncer does unless it is told otherwise.
    LastReturned,
    /// The one that has been on the shelf for longest.
    InTurn,
}

/// A pooler before a server (lifetime: one test).
#[derive(Debug)]
pub struct Pooler {
    address: SocketAddr,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shelf {
    port: u16,
    lending: Lending,
    sessions: Mutex<VecDeque<TcpStream>>,
}

impl Pooler {
    /// A pooler that has `sessions` sessions of `database` on its shelf, and opens more when they are all lent.
    pub async fn before(server: &TestPostgres, database: &Database, lending: Lending, sessions: usize) -> Self {
        let shelf = Shelf { port: server.port(), lending, sessions: Mutex::default() };
        let login = login("postgres", database.name());
        for _ in 0..sessions {
            let (session, _) = shelf.open(&login).await.expect("a session of the server");
            shelf.put_back(session);
        }
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let task = tokio::spawn(serve(listener, Arc::new(shelf)));
        Self { address, task }
    }

    /// The connection string of a database behind it.
    #[must_use]
    pub fn url(&self, database: &Database) -> String {
        format!("postgresql://postgres@{}/{}", self.address, database.name())
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shelf {
    fn sessions(&self) -> std::sync::MutexGuard<'_, VecDeque<TcpStream>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<TcpStream> {
        match self.lending {
            Lending::LastReturned => self.sessions().pop_back(),
            Lending::InTurn => self.sessions().pop_front(),
        }
    }

    fn put_back(&self, session: TcpStream) {
        self.sessions().push_back(session);
    }

    /// A new session, and what the server said when it let us in.
    async fn open(&self, login: &[u8]) -> io::Result<(TcpStream, Vec<u8>)> {
        let mut session = TcpStream::connect(("127.0.0.1", self.port)).await?;
        session.write_all(login).await?;
        let mut greeting = Vec::new();
        pass_on(&mut session, &mut greeting).await?;
        Ok((session, greeting))
    }
}

/// The first message of a client.
fn login(user: &str, database: &str) -> Vec<u8> {
    let text = format!("user\0{user}\0database\0{database}\0\0");
    let length = u32::try_from(text.len() + 8).expect("a short message");
    [&length.to_be_bytes()[..], &196_608_u32.to_be_bytes(), text.as_bytes()].concat()
}

async fn serve(listener: TcpListener, shelf: Arc<Shelf>) {
    // The connections' tasks end with this one.
    let mut clients = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        let shelf = shelf.clone();
        // A client that goes away in the middle is no error here.
        clients.spawn(async move { attend(client, &shelf).await.ok() });
        while clients.try_join_next().is_some() {}
    }
}

async fn attend(mut client: TcpStream, shelf: &Shelf) -> io::Result<()> {
    let mut received = Vec::new();
    let mut login = next(&mut client, &mut received, false).await?;
    if login.0[4..] == TLS_REQUEST {
        client.write_all(b"N").await?;
        login = next(&mut client, &mut received, false).await?;
    }
    let (session, greeting) = shelf.open(&login.0).await?;
    shelf.put_back(session);
    client.write_all(&greeting).await?;
    loop {
        let mut message = next(&mut client, &mut received, true).await?;
        let mut session = match shelf.take() {
            Some(session) => session,
            None => shelf.open(&login.0).await?.0,
        };
        loop {
            session.write_all(&message.0).await?;
            if message.ends_a_request() && pass_on(&mut session, &mut client).await? == b'I' {
                break;
            }
            message = next(&mut client, &mut received, true).await?;
        }
        shelf.put_back(session);
    }
}

/// The next message of a client.
async fn next(client: &mut TcpStream, received: &mut Vec<u8>, has_kind: bool) -> io::Result<Frame> {
    loop {
        if let Some(frame) = Frame::take(received, has_kind) {
            return Ok(frame);
        }
        if client.read_buf(received).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Passes on what the server says until it is ready for the next request, and returns the state of its transaction.
async fn pass_on(session: &mut TcpStream, to: &mut (impl AsyncWriteExt + Unpin)) -> io::Result<u8> {
    let mut received = Vec::new();
    loop {
        let frame = next(session, &mut received, true).await?;
        to.write_all(&frame.0).await?;
        if frame.kind() == b'Z' {
            return Ok(frame.0[5]);
        }
    }
}
