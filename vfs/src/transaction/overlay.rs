//! Writes held over a block device that they do not reach.

use super::lent::Lent;
use super::spill::Spill;
use crate::block::{BlockDevice, FilePart, Ranges, check_range};
use crate::error::{Error, ErrorKind, Layer, Result};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The unit in which writes are held, in bytes: most guest filesystems' block.
pub(super) const PAGE: usize = 4096;
pub(super) const PAGE_BYTES: u64 = PAGE as u64;
const ZEROS: [u8; PAGE] = [0; PAGE];

/// Held bytes that stay in memory; more go to a temporary file.
const MEMORY_LIMIT: usize = 8 << 20;

/// The shortest write, in bytes, that goes to the temporary file at once: that of a large file, which does not stay in
/// memory anyway.
const RUN_MIN: usize = 512 << 10;

pub(super) type Page = Box<[u8; PAGE]>;

/// A block device whose writes are held, and which can grow.
///
/// Reads see the writes; the base below is never written. Held bytes live in memory up to 8 MiB and then in an unlinked
/// temporary file that only this user can read, so that the size of what is written costs no memory. A large part of a host
/// file is not copied at all.
pub struct Overlay {
    base: Arc<dyn BlockDevice>,
    held: Mutex<Held>,
}

/// The writes held: every page is in memory, or in the temporary file, or in a host file, or (not held) in the base.
struct Held {
    size: u64,
    memory: BTreeMap<u64, Page>,
    spill: Spill,
    lent: Lent,
    /// What nothing reaches in the base.
    unused: Ranges,
}

/// Where a page is, and for how many pages from there on the answer is the same.
enum Place {
    Memory,
    Spilled {
        at: u64,
        pages: u64,
    },
    /// In a part of a host file, which starts at the page `first`.
    Lent {
        first: u64,
        pages: u64,
    },
    Base {
        pages: u64,
    },
}

impl Overlay {
    /// An overlay on `base` that holds nothing yet, and that spills into the directory for temporary files.
    pub fn new(base: Arc<dyn BlockDevice>) -> Self {
        Self::spilling_to(base, None)
    }

    /// An overlay on `base` that spills into the directory `beside` where that is writable, else into the one for
    /// temporary files.
    pub(super) fn spilling_to(base: Arc<dyn BlockDevice>, beside: Option<PathBuf>) -> Self {
        let held = Held {
            size: base.size(),
            memory: BTreeMap::new(),
            spill: Spill::new(beside),
            lent: Lent::default(),
            unused: Ranges::default(),
        };
        Self { base, held: Mutex::new(held) }
    }

    /// Lengthens the device to `size` bytes; the new bytes are zero until written. Never shortens.
    pub fn grow(&self, size: u64) -> Result<()> {
        let mut held = self.lock();
        held.size = held.size.max(size);
        Ok(())
    }

    /// The size of the base in bytes: what the old image can reach lies before it.
    pub fn base_size(&self) -> u64 {
        self.base.size()
    }

    /// The byte ranges that are held, ascending, apart from each other, in whole pages or up to the device's end.
    pub(super) fn held(&self) -> Vec<Range<u64>> {
        let held = self.lock();
        let mut runs: Vec<Range<u64>> = held.spill.runs().chain(held.lent.runs()).collect();
        for &page in held.memory.keys() {
            match runs.last_mut() {
                // Pages in memory ascend, so a run of them grows at its end.
                Some(last) if last.end == page => last.end += 1,
                _ => runs.push(page..page + 1),
            }
        }
        runs.sort_unstable_by_key(|run| run.start);
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for run in runs {
            let range = run.start * PAGE_BYTES..(run.end * PAGE_BYTES).min(held.size);
            match ranges.last_mut() {
                Some(last) if last.end == range.start => last.end = range.end,
                _ => ranges.push(range),
            }
        }
        ranges
    }

    /// What nothing reaches in the base of a range of it, as was noted: whole pages, ascending.
    pub(super) fn unused(&self, range: &Range<u64>) -> Vec<Range<u64>> {
        let base = range.start..range.end.min(self.base.size());
        let whole = |part: Range<u64>| part.start.next_multiple_of(PAGE_BYTES)..part.end / PAGE_BYTES * PAGE_BYTES;
        self.lock().unused.within(&base).into_iter().map(whole).filter(|part| !part.is_empty()).collect()
    }

    /// Fills `buf` from the base alone; bytes past its end are zero.
    pub(crate) fn read_base(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        let below = self.base.size().saturating_sub(offset);
        let below = usize::try_from(below).map_or(buf.len(), |below| below.min(buf.len()));
        let (old, past) = buf.split_at_mut(below);
        past.fill(0);
        if old.is_empty() { Ok(()) } else { self.base.read_at(old, offset) }
    }

