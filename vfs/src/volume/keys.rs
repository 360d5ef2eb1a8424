//! Passphrases, and the volumes that they are for.

use super::luks::Whose;
use super::{Base, Selector, VolumeInfo};
use std::fmt;
use zeroize::Zeroizing;

/// A passphrase and the volume that it is for.
#[derive(Clone)]
pub struct Key {
    volume: Option<Selector>,
    passphrase: Zeroizing<Vec<u8>>,
}

/// The passphrases at hand, in the order in which they are tried.
#[derive(Clone, Debug, Default)]
pub struct Keys(Vec<Key>);

impl Key {
    /// A passphrase for one volume, or for every one that is encrypted where none is named.
    pub fn new(volume: Option<Selector>, passphrase: Zeroizing<Vec<u8>>) -> Self {
        Self { volume, passphrase }
    }

    fn is_for(&self, info: &VolumeInfo) -> bool {
        let named = |uuid: &String| {
            let known = [Some(&info.part_uuid), info.signature.as_ref().map(|signature| &signature.uuid)];
            known.into_iter().flatten().any(|known| known.eq_ignore_ascii_case(uuid))
        };
        match &self.volume {
            None => true,
            Some(Selector::Auto) => false,
            Some(Selector::Whole) => matches!(info.base, Base::Disk) && info.index.is_none(),
            Some(Selector::Index(index)) => matches!(info.base, Base::Disk) && info.index == Some(*index),
            Some(Selector::Uuid(uuid)) => named(uuid),
            Some(Selector::Label(label)) => {
                let known = [Some(&info.part_label), info.signature.as_ref().map(|signature| &signature.label)];
                known.into_iter().flatten().any(|known| known == label)
            }
            Some(Selector::Marked(mark, value)) => mark.is_of(value, info),
            Some(Selector::LogicalUuid(id)) => info.has_logical_uuid(id),
            Some(Selector::Logical(name)) => matches!(info.base, Base::Logical(_)) && info.name() == *name,
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("volume", &self.volume).finish_non_exhaustive()
    }
}

impl Keys {
    /// These, in this order.
    pub fn new(keys: Vec<Key>) -> Self {
        Self(keys)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is one that may be for a volume.
    pub(super) fn has_one_for(&self, info: &VolumeInfo) -> bool {
        self.of(info).next().is_some()
    }

    /// The volumes that are named and are none of these, each once, in the order in which they were given.
    pub(super) fn naming_none_of(&self, volumes: &[&VolumeInfo]) -> Vec<&Selector> {
        let strangers = self.0.iter().filter(|key| !volumes.iter().any(|info| key.is_for(info)));
        let mut named: Vec<&Selector> = Vec::new();
        for selector in strangers.filter_map(|key| key.volume.as_ref()) {
            if !named.contains(&selector) {
                named.push(selector);
            }
        }
        named
    }

    /// The passphrases for a volume, and whose work each is; those that name it come first.
    pub(super) fn of(&self, info: &VolumeInfo) -> impl Iterator<Item = (Whose, &[u8])> {
        let fits = self.0.iter().zip(0..).filter(|(key, _)| key.is_for(info));
        let others =
            self.0.iter().filter(|key| key.volume.is_none()).map(|key| (Whose::All, key.passphrase.as_slice()));
        let named = fits.filter(|(key, _)| key.volume.is_some());
        named.map(|(key, number)| (Whose::Named(number), key.passphrase.as_slice())).chain(others)
    }
}
