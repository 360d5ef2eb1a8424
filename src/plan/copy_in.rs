//! The trees of the host that `--copy-in` names.

use crate::failure::Failure;
use crate::inject::{FileOperation, HostEntry, HostKind, HostNames, HostTree};
use imgraft_vfs::fs::{Attrs, Content, Timestamp};
use imgraft_vfs::path::GuestPath;
use nix::sys::resource::{Resource, getrlimit};
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// How many files one option copies.
pub(super) const ENTRIES_MAX: usize = 100_000;

/// Files up to this size are read now, as long as they are not more than [`READ_MAX`] together; the others stay open and are
/// read as they are written.
const SMALL: u64 = 16 << 10;
const READ_MAX: u64 = 64 << 20;

/// Descriptors that are left for everything else.
const OTHER_FILES: u64 = 256;

/// The operation that was typed. `written` are the files that this run writes, which cannot be among what it reads.
pub(super) fn copy_in(typed: &str, written: &[&Path]) -> Result<FileOperation, Failure> {
    let usage = || Failure::usage(format!("--copy-in {typed}: not LOCALPATH:REMOTEDIR with an absolute REMOTEDIR"));
    let colon = typed.rfind(":/").filter(|colon| *colon > 0).ok_or_else(usage)?;
    let directory = GuestPath::parse(&typed[colon + 1..])?;
    copied(Path::new(&typed[..colon]), directory, written).map_err(|failure| failure.within("--copy-in"))
}

/// A tree of the host below a directory of the guest, or what is in it where its path ends with `/.`; `written` as there.
pub(super) fn copied(local: &Path, directory: GuestPath, written: &[&Path]) -> Result<FileOperation, Failure> {
    let files_max = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft).saturating_sub(OTHER_FILES);
    let written =
        written.iter().filter_map(|path| std::fs::metadata(path).ok()).map(|found| identity(&found)).collect();
    let mut copy = Copy { tree: HostTree::default(), files_left: files_max, bytes_left: READ_MAX, written };
    let typed = local.as_os_str().as_bytes();
    let mut waiting = match (typed == b"." || typed.ends_with(b"/."), local.file_name()) {
        // As for tar, but that the directory of the guest stays whose it is.
        (true, _) => children(local, b"")?,
        // The path without a slash at its end: that would lead out of a symbolic link.
        (false, Some(name)) => vec![(local.parent().unwrap_or(Path::new("")).join(name), name.as_bytes().to_vec())],
        (false, None) => {
            return Err(failed(local, "it has no name to be given in the guest")
                .with_hint("name the directory itself, ../site say; or ../. for what is in it"));
        }
    };
    while let Some((local, path)) = waiting.pop() {
        if let HostKind::Directory = copy.add(&local, &path)? {
            waiting.extend(children(&local, &path)?);
        }
        if copy.tree.entries.len() + waiting.len() > ENTRIES_MAX {
            return Err(failed(&local, "so far were 100,000 files, which is all that one --copy-in copies")
                .with_hint("copy the directories in it with an option each"));
        }
    }
    Ok(FileOperation::CopyIn { tree: copy.tree, directory })
}

struct Copy {
    tree: HostTree,
    files_left: u64,
    bytes_left: u64,
    written: Vec<(u64, u64)>,
}

impl Copy {
    fn add(&mut self, local: &Path, path: &[u8]) -> Result<HostKind, Failure> {
        let metadata = std::fs::symlink_metadata(local).map_err(|error| failed(local, &error.to_string()))?;
        let kind = self.kind(local, &metadata)?;
        let attrs = Attrs { mode: (metadata.mode() & 0o7777) as u16, uid: metadata.uid(), gid: metadata.gid() };
        // Whole seconds, as tar's: not every filesystem keeps more, and a rerun is to find the same time.
        let mtime = metadata.is_file().then(|| Timestamp { seconds: metadata.mtime(), nanoseconds: 0 });
        let names = HostNames::One;
        self.tree.entries.push(HostEntry { path: path.to_vec(), kind: kind.clone(), attrs, mtime, names });
        Ok(kind)
    }

    fn kind(&mut self, local: &Path, metadata: &Metadata) -> Result<HostKind, Failure> {
        let file_type = metadata.file_type();
        if file_type.is_dir() {
            return Ok(HostKind::Directory);
        }
        if file_type.is_symlink() {
            let target = std::fs::read_link(local).map_err(|error| failed(local, &error.to_string()))?;
            return Ok(HostKind::Symlink(target.as_os_str().as_bytes().to_vec()));
        }
        if !file_type.is_file() {
            let what = match () {
                () if file_type.is_fifo() => "a named pipe",
                () if file_type.is_socket() => "a socket",
                () => "a device",
            };
            return Err(failed(local, &format!("{what}, and only files, directories and symbolic links are copied"))
                .with_hint("copy what is around it with an option each"));
        }
        if self.written.contains(&identity(metadata)) {
            return Err(failed(local, "this run writes that file, and cannot copy it")
                .with_hint("copy what is around it with an option each"));
        }
        self.content(local, metadata).map(HostKind::File)
    }

    fn content(&mut self, local: &Path, metadata: &Metadata) -> Result<Content, Failure> {
        let (content, opened) = Content::open_with_metadata(local)?;
        if identity(&opened) != identity(metadata) {
            return Err(failed(local, "it was replaced while it was looked at").with_hint("run it again"));
        }
        let len = content.len();
        if len <= SMALL && len <= self.bytes_left {
            let mut bytes = vec![0; len as usize];
            content.read_at(&mut bytes, 0)?;
            self.bytes_left -= len;
            return Ok(Content::bytes(bytes));
        }
        self.files_left = self.files_left.checked_sub(1).ok_or_else(|| {
            failed(local, "as many files are open as the host lets one program have")
                .with_hint("ulimit -n shows and raises their number; or copy the directories in it in several runs")
        })?;
        Ok(content)
    }
}

