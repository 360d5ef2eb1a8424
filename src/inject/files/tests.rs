//! What becomes of a guest's files.

use super::*;
use crate::inject::testing::*;
use imgraft_vfs::fs::{DeviceNumber, Lookup, SpecialFile};

/// What is said of a file that is not there, in a directory that is the root.
const ABOUT_ROOT: &str =
    " (`imgraft ls IMAGE /` shows what is there; --write, --touch or --mkdir before it makes what is to be new)";

fn path(path: &str) -> GuestPath {
    GuestPath::parse(path).unwrap()
}

fn put(to: &str, text: &str, mode: u16) -> FileOperation {
    FileOperation::Put {
        destination: path(to),
        content: Content::bytes(text.as_bytes()),
        mode: FileMode::WhereNew(mode),
    }
}

fn chown(user: Option<&str>, group: Option<&str>, of: &str) -> FileOperation {
    FileOperation::Chown { user: user.map(str::to_owned), group: group.map(str::to_owned), path: path(of) }
}

fn files(operations: Vec<FileOperation>) -> Files {
    Files { operations, compat: Compat::Imgraft }
}

#[test]
fn new_files_belong_where_they_are() {
    let files = files(vec![put("/home/ann/a/b/f", "x", 0o640), put("/etc/new", "", 0o600), put("/f", "y", 0o4755)]);
    let fs = inject(&files, phony().build().unwrap());
    assert_eq!(describe(&fs, "/home/ann/a"), "0755 1000:1001");
    assert_eq!(describe(&fs, "/home/ann/a/b"), "0755 1000:1001");
    assert_eq!(describe(&fs, "/home/ann/a/b/f"), "0640 1000:1001");
    assert_eq!(describe(&fs, "/etc/new"), "0600 0:0");
    assert_eq!(describe(&fs, "/f"), "4755 0:0");
    assert_unchanged(&files, &fs);
}

#[test]
fn existing_files_keep_what_they_are() {
    let tree = phony().file("/etc/f", "old").mode(0o604).owner(7, 8).xattr("user.a", "b").build().unwrap();
    let fs = inject(&files(vec![put("/etc/f", "new", 0o777)]), tree);
    assert_eq!((describe(&fs, "/etc/f").as_str(), text(&fs, "/etc/f").as_str()), ("0604 7:8", "new"));
    assert_eq!(xattr(&fs, "/etc/f", "user.a").unwrap(), b"b");
}

#[test]
fn a_mode_that_is_the_hosts_is_that_of_a_file_that_is_there() {
    let tree =
        phony().file("/etc/f", "old").mode(0o4644).owner(7, 8).file("/etc/g", "same").mode(0o644).build().unwrap();
    let upload = |to: &str, text: &str| FileOperation::Put {
        destination: path(to),
        content: Content::bytes(text.as_bytes()),
        mode: FileMode::Always(0o600),
    };
    let uploads = files(vec![upload("/etc/f", "new"), upload("/etc/g", "same"), upload("/home/ann/h", "")]);
    let fs = inject(&uploads, tree);
    assert_eq!((describe(&fs, "/etc/f").as_str(), text(&fs, "/etc/f").as_str()), ("0600 7:8", "new"));
    assert_eq!((describe(&fs, "/etc/g"), describe(&fs, "/home/ann/h")), ("0600 0:0".into(), "0600 1000:1001".into()));
    assert_unchanged(&uploads, &fs);
    // What comes after it counts.
    let twice = files(vec![upload("/etc/f", "new"), FileOperation::Chmod { mode: 0o644, path: path("/etc/f") }]);
    let fs = inject(&twice, fs);
    assert_eq!(describe(&fs, "/etc/f"), "0644 7:8");
    assert_unchanged(&twice, &fs);
}

#[test]
fn a_directory_takes_the_set_group_id_bit_over() {
    let tree = phony().dir("/srv/shared").mode(0o2775).owner(7, 8).build().unwrap();
    let fs = inject(
        &files(vec![
            put("/srv/shared/a/b/f", "x", 0o640),
            FileOperation::MakeDirectory { path: path("/srv/shared/c") },
        ]),
        tree,
    );
    assert_eq!(describe(&fs, "/srv/shared/a"), "2755 7:8");
    assert_eq!(describe(&fs, "/srv/shared/a/b"), "2755 7:8");
    assert_eq!(describe(&fs, "/srv/shared/a/b/f"), "0640 7:8");
    assert_eq!(describe(&fs, "/srv/shared/c"), "2755 7:8");
}

