//! Reading changes back through a filesystem that was opened anew: what a kernel has written, by a kernel that has forgotten it.

use super::{compare, compare_content, compare_metadata, differs};
use crate::error::{ErrorKind, Layer, Result};
use crate::fs::GuestFs;
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
    compare_metadata(at, &found, after)?;
    if let Some(target) = &after.target {
        compare(at, "target", fs.read_link(at)?, target.clone(), |target| target.escape_ascii().to_string())?;
    }
    if let Some(special) = after.special {
        compare(at, "device", fs.special(at)?.number(), special.number(), |number| {
            format!("{}:{}", number.major, number.minor)
        })?;
    }
    if let Some(first) = &change.linked
        && fs.lookup(first)?.map(|first| first.inode) != Some(found.inode)
    {
        return Err(differs(at, format!("it is not the same file as {first}")));
    }
    if let Some(content) = after.content.as_ref().filter(|_| change.linked.is_none()) {
        compare_content(at, content, |part, offset| fs.read_at(at, part, offset))?;
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
