//! The table: for each cluster the next one.

use super::boot::MEDIA;
use crate::fs::fat::layout::Kind;

/// A table as it is filled: chains of clusters that follow each other.
#[derive(Debug)]
pub(super) struct Table {
    kind: Kind,
    entries: Vec<u32>,
}

impl Table {
    /// The table of an empty filesystem: the first two entries hold no chain.
    pub(super) fn new(kind: Kind) -> Self {
        // The bits that say that it was unmounted, and without errors, are set.
        Self { kind, entries: vec![0x0fff_ff00 | u32::from(MEDIA), 0x0fff_ffff] }
    }

    /// Adds a chain of so many clusters after those that are taken.
    pub(super) fn chain(&mut self, clusters: u32) {
        for left in (0..clusters).rev() {
            // No more clusters than 28 bits number.
            let next = self.entries.len() as u32 + 1;
            self.entries.push(if left == 0 { 0x0fff_ffff } else { next });
        }
    }

    /// The table's bytes up to the last chain.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        match self.kind {
            Kind::Fat12 => self.entries.chunks(2).flat_map(pair).collect(),
            // The lower half: the ends and the media entry are the same in it.
            Kind::Fat16 => self.entries.iter().flat_map(|entry| (*entry as u16).to_le_bytes()).collect(),
            Kind::Fat32 => self.entries.iter().flat_map(|entry| entry.to_le_bytes()).collect(),
        }
    }
}

/// Two entries of twelve bits in three bytes.
fn pair(entries: &[u32]) -> Vec<u8> {
    let (first, second) = match entries {
        [first, second] => (first & 0xfff, second & 0xfff),
        [first] => (first & 0xfff, 0),
        _ => return Vec::new(),
    };
    let [a, b, c, _] = (first | second << 12).to_le_bytes();
    vec![a, b, c]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_in_each_width() {
        let bytes = |kind| {
            let mut table = Table::new(kind);
            table.chain(2);
            table.chain(1);
            table.into_bytes()
        };
        assert_eq!(bytes(Kind::Fat12), [0xf8, 0xff, 0xff, 0x03, 0xf0, 0xff, 0xff, 0x0f, 0x00]);
        assert_eq!(bytes(Kind::Fat16), [0xf8, 0xff, 0xff, 0xff, 3, 0, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(bytes(Kind::Fat32)[..8], [0xf8, 0xff, 0xff, 0x0f, 0xff, 0xff, 0xff, 0x0f]);
        assert_eq!(bytes(Kind::Fat32)[8..12], [3, 0, 0, 0]);
    }
}
