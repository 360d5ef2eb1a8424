//! An instance document from its text, JSON or YAML.

use super::{Document, DocumentError};
use serde_json::{Deserializer, Value};

/// How a document is spelt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Spelling {
    Json,
    Yaml,
}

/// The most values that a YAML document may have once its aliases are followed.
const NODES_MAX: usize = 250_000;

/// The deepest that lists and objects may lie in each other, as in JSON (serde_json's own limit).
const DEPTH_MAX: usize = 128;

/// The document of a text.
///
/// The error names the place of what is wrong as a path into the document, and does not repeat values, which may be secret.
pub fn read(text: &[u8], spelling: Spelling) -> Result<Document, DocumentError> {
    match spelling {
        Spelling::Json => {
            let mut json = Deserializer::from_slice(text);
            let document = serde_path_to_error::deserialize(&mut json).map_err(|error| located(&error))?;
            json.end().map_err(|error| DocumentError::new("", format!("after the document: {error}")))?;
            Ok(document)
        }
        Spelling::Yaml => serde_path_to_error::deserialize(yaml(text)?).map_err(|error| {
            let error = located(&error);
            if error.hint().is_none() && error.to_string().contains("expected a string") {
                return error.with_hint("in YAML, what looks like a number or a truth value is a text in quotes only");
            }
            error
        }),
    }
}

/// The value of a YAML document; aliases are followed within bounds.
pub(super) fn yaml(text: &[u8]) -> Result<Value, DocumentError> {
    let failed = |error: String| DocumentError::new("", format!("not YAML: {}", without_values(&error)));
    let text = std::str::from_utf8(text).map_err(|_| failed("not a text in UTF-8".to_owned()))?;
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_nodes: NODES_MAX, max_depth: DEPTH_MAX },
        // It would show the lines, and there may be a secret in them.
        with_snippet: false,
    };
    let first_line = |error: String| error.lines().next().unwrap_or_default().to_owned();
    serde_saphyr::from_str_with_options(text, options).map_err(|error| failed(first_line(error.to_string())))
}

fn located<E: std::fmt::Display>(error: &serde_path_to_error::Error<E>) -> DocumentError {
    let at = error.path().to_string();
    let at = at.trim_end_matches(['.', '?']);
    DocumentError::new(at, without_values(&error.inner().to_string()))
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
