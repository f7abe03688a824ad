//! Values of every type come out of a real server, go in again, and the server finds them equal.
//!
//! The server is the judge and not this code, or a mistake made in both directions would go unseen: a value is made by
//! the server from a random text, returned as JSON, bound as a parameter, and compared in the server with the first
//! one by its text form, which shows scales, signs of zero and the parts of an interval that `=` does not.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use tokio_postgres::Client;

use super::{MAX_RESULT_BYTES, RowWriter, SqlFailure, bind, refuse_transaction_control};
use crate::database::test_server::TestServer;

/// How many random values of each type go round, each alone and in arrays.
const VALUES: usize = 60;

/// Types of a user's own, made for a session.
const OWN_TYPES: &str = "
    CREATE TYPE pg_temp.mood AS ENUM ('sad', 'ok', 'NULL', 'it''s \"fine\", {really}');
    CREATE DOMAIN pg_temp.price AS numeric(20, 2) CHECK (VALUE >= 0);
    CREATE DOMAIN pg_temp.label AS text;
    CREATE DOMAIN pg_temp.pair AS int4[];";

/// Settings that change how the server writes and reads times, intervals and bytes in their text forms.
const SETTINGS: [&str; 3] = [
    "",
    "SET timezone = 'Asia/Kathmandu'; SET datestyle = 'SQL, DMY'; SET intervalstyle = 'sql_standard'; SET bytea_output = 'escape'",
    "SET timezone = 'America/St_Johns'; SET datestyle = 'German'; SET intervalstyle = 'postgres_verbose'; SET extra_float_digits = 3",
];

/// Runs a statement as a guest's session does.
async fn run(client: &Client, sql: &str, parameters: &str) -> Result<String, SqlFailure> {
    refuse_transaction_control(sql)?;
    let statement = client.prepare(sql).await.map_err(|error| SqlFailure::from(&error))?;
    let mut writer = RowWriter::new(statement.columns(), MAX_RESULT_BYTES)?;
    let parameters = bind(statement.params(), parameters)?;
    let rows = client.query_raw(&statement, &parameters).await;
    let rows = rows.map_err(|error| SqlFailure::of_run(&error, statement.params()))?;
    let mut rows = std::pin::pin!(rows);
    while let Some(row) =
        futures_util::TryStreamExt::try_next(&mut rows).await.map_err(|error| SqlFailure::from(&error))?
    {
        writer.push(&row)?;
    }
    Ok(writer.finish())
}

async fn session() -> Client {
    let client = TestServer::shared().connect().await;
    client.batch_execute(OWN_TYPES).await.expect("types of the test's own");
    client
}

/// The JSON of the one value `v` in `[{"v":…}]`, as it stands.
fn value_of(rows: &str) -> &str {
    rows.strip_prefix("[{\"v\":").and_then(|rest| rest.strip_suffix("}]")).expect("one row with the column v")
}

struct Random(ChaCha8Rng);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0.next_u64() % end
    }

    /// A whole number of any size: small ones are as likely as large ones.
    fn signed(&mut self) -> i64 {
        let shift = self.below(64);
        self.0.next_u64().cast_signed() >> shift
    }

    fn between(&mut self, low: i64, high: i64) -> i64 {
        let width = high.abs_diff(low).saturating_add(1);
        low.wrapping_add_unsigned(self.0.next_u64() % width)
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[usize::try_from(self.below(from.len() as u64)).expect("an index")]
    }

    fn digits(&mut self, most: u64) -> String {
        let count = self.below(most) + 1;
        (0..count).map(|_| char::from(b'0' + self.below(10) as u8)).collect()
    }

    fn hex(&mut self, bytes: u64) -> String {
        (0..bytes).map(|_| format!("{:02x}", self.below(256))).collect()
    }

    fn text(&mut self) -> String {
        let count = self.below(12);
        let special =
            ["\"", "\\", "'", ",", "{", "}", "NULL", " ", "\n", "\u{1}", "é", "漢", "🦀", "\u{feff}", "(", ")"];
        let piece = |this: &mut Self| match this.below(2) {
            0 => this.pick(&special).to_owned(),
            _ => char::from_u32(this.between(1, 0xd7ff) as u32).map(String::from).unwrap_or_default(),
        };
        (0..count).map(|_| piece(self)).collect()
    }

    fn json(&mut self, depth: u32) -> String {
        match self.below(if depth == 0 { 5 } else { 7 }) {
            0 => self.pick(&["true", "false"]).to_owned(),
            1 => serde_json::to_string(&self.text()).expect("a string"),
            2 => self.digits(40).trim_start_matches('0').to_owned() + "1.50",
            3 => self.signed().to_string(),
            4 => self.pick(&["\"null\"", "\"\"", "[]", "{}", "1e-7"]).to_owned(),
            5 => format!("[{}, null,{}]", self.json(depth - 1), self.json(depth - 1)),
            _ => format!("{{\"a\": {},\"b\":null, \"\": {}}}", self.json(depth - 1), self.json(depth - 1)),
        }
    }
}

