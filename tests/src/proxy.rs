//! A connection to Postgres that can be cut in the worst moment: when a statement is on its way and its answer is not.
//!
//! It stands between a host and the server and reads along. A test names a piece of SQL; at the next execution of a
//! statement with it, the connection is cut in one of three ways (see [`Cut`]). Everything else passes unchanged, and
//! nothing is encrypted.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::database::Database;
use crate::postgres::TestPostgres;

/// How a connection is cut at a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The server never gets the statement.
    NotLanded,
    /// The server has carried the statement out, and its answer is lost.
    Landed,
    /// The statement is on its way for so long that the host has connected anew and sent it again; then it arrives, just
    /// before its repetition.
    Late,
}

/// A proxy before a server (lifetime: one test).
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    plan: Arc<Mutex<Plan>>,
    task: JoinHandle<()>,
}

/// What is to be done, and what was.
#[derive(Debug, Default)]
struct Plan {
    armed: Option<(String, Cut)>,
    /// A statement that is late, with the text that it waits for: what is sent again need not be the same statement.
    late: Option<(String, Upstream)>,
    cuts: usize,
    delivered: usize,
}

impl Proxy {
    /// A proxy before this server.
    pub async fn before(server: &TestPostgres) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let plan = Arc::new(Mutex::default());
        let task = tokio::spawn(serve(listener, server.port(), Arc::clone(&plan)));
        Self { address, plan, task }
    }

    /// The connection string of a database through this proxy.
    #[must_use]
    pub fn url(&self, database: &Database) -> String {
        format!("postgresql://postgres@{}/{}?sslmode=disable", self.address, database.name())
    }

    /// Cuts the connection at the next execution of a statement that contains this text.
    pub fn cut_at(&self, sql: &str, cut: Cut) {
        self.plan().armed = Some((sql.into(), cut));
    }

    /// How often a connection was cut so far.
    #[must_use]
    pub fn cuts(&self) -> usize {
        self.plan().cuts
    }

    /// How many statements arrived late so far.
    #[must_use]
    pub fn delivered_late(&self) -> usize {
        self.plan().delivered
    }

    fn plan(&self) -> std::sync::MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, port: u16, plan: Arc<Mutex<Plan>>) {
    // The connections' tasks end with this one.
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        let plan = plan.clone();
        // A server that is down, a host that is killed: both are what the suite is about.
        connections.spawn(async move { relay(client, port, &plan).await.ok() });
        while connections.try_join_next().is_some() {}
    }
}

/// The server's end of a connection.
#[derive(Debug)]
struct Upstream {
    stream: TcpStream,
    received: Vec<u8>,
    /// How many answers the server owes: it says `ReadyForQuery` after each simple query and each `Sync`.
    owed: usize,
    /// What is kept back of a statement that is late.
    pending: Vec<u8>,
}

impl Upstream {
    async fn send(&mut self, message: &Frame) -> io::Result<()> {
        self.owed += usize::from(message.ends_a_request());
        self.stream.write_all(&message.0).await
    }

    /// Reads from the server what is there, and notes which answers are complete.
    async fn receive(&mut self) -> io::Result<Vec<u8>> {
        if self.stream.read_buf(&mut self.received).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut whole = Vec::new();
        while let Some(message) = Frame::take(&mut self.received, true) {
            self.owed -= usize::from(message.kind() == b'Z' && self.owed > 0);
            whole.extend(message.0);
        }
        Ok(whole)
    }

    /// Waits until the server owes nothing: everything that was sent is carried out, commits included.
    async fn finish(mut self) -> io::Result<()> {
        while self.owed > 0 {
            self.receive().await?;
        }
        Ok(())
    }

    /// Lets a late statement arrive.
    async fn deliver(mut self) -> io::Result<()> {
        while let Some(message) = Frame::take(&mut self.pending, true) {
            self.send(&message).await?;
        }
        self.finish().await
    }
}

