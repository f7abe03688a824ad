//! Waits for one thing after the other.

use dbos_guest::{prelude::*, serde_json::Value};

const A_DAY: Duration = Duration::from_secs(86_400);

/// Waits for what it is told to wait for.
#[workflow]
fn wait_for(what: &str) -> Result<String> {
    match what {
        "time" => sleep(A_DAY)?,
        "message" => drop(recv::<Value>("go", A_DAY)?),
        "promise" => drop(promise::<Value>("paid").wait(A_DAY)?),
        "event" => drop(get_event_within::<Value>("sleeps", "shown", A_DAY)?),
        "stream" => drop(read_stream::<Value>("sleeps", "out").next().transpose()?),
        "workflow" => drop(Handle::<String>::of("sleeps").join()?),
        "step" => drop(ask("slow")?),
        "steps" => drop(join_all([ask::start("slow")?, ask::start("slow")?])?),
        "retry" => drop(ask("failing")?),
        "message beside a step" => {
            let _slow = ask::start("slow")?;
            recv::<Value>("go", A_DAY)?;
        }
        "another attempt" => drop(grow()),
        other => bail!("nobody waits for `{other}`"),
    }
    Ok("done".to_owned())
}

/// More than there is.
fn grow() -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        all.extend_from_slice(&[1; 1024 * 1024]);
        std::hint::black_box(&all);
    }
}

#[communicator(attempts = 5, interval = "1h")]
fn ask(path: &str) -> Result<String> {
    http::post(format!("{}/{path}", env::var("OUTSIDE_URL")?)).send()?.error_for_status()?.text()
}
