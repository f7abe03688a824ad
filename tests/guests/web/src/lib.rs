//! Takes and answers every kind of request, and has workflows whose arguments are checked.

use dbos_guest::{prelude::*, serde_json::Value};

#[derive(Serialize, Deserialize, JsonSchema)]
#[schemars(crate = "dbos_guest::schemars")]
struct Item {
    name: String,
    count: u8,
}

/// Has parameters of every shape.
#[workflow]
fn order(customer: &str, items: Vec<Item>, note: Option<String>, express: bool) -> String {
    let count: u32 = items.iter().map(|item| u32::from(item.count)).sum();
    format!("{count} things for {customer}, express: {express}, note: {note:?}")
}

/// Asks the outside in a child of its own, which ends when the outside answers.
#[workflow]
fn ask(text: &str) -> Result<String> {
    log::info!("asking for {text}");
    ask_child(text)
}

#[workflow]
fn ask_child(text: &str) -> Result<String> {
    let answer = tell(text)?;
    log::info!("asked for {text}");
    Ok(answer)
}

#[communicator]
fn tell(text: &str) -> Result<String> {
    let url = env::var("OUTSIDE_URL")?;
    http::post(format!("{url}/told")).body(text).send()?.error_for_status()?.text()
}

#[workflow]
fn fail(text: &str) -> Result<()> {
    Err(Error::new(text))
}

/// Starts a run.
#[post("/ask/{text}")]
fn start_ask(text: &str) -> Result<String> {
    log::info!("starting {text}");
    Ok(ask::start(text)?.id().to_owned())
}

/// Waits for a run.
#[post("/ask/{text}/wait")]
fn wait_ask(text: &str) -> Result<String> {
    ask(text)
}

/// Tells what came.
#[get("/segment/{segment}", name = "get_segment")]
#[put("/segment/{segment}", name = "put_segment")]
fn segment(segment: &str, request: Request) -> Value {
    json!({ "segment": segment, "path": request.path(), "method": request.method() })
}

#[get("/segment/literal")]
fn literal() -> String {
    "the literal".to_owned()
}

#[get("/slash/")]
fn slash() -> String {
    "with a slash".to_owned()
}

#[get("/typed/{id}")]
fn typed(id: u32, page: Option<u8>, tag: Vec<String>, sorted: bool) -> Value {
    json!({ "id": id, "page": page, "tag": tag, "sorted": sorted })
}

#[get("/header")]
fn header(request: Request) -> String {
    request.header("x-asked").unwrap_or("none").to_owned()
}

#[post("/form")]
fn form(name: &str, age: u8, tag: Vec<String>) -> Value {
    json!({ "name": name, "age": age, "tag": tag })
}

#[post("/json")]
fn take_json(item: Json<Item>) -> Json<Item> {
    item
}

#[post("/bytes")]
fn bytes(request: Request) -> Response {
    let reversed: Vec<u8> = request.body().iter().rev().copied().collect();
    Response::new(200).body("application/x-reversed", reversed)
}

/// Answers in many ways.
#[get("/answer/{kind}")]
fn answer(kind: &str, size: Option<usize>) -> Result<Response> {
    let size = size.unwrap_or(0);
    Ok(match kind {
        "text" => Response::new(200).text("plain ☃"),
        "html" => Response::new(200).html("<p>rich</p>"),
        "json" => Response::new(200).json(&[1, 2])?,
        "empty" => Response::new(204),
        "created" => Response::new(201).header("location", "/made/1").header("x-more", "yes").text("made"),
        "teapot" => Response::new(418),
        "large" => Response::new(200).body("application/octet-stream", vec![b'x'; size]),
        "headers" => (0..size).fold(Response::new(200), |answer, n| answer.header(format!("x-{n}"), "v")),
        "split" => Response::new(200).header("x-split", "a\r\nset-cookie: b"),
        "status" => Response::new(99),
        "refused" => {
            let refused = Error::new("too little").with_status(403).with_code("poor");
            return Err(refused.with_data(json!({ "balance": 30 })));
        }
        _ => bail!("there is no such kind"),
    })
}
