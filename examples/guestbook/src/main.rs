//! A guestbook on the web, small and real: the outside world of the greeting example.
//!
//! The guide's workflow signs a guestbook that somebody else runs. This is that somebody, on the same machine, so that
//! the guide works offline and signatures can be counted: one greeting must leave one entry, whatever is killed.
//! It keeps its entries in memory, or with `--store` in a file. It must not know anything of the host.

mod book;
mod key;
mod page;
mod routes;
mod store;

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::book::Book;

/// A small guestbook: the outside world of the greeting example.
///
/// GET /key gives out a key, POST /record_greeting with {"key": …, "name": …} signs,
/// GET /greetings/{key} lists the signatures made with a key.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Address and port to listen on; port 0 takes any free one
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    listen: SocketAddr,

    /// Keep the entries in this file (one JSON object a line) instead of only in memory
    #[arg(long, value_name = "FILE")]
    store: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match serve(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("error: failed to {reason}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(arguments: Arguments) -> Result<(), String> {
    let book = match &arguments.store {
        Some(file) => Book::open(file).map_err(|error| format!("open the store: {error}"))?,
        None => Book::in_memory(),
    };
    let listen = arguments.listen;
    let listener = TcpListener::bind(listen).await.map_err(|error| format!("listen on `{listen}`: {error}"))?;
    let address = listener.local_addr().map_err(|error| format!("listen on `{listen}`: {error}"))?;
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| format!("wait for signals: {error}"))?;
    let stop = async move {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
    };
    // Whoever started this may have closed its end; that is no reason not to serve.
    let _ = writeln!(std::io::stdout(), "guestbook listening on http://{address}");
    axum::serve(listener, routes::routes(book))
        .with_graceful_shutdown(stop)
        .await
        .map_err(|error| format!("serve: {error}"))
}
