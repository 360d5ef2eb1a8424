//! The JSON of a LUKS2 header: what of it is needed, within bounds.
//!
//! Source: the LUKS2 on-disk format specification 1.1.1, chapter 3. serde_json bounds the depth; the header bounds the size.

use super::cipher::Spec;
use super::derive::{Derivation, Digest as Proof};
use super::hash::Hash;
use super::{Header, STRIPES, Segment as Payload, Slot, corrupt, detached, no_slot, shown, size_of};
use crate::error::{Error, ErrorKind, Layer, Result};
use argon2::Algorithm;
use base64ct::{Base64, Encoding};
use serde::Deserialize;
use std::collections::BTreeMap;

/// How many keyslots, segments and digests there may be; cryptsetup makes 32 keyslots at most.
const MAX_OBJECTS: usize = 32;
/// How much of a salt or a digest is taken, in bytes.
const MAX_BYTES: usize = 512;
/// The shortest digest, in bytes: that of LUKS1, which a conversion keeps. A shorter one would take any passphrase in the end.
const MIN_DIGEST: usize = 20;
/// The longest digest, in bytes: that of SHA-512.
const MAX_DIGEST: usize = 64;

#[derive(Debug, Deserialize)]
pub(super) struct Metadata {
    keyslots: BTreeMap<u64, Keyslot>,
    segments: BTreeMap<u64, Segment>,
    digests: BTreeMap<u64, Digest>,
    config: Config,
}

#[derive(Debug, Deserialize)]
struct Config {
    keyslots_size: String,
    #[serde(default)]
    requirements: Requirements,
}

