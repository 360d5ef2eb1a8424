//! Lines that a run puts into an fstab, beside what findmnt(8) says of them.

use crate::support::tree::{can_mount, have};
use crate::support::{Scratch, expect, image, oracle, root, run, text};
use crate::tree::{PASSPHRASE, Place, taken};
use std::path::{Path, PathBuf};

/// A volume that the kernel has as a device for a while.
struct Attached(String);

impl Attached {
    /// Attaches it, and has a cache of libblkid know it: nobody else's, of devices that have been others since.
    fn new(volume: &Path, scratch: &Scratch) -> Self {
        let device = oracle::succeed("losetup", &["-r", "-f", "--show", text(volume)]).trim().to_owned();
        oracle::succeed("env", &[&cache(scratch.path()), "blkid", &device]);
        Self(device)
    }
}

/// Where libblkid has its cache for a test, as a variable of its environment (blkid(8)).
fn cache(scratch: &Path) -> String {
    format!("BLKID_FILE={}", text(&scratch.join("blkid.tab")))
}

impl Drop for Attached {
    fn drop(&mut self) {
        oracle::tool("losetup", &["-d", &self.0]);
    }
}

fn guest(scratch: &Scratch) -> Option<PathBuf> {
    let image = image::named("tree", "tree-gpt")?;
    Some(scratch.copy(&image.path, "disk"))
}

/// The volume of /home, here and in the image under a label and a UUID that no other test attaches: findmnt takes any
/// device of that name, and loses it when that test is done.
fn home(scratch: &Scratch, disk: &Path, label: &str) -> PathBuf {
    let volume = taken(scratch, disk, Place::Partition("4"), "home");
    oracle::succeed("tune2fs", &["-L", label, "-U", "random", text(&volume)]);
    let script = root().join("testdata/images/stacked.py");
    oracle::succeed("/usr/bin/python3", &[text(&script), "part", "put", text(disk), "4", text(&volume)]);
    volume
}

/// The lines beside findmnt's word on them: places are directories or files here as in the guest.
#[test]
fn as_findmnt_has_it() {
    let scratch = Scratch::new();
    if !have(&["findmnt", "losetup", "blkid"]) || !can_mount() {
        return;
    }
    let Some(disk) = guest(&scratch) else { return };
    let volumes = [taken(&scratch, &disk, Place::Partition("1"), "esp"), home(&scratch, &disk, "home-lines")];
    let _attached = volumes.each_ref().map(|volume| Attached::new(volume, &scratch));
    let uuid =
        |volume: &Path| oracle::succeed("blkid", &["-p", "-s", "UUID", "-o", "value", text(volume)]).trim().to_owned();
    let [esp, home] = volumes.each_ref().map(|volume| uuid(volume));
    let before = oracle::sha256(&disk);
    for (line, is_refused) in [
        (format!("UUID={home} /srv ext4 defaults 0 2"), false),
        (format!("UUID=\"{home}\" /srv auto rw,noatime"), false),
        ("LABEL=home-lines /mnt ext4".into(), false),
        (format!("UUID={home}\t/opt\text4\terrors=remount-ro\t0"), false),
        ("tmpfs /mnt tmpfs size=1g 0 0".into(), false),
        ("/srv /mnt none bind 0 0".into(), false),
        // What no guest can mount, or reads.
        (format!("UUID={home} /srv xfs defaults 0 2"), true),
        (format!("UUID={esp} /srv ext4 defaults 0 2"), true),
        (format!("UUID={home} /etc/hostname ext4 defaults 0 2"), true),
        ("LABEL=home-lines".into(), true),
        ("LABEL=home-lines /mnt".into(), true),
        ("LABEL=home-lines /srv/my data ext4 defaults 0 2".into(), true),
        ("LABEL=home-lines /srv ext4 defaults yes 2".into(), true),
        ("LABEL=home-lines /srv ext4 defaults 0 second".into(), true),
        ("LABEL=home-lines srv ext4 defaults 0 2".into(), true),
        // What only another disk could have.
        ("UUID=0dea0dea-0000-4000-8000-00000000dead /srv ext4 defaults 0 2".into(), false),
        ("LABEL=nowhere /srv xfs defaults 0 2".into(), false),
        ("UUID=0dea0dea-0000-4000-8000-00000000dead none swap sw 0 0".into(), false),
        ("/dev/vdz9 /srv ext4 defaults 0 2".into(), false),
        ("/no-such-swapfile none swap sw 0 0".into(), false),
        // Swap space where a filesystem is.
        (format!("UUID={home} none swap sw 0 0"), false),
        ("LABEL=home-lines none swap sw,nofail 0 0".into(), false),
        (format!("UUID={esp} none swap defaults 0 0"), false),
    ] {
        let table = scratch.file("fstab", format!("{line}\n"));
        compare(&disk, &table, &["--upload", &format!("{}:/etc/fstab", text(&table))], is_refused);
    }
    assert_eq!(oracle::sha256(&disk), before);
}

