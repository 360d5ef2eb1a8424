//! Inodes: the codec of one, whatever its size.
//!
//! Source: kernel Documentation/filesystems/ext4/inodes.rst.

mod permit;
mod special;
mod time;

pub(super) use time::Time;

use super::checksum::{crc32c, inode_seed};
use super::le;
use crate::error::{Error, Layer, Result};
use crate::fs::{FileType, Metadata, Timestamp};

/// Flags of an inode.
pub(super) mod flag {
    pub(in super::super) const IMMUTABLE: u32 = 0x10;
    pub(in super::super) const APPEND: u32 = 0x20;
    pub(in super::super) const ENCRYPT: u32 = 0x800;
    pub(in super::super) const INDEX: u32 = 0x1000;
    pub(in super::super) const HUGE_FILE: u32 = 0x40000;
    pub(in super::super) const EXTENTS: u32 = 0x80000;
    pub(in super::super) const VERITY: u32 = 0x10_0000;
    pub(in super::super) const EA_INODE: u32 = 0x20_0000;
    pub(in super::super) const INLINE_DATA: u32 = 0x1000_0000;
    pub(in super::super) const PROJECT_INHERIT: u32 = 0x2000_0000;
    pub(in super::super) const CASEFOLD: u32 = 0x4000_0000;
    /// What a new directory takes from its parent: s, u, c, S, d, A, j, t, D, P, x and their kin.
    pub(in super::super) const INHERITED: u32 =
        0x1 | 0x2 | 0x4 | 0x8 | 0x40 | 0x80 | 0x200 | 0x400 | 0x4000 | 0x8000 | 0x10000 | 0x200_0000 | 0x2000_0000;
    /// Of these, what makes no sense for a regular file.
    pub(in super::super) const DIRECTORY_ONLY: u32 = 0x10000 | 0x20000 | CASEFOLD | 0x2000_0000;
    /// Of these, what anything else takes.
    pub(in super::super) const FOR_OTHERS: u32 = 0x40 | 0x80;
}

/// The number of the root directory.
pub(super) const ROOT: u32 = 2;
/// The size of an inode without extra fields, in bytes.
pub(super) const BASE_SIZE: usize = 128;

const CHECKSUM_LOW: usize = 0x7c;
const CHECKSUM_HIGH: usize = 0x82;
const PROJECT: usize = 0x9c;
const BLOCK_AREA: usize = 0x28;
/// The size of the area that holds the root of the extents, or a short link's target, in bytes.
pub(super) const BLOCK_AREA_LEN: usize = 60;

/// An inode as it is stored, and its number.
#[derive(Clone, Debug)]
pub(super) struct Inode {
    pub(super) number: u32,
    raw: Vec<u8>,
}

impl Inode {
    /// Takes the bytes of an inode, 128 at least; `Corrupt` where the checksum is wrong. `seed` is the filesystem's,
    /// where it has `metadata_csum`.
    pub(super) fn parse(number: u32, raw: Vec<u8>, seed: Option<u32>) -> Result<Self> {
        let mut inode = Self { number, raw };
        if inode.raw.len() < BASE_SIZE {
            return Err(inode.damaged("it is too short"));
        }
        if inode.raw.len() > BASE_SIZE
            && (inode.extra_isize() > inode.raw.len() - BASE_SIZE || !inode.extra_isize().is_multiple_of(4))
        {
            return Err(inode.damaged("its extra fields do not fit"));
        }
        if let Some(seed) = seed {
            let stored = inode.stored_sum();
            inode.store_sum(0);
            let sum = inode.sum(seed);
            inode.store_sum(stored);
            // An inode that was never used is all zeros, without a checksum.
            if stored != sum & inode.sum_mask() && inode.raw.iter().any(|byte| *byte != 0) {
                return Err(inode.damaged("its checksum is wrong"));
            }
        }
        Ok(inode)
    }

    /// This with the bytes of `other` in front, apart from those in `kept`; `Corrupt` where that is no inode.
    pub(super) fn overlaid(&self, other: &[u8], kept: std::ops::Range<usize>) -> Result<Self> {
        let mut raw = self.raw.clone();
        for (at, (to, from)) in raw.iter_mut().zip(other).enumerate() {
            if !kept.contains(&at) {
                *to = *from;
            }
        }
        Self::parse(self.number, raw, None)
    }

    /// An inode of zeros but for the size of its extra fields, in bytes.
    pub(super) fn zeroed(number: u32, size: u16, extra_isize: u16) -> Self {
        let mut inode = Self { number, raw: vec![0; usize::from(size)] };
        if usize::from(size) > BASE_SIZE {
            inode.store(0x80, &extra_isize.to_le_bytes());
        }
        inode
    }

