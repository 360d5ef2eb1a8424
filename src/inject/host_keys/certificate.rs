//! Which key a certificate is of: PROTOCOL.certkeys of OpenSSH. (ssh-key takes none that is valid for ever, as most of hosts are.)

use base64ct::{Base64, Encoding as _};
use ssh_key::PublicKey;

/// Whether a text is a certificate, and of none of these keys.
pub(super) fn is_of_another(text: &str, keys: &[PublicKey]) -> bool {
    let Some(certified) = certified(text) else { return false };
    let is_of = |key: &PublicKey| {
        let bytes = key.to_bytes().unwrap_or_default();
        after_string(&bytes).is_some_and(|fields| certified.starts_with(fields))
    };
    !keys.iter().any(is_of)
}

/// A certificate from the fields of its key on, which come after its type and a nonce; `None` of what is none.
fn certified(text: &str) -> Option<Vec<u8>> {
    let mut words = text.split_ascii_whitespace();
    let (name, blob) = (words.next()?, words.next()?);
    let blob = Base64::decode_vec(blob).ok()?;
    let is_certificate = name.ends_with("-cert-v01@openssh.com") && blob.get(4..)?.starts_with(name.as_bytes());
    after_string(after_string(&blob)?).filter(|_| is_certificate).map(<[u8]>::to_vec)
}

/// What comes after a string of the protocol's, which has its length in four bytes before it.
fn after_string(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.get(usize::try_from(u32::from_be_bytes(*length)).ok()?..)
}
