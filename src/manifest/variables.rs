//! Variables: `${name}` in the texts of a manifest, which `--set` gives a value.

use crate::config_drive::DocumentError;
use schemars::Schema;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;

/// The longest text that comes of replacing, in bytes.
const TEXT_MAX: usize = 1 << 20;

/// What the variables stand for, and which of them are used. The values are not shown.
#[derive(Default)]
pub struct Variables {
    values: BTreeMap<String, (String, Usage)>,
}

/// A variable in a text, for a schema: one that no other `$` stands before.
pub(super) const VARIABLE: &str = r"(^|[^$])\$\{[A-Za-z_][A-Za-z0-9_]*\}";

/// Lets a schema of certain texts take those too in which a variable is; what stands for it is not known there.
pub(super) fn allowed(schema: &mut Schema) {
    if let Some(Value::String(pattern)) = schema.get_mut("pattern") {
        *pattern = format!("{pattern}|{VARIABLE}");
        return;
    }
    let certain = std::mem::take(schema.ensure_object());
    schema.insert("anyOf".to_owned(), json!([certain, { "type": "string", "pattern": VARIABLE }]));
}

/// Whether a variable is in a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Usage {
    Used,
    Unused,
}

/// The name of a variable that is in no manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unused(pub String);

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.values.keys()).finish()
    }
}

/// Whether a variable can be called that: letters, digits and `_`, no digit first.
pub fn is_name(name: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !name.is_empty() && !name.as_bytes()[0].is_ascii_digit() && name.bytes().all(is_word)
}

impl Variables {
    /// Gives a variable its value; `false` where it has one, or cannot be called that.
    #[must_use]
    pub fn set(&mut self, name: &str, value: &str) -> bool {
        let is_new = is_name(name) && !self.values.contains_key(name);
        if is_new {
            self.values.insert(name.to_owned(), (value.to_owned(), Usage::Unused));
        }
        is_new
    }

    /// Whether a variable has a value.
    pub fn holds(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// The first one that was in no manifest.
    pub fn unused(&self) -> Option<Unused> {
        let mut unused = self.values.iter().filter(|(_, (_, usage))| *usage == Usage::Unused);
        unused.next().map(|(name, _)| Unused(name.clone()))
    }

    /// A document with the variables in its texts replaced. Keys and what is no text stay as they are, and what comes in is not
    /// looked through again.
    pub(super) fn replaced(&mut self, value: Value) -> Result<Value, DocumentError> {
        match value {
            Value::String(text) => Ok(Value::String(self.text(&text)?)),
            Value::Array(values) => {
                let mut replaced = Vec::with_capacity(values.len());
                for (index, value) in values.into_iter().enumerate() {
                    replaced.push(self.replaced(value).map_err(|error| error.within(&format!("[{index}]")))?);
                }
                Ok(Value::Array(replaced))
            }
            Value::Object(members) => {
                let mut replaced = serde_json::Map::new();
                for (key, value) in members {
                    let value = self.replaced(value).map_err(|error| error.within(&key))?;
                    replaced.insert(key, value);
                }
                Ok(Value::Object(replaced))
            }
            other => Ok(other),
        }
    }

    fn text(&mut self, text: &str) -> Result<String, DocumentError> {
        let mut replaced = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let (before, from) = rest.split_at(at);
            if let Some(before) = before.strip_suffix('$') {
                replaced.push_str(before);
                replaced.push_str("${");
                rest = &from[2..];
                continue;
            }
            replaced.push_str(before);
            let name = from[2..].split('}').next().unwrap_or_default();
            let literal = "for a ${ that is no variable, as in a shell's script, write $${";
            if !is_name(name) || from.len() < name.len() + 3 {
                return Err(
                    DocumentError::new("", "${ begins a variable, which ends with } and has a name").with_hint(literal)
                );
            }
            let Some((value, usage)) = self.values.get_mut(name) else {
                return Err(DocumentError::new("", format!("the variable {name} has no value"))
                    .with_hint(format!("--set {name}=VALUE; {literal}")));
            };
            *usage = Usage::Used;
            replaced.push_str(value);
            rest = &from[name.len() + 3..];
            if replaced.len() > TEXT_MAX {
                return Err(DocumentError::new("", "more than 1 MiB once its variables are replaced"));
            }
        }
        replaced.push_str(rest);
        Ok(replaced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_only_and_once() {
        let mut variables = Variables::default();
        assert!(variables.set("a", "1${b}") && variables.set("b", "two") && variables.set("c_3", ""));
        assert!(
            !variables.set("a", "again")
                && !variables.set("3", "")
                && !variables.set("", "")
                && !variables.set("x-y", "")
        );
        let document = json!({"${a}": ["${a}", "x${b}${b}y$", 3, "$${a} $$${b} $b", "${c_3}"]});
        let expected = json!({"${a}": ["1${b}", "xtwotwoy$", 3, "${a} $${b} $b", ""]});
        assert_eq!(variables.replaced(document).unwrap(), expected);
        assert_eq!(variables.unused(), None);
        assert!(!format!("{variables:?}").contains("two"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let mut variables = Variables::default();
        assert!(variables.set("unused", "x"));
        let mut said = |text: &str| {
            let error = variables.replaced(json!({"users": [{"name": text}]})).unwrap_err();
            format!("{error}; {}", error.hint().unwrap())
        };
        assert!(said("${nobody}").starts_with("users[0].name: the variable nobody has no value; --set nobody="));
        for text in ["${", "${a", "${}", "${a b}", "${1}", "${HOME:-x}"] {
            assert!(said(text).starts_with("users[0].name: ${ begins a variable"), "{text}");
        }
        assert_eq!(variables.unused(), Some(Unused("unused".into())));
    }
}
