//! What gives a guest's files their SELinux labels at a boot: a line of its rc.local, or the program that labels all of them.

use super::Reader;
use super::init::{Init, has_systemd};
use super::units::{SCRIPTS, UNITS};
use imgraft_vfs::Result;
use imgraft_vfs::stage::Stage;

/// The largest script or unit that is looked at, in bytes.
const LIMIT: u64 = 256 * 1024;
/// The most drop-ins of a unit that are looked at, of each directory.
const DROP_INS_MAX: usize = 256;
/// systemd's unit for rc.local, and what has it started where the script is executable: systemd-rc-local-generator(8).
const RC_LOCAL: &str = "rc-local.service";
const RC_LOCAL_GENERATOR: [&str; 1] = ["systemd-rc-local-generator"];
/// The scripts that it looks for: Debian's, and Red Hat's.
const RC_LOCALS: [&str; 2] = ["/etc/rc.local", "/etc/rc.d/rc.local"];
/// Where generators are, the ones that win first (systemd.generator(7)).
const GENERATORS: [&str; 4] = [
    "/etc/systemd/system-generators",
    "/usr/local/lib/systemd/system-generators",
    "/usr/lib/systemd/system-generators",
    "/lib/systemd/system-generators",
];
/// What looks for /.autorelabel: the generators of policycoreutils, and the units of Red Hat's initscripts before these.
const LABELLING_GENERATORS: [&str; 2] = ["selinux-autorelabel-generator.sh", "selinux-autorelabel-generator"];
const LABELLING_UNITS: [&str; 2] = ["rhel-autorelabel.service", "fedora-autorelabel.service"];
/// Red Hat's first script before systemd.
const SYSINIT: &str = "/etc/rc.d/rc.sysinit";
const RESTORECON: [&str; 4] = ["/usr/sbin/restorecon", "/sbin/restorecon", "/usr/bin/restorecon", "/bin/restorecon"];

/// How files are labelled at a boot.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Labelling {
    /// The rc.local that is run, be it there or not, where there is a restorecon for it.
    pub(crate) rc_local: Option<String>,
    /// What shows that /.autorelabel is looked for.
    pub(crate) of_all: Option<String>,
}

impl Labelling {
    /// Of a guest as a run makes it.
    pub(crate) fn staged(stage: &Stage<'_>) -> Result<Self> {
        Self::inspect(&Reader::staged(stage))
    }

    fn inspect(reader: &Reader<'_>) -> Result<Self> {
        let init = Init::inspect(reader)?;
        let is_systemds = init != Init::Other && has_systemd(reader)?;
        let rc_local = match is_systemds {
            true => of_systemd(reader)?,
            false => of_scripts(reader)?,
        };
        let of_all = match is_systemds {
            true => match generator(&LABELLING_GENERATORS, reader)? {
                Some(generator) => Some(generator),
                None => unit(&LABELLING_UNITS, reader)?,
            },
            false => match started(&["selinux-autorelabel"], reader)? {
                Some(link) => Some(link),
                None => {
                    let text = reader.file_lenient(SYSINIT, LIMIT)?.unwrap_or_default();
                    let looks = text.windows(b"/.autorelabel".len()).any(|part| part == b"/.autorelabel");
                    looks.then(|| SYSINIT.to_owned())
                }
            },
        };
        let mut has_restorecon = false;
        for path in RESTORECON {
            has_restorecon |= reader.is_program(path)?;
        }
        Ok(Self { rc_local: rc_local.filter(|_| has_restorecon), of_all })
    }
}

