//! How often XFS writes again what its disk has not taken: for ever, as long as nobody tells it otherwise.
//!
//! A mount under way whose disk is gone, because whoever served it was killed, would be a process that no signal ends; and
//! until it ends no sync(2) of the host returns. So XFS is told to give up at the first error, as soon as it can be told,
//! which is in the middle of the mount.
//!
//! Source: the kernel's Documentation/admin-guide/xfs.rst, "Error Handling".

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The errors that have a number of retries of their own, and the others.
const ERRORS: [&str; 4] = ["EIO", "ENOSPC", "ENODEV", "default"];
/// How often it is looked whether the filesystem can be told.
const GLANCE: Duration = Duration::from_millis(1);

/// Has `mount` mount the XFS on a block device, without retries.
pub(super) fn without<R>(device: &Path, mount: impl FnOnce() -> R) -> R {
    let place = Path::new("/sys/fs/xfs").join(device.file_name().unwrap_or_default()).join("error/metadata");
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let tell = || {
            while !over.load(Ordering::Relaxed) && !give_up(&place) {
                std::thread::sleep(GLANCE);
            }
        };
        scope.spawn(tell);
        let over = Over(&over);
        let mounted = mount();
        // It may have been quicker than the thread.
        give_up(&place);
        drop(over);
        mounted
    })
}

/// Whether the filesystem is there and was told.
fn give_up(place: &Path) -> bool {
    ERRORS.iter().all(|error| std::fs::write(place.join(error).join("max_retries"), "0").is_ok())
}

/// Ends the thread, whatever becomes of the mount.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
