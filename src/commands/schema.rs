//! `imgraft schema`: what may be in a manifest.

use super::print;
use crate::failure::{Exit, Failure};
use crate::manifest::schema;

pub(super) fn run() -> Result<Exit, Failure> {
    print(format!("{:#}\n", schema()).as_bytes())?;
    Ok(Exit::Done)
}
