use super::*;
use imgraft_vfs::block::{BlockDevice, MemDevice};
use imgraft_vfs::fs::mem::{Builder, MemFs};
use imgraft_vfs::volume::undivided;
use std::sync::Arc;

fn survey() -> Survey {
    let disk: Arc<dyn BlockDevice> = Arc::new(MemDevice::new(vec![0; 1 << 16]));
    let table = undivided(&disk).unwrap();
    Survey::new(&disk, table).unwrap()
}

fn guest(fstab: &str) -> Builder {
    MemFs::builder().file("/etc/os-release", "ID=debian\n").file("/etc/fstab", fstab)
}

fn inspect(fs: Builder, wanted: &Wanted) -> Result<Mounts> {
    let survey = survey();
    let root = survey.volumes()[0].clone();
    Mounts::inspect(&fs.build().unwrap(), &root, &survey, wanted)
}

/// A line for each mount: its place, and what is there.
fn told(list: &[Planned]) -> Vec<String> {
    let one = |Planned { path, what, .. }: &Planned| match what {
        What::Volume(Selector::Marked(_, value)) => format!("{path} = {value}"),
        What::Volume(selector) => format!("{path} = {selector:?}"),
        What::Unusable { reason, .. } => format!("{path}: {reason}"),
    };
    list.iter().map(one).collect()
}

#[test]
fn each_line_is_what_it_is() {
    let fstab = "UUID=r / ext4\n\
        UUID=b /boot ext4\n\
        tmpfs /tmp tmpfs\n\
        proc /proc proc\n\
        nas:/x /nfs nfs\n\
        /srv/data /mnt none bind\n\
        UUID=r /home btrfs subvol=@home\n\
        UUID=t /top btrfs subvol=/,subvolid=5\n\
        UUID=u /sub btrfs subvol=\n\
        UUID=n /media/n auto noauto\n\
        UUID=a /media/a auto noauto,x-systemd.automount\n\
        /dev/mapper/vg-lv /lv ext4\n\
        /dev/mapper/home_crypt /secret ext4\n\
        /dev/mapper/data_crypt /data ext4\n\
        /dev/mapper/luks-83679162-1378-4288-a2d4-70e13ec132aa /luks ext4\n\
        /dev/mapper/mystery /mystery ext4\n\
        /dev/sdb1 /other ext4\n";
    let tree = guest(fstab).file("/etc/crypttab", "home_crypt UUID=c none\ndata_crypt /dev/mapper/vg-cr none\n");
    let mounts = inspect(tree, &Wanted::default()).unwrap();
    assert_eq!(
        told(&mounts.mounted),
        [
            "/boot = b",
            "/tmp: it is a tmpfs, in the guest's memory: what is put there is gone when the guest starts",
            "/proc: it is a proc, which the guest's kernel makes up",
            "/nfs: nas:/x (nfs) is not in the image",
            "/mnt: it is a bind mount of /srv/data, which is not followed",
            "/top: it is a subvolume of another btrfs than the root's, which is not looked into",
            "/sub = u",
            "/media/a = a",
            "/lv = Logical(\"vg/lv\")",
            "/secret = c",
            "/data = Logical(\"vg/cr\")",
            "/luks = 83679162-1378-4288-a2d4-70e13ec132aa",
            "/mystery: /dev/mapper/mystery cannot be found in the image",
            "/other: /dev/sdb1 cannot be found in the image",
        ]
    );
    assert_eq!(told(&mounts.left), ["/media/n = n"]);
    let with_root: Vec<_> = mounts.with_root.iter().map(|planned| planned.path.to_string()).collect();
    assert_eq!(with_root, ["/home"]);
    assert_eq!(mounts.mounted[0].origin, "line 2 of /etc/fstab (UUID=b)");
    assert_eq!(mounts.path(0).unwrap(), GuestPath::root());
    assert_eq!(mounts.path(1).unwrap().as_bytes(), b"/boot");
    assert_eq!(mounts.path(99), None);
}

