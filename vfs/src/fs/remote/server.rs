//! The far end: answers with a filesystem of its own.

use super::channel::{Channel, MESSAGE_MAX};
use super::codec::List;
use super::wire::{Answer, Failed, Mount, Place, Request, decode, encode};
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::fs::{Content, GuestFs};

/// The longest read that is answered in one piece.
const READ_MAX: usize = 1 << 20;

/// Who has the filesystem that is served.
pub trait Keeper {
    /// Opens it, and says where.
    fn open(&mut self, mount: &Mount) -> Result<(Box<dyn GuestFs>, Place)>;
    /// Closes it, so that nothing of it is held any longer.
    fn close(&mut self, fs: Box<dyn GuestFs>) -> Result<()>;
}

/// Answers until the other end has had the filesystem closed. An error of the filesystem is an answer; what is returned is the
/// channel's, or a question out of turn.
pub fn serve(channel: &mut impl Channel, keeper: &mut impl Keeper) -> Result<()> {
    let Request::Mount(mount) = decode(&channel.receive()?)? else { return Err(out_of_turn()) };
    let (mut fs, place) = match keeper.open(&mount) {
        Ok(opened) => opened,
        Err(error) => return channel.send(&encode(&Answer::Failed(Failed::from(&error)))),
    };
    channel.send(&encode(&Answer::Mounted(fs.features(), place)))?;
    loop {
        let answer = match decode(&channel.receive()?)? {
            Request::Mount(_) => return Err(out_of_turn()),
            Request::Close => {
                let answer = keeper.close(fs).map(|()| Answer::Done);
                return channel.send(&encode(&settled(answer)));
            }
            request => encode(&settled(answer(&mut *fs, request))),
        };
        let answer = if answer.len() > MESSAGE_MAX { encode(&settled(Err(too_long()))) } else { answer };
        channel.send(&answer)?;
    }
}

fn settled(answer: Result<Answer>) -> Answer {
    answer.unwrap_or_else(|error| Answer::Failed(Failed::from(&error)))
}

fn answer(fs: &mut dyn GuestFs, request: Request) -> Result<Answer> {
    let changed = match request {
        Request::Mount(_) | Request::Close => Err(out_of_turn()),
        Request::Lookup(at) => return fs.lookup(&at).map(Answer::Found),
        Request::ReadLink(at) => return fs.read_link(&at).map(Answer::Bytes),
        Request::ReadAt(at, offset, len) => {
            let mut bytes = vec![0; usize::try_from(len).unwrap_or(READ_MAX).min(READ_MAX)];
            let read = fs.read_at(&at, &mut bytes, offset)?;
            bytes.truncate(read);
            return Ok(Answer::Bytes(bytes));
        }
        Request::ReadDir(at) => return Ok(Answer::Entries(List(fs.read_dir(&at)?))),
        Request::Special(at) => return fs.special(&at).map(Answer::Special),
        Request::Xattrs(at) => return Ok(Answer::Xattrs(List(fs.xattrs(&at)?))),
        Request::CreateFile(at, attrs) => fs.create_file(&at, attrs),
        Request::CreateDir(at, attrs) => fs.create_dir(&at, attrs),
        Request::CreateSymlink(at, target, attrs) => fs.create_symlink(&at, &target, attrs),
        Request::CreateSpecial(at, special, attrs) => fs.create_special(&at, special, attrs),
        Request::HardLink(existing, at) => fs.hard_link(&existing, &at),
        Request::Put(at, bytes) => fs.put(&at, &Content::bytes(bytes)),
        Request::Append(at, bytes) => fs.append(&at, &Content::bytes(bytes)),
        Request::Truncate(at, size) => fs.truncate(&at, size),
        Request::SetAttrs(at, attrs) => fs.set_attrs(&at, attrs),
        Request::SetXattr(at, xattr) => fs.set_xattr(&at, &xattr),
        Request::RemoveXattr(at, name) => fs.remove_xattr(&at, &name),
        Request::Remove(at) => fs.remove(&at),
        Request::Rename(from, to) => fs.rename(&from, &to),
    };
    changed.map(|()| Answer::Done)
}

fn out_of_turn() -> Error {
    Error::new(ErrorKind::Invalid, Layer::Filesystem, "a question out of turn")
}

fn too_long() -> Error {
    Error::unsupported(Layer::Filesystem, "more than 16 MiB in one answer, as of a very large directory")
}
