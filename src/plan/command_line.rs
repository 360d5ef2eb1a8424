//! What clap refuses, and the virt tools take: the reason and the way out.

use super::commands_file;
use super::virt_tools::{NO_DISK_BESIDE, refused_option};
use crate::cli;
use crate::failure::Failure;
use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// What is told of an error of clap's over these words, of which the first is the program; `None` where clap says it well.
pub fn refusal(error: &clap::Error, words: &[OsString]) -> Option<Failure> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    if error.kind() == ErrorKind::InvalidSubcommand {
        return text(ContextKind::InvalidSubcommand).and_then(other_command);
    }
    let argument = text(ContextKind::InvalidArg)?;
    let option = argument.split([' ', '=']).next().unwrap_or_default();
    match error.kind() {
        ErrorKind::ArgumentConflict if text(ContextKind::PriorArg) == Some(argument) => Some(twice(option)),
        // What was typed after it is not told.
        ErrorKind::InvalidValue if option == "--attach" => Some(
            Failure::usage("--attach: not auto, fuse, nbd, loop or uml, a way of reaching the filesystem")
                .with_hint(format!("virt-customize's option of this name takes an ISO image: {NO_DISK_BESIDE}")),
        ),
        ErrorKind::InvalidValue => {
            let word = format!("{option}={}", text(ContextKind::InvalidValue)?);
            let line = words.windows(2).find_map(|pair| match pair {
                [before, typed] if *typed == *word => commands_file::line(before),
                _ => None,
            })?;
            let said = error.to_string();
            let said = said.lines().map(str::trim).take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
            Some(Failure::usage(format!("{line}: {}", said.trim_start_matches("error: "))))
        }
        ErrorKind::UnknownArgument if option == "--machine-readable" => Some(
            Failure::usage("--machine-readable: virt-customize and virt-sysprep have no option of this name either")
                .with_hint("--json gives the report in JSON"),
        ),
        ErrorKind::UnknownArgument if verb(words).is_some_and(|verb| verb == "sysprep") && is_of_inject(option) => {
            // What inject refuses is no way out.
            Some(match refused_option(option) {
                Some((reason, way)) => Failure::usage(format!("{option}: {reason}"))
                    .with_hint(format!("with `imgraft inject IMAGE …` after it: {way}")),
                None => {
                    Failure::usage(format!("{option}: sysprep takes things out of a guest, and this puts something in"))
                        .with_hint(format!("`imgraft inject IMAGE {option} …` after it; what that puts in stays"))
                }
            })
        }
        ErrorKind::UnknownArgument => ambiguous(option, verb(words)?.to_str()?),
        _ => None,
    }
}

/// What is told of the beginning of several names.
fn ambiguous(option: &str, verb: &str) -> Option<Failure> {
    let names = cli::beginning_with(option, verb);
    (names.len() > 1).then(|| {
        Failure::usage(format!("{option}: the names of several options begin with it"))
            .with_hint(format!("write the name in full: {}", names.join(", ")))
    })
}

/// What is told of a name that is no subcommand, but one of the virt tools with its `virt-` or without, or an option of `inject`.
fn other_command(name: &str) -> Option<Failure> {
    let tool = name.strip_prefix("virt-").unwrap_or(name);
    let way = match tool {
        "customize" => "`imgraft inject` takes virt-customize's options: imgraft inject -a IMAGE …".to_owned(),
        _ if is_of_inject(&format!("--{tool}")) => format!("it is an option: imgraft inject IMAGE --{tool} …"),
        _ if cli::Cli::command().find_subcommand(tool).is_some() => format!("its name here: imgraft {tool}"),
        _ => return None,
    };
    Some(Failure::usage(format!("{name}: there is no such subcommand")).with_hint(way))
}

fn twice(option: &str) -> Failure {
    let way = match option {
        "--add" => "a run changes one image: a run for each of them",
        "--root-password" => "leave one of them out: a user has one password, as for virt-customize",
        _ => "give it once",
    };
    Failure::usage(format!("{option}: it is given twice")).with_hint(way)
}

/// The subcommand.
fn verb(words: &[OsString]) -> Option<&OsStr> {
    words.iter().skip(1).map(OsString::as_os_str).find(|word| !word.as_bytes().starts_with(b"-"))
}

