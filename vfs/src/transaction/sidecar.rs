//! The journal as a file of the host: beside its image, or in a state directory.

use super::fresh::Existing;
use super::host::{Place, Sidecar};
use super::stray::{Search, Stray};
use super::{Access, draft};
use crate::error::{Error, ErrorKind, Layer, Result};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, User, geteuid, getgrouplist, unlinkat};
use rustix::fs::fgetxattr;
use rustix::io::Errno as XattrErrno;
use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, DirBuilder, File, Metadata};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// Where journals lie that have no place beside their image.
///
/// The directory has to survive a power loss, and belongs to this user (or root) alone; it is made where it is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateDir {
    /// The directory that the caller has chosen: the journal of every image lies there.
    pub chosen: Option<PathBuf>,
    /// The directory for the journals of block devices, where none is chosen.
    pub usual: Option<PathBuf>,
}

/// The most bytes of an image's name that the name of its journal in a state directory repeats.
const NAME_MAX: usize = 150;

pub(super) const SUFFIX: &str = "imgraft-journal";

/// Who can write to an image anyway, and so may leave a journal that changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    uid: u32,
    others: Others,
}

/// Those who can write to an image beside its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Others {
    Nobody,
    /// The members of a group.
    Group(u32),
    Everybody,
}

impl Owner {
    /// By the mode of an image's file. Where it has an access control list, the mode does not say what its group may.
    pub(super) fn of(file: &File, metadata: &Metadata) -> Self {
        let list = fgetxattr(file, "system.posix_acl_access", &mut [0; 1]);
        let listed = !matches!(list, Err(XattrErrno::NODATA | XattrErrno::OPNOTSUPP));
        let others = match metadata.mode() {
            _ if listed => Others::Nobody,
            mode if mode & 0o002 != 0 => Others::Everybody,
            mode if mode & 0o020 != 0 => Others::Group(metadata.gid()),
            _ => Others::Nobody,
        };
        Self { uid: metadata.uid(), others }
    }

    /// This user alone.
    pub(super) fn only(uid: u32) -> Self {
        Self { uid, others: Others::Nobody }
    }

    /// Whether a user can write to the image; of groups it knows what the host's databases say now.
    fn lets_write(self, uid: u32) -> bool {
        match self.others {
            _ if uid == self.uid => true,
            Others::Nobody => false,
            Others::Everybody => true,
            Others::Group(gid) => {
                let Ok(Some(user)) = User::from_uid(Uid::from_raw(uid)) else { return false };
                let name = CString::new(user.name);
                name.is_ok_and(|name| getgrouplist(&name, user.gid).is_ok_and(|of| of.contains(&Gid::from_raw(gid))))
            }
        }
    }
}

/// The journal's file, which holds what is going to be written into the guest, secrets included: its mode is 0600.
#[derive(Debug)]
pub struct FileSidecar {
    path: PathBuf,
    name: OsString,
    home: Home,
    image_owner: Owner,
    file: Mutex<Option<File>>,
}

/// The directory of the journal.
#[derive(Debug)]
enum Home {
    /// That of the image, open.
    Beside { directory: File, image: File },
    /// A state directory, open once it is there.
    State { directory: PathBuf, open: OnceLock<File>, chosen: Chosen },
}

/// Who has named a state directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chosen {
    /// The caller: the next run has to be told too.
    ByCaller,
    /// Nobody: it is the usual one.
    AsUsual,
}

impl FileSidecar {
    /// `.NAME.imgraft-journal` in the image's directory `parent`, which is open as `directory`, as the image is.
    pub(super) fn beside(parent: &Path, name: &OsStr, directory: File, image: File, image_owner: Owner) -> Self {
        let name = name_beside(name);
        let path = parent.join(&name);
        Self { path, name, home: Home::Beside { directory, image }, image_owner, file: Mutex::new(None) }
    }

    /// `NAME-NUMBER.imgraft-journal` in a state directory, where the number stands for `identity`.
    pub(super) fn state(directory: &Path, chosen: Chosen, image: &OsStr, identity: &[u8]) -> Self {
        let mut name = OsString::from(OsStr::from_bytes(&image.as_bytes()[..image.len().min(NAME_MAX)]));
        name.push(format!("-{:016x}.{SUFFIX}", number(identity)));
        let home = Home::State { directory: directory.to_path_buf(), open: OnceLock::new(), chosen };
        let path = directory.join(&name);
        Self { path, name, home, image_owner: Owner::only(geteuid().as_raw()), file: Mutex::new(None) }
    }

