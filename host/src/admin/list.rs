//! What a request for a list may say: DBOS's filters.
//!
//! Problem: a filter that is misspelt and ignored lists more than was asked for, and a script may cancel what it lists. So
//! what is not understood is an error with the filters that there are.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use crate::database::Survey;
use crate::workflow::{EpochMs, Status};

/// The longest page, and the one without a `limit`. Rows without payloads have about a kilobyte.
const MOST: i64 = 10_000;

/// The longest page with payloads, of which each is cut to 16 Ki characters: 32 MB as a rule, and 100 MB at worst.
const MOST_WITH_PAYLOADS: i64 = 1000;

/// The filters, for the error about one that is none of them. Some have a second name in older DBOS versions.
const KNOWN: &str = "workflow_uuids (or workflow_ids), workflow_name (or name), workflow_id_prefix, status, start_time, \
                     end_time, application_name, application_version, executor_id, queue_name, parent_workflow_id, \
                     forked_from, authenticated_user, limit, offset, sort_desc, load_input, load_output";

/// Reads the body of `POST /workflows`, or of `POST /queues` if `queued`.
pub(super) fn survey(body: &[u8], queued: bool) -> Result<Survey, String> {
    let mut survey = Survey { queued, ..Survey::default() };
    let mut limit = None;
    for (key, value) in &object(body)? {
        // DBOS's clients send what is not set as null.
        if value.is_null() {
            continue;
        }
        match key.as_str() {
            "workflow_uuids" | "workflow_ids" => survey.ids = ids(key, value)?,
            "workflow_name" | "name" => survey.names = texts(key, value)?,
            "workflow_id_prefix" => survey.id_prefixes = texts(key, value)?,
            "status" => {
                survey.statuses = texts(key, value)?.iter().map(|text| status(text)).collect::<Result<_, _>>()?
            }
            "application_name" => survey.apps = texts(key, value)?,
            "application_version" => survey.versions = texts(key, value)?,
            "executor_id" => survey.executors = texts(key, value)?,
            "queue_name" => survey.queues = texts(key, value)?,
            "parent_workflow_id" => survey.parents = texts(key, value)?,
            "forked_from" => survey.forked_from = texts(key, value)?,
            "authenticated_user" => survey.users = texts(key, value)?,
            "start_time" => survey.created_from = Some(time(key, value)?),
            "end_time" => survey.created_until = Some(time(key, value)?),
            "limit" => limit = Some(number(key, value)?),
            "offset" => survey.offset = number(key, value)?,
            "sort_desc" => survey.newest_first = flag(key, value)?,
            "load_input" => survey.with_input = flag(key, value)?,
            "load_output" => survey.with_output = flag(key, value)?,
            _ => return Err(format!("there is no filter `{}`; there are {KNOWN}", key.escape_debug())),
        }
    }
    let most = if survey.with_input || survey.with_output { MOST_WITH_PAYLOADS } else { MOST };
    survey.limit = bounded(limit, most)?;
    Ok(survey)
}

/// Reads the body of a cancel: whether children are cancelled too, and whether nothing is undone.
pub(super) fn how_to_cancel(body: &[u8]) -> Result<(bool, bool), String> {
    let (mut with_children, mut without_undo) = (false, false);
    for (key, value) in &object(body)? {
        match key.as_str() {
            "cancel_children" => with_children = flag(key, value)?,
            "without_undo" => without_undo = flag(key, value)?,
            _ => {
                let key = key.escape_debug();
                return Err(format!("there is no option `{key}`; there are `cancel_children` and `without_undo`"));
            }
        }
    }
    Ok((with_children, without_undo))
}

/// Reads `limit` and `offset` of a query.
pub(super) fn page(query: &str) -> Result<(i64, i64), String> {
    let (mut limit, mut offset) = (None, 0);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let number = value.parse().ok().filter(|number| *number >= 0);
        let number = number.ok_or_else(|| format!("`{}` is to be a number that is not negative", key.escape_debug()));
        match key {
            "limit" => limit = Some(number?),
            "offset" => offset = number?,
            _ => return Err(format!("there is no parameter `{}`; there are `limit` and `offset`", key.escape_debug())),
        }
    }
    Ok((bounded(limit, MOST_WITH_PAYLOADS)?, offset))
}

fn bounded(limit: Option<i64>, most: i64) -> Result<i64, String> {
    match limit {
        None => Ok(most),
        Some(limit) if limit <= most => Ok(limit),
        Some(limit) => Err(format!("a `limit` of {limit} is more than {most}; ask for pages by `offset`")),
    }
}

fn object(body: &[u8]) -> Result<Map<String, Value>, String> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err("the body is to be a JSON object".into()),
        Err(error) => Err(format!("the body is not JSON: {error}")),
    }
}