/// A type, how the server makes a value of it from a text (`{}`), and random such texts.
struct Sample {
    ty: &'static str,
    source: &'static str,
    text: fn(&mut Random) -> String,
}

const fn sample(ty: &'static str, source: &'static str, text: fn(&mut Random) -> String) -> Sample {
    Sample { ty, source, text }
}

const SAMPLES: [Sample; 32] = [
    sample("bool", "{}::bool", |r| r.pick(&["true", "false"]).to_owned()),
    sample("int2", "{}::int2", |r| r.between(-32_768, 32_767).to_string()),
    sample("int4", "{}::int4", |r| r.between(i64::from(i32::MIN), i64::from(i32::MAX)).to_string()),
    sample("int8", "{}::int8", |r| r.signed().to_string()),
    sample("oid", "{}::oid", |r| r.below(1 << 32).to_string()),
    sample("float4", "{}::float4", |r| f32::from_bits(r.0.next_u32()).to_string()),
    sample("float8", "{}::float8", |r| f64::from_bits(r.0.next_u64()).to_string()),
    sample("float8", "{}::float8", |r| r.pick(&["NaN", "Infinity", "-Infinity", "-0", "0"]).to_owned()),
    sample("numeric", "{}::numeric", |r| format!("-{}.{}", r.digits(60), r.digits(60))),
    sample("numeric", "{}::numeric", |r| format!("{}e{}", r.digits(9), r.between(-300, 300))),
    sample("numeric", "{}::numeric", |r| r.pick(&["NaN", "Infinity", "-Infinity", "0.000", "10000"]).to_owned()),
    sample("text", "{}", Random::text),
    sample("varchar(40)", "{}::varchar(40)", Random::text),
    sample("char(40)", "{}::char(40)", Random::text),
    sample("name", "{}::name", |r| r.pick(&["pg_class", "Ünïcode", ""]).to_owned()),
    sample("\"char\"", "chr({}::int)::\"char\"", |r| r.between(1, 127).to_string()),
    sample("bytea", "decode({}, 'hex')", |r| {
        let length = r.below(20);
        r.hex(length)
    }),
    sample("uuid", "{}::uuid", |r| r.hex(16)),
    sample("json", "{}::json", |r| r.json(3)),
    sample("jsonb", "{}::jsonb", |r| r.json(3)),
    sample("date", "(date '2000-01-01' + {}::int4)", |r| r.between(-2_451_545, 2_145_031_948).to_string()),
    sample("date", "(date '2000-01-01' + {}::int4)", |r| r.between(-800_000, 3_000_000).to_string()),
    sample("time", "(time '00:00' + {}::interval)", |r| format!("{} microseconds", r.below(86_400_000_000))),
    sample("timetz", "{}::timetz", |r| {
        let (hour, minute, micros, zone) = (r.below(24), r.below(60), r.below(60_000_000), r.between(-15, 15));
        format!(
            "{hour}:{minute:02}:{:02}.{:06}{zone:+03}:{:02}:{:02}",
            micros / 1_000_000,
            micros % 1_000_000,
            r.below(60),
            r.below(60)
        )
    }),
    sample("timestamp", "(timestamp '2000-01-01' + {}::interval)", |r| {
        format!("{} microseconds", r.between(-211_813_488_000_000_000, 9_223_371_331_199_999_999))
    }),
    sample("timestamptz", "((timestamp '2000-01-01' + {}::interval) AT TIME ZONE 'UTC')", |r| {
        format!("{} microseconds", r.between(-63_000_000_000_000_000, 250_000_000_000_000_000))
    }),
    sample("interval", "{}::interval", |r| {
        format!("{} months {} days {} microseconds", r.signed() as i32, r.signed() as i32, r.signed())
    }),
    sample("inet", "{}::inet", |r| match r.below(2) {
        0 => format!("{}.{}.{}.{}/{}", r.below(256), r.below(256), r.below(256), r.below(256), r.below(33)),
        _ => format!("{:x}:{:x}::{:x}/{}", r.below(65_536), r.below(65_536), r.below(65_536), r.below(129)),
    }),
    sample("cidr", "{}::cidr", |r| format!("10.{}.0.0/{}", r.below(256), r.between(16, 32))),
    sample("pg_temp.mood", "{}::pg_temp.mood", |r| {
        r.pick(&["sad", "ok", "NULL", "it's \"fine\", {really}"]).to_owned()
    }),
    sample("pg_temp.price", "{}::pg_temp.price", |r| format!("{}.{}", r.digits(16), r.digits(2))),
    sample("pg_temp.label", "{}::pg_temp.label", Random::text),
];

