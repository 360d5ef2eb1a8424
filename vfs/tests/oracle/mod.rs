//! The programs and the kernel that judge what this crate has written, and a device for them to share.
//!
//! Where one is missing a test says so and passes; with `REQUIRE_ORACLES=1` it fails.

#![allow(dead_code, reason = "each test file uses a part of it")]

use imgraft_vfs::Result;
use imgraft_vfs::block::{BlockDevice, check_range};
use imgraft_vfs::error::{Error, Layer};
use imgraft_vfs::fs::{FileType, GuestFs};
use imgraft_vfs::path::{GuestPath, Resolved};
use imgraft_vfs::resolve::{Follow, resolve};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Notes that a part of a test cannot run here, and why; gives `false`.
pub fn skip(why: &str) -> bool {
    assert!(std::env::var_os("REQUIRE_ORACLES").is_none_or(|value| value != "1"), "required: {why}");
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
    false
}

/// Whether all these programs are installed.
pub fn have(programs: &[&str]) -> bool {
    let found = |program: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .chain(["/sbin".into(), "/usr/sbin".into()])
            .any(|directory| directory.join(program).is_file())
    };
    programs.iter().all(|program| found(program) || skip(&format!("{program} is not installed")))
}

/// Whether this process may mount.
pub fn can_mount() -> bool {
    have(&["mount", "umount"])
        && (nix::unistd::geteuid().is_root() || skip("only root can mount"))
        && (Path::new("/dev/loop-control").exists() || skip("there are no loop devices"))
}

/// Whether this process may have the host's kernel mount what it serves by FUSE.
pub fn can_attach() -> bool {
    can_mount() && (Path::new("/dev/fuse").exists() || skip("there is no /dev/fuse"))
}

/// The output of a program; it has to succeed.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{text}", output.status);
    text
}

/// Makes an ext4 image of so many MiB over what was there before.
pub fn mke2fs(image: &Path, mebibytes: u64, before: Before, arguments: &[&str]) {
    let mut file = File::create(image).unwrap();
    match before {
        Before::Zeros => file.set_len(mebibytes << 20).unwrap(),
        Before::Garbage => {
            for _ in 0..mebibytes {
                file.write_all(&vec![0xa5; 1 << 20]).unwrap();
            }
        }
    }
    drop(file);
    let mut command = Command::new("mke2fs");
    command.env("PATH", path_with_sbin());
    command.args(["-q", "-F", "-E", "nodiscard,lazy_itable_init=1"]).args(arguments).arg(image);
    run(&mut command);
}

/// Makes a FAT image of so many bytes over what was there before.
pub fn mkfs_vfat(image: &Path, size: u64, before: Before, arguments: &[&str]) {
    let byte = if before == Before::Zeros { 0 } else { 0xa5 };
    std::fs::write(image, vec![byte; size as usize]).unwrap();
    run(Command::new("mkfs.vfat").env("PATH", path_with_sbin()).args(arguments).arg(image));
}

/// Fails unless fsck.vfat finds nothing at all to say about an image.
pub fn fsck_vfat(image: &Path, context: &str) {
    let mut command = Command::new("fsck.vfat");
    let output = command.env("PATH", path_with_sbin()).arg("-n").arg(image).stdin(Stdio::null()).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // Its name, and how many files and clusters there are.
    assert!(output.status.success() && text.lines().count() == 2, "{context}\n{text}");
}

/// What a volume holds before a filesystem is made on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// Zeros.
    Zeros,
    /// Anything else: what a filesystem never wrote must not show.
    Garbage,
}

/// The search path with the directories of the administrator.
pub fn path_with_sbin() -> String {
    format!("{}:/sbin:/usr/sbin", std::env::var("PATH").unwrap_or_default())
}

/// Fails unless e2fsck finds nothing at all to say about an image.
pub fn e2fsck(image: &Path, context: &str) {
    let output = Command::new("e2fsck")
        .env("PATH", path_with_sbin())
        .args(["-fn"])
        .arg(image)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && !text.contains("IGNORED") && !text.contains("no\n"), "{context}\n{text}");
}

/// An image that the kernel has mounted, until it is dropped.
#[derive(Debug)]
pub struct Mounted {
    at: tempfile::TempDir,
}

impl Mounted {
    /// Mounts a filesystem image; `options` as mount(8) takes them after `loop,`.
    pub fn new(image: &Path, options: &str) -> Self {
        let at = tempfile::tempdir().unwrap();
        run(Command::new("mount").args(["-t", "ext4", "-o", &format!("loop,{options}")]).arg(image).arg(at.path()));
        Self { at }
    }

    /// Where.
    pub fn path(&self) -> &Path {
        self.at.path()
    }

