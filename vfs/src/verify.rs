//! Reading changes back through a reader that shares no code with the writer.

mod again;
mod crowd;
mod fat;
mod shares;
mod superblock;

pub use again::read_again;

use crate::block::BlockDevice;
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::fs::{Driver, FileType, driver};
use crate::path::Resolved;
use crate::stage::{Body, Change, ChangeSet, State};
use crowd::{Crowded, Crowds};
use ext4_view::{Ext4, Ext4Error, Metadata, Path};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use superblock::{Facts, Shown};

/// How many bytes of a file are compared at a time.
const PIECE: u64 = 64 * 1024;

/// How the reader's message ends where it cannot read one of the times of an inode.
const TIME: &str = "has invalid timestamp";

/// What its message has in it where it takes a hole for the block of the boot loader.
const FIRST_BLOCK: &str = "from block 0 (originally 0)";

/// The longest name, in bytes, that the reader takes in the target of a link.
const NAME_MAX: usize = 255;

/// What the second reader says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It read every changed path and agrees on type, mode, owner, size, every byte of staged content, and on the absence
    /// of what was removed.
    Agrees {
        /// The reader's name.
        by: &'static str,
        /// How many paths were read.
        paths: usize,
        /// How many extended attributes were set or removed, of which this reader can say nothing.
        xattrs_unverified: usize,
    },
    /// It does not know this filesystem.
    Unknown {
        /// Why not.
        reason: String,
    },
}

/// Reads every changed path back from the ext2, ext3, ext4 or FAT filesystem on `volume`.
///
/// `Corrupt` names the path and what is different where the reader disagrees with what was to be written, or fails where
/// it should read. Times and extended attributes are not compared: the reader rounds the first as it likes and has no
/// access to the second.
pub fn verify(volume: Arc<dyn BlockDevice>, changes: &ChangeSet) -> Result<Verdict> {
    let driver = driver(&*volume)?;
    let read = || match driver {
        Driver::Ext4 => read_back(volume, changes),
        Driver::Fat => fat::read_back(volume, changes),
    };
    // The reader is meant not to panic; if it does all the same, that is one more way of not being able to read.
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(verdict) => verdict,
        Err(_) => {
            let message = format!("the second reader of {driver:?} broke down reading the changes back");
            Err(Error::corrupt(Layer::Stage, message))
        }
    }
}

fn read_back(volume: Arc<dyn BlockDevice>, changes: &ChangeSet) -> Result<Verdict> {
    let facts = Facts::read(&*volume)?;
    // The reader looks for the half of the checksum that these have no room for, and takes them for cut off.
    if facts.old_inodes && facts.checksums {
        return Ok(Verdict::Unknown { reason: "it reads no inodes of 128 bytes with checksums".to_owned() });
    }
    let names = |change: &Change| change.path.as_bytes().iter().any(|byte| !byte.is_ascii());
    if facts.unsigned_hashes && changes.changes().iter().any(names) {
        return Ok(Verdict::Unknown { reason: "it hashes names only as processors with a signed char do".to_owned() });
    }
    let is_long = |target: &Vec<u8>| target.split(|byte| *byte == b'/').any(|name| name.len() > NAME_MAX);
    if changes.changes().iter().filter_map(|change| change.after.as_ref()?.target.as_ref()).any(is_long) {
        return Ok(Verdict::Unknown { reason: "it reads no links to names of more than 255 bytes".to_owned() });
    }
    if facts.short_inodes && facts.checksums {
        let reason = "it takes the upper half of a checksum for there in inodes that have no room for it";
        return Ok(Verdict::Unknown { reason: reason.to_owned() });
    }
    // What it is not to see of them, a checksum is of.
    if facts.stray_halves && facts.checksums {
        return Ok(Verdict::Unknown { reason: "it reads 64-bit numbers where they are of 32".to_owned() });
    }
    let crowded = Crowded::of(changes.changes());
    let reasons = shares::each(changes.changes(), |share| read_share(Arc::clone(&volume), facts, share, &crowded))?;
    if let Some(reason) = reasons.into_iter().flatten().next() {
        return Ok(Verdict::Unknown { reason });
    }
    let xattrs = |change: &Change| {
        let names = |state: &Option<State>| -> BTreeSet<Vec<u8>> {
            state.iter().flat_map(|state| state.xattrs.iter().map(|xattr| xattr.name.clone())).collect()
        };
        if change.after.is_none() { 0 } else { names(&change.before).union(&names(&change.after)).count() }
    };
    Ok(Verdict::Agrees {
        by: "ext4-view",
        paths: changes.changes().len(),
        xattrs_unverified: changes.changes().iter().map(xattrs).sum(),
    })
}

