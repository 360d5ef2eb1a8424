//! Places in a text of YAML (or JSON, which is read as that here): lines and columns of what lies at a path.

use serde_saphyr::granit_parser::{Event, Parser, Span};

/// A line and a column, each from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, " (line {}, column {})", self.line, self.column)
    }
}

impl Position {
    fn of(span: &Span) -> Self {
        Self { line: span.start.line(), column: span.start.col().saturating_add(1) }
    }
}

/// One step to a value.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Into an object: the member that is being read; `None` where its name comes next.
    Member(Option<String>),
    /// Into a list.
    Element(usize),
}

/// What stands in a text: each name of a member, each value.
pub(super) struct Node<'a> {
    pub event: &'a Event<'a>,
    pub steps: &'a [Step],
    pub position: Position,
    /// Whether it is the name of a member.
    pub is_name: bool,
}

/// Shows every node of a text, in order, until one of them is enough, or the text is none of YAML.
pub(super) fn walk<T>(text: &str, mut look: impl FnMut(&Node<'_>) -> Option<T>) -> Option<T> {
    let mut steps: Vec<Step> = Vec::new();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.ok()?;
        if matches!(event, Event::SequenceEnd | Event::MappingEnd) {
            steps.pop();
            passed(&mut steps);
            continue;
        }
        let is_value =
            matches!(event, Event::Scalar(..) | Event::Alias(..) | Event::SequenceStart(..) | Event::MappingStart(..));
        let is_name = is_value && matches!(steps.last(), Some(Step::Member(None)));
        if let (true, Some(Step::Member(name))) = (is_name, steps.last_mut()) {
            // A name that is no scalar is nobody's.
            *name = Some(if let Event::Scalar(text, ..) = &event { text.to_string() } else { String::new() });
        }
        let node = Node { event: &event, steps: &steps, position: Position::of(&span), is_name };
        if let Some(found) = look(&node) {
            return Some(found);
        }
        match event {
            Event::SequenceStart(..) => steps.push(Step::Element(0)),
            Event::MappingStart(..) => steps.push(Step::Member(None)),
            Event::Scalar(..) | Event::Alias(..) if !is_name => passed(&mut steps),
            _ => {}
        }
    }
    None
}

/// A value is over: what comes next in what it is in?
fn passed(steps: &mut [Step]) {
    match steps.last_mut() {
        Some(Step::Member(name)) => *name = None,
        Some(Step::Element(index)) => *index = index.saturating_add(1),
        None => {}
    }
}

/// The path of these steps, as serde_path_to_error spells it: `users[1].uid`.
pub(super) fn path(steps: &[Step]) -> String {
    let mut path = String::new();
    for step in steps {
        match step {
            Step::Member(Some(name)) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(name);
            }
            Step::Member(None) => {}
            Step::Element(index) => path.push_str(&format!("[{index}]")),
        }
    }
    path
}

/// Where the value lies that has this path, by its member's name where it has one; of what an alias stands for, where the alias lies.
pub(crate) fn position(text: &str, path: &str) -> Option<Position> {
    walk(text, |node| match left_to(node.steps, path)? {
        "" => Some(node.position),
        rest => (matches!(node.event, Event::Alias(..)) && rest.starts_with(['.', '['])).then_some(node.position),
    })
}

/// What is left of a path behind these steps, where they are its beginning.
fn left_to<'a>(steps: &[Step], path: &'a str) -> Option<&'a str> {
    let mut rest = path;
    for (index, step) in steps.iter().enumerate() {
        let after = match step {
            Step::Member(Some(name)) => {
                let rest = if index == 0 { Some(rest) } else { rest.strip_prefix('.') };
                rest.and_then(|rest| rest.strip_prefix(name.as_str()))
            }
            Step::Member(None) => None,
            Step::Element(index) => rest
                .strip_prefix('[')
                .and_then(|rest| rest.split_once(']'))
                .filter(|(number, _)| number.parse() == Ok(*index))
                .map(|(_, after)| after),
        };
        rest = after?;
    }
    (!steps.is_empty()).then_some(rest)
}
