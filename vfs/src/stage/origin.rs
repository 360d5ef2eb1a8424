//! Where the contents come from that a stage has copied or moved.

use crate::path::Resolved;
use std::collections::{BTreeMap, BTreeSet};

/// For each path that a file was copied or moved to, the paths that it was at before, however it was changed since.
#[derive(Clone, Debug, Default)]
pub struct Origins(BTreeMap<Resolved, BTreeSet<Resolved>>);

impl Origins {
    /// Remembers where a file comes from.
    pub(super) fn add(&mut self, from: Resolved, to: Resolved) {
        let mut paths = self.0.get(&from).cloned().unwrap_or_default();
        paths.insert(from);
        self.0.insert(to, paths);
    }

    /// The paths that a file was at before it came to this one.
    pub fn of(&self, path: &Resolved) -> impl Iterator<Item = &Resolved> {
        self.0.get(path).into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use crate::fs::mem::MemFs;
    use crate::path::GuestPath;
    use crate::stage::Stage;

    #[test]
    fn a_file_is_followed_through_copies_and_moves() {
        let path = |path| GuestPath::parse(path).unwrap();
        let fs = MemFs::builder().file("/a", "x").file("/other", "y").build().unwrap();
        let mut stage = Stage::new(&fs);
        stage.copy(&path("/a"), &path("/b")).unwrap();
        stage.rename(&path("/b"), &path("/c")).unwrap();
        stage.rename(&path("/a"), &path("/b")).unwrap();
        stage.rename(&path("/b"), &path("/a")).unwrap();
        stage.copy(&path("/c"), &path("/b")).unwrap();
        stage.copy(&path("/b"), &path("/e")).unwrap();
        stage.remove(&path("/b")).unwrap();
        stage.copy(&path("/other"), &path("/b")).unwrap();
        let of = |at| {
            let at = stage.resolve(&path(at)).unwrap();
            stage.origins().of(&at).map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(of("/c"), ["/a", "/b"]);
        assert_eq!(of("/a"), ["/a", "/b"]);
        assert_eq!(of("/e"), ["/a", "/b", "/c"]);
        assert_eq!(of("/b"), ["/other"]);
        assert_eq!(of("/d"), [""; 0]);
    }
}
