//! The times of an inode: 32 bits of seconds, and where there is room 34 and nanoseconds.
//!
//! Source: kernel Documentation/filesystems/ext4/inodes.rst, "Inode Timestamps".

use super::{BASE_SIZE, Inode};
use crate::fs::Timestamp;

/// The times of an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Time {
    /// The last access.
    Access,
    /// The last change of the inode.
    Change,
    /// The last change of the content.
    Modification,
    /// The creation; only where the inode has extra fields.
    Creation,
}

impl Time {
    /// Where the seconds and the extra bits are.
    fn offsets(self) -> (usize, usize) {
        match self {
            Self::Access => (0x8, 0x8c),
            Self::Change => (0xc, 0x84),
            Self::Modification => (0x10, 0x88),
            Self::Creation => (0x90, 0x94),
        }
    }
}

impl Inode {
    /// A time; one that the inode has no room for is 1970.
    pub(in super::super) fn time(&self, time: Time) -> Timestamp {
        let (base, extra) = time.offsets();
        if base >= BASE_SIZE && !self.has_field(base, 4) {
            return Timestamp::default();
        }
        let seconds = i64::from(self.u32_at(base).cast_signed());
        if !self.has_field(extra, 4) {
            return Timestamp { seconds, nanoseconds: 0 };
        }
        let extra = self.u32_at(extra);
        // The two low bits count the times that the 32 bits have overflowed.
        let seconds = seconds + (i64::from(extra & 3) << 32);
        Timestamp { seconds, nanoseconds: (extra >> 2).min(999_999_999) }
    }

    /// Sets a time, as near to it as the inode can tell.
    pub(in super::super) fn set_time(&mut self, time: Time, value: Timestamp) {
        let (base, extra) = time.offsets();
        if base >= BASE_SIZE && !self.has_field(base, 4) {
            return;
        }
        if !self.has_field(extra, 4) {
            let seconds = value.seconds.clamp(i64::from(i32::MIN), i64::from(i32::MAX));
            self.store(base, &i32::try_from(seconds).unwrap_or(0).to_le_bytes());
            return;
        }
        let least = i64::from(i32::MIN);
        let seconds = value.seconds.clamp(least, least + (1 << 34) - 1);
        let [b0, b1, b2, b3, ..] = seconds.to_le_bytes();
        let low = i32::from_le_bytes([b0, b1, b2, b3]);
        let epoch = u32::try_from(seconds.abs_diff(i64::from(low)) >> 32).unwrap_or(0) & 3;
        self.store(base, &low.to_le_bytes());
        self.store(extra, &(value.nanoseconds.min(999_999_999) << 2 | epoch).to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_where_there_is_room_for_them() {
        let mut inode = Inode::zeroed(12, 256, 32);
        for seconds in [0, 1, -1, i64::from(i32::MIN), i64::from(i32::MAX), 1 << 31, 1 << 32, 1 << 33, 15_032_385_535] {
            let time = Timestamp { seconds, nanoseconds: 999_999_999 };
            inode.set_time(Time::Modification, time);
            assert_eq!(inode.time(Time::Modification), time);
        }
        let mut inode = Inode::zeroed(12, 128, 0);
        inode.set_time(Time::Change, Timestamp { seconds: 1 << 40, nanoseconds: 5 });
        assert_eq!(inode.time(Time::Change), Timestamp { seconds: i64::from(i32::MAX), nanoseconds: 0 });
    }
}