    fn opened(&self) -> MutexGuard<'_, Option<File>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, act: impl FnOnce(&mut File) -> io::Result<T>) -> io::Result<T> {
        self.opened().as_mut().map_or_else(|| Err(io::ErrorKind::NotFound.into()), act)
    }

    /// The directory; `NotFound` where it is not there.
    fn directory(&self) -> io::Result<&File> {
        let (directory, open) = match &self.home {
            Home::Beside { directory, .. } => return Ok(directory),
            Home::State { directory, open, .. } => (directory, open),
        };
        match open.get() {
            Some(directory) => Ok(directory),
            None => {
                let opened = open_private(directory)?;
                Ok(open.get_or_init(|| opened))
            }
        }
    }

    /// The journals in this directory, this one among them, that belong to what `thing` stands for, as
    /// [`Search::all`] gives them; none of a state directory that cannot be used.
    pub(super) fn strays(&self, thing: u64, access: Access) -> Result<Vec<Stray>> {
        let Ok(directory) = self.directory() else { return Ok(Vec::new()) };
        let path = self.path.parent().unwrap_or(Path::new(""));
        Search { directory, path, thing, owner: self.image_owner }.all(access)
    }

    /// Whether this is the place of the other one, however the directory was spelled.
    pub(super) fn is_at(&self, other: &Self) -> bool {
        self.name == other.name && self.shares_directory(other)
    }

    /// Whether both lie in one directory, however it was spelled.
    pub(super) fn shares_directory(&self, other: &Self) -> bool {
        let directory = |place: &Self| {
            let metadata = fs::metadata(place.path.parent()?).ok()?;
            Some((metadata.dev(), metadata.ino()))
        };
        directory(self).is_some_and(|own| directory(other) == Some(own))
    }

    /// Gives a journal in this directory the name of this one, durably.
    pub(super) fn adopt(&self, stray: &Stray) -> Result<()> {
        let old = stray.path.file_name().unwrap_or_default();
        let renamed = self.directory().and_then(|directory| {
            draft::rename(directory, old, &self.name, Existing::Refuse)?;
            self.sync_dir()
        });
        if renamed.is_ok() {
            tracing::info!(from = %stray.path.display(), to = %self.path.display(), "a journal follows its image");
        }
        renamed.map_err(|error| {
            Error::io(Layer::Transaction, format_args!("rename the journal to {}", self.path.display()), error)
                .with_host_path(&stray.path)
                .with_hint("give the image the name that it had when that run was interrupted, and run `imgraft recover` on it")
        })
    }

    fn trust(&self, stat: &FileStat) -> Result<()> {
        let Some(reason) = distrust(stat, self.image_owner) else { return Ok(()) };
        let error = Error::new(ErrorKind::Denied, Layer::Transaction, format!("the journal is not trusted: {reason}"));
        Err(error.with_host_path(&self.path).with_hint(reason.way_out()))
    }

    /// The error of a state directory that cannot be used; one that the caller has named is `Invalid`.
    fn no_place(&self, source: io::Error) -> Error {
        let error = match &self.home {
            Home::State { directory, chosen: Chosen::ByCaller, .. } => {
                let message = "the state directory cannot be used";
                Error::new(ErrorKind::Invalid, Layer::Host, message).with_host_path(directory).with_source(source)
            }
            _ => Error::io(Layer::Transaction, "open the journal", source).with_host_path(&self.path),
        };
        error.with_hint(PRIVATE)
    }

    /// The error of a journal that this user may not read.
    fn unreadable(&self, stat: &FileStat) -> Error {
        let message = format!("the journal of the user with uid {} cannot be read by this one", stat.st_uid);
        Error::new(ErrorKind::Denied, Layer::Transaction, message)
            .with_host_path(&self.path)
            .with_hint(format!("run `imgraft recover` on the image as that user, or as root; {KEEP}"))
    }
}

const KEEP: &str = "to remove the journal may leave the image half written";

/// The name that the journal of an image has in the image's directory.
pub(super) fn name_beside(image: &OsStr) -> OsString {
    let mut name = OsString::from(".");
    name.push(image);
    name.push(".");
    name.push(SUFFIX);
    name
}

/// Whether a file of this name may be the journal of an image.
pub(crate) fn is_journal(path: &Path) -> bool {
    let suffix = format!(".{SUFFIX}");
    path.file_name().is_some_and(|name| name.as_bytes().ends_with(suffix.as_bytes()))
}

