//! Feature bits: which are known, what they are called, which are refused and what helps.

use super::header::{SECTOR, u64_at};
use crate::error::{Error, Layer, Result};

/// Incompatible: refcounts may be stale.
pub(super) const DIRTY: u32 = 0;
/// Incompatible: some structure may be damaged.
pub(super) const DAMAGED: u32 = 1;
/// Incompatible: guest data lies in another file.
pub(super) const DATA_FILE: u32 = 2;
/// Incompatible: compressed clusters use another method than deflate.
pub(super) const COMPRESSION: u32 = 3;
/// Incompatible: L2 entries are 16 bytes long.
pub(super) const EXTENDED_L2: u32 = 4;
/// Autoclear: the bitmaps are consistent.
pub(super) const BITMAPS: u32 = 0;
/// Autoclear: the external data file reads as the disk does.
pub(super) const RAW_DATA_FILE: u32 = 1;

/// Which of the three sets a feature bit is in, as the feature name table numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Set {
    /// Unknown bits forbid reading.
    Incompatible,
    /// Unknown bits mean nothing.
    Compatible,
    /// Unknown bits forbid writing unless they are cleared.
    Autoclear,
}

/// The three sets of feature bits of a version 3 header; all clear in version 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Features {
    /// Bytes 72 to 79 of the header.
    pub(super) incompatible: u64,
    /// Bytes 80 to 87 of the header.
    pub(super) compatible: u64,
    /// Bytes 88 to 95 of the header.
    pub(super) autoclear: u64,
}

/// The names that the image gives to feature bits (header extension 0x6803f857).
#[derive(Clone, Debug, Default)]
pub(super) struct Names(Vec<(u8, u32, String)>);

impl Names {
    /// Takes the table apart; its length has been checked. Entries are 48 bytes: set, bit, name padded with zeros.
    pub(super) fn parse(data: &[u8]) -> Self {
        // Three sets of 64 bits: more entries than that name nothing.
        Self(
            data.as_chunks::<48>()
                .0
                .iter()
                .take(192)
                .filter_map(|entry| {
                    let (set, rest) = entry.split_first()?;
                    let (bit, name) = rest.split_first()?;
                    let name = name.split(|byte| *byte == 0).next()?;
                    Some((*set, u32::from(*bit), name.escape_ascii().to_string()))
                })
                .collect(),
        )
    }

    /// Whether an incompatible bit has a name.
    #[cfg(test)]
    pub(super) fn knows(&self, bit: u32) -> bool {
        self.0.iter().any(|(set, its_bit, name)| (*set, *its_bit) == (0, bit) && !name.is_empty())
    }

    fn name(&self, set: Set, bit: u32) -> String {
        let number = match set {
            Set::Incompatible => 0,
            Set::Compatible => 1,
            Set::Autoclear => 2,
        };
        match self.0.iter().find(|(its_set, its_bit, _)| (*its_set, *its_bit) == (number, bit)) {
            Some((_, _, name)) if !name.is_empty() => format!("\"{name}\" (bit {bit})"),
            _ => format!("bit {bit}"),
        }
    }
}

impl Features {
    /// Those of a version 3 header.
    pub(super) fn parse(sector: &[u8; SECTOR]) -> Self {
        Self { incompatible: u64_at(sector, 72), compatible: u64_at(sector, 80), autoclear: u64_at(sector, 88) }
    }

    /// Whether a bit of a set is on.
    pub(super) fn has(self, set: Set, bit: u32) -> bool {
        let bits = match set {
            Set::Incompatible => self.incompatible,
            Set::Compatible => self.compatible,
            Set::Autoclear => self.autoclear,
        };
        bits.checked_shr(bit).unwrap_or(0) & 1 == 1
    }

    /// Takes back that refcounts may be stale.
    pub(super) fn set_closed(&mut self) {
        self.incompatible &= !(1 << DIRTY);
    }

    /// Fails with `Unsupported`, by name, where an unknown bit forbids to read the image.
    pub(super) fn refuse_unknown(self, names: &Names) -> Result<()> {
        let known = [DIRTY, DAMAGED, DATA_FILE, COMPRESSION, EXTENDED_L2];
        match bits(self.incompatible).find(|bit| !known.contains(bit)) {
            None => Ok(()),
            Some(bit) => Err(refusal(
                format!("the image has the unknown incompatible feature {}", names.name(Set::Incompatible, bit)),
                "convert it with the program that made it",
            )),
        }
    }

    /// Fails with `Unsupported`, by name and with the way out, where a bit forbids to write to an image that can be read.
    pub(super) fn refuse_writes(self) -> Result<()> {
        if self.has(Set::Incompatible, DAMAGED) {
            return Err(refusal(
                "the image is marked corrupt".to_owned(),
                "look at it with `qemu-img check IMAGE`, repair it with `qemu-img check -r all IMAGE`",
            ));
        }
        Ok(())
    }

    /// What is on, for a report; empty where nothing is.
    pub(super) fn describe(self, names: &Names) -> String {
        let compatible = bits(self.compatible).map(|bit| match bit {
            0 => "lazy refcounts".to_owned(),
            other => format!("unknown compatible feature {}", names.name(Set::Compatible, other)),
        });
        let extended = self.has(Set::Incompatible, EXTENDED_L2).then(|| "extended L2 entries".to_owned());
        let autoclear = bits(self.autoclear)
            .filter(|bit| *bit != BITMAPS && !(*bit == RAW_DATA_FILE && self.has(Set::Incompatible, DATA_FILE)))
            .map(|bit| format!("unknown autoclear feature {} (a write clears it)", names.name(Set::Autoclear, bit)));
        let marks = [(DIRTY, "dirty"), (DAMAGED, "corrupt")];
        let marks =
            marks.into_iter().filter(|(bit, _)| self.has(Set::Incompatible, *bit)).map(|(_, name)| name.to_owned());
        marks.chain(compatible).chain(extended).chain(autoclear).collect::<Vec<_>>().join(", ")
    }
}

fn refusal(message: String, hint: &str) -> Error {
    Error::unsupported(Layer::Image, format!("qcow2: {message}")).with_hint(hint)
}

fn bits(set: u64) -> impl Iterator<Item = u32> {
    (0..64).filter(move |bit| set.checked_shr(*bit).unwrap_or(0) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::{Features, Names};
    use crate::error::ErrorKind;

    #[test]
    fn unknown_bits_get_the_name_the_image_gives() {
        let mut table = vec![0u8; 48];
        table[1] = 17;
        table[2..2 + 10].copy_from_slice(b"time\x1btravel"[..10].as_ref());
        let names = Names::parse(&table);
        let error = Features { incompatible: 1 << 17, ..Features::default() }.refuse_unknown(&names).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("\"time\\x1btrave\" (bit 17)"), "{error}");
        let features = Features { autoclear: 1 << 40 | 1, ..Features::default() };
        features.refuse_unknown(&names).unwrap();
        assert!(features.describe(&names).contains("autoclear feature bit 40"));
    }

    #[test]
    fn compatible_bits_are_ignored() {
        let features = Features { compatible: u64::MAX, ..Features::default() };
        features.refuse_unknown(&Names::default()).unwrap();
        assert!(features.describe(&Names::default()).starts_with("lazy refcounts, unknown"));
    }
}
