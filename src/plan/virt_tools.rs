//! Options of virt-customize that are refused, and what is told of those that there is nothing to do for.

use crate::cli;
use crate::failure::Failure;

/// What is told of options that are taken; a failure for one that is not.
pub(super) fn notes(typed: &cli::VirtCustomize) -> Result<Vec<String>, Failure> {
    if let Some(Refused { option, reason, way }) = refused(typed) {
        return Err(Failure::usage(format!("{option}: {reason}")).with_hint(way));
    }
    let relabel = "--selinux-relabel: only what is put in gets its label; --touch /.autorelabel has the guest relabel all of its files when it is booted";
    Ok(typed.selinux_relabel.then(|| relabel.to_owned()).into_iter().collect())
}

/// What is told of virt-customize's `--network`, a switch with the name of our option. Only a command line that names the image as
/// virt-customize does is taken for one of its: in another the description may have got lost.
pub(super) fn network(typed: &cli::Inject) -> Result<Option<String>, Failure> {
    match (&typed.network.network, &typed.add.add) {
        (Some(None), None) => Err(Failure::usage("--network: no file with a description of a network follows it")
            .with_hint("name the file; virt-customize's switch of this name can be left out, as nothing runs that has a network")),
        (Some(None), Some(_)) => {
            let note = "--network: nothing to do for virt-customize's switch, as nothing runs that has a network; --network FILE is the guest's";
            Ok(Some(note.to_owned()))
        }
        _ => Ok(None),
    }
}

/// What can be done instead of attaching a disk.
pub(super) const NO_DISK_BESIDE: &str = "--copy-in or --upload put in what is on the host";

/// An option that cannot be done. What was typed after it is not told: a command may hold a secret.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused {
    option: &'static str,
    /// Why, a clause.
    pub reason: &'static str,
    pub way: &'static str,
}

/// Why a command of a file cannot be done, which is an option without its dashes.
pub(super) fn refused_command(name: &str) -> Option<Refused> {
    REFUSED.iter().find(|(refused, _)| refused.option.strip_prefix("--") == Some(name)).map(|(refused, _)| *refused)
}

/// The first option of what was typed that cannot be done.
fn refused(typed: &cli::VirtCustomize) -> Option<Refused> {
    REFUSED.iter().find(|(_, is_typed)| is_typed(typed)).map(|(refused, _)| *refused)
}

/// Whether an option was typed.
type IsTyped = fn(&cli::VirtCustomize) -> bool;

