//! A Raspberry-Pi-like image: files go onto its FAT boot partition, and nothing else can.

use crate::support::{KEY, Scratch, expect, oracle, run, text, tree};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The first sector of the boot partition.
pub const START: u64 = 8192;
/// Bytes of it.
pub const SIZE: u64 = 40 << 20;

/// A disk with a FAT32 boot partition, made by mkfs.vfat and filled by mtools, and a swap area that no driver opens.
pub fn image(scratch: &Scratch) -> Option<PathBuf> {
    if !tree::have(&["mkfs.vfat", "fsck.vfat", "mcopy", "mmd", "sfdisk"]) {
        return None;
    }
    let boot = scratch.path().join("boot.img");
    tree::mkfs_vfat(&boot, SIZE, tree::Before::Zeros, &["-F", "32", "-s", "1", "-n", "bootfs", "-i", "1a2b3c4d"]);
    let config = scratch.file("config.txt", "dtparam=audio=on\n");
    mtools("mmd", &boot, &["::overlays"]);
    mtools("mcopy", &boot, &[text(&config), "::config.txt"]);
    let disk = scratch.file("disk.img", vec![0; (START * 512 + SIZE) as usize + (4 << 20)]);
    let table = scratch
        .file("table", format!("label: dos\nlabel-id: 0x12345678\nstart={START}, size={}, type=c\n", SIZE / 512));
    let mut sfdisk = Command::new("sfdisk");
    sfdisk.env("PATH", tree::path_with_sbin()).args(["-q", "--no-reread"]).arg(&disk);
    tree::run(sfdisk.stdin(std::fs::File::open(table).expect("it was made")));
    let (mut bytes, boot) = (std::fs::read(&disk).expect("a disk"), std::fs::read(&boot).expect("a filesystem"));
    bytes[(START * 512) as usize..][..boot.len()].copy_from_slice(&boot);
    std::fs::write(&disk, bytes).expect("there is room");
    Some(disk)
}

pub fn mtools(program: &str, image: &Path, words: &[&str]) -> String {
    tree::run(Command::new(program).env("LC_ALL", "C.UTF-8").arg("-i").arg(image).args(words))
}

/// The boot partition of a disk as a file of its own, without complaint from fsck.vfat.
pub fn partition(scratch: &Scratch, disk: &Path) -> PathBuf {
    let bytes = std::fs::read(disk).expect("a disk");
    let boot = scratch.file("after.img", &bytes[(START * 512) as usize..][..SIZE as usize]);
    tree::fsck_vfat(&boot, "after the run");
    boot
}

#[test]
fn files_onto_the_boot_partition() {
    let scratch = Scratch::new();
    let Some(disk) = image(&scratch) else { return };
    let data = scratch.file("user-data", "#cloud-config\nhostname: pi\n");
    let upload = format!("{}:/user-data", text(&data));
    let words = [
        "inject",
        text(&disk),
        "--partition",
        "1",
        "--upload",
        &upload,
        "--write",
        "/CONFIG.TXT:arm_64bit=1\n",
        "--write",
        "/overlays/Größe/längere Namen.dtbo:overlay",
        "--metadata",
        "role=pi",
    ];
    let before = oracle::sha256(&disk);
    let dry = expect(0, &[&words[..], &["-n"]].concat());
    assert!(dry.contains("<new text: 27 bytes that are not shown") && dry.contains("arm_64bit=1"), "{dry}");
    assert!(!dry.contains("hostname: pi"), "of a seed of others nothing is shown: {dry}");
    assert_eq!(oracle::sha256(&disk), before);
    let said = expect(0, &words);
    assert!(said.contains("a second reader agrees on 5 paths"), "{said}");
    let boot = partition(&scratch, &disk);
    for (path, content) in [
        ("::user-data", "#cloud-config\nhostname: pi\n"),
        ("::config.txt", "arm_64bit=1\n"),
        ("::overlays/Größe/längere Namen.dtbo", "overlay"),
        ("::meta.js", "{\"role\": \"pi\"}"),
    ] {
        assert_eq!(mtools("mtype", &boot, &[path]), content, "{path}");
    }
    let listed = mtools("mdir", &boot, &["-b", "::"]);
    assert!(listed.contains("::/config.txt") && !listed.contains("CONFIG.TXT"), "the name keeps its case: {listed}");

    let after = oracle::sha256(&disk);
    expect(0, &words);
    assert_eq!(oracle::sha256(&disk), after, "the same again changes nothing");

    let on = |command: &'static str, path: &'static str| expect(0, &[command, text(&disk), path, "--partition", "1"]);
    assert_eq!(on("cat", "/User-Data"), "#cloud-config\nhostname: pi\n");
    assert!(on("ls", "/").contains("-rwxr-xr-x   1     0     0         27 user-data"), "{}", on("ls", "/"));
    let inspected = expect(0, &["inspect", text(&disk)]);
    for part in ["partition 1: vfat", "label bootfs", "uuid 1A2B-3C4D", "blocks of 512 bytes"] {
        assert!(inspected.contains(part), "no {part:?} in {inspected}");
    }
}

