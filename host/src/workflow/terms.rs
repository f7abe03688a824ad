//! On what terms a run is started, beside what it is to do: how long it may last, and by what others find it.
//!
//! Both are stored with the run in columns that DBOS's programs read. What such a column cannot hold would be an error of
//! the statement that starts many runs at once, so it is refused here, before a start is sent anywhere.

use serde_json::{Map, Value};

use super::json::{JsonError, check_json};
use super::time::A_HUNDRED_YEARS_MS;
use super::{Code, EpochMs, Failure, TraceContext};

/// The longest time that a run may be given.
const MAX_TIMEOUT_MS: u64 = A_HUNDRED_YEARS_MS;

/// The most that the attributes of a run may have, in bytes of JSON text: an index holds each of them, so they are for
/// finding runs and not for data.
const MAX_ATTRIBUTES: usize = 16 * 1024;

/// How the names begin that DBOS's programs keep things under.
const RESERVED: &str = "dbos.";

/// Where they keep the trace of a run.
const TRACE: &str = "dbos.otelContext";

/// How long a run may last from its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeout(i64);

impl Timeout {
    /// Checks a time in milliseconds.
    ///
    /// # Errors
    /// When it is nothing, or longer than a hundred years.
    pub fn of_milliseconds(milliseconds: u64) -> Result<Self, Failure> {
        match i64::try_from(milliseconds) {
            Ok(time) if time > 0 && milliseconds <= MAX_TIMEOUT_MS => Ok(Self(time)),
            _ => {
                let text = format!("a run may be given 1 to {MAX_TIMEOUT_MS} ms, not {milliseconds}");
                Err(Failure::new("Error", Code("bad_timeout"), text).not_retryable())
            }
        }
    }

    /// The time in milliseconds.
    #[must_use]
    pub fn milliseconds(self) -> i64 {
        self.0
    }

    /// When it is over for a run that starts at `start`.
    #[must_use]
    pub fn after(self, start: EpochMs) -> EpochMs {
        EpochMs(start.0.saturating_add(self.0))
    }
}

/// What a run is to be found by: a JSON object.
#[derive(Debug, Clone, PartialEq)]
pub struct Attributes(Map<String, Value>);

impl Attributes {
    /// Checks a JSON text.
    ///
    /// # Errors
    /// When it is no object, is too large, has what the database cannot hold, or a name that is not the app's to give.
    pub fn parse(json: &str) -> Result<Self, Failure> {
        let refused = |text: String| Failure::new("Error", Code("bad_attributes"), text).not_retryable();
        if json.len() > MAX_ATTRIBUTES {
            return Err(refused(format!(
                "the attributes have {} bytes, more than the limit of {MAX_ATTRIBUTES}",
                json.len()
            )));
        }
        check_json(json).map_err(|error| match error {
            JsonError::Malformed(error) => refused(format!("the attributes are not JSON: {error}")),
            JsonError::TooLarge => refused(format!("the attributes are too large: {error}")),
        })?;
        let attributes = match serde_json::from_str(json) {
            Ok(Value::Object(attributes)) => attributes,
            Ok(_) => return Err(refused("the attributes must be a JSON object".into())),
            Err(error) => return Err(refused(format!("the attributes are not JSON: {error}"))),
        };
        if let Some(name) = attributes.keys().find(|name| name.starts_with(RESERVED)) {
            return Err(refused(format!(
                "the attribute `{name}` is reserved, as all names are that begin with `dbos.`"
            )));
        }
        if has_zero(&attributes) {
            return Err(refused(
                "the attributes have a character with the code 0, which the database cannot hold".into(),
            ));
        }
        Ok(Self(attributes))
    }

    /// The attributes as they were given.
    #[must_use]
    pub fn to_value(&self) -> Value {
        Value::Object(self.0.clone())
    }

