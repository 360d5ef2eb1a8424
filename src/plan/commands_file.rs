//! The files of `--commands-from-file`, in the place of the option: virt-customize's `COMMAND VALUE` lines, as words.

use super::items::read;
use super::virt_tools::refused_command;
use crate::cli;
use crate::failure::Failure;
use clap::{Command, CommandFactory};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const OPTION: &str = "--commands-from-file";

/// What may stand in a file: virt-customize's commands that are about the guest, those that are refused included.
const COMMANDS: &[&str] = &[
    "append-line",
    "chmod",
    "chown",
    "copy",
    "copy-in",
    "delete",
    "edit",
    "firstboot",
    "firstboot-command",
    "firstboot-install",
    "hostname",
    "inject-blnsvr",
    "inject-qemu-ga",
    "inject-virtio-win",
    "install",
    "link",
    "mkdir",
    "move",
    "no-logfile",
    "no-selinux-relabel",
    "password",
    "password-crypto",
    "root-password",
    "run",
    "run-command",
    "scrub",
    "selinux-relabel",
    "ssh-inject",
    "tar-in",
    "timezone",
    "touch",
    "truncate",
    "truncate-recursive",
    "uninstall",
    "update",
    "upload",
    "write",
];

/// The words of a command line, the first one being the program, in which each `--commands-from-file FILE` of `inject` is
/// replaced by the options that its file has: they apply where it was typed. Before each stands the same option with its line, `FILE: line N`.
pub fn with_commands(words: Vec<OsString>) -> Result<Vec<OsString>, Failure> {
    let subcommand = words.iter().skip(1).find(|word| !word.as_bytes().starts_with(b"-"));
    if subcommand.is_none_or(|word| word != "inject") {
        return Ok(words);
    }
    let command = cli::Cli::command();
    let inject = command.find_subcommand("inject").unwrap_or(&command);
    let mut out = Vec::with_capacity(words.len());
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let file = if word == "--" {
            out.push(word);
            break;
        } else if word == OPTION {
            words.next()
        } else {
            word.as_bytes().strip_prefix(OPTION.as_bytes()).and_then(|rest| rest.strip_prefix(b"=")).map(own)
        };
        match file {
            Some(file) => {
                let path = Path::new(&file);
                let text = read(OPTION, path)?;
                let options = options(&text, inject).map_err(|Wrong { reason, way }| {
                    Failure::usage(format!("{OPTION} {}: {reason}", path.display())).with_hint(way)
                })?;
                for (number, option) in options {
                    out.push(format!("{OPTION}={}: line {number}", path.display()).into());
                    out.push(option);
                }
            }
            // One without its file is clap's to refuse.
            None => out.push(word),
        }
    }
    out.extend(words);
    Ok(out)
}

/// The line that stands in the word before an option of a file, as it is told.
pub(super) fn line(before: &OsStr) -> Option<String> {
    let line = before.to_str()?.strip_prefix(OPTION)?.strip_prefix('=')?;
    Some(format!("{OPTION} {line}"))
}

fn own(bytes: &[u8]) -> OsString {
    OsStr::from_bytes(bytes).to_owned()
}

/// A command with its value, and what follows the line's end where a backslash stands before that.
struct Line {
    number: usize,
    text: String,
}

/// What is wrong in a file, a clause, and what can be done.
#[derive(Debug)]
struct Wrong {
    reason: String,
    way: &'static str,
}

impl From<String> for Wrong {
    fn from(reason: String) -> Self {
        let way = "a line is a command as virt-customize has it and its value, delete /some/file say; what is about the image or the report stays on the command line";
        Self { reason, way }
    }
}

