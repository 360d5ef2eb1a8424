//! The checksum of ext4's metadata: CRC-32C without the usual inversion before and after.
//!
//! Source: kernel Documentation/filesystems/ext4/checksums.rst.

/// Continues the checksum `seed` over `bytes`; the first seed of a chain is `!0`, or the superblock's checksum seed.
pub(super) fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, bytes)
}

/// The seed for what belongs to one inode (its directory and extent blocks), from the filesystem's seed.
pub(super) fn inode_seed(filesystem_seed: u32, inode: u32, generation: u32) -> u32 {
    let [i0, i1, i2, i3] = inode.to_le_bytes();
    let [g0, g1, g2, g3] = generation.to_le_bytes();
    crc32c(filesystem_seed, &[i0, i1, i2, i3, g0, g1, g2, g3])
}

/// Continues the CRC-16 `seed` over `bytes`; group descriptors have it where there is `uninit_bg` and no
/// `metadata_csum`. The first seed of a chain is `!0`.
pub(super) fn crc16(seed: u16, bytes: &[u8]) -> u16 {
    let mut sum = seed;
    for byte in bytes {
        sum ^= u16::from(*byte);
        for _ in 0..8 {
            sum = if sum & 1 == 0 { sum >> 1 } else { (sum >> 1) ^ 0xa001 };
        }
    }
    sum
}
