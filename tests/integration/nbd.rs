//! Guests on XFS and btrfs by a kernel with network block devices, in a machine that has one: the same as by FUSE, and clean
//! after every end.

use crate::borrowed::checked;
use crate::support::image;
use crate::support::{FiveItems, Scratch, expect, run, text, tree};
use machine::Machine;
use serde_json::Value;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

#[path = "../../vfs/tests/uml/mod.rs"]
mod machine;

/// What a machine asks of those who judge.
mod oracle {
    pub use crate::support::oracle::sha256;

    pub fn have(programs: &[&str]) -> bool {
        programs.iter().all(|program| crate::support::oracle::have(program))
    }

    pub fn skip(why: &str) -> bool {
        crate::support::oracle::skip(why);
        false
    }
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_imgraft");
const MODULE: &str = "drivers/block/nbd";

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    format!("'{word}'")
}

fn report(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("a report")).expect("the report is JSON")
}

#[test]
fn in_a_machine_the_same_report_as_by_fuse() {
    let images = ["bookworm-xfs.v3c", "bookworm-btrfs-sub.v3c"];
    let images: Vec<_> =
        image::all(&["borrowed"]).into_iter().filter(|image| images.contains(&image.name.as_str())).collect();
    if images.is_empty() || !machine::can_boot(&["xfs_repair", "btrfs", "qemu-img"]) || !tree::can_attach() {
        return;
    }
    assert_eq!(images.len(), 2);
    let scratch = Scratch::new();
    let items = FiveItems::new(&scratch);
    let shared = tempfile::tempdir().expect("a directory");
    let words = items.words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
    let mut script = String::from("cd /mnt/shared\nattached() { ls -d /sys/block/nbd*/pid; }\n");
    for image in &images {
        let name = &image.name;
        crate::support::oracle::succeed("cp", &["--sparse=always", text(&image.path), text(&shared.path().join(name))]);
        let inject = format!("{PROGRAM} inject {name} --attach nbd --json {words}");
        script.push_str(&format!("{inject} --dry-run >{name}.dry\n! attached\n"));
        // Killed, from its start on to what is nearly its end, the one that serves and its worker too.
        script.push_str(&format!(
            "for centiseconds in 02 05 10 15 20 25 30 40 50 60; do\n\
             setsid {inject} --dry-run >killed & sleep 0.$centiseconds; kill -9 -$! || :; wait $! || echo CAUGHT\n\
             for i in $(seq 100); do attached || break; sleep 0.1; done\n! attached\ndone\n\
             sha256sum {name} >{name}.sum\n{inject} >{name}.done\n! attached\n{inject} >{name}.again\n"
        ));
    }
    let machine = Machine { memory: 256, modules: &[MODULE], disk: None, shared: Some(shared.path()) };
    let output = machine::boot(&machine, &script);
    let caught = output.lines().filter(|line| *line == "CAUGHT").count();
    assert!(caught > 6, "only {caught} of 20 were caught in their work");
    for image in images {
        let at = |end: &str| shared.path().join(format!("{}.{end}", image.name));
        let (dry, done, again) = (report(&at("dry")), report(&at("done")), report(&at("again")));
        let copy = scratch.copy(&image.path, "copy.qcow2");
        let by_fuse: Value = serde_json::from_str(&expect(0, &items.on(&copy, &["--json", "--attach", "fuse"])))
            .expect("the report is JSON");
        for found in [&dry, &done] {
            assert_eq!(found["items"], by_fuse["items"], "{}", image.name);
            assert_eq!((&found["volume"], &found["guest"]), (&by_fuse["volume"], &by_fuse["guest"]));
            assert_eq!((&found["access"], &found["kernel"]["attach"]), (&"kernel".into(), &"nbd".into()));
            assert_eq!(found["kernel"]["subvolume"], by_fuse["kernel"]["subvolume"]);
        }
        assert_eq!(done["verified"], by_fuse["verified"], "{}", image.name);
        assert_eq!((&again["changed"], &again["io"]["blocks_written"]), (&false.into(), &0.into()), "{}", image.name);
        let sum = fs::read_to_string(at("sum")).expect("a checksum");
        assert!(sum.starts_with(&oracle::sha256(&image.path)), "{}: the killed have changed it", image.name);
        let disk = shared.path().join(&image.name);
        let filesystem = if image.name.contains("xfs") { "xfs" } else { "btrfs" };
        let root = checked(&scratch, &disk, "qcow2", filesystem);
        fs::remove_file(root).expect("it is there");
        for path in ["/root/.ssh/authorized_keys", "/etc/shadow", "/etc/motd", "/meta.js"] {
            let [ours, theirs] = [&disk, &copy].map(|disk| expect(0, &["cat", text(disk), path]));
            assert_eq!(ours, theirs, "{path}");
        }
    }
}

#[test]
fn what_is_missing_is_said() {
    let Some(image) = image::named("borrowed", "bookworm-xfs.v3c") else {
        return;
    };
    // Where everybody may come.
    let place = tempfile::tempdir().expect("a directory");
    let (disk, program) = (place.path().join("disk.qcow2"), place.path().join("imgraft"));
    fs::copy(&image.path, &disk).expect("it can be copied");
    fs::copy(PROGRAM, &program).expect("it can be copied");
    for path in [place.path(), &disk, &program] {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).expect("it is ours");
    }
    let words = ["inject", text(&disk), "--write", "/x:y", "--attach", "nbd"];
    let is_root = nix::unistd::geteuid().is_root();
    let mut command = Command::new(&program);
    if is_root {
        command.uid(65_534).gid(65_534);
    }
    let output = command.args(words).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("only root may") && said.contains("--attach uml"), "{said}");

    let known = fs::read_to_string("/proc/devices").expect("it is there").contains(" nbd\n");
    if is_root && !known {
        let before = oracle::sha256(&disk);
        let output = run(&words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains("module nbd is not loaded") && said.contains("modprobe nbd"), "{said}");
        assert_eq!(oracle::sha256(&disk), before);
    }
}
