//! What a tree is to whoever reads it: paths, modes, sizes and checksums.

use super::oracle::{Scratch, run};
use imgraft_vfs::fs::Content;
use imgraft_vfs::master::{Directory, Image, Node, Tree};
use imgraft_vfs::transaction::{Existing, NewFile};
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is known of a file; a directory has neither size nor checksum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    pub mode: u32,
    pub size: u64,
    pub sum: u32,
}

/// Everything by its path, relative to the root.
pub type Seen = BTreeMap<Vec<u8>, Fact>;

/// What is to be seen of a tree.
pub fn of_tree(tree: &Tree) -> Seen {
    let mut seen = Seen::new();
    walk(tree.root(), &[], &mut seen);
    seen
}

fn walk(directory: &Directory, at: &[u8], seen: &mut Seen) {
    for (name, node) in directory {
        let path = if at.is_empty() { name.clone() } else { [at, name].join(&b'/') };
        match node {
            Node::Directory(below) => {
                walk(below, &path, seen);
                seen.insert(path, Fact { mode: 0o040_555, size: 0, sum: 0 });
            }
            Node::File(content) => {
                seen.insert(path, Fact { mode: 0o100_444, size: content.len(), sum: sum(content) });
            }
        }
    }
}

fn sum(content: &Content) -> u32 {
    let mut sum = 0;
    let mut buf = vec![0; 1 << 20];
    let mut at = 0;
    while at < content.len() {
        let take = (content.len() - at).min(1 << 20) as usize;
        content.read_at(&mut buf[..take], at).unwrap();
        sum = crc32c::crc32c_append(sum, &buf[..take]);
        at += take as u64;
    }
    sum
}

/// What is to be seen of a directory of the host.
pub fn of_host(root: &Path) -> Seen {
    let mut seen = Seen::new();
    let mut waiting = vec![root.to_path_buf()];
    while let Some(directory) = waiting.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let metadata = path.symlink_metadata().unwrap();
            let relative = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
            let (mut size, mut content) = (0, 0);
            if metadata.is_dir() {
                waiting.push(path);
            } else {
                size = metadata.size();
                content = sum(&Content::open(&path).unwrap());
            }
            seen.insert(relative, Fact { mode: metadata.mode(), size, sum: content });
        }
    }
    seen
}

/// Fails, naming the first differences, unless two are the same.
pub fn assert_same(ours: &Seen, theirs: &Seen, context: &str) {
    let all: std::collections::BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
    let differences: Vec<String> = all
        .into_iter()
        .filter(|path| ours.get(*path) != theirs.get(*path))
        .map(|path| format!("{}\n  ours   {:?}\n  theirs {:?}", path.escape_ascii(), ours.get(path), theirs.get(path)))
        .collect();
    assert!(
        differences.is_empty(),
        "{context}: {} differences\n{}",
        differences.len(),
        differences.iter().take(5).cloned().collect::<Vec<_>>().join("\n")
    );
}

/// The same without modes, where the reader has none.
pub fn without_modes(seen: &Seen) -> Seen {
    let plain = |file: &Fact| Fact { mode: file.mode & 0o170_000, ..file.clone() };
    seen.iter().map(|(path, file)| (path.clone(), plain(file))).collect()
}

/// Writes an image into a file.
pub fn write(image: &Image, scratch: &Scratch, name: &str) -> PathBuf {
    let path = scratch.path(name);
    let file = NewFile::create(&path, Existing::Refuse).unwrap();
    image.write_to(&file).unwrap();
    file.publish(0o600).unwrap();
    path
}

/// A value that blkid finds in an image.
pub fn blkid(image: &Path, tag: &str) -> String {
    let mut command = Command::new("blkid");
    command.env("PATH", super::oracle::path_with_sbin()).args(["-p", "-s", tag, "-o", "value"]).arg(image);
    run(&mut command).trim_end().to_owned()
}

/// The bytes of a file.
pub fn bytes(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}
/// Writes the files of a tree into a directory of the host.
pub fn spread(tree: &Tree, root: &Path) {
    std::fs::create_dir_all(root).unwrap();
    spread_directory(tree.root(), root);
}

fn spread_directory(directory: &Directory, at: &Path) {
    for (name, node) in directory {
        let path = at.join(std::ffi::OsStr::from_bytes(name));
        match node {
            Node::Directory(below) => {
                std::fs::create_dir(&path).unwrap();
                spread_directory(below, &path);
            }
            Node::File(Content::Bytes(bytes)) => std::fs::write(&path, bytes).unwrap(),
            Node::File(Content::HostFile { path: from, .. }) => {
                std::fs::copy(from, &path).unwrap();
            }
        }
    }
}
