//! `imgraft sysprep --list-operations`: what there is to be done, a line each.

use super::print;
use crate::failure::{Exit, Failure};
use crate::inject::{Operation, Usage};
use std::fmt::Write as _;

pub(super) fn run() -> Result<Exit, Failure> {
    let mut text = String::new();
    for operation in Operation::all() {
        let (name, heading) = (operation.name(), operation.heading());
        let _ = match operation.usage() {
            Usage::Default => writeln!(text, "{name} * {heading}"),
            Usage::OnRequest => writeln!(text, "{name}   {heading}"),
            Usage::Refused(why) => writeln!(text, "{name} - {heading} (not done: {why})"),
        };
    }
    print(text.as_bytes())?;
    Ok(Exit::Done)
}
