//! Members of a configuration that say nothing.

use super::super::untaken::{self, Untaken};
use serde_json::Value;

/// Leaves out what Ignition reads as if it were not there: members that are null, and those that are not taken and ask for nothing.
pub(super) fn leave_out(value: &mut Value, untaken: &[Untaken]) {
    below(value, "", untaken);
}

fn below(value: &mut Value, at: &str, untaken: &[Untaken]) {
    match value {
        Value::Object(members) => members.retain(|name, value| {
            let at = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
            let is_said = !(value.is_null() || untaken::is_one(&at, untaken) && is_empty(value));
            if is_said {
                below(value, &at, untaken);
            }
            is_said
        }),
        Value::Array(values) => values.iter_mut().for_each(|value| below(value, at, untaken)),
        _ => {}
    }
}

/// Whether a value asks for nothing.
pub(super) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Object(members) => members.values().all(is_empty),
        Value::Array(values) => values.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_left() {
        let mut value = json!({
            "a": {"b": [], "c": [null, {"d": {"e": null}, "f": null}]},
            "g": null,
            "h": [],
            "i": [{"b": [1], "j": false}, {"j": true}],
        });
        leave_out(&mut value, &[("a.b", ""), ("a.c.d", ""), ("i.b", ""), ("i.j", "")]);
        let left = json!({"a": {"c": [null, {}]}, "h": [], "i": [{"b": [1]}, {"j": true}]});
        assert_eq!(value, left);
    }
}
