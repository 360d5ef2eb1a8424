//! All that is wrong in a document, told at once: whoever has written it mends it once.

use super::Manifest;
use super::place::{Position, position};
use super::untaken::{self, Untaken};
use crate::config_drive::DocumentError;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The most that is told.
pub(crate) const MOST: usize = 50;

/// What is wrong in a document.
#[derive(Debug)]
pub struct Wrong {
    /// All of it, in the order of the document.
    pub errors: Vec<DocumentError>,
    /// What the document asks for without that, where all of it is told. Elements may be gone from lists that something is wrong in.
    pub rest: Option<Box<Manifest>>,
}

impl From<Vec<DocumentError>> for Wrong {
    fn from(errors: Vec<DocumentError>) -> Self {
        Self { errors, rest: None }
    }
}

/// What is known of the faults of a kind of documents.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// Keys that are right elsewhere.
    pub untaken: &'static [Untaken],
    /// What one fault of a list's element says of the others.
    pub elements: Elements,
}

/// The faults of one element of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Elements {
    /// One wrong value is told, with every key that is not taken: what is wrong then may follow from it.
    One,
    /// Each member is wrong by itself.
    Each,
}

/// What a document's value is to `read`; else what is wrong in it, by its place in `text`.
///
/// What was found is taken out, and the rest is read again; what is `found` already, in the order of the document, is told too. Where
/// more is wrong than is told, the last error says so.
pub(super) fn read_all(
    text: &str,
    mut value: Value,
    found: Vec<(Option<Position>, DocumentError)>,
    known: Known,
    mut read: impl FnMut(Value) -> Result<Manifest, DocumentError>,
) -> Result<Manifest, Wrong> {
    let mut wrong: Vec<String> = found.iter().map(|(_, error)| error.at().to_owned()).collect();
    let mut faults = found;
    let mut taken = Taken::default();
    // The last one first: what is before it in a list keeps its number.
    for at in wrong.iter().rev() {
        taken.take(&mut value, at);
    }
    // What follows from another fault is taken out too, and not told: of a member that is needed all that it is in, of an operation say.
    let mut rounds = 0..MOST.saturating_mul(4);
    let (is_more, rest) = loop {
        if faults.len() > MOST || rounds.next().is_none() {
            break (true, None);
        }
        let error = match read(value.clone()) {
            Ok(read) if faults.is_empty() => return Ok(read),
            Ok(rest) => break (false, Some(Box::new(rest))),
            Err(error) => error,
        };
        let rest = error.at().to_owned();
        let at = taken.before(&rest);
        let is_key = untaken::is_about_key(&error);
        if is_key || !follows_from(&at, &wrong, known) {
            let place = position(text, &at);
            let error = untaken::told(error.with_place(&at), known.untaken);
            let more = place.map(|place| place.to_string()).unwrap_or_default();
            faults.push((place, error.with_more(&more)));
        }
        if !is_key {
            wrong.push(at);
        }
        if !taken.take(&mut value, &rest) {
            break (false, None);
        }
    };
    faults.truncate(MOST);
    // By the lines of the document; what has none comes last.
    faults.sort_by_key(|(place, _)| place.map_or((true, 0, 0), |place| (false, place.line, place.column)));
    let more = is_more.then(|| DocumentError::new("", format!("and more is wrong than these {MOST}")));
    Err(Wrong { errors: faults.into_iter().map(|(_, error)| error).chain(more).collect(), rest })
}

/// Whether what is wrong at a place may be so because of what was taken out.
fn follows_from(at: &str, wrong: &[String], known: Known) -> bool {
    wrong.iter().any(|other| {
        let is_same = known.elements == Elements::One && element(at).is_some_and(|at| element(other) == Some(at));
        is_same || is_below(other, at)
    })
}

/// The element of a list that a place is in.
fn element(at: &str) -> Option<&str> {
    at.find(']').map(|end| &at[..end])
}

