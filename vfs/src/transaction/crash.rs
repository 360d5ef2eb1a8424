//! A host for tests that records a commit, fails where it is told to, and builds what a crash could leave of it.

use super::host::{Growth, Host, Place, Sidecar, Stamp, Time};
use super::identity::Identity;
use crate::error::Result;
use crc32c::crc32c;
use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const SECTOR: usize = 512;

/// An image, and the journal beside it if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Disk {
    pub(crate) image: Vec<u8>,
    pub(crate) journal: Option<Vec<u8>>,
    /// Stands for the time of the image's last write.
    pub(crate) modified: i64,
}

impl Disk {
    pub(crate) fn new(image: Vec<u8>) -> Self {
        Self { image, journal: None, modified: 0 }
    }
}

/// A call that changes the disk or makes changes durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Write {
        offset: u64,
        bytes: Vec<u8>,
    },
    SetSize(u64),
    /// The room is given back, and reads as zeros.
    Punch {
        offset: u64,
        len: u64,
    },
    Sync,
    /// What was written is on the disk or not, and no later sync tries it again.
    SyncFailed,
    Create,
    Append {
        offset: u64,
        bytes: Vec<u8>,
    },
    SyncJournal,
    /// The journal is empty, durably.
    Clear,
    Remove,
    SyncDir,
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Nothing of it happened.
    Undone,
    /// Half of the sectors were written; of what is no write, nothing happened.
    Half,
    /// It happened, and is reported as failed.
    Done,
}

/// A host in memory; a clone is the same host.
#[derive(Clone, Debug)]
pub(crate) struct CrashHost {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    before: Disk,
    now: Disk,
    log: Vec<Op>,
    /// When each call of the log was, by a clock that several hosts may share.
    times: Vec<usize>,
    now_is: Arc<AtomicUsize>,
    calls: usize,
    fault: Option<Fault>,
    failed: bool,
    clock: Clock,
}

/// Whether the host keeps the time of the last write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clock {
    Kept,
    /// As of a block device.
    Missing,
}

/// Which calls fail, and how.
#[derive(Clone, Copy, Debug)]
struct Fault {
    at: usize,
    lasts: Lasts,
    failure: Failure,
    kind: io::ErrorKind,
}

/// How long a fault lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lasts {
    /// For one call.
    Once,
    /// From then on every call fails that changes something or makes it durable.
    ForChanges,
    /// From then on every call fails.
    Forever,
}

impl CrashHost {
    pub(crate) fn new(disk: Disk) -> Self {
        Self::with_clock(disk, Clock::Kept)
    }

