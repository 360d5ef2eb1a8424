//! JSON as Python's `json.dumps` spells it, which is how Nova's documents are spelt.
//!
//! `", "` between members, `": "` after keys, nothing but printable ASCII (`\u` and four digits, surrogate pairs beyond
//! the basic plane), floating point numbers as `repr` gives them, no newline at the end (Python library reference, `json`).

use super::python2_dict;
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};
use serde_json::{Map, Value};
use std::io::{self, Write};

/// The order of the members of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// As they were put in: Python since 3.7.
    Insertion,
    /// As a dictionary of Python 2.7 on a 64-bit machine lists them.
    Python2,
}

/// The value as Python spells it.
pub(super) fn write(value: &Value, order: Order) -> Vec<u8> {
    let reordered;
    let value = match order {
        Order::Insertion => value,
        Order::Python2 => {
            reordered = python2(value);
            &reordered
        }
    };
    let mut text = Vec::new();
    // A vector takes all that is written, and every key is a string.
    let _ = value.serialize(&mut Serializer::with_formatter(&mut text, Python));
    text
}

fn python2(value: &Value) -> Value {
    match value {
        Value::Array(values) => Value::Array(values.iter().map(python2).collect()),
        Value::Object(members) => {
            let mut ordered = Map::new();
            for key in python2_dict::order(members.keys().map(String::as_str)) {
                if let Some(member) = members.get(key) {
                    ordered.insert(key.to_owned(), python2(member));
                }
            }
            Value::Object(ordered)
        }
        other => other.clone(),
    }
}

#[derive(Debug)]
struct Python;

impl Formatter for Python {
    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }

    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        for char in fragment.chars() {
            if matches!(char, ' '..='~') {
                writer.write_all(&[char as u8])?;
            } else {
                for unit in char.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }

    fn write_f64<W: ?Sized + Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        writer.write_all(repr(value).as_bytes())
    }
}

/// A finite number as Python's `repr` gives it: the shortest digits, an exponent below 1e-4 and from 1e16 on.
fn repr(value: f64) -> String {
    let scientific = format!("{value:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..16).contains(&exponent) {
        let plain = format!("{value}");
        return if plain.contains('.') { plain } else { format!("{plain}.0") };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle;
    use std::process::{Command, Stdio};

    #[test]
    fn spelt_as_python_spells_it() {
        let hard = r#"{"a": [1, -2, 0, true, null, {}, []], "ключ": "😀 \u007f\u0000\u0080 /<>&", "q\"\\": "\n\r\t\b\f",
            "f": [1.0, 0.1, 1e16, 1e15, 123456789012345680.0, 1e-4, 1e-5, -2.5e-10, 1.5e300, 5e-324, -0.0, 0.30000000000000004],
            "n": [18446744073709551615, -9223372036854775808], "": {"b": 1, "a": 2}}"#;
        let value: Value = serde_json::from_str(hard).unwrap();
        let ours = String::from_utf8(write(&value, Order::Insertion)).unwrap();
        assert!(
            ours.starts_with(
                r#"{"a": [1, -2, 0, true, null, {}, []], "\u043a\u043b\u044e\u0447": "\ud83d\ude00 \u007f"#
            )
        );
        let Some(python) = oracle::find("python3") else { return };
        let program = "import json,sys; sys.stdout.write(json.dumps(json.load(sys.stdin)))";
        let child = Command::new(python).args(["-c", program]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.unwrap();
        child.stdin.take().unwrap().write_all(hard.as_bytes()).unwrap();
        let theirs = child.wait_with_output().unwrap();
        assert_eq!(ours, String::from_utf8(theirs.stdout).unwrap());
    }
}
