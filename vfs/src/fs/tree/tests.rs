//! Trees of filesystems in memory.

#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may panic")]

use super::*;
use crate::fs::mem::{Builder, MemFs};
use crate::fs::{Attrs, read_file};
use crate::resolve::{Follow, resolve};
use crate::stage::Stage;
use crate::verify::read_again;
use std::cell::RefCell;
use std::rc::Rc;

type Log = Rc<RefCell<Vec<String>>>;

/// A filesystem in memory that notes when it is opened.
#[derive(Debug)]
struct Held {
    fs: MemFs,
    name: &'static str,
    log: Log,
}

impl Source for Held {
    fn open(&self, purpose: Purpose) -> Result<Box<dyn GuestFs>> {
        self.log.borrow_mut().push(format!("{} {purpose:?}", self.name));
        Ok(Box::new(self.fs.clone()))
    }
}

fn path(path: &str) -> GuestPath {
    GuestPath::parse(path).unwrap()
}

fn at(tree: &dyn GuestFs, name: &str) -> Result<Resolved> {
    resolve(tree, &path(name), Follow::All)
}

fn text(tree: &dyn GuestFs, name: &str) -> Result<String> {
    Ok(String::from_utf8(read_file(tree, &at(tree, name)?, 100)?).unwrap())
}

fn mount(log: &Log, name: &'static str, fs: Builder) -> Mount {
    let source = Box::new(Held { fs: fs.build().unwrap(), name, log: Rc::clone(log) });
    Mount { path: path(name), origin: format!("line of {name}"), source, takes: Takes::NewDirectory }
}

fn broken(name: &str, kind: ErrorKind) -> Mount {
    let source = Box::new(Refused(Error::new(kind, Layer::Volume, "no such volume").with_hint("of the volume")));
    Mount { path: path(name), origin: format!("line of {name}"), source, takes: Takes::NewDirectory }
}

/// What a test's root has: directories for mounts with something hidden in them, and links over them.
fn root() -> Builder {
    MemFs::builder()
        .file("/etc/hostname", "root")
        .file("/boot/hidden", "hidden")
        .file("/home/hidden", "hidden")
        .dir("/srv/homes")
        .symlink("/people", "home")
        .symlink("/kernel", "/boot/vmlinuz")
        .symlink("/away", "../../../srv/homes")
        .file("/file", "")
}

fn guest(log: &Log) -> Tree {
    let mounts = vec![
        // The inner one first: the order does not matter.
        mount(log, "/boot/efi", MemFs::builder().file("/EFI/x", "esp").symlink("/up", "../vmlinuz")),
        mount(
            log,
            "/boot",
            MemFs::builder().file("/vmlinuz", "kernel").file("/efi/hidden", "").symlink("/abs", "/etc/hostname"),
        ),
        mount(log, "/home", MemFs::builder().file("/ann/.profile", "ann").symlink("/out", "../etc/hostname")),
    ];
    Tree::new(Box::new(root().build().unwrap()), mounts).unwrap()
}