/// What is in a directory, by name, the first one last.
fn children(local: &Path, path: &[u8]) -> Result<Vec<(PathBuf, Vec<u8>)>, Failure> {
    let read = || -> std::io::Result<Vec<_>> {
        let mut children = Vec::new();
        for entry in std::fs::read_dir(local)?.take(ENTRIES_MAX + 1) {
            let entry = entry?;
            let between: &[u8] = if path.is_empty() { b"" } else { b"/" };
            children.push((entry.path(), [path, between, entry.file_name().as_bytes()].concat()));
        }
        children.sort_unstable_by(|one, other| other.cmp(one));
        Ok(children)
    };
    read().map_err(|error| failed(local, &error.to_string()))
}

pub(super) fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn failed(local: &Path, reason: &str) -> Failure {
    Failure::usage(format!("{}: {reason}", local.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn copied(typed: &str) -> Result<HostTree, String> {
        match copy_in(typed, &[]).map_err(|failure| failure.render())? {
            FileOperation::CopyIn { tree, .. } => Ok(tree),
            other => panic!("{other:?}"),
        }
    }

    fn place() -> (tempfile::TempDir, String) {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("site").to_str().unwrap().to_owned();
        std::fs::create_dir_all(format!("{path}/b/c")).unwrap();
        std::fs::write(format!("{path}/a"), "a").unwrap();
        std::fs::write(format!("{path}/b/large"), vec![7; SMALL as usize + 1]).unwrap();
        (place, path)
    }

    #[test]
    fn a_tree_is_read_with_its_links_as_they_are() {
        let (place, path) = place();
        symlink("/etc/shadow", format!("{path}/b/link")).unwrap();
        symlink(&path, place.path().join("way")).unwrap();
        let tree = copied(&format!("{path}/:/srv")).unwrap();
        let names: Vec<_> = tree.entries.iter().map(|entry| String::from_utf8_lossy(&entry.path)).collect();
        assert_eq!(names, ["site", "site/a", "site/b", "site/b/c", "site/b/large", "site/b/link"]);
        assert!(matches!(&tree.entries[1].kind, HostKind::File(Content::Bytes(bytes)) if bytes[..] == *b"a"));
        assert!(matches!(&tree.entries[4].kind, HostKind::File(Content::HostFile { .. })));
        assert!(matches!(&tree.entries[5].kind, HostKind::Symlink(target) if target == b"/etc/shadow"));
        for way in ["way", "way/"] {
            let tree = copied(&format!("{}/{way}:/srv", place.path().display())).unwrap();
            assert!(matches!(&tree.entries[..], [HostEntry { kind: HostKind::Symlink(_), .. }]), "{tree:?}");
        }
    }

    #[test]
    fn a_dot_at_the_end_is_what_is_in_a_directory() {
        let (place, path) = place();
        symlink(&path, place.path().join("way")).unwrap();
        for local in [format!("{path}/."), format!("{}/way/.", place.path().display())] {
            let tree = copied(&format!("{local}:/srv")).unwrap();
            let names: Vec<_> = tree.entries.iter().map(|entry| String::from_utf8_lossy(&entry.path)).collect();
            assert_eq!(names, ["a", "b", "b/c", "b/large"]);
        }
        assert!(copied(&format!("{path}/a/.:/srv")).unwrap_err().contains("a/.: Not a directory"));
    }

    #[test]
    fn what_cannot_be_copied_is_named() {
        let (place, path) = place();
        for typed in ["x", ":/srv", "x:srv", "/:/srv", "..:/srv"] {
            assert!(copied(typed).is_err(), "{typed}");
        }
        assert!(copied(&format!("{path}/none:/srv")).unwrap_err().contains("none: No such file"));
        let image = place.path().join("site/b/large");
        let failure = copy_in(&format!("{path}:/srv"), &[&image]).unwrap_err();
        assert!(failure.message.contains("site/b/large: this run writes"), "{}", failure.message);
        nix::unistd::mkfifo(&place.path().join("site/pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(copied(&format!("{path}:/srv")).unwrap_err().contains("site/pipe: a named pipe"));
    }

    #[test]
    fn a_file_that_a_link_has_replaced_is_not_read() {
        let (_place, path) = place();
        let file = format!("{path}/a");
        let before = std::fs::symlink_metadata(&file).unwrap();
        std::fs::rename(&file, format!("{path}/old")).unwrap();
        symlink(format!("{path}/b/large"), &file).unwrap();
        let mut copy = Copy { tree: HostTree::default(), files_left: 9, bytes_left: 9, written: Vec::new() };
        assert!(copy.content(Path::new(&file), &before).unwrap_err().message.contains("replaced while"));
    }

    #[test]
    fn there_is_an_end_to_open_files() {
        let (_place, path) = place();
        let large = format!("{path}/b/large");
        let mut copy = Copy { tree: HostTree::default(), files_left: 1, bytes_left: 1, written: Vec::new() };
        copy.add(Path::new(&format!("{path}/a")), b"a").unwrap();
        assert_eq!((copy.files_left, copy.bytes_left), (1, 0));
        copy.add(Path::new(&format!("{path}/a")), b"b").unwrap();
        assert_eq!(copy.files_left, 0);
        assert!(copy.add(Path::new(&large), b"c").unwrap_err().hints.join("").contains("ulimit"));
    }
}
