//! Values as YAML, for files of a guest. What no reader of YAML takes in a text is escaped.

use serde_json::Value;
use std::fmt::Write as _;

/// A value in one line: JSON that a reader of YAML takes too. No line end.
pub(crate) fn flow(value: &Value) -> String {
    let mut text = String::new();
    for char in value.to_string().chars() {
        match char {
            // Printable, as YAML 1.1 and 1.2 have it; all that is not lies in the basic plane and inside of strings.
            ' '..='~' | '\u{a0}'..='\u{2027}' | '\u{202a}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}' | '\u{10000}'.. => {
                text.push(char);
            }
            _ => _ = write!(text, "\\u{:04x}", u32::from(char)),
        }
    }
    text
}

/// A value in lines: objects and lists in lines of their own, texts in quotes as JSON has them.
pub(crate) fn block(value: &Value) -> String {
    let mut text = String::new();
    put(&mut text, value, 0);
    text
}

fn put(text: &mut String, value: &Value, depth: usize) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let _ = write!(text, "{indent}{}:", plain(key));
                put_after(text, value, depth);
            }
        }
        Value::Array(list) => {
            for value in list {
                let mut item = String::new();
                match value {
                    Value::Object(object) if object.is_empty() => item.push_str("{}"),
                    Value::Array(list) if list.is_empty() => item.push_str("[]"),
                    value => put(&mut item, value, depth.saturating_add(1)),
                }
                // The first line of what is in a list stands behind its hyphen.
                let first = item.trim_start();
                let _ = write!(text, "{indent}- {first}");
                if !first.ends_with('\n') {
                    text.push('\n');
                }
            }
        }
        scalar => text.push_str(&flow(scalar)),
    }
}

fn put_after(text: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(object) if object.is_empty() => text.push_str(" {}\n"),
        Value::Array(list) if list.is_empty() => text.push_str(" []\n"),
        Value::Object(_) | Value::Array(_) => {
            text.push('\n');
            put(text, value, depth.saturating_add(1));
        }
        scalar => _ = writeln!(text, " {}", flow(scalar)),
    }
}

/// A key without quotes where it is a plain word that nobody takes for anything else.
fn plain(key: &str) -> String {
    let is_word = key.starts_with(|c: char| c.is_ascii_alphabetic())
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        && !["y", "n", "yes", "no", "on", "off", "true", "false", "null"].contains(&key.to_ascii_lowercase().as_str());
    if is_word { key.to_owned() } else { flow(&Value::from(key)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config_drive::{Spelling, value};
    use serde_json::json;

    #[test]
    fn what_is_written_is_read() {
        let hard = "a: b # c\n\t\"\\\u{7f}\u{85}\u{2028}\u{feff}\u{1f600}";
        let object =
            json!({ "yes": hard, "a b": [[hard, "x"], [], {}, { "k": { hard: 1 }, "l": [true] }], "e": {}, "f": [] });
        for text in [flow(&object), block(&object)] {
            assert_eq!(value(text.as_bytes(), Spelling::Yaml).unwrap(), object, "{text}");
            assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
        }
    }
}
