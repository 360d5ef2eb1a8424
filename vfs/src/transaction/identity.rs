//! What an image is, whatever it is called: a file or a device, or a part of one.

use super::sidecar::number;
use rustix::fs::{AtFlags, StatxFlags, fstatvfs, statx};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;

/// A file or a device, or a part of one, as a journal's header has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The inode number, or what stands for a device.
    pub inode: u64,
    /// Stands for the file, or for the disk or file of which this is a part; 0 where that is not known.
    pub thing: u64,
    /// Stands for when the file was made, which tells it from an earlier one that had its inode; 0 where that is not known.
    /// A disk is called what it is for ever: of one it is what `thing` is.
    pub born: u64,
    /// The first byte of this in the file or the disk, where it is a part of one; else 0.
    pub start: u64,
}

/// How two identities compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Likeness {
    /// They are of one thing.
    Same,
    /// Their filesystems are called differently: by what tells more, if anything.
    Perhaps,
    /// They are certainly of two.
    Another,
}

/// What a journal that was found by what is in it has to do with an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    /// It is the image's.
    Own,
    /// It is the image's, or that of an earlier file that had its inode.
    Unsure,
    /// It is of something that shares bytes with the image.
    Overlapping,
    /// It is of other bytes, or of a file that is gone.
    Other,
}

impl Identity {
    /// Of a regular file: by its inode, by when it was made (statx(2), `stx_btime`) and by what its filesystem is called for
    /// ever (statfs(2), `f_fsid`), where these are known.
    pub(super) fn of_file(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let filesystem = match fstatvfs(file)?.f_fsid {
            0 => metadata.dev(),
            filesystem => filesystem,
        };
        let bytes = [&b"file "[..], &filesystem.to_le_bytes(), &metadata.ino().to_le_bytes()].concat();
        // Old kernels and some filters of system calls do not know the call.
        let born = statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::BTIME).ok();
        let born = born.filter(|stat| stat.stx_mask & StatxFlags::BTIME.bits() != 0);
        let born = born.map_or(0, |stat| birth(stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec));
        Ok(Self { inode: metadata.ino(), thing: number(&bytes), born, start: 0 })
    }

    /// Of a block device that is called `name`, and begins at byte `start` of the disk that is called `disk`.
    pub(super) fn of_device(name: &[u8], disk: &[u8], start: u64) -> Self {
        let thing = number(disk);
        Self { inode: number(name), thing, born: thing, start }
    }

    /// Of a part of this file that begins at byte `start`, under a device that is called `name`.
    pub(super) fn part(self, name: &[u8], start: u64) -> Self {
        Self { inode: number(name), start, ..self }
    }

    /// What tells whether a journal that has the other identity, under the name of this image's, is this image's.
    pub(super) fn against(self, other: Self) -> Likeness {
        let known = self.thing != 0 && other.thing != 0;
        if self.was_born_apart(other) || (known && self.start != other.start) {
            return Likeness::Another;
        }
        match known {
            // A part keeps its place when its file gets another name, by which the device is called.
            true if self.thing == other.thing => Likeness::Same,
            _ if self.inode != other.inode => Likeness::Another,
            true if self.born == 0 || other.born == 0 => Likeness::Perhaps,
            _ => Likeness::Same,
        }
    }

    /// What a journal for `size` bytes of the other identity has to do with this image, which has `own_size` bytes.
    pub(super) fn relation(self, own_size: u64, other: Self, size: u64) -> Relation {
        if self.thing == 0 || self.thing != other.thing || self.was_born_apart(other) {
            return Relation::Other;
        }
        if (self.start, own_size) == (other.start, size) {
            return if self.born == 0 || other.born == 0 { Relation::Unsure } else { Relation::Own };
        }
        let apart =
            self.start.saturating_add(own_size) <= other.start || other.start.saturating_add(size) <= self.start;
        if apart && self.start != other.start { Relation::Other } else { Relation::Overlapping }
    }

    fn was_born_apart(self, other: Self) -> bool {
        self.born != 0 && other.born != 0 && self.born != other.born
    }
}

