//! The JSON Schemas of parameters (draft 2020-12), read once when a component is loaded.
//!
//! A caller should hear which argument does not fit, where in it, and what was expected, before anything is written. A
//! schema comes from a guest, and no guest may take down its host: a few lines of `$ref` and `allOf` can ask for 2³⁰
//! comparisons of one number. The validators that are to be had run such a schema for as long as it takes, and nothing
//! can stop them. So this is one of our own with a budget, small because it reads the keywords that tell the shape of
//! a value and leaves the others to the decoder in the guest, which has the last word anyway:
//!
//! * read: `type`, `enum`, `const`, `minimum` and `maximum` with their exclusive forms, `format` of whole numbers,
//!   `minLength`, `maxLength`, `minItems`, `maxItems`, `properties`, `required`, `additionalProperties`,
//!   `prefixItems`, `items`, `allOf`, `anyOf`, `oneOf`, and `$ref` within the schema;
//! * not read: `pattern`, `not`, `if`, and whatever else there is. A value that only these refuse is refused by the
//!   guest.
//!
//! Nothing is ever fetched: a `$ref` to anywhere else is an error of the schema.

mod check;
mod expected;

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Number, Value};

pub use check::Misfit;

/// A schema, ready to check values. Nodes refer to each other by their place, so that a schema may be recursive.
#[derive(Debug, Clone, PartialEq)]
pub struct Schema {
    /// The first one is the whole schema.
    nodes: Vec<Rules>,
}

/// One schema object.
#[derive(Debug, Clone, PartialEq, Default)]
struct Rules {
    /// The schema `false`.
    never: bool,
    /// `$ref`.
    reference: Option<usize>,
    /// `type`; empty: any.
    kinds: Vec<Kind>,
    /// `enum` and `const`.
    values: Option<Vec<Value>>,
    minimum: Option<Number>,
    maximum: Option<Number>,
    above: Option<Number>,
    below: Option<Number>,
    min_length: Option<u64>,
    max_length: Option<u64>,
    min_items: Option<u64>,
    max_items: Option<u64>,
    properties: BTreeMap<String, usize>,
    required: Vec<String>,
    /// `additionalProperties`.
    others: Option<usize>,
    /// `prefixItems`.
    prefix: Vec<usize>,
    items: Option<usize>,
    all_of: Vec<usize>,
    any_of: Vec<usize>,
    one_of: Vec<usize>,
}

/// A type of JSON Schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Null,
    Boolean,
    Integer,
    Number,
    String,
    Array,
    Object,
}

impl Kind {
    fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "null" => Self::Null,
            "boolean" => Self::Boolean,
            "integer" => Self::Integer,
            "number" => Self::Number,
            "string" => Self::String,
            "array" => Self::Array,
            "object" => Self::Object,
            _ => return None,
        })
    }
}

impl Schema {
    /// Reads a schema.
    ///
    /// # Errors
    /// A sentence that says which keyword is not as the draft has it, or which `$ref` leads nowhere.
    pub fn parse(schema: &Value) -> Result<Self, String> {
        let mut reader = Reader {
            root: schema,
            nodes: Vec::new(),
            trivial: [None; 2],
            targets: HashMap::new(),
            waiting: Vec::new(),
        };
        reader.node(schema)?;
        // Targets are read one after the other and not where they are referred to: a chain of them must not use up
        // the stack.
        while let Some((target, place)) = reader.waiting.pop() {
            let rules = reader.rules(target)?;
            reader.nodes[place] = rules;
        }
        Ok(Self { nodes: reader.nodes })
    }
}

struct Reader<'a> {
    root: &'a Value,
    nodes: Vec<Rules>,
    /// The places of `false`, and of `true` and `{}`: a guest can write millions of them.
    trivial: [Option<usize>; 2],
    /// The places of what `$ref`s lead to.
    targets: HashMap<&'a str, usize>,
    waiting: Vec<(&'a Value, usize)>,
}

impl<'a> Reader<'a> {
    /// Reads a schema with everything in it and returns its place. What is nested was read by serde_json, which ends at
    /// 128 levels.
    fn node(&mut self, schema: &'a Value) -> Result<usize, String> {
        let place = self.nodes.len();
        let trivial = match schema {
            Value::Bool(may_be) => Some(usize::from(*may_be)),
            Value::Object(object) if object.is_empty() => Some(1),
            _ => None,
        };
        if let Some(kind) = trivial {
            let known = *self.trivial[kind].get_or_insert(place);
            if known != place {
                return Ok(known);
            }
        }
        self.nodes.push(Rules::default());
        let rules = self.rules(schema)?;
        self.nodes[place] = rules;
        Ok(place)
    }

