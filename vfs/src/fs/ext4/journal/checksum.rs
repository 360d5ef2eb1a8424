//! The checksums of the log.

use super::be;
use super::superblock::Checksums;
use crate::fs::ext4::checksum::crc32c;

/// The length of the checksum at the end of descriptor and revoke blocks, in bytes.
const TAIL: usize = 4;

/// A descriptor or revoke block without the checksum that may be at its end.
pub(super) fn without_tail(block: &[u8], checksums: Checksums) -> &[u8] {
    let tail = if checksums.seed().is_some() { TAIL } else { 0 };
    block.len().checked_sub(tail).and_then(|len| block.get(..len)).unwrap_or_default()
}

/// Whether a descriptor or revoke block is as it was written, as far as its checksum tells.
pub(super) fn tail_is_right(block: &[u8], checksums: Checksums) -> bool {
    let Some(seed) = checksums.seed() else { return true };
    let before = without_tail(block, checksums);
    be::u32_at(block, before.len()) == Some(crc32c(crc32c(seed, before), &[0; TAIL]))
}

/// The checksum of a copy of a block, in transaction `sequence`.
pub(super) fn of_copy(seed: u32, sequence: u32, copy: &[u8]) -> u32 {
    crc32c(crc32c(seed, &sequence.to_be_bytes()), copy)
}

/// Continues a CRC-32 that takes the highest bit of each byte first and inverts nothing; the first seed is `!0`.
pub(super) fn crc32_be(seed: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(seed, |sum, byte| {
        let [high, ..] = sum.to_be_bytes();
        let step = usize::from(high ^ byte);
        (sum << 8) ^ TABLE.get(step).copied().unwrap_or(0)
    })
}

const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    let mut byte: u32 = 0;
    while index < table.len() {
        let mut sum = byte << 24;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 0x8000_0000 == 0 { sum << 1 } else { (sum << 1) ^ 0x04c1_1db7 };
            bit += 1;
        }
        table[index] = sum;
        index += 1;
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::crc32_be;

    #[test]
    fn the_check_value_of_the_catalogue() {
        // CRC-32/MPEG-2.
        assert_eq!(crc32_be(!0, b"123456789"), 0x0376_e6e7);
        assert_eq!(crc32_be(crc32_be(!0, b"1234"), b"56789"), 0x0376_e6e7);
    }
}
