//! Archives that nobody's tar makes, and what is read of those that it does.

use super::*;
use crate::inject::HostNames;
use imgraft_vfs::fs::{DeviceNumber, SpecialFile};
use std::process::Command;

/// A header with its checksum.
fn header(name: &str, flag: u8, size: usize, change: impl Fn(&mut [u8])) -> Vec<u8> {
    let mut block = vec![0; 512];
    block[..name.len()].copy_from_slice(name.as_bytes());
    for (at, text) in [(100, "0000644\0"), (108, "0000007\0"), (116, "0000010\0"), (136, "00000000011\0")] {
        block[at..at + text.len()].copy_from_slice(text.as_bytes());
    }
    block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    block[156] = flag;
    block[257..265].copy_from_slice(b"ustar\x0000");
    change(&mut block);
    seal(&mut block);
    block
}

fn seal(block: &mut [u8]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

fn data(bytes: &[u8]) -> Vec<u8> {
    let mut data = bytes.to_vec();
    data.resize(bytes.len().next_multiple_of(512), 0);
    data
}

fn member(name: &str, flag: u8, content: &[u8]) -> Vec<u8> {
    [header(name, flag, content.len(), |_| ()), data(content)].concat()
}

fn file(name: &str, content: &str) -> Vec<u8> {
    member(name, b'0', content.as_bytes())
}

fn to(name: &str, flag: u8, target: &str) -> Vec<u8> {
    header(name, flag, 0, |block| block[157..157 + target.len()].copy_from_slice(target.as_bytes()))
}

fn extended(flag: u8, records: &[(&str, &str)]) -> Vec<u8> {
    let mut text = String::new();
    for (keyword, value) in records {
        let rest = keyword.len() + value.len() + 3;
        let mut len = rest + 1;
        while len != rest + len.to_string().len() {
            len = rest + len.to_string().len();
        }
        text += &format!("{len} {keyword}={value}\n");
    }
    member("PaxHeaders/x", flag, text.as_bytes())
}

fn end() -> Vec<u8> {
    vec![0; 1024]
}

fn read(archive: &[u8]) -> Result<HostTree, Failure> {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("x.tar");
    std::fs::write(&path, archive).unwrap();
    match tar_in(&format!("{}:/srv", path.display()), &[])? {
        FileOperation::CopyIn { tree, .. } => Ok(tree),
        other => panic!("{other:?}"),
    }
}

fn names(tree: &HostTree) -> Vec<String> {
    tree.entries.iter().map(|entry| String::from_utf8_lossy(&entry.path).into_owned()).collect()
}

/// What is told of an archive that is refused.
#[track_caller]
fn refusal(archive: &[u8]) -> String {
    let failure = read(archive).map(|tree| names(&tree)).expect_err("it is to be refused");
    failure.message.split_once("x.tar: ").expect("the archive is named").1.to_owned()
}

fn content(entry: &HostEntry) -> Vec<u8> {
    let HostKind::File(content) = &entry.kind else { panic!("{entry:?}") };
    assert!(content.is_empty() || matches!(content, Content::HostFile { .. }), "it is not held");
    let mut bytes = vec![0; content.len() as usize];
    content.read_at(&mut bytes, 0).unwrap();
    bytes
}

#[test]
fn what_gnu_tar_makes_is_read() {
    const TREE: &str = r"
        set -e
        mkdir -p t/d
        printf 'a text' >t/f
        : >t/none
        ln t/f t/d/second
        ln -s ../f t/d/link
        mkfifo t/pipe
        n=$(printf '%0200d' 7)
        mkdir t/$n
        printf deep >t/$n/$n
        ln -s $n/$n t/long
        head -c 100000 /dev/zero >t/zeros
        chmod 4751 t/f
        touch -d @1000000000.5 t/f";
    let place = tempfile::tempdir().unwrap();
    let run = |script: &str| {
        let made = Command::new("sh").args(["-c", script]).current_dir(place.path()).status();
        assert!(made.is_ok_and(|status| status.success()), "{script}");
    };
    run(TREE);
    for format in ["gnu", "posix", "oldgnu"] {
        run(&format!("tar --sort=name --format={format} --numeric-owner -V label -cf x.tar t"));
        let archive = std::fs::read(place.path().join("x.tar")).unwrap();
        let tree = read(&archive).unwrap();
        let n = format!("{:0200}", 7);
        let expected =
            ["t", &format!("t/{n}"), &format!("t/{n}/{n}"), "t/d", "t/d/link", "t/d/second", "t/f", "t/long"];
        assert_eq!(names(&tree)[..8], expected, "{format}");
        assert_eq!(names(&tree)[8..], ["t/none", "t/pipe", "t/zeros"], "{format}");
        let [deep, link, second, f, long] = [2, 4, 5, 6, 7].map(|at| &tree.entries[at]);
        assert_eq!(content(deep), b"deep");
        assert!(matches!(&link.kind, HostKind::Symlink(target) if target == b"../f"));
        assert_eq!((content(second), second.attrs.mode, second.names), (b"a text".into(), 0o4751, HostNames::Several));
        assert_eq!(second.mtime, Some(Timestamp { seconds: 1_000_000_000, nanoseconds: 0 }));
        assert!(matches!(&f.kind, HostKind::Link(first) if first == b"t/d/second"));
        assert!(matches!(&long.kind, HostKind::Symlink(target) if *target == format!("{n}/{n}").into_bytes()));
        assert!(matches!(tree.entries[9].kind, HostKind::Special(SpecialFile::Fifo)));
        assert_eq!(content(&tree.entries[10]), vec![0; 100_000]);
        assert!(tree.notes.is_empty());
    }
}

#[test]
fn names_are_below_the_directory() {
    let archive = [
        member("./", b'5', b""),
        file("/etc/passwd", "x"),
        file("./a//./b", "y"),
        member("old/", b'0', b""),
        member("c/", b'5', b""),
    ];
    let tree = read(&[&archive.concat()[..], &end()].concat()).unwrap();
    assert_eq!(names(&tree), ["", "etc/passwd", "a/b", "old", "c"]);
    assert!(matches!(tree.entries[3].kind, HostKind::Directory));
    for name in ["..", "../a", "a/../b", "a/..", "/../a"] {
        assert!(refusal(&file(name, "x")).starts_with(&format!("{name}: its name leads upwards")), "{name}");
        assert!(refusal(&[file("f", "x"), to("l", b'1', name)].concat()).contains("leads upwards"), "{name}");
        assert!(refusal(&[extended(b'x', &[("path", name)]), file("f", "x")].concat()).contains("leads upwards"));
    }
    let long = "n".repeat(256);
    assert!(refusal(&[extended(b'x', &[("path", &long)]), file("f", "x")].concat()).contains("more than 255 bytes"));
    let long = "n/".repeat(2100) + "n";
    assert!(refusal(&[extended(b'x', &[("path", &long)]), file("f", "x")].concat()).contains("no possible path"));
    assert!(refusal(&file("", "x")).contains("it has no name"));
    assert!(refusal(&file(".", "x")).contains("only a directory can be"));
    assert!(refusal(&[extended(b'x', &[("path", "a\0b")]), file("f", "x")].concat()).contains("no possible path"));
    // A prefix is one in POSIX's headers and not in GNU's.
    let prefix = |block: &mut [u8]| block[345..348].copy_from_slice(b"pre");
    assert_eq!(names(&read(&header("f", b'0', 0, prefix)).unwrap()), ["pre/f"]);
    let gnu = |block: &mut [u8]| {
        prefix(block);
        block[257..265].copy_from_slice(b"ustar  \0");
    };
    assert_eq!(names(&read(&header("f", b'0', 0, gnu)).unwrap()), ["f"]);
}

#[test]
fn nothing_goes_through_the_archives_own_links() {
    let link = to("l", b'2', "/etc");
    for hidden in [file("l/passwd", "x"), file("./l//passwd", "x"), member("l/d/", b'5', b""), to("l/x", b'2', "y")] {
        assert!(refusal(&[link.clone(), hidden].concat()).contains("through a symbolic link of the archive"));
    }
    let linked = [link.clone(), to("m", b'1', "l"), file("m/passwd", "x")].concat();
    assert!(refusal(&linked).contains("m/passwd: it would go through"));
    assert!(refusal(&[link.clone(), member("l", b'5', b"")].concat()).contains("twice"));
    // What has taken its place is no link.
    assert_eq!(read(&[link, file("l", "x"), file("lx", "x")].concat()).unwrap().entries.len(), 3);
}

#[test]
fn hard_links_are_of_what_came_before() {
    let tree = read(&[file("a", "1"), to("b", b'1', "./a"), to("c", b'1', "b"), to("c", b'1', "c")].concat()).unwrap();
    assert_eq!(names(&tree), ["a", "b", "c"]);
    assert!(matches!(&tree.entries[2].kind, HostKind::Link(first) if first == b"b"));
    assert_eq!(tree.entries[0].names, HostNames::Several);
    // The size of the file may stand there, with no content behind it.
    let mut sized = header("b", b'1', 5000, |_| ());
    sized[157] = b'a';
    seal(&mut sized);
    assert_eq!(names(&read(&[file("a", "1"), sized, file("c", "3")].concat()).unwrap()), ["a", "b", "c"]);
    assert!(
        refusal(&[to("b", b'1', "a"), file("a", "1")].concat()).starts_with("b: a hard link of a, which is not in")
    );
    assert!(refusal(&to("b", b'1', "/etc/shadow")).contains("not in the archive before it"));
    assert!(refusal(&to("b", b'1', "b")).contains("not in the archive before it"));
    assert!(refusal(&[member("d", b'5', b""), to("b", b'1', "d")].concat()).contains("of a directory"));
    let twice = read(&[file("a", "1"), file("a", "2"), to("b", b'1', "a")].concat()).unwrap();
    assert_eq!(
        twice.entries.iter().map(|entry| entry.names).collect::<Vec<_>>(),
        [HostNames::One, HostNames::Several, HostNames::Several]
    );
}

#[test]
fn what_is_damaged_is_said() {
    let whole = [file("a", "content"), file("b", "more"), end()].concat();
    assert_eq!(read(&whole).unwrap().entries.len(), 2);
    // Without the zeros at the end, and without what fills the last block.
    assert_eq!(read(&whole[..2048]).unwrap().entries.len(), 2);
    assert_eq!(read(&whole[..1536 + 4]).unwrap().entries.len(), 2);
    assert_eq!(read(&[&whole[..1024], &end()[..512], b"whatever"].concat()).unwrap().entries.len(), 1);
    assert_eq!(read(&end()).unwrap().entries.len(), 0);
    for len in [1, 511] {
        assert!(refusal(&whole[..len]).contains("it is no tar archive"), "{len}");
    }
    for len in [513, 518, 1025, 1500, 1537, 1539] {
        let told = refusal(&whole[..len]);
        assert!(told.contains("cut off") || told.contains("the archive ends in it"), "{len}: {told}");
    }
    assert!(refusal(b"").contains("empty, and no tar archive"));
    assert!(refusal(&[b'x'; 2000]).contains("it is no tar archive"));
    for at in [0, 100, 130, 156, 257, 511] {
        let mut damaged = whole.clone();
        damaged[1024 + at] ^= 4;
        assert!(refusal(&damaged).contains("the checksum of a header is wrong (at byte 1024)"), "{at}");
    }
    let signed = |block: &mut [u8]| {
        block[0] = 0xff;
        block[148..156].fill(b' ');
        let sum: i32 = block.iter().map(|byte| i32::from(byte.cast_signed())).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    };
    let mut block = header("n", b'0', 0, |_| ());
    signed(&mut block);
    assert_eq!(read(&block).unwrap().entries[0].path, b"\xff");
}

#[test]
fn sizes_and_numbers_that_cannot_be() {
    let with = |range: std::ops::Range<usize>, bytes: &[u8]| {
        header("f", b'0', 0, |block| block[range.clone()].copy_from_slice(bytes))
    };
    for (archive, told) in [
        (with(124..136, b"77777777777\0"), "f: the archive ends in it"),
        (with(124..136, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), "f: its size is no possible one"),
        (with(124..136, b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff"), "f: the archive ends in it"),
        (with(124..136, b"\x80\0\0\x01\0\0\0\0\0\0\0\0"), "f: its size is no possible one"),
        (with(124..136, b"0000000008x\0"), "f: its size is no possible one"),
        (with(108..116, b"\x80\0\0\x01\0\0\0\0"), "f: its owner is no possible one"),
        (with(116..124, b"\xff\xff\xff\xff\xff\xff\xff\xff"), "f: its group is no possible one"),
        (with(136..148, b"x\0\0\0\0\0\0\0\0\0\0\0"), "f: its time is no possible one"),
        (with(100..108, b"9\0\0\0\0\0\0\0"), "f: its mode is no possible one"),
        (header("d", b'5', 512, |_| ()), "d: no file, and has a content"),
        (header("p", b'6', 1, |_| ()), "p: no file, and has a content"),
        (to("l", b'2', ""), "l: a symbolic link to nothing"),
        (header("n", b'3', 0, |block| block[329..333].copy_from_slice(b"7777")), ""),
        (
            header("n", b'3', 0, |block| block[329..334].copy_from_slice(b"10000")),
            "n: its device number is no possible",
        ),
        (header("n", b'4', 0, |block| block[337..344].copy_from_slice(b"4000000")), "n: its device number is no"),
        (
            extended(b'x', &[("size", "9223372036854775807")]).into_iter().chain(file("f", "")).collect(),
            "f: the archive",
        ),
        (member("x", b'x', b"5 a=b\n"), "its extended header is damaged"),
    ] {
        match read(&archive) {
            Ok(_) => assert_eq!(told, ""),
            Err(failure) => assert!(failure.message.contains(told), "{}", failure.message),
        }
    }
    let negative = with(136..148, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe");
    assert_eq!(read(&negative).unwrap().entries[0].mtime, Some(Timestamp { seconds: -2, nanoseconds: 0 }));
    let owned = with(108..116, b"\x80\0\0\0\xff\xff\xff\xff");
    assert_eq!(read(&owned).unwrap().entries[0].attrs, Attrs { mode: 0o644, uid: u32::MAX, gid: 8 });
    let device = header("n", b'4', 0, |block| {
        block[329..332].copy_from_slice(b"010");
        block[337..340].copy_from_slice(b"021");
    });
    let number = DeviceNumber { major: 8, minor: 17 };
    let kind = &read(&device).unwrap().entries[0].kind;
    assert!(matches!(kind, HostKind::Special(SpecialFile::BlockDevice(found)) if *found == number), "{kind:?}");
}

#[test]
fn extended_headers_say_what_has_no_room() {
    let archive = [
        extended(b'g', &[("mtime", "77"), ("comment", "abc"), ("uid", "3")]),
        extended(b'x', &[("path", "n\u{e9}w\nline"), ("uid", "4000000"), ("size", "5"), ("mtime", "-0.5")]),
        [header("f", b'0', 0, |_| ()), data(b"12345")].concat(),
        file("g", "x"),
        extended(b'x', &[("uid", "")]),
        file("h", "x"),
    ];
    let tree = read(&archive.concat()).unwrap();
    let shown: Vec<_> = tree.entries.iter().map(|entry| (entry.attrs.uid, entry.mtime.unwrap().seconds)).collect();
    assert_eq!(shown, [(4_000_000, -1), (3, 77), (7, 77)]);
    assert_eq!(
        (tree.entries[0].path.as_slice(), content(&tree.entries[0])),
        ("n\u{e9}w\nline".as_bytes(), b"12345".into())
    );
    for keyword in ["path", "linkpath", "size", "GNU.sparse.major"] {
        let told = refusal(&[extended(b'g', &[(keyword, "1")]), file("f", "x")].concat());
        assert!(told.contains("for all members"), "{told}");
    }
    assert!(refusal(&extended(b'x', &[("path", "a")])).contains("it ends where a member is to follow"));
    // What is in memory is bounded before it is read.
    assert!(refusal(&header("x", b'x', 1 << 30, |_| ())).contains("1048576 are the most"));
    assert!(refusal(&header("x", b'L', 5000, |_| ())).contains("4097 are the most"));
    let long = member("././@LongLink", b'L', b"long/name\0rest");
    assert_eq!(names(&read(&[long, file("f", "x")].concat()).unwrap()), ["long/name"]);
}

#[test]
fn attributes_are_told_of_and_not_taken() {
    let capable = extended(b'x', &[("SCHILY.xattr.security.capability", "\u{1}\n=")]);
    let tree =
        read(&[capable.clone(), file("ping", "x"), capable, file("other", "y"), file("f", "")].concat()).unwrap();
    let [note] = &tree.notes[..] else { panic!("{:?}", tree.notes) };
    assert!(
        note.ends_with("SCHILY.xattr.security.capability of ping is not put into the guest, nor are those of 1 more")
    );
}

#[test]
fn what_is_no_member_of_an_archive_for_files_is_named() {
    for (archive, told) in [
        (file("f", "").into_iter().chain(header("s", b'S', 0, |_| ())).collect::<Vec<u8>>(), "s: a file whose holes"),
        ([extended(b'x', &[("GNU.sparse.map", "0,1")]), file("s", "")].concat(), "s: a file whose holes"),
        (header("d", b'D', 0, |_| ()), "d: a directory of an incremental backup"),
        (header("m", b'M', 0, |_| ()), "m: the rest of a file"),
        (header("w", b'?', 0, |_| ()), "w: of the unknown type '?'"),
        (header("\x1b[31m", b'?', 0, |_| ()), "\\u{1b}[31m: of the unknown type"),
        ([member("d", b'5', b""), file("d", "")].concat(), "d: it is in the archive twice"),
        ([file("d", ""), member("d", b'5', b"")].concat(), "d: it is in the archive twice"),
    ] {
        let said = refusal(&archive);
        assert!(said.contains(told), "{said}");
    }
}

#[test]
fn compressed_archives_name_the_way_out() {
    for (start, way) in [
        (&b"\x1f\x8b\x08\0"[..], "gzip -dk "),
        (b"\xfd7zXZ\0", "xz -dk "),
        (b"\x28\xb5\x2f\xfd", "zstd -d "),
        (b"BZh91AY", "bzip2 -dk "),
        (b"\x04\x22\x4d\x18", "lz4 -d "),
        (b"LZIP\x01", "lzip -dk "),
        (b"\x5d\0\0\x80", "xz -dk --format=lzma "),
        (b"\x1f\x9d\x90", "gzip -dk "),
        (b"\x89LZO\0", "lzop -d "),
    ] {
        let failure = read(start).map(drop).unwrap_err();
        assert!(failure.message.contains("it is compressed"), "{}", failure.message);
        assert!(failure.hints.join("").starts_with(way), "{:?}", failure.hints);
    }
}

#[test]
fn what_is_no_archive_is_not_read() {
    let place = tempfile::tempdir().unwrap();
    let told = |typed: &str, written: &[&Path]| tar_in(typed, written).map(drop).unwrap_err().message;
    for typed in ["x", ":/srv", "x:srv", "-:srv"] {
        assert!(told(typed, &[]).contains("not TARFILE:REMOTEDIR"), "{typed}");
    }
    let path = place.path().to_str().unwrap().to_owned();
    assert!(told(&format!("{path}/none:/srv"), &[]).contains("/none: No such file"));
    assert!(told(&format!("{path}:/srv"), &[]).contains("not a regular file"));
    let image = place.path().join("x");
    std::fs::write(&image, file("a", "b")).unwrap();
    assert!(told(&format!("{path}/x:/srv"), &[&image]).contains("this run writes that file"));
    nix::unistd::mkfifo(&place.path().join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(told(&format!("{path}/pipe:/srv"), &[]).contains("not a regular file"));
}

#[test]
fn there_is_an_end_to_members() {
    let member = Archive::new(Content::bytes(file("a", ""))).next().unwrap().unwrap();
    let mut tree = Unpacked::default();
    tree.add(member.clone()).unwrap();
    tree.tree.entries = vec![tree.tree.entries[0].clone(); ENTRIES_MAX - 1];
    tree.add(member.clone()).unwrap();
    assert!(tree.add(member.clone()).unwrap_err().reason.starts_with("so far were 100,000 files"));
    let mut tree = Unpacked { names_len: NAMES_MAX - 1, ..Unpacked::default() };
    assert!(tree.add(member).unwrap_err().reason.contains("64 MiB of names"));
}
