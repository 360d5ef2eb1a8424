//! The key `network:` around a document: cloud-init takes one without it, netplan does not.

use super::tree::{self, Lines, Node, Value};
use crate::config_drive::DocumentError;
use crate::yaml;
use serde_json::Value as Json;
use std::fmt::Write as _;

/// The key.
const KEY: &str = "network";

/// Whether a document is what stands below the key.
pub(super) fn is_inner(root: &Node) -> bool {
    root.get(KEY).is_none() && root.get("version").is_some()
}

/// The document with the key around it.
pub(super) fn around(inner: Node) -> Node {
    let key = Node { place: inner.place, value: Value::Text(KEY.to_owned()) };
    Node { place: inner.place, value: Value::Object(vec![(key, inner)]) }
}

/// A path in the document with the key, as it is without it.
pub(super) fn inner_path(at: &str) -> &str {
    at.strip_prefix(KEY).map_or(at, |rest| rest.trim_start_matches('.'))
}

/// The text of a document for netplan: with the key around it, where it is one without. Comments stay where that can be.
pub fn with_outer_key(text: &str) -> Result<String, DocumentError> {
    let Some(root) = tree::read(text, Lines::Untold)?.filter(is_inner) else { return Ok(text.to_owned()) };
    let meant = around(root);
    let indented = indented(text);
    match tree::read(&indented, Lines::Untold) {
        Ok(Some(read)) if read == meant => Ok(indented),
        // Something in it does not bear being moved to the right.
        _ => Ok(yaml::flow(&json(&meant)) + "\n"),
    }
}

/// The lines of a text below the key, without the marks of a document's beginning and end.
fn indented(text: &str) -> String {
    let mut out = format!("{KEY}:\n");
    for line in text.lines() {
        match line.trim_end() {
            "" => out.push('\n'),
            "---" | "..." => {}
            _ => _ = writeln!(out, "  {line}"),
        }
    }
    out
}

/// A document as JSON, in which every value is a text, as for netplan's reader.
fn json(node: &Node) -> Json {
    match &node.value {
        Value::Text(text) => text.clone().into(),
        Value::List(elements) => elements.iter().map(json).collect(),
        Value::Object(members) => Json::Object(
            members.iter().filter_map(|(key, value)| Some((key.text()?.to_owned(), json(value)))).collect(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_put_around_what_lacks_it() {
        for (text, expected) in [
            (
                "version: 2\nethernets:\n  a: {dhcp4: true}\n",
                "network:\n  version: 2\n  ethernets:\n    a: {dhcp4: true}\n",
            ),
            ("# mine\n---\nversion: 2 # two\n\n...\n", "network:\n  # mine\n  version: 2 # two\n\n"),
            ("{\"version\": 2,\n \"ethernets\": {}}", "network:\n  {\"version\": 2,\n   \"ethernets\": {}}\n"),
            ("network: {version: 2}\n", "network: {version: 2}\n"),
            ("version: 2\nx: |\n  a\n   b\n\n  c\n", "network:\n  version: 2\n  x: |\n    a\n     b\n\n    c\n"),
            // What does not bear it.
            ("--- {version: 2}\n", "{\"network\":{\"version\":\"2\"}}\n"),
            (
                "%YAML 1.1\n---\nversion: 2\nx: [010, ~, y]\n",
                "{\"network\":{\"version\":\"2\",\"x\":[\"010\",\"~\",\"y\"]}}\n",
            ),
            ("\u{feff}version: 2\nx: \u{e9}\n", "{\"network\":{\"version\":\"2\",\"x\":\"\u{e9}\"}}\n"),
        ] {
            assert_eq!(with_outer_key(text).unwrap(), expected, "{text}");
        }
        assert!(with_outer_key("version: 2\nversion: 2\n").is_err());
    }
}
