//! `imgraft config-drive diff`: what two drives differ in.

use super::open;
use crate::cli;
use crate::commands::print;
use crate::config_drive::existing::{Difference, Secrets};
use crate::failure::{Exit, Failure};

pub(super) fn run(typed: &cli::Diff) -> Result<Exit, Failure> {
    // The status 1 says that they differ and nothing else, so what goes wrong gets another one, as with diff(1).
    compare(typed).map_err(|mut failure| {
        if failure.exit == Exit::Failed {
            failure.exit = Exit::Usage;
        }
        failure
    })
}

fn compare(typed: &cli::Diff) -> Result<Exit, Failure> {
    let secrets = if typed.show_secrets { Secrets::Shown } else { Secrets::Hidden };
    let (a, b) = (open(&typed.a)?, open(&typed.b)?);
    let difference = Difference::new(&a, &b, secrets)?;
    let text = if typed.json { difference.to_json() } else { difference.to_text() };
    print(text.as_bytes())?;
    Ok(if difference.same { Exit::Done } else { Exit::Failed })
}