#[test]
fn a_place_is_given_by_any_of_its_names() {
    let place = |name: &str| GuestPath::parse(name).unwrap();
    let tree = || {
        guest("UUID=h /h ext4\nUUID=b /boot ext4\nUUID=l /link ext4\n")
            .symlink("/h", "/srv/home")
            .symlink("/link", "boot")
    };
    for (given, left) in
        [("/srv/home", vec!["/boot = b", "/link = l"]), ("/boot", vec!["/h = h"]), ("/link", vec!["/h = h"])]
    {
        let wanted = Wanted { places: vec![(place(given), None)], ..Wanted::default() };
        assert_eq!(told(&inspect(tree(), &wanted).unwrap().mounted), left, "{given}");
    }
}

#[test]
fn subvolumes_that_do_not_come_with_the_root() {
    let lines = "UUID=r /a btrfs subvol=a\n".repeat(SUBVOLUMES_MAX + 1);
    let mounts = inspect(guest(&format!("UUID=r / btrfs\n{lines}")), &Wanted::default()).unwrap();
    assert_eq!((mounts.with_root.len(), mounts.mounted.len()), (SUBVOLUMES_MAX, 1));
    // The disk is the volume that has the root.
    let mounts = inspect(guest("UUID=r / btrfs\n/dev/sda /home btrfs subvol=@home\n"), &Wanted::default()).unwrap();
    let [mount] = &mounts.mounted[..] else { panic!("{:?}", mounts.mounted) };
    let What::Unusable { reason, .. } = &mount.what else { panic!("{mount:?}") };
    assert!(reason.contains("is followed where the line names that by UUID"), "{reason}");
}

#[test]
fn what_was_typed_goes_before_what_the_guest_says() {
    let place = |name: &str| GuestPath::parse(name).unwrap();
    let places = vec![(place("/boot"), Some(Selector::Whole)), (place("/tmp"), None)];
    let text = "UUID=b /boot ext4\ntmpfs /tmp tmpfs\nUUID=h /home ext4\n";
    let wanted = Wanted { places: places.clone(), ..Wanted::default() };
    let mounts = inspect(guest(text), &wanted).unwrap();
    assert_eq!(told(&mounts.mounted), ["/boot = Whole", "/home = h"]);
    let wanted = Wanted { by: By::Nobody, places: places.clone(), ..Wanted::default() };
    assert_eq!(told(&inspect(guest(text), &wanted).unwrap().mounted), ["/boot = Whole"]);
    // One that is not there is no mount, whoever asks.
    for by in [By::Guest, By::Nobody] {
        let wanted =
            Wanted { by, places: vec![(place("/boot"), Some(Selector::Label("b".into())))], ..Wanted::default() };
        let error = inspect(guest(text), &wanted).unwrap_err();
        assert_eq!(
            (error.kind(), error.hint()),
            (ErrorKind::NotFound, Some("--mount VOLUME:/boot takes one of whole"))
        );
        assert!(error.to_string().starts_with("--mount label:b:/boot: no volume has the label"), "{error}");
    }
    // What is no guest's root says nothing.
    let data = MemFs::builder().file("/etc/fstab", text);
    assert_eq!(told(&inspect(data, &Wanted::default()).unwrap().mounted), [""; 0]);
}

