//! YAML without what a manifest has not, and without texts that its readers do not agree on.

use super::faults::MOST;
use super::place::{Node, Position, path, walk};
use crate::config_drive::DocumentError;
use serde_saphyr::granit_parser::{Event, ScalarStyle};

/// Merge keys, and scalars without quotes that YAML 1.1 (yaml.org/type) and 1.2 take for different things, in the order of the
/// document; at most one more than is told. What is no YAML is left to its reader, which bounds what aliases make of it.
pub(super) fn faults(text: &str) -> Vec<(Position, DocumentError)> {
    let mut faults = Vec::new();
    walk(text, |node| {
        if let Some((reason, hint)) = refused(node) {
            let position = node.position;
            let error = DocumentError::new(path(node.steps), format!("{reason}{position}")).with_hint(hint);
            faults.push((position, error));
        }
        (faults.len() > MOST).then_some(())
    });
    faults
}

fn refused(node: &Node<'_>) -> Option<(&'static str, &'static str)> {
    const MERGE: (&str, &str) = ("a merge key (<<) is not followed", "write the members out");
    const QUOTES: &str = "put it in quotes where it is a text; numbers are decimal, truth values are true and false";
    match node.event {
        Event::Scalar(text, ScalarStyle::Plain, ..) if node.is_name && text == "<<" => Some(MERGE),
        Event::Scalar(text, ScalarStyle::Plain, ..) => ambiguous(text).map(|reason| (reason, QUOTES)),
        _ => None,
    }
}

/// Why YAML 1.1 and 1.2 take a text without quotes for different things, where they do.
fn ambiguous(text: &str) -> Option<&'static str> {
    if ["y", "n", "yes", "no", "on", "off"].contains(&text.to_ascii_lowercase().as_str()) {
        return Some("a truth value to some readers of YAML, and a text to others");
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !digits.starts_with(|char: char| char.is_ascii_digit()) {
        return None;
    }
    let consists_of = |set: &str| digits.chars().all(|char| char.is_ascii_digit() || set.contains(char));
    let leading_zero = digits.len() > 1 && digits.starts_with('0');
    if (leading_zero && consists_of("")) || digits.starts_with("0o") || digits.starts_with("0b") {
        return Some("a number in base 8 or 2 to some readers of YAML, and something else to others");
    }
    if digits.contains('_') && consists_of("_.") {
        return Some("a number to some readers of YAML, and a text to others");
    }
    // YAML 1.1: [1-9][0-9_]*(:[0-5]?[0-9])+, and the same with a fraction.
    let mut parts = digits.split(':');
    let is_first = parts.next().is_some_and(|first| first.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_'));
    let is_sixtieth = |part: &str| {
        let whole = part.split('.').next().unwrap_or_default();
        matches!(whole.len(), 1 | 2) && whole.parse::<u8>().is_ok_and(|number| number < 60)
    };
    if is_first && digits.contains(':') && parts.all(is_sixtieth) {
        return Some("a number in base 60 to some readers of YAML, and a text to others");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_readers_do_not_agree_on() {
        for text in [
            "no",
            "Yes",
            "ON",
            "off",
            "y",
            "N",
            "0644",
            "-017",
            "00",
            "0o17",
            "0b101",
            "08",
            "1_000",
            "22:22",
            "1:2:3",
            "190:20:30.15",
            "+1:59",
        ] {
            assert!(ambiguous(text).is_some(), "{text}");
        }
        for text in [
            "none",
            "nope",
            "0",
            "7",
            "-1",
            "0x1F",
            "1.5",
            "2023-02-29",
            "192.0.2.1",
            "192.0.2.1/24",
            "22:60",
            "a:b",
            "52:54:00:12:34:ab",
            "1:",
            "/a:1",
            "10.0.0.1:80x",
            "1234567890abcdef",
            "true",
            "",
        ] {
            assert_eq!(ambiguous(text), None, "{text}");
        }
    }

    #[test]
    fn places_are_told() {
        let said = |text: &str| faults(text).into_iter().next().map_or(Ok(()), |(_, error)| Err(error.to_string()));
        assert_eq!(said("a: 'no'\nb: \"0644\"\nc: |\n  22:22\nd: [true, 7]\n"), Ok(()));
        let wrong = said("users:\n- name: a\n  groups: [x, on]\n").unwrap_err();
        assert!(
            wrong.starts_with("users[0].groups[1]: a truth value") && wrong.ends_with("(line 3, column 15)"),
            "{wrong}"
        );
        assert_eq!(said("a: &x b\nc: *x\n"), Ok(()));
        assert!(said("a: {<<: {b: c}}").unwrap_err().starts_with("a.<<: a merge key"));
        assert!(said("off: a").unwrap_err().starts_with("off: a truth value"));
    }
}
