use super::*;
use crate::inject::testing::{assert_unchanged, exists, inject, notes, phony, refusal};
use imgraft_vfs::fs::Lookup;
use imgraft_vfs::fs::mem::{Builder, MemFs};
use imgraft_vfs::resolve::{Follow, resolve};

const VENDOR: &str = "/usr/lib/systemd/system";

fn guest() -> Builder {
    let unit = |name: &str, text: &str| (format!("{VENDOR}/{name}"), text.to_owned());
    let units = [
        unit("ssh.service", "[Service]\nExecStart=x\n[Install]\nWantedBy=multi-user.target\nAlias=sshd.service\n"),
        unit("static.service", "[Service]\nWantedBy=no.target\n"),
        unit("a@.service", "[Install]\nWantedBy=multi-user.target b@.target\nDefaultInstance=one\n"),
        unit("bare@.service", "[Install]\nWantedBy=multi-user.target\n"),
        unit(
            "main.service",
            "[Install]\n# WantedBy=not.target\nWantedBy=x.target \\\n  y.target\nRequiredBy=\"z.target\"\nAlso=ssh.service none.service\n",
        ),
        unit("odd.service", "[Install]\nWantedBy=%h/../x.target\n"),
        unit("kind.service", "[Install]\nAlias=kind@.service\n"),
        unit("masked.service", "[Install]\nWantedBy=multi-user.target\n"),
    ];
    let guest = units.into_iter().fold(phony(), |guest, (path, text)| guest.file(path, text));
    guest
        .symlink("/sbin/init", "/lib/systemd/systemd")
        .file("/lib/systemd/systemd", "")
        .file("/etc/machine-id", "")
        .symlink("/etc/systemd/system/masked.service", "/dev/null")
        .symlink(format!("{VENDOR}/other.service"), "ssh.service")
        .file("/etc/init.d/old", "#!/bin/sh\n")
}

fn names(list: &[&str]) -> Vec<UnitName> {
    list.iter().map(|name| UnitName::of_typed(name).unwrap()).collect()
}

fn enabled(list: &[&str]) -> Units {
    Units { enable: names(list), ..Units::default() }
}

#[track_caller]
fn after(units: &Units, guest: Builder) -> MemFs {
    let fs = inject(units, guest.build().unwrap());
    assert_unchanged(units, &fs);
    fs
}

fn target(fs: &MemFs, path: &str) -> Option<String> {
    let at = resolve(fs, &GuestPath::parse(format!("{CONFIG}/{path}")).unwrap(), Follow::ExcludeLast).unwrap();
    fs.lookup(&at).unwrap()?;
    Some(String::from_utf8(fs.read_link(&at).unwrap()).unwrap())
}

#[test]
fn links_of_install_sections() {
    let fs = after(&enabled(&["ssh", "a@", "a@two.service"]), guest());
    let ssh = Some(format!("{VENDOR}/ssh.service"));
    assert_eq!(target(&fs, "multi-user.target.wants/ssh.service"), ssh);
    assert_eq!(target(&fs, "sshd.service"), ssh);
    let template = Some(format!("{VENDOR}/a@.service"));
    for path in
        ["multi-user.target.wants/a@one.service", "b@.target.wants/a@one.service", "b@.target.wants/a@two.service"]
    {
        assert_eq!(target(&fs, path), template, "{path}");
    }
    let fs = after(&enabled(&["main"]), guest());
    for path in
        ["x.target.wants/main.service", "y.target.wants/main.service", "z.target.requires/main.service", "sshd.service"]
    {
        assert!(target(&fs, path).is_some(), "{path}");
    }
    assert!(!exists(&fs, &format!("{CONFIG}/not.target.wants")));
    assert!(notes(&enabled(&["main"]), &guest().build().unwrap()).contains("main.service names none.service"));
    // A drop-in takes the names of the file away.
    let dropped =
        guest().file(format!("{CONFIG}/ssh.service.d/a.conf"), "[Install]\nWantedBy=\nWantedBy=late.target\n");
    let fs = after(&enabled(&["ssh"]), dropped);
    assert!(
        target(&fs, "late.target.wants/ssh.service").is_some()
            && target(&fs, "multi-user.target.wants/ssh.service").is_none()
    );
}

