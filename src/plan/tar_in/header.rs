//! The header block of a member: POSIX pax, "ustar Interchange Format", and what GNU tar makes of it.

use std::ops::Range;

/// The unit of an archive, in bytes.
pub(super) const BLOCK: usize = 512;

const NAME: Range<usize> = 0..100;
const MODE: Range<usize> = 100..108;
const UID: Range<usize> = 108..116;
const GID: Range<usize> = 116..124;
const SIZE: Range<usize> = 124..136;
const MTIME: Range<usize> = 136..148;
const CHECKSUM: Range<usize> = 148..156;
const TYPE: usize = 156;
const LINK: Range<usize> = 157..257;
const MAGIC: Range<usize> = 257..263;
const MAJOR: Range<usize> = 329..337;
const MINOR: Range<usize> = 337..345;
const PREFIX: Range<usize> = 345..500;

/// A header block.
#[derive(Debug)]
pub(super) struct Header<'b>(pub(super) &'b [u8; BLOCK]);

impl Header<'_> {
    /// Whether it is a block of zeros, as two end an archive.
    pub(super) fn is_zero(&self) -> bool {
        self.0.iter().all(|byte| *byte == 0)
    }

    /// Whether its sum is the one that it has: that of its bytes, of which those of the sum count as blanks. Some old programs
    /// added up bytes with a sign.
    pub(super) fn is_sound(&self) -> bool {
        let bytes = || self.0.iter().enumerate().map(|(at, byte)| if CHECKSUM.contains(&at) { b' ' } else { *byte });
        let sum: i64 = bytes().map(i64::from).sum();
        let signed: i64 = bytes().map(|byte| i64::from(byte.cast_signed())).sum();
        number(self.field(CHECKSUM)).is_some_and(|stored| stored == sum || stored == signed)
    }

    /// Which type of file the member is, or what else.
    pub(super) fn type_flag(&self) -> u8 {
        self.0.get(TYPE).copied().unwrap_or(0)
    }

    /// Its name as far as there is room for it.
    pub(super) fn name(&self) -> Vec<u8> {
        let (name, prefix) = (text(self.field(NAME)), text(self.field(PREFIX)));
        // GNU's own headers have times where the prefix is.
        if self.field(MAGIC) == b"ustar\0" && !prefix.is_empty() {
            [prefix, b"/", name].concat()
        } else {
            name.to_vec()
        }
    }

    /// Where it leads, as far as there is room for it.
    pub(super) fn link(&self) -> Vec<u8> {
        text(self.field(LINK)).to_vec()
    }

    /// Its permission bits, and in old archives its type above them.
    pub(super) fn mode(&self) -> Option<i64> {
        number(self.field(MODE))
    }

    pub(super) fn uid(&self) -> Option<i64> {
        number(self.field(UID))
    }

    pub(super) fn gid(&self) -> Option<i64> {
        number(self.field(GID))
    }

    /// How many bytes follow.
    pub(super) fn size(&self) -> Option<i64> {
        number(self.field(SIZE))
    }

    /// Seconds since 1970.
    pub(super) fn mtime(&self) -> Option<i64> {
        number(self.field(MTIME))
    }

    /// The number of a device.
    pub(super) fn device(&self) -> Option<(i64, i64)> {
        Some((number(self.field(MAJOR))?, number(self.field(MINOR))?))
    }

    fn field(&self, range: Range<usize>) -> &[u8] {
        self.0.get(range).unwrap_or_default()
    }
}

fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// A number: octal digits, or, with the uppermost bit set, GNU's two's complement in all bits below it. None at all is 0.
fn number(field: &[u8]) -> Option<i64> {
    let (first, rest) = field.split_first()?;
    if first & 0x80 != 0 {
        let high = i128::from(first & 0x3f) - if first & 0x40 != 0 { 0x40 } else { 0 };
        let value = rest.iter().fold(high, |value, byte| value << 8 | i128::from(*byte));
        return i64::try_from(value).ok();
    }
    let blank = |byte: &u8| matches!(byte, b' ' | 0);
    let digits = field.iter().skip_while(|byte| blank(byte));
    let mut value = 0_i64;
    let mut rest = digits.skip_while(|byte| match byte {
        b'0'..=b'7' => {
            // At most 12 digits of 3 bits.
            value = value << 3 | i64::from(*byte & 7);
            true
        }
        _ => false,
    });
    rest.next().is_none_or(blank).then_some(())?;
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (field, value) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"77777777", Some(0o77_777_777)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"64x\0\0\0\0\0", None),
            (b"-1\0\0\0\0\0\0", None),
            (b"8\0\0\0\0\0\0\0", None),
            (b"\x80\0\0\0\x01\0\0\0", Some(1 << 24)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1)),
            (b"\x80\0\0\0\0\0\0\x02\0\0\0\0", Some(1 << 33)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            // Not what is left of it in 64 bits.
            (b"\x80\0\0\x01\0\0\0\0\0\0\x02\0", None),
            (b"", None),
        ] {
            assert_eq!(number(field), value, "{field:?}");
        }
    }
}
