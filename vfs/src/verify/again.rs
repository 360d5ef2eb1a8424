//! Reading changes back through a filesystem that was opened anew: what a kernel has written, by a kernel that has forgotten it.

use super::{PIECE, compare, differs};
use crate::error::{ErrorKind, Layer, Result};
use crate::fs::{Content, FileType, GuestFs};
use crate::path::Resolved;
use crate::stage::{Change, ChangeSet};

/// Reads every changed path back from a filesystem, and gives how many there are.
///
/// `Corrupt` names the path and what is different. Times are not compared; of the extended attributes those are that the
/// changes are about.
pub fn read_again(fs: &dyn GuestFs, changes: &ChangeSet) -> Result<usize> {
    for change in changes.changes() {
        check(fs, change)?;
    }
    Ok(changes.changes().len())
}

fn check(fs: &dyn GuestFs, change: &Change) -> Result<()> {
    let at = &change.path;
    let found = match fs.lookup(at) {
        // Something else than a directory has come to be where it was.
        Err(error) if error.kind() == ErrorKind::WrongType && error.layer() == Layer::Filesystem => None,
        found => found?,
    };
    let (found, after) = match (found, &change.after) {
        (None, None) => return Ok(()),
        (Some(_), None) => return Err(differs(at, "it is still there after it was removed")),
        (None, Some(_)) => return Err(differs(at, "it is missing after the change")),
        (Some(found), Some(after)) => (found, after),
    };
    let expected = &after.metadata;
    compare(at, "type", found.file_type, expected.file_type, |file_type| format!("{file_type:?}"))?;
    compare(at, "mode", found.mode, expected.mode, |mode| format!("{mode:04o}"))?;
    compare(at, "owner", found.uid, expected.uid, u32::to_string)?;
    compare(at, "group", found.gid, expected.gid, u32::to_string)?;
    if matches!(expected.file_type, FileType::Regular | FileType::Symlink) {
        compare(at, "size", found.size, expected.size, u64::to_string)?;
    }
    if let Some(target) = &after.target {
        compare(at, "target", fs.read_link(at)?, target.clone(), |target| target.escape_ascii().to_string())?;
    }
    if let Some(content) = &after.content {
        check_content(fs, at, content)?;
    }
    let found = fs.xattrs(at)?;
    for xattr in &after.xattrs {
        if !found.contains(xattr) {
            return Err(differs(at, format!("its attribute {} is not what was set", xattr.name.escape_ascii())));
        }
    }
    let removed = change.before.iter().flat_map(|before| &before.xattrs);
    for xattr in removed.filter(|old| after.xattrs.iter().all(|new| new.name != old.name)) {
        if found.iter().any(|found| found.name == xattr.name) {
            return Err(differs(at, format!("its attribute {} is still there", xattr.name.escape_ascii())));
        }
    }
    Ok(())
}

fn check_content(fs: &dyn GuestFs, at: &Resolved, content: &Content) -> Result<()> {
    let size = content.len();
    let mut expected = vec![0; size.min(PIECE) as usize];
    let mut found = expected.clone();
    let mut offset = 0;
    while offset < size {
        let len = (size - offset).min(PIECE) as usize;
        let (expected, found) = (&mut expected[..len], &mut found[..len]);
        content.read_at(expected, offset)?;
        if fs.read_at(at, found, offset)? < len {
            return Err(differs(at, "it ends before its size").with_offset(offset));
        }
        if let Some(wrong) = expected.iter().zip(found.iter()).position(|(expected, found)| expected != found) {
            let message = "its content is not what was to be written";
            return Err(differs(at, message).with_offset(offset + wrong as u64));
        }
        offset += len as u64;
    }
    Ok(())
}
