//! Blocks of files and names in them, as far as a verdict has to know of them.

use crate::oracle;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// Where an image says how large its blocks are: this, so often doubled.
const LOG_BLOCK_SIZE: usize = 1024 + 0x18;
const BLOCK: usize = 1024;
/// Of an entry of a directory, the length of what comes before its name, in bytes.
const HEAD: usize = 8;

/// The inodes that a block names, read as one of a directory.
pub fn named_inodes(image: &[u8], block: u64) -> BTreeSet<u32> {
    let mut inodes = BTreeSet::new();
    let len = image.get(LOG_BLOCK_SIZE).and_then(|log| BLOCK.checked_shl(u32::from(*log))).unwrap_or(BLOCK);
    let Some(mut rest) = image.get(block as usize * len..).and_then(|rest| rest.get(..len)) else { return inodes };
    while let Some((head, _)) = rest.split_at_checked(HEAD) {
        inodes.insert(u32::from_le_bytes(head[..4].try_into().unwrap()));
        let len = usize::from(u16::from_le_bytes(head[4..6].try_into().unwrap()));
        match rest.get(len..) {
            Some(next) if len >= HEAD => rest = next,
            _ => break,
        }
    }
    inodes.remove(&0);
    inodes
}

/// The blocks that files of an image have, as debugfs tells.
pub fn blocks(image: &Path, inodes: &BTreeSet<u32>) -> BTreeSet<u64> {
    let mut found = BTreeSet::new();
    for inode in inodes {
        let mut command = Command::new("debugfs");
        command.env("PATH", oracle::path_with_sbin()).args(["-R", &format!("blocks <{inode}>")]).arg(image);
        let said = command.output().unwrap().stdout;
        found.extend(String::from_utf8_lossy(&said).split_whitespace().filter_map(|word| word.parse::<u64>().ok()));
    }
    found
}
