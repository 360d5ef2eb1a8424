//! Which operations a `sysprep` does: `defaults`, `all`, names, and `-` before what is left out.

use super::{Edit, now};
use crate::cli;
use crate::failure::Failure;
use crate::guest::mounts::Beneath;
use crate::inject::{ChosenAccounts, Operation, Request, Sysprep, Usage};
use std::collections::BTreeSet;

const ACCOUNTS: &str = "user-account";

impl Edit {
    /// A run of `sysprep`: validates what was typed.
    pub fn sysprep(mut typed: cli::Sysprep) -> Result<Self, Failure> {
        let notes = super::virt_tools::of_sysprep(&typed)?;
        typed.target.file.image = typed.target.file.image.or(super::added::image(typed.add.add.take())?);
        let Chosen { operations, refused } = choose(&typed)?;
        let accounts = accounts(&typed, &operations)?;
        let optional: BTreeSet<Operation> =
            typed.optional.iter().map(|name| named("--optional", name)).collect::<Result<_, _>>()?;
        if let Some(operation) = optional.iter().find(|operation| !operations.contains(operation)) {
            let name = operation.name();
            return Err(Failure::usage(format!("--optional {name}: that operation is not among those that are done"))
                .with_hint(format!("add it with --operations defaults,{name}")));
        }
        let request = |operation: Operation| Request {
            required: !typed.best_effort && !optional.contains(&operation),
            injector: Box::new(Sysprep { operation, accounts: accounts.clone() }),
        };
        let requests = operations.iter().copied().map(request).collect();
        let mut edit = Self::of(typed.target, typed.writing, requests, now()?)?;
        // What lies on the disk is in every clone, be it seen by the guest or not.
        edit.target.mounts.beneath = Beneath::Reached;
        edit.notes.extend(notes);
        if !refused.is_empty() {
            let names: Vec<&str> = refused.into_iter().map(Operation::name).collect();
            let note =
                format!("of all operations these cannot be done, as --list-operations says: {}", names.join(", "));
            edit.notes.push(note);
        }
        Ok(edit)
    }
}

/// The operations to do, and those of `all` that cannot be done.
#[derive(Debug, Default)]
struct Chosen {
    operations: BTreeSet<Operation>,
    refused: BTreeSet<Operation>,
}

impl Chosen {
    fn defaults() -> impl Iterator<Item = Operation> {
        Operation::all().filter(|operation| operation.usage() == Usage::Default)
    }

    fn list(&mut self, option: &str, names: &[String]) -> Result<(), Failure> {
        names.iter().try_for_each(|name| match name.strip_prefix('-') {
            Some(name) => self.leave_out(option, name),
            None => self.add(option, name),
        })
    }

    fn add(&mut self, option: &str, name: &str) -> Result<(), Failure> {
        match name {
            "defaults" => self.operations.extend(Self::defaults()),
            "all" => {
                let (refused, done): (Vec<_>, Vec<_>) =
                    Operation::all().partition(|operation| matches!(operation.usage(), Usage::Refused(_)));
                self.operations.extend(done);
                self.refused.extend(refused);
            }
            name => {
                let operation = named(option, name)?;
                if let Usage::Refused(why) = operation.usage() {
                    return Err(Failure::usage(format!("{option} {name}: this operation cannot be done: {why}"))
                        .with_hint("leave it out; imgraft sysprep --list-operations lists what can be done"));
                }
                self.operations.insert(operation);
            }
        }
        Ok(())
    }

    fn leave_out(&mut self, option: &str, name: &str) -> Result<(), Failure> {
        match name {
            "defaults" => Self::defaults().for_each(|operation| {
                self.operations.remove(&operation);
            }),
            "all" => *self = Self::default(),
            name => {
                let operation = named(option, name)?;
                self.operations.remove(&operation);
                self.refused.remove(&operation);
            }
        }
        Ok(())
    }
}

/// What a manifest names at `place`.
pub(super) fn operations(place: &str, names: &[String]) -> Result<BTreeSet<Operation>, Failure> {
    let mut chosen = Chosen::default();
    chosen.list(place, names)?;
    if chosen.operations.is_empty() && !names.is_empty() {
        return Err(none_left(place));
    }
    Ok(chosen.operations)
}

fn none_left(option: &str) -> Failure {
    Failure::usage(format!("{option}: none is left to be done"))
        .with_hint("begin with those that are done unasked: defaults, and then -NAME")
}

fn choose(typed: &cli::Sysprep) -> Result<Chosen, Failure> {
    let mut chosen = Chosen::default();
    for name in &typed.enable {
        let operation = named("--enable", name)?;
        chosen.add("--enable", operation.name())?;
    }
    chosen.list("--operations", &typed.operations)?;
    if typed.enable.is_empty() && typed.operations.is_empty() {
        chosen.add("", "defaults")?;
    }
    if chosen.operations.is_empty() {
        return Err(none_left("--operations"));
    }
    Ok(chosen)
}

fn named(option: &str, name: &str) -> Result<Operation, Failure> {
    Operation::named(name).ok_or_else(|| {
        let name = super::items::shorten(name);
        Failure::usage(format!("{option}: no operation is called '{name}'"))
            .with_hint("imgraft sysprep --list-operations lists them")
    })
}

