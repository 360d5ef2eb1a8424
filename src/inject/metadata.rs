//! Instance metadata: `/meta.js`.

use super::{Compat, InjectError, Injector, Item, Outcome, ROOT_FILE, label};
use crate::guest::Guest;
use imgraft_vfs::fs::Content;
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;
use std::fmt::Write;

/// Instance metadata for `/meta.js`.
#[derive(Clone, Debug)]
pub struct Metadata {
    /// Keys and values in the order given; a later equal key wins at the earlier one's place.
    pub pairs: Vec<(String, String)>,
    /// Whose behaviour.
    pub compat: Compat,
}

impl Injector for Metadata {
    fn item(&self) -> Item {
        Item::Metadata
    }

    fn stage(&self, guest: &Guest, stage: &mut Stage<'_>) -> Result<Outcome, InjectError> {
        let before = stage.savepoint();
        let mut outcome = Outcome::default();
        stage.write(&GuestPath::parse("/meta.js")?, Content::bytes(self.json().into_bytes()), ROOT_FILE)?;
        if self.compat == Compat::Imgraft {
            label::label_new(guest, stage, &before, &mut outcome)?;
        }
        Ok(outcome)
    }
}

impl Metadata {
    /// The object as Nova writes it: `", "` and `": "`, nothing but ASCII, no newline at the end.
    pub fn json(&self) -> String {
        let mut pairs: Vec<(&str, &str)> = Vec::with_capacity(self.pairs.len());
        let mut places = std::collections::HashMap::new();
        for (key, value) in &self.pairs {
            let place = *places.entry(key.as_str()).or_insert(pairs.len());
            if place == pairs.len() {
                pairs.push((key, value));
            } else {
                pairs[place].1 = value;
            }
        }
        let mut json = String::from("{");
        for (index, (key, value)) in pairs.into_iter().enumerate() {
            if index > 0 {
                json.push_str(", ");
            }
            push_string(&mut json, key);
            json.push_str(": ");
            push_string(&mut json, value);
        }
        json.push('}');
        json
    }
}

/// A JSON string (RFC 8259) with every character outside printable ASCII escaped.
fn push_string(json: &mut String, text: &str) {
    json.push('"');
    for char in text.chars() {
        match char {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            '\u{8}' => json.push_str("\\b"),
            '\u{c}' => json.push_str("\\f"),
            ' '..='~' => json.push(char),
            _ => {
                for unit in char.encode_utf16(&mut [0; 2]) {
                    let _ = write!(json, "\\u{unit:04x}");
                }
            }
        }
    }
    json.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::testing::*;
    use crate::oracle;

    fn metadata(pairs: &[(&str, &str)], compat: Compat) -> Metadata {
        Metadata { pairs: pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(), compat }
    }

    const HARD: [(&str, &str); 5] =
        [("a", "1"), ("ключ", "😀 \u{7f}\u{0}"), ("q\"\\", "\n\r\t\u{8}\u{c}/<>&"), ("", ""), ("a", "2")];

    #[test]
    fn json_is_novas() {
        assert_eq!(metadata(&[], Compat::Nova).json(), "{}");
        assert_eq!(metadata(&[("role", "web"), ("é", "x")], Compat::Nova).json(), r#"{"role": "web", "\u00e9": "x"}"#);
        assert_eq!(
            metadata(&HARD, Compat::Imgraft).json(),
            r#"{"a": "2", "\u043a\u043b\u044e\u0447": "\ud83d\ude00 \u007f\u0000", "q\"\\": "\n\r\t\b\f/<>&", "": ""}"#
        );
    }

    #[test]
    fn python_writes_the_same() {
        let Some(python) = oracle::find("python3") else { return };
        let ours = metadata(&HARD, Compat::Imgraft).json();
        let script = "import json,sys; sys.stdout.write(json.dumps(json.loads(sys.argv[1])))";
        let output = std::process::Command::new(python).args(["-c", script, &ours]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), ours);
    }

    #[test]
    fn stages_a_file_once() {
        let metadata = metadata(&[("role", "web")], Compat::Imgraft);
        let fs = inject(&metadata, phony().build().unwrap());
        assert_eq!(describe(&fs, "/meta.js"), "0644 0:0");
        assert_eq!(text(&fs, "/meta.js"), r#"{"role": "web"}"#);
        assert_unchanged(&metadata, &fs);
    }
}
