//! What the binary asks of the kernel, in order, as strace(1) sees it: nothing is overwritten before what it needs is durable.

use crate::idempotence::raw_phony;
use crate::support::{Scratch, image, oracle, text};
use std::path::Path;

/// The calls that write, make durable, or give and take names.
const CALLS: &str = "trace=openat,write,pwrite64,copy_file_range,ftruncate,fallocate,fsync,fdatasync,linkat,renameat,renameat2,\
                     unlinkat,utimensat,ioctl";

/// The steps of a run on the files in `directory`: each as a verb and a file, repetitions left out.
fn steps(directory: &Path, words: &[&str]) -> Vec<String> {
    let log = directory.join("strace.log");
    let binary = env!("CARGO_BIN_EXE_imgraft");
    let status = std::process::Command::new("strace")
        .args(["-f", "-y", "-qq", "-e", CALLS, "-o", text(&log), "--", binary])
        .args(words)
        .env("SOURCE_DATE_EPOCH", "1700000000")
        .output()
        .expect("strace starts");
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
    let read = std::fs::read(&log).expect("it is there");
    std::fs::remove_file(log).expect("it is there");
    let mut steps: Vec<String> = Vec::new();
    for line in String::from_utf8_lossy(&read).lines() {
        if let Some(step) = step(directory, line)
            && steps.last() != Some(&step)
        {
            steps.push(step);
        }
    }
    steps
}

fn step(directory: &Path, line: &str) -> Option<String> {
    let (_pid, call) = line.split_once(' ')?;
    let (call, rest) = call.trim().split_once('(')?;
    if rest.contains(") = -1 ") {
        return None;
    }
    // The file of the first descriptor, `5</path>`; what is copied to is the second.
    let number = if call == "copy_file_range" { 2 } else { 1 };
    let path = rest.split('<').nth(number).and_then(|rest| rest.split_once('>')).map(|(path, _)| path);
    let file = path.and_then(|path| {
        let name = path.strip_prefix(text(directory))?;
        Some(match name {
            "" => "directory".to_owned(),
            // A file without a name yet: `#inode (deleted)`.
            name if name.starts_with("/#") => "new".to_owned(),
            name => name.trim_start_matches('/').to_owned(),
        })
    });
    let named = || rest.split('"').nth(1).map(str::to_owned);
    Some(match call {
        "openat" if rest.contains("O_CREAT") => format!("create {}", named()?),
        "write" => format!("write {}", file?),
        "pwrite64" if rest.contains("qcow2>") && rest.contains(", 512, 0) = 512") => format!("switch {}", file?),
        "pwrite64" | "copy_file_range" => format!("write {}", file?),
        "ioctl" if rest.contains("FICLONE") => format!("write {}", file?),
        "ftruncate" => format!("size {}", file?),
        "fallocate" if rest.contains("PUNCH_HOLE") => format!("punch {}", file?),
        "fallocate" => format!("reserve {}", file?),
        "fsync" | "fdatasync" => format!("sync {}", file?),
        "linkat" => format!("name {}", rest.split('"').nth(3)?),
        "renameat" | "renameat2" => format!("rename {}", rest.split('"').nth(3)?),
        "unlinkat" => format!("remove {}", named()?),
        "utimensat" => format!("time {}", file?),
        _ => return None,
    })
}

const JOURNAL: &str = ".disk.raw.imgraft-journal";

/// The steps of a commit through the journal, once there is room in the image.
fn journalled() -> Vec<String> {
    [
        &format!("create {JOURNAL}"),
        &format!("write {JOURNAL}"),
        &format!("sync {JOURNAL}"),
        "sync directory",
        // Its header, when all else of it is durable.
        &format!("write {JOURNAL}"),
        &format!("sync {JOURNAL}"),
        "write disk.raw",
        "sync disk.raw",
        &format!("remove {JOURNAL}"),
        "sync directory",
    ]
    .map(str::to_owned)
    .into()
}

