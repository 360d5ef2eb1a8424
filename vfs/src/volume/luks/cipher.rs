//! The ciphers of dm-crypt that are known: AES in XTS and CBC, with the sector's number as the nonce.
//!
//! Sources: the kernel's documentation of dm-crypt, and IEEE 1619 for XTS. Our own XTS over whole sectors: the crate
//! `xts-mode` goes block by block, at a sixth of the speed.

use crate::error::{Error, Layer, Result};
use aes::cipher::{Array, BlockCipherDecrypt, BlockCipherEncrypt, BlockSizeUser, KeyInit, consts::U16};
use aes::{Aes128, Aes192, Aes256};
use sha2::{Digest, Sha256};
use std::fmt;

/// How many bytes a block has.
const BLOCK: usize = 16;
/// How many blocks are worked on at a time: a sector of 512 bytes.
const BLOCKS: usize = 32;

type Block = Array<u8, U16>;

/// A cipher by its name, without a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spec {
    /// As dm-crypt spells it.
    pub(super) name: String,
    mode: Mode,
    /// The length of the key in bytes, both keys of XTS together.
    pub(super) key_len: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Xts(Number),
    Cbc(Number),
    CbcEssiv,
}

/// How many bits of a sector's number count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    Plain32,
    Plain64,
}

impl Number {
    fn of(self, sector: u64) -> [u8; BLOCK] {
        let number = match self {
            Self::Plain32 => sector & u64::from(u32::MAX),
            Self::Plain64 => sector,
        };
        u128::from(number).to_le_bytes()
    }
}

impl Spec {
    /// The cipher that a header names, with a key of so many bytes; `Unsupported` where it is another one.
    pub(super) fn named(name: &str, key_len: usize) -> Result<Self> {
        let mode = match name {
            "aes-xts-plain64" => Mode::Xts(Number::Plain64),
            "aes-xts-plain" => Mode::Xts(Number::Plain32),
            "aes-cbc-plain64" => Mode::Cbc(Number::Plain64),
            "aes-cbc-plain" => Mode::Cbc(Number::Plain32),
            "aes-cbc-essiv:sha256" => Mode::CbcEssiv,
            _ => {
                return Err(Error::unsupported(
                    Layer::Volume,
                    format!("the cipher {} is not known", super::shown(name)),
                ));
            }
        };
        let fits = match mode {
            Mode::Xts(_) => [32, 64].contains(&key_len),
            Mode::Cbc(_) | Mode::CbcEssiv => [16, 24, 32].contains(&key_len),
        };
        if !fits {
            let message = format!("the cipher {name:?} takes no key of {key_len} bytes");
            return Err(Error::unsupported(Layer::Volume, message));
        }
        Ok(Self { name: name.to_owned(), mode, key_len })
    }

    /// The cipher with a key, which has the length that it takes.
    pub(super) fn keyed(&self, key: &[u8]) -> Option<Cipher> {
        let halves = key.split_at_checked(key.len().checked_div(2)?)?;
        let keyed = match (self.mode, key.len()) {
            (Mode::Xts(number), 32) => Keyed::Xts128(Box::new(Xts::new(halves)?), number),
            (Mode::Xts(number), 64) => Keyed::Xts256(Box::new(Xts::new(halves)?), number),
            (Mode::Cbc(number), _) => Keyed::Cbc(Cbc::new(key)?, Nonce::Plain(number)),
            (Mode::CbcEssiv, _) => {
                // The key of the nonces is the hash of the volume's key (dm-crypt's documentation).
                let salt = zeroize::Zeroizing::new(<[u8; 32]>::from(Sha256::digest(key)));
                Keyed::Cbc(Cbc::new(key)?, Nonce::Essiv(Box::new(Aes256::new_from_slice(&*salt).ok()?)))
            }
            _ => return None,
        };
        Some(Cipher(keyed))
    }
}

/// A cipher with its key, which is zeroed when it is dropped.
pub(super) struct Cipher(Keyed);

enum Keyed {
    Xts128(Box<Xts<Aes128>>, Number),
    Xts256(Box<Xts<Aes256>>, Number),
    Cbc(Cbc, Nonce),
}

/// How a sector's nonce comes from its number.
enum Nonce {
    Plain(Number),
    Essiv(Box<Aes256>),
}

impl Nonce {
    fn of(&self, sector: u64) -> Block {
        match self {
            Self::Plain(number) => number.of(sector).into(),
            Self::Essiv(cipher) => {
                let mut nonce = Block::from(Number::Plain64.of(sector));
                cipher.encrypt_block(&mut nonce);
                nonce
            }
        }
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cipher(…)")
    }
}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Encrypt,
    Decrypt,
}

