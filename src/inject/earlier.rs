//! What the items of a run have put in so far, which a later item of it must not undo.

use super::files::below::there;
use super::{HostName, InjectError, Item, Premise, READ_LIMIT, Reader, Request};
use imgraft_vfs::ErrorKind;
use imgraft_vfs::fs::{FileType, Lookup, Metadata};
use imgraft_vfs::path::{GuestPath, Resolved};
use imgraft_vfs::stage::{Action, Change, Stage};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// The files that the items of a run have put in so far or have found as they put them in, each with the last of them that has
/// changed it.
#[derive(Debug, Default)]
pub struct Earlier {
    files: BTreeMap<Resolved, Item>,
    readers: Vec<(GuestPath, Reader, Item)>,
    premises: Vec<(Premise, Item)>,
    host_name: Option<HostName>,
    awaits_files: bool,
}

impl Earlier {
    /// Notes what comes after the request that is staged next.
    pub(super) fn expect(&mut self, rest: &[Request]) {
        self.awaits_files = rest.iter().any(|request| request.injector.item() == Item::Files);
    }

    /// Adds what an item has changed, and what it has spoken of. What it has removed may come back.
    pub(super) fn add(&mut self, item: Item, changes: &[Change], spoken_of: Vec<Resolved>) {
        for change in changes.iter().filter(|change| change.after.is_some() && !is_of_skeleton(item, change)) {
            self.files.insert(change.path.clone(), item);
        }
        let is_changed = |path: &Resolved| changes.binary_search_by(|change| change.path.cmp(path)).is_ok();
        for path in spoken_of.into_iter().filter(|path| !is_changed(path)) {
            self.files.entry(path).or_insert(item);
        }
    }

    /// Adds who reads what an item needs.
    pub(super) fn add_readers(&mut self, item: Item, readers: Vec<(GuestPath, Reader)>) {
        self.readers.extend(readers.into_iter().map(|(path, reader)| (path, reader, item)));
    }

    /// Adds what an item has gone by.
    pub(super) fn add_premises(&mut self, item: Item, premises: Vec<Premise>) {
        self.premises.extend(premises.into_iter().map(|premise| (premise, item)));
    }

    /// Fails where the guest does not use any more what an item has put in. Of files in several parts the last one is checked: it may
    /// mend what another has spoilt.
    pub(super) fn check_premises(&self, stage: &Stage<'_>) -> Result<(), InjectError> {
        if self.awaits_files {
            return Ok(());
        }
        self.premises.iter().try_for_each(|(premise, item)| premise.check(*item, stage))
    }

    /// What items have gone by, each with its item.
    pub(super) fn premises(&self) -> &[(Premise, Item)] {
        &self.premises
    }

    /// Adds what the guest is called from now on, where an item says that.
    pub(super) fn add_host_name(&mut self, name: Option<HostName>) {
        self.host_name = name.or(self.host_name.take());
    }

    /// What an item has said that the guest is called.
    pub(super) fn host_name(&self) -> Option<&HostName> {
        self.host_name.as_ref()
    }

    /// What these files are now.
    pub(super) fn kept(&self, stage: &Stage<'_>) -> Result<Kept, InjectError> {
        let mut kept = Kept::default();
        for (path, item) in &self.files {
            if let Some(state) = State::of(path, stage)? {
                kept.files.insert(path.clone(), (*item, state));
            }
        }
        for (path, reader, item) in &self.readers {
            let at = stage.resolve(path)?;
            // What is not taken now is not made worse.
            if found(&at, stage)?.is_some_and(|metadata| reader.takes(&metadata)) {
                kept.readers.push((at, *reader, *item));
            }
        }
        Ok(kept)
    }
}

/// Whether a file is one of those that a new home begins with, which are there to be replaced.
fn is_of_skeleton(item: Item, change: &Change) -> bool {
    let is_directory = change.metadata().is_some_and(|metadata| metadata.file_type == FileType::Directory);
    let is_new = change.actions().contains(&Action::Create);
    item == Item::Accounts && is_new && !is_directory && !change.path.as_bytes().starts_with(b"/etc/")
}

