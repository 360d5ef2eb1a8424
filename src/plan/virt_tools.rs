//! Options of the virt tools that are refused, and what is told of those that there is nothing to do for.

use crate::cli;
use crate::failure::Failure;

/// What is told of options that `inject` takes; a failure for one that is not.
pub(super) fn of_inject(typed: &cli::Inject) -> Result<Vec<String>, Failure> {
    let refused = of_customize(&typed.virt_customize).or(of_both(&typed.virt_tools));
    told(refused, &typed.virt_tools)
}

/// What is told of options that `sysprep` takes; a failure for one that is not.
pub(super) fn of_sysprep(typed: &cli::Sysprep) -> Result<Vec<String>, Failure> {
    let cli::VirtSysprep { network: _, mount_options, script, scriptdir } = &typed.virt_sysprep;
    let refused = match (mount_options, script, scriptdir) {
        (Some(_), _, _) => Some(Refused {
            option: "--mount-options",
            reason: "no filesystem of the guest is mounted with options of its own",
            way: "leave it out; --mount VOLUME:PATH says what lies where",
        }),
        (_, Some(_), _) | (_, _, Some(_)) => Some(Refused {
            option: "--script, --scriptdir",
            reason: "no program is run beside the guest's files",
            way: "`imgraft inject IMAGE --firstboot SCRIPT` after it has each clone run a script when it is first booted",
        }),
        _ => of_both(&typed.virt_tools),
    };
    told(refused, &typed.virt_tools)
}

fn told(refused: Option<Refused>, typed: &cli::VirtTools) -> Result<Vec<String>, Failure> {
    if let Some(Refused { option, reason, way }) = refused {
        return Err(Failure::usage(format!("{option}: {reason}")).with_hint(way));
    }
    let relabel = format!("--selinux-relabel: only what is put in gets its label; {RELABEL}");
    Ok(typed.selinux_relabel.then_some(relabel).into_iter().collect())
}

/// How all of a guest's files get their labels.
const RELABEL: &str =
    "`imgraft inject IMAGE --touch /.autorelabel` has the guest relabel all of its files when it is booted";