/// What stands for a time of birth; 0 for none, which is what filesystems write that do not know it.
fn birth(seconds: i64, nanos: u32) -> u64 {
    if (seconds, nanos) == (0, 0) {
        return 0;
    }
    number(&[&seconds.to_le_bytes()[..], &nanos.to_le_bytes()].concat()).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(born: u64) -> Identity {
        Identity { inode: 7, thing: 9, born, start: 0 }
    }

    /// Two files that had one inode, one after the other.
    #[test]
    fn a_file_is_told_from_an_earlier_one_that_had_its_inode() {
        let (first, second) = (file(birth(1_700_000_000, 1)), file(birth(1_700_000_000, 2)));
        assert_eq!(first.against(second), Likeness::Another);
        assert_eq!(first.relation(4096, second, 4096), Relation::Other);
        assert_eq!(first.relation(4096, second, 8192), Relation::Other);
        assert_eq!(first.against(first), Likeness::Same);
        assert_eq!(first.relation(4096, first, 4096), Relation::Own);
        // Where the times are not known, nothing tells them apart: by one name they are taken for one, by two for neither.
        assert_eq!(first.against(file(0)), Likeness::Same);
        assert_eq!(file(0).relation(4096, first, 4096), Relation::Unsure);
        assert_eq!(file(0).relation(4096, first, 8192), Relation::Overlapping);
        assert_eq!(birth(0, 0), 0);

        let here = tempfile::tempfile().unwrap();
        let identity = Identity::of_file(&here).unwrap();
        assert_eq!(identity, Identity::of_file(&here).unwrap());
        assert_eq!(identity.born != 0, here.metadata().unwrap().created().is_ok());
    }

    /// What filesystems are called may change with the numbers of their devices.
    #[test]
    fn a_filesystem_that_is_called_differently_makes_no_other_file() {
        for (born, expected) in [(0, Likeness::Perhaps), (5, Likeness::Same), (6, Likeness::Another)] {
            assert_eq!(file(5).against(Identity { thing: 10, born, ..file(0) }), expected, "{born}");
        }
        assert_eq!(file(5).against(Identity { thing: 10, inode: 8, ..file(5) }), Likeness::Another);
        // A journal of before there was more than the inode.
        let old = Identity { thing: 0, born: 0, ..file(0) };
        assert_eq!(file(5).against(old), Likeness::Same);
        assert_eq!(file(5).against(Identity { inode: 8, ..old }), Likeness::Another);
        assert_eq!(file(5).relation(4096, old, 4096), Relation::Other);
        assert_eq!(old.relation(4096, old, 4096), Relation::Other);
    }

    #[test]
    fn parts_of_a_disk_share_the_bytes_that_both_have() {
        let disk = Identity::of_device(b"serial 1", b"serial 1", 0);
        let part = |name, start| Identity::of_device(name, b"serial 1", start);
        let (first, second) = (part(b"partition 1 of serial 1", 512), part(b"partition 2 of serial 1", 4096));
        assert_eq!(first.relation(3584, second, 4096), Relation::Other);
        assert_eq!(second.relation(4096, first, 3584), Relation::Other);
        assert_eq!(first.relation(3585, second, 4096), Relation::Overlapping);
        assert_eq!(second.relation(4096, first, 3585), Relation::Overlapping);
        for part in [first, second] {
            assert_eq!(disk.relation(8192, part, 3584), Relation::Overlapping);
            assert_eq!(part.relation(3584, disk, 8192), Relation::Overlapping);
            assert_eq!(part.relation(u64::MAX, disk, u64::MAX), Relation::Overlapping);
        }
        assert_eq!(first.relation(3584, first, 3584), Relation::Own);
        assert_eq!(first.against(second), Likeness::Another);
        // The number of a partition may change, and the name of the file under a loop device.
        assert_eq!(first.relation(3584, part(b"partition 5 of serial 1", 512), 3584), Relation::Own);
        assert_eq!(first.against(part(b"partition 5 of serial 1", 512)), Likeness::Same);
        let part = file(5).part(b"loop 512 /one", 512);
        assert_eq!(part.relation(3584, file(5).part(b"loop 512 /two", 512), 3584), Relation::Own);
        assert_eq!(part.against(file(5).part(b"loop 512 /two", 512)), Likeness::Same);
        // Of the same beginning, whatever the size.
        assert_eq!(file(5).relation(0, file(5), 4096), Relation::Overlapping);
    }
}
