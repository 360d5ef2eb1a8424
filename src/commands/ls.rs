//! `imgraft ls`: a directory of the guest.

use super::{look, print, tell};
use crate::failure::{Exit, Failure};
use crate::plan::Look;
use imgraft_vfs::fs::{FileType, GuestFs, Lookup, Metadata};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::resolve::{Follow, resolve};
use imgraft_vfs::{Error, ErrorKind, Layer};
use std::fmt::Write as _;

pub(super) fn run(plan: &Look) -> Result<Exit, Failure> {
    let (_txn, grown) = look(&plan.target)?;
    let fs = &grown.tree;
    let at = resolve(fs, &plan.path, Follow::All)?;
    tell(&grown.notes_of(&at));
    let metadata = fs.lookup(&at)?.ok_or_else(|| missing(&plan.path))?;
    let mut text = String::new();
    if metadata.file_type == FileType::Directory {
        let mut entries = fs.read_dir(&at)?;
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        // Entries of a directory are shown themselves, links not followed.
        let directory = GuestPath::parse(at.as_bytes())?;
        for entry in entries {
            match line(&mut text, fs, &directory.join(&entry.name)?, &entry.name) {
                // What is mounted there costs nobody else anything.
                Err(error) if error.layer() == Layer::Volume && error.kind() != ErrorKind::Io => {
                    let _ = writeln!(text, "?{:>37} {}", "", entry.name.escape_ascii());
                    tell(&[Failure::from(error).message]);
                }
                shown => shown?,
            }
        }
    } else {
        line(&mut text, fs, &plan.path, plan.path.as_bytes())?;
    }
    print(text.as_bytes())?;
    Ok(Exit::Done)
}

fn line(text: &mut String, fs: &dyn GuestFs, path: &GuestPath, name: &[u8]) -> Result<(), Error> {
    let at = resolve(fs, path, Follow::ExcludeLast)?;
    let metadata = fs.lookup(&at)?.ok_or_else(|| missing(path))?;
    let target = match metadata.file_type {
        FileType::Symlink => format!(" -> {}", fs.read_link(&at)?.escape_ascii()),
        _ => String::new(),
    };
    let Metadata { links, uid, gid, size, .. } = metadata;
    let _ =
        writeln!(text, "{} {links:>3} {uid:>5} {gid:>5} {size:>10} {}{target}", mode(&metadata), name.escape_ascii());
    Ok(())
}

fn missing(path: &GuestPath) -> Error {
    Error::new(ErrorKind::NotFound, Layer::Filesystem, "no such file or directory in the guest")
        .with_guest_path(path.as_bytes())
}

/// Type and permissions as ls(1) prints them.
fn mode(metadata: &Metadata) -> String {
    let kind = match metadata.file_type {
        FileType::Regular => '-',
        FileType::Directory => 'd',
        FileType::Symlink => 'l',
        FileType::CharDevice => 'c',
        FileType::BlockDevice => 'b',
        FileType::Fifo => 'p',
        FileType::Socket => 's',
    };
    let bits = metadata.mode;
    let mut text = String::from(kind);
    for (shift, special, set, unset) in [(6, 0o4000, 's', 'S'), (3, 0o2000, 's', 'S'), (0, 0o1000, 't', 'T')] {
        let triple = bits >> shift;
        text.push(if triple & 4 != 0 { 'r' } else { '-' });
        text.push(if triple & 2 != 0 { 'w' } else { '-' });
        text.push(match (triple & 1 != 0, bits & special != 0) {
            (true, true) => set,
            (false, true) => unset,
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use imgraft_vfs::fs::Timestamp;

    #[test]
    fn modes_as_ls_prints_them() {
        let metadata = |file_type, mode| Metadata {
            file_type,
            mode,
            uid: 0,
            gid: 0,
            size: 0,
            links: 1,
            inode: 1,
            mtime: Timestamp::default(),
        };
        assert_eq!(mode(&metadata(FileType::Directory, 0o1777)), "drwxrwxrwt");
        assert_eq!(mode(&metadata(FileType::Regular, 0o4755)), "-rwsr-xr-x");
        assert_eq!(mode(&metadata(FileType::Regular, 0o2640)), "-rw-r-S---");
    }
}
