//! How many durable commits a workflow of one transaction costs: not how many it has by design, but what the server's
//! write-ahead log has. Whatever else the host and the server commit now and then falls out of the slope between a load
//! and a larger one.

use anyhow::Result;

use super::rates::IN_FLIGHT;
use crate::load::Until;
use crate::place::{Place, WT};
use crate::server::Server;
use crate::table::{Bar, Figure, Table};

/// The loads, in workflows.
const FEW: u32 = 2_000;
const MANY: u32 = 12_000;

/// Measures it.
pub(super) async fn measure(server: &Server, table: &mut Table) -> Result<()> {
    let place = Place::new(server, "").await;
    let (serving, _) = place.start().await?;
    let mut commits = Vec::new();
    for runs in [FEW, MANY] {
        let question = WT.question();
        let load = serving.runs(WT, &question, IN_FLIGHT, Until::Answers(runs.try_into()?));
        let (count, _) = server.commits_during(&place.database, load).await?;
        commits.push(f64::from(u32::try_from(count)?));
    }
    let slope = (commits[1] - commits[0]) / f64::from(MANY - FEW);
    let figure = Figure::new("WT: durable commits for each workflow, between 2,000 and 12,000", slope, "each");
    table.add(figure.over("HTTP").bar(Bar::FigureAtMost(1.05)));
    Ok(())
}
