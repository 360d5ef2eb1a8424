//! One block of directory entries.

/// Whether entries hold the type of the file they name (the `filetype` feature).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileTypes {
    /// They do.
    Stored,
    /// They do not: the inode has to be asked.
    Absent,
}
