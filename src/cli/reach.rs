//! What is typed of how a filesystem is reached.

use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// How the filesystem is reached.
#[derive(Debug, Args)]
pub struct Reach {
    /// Who reads and writes the filesystem
    #[arg(long, value_enum, value_name = "WHO", default_value = "auto")]
    pub access: Access,

    /// How a kernel is given the volume; anything but auto also means --access kernel
    #[arg(long, value_enum, value_name = "HOW", default_value = "auto")]
    pub attach: Attach,

    /// The kernel for --attach uml, where it is not the one of Debian's package user-mode-linux
    #[arg(long, value_name = "PATH")]
    pub uml_kernel: Option<PathBuf>,
}

/// Who reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Access {
    /// imgraft itself where it has a driver (ext2, ext3, ext4, FAT), else a kernel (XFS, btrfs)
    Auto,
    /// imgraft itself
    Userspace,
    /// A kernel that is borrowed
    Kernel,
}

/// How a kernel is given the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Attach {
    /// The first of these that can be used
    Auto,
    /// This host's kernel, as root: by FUSE and a loop device, through the transaction
    Fuse,
    /// This host's kernel, as root: as a network block device, through the transaction (module nbd)
    Nbd,
    /// This host's kernel, as root, straight on a raw image (--in-place-unsafe)
    Loop,
    /// A User Mode Linux kernel, without root: through the transaction
    Uml,
}