    pub(crate) fn with_clock(disk: Disk, clock: Clock) -> Self {
        let (before, log) = (disk.clone(), Vec::new());
        let (times, now_is) = (Vec::new(), Arc::default());
        let inner = Inner { before, now: disk, log, times, now_is, calls: 0, fault: None, failed: false, clock };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    /// Another host, whose calls are ordered with this one's ([`times`](Self::times)).
    pub(crate) fn second(&self, disk: Disk) -> Self {
        let other = Self::new(disk);
        other.inner().now_is = Arc::clone(&self.inner().now_is);
        other
    }

    /// The moment of each call of the log: moments are numbered from 0.
    pub(crate) fn times(&self) -> Vec<usize> {
        self.inner().times.clone()
    }

    /// Lets the call number `call` from now on, counted from 0, fail.
    pub(crate) fn fail_at(&self, call: usize, lasts: Lasts, failure: Failure, kind: io::ErrorKind) {
        let mut inner = self.inner();
        let at = inner.calls + call;
        inner.fault = Some(Fault { at, lasts, failure, kind });
    }

    /// Whether the call that was to fail has come.
    pub(crate) fn has_failed(&self) -> bool {
        self.inner().failed
    }

    /// The disk as processes see it now.
    pub(crate) fn disk(&self) -> Disk {
        self.inner().now.clone()
    }

    /// The disk at the start, and what was done since.
    pub(crate) fn log(&self) -> (Disk, Vec<Op>) {
        let inner = self.inner();
        (inner.before.clone(), inner.log.clone())
    }

    /// Does what another host has done.
    pub(crate) fn replay(&self, op: Op) {
        self.inner().happen(op);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn act(&self, op: Op) -> io::Result<()> {
        self.inner().act(op)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Read,
    Change,
}

impl Inner {
    /// Counts a call, and says how it fails if it does.
    fn call(&mut self, call: Call) -> Option<(Failure, io::Error)> {
        let number = self.calls;
        self.calls += 1;
        let Fault { at, lasts, failure, kind } = self.fault?;
        let fails = match lasts {
            Lasts::Once => number == at,
            Lasts::ForChanges => number >= at && call == Call::Change,
            Lasts::Forever => number >= at,
        };
        fails.then(|| {
            self.failed = true;
            (failure, kind.into())
        })
    }

    fn act(&mut self, op: Op) -> io::Result<()> {
        let Some((failure, error)) = self.call(Call::Change) else {
            self.happen(op);
            return Ok(());
        };
        let half = |bytes: &[u8]| bytes[..bytes.len() / SECTOR / 2 * SECTOR].to_vec();
        let happened = match (failure, op) {
            // A sync that failed may have lost what it was for, so it counts for nothing.
            (_, Op::Sync) => Some(Op::SyncFailed),
            (_, Op::SyncJournal | Op::SyncDir) | (Failure::Undone, _) => None,
            (Failure::Half, Op::Write { offset, bytes }) => Some(Op::Write { offset, bytes: half(&bytes) }),
            (Failure::Half, Op::Append { offset, bytes }) => Some(Op::Append { offset, bytes: half(&bytes) }),
            (Failure::Half, _) => None,
            (Failure::Done, op) => Some(op),
        };
        if let Some(op) = happened {
            self.happen(op);
        }
        Err(error)
    }

    fn happen(&mut self, op: Op) {
        op.apply(&mut self.now);
        self.log.push(op);
        self.times.push(self.now_is.fetch_add(1, Ordering::Relaxed));
    }

    fn read(&mut self, from: impl FnOnce(&Disk) -> Option<&[u8]>, buf: &mut [u8], offset: u64) -> io::Result<()> {
        if let Some((_, error)) = self.call(Call::Read) {
            return Err(error);
        }
        let start = offset as usize;
        let bytes = from(&self.now).and_then(|bytes| bytes.get(start..start + buf.len()));
        buf.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

fn put(file: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let start = offset as usize;
    if file.len() == start {
        file.extend_from_slice(bytes);
        return;
    }
    if file.len() < start + bytes.len() {
        file.resize(start + bytes.len(), 0);
    }
    file[start..start + bytes.len()].copy_from_slice(bytes);
}

impl Op {
    pub(super) fn apply(&self, disk: &mut Disk) {
        match self {
            Self::Write { offset, bytes } => {
                put(&mut disk.image, *offset, bytes);
                disk.modified += 1;
            }
            Self::SetSize(size) => {
                disk.image.resize(*size as usize, 0);
                disk.modified += 1;
            }
            Self::Punch { offset, len } => {
                let end = (*offset + *len).min(disk.image.len() as u64);
                if let Some(bytes) = disk.image.get_mut(*offset as usize..end as usize) {
                    bytes.fill(0);
                }
                disk.modified += 1;
            }
            Self::Create => disk.journal = Some(Vec::new()),
            Self::Clear => {
                if let Some(journal) = &mut disk.journal {
                    journal.clear();
                }
            }
            Self::Append { offset, bytes } => {
                if let Some(journal) = &mut disk.journal {
                    put(journal, *offset, bytes);
                }
            }
            Self::Remove => disk.journal = None,
            Self::Sync | Self::SyncFailed | Self::SyncJournal | Self::SyncDir => {}
        }
    }

    /// The parts of a write that reach the disk whole or not at all.
    pub(super) fn sectors(&self) -> Vec<Op> {
        let pieces = |offset: u64, bytes: &[u8]| {
            let mut pieces = Vec::new();
            let (mut at, mut rest) = (offset, bytes);
            while !rest.is_empty() {
                let (piece, later) = rest.split_at(rest.len().min(SECTOR - at as usize % SECTOR));
                pieces.push((at, piece.to_vec()));
                at += piece.len() as u64;
                rest = later;
            }
            pieces
        };
        match self {
            Self::Write { offset, bytes } => {
                pieces(*offset, bytes).into_iter().map(|(offset, bytes)| Self::Write { offset, bytes }).collect()
            }
            Self::Append { offset, bytes } => {
                pieces(*offset, bytes).into_iter().map(|(offset, bytes)| Self::Append { offset, bytes }).collect()
            }
            Self::Punch { offset, len } => (*offset..*offset + *len)
                .step_by(SECTOR)
                .map(|at| Self::Punch { offset: at, len: (SECTOR as u64).min(*offset + *len - at) })
                .collect(),
            other => vec![other.clone()],
        }
    }
}

impl Host for CrashHost {
    fn path(&self) -> &Path {
        Path::new("disk.img")
    }
    fn size(&self) -> io::Result<u64> {
        Ok(self.inner().now.image.len() as u64)
    }
    fn growth(&self) -> Growth {
        Growth::Possible
    }
    fn stamp(&self) -> io::Result<Stamp> {
        let inner = self.inner();
        let time = Time { seconds: inner.now.modified, nanos: 1 };
        let identity = Identity { inode: 1, thing: 0, born: 0, start: 0 };
        Ok(Stamp { identity, time: (inner.clock == Clock::Kept).then_some(time) })
    }
    fn still_named(&self) -> Result<()> {
        Ok(())
    }
    fn file(&self) -> Option<&std::fs::File> {
        None
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.inner().read(|disk| Some(&disk.image), buf, offset)
    }
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.act(Op::Write { offset, bytes: buf.to_vec() })
    }
    fn reserve(&self, _offset: u64, _len: u64) -> io::Result<()> {
        match self.inner().call(Call::Change) {
            Some((_, error)) => Err(error),
            None => Ok(()),
        }
    }
    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        self.act(Op::Punch { offset, len })
    }
    fn set_size(&self, size: u64) -> io::Result<()> {
        self.act(Op::SetSize(size))
    }
    fn sync(&self) -> io::Result<()> {
        self.act(Op::Sync)
    }
    fn set_modified(&self, time: Time) -> io::Result<()> {
        self.inner().now.modified = time.seconds;
        Ok(())
    }
    fn journal(&self) -> &dyn Sidecar {
        self
    }
}

impl Sidecar for CrashHost {
    fn path(&self) -> &Path {
        Path::new(".disk.img.imgraft-journal")
    }
    fn place(&self) -> Place<'_> {
        Place::Beside
    }
    fn open(&self) -> Result<Option<u64>> {
        Ok(self.inner().now.journal.as_ref().map(|journal| journal.len() as u64))
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.inner().read(|disk| disk.journal.as_deref(), buf, offset)
    }
    fn create(&self) -> io::Result<()> {
        if self.inner().now.journal.is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.act(Op::Create)
    }
    fn append(&self, buf: &[u8]) -> io::Result<()> {
        let mut inner = self.inner();
        let offset = inner.now.journal.as_ref().map_or(0, |journal| journal.len() as u64);
        inner.act(Op::Append { offset, bytes: buf.to_vec() })
    }
    fn seal(&self, buf: &[u8]) -> io::Result<()> {
        self.act(Op::Append { offset: 0, bytes: buf.to_vec() })
    }
    fn sync(&self) -> io::Result<()> {
        self.act(Op::SyncJournal)
    }
    fn clear(&self) -> io::Result<()> {
        self.act(Op::Clear)
    }
    fn remove(&self) -> io::Result<()> {
        self.act(Op::Remove)
    }
    fn sync_dir(&self) -> io::Result<()> {
        self.act(Op::SyncDir)
    }
}

/// A small generator of numbers that are the same in every run.
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        // Marsaglia's xorshift64; the state is never 0.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    fn coin(&mut self) -> bool {
        self.next() & (1 << 20) != 0
    }
}

