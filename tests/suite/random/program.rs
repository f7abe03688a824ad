//! The programs: what `tests/guests/anything` interprets, drawn at random.
//!
//! Two lives of a program are compared, so whatever it returns must not depend on who is quicker. Races are decided by
//! how they are made: one side never ends, or the time limit is an hour.

use serde_json::{Value, json};

/// How deep runs start further runs.
const DEPTH: u32 = 2;

/// A stream of numbers that look random and are the same for a seed: splitmix64 (Steele, Lea, Flood, "Fast splittable
/// pseudorandom number generators", 2014).
#[derive(Debug, Clone)]
pub(super) struct Draw(u64);

impl Draw {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One of `0 .. end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// True once in so many times.
    pub(super) fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    pub(super) fn one_of<T: Copy>(&mut self, items: &[T]) -> T {
        items[usize::try_from(self.below(items.len() as u64)).unwrap()]
    }
}

/// Longer than any test.
const AN_HOUR: u64 = 3_600_000;

/// The program of a seed, as the argument of the workflow `anything`.
pub(super) fn program(seed: u64) -> Value {
    Writer { draw: Draw::new(seed), seed, tags: 0, children: 0 }.program(DEPTH)
}

/// The step from which the program of a seed is done again by a fork when all is over, if it is.
pub(super) fn forked_from(seed: u64) -> Option<u64> {
    let mut draw = Draw::new(seed ^ u64::MAX);
    // A fork that waits for what the first run was told would wait an hour.
    let waits = program(seed).to_string().contains(ANSWERS);
    (!waits && draw.once_in(2)).then(|| 1 + draw.below(12))
}

/// The topic of what a child tells its parent.
const ANSWERS: &str = "answers";

struct Writer {
    draw: Draw,
    seed: u64,
    tags: u32,
    children: u32,
}

impl Writer {
    fn program(&mut self, depth: u32) -> Value {
        let length = 1 + self.draw.below(if depth == DEPTH { 12 } else { 5 });
        let mut ops: Vec<Value> = (0..length).map(|_| self.op(depth)).collect();
        if depth == DEPTH && self.draw.once_in(2) {
            self.talk(&mut ops);
        }
        if depth == DEPTH && self.draw.once_in(3) {
            self.stop(&mut ops);
        }
        if depth == DEPTH && self.draw.once_in(4) {
            self.outlast(&mut ops);
        }
        if self.draw.once_in(5) {
            ops.push(json!({ "raise": self.tag() }));
        } else if self.draw.once_in(6) {
            ops.push(json!({ "continue": self.program(0) }));
        }
        Value::Array(ops)
    }

    fn tag(&mut self) -> String {
        self.tags += 1;
        format!("t{}", self.tags)
    }

    /// A call of a step that ends.
    fn step(&mut self) -> Value {
        let kinds = ["write", "write", "read", "tell", "tell", "compute", "failed_write", "failed_compute"];
        json!({ "kind": self.draw.one_of(&kinds), "tag": self.tag() })
    }

    fn op(&mut self, depth: u32) -> Value {
        match self.draw.below(26) {
            0..=4 => json!({ "step": self.step() }),
            // One after the other only: the order in which steps side by side end, and are undone, is a race.
            5 | 6 => {
                json!({ "step": { "kind": self.draw.one_of(&["undoable_write", "undoable_tell"]), "tag": self.tag() } })
            }
            // Most are over before a run is parked, some are not.
            7 => json!({ "sleep": self.draw.one_of(&[0, 1, 10, 40, 700]) }),
            8 => json!({ "sleep_until": self.draw.one_of(&[0, 5, 30, 600]) }),
            9 | 10 if depth > 0 => self.child(depth - 1),
            9..=13 => self.beside(),
            14 => {
                json!({ "within": { "step": { "kind": "never", "tag": "" }, "milliseconds": self.draw.one_of(&[0, 5, 40]) } })
            }
            15 => json!({ "within": { "step": self.step(), "milliseconds": AN_HOUR } }),
            16 => {
                json!({ "race": { "step": self.step(), "never": 1 + self.draw.below(3), "at_once": self.draw.once_in(2) } })
            }
            17 => json!("cancel"),
            18 => json!("chance"),
            19 => json!({ "set_event": { "key": self.draw.one_of(&["a", "b"]), "value": self.tag() } }),
            // What this run has set, or nothing.
            20 => {
                json!({ "get_event": { "of": null, "key": self.draw.one_of(&["a", "b", "c"]), "milliseconds": self.brief() } })
            }
            21 => json!({ "receive": { "topic": "nobody writes", "milliseconds": self.brief() } }),
            22 => json!({ "send": { "to": "nobody", "topic": "", "value": "lost", "key": null } }),
            23 => json!({ "write_stream": { "key": self.draw.one_of(&["s", "t"]), "value": self.tag() } }),
            24 => json!({ "promise": { "name": "unsettled", "milliseconds": self.brief() } }),
            _ => json!({ "patch": self.draw.one_of(&["one", "two"]) }),
        }
    }

    /// A time after which nothing has come, since nobody sends anything.
    fn brief(&mut self) -> u64 {
        self.draw.one_of(&[0, 0, 5, 30, 600])
    }

    fn named(&mut self) -> String {
        self.children += 1;
        format!("{}-named-{}", root(self.seed), self.children)
    }

    /// A child that talks with its parent, which has the first id of the program. Each of them sends before it waits for
    /// what comes of it, so neither waits for ever; what comes, and in which order, is certain.
    fn talk(&mut self, ops: &mut Vec<Value>) {
        let (parent, child) = (root(self.seed), self.named());
        let topic = self.draw.one_of(&["", "words"]);
        let mut listens = Vec::new();
        let mut says = Vec::new();
        for _ in 0..=self.draw.below(4) {
            let value = self.tag();
            let key = self.draw.once_in(3).then(|| value.clone());
            let send = json!({ "send": { "to": child, "topic": topic, "value": value, "key": key } });
            says.extend(std::iter::repeat_n(send, if key.is_some() { 2 } else { 1 }));
            if self.draw.once_in(2) {
                listens.push(json!({ "step": self.step() }));
            }
            listens.push(json!({ "receive": { "topic": topic, "milliseconds": AN_HOUR } }));
            listens.push(json!({ "write_stream": { "key": "words", "value": self.tag() } }));
        }
        if self.draw.once_in(2) {
            listens.push(json!({ "close_stream": "words" }));
        }
        if self.draw.once_in(2) {
            // The first settlement counts, early or late.
            for rejects in [self.draw.once_in(3), false] {
                let value = self.tag();
                says.push(json!({ "settle": { "of": child, "name": "p", "value": value, "rejects": rejects } }));
            }
            listens.push(json!({ "promise": { "name": "p", "milliseconds": AN_HOUR } }));
        }
        // Whoever was told twice under one key was told once.
        listens.push(json!({ "receive": { "topic": topic, "milliseconds": self.brief() } }));
        listens.push(json!({ "set_event": { "key": "heard", "value": self.tag() } }));
        listens.push(json!({ "send": { "to": parent, "topic": ANSWERS, "value": self.tag(), "key": null } }));
        let wait = self.draw.one_of(&["at_the_end", "never"]);
        ops.push(json!({ "child": { "program": listens, "id": child, "wait": wait } }));
        ops.extend(says);
        if self.draw.once_in(2) {
            ops.push(self.beside());
        }
        ops.push(json!({ "get_event": { "of": child, "key": "heard", "milliseconds": AN_HOUR } }));
        // While it is written, or after: it ends when the child does, at the latest.
        ops.push(json!({ "read_stream": { "of": child, "key": "words" } }));
        ops.push(json!({ "receive": { "topic": ANSWERS, "milliseconds": AN_HOUR } }));
    }

    /// A child that is cancelled, and resumed if it can end then. It says how far it is first: what it had recorded when it
    /// was cancelled would be a matter of time otherwise.
    fn stop(&mut self, ops: &mut Vec<Value>) {
        let child = self.named();
        let goes_on = self.draw.once_in(2);
        let mut does = vec![json!({ "step": self.step() })];
        if goes_on {
            does.push(json!({ "set_event": { "key": "ready", "value": self.tag() } }));
            does.push(json!({ "promise": { "name": "p", "milliseconds": AN_HOUR } }));
            does.push(json!({ "step": self.step() }));
        } else {
            // Cancelled, it is undone.
            does.push(json!({ "step": { "kind": "undoable_write", "tag": self.tag() } }));
            if self.draw.once_in(2) {
                let grandchild = self.named();
                let never = self.endless();
                does.push(json!({ "child": { "program": [never], "id": grandchild, "wait": "never" } }));
            }
            does.push(json!({ "set_event": { "key": "ready", "value": self.tag() } }));
            does.push(self.endless());
        }
        let wait = if goes_on { self.draw.one_of(&["at_the_end", "never"]) } else { "at_the_end" };
        ops.push(json!({ "child": { "program": does, "id": child, "wait": wait } }));
        ops.push(json!({ "get_event": { "of": child, "key": "ready", "milliseconds": AN_HOUR } }));
        ops.push(json!({ "cancel_run": { "of": child, "with_children": true } }));
        ops.push(json!({ "status": child }));
        if goes_on {
            if self.draw.once_in(2) {
                ops.push(json!({ "step": self.step() }));
            }
            ops.push(json!({ "resume": child }));
            ops.push(json!({ "settle": { "of": child, "name": "p", "value": self.tag(), "rejects": false } }));
        }
        ops.push(json!({ "status": "nobody" }));
    }

    /// A child whose deadline passes, or that is waited for in vain and then cancelled.
    fn outlast(&mut self, ops: &mut Vec<Value>) {
        let (child, never) = (self.named(), self.endless());
        if self.draw.once_in(2) {
            let timeout = self.draw.one_of(&[1, 30, 400]);
            let wait = self.draw.one_of(&["at_once", "at_the_end"]);
            let detached = self.draw.once_in(2);
            ops.push(json!({ "child": {
                "program": [never], "id": child, "wait": wait, "timeout": timeout, "detached": detached } }));
        } else {
            ops.push(json!({ "child": { "program": [never], "id": child, "wait": { "within": self.brief() } } }));
            ops.push(json!({ "cancel_run": { "of": child, "with_children": self.draw.once_in(2) } }));
            ops.push(json!({ "status": child }));
        }
    }

    /// What never ends by itself, and leaves nothing until it does.
    fn endless(&self) -> Value {
        json!({ "step": { "kind": "never", "tag": "" } })
    }

    fn child(&mut self, depth: u32) -> Value {
        let id = self.draw.once_in(4).then(|| self.named());
        let wait = self.draw.one_of(&["at_once", "at_once", "at_the_end", "never"]);
        json!({ "child": { "program": self.program(depth), "id": id, "wait": wait } })
    }

    fn beside(&mut self) -> Value {
        let steps: Vec<Value> = (0..=self.draw.below(7)).map(|_| self.step()).collect();
        let mut joined: Vec<usize> = (0..steps.len()).filter(|_| !self.draw.once_in(5)).collect();
        for place in (1..joined.len()).rev() {
            joined.swap(place, usize::try_from(self.draw.below(place as u64 + 1)).unwrap());
        }
        let at_once = self.draw.once_in(2).then(|| 1 + self.draw.below(3));
        json!({ "beside": { "steps": steps, "at_once": at_once, "joined": joined } })
    }
}

/// The id of the run of a seed's program. Its children's ids begin with it and a hyphen.
pub(super) fn root(seed: u64) -> String {
    format!("p{seed}")
}
