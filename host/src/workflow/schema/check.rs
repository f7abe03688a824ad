//! Checking a value, within a budget.

use std::cmp::Ordering;

use serde_json::{Map, Number, Value};

use super::{Kind, Rules, Schema};
use crate::workflow::excerpt;

/// How many misfits are told. A caller mends a few at a time, and an array of a million wrong values is one mistake.
pub(super) const MAX_MISFITS: usize = 20;

/// How many schemas are compared with a value in one check. Some hundred milliseconds of work: the largest arguments
/// (16 MiB of JSON) have eight million values. A check that takes more is ended, and the guest decides.
const MAX_VISITS: u32 = 20_000_000;

/// How deep a check may go: some tens of levels of a value, with a few schemas between two of them. What is deeper is a
/// schema that refers to itself, or a value that the guest may judge; a check runs on a guest's stack too, of which it
/// may use a part.
const MAX_DEPTH: u32 = 200;

/// Something in a value that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// Where, as a JSON pointer (RFC 6901) from the top of the value: empty for the value itself.
    pub pointer: String,
    /// What was expected there.
    pub expected: String,
    /// What came, cut if it is long.
    pub came: String,
}

impl Schema {
    /// What in a value does not fit, in the order of the value; at most 20. A check that would take too long finds
    /// nothing.
    #[must_use]
    pub fn misfits(&self, value: &Value) -> Vec<Misfit> {
        self.misfits_within(value, MAX_VISITS)
    }

    pub(super) fn misfits_within(&self, value: &Value, visits: u32) -> Vec<Misfit> {
        let mut check = Check { nodes: &self.nodes, visits, gave_up: false, path: Vec::new(), found: Vec::new() };
        check.node(0, value, 0);
        if check.gave_up { Vec::new() } else { check.found }
    }
}

/// A step into a value.
#[derive(Clone, Copy)]
enum Segment<'a> {
    Member(&'a str),
    Item(usize),
}

struct Check<'a> {
    nodes: &'a [Rules],
    /// How many more schemas may be looked at.
    visits: u32,
    gave_up: bool,
    path: Vec<Segment<'a>>,
    found: Vec<Misfit>,
}

impl<'a> Check<'a> {
    fn node(&mut self, place: usize, value: &'a Value, depth: u32) {
        if self.visits == 0 || depth > MAX_DEPTH {
            self.gave_up = true;
        }
        if self.gave_up || self.found.len() >= MAX_MISFITS {
            return;
        }
        self.visits -= 1;
        let nodes = self.nodes;
        let rules = &nodes[place];
        if rules.refuses(value) {
            return self.misfit(self.expected(place), came(value));
        }
        if let Some(target) = rules.reference {
            self.node(target, value, depth + 1);
        }
        match value {
            Value::Object(members) => self.object(rules, members, depth),
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    if let Some(place) = rules.prefix.get(index).copied().or(rules.items) {
                        self.inside(Segment::Item(index), place, item, depth);
                    }
                }
            }
            _ => {}
        }
        for part in &rules.all_of {
            self.node(*part, value, depth + 1);
        }
        self.branches(place, &rules.any_of, false, value, depth);
        self.branches(place, &rules.one_of, true, value, depth);
    }

    fn object(&mut self, rules: &Rules, members: &'a Map<String, Value>, depth: u32) {
        for name in rules.required.iter().filter(|name| !members.contains_key(*name)) {
            let expected = rules.properties.get(name).map_or("a value".into(), |place| self.expected(*place));
            self.misfit(format!("a member `{name}` ({expected})"), "none".into());
        }
        for (name, member) in members {
            let place = rules.properties.get(name).copied().or(rules.others);
            let Some(place) = place else { continue };
            if !rules.properties.contains_key(name) && self.nodes[place].never {
                let known: Vec<String> = rules.properties.keys().take(10).map(|name| format!("`{name}`")).collect();
                self.path.push(Segment::Member(name));
                self.misfit(format!("no such member; there are {}", known.join(", ")), came(member));
                self.path.pop();
            } else {
                self.inside(Segment::Member(name), place, member, depth);
            }
        }
    }

    fn inside(&mut self, segment: Segment<'a>, place: usize, value: &'a Value, depth: u32) {
        self.path.push(segment);
        self.node(place, value, depth + 1);
        self.path.pop();
    }

    /// `anyOf`, and `oneOf`: of which no more than one may fit.
    fn branches(&mut self, place: usize, branches: &[usize], only_one: bool, value: &'a Value, depth: u32) {
        if branches.is_empty() || self.found.len() >= MAX_MISFITS {
            return;
        }
        let before = std::mem::take(&mut self.found);
        let mut fitting = 0;
        let mut nearest: Vec<Misfit> = Vec::new();
        let mut is_clear = false;
        for branch in branches {
            self.node(*branch, value, depth + 1);
            let misfits = std::mem::take(&mut self.found);
            let depth_of = |misfits: &[Misfit]| misfits.iter().map(|m| m.pointer.matches('/').count()).max();
            match depth_of(&misfits) {
                None => fitting += 1,
                // The branch that was meant is the one that fits the furthest; where two fit as far, nobody knows.
                reached if reached > depth_of(&nearest) => (nearest, is_clear) = (misfits, true),
                reached if reached == depth_of(&nearest) => is_clear = false,
                Some(_) => {}
            }
        }
        self.found = before;
        match fitting {
            0 if is_clear => self.found.extend(nearest),
            0 => self.misfit(self.expected(place), came(value)),
            1 => {}
            _ if only_one => self.misfit("a value that fits only one of the forms".into(), came(value)),
            _ => {}
        }
    }

    fn misfit(&mut self, expected: String, came: String) {
        let mut pointer = String::new();
        for segment in &self.path {
            pointer.push('/');
            match segment {
                Segment::Member(name) => pointer.push_str(&name.replace('~', "~0").replace('/', "~1")),
                Segment::Item(index) => pointer.push_str(&index.to_string()),
            }
        }
        self.found.push(Misfit { pointer, expected, came });
    }

    fn expected(&self, place: usize) -> String {
        super::expected::expected(self.nodes, place)
    }
}

