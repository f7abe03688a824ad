//! What the host costs, as ratios to what the database under it can do.
//!
//! Figures of a machine say little about another one, and the same machine drifts by a third within an hour. So nothing is
//! compared with a figure from before: each load stands between two measurements of the database's own limit with
//! `pgbench`, and each figure is a ratio to their mean. A ratio is what the host is answerable for.
//!
//! `cargo xtask bench` builds everything with the profile for users and runs this.

mod copies;
mod limits;
mod load;
mod machine;
mod options;
mod picture;
mod place;
mod processor;
mod results;
mod server;
mod table;
mod work;

use anyhow::Result;

use crate::options::Options;
use crate::server::Server;

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse(std::env::args().skip(1))?;
    let server = Server::start().await?;
    let measured = work::run(&server, &options).await?;
    results::give(&options, &server, &measured)
}
