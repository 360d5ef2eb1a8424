//! What cloud-init makes of a file of its configuration: read_conf and load_yaml of its util.py, with safe_load of PyYAML.

mod configuration;

pub(crate) use configuration::{Configuration, DIRECTORY, FILES_MAX, MAIN, NODES, TOTAL};

use imgraft_vfs::path::GuestPath;
use serde_json::{Map, Value};
use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, Tag};
use std::cell::Cell;
use std::rc::Rc;

/// How deep the values of a file may lie in each other.
const DEPTH_MAX: usize = 32;

/// By which of its keys a file says how cloud-init mixes it with the others.
const MERGERS: [&str; 2] = ["merge_how", "merge_type"];

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
    /// That is not known, as it is more than is read.
    TooMuch,
    /// That is not known, for this reason, a clause.
    Unknown(String),
}

/// Reads a file that may have `left` values, once its aliases are followed; these are fewer afterwards.
fn read(text: &[u8], left: &mut usize) -> Reading {
    let unknown = |reason: &str| Reading::Unknown(reason.to_owned());
    let Ok(text) = std::str::from_utf8(text) else {
        return unknown("it is no text in UTF-8, and cloud-init does not run with that");
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if is_template(text) {
        return unknown("it is a template, which cloud-init fills in at the boot");
    }
    let mut documents = 0_usize;
    let mut events = 0_usize;
    let mut has_others = false;
    for event in Parser::new_from_str(text) {
        events = events.saturating_add(1);
        // A value has two at most, where it begins and where it ends, and so has a document.
        if events > left.saturating_mul(2).saturating_add(4) {
            *left = 0;
            return Reading::TooMuch;
        }
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
        budget: serde_saphyr::budget! { max_nodes: *left, max_depth: DEPTH_MAX },
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::LastWins,
        with_snippet: false,
    };
    let nodes = Rc::new(Cell::new(0));
    let options = options.with_budget_report({
        let nodes = Rc::clone(&nodes);
        move |report| nodes.set(report.nodes)
    });
    let read = serde_saphyr::from_str_with_options(text, options);
    // One more than there may be, where there are more.
    let is_too_much = nodes.get() > *left;
    *left = left.saturating_sub(nodes.get());
    match read {
        Ok(Value::Object(keys)) => match MERGERS.iter().find(|key| keys.get(**key).is_some_and(is_a_merger)) {
            Some(key) => Reading::Unknown(format!("it has {key}, by which cloud-init mixes it with the other files")),
            None => Reading::Keys(keys),
        },
        Ok(_) => Reading::Nothing,
        Err(_) if is_too_much => Reading::TooMuch,
        Err(_) => unknown("its values lie too deep in each other, or are no values of JSON"),
    }
}

/// Whether a value has cloud-init mix a file with the others in another way than the usual one (dict_extract_mergers of its
/// mergers/__init__.py, which mergemanydict of its util.py asks of each file by itself).
fn is_a_merger(value: &Value) -> bool {
    let is_usual = value.as_str().is_some_and(|text| text.trim().is_empty());
    !is_usual && !value.is_null() && !value.as_array().is_some_and(Vec::is_empty)
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
    /// Its path; `None` where there is none that can be.
    pub(crate) fn path(&self) -> Option<GuestPath> {
        match self {
            Self::Usual => GuestPath::parse(DIRECTORY).ok(),
            Self::At(path) => GuestPath::parse(path).ok(),
            Self::Missing | Self::Broken => None,
        }
    }

    /// What the keys of the first file say.
    fn of(keys: &Map<String, Value>) -> Self {
        match keys.get("conf_d") {
            None => Self::Usual,
            Some(nothing) if is_nothing(nothing) => Self::Missing,
            Some(Value::String(blanks)) if blanks.trim().is_empty() => Self::Missing,
            Some(Value::String(path)) => Self::At(format!("/{}", path.trim())),
            Some(_) => Self::Broken,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(text: &[u8]) -> Reading {
        super::read(text, &mut 1000)
    }

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
            ("a: 1\nmerge_how:\nmerge_type: []\n", json!({ "a": 1, "merge_how": null, "merge_type": [] })),
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
            b"a: 1\nmerge_how: 'dict(replace)'\n",
            b"a: 1\nmerge_how:\nmerge_type: [{name: list, settings: [append]}]\n",
            deep.as_bytes(),
        ];
        for text in not_known {
            let read = read(text);
            assert!(matches!(read, Reading::Unknown(_)), "{}: {read:?}", text.escape_ascii());
        }
    }
    /// All files together have as many values as there are to be, aliases followed.
    #[test]
    fn values_are_counted() {
        let mut left = 20;
        assert!(matches!(super::read(b"a: 1\nb: [1, 2, 3]\n", &mut left), Reading::Keys(_)));
        assert_eq!(left, 12);
        assert!(matches!(super::read(b"a: &x [1, 2, 3]\nb: *x\n", &mut left), Reading::Keys(_)));
        assert!(left < 5, "{left}");
        assert_eq!(super::read(b"a: [1, 2, 3]\n", &mut left), Reading::TooMuch);
        assert_eq!(left, 0);
        let events = format!("a: [{}]\n", "1, ".repeat(100));
        assert_eq!(super::read(events.as_bytes(), &mut 20), Reading::TooMuch);
        let aliases = format!("a: &x [1, 2, 3, 4, 5, 6, 7, 8]\nb: [{}]\n", "*x, ".repeat(20));
        assert_eq!(super::read(aliases.as_bytes(), &mut 100), Reading::TooMuch);
    }
}
