//! The near end: a guest filesystem whose every call is a question.
#![deny(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use super::channel::Channel;
use super::wire::{Answer, Mount, Place, Request, decode, encode, plain};
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::fs::{
    Attrs, Content, DeviceNumber, DirEntry, Features, GuestFs, Lookup, Metadata, Ownership, SetAttrs, SpecialFile,
    Xattr,
};
use crate::path::{NAME_MAX, PATH_MAX, Resolved};
use std::sync::{Mutex, PoisonError};

/// How many bytes of a file go into one message.
const PIECE: usize = 256 << 10;
/// The longest value of an extended attribute (XATTR_SIZE_MAX of Linux).
const XATTR_VALUE_MAX: usize = 65_536;

/// A guest filesystem at the other end of a channel.
#[derive(Debug)]
pub struct Remote<C: Channel> {
    channel: Mutex<C>,
    features: Features,
}

impl<C: Channel> Remote<C> {
    /// Has the other end mount its filesystem. Errors: whatever kept it from that, or the channel's.
    pub fn mount(channel: C, mount: &Mount) -> Result<(Self, Place)> {
        let channel = Mutex::new(channel);
        let Answer::Mounted(features, place) = ask(&channel, &Request::Mount(mount.clone()))? else {
            return Err(nonsense());
        };
        let place = Place { kernel: plain(&place.kernel), subvolume: place.subvolume.as_deref().map(plain) };
        Ok((Self { channel, features }, place))
    }

    /// Asks about a path, which an error then names.
    fn ask(&self, at: &Resolved, request: &Request) -> Result<Answer> {
        ask(&self.channel, request).map_err(|error| error.with_guest_path(at.as_bytes()))
    }

    /// Asks for a change.
    fn change(&self, at: &Resolved, request: &Request) -> Result<()> {
        match self.ask(at, request)? {
            Answer::Done => Ok(()),
            _ => Err(nonsense()),
        }
    }

    /// Sends content piece by piece, the first by one request and the rest by appending.
    fn stream(&self, at: &Resolved, content: &Content, first: fn(Resolved, Vec<u8>) -> Request) -> Result<()> {
        let mut offset = 0_u64;
        let mut request = first;
        loop {
            let left = content.len().saturating_sub(offset);
            let len = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE);
            let mut piece = vec![0; len];
            content.read_at(&mut piece, offset)?;
            self.change(at, &request(at.clone(), piece))?;
            offset = offset.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
            if offset >= content.len() {
                return Ok(());
            }
            request = Request::Append;
        }
    }
}

fn ask<C: Channel>(channel: &Mutex<C>, request: &Request) -> Result<Answer> {
    // A panic while it was held left it as it was.
    let mut channel = channel.lock().unwrap_or_else(PoisonError::into_inner);
    channel.send(&encode(request))?;
    match decode(&channel.receive()?)? {
        Answer::Failed(failed) => Err(Error::from(failed)),
        answer => Ok(answer),
    }
}

/// An answer to another question, or one that no filesystem gives.
fn nonsense() -> Error {
    Error::corrupt(Layer::Filesystem, "an answer that does not fit the question")
}

fn is_number(DeviceNumber { major, minor }: DeviceNumber) -> bool {
    DeviceNumber::new(major, minor).is_some()
}

fn name_is_sound(name: &[u8]) -> bool {
    (1..=NAME_MAX).contains(&name.len()) && !name.contains(&0) && !name.contains(&b'/') && name != b"." && name != b".."
}

impl<C: Channel> Lookup for Remote<C> {
    fn lookup(&self, at: &Resolved) -> Result<Option<Metadata>> {
        match self.ask(at, &Request::Lookup(at.clone()))? {
            Answer::Found(None) => Ok(None),
            Answer::Found(Some(metadata)) if metadata.mode <= 0o7777 && metadata.mtime.nanoseconds < 1_000_000_000 => {
                Ok(Some(metadata))
            }
            _ => Err(nonsense().with_guest_path(at.as_bytes())),
        }
    }

    fn read_link(&self, at: &Resolved) -> Result<Vec<u8>> {
        match self.ask(at, &Request::ReadLink(at.clone()))? {
            Answer::Bytes(target) if target.len() < PATH_MAX => Ok(target),
            _ => Err(nonsense().with_guest_path(at.as_bytes())),
        }
    }
}

impl<C: Channel> GuestFs for Remote<C> {
    fn features(&self) -> Features {
        self.features.clone()
    }

    fn part(&self, _at: &Resolved) -> usize {
        0
    }

    fn ownership(&self, _at: &Resolved) -> Ownership {
        // A kernel is borrowed for what guests have their root on.
        Ownership::Kept
    }