    /// Everything in it.
    pub fn tree(&self) -> Tree {
        let mut tree = Tree::new();
        read_host(self.path(), Path::new("/"), &mut tree);
        tree
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // A process that another thread is just starting holds what this one has open for a moment.
        for _ in 0..50 {
            let done = Command::new("umount").arg(self.at.path()).stderr(Stdio::null()).status();
            if done.is_ok_and(|status| status.success()) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let _ = writeln!(std::io::stderr(), "{} stays mounted", self.at.path().display());
    }
}

/// What becomes of the running transaction when the power goes (EXT4_IOC_SHUTDOWN).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// It is committed to the log.
    AfterCommit = 1,
    /// It is lost.
    AtOnce = 2,
}

/// Cuts the power of a mounted filesystem.
pub fn cut(at: &Path, how: Cut) {
    let script = "import fcntl, os, struct, sys\n\
                  fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', int(sys.argv[2])))";
    run(Command::new("python3").args(["-c", script]).arg(at).arg((how as u32).to_string()));
}

/// All that is known of a file, apart from inode numbers and the size of directories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub kind: char,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub links: u64,
    pub mtime: (i64, u32),
    pub size: u64,
    /// A checksum of the content, and the target of a link.
    pub content: (u32, String),
    pub xattrs: Vec<(String, Vec<u8>)>,
}

/// A filesystem's whole content by path.
pub type Tree = BTreeMap<Vec<u8>, Node>;

fn read_host(root: &Path, at: &Path, tree: &mut Tree) {
    let host = root.join(at.strip_prefix("/").unwrap());
    let metadata = host.symlink_metadata().unwrap();
    let kind = match metadata.mode() >> 12 {
        4 => 'd',
        8 => '-',
        10 => 'l',
        1 => 'p',
        2 => 'c',
        6 => 'b',
        _ => 's',
    };
    let content = match kind {
        '-' => (checksum_file(&File::open(&host).unwrap(), metadata.len()), String::new()),
        'l' => (0, std::fs::read_link(&host).unwrap().as_os_str().as_bytes().escape_ascii().to_string()),
        _ => (0, String::new()),
    };
    let node = Node {
        kind,
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        links: metadata.nlink(),
        mtime: (metadata.mtime(), metadata.mtime_nsec() as u32),
        size: if kind == 'd' { 0 } else { metadata.size() },
        content,
        xattrs: host_xattrs(&host),
    };
    tree.insert(at.as_os_str().as_bytes().to_vec(), node);
    if kind == 'd' {
        for entry in std::fs::read_dir(&host).unwrap() {
            read_host(root, &at.join(entry.unwrap().file_name()), tree);
        }
    }
}

/// The extended attributes of a host file, of a link itself, sorted.
pub fn host_xattrs(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut names = vec![0; 65536];
    let len = rustix::fs::llistxattr(path, &mut names[..]).unwrap();
    let mut xattrs: Vec<(String, Vec<u8>)> = names[..len]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let mut value = vec![0; 65536];
            let len = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
            (name.escape_ascii().to_string(), value[..len].to_vec())
        })
        .collect();
    xattrs.sort();
    xattrs
}

fn checksum_file(file: &File, len: u64) -> u32 {
    let mut sum = 0;
    let mut buffer = vec![0; PIECE as usize];
    for (at, len) in pieces(len) {
        file.read_exact_at(&mut buffer[..len], at).unwrap();
        sum = crc32c::crc32c_append(sum, &buffer[..len]);
    }
    sum
}

const PIECE: u64 = 1 << 16;

/// The pieces of a file that are compared: all, and of one that is mostly a hole those at both ends and some between.
fn pieces(len: u64) -> impl Iterator<Item = (u64, usize)> {
    let count = len.div_ceil(PIECE);
    let between = (count / 128).max(1);
    let ends = 128.min(count);
    let mut next = 0_u64;
    std::iter::from_fn(move || {
        let number = next;
        let at = number.checked_mul(PIECE).filter(|at| *at < len)?;
        let all = number < ends || number >= count - ends || between == 1;
        next += if all { 1 } else { between.min(count - ends - number) };
        Some((at, (len - at).min(PIECE) as usize))
    })
}

/// The resolved path of a file, links in the last place not followed.
pub fn at(fs: &dyn GuestFs, path: impl AsRef<[u8]>) -> Resolved {
    try_at(fs, path).unwrap()
}

/// The resolved path of a file, links in the last place not followed.
pub fn try_at(fs: &dyn GuestFs, path: impl AsRef<[u8]>) -> Result<Resolved> {
    resolve(fs, &GuestPath::parse(path)?, Follow::ExcludeLast)
}

/// Everything in a guest filesystem, as its driver sees it.
pub fn tree(fs: &dyn GuestFs) -> Tree {
    try_tree(fs, u64::MAX).unwrap()
}

