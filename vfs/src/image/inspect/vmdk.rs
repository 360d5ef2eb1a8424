//! VMDK: what its descriptor says of other files (VMware's "Virtual Disk Format" technical note).

use super::Finding;
use super::field::{has, little, piece};
use crate::block::BlockDevice;
use crate::error::Result;

const SECTOR: u64 = 512;
/// Bytes of a descriptor that are looked at; the usual one has some hundred.
const DESCRIPTOR_LIMIT: u64 = 64 << 10;
/// The kinds whose data is in the file itself.
const ALONE: [&str; 2] = ["monolithicSparse", "streamOptimized"];

pub(super) fn findings(host: &dyn BlockDevice) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    let head = piece(host, 0, 512)?;
    let (offset, len) = match head.first() {
        Some(b'K') => {
            let version = little(&head, 4, 4);
            if !(1..=3).contains(&version) {
                found.push(Finding::new("version", format!("the sparse header has version {version}")));
            }
            (little(&head, 28, 8).saturating_mul(SECTOR), little(&head, 36, 8).saturating_mul(SECTOR))
        }
        Some(b'#') => (0, host.size()),
        // The older kind has no descriptor.
        _ => return Ok(found),
    };
    if offset == 0 && has(&head, 0, b"KDMV") {
        found.push(Finding::new("other_files", "the descriptor is in another file"));
        return Ok(found);
    }
    if len > DESCRIPTOR_LIMIT {
        found.push(Finding::new("malformed", format!("the descriptor is more than {DESCRIPTOR_LIMIT} bytes long")));
    }
    let bytes = piece(host, offset, usize::try_from(len.min(DESCRIPTOR_LIMIT)).unwrap_or(0))?;
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    describe(text, &mut found);
    Ok(found)
}

/// What a descriptor says: lines of `name=value`, of extents, and comments.
fn describe(text: &[u8], found: &mut Vec<Finding>) {
    let mut kind = None;
    let mut extents = Vec::new();
    for line in text.split(|byte| matches!(byte, b'\n' | b'\r')).map(<[u8]>::trim_ascii) {
        let quoted = || line.split(|byte| *byte == b'"').nth(1).unwrap_or_default().escape_ascii().to_string();
        if line.starts_with(b"createType") {
            kind = Some(quoted());
        } else if line.starts_with(b"parentFileNameHint") {
            found.push(Finding::new("backing_file", format!("it lies over the file \"{}\"", quoted())));
        } else if [&b"RW "[..], b"RDONLY ", b"NOACCESS "].iter().any(|access| line.starts_with(access)) {
            extents.push(quoted());
        }
    }
    if extents.is_empty() {
        found.push(Finding::new("malformed", "the descriptor names no extent"));
    }
    let kind = kind.unwrap_or_default();
    let elsewhere = extents.iter().find(|name| name.contains('/'));
    if let Some(name) = elsewhere.or_else(|| extents.first().filter(|_| !ALONE.contains(&kind.as_str()))) {
        let text = format!("its kind is \"{kind}\", and it names the file \"{name}\"");
        found.push(Finding::new("other_files", text));
    }
}
