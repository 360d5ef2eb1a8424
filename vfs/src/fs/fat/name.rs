//! Names: what FAT keeps, the long entries of one, and the short name that goes with it (Microsoft's FAT specification 1.03,
//! "Long Directory Entries").

use super::entry::UNITS;
use std::collections::{BTreeMap, BTreeSet};

/// The longest name in UTF-16 units.
const LONG_MAX: usize = 255;
/// UTF-16 units in one long entry.
const PIECE: usize = UNITS.len();
/// How many short names are numbered with the whole beginning of the long one.
const NUMBERED: u32 = 9;

/// Why a name cannot be kept; `None` where it can.
pub(crate) fn refusal(name: &[u8]) -> Option<&'static str> {
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
///
/// Each character counts as its upper case where that is one character, as in the tables of Windows; one beyond ASCII never
/// counts as one of ASCII.
pub(crate) fn folded(name: &str) -> String {
    let fold = |c: char| {
        let mut upper = c.to_uppercase();
        match (upper.next(), upper.next()) {
            (Some(one), None) if c.is_ascii() || !one.is_ascii() => one,
            _ => c,
        }
    };
    name.chars().map(fold).collect()
}

/// The short names of a directory's entries, in their order, each different from the others: eight bytes and three.
pub(crate) fn short_names(names: &[&[u8]]) -> Vec<[u8; 11]> {
    let wanted: Vec<Basis> = names.iter().map(|name| Basis::new(&String::from_utf8_lossy(name))).collect();
    let mut taken = BTreeSet::new();
    let mut numbers: BTreeMap<(Vec<u8>, Vec<u8>), u32> = BTreeMap::new();
    let mut short = vec![[b' '; 11]; names.len()];
    // Those that are short as they are keep their name.
    let (first, second): (Vec<_>, Vec<_>) =
        wanted.iter().zip(&mut short).partition(|(basis, _)| basis.exact != Exact::No);
    for (basis, place) in first.into_iter().chain(second) {
        let mut name = basis.padded(&basis.stem);
        if basis.exact == Exact::No || taken.contains(&name) {
            let key = (basis.beginning(2).to_vec(), basis.extension.clone());
            let number = numbers.entry(key).or_insert(1);
            name = basis.numbered(*number);
            while taken.contains(&name) {
                *number = number.saturating_add(1);
                name = basis.numbered(*number);
            }
        }
        taken.insert(name);
        *place = name;
    }
    short
}

/// The short name of a new entry, other than those that are `taken`, and whether the long name says more than it; `None`
/// where none is left.
///
/// The first nine are numbered as Linux does it; after them four digits come in between, which are made from the long name.
pub(crate) fn short_name(name: &str, taken: impl Fn(&[u8; 11]) -> bool) -> Option<([u8; 11], Exact)> {
    let basis = Basis::new(name);
    let plain = basis.padded(&basis.stem);
    if basis.exact != Exact::No && !taken(&plain) {
        return Some((plain, basis.exact));
    }
    let numbered = (1..=NUMBERED).map(|number| basis.numbered(number));
    let [a, b, _, _] = crc32c::crc32c(name.as_bytes()).to_le_bytes();
    let start = u16::from_le_bytes([a, b]);
    let hashed = (0..=u16::MAX).map(|step| {
        let tail = format!("{:04X}~1", start.wrapping_add(step));
        basis.padded(&[basis.beginning(2), tail.as_bytes()].concat())
    });
    numbered.chain(hashed).find(|short| !taken(short)).map(|short| (short, Exact::No))
}

/// How much of a name its short form keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exact {
    /// All of it.
    Yes,
    /// All but the case.
    ButCase,
    No,
}

/// What a short name is made from.
#[derive(Clone, Debug)]
struct Basis {
    stem: Vec<u8>,
    extension: Vec<u8>,
    exact: Exact,
}

impl Basis {
    fn new(text: &str) -> Self {
        let bare = text.trim_start_matches('.');
        let (stem, extension) = bare.rsplit_once('.').unwrap_or((bare, ""));
        let mut exact = if bare.len() == text.len() { Exact::Yes } else { Exact::No };
        let mut part = |text: &str, size: usize| {
            let mut bytes = Vec::new();
            for c in text.chars() {
                match u8::try_from(c) {
                    Ok(b' ' | b'.') => exact = Exact::No,
                    Ok(byte) if byte.is_ascii_alphanumeric() || b"$%'-_@~`!(){}^#&".contains(&byte) => {
                        if byte.is_ascii_lowercase() && exact == Exact::Yes {
                            exact = Exact::ButCase;
                        }
                        bytes.push(byte.to_ascii_uppercase());
                    }
                    _ => {
                        exact = Exact::No;
                        bytes.push(b'_');
                    }
                }
            }
            if bytes.len() > size {
                exact = Exact::No;
            }
            bytes.truncate(size);
            bytes
        };
        let (mut stem, extension) = (part(stem, 8), part(extension, 3));
        if stem.is_empty() {
            exact = Exact::No;
            stem.push(b'_');
        }
        Self { stem, extension, exact }
    }