/// Whether `inject` has this option.
fn is_of_inject(option: &str) -> bool {
    let command = cli::Cli::command();
    let inject = command.find_subcommand("inject");
    let mut names = inject.into_iter().flat_map(clap::Command::get_arguments).filter_map(clap::Arg::get_long);
    option.strip_prefix("--").is_some_and(|name| names.any(|known| known == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(words: &str) -> Option<String> {
        let words = cli::spelled_out(words.split(' ').map(OsString::from).collect());
        let error = cli::parse(words.clone()).expect_err("it is refused");
        refusal(&error, &words).map(|failure| failure.render())
    }

    #[test]
    fn what_the_virt_tools_take_has_a_way_out() {
        for (words, reason, way) in [
            ("imgraft inject -a x -a secret --hostname y", "--add: it is given twice", "a run for each"),
            ("imgraft sysprep -a x --add=secret", "--add: it is given twice", "a run for each"),
            (
                "imgraft inject x --root-password password:secret --root-password random",
                "--root-password: it is given twice",
                "one password",
            ),
            ("imgraft inject x --locale a --locale secret", "--locale: it is given twice", "give it once"),
            ("imgraft inject x --attach secret.iso", "--attach: not auto, fuse", "--copy-in or --upload"),
            ("imgraft sysprep x --hostname secret", "--hostname: sysprep takes", "imgraft inject IMAGE --hostname"),
            ("imgraft -v sysprep -a x --ssh-inject=secret", "--ssh-inject: sysprep", "IMAGE --ssh-inject …"),
            ("imgraft inject x --machine-readable", "--machine-readable: virt-customize", "--json"),
            ("imgraft sysprep x --machine-readable=file:secret", "--machine-readable: virt-customize", "--json"),
            ("imgraft customize -a secret", "customize: there is no", "imgraft inject -a IMAGE"),
            ("imgraft virt-customize", "virt-customize: there is no", "imgraft inject -a IMAGE"),
            ("imgraft -v virt-sysprep -a secret", "virt-sysprep: there is no", "imgraft sysprep"),
            ("imgraft edit x", "edit: there is no", "imgraft inject IMAGE --edit …"),
            ("imgraft virt-copy-in x", "virt-copy-in: there is no", "imgraft inject IMAGE --copy-in …"),
            (
                "imgraft inject x --ssh=root:string:secret",
                "--ssh: the names of several",
                "--ssh-inject, --ssh-host-keys",
            ),
            ("imgraft sysprep x --mo=secret", "--mo: the names of several", "--mount, --mount-options"),
            // inject refuses it too, so that this names inject's way out.
            ("imgraft sysprep x --run secret", "--run: no program of the guest is run", "after it: --firstboot SCRIPT"),
        ] {
            let said = told(words).expect(words);
            assert!(said.starts_with(&format!("imgraft: {reason}")) && said.contains(way), "{words}: {said}");
            assert!(said.contains("\nhint: ") && !said.contains("secret"), "{said}");
        }
    }

    /// What looks like an option, and is told of as a mode.
    #[test]
    fn modes_below_zero_are_for_the_plan() {
        for words in [["imgraft", "inject", "x", "--chmod", "-1:/x"], ["imgraft", "inject", "x", "--chmod", "-x"]] {
            assert!(cli::parse(words.map(OsString::from).to_vec()).is_ok(), "{words:?}");
        }
    }

    #[test]
    fn a_value_of_a_file_has_its_line() {
        let line = |number: u32| format!("--commands-from-file=f:{number}");
        let words =
            |value: &str| format!("imgraft inject x {} --mkdir=/a {} --password-crypto={value}", line(1), line(7));
        let said = told(&words("sha3")).expect("it is told");
        assert!(
            said.starts_with("imgraft: --commands-from-file f:7: invalid value 'sha3' for '--password-crypto"),
            "{said}"
        );
        assert!(said.contains("[possible values: yescrypt") && said.lines().count() == 1, "{said}");
    }

    #[test]
    fn the_rest_is_told_by_clap() {
        for words in [
            "imgraft inject x --none",
            "imgraft sysprep x --none",
            "imgraft cat x /a --hostname y",
            "imgraft inject x -a y",
            "imgraft inject x --access y",
            "imgraft inject x --password-crypto=y",
            "imgraft",
            "imgraft injekt",
            "imgraft virt-resize",
            "imgraft inject --help",
        ] {
            assert_eq!(told(words), None, "{words}");
        }
    }
}
