//! The one script of a guest that runs at boot and that may be edited: rc.local.

use super::{InjectError, READ_LIMIT, ROOT_DIR};
use imgraft_vfs::fs::{Attrs, Content, SetAttrs};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;

/// The shells that know sh's commands.
const SHELLS: [&[u8]; 7] = [b"sh", b"bash", b"dash", b"ash", b"ksh", b"mksh", b"zsh"];

/// The script that Nova takes: `/etc/rc.local`, or where that is missing and `/etc/rc.d` is there, `/etc/rc.d/rc.local`.
pub(super) fn path(stage: &Stage<'_>) -> Result<GuestPath, InjectError> {
    let plain = GuestPath::parse("/etc/rc.local")?;
    if stage.metadata(&plain)?.is_none() && stage.metadata(&GuestPath::parse("/etc/rc.d")?)?.is_some() {
        return Ok(GuestPath::parse("/etc/rc.d/rc.local")?);
    }
    Ok(plain)
}

/// Adds a command to a script, with a comment before it, at its beginning: there it is reached, whatever ends the script. A command that is
/// there already is not added again. The script is made executable. `false`, and nothing done, where it is not a shell's.
pub(super) fn add(path: &GuestPath, stage: &mut Stage<'_>, comment: &str, command: &str) -> Result<bool, InjectError> {
    let before = stage.read(path, READ_LIMIT)?.filter(|script| !script.is_empty());
    let before = before.as_deref().unwrap_or(b"#!/bin/sh\n");
    if !is_shell(before) {
        return Ok(false);
    }
    if let Some(script) = insert(before, comment, command) {
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

/// Whether the script has the interpreter line of a shell that knows sh's commands: systemd starts none without such a line (execve(2)).
fn is_shell(script: &[u8]) -> bool {
    let line = script.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let Some(interpreter) = line.strip_prefix(b"#!") else { return false };
    let mut words = interpreter.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
    let name = |word: &[u8]| word.rsplit(|byte| *byte == b'/').next().unwrap_or_default().to_vec();
    let shell = match words.next().map(name) {
        Some(env) if env == b"env" => words.next().map(name),
        shell => shell,
    };
    // By -n or -c it would not run the script.
    let runs_it = words
        .all(|word| word.strip_prefix(b"-").is_some_and(|flags| flags.iter().all(|flag| b"aefluvx".contains(flag))));
    runs_it && shell.is_some_and(|shell| SHELLS.contains(&&shell[..]))
}

/// The script with the command; `None` where it has it.
fn insert(script: &[u8], comment: &str, command: &str) -> Option<Vec<u8>> {
    let lines: Vec<&[u8]> = script.split_inclusive(|byte| *byte == b'\n').collect();
    let (first, rest) = lines.split_at(lines.len().min(1));
    // What this has put there before stays in order. Only there a command is surely reached: elsewhere it may stand behind an exit.
    let comment = format!("# {comment}\n");
    let program = command.split(' ').next().unwrap_or_default().as_bytes();
    let is_ours = |pair: &&[&[u8]]| {
        matches!(pair, [said, done]
            if *said == comment.as_bytes() && done.starts_with(program) && !done.trim_ascii_end().ends_with(b"\\"))
    };
    let ours = rest.chunks(2).take_while(is_ours).count();
    let (ours, rest) = rest.split_at(ours.saturating_mul(2));
    if ours.iter().any(|line| line.strip_suffix(b"\n").unwrap_or(line) == command.as_bytes()) {
        return None;
    }
    let mut out = [first, ours].concat().concat();
    if !out.ends_with(b"\n") {
        out.push(b'\n');
    }
    out.extend_from_slice(format!("{comment}{command}\n").as_bytes());
    out.extend_from_slice(&rest.concat());
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_stands_where_it_is_reached() {
        let inserted = |script: &str| String::from_utf8(insert(script.as_bytes(), "why", "do it").unwrap()).unwrap();
        assert_eq!(inserted("#!/bin/sh\n"), "#!/bin/sh\n# why\ndo it\n");
        assert_eq!(inserted("#!/bin/sh"), "#!/bin/sh\n# why\ndo it\n");
        assert_eq!(inserted("#!/bin/sh\n# x\na\nexit 0\n"), "#!/bin/sh\n# why\ndo it\n# x\na\nexit 0\n");
        let second = "#!/bin/sh\n# why\ndo that\n# why\ndo it\n# x\na\n";
        assert_eq!(inserted("#!/bin/sh\n# why\ndo that\n# x\na\n"), second);
        assert_eq!(insert(second.as_bytes(), "why", "do it"), None);
        assert_eq!(insert(b"#!/bin/sh\n# why\ndo it", "why", "do it"), None);
        // A script's own lines are left together, and one of its own is no command that is surely reached.
        for rest in [
            "# own\ndo x \\\n  y\n",
            "# why\ndo x \\\n  y\n",
            "exit 0\n# why\ndo it\n",
            "if x; then\n  do it\nfi\n",
            "do it\n",
        ] {
            assert_eq!(inserted(&format!("#!/bin/sh\n{rest}")), format!("#!/bin/sh\n# why\ndo it\n{rest}"));
        }
    }

    #[test]
    fn other_languages_are_left_alone() {
        for script in ["#!/bin/sh", "#! /bin/bash -e\n", "#!/usr/bin/env zsh\n", "#!sh\n", "#!/bin/sh -\n"] {
            assert!(is_shell(script.as_bytes()), "{script}");
        }
        for script in [
            "",
            "true\n",
            "#!/usr/bin/python3\n",
            "#!/usr/bin/env perl\n#sh",
            "#!",
            "#!/usr/bin/csh\n",
            "#!/usr/bin/fish\n",
            "#!/bin/sh\r\n",
            "#!/bin/sh -n\n",
            "#!/bin/bash -c true\n",
            "#!/bin/bash -ec\n",
            "\x7fELF",
        ] {
            assert!(!is_shell(script.as_bytes()), "{script}");
        }
    }
}
