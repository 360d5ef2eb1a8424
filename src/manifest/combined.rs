//! Which members of an object go together, for its schema. What is null is not given, as it is to what reads it.

use serde_json::{Value, json};

/// A member is given.
pub(super) fn given(member: &str) -> Value {
    with(member, json!({ "not": { "type": "null" } }))
}

/// A member is a list with something in it.
pub(super) fn filled(member: &str) -> Value {
    with(member, json!({ "minItems": 1 }))
}

/// A member is this very value.
pub(super) fn is(member: &str, value: impl Into<Value>) -> Value {
    with(member, json!({ "const": value.into() }))
}

/// One of these holds at least.
pub(super) fn any<const N: usize>(of: [Value; N]) -> Value {
    json!({ "anyOf": of.to_vec() })
}

/// Where the one holds, so does the other.
pub(super) fn implies(one: &Value, other: &Value) -> Value {
    json!({ "if": one, "then": other })
}

fn with(member: &str, schema: Value) -> Value {
    json!({ "required": [member], "properties": { member: schema } })
}