    /// How many of `len` bytes to write at `at` go to the temporary file at once, because they are many whole pages over
    /// the base, of `pages` that are not held.
    fn run(&self, len: usize, pages: u64, at: u64) -> Option<usize> {
        let len = span(len, pages, 0) / PAGE * PAGE;
        let inside = at.checked_add(len as u64).is_some_and(|end| end <= self.base.size());
        (at.is_multiple_of(PAGE_BYTES) && inside && len >= RUN_MIN).then_some(len)
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn is_empty(&self) -> bool {
        self.memory.is_empty() && self.spill.is_empty() && self.lent.is_empty()
    }

    fn locate(&self, page: u64) -> Place {
        if self.memory.contains_key(&page) {
            return Place::Memory;
        }
        if let Some((at, pages)) = self.spill.locate(page) {
            return Place::Spilled { at, pages };
        }
        if let Some((first, pages)) = self.lent.locate(page) {
            return Place::Lent { first, pages };
        }
        let in_memory = self.memory.range(page..).next().map(|(&next, _)| next);
        let next = in_memory.into_iter().chain(self.spill.next_from(page)).chain(self.lent.next_from(page)).min();
        Place::Base { pages: next.map_or(u64::MAX / PAGE_BYTES, |next| next - page) }
    }

    /// Copies the part of a host file that starts at the page `first` into the temporary file.
    fn copy_lent(&mut self, first: u64) -> Result<()> {
        let Self { lent, spill, .. } = self;
        lent.give_back(first, |page, bytes| spill.take_run(page, bytes))
    }

    /// Holds a page that is not held yet.
    fn insert(&mut self, page: u64, bytes: Page) -> Result<()> {
        self.memory.insert(page, bytes);
        if self.memory.len() * PAGE >= MEMORY_LIMIT {
            self.spill.take(&self.memory)?;
            self.memory.clear();
        }
        Ok(())
    }
}

/// How many of `len` bytes lie in `pages` pages, the first of which is entered `within` bytes in.
fn span(len: usize, pages: u64, within: usize) -> usize {
    let bytes = pages.saturating_mul(PAGE_BYTES).saturating_sub(within as u64);
    usize::try_from(bytes).map_or(len, |bytes| bytes.min(len))
}

impl BlockDevice for Overlay {
    fn size(&self) -> u64 {
        self.lock().size
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        let mut held = self.lock();
        check_range(Layer::Transaction, held.size, offset, buf.len())?;
        if held.is_empty() {
            drop(held);
            return self.read_base(buf, offset);
        }
        let (mut rest, mut at) = (buf, offset);
        while !rest.is_empty() {
            let (page, within) = (at / PAGE_BYTES, (at % PAGE_BYTES) as usize);
            let place = held.locate(page);
            let pages = match place {
                Place::Memory => 1,
                Place::Spilled { pages, .. } | Place::Lent { pages, .. } | Place::Base { pages } => pages,
            };
            let (now, later) = rest.split_at_mut(span(rest.len(), pages, within));
            match place {
                Place::Memory => {
                    if let Some(bytes) = held.memory.get(&page) {
                        now.copy_from_slice(&bytes[within..within + now.len()]);
                    }
                }
                Place::Spilled { at, .. } => held.spill.read_at(now, at + within as u64)?,
                Place::Lent { first, .. } => held.lent.read_at(now, first, at - first * PAGE_BYTES)?,
                Place::Base { .. } => self.read_base(now, at)?,
            }
            at += now.len() as u64;
            rest = later;
        }
        Ok(())
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        let mut held = self.lock();
        check_range(Layer::Transaction, held.size, offset, buf.len())?;
        let (mut rest, mut at) = (buf, offset);
        while !rest.is_empty() {
            let (page, within) = (at / PAGE_BYTES, (at % PAGE_BYTES) as usize);
            let place = match held.locate(page) {
                // What is written over is copied first.
                Place::Lent { first, .. } => held.copy_lent(first).map(|()| held.locate(page))?,
                place => place,
            };
            let run = match place {
                Place::Base { pages } => self.run(rest.len(), pages, at),
                Place::Memory | Place::Spilled { .. } | Place::Lent { .. } => None,
            };
            if let Some(len) = run {
                let (now, later) = rest.split_at(len);
                held.spill.take_run(page, now)?;
                at += now.len() as u64;
                rest = later;
                continue;
            }
            let pages = match place {
                Place::Spilled { pages, .. } => pages,
                Place::Memory | Place::Lent { .. } | Place::Base { .. } => 1,
            };
            let (now, later) = rest.split_at(span(rest.len(), pages, within));
            match place {
                Place::Memory => {
                    if let Some(bytes) = held.memory.get_mut(&page) {
                        bytes[within..within + now.len()].copy_from_slice(now);
                    }
                }
                Place::Spilled { at, .. } => held.spill.write_at(now, at + within as u64)?,
                // A copy has just taken its place.
                Place::Lent { .. } => {
                    return Err(Error::new(ErrorKind::Invalid, Layer::Transaction, "a page is held twice"));
                }
                // Past the base there are zeros until something else is held: a copied cluster need not be held whole.
                Place::Base { .. } if page * PAGE_BYTES >= self.base.size() && now == &ZEROS[..now.len()] => {}
                Place::Base { .. } => {
                    let mut bytes: Page = Box::new([0; PAGE]);
                    if now.len() < PAGE {
                        self.read_base(&mut bytes[..], page * PAGE_BYTES)?;
                    }
                    bytes[within..within + now.len()].copy_from_slice(now);
                    held.insert(page, bytes)?;
                }
            }
            at += now.len() as u64;
            rest = later;
        }
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }

    fn is_as_found(&self) -> bool {
        self.lock().is_empty()
    }

    fn note_unused(&self, offset: u64, len: u64) {
        let mut held = self.lock();
        if let Some(end) = offset.checked_add(len).filter(|end| *end <= held.size) {
            held.unused.add(offset..end);
        }
    }

    fn lend(&self, part: &FilePart, offset: u64) -> Result<u64> {
        let mut held = self.lock();
        let Place::Base { pages } = held.locate(offset / PAGE_BYTES) else { return Ok(0) };
        let len = usize::try_from(part.len).unwrap_or(usize::MAX);
        let Some(len) = self.run(len, pages, offset) else { return Ok(0) };
        let len = len as u64;
        held.lent.take(offset / PAGE_BYTES, FilePart { len, ..part.clone() });
        Ok(len)
    }
}

impl fmt::Debug for Overlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = self.lock();
        f.debug_struct("Overlay")
            .field("base", &self.base)
            .field("size", &held.size)
            .field("pages_in_memory", &held.memory.len())
            .field("spill", &held.spill)
            .finish()
    }
}
