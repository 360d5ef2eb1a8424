//! The one script of a guest that runs at boot and that may be edited: rc.local.

use super::{InjectError, READ_LIMIT, ROOT_DIR};
use imgraft_vfs::fs::{Attrs, Content, SetAttrs};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;

/// The script that Nova takes: `/etc/rc.local`, or where that is missing and `/etc/rc.d` is there, `/etc/rc.d/rc.local`.
pub(super) fn path(stage: &Stage<'_>) -> Result<GuestPath, InjectError> {
    let plain = GuestPath::parse("/etc/rc.local")?;
    if stage.metadata(&plain)?.is_none() && stage.metadata(&GuestPath::parse("/etc/rc.d")?)?.is_some() {
        return Ok(GuestPath::parse("/etc/rc.d/rc.local")?);
    }
    Ok(plain)
}

/// Adds a command to a script, with a comment before it, where it is reached: before an `exit` at the end. A command that is there
/// already is not added again. The script is made executable. `false`, and nothing done, where it is not a shell's.
pub(super) fn add(path: &GuestPath, stage: &mut Stage<'_>, comment: &str, command: &str) -> Result<bool, InjectError> {
    let before = stage.read(path, READ_LIMIT)?;
    if !before.as_deref().is_none_or(is_shell) {
        return Ok(false);
    }
    let script = insert(before.as_deref().unwrap_or(b"#!/bin/sh\n"), comment, command);
    if let Some(script) = script {
        if let Some(directory) = path.parent() {
            stage.create_dirs(&directory, ROOT_DIR)?;
        }
        stage.write(path, Content::bytes(script), Attrs { mode: 0o700, uid: 0, gid: 0 })?;
    }
    if let Some(metadata) = stage.metadata(path)?.filter(|metadata| metadata.mode & 0o100 == 0) {
        stage.set_attrs(path, SetAttrs { mode: Some(metadata.mode | 0o100), ..SetAttrs::default() })?;
    }
    Ok(true)
}

/// Whether the script has the interpreter line of a shell, or none, which init takes for one.
fn is_shell(script: &[u8]) -> bool {
    let line = script.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let Some(interpreter) = line.strip_prefix(b"#!") else { return true };
    interpreter.split(u8::is_ascii_whitespace).any(|word| word.ends_with(b"sh"))
}

/// The script with the command; `None` where it has it.
fn insert(script: &[u8], comment: &str, command: &str) -> Option<Vec<u8>> {
    let lines: Vec<&[u8]> = script.split_inclusive(|byte| *byte == b'\n').collect();
    if lines.iter().any(|line| line.trim_ascii() == command.as_bytes()) {
        return None;
    }
    let is_blank = |line: &[u8]| line.trim_ascii().is_empty() || line.trim_ascii().starts_with(b"#");
    // Only an exit in the first column is certainly not inside an `if`, which is where one would be indented.
    let last = lines.iter().rposition(|line| !is_blank(line)).filter(|index| is_exit(lines[*index]));
    let (head, tail) = lines.split_at(last.unwrap_or(lines.len()));
    let mut out = head.concat();
    if !out.is_empty() && !out.ends_with(b"\n") {
        out.push(b'\n');
    }
    out.extend_from_slice(format!("# {comment}\n{command}\n").as_bytes());
    out.extend_from_slice(&tail.concat());
    Some(out)
}

/// `exit`, with a number or `$?` or without, or `exec` of a program, in the first column: nothing behind it is run.
fn is_exit(line: &[u8]) -> bool {
    if let Some(rest) = line.strip_prefix(b"exec") {
        // With nothing but a redirection it goes on.
        let is_name = |byte: &u8| byte.is_ascii_alphabetic() || *byte == b'/';
        return rest.first().is_some_and(u8::is_ascii_whitespace)
            && rest.trim_ascii_start().first().is_some_and(is_name);
    }
    let Some(rest) = line.strip_prefix(b"exit") else { return false };
    let rest = rest.split(|byte| *byte == b'#').next().unwrap_or_default().trim_ascii_end();
    let status = rest.trim_ascii_start();
    rest.is_empty() || (rest[0].is_ascii_whitespace() && (status == b"$?" || status.iter().all(u8::is_ascii_digit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inserted(script: &str) -> String {
        String::from_utf8(insert(script.as_bytes(), "why", "do it").unwrap()).unwrap()
    }

    #[test]
    fn the_command_stands_where_it_is_reached() {
        assert_eq!(inserted("#!/bin/sh\n"), "#!/bin/sh\n# why\ndo it\n");
        assert_eq!(inserted("#!/bin/sh\na\nexit 0\n"), "#!/bin/sh\na\n# why\ndo it\nexit 0\n");
        assert_eq!(inserted("a\nexit 0 # ok\n\n# end\n"), "a\n# why\ndo it\nexit 0 # ok\n\n# end\n");
        assert_eq!(inserted("a\nexit"), "a\n# why\ndo it\nexit");
        assert_eq!(inserted("if a\n  exit 1\nfi\n"), "if a\n  exit 1\nfi\n# why\ndo it\n");
        assert_eq!(inserted("a\nexit $?\n"), "a\n# why\ndo it\nexit $?\n");
        assert_eq!(inserted("a\nexec /usr/bin/b -c\n"), "a\n# why\ndo it\nexec /usr/bin/b -c\n");
        assert_eq!(inserted("exec >/dev/console\n"), "exec >/dev/console\n# why\ndo it\n");
        assert_eq!(inserted("executed\n"), "executed\n# why\ndo it\n");
        assert_eq!(inserted("exit_hook"), "exit_hook\n# why\ndo it\n");
        assert_eq!(inserted(""), "# why\ndo it\n");
    }

    #[test]
    fn other_languages_are_left_alone() {
        for script in ["", "true\n", "#!/bin/sh", "#! /bin/bash -e\n", "#!/usr/bin/env zsh\n"] {
            assert!(is_shell(script.as_bytes()), "{script}");
        }
        for script in ["#!/usr/bin/python3\n", "#!/usr/bin/env perl\n#sh", "#!"] {
            assert!(!is_shell(script.as_bytes()), "{script}");
        }
    }

    #[test]
    fn the_command_is_added_once() {
        assert_eq!(insert(inserted("a\nexit 0\n").as_bytes(), "why", "do it"), None);
    }
}
