//! Where the contents come from that a stage has copied or moved.

use crate::path::Resolved;
use std::collections::{BTreeMap, BTreeSet};

/// For each path that a file was copied or moved to, the path that it came from, however it was changed since.
#[derive(Clone, Debug, Default)]
pub struct Origins(BTreeMap<Resolved, Resolved>);

impl Origins {
    /// Remembers where a file comes from.
    pub(super) fn add(&mut self, from: Resolved, to: Resolved) {
        self.0.insert(to, from);
    }

    /// The paths that a file was at before it came to this one, the last one first.
    pub fn of<'a>(&'a self, path: &Resolved) -> Vec<&'a Resolved> {
        let (mut path, mut paths, mut seen) = (path, Vec::new(), BTreeSet::new());
        // A file that is moved back goes in a circle.
        while let Some(from) = self.0.get(path).filter(|from| seen.insert(*from)) {
            paths.push(from);
            path = from;
        }
        paths
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
        let fs = MemFs::builder().file("/a", "x").build().unwrap();
        let mut stage = Stage::new(&fs);
        stage.copy(&path("/a"), &path("/b")).unwrap();
        stage.rename(&path("/b"), &path("/c")).unwrap();
        stage.rename(&path("/a"), &path("/b")).unwrap();
        stage.rename(&path("/b"), &path("/a")).unwrap();
        let of = |at| {
            let at = stage.resolve(&path(at)).unwrap();
            stage.origins().of(&at).into_iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(of("/c"), ["/b", "/a"]);
        assert_eq!(of("/a"), ["/b", "/a"]);
        assert_eq!(of("/d"), [""; 0]);
    }
}
