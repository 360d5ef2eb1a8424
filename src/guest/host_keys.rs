//! Who makes a guest's ssh host keys, where there are none, and who may read them.
//!
//! No sshd does that itself. Red Hat's, SUSE's and Arch's units pull in one that does, as do the scripts of OpenRC and of Red Hat before
//! systemd; Debian's openssh-server makes them when it is installed, and from 13 on at a boot that systemd takes for the guest's first one.

use super::Reader;
use imgraft_vfs::Result;
use imgraft_vfs::fs::GuestFs;
use imgraft_vfs::stage::Stage;

/// Where sshd is.
pub(crate) const SSHD: [&str; 3] = ["/usr/sbin/sshd", "/sbin/sshd", "/usr/bin/sshd"];
/// Where units are, the ones that win first (systemd.unit(5)).
const UNITS: [&str; 3] = ["/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];
/// sshd as a service.
const SERVICES: [&str; 4] = ["sshd.service", "ssh.service", "sshd@.service", "ssh@.service"];
const SCRIPTS: [&str; 3] = ["/etc/init.d/sshd", "/etc/rc.d/init.d/sshd", "/etc/init.d/ssh"];
/// Red Hat's programs that make host keys: with systemd's target, before it, and before systemd.
const MAKERS: [&str; 3] = ["/usr/libexec/openssh/sshd-keygen", "/usr/sbin/sshd-keygen", "/etc/rc.d/init.d/sshd"];
/// What cloud-init makes host keys in, and what that waits for: before and from 24.3 on.
const CLOUD_INIT: [&str; 4] =
    ["cloud-init.target", "cloud-init.service", "cloud-init-main.service", "cloud-init-network.service"];
const GROUP: &str = "ssh_keys";
/// Scripts that wait for the guest's first boot.
pub(super) const FIRST_BOOT: &str = "/usr/lib/imgraft/firstboot.d";
/// The largest file that is looked at, and how many of a directory.
const LIMIT: u64 = 64 * 1024;
const FILES_MAX: usize = 256;

/// What a guest's sshd is called as a service, `ssh` or `sshd`; `None` where it has none.
pub(crate) fn sshd(stage: &Stage<'_>) -> Result<Option<&'static str>> {
    let reader = Reader::staged(stage);
    let mut is_there = false;
    for path in SSHD {
        is_there = is_there || reader.exists(path)?;
    }
    if !is_there {
        return Ok(None);
    }
    let is_debians = reader.exists("/etc/init.d/ssh")?
        || reader.exists("/usr/lib/systemd/system/ssh.service")?
        || reader.exists("/lib/systemd/system/ssh.service")?;
    Ok(Some(if is_debians { "ssh" } else { "sshd" }))
}

/// When a guest makes host keys, with what shows it: a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Maker {
    /// At any boot.
    Boot(String),
    /// At a boot that systemd takes for the first one (`ConditionFirstBoot=`).
    FirstBoot(String),
}

/// Who makes a guest's host keys; `None` where nothing was found, cloud-init apart.
pub(crate) fn maker(fs: &dyn GuestFs) -> Result<Option<Maker>> {
    let reader = Reader::new(fs);
    let mut first_boot = None;
    let mut makes = |path: &str| -> Result<bool> {
        let Some(text) = reader.file_lenient(path, LIMIT)?.filter(|text| tells_of_keys(text)) else { return Ok(false) };
        if !waits_for_first_boot(&text) {
            return Ok(true);
        }
        first_boot.get_or_insert_with(|| Maker::FirstBoot(path.to_owned()));
        Ok(false)
    };
    let mut has_unit = false;
    for service in SERVICES {
        let mut unit = None;
        for directory in UNITS {
            let path = format!("{directory}/{service}");
            if unit.is_none() && reader.exists(&path)? {
                unit = Some(path);
            }
        }
        let Some(unit) = unit else { continue };
        has_unit = true;
        if reader.is_masked(&unit)? {
            continue;
        }
        if makes(&unit)? {
            return Ok(Some(Maker::Boot(unit)));
        }
        for directory in UNITS {
            let drop_ins = format!("{directory}/{service}.d");
            for name in reader.names(&drop_ins)?.into_iter().filter(|name| name.ends_with(".conf")).take(FILES_MAX) {
                let path = format!("{drop_ins}/{name}");
                if makes(&path)? {
                    return Ok(Some(Maker::Boot(path)));
                }
            }
        }
    }
    // A unit of somebody's own that is started at boot.
    for directory in UNITS {
        let links = reader.names(directory)?;
        for wants in links.into_iter().filter(|name| name.ends_with(".wants")).take(FILES_MAX) {
            for name in reader.names(&format!("{directory}/{wants}"))?.into_iter().take(FILES_MAX) {
                let path = format!("{directory}/{wants}/{name}");
                if name.ends_with(".service") && makes(&path)? {
                    return Ok(Some(Maker::Boot(path)));
                }
            }
        }
    }
    for name in reader.names(FIRST_BOOT)?.into_iter().take(FILES_MAX) {
        let path = format!("{FIRST_BOOT}/{name}");
        if makes(&path)? {
            return Ok(Some(Maker::Boot(path)));
        }
    }
    // systemd starts a script only where there is no unit of its name.
    for path in SCRIPTS {
        if !has_unit && !is_told_not_to(path, &reader)? && makes(path)? {
            return Ok(Some(Maker::Boot(path.to_owned())));
        }
    }
    Ok(first_boot)
}

/// Whether OpenRC's script is told to make none, in the file of its variables (sshd.initd of Alpine's openssh; `yesno` of OpenRC).
fn is_told_not_to(script: &str, reader: &Reader<'_>) -> Result<bool> {
    let Some(name) = script.strip_prefix("/etc/init.d/") else { return Ok(false) };
    let text = reader.file_lenient(&format!("/etc/conf.d/{name}"), LIMIT)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let value = |variable: &str| {
        let of_line = |line: &'_ str| -> Option<String> {
            let value = line.trim_start().strip_prefix(variable)?.strip_prefix('=')?;
            let word = value.split([' ', '\t', ';', '#']).next().unwrap_or_default();
            Some(word.trim_matches(['"', '\'']).to_ascii_lowercase())
        };
        text.lines().filter_map(of_line).next_back().filter(|value| !value.is_empty())
    };
    let said = value("sshd_disable_keygen").or_else(|| value("SSHD_DISABLE_KEYGEN"));
    Ok(said.is_some_and(|said| ["yes", "true", "on", "1"].contains(&said.as_str())))
}