impl Cipher {
    /// Works on whole sectors of `size` bytes in place; `first` is the number of the first, counted in 512 bytes.
    pub(super) fn apply(&self, way: Way, sectors: &mut [u8], size: usize, first: u64) {
        let step = u64::try_from(size).unwrap_or(0).checked_div(512).unwrap_or(0);
        for (place, sector) in (0_u64..).zip(sectors.chunks_exact_mut(size.max(BLOCK))) {
            let number = first.wrapping_add(place.wrapping_mul(step));
            let (blocks, _) = Block::slice_as_chunks_mut(sector);
            match &self.0 {
                Keyed::Xts128(xts, plain) => xts.apply(way, blocks, plain.of(number)),
                Keyed::Xts256(xts, plain) => xts.apply(way, blocks, plain.of(number)),
                Keyed::Cbc(cbc, nonce) => cbc.apply(way, blocks, nonce.of(number)),
            }
        }
    }
}

/// XTS: each block under a mask that doubles from block to block.
struct Xts<C> {
    data: C,
    tweak: C,
}

impl<C: KeyInit + BlockCipherEncrypt + BlockCipherDecrypt + BlockSizeUser<BlockSize = U16>> Xts<C> {
    fn new((data, tweak): (&[u8], &[u8])) -> Option<Self> {
        Some(Self { data: C::new_from_slice(data).ok()?, tweak: C::new_from_slice(tweak).ok()? })
    }

    fn apply(&self, way: Way, blocks: &mut [Block], nonce: [u8; BLOCK]) {
        let mut mask = Block::from(nonce);
        self.tweak.encrypt_block(&mut mask);
        let mut mask = u128::from_le_bytes(mask.into());
        for blocks in blocks.chunks_mut(BLOCKS) {
            let mut masks = [0_u128; BLOCKS];
            for (block, kept) in blocks.iter_mut().zip(&mut masks) {
                *kept = mask;
                under(block, mask);
                // Doubling in GF(2^128), without a branch on what is secret.
                let carry = (mask >> 127).wrapping_mul(0x87);
                mask = (mask << 1) ^ carry;
            }
            match way {
                Way::Encrypt => self.data.encrypt_blocks(blocks),
                Way::Decrypt => self.data.decrypt_blocks(blocks),
            }
            blocks.iter_mut().zip(masks).for_each(|(block, mask)| under(block, mask));
        }
    }
}

fn under(block: &mut Block, mask: u128) {
    let value = u128::from_le_bytes((*block).into()) ^ mask;
    *block = value.to_le_bytes().into();
}

/// CBC: each block is mixed with the one before.
enum Cbc {
    Aes128(Box<Aes128>),
    Aes192(Box<Aes192>),
    Aes256(Box<Aes256>),
}

impl Cbc {
    fn new(key: &[u8]) -> Option<Self> {
        Some(match key.len() {
            16 => Self::Aes128(Box::new(Aes128::new_from_slice(key).ok()?)),
            24 => Self::Aes192(Box::new(Aes192::new_from_slice(key).ok()?)),
            _ => Self::Aes256(Box::new(Aes256::new_from_slice(key).ok()?)),
        })
    }

    fn apply(&self, way: Way, blocks: &mut [Block], nonce: Block) {
        match self {
            Self::Aes128(cipher) => chain(&**cipher, way, blocks, nonce),
            Self::Aes192(cipher) => chain(&**cipher, way, blocks, nonce),
            Self::Aes256(cipher) => chain(&**cipher, way, blocks, nonce),
        }
    }
}

fn chain<C>(cipher: &C, way: Way, blocks: &mut [Block], mut before: Block)
where
    C: BlockCipherEncrypt + BlockCipherDecrypt + BlockSizeUser<BlockSize = U16>,
{
    if way == Way::Encrypt {
        for block in blocks {
            under(block, u128::from_le_bytes(before.into()));
            cipher.encrypt_block(block);
            before = *block;
        }
        return;
    }
    for blocks in blocks.chunks_mut(BLOCKS) {
        let mut masks = [0_u128; BLOCKS];
        for (block, mask) in blocks.iter().zip(&mut masks) {
            *mask = u128::from_le_bytes(before.into());
            before = *block;
        }
        cipher.decrypt_blocks(blocks);
        blocks.iter_mut().zip(masks).for_each(|(block, mask)| under(block, mask));
    }
}

#[cfg(test)]
#[path = "cipher_tests.rs"]
mod tests;