/// A run of these words, which puts a table of one line into the guest, beside findmnt's word on that.
fn compare(disk: &Path, table: &Path, words: &[&str], is_refused: bool) {
    let cache = cache(table.parent().expect("it is in a directory"));
    let judged = oracle::tool("env", &[&cache, "findmnt", "--verify", "--tab-file", text(table)]);
    let judged = format!("{}{}", String::from_utf8_lossy(&judged.stdout), String::from_utf8_lossy(&judged.stderr));
    let is_fine = judged.contains("no errors or warnings detected");
    let output = run(&[&["inject", text(disk), "-n"], words].concat());
    let said = [&output.stdout, &output.stderr].map(|said| String::from_utf8_lossy(said).into_owned()).concat();
    let (status, is_noted) = (output.status.code(), said.contains("note: line 1 of /etc/fstab"));
    assert_eq!(status, Some(if is_refused { 3 } else { 0 }), "{words:?}: {said}");
    assert_eq!(is_refused || is_noted, !is_fine, "{words:?}: {said}\nfindmnt: {judged}");
    assert!(!is_refused || said.contains("item files: /etc/fstab: line 1 of /etc/fstab"), "{words:?}: {said}");
}

/// The same by every way in which a file comes into a guest.
#[test]
fn by_every_way() {
    let scratch = Scratch::new();
    if !have(&["findmnt", "losetup", "tar"]) || !can_mount() {
        return;
    }
    let Some(disk) = guest(&scratch) else { return };
    let _attached = Attached::new(&home(&scratch, &disk, "home-ways"), &scratch);
    let before = oracle::sha256(&disk);
    let table = scratch.file("fstab", "");
    let (archive, plan, uploads) =
        (scratch.file("fstab.tar", ""), scratch.file("plan.yaml", ""), scratch.file("uploads.yaml", ""));
    let commands = scratch.file("commands", "");
    std::fs::write(&uploads, "files: [{upload: {from: fstab, to: /etc/fstab}}]\n").expect("there is room");
    for (line, is_refused) in [
        ("LABEL=home-ways /srv ext4 defaults 0 2", false),
        ("LABEL=home-ways /srv auto rw,noatime", false),
        ("tmpfs /mnt tmpfs size=1g 0 0", false),
        ("LABEL=nowhere /srv ext4 defaults 0 2", false),
        ("LABEL=home-ways /srv xfs defaults 0 2", true),
        ("LABEL=home-ways /etc/hostname ext4 defaults 0 2", true),
        ("LABEL=home-ways", true),
        ("LABEL=home-ways /srv ext4 defaults 0 second", true),
    ] {
        std::fs::write(&table, format!("{line}\n")).expect("there is room");
        oracle::succeed("tar", &["-C", text(scratch.path()), "-cf", text(&archive), "fstab"]);
        let write = format!("/etc/fstab:{line}\n");
        std::fs::write(&plan, format!("files: [{{write: {{path: /etc/fstab, content: \"{line}\\n\"}}}}]\n"))
            .expect("there is room");
        std::fs::write(&commands, format!("upload {}:/etc/fstab\n", text(&table))).expect("there is room");
        let (copied, unpacked) = (format!("{}:/etc", text(&table)), format!("{}:/etc", text(&archive)));
        let elsewhere = format!("{}:/srv/fstab", text(&table));
        for words in [
            &["--write", &write][..],
            &["--copy-in", &copied],
            &["--tar-in", &unpacked],
            &["-f", text(&plan)],
            &["-f", text(&uploads)],
            &["--commands-from-file", text(&commands)],
            &["--upload", &elsewhere, "--move", "/srv/fstab:/etc/fstab"],
            &["--upload", &elsewhere, "--copy", "/srv/fstab:/etc/fstab"],
            &["--upload", &elsewhere, "--delete", "/etc/fstab", "--link", "/srv/fstab:/etc/fstab"],
            &["--write", "/etc/fstab:", "--append-line", write.trim_end()],
            &["--write", "/etc/fstab:#\n", "--edit", &format!("/etc/fstab:s|^#$|{line}|")],
        ] {
            compare(&disk, &table, words, is_refused);
        }
    }
    assert_eq!(oracle::sha256(&disk), before);
}

/// One that has grown past what is read is refused, with the way out that the other refusals have.
#[test]
fn one_that_grows_too_large() {
    let scratch = Scratch::new();
    let Some(image) = image::named("real", "bookworm-gpt") else { return };
    let disk = scratch.copy(&image.path, "disk");
    let place = expect(0, &["cat", text(&disk), "/etc/fstab"]);
    let large = scratch.file("fstab", place.clone() + &format!("#{}\n", "x".repeat((1 << 20) - 2 - place.len())));
    expect(0, &["inject", text(&disk), "--upload", &format!("{}:/etc/fstab", text(&large))]);
    let before = oracle::sha256(&disk);
    let words = ["inject", text(&disk), "-n", "--append-line", "/etc/fstab:# more"];
    let output = run(&words);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("/etc/fstab") && said.contains("hint: --mount none puts it there unchecked"), "{said}");
    expect(0, &[&words[..], &["--mount", "none"]].concat());
    assert_eq!(oracle::sha256(&disk), before);
    oracle::e2fsck(&disk, image::open(&disk, image.partition).offset);
}