fn all(parts: &[&[&str]]) -> Vec<String> {
    parts.concat().into_iter().map(str::to_owned).collect()
}

#[test]
fn what_is_overwritten_is_durable_elsewhere_before() {
    if !oracle::have("strace") {
        return;
    }
    let scratch = Scratch::new();
    let at = scratch.path().canonicalize().expect("it is there");
    let (raw, qcow2) = (scratch.copy(&raw_phony(&scratch), "disk.raw"), scratch.copy(&image::phony(), "disk.qcow2"));
    let (undo, new) = (at.join("undo"), at.join("result"));
    let write = |disk: &Path, content: &str| ["inject", text(disk), "--write", content].map(str::to_owned);
    let run = |words: &[String], more: &[&str]| {
        let words: Vec<&str> = words.iter().map(String::as_str).chain(more.iter().copied()).collect();
        let mut steps = steps(&at, &words);
        steps.retain(|step| !step.starts_with("write pipe") && !step.ends_with("raw-phony.raw"));
        steps
    };

    assert_eq!(run(&write(&raw, "/etc/motd:1"), &[]), [&all(&[&["reserve disk.raw"]])[..], &journalled()].concat());
    let appended = ["reserve disk.qcow2", "write disk.qcow2"];
    let switched = ["sync disk.qcow2", "switch disk.qcow2", "sync disk.qcow2"];
    let mut steps = run(&write(&qcow2, "/etc/motd:1"), &[]);
    // The last cluster may end in a hole, which the file's length alone makes.
    steps.retain(|step| step != "size disk.qcow2");
    assert_eq!(steps, all(&[&appended, &switched, &["punch disk.qcow2"]]));

    // The undo file is there for good before the image is touched, and is sealed after it is durable.
    let kept = ["write new", "sync new", "name undo", "sync directory"];
    let undone = |steps: &mut Vec<String>| steps.retain(|step| step != "size disk.qcow2");
    let mut steps = run(&write(&qcow2, "/etc/motd:2"), &["--keep-undo", text(&undo)]);
    undone(&mut steps);
    let sealed = |steps: &[String]| {
        let (seal, before) = steps.split_at(steps.len() - 2);
        (seal.to_vec(), before.to_vec())
    };
    let (steps, seal) = sealed(&steps);
    assert_eq!(steps, all(&[&kept, &appended, &switched]));
    assert!(seal[0].starts_with("write ") && seal[1].starts_with("sync "), "{seal:?}");
    let back = ["switch disk.qcow2", "sync disk.qcow2", "size disk.qcow2", "sync disk.qcow2", "time disk.qcow2"];
    assert_eq!(run(&["undo".into(), text(&qcow2).into(), text(&undo).into()], &[]), all(&[&back]));
    std::fs::remove_file(&undo).expect("it is there");

    let steps = run(&write(&raw, "/etc/motd:2"), &["--keep-undo", text(&undo)]);
    let (steps, _) = sealed(&steps);
    assert_eq!(steps, [&all(&[&kept, &["reserve disk.raw"]])[..], &journalled()].concat());
    let steps = run(&["undo".into(), text(&raw).into(), text(&undo).into()], &[]);
    assert_eq!(steps, [&journalled()[..], &all(&[&["time disk.raw"]])].concat());

    // A new file has its name when all of it is durable.
    for (disk, option) in [(&raw, "--output"), (&qcow2, "--output"), (&raw, "--overlay"), (&qcow2, "--overlay")] {
        for (force, names) in [(&[][..], &["name result"][..]), (&["--force"], &["name", "rename result"])] {
            let mut steps = run(&write(disk, "/etc/motd:3"), &[&[option, text(&new)], force].concat());
            steps.retain(|step| step != "size new");
            // The temporary name is a random one.
            steps.iter_mut().filter(|step| step.ends_with(".imgraft-new")).for_each(|step| *step = "name".into());
            assert_eq!(steps, all(&[&["write new", "sync new"], names, &["sync directory"]]), "{option}");
        }
        std::fs::remove_file(&new).expect("it is there");
    }
}
