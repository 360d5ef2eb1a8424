//! Everything or nothing: writes to the host file are held until one commit.
//!
//! [`Transaction::begin`] opens and locks the file, and finishes or discards what an interrupted run left. The layers
//! above read and write the [`Overlay`]. [`Transaction::commit`] makes what it holds the image, in one of the two orders
//! of [`CommitPlan`], so that a crash at any instant leaves the old image or the new one.

mod attached;
mod base;
mod changes;
mod commit;
#[cfg(test)]
pub(crate) mod crash;
#[cfg(test)]
mod crash_data_file;
#[cfg(test)]
mod crash_ext4;
#[cfg(test)]
mod crash_fresh;
#[cfg(test)]
mod crash_kinds;
#[cfg(test)]
mod crash_tests;
mod damaged;
mod device;
mod draft;
mod file;
mod fresh;
mod host;
mod identity;
mod journal;
mod lent;
mod lock;
mod loop_file;
#[cfg(test)]
mod loop_tests;
mod overlay;
#[cfg(test)]
mod overlay_tests;
mod places;
mod record;
mod recover;
#[cfg(test)]
mod recover_tests;
mod sealed;
mod sidecar;
mod spill;
mod stray;
mod undo;
#[cfg(test)]
mod undo_tests;
#[cfg(test)]
mod whose_tests;

pub use file::FileHost;
pub use fresh::{Existing, NewFile, Progress};
pub use host::{Growth, Host, Place, Sidecar, Stamp, Time};
pub use identity::Identity;
pub use overlay::Overlay;
pub use recover::Recovery;
pub(crate) use sidecar::is_journal;
pub use sidecar::{FileSidecar, StateDir};
pub use undo::{Kept, Proof, UndoFile, Undone};

use crate::block::BlockDevice;
use crate::error::{Error, ErrorKind, Layer, Result};
use base::Base;
use commit::{Room, Unused};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a transaction may do to the image, and so which locks it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read only: others may read too; a process that may write is `InUse`, and so is what the host has mounted.
    Read,
    /// Read and commit: nobody else may use the image.
    Write,
}

/// How the writes that a transaction holds become the image, as the image's format knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitPlan {
    /// Everything held lies at or past the old end of the file, but for the 512-byte sector at `sector`, whose one write
    /// switches from the old image to the new one. The transaction checks the claim before it writes.
    Switch {
        /// The byte offset of the sector, a multiple of 512.
        sector: u64,
        /// What only the old image used, as ranges of bytes below the old end: their room is given back after the switch.
        freed: Vec<Range<u64>>,
    },
    /// The writes held replace live bytes: they go through a journal beside the image.
    Journal,
}

/// What a run cost on the host file, and on its journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IoCounts {
    /// Calls that read.
    pub reads: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Calls that wrote.
    pub writes: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// Calls that made writes durable (fsync of file or directory).
    pub fsyncs: u64,
}

impl std::ops::Add for IoCounts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            reads: self.reads + other.reads,
            bytes_read: self.bytes_read + other.bytes_read,
            writes: self.writes + other.writes,
            bytes_written: self.bytes_written + other.bytes_written,
            fsyncs: self.fsyncs + other.fsyncs,
        }
    }
}

/// An image, opened and locked, whose changes are held until [`commit`](Self::commit).
///
/// The lock lasts as long as the transaction and every [`Overlay`] taken from it.
#[derive(Debug)]
pub struct Transaction {
    base: Arc<Base>,
    overlay: Arc<Overlay>,
    access: Access,
    recovered: Recovery,
}

impl Transaction {
    /// Opens and locks the image, and (for `Write`) finishes or discards what an interrupted run left.
    ///
    /// `NotFound`, `WrongType`, `Unsupported` (a device), `Denied` (no permission, or a journal that does not fit the
    /// image), `Corrupt` (empty), `InUse` (locked by somebody, or for `Read` an interrupted commit to finish first).
    pub fn begin(image: &Path, access: Access) -> Result<Self> {
        Self::begin_with(image, access, &StateDir::default())
    }

