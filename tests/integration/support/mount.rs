//! The kernel's view of a filesystem, by a loop mount, and ours, by the library; both as one list.

use super::oracle::{succeed, tool};
use imgraft_vfs::fs::{FileType, GuestFs};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::resolve::{Follow, resolve};
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// What is observed of one file.
#[derive(Debug, PartialEq, Eq)]
pub struct Seen {
    kind: &'static str,
    mode: u32,
    uid: u32,
    gid: u32,
    links: u64,
    size: u64,
    /// A checksum of a file's bytes, or a link's target.
    content: Vec<u8>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A loop mount, undone when dropped.
#[derive(Debug)]
pub struct Mounted {
    directory: PathBuf,
}

impl Mounted {
    /// Mounts the filesystem at `offset` read-only, without its journal.
    pub fn new(raw: &Path, offset: u64, directory: PathBuf) -> Self {
        std::fs::create_dir_all(&directory).expect("the mount point can be made");
        let options = format!("loop,ro,noload,offset={offset}");
        succeed("mount", &["-t", "ext4", "-o", &options, super::text(raw), super::text(&directory)]);
        Self { directory }
    }

    /// The tree as the kernel shows it.
    pub fn tree(&self) -> BTreeMap<Vec<u8>, Seen> {
        let mut tree = BTreeMap::new();
        self.walk(Path::new(""), &mut tree);
        tree
    }

    fn walk(&self, at: &Path, tree: &mut BTreeMap<Vec<u8>, Seen>) {
        let path = self.directory.join(at);
        let metadata = path.symlink_metadata().expect("the kernel can stat it");
        let kind = metadata.file_type();
        let (kind, content) = if kind.is_dir() {
            ("dir", Vec::new())
        } else if kind.is_symlink() {
            ("link", std::fs::read_link(&path).expect("a link").as_os_str().as_bytes().to_vec())
        } else if kind.is_file() {
            ("file", digest(&std::fs::read(&path).expect("the kernel can read it")))
        } else if kind.is_char_device() {
            ("char", Vec::new())
        } else if kind.is_block_device() {
            ("block", Vec::new())
        } else if kind.is_fifo() {
            ("fifo", Vec::new())
        } else {
            ("socket", Vec::new())
        };
        let size = if matches!(kind, "file" | "link") { metadata.size() } else { 0 };
        let seen = Seen {
            kind,
            mode: metadata.mode() & 0o7777,
            uid: metadata.uid(),
            gid: metadata.gid(),
            links: metadata.nlink(),
            size,
            content,
            xattrs: xattrs(&path),
        };
        let is_dir = seen.kind == "dir";
        tree.insert(at.as_os_str().as_bytes().to_vec(), seen);
        if is_dir {
            for entry in std::fs::read_dir(&path).expect("the kernel can list it") {
                self.walk(&at.join(entry.expect("an entry").file_name()), tree);
            }
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let output = tool("umount", &[super::text(&self.directory)]);
        assert!(output.status.success() || std::thread::panicking(), "umount failed");
    }
}

/// The tree as our driver shows it.
pub fn ours(fs: &dyn GuestFs) -> BTreeMap<Vec<u8>, Seen> {
    let mut tree = BTreeMap::new();
    walk(fs, &GuestPath::parse("/").expect("the root"), &mut tree);
    tree
}

fn walk(fs: &dyn GuestFs, path: &GuestPath, tree: &mut BTreeMap<Vec<u8>, Seen>) {
    let at = resolve(fs, path, Follow::ExcludeLast).expect("it resolves");
    let metadata = fs.lookup(&at).expect("it can be looked up").expect("it is there");
    let (kind, content) = match metadata.file_type {
        FileType::Directory => ("dir", Vec::new()),
        FileType::Symlink => ("link", fs.read_link(&at).expect("a link")),
        FileType::Regular => ("file", digest(&imgraft_vfs::fs::read_file(fs, &at, 1 << 30).expect("we can read it"))),
        FileType::CharDevice => ("char", Vec::new()),
        FileType::BlockDevice => ("block", Vec::new()),
        FileType::Fifo => ("fifo", Vec::new()),
        FileType::Socket => ("socket", Vec::new()),
    };
    let mut xattrs: Vec<_> =
        fs.xattrs(&at).expect("attributes").into_iter().map(|xattr| (xattr.name, xattr.value)).collect();
    xattrs.sort();
    let seen = Seen {
        kind,
        mode: u32::from(metadata.mode),
        uid: metadata.uid,
        gid: metadata.gid,
        links: u64::from(metadata.links),
        size: if matches!(kind, "file" | "link") { metadata.size } else { 0 },
        content,
        xattrs,
    };
    tree.insert(path.as_bytes()[1..].to_vec(), seen);
    if kind == "dir" {
        for entry in fs.read_dir(&at).expect("we can list it") {
            walk(fs, &path.join(&entry.name).expect("a name"), tree);
        }
    }
}

/// The extended attributes as getfattr(1) prints them.
fn xattrs(path: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let output = tool("getfattr", &["-h", "-d", "-m", "-", "-e", "hex", "--absolute-names", super::text(path)]);
    assert!(output.status.success(), "getfattr {}", path.display());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut pairs: Vec<_> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.as_bytes().to_vec(), unhex(value.trim_start_matches("0x"))))
        .collect();
    pairs.sort();
    pairs
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).expect("hexadecimal")).collect()
}

/// Short bytes themselves, else their checksum and length.
fn digest(bytes: &[u8]) -> Vec<u8> {
    if bytes.len() <= 64 {
        return bytes.to_vec();
    }
    let mut digest = crc32c::crc32c(bytes).to_le_bytes().to_vec();
    digest.extend_from_slice(&bytes.len().to_le_bytes());
    digest
}
