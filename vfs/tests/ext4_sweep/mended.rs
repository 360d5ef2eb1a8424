//! Damage that is put right after the edits: where that gives what the same edits make of the sound image, nothing sound
//! was touched, whatever e2fsck finds while the damage is there.

use crate::Damage;
use crate::base::Base;
use crate::edit::Edit;
use crate::oracle::{self, Tree};
use crate::trial::{self, NOW};
use imgraft_vfs::Result;
use imgraft_vfs::block::{BlockDevice, MemDevice};
use imgraft_vfs::fs::Mode;
use imgraft_vfs::fs::ext4::Ext4;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

/// How much of a file is compared: all of the largest.
const BYTES: u64 = 80 << 20;

/// Whether an image, `damaged` and then `edited`, is sound with the wrong bits put right, by e2fsck, and has the files that
/// the edits give the sound image. A bit that an edit has written anew is left as that wrote it.
pub fn is_sound(
    base: &Base,
    damage: &[Damage],
    [damaged, edited]: [&[u8]; 2],
    edits: impl Iterator<Item = Edit>,
    scratch: &Path,
) -> bool {
    let mut mended = edited.to_vec();
    for Damage { at, xor } in damage {
        if mended[*at] & xor == damaged[*at] & xor {
            mended[*at] ^= xor;
        }
    }
    std::fs::write(scratch, &mended).unwrap();
    let mut e2fsck = Command::new("e2fsck");
    let looked = e2fsck.env("PATH", oracle::path_with_sbin()).arg("-fn").arg(scratch).output().unwrap();
    if !looked.status.success() {
        return false;
    }
    let wanted = trial::run(Arc::new(MemDevice::new(base.bytes.clone())), edits);
    let trees = [Arc::new(MemDevice::new(mended)), wanted.device].map(tree);
    wanted.refused == 0 && matches!(trees, [Ok(mended), Ok(wanted)] if mended == wanted)
}

fn tree(device: Arc<dyn BlockDevice>) -> Result<Tree> {
    // As for writing, so that nothing is let pass.
    oracle::try_tree(&Ext4::open(device, Mode::ReadWrite { now: NOW })?, BYTES)
}