/// Reads changes back; gives why the reader can not, where it does not know this filesystem.
fn read_share(
    volume: Arc<dyn BlockDevice>,
    facts: Facts,
    changes: &[Change],
    crowded: &Crowded,
) -> Result<Option<String>> {
    let mut reader = match Reader::load(volume, facts, changes, crowded) {
        Ok(reader) => reader,
        Err(error) => return unreadable(error, &Resolved::root()).map(Some),
    };
    for change in changes {
        match reader.check(change) {
            Ok(()) => {}
            Err(Disagreement::Found(error)) => return Err(error),
            Err(Disagreement::Unreadable(error)) if !facts.extents && error.to_string().contains(FIRST_BLOCK) => {
                return Ok(Some(format!(
                    "it reads no holes that a block of addresses is missing for, as of {}",
                    change.path
                )));
            }
            Err(Disagreement::Unreadable(error)) => return unreadable(error, &change.path).map(Some),
        }
    }
    Ok(None)
}

/// What an error of the reader means: why it does not know this filesystem, or that the changes are not there.
fn unreadable(error: Ext4Error, at: &Resolved) -> Result<String> {
    let message = match error {
        Ext4Error::Incompatible(_) | Ext4Error::Encrypted => return Ok(error.to_string()),
        Ext4Error::NotFound => "it is missing after the change",
        // The times are not compared, and it refuses the whole inode for one.
        Ext4Error::Corrupt(_) if error.to_string().ends_with(TIME) => {
            return Ok(format!(
                "it reads no times before 1970 or from 2038 on, as of {}",
                at.as_bytes().escape_ascii()
            ));
        }
        Ext4Error::Io(source) => {
            return Err(match source.downcast::<Error>() {
                // It followed a pointer out of the volume.
                Ok(source) if source.kind() == ErrorKind::Invalid => {
                    differs(at, "it cannot be read back").with_source(source)
                }
                Ok(source) => *source,
                Err(source) => differs(at, "it cannot be read back").with_source(source),
            });
        }
        _ => "it cannot be read back",
    };
    Err(differs(at, message).with_source(error))
}

fn differs(at: &Resolved, message: impl Into<String>) -> Error {
    Error::corrupt(Layer::Stage, message).with_guest_path(at.as_bytes())
}

/// Why a change is not confirmed.
enum Disagreement {
    Found(Error),
    Unreadable(Ext4Error),
}

impl From<Ext4Error> for Disagreement {
    fn from(error: Ext4Error) -> Self {
        Self::Unreadable(error)
    }
}

impl From<Error> for Disagreement {
    fn from(error: Error) -> Self {
        Self::Found(error)
    }
}

/// How many blocks a file has at most that has all its extents in its inode, be they of a block each.
const BLOCKS_IN_INODE: u64 = 4;

struct Reader {
    fs: Ext4,
    /// The same without checksums, for names in crowded directories.
    unsealed: Ext4,
    crowds: Crowds,
    /// The largest file, in bytes, that has no metadata but its inode.
    small: u64,
    /// Those already seen to be directories, and no symbolic links.
    directories: BTreeSet<Resolved>,
}

impl Reader {
    fn load(
        volume: Arc<dyn BlockDevice>,
        facts: Facts,
        changes: &[Change],
        crowded: &Crowded,
    ) -> Result<Self, Ext4Error> {
        let crowds = Crowds::of(changes, crowded);
        let shown = || Shown::new(Arc::clone(&volume), facts);
        let fs = Ext4::load(Box::new(shown()))?;
        let unsealed =
            if crowds.is_empty() || !facts.checksums { fs.clone() } else { Ext4::load(Box::new(shown().unsealed()))? };
        let small = facts.block_size.saturating_mul(BLOCKS_IN_INODE);
        Ok(Self { fs, unsealed, crowds, small, directories: BTreeSet::new() })
    }

    fn check(&mut self, change: &Change) -> Result<(), Disagreement> {
        let at = &change.path;
        let Some(after) = &change.after else { return self.check_gone(at) };
        self.check_parents(at)?;
        let listed = self.crowds.find(&self.fs, at)?;
        let is_listed = listed.is_some();
        let found = match listed {
            Some(found) => found,
            None => self.fs.symlink_metadata(path(at)?)?,
        };
        compare_metadata(at, &found, after)?;
        if let Some(target) = &after.target {
            let found = self.fs.read_link(path(at)?)?;
            compare(at, "target", found.as_ref(), target.as_slice(), |target| target.escape_ascii().to_string())?;
        }
        // Another name of a file whose content is compared under its first one.
        let is_known = change.linked.is_some() && after.metadata.size > PIECE;
        match after.content.as_ref().filter(|_| !is_known) {
            Some(content) if is_listed && content.len() <= self.small => {
                check_content(&self.unsealed, at, after, content)
            }
            Some(content) => check_content(&self.fs, at, after, content),
            // That it is found by its name is to be seen, too.
            None if is_listed => Ok(compare_metadata(at, &self.unsealed.symlink_metadata(path(at)?)?, after)?),
            None => Ok(()),
        }
    }

    fn check_gone(&self, at: &Resolved) -> Result<(), Disagreement> {
        match self.fs.symlink_metadata(path(at)?) {
            Err(Ext4Error::NotFound | Ext4Error::NotADirectory) => Ok(()),
            Err(error) => Err(error.into()),
            Ok(_) => Err(differs(at, "it is still there after it was removed").into()),
        }
    }

