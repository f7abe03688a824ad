//! `messages`: what is sent to runs.

use serde_json::json;
use sha2::{Digest, Sha256};

use super::arguments::parse_value;
use super::bindings::imports::{messages, types};
use super::gate::message_to;
use super::guest::{Guest, HandlerCalls, Phase, unwind};
use crate::database::{Landed, NewSend, nobody};
use crate::workflow::{Code, Failure};

impl messages::Host for Guest {
    async fn send(
        &mut self,
        to: String,
        topic: Option<String>,
        value: String,
        key: Option<String>,
    ) -> wasmtime::Result<Result<(), types::Failure>> {
        let (topic, key) = (topic.as_deref(), key.as_deref());
        let answer = match self.act().await {
            Phase::Workflow(gate) => unwind(gate.send(&to, topic, (value, key)).await)?,
            Phase::Handler(calls) => calls.send(&to, topic, (value, key)).await,
            _ => Err(Failure::wrong_phase("messages.send", "a workflow or a handler")),
        };
        self.answered(answer)
    }

    async fn receive(
        &mut self,
        topic: Option<String>,
        milliseconds: u64,
    ) -> wasmtime::Result<Result<Option<String>, types::Failure>> {
        let answer = match self.act().await {
            Phase::Workflow(gate) => unwind(gate.receive(topic.as_deref(), milliseconds).await)?,
            _ => Err(Failure::wrong_phase("messages.receive", "a workflow")),
        };
        self.answered(answer)
    }
}

impl HandlerCalls {
    /// Sends a message. A request with an `Idempotency-Key` that is sent again sends none again.
    async fn send(
        &mut self,
        to: &str,
        topic: Option<&str>,
        (value, key): (String, Option<&str>),
    ) -> Result<(), Failure> {
        self.sent += 1;
        let own = self.idempotency_key.as_ref().map(|own| own_key(own, &self.route, self.sent));
        let key = key.or(own.as_deref());
        let (to, topic) = message_to(to, topic, key)?;
        parse_value(&value)?;
        let nobody = nobody(&to);
        match self.services.send(NewSend::new(None, to, topic, value, key)).await {
            Ok(Landed::Nobody) => Err(nobody),
            Ok(Landed::Refused(failure)) => Err(failure),
            Ok(_) => Ok(()),
            Err(closed) => Err(Failure::new("Error", Code("not_sent"), closed.to_string())),
        }
    }
}

/// The key of the n-th message that the handler of a route sends for a request with this key. Clients may use one key for
/// requests to several routes, and keys that look like others with something behind them; so it is made of a digest.
fn own_key(key: &str, route: &str, n: u32) -> String {
    let digest = Sha256::digest(json!([key, route, n]).to_string());
    let digits: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("request-{digits}")
}

#[cfg(test)]
mod tests {
    use super::own_key;

    #[test]
    fn no_two_messages_of_requests_have_one_key() {
        let keys = [("k", "r", 1), ("k", "r", 2), ("k", "s", 1), ("k-r", "r", 1), ("k\",\"r", "", 1)];
        let keys: std::collections::HashSet<String> = keys.map(|(key, route, n)| own_key(key, route, n)).into();
        assert_eq!(keys.len(), 5);
        assert!(keys.contains(&own_key("k", "r", 1)), "the same request again");
    }
}
