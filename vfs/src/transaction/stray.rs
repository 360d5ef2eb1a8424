//! Journals in a directory, by what they say of the image that they were made for and not by their names.

use super::Access;
use super::identity::Identity;
use super::record::{HEADER, Header, Opening};
use super::sidecar::{Owner, distrust, is_journal};
use crate::error::{Error, Layer, Result};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, fstat, fstatat};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// How much of a directory is looked at.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// The most entries.
    entries: usize,
    /// The most journals among them that may be somebody's who can write to the image.
    journals: usize,
}

const LIMITS: Limits = Limits { entries: 1 << 20, journals: 4096 };

/// A journal that was found by what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stray {
    pub(super) path: PathBuf,
    /// What it was made for.
    pub(super) identity: Identity,
    /// The size of that in bytes.
    pub(super) size: u64,
}

/// A directory in which journals of what `thing` stands for are looked for.
#[derive(Debug)]
pub(super) struct Search<'a> {
    pub(super) directory: &'a File,
    /// Its path.
    pub(super) path: &'a Path,
    pub(super) thing: u64,
    /// Who can write to the image.
    pub(super) owner: Owner,
}

impl Search<'_> {
    /// Those that were left by somebody who can write to the image. Nothing is said of one that this user may not read, nor
    /// of any in a directory that this user may not list.
    ///
    /// Who writes is told where not everything could be looked at (`Io`); who reads gets what was found.
    pub(super) fn all(&self, access: Access) -> Result<Vec<Stray>> {
        let mut found = Vec::new();
        match (self.list(&mut found), access) {
            (Ok(()), _) => Ok(found),
            (Err(error), Access::Read) => {
                tracing::warn!(path = %self.path.display(), %error, "not everything was looked at for journals");
                Ok(found)
            }
            (Err(error), Access::Write) => {
                let error = Error::io(Layer::Transaction, "look for journals of interrupted runs", error);
                Err(error.with_host_path(self.path).with_hint(
                    "nothing was written: what was not seen may be the journal of this image; see what is wrong with the \
                     directory, or move the image, with all journals, into one of fewer files",
                ))
            }
        }
    }

    fn list(&self, found: &mut Vec<Stray>) -> io::Result<()> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let listed = match openat(self.directory, ".", flags, Mode::empty()) {
            Ok(listed) => rustix::fs::Dir::new(listed)?,
            Err(Errno::EACCES) => {
                tracing::debug!(path = %self.path.display(), "this user may not list the directory: journals are found by their names");
                return Ok(());
            }
            Err(errno) => return Err(errno.into()),
        };
        let names = listed.map(|entry| Ok(OsString::from_vec(entry?.file_name().to_bytes().to_vec())));
        self.look_at(names, LIMITS, found)
    }

    fn look_at(
        &self,
        names: impl Iterator<Item = io::Result<OsString>>,
        limits: Limits,
        found: &mut Vec<Stray>,
    ) -> io::Result<()> {
        let mut journals = 0;
        for (number, name) in names.enumerate() {
            let name = name?;
            if number >= limits.entries {
                return Err(io::Error::other(format!("it has more than {} entries", limits.entries)));
            }
            if !is_journal(Path::new(&name)) {
                continue;
            }
            let Some(file) = self.open(&name)? else { continue };
            if journals >= limits.journals {
                return Err(io::Error::other(format!("it has more than {} journals", limits.journals)));
            }
            journals += 1;
            found.extend(self.read(&file, &name)?);
        }
        Ok(())
    }

    /// Opens a journal; `None` where it is not trusted, is gone by now, or may not be read.
    fn open(&self, name: &OsStr) -> io::Result<Option<File>> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_NOCTTY;
        let opened = fstatat(self.directory, name, AtFlags::AT_SYMLINK_NOFOLLOW).and_then(|stat| {
            match distrust(&stat, self.owner) {
                Some(_) => Ok(None),
                None => openat(self.directory, name, flags, Mode::empty()).map(Some),
            }
        });
        let file = match opened {
            Ok(Some(file)) => File::from(file),
            Ok(None) | Err(Errno::ENOENT | Errno::ELOOP) => return Ok(None),
            Err(Errno::EACCES) => {
                let path = self.path.join(name);
                tracing::debug!(path = %path.display(), "this user may not read this journal: nothing tells whose it is");
                return Ok(None);
            }
            Err(errno) => return Err(errno.into()),
        };
        let trusted = distrust(&fstat(&file)?, self.owner).is_none();
        Ok(trusted.then_some(file))
    }

    fn read(&self, file: &File, name: &OsStr) -> io::Result<Option<Stray>> {
        let mut first = [0; HEADER];
        match file.read_exact_at(&mut first, 0) {
            // Shorter than a header: of a commit that has not begun.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            result => result?,
        }
        let Opening::Header(header) = Header::decode(&first) else { return Ok(None) };
        let identity = header.stamp.identity;
        let its = identity.thing == self.thing && self.thing != 0;
        Ok(its.then(|| Stray { path: self.path.join(name), identity, size: header.image_size }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::host::Stamp;
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    const FEW: Limits = Limits { entries: 100, journals: 2 };

    fn journal(directory: &Path, number: usize, thing: u64, mode: u32) -> OsString {
        let name = OsString::from(format!("{number}.imgraft-journal"));
        let identity = Identity { inode: 1, thing, born: 0, start: 0 };
        let stamp = Stamp { identity, time: None };
        let header = Header { id: [1; 16], image_size: 4096, stamp, records: 0, extents: 0, journal_size: 544 };
        fs::write(directory.join(&name), header.encode()).unwrap();
        fs::set_permissions(directory.join(&name), Permissions::from_mode(mode)).unwrap();
        name
    }

    /// Others can make as many files as they like.
    #[test]
    fn what_is_not_trusted_hides_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let directory = File::open(dir.path()).unwrap();
        let owner = Owner::only(nix::unistd::geteuid().as_raw());
        let search = Search { directory: &directory, path: dir.path(), thing: 5, owner };
        let mut names: Vec<OsString> = (0..50).map(|number| journal(dir.path(), number, 5, 0o622)).collect();
        names.push(journal(dir.path(), 50, 6, 0o600));
        names.push(journal(dir.path(), 51, 5, 0o600));
        let look = |names: &[OsString], limits| {
            let mut found = Vec::new();
            let result = search.look_at(names.iter().cloned().map(Ok), limits, &mut found);
            (result.map_err(|error| error.to_string()), found.len())
        };
        assert_eq!(look(&names, FEW), (Ok(()), 1));
        assert_eq!(search.all(Access::Write).unwrap().len(), 1);
        // What was not looked at is not called none.
        names.push(journal(dir.path(), 52, 5, 0o600));
        assert_eq!(look(&names, FEW), (Err("it has more than 2 journals".to_owned()), 1));
        assert_eq!(look(&names, Limits { entries: 53, journals: 3 }), (Ok(()), 2));
        assert_eq!(look(&names, Limits { entries: 52, ..FEW }), (Err("it has more than 52 entries".to_owned()), 1));
        // Gone by now.
        assert_eq!(look(&[OsString::from("gone.imgraft-journal")], FEW), (Ok(()), 0));
    }

    #[test]
    fn a_directory_that_fails_is_not_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        let directory = File::open(dir.path()).unwrap();
        let owner = Owner::only(nix::unistd::geteuid().as_raw());
        let search = Search { directory: &directory, path: dir.path(), thing: 5, owner };
        let name = journal(dir.path(), 0, 5, 0o600);
        let mut found = Vec::new();
        let names = [Ok(name), Err(io::Error::from(Errno::EIO))];
        assert!(search.look_at(names.into_iter(), FEW, &mut found).is_err());
        assert_eq!(found.len(), 1);

        let file = File::open(dir.path().join("0.imgraft-journal")).unwrap();
        let broken = Search { directory: &file, ..search };
        let error = broken.all(Access::Write).unwrap_err();
        assert!(error.hint().unwrap().contains("directory"), "{error:?}");
        assert!(broken.all(Access::Read).unwrap().is_empty());
    }
}
