//! Directories built here, judged by e2fsck and the kernel, and the other way round.

use super::tests::MemStore;
use super::*;
use crate::fs::ext4::checksum::{crc32c, inode_seed};
use crate::fs::ext4::htree::{CharSign, HashFunction};
use crate::fs::ext4::testing::{Random, have, run, skip};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs::File;
use std::ops::RangeInclusive;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An image with a directory `d` and a file `f`.
struct Image {
    path: PathBuf,
    block_size: usize,
}

impl Image {
    fn debugfs(&self, requests: &str) -> String {
        let script = self.path.with_extension("requests");
        std::fs::write(&script, requests).unwrap();
        String::from_utf8_lossy(&run(Command::new("debugfs").arg("-w").arg("-f").arg(&script).arg(&self.path)))
            .into_owned()
    }

    fn stat(&self, file: &str, mark: &str) -> u32 {
        word_after(&self.debugfs(&format!("stat {file}\n")), mark).parse().unwrap()
    }

    fn context(&self) -> DirContext {
        let dump = run(Command::new("dumpe2fs").arg("-h").arg(&self.path));
        let dump = String::from_utf8_lossy(&dump).into_owned();
        let features = dump.lines().find(|line| line.starts_with("Filesystem features:")).unwrap();
        let has = |feature: &str| features.split_whitespace().any(|word| word == feature);
        let seed = uuid(word_after(&dump, "Directory Hash Seed:"));
        let hash = NameHash {
            function: match word_after(&dump, "Default directory hash:") {
                "half_md4" => HashFunction::HalfMd4,
                "tea" => HashFunction::Tea,
                _ => HashFunction::Legacy,
            },
            sign: match dump.contains("unsigned_directory_hash") {
                true => CharSign::Unsigned,
                false => CharSign::Signed,
            },
            seed: std::array::from_fn(|i| u32::from_le_bytes(*seed[i * 4..].first_chunk().unwrap())),
        };
        let depth = if has("large_dir") { IndexDepth::Two } else { IndexDepth::One };
        let filesystem_seed = crc32c(!0, &uuid(word_after(&dump, "Filesystem UUID:")));
        let directory = inode_seed(filesystem_seed, self.stat("d", "Inode:"), self.stat("d", "Generation:"));
        let flags = self.debugfs("stat d\n");
        let flags = u32::from_str_radix(word_after(&flags, "Flags: 0x"), 16).unwrap();
        DirContext {
            checksum_seed: has("metadata_csum").then_some(directory),
            file_types: if has("filetype") { FileTypes::Stored } else { FileTypes::Absent },
            index: if has("dir_index") { IndexSupport::Present { hash, depth } } else { IndexSupport::Absent },
            layout: if flags & 0x1000 == 0 { DirLayout::Linear } else { DirLayout::Indexed },
        }
    }

    /// The physical numbers of the directory's first blocks.
    fn map(&self, blocks: usize) -> Vec<u64> {
        let requests: String = (0..blocks).fold(String::new(), |mut text, number| {
            writeln!(text, "bmap d {number}").unwrap();
            text
        });
        let output = self.debugfs(&requests);
        output.lines().filter(|line| !line.starts_with("debugfs:")).map(|line| line.trim().parse().unwrap()).collect()
    }

    fn load(&self) -> MemStore {
        let size = self.block_size;
        let blocks = self.stat("d", "Size:") as usize / size;
        let file = File::open(&self.path).unwrap();
        let read = |number: u64| {
            let mut block = vec![0; size];
            file.read_exact_at(&mut block, number * size as u64).unwrap();
            block
        };
        MemStore { size, blocks: self.map(blocks).into_iter().map(read).collect(), room: usize::MAX }
    }

    /// Puts the directory back, and gives its inode the flag and the file its links.
    fn save(&self, store: &MemStore, layout: DirLayout, names: usize) {
        let have = self.stat("d", "Size:") as usize / self.block_size;
        let mut requests = "expand_dir d\n".repeat(store.blocks.len() - have);
        let flags = if layout == DirLayout::Indexed { 0x8_1000 } else { 0x8_0000 };
        writeln!(requests, "sif d flags {flags}\nsif f links_count {}", names + 1).unwrap();
        self.debugfs(&requests);
        let file = File::options().write(true).open(&self.path).unwrap();
        for (block, number) in store.blocks.iter().zip(self.map(store.blocks.len())) {
            file.write_all_at(block, number * self.block_size as u64).unwrap();
        }
    }

    fn check(&self) {
        run(Command::new("e2fsck").arg("-fn").arg(&self.path));
    }
}

fn word_after<'t>(text: &'t str, mark: &str) -> &'t str {
    let rest = &text[text.find(mark).unwrap_or_else(|| panic!("no {mark} in {text}")) + mark.len()..];
    rest.split_whitespace().next().unwrap()
}

