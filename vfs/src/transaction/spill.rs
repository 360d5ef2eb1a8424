//! Held pages that no longer fit into memory.

use super::overlay::{PAGE, Page};
use crate::error::{Error, Layer, Result};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// The size of one write to the temporary file, in bytes.
const BATCH: usize = 1 << 20;
const PAGE_BYTES: u64 = PAGE as u64;

/// A temporary file without a name that holds pages, as runs of pages that are neighbours in the device and in the file.
#[derive(Debug)]
pub(super) struct Spill {
    beside: Option<PathBuf>,
    file: Option<File>,
    /// Pages in the file so far.
    used: u64,
    /// By the first page of each run: its pages, and where in the file it starts, counted in pages.
    runs: BTreeMap<u64, Run>,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    pages: u64,
    at: u64,
}

impl Spill {
    /// An empty one; the file is made, in `beside` if possible, when the first page comes.
    pub(super) fn new(beside: Option<PathBuf>) -> Self {
        Self { beside, file: None, used: 0, runs: BTreeMap::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The runs, as ranges of page numbers, ascending.
    pub(super) fn runs(&self) -> impl Iterator<Item = Range<u64>> {
        self.runs.iter().map(|(&first, run)| first..first + run.pages)
    }

    /// Where in the file `page` starts, in bytes, and how many pages follow there, it included.
    pub(super) fn locate(&self, page: u64) -> Option<(u64, u64)> {
        let (&first, run) = self.runs.range(..=page).next_back()?;
        let skipped = page - first;
        (skipped < run.pages).then(|| ((run.at + skipped) * PAGE_BYTES, run.pages - skipped))
    }

    /// The first page at or after `page` that starts a run.
    pub(super) fn next_from(&self, page: u64) -> Option<u64> {
        self.runs.range(page..).next().map(|(&first, _)| first)
    }

    /// Appends all of `pages`, none of which may be here yet. On an error nothing has been taken.
    pub(super) fn take(&mut self, pages: &BTreeMap<u64, Page>) -> Result<()> {
        let at = self.used * PAGE_BYTES;
        let file = self.opened()?;
        let mut batch = Vec::with_capacity(BATCH.min(pages.len() * PAGE));
        let mut at = at;
        for bytes in pages.values() {
            batch.extend_from_slice(&bytes[..]);
            if batch.len() >= BATCH {
                file.write_all_at(&batch, at).map_err(failed)?;
                at += batch.len() as u64;
                batch.clear();
            }
        }
        file.write_all_at(&batch, at).map_err(failed)?;
        for &page in pages.keys() {
            self.note(page, 1);
        }
        Ok(())
    }

    /// Appends whole pages that follow each other from `first` on, none of which may be here yet. On an error nothing has
    /// been taken.
    pub(super) fn take_run(&mut self, first: u64, bytes: &[u8]) -> Result<()> {
        let at = self.used * PAGE_BYTES;
        self.opened()?.write_all_at(bytes, at).map_err(failed)?;
        self.note(first, (bytes.len() / PAGE) as u64);
        Ok(())
    }

    /// Notes pages that were appended to the file.
    fn note(&mut self, page: u64, pages: u64) {
        let at = self.used;
        self.used += pages;
        match self.runs.range_mut(..page).next_back() {
            Some((first, run)) if first + run.pages == page && run.at + run.pages == at => run.pages += pages,
            _ => {
                self.runs.insert(page, Run { pages, at });
            }
        }
    }

    /// The file, made where there is none.
    fn opened(&mut self) -> Result<&File> {
        let file = match self.file.take() {
            Some(file) => file,
            None => self.create()?,
        };
        Ok(self.file.insert(file))
    }

    pub(super) fn read_at(&self, buf: &mut [u8], at: u64) -> Result<()> {
        self.file()?.read_exact_at(buf, at).map_err(failed)
    }

    pub(super) fn write_at(&self, buf: &[u8], at: u64) -> Result<()> {
        self.file()?.write_all_at(buf, at).map_err(failed)
    }

    fn file(&self) -> Result<&File> {
        self.file.as_ref().ok_or_else(|| failed(io::ErrorKind::NotFound.into()))
    }

    /// Beside the image there is room for an image; the directory for temporary files is often memory. Both ways the
    /// file has mode 0600 and no name.
    fn create(&self) -> Result<File> {
        match self.beside.as_deref().map(tempfile::tempfile_in) {
            Some(Ok(file)) => Ok(file),
            Some(Err(_)) | None => tempfile::tempfile().map_err(failed),
        }
    }
}

fn failed(source: io::Error) -> Error {
    let error = Error::io(Layer::Transaction, "hold the changes in a temporary file", source);
    error.with_hint("make room beside the image, or set TMPDIR to a directory on a disk with room")
}
