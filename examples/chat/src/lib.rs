//! A chat: a workflow that takes messages one after the other and answers in a stream, word by word. It lives for as long as
//! somebody writes, over restarts and updates, and nothing is answered twice.
//!
//! Who thinks of answers is a handler of this program, so that there is something to try; `MODEL_URL` leads to another.

use dbos_guest::prelude::*;

#[derive(Serialize, Deserialize, JsonSchema)]
struct Question {
    words: String,
}

/// Silence after which a chat is over.
const PATIENCE: Duration = Duration::from_secs(60 * 60);

/// Asks for an answer. Once it is recorded, nobody asks again.
#[communicator(attempts = 5)]
fn think(words: &str) -> Result<String> {
    let url = env::var("MODEL_URL")?;
    http::post(format!("{url}/model")).json(&Question { words: words.to_owned() })?.send()?.error_for_status()?.text()
}

/// The chat. Returns how many messages it has answered.
#[workflow]
fn chat() -> Result<u32> {
    let answers = stream("answers");
    let mut answered = 0;
    while let Some(words) = recv::<String>("words", PATIENCE)? {
        if words == "bye" {
            break;
        }
        for word in think(&words)?.split_inclusive(' ') {
            answers.write(word)?;
        }
        answers.write("\n")?;
        answered += 1;
    }
    answers.close()?;
    Ok(answered)
}

/// Starts a chat and answers with its id.
#[post("/chats")]
fn start() -> Result<String> {
    Ok(chat::start()?.id().to_owned())
}

/// Who thinks of answers.
#[post("/model")]
fn model(question: Json<Question>) -> Result<String> {
    let words = question.0.words;
    Ok(format!(
        "You have said {} words, and the last one was “{}”.",
        words.split(' ').count(),
        words.split(' ').next_back().unwrap_or_default()
    ))
}

/// A page to chat on. It talks to the host's own routes: messages go to `/workflows/{id}/messages`, answers come from
/// `/workflows/{id}/streams/answers`, and a browser that lost its connection goes on behind the word that it has seen last.
#[get("/")]
fn page() -> Html<&'static str> {
    Html(include_str!("page.html"))
}