#[test]
fn another_owner_takes_privileges_away() {
    for (before, after) in [(0o6755, 0o755), (0o4700, 0o700), (0o2644, 0o2644), (0o1755, 0o1755)] {
        let tree = phony().file("/f", "").mode(before).dir("/d").mode(0o6755).build().unwrap();
        let fs = inject(&files(vec![chown(Some("7"), None, "/f"), chown(Some("7"), None, "/d")]), tree);
        assert_eq!(describe(&fs, "/f"), format!("{after:04o} 7:0"));
        assert_eq!(describe(&fs, "/d"), "6755 7:0");
    }
    let tree = phony().file("/f", "").mode(0o4755).build().unwrap();
    let both = files(vec![chown(Some("7"), None, "/f"), FileOperation::Chmod { mode: 0o4755, path: path("/f") }]);
    let fs = inject(&both, tree);
    assert_eq!(describe(&fs, "/f"), "4755 7:0");
    assert_unchanged(&both, &fs);
}

#[test]
fn operations_apply_in_order() {
    let files = files(vec![
        put("/f", "1", 0o644),
        chown(Some("ann"), Some("staff"), "/f"),
        FileOperation::Chmod { mode: 0o2755, path: path("/f") },
        put("/f", "2", 0o600),
        chown(None, Some("7"), "/f"),
        chown(Some("4000000000"), None, "/f"),
    ]);
    let fs = inject(&files, phony().build().unwrap());
    assert_eq!((describe(&fs, "/f").as_str(), text(&fs, "/f").as_str()), ("0755 4000000000:7", "2"));
    assert_unchanged(&files, &fs);
}

#[test]
fn what_is_not_there_is_named() {
    let message = |operation| refusal(&files(vec![operation]), phony().build().unwrap());
    assert_eq!(
        message(chown(Some("bob"), None, "/etc")),
        "no user 'bob' in the guest (people in the guest: root, ann, bl\\xf6d; --add-user NAME makes one)"
    );
    assert!(message(chown(Some("4294967295"), None, "/etc")).contains("no user"));
    assert!(message(chown(None, Some("x"), "/etc")).starts_with("no group 'x' in the guest"));
    assert_eq!(message(chown(None, None, "/nothing")), format!("/nothing: no such file in the guest{ABOUT_ROOT}"));
    assert!(message(chown(None, None, "/etc/no thing/x")).contains("`imgraft ls IMAGE /etc` shows"));
    assert_eq!(
        message(put("/etc", "", 0)),
        "/etc: a directory in the guest (name the file in it; --upload FILE:/etc/, with a slash at the end, puts FILE into it)"
    );
    assert!(message(put("/etc/passwd/x", "", 0)).contains("not a directory"));
    assert!(message(put("/", "", 0)).starts_with("/: a directory"));
}

#[test]
fn links_are_followed_inside_the_guest() {
    let tree = phony().symlink("/etc/link", "../../../srv/deep/file").symlink("/out", "/home/ann").build().unwrap();
    let fs = inject(&files(vec![put("/out/x", "", 0o600)]), tree.clone());
    assert_eq!(describe(&fs, "/home/ann/x"), "0600 1000:1001");
    assert!(refusal(&files(vec![put("/etc/link", "", 0o600)]), tree).contains("/srv/deep: no such directory"));
}

#[test]
fn nova_keeps_others_out_of_the_innermost_directory() {
    let operations = vec![put("/path/to/not/exists", "contents", 0o600), put("/home/ann/d/f", "", 0)];
    let fs = inject(&Files { operations, compat: Compat::Nova }, phony().build().unwrap());
    for (path, expected) in [
        ("/path", "0755 0:0"),
        ("/path/to", "0755 0:0"),
        ("/path/to/not", "0744 0:0"),
        ("/path/to/not/exists", "0644 0:0"),
        ("/home/ann", "0755 1000:1001"),
        ("/home/ann/d", "0744 0:0"),
        ("/home/ann/d/f", "0644 0:0"),
    ] {
        assert_eq!(describe(&fs, path), expected, "{path}");
    }
}

fn delete(pattern: &str) -> FileOperation {
    FileOperation::Delete { pattern: PathPattern::new(path(pattern)).unwrap() }
}

fn append(to: &str, line: &str) -> FileOperation {
    FileOperation::AppendLine { path: path(to), line: line.to_owned() }
}

