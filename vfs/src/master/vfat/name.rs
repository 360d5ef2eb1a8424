//! Long names, and the short ones that go with them (Microsoft's FAT specification 1.03, "Long Directory Entries").

use std::collections::{BTreeMap, BTreeSet};

/// The longest name in UTF-16 units.
const LONG_MAX: usize = 255;
/// UTF-16 units in one long entry.
const PIECE: usize = 13;

/// Why a name cannot be kept; `None` where it can.
pub(super) fn refusal(name: &[u8]) -> Option<&'static str> {
    let Ok(text) = std::str::from_utf8(name) else {
        return Some("FAT keeps names in UTF-16, and this one is not UTF-8");
    };
    if text.contains(|c: char| c.is_control() || "\"*/:<>?\\|".contains(c)) {
        return Some("FAT does not take control characters or \" * / : < > ? \\ | in names");
    }
    if text.ends_with(['.', ' ']) {
        return Some("FAT does not keep a dot or a blank at the end of a name");
    }
    (text.encode_utf16().count() > LONG_MAX).then_some("FAT keeps names of at most 255 UTF-16 units")
}

/// What two names in one directory must differ in: FAT does not know cases apart.
pub(super) fn folded(name: &[u8]) -> String {
    String::from_utf8_lossy(name).to_lowercase()
}

/// The short names of a directory's entries, in their order, each different from the others: eight bytes and three.
pub(super) fn short_names(names: &[&[u8]]) -> Vec<[u8; 11]> {
    let wanted: Vec<Basis> = names.iter().map(|name| Basis::new(name)).collect();
    let mut taken = BTreeSet::new();
    let mut numbers: BTreeMap<(Vec<u8>, Vec<u8>), u32> = BTreeMap::new();
    let mut short = vec![[b' '; 11]; names.len()];
    // Those that are short as they are keep their name.
    let (first, second): (Vec<usize>, Vec<usize>) = (0..wanted.len()).partition(|at| wanted[*at].exact);
    for at in first.into_iter().chain(second) {
        let basis = &wanted[at];
        let mut name = basis.padded(&basis.stem);
        if !basis.exact || taken.contains(&name) {
            let key = (basis.stem[..basis.stem.len().min(2)].to_vec(), basis.extension.clone());
            let number = numbers.entry(key).or_insert(1);
            name = basis.numbered(*number);
            while taken.contains(&name) {
                *number += 1;
                name = basis.numbered(*number);
            }
        }
        taken.insert(name);
        short[at] = name;
    }
    short
}

/// What a short name is made from.
#[derive(Clone, Debug)]
struct Basis {
    stem: Vec<u8>,
    extension: Vec<u8>,
    /// Whether nothing but the case is lost.
    exact: bool,
}

impl Basis {
    fn new(name: &[u8]) -> Self {
        let text = String::from_utf8_lossy(name);
        let bare = text.trim_start_matches('.');
        let (stem, extension) = bare.rsplit_once('.').unwrap_or((bare, ""));
        let mut exact = bare.len() == text.len();
        let mut part = |text: &str, size: usize| {
            let mut bytes = Vec::new();
            for c in text.chars() {
                match c {
                    ' ' | '.' => exact = false,
                    c if c.is_ascii_alphanumeric() || "$%'-_@~`!(){}^#&".contains(c) => {
                        bytes.push(c.to_ascii_uppercase() as u8)
                    }
                    _ => {
                        exact = false;
                        bytes.push(b'_');
                    }
                }
            }
            exact &= bytes.len() <= size;
            bytes.truncate(size);
            bytes
        };
        let (mut stem, extension) = (part(stem, 8), part(extension, 3));
        if stem.is_empty() {
            exact = false;
            stem.push(b'_');
        }
        Self { stem, extension, exact }
    }

    fn padded(&self, stem: &[u8]) -> [u8; 11] {
        let mut name = [b' '; 11];
        name[..stem.len()].copy_from_slice(stem);
        name[8..8 + self.extension.len()].copy_from_slice(&self.extension);
        name
    }