/// One connection, from its first to its last message.
async fn relay(mut client: TcpStream, port: u16, plan: &Mutex<Plan>) -> io::Result<()> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    client.set_nodelay(true)?;
    stream.set_nodelay(true)?;
    let mut server = Upstream { stream, received: Vec::new(), owed: 0, pending: Vec::new() };
    let mut statements = Statements::default();
    let (mut sent, mut is_started) = (Vec::new(), false);
    loop {
        tokio::select! {
            read = client.read_buf(&mut sent) => {
                if read? == 0 {
                    return Ok(());
                }
            }
            answer = server.receive() => {
                client.write_all(&answer?).await?;
                continue;
            }
        }
        while let Some(message) = Frame::take(&mut sent, is_started) {
            // The first message has no kind; it is answered by a `ReadyForQuery` too, which is not counted.
            let executed = if is_started { statements.executed(&message) } else { None };
            is_started = true;
            if let Some(sql) = executed {
                deliver_what_is_late(plan, &sql).await?;
                if let Some((text, cut)) = next_cut(plan, &sql) {
                    return carry_out(cut, text, message, &mut sent, client, server, plan).await;
                }
            }
            server.send(&message).await?;
        }
    }
}

/// Cuts the connection at `message`.
async fn carry_out(
    cut: Cut,
    text: String,
    message: Frame,
    sent: &mut Vec<u8>,
    mut client: TcpStream,
    mut server: Upstream,
    plan: &Mutex<Plan>,
) -> io::Result<()> {
    if cut == Cut::NotLanded {
        drop(server);
        lock(plan).cuts += 1;
        return Ok(());
    }
    // The rest of the request: what follows up to its `Sync`.
    let mut rest = vec![message];
    while !rest.last().is_some_and(Frame::ends_a_request) {
        match Frame::take(sent, true) {
            Some(next) => rest.push(next),
            None if client.read_buf(sent).await? == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            None => {}
        }
    }
    if cut == Cut::Late {
        server.pending = rest.into_iter().flat_map(|message| message.0).collect();
        let mut plan = lock(plan);
        plan.late = Some((text, server));
        plan.cuts += 1;
        return Ok(());
    }
    for message in &rest {
        server.send(message).await?;
    }
    server.finish().await?;
    lock(plan).cuts += 1;
    Ok(())
}

async fn deliver_what_is_late(plan: &Mutex<Plan>, sql: &str) -> io::Result<()> {
    let late = {
        let mut plan = lock(plan);
        if plan.late.as_ref().is_none_or(|(text, _)| !sql.contains(text.as_str())) {
            return Ok(());
        }
        plan.delivered += 1;
        plan.late.take()
    };
    match late {
        Some((_, server)) => server.deliver().await,
        None => Ok(()),
    }
}

fn next_cut(plan: &Mutex<Plan>, sql: &str) -> Option<(String, Cut)> {
    lock(plan).armed.take_if(|(text, _)| sql.contains(text.as_str()))
}

fn lock(plan: &Mutex<Plan>) -> std::sync::MutexGuard<'_, Plan> {
    plan.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One message of the protocol with its head: a kind of one byte (not in the first message) and a length.
#[derive(Debug)]
pub(crate) struct Frame(pub(crate) Vec<u8>);

impl Frame {
    /// Takes the first whole message off the buffer.
    pub(crate) fn take(buffer: &mut Vec<u8>, has_kind: bool) -> Option<Self> {
        let head = usize::from(has_kind);
        let length = buffer.get(head..head + 4)?.try_into().map(u32::from_be_bytes).ok()?;
        let whole = head + usize::try_from(length).ok()?;
        (buffer.len() >= whole).then(|| Self(buffer.drain(..whole).collect()))
    }

    pub(crate) fn kind(&self) -> u8 {
        self.0[0]
    }

    /// True for what the server answers with `ReadyForQuery`: a simple query, `Sync`.
    pub(crate) fn ends_a_request(&self) -> bool {
        matches!(self.kind(), b'Q' | b'S')
    }

    /// The texts that end with a zero byte, from the beginning of the message's body.
    fn texts(&self) -> impl Iterator<Item = String> {
        self.0[5..].split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text).into_owned())
    }
}

/// The prepared statements of one connection.
#[derive(Debug, Default)]
struct Statements(HashMap<String, String>);

impl Statements {
    /// The SQL that a message executes, if it executes any.
    fn executed(&mut self, message: &Frame) -> Option<String> {
        let mut texts = message.texts();
        match message.kind() {
            b'Q' => texts.next(),
            b'P' => {
                let (name, sql) = (texts.next()?, texts.next()?);
                self.0.insert(name, sql);
                None
            }
            // A portal, then the statement's name.
            b'B' => self.0.get(&texts.nth(1)?).cloned(),
            _ => None,
        }
    }
}
