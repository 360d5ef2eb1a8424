//! YAML as netplan's reader takes it: every value a text, a list or an object, with its place.

use crate::config_drive::DocumentError;
use serde_saphyr::granit_parser::{Event, Marker, Parser, ScalarStyle, Span, StructureStyle};
use std::collections::{HashMap, HashSet};
use std::fmt;

/// The most values that a document may have once its aliases are followed.
const NODES_MAX: usize = 250_000;
/// How many bytes of a text count as a value of their own.
const BYTES_OF_NODE: usize = 64;

/// The deepest that lists and objects may lie in each other.
const DEPTH_MAX: usize = 128;

/// Whether errors say in which line something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    /// Of a text that somebody wrote.
    Told,
    /// Of one that was made of something else.
    Untold,
}

/// A line and a column, each from 1; nothing where these are not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(Option<(usize, usize)>);

impl Place {
    fn of(marker: &Marker, lines: Lines) -> Self {
        Self((lines == Lines::Told).then(|| (marker.line(), marker.col().saturating_add(1))))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |(line, column)| write!(f, " (line {line}, column {column})"))
    }
}

/// A value, or the key of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// Where it stands.
    pub place: Place,
    /// What it is.
    pub value: Value,
}

/// What a value is. Nothing is a number or a truth value before somebody asks for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    List(Vec<Node>),
    Object(Vec<(Node, Node)>),
}

impl Node {
    /// The text, if it is one.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            Value::List(_) | Value::Object(_) => None,
        }
    }

    /// The members, if it is an object.
    pub(super) fn members(&self) -> &[(Node, Node)] {
        match &self.value {
            Value::Object(members) => members,
            Value::Text(_) | Value::List(_) => &[],
        }
    }

    /// The elements, if it is a list.
    pub(super) fn elements(&self) -> &[Node] {
        match &self.value {
            Value::List(elements) => elements,
            Value::Text(_) | Value::Object(_) => &[],
        }
    }

    /// The value of a member.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.members().iter().find(|(name, _)| name.text() == Some(key)).map(|(_, value)| value)
    }

    /// An error that is about this value.
    pub(super) fn wrong(&self, at: &str, reason: impl fmt::Display) -> DocumentError {
        DocumentError::new(at, format!("{reason}{}", self.place))
    }

    fn size(&self) -> usize {
        let below: usize = match &self.value {
            Value::Text(text) => text.len() / BYTES_OF_NODE,
            Value::List(elements) => elements.iter().map(Self::size).sum(),
            Value::Object(members) => members.iter().map(|(key, value)| key.size().saturating_add(value.size())).sum(),
        };
        below.saturating_add(1)
    }
}

/// What is not finished yet.
struct Open {
    node: Node,
    anchor: usize,
    is_flow: bool,
    /// In an object, the key whose value comes next, and all that were there.
    key: Option<Node>,
    keys: HashSet<String>,
}

/// How many values there are with `more`; an error for too many.
fn counted(count: usize, more: usize, place: Place) -> Result<usize, DocumentError> {
    let count = count.saturating_add(more);
    if count > NODES_MAX {
        return Err(DocumentError::new("", format!("more than {NODES_MAX} values (aliases are followed){place}")));
    }
    Ok(count)
}

/// The one document of a text, in which no key is there twice; `None` where it has none.
pub(super) fn read(text: &str, lines: Lines) -> Result<Option<Node>, DocumentError> {
    let mut open: Vec<Open> = Vec::new();
    let mut anchors: HashMap<usize, Node> = HashMap::new();
    let mut root = None;
    let mut count = 0_usize;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            let at = Place::of(error.marker(), lines);
            DocumentError::new("", format!("not YAML: {}{at}", error.info()))
        })?;
        if open.len() > DEPTH_MAX {
            return Err(DocumentError::new("", format!("lists and objects lie deeper than {DEPTH_MAX} in each other")));
        }
        let place = Place::of(&span.start, lines);
        let is_flow = |style| style == StructureStyle::Flow;
        let (node, anchor) = match event {
            Event::Scalar(value, style, anchor, _) => {
                if style == ScalarStyle::Plain && open.last().is_some_and(|open| open.is_flow) {
                    check_plain(text, &value, &span).map_err(|reason| {
                        DocumentError::new("", format!("{reason}{place}")).with_hint("put it in quotes")
                    })?;
                }
                (Node { place, value: Value::Text(value.into_owned()) }, anchor)
            }
            Event::Alias(anchor) => {
                let node = anchors.get(&anchor);
                let node = node.ok_or_else(|| DocumentError::new("", format!("an alias of nothing{place}")))?;
                count = counted(count, node.size(), place)?;
                (node.clone(), 0)
            }
            Event::SequenceStart(style, anchor, _) => {
                let node = Node { place, value: Value::List(Vec::new()) };
                open.push(Open { node, anchor, is_flow: is_flow(style), key: None, keys: HashSet::new() });
                continue;
            }
            Event::MappingStart(style, anchor, _) => {
                let node = Node { place, value: Value::Object(Vec::new()) };
                open.push(Open { node, anchor, is_flow: is_flow(style), key: None, keys: HashSet::new() });
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(Open { node, anchor, .. }) = open.pop() else { continue };
                (node, anchor)
            }
            _ => continue,
        };
        count = counted(count, 1, place)?;
        if anchor != 0 {
            count = counted(count, node.size(), place)?;
            anchors.insert(anchor, node.clone());
        }
        let Some(outer) = open.last_mut() else {
            if root.is_some() {
                return Err(DocumentError::new("", format!("a second document, which netplan does not read{place}")));
            }
            root = Some(node);
            continue;
        };
        match (&mut outer.node.value, outer.key.take()) {
            (Value::List(elements), _) => elements.push(node),
            (Value::Object(members), Some(key)) => members.push((key, node)),
            (Value::Object(_), None) if node.text().is_some_and(|text| !outer.keys.insert(text.to_owned())) => {
                return Err(DocumentError::new(
                    "",
                    format!("the key {:?} is there twice{place}", node.text().unwrap_or_default()),
                ));
            }
            (Value::Object(_), None) => outer.key = Some(node),
            (Value::Text(_), _) => {}
        }
    }
    Ok(root)
}

/// In brackets and braces, netplan's reader (libyaml) takes a colon for the end of a key where YAML 1.2 has it in a text, or wants a
/// blank behind it.
fn check_plain(text: &str, value: &str, span: &Span) -> Result<(), &'static str> {
    if value.starts_with(':') {
        return Err("a text in [] or {} that begins with a colon, which netplan does not read");
    }
    let behind = span.byte_range().and_then(|range| text.get(range.end..)).unwrap_or_default();
    let mut behind = behind.chars();
    if behind.next() == Some(':') && behind.next().is_some_and(|char| ",[]{}?".contains(char)) {
        return Err("a colon without a blank behind it, which netplan does not read");
    }
    Ok(())
}
