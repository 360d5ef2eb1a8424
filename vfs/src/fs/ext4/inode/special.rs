//! The number of a device, which is where other files have their blocks.
//!
//! Source: kernel include/linux/kdev_t.h: an old one of 16 bits in the first word, or a new one of 32 in the second.

use super::{BLOCK_AREA, Inode};
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::fs::{DeviceNumber, SpecialFile};

impl Inode {
    /// What a device, a pipe or a socket is.
    pub(in super::super) fn special(&self) -> Result<SpecialFile> {
        let old = self.u32_at(BLOCK_AREA);
        let number = match self.u32_at(BLOCK_AREA + 4) {
            _ if old != 0 => DeviceNumber { major: old >> 8 & 0xff, minor: old & 0xff },
            new => DeviceNumber { major: new >> 8 & 0xfff, minor: new & 0xff | new >> 12 & 0xf_ff00 },
        };
        SpecialFile::new(self.file_type()?, number)
            .ok_or_else(|| Error::new(ErrorKind::WrongType, Layer::Filesystem, "not a device, pipe or socket"))
    }

    /// Makes the number of a device that of this new file; `Invalid` where it is none that Linux can have.
    pub(in super::super) fn set_special(&mut self, special: SpecialFile) -> Result<()> {
        let DeviceNumber { major, minor } = special.number();
        let DeviceNumber { major, minor } = DeviceNumber::new(major, minor).ok_or_else(|| {
            Error::new(ErrorKind::Invalid, Layer::Filesystem, format!("no device has the number {major}:{minor}"))
        })?;
        let is_old = major < 1 << 8 && minor < 1 << 8;
        let (old, new) =
            if is_old { (major << 8 | minor, 0) } else { (0, minor & 0xff | major << 8 | minor >> 8 << 20) };
        let mut words = [0; 8];
        words[..4].copy_from_slice(&old.to_le_bytes());
        words[4..].copy_from_slice(&new.to_le_bytes());
        self.set_block_area(&words);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::FileType;

    /// What `debugfs -R "stat <file>"` shows of files that the kernel's mknod(2) made.
    #[test]
    fn numbers_are_stored_as_the_kernel_stores_them() {
        for (major, minor, old, new) in [
            (1, 3, 0x103, 0),
            (255, 255, 0xffff, 0),
            (8, 256, 0, 0x10_0800),
            (256, 0, 0, 0x1_0000),
            (4095, 1_048_575, 0, 0xffff_ffff),
            (0, 0, 0, 0),
        ] {
            let mut inode = Inode::zeroed(12, 256, 32);
            inode.set_mode(0o060_600);
            let number = DeviceNumber::new(major, minor).unwrap();
            inode.set_special(SpecialFile::BlockDevice(number)).unwrap();
            assert_eq!((inode.u32_at(BLOCK_AREA), inode.u32_at(BLOCK_AREA + 4)), (old, new), "{major}:{minor}");
            let read = inode.special().unwrap();
            assert_eq!((read.file_type(), read.number()), (FileType::BlockDevice, number));
        }
        let number = DeviceNumber { major: 4096, minor: 0 };
        assert!(Inode::zeroed(12, 256, 32).set_special(SpecialFile::CharDevice(number)).is_err());
    }
}