fn accounts(typed: &cli::Sysprep, operations: &BTreeSet<Operation>) -> Result<ChosenAccounts, Failure> {
    let lists =
        [("--remove-user-accounts", &typed.remove_user_accounts), ("--keep-user-accounts", &typed.keep_user_accounts)];
    for (option, names) in lists {
        if names.iter().any(String::is_empty) {
            return Err(Failure::usage(format!("{option}: a name is empty")));
        }
        if !names.is_empty() && !operations.iter().any(|operation| operation.name() == ACCOUNTS) {
            return Err(Failure::usage(format!("{option}: the operation {ACCOUNTS} is not among those that are done"))
                .with_hint(format!("--operations defaults,{ACCOUNTS}")));
        }
    }
    Ok(ChosenAccounts { remove: typed.remove_user_accounts.clone(), keep: typed.keep_user_accounts.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn typed(words: &[&str]) -> cli::Sysprep {
        match cli::Cli::try_parse_from([&["imgraft", "sysprep", "x"], words].concat()) {
            Ok(cli::Cli { command: cli::Command::Sysprep(typed), .. }) => *typed,
            other => panic!("{other:?}"),
        }
    }

    fn chosen(words: &[&str]) -> Result<String, String> {
        let edit = Edit::sysprep(typed(words)).map_err(|failure| failure.message)?;
        let names: Vec<_> = edit.requests.iter().map(|request| request.injector.item().name()).collect();
        Ok(names.join(","))
    }

    #[test]
    fn operations_are_chosen_from_left_to_right() {
        let defaults = chosen(&[]).unwrap();
        assert!(defaults.starts_with("abrt-data,backup-files,bash-history") && defaults.contains("machine-id"));
        for not in ["user-account", "firewall-rules", "fs-uuids", "lvm-uuids", "customize"] {
            assert!(!defaults.split(',').any(|name| name == not), "{not}");
        }
        assert_eq!(chosen(&["--operations", "defaults"]).unwrap(), defaults);
        assert_eq!(chosen(&["--operations", "tmp-files,machine-id"]).unwrap(), "machine-id,tmp-files");
        assert_eq!(chosen(&["--enable", "utmp,tmp-files"]).unwrap(), "tmp-files,utmp");
        assert_eq!(
            chosen(&["--enable", "utmp,tmp-files", "--operations", "-utmp,machine-id"]).unwrap(),
            "machine-id,tmp-files"
        );
        let without = chosen(&["--operations", "defaults,-machine-id,-fs-uuids"]).unwrap();
        assert_eq!(without, defaults.replace("machine-id,", ""));
        assert_eq!(chosen(&["--operation", "-utmp,utmp"]).unwrap(), "utmp");
        assert_eq!(chosen(&["--operations", "all,-all", "--operations", "utmp"]).unwrap(), "utmp");
        let rest = chosen(&["--operations", "all,-defaults"]).unwrap();
        assert_eq!(rest, "ca-certificates,firewall-rules,flag-reconfiguration,kerberos-data,user-account");
    }

    #[test]
    fn what_cannot_be_done_is_not_passed_over() {
        for (words, reason) in [
            (&["--operations", "defaults,fs-uuids"][..], "the guest would not boot"),
            (&["--enable", "lvm-uuids"], "no LVM2 metadata"),
            (&["--enable", "script"], "runs no programs"),
            (&["--enable", "customize"], "imgraft inject does that"),
            (&["--enable", "all"], "no operation is called 'all'"),
            (&["--operations", "unknown"], "no operation is called 'unknown'"),
            (&["--operations", "-unknown"], "no operation is called 'unknown'"),
            (&["--operations", "utmp,"], "no operation is called ''"),
            (&["--operations", "-utmp"], "none is left"),
            (&["--optional", "user-account"], "not among those that are done"),
            (&["--remove-user-accounts", "ann"], "user-account is not among"),
            (&["--operations", "user-account", "--keep-user-accounts", "a,"], "a name is empty"),
        ] {
            let told = chosen(words).unwrap_err();
            assert!(told.contains(reason), "{words:?}: {told}");
        }
        let notes = |words: &[&str]| Edit::sysprep(typed(words)).unwrap().notes.join("; ");
        assert!(notes(&["--operations", "all"]).ends_with(": customize, fs-uuids, lvm-uuids, script"));
        assert!(notes(&["--operations", "all,-lvm-uuids"]).ends_with(": customize, fs-uuids, script"));
        assert_eq!(notes(&[]), "");
    }

    #[test]
    fn operations_may_be_optional() {
        let required = |words: &[&str]| {
            let edit = Edit::sysprep(typed(words)).unwrap();
            let required = edit.requests.iter().filter(|request| request.required).count();
            (required, edit.requests.len())
        };
        assert_eq!(required(&["--enable", "utmp,tmp-files", "--optional", "utmp"]), (1, 2));
        assert_eq!(required(&["--enable", "utmp,tmp-files", "--best-effort"]), (0, 2));
    }
}
