//! The archives that `--tar-in` names.

mod archive;
mod header;
mod pax;
#[cfg(test)]
mod tests;

use super::copy_in::{ENTRIES_MAX, identity};
use crate::failure::{Failure, printable};
use crate::inject::{FileOperation, HostEntry, HostKind, HostNames, HostTree};
use archive::{Archive, Member, MemberKind, Refusal};
use header::{BLOCK, Header};
use imgraft_vfs::fs::{Attrs, Content, Timestamp};
use imgraft_vfs::path::{GuestPath, NAME_MAX, PATH_MAX};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// How many bytes all names of an archive have.
const NAMES_MAX: usize = 64 << 20;

/// With what compressed files begin: the program that uncompresses them, and its words.
const COMPRESSED: [(&[u8], &str, &str); 9] = [
    (b"\x1f\x8b", "gzip", "gzip -dk"),
    (b"\xfd7zXZ\0", "xz", "xz -dk"),
    (b"\x28\xb5\x2f\xfd", "zstd", "zstd -d"),
    (b"BZh", "bzip2", "bzip2 -dk"),
    (b"\x04\x22\x4d\x18", "lz4", "lz4 -d"),
    (b"LZIP", "lzip", "lzip -dk"),
    (b"\x5d\0\0", "lzma", "xz -dk --format=lzma"),
    (b"\x1f\x9d", "compress", "gzip -dk"),
    (b"\x89LZO", "lzop", "lzop -d"),
];

/// What can be done with what is no archive.
pub(in crate::plan) const NO_ARCHIVE: &str =
    "--upload puts in a file as it is, --copy-in a directory; tar -cf makes an archive";

/// The operation that was typed. `written` are the files that this run writes, which cannot be what it reads.
pub(super) fn tar_in(typed: &str, written: &[&Path]) -> Result<FileOperation, Failure> {
    let usage = || Failure::usage(format!("--tar-in {typed}: not TARFILE:REMOTEDIR with an absolute REMOTEDIR"));
    let colon = typed.rfind(":/").filter(|colon| *colon > 0).ok_or_else(usage)?;
    let directory = GuestPath::parse(&typed[colon + 1..])?;
    unpacked(Path::new(&typed[..colon]), directory, written).map_err(|failure| failure.within("--tar-in"))
}

/// What is in an archive, below a directory of the guest; `written` as there.
pub(super) fn unpacked(local: &Path, directory: GuestPath, written: &[&Path]) -> Result<FileOperation, Failure> {
    let content = opened(local, written)?;
    let mut start = [0; BLOCK];
    let start = &mut start[..content.len().min(BLOCK as u64) as usize];
    content.read_at(start, 0)?;
    // The name of a first member may begin like a compressed file.
    let is_header = <&[u8; BLOCK]>::try_from(&*start).is_ok_and(|block| Header(block).is_sound());
    let compressed = COMPRESSED.iter().find(|(magic, ..)| start.starts_with(magic)).filter(|_| !is_header);
    if let Some((_, name, words)) = compressed {
        let file = imgraft_vfs::shell::word(local);
        return Err(failed(local, &format!("it is compressed ({name}), and only an uncompressed archive is read"))
            .with_hint(format!("{words} {file} uncompresses it")));
    }
    if start.len() < BLOCK {
        return Err(failed(local, "it is no tar archive").with_hint(NO_ARCHIVE));
    }
    let mut archive = Archive::new(content);
    let mut tree = Unpacked::default();
    while let Some(member) = archive.next().map_err(|refusal| refused(local, refusal))? {
        tree.add(member).map_err(|refusal| refused(local, refusal))?;
    }
    Ok(FileOperation::CopyIn { tree: tree.finish(local), directory })
}

fn opened(local: &Path, written: &[&Path]) -> Result<Content, Failure> {
    let metadata = std::fs::metadata(local).map_err(|error| failed(local, &error.to_string()))?;
    if !metadata.is_file() {
        return Err(failed(local, "not a regular file, as an archive is")
            .with_hint("--copy-in copies a directory; what comes through a pipe has to be a file first"));
    }
    if metadata.len() == 0 {
        return Err(failed(local, "it is empty, and no tar archive").with_hint(NO_ARCHIVE));
    }
    let (content, opened) = Content::open_with_metadata(local)?;
    let is_written = |path: &&Path| std::fs::metadata(path).is_ok_and(|found| identity(&found) == identity(&opened));
    if written.iter().any(is_written) {
        return Err(failed(local, "this run writes that file, and cannot read an archive from it"));
    }
    Ok(content)
}

/// What comes of the members so far.
#[derive(Default)]
struct Unpacked {
    tree: HostTree,
    /// For each name what it is, and where it is among the entries.
    names: BTreeMap<Vec<u8>, (Found, usize)>,
    /// Those among the entries of which there are further names.
    firsts: BTreeSet<usize>,
    names_len: usize,
    /// A member with an extended attribute, and how many more there are.
    attributes: Option<(Vec<u8>, Vec<u8>, usize)>,
}

/// What a name of an archive is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Directory,
    Symlink,
    Other,
}

