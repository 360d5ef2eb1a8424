//! Scripts that the guest runs once, when it is booted for the first time.
//!
//! They lie in a directory; one script runs what is there and takes it away; and a service of the guest's init starts that one.

mod service;
mod startpar;
mod waiting;

pub(super) use service::outlast_first_boot;

use super::files::below::there;
use super::{InjectError, Injector, Item, Outcome, ROOT_DIR, label};
use crate::guest::Guest;
use imgraft_vfs::fs::{Attrs, Content, FileType};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;
use service::Starter;
use waiting::Waiting;

/// What the scripts are called that are no files.
const COMMAND: &str = "command";
const INSTALL: &str = "install";
/// With which a program begins (elf(5)).
const PROGRAM_MARK: &[u8] = b"\x7fELF";
/// With which a text of UTF-8 may begin, and no script.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Where the scripts wait.
const PLACE: &str = "/usr/lib/imgraft/firstboot.d";
/// What runs them.
const RUNNER: &str = "/usr/lib/imgraft/firstboot";
const RUN: &str = include_str!("run.sh");
/// Root's alone: a script may hold what nobody else is to read.
const PROGRAM: Attrs = Attrs { mode: 0o700, uid: 0, gid: 0 };
/// What it keeps.
const LOG: &str = "/var/log/imgraft-firstboot.log";
/// As many scripts as four digits can put in order.
const NUMBER_MAX: u16 = 9999;

/// The package managers that are known, and how each is told to install what are a shell's arguments, the first that is there.
/// Configuration that is in the guest already stays: it may have been put in by the same run.
const MANAGERS: [(&str, &str); 7] = [
    (
        "apt-get",
        "export DEBIAN_FRONTEND=noninteractive; apt-get -q update; exec apt-get -q -y -o Dpkg::Options::=--force-confold install",
    ),
    ("dnf", "exec dnf -y install"),
    ("microdnf", "exec microdnf -y install"),
    ("yum", "exec yum -y install"),
    ("zypper", "exec zypper --non-interactive install --auto-agree-with-licenses"),
    ("apk", "exec apk add --update-cache"),
    ("pacman", "exec pacman -Sy --noconfirm --needed"),
];

/// Those of them to which `@NAME` is a group of packages.
const WITH_GROUPS: [&str; 2] = ["dnf", "yum"];

/// A script for the first boot.
#[derive(Clone)]
pub struct Script {
    /// What it is called: letters, digits, dots, hyphens and underscores.
    pub name: String,
    /// The script, with its interpreter in the first line.
    pub text: Vec<u8>,
    /// What has to be there.
    pub needs: Needs,
}

/// What a [`Script`] cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// That is not known.
    Unknown,
    /// One of the package managers.
    PackageManager,
    /// One that knows groups of packages.
    PackageGroups,
}

