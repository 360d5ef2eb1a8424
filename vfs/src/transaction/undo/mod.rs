//! Going back: a file by which a commit can be undone, as long as nobody has written to the image since.
//!
//! The file is durable before the commit begins, and is sealed with the time of the image's last write once the commit is
//! done. Of a raw image it holds the bytes that were there before. Of one that switches (qcow2) the old bytes are still in
//! the file, because the commit then gives no room back: the old sector is enough.
//!
//! To undo is to commit once more, in the same way: through a journal, or by the write of one sector. So a crash leaves
//! the image as it is or as it was.

mod pending;
mod record;

pub use pending::Kept;
pub(super) use pending::write;

use super::base::Base;
use super::changes::{self, SECTOR};
use super::commit::{self, Room, Unused};
use super::overlay::Overlay;
use super::sidecar::{self, Owner};
use crate::block::BlockDevice;
use crate::error::{Error, ErrorKind, Layer, Result};
use crc32c::{crc32c, crc32c_append};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use nix::unistd::geteuid;
use pending::checksum;
use record::{Extent, HEADER, Header, Opening, RECORD_HEADER, SEAL, Stored, TRAILER, Way, Witness, checksums};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Whether something has to tell that nobody has written to the image since the commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Yes: the time of the image's last write, or where the host keeps none the checksum of all of it.
    Required,
    /// No, the caller knows it: of a copy, say, or where a crash came before the undo file was sealed. What the commit has
    /// written must be there all the same.
    Waived,
}

/// What an undo did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undone {
    /// The image is as it was before the commit.
    Done,
    /// It was so already, as far as the commit had changed it.
    Already,
}

/// An undo file that is whole: its checksum is right.
#[derive(Debug)]
pub struct UndoFile {
    path: PathBuf,
    file: File,
    /// Whose it is, and who can write to it.
    stat: FileStat,
    header: Header,
    /// The CRC-32C of the records, which was right when the file was opened.
    records: u32,
    sealed: Option<super::host::Time>,
}

/// A record in memory.
#[derive(Debug, Default)]
struct Record {
    offset: u64,
    table: Vec<u8>,
    /// The old bytes; empty where they are in the image.
    old: Vec<u8>,
    len: usize,
}

/// What the image holds of the sectors of an undo file.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    /// Sectors that only the commit makes so.
    new: u64,
    /// Sectors that are as they were before it, and not as after it.
    old: u64,
    /// The first sector past the old end that is not as after the commit, in bytes.
    lost: Option<u64>,
}

