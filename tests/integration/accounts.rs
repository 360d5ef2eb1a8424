//! Users and groups, beside useradd, groupadd and usermod, which do the same to a twin.

use crate::refusals::refused;
use crate::support::tree::{self, Mounted};
use crate::support::{KEY, Scratch, filled, image, imgraft, oracle, run, text};
use std::path::{Path, PathBuf};

/// The day of all changes.
const EPOCH: &str = "1700000000";

const FILES: [&str; 6] = ["passwd", "shadow", "group", "gshadow", "subuid", "subgid"];

/// A guest of the manifest, twice.
struct Twins {
    scratch: Scratch,
    disk: PathBuf,
    twin: PathBuf,
    offset: u64,
}

impl Twins {
    /// Both as the script leaves them, which runs in the guest's root; `None` where the test is skipped.
    fn new(prepare: &str) -> Option<Self> {
        Self::of("bookworm-gpt", prepare)
    }

    fn of(guest: &str, prepare: &str) -> Option<Self> {
        let tools = ["e2fsck", "useradd", "groupadd", "usermod", "pwck", "grpck"];
        if !tree::have(&tools) || !tree::can_mount() {
            return None;
        }
        let guest = image::named("real", guest)?;
        let scratch = Scratch::new();
        let disk = scratch.copy(&guest.path, "disk.raw");
        let offset = image::open(&disk, guest.partition).offset;
        let twins = Self { twin: scratch.path().join("twin.raw"), scratch, disk, offset };
        twins.shell(&twins.disk, prepare);
        twins.scratch.copy(&twins.disk, "twin.raw");
        Some(twins)
    }

    /// Runs a script in the root of one of them, which `$root` is.
    fn shell(&self, disk: &Path, script: &str) -> String {
        let mounted = Mounted::new(disk, &format!("offset={}", self.offset));
        let root = text(mounted.path());
        let script = format!("set -e; root={root}; export SOURCE_DATE_EPOCH={EPOCH}; umask 022; cd {root}\n{script}");
        // useradd copies no directory without /proc, and says nothing.
        let script = format!("mount --bind /proc {root}/proc; trap 'umount {root}/proc' EXIT; {script}");
        oracle::succeed("sh", &["-c", &script])
    }

    /// Runs `imgraft inject` on the disk; gives its report.
    fn inject(&self, words: &[&str]) -> serde_json::Value {
        let mut command = imgraft();
        command.env("SOURCE_DATE_EPOCH", EPOCH).args(["inject", text(&self.disk), "--json"]).args(words);
        let output = command.output().expect("the binary starts");
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let verdict = if report["changed"] == true { "agrees" } else { "nothing_to_verify" };
        assert_eq!(report["verified"]["verdict"], verdict, "{report}");
        oracle::e2fsck(&self.disk, self.offset);
        report
    }

    /// The files of the two are the same byte for byte, and so are the directories, by name, type, mode, owner, target, time of files and content.
    fn assert_same(&self, directories: &str) {
        let databases = FILES.map(|name| {
            format!("echo '== {name}'; if [ -e etc/{name} ]; then stat -c '%a %u:%g' etc/{name}; cat etc/{name}; else echo none; fi")
        });
        let listing = format!(
            "find {directories} -printf '%P %y %m %U:%G %l' \\( -type f -not -path 'var/mail/*' -printf ' %s %T@' -o -true \\) -printf '\\n' | LC_ALL=C sort
             find {directories} -type f -print0 | LC_ALL=C sort -z | xargs -0 -r sha256sum"
        );
        // Both look for what no file of the guest's has, so that it is not the exit status that counts.
        let judged = "pwck -r -R $root 2>&1 || echo \"pwck: $?\"; grpck -r -R $root 2>&1 || echo \"grpck: $?\"";
        let script = format!("{}\n{listing}\n{judged}", databases.join("\n"));
        let (found, expected) = (self.shell(&self.disk, &script), self.shell(&self.twin, &script));
        let differs = found.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
        assert!(found == expected, "{differs:?}\nfound:\n{found}\nexpected:\n{expected}");
        for complaint in ["invalid", "duplicate", "no matching", "no group", "no user", "add user", "is not in"] {
            let said = found.lines().find(|line| line.contains(complaint));
            assert_eq!(said, None, "{found}");
        }
    }
}

