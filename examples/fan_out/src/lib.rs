//! Asks a supplier for a thousand prices, fifty at a time, and does without those that do not come in time.
//!
//! The supplier is a handler of this program, so that there is something to try; `SUPPLIER_URL` leads to another.

use dbos_guest::prelude::*;

/// What became of a list of items.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Prices {
    /// How many have a price, and the sum of them.
    priced: u32,
    total: u64,
    /// Those whose price did not come in time, and those for which the supplier has none.
    late: Vec<u32>,
    unknown: Vec<u32>,
}

/// How many requests the supplier gets at a time.
const AT_ONCE: u32 = 50;

/// Asks for one price. Once the answer is recorded, nobody asks again.
#[communicator(attempts = 3)]
fn ask_price(item: u32) -> Result<u64> {
    let url = env::var("SUPPLIER_URL")?;
    http::get(format!("{url}/supplier/{item}")).send()?.error_for_status()?.json()
}

/// Asks for the prices of the items from 1 on, and takes so many seconds at most. Kill the host while it asks: those that
/// have answered are not asked again, and the time goes on from where it was.
#[workflow]
fn price_all(items: u32, seconds: u64) -> Result<Prices> {
    let end = now() + Duration::from_secs(seconds);
    let group = Group::of(AT_ONCE);
    let asked: Result<Vec<_>> = (1..=items).map(|item| ask_price::start_in(group, item)).collect();
    let mut prices = Prices { priced: 0, total: 0, late: Vec::new(), unknown: Vec::new() };
    for (item, step) in (1..).zip(asked?) {
        let left = end.duration_since(now()).unwrap_or_default();
        match timeout(left, step) {
            Ok(price) => {
                prices.priced += 1;
                prices.total += price;
            }
            Err(error) if error.code() == Some("step_timed_out") => prices.late.push(item),
            Err(error) => {
                log::warn!("no price of item {item}: {error}");
                prices.unknown.push(item);
            }
        }
    }
    log::info!("{} prices, {} late, {} unknown", prices.priced, prices.late.len(), prices.unknown.len());
    Ok(prices)
}

/// Starts the workflow and answers when it has ended: <http://localhost:8000/prices?items=1000&seconds=5>.
#[get("/prices")]
fn prices(items: u32, seconds: u64) -> Result<Prices> {
    price_all(items, seconds)
}

/// The supplier. Item 13 takes him long.
#[get("/supplier/{item}")]
fn supplier(item: u32) -> Result<u64> {
    if item == 13 {
        std::thread::sleep(Duration::from_secs(25));
    }
    Ok(u64::from(item) * 3)
}
