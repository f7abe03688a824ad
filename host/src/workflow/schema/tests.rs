//! Schemas as SDKs write them, and as a hostile guest would.

use serde_json::{Value, json};

use super::{Misfit, Schema};

fn misfits(schema: &Value, value: &Value) -> Vec<String> {
    let schema = Schema::parse(schema).expect("a schema");
    let told = |Misfit { pointer, expected, came }| format!("{pointer}: {expected}, not {came}");
    schema.misfits(value).into_iter().map(told).collect()
}

#[test]
fn values_of_each_type() {
    for (schema, good, bad, told) in [
        (json!({"type": "string"}), json!("x"), json!(1), ": a text, not `1`"),
        (
            json!({"type": "integer", "format": "int32"}),
            json!(-7),
            json!(1_u64 << 31),
            ": a whole number from -2147483648 to 2147483647, not `2147483648`",
        ),
        (
            json!({"type": "integer", "minimum": 0, "maximum": 255}),
            json!(3.0),
            json!(3.5),
            ": a whole number from 0 to 255, not `3.5`",
        ),
        (json!({"type": "number", "exclusiveMinimum": 0}), json!(0.1), json!(0), ": a number more than 0, not `0`"),
        (json!({"type": "boolean"}), json!(true), json!("true"), ": `true` or `false`, not `\"true\"`"),
        (json!({"type": ["string", "null"]}), Value::Null, json!([1, 2]), ": a text or `null`, not an array of 2"),
        (json!({"enum": ["a", "b"]}), json!("b"), json!("c"), ": one of `\"a\"`, `\"b\"`, not `\"c\"`"),
        (json!({"const": 1}), json!(1), json!(2), ": `1`, not `2`"),
        (
            json!({"type": "string", "minLength": 1, "maxLength": 1}),
            json!("ä"),
            json!("äb"),
            ": a text of 1 characters, not `\"äb\"`",
        ),
        (
            json!({"type": "array", "maxItems": 1}),
            json!([1]),
            json!([1, 2]),
            ": an array of at most 1 values, not an array of 2",
        ),
        (
            json!({"type": "integer", "format": "uint64"}),
            json!(u64::MAX),
            json!(-1),
            ": a whole number from 0 to 18446744073709551615, not `-1`",
        ),
    ] {
        assert_eq!(misfits(&schema, &good), [""; 0], "{schema}");
        assert_eq!(misfits(&schema, &bad), [told], "{schema}");
    }
    assert_eq!(misfits(&json!(true), &json!([{"a": 1}])), [""; 0]);
    assert_eq!(misfits(&json!({}), &json!("x")), [""; 0]);
    assert_eq!(misfits(&json!(false), &json!("x")), [": nothing, not `\"x\"`"]);
}

#[test]
fn places_in_nested_values_are_told() {
    let schema = json!({
        "type": "object", "required": ["items", "note"], "additionalProperties": false,
        "properties": {
            "items": {"type": "array", "items": {"$ref": "#/$defs/Item"}},
            "note": {"type": "string"},
            "a/b~c": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}]}
        },
        "$defs": {"Item": {"type": "object", "required": ["count"], "properties": {"count": {"type": "integer"}}}}
    });
    let good = json!({"items": [{"count": 1}], "note": "x", "a/b~c": ["x", 1]});
    assert_eq!(misfits(&schema, &good), [""; 0]);
    let bad = json!({"items": [{"count": "x"}, {}], "nte": 1, "a/b~c": [1, 1]});
    assert_eq!(
        misfits(&schema, &bad),
        [
            ": a member `note` (a text), not none",
            "/a~1b~0c/0: a text, not `1`",
            "/items/0/count: a whole number, not `\"x\"`",
            "/items/1: a member `count` (a whole number), not none",
            "/nte: no such member; there are `a/b~c`, `items`, `note`, not `1`",
        ]
    );
}