fn edit(of: &str, expression: &str) -> FileOperation {
    FileOperation::Edit { path: path(of), substitution: Substitution::parse(expression).unwrap() }
}

fn link(target: &str, at: &str) -> FileOperation {
    FileOperation::Link { target: target.to_owned(), path: path(at) }
}

#[test]
fn lines_end_as_those_of_the_file_do() {
    let tree = phony().file("/etc/dos", "a\r\nb").file("/etc/open", "a").mode(0o600).file("/etc/empty", "");
    let tree = tree.file("/etc/mac", "a\rb").file("/etc/mac-ended", "a\r").build().unwrap();
    let append = |to| append(to, "x y");
    let fs = inject(
        &files(vec![
            append("/etc/dos"),
            append("/etc/open"),
            append("/etc/empty"),
            append("/new/f"),
            append("/new/f"),
            append("/etc/mac"),
            append("/etc/mac-ended"),
        ]),
        tree,
    );
    assert_eq!(text(&fs, "/etc/mac"), "a\rb\rx y\r");
    assert_eq!(text(&fs, "/etc/mac-ended"), "a\rx y\r");
    assert_eq!(text(&fs, "/etc/dos"), "a\r\nb\r\nx y\r\n");
    assert_eq!((text(&fs, "/etc/open"), describe(&fs, "/etc/open")), ("a\nx y\n".to_owned(), "0600 0:0".to_owned()));
    assert_eq!(text(&fs, "/etc/empty"), "x y\n");
    assert_eq!((text(&fs, "/new/f"), describe(&fs, "/new/f")), ("x y\nx y\n".to_owned(), "0644 0:0".to_owned()));
}

#[test]
fn an_edit_that_fits_nothing_is_noted() {
    let tree = || phony().file("/etc/f", "Port 22\n").mode(0o640).owner(3, 4).build().unwrap();
    let operation = files(vec![edit("/etc/f", "s/22$/2222/"), edit("/etc/f", "s/nothing/x/")]);
    assert_eq!(notes(&operation, &tree()), "/etc/f: nothing in it matches the expression");
    let fs = inject(&operation, tree());
    assert_eq!((text(&fs, "/etc/f"), describe(&fs, "/etc/f")), ("Port 2222\n".to_owned(), "0640 3:4".to_owned()));
    let message = |of| refusal(&files(vec![edit(of, "s/a/b/")]), tree());
    assert_eq!(message("/none"), format!("/none: no such file in the guest{ABOUT_ROOT}"));
    assert!(message("/etc").starts_with("/etc: a directory"));
}

#[test]
fn directories_and_links_are_made() {
    let operations = vec![
        FileOperation::MakeDirectory { path: path("/home/ann/a/b") },
        FileOperation::MakeDirectory { path: path("/etc") },
        link("b", "/home/ann/a/l"),
        link("../passwd", "/etc/group"),
        link("passwd", "/etc/group"),
    ];
    let fs = inject(&files(operations), phony().build().unwrap());
    assert_eq!(describe(&fs, "/home/ann/a"), "0755 1000:1001");
    assert_eq!(describe(&fs, "/home/ann/a/l"), "0755 1000:1001", "what it leads to");
    assert_eq!(bytes(&fs, "/etc/group"), PASSWD);
    let message = |operation| refusal(&files(vec![operation]), phony().build().unwrap());
    assert_eq!(
        message(link("x", "/etc")),
        "/etc: a directory is where a file or a link is to be (name what is to be in it, \
         /etc/NAME; --delete /etc before it would remove all that is there)"
    );
    assert_eq!(message(link("x", "/no/where")), "/no: no such directory (--mkdir /no before it makes the directory)");
    assert_eq!(
        message(FileOperation::MakeDirectory { path: path("/etc/passwd/x") }),
        "/etc/passwd: not a directory (`imgraft ls IMAGE /etc/passwd` shows what is there; a run of its own with --move or --delete takes \
         it out of the way)"
    );
}