const SKELETON: &str = "
    mkdir -p etc/skel/.config/deep; echo rc >etc/skel/.config/deep/rc; chmod 0700 etc/skel/.config; chmod 0750 etc/skel/.config/deep
    ln -s /etc/skel/.bashrc etc/skel/own; ln -s ../elsewhere etc/skel/other; printf '#!/bin/sh\n' >etc/skel/run; chmod 04755 etc/skel/run
    touch -d @1234567890 etc/skel/.config/deep/rc etc/skel/run
";

#[test]
fn as_useradd_does() {
    let Some(twins) = Twins::new(SKELETON) else { return };
    twins.shell(
        &twins.twin,
        "groupadd -R $root dev
         groupadd -R $root -r daemons
         groupadd -R $root -g 4242 fixed
         useradd -R $root -m ann
         useradd -R $root -m -u 2000 -g dev -G sudo,adm -s /bin/dash -d /srv/homes/bea -c 'Bea B' bea
         useradd -R $root -r svc
         useradd -R $root -M -u 70000 cyd
         useradd -R $root -m dan
         usermod -R $root -aG dev ann
         usermod -R $root -aG sudo ann",
    );
    let words = [
        "--add-group",
        "dev",
        "--add-group",
        "daemons:system",
        "--add-group",
        "fixed:gid=4242",
        "--add-user",
        "ann",
        "--add-user",
        "bea:uid=2000,gid=dev,groups=sudo+adm,shell=/bin/dash,home=/srv/homes/bea,comment=Bea B",
        "--add-user",
        "svc:system",
        "--add-user",
        "cyd:uid=70000,no-home",
        "--add-user",
        "dan",
        "--add-to-group",
        "ann:dev",
        "--add-to-group",
        "ann:sudo",
    ];
    twins.inject(&words);
    twins.assert_same("home srv");
    let before = oracle::sha256(&twins.disk);
    assert_eq!(twins.inject(&words)["changed"], false);
    assert_eq!(oracle::sha256(&twins.disk), before);
}

/// A service's account with a home directory, as a manifest and a configuration of Ignition ask for it.
#[test]
fn as_useradd_does_of_services_with_homes() {
    let Some(twins) = Twins::new(SKELETON) else { return };
    twins.shell(
        &twins.twin,
        "useradd -R $root -r -m svc; useradd -R $root -r -m -d /srv/robot robot; useradd -R $root -r -M bare",
    );
    let plan = twins.scratch.file("plan.yaml", "users: [{name: svc, system: true, create_home: true}]\n");
    let config = twins.scratch.file(
        "config.ign",
        r#"{"ignition": {"version": "3.0.0"}, "passwd": {"users": [
            {"name": "robot", "system": true, "homeDir": "/srv/robot"}, {"name": "bare", "system": true, "noCreateHome": true}]}}"#,
    );
    let words = ["-f", text(&plan), "--ignition", text(&config)];
    twins.inject(&words);
    twins.assert_same("home srv var/mail");
    assert_eq!(twins.inject(&words)["changed"], false);
}

/// The guest's own useradd, which is new enough to take a skeleton of the vendor's, too.
#[test]
fn as_a_new_useradd_does_with_two_skeletons() {
    let prepare = "mkdir -p usr/etc/skel/only; echo usr >usr/etc/skel/both; echo etc >etc/skel/both; echo in >usr/etc/skel/only/in";
    let Some(twins) = Twins::of("trixie-gpt", prepare) else { return };
    twins.shell(&twins.twin, "chroot $root useradd -m ann");
    twins.inject(&["--add-user", "ann"]);
    twins.assert_same("home");
    let home = twins.shell(&twins.disk, "cat home/ann/both home/ann/only/in");
    assert_eq!(home, "etc\nin\n");
}