/// Ids are a list; an empty one is a mistake of whoever made it, since it would list everything.
fn ids(key: &str, value: &Value) -> Result<Vec<String>, String> {
    let ids = texts(key, value)?;
    if ids.is_empty() { Err(format!("`{key}` is empty")) } else { Ok(ids) }
}

/// A text, or a list of texts.
fn texts(key: &str, value: &Value) -> Result<Vec<String>, String> {
    let items = match value {
        Value::String(_) => std::slice::from_ref(value),
        Value::Array(items) => items,
        _ => return Err(format!("`{key}` is to be a text or a list of texts")),
    };
    let text = |item: &Value| item.as_str().map(str::to_owned);
    items.iter().map(text).collect::<Option<_>>().ok_or_else(|| format!("`{key}` is to have texts in its list"))
}

fn status(text: &str) -> Result<Status, String> {
    text.parse().map_err(|error| {
        let known: Vec<&str> = Status::ALL.into_iter().map(Status::as_str).collect();
        format!("{error}; there are {}", known.join(", "))
    })
}

/// A time as DBOS's clients write it: RFC 3339, or without a zone, which is this machine's then.
fn time(key: &str, value: &Value) -> Result<EpochMs, String> {
    let wrong = || format!("`{key}` is to be a time like `2026-08-01T12:00:00Z`");
    let text = value.as_str().ok_or_else(wrong)?;
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(EpochMs(time.as_millisecond()));
    }
    let civil: DateTime = text.parse().map_err(|_| wrong())?;
    let zoned = civil.to_zoned(TimeZone::system()).map_err(|_| wrong())?;
    Ok(EpochMs(zoned.timestamp().as_millisecond()))
}

fn number(key: &str, value: &Value) -> Result<i64, String> {
    let number = value.as_i64().filter(|number| *number >= 0);
    number.ok_or_else(|| format!("`{key}` is to be a number that is not negative"))
}

fn flag(key: &str, value: &Value) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| format!("`{key}` is to be `true` or `false`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read_in_both_generations_of_names() {
        let new = br#"{"workflow_uuids":["a"],"workflow_name":["x","y"],"status":"PENDING","limit":5,"sort_desc":true,
                       "start_time":"1970-01-01T00:00:01+00:00","queue_name":null}"#;
        let asked = survey(new, false).expect("filters");
        assert_eq!((asked.ids, asked.names), (vec!["a".to_owned()], vec!["x".to_owned(), "y".to_owned()]));
        assert_eq!((asked.statuses, asked.limit, asked.newest_first), (vec![Status::Pending], 5, true));
        assert_eq!((asked.created_from, asked.queued), (Some(EpochMs(1000)), false));
        let old = survey(br#"{"workflow_ids":["a"],"name":"x"}"#, true).expect("filters");
        assert_eq!((old.ids, old.names, old.queued), (vec!["a".to_owned()], vec!["x".to_owned()], true));
        assert_eq!((survey(b" ", false).expect("no filters").limit), MOST);
    }

    #[test]
    fn what_is_not_understood_is_told() {
        for (body, told) in [
            ("[]", "the body is to be a JSON object"),
            (r#"{"statuz":"PENDING"}"#, "there is no filter `statuz`; there are workflow_uuids"),
            (r#"{"status":"DONE"}"#, "`DONE` is not a workflow status; there are DELAYED, ENQUEUED"),
            (r#"{"workflow_uuids":[]}"#, "`workflow_uuids` is empty"),
            (r#"{"name":[1]}"#, "`name` is to have texts in its list"),
            (r#"{"limit":-1}"#, "`limit` is to be a number that is not negative"),
            (r#"{"limit":1001,"load_input":true}"#, "a `limit` of 1001 is more than 1000; ask for pages by `offset`"),
            (r#"{"end_time":"noon"}"#, "`end_time` is to be a time like `2026-08-01T12:00:00Z`"),
            (r#"{"sort_desc":"yes"}"#, "`sort_desc` is to be `true` or `false`"),
            ("{", "the body is not JSON"),
        ] {
            let error = survey(body.as_bytes(), false).expect_err(body);
            assert!(error.starts_with(told), "{body}: {error}");
        }
        assert_eq!(page("limit=3&offset=4"), Ok((3, 4)));
        assert_eq!(page(""), Ok((MOST_WITH_PAYLOADS, 0)));
        assert!(page("limit=x").is_err() && page("first=3").is_err() && page("limit=1001").is_err());
        assert_eq!(how_to_cancel(br#"{"cancel_children":true}"#), Ok((true, false)));
        assert_eq!(how_to_cancel(br#"{"without_undo":true}"#), Ok((false, true)));
        assert!(how_to_cancel(br#"{"children":true}"#).is_err());
    }
}
