//! LUKS1 and LUKS2: headers, keyslots, and what they protect; all in userspace.
//!
//! Headers are read and never written. What a header asks for is bounded: memory and passes of argon2, rounds of PBKDF2,
//! stripes, keyslots. Keys are zeroed when they are dropped and shown nowhere.

mod cipher;
mod derive;
mod device;
mod hash;
mod header1;
mod header2;
mod json;
mod split;
mod work;

pub use device::Unlocked;
pub(super) use work::{Whose, Work};

use super::VolumeInfo;
use crate::block::BlockDevice;
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::field::array;
use cipher::{Spec, Way};
use derive::{Derivation, Digest, MAX_TRY};
use hash::Hash;
use std::sync::Arc;
use zeroize::Zeroizing;

/// The unit of the places in a LUKS1 header, and of the numbers of sectors that a cipher sees.
const SECTOR: u64 = 512;
/// How much of LUKS2 headers is read and hashed on a disk, in bytes: eight of the largest, two thousand of the usual ones.
pub(super) const MAX_HEADERS: u64 = 64 << 20;
/// How much of a name errors show, in characters.
const MAX_SHOWN: usize = 64;
/// How many stripes a key is split into; every LUKS has so many.
const STRIPES: u32 = 4000;

/// What a LUKS header says.
#[derive(Debug)]
pub(super) struct Header {
    version: u16,
    segment: Segment,
    /// In the order in which they are tried.
    slots: Vec<Slot>,
    /// The numbers of others, which use what is not known, and why they cannot be tried.
    unusable: Vec<(u64, Error)>,
    /// What is odd and was tolerated, a clause each.
    notes: Vec<String>,
}

/// Where the data lies, and how it is encrypted.
#[derive(Debug)]
struct Segment {
    offset: u64,
    size: u64,
    /// The size of a sector in bytes.
    sector: usize,
    /// What is added to the number of a sector.
    first: u64,
    cipher: Spec,
}

/// A keyslot that is in use.
#[derive(Debug)]
struct Slot {
    number: u64,
    derivation: Derivation,
    /// Its first byte; there is room for all stripes behind it.
    start: u64,
    /// The cipher of the stripes.
    cipher: Spec,
    /// The hash of the anti-forensic split.
    split: Hash,
    /// The length of the volume key in it.
    key_len: usize,
    digest: Digest,
}

/// What became of a passphrase.
#[derive(Debug)]
pub(super) enum Tried {
    /// It fits.
    Open(Arc<Unlocked>),
    /// It fits no keyslot.
    Wrong,
    /// It fits none that was tried, and others were not, as that is more work than is left for it.
    Unpaid,
}

impl Header {
    /// Reads the header of a LUKS volume; `Unsupported` with a name where it uses what is not known.
    ///
    /// The bytes of a LUKS2 header are taken off `room`, which is [`MAX_HEADERS`] for a disk.
    pub(super) fn read(device: &dyn BlockDevice, room: &mut u64) -> Result<Self> {
        let mut magic = [0; 8];
        if device.size() >= 8 {
            device.read_at(&mut magic, 0)?;
        }
        match magic {
            [b'L', b'U', b'K', b'S', 0xba, 0xbe, 0, 1] => header1::read(device),
            _ => header2::read(device, room),
        }
    }

    fn new(version: u16, segment: Segment, (slots, unusable): Slots, notes: Vec<String>) -> Result<Self> {
        if segment.size == 0 {
            return Err(corrupt("there is no room for its data"));
        }
        if slots.iter().any(|slot| slot.key_len != segment.cipher.key_len) {
            return Err(corrupt("a keyslot has a key of another length than its data needs"));
        }
        Ok(Self { version, segment, slots, unusable, notes })
    }

    /// What is odd and was tolerated, a clause each.
    pub(super) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Facts for a report, as pairs of a name and a value.
    pub(super) fn facts(&self) -> Vec<(&'static str, String)> {
        let usable = self.slots.iter().map(|slot| format!("{} ({})", slot.number, slot.derivation.describe()));
        let unusable = self.unusable.iter().map(|(number, error)| format!("{number} (not usable: {error})"));
        let slots: Vec<String> = usable.chain(unusable).collect();
        let Segment { cipher, sector, .. } = &self.segment;
        vec![
            ("luks-version", self.version.to_string()),
            ("cipher", format!("{}, {} bits", cipher.name, cipher.key_len.saturating_mul(8))),
            ("luks-sector", sector.to_string()),
            ("keyslots", slots.join(", ")),
        ]
    }