#[test]
fn as_useradd_does_where_the_guest_has_its_own_ways() {
    let prepare = "
        sed -i -E '/^#?(UID_M|GID_M|HOME_MODE|USERGROUPS|SYS_UID|SUB_UID|PASS_M|MAIL_DIR)/d' etc/login.defs
        printf 'UID_MIN 500\nUID_MAX 0x400\nGID_MIN 600\nGID_MAX 700\nHOME_MODE 0711\nUSERGROUPS_ENAB no\nSYS_UID_MIN 300\nSYS_UID_MAX 400\nSUB_UID_MIN 5000\nSUB_UID_COUNT 100\nPASS_MIN_DAYS 3\nPASS_MAX_DAYS 90\nMAIL_DIR /var/mail\n' >>etc/login.defs
        printf 'GROUP=100\nHOME=/srv/home\nINACTIVE=30\nSHELL=/bin/dash\nSKEL=/etc/skeleton\nCREATE_MAIL_SPOOL=yes\n' >etc/default/useradd
        mkdir etc/skeleton; echo x >etc/skeleton/x
        echo 'old:5050:100' >etc/subuid; echo 'old:0:100000' >etc/subgid
        printf 'top:x:1023:100::/:/bin/sh\nlow:x:300:100::/:/bin/sh' >>etc/passwd; printf 'top:*:1::::::\nlow:*:1::::::\n' >>etc/shadow; printf 'low:x:600:\nhigh:x:700:\n' >>etc/group
        rm etc/gshadow
    ";
    let Some(twins) = Twins::new(prepare) else { return };
    twins.shell(
        &twins.twin,
        "groupadd -R $root dev
         groupadd -R $root -r daemons
         useradd -R $root -m ann
         useradd -R $root -m bea
         useradd -R $root -m cyd
         useradd -R $root -r svc",
    );
    twins.inject(&[
        "--add-group",
        "dev",
        "--add-group",
        "daemons:system",
        "--add-user",
        "ann",
        "--add-user",
        "bea",
        "--add-user",
        "cyd",
        "--add-user",
        "svc:system",
    ]);
    twins.assert_same("home srv var/mail");
}

#[test]
fn as_useradd_does_without_groups_of_their_own() {
    let prepare = "sed -i '/^USERGROUPS_ENAB/d' etc/login.defs; echo 'USERGROUPS_ENAB no' >>etc/login.defs; sed -i '/^GROUP=/d' etc/default/useradd";
    let Some(twins) = Twins::new(prepare) else { return };
    twins.shell(&twins.twin, "useradd -R $root -m ann");
    twins.inject(&["--add-user", "ann"]);
    twins.assert_same("home");
}

#[test]
fn as_useradd_does_where_a_program_has_left_its_lock() {
    // No process has this number.
    let prepare = "for file in passwd group shadow; do printf '4194304\\0' >etc/$file.lock; done";
    let Some(twins) = Twins::new(prepare) else { return };
    let unknown = twins.scratch.copy(&twins.disk, "unknown.raw");
    twins.shell(&unknown, ": >etc/passwd.lock");
    assert!(twins.shell(&unknown, "useradd -R $root -m ann 2>&1 || echo failed").contains("failed"));
    let words = ["inject", text(&unknown), "--add-user", "ann"];
    let why = "/etc/passwd.lock: a program has locked the guest's accounts, and not said which process it is";
    refused(
        &unknown,
        3,
        &words,
        &["item accounts: ", why, "hint: no program of the guest runs: --delete /etc/passwd.lock"],
    );

    twins.shell(&twins.twin, "useradd -R $root -m ann");
    twins.inject(&["--add-user", "ann"]);
    twins.assert_same("home");
    for disk in [&twins.disk, &twins.twin] {
        assert_eq!(twins.shell(disk, "find etc -name '*.lock' -not -name .pwd.lock"), "");
    }
    assert_eq!(twins.inject(&["--add-user", "ann"])["changed"], false);
}