/// Without its text, which may hold a password.
impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Script").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Script {
    /// A command as a script.
    pub fn of_command(command: &str) -> Self {
        let text = format!("#!/bin/sh\n{command}\n").into_bytes();
        Self { name: COMMAND.to_owned(), text, needs: Needs::Unknown }
    }

    /// A script that has these packages, or groups of them behind an `@`, installed by the package manager that it finds in the guest.
    pub fn of_packages<'p>(packages: impl IntoIterator<Item = &'p str>) -> Self {
        let mut needs = Needs::PackageManager;
        let mut word = |package: &str| {
            if package.starts_with('@') {
                needs = Needs::PackageGroups;
            }
            format!(" '{}'", package.replace('\'', r"'\''"))
        };
        let words: String = packages.into_iter().map(&mut word).collect();
        let mut text = format!("#!/bin/sh\nset --{words}\n");
        for (manager, install) in MANAGERS {
            text += &format!("if command -v {manager} >/dev/null 2>&1; then {install} \"$@\"; fi\n");
        }
        text += "echo 'no package manager is there that is known' >&2\nexit 127\n";
        Self { name: INSTALL.to_owned(), text: text.into_bytes(), needs }
    }

    /// A script of this file name, of which the bytes that may be in names here are taken. A text that names no interpreter is for
    /// `/bin/sh`, by which virt-customize's firstboot.sh comes to run it (execve(2) fails with ENOEXEC, and the shell reads it itself).
    pub fn of_file(name: &str, mut text: Vec<u8>) -> Self {
        let is_text = !text.is_empty() && !text.contains(&0) && !text.starts_with(BYTE_ORDER_MARK);
        if is_text && ![&b"#!"[..], PROGRAM_MARK].iter().any(|mark| text.starts_with(mark)) {
            text.splice(..0, *b"#!/bin/sh\n");
        }
        let taken = |letter: char| if letter.is_ascii_alphanumeric() || ".-_".contains(letter) { letter } else { '_' };
        Self { name: name.chars().map(taken).take(100).collect(), text, needs: Needs::Unknown }
    }

    /// Whether a kernel can run it: it begins with `#!` or is a program.
    pub fn is_runnable(&self) -> bool {
        self.text.starts_with(b"#!") || self.text.starts_with(PROGRAM_MARK)
    }

    /// Whether its lines end as those of Windows do: the interpreter, or the command, of the first would have a name that nothing has.
    pub fn has_carriage_returns(&self) -> bool {
        let mut lines = self.text.split(|byte| *byte == b'\n').take(2);
        self.text.starts_with(b"#!") && lines.any(|line| line.ends_with(b"\r"))
    }

    /// A sentence on its interpreter, where the guest does not have it.
    fn lacks(&self, stage: &Stage<'_>) -> Result<Option<String>, InjectError> {
        let line = self.text.strip_prefix(b"#!").and_then(|rest| rest.split(|byte| *byte == b'\n').next());
        let word = line.and_then(|line| line.trim_ascii().split(u8::is_ascii_whitespace).next());
        // Another one than a path from the root is found from wherever it runs.
        let Some(path) = word.and_then(|word| GuestPath::parse(word).ok()) else { return Ok(None) };
        Ok(match there(stage.metadata(&path))? {
            _ if matches!(&*self.name, COMMAND | INSTALL) => None,
            Some(_) => None,
            None => Some(format!("{path}: the guest does not have the interpreter of {}", self.name)),
        })
    }
}

/// Scripts for the first boot, in their order.
#[derive(Clone, Debug)]
pub struct Firstboot {
    /// The scripts.
    pub scripts: Vec<Script>,
}

impl Injector for Firstboot {
    fn item(&self) -> Item {
        Item::Firstboot
    }

    fn stage(&self, guest: &Guest, stage: &mut Stage<'_>) -> Result<Outcome, InjectError> {
        let before = stage.savepoint();
        let mut outcome = Outcome::default();
        let starter = Starter::of(guest, stage)?;
        self.check_manager(stage)?;
        let place = GuestPath::parse(PLACE)?;
        let mut waiting = Waiting::inspect(stage, &place)?;
        let (mut last, mut done) = (waiting.last, 0);
        stage.create_dirs(&place, ROOT_DIR)?;
        for script in &self.scripts {
            // One that an earlier run has put in, and no boot has run, is not put in again, unless it would come too early: where it
            // is, what that run has put after it may need it.
            if let Some(number) = waiting.take(script, done, stage)? {
                done = number;
                continue;
            }
            outcome.notes.extend(waiting.twin(script, done, stage)?);
            last = last.saturating_add(1);
            if last > NUMBER_MAX {
                return Err(InjectError::TooManyScripts { place });
            }
            done = last;
            stage.write(
                &place.join(format!("{last:04}-{}", script.name))?,
                Content::bytes(script.text.as_slice()),
                PROGRAM,
            )?;
        }
        for script in &self.scripts {
            outcome.notes.extend(waiting.namesake(script));
            outcome.notes.extend(script.lacks(stage)?);
        }
        put(&GuestPath::parse(RUNNER)?, Content::bytes(RUN.as_bytes()), PROGRAM, stage)?;
        starter.put(stage)?;
        outcome.notes.push(format!("{} runs them once, and keeps a log: {LOG}", starter.name()));
        label::label_new(guest, stage, &before, &mut outcome)?;
        Ok(outcome)
    }
}

