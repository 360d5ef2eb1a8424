//! The table: for each cluster the next one of its chain.

use super::layout::{FIRST_CLUSTER, Kind, Layout};
use crate::block::BlockDevice;
use crate::error::{Error, Layer, Result};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

/// How much of a table is held as one, in bytes: whole entries of each width, and whole sectors.
const WINDOW: u64 = 48 << 10;
/// How many of these are held at most: 3 MiB.
const WINDOWS_MAX: usize = 64;
/// What of a window is written where something in it has changed, in bytes.
const PIECE: usize = 512;

/// What the table says of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// The next one of its chain.
    Cluster(u32),
    /// It is the last one.
    End,
    /// It is in no chain.
    Free,
    /// It is not to be used.
    Bad,
    /// A cluster that is not there, or a number without a meaning.
    Outside,
}

/// A table, of which as much is held as is looked at, and what was changed until it is written to every copy.
#[derive(Debug)]
pub(crate) struct Table {
    kind: Kind,
    end: u32,
    len: u64,
    /// The one that is read.
    at: u64,
    /// The others that are kept the same.
    copies: Vec<u64>,
    windows: RefCell<BTreeMap<u64, Window>>,
    clock: Cell<u64>,
}

#[derive(Debug)]
struct Window {
    bytes: Vec<u8>,
    /// A bit for each piece that has changed: 96 of them.
    changed: u128,
    used: u64,
}

impl Table {
    /// The table of a filesystem, nothing of it read.
    pub(crate) fn new(layout: &Layout) -> Self {
        let at = layout.nth_table(layout.active.unwrap_or(0));
        let copies = match layout.active {
            Some(_) => Vec::new(),
            None => (1..layout.tables).map(|number| layout.nth_table(number)).collect(),
        };
        let (windows, clock) = Default::default();
        Self { kind: layout.kind, end: layout.end, len: layout.table_len, at, copies, windows, clock }
    }

    /// What it says of a cluster; a cluster that is not there is `Outside`.
    pub(crate) fn next(&self, device: &dyn BlockDevice, cluster: u32) -> Result<Next> {
        if cluster < FIRST_CLUSTER || cluster >= self.end {
            return Ok(Next::Outside);
        }
        Ok(self.meaning(self.value(device, cluster)?))
    }

    /// Looks at every cluster, from the first on. `look` may not look into the table.
    pub(crate) fn each(&self, device: &dyn BlockDevice, mut look: impl FnMut(u32, Next) -> Result<()>) -> Result<()> {
        let in_window = u32::try_from(self.kind.entries(WINDOW)).unwrap_or(u32::MAX);
        let mut cluster = FIRST_CLUSTER;
        while cluster < self.end {
            // A window holds whole entries.
            let before = cluster.checked_rem(in_window).unwrap_or_default();
            let end = cluster.saturating_sub(before).saturating_add(in_window).min(self.end);
            let start = self.window_of(cluster);
            self.with_window(device, start, |window| {
                (cluster..end).try_for_each(|cluster| {
                    let value = self.kind.get(&window.bytes, cluster, start).ok_or_else(ends_early)?;
                    look(cluster, self.meaning(value))
                })
            })??;
            cluster = end;
        }
        Ok(())
    }

    fn meaning(&self, value: u32) -> Next {
        // Eight numbers mean the end, and the one before them a bad cluster.
        let last = self.kind.limit();
        match value {
            0 => Next::Free,
            value if value >= last => Next::End,
            value if Some(value) == last.checked_sub(1) => Next::Bad,
            value if value >= FIRST_CLUSTER && value < self.end => Next::Cluster(value),
            _ => Next::Outside,
        }
    }

    /// The entry as it stands, also of the first two, which hold flags.
    pub(crate) fn value(&self, device: &dyn BlockDevice, cluster: u32) -> Result<u32> {
        let start = self.window_of(cluster);
        self.with_window(device, start, |window| self.kind.get(&window.bytes, cluster, start))
            .and_then(|value| value.ok_or_else(ends_early))
    }

    /// Changes an entry.
    pub(crate) fn set(&mut self, device: &dyn BlockDevice, cluster: u32, next: Next) -> Result<()> {
        let value = match next {
            Next::Cluster(next) => next,
            Next::End => u32::MAX,
            Next::Free => 0,
            Next::Bad | Next::Outside => return Err(Error::corrupt(Layer::Filesystem, "no chain leads there")),
        };
        let start = self.window_of(cluster);
        let kind = self.kind;
        let done = self.with_window(device, start, |window| {
            let range = kind.set(&mut window.bytes, cluster, start, value)?;
            for piece in [range.start / PIECE, range.end.saturating_sub(1) / PIECE] {
                window.changed |= 1_u128.checked_shl(u32::try_from(piece).ok()?)?;
            }
            Some(())
        })?;
        done.ok_or_else(ends_early)
    }

    fn window_of(&self, cluster: u32) -> u64 {
        let at = self.kind.offset(cluster);
        at.saturating_sub(at % WINDOW)
    }

    fn with_window<R>(&self, device: &dyn BlockDevice, start: u64, work: impl FnOnce(&mut Window) -> R) -> Result<R> {
        self.clock.set(self.clock.get().saturating_add(1));
        let mut windows = self.windows.borrow_mut();
        if let Some(window) = windows.get_mut(&start) {
            window.used = self.clock.get();
            return Ok(work(window));
        }
        if windows.len() >= WINDOWS_MAX
            && let Some(oldest) = windows.iter().min_by_key(|(_, window)| window.used).map(|(start, _)| *start)
            && let Some(mut window) = windows.remove(&oldest)
        {
            self.write(device, oldest, &mut window)?;
        }
        let len = usize::try_from(self.len.saturating_sub(start).min(WINDOW)).unwrap_or_default();
        let mut bytes = vec![0; len];
        device.read_at(&mut bytes, self.at.saturating_add(start))?;
        let mut window = Window { bytes, changed: 0, used: self.clock.get() };
        let result = work(&mut window);
        windows.insert(start, window);
        Ok(result)
    }

    /// Writes what has changed to every copy.
    pub(crate) fn flush(&mut self, device: &dyn BlockDevice) -> Result<()> {
        for (start, window) in self.windows.borrow_mut().iter_mut() {
            self.write(device, *start, window)?;
        }
        Ok(())
    }

    /// Writes the pieces of a window that have changed. `Corrupt` where the copies were not the same there.
    fn write(&self, device: &dyn BlockDevice, start: u64, window: &mut Window) -> Result<()> {
        for (number, piece) in window.bytes.chunks(PIECE).enumerate() {
            let bit = u32::try_from(number).ok().and_then(|number| 1_u128.checked_shl(number)).unwrap_or_default();
            if window.changed & bit == 0 {
                continue;
            }
            let place = u64::try_from(number.saturating_mul(PIECE)).unwrap_or(u64::MAX).saturating_add(start);
            let mut old = vec![0; piece.len()];
            device.read_at(&mut old, self.at.saturating_add(place))?;
            let mut other = old.clone();
            for copy in &self.copies {
                let at = copy.saturating_add(place);
                device.read_at(&mut other, at)?;
                if other != old {
                    return Err(Error::corrupt(Layer::Filesystem, "the copies of the table of clusters differ")
                        .with_offset(at)
                        .with_hint(super::CHECK));
                }
                device.write_at(piece, at)?;
            }
            device.write_at(piece, self.at.saturating_add(place))?;
        }
        window.changed = 0;
        Ok(())
    }
}

fn ends_early() -> Error {
    Error::corrupt(Layer::Filesystem, "the table of clusters ends early")
}
