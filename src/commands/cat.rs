//! `imgraft cat`: the bytes of a file of the guest.

use super::{Audience, look, print, tell};
use crate::failure::{Exit, Failure};
use crate::plan::Look;
use imgraft_vfs::fs::{FileType, GuestFs, Lookup};
use imgraft_vfs::resolve::{Follow, resolve};
use imgraft_vfs::{Error, ErrorKind, Layer};

pub(super) fn run(plan: &Look) -> Result<Exit, Failure> {
    let (_txn, grown) = look(&plan.target)?;
    let fs = &grown.tree;
    let at = resolve(fs, &plan.path, Follow::All)?;
    tell(&grown.notes_of(&at));
    let refuse = |kind, reason: &str| Error::new(kind, Layer::Filesystem, reason).with_guest_path(plan.path.as_bytes());
    let metadata = fs.lookup(&at)?.ok_or_else(|| refuse(ErrorKind::NotFound, "no such file in the guest"))?;
    if metadata.file_type != FileType::Regular {
        return Err(refuse(ErrorKind::WrongType, "not a regular file").into());
    }
    let mut buf = vec![0; 1 << 18];
    let mut offset = 0;
    loop {
        let read = fs.read_at(&at, &mut buf, offset)?;
        if read == 0 || print(&buf[..read])? == Audience::Gone {
            return Ok(Exit::Done);
        }
        offset += read as u64;
    }
}
