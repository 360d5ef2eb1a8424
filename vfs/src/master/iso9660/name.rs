//! The names of the two trees that cannot keep every name: plain ISO 9660, and Joliet.

use crate::master::flat::Numbered;
use std::collections::{BTreeMap, BTreeSet};

/// The longest plain identifier without its version, in bytes (genisoimage's `-l`).
const PLAIN_MAX: usize = 31;
/// How much of the stem stays whatever the length of the extension, in bytes.
const STEM_MIN: usize = 8;
/// The longest Joliet identifier, in UTF-16 units (Joliet Specification, "Allowed Identifier Lengths").
const JOLIET_MAX: usize = 64;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    Plain,
    Joliet,
}

impl Names {
    /// The identifiers of a directory's entries, in their order, each different from the others.
    pub(super) fn identifiers(self, entries: &[(&[u8], Numbered)]) -> Vec<Vec<u8>> {
        match self {
            Self::Plain => {
                let wanted = entries.iter().map(|(name, kind)| Plain::new(name, *kind)).collect();
                unique(wanted).into_iter().map(Plain::into_identifier).collect()
            }
            Self::Joliet => {
                let wanted = entries.iter().map(|(name, _)| Joliet::new(name)).collect();
                let bytes = |name: Joliet| name.units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
                unique(wanted).into_iter().map(bytes).collect()
            }
        }
    }

    /// What identifiers are sorted by (ECMA-119, 9.3): the stem, then the extension.
    pub(super) fn order(self, identifier: &[u8]) -> (Vec<u8>, Vec<u8>) {
        match self {
            Self::Plain => {
                let (stem, extension) = split(identifier);
                (stem.to_vec(), extension.to_vec())
            }
            Self::Joliet => (identifier.to_vec(), Vec::new()),
        }
    }
}

/// A name that may have to give way to another.
trait Candidate: Clone {
    type Key: Ord + Clone;
    /// What two names in one directory must differ in.
    fn key(&self) -> Self::Key;
    /// Whether it says the whole name.
    fn is_exact(&self) -> bool;
    /// Leaves room for so many characters at its end; whether nothing had to go.
    fn cut(&mut self, room: usize) -> bool;
    /// Adds digits at its end.
    fn append(&mut self, digits: &str);
}

/// Numbers those that are equal to one before. Names that are exact come first: no cut name takes theirs.
fn unique<C: Candidate>(mut names: Vec<C>) -> Vec<C> {
    let mut taken = BTreeSet::new();
    let mut numbers: BTreeMap<C::Key, u32> = BTreeMap::new();
    let (first, second): (Vec<usize>, Vec<usize>) = (0..names.len()).partition(|at| names[*at].is_exact());
    for at in first.into_iter().chain(second) {
        let wanted = names[at].clone();
        let mut name = wanted.clone();
        if taken.contains(&name.key()) {
            let number = numbers.entry(wanted.key()).or_default();
            while taken.contains(&name.key()) {
                let digits = format!("{number:03}");
                name = wanted.clone();
                name.cut(digits.len());
                name.append(&digits);
                *number += 1;
            }
        }
        taken.insert(name.key());
        names[at] = name;
    }
    names
}

/// A plain name: letters of both cases, digits, `_` and dots (`-allow-lowercase -allow-multidot -ldots`).
#[derive(Clone, Debug)]
struct Plain {
    stem: Vec<u8>,
    extension: Vec<u8>,
    kind: Numbered,
    exact: bool,
}

impl Plain {
    fn new(name: &[u8], kind: Numbered) -> Self {
        let allowed = |byte: &u8| if byte.is_ascii_alphanumeric() || *byte == b'.' { *byte } else { b'_' };
        let mapped: Vec<u8> = name.iter().map(allowed).collect();
        let (stem, extension) = split(&mapped);
        let (stem, extension) = (stem.to_vec(), extension.to_vec());
        let mut plain = Self { stem, extension, kind, exact: mapped == name };
        plain.exact &= plain.cut(0);
        plain
    }

    fn into_identifier(self) -> Vec<u8> {
        let mut identifier = self.stem;
        let is_file = matches!(self.kind, Numbered::File(_));
        if is_file || !self.extension.is_empty() {
            identifier.push(b'.');
            identifier.extend(self.extension);
        }
        if is_file {
            identifier.extend(b";1");
        }
        identifier
    }
}

impl Candidate for Plain {
    type Key = (Vec<u8>, Vec<u8>);

    fn key(&self) -> Self::Key {
        (self.stem.clone(), self.extension.clone())
    }

    fn is_exact(&self) -> bool {
        self.exact
    }

    fn cut(&mut self, digits: usize) -> bool {
        // A file always has its dot.
        let is_file = matches!(self.kind, Numbered::File(_));
        let dot = usize::from(is_file || !self.extension.is_empty());
        let room = PLAIN_MAX - dot - digits;
        let fits = self.stem.len() + self.extension.len() <= room;
        self.extension.truncate(room - self.stem.len().min(STEM_MIN));
        self.stem.truncate(room - self.extension.len());
        fits
    }

    fn append(&mut self, digits: &str) {
        self.stem.extend(digits.as_bytes());
    }
}

/// The part before the last dot, and the part after it.
fn split(name: &[u8]) -> (&[u8], &[u8]) {
    match name.iter().rposition(|byte| *byte == b'.') {
        Some(dot) => (&name[..dot], &name[dot + 1..]),
        None => (name, b""),
    }
}

