//! Protection against being mounted twice (`mmp`): whether somebody else has the filesystem.
//!
//! Source: kernel Documentation/filesystems/ext4/mmp.rst.

use super::checksum::crc32c;
use super::le;
use super::superblock::Superblock;
use crate::block::BlockDevice;
use crate::error::{Error, ErrorKind, Layer, Result};

const LENGTH: usize = 1024;
const MAGIC: u32 = 0x004d_4d50;
/// Nobody has the filesystem.
const CLEAN: u32 = 0xff4d_4d50;
/// e2fsck has it.
const CHECKED: u32 = 0xe24d_4d50;
const CHECKSUM: usize = 0x3fc;

/// Fails with `InUse` unless the filesystem's last user has given it back; `Corrupt` where that cannot be told.
///
/// The block is left as it is: whoever could watch it has no access while the image is locked.
pub(super) fn check(device: &dyn BlockDevice, superblock: &Superblock) -> Result<()> {
    let Some(block) = superblock.mmp_block() else { return Ok(()) };
    superblock.check_blocks(block, 1)?;
    let mut raw = [0; LENGTH];
    device.read_at(&mut raw, block.saturating_mul(u64::from(superblock.block_size)))?;
    let damaged =
        |what: &str| Error::corrupt(Layer::Filesystem, format!("the ext4 mmp block {block} is damaged: {what}"));
    if le::u32_at(&raw, 0) != Some(MAGIC) {
        return Err(damaged("it is none"));
    }
    if let Some(seed) = superblock.seed
        && le::u32_at(&raw, CHECKSUM) != Some(crc32c(seed, raw.get(..CHECKSUM).unwrap_or_default()))
    {
        return Err(damaged("its checksum is wrong"));
    }
    let doing = match le::u32_at(&raw, 4).unwrap_or(0) {
        CLEAN => return Ok(()),
        CHECKED => "e2fsck runs on it, or was interrupted",
        _ => "it is mounted, or was when its machine stopped",
    };
    let (node, device) = (text(&raw, 16, 64), text(&raw, 80, 32));
    Err(Error::new(
        ErrorKind::InUse,
        Layer::Filesystem,
        format!("the ext4 filesystem is in use (mmp): {doing}; node {node}, device {device}"),
    )
    .with_hint("when nothing uses it any more, run tune2fs -f -E clear_mmp on the filesystem"))
}

/// A name that somebody else wrote, fit to be shown.
fn text(raw: &[u8], offset: usize, len: usize) -> String {
    let field = raw.get(offset..).and_then(|rest| rest.get(..len)).unwrap_or_default();
    let name = field.split(|byte| *byte == 0).next().unwrap_or_default();
    format!("'{}'", name.escape_ascii())
}
