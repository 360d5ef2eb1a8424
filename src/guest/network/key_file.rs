//! GLib's key files, as NetworkManager.conf(5) is one: `gkeyfile.c` of its sources.

use std::collections::BTreeMap;
use std::fmt;

/// The sections of a text in the order in which they begin, each with its entries: one that is there already goes on, and of an entry that is there
/// twice the last value counts.
pub(super) type Sections<'a> = Vec<(&'a str, Vec<(&'a str, &'a str)>)>;

/// What is space to GLib (`g_ascii_isspace`): unlike a C library it has no vertical tab among it.
pub(super) const SPACE: [char; 5] = [' ', '\t', '\n', '\u{c}', '\r'];

/// A line by which GLib takes nothing of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BadLine {
    /// The line's number, the first one being 1.
    number: usize,
    is: &'static str,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} is {}", self.number, self.is)
    }
}

/// The sections of a text.
pub(super) fn sections(text: &str) -> Result<Sections<'_>, BadLine> {
    let mut sections: Sections<'_> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let mut keys: BTreeMap<(usize, &str), usize> = BTreeMap::new();
    let mut current = None;
    for (number, line) in (1..).zip(text.lines()) {
        let bad = |is| Err(BadLine { number, is });
        let line = line.trim_start_matches(SPACE);
        if line.is_empty() || line.starts_with('#') {
        } else if let Some(name) = header(line) {
            if name.is_empty() || name.contains(|letter: char| letter == '[' || letter.is_ascii_control()) {
                return bad("a section without a name that it could have");
            }
            let place = *places.entry(name).or_insert(sections.len());
            if place == sections.len() {
                sections.push((name, Vec::new()));
            }
            current = Some(place);
        } else if let Some((key, value)) = line.split_once('=').filter(|(key, _)| !key.is_empty()) {
            let Some(place) = current else { return bad("outside of any section") };
            let key = key.trim_end_matches(SPACE);
            if !is_key(key) {
                return bad("a key that has no name that it could have");
            }
            let Some((_, entries)) = sections.get_mut(place) else { continue };
            let value = value.trim_matches(SPACE);
            match keys.get(&(place, key)).and_then(|at| entries.get_mut(*at)) {
                Some(entry) => entry.1 = value,
                None => {
                    keys.insert((place, key), entries.len());
                    entries.push((key, value));
                }
            }
        } else {
            return bad("neither a section nor a key with a value nor a comment");
        }
    }
    Ok(sections)
}

/// The entries of one of them.
pub(super) fn entries<'a>(sections: &Sections<'a>, name: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
    sections.iter().find(|(found, _)| *found == name).into_iter().flat_map(|(_, entries)| entries.iter().copied())
}

/// What stands in the brackets of a section's line.
fn header(line: &str) -> Option<&str> {
    let (name, rest) = line.strip_prefix('[')?.split_once(']')?;
    rest.chars().all(|letter| matches!(letter, ' ' | '\t')).then_some(name)
}

/// Whether it may be the name of a key, with a language in brackets or without one.
fn is_key(key: &str) -> bool {
    let (name, language) = match key.find(['[', ']']) {
        None => (key, None),
        Some(at) => key.split_at_checked(at).map_or((key, None), |(name, rest)| (name, Some(rest))),
    };
    let is_language = |rest: &str| {
        let inside = rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        inside.is_some_and(|inside| inside.chars().all(|letter| letter.is_alphanumeric() || "-_.@".contains(letter)))
    };
    !name.is_empty() && !name.starts_with(' ') && !name.ends_with(' ') && language.is_none_or(is_language)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_glib_takes() {
        let text = "# x\n\n  [a] \t\nk = v \n\tk2=1\r\n[b]\nk[de_DE@x]=v\n[a]\nk=w\n a b =c\n\u{c}k3\u{c}=\u{c}d\u{c}\r\n\u{b}k4\u{b}=\u{b}e\u{a0}\n";
        let expected: Sections<'_> = vec![
            ("a", vec![("k", "w"), ("k2", "1"), ("a b", "c"), ("k3", "d"), ("\u{b}k4\u{b}", "\u{b}e\u{a0}")]),
            ("b", vec![("k[de_DE@x]", "v")]),
        ];
        assert_eq!(sections(text).unwrap(), expected);
        assert_eq!(sections("").unwrap(), Vec::new());
    }

    #[test]
    fn what_it_does_not() {
        for (text, is) in [
            ("[a]\nk\n", "line 2 is neither"),
            ("; x\n", "line 1 is neither"),
            ("[a]\n=v\n", "line 2 is neither"),
            ("[a] x\n", "line 1 is neither"),
            ("[a\n", "line 1 is neither"),
            ("#\nk=v\n", "line 2 is outside"),
            ("[]\n", "line 1 is a section"),
            ("[a[b]\n", "line 1 is a section"),
            ("[a]\nk[d e]=v\n", "line 2 is a key"),
            ("[a]\n[k=v\n", "line 2 is a key"),
            ("[a]\nk]=v\n", "line 2 is a key"),
            ("\u{b}[a]\n", "line 1 is neither"),
            ("[a]\r\n\u{b}\n", "line 2 is neither"),
        ] {
            let said = sections(text).unwrap_err().to_string();
            assert!(said.starts_with(is), "{text}: {said}");
        }
    }
}
