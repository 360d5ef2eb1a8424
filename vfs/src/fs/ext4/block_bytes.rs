//! The bytes of a block, shared, and what they were found to be: nobody has to check again what has not changed.

use super::dir_block::BlockFormat;
use super::index_block::Role;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

/// The bytes of a block.
#[derive(Clone, Debug)]
pub(super) struct BlockBytes(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bytes: Vec<u8>,
    found: OnceLock<Found>,
}

/// What bytes are without doubt, checksum included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Well formed entries of a directory.
    Entries(BlockFormat),
    /// A part of a directory's index, with the checksum that this seed gives.
    Index(Role, Option<u32>),
}

impl BlockBytes {
    /// Whether they were found to be this.
    pub(super) fn are(&self, what: Found) -> bool {
        self.0.found.get() == Some(&what)
    }

    /// Notes what they were found to be; of two answers the first stays.
    pub(super) fn note(&self, what: Found) {
        let _ = self.0.found.set(what);
    }

    /// The bytes to be changed, which may become anything by that; of shared ones a copy.
    pub(super) fn to_mut(&mut self) -> &mut Vec<u8> {
        let inner = Arc::make_mut(&mut self.0);
        inner.found = OnceLock::new();
        &mut inner.bytes
    }
}

impl Clone for Inner {
    fn clone(&self) -> Self {
        Self { bytes: self.bytes.clone(), found: OnceLock::new() }
    }
}

impl From<Vec<u8>> for BlockBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Inner { bytes, found: OnceLock::new() }))
    }
}

impl Deref for BlockBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0.bytes
    }
}

impl PartialEq for BlockBytes {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_bytes_are_to_be_checked_again() {
        let what = Found::Index(Role::Root, Some(7));
        let mut one = BlockBytes::from(vec![1, 2]);
        assert!(!one.are(what));
        one.note(what);
        let mut other = one.clone();
        assert!(other.are(what) && !other.are(Found::Index(Role::Root, None)));
        other.to_mut()[0] = 3;
        assert!(!other.are(what) && one.are(what));
        assert_eq!((&*one, &*other), (&[1, 2][..], &[3, 2][..]));
        drop(other);
        one.to_mut();
        assert!(!one.are(what));
    }
}
