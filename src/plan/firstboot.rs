//! The scripts for the first boot that were typed.

use super::faults::Faults;
use super::items::read;
use crate::cli::{self, Order, Ordered};
use crate::failure::Failure;
use crate::inject::Script;
use imgraft_vfs::shell;
use std::path::Path;

/// The scripts in the order of the command line.
pub(super) fn scripts(typed: &cli::Inject, order: &Order, faults: &mut Faults) -> Vec<Script> {
    let cli::Inject { firstboot, firstboot_command, firstboot_install, .. } = typed;
    let script = |(ordered, number): &(Ordered, usize)| {
        let (option, script) = match ordered {
            Ordered::Firstboot => ("--firstboot", firstboot.get(*number).map(|path| file("--firstboot", path))),
            Ordered::FirstbootCommand => {
                let typed = firstboot_command.get(*number);
                ("--firstboot-command", typed.map(|typed| command("--firstboot-command", typed)))
            }
            Ordered::FirstbootInstall => {
                let typed = firstboot_install.get(*number);
                let read = |typed: &String| packages("--firstboot-install", typed.split(',').map(str::trim));
                ("--firstboot-install", typed.map(read))
            }
            _ => return None,
        };
        faults.keep(&format!("{option}[{number}]"), script?)
    };
    order.values.iter().filter_map(script).collect()
}

pub(super) fn file(option: &str, path: &Path) -> Result<Script, Failure> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let wrong =
        |reason: &str, way: &str| Err(Failure::usage(format!("{option}: {}: {reason}", path.display())).with_hint(way));
    let script = Script::of_file(&name, read(option, path)?);
    if !script.is_runnable() {
        return wrong(
            "it is no program, and no text that a shell can run",
            "begin the script with #! and its interpreter, #!/bin/sh say, or give a command with --firstboot-command",
        );
    }
    if script.has_carriage_returns() {
        let way = format!("as a script of Linux has its lines: sed -i 's/\\r$//' {}", shell::word(path));
        return wrong("its lines end with carriage returns, which nothing that runs it takes for their ends", &way);
    }
    Ok(script)
}

pub(super) fn command(option: &str, typed: &str) -> Result<Script, Failure> {
    if typed.trim().is_empty() || typed.contains('\0') {
        return Err(
            Failure::usage(format!("{option}: it is empty")).with_hint("--firstboot-command 'apt-get update', say")
        );
    }
    Ok(Script::of_command(typed))
}

/// A script that installs packages, as their names are given to the package manager.
pub(super) fn packages<'p>(option: &str, names: impl IntoIterator<Item = &'p str>) -> Result<Script, Failure> {
    let names: Vec<&str> = names.into_iter().collect();
    // The name of a group, behind an @, may have blanks in it.
    let is_name = |name: &&str| {
        let bare = name.strip_prefix('@').unwrap_or(name);
        let is_group = bare.len() < name.len();
        !bare.is_empty()
            && !bare.starts_with(['-', ' '])
            && !bare.chars().any(|letter| letter.is_control() || (letter == ' ' && !is_group))
    };
    if names.is_empty() || !names.iter().all(is_name) {
        return Err(Failure::usage(format!("{option}: not a list of packages"))
            .with_hint("it is a name, or several with commas between them: --firstboot-install nginx,curl; of a group, where dnf is: '@Xfce Desktop'"));
    }
    Ok(Script::of_packages(names))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::Needs;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    /// As a kernel runs what comes of them.
    #[test]
    fn what_has_no_interpreter_is_for_the_shell() {
        let place = tempfile::tempdir().expect("a directory");
        let at = |name: &str| place.path().join(name);
        let program = |name: &str, text: &[u8]| {
            std::fs::write(at(name), text).expect("it is written");
            std::fs::set_permissions(at(name), std::fs::Permissions::from_mode(0o700)).expect("a mode");
        };
        for text in ["echo $((40+2))\n", "#!/bin/sh\necho 42", "\n#!/bin/cat\necho 42\n"] {
            std::fs::write(at("typed"), text).expect("it is written");
            program("script", &file("-", &at("typed")).expect("a script").text);
            let output = Command::new(at("script")).output().expect("the kernel runs it");
            assert_eq!(output.stdout, b"42\n", "{text}");
        }
        for text in ["#!/bin/sh\r\necho 42\r\n", "echo 42\r\n", "#!/bin/sh\r"] {
            std::fs::write(at("it's"), text).expect("it is written");
            let refused = file("-", &at("it's")).expect_err("carriage returns");
            program("script", text.as_bytes());
            assert!(!text.starts_with("#!") || Command::new(at("script")).output().is_err(), "no kernel runs it");
            let way = refused.hints.join("");
            let command = way.split_once(": ").expect("a command").1;
            let cured = Command::new("sh").args(["-c", command]).status().expect("sh");
            assert!(cured.success() && file("-", &at("it's")).is_ok(), "{command}");
        }
    }

    #[test]
    fn only_what_can_be_run() {
        let place = tempfile::tempdir().expect("a directory");
        let script = |name: &str, text: &str| {
            let path = place.path().join(name);
            std::fs::write(&path, text).expect("it is written");
            file("-", &path)
        };
        assert_eq!(script("a b.sh", "#!/bin/sh\ntrue\n").expect("a script").name, "a_b.sh");
        for text in ["", "\u{feff}#!/bin/sh\ntrue\n", "PK\x03\x04\0\0"] {
            let refused = script("c", text).expect_err("nothing to run");
            assert!(refused.message.ends_with("c: it is no program, and no text that a shell can run"), "{refused:?}");
        }
        assert!(command("-", " ").is_err());
        for right in ["@Xfce Desktop", "a,@b", "@^Server with GUI"] {
            assert_eq!(packages("-", right.split(',')).expect(right).needs, Needs::PackageGroups, "{right}");
        }
        assert_eq!(packages("-", ["a@b"]).expect("a name").needs, Needs::PackageManager);
        for wrong in ["", "a,,b", "a,-o", "a b", "a\nb", "@", "@ a", "@-o", "@a\nb"] {
            assert!(packages("-", wrong.split(',')).is_err(), "{wrong}");
        }
        assert_eq!(command("-", "true").expect("a command").text, b"#!/bin/sh\ntrue\n");
    }
}
