//! A tree as lists: what the writers number.

use super::refuse;
use super::tree::{Directory, Node, Tree};
use crate::error::Error;
use crate::fs::Content;

/// All directories and files of a tree, numbered; parents come before what is in them, and the root is directory 0.
#[derive(Debug)]
pub(super) struct Flat<'t> {
    pub(super) directories: Vec<FlatDirectory<'t>>,
    pub(super) files: Vec<FlatFile<'t>>,
}

#[derive(Debug)]
pub(super) struct FlatDirectory<'t> {
    /// The number of the directory that holds it; the root holds itself.
    pub(super) parent: usize,
    pub(super) name: &'t [u8],
    /// In the order of the names' bytes.
    pub(super) entries: Vec<(&'t [u8], Numbered)>,
}

#[derive(Debug)]
pub(super) struct FlatFile<'t> {
    pub(super) parent: usize,
    pub(super) name: &'t [u8],
    pub(super) content: &'t Content,
}

/// What an entry is: a directory or a file of [`Flat`], by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Numbered {
    Directory(usize),
    File(usize),
}

impl<'t> Flat<'t> {
    pub(super) fn new(tree: &'t Tree) -> Self {
        let root = FlatDirectory { parent: 0, name: b"", entries: Vec::new() };
        let mut flat = Self { directories: vec![root], files: Vec::new() };
        let mut waiting: Vec<(usize, &'t Directory)> = vec![(0, tree.root())];
        while let Some((number, directory)) = waiting.pop() {
            let mut entries = Vec::with_capacity(directory.len());
            for (name, node) in directory {
                let numbered = match node {
                    Node::Directory(below) => {
                        let child = flat.directories.len();
                        flat.directories.push(FlatDirectory { parent: number, name, entries: Vec::new() });
                        waiting.push((child, below));
                        Numbered::Directory(child)
                    }
                    Node::File(content) => {
                        flat.files.push(FlatFile { parent: number, name, content });
                        Numbered::File(flat.files.len() - 1)
                    }
                };
                entries.push((name.as_slice(), numbered));
            }
            flat.directories[number].entries = entries;
        }
        flat
    }

    /// A refusal that names the entry `name` of a directory.
    pub(super) fn refuse(&self, parent: usize, name: &[u8], message: impl Into<String>) -> Error {
        let mut names = vec![name];
        let mut at = parent;
        while let Some(directory) = self.directories.get(at).filter(|_| at != 0) {
            names.push(directory.name);
            at = directory.parent;
        }
        names.reverse();
        refuse(message).with_guest_path(names.join(&b'/'))
    }
}
