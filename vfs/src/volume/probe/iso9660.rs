//! ISO 9660: the primary volume descriptor (ECMA-119, section 8.4).

use super::{Source, signature};
use crate::error::Result;
use crate::field::{has, text};
use crate::volume::Signature;

/// The descriptor lies in sector 16 of 2048 bytes. The label is the volume identifier (a longer Joliet one is not
/// looked for), the UUID the time of the last change or else of creation, as blkid(8) has it.
pub(super) fn iso9660(source: &Source<'_>) -> Result<Option<Signature>> {
    source.parse(0x8000, 2048, |descriptor| {
        if !has(descriptor, 0, b"\x01CD001") {
            return None;
        }
        let changed = date(descriptor.get(830..846)?).or_else(|| date(descriptor.get(813..829)?));
        signature("iso9660", text(descriptor.get(40..72)?), changed.unwrap_or_default())
    })
}

/// Sixteen digits, year to hundredth of a second; all zero where it is not set.
fn date(digits: &[u8]) -> Option<String> {
    if !digits.iter().all(u8::is_ascii_digit) || digits.iter().all(|digit| *digit == b'0') {
        return None;
    }
    let mut text = String::new();
    for (place, digit) in digits.iter().enumerate() {
        if place >= 4 && place % 2 == 0 {
            text.push('-');
        }
        text.push(char::from(*digit));
    }
    Some(text)
}