    fn read_at(&self, at: &Resolved, buf: &mut [u8], offset: u64) -> Result<usize> {
        let mut done = 0_usize;
        loop {
            let rest = buf.get_mut(done..).unwrap_or_default();
            let wanted = rest.len().min(PIECE);
            let from = offset.saturating_add(u64::try_from(done).unwrap_or(u64::MAX));
            let question = Request::ReadAt(at.clone(), from, u32::try_from(wanted).unwrap_or(u32::MAX));
            let Answer::Bytes(bytes) = self.ask(at, &question)? else {
                return Err(nonsense().with_guest_path(at.as_bytes()));
            };
            let Some(target) = rest.get_mut(..bytes.len()).filter(|_| bytes.len() <= wanted) else {
                return Err(nonsense().with_guest_path(at.as_bytes()));
            };
            target.copy_from_slice(&bytes);
            done = done.saturating_add(bytes.len());
            if bytes.len() < wanted || done >= buf.len() {
                return Ok(done);
            }
        }
    }

    fn read_dir(&self, at: &Resolved) -> Result<Vec<DirEntry>> {
        match self.ask(at, &Request::ReadDir(at.clone()))? {
            Answer::Entries(entries) if entries.0.iter().all(|entry| name_is_sound(&entry.name)) => Ok(entries.0),
            _ => Err(nonsense().with_guest_path(at.as_bytes())),
        }
    }

    fn special(&self, at: &Resolved) -> Result<SpecialFile> {
        match self.ask(at, &Request::Special(at.clone()))? {
            Answer::Special(special) if is_number(special.number()) => Ok(special),
            _ => Err(nonsense().with_guest_path(at.as_bytes())),
        }
    }

    fn xattrs(&self, at: &Resolved) -> Result<Vec<Xattr>> {
        let sound = |xattr: &Xattr| {
            (1..=NAME_MAX).contains(&xattr.name.len())
                && !xattr.name.contains(&0)
                && xattr.value.len() <= XATTR_VALUE_MAX
        };
        match self.ask(at, &Request::Xattrs(at.clone()))? {
            Answer::Xattrs(xattrs) if xattrs.0.iter().all(sound) && xattrs.0.is_sorted() => Ok(xattrs.0),
            _ => Err(nonsense().with_guest_path(at.as_bytes())),
        }
    }

    fn create_file(&mut self, at: &Resolved, attrs: Attrs) -> Result<()> {
        self.change(at, &Request::CreateFile(at.clone(), attrs))
    }

    fn create_dir(&mut self, at: &Resolved, attrs: Attrs) -> Result<()> {
        self.change(at, &Request::CreateDir(at.clone(), attrs))
    }

    fn create_symlink(&mut self, at: &Resolved, target: &[u8], attrs: Attrs) -> Result<()> {
        self.change(at, &Request::CreateSymlink(at.clone(), target.to_vec(), attrs))
    }

    fn create_special(&mut self, at: &Resolved, special: SpecialFile, attrs: Attrs) -> Result<()> {
        self.change(at, &Request::CreateSpecial(at.clone(), special, attrs))
    }

    fn hard_link(&mut self, existing: &Resolved, at: &Resolved) -> Result<()> {
        self.change(at, &Request::HardLink(existing.clone(), at.clone()))
    }

    fn put(&mut self, at: &Resolved, content: &Content) -> Result<()> {
        self.stream(at, content, Request::Put)
    }

    fn append(&mut self, at: &Resolved, content: &Content) -> Result<()> {
        self.stream(at, content, Request::Append)
    }

    fn truncate(&mut self, at: &Resolved, size: u64) -> Result<()> {
        self.change(at, &Request::Truncate(at.clone(), size))
    }

    fn set_attrs(&mut self, at: &Resolved, attrs: SetAttrs) -> Result<()> {
        self.change(at, &Request::SetAttrs(at.clone(), attrs))
    }

    fn set_xattr(&mut self, at: &Resolved, xattr: &Xattr) -> Result<()> {
        if xattr.name.len() > NAME_MAX || xattr.value.len() > XATTR_VALUE_MAX {
            return Err(Error::new(
                ErrorKind::Invalid,
                Layer::Filesystem,
                "an extended attribute longer than Linux takes",
            )
            .with_guest_path(at.as_bytes()));
        }
        self.change(at, &Request::SetXattr(at.clone(), xattr.clone()))
    }

    fn remove_xattr(&mut self, at: &Resolved, name: &[u8]) -> Result<()> {
        self.change(at, &Request::RemoveXattr(at.clone(), name.to_vec()))
    }

    fn remove(&mut self, at: &Resolved) -> Result<()> {
        self.change(at, &Request::Remove(at.clone()))
    }

    fn rename(&mut self, from: &Resolved, to: &Resolved) -> Result<()> {
        self.change(from, &Request::Rename(from.clone(), to.clone()))
    }

    fn close(self: Box<Self>) -> Result<()> {
        match ask(&self.channel, &Request::Close)? {
            Answer::Done => self.channel.into_inner().unwrap_or_else(PoisonError::into_inner).finish(),
            _ => Err(nonsense()),
        }
    }
}
