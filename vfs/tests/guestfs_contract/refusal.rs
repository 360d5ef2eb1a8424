//! What is refused, and with which kind of error.

use crate::ground::{DIR, FILE, Fs, Ground, bytes, xattr};
use imgraft_vfs::ErrorKind::{Invalid, NotFound, WrongType};
use imgraft_vfs::Result;
use imgraft_vfs::fs::{Ownership, SetAttrs, SpecialFile};
use imgraft_vfs::path::Resolved;

/// A file `/f`, a directory `/d` with a file `/d/f` in it, an empty one `/e`, and a link `/l` to `/d`; and the paths
/// given, taken before any of that was there, so that they may lead through a file or a link.
fn tree<const N: usize>(fs: &mut Fs, paths: [&str; N]) -> [Resolved; N] {
    let paths = paths.map(|path| fs.at(path));
    fs.file("/f", "content");
    fs.dir("/d");
    fs.file("/d/f", "");
    fs.dir("/e");
    if fs.fs.ownership(&Resolved::root()) == Ownership::Kept {
        fs.symlink("/l", "d");
    }
    paths
}

pub fn reading(ground: &Ground) {
    type Read = fn(&Fs, &Resolved) -> Result<()>;
    let file: Read = |fs, at| fs.fs.read_at(at, &mut [0; 8], 0).map(drop);
    let dir: Read = |fs, at| fs.fs.read_dir(at).map(drop);
    let link: Read = |fs, at| fs.fs.read_link(at).map(drop);
    let special: Read = |fs, at| fs.fs.special(at).map(drop);
    let xattrs: Read = |fs, at| fs.fs.xattrs(at).map(drop);
    for (what, path, kind) in [
        (file, "/none", NotFound),
        (file, "/none/x", NotFound),
        (file, "/d", WrongType),
        (file, "/l", WrongType),
        (file, "/f/x", WrongType),
        (file, "/l/f", WrongType),
        (dir, "/none", NotFound),
        (dir, "/f", WrongType),
        (dir, "/l", WrongType),
        (link, "/none", NotFound),
        (link, "/f", WrongType),
        (link, "/d", WrongType),
        (special, "/none", NotFound),
        (special, "/f", WrongType),
        (special, "/d", WrongType),
        (xattrs, "/none", NotFound),
        (xattrs, "/f/x", WrongType),
    ] {
        if !ground.has(path) {
            continue;
        }
        ground.refuses(kind, path, |fs| {
            let [at] = tree(fs, [path]);
            what(fs, &at)
        });
    }
}

pub fn making(ground: &Ground) {
    type Make = fn(&mut Fs, &Resolved) -> Result<()>;
    let makers: [Make; 5] = [
        |fs, at| fs.fs.create_file(at, FILE),
        |fs, at| fs.fs.create_dir(at, DIR),
        |fs, at| fs.fs.create_symlink(at, b"x", FILE),
        |fs, at| fs.fs.create_special(at, SpecialFile::Fifo, FILE),
        |fs, at| {
            let file = fs.at("/f");
            fs.fs.hard_link(&file, at)
        },
    ];
    for make in makers {
        for (path, kind) in [
            ("/", Invalid),
            ("/f", Invalid),
            ("/d", Invalid),
            ("/l", Invalid),
            ("/d/f", Invalid),
            ("/none/x", NotFound),
            ("/d/none/x", NotFound),
            ("/f/x", WrongType),
            ("/d/f/x", WrongType),
            ("/l/x", WrongType),
        ] {
            if !ground.has(path) {
                continue;
            }
            ground.refuses(kind, path, |fs| {
                let [at] = tree(fs, [path]);
                make(fs, &at)
            });
        }
    }
    for target in [&b""[..], b"a\0b"] {
        ground.refuses(Invalid, "target", |fs| {
            let at = fs.at("/new");
            fs.fs.create_symlink(&at, target, FILE)
        });
    }
}