#[derive(Debug, Default, Deserialize)]
struct Requirements {
    #[serde(default)]
    mandatory: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type")]
enum Keyslot {
    #[serde(rename = "luks2")]
    Luks2(Box<KeyArea>),
    #[serde(rename = "reencrypt")]
    Reencrypt,
    #[serde(other)]
    Other,
}

#[derive(Debug, Deserialize)]
struct KeyArea {
    key_size: u64,
    area: Area,
    kdf: Kdf,
    af: Split,
    priority: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Area {
    offset: String,
    size: String,
    encryption: String,
    key_size: u64,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type")]
enum Kdf {
    #[serde(rename = "pbkdf2")]
    Pbkdf2 { hash: String, iterations: u32, salt: String },
    #[serde(rename = "argon2i")]
    Argon2i { time: u32, memory: u32, cpus: u32, salt: String },
    #[serde(rename = "argon2id")]
    Argon2id { time: u32, memory: u32, cpus: u32, salt: String },
    #[serde(other)]
    Other,
}

#[derive(Debug, Deserialize)]
struct Split {
    #[serde(rename = "type")]
    kind: String,
    stripes: u32,
    hash: String,
}

#[derive(Debug, Deserialize)]
struct Segment {
    #[serde(rename = "type")]
    kind: String,
    offset: String,
    size: String,
    #[serde(default)]
    iv_tweak: Option<String>,
    #[serde(default)]
    encryption: Option<String>,
    #[serde(default)]
    sector_size: Option<u64>,
    #[serde(default)]
    integrity: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    flags: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Digest {
    #[serde(rename = "type")]
    kind: String,
    keyslots: Vec<String>,
    segments: Vec<String>,
    hash: Option<String>,
    iterations: Option<u32>,
    salt: String,
    digest: String,
}

impl Metadata {
    /// Reads the text; `Corrupt` where it is not what the specification says.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let metadata: Self =
            serde_json::from_str(text).map_err(|error| corrupt(format!("the JSON of the LUKS2 header: {error}")))?;
        let most = [metadata.keyslots.len(), metadata.segments.len(), metadata.digests.len()];
        if most.iter().any(|count| *count > MAX_OBJECTS) {
            return Err(corrupt(format!("the LUKS2 header has more than {MAX_OBJECTS} objects of a kind")));
        }
        Ok(metadata)
    }

    /// What of it is used, checked against a volume of `size` bytes whose two copies of the header have `copy` bytes each.
    pub(super) fn header(&self, size: u64, copy: u64, notes: Vec<String>) -> Result<Header> {
        self.check_features()?;
        let (Some((number, segment)), 1) = (self.segments.first_key_value(), self.segments.len()) else {
            return Err(unsupported(format!("its data is in {} segments", self.segments.len())));
        };
        let keyslots_end = decimal(&self.config.keyslots_size)?.checked_add(copy.saturating_mul(2));
        let keyslots_end = keyslots_end.ok_or_else(|| corrupt("its keyslots have no end"))?;
        let bound_to = |digest: &Digest, slot: u64| {
            digest.keyslots.contains(&slot.to_string()) && digest.segments.contains(&number.to_string())
        };
        let (mut slots, mut unusable, mut areas) = (Vec::new(), Vec::new(), Vec::new());
        for (slot, keyslot) in &self.keyslots {
            let Some(digest) = self.digests.values().find(|digest| bound_to(digest, *slot)) else { continue };
            let Keyslot::Luks2(keyslot) = keyslot else {
                unusable.push((*slot, unsupported("it is of a kind that is not known")));
                continue;
            };
            // Priority 0: not tried unless it is asked for.
            let priority = keyslot.priority.unwrap_or(1);
            if priority == 0 {
                continue;
            }
            let read = read_slot(*slot, keyslot, digest, copy.saturating_mul(2)..keyslots_end);
            match read {
                Ok(read) => slots.push((priority, read)),
                // Another one may be of what is known.
                Err(error) if error.kind() == ErrorKind::Unsupported => unusable.push((*slot, error)),
                Err(error) => return Err(no_slot(&[(*slot, error)])),
            }
            areas.push((decimal(&keyslot.area.offset)?, decimal(&keyslot.area.size)?));
        }
        // Every keyslot is work for each passphrase, and has to be paid for with bytes of the image.
        areas.sort_unstable();
        if areas.iter().zip(areas.iter().skip(1)).any(|((start, len), (next, _))| start.saturating_add(*len) > *next) {
            return Err(corrupt("two of its keyslots lie over each other"));
        }
        slots.sort_by_key(|(priority, slot)| (std::cmp::Reverse(*priority), slot.number));
        let slots: Vec<Slot> = slots.into_iter().map(|(_, slot)| slot).collect();
        let key_len = slots.first().map_or(0, |slot| slot.key_len);
        if slots.is_empty() {
            return Err(no_slot(&unusable));
        }
        Header::new(2, segment.payload(size, keyslots_end, key_len)?, (slots, unusable), notes)
    }

    /// Refuses what would be read wrong, by name.
    fn check_features(&self) -> Result<()> {
        let is_reencrypted = self.keyslots.values().any(|slot| matches!(slot, Keyslot::Reencrypt))
            || self.segments.values().any(|segment| segment.flags.iter().any(|flag| flag.starts_with("backup-")));
        let mandatory = &self.config.requirements.mandatory;
        if is_reencrypted || mandatory.iter().any(|name| name.contains("reencrypt")) {
            return Err(unsupported("its reencryption is not finished")
                .with_hint("cryptsetup reencrypt finishes it, on a machine that has the volume"));
        }
        match mandatory.first() {
            Some(name) => Err(unsupported(format!("it requires {}, which is not known", shown(name)))),
            None => Ok(()),
        }
    }
}

impl Segment {
    fn payload(&self, size: u64, keyslots_end: u64, key_len: usize) -> Result<Payload> {
        if self.kind != "crypt" {
            return Err(unsupported(format!("its data is of the type {}", shown(&self.kind))));
        }
        if self.integrity.is_some() {
            return Err(unsupported("its data has integrity tags (dm-integrity)"));
        }
        let offset = decimal(&self.offset)?;
        if offset == 0 {
            return Err(detached());
        }
        if offset < keyslots_end {
            return Err(corrupt("its data lies over its keyslots"));
        }
        let sector = self.sector_size.unwrap_or(512);
        if ![512, 1024, 2048, 4096].contains(&sector) {
            return Err(unsupported(format!("its sectors have {sector} bytes")));
        }
        let room = size.checked_sub(offset).ok_or_else(|| corrupt("its data lies past its end"))?;
        let len = match &*self.size {
            "dynamic" => room,
            fixed => decimal(fixed)?,
        };
        if len > room {
            return Err(corrupt("its data reaches past its end")
                .with_hint("the image may have been cut short: compare its size with that of its source"));
        }
        let len = len.saturating_sub(len.checked_rem(sector).unwrap_or(0));
        let first = self.iv_tweak.as_deref().map_or(Ok(0), decimal)?;
        let cipher = Spec::named(self.encryption.as_deref().unwrap_or_default(), key_len)?;
        Ok(Payload { offset, size: len, sector: size_of(sector), first, cipher })
    }
}

fn read_slot(number: u64, slot: &KeyArea, digest: &Digest, keyslots: std::ops::Range<u64>) -> Result<Slot> {
    let KeyArea { key_size, area, kdf, af, .. } = slot;
    let key_size = *key_size;
    let key_len = size_of(key_size);
    if !(16..=64).contains(&key_len) {
        return Err(unsupported(format!("it holds a key of {key_size} bytes")));
    }
    if af.kind != "luks1" || af.stripes != STRIPES {
        return Err(unsupported(format!("it is split by {} into {} stripes", shown(&af.kind), af.stripes)));
    }
    let start = decimal(&area.offset)?;
    let end = start.checked_add(decimal(&area.size)?);
    let needed = key_size.saturating_mul(u64::from(STRIPES));
    let lies_well = keyslots.contains(&start)
        && end.is_some_and(|end| end <= keyslots.end)
        && start.checked_add(needed).is_some_and(|needed| end.is_some_and(|end| needed <= end));
    if !lies_well {
        return Err(corrupt("it does not lie where keyslots lie"));
    }
    let argon2 = |algorithm, (passes, memory, lanes): (&u32, &u32, &u32), salt: &str| {
        let (passes, memory, lanes, salt) = (*passes, *memory, *lanes, bytes(salt)?);
        Ok::<_, Error>(Derivation::Argon2 { algorithm, passes, memory, lanes, salt })
    };
    let derivation = match kdf {
        Kdf::Pbkdf2 { hash, iterations, salt } => {
            Derivation::Pbkdf2 { hash: Hash::named(hash)?, iterations: *iterations, salt: bytes(salt)? }
        }
        Kdf::Argon2i { time, memory, cpus, salt } => argon2(Algorithm::Argon2i, (time, memory, cpus), salt)?,
        Kdf::Argon2id { time, memory, cpus, salt } => argon2(Algorithm::Argon2id, (time, memory, cpus), salt)?,
        Kdf::Other => return Err(unsupported("its key is derived in a way that is not known")),
    };
    let (Some(hash), Some(iterations), "pbkdf2") = (&digest.hash, digest.iterations, &*digest.kind) else {
        return Err(unsupported(format!("its digest is of the type {}", shown(&digest.kind))));
    };
    Ok(Slot {
        number,
        derivation,
        start,
        cipher: Spec::named(&area.encryption, size_of(area.key_size))?,
        split: Hash::named(&af.hash)?,
        key_len,
        digest: Proof {
            hash: Hash::named(hash)?,
            iterations,
            salt: bytes(&digest.salt)?,
            digest: bytes(&digest.digest).and_then(one_hash)?,
        },
    })
}

/// 64-bit numbers are texts in this JSON.
fn decimal(text: &str) -> Result<u64> {
    text.parse().map_err(|_| corrupt(format!("{} in the LUKS2 header is no number", shown(text))))
}

fn bytes(text: &str) -> Result<Vec<u8>> {
    let decoded = Base64::decode_vec(text).ok().filter(|bytes| !bytes.is_empty() && bytes.len() <= MAX_BYTES);
    decoded.ok_or_else(|| corrupt("a salt or a digest in the LUKS2 header is not base64"))
}

/// A digest, which is as long as that of a hash can be: PBKDF2 does all of its rounds for each of these.
fn one_hash(digest: Vec<u8>) -> Result<Vec<u8>> {
    if !(MIN_DIGEST..=MAX_DIGEST).contains(&digest.len()) {
        return Err(corrupt(format!("a digest in the LUKS2 header has {} bytes", digest.len())));
    }
    Ok(digest)
}

fn unsupported(message: impl Into<String>) -> Error {
    Error::unsupported(Layer::Volume, message)
}
