//! Asks a human before it pays: a mail with a link, three days of patience, and a payment that is made once.

use dbos_guest::prelude::*;

/// What the human says.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Decision {
    approved: bool,
    by: String,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Mail {
    text: String,
}

const PATIENCE: Duration = Duration::from_secs(3 * 24 * 60 * 60);

/// Sends the mail. Its link settles the promise, and nothing else: whoever has it needs no other right.
#[communicator(attempts = 5)]
fn ask(who: &str, amount: u64, link: &str) -> Result<()> {
    let text = format!("{who} wants {amount} €. Say yes or no: {}{link}", env::var("PUBLIC_URL")?);
    let mails = format!("{}/mails", env::var("MAIL_URL")?);
    http::post(mails).json(&Mail { text })?.idempotency_key()?.send()?.error_for_status()?;
    Ok(())
}

/// Pays. The row and the record that this has run are one commit.
#[transaction]
fn pay(who: &str, amount: u64, by: &str) -> Result<()> {
    let insert = "INSERT INTO payments (who, amount, approved_by) VALUES ($1, $2, $3)";
    sql::execute(insert, params![who, amount, by])?;
    Ok(())
}

/// Asks, waits, and pays. The host may be stopped and updated meanwhile; a workflow that waits costs no memory.
#[workflow]
fn expense(who: &str, amount: u64) -> Result<String> {
    let promise = promise::<Decision>("decision");
    ask(who, amount, &promise.link()?)?;
    match promise.wait(PATIENCE)? {
        None => Ok(format!("nobody has decided on the {amount} € of {who}")),
        Some(Decision { approved: false, by }) => Ok(format!("{by} has refused the {amount} € of {who}")),
        Some(Decision { approved: true, by }) => {
            pay(who, amount, &by)?;
            Ok(format!("{by} has approved the {amount} € of {who}, and they are paid"))
        }
    }
}

/// Starts the workflow and answers with its id.
#[post("/expenses")]
fn start(who: &str, amount: u64) -> Result<String> {
    Ok(expense::start(who, amount)?.id().to_owned())
}

/// Where mails go, unless they go elsewhere.
#[post("/mails")]
fn mails(mail: Json<Mail>) -> Result<()> {
    log::info!(">>> a mail: {}", mail.0.text);
    Ok(())
}
