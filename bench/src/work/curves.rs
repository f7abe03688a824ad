//! Throughput against concurrency: where it stops to grow, and whether it falls behind that.

use std::time::Duration;

use anyhow::Result;

use super::Measured;
use crate::load::Until;
use crate::place::{Place, W1, WT};
use crate::server::Server;

/// As many in flight as the host takes by default.
const MOST: usize = 1_024;

/// A point is one of many; the line shows what a single one gets wrong.
const TIME: Until = Until::Time { warm_up: Duration::from_millis(500), time: Duration::from_secs(2) };

/// The series of the picture.
pub(crate) const SERIES: [&str; 2] = ["W1, one communicator", "WT, one transaction"];

/// Measures it once.
pub(super) async fn measure(server: &Server, measured: &mut Measured) -> Result<()> {
    for (workload, series) in [W1, WT].into_iter().zip(SERIES) {
        let place = Place::new(server, "").await;
        let (serving, _) = place.start().await?;
        let concurrencies =
            std::iter::successors(Some(1), |last| Some(last * 2)).take_while(|clients| *clients <= MOST);
        for clients in concurrencies {
            let (done, _) = serving.runs(workload, &workload.question(), clients, TIME).await?;
            eprintln!("  {series}, {clients} in flight: {:.0} /s", done.rate);
            let point = (f64::from(u32::try_from(clients)?), done.rate);
            measured.throughput.entry(series).or_default().push(point);
        }
    }
    Ok(())
}