/// Whichever of two files changes, both are locked: those of which shadow's programs mind a lock, and no others.
#[test]
fn as_shadows_programs_mind_locks() {
    const LOCKS: [&str; 5] = ["passwd", "shadow", "group", "gshadow", "subuid"];
    const JOBS: [(&str, [&str; 2]); 5] = [
        ("printf 'ann:x\\n' | chpasswd -R $root -c SHA512", ["--password", "ann:password:x"]),
        ("useradd -R $root -m new", ["--add-user", "new"]),
        ("groupadd -R $root dev", ["--add-group", "dev"]),
        ("usermod -R $root -e 2030-02-03 ann", ["--expire", "ann:2030-02-03"]),
        ("gpasswd -Q $root -a ann staff", ["--add-to-group", "ann:staff"]),
    ];
    let Some(twins) = Twins::new("useradd -R $root -m ann") else { return };
    for lock in LOCKS {
        let disk = twins.scratch.copy(&twins.disk, "locked.raw");
        let jobs = JOBS.map(|(job, _)| {
            format!("cp -a etc saved; : >etc/{lock}.lock; if ({job}) >/dev/null 2>&1; then echo done; else echo refused; fi; rm -r etc; mv saved etc")
        });
        let theirs = twins.shell(&disk, &jobs.join("\n"));
        twins.shell(&disk, &format!(": >etc/{lock}.lock"));
        for ((job, words), theirs) in JOBS.iter().zip(theirs.lines()) {
            let output = run(&[&["inject", text(&disk), "--dry-run"], &words[..]].concat());
            let stderr = String::from_utf8_lossy(&output.stderr);
            let ours = if output.status.success() { "done" } else { "refused" };
            assert_eq!(ours, theirs, "{lock}.lock, {job}: {stderr}");
            assert_eq!(
                stderr.contains(&format!("/etc/{lock}.lock: a program has locked")),
                ours == "refused",
                "{stderr}"
            );
        }
        assert_eq!(theirs.lines().count(), JOBS.len());
        let refused = theirs.lines().filter(|verdict| *verdict == "refused").count();
        assert!(refused > 0 && refused < JOBS.len(), "{lock}: {theirs}");
    }
}

#[test]
fn as_useradd_does_without_shadow() {
    let Some(twins) = Twins::new("rm etc/shadow etc/gshadow etc/subuid") else { return };
    twins.shell(&twins.twin, "groupadd -R $root dev\nuseradd -R $root -m -G dev ann\nuseradd -R $root -r svc");
    twins.inject(&["--add-group", "dev", "--add-user", "ann:groups=dev", "--add-user", "svc:system"]);
    twins.assert_same("home srv");
}

#[test]
fn as_usermod_does() {
    let prepare = "useradd -R $root ann; useradd -R $root bea; useradd -R $root -e 2031-01-01 cyd
        usermod -R $root -p '!$6$saltsalt$hash' ann; usermod -R $root -p '$6$saltsalt$hash' bea; usermod -R $root -p '!*' cyd";
    let Some(twins) = Twins::new(prepare) else { return };
    twins.shell(
        &twins.twin,
        "useradd -R $root -m -e 2028-02-29 dan
         usermod -R $root -e 2030-02-03 ann; usermod -R $root -U ann
         usermod -R $root -e 1 bea; usermod -R $root -U bea
         usermod -R $root -e '' cyd; usermod -R $root -U cyd",
    );
    let words = [
        "--add-user",
        "dan",
        "--expire",
        "dan:2028-02-29",
        "--expire",
        "ann:2030-02-03",
        "--unlock",
        "ann",
        "--expire",
        "bea:now",
        "--unlock",
        "bea",
        "--expire",
        "cyd:never",
        "--unlock",
        "cyd",
    ];
    let report = twins.inject(&words).to_string();
    assert!(report.contains("the account of 'bea' has expired all the same"), "{report}");
    assert!(!report.contains("saltsalt"), "{report}");
    twins.assert_same("home srv");
    assert_eq!(twins.inject(&words)["changed"], false);
}