    /// So many bytes of the stem, or all where it has no more.
    fn beginning(&self, len: usize) -> &[u8] {
        self.stem.get(..len).unwrap_or(&self.stem)
    }

    fn padded(&self, stem: &[u8]) -> [u8; 11] {
        let mut name = [b' '; 11];
        let (first, last) = name.split_at_mut(8);
        for (to, from) in first.iter_mut().zip(stem).chain(last.iter_mut().zip(&self.extension)) {
            *to = *from;
        }
        name
    }

    fn numbered(&self, number: u32) -> [u8; 11] {
        let tail = format!("~{number}");
        // Many names with one beginning keep two bytes of it.
        let keep = 8_usize.saturating_sub(tail.len()).min(if number > NUMBERED { 2 } else { 8 });
        self.padded(&[self.beginning(keep), tail.as_bytes()].concat())
    }
}

/// The long entries of a name, in the order that they stand before the short one.
pub(crate) fn long_entries(name: &str, short: &[u8; 11]) -> Vec<[u8; 32]> {
    let units: Vec<u16> = name.encode_utf16().collect();
    let check = checksum(short);
    let pieces = units.chunks(PIECE);
    let last = pieces.len();
    let piece = |(number, units): (usize, &[u16])| {
        let mut entry = [0; 32];
        let [order, attributes, place] = [0, 11, 13];
        let number = number.saturating_add(1);
        // At most 20 pieces.
        let number_byte = u8::try_from(number).unwrap_or_default();
        // A NUL ends a name that does not fill its last piece, and FFFF fills it.
        let rest = units.iter().copied().chain([0]).chain(std::iter::repeat(0xffff));
        let fields = UNITS.into_iter().zip(rest).flat_map(|(at, unit)| {
            let [low, high] = unit.to_le_bytes();
            [(at, low), (at.saturating_add(1), high)]
        });
        let head = [(order, if number == last { number_byte | 0x40 } else { number_byte })];
        for (at, byte) in head.into_iter().chain([(attributes, 0x0f), (place, check)]).chain(fields) {
            if let Some(field) = entry.get_mut(at) {
                *field = byte;
            }
        }
        entry
    };
    pieces.enumerate().map(piece).rev().collect()
}

/// What ties long entries to their short one.
pub(crate) fn checksum(short: &[u8; 11]) -> u8 {
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
    fn one_short_name_after_the_other() {
        let mut taken = BTreeSet::new();
        let mut next = |name: &str| {
            let (short, exact) = short_name(name, |short| taken.contains(short)).unwrap();
            taken.insert(short);
            (String::from_utf8(short.to_vec()).unwrap(), exact)
        };
        for (name, made, exact) in [
            ("CONFIG.TXT", "CONFIG  TXT", Exact::Yes),
            ("cmdline.txt", "CMDLINE TXT", Exact::ButCase),
            ("user-data", "USER-D~1   ", Exact::No),
            ("user-data.old", "USER-D~1OLD", Exact::No),
            ("user-data2", "USER-D~2   ", Exact::No),
            ("config.txt", "CONFIG~1TXT", Exact::No),
            ("ü", "_~1        ", Exact::No),
            ("bcm2711-rpi-4-b.dtb", "BCM271~1DTB", Exact::No),
        ] {
            assert_eq!(next(name), (made.to_owned(), exact), "{name}");
        }
        let many: BTreeSet<String> = (0..3000).map(|number| next(&format!("a long name {number}")).0).collect();
        assert_eq!(many.len(), 3000);
        assert!(many.iter().all(|short| short.trim_end().len() <= 8));
        assert_eq!(short_name("x y", |_| true), None);
    }

    #[test]
    fn names_that_are_the_same() {
        let same = |a, b| folded(a) == folded(b);
        assert!(same("Config.TXT", "cONFIG.txt") && same("ÜÉß", "üéß") && same("Ωж", "ωЖ"));
        // The sign for kelvin and a long s are not the letters that they stand for.
        assert!(!same("k", "\u{212a}") && !same("s", "\u{17f}") && !same("ss", "ß") && !same("i", "ı"));
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
        let entries = long_entries("The quick brown.fox", b"THEQUI~1FOX");
        assert_eq!(entries.len(), 2);
        assert_eq!((entries[0][0], entries[1][0]), (0x42, 0x01));
        assert_eq!(entries[0][1..11], *b"w\0n\0.\0f\0o\0");
        assert_eq!(entries[0][14..18], [b'x', 0, 0, 0]);
        assert_eq!(entries[0][18..26], [0xff; 8]);
        assert_eq!(entries[1][28..32], *b"r\0o\0");
        // Exactly thirteen units need no end.
        assert_eq!(long_entries("thirteen.txtx", b"THIRTE~1TXT").len(), 1);
    }

    #[test]
    fn names_that_are_refused() {
        for name in [&b"\xff"[..], b"a:b", b"a\nb", b"dot.", b"blank ", b"a\"b", b"a?"] {
            assert!(refusal(name).is_some(), "{}", name.escape_ascii());
        }
        assert!(refusal("ü".repeat(127).as_bytes()).is_none() && refusal("𝄞".repeat(63).as_bytes()).is_none());
    }
}
