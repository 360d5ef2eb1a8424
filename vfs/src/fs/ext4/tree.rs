//! Names: making, linking, renaming and removing files.

use super::dir::DirContext;
use super::directory::{DirFile, DirView};
use super::feature::ro_compat;
use super::inode::{BLOCK_AREA_LEN, Inode, Time, flag, type_bits};
use super::store::Store;
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::fs::{Attrs, Content, FileType, SpecialFile};
use crate::path::Resolved;

/// How many names a file may have, and how many subdirectories a directory may count (EXT4_LINK_MAX of the kernel).
const LINKS_MAX: u16 = 65000;

/// What a new file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NewFile<'a> {
    /// An empty regular file.
    Regular,
    /// An empty directory.
    Directory,
    /// A symbolic link to this target.
    Symlink(&'a [u8]),
    /// A device, a pipe or a socket.
    Special(SpecialFile),
}

impl NewFile<'_> {
    fn file_type(self) -> FileType {
        match self {
            Self::Regular => FileType::Regular,
            Self::Directory => FileType::Directory,
            Self::Symlink(_) => FileType::Symlink,
            Self::Special(special) => special.file_type(),
        }
    }
}

impl Store {
    /// The inode at a path; `NotFound` where there is none.
    pub(super) fn existing(&self, at: &Resolved) -> Result<Inode> {
        self.walk(at)?.ok_or_else(missing)
    }

    /// The inode at a path, to be changed.
    pub(super) fn mutable(&self, at: &Resolved) -> Result<Inode> {
        self.now()?;
        let inode = self.existing(at)?;
        inode.check_mutable()?;
        Ok(inode)
    }