/// A value alone, and in arrays of one and two dimensions with NULL among the elements.
fn shapes(ty: &str, source: &str) -> Vec<(String, String)> {
    let mut shapes =
        vec![(ty.to_owned(), source.to_owned()), (format!("{ty}[]"), format!("ARRAY[{source}, NULL, {source}]"))];
    if !ty.starts_with("json") {
        shapes.push((format!("{ty}[]"), format!("ARRAY[ARRAY[{source}, NULL], ARRAY[{source}, {source}]]")));
    }
    shapes
}

async fn goes_round(client: &Client, ty: &str, source: &str, text: &str, seed: u64) {
    let made = source.replace("{}", "$1::text");
    let context = format!("{ty} made by {made} from {text:?} (seed {seed})");
    let text = serde_json::to_string(text).expect("a string");
    let rows = run(client, &format!("SELECT {made} AS v"), &format!("[{text}]")).await;
    let rows = rows.unwrap_or_else(|failure| panic!("{context}: {failure}"));
    let json = value_of(&rows);
    serde_json::from_str::<serde::de::IgnoredAny>(json).unwrap_or_else(|error| panic!("{context}: {json}: {error}"));
    let compare =
        format!("SELECT ({made})::text AS made, ($2::{ty})::text AS bound, ({made})::text = ($2::{ty})::text AS v");
    let answer = run(client, &compare, &format!("[{text}, {json}]")).await;
    let answer = answer.unwrap_or_else(|failure| panic!("{context}: {json}: {failure}"));
    assert!(answer.ends_with("\"v\":true}]"), "{context}: {json}: {answer}");
}