    fn check_parents(&mut self, at: &Resolved) -> Result<(), Disagreement> {
        let mut next = at.parent();
        while let Some(here) = next.filter(|here| !self.directories.contains(here)) {
            let found = FileType::from(self.fs.symlink_metadata(path(&here)?)?.file_type());
            compare(&here, "type", found, FileType::Directory, |file_type| format!("{file_type:?}"))?;
            next = here.parent();
            self.directories.insert(here);
        }
        Ok(())
    }
}

fn check_content(fs: &Ext4, at: &Resolved, after: &State, content: &Body) -> Result<(), Disagreement> {
    // Follows links, of which there are none: the parents and the file itself were looked at.
    let mut file = fs.open(path(at)?)?;
    compare_metadata(at, file.metadata(), after)?;
    compare_content(at, content, |part, _| {
        let mut filled = 0;
        while filled < part.len() {
            match file.read_bytes(&mut part[filled..])? {
                0 => break,
                read => filled += read,
            }
        }
        Ok(filled)
    })
}

/// Compares what `read` finds with what was to be written; `read` fills a buffer with what is from a byte on, one piece after
/// the other, and gives how much there was.
fn compare_content<E: From<Error>>(
    at: &Resolved,
    content: &Body,
    mut read: impl FnMut(&mut [u8], u64) -> Result<usize, E>,
) -> Result<(), E> {
    const WRONG: &str = "its content is not what was to be written";
    let mut read = |part: &mut [u8], offset| {
        if read(part, offset)? < part.len() {
            return Err(E::from(differs(at, "it ends before its size").with_offset(offset)));
        }
        Ok(())
    };
    let content = match content {
        Body::New(content) => content,
        Body::Copy(copied) if copied.is_what(read)? => return Ok(()),
        Body::Copy(_) => return Err(differs(at, WRONG).into()),
    };
    let size = content.len();
    let mut expected = vec![0; size.min(PIECE) as usize];
    let mut found = expected.clone();
    let mut offset = 0;
    while offset < size {
        let len = (size - offset).min(PIECE) as usize;
        let (expected, found) = (&mut expected[..len], &mut found[..len]);
        content.read_at(expected, offset)?;
        read(found, offset)?;
        if expected != found {
            let wrong = expected.iter().zip(found.iter()).position(|(expected, found)| expected != found);
            return Err(differs(at, WRONG).with_offset(offset + wrong.unwrap_or(0) as u64).into());
        }
        offset += len as u64;
    }
    Ok(())
}

/// What a reader finds out about a file.
#[derive(Clone, Copy)]
struct Seen {
    file_type: FileType,
    mode: u16,
    uid: u32,
    gid: u32,
    size: u64,
}

impl From<&Metadata> for Seen {
    fn from(found: &Metadata) -> Self {
        Self {
            file_type: FileType::from(found.file_type()),
            mode: found.mode(),
            uid: found.uid(),
            gid: found.gid(),
            size: found.len(),
        }
    }
}

impl From<&crate::fs::Metadata> for Seen {
    fn from(found: &crate::fs::Metadata) -> Self {
        let crate::fs::Metadata { file_type, mode, uid, gid, size, .. } = *found;
        Self { file_type, mode, uid, gid, size }
    }
}

fn compare_metadata(at: &Resolved, found: impl Into<Seen>, after: &State) -> Result<()> {
    let (found, expected) = (found.into(), &after.metadata);
    compare(at, "type", found.file_type, expected.file_type, |file_type| format!("{file_type:?}"))?;
    compare(at, "mode", found.mode, expected.mode, |mode| format!("{mode:04o}"))?;
    compare(at, "owner", found.uid, expected.uid, u32::to_string)?;
    compare(at, "group", found.gid, expected.gid, u32::to_string)?;
    if matches!(expected.file_type, FileType::Regular | FileType::Symlink) {
        compare(at, "size", found.size, expected.size, u64::to_string)?;
    }
    Ok(())
}

fn path(at: &Resolved) -> Result<Path<'_>, Ext4Error> {
    Path::try_from(at.as_bytes()).map_err(|_| Ext4Error::MalformedPath)
}

fn compare<T: PartialEq>(at: &Resolved, what: &str, found: T, expected: T, show: impl Fn(&T) -> String) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(differs(at, format!("its {what} is {} and should be {}", show(&found), show(&expected))))
}

impl From<ext4_view::FileType> for FileType {
    fn from(file_type: ext4_view::FileType) -> Self {
        match file_type {
            ext4_view::FileType::Regular => Self::Regular,
            ext4_view::FileType::Directory => Self::Directory,
            ext4_view::FileType::Symlink => Self::Symlink,
            ext4_view::FileType::CharacterDevice => Self::CharDevice,
            ext4_view::FileType::BlockDevice => Self::BlockDevice,
            ext4_view::FileType::Fifo => Self::Fifo,
            ext4_view::FileType::Socket => Self::Socket,
        }
    }
}