    /// The bytes to write, with their checksum.
    pub(super) fn encode(&mut self, seed: Option<u32>) -> &[u8] {
        if let Some(seed) = seed {
            self.store_sum(0);
            self.store_sum(self.sum(seed));
        }
        &self.raw
    }

    /// The checksum of what there is; its own field counts as zero, and is to be zero.
    fn sum(&self, seed: u32) -> u32 {
        crc32c(self.seed(seed), &self.raw)
    }

    /// How much of a checksum there is room for.
    fn sum_mask(&self) -> u32 {
        if self.has_field(CHECKSUM_HIGH, 2) { !0 } else { 0xffff }
    }

    fn stored_sum(&self) -> u32 {
        let high = if self.has_field(CHECKSUM_HIGH, 2) { self.u16_at(CHECKSUM_HIGH) } else { 0 };
        u32::from(self.u16_at(CHECKSUM_LOW)) | u32::from(high) << 16
    }

    fn store_sum(&mut self, sum: u32) {
        let [b0, b1, b2, b3] = sum.to_le_bytes();
        self.store(CHECKSUM_LOW, &[b0, b1]);
        if self.has_field(CHECKSUM_HIGH, 2) {
            self.store(CHECKSUM_HIGH, &[b2, b3]);
        }
    }

    /// The seed of this inode's own blocks, from the filesystem's.
    pub(super) fn seed(&self, seed: u32) -> u32 {
        inode_seed(seed, self.number, self.generation())
    }

    // Every caller's offsets are inside the 128 bytes that an inode has at least, or were found by `has_field`.
    fn u16_at(&self, offset: usize) -> u16 {
        le::u16_at(&self.raw, offset).unwrap_or(0)
    }

    fn u32_at(&self, offset: usize) -> u32 {
        le::u32_at(&self.raw, offset).unwrap_or(0)
    }

    fn store(&mut self, offset: usize, field: &[u8]) {
        let _ = le::put(&mut self.raw, offset, field);
    }

    /// How many bytes of extra fields there are.
    pub(super) fn extra_isize(&self) -> usize {
        if self.raw.len() > BASE_SIZE { usize::from(self.u16_at(0x80)) } else { 0 }
    }

    fn has_field(&self, offset: usize, len: usize) -> bool {
        offset + len <= BASE_SIZE + self.extra_isize() && offset + len <= self.raw.len()
    }

    /// The mode word: type and permission bits.
    pub(super) fn mode(&self) -> u16 {
        self.u16_at(0)
    }

    /// Sets the mode word.
    pub(super) fn set_mode(&mut self, mode: u16) {
        self.store(0, &mode.to_le_bytes());
    }

    /// The type; `Corrupt` where the mode names none.
    pub(super) fn file_type(&self) -> Result<FileType> {
        Ok(match self.mode() >> 12 {
            0x1 => FileType::Fifo,
            0x2 => FileType::CharDevice,
            0x4 => FileType::Directory,
            0x6 => FileType::BlockDevice,
            0x8 => FileType::Regular,
            0xa => FileType::Symlink,
            0xc => FileType::Socket,
            _ => return Err(self.damaged("it has no type")),
        })
    }

    /// The owner.
    pub(super) fn uid(&self) -> u32 {
        u32::from(self.u16_at(2)) | u32::from(self.u16_at(0x78)) << 16
    }

    /// Sets the owner.
    pub(super) fn set_uid(&mut self, uid: u32) {
        let [b0, b1, b2, b3] = uid.to_le_bytes();
        self.store(2, &[b0, b1]);
        self.store(0x78, &[b2, b3]);
    }

    /// The group.
    pub(super) fn gid(&self) -> u32 {
        u32::from(self.u16_at(0x18)) | u32::from(self.u16_at(0x7a)) << 16
    }

    /// Sets the group.
    pub(super) fn set_gid(&mut self, gid: u32) {
        let [b0, b1, b2, b3] = gid.to_le_bytes();
        self.store(0x18, &[b0, b1]);
        self.store(0x7a, &[b2, b3]);
    }

    /// The project; 0, which is none, where the inode has no room for one.
    pub(super) fn project(&self) -> u32 {
        if self.has_field(PROJECT, 4) { self.u32_at(PROJECT) } else { 0 }
    }

    /// Sets the project; `Unsupported` where the inode has no room for one.
    pub(super) fn set_project(&mut self, project: u32) -> Result<()> {
        if !self.has_field(PROJECT, 4) {
            return Err(Error::unsupported(Layer::Filesystem, "the inode is too small for a project"));
        }
        self.store(PROJECT, &project.to_le_bytes());
        Ok(())
    }