    /// Tries a passphrase on every keyslot. What that costs is taken off `left`, in rounds of PBKDF2.
    ///
    /// A keyslot that asks for more than is allowed, or for more than those before it have left of it, is passed over where another
    /// one fits, and an error where none does. So is one that uses what is not known.
    pub(super) fn unlock(
        &self,
        info: &VolumeInfo,
        device: &dyn BlockDevice,
        passphrase: &[u8],
        left: &mut u64,
    ) -> Result<Tried> {
        let mut refusal = None;
        let mut unpaid = None;
        let mut of_volume = MAX_TRY;
        for slot in &self.slots {
            let tried = match slot.pay(&mut of_volume) {
                Ok(cost) if cost > *left => {
                    unpaid = Some(Tried::Unpaid);
                    continue;
                }
                Ok(cost) => {
                    *left = left.saturating_sub(cost);
                    slot.open(device, passphrase)
                }
                Err(error) => Err(error),
            };
            match tried {
                Ok(None) => {}
                Ok(Some(key)) => {
                    let Segment { offset, size, sector, first, cipher } = &self.segment;
                    let cipher = cipher.keyed(&key).ok_or_else(|| corrupt("the volume key has a wrong length"))?;
                    return Ok(Tried::Open(Arc::new(Unlocked {
                        under: info.clone(),
                        offset: *offset,
                        size: *size,
                        sector: *sector,
                        first: *first,
                        cipher: Arc::new(cipher),
                    })));
                }
                Err(error) => {
                    refusal.get_or_insert(of_slot(slot.number, info, &error));
                }
            }
        }
        let unusable = self.unusable.first().map(|(number, error)| of_slot(*number, info, error));
        let refusal = refusal.or(unusable);
        match (unpaid, refusal) {
            (Some(unpaid), _) => Ok(unpaid),
            (None, Some(error)) => Err(error),
            (None, None) => Ok(Tried::Wrong),
        }
    }
}

/// The keyslots that can be tried, and why others cannot.
type Slots = (Vec<Slot>, Vec<(u64, Error)>);

/// The error of a keyslot of a volume.
fn of_slot(number: u64, info: &VolumeInfo, error: &Error) -> Error {
    let told = Error::new(error.kind(), error.layer(), format!("the keyslot {number} of {info}: {}", error.message()));
    match error.hint() {
        Some(hint) => told.with_hint(hint),
        None => told,
    }
}

/// The error of a header without a keyslot that can be tried: that of the first that cannot, where there is one.
fn no_slot(unusable: &[(u64, Error)]) -> Error {
    match unusable.first() {
        Some((number, error)) => {
            Error::new(error.kind(), Layer::Volume, format!("its keyslot {number}: {}", error.message()))
        }
        None => Error::unsupported(Layer::Volume, "it has no keyslot that can be tried"),
    }
}

/// A name in a header as errors show it: a stranger's text may be long.
fn shown(name: &str) -> String {
    match name.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{:?}…", name.get(..end).unwrap_or_default()),
        None => format!("{name:?}"),
    }
}

impl Slot {
    /// Takes what a try costs from what is left of the work that one passphrase may be on a volume; and what that is.
    fn pay(&self, left: &mut u64) -> Result<u64> {
        self.derivation.check()?;
        self.digest.check()?;
        let cost = self.derivation.cost(self.cipher.key_len).saturating_add(self.digest.cost());
        match left.checked_sub(cost) {
            Some(rest) => {
                *left = rest;
                Ok(cost)
            }
            None => {
                let message = format!(
                    "it is not tried, as with those before it that is more work than one passphrase may be \
                     (that of {MAX_TRY} rounds of PBKDF2)"
                );
                let hint = "cryptsetup luksKillSlot removes a keyslot, luksConvertKey makes one smaller";
                Err(Error::unsupported(Layer::Volume, message).with_hint(hint))
            }
        }
    }

    /// The volume key, where the passphrase is the one of this slot.
    fn open(&self, device: &dyn BlockDevice, passphrase: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>> {
        let stripes = usize::try_from(STRIPES).unwrap_or(usize::MAX);
        let len = self.key_len.saturating_mul(stripes);
        // The header has checked that it lies before the data.
        let sector = size_of(SECTOR);
        let mut material = Zeroizing::new(vec![0; len.checked_next_multiple_of(sector).unwrap_or(len)]);
        if self
            .start
            .checked_add(u64::try_from(material.len()).unwrap_or(u64::MAX))
            .is_none_or(|end| end > device.size())
        {
            return Err(corrupt("its stripes lie past the end of the volume"));
        }
        device.read_at(&mut material, self.start)?;
        let key = self.derivation.key(passphrase, self.cipher.key_len)?;
        let cipher = self.cipher.keyed(&key).ok_or_else(|| corrupt("its key has a wrong length"))?;
        cipher.apply(Way::Decrypt, &mut material, sector, 0);
        let stripes = material.get(..len).unwrap_or_default();
        let volume_key = split::merge(stripes, self.key_len, self.split).ok_or_else(|| corrupt("it has no stripes"))?;
        Ok(if self.digest.is_of(&volume_key)? { Some(volume_key) } else { None })
    }
}

/// The error of a header whose data is elsewhere.
fn detached() -> Error {
    Error::unsupported(Layer::Volume, "it is a detached LUKS header: its data is on another device")
}

fn corrupt(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, Layer::Volume, message)
}

fn be32(from: &[u8], at: usize) -> Option<u32> {
    array(from, at).map(u32::from_be_bytes)
}

/// A size as one of memory; what does not fit fits nowhere.
fn size_of(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