    /// What is stored with a run, the trace that it belongs to among it. `None`: it has neither.
    #[must_use]
    pub fn stored(given: Option<&Self>, trace: Option<TraceContext>) -> Option<String> {
        if given.is_none() && trace.is_none() {
            return None;
        }
        let mut attributes = given.map(|given| given.0.clone()).unwrap_or_default();
        if let Some(trace) = trace {
            attributes.insert(TRACE.into(), serde_json::json!({ "traceparent": trace.to_header() }));
        }
        Some(Value::Object(attributes).to_string())
    }
}

/// Their depth is bounded: they were read from a text that was checked.
fn has_zero(attributes: &Map<String, Value>) -> bool {
    attributes.iter().any(|(name, value)| name.contains('\0') || is_with_zero(value))
}

fn is_with_zero(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(is_with_zero),
        Value::Object(values) => has_zero(values),
        _ => false,
    }
}

/// The terms of a start.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Terms {
    /// How long the run may last.
    pub timeout: Option<Timeout>,
    /// What it is to be found by.
    pub attributes: Option<Attributes>,
}

impl Terms {
    /// When a run that starts at `start` is over at the latest. `inherited` is the deadline of whoever starts it, which counts
    /// for a run without a time of its own.
    #[must_use]
    pub fn deadline(&self, start: EpochMs, inherited: Option<EpochMs>) -> Option<EpochMs> {
        self.timeout.map(|timeout| timeout.after(start)).or(inherited)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_its_own_counts_before_the_deadline_of_the_parent() {
        let own = Terms { timeout: Timeout::of_milliseconds(500).ok(), attributes: None };
        assert_eq!(own.deadline(EpochMs(1000), Some(EpochMs(1200))), Some(EpochMs(1500)));
        assert_eq!(Terms::default().deadline(EpochMs(1000), Some(EpochMs(1200))), Some(EpochMs(1200)));
        assert_eq!(Terms::default().deadline(EpochMs(1000), None), None);
    }

    #[test]
    fn no_time_and_more_than_a_hundred_years_are_refused() {
        for wrong in [0, MAX_TIMEOUT_MS + 1, u64::MAX] {
            let failure = Timeout::of_milliseconds(wrong).expect_err("refused");
            assert_eq!(failure.code, Some("bad_timeout".into()), "{failure:?}");
        }
        assert_eq!(Timeout::of_milliseconds(MAX_TIMEOUT_MS).unwrap().after(EpochMs(1)).0, 3_162_240_000_001);
    }

    #[test]
    fn what_the_database_or_dbos_could_not_bear_is_refused() {
        for (wrong, why) in [
            ("[1]", "must be a JSON object"),
            ("{", "are not JSON"),
            (r#"{"dbos.otelContext":{}}"#, "`dbos.otelContext` is reserved"),
            (r#"{"a":[{"b":"x\u0000"}]}"#, "code 0"),
            (r#"{"a\u0000":1}"#, "code 0"),
            (r#"{"a":[1e400]}"#, "are not JSON"),
            (&format!(r#"{{"a":"{}"}}"#, "x".repeat(MAX_ATTRIBUTES)), "more than the limit of 16384"),
        ] {
            let failure = Attributes::parse(wrong).expect_err("refused");
            assert!(failure.message.contains(why), "{wrong:.40}: {failure:?}");
        }
    }

    #[test]
    fn a_trace_stands_beside_the_attributes() {
        const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let trace = TraceContext::parse(TRACEPARENT);
        let given = Attributes::parse(r#"{ "tenant": "a", "nested": [{"n": 1}] }"#).unwrap();
        assert_eq!(Attributes::stored(None, None), None);
        assert_eq!(Attributes::stored(Some(&given), None).unwrap(), r#"{"nested":[{"n":1}],"tenant":"a"}"#);
        let both = format!(r#"{{"dbos.otelContext":{{"traceparent":"{TRACEPARENT}"}},"tenant":"a"}}"#);
        let given = Attributes::parse(r#"{"tenant":"a"}"#).unwrap();
        assert_eq!(Attributes::stored(Some(&given), trace), Some(both));
    }
}
