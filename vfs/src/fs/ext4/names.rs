//! Names that were looked up or made, so that the way to a path is found in the blocks of its directories once.

use crate::path::Resolved;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;

/// How many answers are kept; past it all are dropped.
const CAPACITY: usize = 4096;

/// What the directories say.
#[derive(Default)]
pub(super) struct Names {
    known: RefCell<Known>,
}

#[derive(Default)]
struct Known {
    /// By the directory's inode, then by name: the inode, or that there is none.
    directories: HashMap<u32, HashMap<Vec<u8>, Option<u32>>>,
    answers: usize,
    /// The directory that a path was last looked up in, and its inode.
    way: Option<(Resolved, u32)>,
}

impl Names {
    /// The inode that the path of a directory led to, where that was the last one.
    pub(super) fn way(&self, directory: &Resolved) -> Option<u32> {
        let known = self.known.borrow();
        known.way.as_ref().filter(|(path, _)| path == directory).map(|(_, inode)| *inode)
    }

    /// Keeps the inode that the path of a directory leads to.
    pub(super) fn keep_way(&self, directory: Resolved, inode: u32) {
        self.known.borrow_mut().way = Some((directory, inode));
    }

    /// What is known of a name: nothing, that there is none, or its inode.
    pub(super) fn get(&self, directory: u32, name: &[u8]) -> Option<Option<u32>> {
        self.known.borrow().directories.get(&directory)?.get(name).copied()
    }

    /// Keeps an answer.
    pub(super) fn keep(&self, directory: u32, name: &[u8], inode: Option<u32>) {
        let mut known = self.known.borrow_mut();
        if known.answers >= CAPACITY {
            *known = Known::default();
        }
        known.answers = known.answers.saturating_add(1);
        known.directories.entry(directory).or_default().insert(name.to_vec(), inode);
    }

    /// Drops the answer for a name, which is about to change, and the way that may lead through it.
    pub(super) fn forget_name(&mut self, directory: u32, name: &[u8]) {
        let known = self.known.get_mut();
        let answer = known.directories.get_mut(&directory).and_then(|names| names.remove(name));
        if answer.is_some() {
            known.answers = known.answers.saturating_sub(1);
        }
        // No way leads through a name that is not there.
        if answer != Some(None) {
            known.way = None;
        }
    }

    /// Drops every answer.
    pub(super) fn forget(&mut self) {
        *self.known.get_mut() = Known::default();
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").field("answers", &self.known.borrow().answers).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_is_forgotten_with_any_name_that_it_may_lead_through() {
        let (mut names, here) = (Names::default(), Resolved::root().child(b"here"));
        let keep = |names: &Names| {
            names.keep(2, b"here", Some(12));
            names.keep_way(here.clone(), 12);
            assert_eq!((names.way(&here), names.way(&Resolved::root())), (Some(12), None));
        };
        keep(&names);
        names.keep(12, b"new", None);
        names.forget_name(12, b"new");
        assert_eq!((names.get(12, b"new"), names.way(&here)), (None, Some(12)));
        names.forget_name(2, b"here");
        assert_eq!((names.get(2, b"here"), names.way(&here)), (None, None));
        keep(&names);
        // Of this one nothing is known.
        names.forget_name(2, b"there");
        assert_eq!(names.way(&here), None);
        keep(&names);
        names.forget();
        assert_eq!(names.way(&here), None);
    }
}