#[test]
fn what_a_pattern_means_is_removed_with_all_in_it() {
    let tree = || {
        phony()
            .file("/srv/a1/deep/f", "x")
            .file("/srv/a2", "x")
            .file("/srv/b", "x")
            .file("/srv/.a3", "x")
            .file("/var/x/log.1", "x")
            .file("/var/y/log.22", "x")
            .file("/var/log.3", "x")
            .symlink("/srv/a4", "/home/ann")
            .symlink("/srv/round", "round")
            .file("/home/ann/kept", "x")
            .build()
            .unwrap()
    };
    let all = files(vec![
        delete("/srv/a*"),
        delete("/var/[!z]/log.?"),
        delete("/none"),
        delete("/none*/x"),
        delete("/srv/*/none/*"),
        delete("/etc/*/none"),
        delete("/etc/passwd/x"),
    ]);
    let fs = inject(&all, tree());
    for (path, stays) in [
        ("/srv/a1", false),
        ("/srv/a2", false),
        ("/srv/a4", false),
        ("/srv/b", true),
        ("/srv/.a3", true),
        ("/var/x/log.1", false),
        ("/var/y/log.22", true),
        ("/var/log.3", true),
        ("/home/ann/kept", true),
    ] {
        assert_eq!(exists(&fs, path), stays, "{path}");
    }
    assert_unchanged(&all, &fs);
    // What this run has made is there for it.
    let fs = inject(&files(vec![put("/srv/a1/new", "", 0o644), delete("/srv"), put("/srv/x", "1", 0o600)]), tree());
    assert_eq!((exists(&fs, "/srv/a1"), text(&fs, "/srv/x")), (false, "1".to_owned()));
    assert!(refusal(&files(vec![delete("/")]), tree()).contains("root"));
    assert!(PathPattern::new(path("/a[z-a]")).is_err());
}

#[test]
fn files_are_emptied_and_touched() {
    let now = imgraft_vfs::fs::Timestamp { seconds: 1_700_000_000, nanoseconds: 5 };
    let tree = || {
        phony()
            .file("/var/log/a", "x")
            .mode(0o640)
            .owner(1, 2)
            .file("/var/log/d/b", "y")
            .symlink("/var/log/l", "/etc/passwd")
            .build()
            .unwrap()
    };
    let touch = |at| FileOperation::Touch { path: path(at), now };
    let below = |at| FileOperation::TruncateBelow { path: path(at) };
    let by_link = inject(
        &files(vec![below("/log")]),
        phony().file("/var/log/a", "x").symlink("/log", "var/log").build().unwrap(),
    );
    assert_eq!(text(&by_link, "/var/log/a"), "");
    let operation = files(vec![below("/var/log"), touch("/etc/group"), touch("/home/ann/new")]);
    let fs = inject(&operation, tree());
    assert_eq!((text(&fs, "/var/log/a"), describe(&fs, "/var/log/a")), (String::new(), "0640 1:2".to_owned()));
    assert_eq!((text(&fs, "/var/log/d/b"), bytes(&fs, "/etc/passwd")), (String::new(), PASSWD.to_vec()));
    assert_eq!(describe(&fs, "/home/ann/new"), "0644 1000:1001");
    let times = stage(&files(vec![touch("/etc/group")]), &tree()).unwrap().1;
    assert_eq!(times[0].after.as_ref().unwrap().metadata.mtime, now);
    let truncate = |at| FileOperation::Truncate { path: path(at) };
    assert_eq!(text(&inject(&files(vec![truncate("/etc/group")]), tree()), "/etc/group"), "");
    let message = |operation| refusal(&files(vec![operation]), tree());
    assert_eq!(message(truncate("/none")), format!("/none: no such file in the guest{ABOUT_ROOT}"));
    assert_eq!(message(below("/none")), format!("/none: no such file in the guest{ABOUT_ROOT}"));
    assert!(message(truncate("/etc")).contains("/etc: a directory in the guest"));
}