impl Rules {
    /// True when the value itself does not fit, whatever is in it.
    fn refuses(&self, value: &Value) -> bool {
        let is_outside = |number: &Number| {
            let is = |bound: &Option<Number>, wrong: &[Ordering]| {
                bound.as_ref().is_some_and(|bound| wrong.contains(&compare(number, bound)))
            };
            is(&self.minimum, &[Ordering::Less])
                || is(&self.maximum, &[Ordering::Greater])
                || is(&self.above, &[Ordering::Less, Ordering::Equal])
                || is(&self.below, &[Ordering::Greater, Ordering::Equal])
        };
        let is_beyond = |count: usize, least: Option<u64>, most: Option<u64>| {
            let count = u64::try_from(count).unwrap_or(u64::MAX);
            least.is_some_and(|least| count < least) || most.is_some_and(|most| count > most)
        };
        let has_wrong_size = match value {
            Value::Number(number) => is_outside(number),
            // Counting characters costs as much as the text is long, so it is not done without a limit.
            Value::String(text) if self.min_length.is_some() || self.max_length.is_some() => {
                is_beyond(text.chars().count(), self.min_length, self.max_length)
            }
            Value::Array(items) => is_beyond(items.len(), self.min_items, self.max_items),
            _ => false,
        };
        self.never
            || (!self.kinds.is_empty() && !self.kinds.iter().any(|kind| kind.takes(value)))
            || self.values.as_ref().is_some_and(|values| !values.contains(value))
            || has_wrong_size
    }
}

impl Kind {
    fn takes(self, value: &Value) -> bool {
        match (self, value) {
            (Self::Null, Value::Null)
            | (Self::Boolean, Value::Bool(_))
            | (Self::Number, Value::Number(_))
            | (Self::String, Value::String(_))
            | (Self::Array, Value::Array(_))
            | (Self::Object, Value::Object(_)) => true,
            // 3.0 is a whole number to JSON Schema.
            (Self::Integer, Value::Number(number)) => {
                !number.is_f64() || number.as_f64().is_some_and(|number| number.fract() == 0.0)
            }
            _ => false,
        }
    }
}

fn compare(left: &Number, right: &Number) -> Ordering {
    match (left.as_i128(), right.as_i128()) {
        (Some(left), Some(right)) => left.cmp(&right),
        _ => left.as_f64().partial_cmp(&right.as_f64()).unwrap_or(Ordering::Equal),
    }
}

/// A value in words, short enough for an error.
fn came(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("an array of {}", items.len()),
        Value::Object(_) => "an object".into(),
        simple => format!("`{}`", excerpt(&simple.to_string())),
    }
}
