//! Takes orders. What was done of an order that fails, is cancelled or runs out of time is undone.
//!
//! The bank and the carrier are handlers of this program, so that there is something to try; `PARTNERS_URL` leads to others.

use dbos_guest::{prelude::*, serde_json::Value};

/// Takes so many of an item out of the stock and returns how many that were, or fails if there are not as many.
#[transaction(undo = release)]
fn reserve(item: &str, count: i32) -> Result<i32> {
    ensure!(count > 0, "an order is of one or more");
    let found = sql::execute("UPDATE stock SET free = free - $2 WHERE item = $1 AND free >= $2", params![item, count])?;
    ensure!(found == 1, "there are not {count} of `{item}`");
    Ok(count)
}

/// Puts them back. A transaction that is undone has happened: its result is always there.
#[transaction]
fn release(item: &str, count: i32, result: Option<i32>) -> Result<()> {
    let taken = result.unwrap_or(count);
    sql::execute("UPDATE stock SET free = free + $2 WHERE item = $1", params![item, taken])?;
    Ok(())
}

/// Charges the customer, and returns the bank's receipt. The order's name is the key by which the bank knows a charge, so that one
/// that is sent again is the same.
#[communicator(attempts = 3, undo = refund)]
fn charge(order: &str, cents: u32) -> Result<String> {
    ask("bank/charges", &json!({ "order": order, "cents": cents }))
}

/// Gives the money back. Without a receipt nobody knows whether the bank has charged; it does, by the order.
#[communicator(attempts = 10)]
fn refund(order: &str, cents: u32, result: Option<String>) -> Result<()> {
    ask("bank/refunds", &json!({ "order": order, "cents": cents, "receipt": result }))?;
    Ok(())
}

/// Asks the carrier to fetch a parcel. He may refuse, and nothing comes after it, so there is nothing to undo.
#[communicator(attempts = 3)]
fn ship(order: &str, item: &str, count: i32) -> Result<String> {
    ask("carrier/parcels", &json!({ "order": order, "item": item, "count": count }))
}

fn ask(path: &str, body: &Value) -> Result<String> {
    let url = env::var("PARTNERS_URL")?;
    let answer = http::post(format!("{url}/{path}")).json(body)?.send()?;
    // What is refused now is refused the next time too.
    if answer.status() == 422 {
        return Err(Error::new(answer.text()?).with_name("Refused").do_not_retry());
    }
    answer.error_for_status()?.text()
}

/// The order, step by step. There is no code for what goes wrong: each step has named its undo.
#[workflow]
fn order(item: &str, count: i32, cents: u32) -> Result<String> {
    let order = workflow_id()?;
    reserve(item, count)?;
    let receipt = charge(&order, cents)?;
    let parcel = ship(&order, item, count)?;
    log::info!("{order}: {receipt}, {parcel}");
    Ok(format!("{count} × {item}: {parcel}"))
}

/// The bank.
#[post("/bank/charges")]
fn bank_charges(charge: Json<Value>) -> Result<String> {
    Ok(format!("receipt for {}", charge.0["order"]))
}

#[post("/bank/refunds")]
fn bank_refunds(refund: Json<Value>) -> Result<String> {
    log::info!("the bank gives back {} cents", refund.0["cents"]);
    Ok("done".to_owned())
}

/// The carrier, who carries no pianos.
#[post("/carrier/parcels")]
fn carrier_parcels(parcel: Json<Value>) -> Result<Response> {
    if parcel.0["item"] == "piano" {
        return Ok(Response::new(422).text("a piano is too heavy"));
    }
    Ok(Response::new(200).text(format!("parcel for {}", parcel.0["order"])))
}
