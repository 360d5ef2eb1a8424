//! The volume: its layout, its chains, and the way from a path to an entry.

use super::claims::LIMITS;
use super::counters::Counters;
use super::directory::{Directory, File};
use super::held::Held;
use super::layout::{BOOT, Kind, Layout, Root};
use super::name::folded;
use super::survey::{Survey, count_free};
use super::table::{Next, Table};
use super::{CHECK, corrupt, failure, unsupported};
use crate::block::BlockDevice;
use crate::error::{ErrorKind, Result};
use crate::fs::{Features, Mode, Timestamp};
use crate::path::Resolved;
use std::cell::{Cell, RefCell};
use std::sync::Arc;

/// The number under which the root directory goes, as it does in `..`; any other goes under its first cluster.
pub(super) const ROOT: u32 = 0;
/// The bit of the boot sector's flags that says that it was not unmounted cleanly.
const DIRTY: u8 = 0x01;

/// An open volume.
#[derive(Debug)]
pub(super) struct Volume {
    pub(super) device: Arc<dyn BlockDevice>,
    pub(super) layout: Layout,
    pub(super) table: Table,
    pub(super) counters: Counters,
    mode: Mode,
    pub(super) held: RefCell<Held>,
    /// Where the content was read last.
    pub(super) cursor: Cell<Option<Cursor>>,
    changed: bool,
}

/// A place in a chain that was found to have an end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor {
    /// The chain's first cluster, and how many it has.
    pub(super) first: u32,
    pub(super) count: u32,
    /// A cluster in it, and how many come before that.
    pub(super) cluster: u32,
    pub(super) index: u32,
}

/// What is at a path.
#[derive(Clone, Debug)]
pub(super) enum Spot {
    Root,
    File(Seat),
}

/// An entry and where it is.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    /// The directory that it is in.
    pub(super) directory: u32,
    pub(super) inode: u64,
    pub(super) file: File,
}

impl Spot {
    /// The seat of a regular file.
    pub(super) fn regular(&self) -> Result<&Seat> {
        match self {
            Self::File(seat) if !seat.file.entry.is_directory() => Ok(seat),
            _ => Err(failure(ErrorKind::WrongType, "not a regular file")),
        }
    }
}

impl Volume {
    /// Opens the volume, as [`Fat::open`](super::Fat::open).
    pub(super) fn open(device: Arc<dyn BlockDevice>, mode: Mode) -> Result<Self> {
        let mut boot = [0; BOOT];
        if device.size() < u64::try_from(BOOT).unwrap_or(u64::MAX) {
            return Err(corrupt("the volume is too small for a boot sector"));
        }
        device.read_at(&mut boot, 0)?;
        let layout = Layout::parse(&boot).map_err(corrupt)?;
        if layout.size > device.size() {
            return Err(corrupt(format!("the filesystem has {} bytes, and the volume {}", layout.size, device.size())));
        }
        let table = Table::new(&layout);
        let counters = Counters::read(&*device, &layout)?;
        let (held, cursor) = Default::default();
        let mut volume = Self { device, layout, table, counters, mode, held, cursor, changed: false };
        if mode != Mode::ReadOnly {
            volume.check_clean()?;
            let mut survey = Survey::new(&*volume.device, &volume.layout, &volume.table)?;
            volume.claim(&mut survey, LIMITS)?;
            // What is stored may be old.
            volume.counters.free = Some(survey.free);
        }
        Ok(volume)
    }

    /// Fails where it was in use when its machine stopped: FAT has no journal, and what a half-done change has left in the table
    /// looks like the clusters of files.
    fn check_clean(&self) -> Result<()> {
        // The upper bits of the second entry are set while nobody has it mounted; of FAT12 there are none.
        let clean = match self.layout.kind {
            Kind::Fat12 => 0,
            Kind::Fat16 => 0xc000,
            Kind::Fat32 => 0x0c00_0000,
        };
        if self.layout.state & DIRTY != 0 || self.table.value(&*self.device, 1)? & clean != clean {
            return Err(
                unsupported("it was not unmounted cleanly, or had errors (its dirty bit is set)").with_hint(CHECK)
            );
        }
        Ok(())
    }

    /// The time of changes; `Denied` where it is open for reading only.
    pub(super) fn writable(&self) -> Result<Timestamp> {
        match self.mode {
            Mode::ReadWrite { now } => Ok(now),
            Mode::ReadOnly => Err(failure(ErrorKind::Denied, "the filesystem is open for reading only")),
        }
    }

    /// What is at a path; `None` where nothing is.
    pub(super) fn walk(&self, at: &Resolved) -> Result<Option<Spot>> {
        let mut spot = Spot::Root;
        let mut above = Vec::new();
        for name in at.components() {
            let id = match &spot {
                Spot::File(seat) if !seat.file.entry.is_directory() => {
                    return Err(failure(ErrorKind::WrongType, "a component of the path is not a directory"));
                }
                spot => self.id(spot)?,
            };
            if above.contains(&id) {
                return Err(corrupt("a directory lies in itself"));
            }
            above.push(id);
            let Ok(name) = std::str::from_utf8(name) else { return Ok(None) };
            let seat = self.directory(id, |directory| {
                let file = directory.find(&folded(name))?.clone();
                Some(Seat { directory: id, inode: directory.inode(file.slot), file })
            })?;
            match seat {
                Some(seat) => spot = Spot::File(seat),
                None => return Ok(None),
            }
        }
        Ok(Some(spot))
    }