#[test]
fn files_are_copied_and_moved_on_it() {
    let scratch = Scratch::new();
    let Some(disk) = image(&scratch) else { return };
    let words = ["inject", text(&disk), "--partition", "1"];
    let edits = [
        "--copy",
        "/CONFIG.txt:/overlays",
        "--copy",
        "/overlays:/again",
        "--write",
        "/config.txt:new",
        "--mkdir",
        "/b",
        "--move",
        "/again:/b",
    ];
    let said = expect(0, &[&words[..], &edits].concat());
    assert!(said.contains("a second reader agrees"), "{said}");
    let boot = partition(&scratch, &disk);
    for (path, content) in [
        ("::config.txt", "new"),
        ("::overlays/config.txt", "dtparam=audio=on\n"),
        ("::b/again/config.txt", "dtparam=audio=on\n"),
    ] {
        assert_eq!(mtools("mtype", &boot, &[path]), content, "{path}");
    }
    assert!(!mtools("mdir", &boot, &["-b", "::"]).contains("again\n"), "it was moved");
    let copy = [&words[..], &["--copy", "/overlays/config.txt:/b/again"]].concat();
    assert!(expect(0, &copy).contains("unchanged: everything"), "{}", expect(0, &copy));
    let pack = format!("cd {} && ln -s x link && tar -cf pack.tar link", text(scratch.path()));
    oracle::succeed("sh", &["-c", &pack]);
    let tar_in = format!("{}:/", text(&scratch.path().join("pack.tar")));
    let refused = run(&[&words[..], &["--tar-in", &tar_in]].concat());
    assert_eq!(refused.status.code(), Some(3), "{}", String::from_utf8_lossy(&refused.stderr));
}