impl UndoFile {
    /// Opens an undo file and reads all of it, in bounded memory.
    ///
    /// `NotFound`; `WrongType` where it is no regular file; `Denied` where it is none of ours; `Corrupt` where it is cut or
    /// damaged; `Unsupported` where another imgraft has written it.
    pub fn open(path: &Path) -> Result<Self> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => Error::new(ErrorKind::NotFound, Layer::Host, "there is no such file"),
            io::ErrorKind::PermissionDenied => {
                Error::new(ErrorKind::Denied, Layer::Host, "no permission to read the undo file")
            }
            _ => Error::io(Layer::Host, "read the undo file", source),
        };
        let failed = |source: io::Error| failed(source).with_host_path(path);
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let file = File::from(open(path, flags, Mode::empty()).map_err(|errno| failed(errno.into()))?);
        let stat = fstat(&file).map_err(|errno| failed(errno.into()))?;
        if SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) != SFlag::S_IFREG {
            let error = Error::new(ErrorKind::WrongType, Layer::Host, "an undo file is a regular file");
            return Err(error.with_host_path(path));
        }
        let size = u64::try_from(stat.st_size).unwrap_or_default();
        let mut first = vec![0; usize::try_from(size).map_or(HEADER, |size| size.min(HEADER))];
        file.read_exact_at(&mut first, 0).map_err(failed)?;
        let refused = |kind, message: String| Error::new(kind, Layer::Transaction, message).with_host_path(path);
        let header = match Header::decode(&first) {
            Opening::Header(header) => header,
            Opening::Damaged => return Err(damaged(path)),
            Opening::Version(version) => {
                let message = format!("this undo file has version {version}, which this imgraft does not know");
                return Err(refused(ErrorKind::Unsupported, message).with_hint("use the imgraft that wrote it"));
            }
            Opening::Foreign => {
                let message = "this is no undo file of imgraft".to_owned();
                return Err(refused(ErrorKind::Denied, message)
                    .with_hint("name the file that `imgraft inject --keep-undo FILE` has written"));
            }
        };
        let end = header.file_size.checked_sub(TRAILER as u64).filter(|end| *end >= HEADER as u64);
        let Some(end) = end.filter(|_| size >= header.file_size && size - header.file_size <= SEAL as u64) else {
            return Err(damaged(path));
        };
        let mut checksum = 0;
        let mut buf = Vec::new();
        for (at, len) in changes::chunks(&(HEADER as u64..end)) {
            buf.resize(len, 0);
            file.read_exact_at(&mut buf, at).map_err(failed)?;
            checksum = crc32c_append(checksum, &buf);
        }
        let mut trailer = [0; TRAILER];
        file.read_exact_at(&mut trailer, end).map_err(failed)?;
        let records = checksum;
        if trailer != header.trailer(crc32c_append(records, &first)) {
            return Err(damaged(path));
        }
        // At most SEAL bytes.
        let mut seal = vec![0; usize::try_from(size - header.file_size).unwrap_or(0)];
        file.read_exact_at(&mut seal, header.file_size).map_err(failed)?;
        let sealed = header.sealed(&seal);
        Ok(Self { path: path.to_path_buf(), file, stat, header, records, sealed })
    }

    /// Gives each record in turn to `act`, and fails in the end where the file has changed since it was opened. The checksum
    /// was right: what does not fit here was made to be wrong.
    fn each(&self, mut act: impl FnMut(&Record) -> Result<()>) -> Result<()> {
        let end = self.header.file_size - TRAILER as u64;
        let (mut at, mut reached) = (HEADER as u64, 0);
        let (mut record, mut checksum) = (Record::default(), 0);
        let mut read = |buf: &mut [u8], at: u64| {
            let failed = |e| Error::io(Layer::Host, "read the undo file", e).with_host_path(&self.path);
            self.file.read_exact_at(buf, at).map_err(failed)?;
            checksum = crc32c_append(checksum, buf);
            Ok::<(), Error>(())
        };
        let size = self.header.old_size.max(self.header.new_size);
        for _ in 0..self.header.records {
            let mut start = [0; RECORD_HEADER];
            if end - at < RECORD_HEADER as u64 {
                return Err(damaged(&self.path));
            }
            read(&mut start, at)?;
            at += RECORD_HEADER as u64;
            let extent = Extent::decode(&start, reached, size)
                .filter(|extent| end - at >= extent.body() as u64)
                .filter(|extent| match self.header.way {
                    Way::Journal => extent.stored != Stored::Kept,
                    Way::Switch(sector) => {
                        let switches = extent.offset == sector && extent.len == SECTOR;
                        switches == (extent.stored != Stored::Kept)
                    }
                })
                .ok_or_else(|| damaged(&self.path))?;
            record.offset = extent.offset;
            record.len = extent.len;
            record.table.resize(extent.table(), 0);
            read(&mut record.table, at)?;
            record.old.clear();
            match extent.stored {
                Stored::Kept => {}
                Stored::Zeros => record.old.resize(extent.len, 0),
                Stored::Here => {
                    record.old.resize(extent.len, 0);
                    read(&mut record.old, at + extent.table() as u64)?;
                }
            }
            at += extent.body() as u64;
            reached = extent.offset + extent.len as u64;
            act(&record)?;
        }
        if at == end && checksum == self.records { Ok(()) } else { Err(damaged(&self.path)) }
    }

    /// Compares every sector with the image, which nobody else may have changed.
    fn judge(&self, base: &Base) -> Result<Found> {
        let Header { old_size, new_size, way, .. } = self.header;
        let known = match way {
            Way::Journal => old_size == new_size && base.size() == new_size,
            // A commit that was interrupted before its switch has written some of what lies past the old end.
            Way::Switch(sector) => sector.is_multiple_of(SECTOR as u64) && (old_size..=new_size).contains(&base.size()),
        };
        if !known {
            return Err(self.changed_since(base, "it has another size"));
        }
        let mut found = Found::default();
        let mut now = Vec::new();
        self.each(|record| {
            let past = record.offset >= old_size;
            if past && base.size() != new_size {
                found.lost.get_or_insert(record.offset);
                return Ok(());
            }
            now.resize(record.len, 0);
            base.read_at(&mut now, record.offset)?;
            let mut old = record.old.chunks(SECTOR);
            for (i, (now, new)) in now.chunks(SECTOR).zip(checksums(&record.table)).enumerate() {
                let (is_new, is_old) = (crc32c(now) == new, old.next().map(|old| old == now));
                match (is_new, is_old) {
                    (true, Some(false)) => found.new += 1,
                    (false, Some(true)) => found.old += 1,
                    (true, _) => {}
                    (false, _) => {
                        let at = record.offset + (i * SECTOR) as u64;
                        if !past {
                            return Err(self.other_bytes(base, at));
                        }
                        // Of no account where the commit has not come to its switch.
                        found.lost.get_or_insert(at);
                    }
                }
            }
            Ok(())
        })?;
        Ok(found)
    }

    fn other_bytes(&self, base: &Base, at: u64) -> Error {
        self.changed_since(base, "it holds other bytes than after the commit").with_offset(at)
    }

    fn changed_since(&self, base: &Base, how: &str) -> Error {
        let message = format!(
            "the image is not the one of the undo file {}, or was changed since: {how}; nothing was written",
            self.path.display()
        );
        base.error(ErrorKind::Denied, message)
            .with_hint("what was written since would be lost or mixed with old data: go back by a copy of the image")
    }

    /// Fails unless something tells that nobody has written to the image since the commit.
    fn witnessed(&self, base: &Base, proof: Proof) -> Result<()> {
        if proof == Proof::Waived {
            return Ok(());
        }
        let unchanged = match (self.header.witness, self.sealed) {
            (Witness::Content(expected), _) => checksum(base, base.size())? == expected,
            (Witness::Time, Some(time)) => base.stamp()?.time == Some(time),
            (Witness::Time, None) => {
                let message = format!(
                    "the run that wrote the undo file {} was interrupted, and nothing tells whether somebody has written \
                     to the image since; nothing was written",
                    self.path.display()
                );
                return Err(base.error(ErrorKind::Denied, message).with_hint(WAIVE));
            }
        };
        if unchanged {
            return Ok(());
        }
        let error = self.changed_since(base, "it was written to later");
        Err(if self.header.witness == Witness::Time { error.with_hint(WAIVE) } else { error })
    }

    /// Cuts off what lies past the old end.
    fn cut(&self, base: &Base) -> Result<()> {
        if base.size() == self.header.old_size {
            return Ok(());
        }
        base.set_size(self.header.old_size).and_then(|()| base.sync())
    }

    /// Takes the commit back.
    pub(super) fn apply(&self, base: &Base, overlay: &Overlay, proof: Proof) -> Result<Undone> {
        let looked = base.file().map(|file| Ok(Owner::of(file, &file.metadata()?))).transpose();
        let owner = looked.map_err(|error| Error::io(Layer::Host, "look at the image", error))?;
        let image_owner = owner.unwrap_or(Owner::only(geteuid().as_raw()));
        if let Some(reason) = sidecar::distrust(&self.stat, image_owner) {
            let message = format!("the undo file is not trusted: {reason}; nothing of it was used");
            return Err(Error::new(ErrorKind::Denied, Layer::Transaction, message)
                .with_host_path(&self.path)
                .with_hint("if you know that it is what imgraft wrote: copy it to a file of yours, with mode 0600"));
        }
        let found = self.judge(base)?;
        if found.new == 0 {
            let uncut = found.old > 0 && base.size() > self.header.old_size;
            // An undo was interrupted after its switch. The old image does not use what lies past its old end: what would
            // say so has been replaced by the commit, and is again what it was before.
            return if uncut { self.cut(base).map(|()| Undone::Done) } else { Ok(Undone::Already) };
        }
        if found.old > 0 {
            return Err(self.changed_since(base, "a part of it is as before the commit, a part as after it"));
        }
        if let Some(at) = found.lost {
            return Err(self.other_bytes(base, at));
        }
        self.witnessed(base, proof)?;
        self.each(|record| match record.old.as_slice() {
            [] => Ok(()),
            old => overlay.write_at(old, record.offset),
        })?;
        match self.header.way {
            Way::Journal => commit::journal(base, overlay, Room::Taken, Unused::Alike)?,
            Way::Switch(sector) => {
                commit::switch(base, overlay, sector, &[], Room::Taken)?;
                if let Err(error) = self.cut(base) {
                    tracing::warn!(%error, "the image is as it was, with unused bytes behind its old end");
                }
            }
        }
        // It is the file of that time again, so that an undo file of an earlier run fits too.
        if let Some(time) = self.header.old_time
            && let Err(error) = base.set_modified(time)
        {
            tracing::debug!(%error, "the time of the image's last write stays that of now");
        }
        Ok(Undone::Done)
    }
}

const WAIVE: &str = "if you know that nobody has written to it (it is a copy, or a crash interrupted the run), say --unchanged; \
                     else go back by a copy of the image";

fn damaged(path: &Path) -> Error {
    Error::corrupt(Layer::Transaction, "the undo file is incomplete or damaged; nothing of it was used")
        .with_host_path(path)
        .with_hint("go back by a copy of the image")
}