    /// The same, for an image whose journal lies where `state` says; a block device is taken too.
    pub fn begin_with(image: &Path, access: Access, state: &StateDir) -> Result<Self> {
        let host = FileHost::open(image, access, state)?;
        let directory = host.directory().map(Path::to_path_buf);
        Self::start(Box::new(host), access, directory)
    }

    /// Begins on a host that is not (only) a file; locks are its business.
    pub fn over(host: Box<dyn Host>, access: Access) -> Result<Self> {
        Self::start(host, access, None)
    }

    /// Begins on a file that has been opened and locked with this access.
    pub(crate) fn over_file(host: FileHost, access: Access) -> Result<Self> {
        let directory = host.directory().map(Path::to_path_buf);
        Self::start(Box::new(host), access, directory)
    }

    fn start(host: Box<dyn Host>, access: Access, spill: Option<PathBuf>) -> Result<Self> {
        let base = Arc::new(Base::new(host)?);
        let recovered = match access {
            Access::Write => recover::recover(&base)?,
            Access::Read => {
                recover::refuse_pending(&base)?;
                Recovery::Nothing
            }
        };
        base.note_seen()?;
        let overlay = Arc::new(Overlay::spilling_to(Arc::clone(&base) as _, spill));
        Ok(Self { base, overlay, access, recovered })
    }

    /// What an interrupted run had left when this one began.
    pub fn recovered(&self) -> Recovery {
        self.recovered
    }

    /// The host file's bytes with the writes held laid over them; the image formats stand on it.
    pub fn overlay(&self) -> Arc<Overlay> {
        Arc::clone(&self.overlay)
    }

    /// Another overlay on the image, for what [`fill`](Self::fill) is to write.
    pub(crate) fn second_overlay(&self) -> Arc<Overlay> {
        Arc::new(Overlay::new(Arc::clone(&self.base) as _))
    }

    /// Writes what `seed`, a [`second_overlay`](Self::second_overlay) that has not grown, holds and the image does not
    /// have, where nothing refers to it yet, and makes it durable; the transaction goes on.
    pub(crate) fn fill(&self, seed: &Overlay) -> Result<()> {
        self.writable()?;
        self.base.check_seen()?;
        commit::fill(&self.base, seed)?;
        self.base.note_seen()
    }

    /// Fails with `InUse` where somebody who asks for no locks has replaced the image or written to it since this
    /// transaction began.
    pub fn check_unchanged(&self) -> Result<()> {
        self.base.check_seen()
    }

    /// What the run has cost so far.
    pub fn counts(&self) -> IoCounts {
        self.base.counts()
    }

    /// Makes a new file the image with the writes held, and leaves the image as it is. The file has still to be published.
    ///
    /// `InUse` where somebody has written to the image or replaced it.
    pub fn copy_to(&self, new: &NewFile, progress: Progress<'_>) -> Result<IoCounts> {
        self.base.check_seen()?;
        let written = match self.base.file() {
            Some(file) => new.fill(file, &self.overlay, progress)?,
            None => new.fill_with(&self.overlay)?,
        };
        self.base.check_seen()?;
        Ok(self.base.counts() + written)
    }

    /// Makes the writes held durable as `plan` says; where they change nothing, nothing is written.
    ///
    /// `InUse`, and nothing is written, where somebody has replaced the image or written to it since it was opened.
    /// On an error the image is the old one, and the message says so: where the disk failed in the middle, the commit has
    /// been taken back. Where that failed too the kind is `Unfinished`, and the message says what the image is and what to
    /// do: the switch may be done, or a journal is there to be finished.
    pub fn commit(self, plan: CommitPlan) -> Result<IoCounts> {
        self.writable()?;
        self.apply(&plan, Unused::First)?;
        Ok(self.base.counts())
    }