#[test]
fn paths_lie_where_something_is_mounted() {
    let log = Log::default();
    let tree = guest(&log);
    for (name, expected) in [
        ("/etc/hostname", "root"),
        ("/boot/vmlinuz", "kernel"),
        ("/boot/efi/EFI/x", "esp"),
        ("/home/ann/.profile", "ann"),
        // Links over mount points, in both directions.
        ("/people/ann/.profile", "ann"),
        ("/kernel", "kernel"),
        ("/boot/abs", "root"),
        ("/home/out", "root"),
        ("/boot/efi/up", "kernel"),
    ] {
        assert_eq!(text(&tree, name).unwrap(), expected, "{name}");
    }
    for hidden in ["/boot/hidden", "/home/hidden", "/boot/efi/hidden"] {
        assert_eq!(tree.lookup(&at(&tree, hidden).unwrap()).unwrap(), None, "{hidden}");
    }
    let names = |name: &str| {
        let entries = tree.read_dir(&at(&tree, name).unwrap()).unwrap();
        entries.into_iter().map(|entry| String::from_utf8(entry.name).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(names("/boot"), ["abs", "efi", "vmlinuz"]);
    assert_eq!(names("/boot/efi"), ["EFI", "up"]);
}

#[test]
fn what_no_path_needs_is_not_opened() {
    let log = Log::default();
    let mut tree = guest(&log);
    text(&tree, "/etc/hostname").unwrap();
    assert!(log.borrow().is_empty(), "{log:?}");
    text(&tree, "/home/ann/.profile").unwrap();
    text(&tree, "/home/ann/.profile").unwrap();
    assert_eq!(*log.borrow(), ["/home Look"]);
    let new = at(&tree, "/home/new").unwrap();
    let attrs = Attrs { mode: 0o644, uid: 0, gid: 0 };
    tree.create_file(&new, attrs).unwrap();
    tree.put(&new, &Content::bytes(&b"new"[..])).unwrap();
    assert_eq!(*log.borrow(), ["/home Look", "/home Change"]);
    assert_eq!(text(&tree, "/home/new").unwrap(), "new");
    tree.create_file(&at(&tree, "/etc/new").unwrap(), attrs).unwrap();
    assert_eq!(log.borrow().len(), 2);
    Box::new(tree).close().unwrap();
}

#[test]
fn what_cannot_be_opened_is_an_error_of_the_paths_that_need_it() {
    let mounts = vec![
        broken("/home", ErrorKind::NotFound),
        broken("/boot", ErrorKind::Denied),
        broken("/nowhere", ErrorKind::Unsupported),
        broken("/srv/homes", ErrorKind::WrongType),
    ];
    let mut tree = Tree::new(Box::new(root().build().unwrap()), mounts).unwrap();
    assert_eq!(text(&tree, "/etc/hostname").unwrap(), "root");
    for (name, kind, hint) in [
        ("/home/ann/x", ErrorKind::NotFound, "--mount VOLUME:/home says"),
        ("/people/ann", ErrorKind::NotFound, "--mount none:/home"),
        ("/kernel", ErrorKind::Denied, "of the volume"),
        ("/nowhere/x", ErrorKind::Unsupported, "of the volume"),
        // Not one that could be taken for the path's own.
        ("/srv/homes/x", ErrorKind::Unsupported, "of the volume"),
    ] {
        let error = at(&tree, name).unwrap_err();
        assert_eq!((error.kind(), error.layer()), (kind, Layer::Volume), "{name}: {error}");
        assert!(error.to_string().contains("is mounted by line of /"), "{error}");
        assert!(error.hint().unwrap().contains(hint), "{:?}", error.hint());
    }
    // Its neighbours can be listed, and it can be seen that it is there.
    let entries = tree.read_dir(&Resolved::root()).unwrap();
    assert!(entries.iter().all(|entry| entry.name != b"nowhere"));
    let home = at(&tree, "/home").unwrap();
    assert_eq!(tree.lookup(&home).unwrap().unwrap().file_type, FileType::Directory);
    for error in [tree.read_dir(&home).unwrap_err(), tree.xattrs(&home).unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
    assert_eq!(tree.set_attrs(&home, SetAttrs::default()).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(tree.ownership(&home), Ownership::Kept);
}

#[test]
fn a_place_is_resolved_inside_the_guest() {
    let log = Log::default();
    let one = |name: &'static str| vec![mount(&log, name, MemFs::builder().file("/x", "mounted"))];
    let grown =
        |mounts| Tree::new(Box::new(root().symlink("/loop", "loop").symlink("/top", "..").build().unwrap()), mounts);
    // A link in the place of a mount point leads to the place.
    for name in ["/people", "/away", "/srv/homes"] {
        let tree = grown(one(name)).unwrap();
        let place = if name == "/people" { "/home/x" } else { "/srv/homes/x" };
        assert_eq!(text(&tree, place).unwrap(), "mounted", "{name}");
        assert_eq!(text(&tree, &format!("{name}/x")).unwrap(), "mounted", "{name}");
    }
    // What no guest could mount costs nobody else anything: over the root by way of a link, over a file, at the end of a loop.
    let mounts = || ["/top", "/file", "/loop", "/loop/deep", "/home"].into_iter().flat_map(one).collect::<Vec<_>>();
    let tree = grown(mounts()).unwrap();
    let told: Vec<(usize, String)> =
        tree.left_out().iter().map(|left_out| (left_out.number, left_out.why.message().to_owned())).collect();
    let reasons: [(usize, &str); 4] = [
        (1, "its place is the root, by a symbolic link"),
        (2, "its place is no directory"),
        (3, "more than 40 symbolic links (a loop)"),
        (4, "more than 40 symbolic links (a loop)"),
    ];
    assert_eq!(told, reasons.map(|(number, why)| (number, why.to_owned())));
    assert_eq!(text(&tree, "/etc/hostname").unwrap(), "root");
    assert_eq!(text(&tree, "/top/etc/hostname").unwrap(), "root");
    assert_eq!(text(&tree, "/file").unwrap(), "");
    assert_eq!(text(&tree, "/home/x").unwrap(), "mounted");
    let error = at(&tree, "/file/x").unwrap_err();
    assert_eq!((error.kind(), error.layer()), (ErrorKind::WrongType, Layer::Path), "{error:?}");
    assert_eq!(at(&tree, "/loop/x").unwrap_err().kind(), ErrorKind::Denied);
    assert!(!log.borrow().iter().any(|line| line.contains("/file") || line.contains("/loop")), "{log:?}");
    let problems: Vec<bool> = (0..=6).map(|number| tree.problem(number).is_some()).collect();
    assert_eq!(problems, [false, true, true, true, true, false, false]);
    // A file may be bound over one: who needs that is refused, and its directory can be listed.
    let over = Mount { takes: Takes::Anything, ..broken("/file", ErrorKind::Unsupported) };
    let tree = grown(vec![over]).unwrap();
    assert!(tree.left_out().is_empty());
    let file = at(&tree, "/file").unwrap();
    assert_eq!(tree.lookup(&file).unwrap().unwrap().file_type, FileType::Regular);
    assert_eq!(read_file(&tree, &file, 10).unwrap_err().layer(), Layer::Volume);
    // One that is missing is made when the guest starts.
    let tree = grown(one("/new")).unwrap();
    assert_eq!(text(&tree, "/new/x").unwrap(), "mounted");
    let entries = tree.read_dir(&Resolved::root()).unwrap();
    assert!(entries.iter().any(|entry| entry.name == b"new" && entry.file_type == FileType::Directory));
    let tree = grown(one("/srv/deep/new")).unwrap();
    assert_eq!(text(&tree, "/srv/deep/new/x").unwrap(), "mounted");
}

#[test]
fn a_missing_place_that_nobody_makes_is_an_error_of_the_paths_below_it() {
    let log = Log::default();
    let takes = |takes, name| Mount { takes, ..mount(&log, name, MemFs::builder().file("/x", "mounted")) };
    let grown = |what| {
        let mounts = ["/new", "/home/new", "/home/there", "/srv/homes"].map(|name| takes(what, name));
        let home = takes(Takes::Directory, "/home");
        let home = Mount { source: mount(&log, "/home", MemFs::builder().dir("/there")).source, ..home };
        Tree::new(Box::new(root().build().unwrap()), mounts.into_iter().chain([home]).collect()).unwrap()
    };
    let tree = grown(Takes::Directory);
    // Nothing but what the place lies in is opened for that.
    let problems: Vec<bool> = (1..=5).map(|number| tree.problem(number).is_some()).collect();
    assert_eq!(problems, [true, true, false, false, false]);
    assert_eq!(*log.borrow(), ["/home Look"]);
    for name in ["/new/x", "/home/new/x"] {
        let error = at(&tree, name).unwrap_err();
        assert!(format!("{error:?}").contains("its place is missing"), "{name}: {error:?}");
        assert_eq!((error.kind(), error.layer()), (ErrorKind::Unsupported, Layer::Volume), "{name}");
    }
    for name in ["/srv/homes/x", "/home/there/x"] {
        assert_eq!(text(&tree, name).unwrap(), "mounted", "{name}");
    }
    let tree = grown(Takes::NewDirectory);
    assert!((1..=5).all(|number| tree.problem(number).is_none()));
    for name in ["/new/x", "/home/new/x"] {
        assert_eq!(text(&tree, name).unwrap(), "mounted", "{name}");
    }
}

#[test]
fn a_place_in_another_mount_is_none_by_a_link() {
    let log = Log::default();
    let mounts = |inner: Builder| {
        vec![mount(&log, "/home/log", MemFs::builder().file("/x", "log")), mount(&log, "/home", inner)]
    };
    let grown = |inner| Tree::new(Box::new(root().build().unwrap()), mounts(inner)).unwrap();
    assert_eq!(text(&grown(MemFs::builder().dir("/log")), "/home/log/x").unwrap(), "log");
    assert_eq!(text(&grown(MemFs::builder()), "/home/log/x").unwrap(), "log");
    // What the root has there is hidden, and nothing is followed in it.
    let hidden = root().symlink("/home/log", "/srv/homes").build().unwrap();
    let tree = Tree::new(Box::new(hidden), mounts(MemFs::builder().dir("/log"))).unwrap();
    assert_eq!(text(&tree, "/home/log/x").unwrap(), "log");
    assert_eq!(tree.lookup(&at(&tree, "/srv/homes/x").unwrap()).unwrap(), None);
    for target in ["/srv/homes", "elsewhere", "/"] {
        let tree = grown(MemFs::builder().symlink("/log", target));
        let error = at(&tree, "/home/log/x").unwrap_err();
        assert!(format!("{error:?}").contains("by a symbolic link"), "{error:?}");
    }
    let tree = grown(MemFs::builder().file("/log", ""));
    let error = at(&tree, "/home/log/x").unwrap_err();
    assert_eq!((error.kind(), error.layer()), (ErrorKind::WrongType, Layer::Path));
    let file = at(&tree, "/home/log").unwrap();
    assert_eq!(tree.lookup(&file).unwrap().unwrap().file_type, FileType::Regular);
    let error = read_file(&tree, &file, 10).unwrap_err();
    assert_eq!((error.kind(), error.layer()), (ErrorKind::Unsupported, Layer::Volume));
    assert!(format!("{error:?}").contains("its place is no directory") && tree.problem(1).is_some(), "{error:?}");
}

#[test]
fn two_mounts_at_one_place_are_neither() {
    let log = Log::default();
    let mounts = vec![mount(&log, "/home", MemFs::builder()), mount(&log, "/people", MemFs::builder())];
    let tree = Tree::new(Box::new(root().build().unwrap()), mounts).unwrap();
    let error = at(&tree, "/home/x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Ambiguous);
    assert!(
        format!("{error:?}").contains("line of /people") && format!("{error:?}").contains("line of /home"),
        "{error:?}"
    );
    assert_eq!(text(&tree, "/etc/hostname").unwrap(), "root");
}

#[test]
fn thousands_of_mounts_are_bounded() {
    let log = Log::default();
    let mounts = |count: usize| {
        let one = |number| Mount { path: path(&format!("/m/{number}")), ..mount(&log, "/m", MemFs::builder()) };
        Tree::new(Box::new(root().build().unwrap()), (0..count).map(one).collect())
    };
    assert!(mounts(MOUNTS_MAX).is_ok());
    assert_eq!(mounts(MOUNTS_MAX + 1).unwrap_err().kind(), ErrorKind::Unsupported);
    let deep = "/d".repeat(2000);
    let one = Mount { path: path(&deep), ..mount(&log, "/m", MemFs::builder().file("/x", "deep")) };
    let tree = Tree::new(Box::new(root().build().unwrap()), vec![one]).unwrap();
    assert_eq!(text(&tree, &format!("{deep}/x")).unwrap(), "deep");
}

#[test]
fn places_are_looked_for_to_an_end() {
    let log = Log::default();
    let deep = "/d".repeat(400);
    let grown = |count: usize, name: &dyn Fn(usize) -> String| {
        let one = |number| Mount { path: path(&name(number)), ..mount(&log, "/m", MemFs::builder()) };
        let root = root().dir(&deep).symlink("/down", &deep[1..]).symlink("/loop", "loop");
        Tree::new(Box::new(root.build().unwrap()), (0..count).map(one).collect())
    };
    // 400 directories are 80,200 steps; that of the link is one more each.
    for (count, fits) in [(3, true), (4, false)] {
        for name in [&deep, "/down"] {
            match grown(count, &|number| format!("{name}/{number}")) {
                Ok(tree) => assert!(fits && tree.left_out().is_empty(), "{count} {name}"),
                Err(error) => {
                    assert!(!fits && error.kind() == ErrorKind::Unsupported, "{count} {name}: {error}");
                    assert!(error.to_string().contains("directories deep") && error.hint().is_some(), "{error}");
                }
            }
        }
    }
    // What is looked for later has no more steps than are left.
    let tree = grown(1, &|_| format!("{deep}/x")).unwrap();
    let found: Vec<bool> = (0..5).map(|_| tree.place_of(&path(&deep)).is_some()).collect();
    assert_eq!(found, [true, true, false, false, false]);
    // Nor has what lies deep in another mount.
    let inner = |number| Mount {
        path: path(&format!("/m/{}{deep}", "x/".repeat(number))),
        ..mount(&log, "/m", MemFs::builder())
    };
    let around = mount(
        &log,
        "/m",
        MemFs::builder().dir(&deep).dir(format!("/x{deep}")).dir(format!("/x/x{deep}")).dir(format!("/x/x/x{deep}")),
    );
    let tree =
        Tree::new(Box::new(root().dir("/m").build().unwrap()), [around].into_iter().chain((0..4).map(inner)).collect())
            .unwrap();
    let problems: Vec<bool> = (2..6).map(|number| tree.problem(number).is_some()).collect();
    assert_eq!(problems, [false, false, false, true]);
    // As many as there may be, as deep as they usually are.
    assert!(grown(MOUNTS_MAX, &|number| format!("{}/{number}", "/d".repeat(20))).is_ok());
    assert!(grown(MOUNTS_MAX, &|_| "/loop/x".to_owned()).is_ok());
}

#[test]
fn no_name_crosses_a_mount_point() {
    let log = Log::default();
    let mut tree = guest(&log);
    let [hostname, profile, boot, efi, new, people] =
        ["/etc/hostname", "/home/ann/.profile", "/boot", "/boot/efi", "/srv/new", "/home/new"]
            .map(|name| at(&tree, name).unwrap());
    for error in [
        tree.rename(&hostname, &people).unwrap_err(),
        tree.rename(&profile, &new).unwrap_err(),
        tree.hard_link(&profile, &new).unwrap_err(),
        tree.rename(&boot, &new).unwrap_err(),
        tree.remove(&boot).unwrap_err(),
        tree.remove(&efi).unwrap_err(),
        tree.rename(&efi, &boot).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
    assert!(tree.remove(&efi).unwrap_err().to_string().contains("something is mounted there"));
    // A directory that is empty, but for what is mounted in it.
    let mounts = vec![mount(&log, "/srv/homes/inner", MemFs::builder())];
    let mut around = Tree::new(Box::new(root().build().unwrap()), mounts).unwrap();
    let homes = at(&around, "/srv/homes").unwrap();
    for error in [
        around.remove(&homes).unwrap_err(),
        around.rename(&homes, &new).unwrap_err(),
        around.rename(&at(&around, "/srv").unwrap(), &people).unwrap_err(),
    ] {
        assert!(error.to_string().contains("something is mounted in it"), "{error}");
    }
    tree.hard_link(&profile, &people).unwrap();
    tree.rename(&people, &at(&tree, "/home/newer").unwrap()).unwrap();
    assert_eq!(text(&tree, "/home/newer").unwrap(), "ann");
    assert_eq!(tree.lookup(&profile).unwrap().unwrap().links, 2);
}

#[test]
fn errors_name_the_path_in_the_tree() {
    let log = Log::default();
    let mut tree = guest(&log);
    let missing = at(&tree, "/boot/efi/no/such").unwrap();
    let attrs = Attrs { mode: 0o644, uid: 0, gid: 0 };
    let error = tree.create_file(&missing, attrs).unwrap_err();
    assert_eq!(error.guest_path(), Some(&b"/boot/efi/no"[..]), "{error}");
    let error = tree.read_link(&at(&tree, "/home").unwrap()).unwrap_err();
    assert_eq!(error.guest_path(), Some(&b"/home"[..]), "{error}");
    let error = tree.read_link(&at(&tree, "/etc/hostname").unwrap()).unwrap_err();
    assert_eq!(error.guest_path(), Some(&b"/etc/hostname"[..]), "{error}");
}

#[test]
fn changes_of_a_stage_go_to_their_parts() {
    let log = Log::default();
    let mut tree = guest(&log);
    let attrs = Attrs { mode: 0o640, uid: 1, gid: 2 };
    let mut stage = Stage::new(&tree);
    for (name, content) in [
        ("/etc/hostname", "other"),
        // The same inode number as that of /etc/hostname, on another filesystem.
        ("/home/ann/.profile", "another"),
        ("/people/ann/new", "new"),
        ("/boot/efi/EFI/x", "efi"),
        ("/boot/efi/EFI/y", "y"),
    ] {
        stage.write(&path(name), Content::bytes(content.as_bytes()), attrs).unwrap();
    }
    stage.create_dirs(&path("/home/bob/.ssh"), attrs).unwrap();
    stage.remove(&path("/home/out")).unwrap();
    let changes = stage.finish().unwrap();
    changes.apply(&mut tree).unwrap();
    assert_eq!(read_again(&tree, &changes).unwrap(), changes.changes().len());

    let parts = tree.parts(&changes);
    let told: Vec<(usize, Vec<String>)> = parts
        .iter()
        .map(|(number, changes)| (*number, changes.changes().iter().map(|change| change.path.to_string()).collect()))
        .collect();
    let expected: [(usize, &[&str]); 3] = [
        (0, &["/etc/hostname"]),
        (1, &["/EFI/x", "/EFI/y"]),
        (3, &["/ann/.profile", "/ann/new", "/bob", "/bob/.ssh", "/out"]),
    ];
    let told: Vec<(usize, Vec<&str>)> =
        told.iter().map(|(number, paths)| (*number, paths.iter().map(String::as_str).collect())).collect();
    assert_eq!(told, expected.map(|(number, paths)| (number, paths.to_vec())));
    // Each part alone holds what is its own.
    for (number, changes) in &parts {
        assert_eq!(read_again(tree.fs(*number).unwrap(), changes).unwrap(), changes.changes().len());
    }
    assert_eq!(tree.place(1).unwrap().as_bytes(), b"/boot/efi");
    assert!(!log.borrow().contains(&"/boot Change".to_owned()), "{log:?}");

    let unchanged = Stage::new(&tree).finish().unwrap();
    assert!(tree.parts(&unchanged).is_empty());
}
