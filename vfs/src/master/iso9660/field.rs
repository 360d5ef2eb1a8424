//! Fields of ISO 9660 structures (ECMA-119, section 7).

use crate::fs::Timestamp;
use crate::master::time::Civil;

/// A number in both byte orders, the little-endian first (7.2.3).
pub(super) fn both16(number: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (number.to_le_bytes(), number.to_be_bytes());
    [a, b, c, d]
}

/// A number in both byte orders, the little-endian first (7.3.3).
pub(super) fn both32(number: u32) -> [u8; 8] {
    let ([a, b, c, d], [e, f, g, h]) = (number.to_le_bytes(), number.to_be_bytes());
    [a, b, c, d, e, f, g, h]
}

/// The time of a file (9.1.5), UTC: 1900 to 2155, anything else becomes the nearest.
pub(super) fn short_date(time: Timestamp) -> [u8; 7] {
    // 1900-01-01 and 2155-12-31.
    let seconds = time.seconds.clamp(-2_208_988_800, 5_869_583_999);
    let Civil { year, month, day, hour, minute, second } = Civil::new(Timestamp { seconds, nanoseconds: 0 });
    [u8::try_from(year - 1900).unwrap_or_default(), month, day, hour, minute, second, 0]
}

/// The time of a volume (8.4.26.1), UTC: sixteen digits to the hundredth of a second, and no offset.
pub(super) fn long_date(time: Timestamp) -> [u8; 17] {
    let Civil { year, month, day, hour, minute, second } = Civil::new(time);
    let hundredths = (time.nanoseconds / 10_000_000).min(99);
    let text = format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}{hundredths:02}");
    let mut date = [0; 17];
    date[..16].copy_from_slice(text.as_bytes());
    date
}
