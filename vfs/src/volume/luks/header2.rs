//! The header of LUKS2: two copies of a binary one, each with a text in JSON behind it.
//!
//! Source: the LUKS2 on-disk format specification 1.1.1.

use super::hash::Hash;
use super::json::Metadata;
use super::{Header, MAX_HEADERS, corrupt};
use crate::block::BlockDevice;
use crate::error::{Error, Layer, Result};
use crate::field::{array, has, part, text};

/// The binary header; what follows of a copy is its JSON.
const BINARY: usize = 4096;
const CHECKSUM: usize = 448;
const CHECKSUM_SIZE: usize = 64;
/// The sizes that a copy may have, and so the places where the second one may begin.
const SIZES: [u64; 9] = [0x4000, 0x8000, 0x1_0000, 0x2_0000, 0x4_0000, 0x8_0000, 0x10_0000, 0x20_0000, 0x40_0000];
pub(super) const PRIMARY: &[u8] = b"LUKS\xba\xbe";
pub(super) const SECONDARY: &[u8] = b"SKUL\xba\xbe";

/// A copy whose checksum is right.
struct Copy {
    sequence: u64,
    /// The size of a copy, so that twice this is where keyslots begin.
    size: u64,
    json: String,
}

/// Reads the newer of the two copies that are sound. What is read is taken off `room`.
pub(super) fn read(device: &dyn BlockDevice, room: &mut u64) -> Result<Header> {
    let primary = read_copy(device, (0, PRIMARY), room);
    let places: Vec<u64> = match &primary {
        Ok(copy) => vec![copy.size],
        Err(_) => SIZES.to_vec(),
    };
    let mut secondary = Err(corrupt("there is no secondary LUKS2 header"));
    for place in places {
        secondary = read_copy(device, (place, SECONDARY), room);
        if secondary.is_ok() {
            break;
        }
    }
    // A copy that was not read may be the newer one.
    if *room == 0 {
        let message = format!("it is not looked at, as more than {MAX_HEADERS} bytes of LUKS2 headers are on the disk");
        return Err(Error::unsupported(Layer::Volume, message));
    }
    let (copy, notes) = match (primary, secondary) {
        (Ok(primary), Ok(secondary)) if secondary.sequence > primary.sequence => {
            (secondary, vec!["its primary LUKS2 header is older than the secondary, which is used".to_owned()])
        }
        (Ok(primary), Ok(secondary)) if secondary.sequence < primary.sequence => {
            (primary, vec!["its secondary LUKS2 header is older than the primary, which is used".to_owned()])
        }
        (Ok(primary), Ok(_)) => (primary, Vec::new()),
        (Ok(primary), Err(error)) => (primary, vec![format!("its secondary LUKS2 header is damaged ({error})")]),
        (Err(error), Ok(secondary)) => {
            (secondary, vec![format!("its primary LUKS2 header is damaged ({error}); the secondary is used")])
        }
        (Err(error), Err(_)) => return Err(error),
    };
    Metadata::parse(&copy.json)?.header(device.size(), copy.size, notes)
}

fn read_copy(device: &dyn BlockDevice, (place, magic): (u64, &[u8]), room: &mut u64) -> Result<Copy> {
    let wrong = |what: &str| corrupt(format!("the LUKS2 header {what}")).with_offset(place);
    let short = || wrong("is cut short");
    // Where there is too little left, nothing is.
    let mut pay = |size: u64| match room.checked_sub(size) {
        Some(rest) if rest > 0 => {
            *room = rest;
            Ok(())
        }
        _ => {
            *room = 0;
            Err(wrong("is not looked at"))
        }
    };
    let fits = |size: u64| place.checked_add(size).is_some_and(|end| end <= device.size());
    if !fits(0x1000) {
        return Err(short());
    }
    pay(0x1000)?;
    let mut raw = vec![0; BINARY];
    device.read_at(&mut raw, place)?;
    let long = |at: usize| array(&raw, at).map(u64::from_be_bytes).ok_or_else(short);
    if !has(&raw, 0, magic) || !has(&raw, 6, &[0, 2]) {
        return Err(wrong("has no magic"));
    }
    let size = long(8)?;
    if !SIZES.contains(&size) || !fits(size) || (place != 0 && place != size) || long(256)? != place {
        return Err(wrong("belongs to another place"));
    }
    let sequence = long(16)?;
    let hash = Hash::named(&text(part(&raw, 72, 32).ok_or_else(short)?))?;
    pay(size)?;
    let mut whole = vec![0; usize::try_from(size).unwrap_or(BINARY)];
    device.read_at(&mut whole, place)?;
    let stored = part(&whole, CHECKSUM, CHECKSUM_SIZE).ok_or_else(short)?.to_vec();
    whole.get_mut(CHECKSUM..).and_then(|rest| rest.get_mut(..CHECKSUM_SIZE)).ok_or_else(short)?.fill(0);
    let sum = hash.of(&[&whole]);
    if !stored.starts_with(&sum) {
        return Err(wrong("has a wrong checksum"));
    }
    let json = whole.get(BINARY..).ok_or_else(short)?;
    let end = json.iter().position(|byte| *byte == 0).unwrap_or(json.len());
    let json = std::str::from_utf8(json.get(..end).unwrap_or_default()).map_err(|_| wrong("has no text in it"))?;
    Ok(Copy { sequence, size, json: json.to_owned() })
}
