//! YAML without what a manifest has not, and without texts that its readers do not agree on.

use super::faults::MOST;
use super::place::{Node, Position, path, walk};
use crate::config_drive::DocumentError;
use serde_saphyr::granit_parser::{Event, ScalarStyle};

/// Merge keys, and scalars without quotes that YAML 1.1 (yaml.org/type) and 1.2 take for different things, in the order of the
/// document; at most one more than is told. What is no YAML is left to its reader, which bounds what aliases make of it.
pub(super) fn faults(text: &str) -> Vec<(Option<Position>, DocumentError)> {
    all(text, refused)
}

/// Scalars without quotes of a cloud-config that are a number, a time or a text to cloud-init, whose YAML is 1.1 (PyYAML's), and something
/// else here, as by [`faults`].
pub(super) fn other_to_cloud_init(text: &str) -> Vec<(Option<Position>, DocumentError)> {
    all(text, |node| match node.event {
        Event::Scalar(text, ScalarStyle::Plain, ..) if !node.is_name => {
            not_as_cloud_init(text).map(|why| (why, QUOTES))
        }
        _ => None,
    })
}

/// The places where something is refused, with the reason and the way out.
fn all(
    text: &str,
    refused: impl Fn(&Node<'_>) -> Option<(&'static str, &'static str)>,
) -> Vec<(Option<Position>, DocumentError)> {
    let mut faults = Vec::new();
    walk(text, |node| {
        if let Some((reason, hint)) = refused(node) {
            let position = node.position;
            let error = DocumentError::new(path(node.steps), format!("{reason}{position}")).with_hint(hint);
            faults.push((Some(position), error));
        }
        (faults.len() > MOST).then_some(())
    });
    faults
}

const QUOTES: &str = "put it in quotes where it is a text; numbers are decimal, truth values are true and false";

fn refused(node: &Node<'_>) -> Option<(&'static str, &'static str)> {
    const MERGE: (&str, &str) = ("a merge key (<<) is not followed", "write the members out");
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

/// Why PyYAML and this reader take a text without quotes for different things, where they may.
fn not_as_cloud_init(text: &str) -> Option<&'static str> {
    const NUMBER: &str = "a number to some readers of YAML, and a text to others";
    let lower = text.to_ascii_lowercase();
    if ["y", "n", "yes", "no", "on", "off", "true", "false"].contains(&lower.as_str()) {
        // In lower case, in upper case and with a capital it is a truth value to both, of more than a letter.
        let is_known = text.get(1..) == lower.get(1..) || text == lower.to_ascii_uppercase();
        let is_truth = is_known && lower.len() > 1;
        return (!is_truth).then_some("a truth value to some readers of YAML, and a text to others");
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_of =
        |text: &str, set: fn(&u8) -> bool| text.contains('_') && text.bytes().all(|byte| byte == b'_' || set(&byte));
    if digits.strip_prefix("0x").is_some_and(|rest| is_of(rest, u8::is_ascii_hexdigit))
        || digits.strip_prefix('.').is_some_and(|rest| is_of(rest, u8::is_ascii_digit) && !rest.starts_with('_'))
    {
        return Some(NUMBER);
    }
    if is_time(text) {
        return Some("a time to some readers of YAML, and a text to others");
    }
    ambiguous(text)
}

/// Whether a text is a day and an hour of YAML 1.1 (yaml.org/type/timestamp).
fn is_time(text: &str) -> bool {
    let Some((day, hour)) = text.split_once(['T', 't', ' ', '\t']) else { return false };
    let parts: Vec<&str> = day.split('-').collect();
    let is_day = matches!(parts[..], [year, month, day] if year.len() == 4 && [month.len(), day.len()].iter().all(|length| (1..=2).contains(length)))
        && parts.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
    let hour = hour.trim_start();
    is_day
        && hour.starts_with(|char: char| char.is_ascii_digit())
        && hour.matches(':').count() >= 2
        && hour.chars().all(|char| char.is_ascii_digit() || ":.+- \tZ".contains(char))
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
    fn what_cloud_init_reads_otherwise() {
        for text in [
            "y",
            "N",
            "yEs",
            "oFF",
            "tRUE",
            "22:22",
            "1:20.5",
            "0_7",
            "1_0_",
            "1_0.5",
            "0x_1",
            "+0x1_",
            ".5_0",
            "0o17",
            "08",
            "0644",
            "2001-12-14t21:59:43",
            "2001-1-4 1:59:43.10 -5:00",
        ] {
            assert!(not_as_cloud_init(text).is_some(), "{text}");
        }
        for text in [
            "yes",
            "No",
            "ON",
            "off",
            "True",
            "FALSE",
            "nope",
            "",
            "0",
            "7",
            "0x1F",
            "1.5",
            ".5",
            "._5",
            "2031-02-03",
            "10:00:00 x",
            "1e3",
            "2001-12-14 21:59",
            "192.0.2.1",
            "a:b",
            "0x1_g",
            "2001-12-14 at 1:2:3",
            "é",
        ] {
            assert_eq!(not_as_cloud_init(text), None, "{text}");
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
