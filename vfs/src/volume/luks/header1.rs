//! The header of LUKS1.
//!
//! Source: the LUKS1 on-disk format specification 1.2.3, chapter 2. Big-endian, sectors of 512 bytes.

use super::cipher::Spec;
use super::derive::{Derivation, Digest};
use super::hash::Hash;
use super::{Header, SECTOR, STRIPES, Segment, Slot, be32, corrupt, detached, no_slot, size_of};
use crate::block::BlockDevice;
use crate::error::{Error, Layer, Result};
use crate::field::{part, text};

const SIZE: usize = 592;
const SLOTS: u64 = 8;
const FIRST_SLOT: usize = 208;
const SLOT: usize = 48;
const ACTIVE: u32 = 0x00ac_71f3;
const DIGEST: usize = 20;
const SALT: usize = 32;

/// Reads the header of a volume that begins with its magic.
pub(super) fn read(device: &dyn BlockDevice) -> Result<Header> {
    let short = || corrupt("the LUKS1 header is cut short");
    if device.size() < 1024 {
        return Err(short());
    }
    let mut raw = vec![0; SIZE];
    device.read_at(&mut raw, 0)?;
    let field = |at: usize, len: usize| part(&raw, at, len).ok_or_else(short);
    let number = |at: usize| be32(&raw, at).ok_or_else(short);
    let key_len = size_of(u64::from(number(108)?));
    let cipher = Spec::named(&format!("{}-{}", text(field(8, 32)?), text(field(40, 32)?)), key_len)?;
    let hash = Hash::named(&text(field(72, 32)?))?;
    let offset = u64::from(number(104)?).saturating_mul(SECTOR);
    if offset == 0 {
        return Err(detached());
    }
    let digest = Digest {
        hash,
        iterations: number(164)?,
        salt: field(132, SALT)?.to_vec(),
        digest: field(112, DIGEST)?.to_vec(),
    };
    let (mut slots, mut unusable) = (Vec::new(), Vec::new());
    for (place, slot) in (0..SLOTS).zip(raw.get(FIRST_SLOT..).ok_or_else(short)?.chunks_exact(SLOT)) {
        let number = |at: usize| be32(slot, at).ok_or_else(short);
        if number(0)? != ACTIVE {
            continue;
        }
        let stripes = number(44)?;
        if stripes != STRIPES {
            unusable.push((place, Error::unsupported(Layer::Volume, format!("it is split into {stripes} stripes"))));
            continue;
        }
        let start = u64::from(number(40)?).saturating_mul(SECTOR);
        let len = u64::try_from(key_len).unwrap_or(0).saturating_mul(u64::from(stripes));
        if start < 1024 || start.saturating_add(len) > offset {
            return Err(corrupt(format!("the keyslot {place} does not lie between the header and the data")));
        }
        let salt = part(slot, 8, SALT).ok_or_else(short)?.to_vec();
        slots.push(Slot {
            number: place,
            derivation: Derivation::Pbkdf2 { hash, iterations: number(4)?, salt },
            start,
            cipher: cipher.clone(),
            split: hash,
            key_len,
            digest: digest.clone(),
        });
    }
    if slots.is_empty() {
        return Err(no_slot(&unusable));
    }
    let size = device.size().checked_sub(offset).ok_or_else(|| corrupt("its data lies past its end"))?;
    let size = size.saturating_sub(size.checked_rem(SECTOR).unwrap_or(0));
    let segment = Segment { offset, size, sector: 512, first: 0, cipher };
    Header::new(1, segment, (slots, unusable), Vec::new())
}
