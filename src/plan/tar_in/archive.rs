//! The members of a tar archive, one after the other. What they hold stays where it is.
//!
//! The crate `tar` (0.4.46) is not used: it holds names and extended headers of any length, takes numbers of base 256 modulo
//! 2^64, and the way of reading it in which the first could be bounded does not heed the sizes of extended headers.

use super::NO_ARCHIVE;
use super::header::{BLOCK, Header};
use super::pax::Extended;
use imgraft_vfs::fs::{Content, DeviceNumber, SpecialFile};

/// The longest name that GNU's own headers are taken to have, in bytes: as long as a path of Linux can be.
const LONG_NAME_MAX: u64 = 4097;

/// The longest extended header that is taken, in bytes: names, and a few extended attributes of 64 KiB.
const EXTENDED_MAX: u64 = 1 << 20;

/// Seconds since 1970 that ext4 has room for (the kernel's ext4 documentation, inode timestamps): a day of 1901 to one of 2446.
const TIMES: std::ops::RangeInclusive<i64> = -(1 << 31)..=(1 << 34) - (1 << 31) - 1;

/// Types of members: POSIX's, and GNU tar's.
mod flag {
    pub(super) const FILES: [u8; 3] = [b'0', 0, b'7'];
    pub(super) const LINK: u8 = b'1';
    pub(super) const SYMLINK: u8 = b'2';
    pub(super) const CHAR_DEVICE: u8 = b'3';
    pub(super) const BLOCK_DEVICE: u8 = b'4';
    pub(super) const DIRECTORY: u8 = b'5';
    pub(super) const FIFO: u8 = b'6';
    pub(super) const EXTENDED: u8 = b'x';
    pub(super) const GLOBAL: u8 = b'g';
    pub(super) const LONG_NAME: u8 = b'L';
    pub(super) const LONG_LINK: u8 = b'K';
    pub(super) const SPARSE: u8 = b'S';
    pub(super) const LABEL: u8 = b'V';
    pub(super) const DUMP: u8 = b'D';
    pub(super) const VOLUME: u8 = b'M';
}

/// One file of an archive.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// Its name as it stands there.
    pub(super) name: Vec<u8>,
    pub(super) kind: MemberKind,
    /// 0o0000 to 0o7777.
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Seconds since 1970.
    pub(super) mtime: i64,
    /// An extended attribute that it has.
    pub(super) attribute: Option<Vec<u8>>,
}

/// What a member is.
#[derive(Clone, Debug)]
pub(super) enum MemberKind {
    Directory,
    File(Content),
    Symlink(Vec<u8>),
    /// A further name of the file that this member names.
    Link(Vec<u8>),
    Special(SpecialFile),
}

/// Why an archive is not taken.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The member that it is about.
    pub(super) member: Option<Vec<u8>>,
    /// A clause.
    pub(super) reason: String,
    /// The way out.
    pub(super) hint: Option<&'static str>,
}

/// An archive that is read.
#[derive(Debug)]
pub(super) struct Archive {
    content: Content,
    /// Where the next block is.
    next: u64,
    /// What is said of all members that follow.
    global: Extended,
}

/// What headers before that of a member say of it.
#[derive(Default)]
struct Ahead {
    extended: Option<Extended>,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl Ahead {
    fn is_empty(&self) -> bool {
        self.extended.is_none() && self.name.is_none() && self.link.is_none()
    }
}

impl Archive {
    pub(super) fn new(content: Content) -> Self {
        Self { content, next: 0, global: Extended::default() }
    }

    /// The next member; `None` at the end: zeros, or no more bytes.
    pub(super) fn next(&mut self) -> Result<Option<Member>, Refusal> {
        let mut ahead = Ahead::default();
        loop {
            let at = self.next;
            let Some(block) = self.block()? else {
                return if ahead.is_empty() { Ok(None) } else { Err(damaged("it ends where a member is to follow")) };
            };
            let header = Header(&block);
            if !header.is_sound() {
                return Err(match at {
                    0 => Refusal { hint: Some(NO_ARCHIVE), ..damaged("it is no tar archive") },
                    at => damaged(&format!("the checksum of a header is wrong (at byte {at})")),
                });
            }
            match header.type_flag() {
                flag::EXTENDED => {
                    let mut extended = ahead.extended.take().unwrap_or_else(|| self.global.clone());
                    extended.read(&self.held(&header, EXTENDED_MAX)?).map_err(|reason| damaged(&reason))?;
                    ahead.extended = Some(extended);
                }
                flag::GLOBAL => {
                    let held = self.held(&header, EXTENDED_MAX)?;
                    self.global.read(&held).map_err(|reason| damaged(&reason))?;
                    let Extended { path, link, size, is_sparse, .. } = &self.global;
                    if path.is_some() || link.is_some() || size.is_some() || *is_sparse {
                        return Err(damaged("a header has one name, size or map for all members"));
                    }
                }
                flag::LONG_NAME => ahead.name = Some(self.long_name(&header)?),
                flag::LONG_LINK => ahead.link = Some(self.long_name(&header)?),
                // A name for the whole archive, as tar passes it over.
                flag::LABEL => self.skip(&header, None)?,
                _ => return self.member(&header, ahead).map(Some),
            }
        }
    }

