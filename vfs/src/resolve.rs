//! The only code that follows a symbolic link.

use crate::error::{Error, ErrorKind, Layer, Result};
use crate::fs::{FileType, Lookup};
use crate::path::{GuestPath, NAME_MAX, PATH_MAX, Resolved};
use std::collections::VecDeque;

/// How many symbolic links one resolution follows, as in Linux (path_resolution(7)).
const LINKS_MAX: usize = 40;

/// What to do with a symbolic link in the last place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// Follow it, as open(2) does.
    All,
    /// Stop at it, as lstat(2) does.
    ExcludeLast,
}

/// Follows every symbolic link of `path` inside the guest's root.
///
/// An absolute link starts again at the guest's root, and `..` in a link never leaves it. The path need not exist: from
/// the first component that is missing on, the rest is taken as it stands, and a `..` of a link there is refused.
///
/// Errors: `Denied` after 40 links (a loop), `WrongType` where a component before the last is not a directory, `Invalid`
/// where the path grows longer than Linux takes, and whatever the lookup fails with.
pub fn resolve(tree: &(impl Lookup + ?Sized), path: &GuestPath, follow: Follow) -> Result<Resolved> {
    let mut pending: VecDeque<Vec<u8>> = path.components().map(<[u8]>::to_vec).collect();
    let mut at = Resolved::root();
    let mut links = 0_usize;
    let mut missing = false;
    let refuse = |kind, reason: &str| Err(Error::new(kind, Layer::Path, reason).with_guest_path(path.as_bytes()));

    while let Some(name) = pending.pop_front() {
        if name == b".." {
            if missing {
                return refuse(ErrorKind::NotFound, "a symbolic link in it goes through a directory that is missing");
            }
            at = at.parent().unwrap_or_else(Resolved::root);
            continue;
        }
        if name.len() > NAME_MAX || at.as_bytes().len() + name.len() + 1 >= PATH_MAX {
            return refuse(ErrorKind::Invalid, "it resolves to a name or a path that is too long");
        }
        let next = at.child(&name);
        if missing {
            at = next;
            continue;
        }
        let Some(metadata) = tree.lookup(&next)? else {
            missing = true;
            at = next;
            continue;
        };
        let last = pending.is_empty();
        match metadata.file_type {
            FileType::Symlink if last && follow == Follow::ExcludeLast => at = next,
            FileType::Symlink => {
                links += 1;
                if links > LINKS_MAX {
                    return refuse(ErrorKind::Denied, "more than 40 symbolic links (a loop)");
                }
                let target = tree.read_link(&next)?;
                if target.is_empty() || target.contains(&0) || target.len() >= PATH_MAX {
                    return Err(Error::corrupt(Layer::Path, "a symbolic link with an impossible target")
                        .with_guest_path(next.as_bytes()));
                }
                if target.first() == Some(&b'/') {
                    at = Resolved::root();
                }
                let parts = target.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
                for part in parts.rev() {
                    pending.push_front(part.to_vec());
                }
                if pending.iter().map(|part| part.len() + 1).sum::<usize>() >= PATH_MAX {
                    return refuse(ErrorKind::Invalid, "it resolves to a name or a path that is too long");
                }
            }
            FileType::Directory => at = next,
            _ if last => at = next,
            _ => {
                return Err(
                    Error::new(ErrorKind::WrongType, Layer::Path, "not a directory").with_guest_path(next.as_bytes())
                );
            }
        }
    }
    Ok(at)
}