impl Firstboot {
    /// Fails where packages are to be installed, and what would do it is not there, or does not know groups of them.
    fn check_manager(&self, stage: &Stage<'_>) -> Result<(), InjectError> {
        let needs = |needs| self.scripts.iter().any(|script| script.needs == needs);
        if !needs(Needs::PackageManager) && !needs(Needs::PackageGroups) {
            return Ok(());
        }
        match manager(stage)? {
            None => Err(InjectError::NoPackageManager { managers: MANAGERS.map(|(manager, _)| manager).join(", ") }),
            Some(manager) if needs(Needs::PackageGroups) && !WITH_GROUPS.contains(&manager) => {
                Err(InjectError::NoPackageGroups { manager })
            }
            Some(_) => Ok(()),
        }
    }
}

/// Writes a file that is this tool's: a link in its place goes, as what it leads to is somebody else's.
fn put(path: &GuestPath, content: Content, attrs: Attrs, stage: &mut Stage<'_>) -> Result<(), InjectError> {
    if there(stage.symlink_metadata(path))? == Some(FileType::Symlink) {
        stage.remove(path)?;
    }
    Ok(stage.write(path, content, attrs)?)
}

/// The package manager of the guest, the one that the script takes.
fn manager(stage: &Stage<'_>) -> Result<Option<&'static str>, InjectError> {
    for (name, _) in MANAGERS {
        for directory in ["/usr/bin", "/sbin", "/usr/sbin", "/bin"] {
            let found = there(stage.metadata(&GuestPath::parse(format!("{directory}/{name}"))?))?;
            if found == Some(FileType::Regular) {
                return Ok(Some(name));
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::waiting::COMPARED_MAX;
    use super::*;
    use crate::inject::testing::{
        assert_unchanged, describe, exists, fedora, inject, label, notes, phony, refusal, text,
    };
    use imgraft_vfs::fs::mem::{Builder, MemFs};

    fn scripts(commands: &[&str]) -> Firstboot {
        Firstboot { scripts: commands.iter().map(|command| Script::of_command(command)).collect() }
    }

    fn systemd() -> Builder {
        phony().symlink("/sbin/init", "/lib/systemd/systemd").file("/lib/systemd/systemd", "")
    }

    fn commands(fs: &MemFs, names: &[&str]) -> Vec<String> {
        names.iter().map(|name| text(fs, &format!("{PLACE}/{name}"))).collect()
    }

    #[test]
    fn by_systemd_in_their_order() {
        let fs = inject(&scripts(&["b", "a"]), systemd().build().unwrap());
        assert_eq!(commands(&fs, &["0001-command", "0002-command"]), ["#!/bin/sh\nb\n", "#!/bin/sh\na\n"]);
        assert_eq!(describe(&fs, "/usr/lib/imgraft/firstboot.d/0001-command"), "0700 0:0");
        assert!(text(&fs, "/etc/systemd/system/multi-user.target.wants/imgraft-firstboot.service").contains(RUNNER));
        assert!(!exists(&fs, "/etc/init.d/imgraft-firstboot"));
        assert_unchanged(&scripts(&["b", "a"]), &fs);
        // What waits stays, and what is new comes after it.
        let fs = inject(&scripts(&["a", "c"]), fs);
        assert_eq!(commands(&fs, &["0002-command", "0003-command"]), ["#!/bin/sh\na\n", "#!/bin/sh\nc\n"]);
        assert!(!exists(&fs, &format!("{PLACE}/0004-command")));
        // One that waits stays where it is, for what comes after it there; where that is too early it comes once more.
        let fs = inject(&scripts(&["d", "a", "c"]), fs);
        assert_eq!(
            commands(
                &fs,
                &["0001-command", "0002-command", "0003-command", "0004-command", "0005-command", "0006-command"]
            ),
            ["b", "a", "c", "d", "a", "c"].map(|command| format!("#!/bin/sh\n{command}\n"))
        );
        for again in [&["d", "a", "c"][..], &["b", "a"], &["a", "c"]] {
            assert_unchanged(&scripts(again), &fs);
        }
        let twice = notes(&scripts(&["c", "b"]), &fs);
        assert!(twice.contains("/0001-command of an earlier run is the same, and runs too, before"), "{twice}");
        let fs = inject(&scripts(&["c", "b"]), fs);
        assert_eq!(commands(&fs, &["0003-command", "0007-command"]), ["#!/bin/sh\nc\n", "#!/bin/sh\nb\n"]);
        let file = |text: &str| Firstboot { scripts: vec![Script::of_file("grow.sh", text.as_bytes().to_vec())] };
        let fs = inject(&file("#!/bin/sh\n"), fs);
        assert!(
            notes(&file("#!/bin/dash\n"), &fs).contains("/0008-grow.sh of an earlier run is another one of this name")
        );
        assert!(!notes(&file("#!/bin/sh\n"), &fs).contains("earlier run"));
        let twice = inject(&scripts(&["a", "b", "a"]), systemd().build().unwrap());
        assert_unchanged(&scripts(&["b", "a"]), &twice);
        // However many others of the name wait.
        let many: Vec<String> = (0..2 * COMPARED_MAX).map(|n| format!("a{n}")).collect();
        let fs = inject(&scripts(&many.iter().map(String::as_str).collect::<Vec<_>>()), systemd().build().unwrap());
        let fs = inject(&scripts(&["of another length"]), fs);
        assert_unchanged(&scripts(&["of another length"]), &fs);
        // The same twice is meant.
        let fs = inject(&scripts(&["a", "a"]), systemd().build().unwrap());
        assert_eq!(commands(&fs, &["0001-command", "0002-command"]), ["#!/bin/sh\na\n", "#!/bin/sh\na\n"]);
    }

    #[test]
    fn by_other_inits() {
        let alpine =
            phony().symlink("/sbin/init", "/bin/busybox").file("/bin/busybox", "").file("/sbin/openrc-run", "");
        let fs = alpine.dir("/etc/init.d").dir("/etc/runlevels/default").build().unwrap();
        assert!(notes(&scripts(&["a"]), &fs).starts_with("OpenRC runs them once"));
        let fs = inject(&scripts(&["a"]), fs);
        assert!(text(&fs, "/etc/runlevels/default/imgraft-firstboot").starts_with("#!/sbin/openrc-run\n"));
        assert_eq!(describe(&fs, "/etc/init.d/imgraft-firstboot"), "0755 0:0");
        assert_unchanged(&scripts(&["a"]), &fs);

        for directory in ["/etc", "/etc/rc.d"] {
            let mut old = phony().file("/sbin/init", "").dir(format!("{directory}/init.d"));
            for level in 2..=5 {
                old = old.dir(format!("{directory}/rc{level}.d"));
            }
            let fs = inject(&scripts(&["a"]), old.build().unwrap());
            for level in 2..=5 {
                assert!(
                    text(&fs, &format!("{directory}/rc{level}.d/S99imgraft-firstboot")).contains("Required-Start:")
                );
            }
            assert_unchanged(&scripts(&["a"]), &fs);
        }
        let refused = refusal(&scripts(&["a"]), phony().file("/sbin/init", "").build().unwrap());
        assert!(refused.contains("neither systemd nor OpenRC nor the directories of sysvinit"), "{refused}");
    }

    #[test]
    fn packages_by_what_installs_them() {
        let packages = Firstboot { scripts: vec![Script::of_packages(["nginx", "it's=1:2"])] };
        assert!(
            refusal(&packages, systemd().build().unwrap()).contains("apt-get, dnf, microdnf, yum, zypper, apk, pacman")
        );
        let fs = systemd().file("/usr/bin/dnf-3", "").symlink("/usr/bin/dnf", "dnf-3").build().unwrap();
        let script = text(&inject(&packages, fs), &format!("{PLACE}/0001-install"));
        // What each of them is told, by a shell that finds that one alone.
        let place = tempfile::tempdir().unwrap();
        for (manager, _) in MANAGERS {
            let said = place.path().join(manager);
            std::fs::create_dir(&said).unwrap();
            let program = said.join(manager);
            std::fs::write(&program, "#!/bin/sh\nprintf '<%s>' \"$@\"\necho\n").unwrap();
            std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
            let run = std::process::Command::new("/bin/sh").args(["-c", &script]).env("PATH", &said).output().unwrap();
            let out = String::from_utf8(run.stdout).unwrap();
            assert!(run.status.success() && out.ends_with("<nginx><it's=1:2>\n"), "{manager}: {out}");
            assert!(out.contains("<install>") || out.contains("<add>") || out.contains("<-Sy>"), "{manager}: {out}");
        }
        let groups = Firstboot { scripts: vec![Script::of_packages(["@Xfce Desktop", "vim"])] };
        let told = |path: &str| refusal(&groups, systemd().file(path, "").build().unwrap());
        assert!(told("/usr/bin/apt-get").starts_with("the guest's package manager, apt-get, knows no groups"));
        assert!(told("/sbin/apk").starts_with("the guest's package manager, apk, knows no groups"));
        let dnf = systemd().file("/usr/bin/dnf", "").file("/usr/bin/zypper", "").build().unwrap();
        let script = text(&inject(&groups, dnf), &format!("{PLACE}/0001-install"));
        let said = place.path().join("dnf");
        let run = std::process::Command::new("/bin/sh").args(["-c", &script]).env("PATH", &said).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&run.stdout), "<-y><install><@Xfce Desktop><vim>\n");
        let none =
            std::process::Command::new("/bin/sh").args(["-c", &script]).env("PATH", place.path()).output().unwrap();
        assert_eq!(none.status.code(), Some(127));
    }

    #[test]
    fn labels_and_names() {
        let guest = fedora().symlink("/sbin/init", "/lib/systemd/systemd").file("/lib/systemd/systemd", "");
        let file = Script::of_file("Set up/\u{e4}.sh", b"#!/bin/sh\n".to_vec());
        assert_eq!(file.name, "Set_up__.sh");
        let fs = inject(&Firstboot { scripts: vec![file] }, guest.build().unwrap());
        assert_eq!(
            label(&fs, "/usr/lib/imgraft/firstboot.d/0001-Set_up__.sh").unwrap(),
            "system_u:object_r:default_t:s0"
        );
        assert_eq!(label(&fs, "/etc/systemd/system/imgraft-firstboot.service").unwrap(), "system_u:object_r:etc_t:s0");
    }

    /// Nothing would start it, and the link that says so leads out of the disk.
    #[test]
    fn a_service_that_is_masked() {
        let unit = "/etc/systemd/system/imgraft-firstboot.service";
        for guest in [
            systemd().symlink(unit, "/dev/null"),
            systemd().symlink(unit, "/etc/none").symlink("/etc/none", "../dev/null"),
            systemd().file(unit, ""),
            systemd().symlink(unit, "/etc/none").file("/etc/none", ""),
        ] {
            assert_eq!(
                refusal(&scripts(&["a"]), guest.build().unwrap()),
                format!("imgraft-firstboot.service is masked, by {unit} (--delete {unit} unmasks it)")
            );
        }
    }

    /// Its own files come to be in the place of links, and nothing where these lead.
    #[test]
    fn no_link_is_written_through() {
        let openrc = phony().file("/sbin/openrc-run", "").dir("/etc/runlevels/default");
        let sysv =
            phony().file("/sbin/init", "").dir("/etc/rc2.d").dir("/etc/rc3.d").dir("/etc/rc4.d").dir("/etc/rc5.d");
        for (guest, path) in [
            (systemd(), "/etc/systemd/system/imgraft-firstboot.service"),
            (systemd(), RUNNER),
            (openrc, "/etc/init.d/imgraft-firstboot"),
            (sysv, "/etc/init.d/imgraft-firstboot"),
        ] {
            let theirs = guest.file("/opt/theirs", "theirs").symlink(path, "/opt/theirs");
            let fs = inject(&scripts(&["a"]), theirs.build().unwrap());
            assert_eq!(text(&fs, "/opt/theirs"), "theirs", "{path}");
            assert!(!text(&fs, path).is_empty() && text(&fs, path) != "theirs", "{path}");
        }
    }

    /// What is there of the name is not held in memory, and a number that is no number is none.
    #[test]
    fn a_place_with_other_things_in_it() {
        let mut guest = systemd().file(format!("{PLACE}/abcd-command"), "").file(format!("{PLACE}/+003-command"), "x");
        for number in [7, 9] {
            guest = guest.file(format!("{PLACE}/{number:04}-command"), vec![b'x'; 1 << 20]);
        }
        let fs = inject(&scripts(&["a"]), guest.dir(format!("{PLACE}/0044-command")).build().unwrap());
        assert_eq!(commands(&fs, &["0045-command"]), ["#!/bin/sh\na\n"]);
    }

    /// A link is somebody else's, wherever it leads, and a script that would not run is made one that does.
    #[test]
    fn a_link_and_a_script_without_its_bit() {
        let text_of = "#!/bin/sh\na\n";
        let guest =
            systemd().file("/opt/setup.sh", "#!/bin/sh\n").symlink(format!("{PLACE}/0001-command"), "/opt/setup.sh");
        let fs = inject(&scripts(&["a"]), guest.build().unwrap());
        assert_eq!(text(&fs, "/opt/setup.sh"), "#!/bin/sh\n");
        assert_eq!(commands(&fs, &["0002-command"]), [text_of]);
        let guest = systemd().file(format!("{PLACE}/0003-command"), text_of).mode(0o644);
        let fs = inject(&scripts(&["a"]), guest.build().unwrap());
        assert_eq!(describe(&fs, &format!("{PLACE}/0003-command")), "0700 0:0");
        assert_unchanged(&scripts(&["a"]), &fs);
    }

    #[test]
    fn an_interpreter_that_the_guest_does_not_have() {
        let file = |text: &str| Firstboot { scripts: vec![Script::of_file("s.py", text.as_bytes().to_vec())] };
        let guest = systemd().file("/usr/bin/env", "").build().unwrap();
        let told = notes(&file("#! /usr/bin/python3 -u\nprint()\n"), &guest);
        assert!(told.contains("/usr/bin/python3: the guest does not have the interpreter of s.py"), "{told}");
        for text in ["#!/usr/bin/env python3\n", "#!python3\n", "\x7fELF", "#!"] {
            assert!(!notes(&file(text), &guest).contains("interpreter"), "{text}");
        }
    }

    #[test]
    fn what_a_script_holds_is_not_shown_in_passing() {
        assert!(!format!("{:?}", scripts(&["echo geheim"])).contains("geheim"));
    }

    /// The one script runs the others in their order, each once, and keeps what they say.
    #[test]
    fn the_runner_by_a_shell() {
        let place = tempfile::tempdir().unwrap();
        let at = |path: &str| place.path().join(path);
        std::fs::create_dir(at("firstboot.d")).unwrap();
        for (name, text) in [
            ("0002-b", "#!/bin/sh\necho two; exit 3\n"),
            ("0001-a", "#!/bin/sh\necho one $0\n"),
            ("0003-c", "#!/bin/sh\necho three\n"),
        ] {
            use std::os::unix::fs::PermissionsExt;
            std::fs::write(at("firstboot.d").join(name), text).unwrap();
            std::fs::set_permissions(at("firstboot.d").join(name), std::fs::Permissions::from_mode(0o700)).unwrap();
        }
        let here = place.path().to_str().unwrap();
        let script = RUN
            .replace("/usr/lib/imgraft/", &format!("{here}/"))
            .replace(LOG, &format!("{here}/log"))
            .replace("/etc/", &format!("{here}/etc/"));
        let run = || std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        let first = run();
        assert_eq!(first.status.code(), Some(1), "one of them failed");
        let log = std::fs::read_to_string(at("log")).unwrap();
        let expected = format!(
            "=== 0001-a\none {here}/firstboot.d.done/0001-a\n=== 0001-a: exit status 0\n=== 0002-b\ntwo\n=== 0002-b: exit status 3\n=== 0003-c\nthree\n=== 0003-c: exit status 0\n"
        );
        assert_eq!(log, expected);
        assert_eq!(run().status.code(), Some(0));
        assert_eq!(std::fs::read_to_string(at("log")).unwrap(), expected, "not a second time");

        // Where the log cannot be written, they run all the same.
        std::fs::remove_file(at("log")).unwrap();
        std::fs::create_dir(at("log")).unwrap();
        let script_at = at("firstboot.d").join("0004-d");
        std::fs::write(&script_at, format!("#!/bin/sh\n: >{here}/ran\n")).unwrap();
        std::fs::set_permissions(&script_at, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        assert_eq!(run().status.code(), Some(0));
        assert!(at("ran").exists() && !script_at.exists());
    }
}
