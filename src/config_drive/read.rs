//! An instance document from its text, JSON or YAML.

use super::verbatim::{NUMBER, TWICE, Verbatim};
use super::{Document, DocumentError};
use crate::net::Vif;
use serde::de::DeserializeOwned;
use serde_json::{Deserializer, Value};
use serde_saphyr::granit_parser::{Event, Parser};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;

/// How a document is spelt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Spelling {
    Json,
    Yaml,
}

/// The most values that a YAML document may have once its aliases are followed, or several that are read for one purpose.
pub(crate) const NODES_MAX: usize = 250_000;

/// How many bytes of texts count as a value of their own, where several documents share a number of values.
const BYTES_OF_NODE: usize = 64;

/// The deepest that lists and objects may lie in each other, as in JSON (serde_json's own limit).
const DEPTH_MAX: usize = 128;

/// The document of a text.
///
/// The error names the place of what is wrong as a path into the document, and does not repeat values, which may be secret.
pub fn read(text: &[u8], spelling: Spelling) -> Result<Document, DocumentError> {
    spelt(text, spelling)
}

/// The list of a text that stands for `network_info`; errors as those of [`read`].
pub fn read_network(text: &[u8], spelling: Spelling) -> Result<Vec<Vif>, DocumentError> {
    spelt(text, spelling)
}

fn spelt<T: DeserializeOwned>(text: &[u8], spelling: Spelling) -> Result<T, DocumentError> {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    match spelling {
        Spelling::Json => {
            let mut json = Deserializer::from_slice(text);
            let document = serde_path_to_error::deserialize(&mut json).map_err(|error| located(&error))?;
            json.end().map_err(|error| DocumentError::new("", format!("after the document: {error}")))?;
            Ok(document)
        }
        Spelling::Yaml => from_value(value(text, spelling)?),
    }
}

/// A document's value, in which no key is there twice and no tag has a meaning of its own.
pub(crate) fn value(text: &[u8], spelling: Spelling) -> Result<Value, DocumentError> {
    match spelling {
        Spelling::Json => spelt(text, spelling).map(|Verbatim(value)| value),
        Spelling::Yaml => yaml_of(text, &mut { NODES_MAX }),
    }
}

/// The same of a YAML document, which is one of several that have `left` values together, once their aliases are followed; these are fewer
/// afterwards, and none where there are as many or more.
pub(crate) fn yaml_of(text: &[u8], left: &mut usize) -> Result<Value, DocumentError> {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let Verbatim(value) = parsed(text, left)?;
    known_tags(text)?;
    Ok(value)
}

/// What a document's value is, by the type that it is read as.
pub(crate) fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, DocumentError> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let error = located(&error);
        if error.hint().is_none() && error.to_string().contains("expected a string") {
            return error.with_hint("in YAML, what looks like a number or a truth value is a text in quotes only");
        }
        error
    })
}

/// What some editors put before a text in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The value of a YAML document; aliases are followed within bounds.
pub(super) fn yaml(text: &[u8]) -> Result<Value, DocumentError> {
    parsed(text, &mut { NODES_MAX })
}

fn parsed<T: DeserializeOwned>(text: &[u8], left: &mut usize) -> Result<T, DocumentError> {
    let failed = |error: &str| DocumentError::new("", format!("not YAML: {}", without_values(error)));
    let text = std::str::from_utf8(text).map_err(|_| failed("not a text in UTF-8"))?;
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_nodes: *left, max_depth: DEPTH_MAX },
        // It would show the lines, and there may be a secret in them.
        with_snippet: false,
    };
    let nodes = Rc::new(Cell::new(0));
    let options = options.with_budget_report({
        let nodes = Rc::clone(&nodes);
        move |report| nodes.set(report.nodes.saturating_add(report.total_scalar_bytes / BYTES_OF_NODE))
    });
    let mut at = String::new();
    let value = serde_saphyr::with_deserializer_from_str_with_options(text, options, |yaml| {
        serde_path_to_error::deserialize(yaml).map_err(|error| {
            at = error.path().to_string();
            error.into_inner()
        })
    });
    *left = left.saturating_sub(nodes.get());
    value.map_err(|error| {
        let error = error.to_string();
        let line = error.lines().next().unwrap_or_default();
        if line.contains(NUMBER) {
            return DocumentError::new(at.as_str(), NUMBER);
        }
        // The reader's own words are about its programming interface.
        if line.contains("budget breached") {
            let most = format!("more than {NODES_MAX} values (aliases are followed), or deeper than {DEPTH_MAX}");
            return failed(&most);
        }
        let (said, place) = match line.rsplit_once(" at line ") {
            Some((said, place)) => (said, format!(" (line {place})")),
            None => (line, String::new()),
        };
        if let Some((key, place)) = said.contains("duplicate mapping key").then(|| repeated_key(text)).flatten() {
            return DocumentError::new("", format!("not YAML: a duplicate key, {key} ({place})"))
                .with_hint(ONE_OF_THEM);
        }
        match WORDS.iter().find(|(theirs, ..)| said.contains(theirs)) {
            Some((_, ours, hint)) => DocumentError::new("", format!("{ours}{place}")).with_hint(*hint),
            None => failed(line.split(", set DuplicateKeyPolicy").next().unwrap_or_default()),
        }
    })
}