    /// The directory that has, or is to have, the last name of a path, and the name.
    fn place<'a>(&self, at: &'a Resolved) -> Result<(Inode, &'a [u8])> {
        self.now()?;
        let (Some(parent), Some(name)) = (at.parent(), at.file_name()) else {
            return Err(Error::new(ErrorKind::Invalid, Layer::Filesystem, "not possible for the root directory"));
        };
        let directory = self.walk_to_directory(parent)?.ok_or_else(missing)?;
        if directory.file_type()? != FileType::Directory {
            return Err(Error::new(ErrorKind::WrongType, Layer::Filesystem, "not a directory"));
        }
        directory.check_names_mutable()?;
        Ok((directory, name))
    }

    /// Makes a file where there is none.
    pub(super) fn make(&mut self, at: &Resolved, new: NewFile<'_>, attrs: Attrs) -> Result<()> {
        let (directory, name) = self.place(at)?;
        if self.child(&directory, name)?.is_some() {
            return Err(exists());
        }
        let now = self.now()?;
        let file_type = new.file_type();
        if let NewFile::Symlink(target) = new {
            self.check_target(target)?;
        }
        let mut inode = self.allocate_inode(directory.number, file_type)?;
        let permissions = if file_type == FileType::Symlink { 0o777 } else { attrs.mode & 0o7777 };
        inode.set_mode(type_bits(file_type) | permissions);
        inode.set_uid(attrs.uid);
        inode.set_gid(attrs.gid);
        let inherited = directory.flags() & flag::INHERITED;
        inode.set_flags(match file_type {
            FileType::Directory => inherited,
            FileType::Regular => inherited & !flag::DIRECTORY_ONLY,
            _ => inherited & flag::FOR_OTHERS,
        });
        if let Some(project) = self.inherited_project(&directory) {
            inode.set_project(project)?;
        }
        for time in [Time::Access, Time::Change, Time::Modification, Time::Creation] {
            inode.set_time(time, now);
        }
        inode.set_links(1);
        match new {
            NewFile::Regular => self.new_mapping(&mut inode)?,
            NewFile::Directory => self.fill_directory(&mut inode, directory.number)?,
            NewFile::Symlink(target) => self.fill_link(&mut inode, target)?,
            NewFile::Special(special) => inode.set_special(special)?,
        }
        self.put_inode(&mut inode)?;
        self.add_name(directory.number, name, &inode)
    }

    /// The project of everything that is made in a directory or moved there; `None` where it has no say.
    fn inherited_project(&self, directory: &Inode) -> Option<u32> {
        (self.superblock.has_ro_compat(ro_compat::PROJECT) && directory.has_flag(flag::PROJECT_INHERIT))
            .then(|| directory.project())
    }

    /// `Denied` where a directory takes files of its own project only, and this one is of another.
    fn check_project(&self, directory: &Inode, inode: &Inode) -> Result<()> {
        let Some(project) = self.inherited_project(directory).filter(|project| *project != inode.project()) else {
            return Ok(());
        };
        let what = format!("the file is of project {} and the directory takes those of {project}", inode.project());
        Err(Error::new(ErrorKind::Denied, Layer::Filesystem, what).with_hint("copy the file there instead"))
    }

    /// Gives a new directory its `.` and `..`.
    pub(super) fn fill_directory(&mut self, inode: &mut Inode, parent: u32) -> Result<()> {
        inode.set_links(2);
        self.new_mapping(inode)?;
        let block = self.directory_context(inode)?.first_block(self.block_len(), inode.number, parent)?;
        self.put_inline_directory(inode, &block)
    }

    /// `Invalid` where nothing can be a link to `target`; asked before an inode is taken for it.
    fn check_target(&self, target: &[u8]) -> Result<()> {
        // The kernel wants room for a NUL after the target, in the inode as in a block.
        if target.is_empty() || target.contains(&0) || target.len() >= self.block_len() {
            return Err(Error::new(ErrorKind::Invalid, Layer::Filesystem, "not a possible target of a symbolic link"));
        }
        Ok(())
    }

    fn fill_link(&mut self, inode: &mut Inode, target: &[u8]) -> Result<()> {
        if target.len() < BLOCK_AREA_LEN {
            inode.set_block_area(target);
        } else {
            self.new_mapping(inode)?;
            let run = self.grow(inode, 0, 1)?;
            let mut block = target.to_vec();
            block.resize(self.block_len(), 0);
            self.write_data(&block, run.start)?;
        }
        inode.set_size(u64::try_from(target.len()).unwrap_or(0));
        Ok(())
    }

    /// Gives a file (no directory) a further name.
    pub(super) fn link(&mut self, existing: &Resolved, at: &Resolved) -> Result<()> {
        let mut inode = self.mutable(existing)?;
        if inode.file_type()? == FileType::Directory {
            return Err(Error::new(ErrorKind::WrongType, Layer::Filesystem, "a directory cannot have a second name"));
        }
        self.check_link(&inode)?;
        let (directory, name) = self.place(at)?;
        if self.child(&directory, name)?.is_some() {
            return Err(exists());
        }
        self.check_project(&directory, &inode)?;
        let links = inode.links().checked_add(1).filter(|links| *links <= LINKS_MAX);
        inode.set_links(
            links.ok_or_else(|| {
                Error::unsupported(Layer::Filesystem, format!("the file has {LINKS_MAX} names already"))
            })?,
        );
        inode.set_time(Time::Change, self.now()?);
        self.put_inode(&mut inode)?;
        self.add_name(directory.number, name, &inode)
    }

    /// Removes a name, and the file where it was the last; a directory has to be empty.
    pub(super) fn unlink(&mut self, at: &Resolved) -> Result<()> {
        let (directory, name) = self.place(at)?;
        let victim = self.child(&directory, name)?.ok_or_else(missing)?;
        victim.check_mutable()?;
        self.check_empty(&victim)?;
        self.remove_name(directory.number, name, &victim)?;
        self.drop_link(victim)
    }

    /// Renames, and replaces what has the new name, as rename(2) does.
    pub(super) fn rename(&mut self, from: &Resolved, to: &Resolved) -> Result<()> {
        let (old_place, old_name) = self.place(from)?;
        let (new_place, new_name) = self.place(to)?;
        let mut inode = self.child(&old_place, old_name)?.ok_or_else(missing)?;
        inode.check_mutable()?;
        self.check_link(&inode)?;
        let is_directory = inode.file_type()? == FileType::Directory;
        if from == to {
            return Ok(());
        }
        if is_directory && is_below(to, from) {
            return Err(Error::new(
                ErrorKind::Invalid,
                Layer::Filesystem,
                "a directory cannot become its own descendant",
            ));
        }
        let target = self.child(&new_place, new_name)?;
        if target.as_ref().is_some_and(|target| target.number == inode.number) {
            return Ok(());
        }
        self.check_project(&new_place, &inode)?;
        if let Some(target) = &target {
            target.check_mutable()?;
            if is_directory != (target.file_type()? == FileType::Directory) {
                return Err(Error::new(
                    ErrorKind::WrongType,
                    Layer::Filesystem,
                    "a directory and another file cannot take each other's name",
                ));
            }
            self.check_empty(target)?;
        }
        match target {
            Some(target) => {
                self.replace_name(new_place.number, new_name, &inode)?;
                self.remove_name(old_place.number, old_name, &inode)?;
                // The new parent lost one subdirectory and gained another; remove_name counted the old parent's.
                self.drop_link(target)?;
            }
            None => {
                self.add_name(new_place.number, new_name, &inode)?;
                self.remove_name(old_place.number, old_name, &inode)?;
            }
        }
        if is_directory && old_place.number != new_place.number {
            let context = self.directory_context(&inode)?;
            let store = &mut DirFile { store: self, inode: &mut inode };
            context.set_parent(store, new_place.number)?;
        }
        inode.set_time(Time::Change, self.now()?);
        self.put_inode(&mut inode)
    }

    /// `Invalid` where this is a directory that is not empty.
    pub(super) fn check_empty(&self, inode: &Inode) -> Result<()> {
        if inode.file_type()? != FileType::Directory {
            return Ok(());
        }
        let view = DirView { store: self, inode };
        if self.directory_context(inode)?.is_empty(&view)? {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Invalid, Layer::Filesystem, "the directory is not empty"))
    }

    /// Changes the entries of a directory, and its times with them.
    fn change_names(
        &mut self,
        number: u32,
        name: &[u8],
        change: impl FnOnce(&mut DirContext, &mut DirFile<'_>) -> Result<()>,
    ) -> Result<Inode> {
        let now = self.now()?;
        self.names.forget_name(number, name);
        let mut directory = self.inode(number)?;
        let mut context = self.directory_context(&directory)?;
        change(&mut context, &mut DirFile { store: self, inode: &mut directory })?;
        directory.set_time(Time::Modification, now);
        directory.set_time(Time::Change, now);
        Ok(directory)
    }

    /// Adds a name to a directory, and counts a subdirectory.
    pub(super) fn add_name(&mut self, directory: u32, name: &[u8], inode: &Inode) -> Result<()> {
        let file_type = inode.file_type()?;
        let mut directory = self.change_names(directory, name, |context, file| {
            let inserted = context.insert(file, name, inode.number, file_type)?;
            if inserted.became_indexed {
                file.inode.set_flags(file.inode.flags() | flag::INDEX);
            }
            Ok(())
        })?;
        if file_type == FileType::Directory {
            self.count_subdirectory(&mut directory)?;
        }
        self.names.keep(directory.number, name, Some(inode.number));
        self.put_inode(&mut directory)
    }

    fn replace_name(&mut self, directory: u32, name: &[u8], inode: &Inode) -> Result<()> {
        let file_type = inode.file_type()?;
        let mut directory = self.change_names(directory, name, |context, file| {
            context.replace(file, name, inode.number, file_type).map(drop)
        })?;
        self.put_inode(&mut directory)
    }

    /// Takes a name of an inode from a directory, which has one subdirectory less if it is one.
    pub(super) fn remove_name(&mut self, directory: u32, name: &[u8], inode: &Inode) -> Result<()> {
        let mut directory = self.change_names(directory, name, |context, file| {
            let removed = context.remove(file, name)?;
            if removed.inode == inode.number { Ok(()) } else { Err(file.inode.damaged("it has a name twice")) }
        })?;
        // One that is no longer counted exactly stays at 1, and none goes below its own two names.
        if inode.file_type()? == FileType::Directory && directory.links() > 2 {
            directory.set_links(directory.links() - 1);
        }
        self.put_inode(&mut directory)
    }

    fn count_subdirectory(&self, directory: &mut Inode) -> Result<()> {
        let uncounted = self.superblock.has_ro_compat(ro_compat::DIR_NLINK) && directory.has_flag(flag::INDEX);
        let links = match directory.links() {
            1 if uncounted => 1,
            links if links < LINKS_MAX => links + 1,
            _ if uncounted => 1,
            _ => {
                return Err(Error::new(
                    ErrorKind::NoSpace,
                    Layer::Filesystem,
                    "the directory has as many subdirectories as it can count",
                ));
            }
        };
        directory.set_links(links);
        Ok(())
    }

    /// Takes away one name of a file, or the only one of a directory, and frees what has none left.
    fn drop_link(&mut self, mut inode: Inode) -> Result<()> {
        let now = self.now()?;
        inode.set_time(Time::Change, now);
        let links = if inode.file_type()? == FileType::Directory { 0 } else { inode.links().saturating_sub(1) };
        inode.set_links(links);
        if links > 0 { self.put_inode(&mut inode) } else { self.delete(inode) }
    }

    /// Frees a file that has no name left, and everything it has.
    pub(super) fn delete(&mut self, mut inode: Inode) -> Result<()> {
        let now = self.now()?;
        // Should another name lead to it all the same, that is to be seen.
        self.names.forget();
        match inode.file_type()? {
            FileType::Symlink if inode.is_short_link() => inode.set_block_area(&[]),
            _ if inode.has_flag(flag::INLINE_DATA) => {
                self.take_inline(&mut inode)?;
            }
            FileType::Regular | FileType::Directory | FileType::Symlink => {
                self.cut(&mut inode, 0)?;
            }
            _ => inode.set_block_area(&[]),
        }
        self.drop_xattrs(&mut inode)?;
        inode.set_size(0);
        // Zero would mean that it is still in use, and what is less than the number of inodes that it is in a list of orphans.
        let time = u32::try_from(now.seconds.max(0)).unwrap_or(u32::MAX);
        inode.set_deletion_time(time.max(self.superblock.inodes));
        self.put_inode(&mut inode)?;
        self.free_inode(&inode)
    }

    /// Replaces the content of the regular file at a path.
    pub(super) fn put(&mut self, at: &Resolved, content: &Content) -> Result<()> {
        let mut inode = self.regular(at)?;
        self.put_content(&mut inode, content)
    }

    /// Adds to the content of the regular file at a path.
    pub(super) fn append(&mut self, at: &Resolved, content: &Content) -> Result<()> {
        let mut inode = self.regular(at)?;
        self.append_content(&mut inode, content)
    }

    /// Sets the size of the regular file at a path, in bytes.
    pub(super) fn resize(&mut self, at: &Resolved, size: u64) -> Result<()> {
        let mut inode = self.regular(at)?;
        self.set_content_size(&mut inode, size)
    }

    fn regular(&self, at: &Resolved) -> Result<Inode> {
        let inode = self.mutable(at)?;
        if inode.file_type()? == FileType::Regular {
            inode.check_unsealed()?;
            return Ok(inode);
        }
        Err(Error::new(ErrorKind::WrongType, Layer::Filesystem, "not a regular file"))
    }
}

/// Whether `path` is `above` or lies below it.
fn is_below(path: &Resolved, above: &Resolved) -> bool {
    let mut path = path.components();
    above.components().all(|name| path.next() == Some(name))
}

fn missing() -> Error {
    Error::new(ErrorKind::NotFound, Layer::Filesystem, "no such file or directory")
}

fn exists() -> Error {
    Error::new(ErrorKind::Invalid, Layer::Filesystem, "it exists already")
}