#[test]
fn as_chpasswd_passwd_and_chage_do() {
    let hash = filled("$HASH");
    let prepare =
        "for user in ann bea cyd dan eve; do useradd -R $root -M $user; chage -R $root -d 10 -M 90 $user; done
        chage -R $root -d 0 bea; usermod -R $root -p '!' dan; usermod -R $root -p '!' eve";
    let Some(twins) = Twins::new(prepare) else { return };
    twins.shell(
        &twins.twin,
        &format!(
            "for user in ann bea dan eve; do echo \"$user:\"'{hash}'; done | chpasswd -R $root -e
             passwd -q -R $root --expire cyd; chage -R $root -d 0 dan"
        ),
    );
    let passwords = ["ann", "bea", "dan", "eve"].map(|user| format!("--password={user}:hash:{hash}"));
    let rest = ["--expire-password", "cyd", "--expire-password=dan", "--unlock=dan", "--unlock", "eve"];
    let words: Vec<&str> = passwords.iter().map(String::as_str).chain(rest).collect();
    let report = twins.inject(&words).to_string();
    assert!(report.contains("'dan' has to choose another password at the next login"), "{report}");
    twins.assert_same("home");
    let ages = twins.shell(&twins.disk, "for user in ann bea cyd dan eve; do LC_ALL=C chage -R $root -l $user; done");
    let last: Vec<&str> = ages.lines().filter_map(|line| line.strip_prefix("Last password change")).collect();
    let day = "\t\t\t\t\t: Nov 14, 2023";
    let asked = "\t\t\t\t\t: password must be changed";
    assert_eq!(last, [day, day, asked, asked, day], "{ages}");
    assert_eq!(twins.inject(&words)["changed"], false);
    // A manifest and a cloud-config say the same.
    let before = oracle::sha256(&twins.disk);
    let of = |user: &str, more: &str| format!("{{name: {user}, existing: true, password: 'hash:{hash}', {more}}}");
    let users = [of("ann", ""), of("dan", "unlock: true, expire_password: true"), of("eve", "unlock: true")].join(", ");
    let manifest = twins
        .scratch
        .file("manifest.yaml", format!("users: [{users}, {{name: cyd, existing: true, expire_password: true}}]\n"));
    let config = twins
        .scratch
        .file("user-data", format!("#cloud-config\nchpasswd: {{users: [{{name: dan, password: '{hash}'}}]}}\n"));
    for document in [["-f", text(&manifest)], ["--cloud-config", text(&config)]] {
        assert_eq!(twins.inject(&document)["changed"], false);
    }
    assert_eq!(oracle::sha256(&twins.disk), before);
}

#[test]
fn a_password_is_not_unlocked_and_locked() {
    let Some(guest) = image::named("real", "bookworm-gpt") else { return };
    let scratch = Scratch::new();
    let disk = scratch.copy(&guest.path, "disk.raw");
    for selector in ["locked", "locked:random"] {
        let output = imgraft()
            .args(["inject", text(&disk), "--unlock", "root", "--root-password", selector])
            .output()
            .expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("the password of 'root' is to be unlocked, and to be locked"), "{said}");
        assert!(said.contains("hint: leave out --unlock"), "{said}");
    }
    oracle::succeed("cmp", &[text(&disk), text(&guest.path)]);
}

