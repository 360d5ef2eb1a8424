//! A new file that appears whole or not at all.

use super::changes::{self, CHUNK};
use super::draft::{Draft, FileDraft, Naming, in_the_way};
use super::overlay::Overlay;
use super::{Access, IoCounts, lock};
use crate::block::BlockDevice;
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::shell;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// What happens to a file that has the name already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and the new file is refused.
    Refuse,
    /// The new file takes its place, in one step.
    Replace,
}

/// How far a copy is: bytes done, and bytes in all.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64);

/// A file without a name, or with a temporary one, until [`publish`](Self::publish) gives it its own.
#[derive(Debug)]
pub struct NewFile {
    path: PathBuf,
    name: OsString,
    draft: Box<dyn Draft>,
    naming: Naming,
    existing: Existing,
    /// The file that it replaces, locked, so that nobody begins to use that one meanwhile.
    replaced: Option<File>,
}

impl NewFile {
    /// Begins the file that is to be `path`; its mode is 0600 until it is published.
    ///
    /// A file that it replaces is locked until this one has its name. `Denied` where there is one and `existing` refuses
    /// it, or no permission to write to the directory; `InUse` where somebody uses that one, or an interrupted run has left its journal beside it; `NotFound` where there is no
    /// such directory; `WrongType` where the name is that of something other than a regular file.
    pub fn create(path: &Path, existing: Existing) -> Result<Self> {
        // "new/" and "new/." have a last component, but are names of a directory.
        let Some(name) = path.file_name().filter(|name| path.as_os_str().as_bytes().ends_with(name.as_bytes())) else {
            let error = Error::new(ErrorKind::Invalid, Layer::Host, "this is no name of a new file");
            return Err(error.with_host_path(path).with_hint("name a file, not a directory"));
        };
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let directory = File::from(
            open(parent, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
                .map_err(|errno| cannot("create the file", errno.into()).with_host_path(path))?,
        );
        let replaced = match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                no_journal(parent, name, "it was made for a file that is gone: move it away, or choose another name")?;
                None
            }
            Err(error) => return Err(cannot("create the file", error).with_host_path(path)),
            Ok(metadata) if !metadata.is_file() => {
                let error = Error::new(ErrorKind::WrongType, Layer::Host, "this is there, and is not a regular file");
                return Err(error.with_host_path(path).with_hint("choose another name"));
            }
            Ok(_) if existing == Existing::Refuse => return Err(taken(path)),
            // Whoever uses it, this run with an image of its own included, would lose it.
            Ok(_) => {
                let there = File::open(path).map_err(|e| cannot("open the file", e).with_host_path(path))?;
                lock::lock(&there, Access::Write).map_err(|error| match error.kind() {
                    ErrorKind::InUse => error.with_host_path(path).with_hint(REPLACES_USED),
                    _ => error.with_host_path(path),
                })?;
                lock::still_named(&there, &directory, name).map_err(|error| error.with_host_path(path))?;
                let hint = format!("run `imgraft recover {}` first, or choose another name", shell::word(path));
                no_journal(parent, name, &hint).inspect_err(|_| lock::unlock(&there))?;
                Some(there)
            }
        };
        let made = FileDraft::create(directory, &temporary_name(name)).map_err(|error| error.with_host_path(path));
        let (draft, naming) = match (made, &replaced) {
            (Err(error), Some(replaced)) => {
                lock::unlock(replaced);
                return Err(error);
            }
            (made, _) => made?,
        };
        let mut new = Self::of(path, name, Box::new(draft), naming, existing);
        new.replaced = replaced;
        Ok(new)
    }

    /// The file that `draft` is to become.
    pub(super) fn of(path: &Path, name: &OsStr, draft: Box<dyn Draft>, naming: Naming, existing: Existing) -> Self {
        Self { path: path.to_path_buf(), name: name.to_owned(), draft, naming, existing, replaced: None }
    }

    /// The path that the file is to have.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the file a copy of another with what an overlay holds over it: by reflink where the host can, else byte for
    /// byte, holes left out.
    ///
    /// The bytes copied are not counted.
    pub(super) fn fill(&self, from: &File, overlay: &Overlay, progress: Progress<'_>) -> Result<IoCounts> {
        if self.draft.reflink(from).is_err() {
            self.copy(from, overlay.base_size(), progress)?;
        }
        self.put(overlay, &changes::changed(overlay)?)
    }

    /// Makes the file all that the overlay shows.
    pub fn fill_with(&self, overlay: &Overlay) -> Result<IoCounts> {
        let whole = 0..overlay.size();
        self.put(overlay, &[whole])
    }

    /// Gives the file a size; what it grows by is zero.
    pub fn set_size(&self, size: u64) -> Result<()> {
        self.draft.set_size(size).map_err(|e| self.failed("set the size of the file", e))
    }

    /// Writes all of `bytes` at `offset`.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.draft.write_at(bytes, offset).map_err(|e| self.failed("write the file", e))
    }

    /// Writes these ranges, but for what is zero anyway, and gives the file the overlay's size.
    fn put(&self, overlay: &Overlay, ranges: &[Range<u64>]) -> Result<IoCounts> {
        let mut counts = IoCounts::default();
        let mut buf = Vec::new();
        let old_end = self.draft.size().map_err(|e| self.failed("look at the file", e))?;
        for range in ranges {
            for (at, len) in changes::chunks(range) {
                buf.resize(len, 0);
                overlay.read_at(&mut buf, at)?;
                for (piece, bytes) in (at..).step_by(HOLE).zip(buf.chunks(HOLE)) {
                    if piece < old_end || bytes.iter().any(|&byte| byte != 0) {
                        self.draft.write_at(bytes, piece).map_err(|e| self.failed("write the file", e))?;
                        counts.writes += 1;
                        counts.bytes_written += bytes.len() as u64;
                    }
                }
            }
        }
        self.draft.set_size(overlay.size()).map_err(|e| self.failed("set the size of the file", e))?;
        // File and directory, when it is published.
        counts.fsyncs += 2;
        Ok(counts)
    }

    fn copy(&self, from: &File, size: u64, progress: Progress<'_>) -> Result<()> {
        use rustix::fs::{SeekFrom, seek};
        let failed = |e: rustix::io::Errno| self.failed("copy the image", e.into());
        self.draft.set_size(size).map_err(|e| self.failed("set the size of the file", e))?;
        let mut at = 0;
        progress(0, size);
        while at < size {
            // A filesystem that knows no holes says that all is data.
            let data = match seek(from, SeekFrom::Data(at)) {
                Ok(data) => data.min(size),
                Err(rustix::io::Errno::NXIO) => break,
                Err(rustix::io::Errno::INVAL) => at,
                Err(errno) => return Err(failed(errno)),
            };
            let end = seek(from, SeekFrom::Hole(data)).map_or(size, |end| end.min(size)).max(data);
            let mut done = data;
            while done < end {
                let len = usize::try_from(end - done).map_or(COPY, |len| len.min(COPY));
                let copied = match self.draft.copy(from, done, len) {
                    Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                        let mut buf = vec![0; len.min(CHUNK)];
                        from.read_exact_at(&mut buf, done).map_err(|e| self.failed("read the image", e))?;
                        // A block device does not say where it holds nothing but zeros.
                        if buf.iter().any(|&byte| byte != 0) {
                            self.draft.write_at(&buf, done).map_err(|e| self.failed("write the file", e))?;
                        }
                        buf.len()
                    }
                    result => result.map_err(|e| self.failed("copy the image", e))?,
                };
                if copied == 0 {
                    return Err(self.failed("copy the image", io::ErrorKind::UnexpectedEof.into()));
                }
                done += copied as u64;
                progress(done, size);
            }
            at = end.max(at + 1);
        }
        progress(size, size);
        Ok(())
    }

    /// Makes the file durable and gives it its name, in one step; then the name is durable too.
    ///
    /// `mode` is its permission bits; `Denied` where the name has been taken meanwhile.
    pub fn publish(mut self, mode: u32) -> Result<()> {
        self.give_name(mode)
    }

    /// The same, for a file that more is to be written to.
    pub(super) fn publish_and_keep(mut self, mode: u32) -> Result<Self> {
        self.give_name(mode)?;
        Ok(self)
    }

    /// Takes the name of a published file away again, durably.
    pub(super) fn unpublish(self) -> Result<()> {
        self.draft.unlink(&self.name).map_err(|e| self.failed("remove the file", e))?;
        self.sync_name()
    }

    /// Makes what was written durable.
    pub(super) fn sync(&self) -> Result<()> {
        self.draft.sync().map_err(|e| self.failed("make the file durable", e))
    }

    fn give_name(&mut self, mode: u32) -> Result<()> {
        self.draft.set_mode(mode & 0o777).map_err(|e| self.failed("set the mode of the file", e))?;
        self.sync()?;
        if self.naming == Naming::Nameless && self.existing == Existing::Refuse {
            self.draft.link(&self.name).map_err(|e| self.unnamed(e))?;
            self.naming = Naming::Published;
            return self.keep_name();
        }
        let temporary = temporary_name(&self.name);
        if self.naming == Naming::Nameless {
            self.draft.link(&temporary).map_err(|e| match e.kind() {
                io::ErrorKind::AlreadyExists => in_the_way(&temporary).with_host_path(&self.path),
                _ => self.unnamed(e),
            })?;
            self.naming = Naming::Temporary;
        }
        self.draft.rename(&temporary, &self.name, self.existing).map_err(|e| self.unnamed(e))?;
        self.naming = Naming::Published;
        match self.existing {
            Existing::Refuse => self.keep_name(),
            // The old file is gone: without the new one there would be none.
            Existing::Replace => self.sync_name(),
        }
    }

    fn unnamed(&self, source: io::Error) -> Error {
        match source.kind() {
            io::ErrorKind::AlreadyExists => taken(&self.path),
            _ => self.failed("give the file its name", source),
        }
    }

    /// Makes the name durable, or takes it away: after an error there is no file.
    fn keep_name(&self) -> Result<()> {
        self.sync_name().inspect_err(|_| self.remove(&self.name))
    }

    fn remove(&self, name: &OsStr) {
        if let Err(error) = self.draft.unlink(name) {
            tracing::warn!(%error, name = %name.display(), "a new file that is not to be could not be removed");
        }
    }

    fn sync_name(&self) -> Result<()> {
        self.draft.sync_names().map_err(|e| self.failed("make the name of the file durable", e))
    }

    fn failed(&self, operation: &str, source: io::Error) -> Error {
        super::base::explain(operation, source).with_host_path(&self.path)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if self.naming == Naming::Temporary {
            self.remove(&temporary_name(&self.name));
        }
        if let Some(replaced) = &self.replaced {
            lock::unlock(replaced);
        }
    }
}