    fn member(&mut self, header: &Header<'_>, ahead: Ahead) -> Result<Member, Refusal> {
        let extended = ahead.extended.unwrap_or_else(|| self.global.clone());
        let name = extended.path.clone().or(ahead.name).unwrap_or_else(|| header.name());
        let refuse = |reason: &str, hint| Refusal { member: Some(name.clone()), reason: reason.to_owned(), hint };
        let wrong = |what: &str| refuse(&format!("its {what} is no possible one"), None);
        let link = extended.link.clone().or(ahead.link).unwrap_or_else(|| header.link());
        if extended.is_sparse || header.type_flag() == flag::SPARSE {
            let hint = "make the archive without tar's --sparse, or --copy-in what is in it";
            return Err(refuse("a file whose holes tar has left out, and these are not filled", Some(hint)));
        }
        let device = || {
            let (major, minor) = header.device()?;
            DeviceNumber::new(u32::try_from(major).ok()?, u32::try_from(minor).ok()?)
        };
        let device = || device().ok_or_else(|| wrong("device number"));
        let kind = match header.type_flag() {
            kind if flag::FILES.contains(&kind) && !name.ends_with(b"/") => {
                let (start, len) = self.data(header, extended.size).ok_or_else(|| wrong("size"))?;
                let content = self.content.section(start, len);
                MemberKind::File(content.map_err(|_| refuse("the archive ends in it", None))?)
            }
            // A file with a slash at its end is what archives before POSIX's have for a directory.
            kind if kind == flag::DIRECTORY || flag::FILES.contains(&kind) => MemberKind::Directory,
            flag::SYMLINK => MemberKind::Symlink(link),
            flag::LINK => MemberKind::Link(link),
            flag::CHAR_DEVICE => MemberKind::Special(SpecialFile::CharDevice(device()?)),
            flag::BLOCK_DEVICE => MemberKind::Special(SpecialFile::BlockDevice(device()?)),
            flag::FIFO => MemberKind::Special(SpecialFile::Fifo),
            flag::DUMP => return Err(refuse("a directory of an incremental backup", None)),
            flag::VOLUME => return Err(refuse("the rest of a file that begins in another volume", None)),
            other => return Err(refuse(&format!("of the unknown type '{}'", other.escape_ascii()), None)),
        };
        match &kind {
            MemberKind::File(_) => self.skip(header, extended.size)?,
            // Old archives have the size of the file there, and not the file.
            MemberKind::Link(_) => {}
            _ if extended.size.or(header.size()) == Some(0) => {}
            _ => return Err(refuse("no file, and has a content", None)),
        }
        let owner = |number: Option<i64>| number.and_then(|number| u32::try_from(number).ok());
        Ok(Member {
            mode: header.mode().map(|mode| (mode & 0o7777) as u16).ok_or_else(|| wrong("mode"))?,
            uid: owner(extended.uid.or(header.uid())).ok_or_else(|| wrong("owner"))?,
            gid: owner(extended.gid.or(header.gid())).ok_or_else(|| wrong("group"))?,
            mtime: extended
                .mtime
                .or(header.mtime())
                .filter(|time| TIMES.contains(time))
                .ok_or_else(|| wrong("time"))?,
            attribute: extended.attribute,
            kind,
            name,
        })
    }

    /// The next block; `None` at the end.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, Refusal> {
        if self.next == self.content.len() && self.next > 0 {
            return Ok(None);
        }
        let mut block = [0; BLOCK];
        self.fill(&mut block, self.next)?;
        if Header(&block).is_zero() {
            return Ok(None);
        }
        self.next = self.next.saturating_add(BLOCK as u64);
        Ok(Some(block))
    }

    fn fill(&self, bytes: &mut [u8], at: u64) -> Result<(), Refusal> {
        if at.checked_add(bytes.len() as u64).is_none_or(|end| end > self.content.len()) {
            return Err(damaged("it is cut off"));
        }
        self.content.read_at(bytes, at).map_err(|error| damaged(&error.to_string()))
    }

    /// Where the data of the header that was read last lies, and how many bytes it is.
    fn data(&self, header: &Header<'_>, size: Option<i64>) -> Option<(u64, u64)> {
        Some((self.next, u64::try_from(size.or(header.size())?).ok()?))
    }

    /// Goes on behind the data.
    fn skip(&mut self, header: &Header<'_>, size: Option<i64>) -> Result<(), Refusal> {
        let end = || {
            let (start, len) = self.data(header, size)?;
            start.checked_add(len.checked_next_multiple_of(BLOCK as u64)?)
        };
        let end = end().ok_or_else(|| damaged("a header has no possible size"))?;
        // What fills the last block may be missing at the very end, as GNU tar has it too.
        if end > self.content.len().next_multiple_of(BLOCK as u64) {
            return Err(damaged("it is cut off"));
        }
        self.next = end.min(self.content.len());
        Ok(())
    }

    /// The data of a header that is about a member, at most `max` bytes.
    fn held(&mut self, header: &Header<'_>, max: u64) -> Result<Vec<u8>, Refusal> {
        let (start, len) = self.data(header, None).ok_or_else(|| damaged("a header has no possible size"))?;
        if len > max {
            return Err(damaged(&format!("a header of {len} bytes, and {max} are the most that is read")));
        }
        let mut bytes = vec![0; len as usize];
        self.fill(&mut bytes, start)?;
        self.skip(header, None)?;
        Ok(bytes)
    }

    fn long_name(&mut self, header: &Header<'_>) -> Result<Vec<u8>, Refusal> {
        let mut name = self.held(header, LONG_NAME_MAX)?;
        name.truncate(name.iter().position(|byte| *byte == 0).unwrap_or(name.len()));
        Ok(name)
    }
}

fn damaged(reason: &str) -> Refusal {
    Refusal { member: None, reason: reason.to_owned(), hint: None }
}