/// Files that are to stay what they are, of directories only that they are there; and those that are to be read by a program which
/// takes them now.
#[derive(Debug, Default)]
pub(super) struct Kept {
    files: BTreeMap<Resolved, (Item, State)>,
    readers: Vec<(Resolved, Reader, Item)>,
}

impl Kept {
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The file at `at` may be what it is now.
    pub(super) fn renew(&mut self, at: &Resolved, stage: &Stage<'_>) -> Result<(), InjectError> {
        if let Some((_, state)) = self.files.get_mut(at)
            && let Some(now) = State::of(at, stage)?
        {
            *state = now;
        }
        Ok(())
    }

    /// The item whose file at `at` is not what it was.
    pub(super) fn undone(&self, at: &Resolved, stage: &Stage<'_>) -> Result<Option<Item>, InjectError> {
        match self.files.get(at) {
            Some((item, state)) if State::of(at, stage)?.as_ref() != Some(state) => Ok(Some(*item)),
            _ => Ok(None),
        }
    }

    /// The item whose symbolic link is at `at`.
    pub(super) fn link(&self, at: &Resolved) -> Option<Item> {
        self.files.get(at).filter(|(_, state)| matches!(state, State::Link(_))).map(|(item, _)| *item)
    }

    /// Any file that is not what it was, rather than the directory that it was in, and its item.
    pub(super) fn any_undone(&self, stage: &Stage<'_>) -> Result<Option<(&Resolved, Item)>, InjectError> {
        let mut directory = None;
        for (path, (_, state)) in &self.files {
            match self.undone(path, stage)? {
                Some(item) if *state != State::Other(FileType::Directory) => return Ok(Some((path, item))),
                Some(item) => directory = directory.or(Some((path, item))),
                None => {}
            }
        }
        Ok(directory)
    }

    /// A file that its reader does not take any more, by owner or mode.
    pub(super) fn any_refused(&self, stage: &Stage<'_>) -> Result<Option<Refused<'_>>, InjectError> {
        for (path, reader, item) in &self.readers {
            if let Some(metadata) = found(path, stage)?.filter(|metadata| !reader.takes(metadata)) {
                return Ok(Some(Refused { path, reader: *reader, item: *item, metadata }));
            }
        }
        Ok(None)
    }
}

/// A file that its reader does not take.
#[derive(Debug)]
pub(super) struct Refused<'k> {
    pub(super) path: &'k Resolved,
    pub(super) reader: Reader,
    pub(super) item: Item,
    pub(super) metadata: Metadata,
}

/// What is known of a file; `None` where nothing is there.
fn found(at: &Resolved, stage: &Stage<'_>) -> Result<Option<Metadata>, InjectError> {
    Ok(match there(stage.lookup(at))? {
        Some(_) => stage.lookup(at)?,
        None => None,
    })
}

/// What a file is, as far as another one in its place would differ.
#[derive(Debug, PartialEq, Eq)]
enum State {
    /// The SHA-256 of what a regular file holds.
    Content([u8; 32]),
    /// The size of one that is too large for an item to have written it.
    Size(u64),
    /// The target of a symbolic link.
    Link(Vec<u8>),
    Other(FileType),
}

impl State {
    /// `None` where nothing is there.
    fn of(at: &Resolved, stage: &Stage<'_>) -> Result<Option<Self>, InjectError> {
        let Some(file_type) = there(stage.lookup(at))? else { return Ok(None) };
        Ok(Some(match file_type {
            FileType::Symlink => Self::Link(stage.read_link(at)?),
            FileType::Regular => match stage.read(&GuestPath::from(at), READ_LIMIT) {
                Ok(content) => Self::Content(Sha256::digest(content.unwrap_or_default()).into()),
                Err(error) if error.kind() == ErrorKind::Unsupported => {
                    Self::Size(stage.lookup(at)?.map_or(0, |metadata| metadata.size))
                }
                Err(error) => return Err(error.into()),
            },
            other => Self::Other(other),
        }))
    }
}