#[test]
fn what_is_scrubbed_is_a_regular_file() {
    let scrub = |at: &str| files(vec![FileOperation::Scrub { path: path(at) }]);
    let tree = || phony().file("/srv/a", "secret").symlink("/srv/way", "a").symlink("/srv/none", "b");
    let told = notes(&scrub("/srv/a"), &tree().build().unwrap());
    assert!(told.starts_with("--scrub /srv/a: the file is deleted, and what was in it") && told.lines().count() == 1);
    assert!(!exists(&inject(&scrub("/srv/a"), tree().build().unwrap()), "/srv/a"));
    let two = tree().hard_link("/srv/b", "/srv/a");
    let three = tree().hard_link("/srv/b", "/srv/a").hard_link("/srv/c", "/srv/a");
    for (tree, names) in [(two, "one other name of the file stays"), (three, "2 other names of the file stay")] {
        let tree = tree.build().unwrap();
        let told = notes(&scrub("/srv/a"), &tree);
        assert!(told.lines().nth(1).unwrap().contains(names), "{told}");
        assert_eq!(text(&inject(&scrub("/srv/a"), tree), "/srv/b"), "secret");
    }
    // What the run itself brings has never been in the image; what it moves or replaces has.
    let tree_of = || tree().file("/srv/f", "").build().unwrap();
    let told = |before: Vec<FileOperation>, at: &str| {
        let scrub = FileOperation::Scrub { path: path(at) };
        notes(&files(before.into_iter().chain([scrub]).collect()), &tree_of())
    };
    let make_directory = |at: &str| FileOperation::MakeDirectory { path: path(at) };
    assert_eq!(told(vec![put("/srv/new", "x", 0o600)], "/srv/new"), "");
    assert_eq!(told(vec![delete("/srv/f"), make_directory("/srv/f"), put("/srv/f/a", "x", 0o600)], "/srv/f/a"), "");
    let moved = FileOperation::Move { source: path("/srv/a"), destination: path("/srv/new") };
    for (before, at) in [
        (vec![put("/srv/a", "x", 0o600)], "/srv/a"),
        (vec![delete("/srv/a"), put("/srv/a", "x", 0o600)], "/srv/a"),
        (vec![moved], "/srv/new"),
    ] {
        assert!(told(before, at).contains(": the file is deleted, and what was in it"));
    }
    let message = |at| refusal(&scrub(at), tree().build().unwrap());
    let of_directory = message("/srv");
    assert!(
        of_directory.contains("/srv: no regular file in the guest")
            && of_directory.contains("--delete /srv removes it")
    );
    assert!(message("/srv/way").contains("name the file that it leads to, /srv/a;"), "{}", message("/srv/way"));
    assert!(message("/srv/none").contains("name the file that it leads to, /srv/b;"), "{}", message("/srv/none"));
    assert!(message("/none").contains("/none: no such file in the guest"));
}

#[test]
fn a_link_has_the_label_of_its_own_place() {
    let fs = inject(&files(vec![link("/root", "/etc/way")]), fedora().build().unwrap());
    assert_eq!(label(&fs, "/root"), None);
    let at = imgraft_vfs::resolve::resolve(&fs, &path("/etc/way"), imgraft_vfs::resolve::Follow::ExcludeLast).unwrap();
    let labels = imgraft_vfs::fs::GuestFs::xattrs(&fs, &at).unwrap();
    assert_eq!(labels.len(), 1);
    assert_eq!(labels[0].value, b"system_u:object_r:etc_t:s0\0");
}

fn copy_in(directory: &str, entries: &[(&str, HostKind)]) -> Files {
    let entry = |(path, kind): &(&str, HostKind)| HostEntry {
        path: path.as_bytes().to_vec(),
        kind: kind.clone(),
        attrs: Attrs { mode: 0o750, uid: 7, gid: 8 },
        mtime: Some(Timestamp { seconds: 9, nanoseconds: 0 }),
        names: HostNames::One,
    };
    let tree = HostTree { entries: entries.iter().map(entry).collect(), notes: Vec::new() };
    files(vec![FileOperation::CopyIn { tree, directory: path(directory) }])
}

fn host_file(text: &str) -> HostKind {
    HostKind::File(Content::bytes(text.as_bytes()))
}

#[test]
fn a_tree_goes_through_the_guests_own_links_to_directories() {
    let tree = phony().dir("/usr/lib").file("/usr/lib/libc", "c").symlink("/lib", "usr/lib").build().unwrap();
    let files = copy_in(
        "/",
        &[
            ("lib", HostKind::Directory),
            ("lib/new", host_file("n")),
            ("lib/way", HostKind::Symlink(b"/etc/shadow".to_vec())),
        ],
    );
    let fs = inject(&files, tree);
    assert_eq!((text(&fs, "/usr/lib/new").as_str(), text(&fs, "/lib/libc").as_str()), ("n", "c"));
    assert_eq!(describe(&fs, "/usr/lib/new"), "0750 7:8");
    assert_unchanged(&files, &fs);
}