/// The part of cloud-init that makes host keys, where that is masked: a path.
pub(crate) fn masked_cloud_init(fs: &dyn GuestFs) -> Result<Option<String>> {
    let reader = Reader::new(fs);
    for unit in CLOUD_INIT {
        let path = format!("/etc/systemd/system/{unit}");
        if reader.is_masked(&path)? {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// The group that a guest's own way of making host keys lets read them: Red Hat's before Fedora 38, whose sshd takes them so.
pub(crate) fn group(stage: &Stage<'_>) -> Result<Option<&'static str>> {
    let reader = Reader::staged(stage);
    for path in MAKERS {
        let text = reader.file_lenient(path, LIMIT)?.unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let gives_it = |line: &str| line.split_whitespace().any(|word| word == GROUP) && line.contains("chgrp");
        if text.lines().any(|line| !line.trim_start().starts_with('#') && gives_it(line)) {
            return Ok(Some(GROUP));
        }
    }
    Ok(None)
}

/// Whether a unit starts at a first boot only (systemd.unit(5); of several lines the last one that is not empty counts here).
fn waits_for_first_boot(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    let values =
        text.lines().filter_map(|line| line.trim().strip_prefix("ConditionFirstBoot")?.trim().strip_prefix('='));
    let last = values.map(str::trim).rfind(|value| !value.is_empty());
    last.is_some_and(|value| ["yes", "true", "on", "1", "y", "t"].contains(&value.to_ascii_lowercase().as_str()))
}

/// Whether a unit or a script, its comments apart, names one of the programs that make host keys, or the unit that runs one: where that
/// is to be started, and not what it is to be started before.
fn tells_of_keys(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    let starts_nothing = |line: &str| {
        let (key, value) = line.split_once('=').unwrap_or_default();
        let of_units = ["Before", "After", "Conflicts", "PartOf", "Description", "Documentation"];
        !value.is_empty() && of_units.contains(&key.trim())
    };
    let mut lines = text.lines().filter(|line| !line.trim_start().starts_with(['#', ';']) && !starts_nothing(line));
    lines.any(|line| {
        ["ssh-keygen", "sshd-keygen", "sshdgenkeys", "sshd-gen-keys", "dpkg-reconfigure openssh-server"]
            .iter()
            .any(|name| line.contains(name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use imgraft_vfs::fs::mem::{Builder, MemFs};

    fn found(fs: Builder) -> Option<String> {
        let Maker::Boot(path) = maker(&fs.build().unwrap()).unwrap()? else { panic!("not at the first boot only") };
        Some(path)
    }

    #[test]
    fn who_may_read_them() {
        let of =
            |path: &str, text: &str| group(&Stage::new(&MemFs::builder().file(path, text).build().unwrap())).unwrap();
        let red_hat = "#!/bin/bash\nssh-keygen -q -t $KEYTYPE -f $KEY -C '' -N ''\n\t/usr/bin/chgrp ssh_keys $KEY\nchmod 640 $KEY\n";
        for path in MAKERS {
            assert_eq!(of(path, red_hat), Some("ssh_keys"), "{path}");
        }
        assert_eq!(of(MAKERS[0], &red_hat.replace("/usr/bin/chgrp", "# chgrp")), None);
        assert_eq!(of(MAKERS[0], &red_hat.replace("ssh_keys", "ssh_keys_x")), None);
        assert_eq!(of("/usr/bin/sshd-keygen", red_hat), None);
    }

    #[test]
    fn distributions() {
        let fs = || MemFs::builder().file("/usr/sbin/sshd", "");
        let unit = "/usr/lib/systemd/system/sshd.service";
        let red_hat = || fs().file(unit, "[Unit]\nWants=sshd-keygen.target\n");
        assert_eq!(found(red_hat()).unwrap(), unit);
        assert_eq!(found(red_hat().symlink("/etc/systemd/system/sshd.service", "/dev/null")), None);
        assert_eq!(found(fs().file(unit, "[Service]\nExecStartPre=/usr/sbin/sshd-gen-keys-start\n")).unwrap(), unit);
        let alpine = || fs().file("/etc/init.d/sshd", "yesno \"$sshd_disable_keygen\" || ssh-keygen -A\n");
        assert_eq!(found(alpine()).unwrap(), "/etc/init.d/sshd");
        for (variables, makes) in [
            ("", true),
            ("#sshd_disable_keygen=\"yes\"\n", true),
            ("sshd_disable_keygen=\"yes\"\n", false),
            ("sshd_disable_keygen=YES # no\n", false),
            ("SSHD_DISABLE_KEYGEN='1'\n", false),
            ("sshd_disable_keygen=yes\nsshd_disable_keygen=no\n", true),
            ("SSHD_DISABLE_KEYGEN=yes\nsshd_disable_keygen=no\n", true),
            ("sshd_disable_keygen=\nSSHD_DISABLE_KEYGEN=on\n", false),
        ] {
            assert_eq!(found(alpine().file("/etc/conf.d/sshd", variables)).is_some(), makes, "{variables}");
        }

        let debian = || {
            fs().file(
                "/usr/lib/systemd/system/ssh.service",
                "[Service]\n# no ssh-keygen here\nExecStart=/usr/sbin/sshd -D\n",
            )
            .file("/etc/init.d/ssh", "ssh-keygen -A\n")
        };
        assert_eq!(found(debian()), None, "a script beside a unit is not started");
        let own = "/etc/systemd/system/multi-user.target.wants/regenerate_ssh_host_keys.service";
        assert_eq!(found(debian().file(own, "ExecStart=/usr/bin/ssh-keygen -A -v\n")).unwrap(), own);
        let drop_in = "/etc/systemd/system/ssh.service.d/keys.conf";
        assert_eq!(found(debian().file(drop_in, "[Service]\nExecStartPre=ssh-keygen -A\n")).unwrap(), drop_in);
        let script = "/usr/lib/imgraft/firstboot.d/0001-command";
        assert_eq!(found(debian().file(script, "#!/bin/sh\nssh-keygen -A\n")).unwrap(), script);
        let wanted = "/etc/systemd/system/ssh.service.wants/sshd-keygen.service";
        let debian_13 =
            |condition| debian().file(wanted, format!("[Unit]\n{condition}\n[Service]\nExecStart=ssh-keygen -A\n"));
        let first = maker(&debian_13("ConditionFirstBoot=yes").build().unwrap()).unwrap();
        assert_eq!(first, Some(Maker::FirstBoot(wanted.to_owned())));
        assert_eq!(found(debian_13("ConditionFirstBoot=yes").file(script, "ssh-keygen -A\n")).unwrap(), script);
        assert_eq!(found(debian_13("#ConditionFirstBoot=yes")).unwrap(), wanted);
        assert_eq!(found(debian_13("ConditionFirstBoot = no")).unwrap(), wanted);
        // cloud-init's, which starts nothing of that.
        for line in ["Before=sshd-keygen.service", "After = sshd-keygen.target", "Description=before ssh-keygen"] {
            let fs = debian_13("ConditionFirstBoot=yes").file(own, format!("[Unit]\n{line}\n"));
            assert_eq!(maker(&fs.build().unwrap()).unwrap(), Some(Maker::FirstBoot(wanted.to_owned())), "{line}");
        }
        assert_eq!(found(debian().file(own, "[Unit]\nRequires=sshd-keygen.service\n")).unwrap(), own);
        assert_eq!(sshd(&Stage::new(&debian().build().unwrap())).unwrap(), Some("ssh"));
        assert_eq!(sshd(&Stage::new(&red_hat().build().unwrap())).unwrap(), Some("sshd"));
        assert_eq!(sshd(&Stage::new(&MemFs::builder().build().unwrap())).unwrap(), None);
    }
}
