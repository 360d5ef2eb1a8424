//! What the thread that serves a volume to the kernel has to say of it.

use crate::block::BlockDevice;
use crate::error::{Error, Result};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

/// A volume that a thread of this process serves to the kernel.
pub(super) trait Served: Debug {
    /// Where the first error of the volume is to be found.
    fn trouble(&self) -> Trouble;

    /// Whether the kernel has let go of it.
    fn is_over(&self) -> bool;

    /// How the kernel has let go of it: an error where that was not in order, so that writes may be missing.
    fn farewell(&self) -> Result<()>;
}

/// The first error of a volume, of which the kernel is told only a number.
pub(super) type Trouble = Arc<Mutex<Option<Error>>>;

/// The first error of a volume, once.
pub(super) fn take(trouble: &Trouble) -> Option<Error> {
    trouble.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Keeps an error where it is the first.
pub(super) fn keep(trouble: &Trouble, error: Error) {
    tracing::debug!(%error, "the volume failed");
    trouble.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
}

/// A volume whose first error is kept.
#[derive(Debug)]
pub(super) struct Watched {
    volume: Arc<dyn BlockDevice>,
    trouble: Trouble,
}

impl Watched {
    pub(super) fn new(volume: Arc<dyn BlockDevice>, trouble: Trouble) -> Self {
        Self { volume, trouble }
    }

    /// The same error for who asked, and for who asks later what it was.
    fn noted<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|error| {
            let told = Error::new(error.kind(), error.layer(), error.to_string());
            keep(&self.trouble, error);
            told
        })
    }
}

impl BlockDevice for Watched {
    fn size(&self) -> u64 {
        self.volume.size()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        self.noted(self.volume.read_at(buf, offset))
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        self.noted(self.volume.write_at(buf, offset))
    }

    fn flush(&self) -> Result<()> {
        self.noted(self.volume.flush())
    }
}