#[test]
fn a_tree_does_not_replace_directories_by_files() {
    let tree = || phony().dir("/srv/d").file("/srv/f", "").build().unwrap();
    let told = |name, kind| refusal(&copy_in("/srv", &[(name, kind)]), tree());
    assert!(told("d", host_file("")).starts_with("/srv/d: a directory is where a file or a link is to be"));
    assert!(
        told("d", HostKind::Symlink(b"x".to_vec()))
            .starts_with("/srv/d: a directory is where a file or a link is to be")
    );
    assert!(told("f", HostKind::Directory).contains("/srv/f"));
    assert!(refusal(&copy_in("/srv/f", &[]), tree()).starts_with("/srv/f: no directory in the guest"));
    assert_eq!(
        refusal(&copy_in("/none", &[]), tree()),
        "/none: no such directory in the guest (--mkdir /none before it makes the directory)"
    );
}

#[test]
fn an_archive_has_links_devices_and_directories_of_its_own() {
    let entry = |path: &str, kind| HostEntry {
        path: path.as_bytes().to_vec(),
        kind,
        attrs: Attrs { mode: 0o640, uid: 7, gid: 8 },
        mtime: Some(Timestamp { seconds: 9, nanoseconds: 0 }),
        names: HostNames::One,
    };
    let several = |entry: HostEntry| HostEntry { names: HostNames::Several, ..entry };
    let device = SpecialFile::CharDevice(DeviceNumber { major: 5, minor: 1 });
    let entries = vec![
        entry("", HostKind::Directory),
        several(entry("a", host_file("x"))),
        several(entry("new/b", HostKind::Link(b"a".to_vec()))),
        entry("tty", HostKind::Special(device)),
        entry("pipe", HostKind::Special(SpecialFile::Fifo)),
        entry("way", HostKind::Symlink(b"a".to_vec())),
        several(entry("lib/c", host_file("c"))),
        several(entry("usr/lib/c", HostKind::Link(b"lib/c".to_vec()))),
    ];
    let tree = HostTree { entries, notes: vec!["told".to_owned()] };
    let files = files(vec![FileOperation::CopyIn { tree, directory: path("/srv") }]);
    let guest = fedora()
        .file("/srv/a", "x")
        .file("/srv/other", "x")
        .hard_link("/srv/pipe", "/srv/other")
        .symlink("/srv/way", "a")
        .dir("/srv/usr/lib")
        .symlink("/srv/lib", "usr/lib")
        .build()
        .unwrap();
    let fs = inject(&files, guest);
    let found = |at: &str| {
        let at = imgraft_vfs::resolve::resolve(&fs, &path(at), imgraft_vfs::resolve::Follow::ExcludeLast).unwrap();
        fs.lookup(&at).unwrap().unwrap()
    };
    assert_eq!(found("/srv/a"), found("/srv/new/b"));
    assert_eq!((found("/srv/a").links, text(&fs, "/srv/new/b").as_str()), (2, "x"));
    assert_eq!((describe(&fs, "/srv").as_str(), describe(&fs, "/srv/new").as_str()), ("0640 7:8", "0755 0:0"));
    assert_eq!((found("/srv/lib").file_type, found("/srv/usr/lib/c").links), (FileType::Symlink, 1), "one name");
    let times = ["/srv", "/srv/a", "/srv/tty", "/srv/way"].map(|at| found(at).mtime.seconds);
    assert_eq!((times, found("/srv/way").uid), ([9; 4], 7));
    assert_eq!((found("/srv/tty").file_type, found("/srv/other").links), (FileType::CharDevice, 1));
    assert_eq!(label(&fs, "/srv/a"), label(&fs, "/srv/new/b"));
    assert_unchanged(&files, &fs);
}

/// An rc.local with a line for each of many files would be larger than what is read.
#[test]
fn many_files_whose_labels_are_unknown_have_all_labelled() {
    let policy = "/.* u:r:default_t:s0\n/root/(?!x).* u:r:odd_t:s0\n";
    let tree = labelling(phony(), "/etc/rc.d/rc.local")
        .file("/etc/selinux/config", "SELINUX=enforcing\n")
        .file("/etc/selinux/targeted/contexts/files/file_contexts", policy)
        .build()
        .unwrap();
    for (number, is_all) in [(64, false), (65, true)] {
        let files = files((0..number).map(|n| put(&format!("/root/f{n}"), "x", 0o644)).collect());
        let fs = inject(&files, tree.clone());
        assert_eq!((exists(&fs, "/.autorelabel"), exists(&fs, "/etc/rc.d/rc.local")), (is_all, !is_all), "{number}");
    }
    // What is in one directory that is new is one of them.
    let files = files((0..200).map(|n| put(&format!("/root/d/f{n}"), "x", 0o644)).collect());
    assert!(!exists(&inject(&files, tree), "/.autorelabel"));
}