/// What is said where nothing was asked for but that.
pub(super) fn nothing_to_inject(typed: &cli::VirtTools) -> Failure {
    if typed.selinux_relabel {
        let why = "--selinux-relabel: files get their labels as they are put in, and this run puts none in";
        return Failure::usage(why).with_hint(RELABEL);
    }
    Failure::usage("nothing to inject").with_hint(
        "name at least one item, --ssh-inject root:file:key.pub say, or an --instance; imgraft inject --help lists them",
    )
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

/// Why an option of virt-customize's cannot be done, and what to do instead; `None` where it can, or is none.
pub(super) fn refused_option(option: &str) -> Option<(&'static str, &'static str)> {
    option.strip_prefix("--").and_then(refused_command).map(|refused| (refused.reason, refused.way))
}

/// Why a command of a file cannot be done, which is an option without its dashes.
pub(super) fn refused_command(name: &str) -> Option<Refused> {
    REFUSED.iter().find(|(refused, _)| refused.option.strip_prefix("--") == Some(name)).map(|(refused, _)| *refused)
}

/// The first option of what was typed that cannot be done.
fn of_customize(typed: &cli::VirtCustomize) -> Option<Refused> {
    REFUSED.iter().find(|(_, is_typed)| is_typed(typed)).map(|(refused, _)| *refused)
}

/// The same of those that all virt tools have.
fn of_both(typed: &cli::VirtTools) -> Option<Refused> {
    let option = match (&typed.domain, &typed.connect) {
        (Some(_), _) => "-d, --domain",
        (_, Some(_)) => "-c, --connect",
        (None, None) => return None,
    };
    Some(Refused {
        option,
        reason: "libvirt is not asked",
        way: "name the image's file, which virsh domblklist DOMAIN shows",
    })
}

/// Whether an option was typed.
type IsTyped = fn(&cli::VirtCustomize) -> bool;

const REFUSED: &[(Refused, IsTyped)] = {
    const RUNS: &str = "no program of the guest is run";
    const SCRIPT: &str = "--firstboot SCRIPT has the guest run it when it is first booted";
    const COMMAND: &str = "--firstboot-command COMMAND has the guest run it when it is first booted";
    const INSTALL: &str = "--firstboot-install PACKAGE has the guest install it when it is first booted";
    const WINDOWS: &str = "it is for Windows guests, and only Linux guests are known";
    const MANAGER: &str = "--firstboot SCRIPT has the guest run its subscription-manager, by a script with that command, when it is \
                           first booted";
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
        (refused("--sm-attach", RUNS, MANAGER), |typed| typed.sm_attach.is_some()),
        (refused("--sm-credentials", RUNS, MANAGER), |typed| typed.sm_credentials.is_some()),
        (refused("--sm-register", RUNS, MANAGER), |typed| typed.sm_register),
        (refused("--sm-remove", RUNS, MANAGER), |typed| typed.sm_remove),
        (refused("--sm-unregister", RUNS, MANAGER), |typed| typed.sm_unregister),
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
            Ok(cli::Cli { command: cli::Command::Inject(typed), .. }) => of_inject(&typed),
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

    /// What there is nothing to do for is the same for both.
    #[test]
    fn sysprep_takes_and_refuses_the_same() {
        let typed = |words: &[&str]| match cli::Cli::try_parse_from([&["imgraft", "sysprep", "x"], words].concat()) {
            Ok(cli::Cli { command: cli::Command::Sysprep(typed), .. }) => typed,
            other => panic!("{words:?}: {other:?}"),
        };
        let words = "--network --colors --colours --wrap --echo-keys --no-selinux-relabel --smp 2 -m 512 -x --dryrun";
        let words: Vec<&str> = words.split(' ').filter(|word| *word != "--colours").collect();
        assert!(of_sysprep(&typed(&words)).unwrap().is_empty() && typed(&words).writing.dry_run);
        assert!(
            of_sysprep(&typed(&["--colours", "--no-network", "--memsize", "9", "--no-logfile"])).unwrap().is_empty()
        );
        assert!(of_sysprep(&typed(&["--selinux-relabel"])).unwrap().join("").contains("--touch /.autorelabel"));
        for (words, way) in [
            (&["-d", "secret"][..], "domblklist"),
            (&["--connect", "secret"], "domblklist"),
            (&["--script", "secret"], "`imgraft inject IMAGE --firstboot SCRIPT`"),
            (&["--scriptdir", "secret"], "`imgraft inject IMAGE --firstboot SCRIPT`"),
            (&["--mount-options", "/:secret"], "--mount VOLUME:PATH"),
        ] {
            let failure = of_sysprep(&typed(words)).unwrap_err();
            assert!(failure.message.contains(words[0]) && !failure.message.contains("secret"), "{}", failure.message);
            assert!(failure.hints.join("").contains(way), "{:?}", failure.hints);
        }
    }

    #[test]
    fn labels_alone_are_nothing_to_inject() {
        let typed = |words: &[&str]| match cli::Cli::try_parse_from([&["imgraft", "inject", "x"], words].concat()) {
            Ok(cli::Cli { command: cli::Command::Inject(typed), .. }) => nothing_to_inject(&typed.virt_tools),
            other => panic!("{words:?}: {other:?}"),
        };
        let failure = typed(&["--selinux-relabel"]);
        assert!(failure.message.starts_with("--selinux-relabel: files get their labels as they are put in"));
        assert!(failure.hints.join("").contains("`imgraft inject IMAGE --touch /.autorelabel`"));
        assert_eq!(typed(&["--no-logfile"]).message, "nothing to inject");
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
            (&["--domain", "secret"], "domblklist"),
            (&["-d", "secret"], "domblklist"),
            (&["-c", "secret"], "domblklist"),
            (&["--connect", "secret"], "domblklist"),
            (&["--attach-format", "raw"], "--upload"),
            (&["--attach-method", "libvirt"], "--attach"),
            (&["--sm-register"], "--firstboot SCRIPT"),
            (&["--sm-unregister"], "--firstboot SCRIPT"),
            (&["--sm-remove"], "--firstboot SCRIPT"),
            (&["--sm-attach", "file:secret"], "--firstboot SCRIPT"),
            (&["--sm-credentials", "secret"], "--firstboot SCRIPT"),
        ] {
            let failure = told(words).unwrap_err();
            assert!(failure.message.contains(words[0]) && !failure.message.contains("secret"), "{}", failure.message);
            assert!(failure.hints.join("").contains(way), "{:?}", failure.hints);
        }
    }
}
