//! A value of any SQL type that a guest sends comes back equal, through the guest, the database and the record; and what
//! the database says about a statement that fails is all there.

mod random;

use dbos_host_tests::{Database, Host, HostBuilder, Request, TestPostgres, programs};
use serde_json::{Value, json};

use self::random::{Random, SAMPLES, shapes};

/// How many random values of each type and shape.
const VALUES: usize = 12;

async fn started() -> (Database, Host) {
    let database = TestPostgres::shared().fresh_database().await;
    let builder = HostBuilder::new("sql_values").database(&database).migrations("tests/guests/sql_values/migrations");
    builder.migrate().await;
    let host = builder.start().await;
    (database, host)
}

async fn run(host: &Host, workflow: &str, arguments: &Value) -> Value {
    let request = Request::post(host.url(&format!("/workflows/{workflow}")), arguments);
    let reply = request.send().await.expect("the host answers");
    assert_eq!(reply.status, 200, "{workflow}: {reply:?}");
    reply.json()
}

/// Sends values through the guest and returns what came back.
async fn sent(host: &Host, cases: &[(String, Value)]) -> Vec<Value> {
    let back = run(host, "values", &json!({ "cases": cases })).await;
    let back = back.as_array().expect("a list").clone();
    assert_eq!(back.len(), cases.len());
    back
}

/// A value as a text that is the same for equal values only: as numbers, 0.0 and -0.0 would be equal. A float4 between two
/// shortest texts of one length has both of them, so it is told by its bits.
fn exactly(ty: &str, value: &Value) -> String {
    match value {
        Value::Array(values) => values.iter().map(|value| exactly(ty, value) + ",").collect(),
        Value::Number(number) if ty.starts_with("float4") => {
            let float: f32 = number.to_string().parse().expect("a number is a float");
            format!("{:08x}", float.to_bits())
        }
        other => other.to_string(),
    }
}

#[tokio::test]
async fn random_values_of_each_type_come_back_equal() {
    let (_database, host) = started().await;
    let mut random = Random::new();
    for _ in 0..VALUES {
        let cases: Vec<(String, Value)> = SAMPLES.iter().flat_map(|sample| shapes(sample, &mut random)).collect();
        for ((ty, value), back) in cases.iter().zip(sent(&host, &cases).await) {
            assert_eq!(exactly(ty, &back), exactly(ty, value), "{ty}: {back} came back for {value}");
        }
    }
    let domain = ("pair[]".to_owned(), json!([[1, 2], [3], null]));
    assert_eq!(sent(&host, std::slice::from_ref(&domain)).await, [domain.1]);
}

/// The table in the documentation of the SDK: each type with each of the values that stand beside it.
#[tokio::test]
async fn the_documented_forms_are_those_that_come_back() {
    let text = std::fs::read_to_string(programs::source("guest-sdk/src/sql.rs")).unwrap();
    let (_, table) =
        text.split_once("//! | Postgres | JSON | Rust |\n//! |---|---|---|\n").expect("the table of types");
    let rows = table.lines().map_while(|line| line.strip_prefix("//! | ")).filter(|row| !row.starts_with("NULL "));
    let mut cases = Vec::new();
    for row in rows {
        let cells: Vec<&str> = row.split(" | ").collect();
        let [types, values, _] = cells[..] else { panic!("three cells are expected in `{row}`") };
        for ty in types.split('`').skip(1).step_by(2) {
            for value in values.split('`').skip(1).step_by(2) {
                let value = serde_json::from_str(value).unwrap_or_else(|error| panic!("{ty} `{value}`: {error}"));
                cases.push((ty.to_owned(), value));
            }
        }
    }
    assert!(cases.len() > 40, "only {} values were found", cases.len());
    let (_database, host) = started().await;
    for ((ty, value), back) in cases.iter().zip(sent(&host, &cases).await) {
        assert_eq!(back, *value, "{ty}");
    }
}

#[tokio::test]
async fn typed_rows_come_back_equal() {
    let (database, host) = started().await;
    assert_eq!(run(&host, "run_typed", &json!({})).await, json!(true));
    let sql = "SELECT count(*) FROM typed WHERE wide = '-Infinity' AND amount = 79228162514264337593543950.335 \
               AND octet_length(bytes) = 256 AND nothing IS NULL AND list = '{1,NULL}' AND feeling = 'ok'";
    assert_eq!(database.count(sql, &[]).await, 1);
}

/// What a workflow knows of a statement that failed.
async fn told(host: &Host, sql: &str, parameters: Value) -> Value {
    run(host, "told", &json!({ "sql": sql, "parameters": parameters })).await
}

#[tokio::test]
async fn what_the_database_says_reaches_the_workflow() {
    let (_database, host) = started().await;
    let insert = "INSERT INTO numbered VALUES ($1)";
    assert_eq!(told(&host, insert, json!([1])).await, json!([]));
    let expected = json!({
        "code": "23505",
        "message": "duplicate key value violates unique constraint \"numbered_once\"",
        "detail": "Key (n)=(1) already exists.",
        "hint": null,
        "constraint": "numbered_once",
        "position": null,
    });
    assert_eq!(told(&host, insert, json!([1])).await, expected);
    let failure = told(&host, "SELECT 'é', nn FROM numbered", json!([])).await;
    assert_eq!((&failure["code"], &failure["position"]), (&json!("42703"), &json!(13)));
    let failure = told(&host, "SELECT lenght('a')", json!([])).await;
    assert!(failure["hint"].as_str().is_some_and(|hint| hint.contains("No function matches")), "{failure}");
}