    /// The size in bytes.
    pub(super) fn size(&self) -> u64 {
        u64::from(self.u32_at(4)) | u64::from(self.u32_at(0x6c)) << 32
    }

    /// Sets the size in bytes.
    pub(super) fn set_size(&mut self, size: u64) {
        let [b0, b1, b2, b3, b4, b5, b6, b7] = size.to_le_bytes();
        self.store(4, &[b0, b1, b2, b3]);
        self.store(0x6c, &[b4, b5, b6, b7]);
    }

    /// The number of names.
    pub(super) fn links(&self) -> u16 {
        self.u16_at(0x1a)
    }

    /// Sets the number of names.
    pub(super) fn set_links(&mut self, links: u16) {
        self.store(0x1a, &links.to_le_bytes());
    }

    /// The flags.
    pub(super) fn flags(&self) -> u32 {
        self.u32_at(0x20)
    }

    /// Whether a flag is set.
    pub(super) fn has_flag(&self, flag: u32) -> bool {
        self.flags() & flag != 0
    }

    /// Sets all flags.
    pub(super) fn set_flags(&mut self, flags: u32) {
        self.store(0x20, &flags.to_le_bytes());
    }

    /// The generation: which use of the inode's number this is.
    pub(super) fn generation(&self) -> u32 {
        self.u32_at(0x64)
    }

    /// Sets the generation.
    pub(super) fn set_generation(&mut self, generation: u32) {
        self.store(0x64, &generation.to_le_bytes());
    }

    /// The time of deletion, in seconds since 1970; 0 while in use, and the next inode where it is listed as an orphan.
    pub(super) fn deletion_time(&self) -> u32 {
        self.u32_at(0x14)
    }

    /// Sets the time of deletion.
    pub(super) fn set_deletion_time(&mut self, seconds: u32) {
        self.store(0x14, &seconds.to_le_bytes());
    }

    /// The room that the file takes, in sectors of 512 bytes.
    pub(super) fn sectors(&self, block_size: u32) -> u64 {
        let blocks = u64::from(self.u32_at(0x1c)) | u64::from(self.u16_at(0x74)) << 32;
        if self.has_flag(flag::HUGE_FILE) { blocks * u64::from(block_size / 512) } else { blocks }
    }

    /// Sets the room that the file takes; `Unsupported` where it cannot be told without the `huge_file` feature.
    pub(super) fn set_sectors(&mut self, sectors: u64, block_size: u32, huge_files: HugeFiles) -> Result<()> {
        let limit = if huge_files == HugeFiles::Allowed { (1 << 48) - 1 } else { u64::from(u32::MAX) };
        let (count, flags) = if sectors <= limit {
            (sectors, self.flags() & !flag::HUGE_FILE)
        } else if huge_files == HugeFiles::Allowed {
            (sectors / u64::from(block_size / 512), self.flags() | flag::HUGE_FILE)
        } else {
            return Err(Error::unsupported(
                Layer::Filesystem,
                "the file is too large for a filesystem without huge_file",
            ));
        };
        let [b0, b1, b2, b3, b4, b5, ..] = count.to_le_bytes();
        self.store(0x1c, &[b0, b1, b2, b3]);
        self.store(0x74, &[b4, b5]);
        self.set_flags(flags);
        Ok(())
    }

    /// The block with further extended attributes; 0 where there is none.
    pub(super) fn xattr_block(&self) -> u64 {
        u64::from(self.u32_at(0x68)) | u64::from(self.u16_at(0x76)) << 32
    }

    /// Sets the block with further extended attributes.
    pub(super) fn set_xattr_block(&mut self, block: u64) {
        let [b0, b1, b2, b3, b4, b5, ..] = block.to_le_bytes();
        self.store(0x68, &[b0, b1, b2, b3]);
        self.store(0x76, &[b4, b5]);
    }

    /// The 60 bytes with the root of the extents, or a short link's target.
    pub(super) fn block_area(&self) -> &[u8] {
        self.raw.get(BLOCK_AREA..BLOCK_AREA + BLOCK_AREA_LEN).unwrap_or_default()
    }

    /// Sets the 60 bytes, padding a shorter `area` with zeros.
    pub(super) fn set_block_area(&mut self, area: &[u8]) {
        let mut bytes = [0; BLOCK_AREA_LEN];
        for (to, from) in bytes.iter_mut().zip(area) {
            *to = *from;
        }
        self.store(BLOCK_AREA, &bytes);
    }

    /// The bytes after the extra fields, where extended attributes are.
    pub(super) fn xattr_area(&self) -> &[u8] {
        self.raw.get(BASE_SIZE + self.extra_isize()..).unwrap_or_default()
    }

