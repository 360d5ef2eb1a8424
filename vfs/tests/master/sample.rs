//! The trees that images are built from.

use super::oracle::Random;
use imgraft_vfs::fs::Content;
use imgraft_vfs::master::Tree;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// 2026-01-02 03:04:06 UTC: even, as FAT counts seconds in twos.
pub const TIME: i64 = 1_767_323_046;

/// Files as a config drive has them.
pub fn drive() -> Tree {
    let mut tree = Tree::new();
    let mut put = |path: String, content: &str| tree.put(path, Content::bytes(content.as_bytes().to_vec())).unwrap();
    for version in ["2009-04-04", "latest"] {
        put(format!("ec2/{version}/meta-data.json"), r#"{"instance-id": "i-1"}"#);
        put(format!("ec2/{version}/user-data"), "#!/bin/sh\n");
    }
    for version in ["2012-08-10", "2013-04-04", "2013-10-17", "2015-10-15", "2016-06-30", "2018-08-27", "latest"] {
        put(format!("openstack/{version}/meta_data.json"), r#"{"uuid": "1"}"#);
        put(format!("openstack/{version}/user_data"), "#!/bin/sh\n");
        put(format!("openstack/{version}/vendor_data.json"), "{}");
    }
    put("openstack/content/0000".into(), &"iface eth0\n".repeat(300));
    tree
}

/// Names that are long, that are not ASCII, that are alike, and files of awkward sizes.
pub fn names() -> Tree {
    let mut tree = Tree::new();
    let mut put = |path: &str| {
        // A size of its own for each, around the borders of sectors and clusters.
        let bytes = Random(path.len() as u64).bytes(path.len() * 37 % 5000);
        tree.put(path, Content::bytes(bytes)).unwrap();
    };
    for size in 1..=255 {
        if size % 9 < 2 || size > 90 && size < 130 || size > 250 {
            put(&format!("lengths/{}", "n".repeat(size)));
            put(&format!("below/{}/x", "d".repeat(size)));
        }
    }
    for name in ["näme.txt", "ελληνικά", "日本語のとても長いファイル名.json", "русский файл", "e\u{301}", "𝄞 clef"]
    {
        put(name);
        put(&format!("{name}.d/{name}"));
    }
    put(&"ü".repeat(127));
    put(&format!("{}.json", "名".repeat(83)));
    for number in 0..30 {
        put(&format!("alike/{}{number}.json", "same beginning of a long name ".repeat(4)));
        put(&format!("alike/a-b+c{number}d.e-f"));
        put(&format!("alike/a+b-c{number}d.e+f"));
    }
    for name in
        ["two.dots.here.x", ".leading", "sp ace+plus~t", "UPPER.TXT", "Mixed.Case", "a=b,c;d[e]", "LONGUPPERNAME.TEXT"]
    {
        put(name);
    }
    tree.put_dir("nothing in it").unwrap();
    tree.put("empty", Content::bytes(*b"")).unwrap();
    tree.put("also/empty", Content::bytes(*b"")).unwrap();
    for size in [1_usize, 2047, 2048, 2049, 4096, 65536, 65537] {
        tree.put(format!("sizes/{size}"), Content::bytes(Random(size as u64).bytes(size))).unwrap();
    }
    tree
}

/// Names that only Rock Ridge keeps.
pub fn awkward() -> Tree {
    let mut tree = Tree::new();
    let names: [&[u8]; 10] = [
        b"a:b;c?d*e",
        b"back\\slash",
        b"new\nline",
        b"\xff\xfe not text",
        b"abc.",
        b"trailing ",
        b"A",
        b"a",
        b"Ab",
        b"aB",
    ];
    for name in names {
        tree.put(name, Content::bytes(name.to_vec())).unwrap();
    }
    tree
}

/// Thousands of files in one directory, beside a deep path.
pub fn many() -> Tree {
    let mut tree = Tree::new();
    for number in 0..5000 {
        tree.put(format!("many/file with a longer name {number}"), Content::bytes(number.to_string().into_bytes()))
            .unwrap();
    }
    for number in 0..300 {
        tree.put(format!("directories/{number}/file"), Content::bytes(vec![b'x'; number])).unwrap();
    }
    tree.put("deep/".repeat(30) + "file", Content::bytes(*b"at the end")).unwrap();
    tree
}

/// A host file of 100 MiB that is mostly a hole, beside a small one.
pub fn large(at: &Path) -> Tree {
    let file = File::create(at).unwrap();
    file.set_len(100 << 20).unwrap();
    for place in 0..50 {
        file.write_all_at(&Random(place).bytes(5000), place * 2_100_000).unwrap();
    }
    let mut tree = Tree::new();
    tree.put("large", Content::open(at).unwrap()).unwrap();
    tree.put("small", Content::bytes(*b"small")).unwrap();
    tree
}

/// A random tree.
pub fn random(seed: u64) -> Tree {
    let mut random = Random(seed);
    let mut tree = Tree::new();
    let letters: Vec<char> = "abcdefghijklmnopqrstuvwxyz0123456789-_. äöλ字+=".chars().collect();
    for _ in 0..random.below(120) {
        let mut path = String::new();
        for depth in 0..=random.below(6) {
            // Few names, so that directories are met again.
            let mut name = Random(random.below(40 + depth * 20));
            let length = if name.below(5) == 0 { name.below(110) } else { name.below(14) };
            path.extend((0..length).map(|_| letters[name.below(letters.len() as u64) as usize]));
            path.push_str("x/");
        }
        path.pop();
        let size = if random.below(4) == 0 { 0 } else { random.below(9000) };
        // A directory may be there, or a file where a directory is needed.
        let _ = tree.put(path, Content::bytes(random.bytes(size as usize)));
    }
    tree
}