fn uuid(text: &str) -> Vec<u8> {
    let digits = text.replace('-', "");
    digits.as_bytes().chunks(2).map(|hex| u8::from_str_radix(std::str::from_utf8(hex).unwrap(), 16).unwrap()).collect()
}

/// Inserts these names, removes some, and asks e2fsck and the kernel; lets the kernel change the directory, and asks
/// our reader.
fn judge(make: &[&str], after: &str, names: BTreeSet<Vec<u8>>) -> Option<MemStore> {
    if !have(&["mke2fs", "debugfs", "e2fsck", "dumpe2fs"]) {
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image");
    std::fs::write(dir.path().join("content"), "content").unwrap();
    run(Command::new("mke2fs").args(["-q", "-t", "ext4", "-N", "128", "-b"]).args(make).arg(&path).arg("64M"));
    let image = Image { path, block_size: make[0].parse().unwrap() };
    image.debugfs(&format!("{after}\nmkdir d\nwrite {} f\n", dir.path().join("content").display()));

    let mut context = image.context();
    let file = image.stat("f", "Inode:");
    let mut store = image.load();
    let mut names = names;
    for name in &names {
        context.insert(&mut store, name, file, FileType::Regular).unwrap();
    }
    for name in names.clone().iter().step_by(5) {
        context.remove(&mut store, name).unwrap();
        names.remove(name);
    }
    image.save(&store, context.layout, names.len());
    image.check();

    let mount = dir.path().join("mount");
    std::fs::create_dir(&mount).unwrap();
    let mounted = Command::new("mount").args(["-o", "loop"]).arg(&image.path).arg(&mount).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        skip("no loop mount to ask the kernel");
        return Some(store);
    }
    let kernel = kernel_uses(&mount.join("d"), &mount.join("f"), &mut names);
    run(Command::new("umount").arg(&mount));
    kernel.unwrap();
    image.check();
    let context = image.context();
    let store = image.load();
    let listed: BTreeSet<Vec<u8>> = context.list(&store).unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(listed, names);
    for name in &names {
        assert_eq!(context.find(&store, name).unwrap().unwrap().inode, file);
    }
    Some(store)
}

fn random_names(count: usize, lengths: RangeInclusive<usize>) -> BTreeSet<Vec<u8>> {
    let mut random = Random(count as u64);
    let mut names = BTreeSet::new();
    while names.len() < count {
        let mut name = random.name(lengths.end() - lengths.start() + 1);
        name.resize(name.len() + lengths.start() - 1, b'x');
        names.insert(name);
    }
    names
}

/// Lists the directory and looks up every name; then removes a few, and adds others.
fn kernel_uses(dir: &Path, file: &Path, names: &mut BTreeSet<Vec<u8>>) -> std::io::Result<()> {
    let mut listed = BTreeSet::new();
    for entry in std::fs::read_dir(dir)? {
        listed.insert(entry?.file_name().into_vec());
    }
    assert_eq!(&listed, names);
    let path = |name: &[u8]| dir.join(std::ffi::OsStr::from_bytes(name));
    for name in names.iter() {
        std::fs::metadata(path(name))?;
    }
    for name in names.clone().iter().step_by(7) {
        std::fs::remove_file(path(name))?;
        names.remove(name);
    }
    let mut random = Random(99);
    for _ in 0..1000 {
        let name = random.name(255);
        if names.insert(name.clone()) {
            std::fs::hard_link(file, path(&name))?;
        }
    }
    Ok(())
}

#[test]
fn small_blocks() {
    judge(&["1024"], "", random_names(12_000, 1..=255));
}

#[test]
fn large_blocks() {
    judge(&["4096"], "", random_names(20_000, 1..=255));
}

#[test]
fn without_checksums_and_types() {
    judge(&["1024", "-O", "^metadata_csum,^filetype"], "", random_names(5_000, 1..=100));
}

#[test]
fn without_index() {
    judge(&["2048", "-O", "^dir_index"], "", random_names(500, 1..=255));
}

#[test]
fn three_levels() {
    if let Some(store) = judge(&["1024", "-O", "large_dir"], "", random_names(45_000, 200..=255)) {
        assert_eq!(store.blocks[0][30], 2);
    }
}

#[test]
fn other_hashes() {
    judge(&["1024"], "ssv def_hash_version 2\nssv flags 2", random_names(3_000, 1..=255));
    judge(&["1024"], "ssv def_hash_version 0", random_names(3_000, 1..=255));
    judge(&["1024", "-O", "^metadata_csum"], "ssv def_hash_version 1\nssv flags 2", random_names(3_000, 1..=255));
}

#[test]
fn names_of_one_hash() {
    let mut names = random_names(300, 100..=255);
    names.extend(super::tests::colliding());
    judge(&["1024"], "ssv def_hash_version 0", names);
}

#[test]
fn one_block() {
    judge(&["4096"], "", random_names(30, 1..=40));
}