const REFUSED: &[(Refused, IsTyped)] = {
    const RUNS: &str = "no program of the guest is run";
    const SCRIPT: &str = "--firstboot SCRIPT has the guest run it when it is first booted";
    const COMMAND: &str = "--firstboot-command COMMAND has the guest run it when it is first booted";
    const INSTALL: &str = "--firstboot-install PACKAGE has the guest install it when it is first booted";
    const WINDOWS: &str = "it is for Windows guests, and only Linux guests are known";
    const FILE: &str = "name the image's file, which virsh domblklist DOMAIN shows";
    const LIBVIRT: &str = "libvirt is not asked";
    const fn refused(option: &'static str, reason: &'static str, way: &'static str) -> Refused {
        Refused { option, reason, way }
    }
    &[
        (refused("--run", RUNS, SCRIPT), |typed| !typed.run.is_empty()),
        (refused("--run-command", RUNS, COMMAND), |typed| !typed.run_command.is_empty()),
        (refused("--install", RUNS, INSTALL), |typed| !typed.install.is_empty()),
        (
            refused(
                "--uninstall",
                RUNS,
                "--firstboot-command 'apt-get remove -y PACKAGE', or as the guest removes packages, when it is first booted",
            ),
            |typed| !typed.uninstall.is_empty(),
        ),
        (
            refused(
                "--update",
                RUNS,
                "--firstboot-command 'apt-get update && apt-get upgrade -y', or as the guest does it, when it is first booted",
            ),
            |typed| typed.update,
        ),
        (refused("--inject-qemu-ga", WINDOWS, "virt-customize does that"), |typed| typed.inject_qemu_ga.is_some()),
        (refused("--inject-virtio-win", WINDOWS, "virt-customize does that"), |typed| {
            typed.inject_virtio_win.is_some()
        }),
        (refused("--inject-blnsvr", WINDOWS, "virt-customize does that"), |typed| typed.inject_blnsvr.is_some()),
        (
            refused(
                "--scrub",
                "it cannot be promised that no copy stays in the file, in snapshots, or on the host's disk",
                "--delete PATH removes the file without that promise",
            ),
            |typed| !typed.scrub.is_empty(),
        ),
        (refused("-d, --domain", LIBVIRT, FILE), |typed| typed.domain.is_some()),
        (refused("-c, --connect", LIBVIRT, FILE), |typed| typed.connect.is_some()),
        (refused("--attach-format", "no disk is attached beside the image", NO_DISK_BESIDE), |typed| {
            typed.attach_format.is_some()
        }),
        (
            refused(
                "--attach-method",
                "no appliance is booted",
                "--attach and --access choose how the filesystem is reached",
            ),
            |typed| typed.attach_method.is_some(),
        ),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn told(words: &[&str]) -> Result<Vec<String>, Failure> {
        match cli::Cli::try_parse_from([&["imgraft", "inject", "x"], words].concat()) {
            Ok(cli::Cli { command: cli::Command::Inject(typed), .. }) => notes(&typed.virt_customize),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_there_is_nothing_to_do_for_is_taken() {
        let words = ["--no-network", "--memsize", "512", "-m", "1024", "--smp", "2", "--no-logfile"];
        assert!(told(&words[..3]).unwrap().is_empty() && told(&words[3..]).unwrap().is_empty());
        assert!(told(&["--colors", "--wrap", "--echo-keys", "-x"]).unwrap().is_empty());
        assert!(told(&["--colours"]).unwrap().is_empty());
        assert!(told(&["--no-selinux-relabel"]).unwrap().is_empty());
        assert!(told(&["--selinux-relabel"]).unwrap().join("").contains(".autorelabel"));
    }

    #[test]
    fn network_is_a_switch_where_the_image_is_added() {
        let typed = |words: &[&str]| match cli::Cli::try_parse_from([&["imgraft", "inject"], words].concat()) {
            Ok(cli::Cli { command: cli::Command::Inject(typed), .. }) => typed,
            other => panic!("{words:?}: {other:?}"),
        };
        for words in [
            &["-a", "x", "--network"][..],
            &["-a", "x", "--network", "--hostname", "y"],
            &["--network", "-a", "x"],
            &["--network", "--add=x", "--dry-run"],
        ] {
            let note = network(&typed(words)).unwrap().unwrap();
            assert!(note.starts_with("--network: nothing to do"), "{words:?}: {note}");
        }
        // What follows and is no option is a file, as it always was.
        for words in [
            &["-a", "x", "--network", "y"][..],
            &["x", "--network", "y"],
            &["--network", "y", "x"],
            &["--network=y", "x"],
            &["-a", "x", "--network=y", "--dry-run"],
        ] {
            let typed = typed(words);
            assert_eq!(network(&typed).unwrap(), None, "{words:?}");
            assert_eq!(typed.network.network.unwrap().unwrap(), std::path::Path::new("y"), "{words:?}");
        }
        for words in [&["x", "--network"][..], &["x", "--network", "--hostname", "y"], &["--network", "--", "x"]] {
            let failure = network(&typed(words)).unwrap_err();
            assert!(
                failure.message.contains("no file with a description") && failure.hints.join("").contains("left out")
            );
        }
        assert!(cli::Cli::try_parse_from(["imgraft", "inject", "-a", "x", "--network="]).is_err());
        assert!(cli::Cli::try_parse_from(["imgraft", "inject", "-a", "x", "--network", "--dhcp"]).is_err());
        assert_eq!(network(&typed(&["x"])).unwrap(), None);
    }

    #[test]
    fn what_cannot_be_done_names_the_way_out_and_not_the_command() {
        for (words, way) in [
            (&["--run", "secret"][..], "--firstboot SCRIPT"),
            (&["--run-command", "secret"], "--firstboot-command"),
            (&["--install", "secret"], "--firstboot-install"),
            (&["--uninstall", "secret"], "--firstboot-command"),
            (&["--update"], "--firstboot-command"),
            (&["--inject-qemu-ga", "secret"], "virt-customize"),
            (&["--inject-virtio-win", "secret"], "virt-customize"),
            (&["--inject-blnsvr", "secret"], "virt-customize"),
            (&["--scrub", "/secret"], "--delete"),
            (&["--domain", "secret"], "domblklist"),
            (&["-d", "secret"], "domblklist"),
            (&["-c", "secret"], "domblklist"),
            (&["--connect", "secret"], "domblklist"),
            (&["--attach-format", "raw"], "--upload"),
            (&["--attach-method", "libvirt"], "--attach"),
        ] {
            let failure = told(words).unwrap_err();
            assert!(failure.message.contains(words[0]) && !failure.message.contains("secret"), "{}", failure.message);
            assert!(failure.hints.join("").contains(way), "{:?}", failure.hints);
        }
    }
}