const ONE_OF_THEM: &str = "leave one of them out";

/// What the reader says about its programming interface, by a part of it; what is so, and the way out.
const WORDS: [(&str, &str, &str); 8] = [
    (
        "multiple YAML documents",
        "not YAML of one document: a second one begins (---)",
        "leave one of them out, or put each into a file of its own",
    ),
    ("recursive references", "not YAML: an alias (*…) inside of the value that it stands for", "write the value out"),
    (
        "unknown anchor",
        "not YAML: an alias (*…) without its anchor (&…) before it",
        "put a text that begins with * into quotes",
    ),
    ("!!binary scalar is not valid UTF-8", "not YAML: !!binary with bytes that are no text in UTF-8", NO_TAG),
    ("invalid !!binary", "not YAML: !!binary without base64 behind it", NO_TAG),
    ("cannot deserialize tagged", "not YAML: a tag (!…) that its value does not fit", NO_TAG),
    (
        "non-finite float",
        "not YAML: a number that is none, or larger than any (.nan, .inf)",
        "put it into quotes, where it is a text",
    ),
    ("expected string scalar", "not YAML: a key that is no text", "put it into quotes"),
];

const NO_TAG: &str = "leave the tag out, and put a text into quotes; bytes go where a key takes base64 (content_base64; with encoding: b64 in a cloud-config)";

/// The first key that is in its object already, and where it stands.
fn repeated_key(text: &str) -> Option<(String, String)> {
    // What is around: the keys of an object, and whether one waits for its value; of a list nothing.
    let mut around: Vec<Option<(BTreeSet<String>, bool)>> = Vec::new();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.ok()?;
        let is_value = match &event {
            Event::Scalar(key, ..) => match around.last_mut() {
                Some(Some((keys, is_waiting @ false))) => {
                    *is_waiting = true;
                    if !keys.insert(key.to_string()) {
                        let (line, column) = (span.start.line(), span.start.col().saturating_add(1));
                        return Some((key.escape_debug().to_string(), format!("line {line}, column {column}")));
                    }
                    false
                }
                _ => true,
            },
            Event::MappingStart(..) => {
                around.push(Some((BTreeSet::new(), false)));
                false
            }
            Event::SequenceStart(..) => {
                around.push(None);
                false
            }
            Event::MappingEnd | Event::SequenceEnd => {
                around.pop();
                true
            }
            Event::Alias(..) => true,
            _ => false,
        };
        if let (true, Some(Some((_, is_waiting)))) = (is_value, around.last_mut()) {
            *is_waiting = false;
        }
    }
    None
}

/// Refuses tags that mean something to another program, `!include` say: here the value would be taken without it.
fn known_tags(text: &[u8]) -> Result<(), DocumentError> {
    let text = std::str::from_utf8(text).unwrap_or_default();
    for event in Parser::new_from_str(text) {
        let Ok((event, span)) = event else { return Ok(()) };
        let (Event::Scalar(_, _, _, Some(tag))
        | Event::SequenceStart(_, _, Some(tag))
        | Event::MappingStart(_, _, Some(tag))) = event
        else {
            continue;
        };
        let (handle, suffix) = tag.parts();
        let is_core = tag.core_suffix().is_some_and(|suffix| CORE.contains(&suffix));
        if !is_core && (handle, suffix) != ("", "!") && (handle, suffix) != ("!", "") {
            let line = span.start.line();
            return Err(DocumentError::new("", format!("line {line}: it has a tag (!…) that means nothing here"))
                .with_hint(if suffix.ends_with("binary") {
                    NO_TAG
                } else {
                    "leave the tag out: no file is included by it, and no value computed"
                }));
        }
    }
    Ok(())
}

/// The tags of YAML's own types.
const CORE: [&str; 8] = ["str", "int", "float", "bool", "null", "seq", "map", "binary"];

fn located<E: std::fmt::Display>(error: &serde_path_to_error::Error<E>) -> DocumentError {
    let at = error.path().to_string();
    let at = at.trim_end_matches(['.', '?']);
    let reason = without_values(&error.inner().to_string());
    let is_twice = reason.starts_with(TWICE);
    let error = DocumentError::new(at, reason);
    if is_twice { error.with_hint(ONE_OF_THEM) } else { error }
}

/// A message of serde's without the value that it complains of: `invalid type: string "…", expected …`.
fn without_values(message: &str) -> String {
    for what in ["invalid type: ", "invalid value: "] {
        if let Some((before, rest)) = message.split_once(what)
            && let Some((found, expected)) = rest.rsplit_once(", expected ")
        {
            let kind = found.split([' ', '`', '"']).next().unwrap_or_default();
            return format!("{before}{what}{kind}, expected {expected}");
        }
    }
    message.to_owned()
}

/// The JSON Schema of instance documents (draft 2020-12), made from the types that read them.
pub fn schema() -> Value {
    schemars::schema_for!(Document).to_value()
}
