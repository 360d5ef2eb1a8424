//! A loop device on an open file, which goes when nobody has it open any more.

use crate::error::{Error, ErrorKind, Layer, Result};
use crate::kernel::{missing, sys};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// Where free loop devices are asked for.
pub(super) const CONTROL: &str = "/dev/loop-control";

/// How often another one is tried, where somebody else was quicker.
const TRIES: u32 = 64;

/// The part of a file that is to be a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Extent {
    /// The first byte.
    pub(super) start: u64,
    /// The number of bytes; 0 for all to the end.
    pub(super) size: u64,
}

/// An attached loop device. It is detached when it is dropped and not mounted, whatever ends the process.
#[derive(Debug)]
pub(super) struct LoopDevice {
    _device: File,
    path: PathBuf,
}

impl LoopDevice {
    /// Attaches a part of a file to a device that is free. Its sectors have 512 bytes, which every filesystem can be read by;
    /// nobody looks for partitions in it.
    pub(super) fn attach(file: impl AsFd, extent: Extent, access: sys::LoopAccess) -> Result<Self> {
        let control = File::options().read(true).write(true).open(CONTROL).map_err(|error| {
            missing(format!("there are no loop devices here ({CONTROL}: {error})"), super::OTHER_WAYS)
        })?;
        for _ in 0..TRIES {
            let number = sys::free_loop(&control)
                .map_err(|errno| missing(format!("no loop device is free ({errno})"), super::OTHER_WAYS))?;
            let path = PathBuf::from(format!("/dev/loop{number}"));
            let device = File::options().read(true).write(true).open(&path).map_err(|error| {
                missing(format!("cannot open the free loop device {} ({error})", path.display()), super::OTHER_WAYS)
            })?;
            match sys::configure_loop(&device, &file, extent.start, extent.size, access) {
                Ok(()) => return Ok(Self { _device: device, path }),
                // Somebody else has taken it meanwhile.
                Err(Errno::BUSY) => {}
                Err(errno) => {
                    return Err(Error::io(Layer::Kernel, "set a loop device up", errno.into()).with_host_path(path));
                }
            }
        }
        Err(Error::new(ErrorKind::Io, Layer::Kernel, "other programs took every free loop device"))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}
