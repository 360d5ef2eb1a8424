//! The entry of one owner in a quota file: limits, usage, and how long a soft limit may be exceeded.
//!
//! Source: linux/fs/quota/quotaio_v2.h (struct v2r1_disk_dqblk).

use super::super::le;

/// The bytes of an entry.
pub(super) const LENGTH: usize = 72;

/// The unit of the limits of space, in bytes.
const LIMIT_UNIT: u64 = 1024;

const INODES_SOFT: usize = 16;
const INODES: usize = 24;
const SPACE_SOFT: usize = 40;
const SPACE: usize = 48;
const SPACE_TIME: usize = 56;
const INODES_TIME: usize = 64;

/// What an owner uses more or less than before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    /// In bytes.
    pub(super) space: i64,
    /// In inodes.
    pub(super) inodes: i64,
}

/// How long soft limits may be exceeded, from when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grace {
    /// The time of the change, in seconds since 1970.
    pub(super) now: u64,
    /// For space, in seconds.
    pub(super) space: u32,
    /// For inodes, in seconds.
    pub(super) inodes: u32,
}

/// An entry as it is stored. What is not asked of it stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    raw: [u8; LENGTH],
}

/// The bytes of a place without an entry.
fn is_unused(raw: &[u8]) -> bool {
    raw.iter().all(|byte| *byte == 0)
}

impl Entry {
    /// Nothing used, nothing limited.
    pub(super) fn new(id: u32) -> Self {
        let mut entry = Self { raw: [0; LENGTH] };
        let _ = le::put(&mut entry.raw, 0, &id.to_le_bytes());
        entry
    }

    /// The entry in these bytes; `None` where there is none.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut raw: [u8; LENGTH] = bytes.try_into().ok()?;
        if is_unused(&raw) {
            return None;
        }
        // All of root's being zero would look like no entry, so it is stored with a time of 1 that means nothing.
        let mut others = raw;
        let _ = le::put(&mut others, INODES_TIME, &[0; 8]);
        if is_unused(&others) && le::u32_at(&raw, INODES_TIME) == Some(1) {
            raw = others;
        }
        Some(Self { raw })
    }

    /// The bytes to store.
    pub(super) fn encode(&self) -> [u8; LENGTH] {
        let mut raw = self.raw;
        if is_unused(&raw) {
            let _ = le::put(&mut raw, INODES_TIME, &1_u64.to_le_bytes());
        }
        raw
    }

    /// Whose it is.
    pub(super) fn id(&self) -> u32 {
        le::u32_at(&self.raw, 0).unwrap_or(0)
    }

    fn field(&self, offset: usize) -> u64 {
        let half = |offset| u64::from(le::u32_at(&self.raw, offset).unwrap_or(0));
        half(offset) | half(offset.saturating_add(4)) << 32
    }

    fn set_field(&mut self, offset: usize, value: u64) {
        let _ = le::put(&mut self.raw, offset, &value.to_le_bytes());
    }

    /// The space in use, in bytes, and the inodes.
    #[cfg(test)]
    pub(super) fn usage(&self) -> (u64, u64) {
        (self.field(SPACE), self.field(INODES))
    }

    /// Counts a change. Limits do not stop it, as they do not stop root; the time until which a soft limit may be
    /// exceeded begins and ends as in the kernel.
    pub(super) fn apply(&mut self, change: Change, grace: Grace) {
        let limit = self.field(SPACE_SOFT).saturating_mul(LIMIT_UNIT);
        self.count(SPACE, SPACE_TIME, change.space, limit, grace.now.saturating_add(grace.space.into()));
        let limit = self.field(INODES_SOFT);
        self.count(INODES, INODES_TIME, change.inodes, limit, grace.now.saturating_add(grace.inodes.into()));
    }

    fn count(&mut self, usage: usize, time: usize, change: i64, soft: u64, until: u64) {
        // Where it counts too little already it stays at zero, as in the kernel.
        let now = self.field(usage).saturating_add_signed(change);
        self.set_field(usage, now);
        if change < 0 && now <= soft {
            self.set_field(time, 0);
        } else if change > 0 && soft != 0 && now > soft && self.field(time) == 0 {
            self.set_field(time, until);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Grace = Grace { now: 1000, space: 50, inodes: 70 };

    #[test]
    fn an_empty_entry_of_root_is_told_from_none() {
        assert_eq!(Entry::parse(&[0; LENGTH]), None);
        let root = Entry::new(0);
        assert_eq!(Entry::parse(&root.encode()), Some(root.clone()));
        assert_ne!(root.encode(), [0; LENGTH]);
        let other = Entry::new(7);
        assert_eq!(other.encode(), other.raw);
    }

    #[test]
    fn a_soft_limit_that_is_exceeded_starts_the_clock_once() {
        let mut entry = Entry::new(5);
        entry.set_field(SPACE_SOFT, 4);
        entry.set_field(INODES_SOFT, 2);
        entry.apply(Change { space: 4096, inodes: 2 }, GRACE);
        assert_eq!((entry.field(SPACE_TIME), entry.field(INODES_TIME)), (0, 0));
        entry.apply(Change { space: 1, inodes: 1 }, GRACE);
        assert_eq!((entry.field(SPACE_TIME), entry.field(INODES_TIME)), (1050, 1070));
        entry.apply(Change { space: 1, inodes: 1 }, Grace { now: 2000, ..GRACE });
        assert_eq!((entry.field(SPACE_TIME), entry.field(INODES_TIME)), (1050, 1070));
        entry.apply(Change { space: -1, inodes: -2 }, GRACE);
        assert_eq!((entry.field(SPACE_TIME), entry.field(INODES_TIME)), (1050, 0));
        entry.apply(Change { space: -1, inodes: 0 }, GRACE);
        assert_eq!((entry.field(SPACE_TIME), entry.usage()), (0, (4096, 2)));
        entry.apply(Change { space: -5000, inodes: -9 }, GRACE);
        assert_eq!(entry.usage(), (0, 0));
    }
}