fn is_below(at: &str, other: &str) -> bool {
    other.is_empty() || at.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// Elements that were taken out of lists: by the list's path, their numbers in the document.
#[derive(Debug, Default)]
struct Taken(BTreeMap<String, BTreeSet<usize>>);

impl Taken {
    /// The path in the document of what is at a path in the rest of it.
    fn before(&self, at: &str) -> String {
        let mut path = String::with_capacity(at.len());
        let mut rest = at;
        while let Some((before, after)) = rest.split_once('[') {
            path.push_str(before);
            let (number, after) = after.split_once(']').unwrap_or((after, ""));
            let number = number.parse::<usize>().map_or_else(
                |_| number.to_owned(),
                |number| {
                    let gone = self.0.get(&path).into_iter().flatten();
                    gone.fold(number, |number, gone| number + usize::from(*gone <= number)).to_string()
                },
            );
            path.push_str(&format!("[{number}]"));
            rest = after;
        }
        path + rest
    }

    /// Takes out what is at a path, or the nearest around it; whether there is any.
    fn take(&mut self, value: &mut Value, at: &str) -> bool {
        let Some(out) = take(value, at) else { return false };
        let path = self.before(&at[..out]);
        let last = path.strip_suffix(']').and_then(|path| path.rsplit_once('['));
        if let Some((list, Ok(number))) = last.map(|(list, number)| (list, number.parse())) {
            self.0.entry(list.to_owned()).or_default().insert(number);
        }
        true
    }
}

/// Takes out what is at a path; how much of the path leads to it.
fn take(value: &mut Value, at: &str) -> Option<usize> {
    match value {
        Value::Object(members) => {
            let name = at.strip_prefix('.').unwrap_or(at);
            let dot = at.len() - name.len();
            let leads = |member: &&String| is_below(name, member);
            let member = members.keys().filter(leads).max_by_key(|member| member.len())?.clone();
            let end = dot + member.len();
            let within = members.get_mut(&member).and_then(|value| take(value, &at[end..]));
            if within.is_none() {
                members.shift_remove(&member);
            }
            Some(end + within.unwrap_or_default())
        }
        Value::Array(elements) => {
            let close = at.find(']')?;
            let number: usize = at.strip_prefix('[')?.get(..close.checked_sub(1)?)?.parse().ok()?;
            let end = close + 1;
            let within = take(elements.get_mut(number)?, &at[end..]);
            if within.is_none() {
                elements.remove(number);
            }
            Some(end + within.unwrap_or_default())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config_drive::Spelling;
    use crate::manifest::Variables;
    use serde_json::json;

    #[test]
    fn what_is_taken_out() {
        let after = |at: &str| {
            let mut value = json!({"a": {"b.c": [1, {"d": 2, "e": 3}], "b": 4}, "f": []});
            let out = take(&mut value, at);
            (out.map(|out| at[..out].to_owned()), value)
        };
        for (at, out, rest) in [
            ("a.b", Some("a.b"), json!({"a": {"b.c": [1, {"d": 2, "e": 3}]}, "f": []})),
            ("a.b.c[1].d", Some("a.b.c[1].d"), json!({"a": {"b.c": [1, {"e": 3}], "b": 4}, "f": []})),
            ("a.b.c[0].x", Some("a.b.c[0]"), json!({"a": {"b.c": [{"d": 2, "e": 3}], "b": 4}, "f": []})),
            ("f[0]", Some("f"), json!({"a": {"b.c": [1, {"d": 2, "e": 3}], "b": 4}})),
            ("f[x", Some("f"), json!({"a": {"b.c": [1, {"d": 2, "e": 3}], "b": 4}})),
            ("", None, json!({"a": {"b.c": [1, {"d": 2, "e": 3}], "b": 4}, "f": []})),
            ("g", None, json!({"a": {"b.c": [1, {"d": 2, "e": 3}], "b": 4}, "f": []})),
        ] {
            assert_eq!(after(at), (out.map(str::to_owned), rest), "{at}");
        }
    }

    #[test]
    fn elements_keep_their_numbers() {
        let mut value = json!({"l": [0, 1, 2, {"m": [0, 1]}]});
        let mut taken = Taken::default();
        for (at, before) in [("l[1]", "l[1]"), ("l[0]", "l[0]"), ("l[0]", "l[2]"), ("l[0].m[0]", "l[3].m[0]")] {
            assert_eq!(taken.before(at), before);
            assert!(taken.take(&mut value, at));
        }
        assert_eq!((taken.before("l[0].m[0]"), value), ("l[3].m[1]".into(), json!({"l": [{"m": [1]}]})));
    }

    /// Of a list what is further behind goes first: what is before it keeps its number, and the rest is read.
    #[test]
    fn what_is_found_is_taken_out_from_behind() {
        let text = b"users:\n- name: a\n  groups: [no, yes, wheel]\n- name: b\n  groups: [no, yes, 7]\n";
        let faults = Manifest::read(text, Spelling::Yaml, &mut Variables::default()).unwrap_err().errors;
        let places: Vec<_> = faults.iter().map(DocumentError::at).collect();
        let expected = ["[0].groups[0]", "[0].groups[1]", "[1].groups[0]", "[1].groups[1]", "[1].groups[2]"];
        assert_eq!(places, expected.map(|place| format!("users{place}")), "{faults:?}");
    }

    #[test]
    fn what_follows() {
        let wrong = ["users[1].uid".to_owned(), "chpasswd.users[0]".into(), "keyboard.layout".into()];
        let known = |elements| Known { untaken: &[], elements };
        let follows = |at| follows_from(at, &wrong, known(Elements::One));
        assert!(!follows_from("users[1].passwd", &wrong, known(Elements::Each)));
        assert!(follows_from("users[1]", &wrong, known(Elements::Each)));
        for at in ["users[1].passwd", "users[1]", "chpasswd.users[0].name", "keyboard", ""] {
            assert!(follows(at), "{at}");
        }
        for at in ["users[0]", "users[11]", "users[0].uid", "chpasswd.users[1]", "chpasswd.expire", "keyboards", "key"]
        {
            assert!(!follows(at), "{at}");
        }
    }
}