    /// Sets the bytes after the extra fields; `area` has exactly their length.
    pub(super) fn set_xattr_area(&mut self, area: &[u8]) -> Result<()> {
        let start = BASE_SIZE + self.extra_isize();
        if self.raw.len() != start + area.len() {
            return Err(self.damaged("its attributes do not fit"));
        }
        self.store(start, area);
        Ok(())
    }

    /// Of an inode with the value of an attribute: the value's hash, which is where others have the time of access.
    pub(super) fn value_hash(&self) -> u32 {
        self.u32_at(0x8)
    }

    /// Sets the value's hash.
    pub(super) fn set_value_hash(&mut self, hash: u32) {
        self.set_time(Time::Access, Timestamp { seconds: hash.into(), nanoseconds: 0 });
        // As a time it could be too late for a small inode.
        self.store(0x8, &hash.to_le_bytes());
    }

    /// Of an inode with the value of an attribute: how many refer to it, half of it where others have the time of
    /// change and half in their version.
    pub(super) fn references(&self) -> u64 {
        u64::from(self.u32_at(0xc)) << 32 | u64::from(self.u32_at(0x24))
    }

    /// Sets how many refer to the value.
    pub(super) fn set_references(&mut self, references: u64) {
        let [r0, r1, r2, r3, ..] = references.to_le_bytes();
        let high = i64::try_from(references >> 32).unwrap_or(0);
        self.set_time(Time::Change, Timestamp { seconds: high, nanoseconds: 0 });
        self.store(0x24, &[r0, r1, r2, r3]);
    }

    /// Of an inode with the value of an attribute, in the old way: the inode that has it, where others have the time of
    /// modification.
    pub(super) fn value_parent(&self) -> u32 {
        self.u32_at(0x10)
    }

    /// The address of a fragment, which no filesystem has.
    pub(super) fn fragment(&self) -> u32 {
        self.u32_at(0x70)
    }

    /// Whether this is a symbolic link whose target is in the inode itself.
    pub(super) fn is_short_link(&self) -> bool {
        let in_inode = self.flags() & (flag::EXTENTS | flag::INLINE_DATA | flag::ENCRYPT) == 0;
        self.mode() >> 12 == 0xa && in_inode && self.size() > 0 && self.size() < BLOCK_AREA_LEN as u64
    }

    /// What the rest of the program knows of a file.
    pub(super) fn metadata(&self) -> Result<Metadata> {
        Ok(Metadata {
            file_type: self.file_type()?,
            mode: self.mode() & 0o7777,
            uid: self.uid(),
            gid: self.gid(),
            size: self.size(),
            links: u32::from(self.links()),
            inode: u64::from(self.number),
            mtime: self.time(Time::Modification),
        })
    }

    /// An error that names the inode.
    pub(super) fn damaged(&self, what: &str) -> Error {
        Error::corrupt(Layer::Filesystem, format!("inode {} is damaged: {what}", self.number))
    }
}

/// Whether the filesystem has the `huge_file` feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HugeFiles {
    /// It has.
    Allowed,
    /// It has not.
    Absent,
}

/// The type's bits in a mode word.
pub(super) fn type_bits(file_type: FileType) -> u16 {
    match file_type {
        FileType::Fifo => 0x1000,
        FileType::CharDevice => 0x2000,
        FileType::Directory => 0x4000,
        FileType::BlockDevice => 0x6000,
        FileType::Regular => 0x8000,
        FileType::Symlink => 0xa000,
        FileType::Socket => 0xc000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_guards_every_byte() {
        for (size, extra) in [(128, 0), (256, 32), (256, 0), (512, 28)] {
            let mut inode = Inode::zeroed(12, size, extra);
            inode.set_mode(0o100_644);
            let raw = inode.encode(Some(77)).to_vec();
            Inode::parse(12, raw.clone(), Some(77)).unwrap();
            assert!(Inode::parse(13, raw.clone(), Some(77)).is_err());
            for at in 0..raw.len() {
                let mut raw = raw.clone();
                raw[at] ^= 0x10;
                assert!(Inode::parse(12, raw, Some(77)).is_err(), "{size} {extra} {at}");
            }
        }
    }

    #[test]
    fn room_is_counted_in_sectors_then_in_blocks() {
        let mut inode = Inode::zeroed(12, 256, 32);
        for sectors in [0, 8, u64::from(u32::MAX) + 1, 1 << 50] {
            inode.set_sectors(sectors, 4096, HugeFiles::Allowed).unwrap();
            assert_eq!(inode.sectors(4096), sectors);
        }
        assert!(inode.has_flag(flag::HUGE_FILE));
        assert!(inode.set_sectors(1 << 40, 4096, HugeFiles::Absent).is_err());
    }
}
