//! Held pages that are parts of host files: read where they are, once they are needed, instead of copied.
//!
//! What is read of a piece once is what it is: should the file change meanwhile, the next read fails. So what is committed
//! is what was verified.

use super::overlay::{PAGE, PAGE_BYTES};
use crate::block::FilePart;
use crate::error::{Error, ErrorKind, Layer, Result};
use crc32c::crc32c;
use std::collections::BTreeMap;
use std::ops::Range;

/// How much of a file is read at a time and has a checksum of its own, in bytes: whole pages.
const PIECE: usize = 1 << 20;

/// Parts of host files in whole pages, apart from each other.
#[derive(Debug, Default)]
pub(super) struct Lent {
    /// By the first page.
    runs: BTreeMap<u64, Run>,
    /// The piece that was read last: its run, its number there, and what it is.
    last: Option<(u64, usize, Vec<u8>)>,
}

#[derive(Debug)]
struct Run {
    part: FilePart,
    /// Of each piece, from its first read on.
    sums: Vec<Option<u32>>,
}

impl Run {
    fn pages(&self) -> u64 {
        self.part.len / PAGE_BYTES
    }

    /// Reads a piece, all of it.
    fn read(&mut self, number: usize, buf: &mut [u8]) -> Result<()> {
        self.part.read_at(buf, (number * PIECE) as u64)?;
        let sum = crc32c(buf);
        match self.sums.get_mut(number).map(|known| *known.get_or_insert(sum)) {
            Some(known) if known == sum => Ok(()),
            _ => Err(Error::new(ErrorKind::Io, Layer::Host, "the file has changed while it was uploaded")
                .with_host_path(&self.part.path)
                .with_hint("run this again once nobody writes to it")),
        }
    }
}

impl Lent {
    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The runs, as ranges of page numbers, ascending.
    pub(super) fn runs(&self) -> impl Iterator<Item = Range<u64>> {
        self.runs.iter().map(|(&first, run)| first..first + run.pages())
    }

    /// The first page of the run that `page` is in, and how many pages follow in it, `page` included.
    pub(super) fn locate(&self, page: u64) -> Option<(u64, u64)> {
        let (&first, run) = self.runs.range(..=page).next_back()?;
        let skipped = page - first;
        (skipped < run.pages()).then(|| (first, run.pages() - skipped))
    }

    /// The first page at or after `page` that starts a run.
    pub(super) fn next_from(&self, page: u64) -> Option<u64> {
        self.runs.range(page..).next().map(|(&first, _)| first)
    }

    /// Holds whole pages from `first` on, none of which is held yet.
    pub(super) fn take(&mut self, first: u64, part: FilePart) {
        let pieces = part.len.div_ceil(PIECE as u64) as usize;
        self.runs.insert(first, Run { part, sums: vec![None; pieces] });
    }

    /// Fills `buf` from byte `offset` of the run that starts at page `first`.
    pub(super) fn read_at(&mut self, mut buf: &mut [u8], first: u64, mut offset: u64) -> Result<()> {
        let Some(run) = self.runs.get_mut(&first) else {
            return Err(Error::new(ErrorKind::Invalid, Layer::Transaction, "no part of a file is held there"));
        };
        while !buf.is_empty() {
            let (number, within) = ((offset / PIECE as u64) as usize, (offset % PIECE as u64) as usize);
            let len = (run.part.len - (number * PIECE) as u64).min(PIECE as u64) as usize;
            let (now, later) = buf.split_at_mut((len - within).min(buf.len()));
            match &self.last {
                Some((run, piece, bytes)) if (*run, *piece) == (first, number) => {
                    now.copy_from_slice(&bytes[within..within + now.len()]);
                }
                _ if now.len() == len => run.read(number, now)?,
                _ => {
                    let (_, _, mut bytes) = self.last.take().unwrap_or_default();
                    bytes.resize(len, 0);
                    run.read(number, &mut bytes)?;
                    now.copy_from_slice(&bytes[within..within + now.len()]);
                    self.last = Some((first, number, bytes));
                }
            }
            offset += now.len() as u64;
            buf = later;
        }
        Ok(())
    }

    /// Shows the pages of the run that starts at page `first`, in order and some at a time, and holds it no longer.
    pub(super) fn give_back(&mut self, first: u64, mut take: impl FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
        let len = self.runs.get(&first).map_or(0, |run| run.part.len);
        let mut bytes = Vec::new();
        for at in (0..len).step_by(PIECE) {
            bytes.resize((len - at).min(PIECE as u64) as usize, 0);
            self.read_at(&mut bytes, first, at)?;
            take(first + at / PAGE_BYTES, &bytes)?;
        }
        self.runs.remove(&first);
        self.last = None;
        Ok(())
    }
}

const _: () = assert!(PIECE.is_multiple_of(PAGE));