#[test]
fn a_hostile_fstab_is_bounded() {
    let huge = "#\n".repeat(600_000);
    let error = inspect(guest(&huge), &Wanted::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.hint().is_some_and(|hint| hint.contains("--mount none")), "{error:?}");
    let wanted = Wanted { by: By::Nobody, ..Wanted::default() };
    assert!(inspect(guest(&huge), &wanted).unwrap().mounted.is_empty());
    // One that is no file, or leads nowhere, says nothing.
    for tree in [
        MemFs::builder().file("/etc/os-release", "").dir("/etc/fstab"),
        MemFs::builder().file("/etc/os-release", "").symlink("/etc/fstab", "fstab"),
        MemFs::builder().file("/etc/os-release", "").symlink("/etc/fstab", "/../../../etc/fstab.gone"),
        MemFs::builder().file("/etc/os-release", ""),
    ] {
        assert!(inspect(tree, &Wanted::default()).unwrap().mounted.is_empty());
    }
    let mounts = inspect(guest("UUID=x /a/../../etc ext4\nUUID=y //./home// ext4\n"), &Wanted::default()).unwrap();
    assert_eq!(told(&mounts.mounted), ["/home = y"]);
    assert_eq!(mounts.notes.len(), 1);
}

#[test]
fn what_a_line_takes_for_its_place() {
    let lines = "UUID=a /a ext4\nUUID=b /b ext4 x-mount.mkdir=0755\n/x /c none bind\ntmpfs /d tmpfs\n";
    let init = |init: Builder| {
        let mounts = inspect(init.file("/etc/os-release", "").file("/etc/fstab", lines), &Wanted::default()).unwrap();
        mounts.mounted.iter().map(|planned| planned.takes).collect::<Vec<_>>()
    };
    use Takes::{Anything, Directory, NewDirectory};
    assert_eq!(init(MemFs::builder().file("/sbin/init", "")), [Directory, NewDirectory, Anything, Directory]);
    for guest in [MemFs::builder().symlink("/sbin/init", "/lib/systemd/systemd"), MemFs::builder()] {
        assert_eq!(init(guest), [NewDirectory, NewDirectory, Anything, NewDirectory]);
    }
}

#[test]
fn lines_beyond_what_a_tree_takes_are_an_error_whatever_they_are() {
    let lines = |count: usize, options: &str| {
        (0..count).map(|number| format!("UUID=x /m{number} ext4 {options}\n")).collect::<String>()
    };
    for options in ["defaults", "noauto", "bind"] {
        let fstab = format!("UUID=r / ext4\n{}", lines(1024, options));
        inspect(guest(&fstab), &Wanted::default()).unwrap();
        let error = inspect(guest(&lines(1025, options)), &Wanted::default()).unwrap_err();
        assert!(error.kind() == ErrorKind::Unsupported && error.to_string().contains("more than 1024"), "{error}");
    }
}

#[test]
fn a_usr_elsewhere_is_still_a_root() {
    let tree = |fstab: &str| {
        MemFs::builder().symlink("/etc/os-release", "../usr/lib/os-release").file("/etc/fstab", fstab).build().unwrap()
    };
    assert!(crate::guest::is_root(&tree("UUID=u /usr ext4\n")).unwrap());
    assert!(!crate::guest::is_root(&tree("UUID=u /home ext4\n")).unwrap());
    assert!(!crate::guest::is_root(&tree("")).unwrap());
}

#[test]
fn systemds_own_tmp_is_in_memory() {
    let link = "/usr/lib/systemd/system/local-fs.target.wants/tmp.mount";
    let old = |fstab: &str| guest(fstab).symlink(link, "../tmp.mount").dir("/tmp");
    let trixie =
        |fstab: &str| old(fstab).symlink("/sbin/init", "../lib/systemd/systemd").file("/lib/systemd/systemd", "");
    let at_tmp = |tree: Builder, wanted: &Wanted| {
        let mounts = inspect(tree, wanted).unwrap();
        told(&mounts.mounted).into_iter().find(|line| line.starts_with("/tmp"))
    };
    let guests = Wanted::default();
    let found = at_tmp(trixie(""), &guests).unwrap();
    assert!(found.starts_with("/tmp: it is a tmpfs, in the guest's memory"), "{found}");
    assert_eq!(at_tmp(guest("").dir("/tmp"), &guests), None);
    assert_eq!(at_tmp(trixie("UUID=t /tmp ext4\n"), &guests), Some("/tmp = t".to_owned()));
    assert_eq!(at_tmp(trixie("").symlink("/etc/systemd/system/tmp.mount", "/dev/null"), &guests), None);
    let by_link = guest("").symlink(link, "../tmp.mount").symlink("/tmp", "var/tmp");
    assert_eq!(
        at_tmp(by_link.symlink("/sbin/init", "../lib/systemd/systemd").file("/lib/systemd/systemd", ""), &guests),
        None
    );
    assert_eq!(at_tmp(old("").file("/sbin/init", "of sysvinit"), &guests), None);
    let own = at_tmp(trixie("").file("/etc/systemd/system/tmp.mount", "[Mount]\nWhat=/dev/vdb\n"), &guests).unwrap();
    assert!(own.contains("says what is mounted there"), "{own}");
    let nothing = Wanted { places: vec![(GuestPath::parse("/tmp").unwrap(), None)], ..Wanted::default() };
    assert_eq!(at_tmp(trixie(""), &nothing), None);
}