pub fn changing(ground: &Ground) {
    type Change = fn(&mut Fs, &Resolved) -> Result<()>;
    let of_content: [Change; 3] =
        [|fs, at| fs.fs.put(at, &bytes("x")), |fs, at| fs.fs.append(at, &bytes("x")), |fs, at| fs.fs.truncate(at, 1)];
    for change in of_content {
        for (path, kind) in [
            ("/none", NotFound),
            ("/none/x", NotFound),
            ("/d", WrongType),
            ("/", WrongType),
            ("/l", WrongType),
            ("/f/x", WrongType),
            ("/l/f", WrongType),
        ] {
            if !ground.has(path) {
                continue;
            }
            ground.refuses(kind, path, |fs| {
                let [at] = tree(fs, [path]);
                change(fs, &at)
            });
        }
    }
    let of_attributes: [Change; 3] = [
        |fs, at| fs.fs.set_attrs(at, SetAttrs { mode: Some(0o600), ..SetAttrs::default() }),
        |fs, at| fs.fs.set_xattr(at, &xattr("user.a", "x")),
        |fs, at| fs.fs.remove_xattr(at, b"user.a"),
    ];
    for change in of_attributes {
        for (path, kind) in [("/none", NotFound), ("/none/x", NotFound), ("/f/x", WrongType), ("/l/f", WrongType)] {
            if !ground.has(path) {
                continue;
            }
            ground.refuses(kind, path, |fs| {
                let [at] = tree(fs, [path]);
                change(fs, &at)
            });
        }
    }
    ground.refuses(NotFound, "an attribute that is not there", |fs| {
        let [at] = tree(fs, ["/f"]);
        if fs.fs.ownership(&at) == Ownership::Kept {
            fs.fs.set_xattr(&at, &xattr("user.a", "x"))?;
        }
        fs.fs.remove_xattr(&at, b"user.b")
    });
}

pub fn removing(ground: &Ground) {
    for (path, kind) in [
        ("/", Invalid),
        ("/d", Invalid),
        ("/none", NotFound),
        ("/none/x", NotFound),
        ("/f/x", WrongType),
        ("/l/f", WrongType),
    ] {
        if !ground.has(path) {
            continue;
        }
        ground.refuses(kind, path, |fs| {
            let [at] = tree(fs, [path]);
            fs.fs.remove(&at)
        });
    }
}

pub fn linking(ground: &Ground) {
    for (from, to, kind) in [
        ("/d", "/x", WrongType),
        ("/", "/x", WrongType),
        ("/none", "/x", NotFound),
        ("/f/x", "/x", WrongType),
        ("/f", "/f", Invalid),
    ] {
        ground.refuses(kind, from, |fs| {
            let [from, to] = tree(fs, [from, to]);
            fs.fs.hard_link(&from, &to)
        });
    }
}

pub fn renaming(ground: &Ground) {
    for (from, to, kind) in [
        ("/none", "/x", NotFound),
        ("/none/x", "/x", NotFound),
        ("/f", "/none/x", NotFound),
        ("/f", "/d/f/x", WrongType),
        ("/f", "/l/x", WrongType),
        ("/l/f", "/x", WrongType),
        ("/f", "/e", WrongType),
        ("/f", "/d", WrongType),
        ("/l", "/e", WrongType),
        ("/e", "/f", WrongType),
        ("/e", "/l", WrongType),
        ("/e", "/d", Invalid),
        ("/d", "/d/x", Invalid),
        ("/d", "/d/f", Invalid),
        ("/", "/x", Invalid),
        ("/d", "/", Invalid),
    ] {
        if !ground.has(from) || !ground.has(to) {
            continue;
        }
        ground.refuses(kind, &format!("{from} to {to}"), |fs| {
            let [from, to] = tree(fs, [from, to]);
            fs.fs.rename(&from, &to)
        });
    }
    ground.refuses(Invalid, "a directory over the one that holds it", |fs| {
        let outer = fs.dir("/outer");
        let inner = fs.dir("/outer/inner");
        fs.fs.rename(&inner, &outer)
    });
}
