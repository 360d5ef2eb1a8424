//! Directory entries (Microsoft's FAT specification 1.03, "FAT Directory Structure").

use crate::fs::Timestamp;
use crate::master::time::Civil;

/// The attribute of a directory.
pub(super) const DIRECTORY: u8 = 0x10;
/// The attribute of a file that has changed since it was saved, as any new one has.
pub(super) const ARCHIVE: u8 = 0x20;
/// The attribute of the entry that has the volume's label.
pub(super) const VOLUME: u8 = 0x08;

/// An entry with a short name.
pub(super) fn entry(name: &[u8; 11], attributes: u8, cluster: u32, size: u32, time: Timestamp) -> [u8; 32] {
    let (date, clock, tenths) = stamp(time);
    let [c0, c1, c2, c3] = cluster.to_le_bytes();
    let mut entry = [0; 32];
    entry[..11].copy_from_slice(name);
    entry[11] = attributes;
    entry[13] = tenths;
    entry[14..16].copy_from_slice(&clock.to_le_bytes());
    entry[16..18].copy_from_slice(&date.to_le_bytes());
    entry[18..20].copy_from_slice(&date.to_le_bytes());
    entry[20..22].copy_from_slice(&[c2, c3]);
    entry[22..24].copy_from_slice(&clock.to_le_bytes());
    entry[24..26].copy_from_slice(&date.to_le_bytes());
    entry[26..28].copy_from_slice(&[c0, c1]);
    entry[28..].copy_from_slice(&size.to_le_bytes());
    entry
}

/// The date, the time in steps of two seconds, and hundredths of a second above that; UTC, 1980 to 2107.
fn stamp(time: Timestamp) -> (u16, u16, u8) {
    // 1980-01-01 and 2107-12-31 23:59:59.
    let seconds = time.seconds.clamp(315_532_800, 4_354_819_199);
    let nanoseconds = if seconds == time.seconds { time.nanoseconds } else { 0 };
    let civil = Civil::new(Timestamp { seconds, nanoseconds });
    let years = u16::try_from(civil.year - 1980).unwrap_or_default();
    let date = years << 9 | u16::from(civil.month) << 5 | u16::from(civil.day);
    let clock = u16::from(civil.hour) << 11 | u16::from(civil.minute) << 5 | u16::from(civil.second / 2);
    // At most 199.
    let hundredths = (nanoseconds / 10_000_000).min(99) as u8 + civil.second % 2 * 100;
    (date, clock, hundredths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_their_ends() {
        let at = |seconds| stamp(Timestamp { seconds, nanoseconds: 250_000_000 });
        assert_eq!(at(1_767_323_047), (46 << 9 | 1 << 5 | 2, 3 << 11 | 4 << 5 | 3, 125));
        assert_eq!(at(0), (1 << 5 | 1, 0, 0));
        assert_eq!(at(i64::MAX), (127 << 9 | 12 << 5 | 31, 23 << 11 | 59 << 5 | 29, 100));
    }
}