#[tokio::test]
async fn a_parameter_or_column_that_does_not_fit_is_named() {
    let (_database, host) = started().await;
    for (sql, parameters, code, message, hint) in [
        (
            "SELECT $1::text AS a, $2::int4 AS b",
            json!(["x", "y"]),
            "parameter_mismatch",
            "bind `$2` of type `int4`: expected a whole number from -2147483648 to 2147483647, got `\"y\"`",
            None,
        ),
        (
            "SELECT $1::text AS a, $2::date AS b",
            json!(["x", "2026-02-30"]),
            "22008",
            "bind `$2` of type `date`: date/time field value out of range: \"2026-02-30\"",
            None,
        ),
        (
            "SELECT $1::mood AS a",
            json!(["glad"]),
            "22P02",
            "bind `$1` of type `mood`: invalid input value for enum mood: \"glad\"",
            None,
        ),
        (
            "SELECT 1 AS a, point(1, 2) AS place",
            json!([]),
            "unsupported_type",
            "return column `place` of type `point`: there is no JSON for values of this type",
            Some("cast it to text: `place::text`"),
        ),
        (
            "SELECT ARRAY['[1,2]'::int4range] AS spans",
            json!([]),
            "unsupported_type",
            "return column `spans` of type `int4range[]`: there is no JSON for values of this type",
            Some("cast it to text: `spans::text`"),
        ),
    ] {
        let failure = told(&host, sql, parameters).await;
        let found = (failure["code"].as_str(), failure["message"].as_str(), failure["hint"].as_str());
        assert_eq!(found, (Some(code), Some(message), hint), "{sql}");
    }
    let cast = told(&host, "SELECT point(1, 2)::text AS place", json!([])).await;
    assert_eq!(cast, json!([{ "place": "(1,2)" }]));
}

/// A large array of small numbers with many digits: a few bytes of the server each, a hundred kilobytes of JSON.
#[tokio::test]
async fn a_result_that_grows_in_the_host_is_stopped() {
    let (_database, host) = started().await;
    let before = host.most_resident_kib();
    let failure = told(&host, "SELECT array_fill('1e131000'::numeric, ARRAY[20000]) AS v", json!([])).await;
    assert_eq!(failure["code"], "result_too_large", "{failure}");
    let grown = host.most_resident_kib() - before;
    // Written out, it would be 2.6 GB.
    assert!(grown < 150 * 1024, "the host grew by {grown} KiB");
}

#[tokio::test]
async fn a_cursor_reads_what_is_too_large_for_a_result() {
    let (_database, host) = started().await;
    // 40 MB of text.
    let read = run(&host, "run_pages", &json!({ "rows": 20_000, "length": 2_000, "page": 500 })).await;
    assert_eq!(read, json!([20_000, 200_010_000]));
    for (rows, page) in [(0, 3), (1, 3), (3, 3), (4, 3), (7, 1)] {
        let read = run(&host, "run_pages", &json!({ "rows": rows, "length": 0, "page": page })).await;
        assert_eq!(read, json!([rows, rows * (rows + 1) / 2]), "{rows} rows by {page}");
    }
}

#[tokio::test]
async fn cursors_keep_their_place_whatever_happens_around_them() {
    let (_database, host) = started().await;
    for (case, expected) in [
        ("two at once", json!([1, [1, 2, 3], [2, 3, 4, 5]])),
        ("blind to later writes", json!([1])),
        ("many, one after another", json!([2, 3, 4, 5])),
        (
            "too many at once",
            json!([11, "Some(\"statement_refused\"): more than 20 cursors would be open at once", [2, 3, 4, 5]]),
        ),
        ("across a kept savepoint", json!([true, [1, 2, 3, 4], [2, 3, 4, 5]])),
        ("a page that is too large", json!(["result_too_large", [2, 3, 4, 5]])),
        ("no query", json!([["42601", "a cursor reads: SELECT, VALUES, or WITH … SELECT"], [2, 3, 4, 5]])),
        ("no rows", json!(["open a cursor on a statement that returns no rows", [2, 3, 4, 5]])),
        ("a wrong statement", json!([["42703", 8], [2, 3, 4, 5]])),
        (
            "a place",
            json!(["return column `place` of type `point`: there is no JSON for values of this type", [2, 3, 4, 5]]),
        ),
    ] {
        assert_eq!(run(&host, "run_cursors", &json!({ "case": case })).await, expected, "{case}");
    }
}

/// The one in the savepoint ends with it; that from before goes on where it was, since the server does not move it back.
#[tokio::test]
async fn a_savepoint_that_is_undone_takes_its_cursors_with_it() {
    let (_database, host) = started().await;
    let told = run(&host, "run_cursors", &json!({ "case": "across an undone savepoint" })).await;
    let closed = "read from a cursor that was closed by an error or by the end of its savepoint";
    assert_eq!(told, json!(["numbered_once", closed, [1, 2], [3, 4, 5]]));
}
