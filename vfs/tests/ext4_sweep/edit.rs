//! Changes to the tree that every base has, each a transaction of its own.

use crate::oracle::try_at;
use imgraft_vfs::Result;
use imgraft_vfs::error::{Error, ErrorKind, Layer};
use imgraft_vfs::fs::{Attrs, Content, GuestFs, SetAttrs, Timestamp, Xattr};

/// A change.
pub type Edit = fn(&mut dyn GuestFs) -> Result<()>;

/// Every change with its name.
pub const EDITS: &[(&str, Edit)] = &[
    ("create", create),
    ("overwrite", overwrite),
    ("mkdir", mkdir),
    ("remove a large file", remove_large),
    ("rename", rename),
    ("xattrs", xattrs),
    ("overwrite fragments", overwrite_fragments),
    ("fill a directory", fill),
    ("thin a directory", thin),
    ("cut", cut),
    ("links", links),
    ("append", append),
    ("owner", owner),
    ("move a directory", move_directory),
    ("large value", large_value),
    ("read all", read_all),
];

/// What new files get.
pub const ATTRS: Attrs = Attrs { mode: 0o644, uid: 1000, gid: 100 };

/// Writes content, and reads it again.
pub fn put(fs: &mut dyn GuestFs, path: &str, content: Vec<u8>) -> Result<()> {
    let at = try_at(fs, path)?;
    fs.put(&at, &Content::bytes(content.clone()))?;
    let mut read = vec![0; content.len() + 1];
    let len = fs.read_at(&at, &mut read, 0)?;
    assert!(read[..len] == content, "{path} does not hold what was written");
    Ok(())
}

fn create(fs: &mut dyn GuestFs) -> Result<()> {
    for (name, len) in [("/etc/new", 3_000), ("/new", 40), ("/etc/deep/deeper/new", 0)] {
        let at = try_at(fs, name)?;
        fs.create_file(&at, ATTRS)?;
        put(fs, name, vec![b'n'; len])?;
    }
    Ok(())
}

fn overwrite(fs: &mut dyn GuestFs) -> Result<()> {
    put(fs, "/etc/passwd", vec![b'p'; 5_000])?;
    put(fs, "/etc/empty", vec![b'e'; 100])
}

fn mkdir(fs: &mut dyn GuestFs) -> Result<()> {
    for name in ["/etc/directory", "/etc/directory/inner", "/directory"] {
        fs.create_dir(&try_at(fs, name)?, Attrs { mode: 0o755, ..ATTRS })?;
    }
    fs.create_file(&try_at(fs, "/etc/directory/inner/file")?, ATTRS)?;
    fs.remove(&try_at(fs, "/directory")?)
}

fn remove_large(fs: &mut dyn GuestFs) -> Result<()> {
    fs.remove(&try_at(fs, "/large")?)
}

fn rename(fs: &mut dyn GuestFs) -> Result<()> {
    fs.rename(&try_at(fs, "/fragmented")?, &try_at(fs, "/etc/deep/fragmented")?)?;
    fs.rename(&try_at(fs, "/etc/deep/up")?, &try_at(fs, "/etc/empty")?)?;
    fs.rename(&try_at(fs, "/etc/deep/fragmented")?, &try_at(fs, "/fragmented")?)
}

/// An attribute of so many bytes.
pub fn xattr(name: &str, len: usize) -> Xattr {
    Xattr { name: name.into(), value: vec![b'x'; len] }
}

fn xattrs(fs: &mut dyn GuestFs) -> Result<()> {
    let at = try_at(fs, "/etc/deep/linked")?;
    fs.set_xattr(&at, &xattr("user.new", 40))?;
    fs.remove_xattr(&at, b"user.large")?;
    fs.set_xattr(&try_at(fs, "/etc")?, &xattr("user.directory", 200))
}

fn overwrite_fragments(fs: &mut dyn GuestFs) -> Result<()> {
    put(fs, "/fragmented", vec![b'f'; 20_000])
}

fn fill(fs: &mut dyn GuestFs) -> Result<()> {
    for number in 0..12 {
        fs.create_symlink(&try_at(fs, format!("/many/{number}-{}", "q".repeat(60)))?, b"t", ATTRS)?;
    }
    Ok(())
}

fn thin(fs: &mut dyn GuestFs) -> Result<()> {
    for number in (0..60).step_by(3) {
        fs.remove(&try_at(fs, format!("/many/{number}-{}", "n".repeat(40)))?)?;
    }
    Ok(())
}

fn cut(fs: &mut dyn GuestFs) -> Result<()> {
    for (name, size) in [("/sparse", 301 << 10), ("/large", 12_345), ("/etc/passwd", 5), ("/etc/empty", 70_000)] {
        fs.truncate(&try_at(fs, name)?, size)?;
    }
    Ok(())
}

fn links(fs: &mut dyn GuestFs) -> Result<()> {
    fs.create_symlink(&try_at(fs, "/etc/to")?, &[b't'; 80], ATTRS)?;
    fs.create_symlink(&try_at(fs, "/etc/deep/to")?, b"short", ATTRS)?;
    fs.hard_link(&try_at(fs, "/etc/passwd")?, &try_at(fs, "/etc/deep/third")?)?;
    fs.remove(&try_at(fs, "/etc/long")?)?;
    fs.remove(&try_at(fs, "/etc/fifo")?)
}

fn append(fs: &mut dyn GuestFs) -> Result<()> {
    for (name, len) in [("/fragmented", 5_000), ("/sparse", 2_000), ("/etc/passwd", 200)] {
        fs.append(&try_at(fs, name)?, &Content::bytes(vec![b'a'; len]))?;
    }
    Ok(())
}

fn owner(fs: &mut dyn GuestFs) -> Result<()> {
    let mtime = Some(Timestamp { seconds: 1_700_000_001, nanoseconds: 1 });
    for name in ["/large", "/etc", "/etc/long", "/many"] {
        fs.set_attrs(&try_at(fs, name)?, SetAttrs { mode: Some(0o750), uid: Some(7), gid: Some(70_000), mtime })?;
    }
    Ok(())
}

fn move_directory(fs: &mut dyn GuestFs) -> Result<()> {
    fs.rename(&try_at(fs, "/etc/deep/deeper")?, &try_at(fs, "/many/deeper")?)?;
    fs.rename(&try_at(fs, "/many")?, &try_at(fs, "/etc/many")?)
}

fn large_value(fs: &mut dyn GuestFs) -> Result<()> {
    fs.set_xattr(&try_at(fs, "/large")?, &xattr("user.large", 700))?;
    let at = try_at(fs, "/etc/empty")?;
    match fs.xattrs(&at)?.is_empty() {
        true => fs.set_xattr(&at, &xattr("trusted.small", 90)),
        false => fs.remove_xattr(&at, b"user.apart"),
    }
}

/// Reads everything, and changes one thing.
fn read_all(fs: &mut dyn GuestFs) -> Result<()> {
    let tree = crate::oracle::try_tree(fs, 400 << 10)?;
    if tree.len() > 1000 {
        return Err(Error::new(ErrorKind::Corrupt, Layer::Filesystem, "more files than there are"));
    }
    fs.create_file(&try_at(fs, "/read")?, ATTRS)
}