    /// The number of a directory; `WrongType` where it is none.
    pub(super) fn id(&self, spot: &Spot) -> Result<u32> {
        let Spot::File(seat) = spot else { return Ok(ROOT) };
        if !seat.file.entry.is_directory() {
            return Err(failure(ErrorKind::WrongType, "not a directory"));
        }
        let id = seat.file.entry.cluster(self.layout.kind);
        if !self.layout.holds(id) || self.layout.root == Root::Chain(id) {
            return Err(corrupt("a directory begins where none can be"));
        }
        Ok(id)
    }

    /// Looks into a directory.
    pub(super) fn directory<R>(&self, id: u32, look: impl FnOnce(&Directory) -> R) -> Result<R> {
        if let Some(directory) = self.held.borrow_mut().get(id) {
            return Ok(look(directory));
        }
        let directory = self.load(id)?;
        let found = look(&directory);
        self.held.borrow_mut().put(id, directory);
        Ok(found)
    }

    /// Takes a directory to change it; it is to be given back to [`held`](Self::held).
    pub(super) fn take(&mut self, id: u32) -> Result<Directory> {
        let directory = match self.held.get_mut().remove(id) {
            Some(directory) => directory,
            None => self.load(id)?,
        };
        directory.check()?;
        Ok(directory)
    }

    /// Says of a directory that is there that it was changed.
    pub(super) fn touch(&mut self, at: &Resolved, time: Timestamp) -> Result<()> {
        let Some(Spot::File(mut seat)) = self.walk(at)? else { return Ok(()) };
        seat.file.entry.set_changed(time);
        self.update(seat)
    }

    /// Writes a changed entry.
    pub(super) fn update(&mut self, seat: Seat) -> Result<()> {
        let mut directory = self.take(seat.directory)?;
        directory.set(&*self.device, seat.file)?;
        self.note_change();
        self.held.get_mut().put(seat.directory, directory);
        Ok(())
    }

    /// The cluster after one in a chain; `None` for the last.
    pub(super) fn after(&self, cluster: u32) -> Result<Option<u32>> {
        match self.table.next(&*self.device, cluster)? {
            Next::Cluster(next) => Ok(Some(next)),
            Next::End => Ok(None),
            Next::Free | Next::Bad => Err(corrupt("a chain of clusters leads to one that is free or bad")),
            Next::Outside => Err(corrupt("a chain of clusters leads out of the filesystem")),
        }
    }

    /// How many clusters a chain has. One that runs in a circle is noticed before it has been round three times (by Brent's
    /// algorithm).
    pub(super) fn count(&self, first: u32) -> Result<u32> {
        let (mut cluster, mut count) = (first, 1_u32);
        let (mut mark, mut steps, mut limit) = (first, 0_u32, 1_u32);
        while let Some(next) = self.after(cluster)? {
            if next == mark || count > self.layout.clusters() {
                return Err(corrupt("a chain of clusters runs in a circle"));
            }
            steps = steps.saturating_add(1);
            if steps == limit {
                (mark, steps, limit) = (next, 0, limit.saturating_mul(2));
            }
            (cluster, count) = (next, count.saturating_add(1));
        }
        Ok(count)
    }

    /// Changes what the table says of a cluster.
    pub(super) fn link(&mut self, cluster: u32, next: Next) -> Result<()> {
        self.note_change();
        self.table.set(&*self.device, cluster, next)
    }

    /// Frees a chain.
    pub(super) fn free(&mut self, first: u32) -> Result<()> {
        if first == 0 {
            return Ok(());
        }
        self.count(first)?;
        let mut next = Some(first);
        while let Some(cluster) = next {
            next = self.after(cluster)?;
            self.link(cluster, Next::Free)?;
            self.counters.give(1);
        }
        Ok(())
    }

    /// Notes that something is written: what is remembered of chains may be old.
    pub(super) fn note_change(&mut self) {
        self.changed = true;
        self.cursor.set(None);
    }

    /// What the filesystem is.
    pub(super) fn features(&self) -> Features {
        let layout = &self.layout;
        // An error shows where the table is used.
        let free = self.counters.free.or_else(|| count_free(&*self.device, layout, &self.table).ok().flatten());
        let bytes = |clusters: u32| u64::from(clusters).saturating_mul(layout.cluster_size);
        let in_root = self.directory(ROOT, |root| root.label.clone()).ok().flatten();
        let label = in_root.unwrap_or_else(|| layout.label.clone());
        let serial = layout.serial.map(|serial| format!("{:04X}-{:04X}", serial >> 16, serial & 0xffff));
        Features {
            name: "vfat",
            label: if label == "NO NAME" { String::new() } else { label },
            uuid: serial.unwrap_or_default(),
            block_size: u32::try_from(layout.cluster_size).unwrap_or(u32::MAX),
            total_bytes: bytes(layout.clusters()),
            free_bytes: bytes(free.unwrap_or(0)),
            free_inodes: u64::MAX,
            feature_names: vec![layout.kind.name().to_owned()],
            recovered: None,
        }
    }

    /// Writes everything that is held.
    pub(super) fn close(mut self) -> Result<()> {
        if self.changed {
            self.table.flush(&*self.device)?;
            self.counters.write(&*self.device)?;
        }
        self.device.flush()
    }
}