    fn numbered(&self, number: u32) -> [u8; 11] {
        let tail = format!("~{number}");
        // Many names with one beginning keep two bytes of it.
        let keep = (8 - tail.len()).min(if number > 9 { 2 } else { 8 }).min(self.stem.len());
        self.padded(&[&self.stem[..keep], tail.as_bytes()].concat())
    }
}

/// The long entries of a name, in the order that they stand before the short one.
pub(super) fn long_entries(name: &[u8], short: &[u8; 11]) -> Vec<[u8; 32]> {
    let units: Vec<u16> = String::from_utf8_lossy(name).encode_utf16().collect();
    let check = checksum(short);
    let pieces = units.len().div_ceil(PIECE);
    let piece = |number: usize| {
        let mut entry = [0; 32];
        // At most 20 pieces.
        entry[0] = (number + 1) as u8 | if number + 1 == pieces { 0x40 } else { 0 };
        entry[11] = 0x0f;
        entry[13] = check;
        // A NUL ends a name that does not fill its last piece, and FFFF fills it.
        let rest = units[number * PIECE..].iter().copied().chain([0]).chain(std::iter::repeat(0xffff));
        for (at, unit) in [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30].into_iter().zip(rest) {
            entry[at..at + 2].copy_from_slice(&unit.to_le_bytes());
        }
        entry
    };
    (0..pieces).rev().map(piece).collect()
}

/// What ties long entries to their short one.
pub(super) fn checksum(short: &[u8; 11]) -> u8 {
    short.iter().fold(0, |sum: u8, byte| sum.rotate_right(1).wrapping_add(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(names: &[&str]) -> Vec<String> {
        let names: Vec<&[u8]> = names.iter().map(|name| name.as_bytes()).collect();
        short_names(&names).into_iter().map(|name| String::from_utf8(name.to_vec()).unwrap()).collect()
    }

    #[test]
    fn short_names_as_windows_makes_them() {
        let names = ["meta.js", "meta_data.json", "META_D~1.JSO", "latest", "2009-04-04", "a.b.c", ".bash", "ü"];
        let made = [
            "META    JS ",
            "META_D~2JSO",
            "META_D~1JSO",
            "LATEST     ",
            "2009-0~1   ",
            "AB~1    C  ",
            "BASH~1     ",
            "_~1        ",
        ];
        assert_eq!(short(&names), made);
    }

    #[test]
    fn short_names_are_unique() {
        let names: Vec<String> = (0..20_000).map(|number| format!("file with a long name {number}.text")).collect();
        let made: BTreeSet<String> = short(&names.iter().map(String::as_str).collect::<Vec<_>>()).into_iter().collect();
        assert_eq!(made.len(), 20_000);
    }

    #[test]
    fn long_entries_as_the_specification_shows_them() {
        // The example of the specification: "The quick brown.fox".
        let entries = long_entries(b"The quick brown.fox", b"THEQUI~1FOX");
        assert_eq!(entries.len(), 2);
        assert_eq!((entries[0][0], entries[1][0]), (0x42, 0x01));
        assert_eq!(entries[0][1..11], *b"w\0n\0.\0f\0o\0");
        assert_eq!(entries[0][14..18], [b'x', 0, 0, 0]);
        assert_eq!(entries[0][18..26], [0xff; 8]);
        assert_eq!(entries[1][28..32], *b"r\0o\0");
        // Exactly thirteen units need no end.
        assert_eq!(long_entries(b"thirteen.txtx", b"THIRTE~1TXT").len(), 1);
    }

    #[test]
    fn names_that_are_refused() {
        for name in [&b"\xff"[..], b"a:b", b"a\nb", b"dot.", b"blank ", b"a\"b", b"a?"] {
            assert!(refusal(name).is_some(), "{}", name.escape_ascii());
        }
        assert!(refusal("ü".repeat(127).as_bytes()).is_none() && refusal("𝄞".repeat(63).as_bytes()).is_none());
    }
}
