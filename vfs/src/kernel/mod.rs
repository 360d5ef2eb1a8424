//! Kernels that are borrowed for filesystems without a driver of our own: ways of handing them one volume.
//!
//! Whatever the way, a kernel sees the volume as the transaction shows it and never the disk, nothing reaches the image
//! before the commit, and all that the way has set up hangs on descriptors of processes that end with this one: when it is
//! killed, nothing stays attached.

mod access;
pub mod host;
mod log;
pub mod nbd;
mod sys;
pub mod uml;

pub use access::{Access, Borrowed, Choice, Opened};
pub(crate) use sys::loop_status;

use crate::block::BlockDevice;
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::fs::{GuestFs, Mode};
use crate::volume::Signature;
use std::fmt::Debug;
use std::sync::Arc;

/// A way of handing a volume to a kernel: FUSE and loop, NBD, User Mode Linux.
///
/// A way is a value with its settings in it (a path of a kernel, a deadline); it is used for one volume at a time and may be
/// used again, for reading the changes back say.
pub trait Attach: Debug + Send + Sync {
    /// The name by which `--attach` and reports call it: `fuse`, `nbd`, `loop`, `uml`.
    fn name(&self) -> &'static str;

    /// Why it cannot be used here; `Ok` where nothing is known to be missing. Cheap: it looks for devices and programs, and
    /// starts nothing. The error is one that [`missing`] makes.
    fn ready(&self, request: &Request) -> Result<()>;

    /// Has the kernel mount the volume, and gives the filesystem. What was set up is taken down when the filesystem is
    /// closed, and where it is dropped without that.
    ///
    /// [`GuestFs::close`] returns when everything is unmounted and each write has reached `request.volume`. Errors: those of
    /// [`missing`] where something is not there after all; `Corrupt` or `Unsupported`, with the kernel's reason, where it
    /// will not mount the volume; `Io` where the kernel hangs until the deadline.
    fn attach(&self, request: &Request) -> Result<Attached>;
}

/// What is to be mounted.
#[derive(Clone, Debug)]
pub struct Request {
    /// The bytes of the volume, as the transaction shows them. Calls come from other threads.
    pub volume: Arc<dyn BlockDevice>,
    /// What lies in it: `signature.name` is the filesystem's name as mount(8) takes it.
    pub signature: Signature,
    /// For reading, or for changing. For reading nothing is written to the volume, and a dirty journal is replayed in memory
    /// or not at all.
    pub mode: Mode,
}

/// A volume that a kernel has mounted.
#[derive(Debug)]
pub struct Attached {
    /// The filesystem. On btrfs its root is that of the guest (see [`guest_root`](crate::fs::mounted::guest_root)).
    pub fs: Box<dyn GuestFs>,
    /// Which kernel, for a report: `Linux 6.12.9`.
    pub kernel: String,
    /// The subvolume of btrfs that is the guest's root, where it is not the default one.
    pub subvolume: Option<String>,
}

/// What a way needs and is not there (a program, a device, a privilege), and what else would help: kind `Unsupported`.
pub fn missing(what: impl Into<String>, hint: impl Into<String>) -> Error {
    Error::new(ErrorKind::Unsupported, Layer::Kernel, what).with_hint(hint)
}
