//! What a guest's mounts cost where something is wrong with them, and what is told of them: one bad line costs that mount alone.

use crate::support::{KEY, Scratch, expect, image, oracle, run, text, tree};
use crate::tree::{Place, places, report, taken};
use std::path::{Path, PathBuf};

/// A copy of the guest that has its home on partition 4.
fn guest(scratch: &Scratch) -> Option<PathBuf> {
    let image = image::named("tree", "tree-gpt")?;
    Some(scratch.copy(&image.path, "disk"))
}

/// Gives the guest another fstab.
fn set_fstab(scratch: &Scratch, disk: &Path, lines: &str) {
    let upload = format!("{}:/etc/fstab", text(&scratch.file("fstab", lines)));
    expect(0, &["inject", text(disk), "--mount", "none", "--upload", &upload]);
}

/// Has debugfs change the filesystem of a partition.
fn debugfs(disk: &Path, partition: u32, request: &str) {
    let device = format!("{}?offset={}", text(disk), image::open(disk, partition).offset);
    let output = oracle::tool("debugfs", &["-w", "-R", request, &device]);
    // It exits with 0 whatever happens, and says its version.
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.lines().count() == 1, "{request}: {said}");
}

/// Standard output and standard error of a run that ends so.
fn told(status: i32, words: &[&str]) -> (String, String) {
    let output = run(words);
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert_eq!(output.status.code(), Some(status), "{words:?}: {out}{err}");
    (out, err)
}

#[test]
fn what_may_be_mounted_later_is_told_of_paths_below_it() {
    let scratch = Scratch::new();
    let Some(disk) = guest(&scratch) else { return };
    let disk = text(&disk);
    let note = "line 7 of /etc/fstab (/dev/sr0) may be mounted at /media/cdrom0 later, and hides what lies there then";
    let found =
        report(&["inject", disk, "-n", "--write", "/media/cdrom0/x:y", "--write", "/media/cdrom0/z:y", "--json"]);
    assert_eq!(found["notes"], serde_json::json!([note]), "{found}");
    let (shown, _) = told(0, &["inject", disk, "--write", "/media/cdrom0/x:y"]);
    assert!(shown.contains(&format!("\n  note: {note}\n")), "{shown}");
    for (words, has_note) in [
        (["ls", disk, "/media/cdrom0"], true),
        (["cat", disk, "/media/cdrom0/x"], true),
        (["ls", disk, "/media"], false),
        (["ls", disk, "/home/debian"], false),
    ] {
        let (out, err) = told(0, &words);
        assert_eq!(err, if has_note { format!("note: {note}\n") } else { String::new() }, "{words:?}");
        assert!(!out.contains("note"), "{words:?}: {out}");
    }
    let found = report(&["inject", disk, "-n", "--write", "/media/cdrom01:y", "--json"]);
    assert_eq!(found["notes"], serde_json::json!([]), "{found}");
    // What is needed and cannot be found is an error, with nofail too.
    let (_, said) = told(3, &["cat", disk, "/data/x"]);
    assert!(said.contains("/data is mounted by line 8 of /etc/fstab (LABEL=gone)"), "{said}");
}

