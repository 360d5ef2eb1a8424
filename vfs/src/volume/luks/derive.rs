//! From a passphrase to the key of a keyslot, within bounds; and the digest that tells the right volume key.

use super::hash::Hash;
use crate::error::{Error, ErrorKind, Layer, Result};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use zeroize::{Zeroize, Zeroizing};

/// How much memory argon2 may ask for, in KiB: 1 GiB, the most that cryptsetup chooses of itself.
pub(super) const MAX_MEMORY: u32 = 1 << 20;
/// How much memory argon2 may go through, passes times KiB: a minute or so of work.
const MAX_WORK: u64 = 64 << 20;
/// How many lanes argon2 may have; cryptsetup makes four at most.
const MAX_LANES: u32 = 16;
/// How many rounds PBKDF2 may take: half a minute of SHA-256, and ten times what cryptsetup chooses of itself.
pub(super) const MAX_ITERATIONS: u32 = 1 << 26;

/// What the try of one passphrase on all keyslots of a volume may cost, in rounds of PBKDF2: a minute or two of work, the largest
/// keyslot of either kind, and more than twenty as cryptsetup makes them, of argon2 with four passes over 1 GiB.
pub(super) const MAX_TRY: u64 = 3 << 26;
/// How many rounds of PBKDF2 are taken for as much work as a KiB that argon2 goes through.
const ROUNDS_PER_KIB: u64 = 2;

/// How the key of a keyslot comes from a passphrase.
#[derive(Debug)]
pub(super) enum Derivation {
    Pbkdf2 { hash: Hash, iterations: u32, salt: Vec<u8> },
    Argon2 { algorithm: Algorithm, passes: u32, memory: u32, lanes: u32, salt: Vec<u8> },
}

impl Derivation {
    /// How it is named in a report: `argon2id, 65536 KiB`.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Pbkdf2 { hash, iterations, .. } => {
                let hash = format!("{hash:?}").to_lowercase();
                format!("pbkdf2-{hash}, {iterations} rounds")
            }
            Self::Argon2 { algorithm, passes, memory, .. } => {
                format!("{}, {passes} passes over {memory} KiB", algorithm.as_str())
            }
        }
    }

    /// `Unsupported` where the header asks for more than the bounds of one keyslot allow.
    pub(super) fn check(&self) -> Result<()> {
        match self {
            Self::Pbkdf2 { iterations, .. } => check_iterations(*iterations),
            Self::Argon2 { passes, memory, lanes, .. } => {
                let work = u64::from(*passes).saturating_mul(u64::from(*memory));
                if *memory <= MAX_MEMORY && work <= MAX_WORK && *lanes <= MAX_LANES {
                    return Ok(());
                }
                let message = format!(
                    "it asks for {passes} passes over {memory} KiB of memory in {lanes} lanes, more than is allowed \
                     ({MAX_MEMORY} KiB, {MAX_WORK} KiB in all passes, {MAX_LANES} lanes)"
                );
                Err(Error::unsupported(Layer::Volume, message)
                    .with_hint("cryptsetup luksConvertKey --pbkdf-memory 1048576 makes the keyslot smaller"))
            }
        }
    }

    /// What it costs, in rounds of PBKDF2.
    pub(super) fn cost(&self, len: usize) -> u64 {
        match self {
            Self::Pbkdf2 { hash, iterations, .. } => hash.rounds(*iterations, len),
            Self::Argon2 { passes, memory, .. } => {
                u64::from(*passes).saturating_mul(u64::from(*memory)).saturating_mul(ROUNDS_PER_KIB)
            }
        }
    }

    /// The key; `Unsupported` where the header asks for more than the bounds allow.
    pub(super) fn key(&self, passphrase: &[u8], len: usize) -> Result<Zeroizing<Vec<u8>>> {
        self.check()?;
        let mut key = Zeroizing::new(vec![0; len]);
        match self {
            Self::Pbkdf2 { hash, iterations, salt } => hash.pbkdf2(passphrase, salt, *iterations, &mut key),
            Self::Argon2 { algorithm, passes, memory, lanes, salt } => {
                let wrong =
                    |error: argon2::Error| Error::corrupt(Layer::Volume, format!("argon2 cannot do it: {error}"));
                let params = Params::new(*memory, *passes, *lanes, Some(len)).map_err(wrong)?;
                let mut blocks = Vec::new();
                blocks.try_reserve_exact(params.block_count()).map_err(|_| {
                    let message = format!("there is no room for the {memory} KiB of memory that it asks for");
                    Error::new(ErrorKind::Io, Layer::Host, message)
                })?;
                blocks.resize(params.block_count(), Block::default());
                let derived = Argon2::new(*algorithm, Version::V0x13, params).hash_password_into_with_memory(
                    passphrase,
                    salt,
                    &mut key,
                    &mut blocks,
                );
                blocks.iter_mut().for_each(Zeroize::zeroize);
                derived.map_err(wrong)?;
            }
        }
        Ok(key)
    }
}

/// What tells the right volume key from a wrong one.
#[derive(Clone, Debug)]
pub(super) struct Digest {
    pub(super) hash: Hash,
    pub(super) iterations: u32,
    pub(super) salt: Vec<u8>,
    pub(super) digest: Vec<u8>,
}

impl Digest {
    /// `Unsupported` where it asks for more rounds than are allowed.
    pub(super) fn check(&self) -> Result<()> {
        check_iterations(self.iterations)
    }

    /// What it costs, in rounds of PBKDF2.
    pub(super) fn cost(&self) -> u64 {
        self.hash.rounds(self.iterations, self.digest.len())
    }

    /// Whether this is the volume key.
    pub(super) fn is_of(&self, key: &[u8]) -> Result<bool> {
        self.check()?;
        let mut digest = vec![0; self.digest.len()];
        self.hash.pbkdf2(key, &self.salt, self.iterations, &mut digest);
        Ok(digest == self.digest)
    }
}

fn check_iterations(iterations: u32) -> Result<()> {
    match iterations {
        1..=MAX_ITERATIONS => Ok(()),
        _ => Err(Error::unsupported(
            Layer::Volume,
            format!("it asks for {iterations} rounds of PBKDF2, and 1 to {MAX_ITERATIONS} are allowed"),
        )),
    }
}