#[test]
fn all_links_go_and_a_mask_stays() {
    let wants = format!("{CONFIG}/multi-user.target.wants");
    let by_hand = guest()
        .symlink(format!("{wants}/a@three.service"), "../a@three.service")
        .symlink(format!("{CONFIG}/a@four.service"), "/dev/null");
    let fs = after(&enabled(&["main", "a@"]), by_hand);
    let off =
        Units { disable: names(&["main", "a@.service"]), mask: names(&["static", "later.timer"]), ..Units::default() };
    let fs = inject(&off, fs);
    assert_unchanged(&off, &fs);
    for gone in ["x.target.wants", "multi-user.target.wants", "sshd.service", "b@.target.wants"] {
        assert!(target(&fs, "masked.service").is_some() && !exists(&fs, &format!("{CONFIG}/{gone}")), "{gone}");
    }
    assert_eq!(target(&fs, "static.service").as_deref(), Some("/dev/null"));
    assert_eq!(target(&fs, "a@four.service"), None, "an instance's mask goes with its template");
    // What is disabled stays so where another unit that is enabled names it.
    let timer = "[Install]\nWantedBy=timers.target\n";
    let also = guest()
        .file(format!("{VENDOR}/q.service"), "[Install]\nWantedBy=x.target\nAlso=r.timer\n")
        .file(format!("{VENDOR}/r.timer"), timer)
        .build()
        .unwrap();
    let both = Units { disable: names(&["r.timer"]), ..enabled(&["q"]) };
    assert!(notes(&both, &also).contains("q.service is enabled with r.timer (Also=), which is disabled as asked"));
    let fs = inject(&both, also);
    assert!(target(&fs, "x.target.wants/q.service").is_some());
    assert_eq!(target(&fs, "timers.target.wants/r.timer"), None);
    assert_unchanged(&both, &fs);
    // A unit that another names, and that is masked, stays masked.
    let also = guest()
        .file(format!("{VENDOR}/also.service"), "[Install]\nWantedBy=x.target\nAlso=masked.service\n")
        .build()
        .unwrap();
    let fs = inject(&Units { disable: names(&["also"]), ..Units::default() }, also);
    assert_eq!(target(&fs, "masked.service").as_deref(), Some("/dev/null"));
    assert!(notes(&off, &guest().build().unwrap()).contains("no unit later.timer"));
    let first = guest().file("/etc/other", "").build().unwrap();
    assert!(!notes(&Units { disable: names(&["ssh"]), ..Units::default() }, &first).contains("presets"));
}

#[test]
fn what_cannot_be_done_is_refused_by_name() {
    let told = |units: &Units| refusal(units, guest().build().unwrap());
    for (unit, way) in [
        ("nothing", "brings, --firstboot-command 'systemctl disable --now nothing.service' after it disables"),
        ("old", "--firstboot-command 'systemctl disable --now old.service' has the guest do it as it boots"),
    ] {
        let refused = told(&Units { disable: names(&[unit]), ..Units::default() });
        assert!(refused.contains(way), "{refused}");
    }
    for (unit, reason) in [
        ("nothing", "no unit nothing.service (`imgraft ls"),
        ("old", "no unit old.service (it is a script of System V's"),
        ("static", "has nothing in [Install]"),
        ("masked", "masked.service is masked, by /etc/systemd/system/masked.service (--delete"),
        ("other", "another name of ssh.service (name ssh.service)"),
        ("bare@", "a template, and names no default instance (name an instance: bare@INSTANCE.service)"),
        ("kind", "kind.service cannot have kind@.service for another name"),
        ("odd", "[Install] of odd.service has '%h/../x.target'"),
    ] {
        assert!(told(&enabled(&[unit])).contains(reason), "{unit}: {}", told(&enabled(&[unit])));
    }
    let way = guest().file(format!("{CONFIG}/sshd.service"), "[Service]\n");
    assert!(refusal(&enabled(&["ssh"]), way.build().unwrap()).contains("sshd.service is there already"));
    let mask = Units { mask: names(&["own"]), ..Units::default() };
    let own = guest().file(format!("{CONFIG}/own.service"), "[Service]\n");
    assert!(refusal(&mask, own.build().unwrap()).contains("own.service is there already"));
    let other = phony().file("/sbin/init", "");
    let other = refusal(&mask, other.build().unwrap());
    assert!(
        other.starts_with("a unit is for systemd, and another init starts the guest (by OpenRC a service"),
        "{other}"
    );
    for bad in ["", "a/b.service", "../x.service", "a b", "@x.service", "x.service\n", &"a".repeat(300)] {
        assert_eq!(UnitName::of_typed(bad), None, "{bad}");
    }
}

#[test]
fn a_mask_is_taken_away() {
    let units = |list: &[&str]| Units { unmask: names(list), ..Units::default() };
    let fs = after(&units(&["masked", "ssh", "none"]), guest());
    assert_eq!((target(&fs, "masked.service"), target(&fs, "ssh.service")), (None, None));
    // Before it is enabled, or disabled with its preset.
    let fs = after(&Units { enable: names(&["masked"]), ..units(&["masked"]) }, guest());
    assert!(target(&fs, "multi-user.target.wants/masked.service").is_some());
    // Only an administrator's, and no other link.
    let other = guest().symlink(format!("{VENDOR}/theirs.service"), "/dev/null").build().unwrap();
    assert_unchanged(&units(&["theirs"]), &other);
    assert_eq!(
        notes(&units(&["theirs"]), &other),
        format!("theirs.service is masked all the same, by {VENDOR}/theirs.service")
    );
    let link = guest().symlink(format!("{CONFIG}/own.service"), "/srv/own.service").build().unwrap();
    assert_unchanged(&units(&["own"]), &link);
}