/// Gives `check` every state that a crash could leave, each once, and returns how many there were.
///
/// A crash may come after every call. What was written since the file's last sync is there or not there, sector by
/// sector, in any combination: all combinations where they are few, else `sample` of them beside the regular ones (each
/// prefix, each one alone, each one missing). Names are there as of any moment since the directory's last sync.
pub(crate) fn states(before: &Disk, log: &[Op], sample: usize, check: impl FnMut(Disk)) -> usize {
    states_from(0, before, log, sample, check)
}

/// The same for crashes after the last call of the log alone.
pub(crate) fn states_at_end(before: &Disk, log: &[Op], sample: usize, check: impl FnMut(Disk)) -> usize {
    states_from(log.len(), before, log, sample, check)
}

fn states_from(first: usize, before: &Disk, log: &[Op], sample: usize, mut check: impl FnMut(Disk)) -> usize {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut seen = HashSet::new();
    let mut emit = |disk: Disk| {
        // Two checksums, not a hash of the standard library: those take most of the time of a build without optimisation.
        let journal = disk.journal.as_deref().map(|journal| (journal.len(), crc32c(journal)));
        if seen.insert((disk.image.len(), crc32c(&disk.image), journal, disk.modified)) {
            check(disk);
        }
    };
    for end in first..=log.len() {
        let crash = Crash::after(before, &log[..end]);
        crash.combinations(sample, &mut random, &mut emit);
    }
    seen.len()
}

/// What is durable at one moment, and what is in flight.
struct Crash {
    durable: Disk,
    /// The journal file's durable bytes, whether or not it has a name.
    journal: Vec<u8>,
    /// What was written since, and whether it is on the disk for certain.
    sectors: Vec<(Op, Fate)>,
    /// Whether the journal has its name, as of each moment since the directory was durable.
    names: Vec<bool>,
}