/// A Joliet name: UTF-16, of which the specification (UCS-2) excludes a few characters.
#[derive(Clone, Debug)]
struct Joliet {
    units: Vec<u16>,
    exact: bool,
}

impl Joliet {
    fn new(name: &[u8]) -> Self {
        let text = String::from_utf8_lossy(name);
        let allowed = |c: char| {
            let excluded =
                c.is_control() || matches!(c, '*' | '/' | ':' | ';' | '?' | '\\' | char::REPLACEMENT_CHARACTER);
            if excluded { '_' } else { c }
        };
        let mapped: String = text.chars().map(allowed).collect();
        let mut joliet = Self { units: mapped.encode_utf16().collect(), exact: mapped.as_bytes() == name };
        joliet.exact &= joliet.cut(0);
        joliet
    }
}

impl Candidate for Joliet {
    type Key = Vec<u16>;

    fn key(&self) -> Vec<u16> {
        self.units.clone()
    }

    fn is_exact(&self) -> bool {
        self.exact
    }

    fn cut(&mut self, digits: usize) -> bool {
        let mut room = JOLIET_MAX - digits;
        let fits = self.units.len() <= room;
        // Half a pair is no character.
        if !fits && self.units.get(room).is_some_and(|unit| (0xdc00..0xe000).contains(unit)) {
            room -= 1;
        }
        self.units.truncate(room);
        fits
    }

    fn append(&mut self, digits: &str) {
        self.units.extend(digits.encode_utf16());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(names: &[&str]) -> Vec<String> {
        let entries: Vec<(&[u8], Numbered)> = names
            .iter()
            .map(|name| match name.strip_suffix('/') {
                Some(name) => (name.as_bytes(), Numbered::Directory(0)),
                None => (name.as_bytes(), Numbered::File(0)),
            })
            .collect();
        let identifiers = Names::Plain.identifiers(&entries);
        identifiers.into_iter().map(|identifier| String::from_utf8(identifier).unwrap()).collect()
    }

    #[test]
    fn plain_names_as_genisoimage_makes_them() {
        let long = format!("{}.json", "a".repeat(70));
        let names =
            ["2009-04-04/", "meta-data.json", "user_data", ".leading", "two.dots.here.x", "näme.txt", "A", "abc."];
        let made = ["2009_04_04", "meta_data.json;1", "user_data.;1", ".leading;1", "two.dots.here.x;1", "n__me.txt;1"];
        assert_eq!(plain(&names)[..6], made);
        assert_eq!(plain(&names)[6..], ["A.;1", "abc.;1"]);
        assert_eq!(
            plain(&[&long, &"b".repeat(255)]),
            [format!("{}.json;1", "a".repeat(26)), format!("{}.;1", "b".repeat(30))]
        );
    }

    #[test]
    fn plain_names_are_unique_and_exact_ones_keep_theirs() {
        assert_eq!(plain(&["a-b", "a+b", "a_b"]), ["a_b000.;1", "a_b001.;1", "a_b.;1"]);
        assert_eq!(plain(&["abc/", "abc."]), ["abc", "abc000.;1"]);
        let long: Vec<String> = (0..1100).map(|n| format!("{}{n}.txt", "x".repeat(100))).collect();
        let made: BTreeSet<String> = plain(&long.iter().map(String::as_str).collect::<Vec<_>>()).into_iter().collect();
        assert_eq!(made.len(), 1100);
        assert!(made.iter().all(|name| name.len() <= 33 && name.ends_with(".txt;1")), "{:?}", made.first());
        let extension = format!("{}.{}", "s".repeat(200), "e".repeat(50));
        assert_eq!(plain(&[&extension]), [format!("{}.{};1", "s".repeat(8), "e".repeat(22))]);
        // The number finds room beside a short stem and a long extension; what is cut is not exact.
        let cut = |n: u32| format!("a.{}{n}", "e".repeat(29));
        let whole = format!("a.{}", "e".repeat(29));
        assert_eq!(
            plain(&[&cut(1), &cut(2), &whole]),
            [0, 1]
                .map(|n| format!("a00{n}.{};1", "e".repeat(26)))
                .into_iter()
                .chain([whole.clone() + ";1"])
                .collect::<Vec<_>>()
        );
    }

    fn joliet(names: &[&str]) -> Vec<String> {
        let entries: Vec<(&[u8], Numbered)> = names.iter().map(|name| (name.as_bytes(), Numbered::File(0))).collect();
        let text = |bytes: Vec<u8>| {
            let units: Vec<u16> = bytes.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
            String::from_utf16(&units).unwrap()
        };
        Names::Joliet.identifiers(&entries).into_iter().map(text).collect()
    }

    #[test]
    fn joliet_names_are_cut_and_unique() {
        assert_eq!(
            joliet(&["meta-data.json", "a:b;c?d*e\\f", "näme.txt", "𝄞"]),
            ["meta-data.json", "a_b_c_d_e_f", "näme.txt", "𝄞"]
        );
        let (one, two) = (format!("{}1", "x".repeat(64)), format!("{}2", "x".repeat(64)));
        assert_eq!(joliet(&[&one, &two]), ["x".repeat(64), format!("{}000", "x".repeat(61))]);
        // Half of the last character would not fit.
        assert_eq!(joliet(&[&format!("{}𝄞", "x".repeat(63))]), ["x".repeat(63)]);
    }
}
