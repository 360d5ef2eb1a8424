//! One file per subcommand; the only rooms that print.

mod cat;
mod config_drive;
mod inject;
mod inspect;
mod list_operations;
mod ls;
mod progress;
mod recover;
mod schema;
mod second_reader;
mod serve;
mod tree;
mod undo;

use crate::cli::{Cli, Command, Order};
use crate::failure::{Exit, Failure, printable};
use crate::guest;
use crate::inject::Revealed;
use crate::plan::{self, Target};
use imgraft_vfs::block::BlockDevice;
use imgraft_vfs::fs::Mode;
use imgraft_vfs::image::{self, Source};
use imgraft_vfs::transaction::{Access, Transaction};
use imgraft_vfs::volume::{self, Chosen};
use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Runs what was typed.
pub fn run(cli: Cli, order: &Order) -> Result<Exit, Failure> {
    match cli.command {
        Command::Inject(typed) => {
            let plan = plan::Edit::inject(*typed, order)?;
            let target = plan.target.clone();
            inject::run(plan).map_err(|failure| about(failure, &target))
        }
        Command::Sysprep(typed) => {
            let plan = plan::Edit::sysprep(*typed)?;
            let target = plan.target.clone();
            inject::run(plan).map_err(|failure| about(failure, &target))
        }
        Command::ListOperations => list_operations::run(),
        Command::Inspect(typed) => {
            let plan = plan::Inspect::new(typed)?;
            inspect::run(&plan).map_err(|failure| about(failure, &plan.target))
        }
        Command::Ls(typed) => {
            let plan = plan::Look::new(typed)?;
            ls::run(&plan).map_err(|failure| about(failure, &plan.target))
        }
        Command::Cat(typed) => {
            let plan = plan::Look::new(typed)?;
            cat::run(&plan).map_err(|failure| about(failure, &plan.target))
        }
        Command::Recover(typed) => {
            let plan = plan::Recover::new(typed);
            recover::run(&plan).map_err(|failure| failure.about(&plan.source.image))
        }
        Command::Undo(typed) => {
            let plan = plan::Undo::new(typed);
            undo::run(&plan).map_err(|failure| failure.about(&plan.image))
        }
        Command::Serve(typed) => {
            let plan = plan::Serve::new(typed)?;
            serve::run(&plan).map_err(|failure| failure.about(&plan.target.source.image))
        }
        Command::Schema => schema::run(),
        Command::ConfigDrive(typed) => config_drive::run(typed.command),
    }
}

/// A failure with the name of what it is about, and hints that open the same.
fn about(failure: Failure, target: &Target) -> Failure {
    failure.opened_with(&target.again).about(&target.source.image)
}

/// Whether somebody still reads what is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Audience {
    Listening,
    Gone,
}

/// Writes to standard output; a reader that has gone away (`imgraft ls … | head`) is no failure.
fn print(bytes: &[u8]) -> Result<Audience, Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(Audience::Listening),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Audience::Gone),
        Err(error) => Err(Failure {
            exit: Exit::Failed,
            item: None,
            message: format!("cannot write to standard output: {error}"),
            hints: Vec::new(),
            further: Vec::new(),
        }),
    }
}

/// Shows made-up passwords once, on standard error, so that no report ever holds one.
fn reveal(revealed: &[Revealed]) {
    let mut stderr = std::io::stderr().lock();
    for Revealed { user, password } in revealed {
        let mut line = Zeroizing::new(format!("password of {}: ", printable(user)).into_bytes());
        line.extend_from_slice(password.expose());
        line.push(b'\n');
        // Who has closed standard error does not want to be told.
        let _ = stderr.write_all(&line);
    }
}

/// Tells on standard error what the user should know.
fn tell(notes: &[String]) {
    let mut stderr = io::stderr().lock();
    for note in notes {
        // Who has closed standard error does not want to be told.
        let _ = writeln!(stderr, "note: {}", printable(note));
    }
}

/// Opens the guest's tree of an image for reading, under a shared lock that lives as long as the transaction.
fn look(target: &Target) -> Result<(Transaction, tree::Grown), Failure> {
    let Source { image, format, backing, state, .. } = &target.source;
    let txn = Transaction::begin_with(image, Access::Read, state)?;
    let disk = image::open_chain(txn.overlay(), image, *format, backing, state)?;
    let explained = |error| image::explain(&*disk, error);
    let any: Arc<dyn BlockDevice> = Arc::clone(&disk) as _;
    let (wanted, way) = (&target.volume, (None, Mode::ReadOnly));
    let Chosen { info, opened, survey } =
        volume::select_through(&any, wanted, &target.keys, &target.access, way, &guest::is_root).map_err(explained)?;
    let survey = Rc::new(RefCell::new(survey));
    let grown = tree::grow(opened.fs, &info, &survey, target, Mode::ReadOnly).map_err(explained)?;
    Ok((txn, grown))
}