/// What goes through a disk finds what lies beneath filesystems without one, and no place is refused for these.
#[test]
fn what_lies_beneath_is_reached_where_it_is_asked_for() {
    let fstab = "UUID=r / ext4\ntmpfs /tmp tmpfs\nproc /proc proc\nnas:/x /nfs nfs\n";
    let systemd = || {
        guest(fstab)
            .symlink("/sbin/init", "/lib/systemd/systemd")
            .file("/lib/systemd/systemd", "")
            .symlink("/lib/systemd/system/local-fs.target.wants/tmp.mount", "../tmp.mount")
    };
    let beneath = Wanted { beneath: Beneath::Reached, ..Wanted::default() };
    let mounts = inspect(systemd(), &beneath).unwrap();
    assert_eq!(told(&mounts.mounted), ["/nfs: nas:/x (nfs) is not in the image"]);
    mounts.check_seen(b"/run/utmp", None).unwrap();
    let without_fstab = systemd().file("/etc/other", "");
    assert_eq!(inspect(without_fstab, &Wanted::default()).unwrap().mounted.len(), 3);
    let unit = MemFs::builder()
        .file("/etc/os-release", "")
        .symlink("/sbin/init", "/lib/systemd/systemd")
        .file("/lib/systemd/systemd", "")
        .symlink("/lib/systemd/system/local-fs.target.wants/tmp.mount", "../tmp.mount");
    assert!(inspect(unit, &beneath).unwrap().mounted.is_empty());
}

/// What is wrong with the lines of an fstab that is put over an empty one, and the error of the first that is refused.
fn checked(guest: Builder, fstab: &str) -> Result<Vec<String>> {
    let fs = guest.file("/etc/fstab", "LABEL=known /known xfs\n").build().unwrap();
    let mut swap = vec![0; 1 << 16];
    swap[4086..4096].copy_from_slice(b"SWAPSPACE2");
    swap[1024] = 1;
    let disk: Arc<dyn BlockDevice> = Arc::new(MemDevice::new(swap));
    let survey = std::cell::RefCell::new(Survey::new(&disk, undivided(&disk).unwrap()).unwrap());
    let root = survey.borrow().volumes()[0].clone();
    let init = Init::inspect(&Reader::new(&fs)).unwrap();
    let mut stage = imgraft_vfs::stage::Stage::new(&fs);
    let attrs = imgraft_vfs::fs::Attrs { mode: 0o644, uid: 0, gid: 0 };
    let content = imgraft_vfs::fs::Content::bytes(fstab.as_bytes());
    stage.write(&GuestPath::parse("/etc/fstab").unwrap(), content, attrs).unwrap();
    Disks { survey: &survey, root: &root }.check_new(init, &stage)
}

