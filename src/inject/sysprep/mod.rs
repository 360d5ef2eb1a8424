//! What makes a guest this one machine is taken out of it, so that clones of it become machines of their own.
//!
//! An operation is a line of the [table](table::OPERATIONS): what it removes, and what else it does. The names are virt-sysprep's.

mod account;
mod cloud_init;
mod host_keys;
mod identity;
mod ifcfg;
mod rule;
mod spool;
mod table;

#[cfg(test)]
mod tests;

use super::{InjectError, Injector, Item, Outcome, label};
use crate::guest::Guest;
use imgraft_vfs::stage::Stage;
use rule::Rule;
use table::OPERATIONS;

/// One operation, by its place in the table. They are done in the order of their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Operation(usize);

/// When an operation is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// Unless it is left out.
    Default,
    /// Only where it is named.
    OnRequest,
    /// Never: why, a clause.
    Refused(&'static str),
}

/// A line of the table.
#[derive(Debug)]
struct Entry {
    name: &'static str,
    /// What it does, beginning with a verb.
    heading: &'static str,
    usage: Usage,
    /// What is removed.
    rules: &'static [Rule],
    /// What else is done.
    also: Option<Also>,
}

type Also = fn(&mut Site<'_, '_>) -> Result<(), InjectError>;

/// A guest in the middle of an operation.
#[derive(Debug)]
struct Site<'s, 'f> {
    guest: &'s Guest,
    stage: &'s mut Stage<'f>,
    accounts: &'s ChosenAccounts,
    /// How many paths the rules have removed.
    removed: usize,
    outcome: &'s mut Outcome,
}

/// Whose accounts are removed.
#[derive(Clone, Debug, Default)]
pub struct ChosenAccounts {
    /// Theirs; those of all people, where nobody is named.
    pub remove: Vec<String>,
    /// And not theirs.
    pub keep: Vec<String>,
}

/// An operation that is to be done.
#[derive(Clone, Debug)]
pub struct Sysprep {
    /// Which.
    pub operation: Operation,
    /// For the one that is about accounts.
    pub accounts: ChosenAccounts,
}

impl Operation {
    /// All of them, by name.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..OPERATIONS.len()).map(Self)
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        OPERATIONS.iter().position(|entry| entry.name == name).map(Self)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.entry().map_or("", |entry| entry.name)
    }

    /// What it does, beginning with a verb.
    pub fn heading(self) -> &'static str {
        self.entry().map_or("", |entry| entry.heading)
    }

    /// When it is done.
    pub fn usage(self) -> Usage {
        self.entry().map_or(Usage::OnRequest, |entry| entry.usage)
    }

    fn entry(self) -> Option<&'static Entry> {
        OPERATIONS.get(self.0)
    }
}

impl Injector for Sysprep {
    fn item(&self) -> Item {
        Item::Operation(self.operation)
    }

    fn stage(&self, guest: &Guest, stage: &mut Stage<'_>) -> Result<Outcome, InjectError> {
        let mut outcome = Outcome::default();
        let Some(entry) = self.operation.entry() else { return Ok(outcome) };
        let before = stage.savepoint();
        let removed = rule::remove(entry.rules, guest, stage)?;
        if let Some(also) = entry.also {
            also(&mut Site { guest, stage, accounts: &self.accounts, removed, outcome: &mut outcome })?;
            label::label_new(guest, stage, &before, &mut outcome)?;
        }
        Ok(outcome)
    }
}