/// The script of systemd's unit; none where a drop-in has it run something, be it this one.
fn of_systemd(reader: &Reader<'_>) -> Result<Option<String>> {
    let Some(unit) = unit(&[RC_LOCAL], reader)? else { return Ok(None) };
    for directory in UNITS.map(|directory| format!("{directory}/{RC_LOCAL}.d")) {
        let drop_ins = reader.names(&directory)?.into_iter().filter(|name| name.ends_with(".conf"));
        for name in drop_ins.take(DROP_INS_MAX) {
            if command(&format!("{directory}/{name}"), reader)?.is_some() {
                return Ok(None);
            }
        }
    }
    let command = command(&unit, reader)?.unwrap_or_default();
    let script = command.split_whitespace().next().unwrap_or_default();
    let is_run = reader.exists(&format!("/etc/systemd/system/multi-user.target.wants/{RC_LOCAL}"))?
        || RC_LOCALS.contains(&script) && generator(&RC_LOCAL_GENERATOR, reader)?.is_some();
    Ok((is_run && script.starts_with('/')).then(|| script.to_owned()))
}

/// What a file of a unit says is run, in its only line of that; nothing where there are several. `None` where there is none.
fn command(path: &str, reader: &Reader<'_>) -> Result<Option<String>> {
    let text = reader.file_lenient(path, LIMIT)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let mut settings =
        text.lines().filter_map(|line| line.split_once('=')).filter(|(key, _)| key.trim() == "ExecStart");
    let Some((_, command)) = settings.next() else { return Ok(None) };
    Ok(Some(if settings.next().is_none() { command.trim().to_owned() } else { String::new() }))
}

/// The script that another init runs by a link: Debian's `rc.local`, or Red Hat's `local`.
fn of_scripts(reader: &Reader<'_>) -> Result<Option<String>> {
    if started(&["rc.local", "local"], reader)?.is_none() {
        return Ok(None);
    }
    let is_red_hats = !reader.exists("/etc/rc.local")? && reader.exists("/etc/rc.d")?;
    Ok(Some(if is_red_hats { "/etc/rc.d/rc.local" } else { "/etc/rc.local" }.to_owned()))
}

/// The link by which System V's init runs one of some scripts.
fn started(scripts: &[&str], reader: &Reader<'_>) -> Result<Option<String>> {
    for directory in SCRIPTS {
        let is_start = |name: &String| {
            let rest = name.strip_prefix('S').and_then(|rest| rest.split_at_checked(2));
            rest.is_some_and(|(number, script)| {
                number.bytes().all(|byte| byte.is_ascii_digit()) && scripts.contains(&script)
            })
        };
        if let Some(name) = reader.names(directory)?.into_iter().find(is_start) {
            return Ok(Some(format!("{directory}/{name}")));
        }
    }
    Ok(None)
}

/// The first of some generators that is run: what is no program is passed over, one that is masked hides those behind it
/// (systemd.generator(7)).
fn generator(names: &[&str], reader: &Reader<'_>) -> Result<Option<String>> {
    for name in names {
        for path in GENERATORS.map(|directory| format!("{directory}/{name}")) {
            if reader.is_masked(&path)? {
                break;
            }
            if reader.is_program(&path)? {
                return Ok(Some(path));
            }
        }
    }
    Ok(None)
}

