//! Files without content: devices, pipes and sockets.

use super::FileType;

/// Which driver of the kernel a device belongs to, and which of the driver's devices it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DeviceNumber {
    /// The driver, 0 to 4,095.
    pub major: u32,
    /// The device, 0 to 1,048,575.
    pub minor: u32,
}

/// A file without content, as mknod(2) makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum SpecialFile {
    CharDevice(DeviceNumber),
    BlockDevice(DeviceNumber),
    Fifo,
    Socket,
}

impl DeviceNumber {
    /// A number that Linux can have; `None` where one of the two is too large.
    pub fn new(major: u32, minor: u32) -> Option<Self> {
        (major < 1 << 12 && minor < 1 << 20).then_some(Self { major, minor })
    }
}

impl SpecialFile {
    /// The file of this type, with this number where it is a device; `None` where the type is of another file.
    pub fn new(file_type: FileType, number: DeviceNumber) -> Option<Self> {
        match file_type {
            FileType::CharDevice => Some(Self::CharDevice(number)),
            FileType::BlockDevice => Some(Self::BlockDevice(number)),
            FileType::Fifo => Some(Self::Fifo),
            FileType::Socket => Some(Self::Socket),
            FileType::Regular | FileType::Directory | FileType::Symlink => None,
        }
    }

    /// The type.
    pub fn file_type(self) -> FileType {
        match self {
            Self::CharDevice(_) => FileType::CharDevice,
            Self::BlockDevice(_) => FileType::BlockDevice,
            Self::Fifo => FileType::Fifo,
            Self::Socket => FileType::Socket,
        }
    }

    /// The number of a device; zeros where it is none.
    pub fn number(self) -> DeviceNumber {
        match self {
            Self::CharDevice(number) | Self::BlockDevice(number) => number,
            Self::Fifo | Self::Socket => DeviceNumber::default(),
        }
    }
}
