//! The text of the metadata: sections, names and values (lvm.conf(5) has the grammar).

use super::corrupt;
use crate::error::Result;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// How deep sections and lists may lie in each other; LVM2 makes five.
const MAX_DEPTH: u32 = 16;
/// How many values there may be: some twenty a logical volume.
const MAX_VALUES: u32 = 1 << 18;

/// A value.
#[derive(Debug, PartialEq)]
pub(super) enum Value<'a> {
    Number(i64),
    Text(Cow<'a, str>),
    List(Vec<Value<'a>>),
    Section(Section<'a>),
}

/// Names and their values.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Section<'a>(BTreeMap<&'a str, Value<'a>>);

impl<'a> Section<'a> {
    /// Reads a whole text; `Corrupt` with the place where it is wrong.
    pub(super) fn parse(text: &'a str) -> Result<Self> {
        let mut parser = Parser { text, at: 0, values: 0 };
        let section = parser.section(0)?;
        match parser.peek() {
            None => Ok(section),
            Some(_) => Err(parser.wrong("a brace closes what was not open")),
        }
    }

    pub(super) fn sections(&self) -> impl Iterator<Item = (&'a str, &Section<'a>)> {
        self.0.iter().filter_map(|(name, value)| match value {
            Value::Section(section) => Some((*name, section)),
            _ => None,
        })
    }

    pub(super) fn section(&self, name: &str) -> Option<&Section<'a>> {
        match self.0.get(name)? {
            Value::Section(section) => Some(section),
            _ => None,
        }
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match self.0.get(name)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A number that is not negative.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        match self.0.get(name)? {
            Value::Number(number) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    pub(super) fn list(&self, name: &str) -> Option<&[Value<'a>]> {
        match self.0.get(name)? {
            Value::List(list) => Some(list),
            _ => None,
        }
    }

    /// The words of a list of texts; empty where there is no such list.
    pub(super) fn words(&self, name: &str) -> Vec<&str> {
        let words = self.list(name).unwrap_or_default().iter();
        words.filter_map(|word| if let Value::Text(text) = word { Some(&**text) } else { None }).collect()
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    values: u32,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn take(&mut self, bytes: usize) {
        self.at = self.at.saturating_add(bytes);
    }

    /// The next character that is neither blank nor in a comment.
    fn peek(&mut self) -> Option<char> {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '\0');
            self.take(rest.len().saturating_sub(trimmed.len()));
            if !trimmed.starts_with('#') {
                return trimmed.chars().next();
            }
            self.take(trimmed.find('\n').unwrap_or(trimmed.len()));
        }
    }

    /// Takes this character if it is the next one.
    fn takes(&mut self, wanted: char) -> bool {
        let is_next = self.peek() == Some(wanted);
        if is_next {
            self.take(wanted.len_utf8());
        }
        is_next
    }

    fn wrong(&self, what: &str) -> crate::error::Error {
        let line = self.text.get(..self.at).unwrap_or_default().matches('\n').count().saturating_add(1);
        corrupt(format!("the LVM2 metadata is not well formed: {what}, in line {line}"))
    }

    /// Counts a value, and how deep it lies.
    fn count(&mut self, depth: u32) -> Result<u32> {
        self.values = self.values.saturating_add(1);
        if self.values > MAX_VALUES {
            return Err(self.wrong(&format!("it has more than {MAX_VALUES} values")));
        }
        if depth >= MAX_DEPTH {
            return Err(self.wrong(&format!("it is more than {MAX_DEPTH} levels deep")));
        }
        Ok(depth.saturating_add(1))
    }

    /// The names and values up to a closing brace, or to the end.
    fn section(&mut self, depth: u32) -> Result<Section<'a>> {
        let mut section = Section::default();
        loop {
            match self.peek() {
                None | Some('}') => return Ok(section),
                Some(_) => {}
            }
            let below = self.count(depth)?;
            let name = self.name()?;
            let value = if self.takes('{') {
                let inner = self.section(below)?;
                if !self.takes('}') {
                    return Err(self.wrong("a brace is not closed"));
                }
                Value::Section(inner)
            } else if self.takes('=') {
                self.value(below)?
            } else {
                return Err(self.wrong("a name without a value"));
            };
            if section.0.insert(name, value).is_some() {
                return Err(self.wrong("a name is there twice"));
            }
        }
    }

    fn name(&mut self) -> Result<&'a str> {
        let rest = self.rest();
        let stop = |c: char| c.is_ascii_whitespace() || "#{}[]=,\"\0".contains(c);
        let name = rest.get(..rest.find(stop).unwrap_or(rest.len())).unwrap_or_default();
        if name.is_empty() {
            return Err(self.wrong("a name is missing"));
        }
        self.take(name.len());
        Ok(name)
    }

    fn value(&mut self, depth: u32) -> Result<Value<'a>> {
        let below = self.count(depth)?;
        match self.peek() {
            Some('"') => self.quoted().map(Value::Text),
            Some('[') => {
                self.take(1);
                let mut list = Vec::new();
                loop {
                    if self.takes(']') {
                        return Ok(Value::List(list));
                    }
                    list.push(self.value(below)?);
                    if !self.takes(',') && self.peek() != Some(']') {
                        return Err(self.wrong("a list is not closed"));
                    }
                }
            }
            Some(c) if c.is_ascii_digit() || c == '-' || c == '+' => self.number(),
            _ => Err(self.wrong("a value is missing")),
        }
    }

    fn number(&mut self) -> Result<Value<'a>> {
        let rest = self.rest();
        let stop = |c: char| !(c.is_ascii_digit() || "+-.".contains(c));
        let digits = rest.get(..rest.find(stop).unwrap_or(rest.len())).unwrap_or_default();
        self.take(digits.len());
        if digits.contains('.') {
            // A fraction is nothing that a mapping needs.
            return Ok(Value::Text(Cow::Borrowed(digits)));
        }
        digits.parse().map(Value::Number).map_err(|_| self.wrong("a number is out of range"))
    }

    /// A text in quotes, in which a backslash stands before a quote or another one.
    fn quoted(&mut self) -> Result<Cow<'a, str>> {
        self.take(1);
        let rest = self.rest();
        let mut whole = String::new();
        let mut from = 0;
        let mut places = rest.char_indices();
        while let Some((place, letter)) = places.next() {
            match letter {
                '"' => {
                    let tail = rest.get(from..place).unwrap_or_default();
                    self.take(place.saturating_add(1));
                    if from == 0 {
                        return Ok(Cow::Borrowed(tail));
                    }
                    whole.push_str(tail);
                    return Ok(Cow::Owned(whole));
                }
                '\\' => {
                    whole.push_str(rest.get(from..place).unwrap_or_default());
                    match places.next() {
                        Some((escaped, _)) => from = escaped,
                        None => break,
                    }
                }
                _ => {}
            }
        }
        Err(self.wrong("a text is not closed"))
    }
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
