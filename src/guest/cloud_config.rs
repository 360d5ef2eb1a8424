//! What cloud-init makes of a file of its configuration: read_conf and load_yaml of its util.py, with safe_load of PyYAML.

use serde_json::{Map, Value};
use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, Tag};

/// The most values that a file may have once its aliases are followed, and the deepest that they may lie in each other; cloud-init itself has
/// no use for more than a few.
const NODES_MAX: usize = 10_000;
const DEPTH_MAX: usize = 32;

/// The types of YAML that are read here as cloud-init reads them, and the others that it knows.
const NAMESPACE: &str = "tag:yaml.org,2002:";
const READ: [&str; 7] = ["str", "int", "float", "bool", "null", "seq", "map"];
const OTHERS: [&str; 7] = ["binary", "set", "omap", "pairs", "timestamp", "merge", "value"];

/// What a file says to cloud-init.
#[derive(Debug, PartialEq)]
pub(crate) enum Reading {
    /// These keys; of those that are there twice the last ones.
    Keys(Map<String, Value>),
    /// Nothing: cloud-init warns, and goes on without it.
    Nothing,
    /// That is not known, for this reason, a clause.
    Unknown(String),
}

/// Reads a file.
pub(crate) fn read(text: &[u8]) -> Reading {
    let unknown = |reason: &str| Reading::Unknown(reason.to_owned());
    let Ok(text) = std::str::from_utf8(text) else {
        return unknown("it is no text in UTF-8, and cloud-init does not run with that");
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if is_template(text) {
        return unknown("it is a template, which cloud-init fills in at the boot");
    }
    let mut documents = 0_usize;
    let mut has_others = false;
    for event in Parser::new_from_str(text) {
        // Texts to PyYAML, and values here.
        if let Ok((Event::Scalar(text, ScalarStyle::Plain, _, None), _)) = &event {
            has_others |= matches!(text.as_ref(), "y" | "Y" | "n" | "N") || text.starts_with("0o");
        }
        let tag = match event {
            Err(_) => return unknown("it is no YAML as that is read here"),
            Ok((Event::DocumentStart(..), _)) => {
                documents = documents.saturating_add(1);
                None
            }
            Ok((Event::Scalar(_, _, _, tag) | Event::SequenceStart(_, _, tag) | Event::MappingStart(_, _, tag), _)) => {
                tag
            }
            Ok(_) => None,
        };
        let meaning = tag.map_or(Meaning::Read, |tag| Meaning::of(&tag));
        if documents > 1 || meaning == Meaning::Unknown {
            return Reading::Nothing;
        }
        has_others |= meaning == Meaning::Other;
    }
    if has_others {
        return unknown("it has a value or a type of YAML (!!…) that is not read here");
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_nodes: NODES_MAX, max_depth: DEPTH_MAX },
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::LastWins,
        with_snippet: false,
    };
    match serde_saphyr::from_str_with_options(text, options) {
        Ok(Value::Object(keys)) => Reading::Keys(keys),
        Ok(_) => Reading::Nothing,
        Err(_) => unknown("it has more than is read here, or what is no value of JSON"),
    }
}

/// Whether a value is what Python takes for false.
pub(crate) fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(keys) => keys.is_empty(),
    }
}

/// Whether a text is filled in with what is known of the instance (templater.py and handlers/jinja_template.py).
fn is_template(text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default().to_ascii_lowercase();
    first.strip_prefix("##").is_some_and(|rest| rest.trim_start().starts_with("template:"))
}

/// What a tag means to PyYAML's safe_load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Read,
    Other,
    Unknown,
}

impl Meaning {
    fn of(tag: &Tag) -> Self {
        match tag.suffix_in_namespace(NAMESPACE).as_deref() {
            Some(name) if READ.contains(&name) => Self::Read,
            Some(name) if OTHERS.contains(&name) => Self::Other,
            None if [("", "!"), ("!", "")].contains(&tag.parts()) => Self::Read,
            _ => Self::Unknown,
        }
    }
}

/// Where the directory is of the files that add to the configuration, by what the first file says: as `conf_d`, if that is there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Directory {
    /// It is not said.
    Usual,
    /// Here, from the root where it does not begin there.
    At(String),
    /// There is none.
    Missing,
    /// cloud-init does not run so.
    Broken,
}

impl Directory {
    /// What the keys of the first file say.
    pub(crate) fn of(keys: &Map<String, Value>) -> Self {
        match keys.get("conf_d") {
            None => Self::Usual,
            Some(nothing) if is_nothing(nothing) => Self::Missing,
            Some(Value::String(path)) => Self::At(format!("/{}", path.trim())),
            Some(_) => Self::Broken,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// As cloud-init 22.4 and 25.1 read each of these, in which a Python of theirs was asked.
    #[test]
    fn files_as_cloud_init_reads_them() {
        for (text, expected) in [
            ("a: 1\na: 2\n", json!({ "a": 2 })),
            ("a: {b: 1, b: 2}\na: {c: 3}\n", json!({ "a": { "c": 3 } })),
            ("\u{feff}a: 1\n", json!({ "a": 1 })),
            ("---\na: 1\n...\n", json!({ "a": 1 })),
            ("a: &x {b: 1}\n<<: *x\n", json!({ "a": { "b": 1 }, "b": 1 })),
            ("a: ! b\nc: !!str 1\n", json!({ "a": "b", "c": "1" })),
        ] {
            let Value::Object(keys) = expected else { panic!("{text}") };
            assert_eq!(read(text.as_bytes()), Reading::Keys(keys), "{text}");
        }
        for text in ["", "~", "- a\n", "a\n", "a: 1\n---\nb: 2\n", "a: 1\nb: !foo 1\n", "a: !!python/name:os b\n"] {
            assert_eq!(read(text.as_bytes()), Reading::Nothing, "{text}");
        }
        let deep = format!("a: 1\nb: {}{}\n", "[".repeat(200), "]".repeat(200));
        let not_known = [
            &b"a: 1 # \xe9\n"[..],
            b"## template: jinja\na: {{ b }}\n",
            b"a: 1\nb: [\n",
            b"a: 1\nb: !!set {c}\n",
            b"a: y\n",
            b"a: 1\nb: !!timestamp 2001-01-01\n",
            b"a: 1\nb: &x [*x]\n",
            deep.as_bytes(),
        ];
        for text in not_known {
            let read = read(text);
            assert!(matches!(read, Reading::Unknown(_)), "{}: {read:?}", text.escape_ascii());
        }
    }
}