impl Unpacked {
    fn add(&mut self, member: Member) -> Result<(), Refusal> {
        let Member { name, kind, mode, uid, gid, mtime, attribute } = member;
        let refuse = |reason: &str| Refusal { member: Some(name.clone()), reason: reason.to_owned(), hint: None };
        if self.tree.entries.len() >= ENTRIES_MAX {
            let hint = Some("make several archives of it");
            return Err(Refusal {
                hint,
                ..refuse("so far were 100,000 files, which is all that one --tar-in unpacks")
            });
        }
        let path = plain(&name).map_err(|reason| refuse(&reason))?;
        self.names_len = self.names_len.saturating_add(name.len()).saturating_add(path.len());
        if self.names_len > NAMES_MAX {
            return Err(refuse("so far were 64 MiB of names, which is all that one --tar-in unpacks"));
        }
        for (at, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            if self.names.get(&path[..at]).is_some_and(|(found, _)| *found == Found::Symlink) {
                return Err(refuse("it would go through a symbolic link of the archive itself"));
            }
        }
        let number = self.tree.entries.len();
        let (found, kind) = match kind {
            MemberKind::Directory => (Found::Directory, HostKind::Directory),
            MemberKind::File(content) => (Found::Other, HostKind::File(content)),
            MemberKind::Symlink(target) if target.is_empty() || target.len() >= PATH_MAX || target.contains(&0) => {
                return Err(refuse("a symbolic link to nothing that can be"));
            }
            MemberKind::Symlink(target) => (Found::Symlink, HostKind::Symlink(target)),
            MemberKind::Special(special) => (Found::Other, HostKind::Special(special)),
            MemberKind::Link(target) => {
                let shown = String::from_utf8_lossy(&target).into_owned();
                let target = plain(&target).map_err(|reason| refuse(&format!("a hard link of {shown}: {reason}")))?;
                match self.names.get(&target) {
                    // As for tar, a name of itself is what it is.
                    _ if target == path && self.names.contains_key(&path) => return Ok(()),
                    Some((Found::Directory, _)) => return Err(refuse("a hard link of a directory")),
                    Some((found, first)) => {
                        let (found, first) = (*found, *first);
                        self.firsts.insert(first);
                        self.names.insert(path.clone(), (found, first));
                        let (attrs, names) = (Attrs { mode, uid, gid }, HostNames::Several);
                        let kind = HostKind::Link(target);
                        self.tree.entries.push(HostEntry { path, kind, attrs, mtime: None, names });
                        return Ok(());
                    }
                    None => {
                        let reason = format!("a hard link of {shown}, which is not in the archive before it");
                        let hint = Some("make the archive anew with both in it");
                        return Err(Refusal { hint, ..refuse(&reason) });
                    }
                }
            }
        };
        if path.is_empty() && found != Found::Directory {
            return Err(refuse("only a directory can be the one that is unpacked into"));
        }
        if let Some((before, _)) = self.names.get(&path)
            && (*before == Found::Directory) != (found == Found::Directory)
        {
            return Err(refuse("it is in the archive twice, once as a directory and once not"));
        }
        if let Some(attribute) = attribute {
            match &mut self.attributes {
                Some((.., more)) => *more = more.saturating_add(1),
                none => *none = Some((name.clone(), attribute, 0)),
            }
        }
        self.names.insert(path.clone(), (found, number));
        let mtime = Some(Timestamp { seconds: mtime, nanoseconds: 0 });
        let attrs = Attrs { mode, uid, gid };
        self.tree.entries.push(HostEntry { path, kind, attrs, mtime, names: HostNames::One });
        Ok(())
    }

    fn finish(mut self, local: &Path) -> HostTree {
        for first in self.firsts {
            if let Some(entry) = self.tree.entries.get_mut(first) {
                entry.names = HostNames::Several;
            }
        }
        if let Some((name, attribute, more)) = self.attributes {
            let (name, attribute) = (String::from_utf8_lossy(&name), String::from_utf8_lossy(&attribute));
            let more = if more > 0 { format!(", nor are those of {more} more") } else { String::new() };
            let note = format!("{}: {attribute} of {name} is not put into the guest{more}", local.display());
            self.tree.notes.push(printable(&note));
        }
        self.tree
    }
}

/// A name as names between slashes, empty for the directory that is unpacked into; else why it is none, a clause. As for tar,
/// a slash in front is left out.
fn plain(name: &[u8]) -> Result<Vec<u8>, String> {
    if name.is_empty() {
        return Err("it has no name".to_owned());
    }
    if name.contains(&0) || name.len() >= PATH_MAX {
        return Err("its name is no possible path".to_owned());
    }
    let mut names = Vec::new();
    for name in name.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".") {
        if name == b".." {
            return Err("its name leads upwards ('..')".to_owned());
        }
        if name.len() > NAME_MAX {
            return Err(format!("a name of more than {NAME_MAX} bytes"));
        }
        names.push(name);
    }
    Ok(names.join(&b'/'))
}

fn refused(local: &Path, Refusal { member, reason, hint }: Refusal) -> Failure {
    let member = member.map(|name| format!("{}: ", printable(&String::from_utf8_lossy(&name)))).unwrap_or_default();
    let failure = failed(local, &format!("{member}{}", printable(&reason)));
    match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}

fn failed(local: &Path, reason: &str) -> Failure {
    Failure::usage(format!("{}: {reason}", local.display()))
}
