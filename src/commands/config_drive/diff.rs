//! `imgraft config-drive diff`: what two drives differ in.

use super::open;
use crate::commands::print;
use crate::config_drive::existing::Difference;
use crate::failure::{Exit, Failure};
use crate::plan::{CompareDrives, Form};

pub(super) fn run(plan: &CompareDrives) -> Result<Exit, Failure> {
    // The status 1 says that they differ and nothing else, so what goes wrong gets another one, as with diff(1).
    compare(plan).map_err(|mut failure| {
        if failure.exit == Exit::Failed {
            failure.exit = Exit::Usage;
        }
        failure
    })
}

fn compare(plan: &CompareDrives) -> Result<Exit, Failure> {
    let (a, b) = (open(&plan.a)?, open(&plan.b)?);
    let difference = Difference::new(&a, &b, plan.secrets)?;
    let text = match plan.form {
        Form::Json => difference.to_json(),
        Form::Text => difference.to_text(),
    };
    print(text.as_bytes())?;
    Ok(if difference.same { Exit::Done } else { Exit::Failed })
}