/// The first of some units that is not masked.
fn unit(names: &[&str], reader: &Reader<'_>) -> Result<Option<String>> {
    for name in names {
        for path in UNITS.map(|directory| format!("{directory}/{name}")) {
            if reader.exists(&path)? {
                if !reader.is_masked(&path)? {
                    return Ok(Some(path));
                }
                break;
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use imgraft_vfs::fs::mem::{Builder, MemFs};

    #[test]
    fn guests_that_label_at_a_boot() {
        let found = |guest: Builder| Labelling::inspect(&Reader::new(&guest.build().unwrap())).unwrap();
        let expected = |rc_local: Option<&str>, of_all: Option<&str>| Labelling {
            rc_local: rc_local.map(str::to_owned),
            of_all: of_all.map(str::to_owned),
        };
        let program = |guest: Builder, path: &str| guest.file(path, "elf").mode(0o755);
        let bare = || MemFs::builder().file("/usr/lib/systemd/systemd", "");
        let systemd = || program(bare(), "/usr/sbin/restorecon");
        let none = expected(None, None);
        assert_eq!(found(systemd()), none);
        let unit = |text: &str| systemd().file("/usr/lib/systemd/system/rc-local.service", text);
        let local = unit("[Service]\nExecStart=/etc/rc.d/rc.local start\n");
        assert_eq!(found(local), none);
        let generator = "/usr/lib/systemd/system-generators/systemd-rc-local-generator";
        let plain = || unit("[Service]\nExecStart=/etc/rc.d/rc.local start\n");
        let local = || program(plain(), generator);
        let run = expected(Some("/etc/rc.d/rc.local"), None);
        assert_eq!(found(local()), run);
        assert_eq!(found(plain().file(generator, "x")), none, "no program");
        assert_eq!(found(plain().dir(generator)), none, "no program");
        let over = "/etc/systemd/system-generators/systemd-rc-local-generator";
        assert_eq!(found(local().dir(over)), run, "passed over");
        for text in [
            "ExecStart=/etc/rc.local\nExecStart=\nExecStart=/x\n",
            "ExecStart=/opt/rc.local\n",
            "ExecStart=-/etc/rc.local\n",
        ] {
            assert_eq!(found(program(unit(text), generator)), none, "{text}");
        }
        for (restorecon, is_found) in [
            (program(bare(), "/usr/sbin/setfiles").symlink("/usr/sbin/restorecon", "setfiles"), true),
            (bare().dir("/usr/sbin/restorecon"), false),
            (bare().symlink("/usr/sbin/restorecon", "setfiles"), false),
            (bare().file("/usr/sbin/restorecon", "elf"), false),
        ] {
            let unit = restorecon.file("/usr/lib/systemd/system/rc-local.service", "ExecStart=/etc/rc.d/rc.local\n");
            assert_eq!(found(program(unit, generator)) == run, is_found);
        }
        for (text, is_run) in [("[Service]\nExecStart =\nExecStart=/x\n", false), ("[Unit]\nAfter=x\n", true)] {
            let drop_in = local().file("/etc/systemd/system/rc-local.service.d/x.conf", text);
            assert_eq!(found(drop_in) == run, is_run, "{text}");
        }
        for (mask, target) in
            [("/etc/systemd/system/rc-local.service", "/dev/null"), (over, "/dev/null"), ("/sbin/init", "/bin/busybox")]
        {
            assert_eq!(found(local().symlink(mask, target)), none, "{mask}");
        }
        let wanted = unit("ExecStart=/etc/rc.local\n")
            .symlink("/etc/systemd/system/multi-user.target.wants/rc-local.service", "/x");
        assert_eq!(found(wanted), expected(Some("/etc/rc.local"), None));
        let relabels = "/lib/systemd/system-generators/selinux-autorelabel-generator.sh";
        assert_eq!(found(program(systemd(), relabels)), expected(None, Some(relabels)));
        let rhel = "/usr/lib/systemd/system/rhel-autorelabel.service";
        assert_eq!(found(systemd().file(rhel, "x")), expected(None, Some(rhel)));
        let masked = systemd().file(rhel, "x").symlink("/etc/systemd/system/rhel-autorelabel.service", "/dev/null");
        assert_eq!(found(masked), none);

        let scripts = || MemFs::builder().file("/sbin/init", "");
        let debian = || scripts().symlink("/etc/rc2.d/S05rc.local", "../init.d/rc.local");
        assert_eq!(found(debian()), none, "no restorecon");
        assert_eq!(found(program(debian(), "/sbin/restorecon")), expected(Some("/etc/rc.local"), None));
        let link = "/etc/rcS.d/S02selinux-autorelabel";
        assert_eq!(found(scripts().symlink(link, "../init.d/x")), expected(None, Some(link)));
        let old = program(scripts(), "/sbin/restorecon")
            .symlink("/etc/rc.d/rc3.d/S99local", "../rc.local")
            .file(SYSINIT, "if [ -f /.autorelabel ]; then\n");
        assert_eq!(found(old), expected(Some("/etc/rc.d/rc.local"), Some(SYSINIT)));
    }
}