#[test]
fn what_fat_cannot_keep_is_refused() {
    let scratch = Scratch::new();
    let Some(disk) = image(&scratch) else { return };
    let before = oracle::sha256(&disk);
    let key = format!("root:string:{KEY}");
    let interfaces = scratch.file("interfaces", "auto lo\niface lo inet loopback\n");
    let refusals: [(i32, &[&str], &str); 9] = [
        (3, &["--ssh-inject", &key], "item key: it is for a guest's root filesystem, and this is FAT"),
        (3, &["--root-password", "password:x"], "item password: it is for a guest's root filesystem"),
        (3, &["--network", text(&interfaces)], "item net: it is for a guest's root filesystem"),
        (3, &["--chmod", "0600:/config.txt"], "a FAT filesystem keeps no permission bits"),
        (3, &["--chown", "1000:1000:/config.txt"], "a FAT filesystem keeps no owners"),
        (3, &["--write", "/a?b:x"], "FAT does not take control characters"),
        (3, &["--write", "/dot.:x"], "FAT does not keep a dot or a blank"),
        (3, &["--write", "/new:x", "--write", "/NEW:y"], "FAT does not tell it from"),
        (3, &["--write", "/config.txt:x", "--write", "/CONFIG.txt:y"], "it is the same file as"),
    ];
    for (status, words, part) in refusals {
        let output = run(&[&["inject", text(&disk), "--partition", "1"], words].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(part), "{words:?}: {said}");
        assert_eq!(output.status.code(), Some(status), "{words:?}: {said}");
        assert_eq!(said.lines().filter(|line| !line.starts_with("hint: ")).count(), 1, "{said}");
        assert_eq!(said.contains("--seed nocloud"), part.contains("root filesystem"), "the way out: {said}");
    }
    assert_eq!(oracle::sha256(&disk), before);
    // What it has anyway may be asked for.
    expect(
        0,
        &["inject", text(&disk), "--partition", "1", "--chmod", "0755:/config.txt", "--chown", "0:0:/config.txt"],
    );

    // Nobody looks for a guest there unasked; an item that cannot be, where it is optional, leaves the others.
    assert_eq!(run(&["inject", text(&disk), "--write", "/x:y"]).status.code(), Some(3));
    let words =
        ["inject", text(&disk), "--partition", "1", "--ssh-inject", &key, "--write", "/x:y", "--optional", "key"];
    expect(5, &words);
    assert_eq!(mtools("mtype", &partition(&scratch, &disk), &["::x"]), "y");

    // One that was not unmounted cleanly is read, and not written to.
    let mut bytes = std::fs::read(&disk).expect("a disk");
    bytes[(START * 512) as usize + 0x41] |= 1;
    std::fs::write(&disk, bytes).expect("there is room");
    assert_eq!(expect(0, &["cat", text(&disk), "/x", "--partition", "1"]), "y");
    let output = run(&["inject", text(&disk), "--partition", "1", "--write", "/x:z"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("dirty bit") && said.contains("fsck.vfat -a"), "{said}");
}

#[test]
fn crossed_chains_are_refused_before_anything_is_written() {
    let scratch = Scratch::new();
    let Some(disk) = image(&scratch) else { return };
    for name in ["a.txt", "b.txt"] {
        expect(0, &["inject", text(&disk), "--partition", "1", "--write", &format!("/{name}:{}", name.repeat(300))]);
    }
    let mut bytes = std::fs::read(&disk).expect("a disk");
    let fs = &mut bytes[(START * 512) as usize..][..SIZE as usize];
    let word = |fs: &[u8], at: usize| usize::from(u16::from_le_bytes([fs[at], fs[at + 1]]));
    let begin = |fs: &[u8], name: &[u8]| {
        let entry = fs.windows(11).position(|window| window == name).expect("it is there");
        word(fs, entry + 26)
    };
    let (a, b) = (begin(fs, b"A       TXT"), begin(fs, b"B       TXT"));
    // The last of three clusters of the one leads to the first of the other, in both tables.
    for table in [word(fs, 14) * 512, (word(fs, 14) + word(fs, 36)) * 512] {
        assert_eq!(word(fs, table + (a + 2) * 4), 0xffff, "the end of a chain");
        fs[table + (a + 2) * 4..][..4].copy_from_slice(&(b as u32).to_le_bytes());
    }
    std::fs::write(&disk, bytes).expect("there is room");
    let before = oracle::sha256(&disk);
    for path in ["/a.txt", "/b.txt", "/new"] {
        let output = run(&["inject", text(&disk), "--partition", "1", "--write", &format!("{path}:x")]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains("/b.txt: it begins inside of a chain of clusters"), "{said}");
        assert_eq!(said.lines().filter(|line| !line.starts_with("hint: ")).count(), 1, "{said}");
    }
    assert_eq!(oracle::sha256(&disk), before);
    assert_eq!(expect(0, &["cat", text(&disk), "/b.txt", "--partition", "1"]), "b.txt".repeat(300));
}
