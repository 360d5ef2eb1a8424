//! How much work the passphrases of a run may be, on all LUKS volumes of a disk together.

use super::derive::MAX_TRY;
use std::collections::BTreeMap;

/// What the passphrases that are for every volume may cost on a disk, in rounds of PBKDF2: four volumes with the largest keyslots, or
/// some hundred as cryptsetup makes them.
const MAX_SHARED: u64 = 4 * MAX_TRY;

/// What passphrases may still cost, in rounds of PBKDF2.
#[derive(Debug)]
pub(in crate::volume) struct Work {
    /// Those that are for every volume, together.
    shared: u64,
    /// Each of those that name a volume, by its number: a label may be that of many.
    named: BTreeMap<usize, u64>,
}

/// Whose work it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::volume) enum Whose {
    /// That of the passphrases for every volume.
    All,
    /// That of the passphrase with this number, which names its volume.
    Named(usize),
}

impl Work {
    /// All of it.
    pub(in crate::volume) fn new() -> Self {
        Self { shared: MAX_SHARED, named: BTreeMap::new() }
    }

    /// What is left of it for a passphrase.
    pub(in crate::volume) fn left(&mut self, whose: Whose) -> &mut u64 {
        match whose {
            Whose::All => &mut self.shared,
            Whose::Named(number) => self.named.entry(number).or_insert(MAX_TRY),
        }
    }
}