#[tokio::test]
async fn random_values_of_each_type_come_back_equal() {
    let seed = std::env::var("DBOS_HOST_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| getrandom::u64().expect("the machine's randomness"));
    eprintln!("to repeat: DBOS_HOST_TEST_SEED={seed}");
    let mut random = Random(ChaCha8Rng::seed_from_u64(seed));
    let client = session().await;
    for settings in SETTINGS {
        client.batch_execute(settings).await.expect("settings of the session");
        for Sample { ty, source, text } in &SAMPLES {
            for _ in 0..VALUES / SETTINGS.len() {
                let text = text(&mut random);
                for (ty, source) in shapes(ty, source) {
                    goes_round(&client, &ty, &source, &text, seed).await;
                }
            }
        }
    }
}

/// What goes in comes out as the same JSON: these are the forms that guests see.
#[tokio::test]
async fn the_forms_are_the_documented_ones() {
    let client = session().await;
    client.batch_execute(SETTINGS[1]).await.expect("settings of the session");
    for (ty, json) in [
        ("bool", "true"),
        ("int8", "9223372036854775807"),
        ("float4", "0.1"),
        ("float8", "\"NaN\""),
        ("numeric", "\"123456789012345678901234567890.1230\""),
        ("text", r#""a\"\\\n{},NULL""#),
        ("bytea", r#""\\x00ff""#),
        ("uuid", "\"01890a5d-ac96-774b-bcce-b302099a8057\""),
        ("jsonb", r#"{"a": [100000000000000000000.50, null], "b": "null"}"#),
        ("json", r#"{"b":1,  "b":2}"#),
        ("json[]", r#"[[1,2],{"a":[]},null,"x"]"#),
        ("date", "\"2026-05-01\""),
        ("date", "\"-infinity\""),
        ("date", "\"0044-03-15 BC\""),
        ("time", "\"24:00:00.000000\""),
        ("timetz", "\"12:00:00.000000-03:30\""),
        ("timestamp", "\"2026-05-01T12:34:56.000000\""),
        ("timestamp", "\"0044-03-15T12:34:56.000000 BC\""),
        ("timestamp", "\"infinity\""),
        ("timestamptz", "\"2026-05-01T12:34:56.789012Z\""),
        ("timestamptz", "\"0044-03-15T12:34:56.000000Z BC\""),
        ("timestamptz", "\"12026-05-01T12:34:56.000000Z\""),
        ("timestamptz", "\"-infinity\""),
        ("interval", "\"P-1Y-2M3DT-0.5S\""),
        ("interval", "\"PT0S\""),
        ("inet", "\"10.0.0.1\""),
        ("inet", "\"10.0.0.1/8\""),
        ("cidr", "\"10.0.0.1/32\""),
        ("inet", "\"2001:db8::1\""),
        ("pg_temp.mood", "\"NULL\""),
        ("pg_temp.price", "\"12.50\""),
        ("pg_temp.pair[]", "[[1,2],[3],null]"),
        ("int4[]", "[[[1],[null]],[[3],[4]]]"),
        ("text[]", r#"["NULL",null,"","a,b"]"#),
        ("text[]", "[]"),
        ("int4", "null"),
    ] {
        let rows = run(&client, &format!("SELECT $1::{ty} AS v"), &format!("[{json}]")).await;
        let rows = rows.unwrap_or_else(|failure| panic!("{ty} {json}: {failure}"));
        assert_eq!(value_of(&rows), json, "{ty}");
    }
}

#[tokio::test]
async fn other_ways_in_are_read_as_the_server_reads_them() {
    let client = session().await;
    for (ty, given, returned) in [
        ("int8", "\"9007199254740993\"", "9007199254740993"),
        ("numeric", "12.50", "\"12.50\""),
        ("numeric", "1e3", "\"1000\""),
        ("bool", "\"yes\"", "true"),
        ("int4[]", "\"{1,2}\"", "[1,2]"),
        ("timestamptz", "\"2026-05-01T12:00:00+02:00\"", "\"2026-05-01T10:00:00.000000Z\""),
        ("interval", "\"90 minutes\"", "\"PT1H30M\""),
        ("char(3)", "\"a\"", "\"a  \""),
        ("jsonb", "null", "null"),
    ] {
        let rows = run(&client, &format!("SELECT $1::{ty} AS v"), &format!("[{given}]")).await;
        assert_eq!(value_of(&rows.expect(ty)), returned, "{ty} {given}");
    }
    let rows =
        run(&client, "SELECT $1::point::text AS v", "[\"(1,2)\"]").await.expect("a type that only has a text form");
    assert_eq!(rows, r#"[{"v":"(1,2)"}]"#);
}

#[tokio::test]
async fn what_cannot_be_returned_is_found_before_the_statement_runs() {
    let client = session().await;
    client.batch_execute("CREATE TEMP TABLE t (id int4, place point)").await.expect("a table");
    let failure = run(&client, "INSERT INTO t VALUES (1, '(1,2)') RETURNING place", "[]").await.expect_err("a failure");
    assert_eq!(
        (failure.code.as_str(), failure.hint.as_deref()),
        ("unsupported_type", Some("cast it to text: `place::text`"))
    );
    let failure = run(&client, "INSERT INTO t VALUES (1, NULL) RETURNING id, id", "[]").await.expect_err("a failure");
    assert_eq!(failure.code, "duplicate_column");
    assert_eq!(run(&client, "SELECT count(*) AS v FROM t", "[]").await.as_deref(), Ok("[{\"v\":0}]"));
    let failure = run(&client, "SELECT ARRAY[['1'::json]] AS v", "[]").await.expect_err("a failure");
    assert_eq!(failure.code, "unsupported_type");
}

/// What only the server can tell of a value is said of its parameter too.
#[tokio::test]
async fn a_value_that_the_server_refuses_names_its_parameter() {
    let client = session().await;
    for (ty, json, code, said) in [
        ("date", "\"2026-13-01\"", "22008", "bind `$2` of type `date`: date/time field value out of range"),
        ("uuid", "\"7\"", "22P02", "bind `$2` of type `uuid`: invalid input syntax for type uuid: \"7\""),
        ("numeric", "\"x\"", "22P02", "bind `$2` of type `numeric`: invalid input syntax"),
        ("pg_temp.mood", "\"glad\"", "22P02", "mood`: invalid input value for enum mood: \"glad\""),
        ("int4[]", "\"{1,\"", "22P02", "bind `$2` of type `int4[]`: malformed array literal"),
        ("jsonb", "\"\\u0000\"", "22P05", "bind `$2` of type `jsonb`: unsupported Unicode escape sequence"),
    ] {
        let sql = format!("SELECT $1::text AS a, $2::{ty} AS b");
        let failure = run(&client, &sql, &format!("[\"x\", {json}]")).await.expect_err("a failure");
        assert_eq!(failure.code, code, "{ty}: {failure}");
        assert!(failure.message.starts_with("bind `$2` of type `"), "{ty}: {failure}");
        assert!(failure.message.contains(said), "{ty}: {failure}");
    }
    // A domain's own rule is checked when the statement runs; its constraint has the name.
    let failure = run(&client, "SELECT $1::pg_temp.price AS a", "[\"-1\"]").await.expect_err("a failure");
    assert_eq!((failure.code.as_str(), failure.constraint.as_deref()), ("23514", Some("price_check")));
}

#[tokio::test]
async fn results_have_rows_in_order_and_an_end() {
    let client = session().await;
    let rows = run(&client, "SELECT n AS \"z\"\"\", n % 2 = 0 AS a FROM generate_series(1, 2) n", "[]").await;
    assert_eq!(rows.as_deref(), Ok(r#"[{"z\"":1,"a":false},{"z\"":2,"a":true}]"#));
    assert_eq!(run(&client, "SELECT 1 AS a WHERE false", "[]").await.as_deref(), Ok("[]"));
    assert_eq!(run(&client, "SELECT pg_notify('c', 'x') AS v", "[]").await.as_deref(), Ok("[{\"v\":null}]"));
    assert_eq!(run(&client, "CREATE TEMP TABLE made (a int4)", "[]").await.as_deref(), Ok("[]"));
    let failure = run(&client, "SELECT repeat('x', 1000) AS a FROM generate_series(1, 20000)", "[]")
        .await
        .expect_err("a failure");
    assert_eq!(failure.code, "result_too_large");
    // The rows that were not read do not disturb the next statement.
    assert_eq!(run(&client, "SELECT 1 AS v", "[]").await.as_deref(), Ok("[{\"v\":1}]"));
}