/// A key and a password for one that the same run makes.
#[test]
fn a_new_user_gets_a_key_and_a_password() {
    let Some(twins) = Twins::new("") else { return };
    let key = twins.scratch.file("key.pub", format!("{KEY}\n"));
    let password = twins.scratch.file("password", "correct horse\n");
    let words = [
        "--password".to_owned(),
        format!("ann:file:{}", text(&password)),
        "--ssh-inject".to_owned(),
        format!("ann:file:{}", text(&key)),
        "--write".to_owned(),
        "/home/ann/notes:x".to_owned(),
        "--chown".to_owned(),
        "ann:ann:/etc/motd".to_owned(),
        "--add-user".to_owned(),
        "ann:groups=sudo".to_owned(),
    ];
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    twins.inject(&words);
    let shown = twins.shell(
        &twins.disk,
        "stat -c '%n %a %u:%g' home/ann/.ssh home/ann/.ssh/authorized_keys home/ann/notes etc/motd; cat home/ann/.ssh/authorized_keys
         hash=$(sed -n 's/^ann:\\([^:]*\\):.*/\\1/p' etc/shadow); perl -e 'print crypt(\"correct horse\", $ARGV[0]) eq $ARGV[0] ? \"fits\" : \"no\"' \"$hash\"",
    );
    let expected = "home/ann/.ssh 700 1001:1001\nhome/ann/.ssh/authorized_keys 600 1001:1001\nhome/ann/notes 644 1001:1001\netc/motd 644 1001:1001\n";
    assert_eq!(shown, format!("{expected}{KEY}\nfits"));
    assert_eq!(twins.inject(&words)["changed"], false);
}

/// An item that may fail, and does, leaves nothing of its users to the items after it.
#[test]
fn nothing_stays_of_an_item_that_fails() {
    let Some(twins) = Twins::new("") else { return };
    let before = oracle::sha256(&twins.disk);
    let mut command = imgraft();
    command.args([
        "inject",
        text(&twins.disk),
        "--add-user",
        "ann",
        "--add-user",
        "root:uid=5",
        "--root-password",
        "locked",
    ]);
    let output = command.output().expect("the binary starts");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{told}");
    assert!(told.contains("accounts") && told.contains("its user number is 0, not 5"), "{told}");
    assert_eq!(oracle::sha256(&twins.disk), before);

    let output =
        command.args(["--optional", "accounts", "--password", "ann:locked"]).output().expect("the binary starts");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && told.contains("no user 'ann' in the guest"), "{told}");
    assert_eq!(oracle::sha256(&twins.disk), before);
}

/// As sudo itself sees it: it is put into the guest from this machine, and run there.
#[test]
fn what_sudo_makes_of_it() {
    if !tree::have(&["visudo", "sudo", "chroot", "dpkg"]) {
        return;
    }
    let install = "dpkg -L sudo libaudit1 libselinux1 zlib1g | while read -r file; do [ -d $file ] || cp -a --parents $file $root/ 2>/dev/null || :; done
        rm -rf etc/sudoers.d";
    let Some(twins) = Twins::new(install) else { return };
    let words = [
        "--add-user",
        "ann",
        "--add-user",
        "b.c",
        "--add-user",
        "ALL",
        "--add-user",
        "machine$",
        "--add-user",
        "cyd",
        "--sudo",
        "ann",
        "--sudo",
        "b.c:nopasswd",
        "--sudo",
        "ALL",
        "--sudo",
        "machine$:nopasswd",
    ];
    twins.inject(&words);
    let shown = twins.shell(
        &twins.disk,
        "for file in etc/sudoers.d/*; do stat -c '%n %a %u:%g' $file; visudo -c -s -f $file; done
         chroot $root visudo -c -s
         for user in ann b.c ALL 'machine$' cyd; do echo \"== $user\"; chroot $root sudo -l -U $user | grep -v '^Matching\\|env_reset\\|^$' || :; done",
    );
    let may = |user: &str, what: &str| {
        let of_user = shown.split(&format!("== {user}\n")).nth(1).and_then(|rest| rest.split("== ").next());
        assert!(of_user.is_some_and(|said| said.contains(what)), "{user}: {what}\n{shown}");
    };
    may("ann", "    (ALL : ALL) ALL\n");
    may("b.c", "    (ALL : ALL) NOPASSWD: ALL\n");
    may("ALL", "    (ALL : ALL) ALL\n");
    may("machine$", "    (ALL : ALL) NOPASSWD: ALL\n");
    may("cyd", "not allowed to run sudo");
    assert!(shown.contains("etc/sudoers.d/90-imgraft-ann 440 0:0\n"), "{shown}");
    assert!(shown.contains("/etc/sudoers.d/90-imgraft-b%2Ec: parsed OK"), "{shown}");
    assert_eq!(twins.inject(&words)["changed"], false);
}
