//! The anti-forensic merge: a key that is spread over thousands of stripes, so that losing any of them loses it.
//!
//! Source: the LUKS1 on-disk format specification, section 2.4.

use super::hash::Hash;
use zeroize::Zeroizing;

/// The key of `len` bytes in these stripes, each as long as the key; `None` where there are no stripes.
pub(super) fn merge(stripes: &[u8], len: usize, hash: Hash) -> Option<Zeroizing<Vec<u8>>> {
    let mut key = Zeroizing::new(vec![0; len]);
    let mut chunks = stripes.chunks_exact(len);
    let last = chunks.next_back()?;
    for stripe in chunks {
        xor(&mut key, stripe);
        diffuse(&mut key, hash);
    }
    xor(&mut key, last);
    Some(key)
}

fn xor(key: &mut [u8], stripe: &[u8]) {
    key.iter_mut().zip(stripe).for_each(|(byte, other)| *byte ^= other);
}

/// Hashes a block piece by piece, each with its number before it; the last piece may be shorter than the hash.
fn diffuse(key: &mut [u8], hash: Hash) {
    let size = hash.of(&[]).len().max(1);
    for (number, piece) in (0_u32..).zip(key.chunks_mut(size)) {
        let digest = Zeroizing::new(hash.of(&[&number.to_be_bytes(), piece]));
        piece.iter_mut().zip(digest.iter()).for_each(|(byte, new)| *byte = *new);
    }
}