const REPLACES_USED: &str = "choose another name; if neither the image nor one that it lies over is this file, end the \
                             program that has it open, and run this again";

/// Pieces of zeros of this size are left out of a new file, in bytes.
const HOLE: usize = 4096;

/// The most bytes that one call copies.
const COPY: usize = 16 << 20;

/// The longest name of a file on the usual filesystems, in bytes.
const NAME_MAX: usize = 255;

/// What a new file is called until it has its name: always the same, so that the next run finds what one has left.
pub(super) fn temporary_name(name: &OsStr) -> OsString {
    let suffix = ".imgraft-new";
    let mut temporary = OsString::from(".");
    if name.len() + suffix.len() < NAME_MAX {
        temporary.push(name);
    } else {
        temporary.push(OsStr::from_bytes(&name.as_bytes()[..name.len().min(200)]));
        temporary.push(format!(".{:016x}", super::sidecar::number(name.as_bytes())));
    }
    temporary.push(suffix);
    temporary
}

pub(super) const WRITABLE: &str = "name a file in a directory that this user can write to";

fn taken(path: &Path) -> Error {
    Error::new(ErrorKind::Denied, Layer::Host, "there is a file of this name already")
        .with_host_path(path)
        .with_hint("choose another name, or say --force to replace it")
}

