//! The hashes by which an indexed directory orders its names.

use crate::error::Result;

/// How bytes above 0x7f enter a hash: it once depended on the machine, and the superblock's flags now say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CharSign {
    /// As negative numbers (x86).
    Signed,
    /// As positive numbers (ARM).
    Unsigned,
}

/// The hash function proper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HashFunction {
    /// The original one.
    Legacy,
    /// A shortened MD4; what mke2fs chooses.
    HalfMd4,
    /// The Tiny Encryption Algorithm.
    Tea,
}

/// Everything that a name's hash depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NameHash {
    /// The function: of an indexed directory its root says which, else the superblock.
    pub(super) function: HashFunction,
    /// How bytes above 0x7f are taken.
    pub(super) sign: CharSign,
    /// The superblock's `s_hash_seed` as four little-endian words; all zero means the constants of MD4.
    pub(super) seed: [u32; 4],
}

impl HashFunction {
    /// From the number in the superblock's `s_def_hash_version` or a root's `hash_version` (0 to 2); the numbers of
    /// the unsigned variants (3 to 5) are never stored and, like every other, are `Unsupported`.
    pub(super) fn from_version(version: u8) -> Result<Self> {
        let _ = version;
        todo!()
    }

    /// The number under which a root stores it, 0 to 2.
    pub(super) fn version(self) -> u8 {
        todo!()
    }
}

impl NameHash {
    /// The hash of a name; always even, and never the end mark 0xfffffffe.
    pub(super) fn of(&self, name: &[u8]) -> u32 {
        let _ = name;
        todo!()
    }
}
