//! Lines of a guest's text.

use super::super::{InjectError, READ_LIMIT};
use super::{FileError, FileMode, Substitution, put, refuse_directory};
use imgraft_vfs::fs::Content;
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;

/// Adds a line, with the end that the lines of the file have.
pub(super) fn append(path: &GuestPath, line: &str, stage: &mut Stage<'_>) -> Result<(), InjectError> {
    refuse_directory(path, stage)?;
    let mut text = stage.read(path, READ_LIMIT)?.unwrap_or_default();
    let end = match text.iter().position(|byte| *byte == b'\n') {
        Some(end) if text[..end].ends_with(b"\r") => "\r\n",
        None if text.contains(&b'\r') => "\r",
        _ => "\n",
    };
    if !text.is_empty() && text.last() != end.as_bytes().last() {
        text.extend_from_slice(end.as_bytes());
    }
    text.extend_from_slice(line.as_bytes());
    text.extend_from_slice(end.as_bytes());
    put(path, &Content::bytes(text), FileMode::WhereNew(0o644), stage)
}

/// Replaces in each line; whether anything matched.
pub(super) fn edit(path: &GuestPath, substitution: &Substitution, stage: &mut Stage<'_>) -> Result<bool, InjectError> {
    refuse_directory(path, stage)?;
    let text = stage.read(path, READ_LIMIT)?.ok_or_else(|| FileError::missing(path, stage))?;
    let Some(changed) = substitution.apply(&text) else { return Ok(false) };
    put(path, &Content::bytes(changed), FileMode::WhereNew(0o644), stage)?;
    Ok(true)
}