/// Everything in a guest filesystem, as its driver sees it: of each file at most `limit` bytes.
pub fn try_tree(fs: &dyn GuestFs, limit: u64) -> Result<Tree> {
    let mut tree = Tree::new();
    read_guest(fs, b"/".to_vec(), limit, &mut tree)?;
    Ok(tree)
}

fn read_guest(fs: &dyn GuestFs, path: Vec<u8>, limit: u64, tree: &mut Tree) -> Result<()> {
    let resolved = try_at(fs, &path)?;
    let missing = || Error::corrupt(Layer::Filesystem, "listed and missing").with_guest_path(&path);
    let metadata = fs.lookup(&resolved)?.ok_or_else(missing)?;
    let (kind, content) = match metadata.file_type {
        FileType::Regular => {
            let mut sum = 0;
            let mut buffer = vec![0; PIECE as usize];
            for (at, len) in pieces(metadata.size).take_while(|(at, _)| *at < limit) {
                let mut done = 0;
                while done < len {
                    match fs.read_at(&resolved, &mut buffer[done..len], at + done as u64)? {
                        0 => return Err(Error::corrupt(Layer::Filesystem, "it ends early").with_guest_path(&path)),
                        read => done += read,
                    }
                }
                sum = crc32c::crc32c_append(sum, &buffer[..len]);
            }
            ('-', (sum, String::new()))
        }
        FileType::Symlink => ('l', (0, fs.read_link(&resolved)?.escape_ascii().to_string())),
        FileType::Directory => ('d', (0, String::new())),
        FileType::Fifo => ('p', (0, String::new())),
        FileType::CharDevice => ('c', (0, String::new())),
        FileType::BlockDevice => ('b', (0, String::new())),
        FileType::Socket => ('s', (0, String::new())),
    };
    let node = Node {
        kind,
        mode: u32::from(metadata.mode),
        uid: metadata.uid,
        gid: metadata.gid,
        links: u64::from(metadata.links),
        mtime: (metadata.mtime.seconds, metadata.mtime.nanoseconds),
        size: if kind == 'd' { 0 } else { metadata.size },
        content,
        xattrs: fs
            .xattrs(&resolved)?
            .into_iter()
            .map(|xattr| (xattr.name.escape_ascii().to_string(), xattr.value))
            .collect(),
    };
    if kind == 'd' {
        for entry in fs.read_dir(&resolved)? {
            let mut child = path.clone();
            if child.last() != Some(&b'/') {
                child.push(b'/');
            }
            child.extend_from_slice(&entry.name);
            read_guest(fs, child, limit, tree)?;
        }
    }
    tree.insert(path, node);
    Ok(())
}

/// Fails, naming the first differences, unless two trees are the same.
pub fn assert_same(ours: &Tree, theirs: &Tree, context: &str) {
    let mut differences = Vec::new();
    for path in ours.keys().chain(theirs.keys().filter(|path| !ours.contains_key(*path))) {
        if ours.get(path) != theirs.get(path) {
            differences.push(format!(
                "{}\n  ours   {:?}\n  theirs {:?}",
                path.escape_ascii(),
                ours.get(path),
                theirs.get(path)
            ));
        }
    }
    let shown = differences.iter().take(5).cloned().collect::<Vec<_>>().join("\n");
    assert!(differences.is_empty(), "{context}: {} differences\n{shown}", differences.len());
}

/// A host file as a block device, without a transaction; it counts what is asked of it.
#[derive(Debug)]
pub struct FileDevice {
    file: File,
    pub reads: std::sync::atomic::AtomicU64,
    pub writes: std::sync::atomic::AtomicU64,
}

impl FileDevice {
    /// Opens a file for reading and writing.
    pub fn open(path: &Path) -> Self {
        let file = File::options().read(true).write(true).open(path).unwrap();
        Self { file, reads: 0.into(), writes: 0.into() }
    }
}

impl BlockDevice for FileDevice {
    fn size(&self) -> u64 {
        self.file.metadata().unwrap().len()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        check_range(Layer::Host, self.size(), offset, buf.len())?;
        self.reads.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.file.read_exact_at(buf, offset).map_err(|error| Error::io(Layer::Host, "read", error))
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        check_range(Layer::Host, self.size(), offset, buf.len())?;
        self.writes.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.file.write_all_at(buf, offset).map_err(|error| Error::io(Layer::Host, "write", error))
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }
}

/// Repeatable random numbers (splitmix64).
#[derive(Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// So many bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }
}

/// Where an image of a test lies, until it is dropped.
#[derive(Debug)]
pub struct Scratch {
    directory: tempfile::TempDir,
}

impl Scratch {
    /// An empty directory.
    pub fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}
