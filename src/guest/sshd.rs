//! Whether a guest starts its sshd at boot.

use super::Reader;
use super::host_keys::FIRST_BOOT;
pub(crate) use super::units::Idle;
use super::units::{Service, Start, Units};
use imgraft_vfs::Result;
use imgraft_vfs::stage::Stage;

/// What distributions call it: Debian's names, and those of all others.
const SERVICES: [Service; 4] = [
    Service { unit: "ssh.service", openrc: "ssh", script: "ssh" },
    Service { unit: "sshd.service", openrc: "sshd", script: "sshd" },
    Service { unit: "ssh.socket", openrc: "", script: "" },
    Service { unit: "sshd.socket", openrc: "", script: "" },
];
/// What is run at boot beside units and services, and may start it: init's own table, inetd's, and the script of administrators.
const FILES: [&str; 4] = ["/etc/inittab", "/etc/inetd.conf", "/etc/rc.local", "/etc/rc.d/rc.local"];
/// Where more of that is: xinetd's services, what cloud-init is told to run, and scripts of ours.
const DIRECTORIES: [&str; 3] = ["/etc/xinetd.d", "/etc/cloud/cloud.cfg.d", FIRST_BOOT];
/// runit's program, beside which other inits' links may be of no matter. Debian's package of sshd has a directory for it in all guests.
const RUNIT: [&str; 2] = ["/usr/bin/runsvdir", "/usr/sbin/runsvdir"];
/// The largest file that is looked at, in bytes, and how many.
const LIMIT: u64 = 64 * 1024;
const FILES_MAX: usize = 1024;
/// What a unit says of another one that does not start that.
const PASSED_OVER: [&str; 5] = ["After", "Before", "Conflicts", "Description", "Documentation"];

/// An sshd that is not started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotStarted {
    /// Its unit, or the name of its script.
    pub(crate) service: &'static str,
    /// Why.
    pub(crate) why: Idle,
}

/// What has a guest, as a run makes it, not start its sshd; `None` where it does, or where that is not known.
pub(crate) fn not_started(stage: &Stage<'_>) -> Result<Option<NotStarted>> {
    let reader = Reader::staged(stage);
    let units = Units::new(&reader)?;
    let mut first = None;
    for service in SERVICES {
        match units.start(service)? {
            Start::Possible => return Ok(None),
            Start::Missing => {}
            Start::Never(why) => {
                let service = match why {
                    Idle::Masked { .. } | Idle::Disabled => service.unit,
                    Idle::InNoRunlevel | Idle::NotLinked => service.script,
                };
                first.get_or_insert(NotStarted { service, why });
            }
        }
    }
    if first.is_some() && is_named_elsewhere(&units, &reader)? {
        return Ok(None);
    }
    Ok(first)
}

