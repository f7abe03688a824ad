//! Whether the host becomes slower when its tables grow: W1 with ten thousand finished runs, and with a million.
//!
//! Each is compared with the limit around it, so that a machine that drifts in the minutes between them is not taken for
//! tables that are too large.

use anyhow::Result;

use super::rates::{IN_FLIGHT, TIME};
use crate::limits::{Limit, Limits};
use crate::load::Until;
use crate::place::{Place, W1};
use crate::server::Server;
use crate::table::{Bar, Figure, Table};

const FEW: u32 = 10_000;
const MANY: u32 = 1_000_000;

/// Rows are copied in statements of this many runs, so that none of them needs the disk to sort.
const AT_ONCE: u32 = 100_000;

/// Measures it.
pub(super) async fn measure(server: &Server, limits: &mut Limits, table: &mut Table) -> Result<()> {
    let place = Place::new(server, "").await;
    let (serving, _) = place.start().await?;
    serving.runs(W1, &W1.question(), 1, Until::Answers(1)).await?;
    let sql = "SELECT workflow_uuid FROM dbos.workflow_status WHERE status = 'SUCCESS'";
    let first: String = place.database.query(sql, &[]).await[0].get(0);
    let mut there = 0;
    let mut ratios = Vec::new();
    for (runs, of) in [(FEW, "10,000"), (MANY, "1,000,000")] {
        while there < runs {
            let count = (runs - there).min(AT_ONCE);
            place.copy_run(&first, there, count).await;
            there += count;
        }
        place.settle().await;
        limits.forget();
        let question = W1.question();
        let load = serving.runs(W1, &question, IN_FLIGHT, TIME);
        let (limit, (done, taken)) = limits.around(Limit::OneRow, table, load).await?;
        let figure = Figure::new(format!("growth: W1 with {of} finished runs"), done.rate, "/s").over("HTTP");
        table.add(figure.against(Limit::OneRow.name(), limit).took(taken));
        ratios.push(done.rate / limit);
    }
    let name = "growth: W1 with 1,000,000 finished runs, as a part of that with 10,000";
    table.add(Figure::new(name, ratios[1] / ratios[0], "×").bar(Bar::FigureAtLeast(0.8)));
    Ok(())
}
