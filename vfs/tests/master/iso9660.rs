//! ISO 9660 images, by isoinfo, xorriso, blkid and genisoimage.

use super::ecma119::{self, Order};
use super::oracle::{Scratch, have, run};
use super::sample::{self, TIME};
use super::seen::{self, Seen};
use imgraft_vfs::ErrorKind;
use imgraft_vfs::fs::{Content, Timestamp};
use imgraft_vfs::master::Tree;
use imgraft_vfs::master::iso9660::{Options, image};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

pub fn options() -> Options {
    Options {
        volume_id: "config-2".into(),
        publisher: "IMGRAFT 1.0".into(),
        time: Timestamp { seconds: TIME, nanoseconds: 0 },
    }
}

/// What xorriso extracts; `view` is rockridge, norock (Joliet) or ecma119.
fn xorriso(image: &Path, view: &str, scratch: &Scratch) -> Seen {
    let to = scratch.path(&format!("extracted-{view}"));
    let mut command = Command::new("xorriso");
    // Without Rock Ridge it warns of Joliet names beyond UCS-2.
    let worst = if view == "norock" { "SORRY" } else { "WARNING" };
    command.args(["-abort_on", worst, "-read_fs", if view == "rockridge" { "any" } else { view }]);
    command.args(["-osirrox", "on:auto_chmod_on", "-indev"]).arg(image).args(["-extract", "/"]).arg(&to);
    run(&mut command);
    let seen = seen::of_host(&to);
    run(Command::new("chmod").args(["-R", "u+w"]).arg(&to));
    std::fs::remove_dir_all(&to).unwrap();
    seen
}

/// The paths that isoinfo finds; `view` is its option.
fn isoinfo(image: &Path, view: &[&str]) -> Vec<String> {
    let text = run(Command::new("isoinfo").arg("-f").args(view).arg("-i").arg(image));
    text.lines().filter_map(|line| line.strip_prefix('/')).map(str::to_owned).collect()
}

/// Has everyone judge the image of a tree.
fn judge(tree: &Tree, context: &str) {
    let scratch = Scratch::new();
    let path = seen::write(&image(tree, &options()).unwrap(), &scratch, "drive.iso");
    let ours = seen::of_tree(tree);
    ecma119::check(&seen::bytes(&path), Order::Checked);
    if have(&["blkid"]) {
        assert_eq!(seen::blkid(&path, "TYPE"), "iso9660", "{context}");
        assert_eq!(seen::blkid(&path, "LABEL"), "config-2", "{context}");
    }
    if have(&["xorriso"]) {
        seen::assert_same(&ours, &xorriso(&path, "rockridge", &scratch), &format!("{context}, Rock Ridge"));
        lossy(&ours, &xorriso(&path, "norock", &scratch), joliet_keeps, &format!("{context}, Joliet"));
        lossy(&ours, &xorriso(&path, "ecma119", &scratch), |_| false, &format!("{context}, plain"));
    }
    if have(&["isoinfo"]) {
        // isoinfo prints names as lines.
        let text: BTreeSet<String> = ours
            .keys()
            .filter_map(|path| String::from_utf8(path.clone()).ok())
            .filter(|path| !path.contains('\n'))
            .collect();
        let rock_ridge = isoinfo(&path, &["-R"]).into_iter().collect();
        assert!(text.is_subset(&rock_ridge), "{context}: {:?}", text.difference(&rock_ridge).next());
        let joliet = isoinfo(&path, &["-J"]);
        let lines = joliet.len();
        let joliet = joliet.into_iter().collect();
        let kept: BTreeSet<String> =
            text.iter().filter(|path| joliet_keeps(path.as_bytes()) && path.is_ascii()).cloned().collect();
        assert!(kept.is_subset(&joliet), "{context}: {:?}", kept.difference(&joliet).next());
        assert_eq!(lines, ours.len(), "{context}: Joliet names");
        let plain: BTreeSet<String> = isoinfo(&path, &[]).into_iter().collect();
        assert_eq!(plain.len(), ours.len(), "{context}: plain names");
        let listing = run(Command::new("isoinfo").args(["-R", "-l", "-i"]).arg(&path));
        let modes: BTreeSet<&str> = listing
            .lines()
            .filter_map(|line| line.get(..10))
            .filter(|mode| mode.ends_with("--") || mode.ends_with("-x"))
            .collect();
        assert!(modes.is_subset(&BTreeSet::from(["-r--r--r--", "dr-xr-xr-x"])), "{context}: {modes:?}");
    }
}

/// Whether a path is the same in Joliet.
pub fn joliet_keeps(path: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(path) else { return false };
    let fits = |name: &str| {
        name.encode_utf16().count() <= 64 && !name.contains(|c: char| c.is_control() || "*:;?\\".contains(c))
    };
    text.split('/').all(fits)
}

/// A view that cannot keep every name has to hold every file, under its name where `keeps` says so.
pub fn lossy(ours: &Seen, theirs: &Seen, keeps: impl Fn(&[u8]) -> bool, context: &str) {
    let contents = |seen: &Seen| {
        let mut all: Vec<_> = seen.values().map(|file| (file.mode & 0o170_000, file.size, file.sum)).collect();
        all.sort();
        all
    };
    assert_eq!(ours.len(), theirs.len(), "{context}: names are lost");
    assert_eq!(contents(ours), contents(theirs), "{context}: contents");
    for (path, file) in ours.iter().filter(|(path, _)| keeps(path)) {
        let found = theirs.get(path).unwrap_or_else(|| panic!("{context}: {} is missing", path.escape_ascii()));
        assert_eq!((found.size, found.sum), (file.size, file.sum), "{context}: {}", path.escape_ascii());
    }
}

#[test]
fn a_drive() {
    judge(&sample::drive(), "drive");
    judge(&Tree::new(), "empty");
}

#[test]
fn names_of_every_kind() {
    judge(&sample::names(), "names");
    judge(&sample::awkward(), "awkward");
}

#[test]
fn many_files_and_deep_ones() {
    judge(&sample::many(), "many");
}

#[test]
fn a_large_file_is_streamed() {
    let scratch = Scratch::new();
    judge(&sample::large(&scratch.path("large")), "large");
}

#[test]
fn random_trees() {
    for seed in 0..6 {
        judge(&sample::random(seed), &format!("seed {seed}"));
    }
}

#[test]
fn the_same_tree_and_time_give_the_same_bytes() {
    let scratch = Scratch::new();
    let one = seen::write(&image(&sample::names(), &options()).unwrap(), &scratch, "one");
    let two = seen::write(&image(&sample::names(), &options()).unwrap(), &scratch, "two");
    assert!(seen::bytes(&one) == seen::bytes(&two));
}

#[test]
fn what_cannot_be_kept_is_refused_by_name() {
    let scratch = Scratch::new();
    let at = scratch.path("huge");
    std::fs::File::create(&at).unwrap().set_len(4 << 30).unwrap();
    let mut tree = Tree::new();
    tree.put("some/huge", Content::open(&at).unwrap()).unwrap();
    let error = image(&tree, &options()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().starts_with("some/huge: ") && error.to_string().contains("4294967296"), "{error}");
    for (volume_id, publisher) in
        [("", "p"), ("a\nb", "p"), (&*"x".repeat(33), "p"), ("x", &*"p".repeat(129)), ("ä", "")]
    {
        let options = Options { volume_id: volume_id.into(), publisher: publisher.into(), ..options() };
        assert_eq!(image(&Tree::new(), &options).unwrap_err().kind(), ErrorKind::Invalid);
    }
}
