//! Dates and times of directory entries (Microsoft's FAT specification 1.03, "Date and Time Formats").
//!
//! FAT does not say in which time zone they are. Here they are UTC, as with Linux's mount option `tz=UTC`: an image means the
//! same wherever it is edited.

use crate::fs::Timestamp;
use crate::master::time::Civil;

/// 1980-01-01 and 2107-12-31 23:59:59.
const FIRST: i64 = 315_532_800;
const LAST: i64 = 4_354_819_199;

/// A date, a time in steps of two seconds, and hundredths of a second above that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) date: u16,
    pub(crate) clock: u16,
    pub(crate) hundredths: u8,
}

impl Stamp {
    /// The stamp of a time; one that FAT does not know becomes the nearest that it does.
    pub(crate) fn new(time: Timestamp) -> Self {
        let seconds = time.seconds.clamp(FIRST, LAST);
        let nanoseconds = if seconds == time.seconds { time.nanoseconds } else { 0 };
        let civil = Civil::new(Timestamp { seconds, nanoseconds });
        let years = u16::try_from(civil.year.saturating_sub(1980)).unwrap_or_default();
        let date = years << 9 | u16::from(civil.month) << 5 | u16::from(civil.day);
        let clock = u16::from(civil.hour) << 11 | u16::from(civil.minute) << 5 | u16::from(civil.second / 2);
        let above = u8::try_from((nanoseconds / 10_000_000).min(99)).unwrap_or_default();
        let hundredths = if civil.second.is_multiple_of(2) { above } else { above.saturating_add(100) };
        Self { date, clock, hundredths }
    }
}

/// The time of a date and a clock; `None` where there is none.
pub(crate) fn time(date: u16, clock: u16) -> Option<Timestamp> {
    let small = |number: u16| u8::try_from(number).ok();
    Civil {
        year: i64::from(date >> 9).checked_add(1980)?,
        month: small(date >> 5 & 0x0f)?,
        day: small(date & 0x1f)?,
        hour: small(clock >> 11)?,
        minute: small(clock >> 5 & 0x3f)?,
        second: small(clock & 0x1f)?.checked_mul(2)?,
    }
    .timestamp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_their_ends() {
        let at = |seconds| Stamp::new(Timestamp { seconds, nanoseconds: 250_000_000 });
        let stamp = |date, clock, hundredths| Stamp { date, clock, hundredths };
        assert_eq!(at(1_767_323_047), stamp(46 << 9 | 1 << 5 | 2, 3 << 11 | 4 << 5 | 3, 125));
        assert_eq!(at(0), stamp(1 << 5 | 1, 0, 0));
        assert_eq!(at(i64::MAX), stamp(127 << 9 | 12 << 5 | 31, 23 << 11 | 59 << 5 | 29, 100));
        assert_eq!(time(46 << 9 | 1 << 5 | 2, 3 << 11 | 4 << 5 | 3).unwrap().seconds, 1_767_323_046);
        assert_eq!((time(0, 0), time(1 << 5 | 1, 24 << 11)), (None, None));
    }
}