/// The options that a file has, each with the number of its line; else what is wrong. What stands after a command is not told: it may be a secret.
fn options(text: &[u8], inject: &Command) -> Result<Vec<(usize, OsString)>, Wrong> {
    let text = std::str::from_utf8(text).map_err(|_| "not UTF-8".to_owned())?;
    let option = |line: Line| {
        let at = |reason: &str| format!("line {}: {reason}", line.number);
        let name = line.text.split_whitespace().next().unwrap_or_default();
        match refused_command(name) {
            Some(refused) => Err(Wrong { reason: at(&format!("{name}: {}", refused.reason)), way: refused.way }),
            None => match option(&line.text, inject) {
                Ok(option) => Ok((line.number, option)),
                Err(reason) => Err(at(&reason).into()),
            },
        }
    };
    lines(text)?.into_iter().map(option).collect()
}

/// The lines that have commands. A backslash at the end of a line goes, and the line's end stays, as virt-customize has it.
fn lines(text: &str) -> Result<Vec<Line>, String> {
    let mut lines = Vec::new();
    let mut begun: Option<Line> = None;
    for (index, part) in text.split('\n').enumerate() {
        if part.contains(['\r', '\0']) {
            let what = if part.contains('\0') { "a NUL byte" } else { "a carriage return" };
            return Err(format!("line {}: {what} is in it", index + 1));
        }
        let mut line = begun.take().unwrap_or(Line { number: index + 1, text: String::new() });
        match part.strip_suffix('\\') {
            Some(part) => {
                line.text.push_str(part);
                line.text.push('\n');
                begun = Some(line);
            }
            None => {
                line.text.push_str(part);
                lines.push(line);
            }
        }
    }
    lines.extend(begun);
    lines.retain(|line| !matches!(line.text.trim_start().chars().next(), None | Some('#')));
    Ok(lines)
}

