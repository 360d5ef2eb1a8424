//! Edits made one after the other, each over what those before it have left; the driver has to end.

use crate::edit::Edit;
use imgraft_vfs::Result;
use imgraft_vfs::block::BlockDevice;
use imgraft_vfs::error::{Error, ErrorKind, Layer};
use imgraft_vfs::fs::ext4::Ext4;
use imgraft_vfs::fs::{GuestFs, Mode, Timestamp};
use imgraft_vfs::transaction::Overlay;
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub const NOW: Timestamp = Timestamp { seconds: 1_700_000_000, nanoseconds: 0 };
/// How often a device may be asked in one trial: hundreds of times more than a sound image takes.
const REQUESTS: u64 = 400_000;
/// After this time an image counts as one that the driver never comes back from; they take milliseconds.
const PATIENCE: Duration = Duration::from_secs(180);

/// What came of the edits of an image.
#[derive(Debug)]
pub struct Outcome {
    /// The image after those that were made.
    pub device: Arc<dyn BlockDevice>,
    /// Which were made.
    pub made: Vec<usize>,
    /// How many were refused.
    pub refused: usize,
    /// Whether the driver asked the device more often than anything can need.
    pub exhausted: bool,
}

/// A device that can be asked so often and no more.
#[derive(Debug)]
struct Metered {
    inner: Overlay,
    left: Arc<AtomicU64>,
}

impl Metered {
    fn count(&self) -> Result<()> {
        let left = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        left.map(drop).map_err(|_| Error::new(ErrorKind::Io, Layer::Host, "asked too often"))
    }
}

impl BlockDevice for Metered {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        self.count()?;
        self.inner.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        self.count()?;
        self.inner.write_at(buf, offset)
    }

    fn flush(&self) -> Result<()> {
        self.inner.flush()
    }
}

/// Makes edits; of one that fails nothing stays.
pub fn run(image: Arc<dyn BlockDevice>, edits: impl Iterator<Item = Edit>) -> Outcome {
    let left = Arc::new(AtomicU64::new(REQUESTS));
    let mut outcome = Outcome { device: image, made: Vec::new(), refused: 0, exhausted: false };
    for (step, edit) in edits.enumerate() {
        let inner = Overlay::new(Arc::clone(&outcome.device));
        let over: Arc<dyn BlockDevice> = Arc::new(Metered { inner, left: Arc::clone(&left) });
        match transact(&over, edit) {
            Ok(()) => {
                outcome.device = over;
                outcome.made.push(step);
            }
            Err(_) => outcome.refused += 1,
        }
    }
    outcome.exhausted = left.load(Ordering::Relaxed) == 0;
    left.store(u64::MAX, Ordering::Relaxed);
    outcome
}

fn transact(device: &Arc<dyn BlockDevice>, edit: Edit) -> Result<()> {
    let mut fs: Box<dyn GuestFs> = Box::new(Ext4::open(Arc::clone(device), Mode::ReadWrite { now: NOW })?);
    edit(&mut *fs)?;
    fs.close()
}

/// All bytes of a device.
pub fn bytes(device: &dyn BlockDevice) -> Vec<u8> {
    let mut bytes = vec![0; device.size() as usize];
    device.read_at(&mut bytes, 0).unwrap();
    bytes
}

/// The one image to keep to, where there is one.
pub fn only() -> Option<String> {
    std::env::var("IMGRAFT_SWEEP_ONLY").ok()
}

/// Whether an image is to be looked at.
pub fn wanted(label: &str) -> bool {
    only().is_none_or(|only| label.starts_with(&only))
}

/// Leaves an image in the working directory, as it was before the edits and after them, where it is the one to keep to.
pub fn keep(before: &[u8], after: &[u8]) {
    if only().is_some() {
        std::fs::write("sweep-before.img", before).unwrap();
        std::fs::write("sweep-after.img", after).unwrap();
    }
}

/// A directory for images that are written again and again.
pub fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Who does what since when: a driver that never comes back is named.
#[derive(Debug, Default)]
pub struct Watch(Mutex<BTreeMap<usize, (Instant, String)>>);

impl Watch {
    /// Notes what a worker begins.
    pub fn begin(&self, worker: usize, label: &str) {
        self.0.lock().unwrap().insert(worker, (Instant::now(), label.to_owned()));
    }

    /// Waits until all is done; ends the process where that will never be.
    pub fn guard(&self, done: impl Fn() -> bool) {
        while !done() {
            std::thread::sleep(Duration::from_millis(50));
            for (since, label) in self.0.lock().unwrap().values() {
                if since.elapsed() > PATIENCE && !done() {
                    let _ = writeln!(std::io::stderr(), "FINDING {label}\nit does not end");
                    std::process::abort();
                }
            }
        }
    }
}