#[test]
fn a_line_whose_place_is_none_costs_its_mount_alone() {
    let scratch = Scratch::new();
    let Some(disk) = guest(&scratch) else { return };
    set_fstab(
        &scratch,
        &disk,
        "LABEL=home /etc/hostname ext4\n\
         LABEL=home /top ext4\n\
         LABEL=home /etc/hosts none bind\n\
         LABEL=boot /boot ext4\n\
         LABEL=home /boot/vmlinuz ext4\n\
         LABEL=home /home/../etc ext4\n",
    );
    debugfs(&disk, 3, "symlink /top /");
    let image = text(&disk);
    for path in ["/", "/etc", "/boot"] {
        let (shown, said) = told(0, &["ls", image, path]);
        assert!(shown.lines().count() > 2 && said.is_empty(), "{path}: {shown}{said}");
    }
    assert_eq!(expect(0, &["cat", image, "/top/etc/hostname"]), "phony\n");
    for (path, why) in
        [("/etc/hosts", "it is a bind mount of LABEL=home"), ("/boot/vmlinuz", "its place is no directory")]
    {
        let (_, said) = told(3, &["cat", image, path]);
        assert!(said.contains(why), "{path}: {said}");
        let write = format!("{path}:x");
        let (_, said) = told(3, &["inject", image, "--write", &write]);
        assert!(said.contains(why), "{path}: {said}");
    }
    let found = report(&["inject", image, "--write", "/etc/hostname:x\n", "--json"]);
    let notes: Vec<&str> = found["notes"].as_array().expect("a list").iter().filter_map(|note| note.as_str()).collect();
    assert_eq!(
        notes,
        [
            "line 6 of /etc/fstab is left out: /home/../etc: not a guest path: '..' is not allowed",
            "line 2 of /etc/fstab (LABEL=home) cannot be mounted at /top, and is left out: its place is the root, by a symbolic link",
            "line 1 of /etc/fstab (LABEL=home) cannot be mounted at /etc/hostname, and is left out: its place is no directory",
        ]
    );
    oracle::e2fsck(&taken(&scratch, &disk, Place::Partition("3"), "root"), 0);
    assert_eq!(oracle::debugfs(&taken(&scratch, &disk, Place::Partition("3"), "root"), 0, "cat /etc/hostname"), "x\n");

    // They are no mounts to inspect either.
    let inspected = report(&["inspect", image, "--json"]);
    let mounts = inspected["volumes"][2]["mounts"].as_array().expect("a list");
    let shown = |place: &str| {
        let mount =
            mounts.iter().find(|mount| mount["place"] == place).unwrap_or_else(|| panic!("no {place}: {mounts:?}"));
        (mount["mounted"].as_bool(), mount["problem"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(shown("/etc/hostname"), (Some(false), "its place is no directory".into()));
    assert_eq!(shown("/top"), (Some(false), "its place is the root, by a symbolic link".into()));
    assert_eq!(shown("/boot/vmlinuz"), (Some(false), "its place is no directory".into()));
    assert_eq!(shown("/boot"), (Some(true), String::new()));
    let text = expect(0, &["inspect", image]);
    assert!(text.contains("  not mounted    /etc/hostname: 4 (ext4), by line 1"), "{text}");

    // What was typed is not left out in silence.
    for (typed, why) in [("4:/top", "its place is the root"), ("4:/etc/hostname", "its place is no directory")] {
        let (_, said) = told(3, &["ls", image, "/", "--mount", typed]);
        assert!(said.contains("--mount VOLUME:/") && said.contains(why), "{typed}: {said}");
    }
}

#[test]
fn a_missing_place_is_made_by_systemd_alone() {
    let scratch = Scratch::new();
    let Some(disk) = guest(&scratch) else { return };
    set_fstab(
        &scratch,
        &disk,
        "LABEL=home /new ext4\nLABEL=boot /boot ext4\nPARTLABEL=EFI\\040system /boot/made vfat\n\
         /dev/sda1 /boot/efi vfat x-mount.mkdir\n",
    );
    let image = text(&disk);
    let write = ["inject", image, "-n", "--write", "/new/x:y", "--json"];
    // Nothing is known of how this guest starts.
    assert_eq!(places(&report(&write)), ["/new"]);
    expect(0, &["inject", image, "--mount", "none", "--write", "/usr/sbin/init:#!"]);
    for path in ["/new/x:y", "/boot/made/x:y"] {
        let (_, said) = told(3, &["inject", image, "--write", path]);
        assert!(said.contains("its place is missing, and nothing in the guest makes it"), "{path}: {said}");
        assert!(said.contains("hint: --mount VOLUME:/"), "{path}: {said}");
    }
    expect(0, &["inject", image, "-n", "--write", "/boot/x:y", "--write", "/boot/efi/x:y"]);
    assert_eq!(places(&report(&[&write[..], &["--mount", "4:/new"]].concat())), ["/new"]);
    let shown = expect(0, &["inspect", image]);
    for place in ["/new: 4 (ext4)", "/boot/made: 1 (vfat)"] {
        let line = format!("  not mounted    {place}, by line");
        let found = shown.split_once(&line).unwrap_or_else(|| panic!("{shown}")).1;
        assert!(found.lines().nth(1).is_some_and(|line| line.contains("its place is missing")), "{shown}");
    }
    debugfs(&disk, 3, "rm /usr/sbin/init");
    debugfs(&disk, 3, "symlink /usr/sbin/init ../lib/systemd/systemd");
    assert!(expect(0, &["ls", image, "/usr/sbin"]).contains("init -> ../lib/systemd/systemd"));
    assert_eq!(places(&report(&write)), ["/new"]);
}

#[test]
fn what_a_partition_is_mounted_at_by_its_type_is_not_fstabs_to_say() {
    let Some(image) = image::named("tree", "tree-auto") else { return };
    let scratch = Scratch::new();
    let disk = scratch.copy(&image.path, "disk");
    set_fstab(&scratch, &disk, "/dev/sda4 /data ext4\n/dev/sda1 /boot/efi vfat\n");
    let disk = text(&disk);
    let found = report(&["inject", disk, "-n", "--write", "/home/x:y", "--json"]);
    assert_eq!((places(&found), &found["notes"]), (vec!["/home"], &serde_json::json!([])), "{found}");
    let found = report(&["inject", disk, "-n", "--write", "/data/x:y", "--json"]);
    assert_eq!(places(&found), ["/data"], "{found}");
    // Versions of systemd differ.
    let found = report(&["inject", disk, "-n", "--write", "/efi/x:y", "--json"]);
    assert!(places(&found).is_empty(), "{found}");
    let note =
        "the GPT type of partition 1 (systemd-gpt-auto-generator before systemd 256) may be mounted at /efi later";
    assert!(found["notes"][0].as_str().is_some_and(|said| said.starts_with(note)), "{found}");
    let (_, said) = told(3, &["inject", disk, "-n", "--write", "/home/x:y", "--write", "/data/x:y"]);
    assert!(said.contains("a second place is not supported"), "{said}");
}

#[test]
fn what_names_nothing_is_told() {
    let scratch = Scratch::new();
    let Some(disk) = guest(&scratch) else { return };
    let disk = text(&disk);
    for (typed, why) in [
        ("9:/x", "--mount 9:/x: there is no partition 9"),
        ("vg/lv:/x", "--mount vg/lv:/x: no volume has the name \"vg/lv\""),
        ("label:gone:/x", "--mount label:gone:/x: no volume has the label \"gone\""),
    ] {
        let (_, said) = told(3, &["inject", disk, "--mount", typed, "--write", "/etc/x:y"]);
        assert!(said.contains(why) && said.contains("hint: --mount VOLUME:/x takes one of 1, 2, 3, 4\n"), "{said}");
    }
    // One set of keys may be for several images.
    let note = "--key 9: no encrypted volume is called so; nothing in the image is";
    let (out, err) = told(0, &["ls", disk, "/boot", "--key", "9:key:open sesame", "--key", "all:key:x"]);
    assert!(out.contains("vmlinuz") && err == format!("note: {note}\n"), "{out}{err}");
    let found = report(&["inject", disk, "-n", "--key", "9:key:open sesame", "--write", "/etc/x:y", "--json"]);
    assert_eq!(found["notes"], serde_json::json!([note]), "{found}");
    let found = report(&["inspect", disk, "--key", "9:key:open sesame", "--json"]);
    assert_eq!(found["notes"], serde_json::json!([note]), "{found}");

    let Some(image) = image::named("tree", "tree-luks") else { return };
    let words = ["inspect", text(&image.path), "--json", "--key", "3:key:open sesame"];
    let notes = |more: &[&str]| report(&[&words[..], more].concat())["notes"].clone();
    assert_eq!(notes(&[]), serde_json::json!([]));
    let note = "--key 2: no encrypted volume is called so; there are 3, 4";
    assert_eq!(notes(&["--key", "2:key:x"]), serde_json::json!([note]));
    // It may be in what nobody has opened.
    assert_eq!(notes(&["--key", "vg/lv:key:x"]), serde_json::json!([]));
    let note = "--key vg/lv: no encrypted volume is called so; there are 3, 4";
    assert_eq!(notes(&["--key", "4:key:open sesame", "--key", "vg/lv:key:x"]), serde_json::json!([note]));
}

#[test]
fn keys_are_for_homes_that_have_owners() {
    let scratch = Scratch::new();
    let Some(disk) = guest(&scratch) else { return };
    if !tree::have(&["mkfs.vfat"]) {
        return;
    }
    let home = scratch.path().join("fat");
    tree::mkfs_vfat(&home, 8 << 20, tree::Before::Zeros, &["-n", "HOME"]);
    let mut bytes = std::fs::read(&disk).expect("a disk");
    let start = image::open(&disk, 4).offset as usize;
    bytes[start..][..8 << 20].copy_from_slice(&std::fs::read(&home).expect("a filesystem"));
    std::fs::write(&disk, bytes).expect("there is room");
    let before = oracle::sha256(&disk);
    let (user, superuser) = (format!("debian:string:{KEY}"), format!("root:string:{KEY}"));
    let words = |key| ["inject", text(&disk), "--mount", "4:/home", "--ssh-inject", key];
    let (_, said) = told(3, &words(&user));
    let path = "/home/debian/.ssh/authorized_keys";
    let expected = format!(
        "item key: {path}: a FAT filesystem keeps no owners and modes, which sshd wants of the keys of 'debian'"
    );
    assert!(said.contains(&expected) && said.contains(&format!("--write {path}:KEY")), "{said}");
    assert_eq!(oracle::sha256(&disk), before);
    expect(0, &words(&superuser));
    let write = format!("{path}:{KEY}");
    expect(0, &["inject", text(&disk), "--mount", "4:/home", "--write", &write]);
    tree::fsck_vfat(&taken(&scratch, &disk, Place::Partition("4"), "home"), "after the run");
}

#[test]
fn what_is_only_looked_at_is_not_opened_for_a_change() {
    let scratch = Scratch::new();
    let Some(disk) = guest(&scratch) else { return };
    // A journal that is to be replayed as soon as somebody writes: a transaction over the content of a file.
    let home = taken(&scratch, &disk, Place::Partition("4"), "home");
    let blocks = oracle::debugfs(&home, 0, "blocks /debian/.profile");
    let block = blocks.trim();
    let content = scratch.file("content", [&b"# from the journal\n"[..], &[0; 1024 - 19]].concat());
    let script = scratch.file("script", format!("jo\njw -b {block} {}\njc\n", text(&content)));
    oracle::succeed("debugfs", &["-w", "-f", text(&script), text(&home)]);
    assert!(oracle::debugfs(&home, 0, "show_super_stats -h").contains("needs_recovery"));
    let mut bytes = std::fs::read(&disk).expect("a disk");
    let (start, part) = (image::open(&disk, 4).offset as usize, std::fs::read(&home).expect("a filesystem"));
    bytes[start..][..part.len()].copy_from_slice(&part);
    std::fs::write(&disk, bytes).expect("there is room");
    let sum = || oracle::sha256(&taken(&scratch, &disk, Place::Partition("4"), "home"));
    let before = sum();

    let image = text(&disk);
    assert!(expect(0, &["cat", image, "/home/debian/.profile"]).starts_with("# from the journal\n"));
    // It is looked at: the home of the key is there, and what is to be written is there already.
    let profile = scratch.file("profile", expect(0, &["cat", image, "/home/debian/.profile"]));
    let upload = format!("{}:/home/debian/.profile", text(&profile));
    let found = report(&["inject", image, "--write", "/etc/x:y", "--upload", &upload, "--json"]);
    assert_eq!((&found["changed"], places(&found)), (&true.into(), vec![]), "{found}");
    assert_eq!(sum(), before);
    // One that is changed is replayed first.
    let found = report(&["inject", image, "--write", "/home/debian/new:y", "--json"]);
    assert_eq!(places(&found), ["/home"], "{found}");
    assert!(found["mounts"][0]["replayed"]["transactions"].as_u64() > Some(0), "{found}");
    let home = taken(&scratch, &disk, Place::Partition("4"), "home");
    oracle::e2fsck(&home, 0);
    assert!(oracle::debugfs(&home, 0, "cat /debian/.profile").starts_with("# from the journal\n"));
}

#[test]
fn a_hostile_fstab_costs_little() {
    let scratch = Scratch::new();
    let Some(disk) = guest(&scratch) else { return };
    let image = text(&disk);
    let long = "d/".repeat(3000);
    let names = "x".repeat(300);
    for (lines, status) in [
        // Lines that are none: each is a note, and there is an end of them.
        ("x\n".repeat(500_000), 0),
        ("a /../b\n".repeat(120_000), 0),
        // Lines beyond what is mounted, whatever they are.
        ("/dev/sr0 /media/x auto noauto\n".repeat(30_000), 3),
        (format!("LABEL=x /{long} ext4\nLABEL=x /{names} ext4\nLABEL=x /{long}{names} ext4\n").repeat(50), 0),
        // Binds of each other, and of themselves.
        ("/a /b none bind\n/b /a none bind\n/a /a none bind\n/a/b /a none rbind\n".repeat(200), 0),
        ("LABEL=home /etc/hostname ext4\n".repeat(1000), 0),
        ("/dev/sda4 /etc ext4 noauto\n".repeat(1000), 0),
        ((0..1000).map(|number| format!("/dev/sda4 /home/{number} ext4 noauto\n")).collect(), 0),
        ((0..600).map(|number| format!("LABEL=home {} ext4\n", "/home".repeat(number + 1))).collect(), 0),
    ] {
        set_fstab(&scratch, &disk, &lines);
        let start: String = lines.chars().take(30).collect();
        let (out, said) = told(status, &["inject", image, "--write", "/etc/hostname:x", "--json"]);
        assert!(out.len() + said.len() < 100_000, "{start}: {} bytes", out.len() + said.len());
        let (out, said) = told(0, &["inspect", image]);
        assert!(out.len() + said.len() < 1_000_000, "{start}: {} bytes", out.len() + said.len());
    }
    // Places that are there, and deep: a thousand of them would take minutes to find.
    let commands: String = (1..200).map(|depth| format!("mkdir {}\n", "/d".repeat(depth))).collect();
    let script = scratch.file("script", commands);
    let device = format!("{image}?offset={}", crate::support::image::open(&disk, 3).offset);
    oracle::succeed("debugfs", &["-w", "-f", text(&script), &device]);
    for (options, status) in [("defaults", 3), ("noauto", 0)] {
        set_fstab(&scratch, &disk, &format!("LABEL=home {} ext4 {options}\n", "/d".repeat(199)).repeat(1000));
        let (_, said) = told(status, &["inject", image, "--write", &format!("/etc/hostname:{options}")]);
        assert!(status == 0 || said.contains("directories deep") && said.contains("--mount none"), "{said}");
        // One that is given is looked for among them.
        let (_, said) = told(status, &["ls", image, "/", "--mount", "4:/home"]);
        assert!(status == 0 || said.contains("directories deep"), "{said}");
    }
    // Names that are no text, and ones that drive a terminal.
    let lines: &[u8] = b"LABEL=home /home/\xff\xfe ext4\nLABEL=\xff /\x1b[2J/\xc2\x9b ext4 noauto\n";
    let upload = format!("{}:/etc/fstab", text(&scratch.file("fstab", lines)));
    expect(0, &["inject", image, "--mount", "none", "--upload", &upload]);
    let (out, said) = told(0, &["ls", image, "/home"]);
    assert!(!(out + &said).chars().any(|letter| letter.is_control() && letter != '\n'));
    let (out, _) = told(0, &["inspect", image]);
    assert!(!out.chars().any(|letter| letter.is_control() && letter != '\n'), "{out:?}");
}