#[test]
fn new_lines_are_checked() {
    let plain = || MemFs::builder().file("/file", "").dir("/there").dir("/etc");
    let busybox = || plain().file("/sbin/init", "#!/bin/busybox\n");
    let refused = |guest, fstab: &str| checked(guest, fstab).unwrap_err().to_string();
    let notes = |guest, fstab: &str| checked(guest, fstab).unwrap().join("; ");
    for (fstab, says) in [
        ("/dev/sda /there ext4\n", "(/dev/sda) cannot be mounted at /there: the whole disk is swap, not ext4"),
        ("/dev/sda /file swapfs\n", "its place is no directory"),
        ("disk /there xfs\n", "'disk' names no device"),
        ("#\n\n /dev/sda /there\n", "line 3 of /etc/fstab is passed over by mount(8): it needs three fields"),
        ("/dev/sda there auto\n", "its place is no path"),
        ("/dev/sda /the/../re auto\n", "'..'"),
        ("/dev/sda /there auto defaults zero\n", "\"zero\" is no number"),
        ("/dev/sda none swap sw 0 0x1\n", "\"0x1\" is no number"),
    ] {
        assert!(refused(plain(), fstab).contains(says), "{fstab}: {}", refused(plain(), fstab));
    }
    assert!(refused(busybox(), "tmpfs /missing tmpfs\n").contains("missing, and nothing in the guest makes it"));
    assert_eq!(notes(busybox(), "tmpfs /missing tmpfs x-mount.mkdir\n"), "");
    let order = "tmpfs /there/x tmpfs x-mount.mkdir\ntmpfs /there tmpfs\n";
    let (found, none) = (notes(busybox(), order), notes(busybox(), &order.replace("/there/", "/there")));
    assert!(
        found.contains("line 2 of /etc/fstab (tmpfs) is mounted over /there/x, which line 1 has mounted"),
        "{found}"
    );
    assert_eq!(none, "");
    assert_eq!(notes(busybox(), &order.replace("mkdir", "mkdir,noauto")), "");
    assert_eq!(
        notes(plain().symlink("/sbin/init", "/lib/systemd/systemd").file("/lib/systemd/systemd", ""), order),
        ""
    );
    for (fstab, says) in [
        ("/dev/sda / swapfs\n", ""),
        ("/dev/sda none swap\n/dev/sdb none swap nofail\n/dev/zram0 none swap\n", ""),
        ("/dev/sda /there auto\n/dev/sda /other noext4,noxfs\n/dev/sda /fuse fuseblk\n", ""),
        ("/dev/sdb /there ext4 noauto\n/dev/sdb /other ext4 nofail 0 2\n", ""),
        ("LABEL=known /known xfs\n", ""),
        ("/file /there ext4 loop\n/dev/null /file none bind\nnas:/x /nas nfs _netdev\n", ""),
        ("/dev/sda /there ext4 noauto\n", "the whole disk is swap, not ext4"),
        ("/dev/sdb /there ext4\n", "line 1 of /etc/fstab (/dev/sdb) is on no volume of the image"),
        ("ID=nvme-disk /there ext4\n", "line 1 of /etc/fstab (ID=nvme-disk) is on no volume of the image"),
        ("/file none swap\n/none none swap nofail\n", ""),
        ("/none none swap\n", "line 1 of /etc/fstab (/none) is a swap file that the guest does not have"),
        ("/dev/sdb none swap sw 0 0\n", "(/dev/sdb) has swap space that is on no volume of the image"),
        (
            "tmpfs /there tmpfs\ntmpfs /there tmpfs size=1m\n",
            "line 2 of /etc/fstab (tmpfs) is for /there, as line 1 is",
        ),
    ] {
        let found = notes(plain(), fstab);
        assert!(found.contains(says) && (says.is_empty() == found.is_empty()), "{fstab}: {found}");
    }
    let many = "/dev/sdb /there ext4\n".repeat(300);
    let found = checked(plain(), &many).unwrap();
    assert_eq!(found.last().unwrap(), "lines of /etc/fstab from line 257 on were not checked");
}