/// Fails with `InUse` where a journal lies beside the name: it would be taken for one of the new file.
fn no_journal(parent: &Path, name: &OsStr, hint: &str) -> Result<()> {
    let journal = parent.join(super::sidecar::name_beside(name));
    if fs::symlink_metadata(&journal).is_err() {
        return Ok(());
    }
    let message = "an interrupted run has left a journal beside the file that is to be made";
    Err(Error::new(ErrorKind::InUse, Layer::Host, message).with_host_path(&journal).with_hint(hint))
}

/// The error of a call that makes a file; it does not name it.
pub(super) fn cannot(operation: &str, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            Error::new(ErrorKind::NotFound, Layer::Host, "there is no such directory")
        }
        io::ErrorKind::PermissionDenied => {
            let error = Error::new(ErrorKind::Denied, Layer::Host, format!("no permission to {operation}"));
            error.with_source(source).with_hint(WRITABLE)
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            let message = format!("cannot {operation}: its filesystem is mounted read-only");
            Error::new(ErrorKind::Denied, Layer::Host, message).with_source(source).with_hint(WRITABLE)
        }
        io::ErrorKind::InvalidFilename => {
            Error::new(ErrorKind::Invalid, Layer::Host, "the name is too long for the filesystem")
                .with_source(source)
                .with_hint("choose a shorter one")
        }
        _ => Error::io(Layer::Host, operation, source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(at: &Path, flags: OFlag) -> File {
        File::from(open(at, flags | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).unwrap())
    }

    fn named(path: &Path, existing: Existing) -> Result<NewFile> {
        let (name, parent) = (path.file_name().unwrap(), path.parent().unwrap());
        let draft = FileDraft::with_name(directory(parent, OFlag::O_RDONLY), &temporary_name(name))?;
        Ok(NewFile::of(path, name, Box::new(draft), Naming::Temporary, existing))
    }

    #[test]
    fn a_name_that_cannot_be_made_durable_is_taken_away() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new");
        for naming in [Naming::Nameless, Naming::Temporary] {
            let mut new = NewFile::create(&path, Existing::Refuse).unwrap();
            let flags = OFlag::O_RDWR | OFlag::O_TMPFILE | OFlag::O_CLOEXEC;
            let file = File::from(open(dir.path(), flags, Mode::S_IRUSR).unwrap());
            // Names can be made in it, and it cannot be synced.
            new.draft = Box::new(FileDraft { directory: directory(dir.path(), OFlag::O_PATH), file });
            if naming == Naming::Temporary {
                new.draft.link(&temporary_name(&new.name)).unwrap();
            }
            new.naming = naming;
            new.publish(0o600).unwrap_err();
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        }
        // What replaces another file stays.
        fs::write(&path, "old").unwrap();
        let mut new = NewFile::create(&path, Existing::Replace).unwrap();
        let flags = OFlag::O_RDWR | OFlag::O_TMPFILE | OFlag::O_CLOEXEC;
        let file = File::from(open(dir.path(), flags, Mode::S_IRUSR).unwrap());
        new.draft = Box::new(FileDraft { directory: directory(dir.path(), OFlag::O_PATH), file });
        new.publish(0o600).unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), b"");
    }

    /// As on a filesystem without nameless files.
    #[test]
    fn a_file_with_a_temporary_name_becomes_its_own() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["new".to_owned(), "n".repeat(242), "n".repeat(243), "n".repeat(255)] {
            let path = dir.path().join(&name);
            let new = named(&path, Existing::Refuse).unwrap();
            new.write_at(b"first", 0).unwrap();
            assert!(!path.exists());
            new.publish(0o600).unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"first");
            let refused = named(&path, Existing::Refuse).unwrap();
            assert_eq!(refused.publish(0o600).unwrap_err().kind(), ErrorKind::Denied);
            let new = named(&path, Existing::Replace).unwrap();
            new.write_at(b"second", 0).unwrap();
            new.publish(0o600).unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"second");
            drop(named(&path, Existing::Refuse).unwrap());
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn a_name_with_a_journal_beside_it_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new");
        let journal = dir.path().join(".new.imgraft-journal");
        fs::write(&journal, "half").unwrap();
        let refused = |existing| {
            let error = NewFile::create(&path, existing).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InUse, "{error:?}");
            assert!(format!("{error:?}").contains(".new.imgraft-journal"), "{error:?}");
            error.hint().unwrap().to_owned()
        };
        assert!(refused(Existing::Refuse).contains("move it away"));
        fs::write(&path, "old").unwrap();
        for _ in 0..2 {
            assert!(refused(Existing::Replace).contains("imgraft recover"));
        }
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        // It is not left locked.
        lock::lock(&File::open(&path).unwrap(), Access::Write).unwrap();
        fs::remove_file(&journal).unwrap();
        NewFile::create(&path, Existing::Replace).unwrap().publish(0o600).unwrap();
    }

    #[test]
    fn what_an_interrupted_run_has_left_is_removed_and_nothing_else_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new");
        let left = dir.path().join(".new.imgraft-new");
        fs::write(&left, "half").unwrap();
        NewFile::create(&path, Existing::Refuse).unwrap().publish(0o600).unwrap();
        assert!(!left.exists() && path.exists());

        // A run that is making it has it locked.
        let other = named(&path, Existing::Replace).unwrap();
        let error = NewFile::create(&path, Existing::Replace).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InUse, "{error:?}");
        assert!(error.hint().unwrap().contains(".new.imgraft-new"), "{error:?}");
        drop(other);
        assert!(!left.exists());

        // What was not left by a run of this user stays, and is told where it is in the way.
        std::os::unix::fs::symlink("elsewhere", &left).unwrap();
        let new = NewFile::create(&path, Existing::Replace).unwrap();
        assert_eq!(new.publish(0o600).unwrap_err().kind(), ErrorKind::InUse);
        assert!(fs::symlink_metadata(&left).is_ok() && path.exists());
        fs::hard_link(&path, dir.path().join("second")).unwrap();
        fs::remove_file(&left).unwrap();
        fs::hard_link(&path, &left).unwrap();
        drop(NewFile::create(&dir.path().join("new"), Existing::Replace).unwrap());
        assert!(left.exists());
    }
}
