//! Whether a guest starts its sshd at boot.

use super::Reader;
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
                    Idle::Masked(_) | Idle::Disabled => service.unit,
                    Idle::InNoRunlevel | Idle::NotLinked => service.script,
                };
                first.get_or_insert(NotStarted { service, why });
            }
        }
    }
    Ok(first)
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
        systemd().file(unit, "[Service]\n").file("/lib/systemd/system/ssh.socket", "[Socket]\n")
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
        assert_eq!(of(masked()), Some(("ssh.service", Idle::Masked(mask.to_owned()))));
        assert_eq!(
            of(masked().symlink("/etc/systemd/system/multi-user.target.wants/ssh.service", "/x")),
            Some(("ssh.service", Idle::Masked(mask.to_owned())))
        );
        assert_eq!(of(masked().symlink("/etc/systemd/system/sockets.target.wants/ssh.socket", "/x")), None);
        let fedora = || systemd().file("/usr/lib/systemd/system/sshd.service", "[Service]\n");
        assert_eq!(of(fedora()), disabled("sshd.service"));
        assert_eq!(of(systemd()), None, "what starts it is not known");
    }

    #[test]
    fn presets() {
        let first_boot = || {
            MemFs::builder()
                .file("/usr/lib/systemd/systemd", "")
                .file("/usr/lib/systemd/system/sshd.service", "[Service]\n")
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
        let openrc = || linked().file("/sbin/openrc", "").dir("/etc/runlevels/default");
        let in_none = Some(("ssh", Idle::InNoRunlevel));
        assert_eq!(of(openrc()), in_none);
        assert_eq!(of(openrc().symlink("/etc/rc2.d/S01ssh", "../init.d/ssh")), in_none);
        assert_eq!(of(openrc().symlink("/etc/runlevels/default/ssh", "/etc/init.d/ssh")), None);
        assert_eq!(of(openrc().symlink("/etc/runlevels/own/ssh", "/etc/init.d/ssh")), None);
        assert_eq!(of(MemFs::builder().file("/sbin/init", "").file("/sbin/openrc", "")), None);
    }
}