/// Whether something else that is run at boot names it, by which it may be started: another unit (cloud-init's wants `sshd.service`), a
/// table, a script that waits for the first boot.
fn is_named_elsewhere(units: &Units<'_>, reader: &Reader<'_>) -> Result<bool> {
    for program in RUNIT {
        if reader.exists(program)? {
            return Ok(true);
        }
    }
    let mut paths = units.texts_of_a_boot()?;
    paths.retain(|path| !SERVICES.iter().any(|service| path.ends_with(&format!("/{}", service.unit))));
    paths.extend(FILES.map(str::to_owned));
    for directory in DIRECTORIES {
        paths.extend(reader.names(directory)?.into_iter().map(|name| format!("{directory}/{name}")));
    }
    if paths.len() > FILES_MAX {
        return Ok(true);
    }
    let mut known = vec!["ssh", "sshd"];
    for service in SERVICES {
        if units.can_start(service.unit)? {
            known.push(service.unit);
        }
    }
    for path in paths {
        let text = reader.file_lenient(&path, LIMIT)?.unwrap_or_default();
        if names(&String::from_utf8_lossy(&text), &known) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a text, its comments apart, has one of these words.
fn names(text: &str, words: &[&str]) -> bool {
    text.lines().map(str::trim_start).any(|line| {
        let key = line.split_once('=').map_or("", |(key, _)| key.trim_end());
        let is_passed_over = line.starts_with(['#', ';']) || PASSED_OVER.contains(&key);
        let is_of_name = |letter: char| letter.is_alphanumeric() || "._-@".contains(letter);
        !is_passed_over && line.split(|letter| !is_of_name(letter)).any(|word| words.contains(&word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use imgraft_vfs::fs::mem::{Builder, MemFs};

    fn systemd() -> Builder {
        MemFs::builder().file("/usr/lib/systemd/systemd", "").file("/etc/machine-id", "0123456789abcdef\n")
    }

    fn debian() -> Builder {
        let unit = "/lib/systemd/system/ssh.service";
        systemd().file(unit, "[Install]\n").file("/lib/systemd/system/ssh.socket", "[Install]\n")
    }

    /// The service and why, where it is not started.
    fn of(guest: Builder) -> Option<(&'static str, Idle)> {
        let fs = guest.build().unwrap();
        not_started(&Stage::new(&fs)).unwrap().map(|found| (found.service, found.why))
    }

    #[test]
    fn units() {
        let disabled = |unit| Some((unit, Idle::Disabled));
        assert_eq!(of(debian()), disabled("ssh.service"));
        for wanted in
            ["multi-user.target.wants/ssh.service", "sockets.target.wants/ssh.socket", "x.requires/ssh.service"]
        {
            assert_eq!(of(debian().symlink(format!("/etc/systemd/system/{wanted}"), "/x")), None, "{wanted}");
        }
        // A name of another kind, and one that nothing is behind.
        assert_eq!(of(debian().symlink("/etc/systemd/system/x.wants/sshd.service", "/x")), disabled("ssh.service"));
        let mask = "/etc/systemd/system/ssh.service";
        let masked = || debian().symlink(mask, "/dev/null");
        let by = |path: &str, is_behind| Some(("ssh.service", Idle::Masked { path: path.to_owned(), is_behind }));
        assert_eq!(of(masked()), by(mask, true));
        assert_eq!(
            of(masked().symlink("/etc/systemd/system/multi-user.target.wants/ssh.service", "/x")),
            by(mask, true)
        );
        assert_eq!(of(masked().symlink("/etc/systemd/system/sockets.target.wants/ssh.socket", "/x")), None);
        let fedora = || systemd().file("/usr/lib/systemd/system/sshd.service", "[Install]\n");
        assert_eq!(of(fedora()), disabled("sshd.service"));
        assert_eq!(of(systemd()), None, "what starts it is not known");
        // Without a unit behind the mask, and one that another one starts, or nobody.
        let vendor = "/usr/lib/systemd/system/ssh.service";
        assert_eq!(of(systemd().symlink(vendor, "/dev/null")), by(vendor, false));
        assert_eq!(of(systemd().file(vendor, "[Service]\n")), None);
    }

    /// What is run at boot and may start it has it pass for started.
    #[test]
    fn named_elsewhere() {
        let (disabled, own) =
            (Some(("ssh.service", Idle::Disabled)), "/etc/systemd/system/multi-user.target.wants/own.service");
        for (path, text, is_named) in [
            (own, "[Unit]\nWants=ssh.service\n", true),
            // It is not there.
            (own, "[Unit]\nWants=sshd.service\n", false),
            (own, "[Unit]\nAfter=ssh.service sshd.service\nBefore = ssh.socket\nDescription=sshd\n#sshd\n", false),
            (own, "[Service]\nExecStart=/usr/sbin/sshd -D\n", true),
            (own, "[Service]\nExecStart=/bin/sh -c 'systemctl enable --now ssh'\n", true),
            (own, "[Service]\nExecStart=/usr/bin/ssh-keygen -A\nAfter=sshd-keygen.target\n", false),
            ("/etc/systemd/system/own.service", "[Service]\nExecStart=/usr/sbin/sshd -D\n", false),
            ("/etc/systemd/system/multi-user.target.d/own.conf", "[Unit]\nWants=ssh.service\n", true),
            ("/usr/lib/imgraft/firstboot.d/0001-command", "#!/bin/sh\nsystemctl enable --now ssh.service\n", true),
            ("/usr/lib/imgraft/firstboot.d/0001-command", "#!/bin/sh\nssh-keygen -A\n", false),
            ("/etc/rc.local", "#!/bin/sh\n/usr/sbin/sshd\n", true),
            ("/etc/cloud/cloud.cfg.d/90-own.cfg", "runcmd:\n- systemctl enable --now ssh\n", true),
            ("/etc/cloud/cloud.cfg.d/90-own.cfg", "ssh_deletekeys: false\n", false),
            ("/etc/xinetd.d/own", "server = /usr/sbin/sshd\n", true),
            ("/etc/runit/runsvdir/default/ssh/run", "", false),
            ("/usr/bin/runsvdir", "", true),
        ] {
            let expected = if is_named { None } else { disabled.clone() };
            assert_eq!(of(debian().file(path, text)), expected, "{path}: {text}");
        }
    }

    #[test]
    fn presets() {
        let first_boot = || {
            MemFs::builder()
                .file("/usr/lib/systemd/systemd", "")
                .file("/usr/lib/systemd/system/sshd.service", "[Install]\n")
        };
        let preset = |rules: &str| first_boot().file("/usr/lib/systemd/system-preset/90-x.preset", rules);
        assert_eq!(of(first_boot()), None);
        assert_eq!(of(preset("disable x.service\n")), None);
        assert_eq!(of(preset("enable sshd.service\ndisable *\n")), None);
        let disabled = Some(("sshd.service", Idle::Disabled));
        assert_eq!(of(preset("disable *\nenable sshd.service\n")), disabled);
        assert_eq!(of(preset("enable sshd.service\n").file("/etc/machine-id", "0123456789abcdef\n")), disabled);
        let wanted = "/etc/systemd/system/multi-user.target.wants/sshd.service";
        assert_eq!(of(preset("disable *\n").symlink(wanted, "/x")), None, "older ones leave it so");
    }

    #[test]
    fn scripts() {
        let scripts = || MemFs::builder().file("/sbin/init", "").file("/etc/init.d/ssh", "").file("/etc/inittab", "");
        let linked = || scripts().symlink("/etc/rc2.d/S01rmnologin", "../init.d/rmnologin");
        assert_eq!(of(linked()), Some(("ssh", Idle::NotLinked)));
        assert_eq!(of(linked().symlink("/etc/rc2.d/K01ssh", "../init.d/ssh")), Some(("ssh", Idle::NotLinked)));
        assert_eq!(of(linked().symlink("/etc/rc2.d/S01ssh", "../init.d/ssh")), None);
        assert_eq!(of(scripts()), None, "nothing is started by links");
        assert_eq!(of(linked().file("/usr/bin/runsvdir", "")), None);
        assert_eq!(of(linked().file("/usr/lib/systemd/systemd", "")), None, "what starts the guest is not known");
        let respawns = MemFs::builder().file("/sbin/init", "").file("/etc/init.d/ssh", "").dir("/etc/rc2.d/x");
        assert_eq!(of(respawns.file("/etc/inittab", "a:2:respawn:/usr/sbin/sshd -D\n")), None);
        let openrc = || linked().file("/sbin/openrc", "").dir("/etc/runlevels/default");
        let in_none = Some(("ssh", Idle::InNoRunlevel));
        assert_eq!(of(openrc()), in_none);
        assert_eq!(of(openrc().symlink("/etc/rc2.d/S01ssh", "../init.d/ssh")), in_none);
        assert_eq!(of(openrc().symlink("/etc/runlevels/default/ssh", "/etc/init.d/ssh")), None);
        assert_eq!(of(openrc().symlink("/etc/runlevels/own/ssh", "/etc/init.d/ssh")), None);
        assert_eq!(of(openrc().symlink("/etc/runlevels/default/ssh.lan", "/etc/init.d/ssh.lan")), None);
        assert_eq!(of(MemFs::builder().file("/sbin/init", "").file("/sbin/openrc", "")), None);
    }
}
