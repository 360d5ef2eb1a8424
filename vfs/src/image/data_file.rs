//! The external data file of a qcow2 image: read, or edited together with the image.
//!
//! Its clusters have one place, the guest's own offset (QEMU's docs/interop/qcow2.rst, "External data file"), so that no
//! new version can be made beside the old one: what changes goes through a journal of the data file. A cluster that the
//! image does not map yet is mapped before that, over the bytes that the guest reads there already; so each of the two
//! files goes from one whole state to another, and what the guest reads changes with the data file's commit alone.

use crate::block::BlockDevice;
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::transaction::{CommitPlan, IoCounts, Overlay, Recovery, Transaction};
use std::sync::Arc;

/// A data file as the image over it uses it.
#[derive(Clone, Debug)]
pub(super) struct DataFile {
    /// Its bytes, as long as the file is.
    pub(super) bytes: Arc<Overlay>,
    /// What the file has to hold before the image leads there: what the guest reads in clusters that were not mapped.
    /// None where the file is only read.
    pub(super) seed: Option<Arc<Overlay>>,
}

impl DataFile {
    /// One that is only read.
    pub(super) fn read_only(bytes: Arc<Overlay>) -> Self {
        Self { bytes, seed: None }
    }

    /// Whether the file has these bytes, at byte `offset`, as it is.
    pub(super) fn holds(&self, bytes: &[u8], offset: u64) -> Result<bool> {
        let mut there = vec![0; bytes.len()];
        self.bytes.read_base(&mut there, offset)?;
        Ok(there == bytes)
    }

    /// Notes that the file has to have these bytes, at byte `offset`, before the image maps them.
    pub(super) fn prepare(&self, bytes: &[u8], offset: u64) -> Result<()> {
        let Some(seed) = &self.seed else { return Ok(()) };
        let mut there = vec![0; bytes.len()];
        seed.read_at(&mut there, offset)?;
        if there == bytes { Ok(()) } else { seed.write_at(bytes, offset) }
    }
}

/// A data file that is locked as its image is, and whose changes are held until [`commit`](Self::commit).
#[derive(Debug)]
pub(crate) struct HeldDataFile {
    txn: Transaction,
    seed: Arc<Overlay>,
}

impl HeldDataFile {
    /// The file of this transaction, with nothing changed yet.
    pub(crate) fn new(txn: Transaction) -> Self {
        let seed = txn.second_overlay();
        Self { txn, seed }
    }

    /// The file for the image over it.
    pub(super) fn file(&self) -> DataFile {
        DataFile { bytes: self.txn.overlay(), seed: Some(Arc::clone(&self.seed)) }
    }

    /// What an interrupted run had left beside the file.
    pub(super) fn recovered(&self) -> Recovery {
        self.txn.recovered()
    }

    /// What the edit has cost so far on the file.
    pub(super) fn counts(&self) -> IoCounts {
        self.txn.counts()
    }

    /// Commits the edit of both files, of which `image` is held as `plan` says.
    ///
    /// Three steps, each durable before the next begins: the data file gets what the guest reads in the clusters that
    /// are to be mapped, which nothing refers to yet; the image maps them; the data file's journal makes the guest's
    /// disk the new one. On an error the guest's disk is the old one, or the error is of the kind `Unfinished`. That the
    /// journal has a place is seen to before the first of them.
    pub(crate) fn commit(self, image: Transaction, plan: CommitPlan) -> Result<IoCounts> {
        // The image stays locked until the last step is done.
        let lock = image.overlay();
        image.check_unchanged()?;
        self.txn.reserve_journal()?;
        let filled = self.txn.fill(&self.seed);
        let mapped = filled.and_then(|()| image.commit(plan).map_err(|error| so_far(error, AFTER_THE_FILL)));
        let counts = mapped.inspect_err(|_| self.txn.give_up_journal())?;
        let last = self.txn.commit(CommitPlan::Journal).map_err(|error| so_far(error, AFTER_THE_SWITCH))?;
        let counts = counts + last;
        drop(lock);
        Ok(counts)
    }
}

/// What there is of the commit when its second step fails.
const AFTER_THE_FILL: &str =
    "the guest's disk is as it was; the data file may have got bytes where the image uses nothing of it";
/// And when its last one does.
const AFTER_THE_SWITCH: &str =
    "the guest's disk is as it was; the image may have got tables that map what the guest reads there already";

/// What an error of a later step means, where it does not say so itself.
fn so_far(error: Error, message: &str) -> Error {
    if error.kind() == ErrorKind::Unfinished {
        return error;
    }
    let meaning = Error::new(error.kind(), Layer::Image, message);
    match error.hint().map(str::to_owned) {
        Some(hint) => meaning.with_hint(hint).with_source(error),
        None => meaning.with_source(error),
    }
}
