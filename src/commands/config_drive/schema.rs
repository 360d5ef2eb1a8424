//! `imgraft config-drive schema`: what may be in an instance document.

use crate::commands::print;
use crate::config_drive::schema;
use crate::failure::{Exit, Failure};

pub(super) fn run() -> Result<Exit, Failure> {
    print(format!("{:#}\n", schema()).as_bytes())?;
    Ok(Exit::Done)
}