fn option(line: &str, inject: &Command) -> Result<OsString, String> {
    let line = line.trim_start();
    let (name, value) = match line.split_once(char::is_whitespace) {
        Some((name, value)) => (name, value.trim_start_matches([' ', '\t'])),
        None => (line, ""),
    };
    if format!("--{name}") == OPTION {
        return Err("a file of commands names no other one".to_owned());
    }
    let known = inject.get_arguments().find(|argument| argument.get_long() == Some(name));
    let Some(argument) = known.filter(|_| COMMANDS.contains(&name)) else {
        // What stands behind a colon is a value, and may be a password.
        let name = super::items::shorten(name.split([':', '=']).next().unwrap_or_default());
        return Err(match name.strip_prefix('-') {
            Some(_) => format!("a command has no dashes before it ('{name}')"),
            None if COMMANDS.contains(&name.as_ref()) => format!("{name}: a space is to follow it, and then its value"),
            None => format!("no command is called '{name}'"),
        });
    };
    match (argument.get_action().takes_values(), value.is_empty()) {
        (true, false) => Ok(format!("--{name}={value}").into()),
        (false, true) => Ok(format!("--{name}").into()),
        (true, true) => Err(format!("{name}: its value is missing")),
        (false, false) => Err(format!("{name}: it takes no value")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_as(text: &str) -> Result<Vec<String>, String> {
        let command = cli::Cli::command();
        let options =
            options(text.as_bytes(), command.find_subcommand("inject").unwrap()).map_err(|wrong| wrong.reason)?;
        Ok(options.into_iter().map(|(_, word)| word.into_string().unwrap()).collect())
    }

    #[test]
    fn lines_as_virt_customize_reads_them() {
        let text = "# a comment\n\n  delete /some/file\nedit /f:\\\n  s/^OPT=.*/OPT=ok/\n\t# one more \\\n/swallowed\nmkdir\t/a b\n\
                    write /f:one\\\ntwo\\\\\nthree \nno-logfile\nchmod   0600:/x\npassword u:password:a#b -c";
        assert_eq!(
            read_as(text).unwrap(),
            [
                "--delete=/some/file",
                "--edit=/f:\n  s/^OPT=.*/OPT=ok/",
                "--mkdir=/a b",
                "--write=/f:one\ntwo\\\nthree ",
                "--no-logfile",
                "--chmod=0600:/x",
                "--password=u:password:a#b -c",
            ]
        );
        assert_eq!(read_as("touch /a\\").unwrap(), ["--touch=/a\n"]);
        assert!(read_as("").unwrap().is_empty());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_without_its_value() {
        for (text, told) in [
            ("touch /a\ncommands-from-file x", "line 2: a file of commands names no other"),
            ("password:root:password:secret", "line 1: password: a space is to follow it"),
            ("\n\nfoo secret", "line 3: no command is called 'foo'"),
            ("output secret", "line 1: no command is called 'output'"),
            ("--delete secret", "line 1: a command has no dashes"),
            ("write /a:\\\nsecret\ndelete", "line 3: delete: its value is missing"),
            ("delete  ", "line 1: delete: its value is missing"),
            ("no-logfile secret", "line 1: no-logfile: it takes no value"),
            ("touch /secret\r\n", "line 1: a carriage return"),
            ("touch /secret\0", "line 1: a NUL byte"),
        ] {
            let reason = read_as(text).unwrap_err();
            assert!(reason.contains(told) && !reason.contains("secret"), "{text:?}: {reason}");
        }
        assert!(options(b"touch /\xff", &Command::new("x")).unwrap_err().reason.contains("UTF-8"));
        let command = cli::Cli::command();
        let inject = command.find_subcommand("inject").unwrap();
        for (text, reason, way) in [
            (
                "touch /a\n run-command secret",
                "line 2: run-command: no program of the guest is run",
                "--firstboot-command",
            ),
            ("install secret", "line 1: install: no program", "--firstboot-install"),
            ("update", "line 1: update: no program", "apt-get upgrade"),
        ] {
            let wrong = options(text.as_bytes(), inject).unwrap_err();
            assert!(wrong.reason.starts_with(reason) && !wrong.reason.contains("secret"), "{}", wrong.reason);
            assert!(wrong.way.contains(way), "{}", wrong.way);
        }
    }

    #[test]
    fn a_file_stands_where_it_is_typed() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("commands");
        std::fs::write(&file, "mkdir /b\n\nmkdir /c\n").unwrap();
        let file = file.to_str().unwrap();
        let words = |typed: &[&str]| {
            let words = with_commands(typed.iter().map(Into::into).collect()).map_err(|failure| failure.message)?;
            Ok::<_, String>(words.into_iter().map(|word| word.into_string().unwrap()).collect::<Vec<_>>().join(" "))
        };
        let joined = format!("{OPTION}={file}");
        for typed in [&[OPTION, file][..], &[&joined]] {
            let typed = [&["imgraft", "-v", "inject", "x", "--mkdir", "/a"], typed, &["--mkdir", "/d"]].concat();
            let from_file = format!("{joined}: line 1 --mkdir=/b {joined}: line 3 --mkdir=/c");
            assert_eq!(words(&typed).unwrap(), format!("imgraft -v inject x --mkdir /a {from_file} --mkdir /d"));
        }
        for left_alone in [&["imgraft", "cat", OPTION, file][..], &["imgraft", "inject", "--", OPTION, file]] {
            assert_eq!(words(left_alone).unwrap(), left_alone.join(" "));
        }
        assert_eq!(words(&["imgraft", "inject", OPTION]).unwrap(), format!("imgraft inject {OPTION}"));
        assert!(words(&["imgraft", "inject", OPTION, "/none/such"]).unwrap_err().contains("/none/such"));
    }

    #[test]
    fn every_option_of_files_is_a_command() {
        let command = <cli::Files as clap::Args>::augment_args(Command::new("files"));
        let mut names: Vec<_> = command.get_arguments().filter_map(|argument| argument.get_long()).collect();
        names.retain(|name| format!("--{name}") != OPTION && !COMMANDS.contains(name));
        assert!(names.is_empty(), "{names:?}");
        let command = cli::Cli::command();
        let inject = command.find_subcommand("inject").unwrap();
        let known: Vec<_> = inject.get_arguments().filter_map(|argument| argument.get_long()).collect();
        assert!(COMMANDS.iter().all(|name| known.contains(name)));
    }
}