/// What has become of a sector that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is in flight.
    Pending,
    /// A sync failed over it: it is there or it is not, for ever.
    Lost,
    /// A later sync has made it durable, over others that are lost.
    Durable,
}

impl Crash {
    fn after(before: &Disk, log: &[Op]) -> Self {
        let mut durable = Disk { journal: None, ..before.clone() };
        let mut journal = before.journal.clone().unwrap_or_default();
        let mut names = vec![before.journal.is_some()];
        let (mut of_image, mut of_journal) = (Vec::new(), Vec::new());
        for op in log {
            match op {
                Op::Write { .. } | Op::SetSize(_) | Op::Punch { .. } => {
                    of_image.extend(op.sectors().into_iter().map(|op| (op, Fate::Pending)));
                }
                Op::Append { .. } => of_journal.extend(op.sectors()),
                Op::Sync if of_image.iter().any(|(_, fate)| *fate == Fate::Lost) => {
                    Self::settle(&mut of_image, Fate::Durable)
                }
                Op::Sync => of_image.drain(..).for_each(|(op, _): (Op, Fate)| op.apply(&mut durable)),
                Op::SyncFailed => Self::settle(&mut of_image, Fate::Lost),
                Op::SyncJournal => Self::write_journal(&mut journal, &of_journal.split_off(0)),
                Op::Clear => {
                    journal.clear();
                    of_journal.clear();
                }
                Op::Create => {
                    journal.clear();
                    names.push(true);
                }
                Op::Remove => names.push(false),
                Op::SyncDir => {
                    names.drain(..names.len() - 1);
                }
            }
        }
        of_image.extend(of_journal.into_iter().map(|op| (op, Fate::Pending)));
        Self { durable, journal, sectors: of_image, names }
    }

    /// What becomes of the sectors in flight.
    fn settle(sectors: &mut [(Op, Fate)], fate: Fate) {
        for (_, now) in sectors.iter_mut().filter(|(_, now)| *now == Fate::Pending) {
            *now = fate;
        }
    }

    fn write_journal(journal: &mut Vec<u8>, ops: &[Op]) {
        for op in ops {
            if let Op::Append { offset, bytes } = op {
                put(journal, *offset, bytes);
            }
        }
    }

    fn combinations(&self, sample: usize, random: &mut Random, emit: &mut impl FnMut(Disk)) {
        let n = self.sectors.iter().filter(|(_, fate)| *fate != Fate::Durable).count();
        let mut each = |random: &mut Random, chosen: &dyn Fn(usize) -> bool| {
            for &named in &self.names {
                emit(self.disk(named, chosen, random));
            }
        };
        if n <= 9 {
            for bits in 0..1_usize << n {
                each(random, &|i| bits & (1 << i) != 0);
            }
            return;
        }
        let step = n.div_ceil(48);
        for i in (0..=n).step_by(step) {
            each(random, &|j| j < i);
            each(random, &|j| j >= i);
            each(random, &|j| j == i);
            each(random, &|j| j != i);
        }
        each(random, &|_| true);
        for _ in 0..sample {
            // Few missing, few there, or half and half.
            let weight = 1 + random.below(15);
            let picks: Vec<bool> = (0..n).map(|_| random.below(16) < weight).collect();
            each(random, &|i| picks[i]);
        }
    }

    fn disk(&self, named: bool, chosen: &dyn Fn(usize) -> bool, random: &mut Random) -> Disk {
        let mut disk = self.durable.clone();
        let mut journal = self.journal.clone();
        let mut uncertain = 0;
        for (op, fate) in &self.sectors {
            if *fate != Fate::Durable {
                uncertain += 1;
                if !chosen(uncertain - 1) {
                    continue;
                }
            }
            match op {
                Op::Append { offset, bytes } => put(&mut journal, *offset, bytes),
                op => op.apply(&mut disk),
            }
        }
        if random.coin() {
            // The length has arrived and the bytes have not.
            for (op, _) in &self.sectors {
                match op {
                    Op::Write { offset, bytes } => {
                        let end = *offset as usize + bytes.len();
                        let len = disk.image.len().max(end);
                        disk.image.resize(len, 0);
                    }
                    Op::Append { offset, bytes } => {
                        let len = journal.len().max(*offset as usize + bytes.len());
                        journal.resize(len, 0);
                    }
                    _ => {}
                }
            }
        }
        // The time of the last write may be older or newer than the bytes.
        disk.modified = if self.sectors.is_empty() || random.coin() { disk.modified } else { self.durable.modified };
        disk.journal = named.then_some(journal);
        disk
    }
}