/// Why a file may not change an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Distrust {
    /// It is a directory, a link, a device.
    NoFile,
    /// It belongs to this user, who may have no business with the image.
    Owner(u32),
    /// Others can write to it, or have it under another name.
    Open,
}

impl std::fmt::Display for Distrust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoFile => f.write_str("it is not a regular file"),
            Self::Owner(uid) => {
                write!(f, "it belongs to uid {uid}, who is neither this user nor root, and cannot write to the image")
            }
            Self::Open => f.write_str("others can write to it, or it has a second name"),
        }
    }
}

impl Distrust {
    /// What to do about such a journal.
    fn way_out(self) -> String {
        match self {
            Self::NoFile => "nothing of it was used: find out who made it, and move it away".to_owned(),
            Self::Owner(uid) => format!(
                "nothing of it was used: if uid {uid} may write to the image, run `imgraft recover` on the image as that \
                 user; {KEEP}"
            ),
            Self::Open => format!(
                "nothing of it was used: if it is what imgraft wrote, remove its second name or `chmod 0600` it, and run \
                 `imgraft recover` on the image; {KEEP}"
            ),
        }
    }
}

/// Why the file may not change an image that these can write to; `None` where it may: what this tool makes, made by somebody who can
/// write to the image anyway, as root can.
pub(super) fn distrust(stat: &FileStat, image_owner: Owner) -> Option<Distrust> {
    if SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) != SFlag::S_IFREG {
        return Some(Distrust::NoFile);
    }
    if ![geteuid().as_raw(), 0].contains(&stat.st_uid) && !image_owner.lets_write(stat.st_uid) {
        return Some(Distrust::Owner(stat.st_uid));
    }
    (stat.st_mode & 0o022 != 0 || stat.st_nlink != 1).then_some(Distrust::Open)
}

/// A number that is the same for the same bytes in every run (FNV-1a, 64 bits).
pub(super) fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Opens a state directory, in which nobody but its owner, who is this user or root, can put a file.
fn open_private(directory: &Path) -> io::Result<File> {
    let opened = open(directory, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let stat = fstat(&opened)?;
    let own = stat.st_uid == geteuid().as_raw() || stat.st_uid == 0;
    if !own || stat.st_mode & 0o022 != 0 {
        let message = "others can put files into the state directory";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
    }
    Ok(File::from(opened))
}

/// Makes a directory and those above it that are missing, durably, for this user alone.
fn make_private(directory: &Path) -> io::Result<()> {
    let missing: Vec<&Path> =
        directory.ancestors().take_while(|at| !at.as_os_str().is_empty() && !at.exists()).collect();
    for at in missing.into_iter().rev() {
        match DirBuilder::new().mode(0o700).create(at) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            result => result?,
        }
        let parent = at.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

impl Sidecar for FileSidecar {
    fn path(&self) -> &Path {
        &self.path
    }

    fn place(&self) -> Place<'_> {
        match &self.home {
            Home::Beside { .. } => Place::Beside,
            Home::State { directory, chosen: Chosen::ByCaller, .. } => Place::Chosen(directory),
            Home::State { chosen: Chosen::AsUsual, .. } => Place::Usual,
        }
    }

    fn open(&self) -> Result<Option<u64>> {
        let failed =
            |source: io::Error| Error::io(Layer::Transaction, "open the journal", source).with_host_path(&self.path);
        let name = self.name.as_os_str();
        let directory = match self.directory() {
            Ok(directory) => directory,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.no_place(error)),
        };
        let there = match fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => {
                self.trust(&stat)?;
                stat
            }
            Err(Errno::ENOENT) => return Ok(None),
            // No journal has a name that is too long for the filesystem.
            Err(Errno::ENAMETOOLONG) => return Ok(None),
            Err(errno) => return Err(failed(errno.into())),
        };
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_NOCTTY;
        let file = openat(directory, name, flags, Mode::empty()).map_err(|errno| match errno {
            Errno::EACCES => self.unreadable(&there),
            _ => failed(errno.into()),
        })?;
        let stat = fstat(&file).map_err(|errno| failed(errno.into()))?;
        self.trust(&stat)?;
        *self.opened() = Some(File::from(file));
        Ok(Some(u64::try_from(stat.st_size).unwrap_or_default()))
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.with(|file| file.read_exact_at(buf, offset))
    }

    fn create(&self) -> io::Result<()> {
        match &self.home {
            Home::State { directory, .. } => make_private(directory)?,
            // By another name, in another directory, the next run would not find it.
            Home::Beside { image, .. } if image.metadata()?.nlink() > 1 => {
                return Err(io::Error::new(io::ErrorKind::TooManyLinks, "the image has another name, a hard link"));
            }
            Home::Beside { .. } => {}
        }
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = openat(self.directory()?, self.name.as_os_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
        *self.opened() = Some(File::from(file));
        Ok(())
    }

    fn append(&self, buf: &[u8]) -> io::Result<()> {
        self.with(|file| file.write_all(buf))
    }

    fn seal(&self, buf: &[u8]) -> io::Result<()> {
        self.with(|file| file.write_all_at(buf, 0))
    }

    fn sync(&self) -> io::Result<()> {
        // With fdatasync a new length is durable as well.
        self.with(|file| file.sync_data())
    }

    fn clear(&self) -> io::Result<()> {
        // What recovery has open is open for reading.
        let flags = OFlag::O_WRONLY | OFlag::O_TRUNC | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        File::from(openat(self.directory()?, self.name.as_os_str(), flags, Mode::empty())?).sync_all()
    }

    fn remove(&self) -> io::Result<()> {
        unlinkat(self.directory()?, self.name.as_os_str(), UnlinkatFlags::NoRemoveDir)?;
        *self.opened() = None;
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        File::from(openat(self.directory()?, ".", flags, Mode::empty())?).sync_all()
    }
}

