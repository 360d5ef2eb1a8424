//! Files that are removed with what is in them, as far as that can be done offline.

use super::FileError;
use crate::inject::{InjectError, Outcome};
use imgraft_vfs::fs::FileType;
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;

/// What stays of a file that is removed, and what can be done.
///
/// Nothing is overwritten: a commit to a raw image keeps the old bytes in its journal meanwhile, one to a qcow2 image writes elsewhere,
/// and neither reaches what snapshots and copies have. That is promised to nobody, as scrub(1) does, of which libguestfs's
/// `scrub_file` is made.
const STAYS: &str = "the file is deleted, and what was in it is not overwritten: it stays in free blocks of the image, and in its \
                     snapshots, backing files and copies. zerofree clears the free blocks of an ext4 volume, fstrim in the guest \
                     has those of a thin image given back; a secret is safe when another one is in use";

/// Removes a regular file, and says what stays of it.
pub(super) fn scrubbed(path: &GuestPath, stage: &mut Stage<'_>, outcome: &mut Outcome) -> Result<(), InjectError> {
    let Some(found) = stage.symlink_metadata(path)? else { return Err(FileError::missing(path, stage)) };
    if found.file_type != FileType::Regular {
        let is_link = found.file_type == FileType::Symlink;
        let leads_to = if is_link { Some(GuestPath::from(&stage.resolve(path)?)) } else { None };
        return Err(InjectError::File(FileError::NotScrubbed { path: path.clone(), leads_to }));
    }
    // What this run brings has never been in the image.
    if !stage.is_only_staged(path)? {
        outcome.notes.push(format!("--scrub {path}: {STAYS}"));
    }
    stage.remove(path)?;
    if let names @ 1.. = found.links.saturating_sub(1) {
        let (names, stay) =
            if names == 1 { ("one other name".to_owned(), "stays") } else { (format!("{names} other names"), "stay") };
        outcome
            .notes
            .push(format!("--scrub {path}: {names} of the file {stay} (hard links), and what is in it with them"));
    }
    Ok(())
}