    /// Makes the journal's file, with nothing in it, so that it is known before anything is written that its place takes
    /// one; [`commit`](Self::commit) fills it. None where nothing is held.
    pub(crate) fn reserve_journal(&self) -> Result<()> {
        self.writable()?;
        self.base.check_seen()?;
        if self.overlay.held().is_empty() { Ok(()) } else { journal::reserve(&self.base) }
    }

    /// Removes the journal's file again.
    pub(crate) fn give_up_journal(&self) {
        journal::give_up(&self.base);
    }

    /// The same, after `undo` has been made a file by which the commit can be taken back ([`undo`](Self::undo)).
    ///
    /// The file is durable, with its name and mode 0600, before the image is written to; where the commit fails and the
    /// image is the old one, it is removed. Where nothing is to be written, there is none. Of a qcow2 image the room that
    /// the commit frees is not given back to the host. On a host without times (a block device) all of it is read.
    pub fn commit_undoable(self, plan: CommitPlan, undo: NewFile) -> Result<(IoCounts, Kept)> {
        self.writable()?;
        self.check_before_writing()?;
        let Some(pending) = undo::write(&self.base, &self.overlay, &plan, undo)? else {
            return Ok((self.base.counts(), Kept::Nothing));
        };
        let plan = match plan {
            // An undo has the old image's clusters still where they are.
            CommitPlan::Switch { sector, .. } => CommitPlan::Switch { sector, freed: Vec::new() },
            CommitPlan::Journal => CommitPlan::Journal,
        };
        // It has the old bytes of all that is written, and knows no third state of the image.
        match self.apply(&plan, Unused::Alike) {
            Ok(()) => {
                let (kept, counts) = pending.seal(&self.base);
                Ok((self.base.counts() + counts, kept))
            }
            Err(error) if error.kind() == ErrorKind::Unfinished => {
                pending.leave();
                Err(error)
            }
            Err(error) => {
                pending.remove();
                Err(error)
            }
        }
    }

    /// Takes a commit back by its undo file: the image is as it was before it.
    ///
    /// `Denied`, and nothing is written, where the image is not the one of the file or has been written to since;
    /// `Corrupt` where the file contradicts itself; else the errors of [`commit`](Self::commit), with the image as it is
    /// in the place of the old one.
    pub fn undo(self, file: &UndoFile, proof: Proof) -> Result<(IoCounts, Undone)> {
        self.writable()?;
        self.base.check_seen()?;
        let undone = file.apply(&self.base, &self.overlay, proof)?;
        Ok((self.base.counts(), undone))
    }

    fn writable(&self) -> Result<()> {
        match self.access {
            Access::Write => Ok(()),
            Access::Read => {
                let message = "a transaction that was begun for reading cannot commit";
                Err(Error::new(ErrorKind::Invalid, Layer::Transaction, message))
            }
        }
    }

    /// Fails with `InUse` where there is something to write and somebody has changed the image.
    fn check_before_writing(&self) -> Result<()> {
        // A kernel that writes into the image itself leaves nothing to be written here.
        let changes = !self.overlay.held().is_empty() || self.overlay.size() != self.overlay.base_size();
        if changes { self.base.check_seen() } else { Ok(()) }
    }

    fn apply(&self, plan: &CommitPlan, unused: Unused) -> Result<()> {
        self.check_before_writing()?;
        match plan {
            CommitPlan::Switch { sector, freed } => {
                commit::switch(&self.base, &self.overlay, *sector, freed, Room::ToReserve)
            }
            CommitPlan::Journal => commit::journal(&self.base, &self.overlay, Room::ToReserve, unused),
        }
    }
}

/// Finishes or discards what an interrupted run left of a commit to this image.
///
/// The errors are those of [`Transaction::begin_with`] for writing.
pub fn recover(image: &Path, state: &StateDir) -> Result<Recovery> {
    Ok(Transaction::begin_with(image, Access::Write, state)?.recovered())
}