/// What a state directory has to be.
pub(super) const PRIVATE: &str = "the state directory must be this user's or root's, and its owner, who alone may, must be able to write to it; --state-dir DIR names another one";

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn root_and_the_owner_and_this_user_are_trusted_and_no_stranger() {
        let me = geteuid().as_raw();
        let file = tempfile::NamedTempFile::new().unwrap();
        let stat = fstat(file.as_file()).unwrap();
        let (owner, stranger) = (me.wrapping_add(11_111), me.wrapping_add(22_222));
        let (nobody, owner) = (Owner::only(0), Owner::only(owner));
        let mut made = stat;
        for maker in [owner.uid, me, 0] {
            made.st_uid = maker;
            assert_eq!(distrust(&made, owner), None, "uid {maker}");
        }
        made.st_uid = stranger;
        assert_eq!(distrust(&made, owner), Some(Distrust::Owner(stranger)));
        assert_eq!(distrust(&made, nobody), Some(Distrust::Owner(stranger)));
        // Root's too counts only where nobody else has a hand on it.
        made.st_uid = 0;
        made.st_mode |= 0o020;
        assert_eq!(distrust(&made, owner), Some(Distrust::Open));
        (made.st_mode, made.st_nlink) = (stat.st_mode, 2);
        assert_eq!(distrust(&made, owner), Some(Distrust::Open));
    }

    #[test]
    fn whoever_can_write_to_the_image_is_trusted() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mode = |mode| {
            file.as_file().set_permissions(Permissions::from_mode(mode)).unwrap();
            Owner::of(file.as_file(), &file.as_file().metadata().unwrap())
        };
        let stranger = geteuid().as_raw().wrapping_add(22_222);
        assert!(mode(0o600).lets_write(geteuid().as_raw()) && !mode(0o600).lets_write(stranger));
        assert!(!mode(0o664).lets_write(stranger) && mode(0o602).lets_write(stranger));
        // A member by his passwd entry, and others.
        let Some(member) = User::from_name("daemon").unwrap() else { return };
        let writing = |others| Owner { uid: 0, others }.lets_write(member.uid.as_raw());
        assert!(writing(Others::Group(member.gid.as_raw())));
        assert!(!writing(Others::Group(member.gid.as_raw() + 54_321)) && !writing(Others::Nobody));
        // Where a list says who may write, the mode's bits for the group do not.
        let entry =
            |tag: u16, mode: u16, id: u32| [&tag.to_le_bytes()[..], &mode.to_le_bytes(), &id.to_le_bytes()].concat();
        let none = u32::MAX;
        let [user, named, group, mask, other] =
            [(1, 6, none), (2, 6, 1), (4, 4, none), (0x10, 6, none), (0x20, 0, none)]
                .map(|(tag, mode, id)| entry(tag, mode, id));
        let list = [&2_u32.to_le_bytes()[..], &user, &named, &group, &mask, &other].concat();
        let flags = rustix::fs::XattrFlags::empty();
        if rustix::fs::fsetxattr(file.as_file(), "system.posix_acl_access", &list, flags).is_ok() {
            let metadata = file.as_file().metadata().unwrap();
            assert_eq!(metadata.mode() & 0o070, 0o060);
            assert_eq!(Owner::of(file.as_file(), &metadata).others, Others::Nobody);
        }
    }
}
