//! The greeting guide's program: it thanks somebody at once, and then signs a guestbook and records the greeting, each
//! exactly once, however often the host is killed on the way.

use dbos_guest::prelude::*;

/// What the table `greetings` holds.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Greeting {
    name: String,
    note: String,
}

/// How long a key of the guestbook is.
const KEY_LENGTH: usize = 36;

/// Signs the guestbook. Its answer is recorded, and after that this is never run again.
#[communicator(attempts = 3)]
fn sign_guestbook(name: &str) -> Result<String> {
    let url = env::var("GUESTBOOK_URL")?;
    let key = env::var("GUESTBOOK_KEY")?;
    if key.len() != KEY_LENGTH {
        let why = format!(
            "`GUESTBOOK_KEY` must be a key of {KEY_LENGTH} characters, not {}\nhint: get one from {url}/key",
            key.len()
        );
        return Err(Error::new(why).do_not_retry());
    }
    http::post(format!("{url}/record_greeting"))
        .json(&json!({ "key": key, "name": name }))?
        .idempotency_key()?
        .send()?
        .error_for_status()?
        .text()
}

/// Records the greeting. The row and the record that this has run are one commit.
#[transaction]
fn insert_greeting(name: &str, note: &str) -> Result<()> {
    sql::execute("INSERT INTO greetings (name, note) VALUES ($1, $2)", params![name, note])?;
    log::info!(">>> Greeting to {name} recorded in the database!");
    Ok(())
}

/// All greetings so far, oldest first.
#[get("/greetings")]
#[transaction(read_only)]
fn greetings() -> Result<Vec<Greeting>> {
    sql::query("SELECT name, note FROM greetings ORDER BY id", params![])
}

/// Signs the guestbook, takes its time, and records the greeting. Stop the host while it counts, and start it again.
#[workflow]
fn greeting_workflow(name: &str, note: &str) -> Result<String> {
    let signature = sign_guestbook(name)?;
    log::info!(">>> STEP 1: Signed the Guestbook: {signature}");
    for second in 1..=5 {
        log::info!(">>> Press Ctrl-C to stop the app ({second} of 5)");
        sleep(Duration::from_secs(1))?;
    }
    insert_greeting(name, note)?;
    log::info!(">>> STEP 2: Wrote the greeting to {name} down");
    Ok(note.to_owned())
}

fn thanks(name: &str) -> String {
    format!("Thank you for being awesome, {name}!")
}

/// Starts the workflow in the background and answers at once.
#[get("/greeting/{name}")]
fn greet(name: &str) -> Result<String> {
    let note = thanks(name);
    greeting_workflow::start(name, &note)?;
    Ok(note)
}

/// Runs the workflow and answers when it has ended.
#[get("/greeting/{name}/wait")]
fn greet_and_wait(name: &str) -> Result<String> {
    greeting_workflow(name, &thanks(name))
}

/// The front page.
#[get("/")]
fn index() -> Html<&'static str> {
    Html(concat!(
        "<!doctype html><html lang=\"en\"><title>Greetings</title>",
        "<h1>Welcome!</h1>",
        "<p>Open <a href=\"/greeting/Mike\">/greeting/Mike</a> to have Mike greeted, ",
        "and <a href=\"/greetings\">/greetings</a> to see who has been.</p></html>",
    ))
}
