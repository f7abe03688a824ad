//! Random values of each SQL type, as the JSON that the host gives for them, so that what comes back can be compared with
//! what was sent. The server's own text forms are compared with the driver's in the host's unit tests.

use std::hash::{BuildHasher, Hasher, RandomState};

use serde_json::{Value, json};

/// A small generator of numbers (splitmix64), so that a seed repeats a test.
pub(super) struct Random(u64);

impl Random {
    /// Seeded by `DBOS_HOST_TEST_SEED`, or by the machine; the seed is printed.
    pub(super) fn new() -> Self {
        let given = std::env::var("DBOS_HOST_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| RandomState::new().build_hasher().finish());
        eprintln!("to repeat: DBOS_HOST_TEST_SEED={seed}");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn range(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// A number of any size: small ones are as likely as large ones.
    fn signed(&mut self) -> i64 {
        let shift = self.below(64);
        self.next().cast_signed() >> shift
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len() as u64) as usize]
    }

    /// Digits of a number that does not begin with a zero.
    fn digits(&mut self, most: u64) -> String {
        let more = self.below(most);
        let first = char::from(b'1' + self.below(9) as u8);
        std::iter::once(first).chain((0..more).map(|_| char::from(b'0' + self.below(10) as u8))).collect()
    }

    fn hex(&mut self, digits: u64) -> String {
        (0..digits).map(|_| format!("{:x}", self.below(16))).collect()
    }

    /// Text of at most `most` characters, those that have a meaning somewhere on its way among them.
    fn text(&mut self, most: u64) -> String {
        const SPECIAL: [&str; 18] = [
            "\"", "\\", "'", ",", "{", "}", "[", "N", " ", "\n", "\u{1}", "\u{7f}", "é", "漢", "🦀", "\u{feff}", "$",
            ":",
        ];
        let piece = |this: &mut Self| match this.below(2) {
            0 => this.pick(&SPECIAL).to_owned(),
            _ => char::from_u32(this.range(1, 0xd7ff) as u32).expect("below the surrogates").to_string(),
        };
        (0..self.below(most + 1)).map(|_| piece(self)).collect()
    }

    fn json(&mut self, depth: u32) -> Value {
        match self.below(if depth == 0 { 4 } else { 6 }) {
            0 => json!(self.below(2) == 0),
            1 => json!(self.text(8)),
            2 => json!(self.signed()),
            // Below 1e16, from where on serde writes an exponent: in `jsonb` it is a numeric, and comes back without.
            3 => json!(self.signed() as f64 * 1.5e-4 + 0.25),
            4 => json!([self.json(depth - 1), null, self.json(depth - 1)]),
            _ => json!({ "a": self.json(depth - 1), "": self.json(depth - 1), "null": null }),
        }
    }

    fn date(&mut self) -> String {
        format!("{:04}-{:02}-{:02}", self.range(1, 9999), self.range(1, 12), self.range(1, 28))
    }

    fn time(&mut self) -> String {
        let (hour, minute, second) = (self.below(24), self.below(60), self.below(60));
        format!("{hour:02}:{minute:02}:{second:02}.{:06}", self.below(1_000_000))
    }
}

/// A type of the database, and random values of it.
pub(super) type Sample = (&'static str, fn(&mut Random) -> Value);

/// Every type of which there are values.
pub(super) const SAMPLES: [Sample; 31] = [
    ("bool", |r| json!(r.below(2) == 0)),
    ("int2", |r| json!(r.signed() as i16)),
    ("int4", |r| json!(r.signed() as i32)),
    ("int8", |r| json!(r.signed())),
    ("oid", |r| json!(r.next() as u32)),
    // By its shortest text, which is what comes back: a float4 has fewer digits than a number of JSON.
    ("float4", |r| float(&f32::from_bits(r.next() as u32).to_string())),
    ("float8", |r| float(&f64::from_bits(r.next()).to_string())),
    ("numeric", |r| json!(format!("{}{}.{}", r.pick(&["", "-"]), r.digits(60), r.digits(60)))),
    ("numeric", |r| json!(r.pick(&["NaN", "Infinity", "-Infinity", "0", "0.000", "-0.0000001"]))),
    ("numeric(12,3)", |r| json!(format!("{}.{:03}", r.digits(9), r.below(1_000)))),
    ("text", |r| json!(r.text(40))),
    ("varchar(12)", |r| json!(r.text(12))),
    ("char(12)", |r| {
        let text = r.text(12);
        let blanks = " ".repeat(12 - text.chars().count());
        json!(text + &blanks)
    }),
    ("bytea", |r| {
        let bytes = r.below(30);
        json!(format!("\\x{}", r.hex(bytes * 2)))
    }),
    ("uuid", |r| json!(format!("{}-{}-{}-{}-{}", r.hex(8), r.hex(4), r.hex(4), r.hex(4), r.hex(12)))),
    ("json", |r| r.json(3)),
    ("jsonb", |r| r.json(3)),
    ("date", |r| json!(r.date())),
    ("date", |r| json!(r.pick(&["infinity", "-infinity", "0044-03-15 BC", "12026-05-01"]))),
    ("time", |r| json!(r.time())),
    ("timetz", |r| json!(format!("{}{}{:02}:{:02}", r.time(), r.pick(&["+", "-"]), r.range(1, 14), r.below(60)))),
    ("timestamp", |r| json!(format!("{}T{}", r.date(), r.time()))),
    ("timestamptz", |r| json!(format!("{}T{}Z", r.date(), r.time()))),
    ("timestamptz", |r| json!(r.pick(&["infinity", "-infinity", "0044-03-15T12:00:00.000000Z BC"]))),
    ("interval", |r| {
        let sign = r.pick(&["", "-"]);
        let date = format!("P{sign}{}Y{sign}{}M{}D", r.range(1, 900), r.range(1, 11), r.range(1, 900));
        json!(format!("{date}T{sign}{}H{sign}{}M{sign}{}S", r.range(1, 90), r.range(1, 59), r.range(1, 59)))
    }),
    ("inet", |r| json!(format!("10.{}.{}.{}/{}", r.below(256), r.below(256), r.below(256), r.below(32)))),
    ("inet", |r| json!(format!("2001:db8::{:x}", r.range(1, 0xffff)))),
    ("cidr", |r| json!(format!("10.{}.0.0/16", r.below(256)))),
    ("mood", |r| json!(r.pick(&["sad", "ok", "NULL", "it's \"fine\", {really}"]))),
    ("price", |r| json!(format!("{}.{:02}", r.digits(16), r.below(100)))),
    ("label", |r| json!(r.text(20))),
];

fn float(text: &str) -> Value {
    match text {
        "NaN" => json!("NaN"),
        "inf" => json!("Infinity"),
        "-inf" => json!("-Infinity"),
        digits => json!(digits.parse::<f64>().expect("a float")),
    }
}

/// A value alone, no value, and arrays of one and two dimensions with NULL among their elements.
pub(super) fn shapes((ty, value): &Sample, random: &mut Random) -> Vec<(String, Value)> {
    let array = format!("{ty}[]");
    let mut shapes = vec![
        ((*ty).to_owned(), value(random)),
        ((*ty).to_owned(), Value::Null),
        (array.clone(), json!([])),
        (array.clone(), json!([value(random), null, value(random)])),
    ];
    // Where an element may itself be an array, an array has one dimension.
    if !ty.starts_with("json") {
        shapes.push((array, json!([[value(random), value(random)], [null, value(random)]])));
    }
    shapes
}