#[test]
fn of_several_forms_the_one_that_was_meant_is_explained() {
    let schema = json!({"anyOf": [{"$ref": "#/$defs/Order"}, {"type": "null"}], "$defs": {
        "Order": {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}}}});
    assert_eq!(misfits(&schema, &Value::Null), [""; 0]);
    assert_eq!(misfits(&schema, &json!({"id": "x"})), ["/id: a whole number, not `\"x\"`"]);
    assert_eq!(misfits(&schema, &json!("x")), [": an object or `null`, not `\"x\"`"]);
    let forms = json!({"oneOf": [{"type": "integer"}, {"type": "number"}]});
    assert_eq!(misfits(&forms, &json!(1.5)), [""; 0]);
    assert_eq!(misfits(&forms, &json!(1)), [": a value that fits only one of the forms, not `1`"]);
    let both = json!({"allOf": [{"minimum": 1}, {"maximum": 3}], "type": "integer"});
    assert_eq!(misfits(&both, &json!(4)).len(), 1);
}

#[test]
fn recursive_schemas_end_with_the_value() {
    let tree = json!({"$ref": "#/$defs/Tree", "$defs": {"Tree": {"type": "object", "required": ["leaf"], "properties": {
        "leaf": {"type": "boolean"}, "below": {"type": "array", "items": {"$ref": "#/$defs/Tree"}}}}}});
    let value = json!({"leaf": false, "below": [{"leaf": true}, {"leaf": 1}]});
    assert_eq!(misfits(&tree, &value), ["/below/1/leaf: `true` or `false`, not `1`"]);
}

#[test]
fn a_schema_that_asks_for_too_much_is_given_up() {
    for (schema, value) in [
        (json!({"$ref": "#"}), json!(1)),
        (json!({"allOf": [{"$ref": "#"}, {"$ref": "#"}], "type": "integer"}), json!(1)),
        (json!({"anyOf": [{"items": {"$ref": "#"}}, {"items": {"$ref": "#"}}, false]}), json!([[[[[[[[[[1]]]]]]]]]])),
    ] {
        assert_eq!(misfits(&schema, &value), [""; 0], "{schema}");
    }
    // Each definition asks for the next one twice: 2⁴⁰ comparisons.
    let mut definitions = serde_json::Map::new();
    for n in 0..40 {
        let next = json!({"$ref": format!("#/$defs/d{}", n + 1)});
        definitions.insert(format!("d{n}"), json!({"allOf": [next, next]}));
    }
    definitions.insert("d40".into(), json!({"type": "string"}));
    let bomb = Schema::parse(&json!({"$ref": "#/$defs/d0", "$defs": definitions})).expect("a schema");
    assert_eq!(bomb.misfits_within(&json!("x"), 100_000), []);
    // A chain of references is read without recursion.
    let mut chain = serde_json::Map::new();
    for n in 0..100_000 {
        chain.insert(format!("d{n}"), json!({"$ref": format!("#/$defs/d{}", n + 1)}));
    }
    chain.insert("d100000".into(), json!({}));
    let chain = json!({"$ref": "#/$defs/d0", "$defs": chain});
    assert_eq!(misfits(&chain, &json!(1)), [""; 0]);
}

#[test]
fn trivial_schemas_cost_nothing() {
    let many = Schema::parse(&json!({"allOf": vec![json!(true); 10_000], "prefixItems": [{}, false, true, false]}));
    assert_eq!(many.expect("a schema").nodes.len(), 3);
}

#[test]
fn misfits_are_bounded() {
    let many = json!(vec![json!("x"); 1000]);
    assert_eq!(misfits(&json!({"type": "array", "items": {"type": "integer"}}), &many).len(), 20);
    let long = misfits(&json!({"type": "integer"}), &json!("x".repeat(10_000)));
    assert!(long[0].len() < 400, "{}", long[0]);
}

#[test]
fn schemas_that_cannot_be_read_say_why() {
    for (schema, reason) in [
        (json!(1), "a schema must be an object"),
        (json!({"type": "text"}), "`type` is `\"text\"`"),
        (json!({"items": [1]}), "a schema must be an object"),
        (json!({"$ref": "#/$defs/nothing"}), "which leads nowhere"),
        (json!({"$ref": "https://example.com/schema"}), "only places within the schema"),
        (json!({"maxLength": -1}), "`maxLength` must be a whole number"),
        (json!({"properties": []}), "`properties` must be an object"),
        (json!({"anyOf": {}}), "`anyOf` must be an array"),
        (json!({"required": "x"}), "`required` must be an array"),
        (json!({"minimum": "x"}), "`minimum` must be a number"),
        (json!({"enum": 1}), "`enum` must be an array"),
    ] {
        let error = Schema::parse(&schema).expect_err("must be refused");
        assert!(error.contains(reason), "{schema}: {error}");
    }
}
