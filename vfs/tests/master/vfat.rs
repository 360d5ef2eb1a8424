//! FAT images, by fsck.vfat, mtools and blkid.

use super::oracle::{Scratch, have, path_with_sbin, run};
use super::sample::{self, TIME};
use super::seen::{self, Seen};
use imgraft_vfs::ErrorKind;
use imgraft_vfs::fs::{Content, Timestamp};
use imgraft_vfs::master::Tree;
use imgraft_vfs::master::vfat::{DEFAULT_SIZE, Options, image};
use std::path::Path;
use std::process::Command;

const MIB: u64 = 1 << 20;

pub fn options(size: u64) -> Options {
    Options { label: "config-2".into(), size, time: Timestamp { seconds: TIME, nanoseconds: 0 } }
}

/// What mcopy copies out.
fn mtools(image: &Path, scratch: &Scratch) -> Seen {
    let to = scratch.path("extracted");
    std::fs::create_dir(&to).unwrap();
    let mut command = Command::new("mcopy");
    command.env("LC_ALL", "C.UTF-8").args(["-s", "-n", "-m", "-i"]).arg(image).arg("::/").arg(&to);
    run(&mut command);
    let seen = seen::of_host(&to);
    std::fs::remove_dir_all(&to).unwrap();
    seen
}

/// Has everyone judge the image of a tree.
fn judge(tree: &Tree, size: u64, context: &str) {
    let scratch = Scratch::new();
    let path = seen::write(&image(tree, &options(size)).unwrap(), &scratch, "drive.img");
    assert_eq!(std::fs::metadata(&path).unwrap().len(), size);
    let ours = seen::without_modes(&seen::of_tree(tree));
    if have(&["fsck.vfat"]) {
        let said = run(Command::new("fsck.vfat").env("PATH", path_with_sbin()).args(["-n", "-v"]).arg(&path));
        assert!(
            !said.contains("ifferences") && !said.contains("Auto-") && !said.contains("dirty"),
            "{context}: {said}"
        );
    }
    if have(&["blkid"]) {
        assert_eq!(seen::blkid(&path, "TYPE"), "vfat", "{context}");
        assert_eq!(seen::blkid(&path, "LABEL"), "config-2", "{context}");
        assert_eq!(seen::blkid(&path, "LABEL_FATBOOT"), "config-2", "{context}");
    }
    if have(&["mcopy"]) {
        // mtools knows no characters beyond 16 bits.
        let ours = ours
            .into_iter()
            .map(|(path, file)| (String::from_utf8(path).unwrap().replace('𝄞', "__").into_bytes(), file))
            .collect();
        seen::assert_same(&ours, &seen::without_modes(&mtools(&path, &scratch)), &format!("{context}, mtools"));
    }
}

#[test]
fn a_drive_of_each_kind() {
    for size in [MIB, 3 * MIB, DEFAULT_SIZE, 512 * MIB, 600 * MIB, 9 * 1024 * MIB] {
        judge(&sample::drive(), size, &format!("{size} bytes"));
    }
    judge(&Tree::new(), DEFAULT_SIZE, "empty");
}

#[test]
fn names_of_every_kind() {
    judge(&sample::names(), DEFAULT_SIZE, "names");
    judge(&sample::names(), 600 * MIB, "names in FAT32");
}

#[test]
fn many_files_and_deep_ones() {
    judge(&sample::many(), DEFAULT_SIZE, "many");
    let mut root = Tree::new();
    for number in 0..5000 {
        root.put(format!("file with a longer name {number}"), Content::bytes(*b"x")).unwrap();
    }
    judge(&root, DEFAULT_SIZE, "many in the root");
    judge(&root, 600 * MIB, "many in the root of FAT32");
}

#[test]
fn a_large_file_is_streamed() {
    let scratch = Scratch::new();
    judge(&sample::large(&scratch.path("large")), 128 * MIB, "large");
}

#[test]
fn random_trees() {
    for seed in 0..12 {
        let size = [MIB, 8 * MIB, DEFAULT_SIZE, 600 * MIB][seed as usize % 4];
        judge(&sample::random(seed), size, &format!("seed {seed}"));
    }
}

#[test]
fn the_same_tree_and_time_give_the_same_bytes() {
    let scratch = Scratch::new();
    let one = seen::write(&image(&sample::names(), &options(DEFAULT_SIZE)).unwrap(), &scratch, "one");
    let two = seen::write(&image(&sample::names(), &options(DEFAULT_SIZE)).unwrap(), &scratch, "two");
    assert!(seen::bytes(&one) == seen::bytes(&two));
}

#[test]
fn what_does_not_fit_is_said_in_numbers() {
    let scratch = Scratch::new();
    let error = image(&sample::large(&scratch.path("large")), &options(DEFAULT_SIZE)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace);
    let text = error.to_string();
    // The file, the small one beside it, and no directory but the root.
    assert!(text.contains("need 102402 KiB") && text.contains("of 67108864 bytes has 65"), "{text}");
    // Full to the last cluster is not too full.
    let fits = |size: usize| {
        let mut tree = Tree::new();
        tree.put("all", Content::bytes(vec![1; size])).unwrap();
        image(&tree, &options(MIB)).is_ok()
    };
    let most = (0..=MIB as usize).collect::<Vec<_>>().partition_point(|size| fits(*size)) - 1;
    let mut tree = Tree::new();
    tree.put("all", Content::bytes(vec![1; most])).unwrap();
    judge(&tree, MIB, "full");
    assert!(most > 1_000_000, "{most}");
}

#[test]
fn what_cannot_be_kept_is_refused_by_name() {
    let refused = |names: &[&[u8]], said: &str| {
        let mut tree = Tree::new();
        for name in names {
            tree.put([b"dir/", *name].concat(), Content::bytes(*b"")).unwrap();
        }
        let error = image(&tree, &options(DEFAULT_SIZE)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().starts_with("dir/") && error.to_string().contains(said), "{error}");
        assert!(error.hint().is_some());
    };
    refused(&[b"\xff"], "UTF-8");
    refused(&[b"a:b"], "does not take");
    refused(&[b"dot."], "at the end");
    refused(&[b"Same", b"same"], "\"Same\"");
    for label in ["", "twelve bytes", "a/b", "ä", "a\n"] {
        let options = Options { label: label.into(), ..options(DEFAULT_SIZE) };
        assert_eq!(image(&Tree::new(), &options).unwrap_err().kind(), ErrorKind::Invalid, "{label}");
    }
    for size in [0, 1000, 512, u64::MAX, 3 << 40] {
        assert_eq!(image(&Tree::new(), &options(size)).unwrap_err().kind(), ErrorKind::Invalid, "{size}");
    }
}