    fn rules(&mut self, schema: &'a Value) -> Result<Rules, String> {
        let object = match schema {
            Value::Bool(may_be) => return Ok(Rules { never: !may_be, ..Rules::default() }),
            Value::Object(object) => object,
            _ => return Err("a schema must be an object, `true` or `false`".into()),
        };
        let kinds = kinds(object)?;
        let (lowest, highest) = range_of_format(object, &kinds);
        // Members that a pattern matches are not additional ones, and patterns are not read.
        let others = if object.contains_key("patternProperties") { None } else { object.get("additionalProperties") };
        Ok(Rules {
            never: false,
            reference: object.get("$ref").map(|target| self.reference(target)).transpose()?,
            kinds,
            values: values(object)?,
            minimum: number(object, "minimum")?.or(lowest),
            maximum: number(object, "maximum")?.or(highest),
            above: number(object, "exclusiveMinimum")?,
            below: number(object, "exclusiveMaximum")?,
            min_length: count(object, "minLength")?,
            max_length: count(object, "maxLength")?,
            min_items: count(object, "minItems")?,
            max_items: count(object, "maxItems")?,
            properties: self.properties(object)?,
            required: required(object)?,
            others: others.map(|schema| self.node(schema)).transpose()?,
            prefix: self.list(object, "prefixItems")?,
            items: object.get("items").map(|schema| self.node(schema)).transpose()?,
            all_of: self.list(object, "allOf")?,
            any_of: self.list(object, "anyOf")?,
            one_of: self.list(object, "oneOf")?,
        })
    }

    fn reference(&mut self, target: &'a Value) -> Result<usize, String> {
        let text = target.as_str().ok_or("`$ref` must be a text")?;
        if let Some(place) = self.targets.get(text) {
            return Ok(*place);
        }
        let pointer = text.strip_prefix('#').ok_or_else(|| {
            format!("`$ref` is `{text}`, but only places within the schema can be referred to, like `#/$defs/name`")
        })?;
        let schema = self.root.pointer(pointer).ok_or_else(|| format!("`$ref` is `{text}`, which leads nowhere"))?;
        let place = self.nodes.len();
        self.nodes.push(Rules::default());
        self.targets.insert(text, place);
        self.waiting.push((schema, place));
        Ok(place)
    }

    fn properties(&mut self, object: &'a Map<String, Value>) -> Result<BTreeMap<String, usize>, String> {
        match object.get("properties") {
            None => Ok(BTreeMap::new()),
            Some(Value::Object(properties)) => {
                properties.iter().map(|(name, schema)| Ok((name.clone(), self.node(schema)?))).collect()
            }
            Some(_) => Err("`properties` must be an object".into()),
        }
    }

    fn list(&mut self, object: &'a Map<String, Value>, keyword: &str) -> Result<Vec<usize>, String> {
        match object.get(keyword) {
            None => Ok(Vec::new()),
            Some(Value::Array(schemas)) => schemas.iter().map(|schema| self.node(schema)).collect(),
            Some(_) => Err(format!("`{keyword}` must be an array of schemas")),
        }
    }
}

fn kinds(object: &Map<String, Value>) -> Result<Vec<Kind>, String> {
    let kind = |value: &Value| {
        let kind = value.as_str().and_then(Kind::parse);
        kind.ok_or_else(|| format!("`type` is `{value}`, which is no type of JSON Schema"))
    };
    match object.get("type") {
        None => Ok(Vec::new()),
        Some(Value::Array(several)) => several.iter().map(kind).collect(),
        Some(one) => Ok(vec![kind(one)?]),
    }
}

fn values(object: &Map<String, Value>) -> Result<Option<Vec<Value>>, String> {
    match (object.get("const"), object.get("enum")) {
        (Some(one), _) => Ok(Some(vec![one.clone()])),
        (None, Some(Value::Array(several))) => Ok(Some(several.clone())),
        (None, Some(_)) => Err("`enum` must be an array".into()),
        (None, None) => Ok(None),
    }
}

fn number(object: &Map<String, Value>, keyword: &str) -> Result<Option<Number>, String> {
    match object.get(keyword) {
        None => Ok(None),
        Some(Value::Number(number)) => Ok(Some(number.clone())),
        Some(_) => Err(format!("`{keyword}` must be a number")),
    }
}

fn count(object: &Map<String, Value>, keyword: &str) -> Result<Option<u64>, String> {
    let Some(value) = object.get(keyword) else { return Ok(None) };
    let count = value.as_u64();
    count.map(Some).ok_or_else(|| format!("`{keyword}` must be a whole number that is not negative"))
}

fn required(object: &Map<String, Value>) -> Result<Vec<String>, String> {
    let wrong = || "`required` must be an array of names".to_owned();
    match object.get("required") {
        None => Ok(Vec::new()),
        Some(Value::Array(names)) => {
            names.iter().map(|name| name.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
        }
        Some(_) => Err(wrong()),
    }
}

/// What a whole number of a programming language can hold: the schemas of Rust's have the width as their `format` only.
fn range_of_format(object: &Map<String, Value>, kinds: &[Kind]) -> (Option<Number>, Option<Number>) {
    if !kinds.contains(&Kind::Integer) {
        return (None, None);
    }
    match object.get("format").and_then(Value::as_str) {
        Some("int8") => (Some(i8::MIN.into()), Some(i8::MAX.into())),
        Some("int16") => (Some(i16::MIN.into()), Some(i16::MAX.into())),
        Some("int32") => (Some(i32::MIN.into()), Some(i32::MAX.into())),
        Some("int64") => (Some(i64::MIN.into()), Some(i64::MAX.into())),
        Some("uint8") => (Some(0.into()), Some(u8::MAX.into())),
        Some("uint16") => (Some(0.into()), Some(u16::MAX.into())),
        Some("uint32") => (Some(0.into()), Some(u32::MAX.into())),
        Some("uint64") => (Some(0.into()), Some(u64::MAX.into())),
        _ => (None, None),
    }
}

#[cfg(test)]
mod tests;