/// Lines that were there are not looked at; those that the guest may start without are told of; and inspect tells of all.
#[test]
fn what_is_new_is_checked() {
    let scratch = Scratch::new();
    let Some(disk) = guest(&scratch) else { return };
    let disk = text(&disk);
    let broken = "LABEL=home /odd xfs";
    let line = format!("/etc/fstab:{broken}");
    let refused = run(&["inject", disk, "--append-line", &line]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(3), "{said}");
    assert!(said.contains("(LABEL=home) cannot be mounted at /odd: partition 4 is ext4, not xfs\n"), "{said}");
    assert!(said.contains("nofail") && said.contains("--mount none"), "{said}");
    let told = |words: &[&str]| expect(0, &[&["inject", disk], words].concat());
    let noted = told(&["-n", "--append-line", &format!("{line} nofail")]);
    assert!(noted.contains("cannot be mounted at /odd: partition 4 is ext4, not xfs\n"), "{noted}");
    // An item that may fail takes its changes with it.
    let other = ["--hostname", "other", "--optional", "files", "--append-line", &line];
    let partial = run(&[&["inject", disk, "-n"][..], &other].concat());
    let said = String::from_utf8_lossy(&partial.stdout).into_owned();
    assert!(said.contains("not xfs") && said.contains("/etc/hostname") && !said.contains("a/etc/fstab"), "{said}");

    told(&["--mount", "none", "--append-line", &line]);
    let next = told(&["-n", "--append-line", "/etc/fstab:tmpfs /srv tmpfs"]);
    assert!(!next.contains("not xfs"), "{next}");
    let shown = expect(0, &["inspect", disk]);
    assert!(shown.contains("cannot be mounted at /odd: partition 4 is ext4, not xfs\n"), "{shown}");
    // Where its place has become a directory by the same run, it is one.
    let place = [
        "--delete",
        "/etc/hostname",
        "--mkdir",
        "/etc/hostname",
        "--append-line",
        "/etc/fstab:tmpfs /etc/hostname tmpfs",
    ];
    told(&[&["-n"][..], &place].concat());
    assert_eq!(run(&[&["inject", disk, "-n"][..], &place[4..]].concat()).status.code(), Some(3));
}

/// What is in an encrypted volume is known where that is open, and not doubted where it is not.
#[test]
fn encrypted_volumes() {
    let Some(image) = image::named("tree", "tree-luks") else { return };
    let scratch = Scratch::new();
    let secret = scratch.file("passphrase", PASSPHRASE);
    let keys = ["3", "all"].map(|volume| format!("{volume}:file:{}", text(&secret)));
    let no_filesystem = "partition 4 is encrypted: a guest mounts what crypttab makes of it";
    for (key, spec, says) in [
        (&keys[0], "UUID=6d677261-6674-4000-8000-0000000000c2", no_filesystem),
        (&keys[0], "/dev/mapper/home_crypt", ""),
        (&keys[0], "/dev/mapper/root_crypt", "partition 3, unlocked is ext4, not xfs"),
        (&keys[0], "LABEL=unknown", ""),
        (&keys[1], "/dev/mapper/home_crypt", "partition 4, unlocked is ext4, not xfs"),
        (&keys[1], "LABEL=home", "partition 4, unlocked is ext4, not xfs"),
        (&keys[1], "LABEL=unknown", "note: line 5 of /etc/fstab (LABEL=unknown) is on no volume of the image"),
    ] {
        let line = format!("/etc/fstab:{spec} /srv xfs");
        let output = run(&["inject", text(&image.path), "-n", "--key", key, "--append-line", &line]);
        let said = [&output.stdout, &output.stderr].map(|said| String::from_utf8_lossy(said).into_owned()).concat();
        let is_refused = says.contains("partition");
        assert_eq!(output.status.code(), Some(if is_refused { 3 } else { 0 }), "{spec}: {said}");
        assert!(said.contains(says) && (!says.is_empty() || !said.contains("line 5")), "{spec}: {said}");
    }
}

/// A table that was somewhere else becomes the guest's by a link.
#[test]
fn one_that_a_link_leads_to() {
    let scratch = Scratch::new();
    let Some(image) = image::named("real", "bookworm-gpt") else { return };
    let disk = scratch.copy(&image.path, "disk");
    expect(0, &["inject", text(&disk), "--mkdir", "/srv/d", "--write", "/srv/d/fstab:LABEL=home\n"]);
    let before = oracle::sha256(&disk);
    for target in ["/srv/d/fstab", "../srv/d/fstab"] {
        let link = format!("{target}:/etc/fstab");
        let output = run(&["inject", text(&disk), "--delete", "/etc/fstab", "--link", &link]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{target}: {said}");
        assert!(said.contains("/etc/fstab"), "{said}");
    }
    assert_eq!(oracle::sha256(&disk), before);
}
