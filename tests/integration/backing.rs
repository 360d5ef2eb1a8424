//! Images on backing files.

use crate::idempotence::raw_phony;
use crate::support::{FiveItems, Scratch, expect, image, imgraft, oracle, run, text};

#[test]
fn a_backing_file_is_used_when_allowed_and_stays_as_it_is() {
    if !oracle::have("qemu-img") {
        return;
    }
    let scratch = Scratch::new();
    let items = FiveItems::new(&scratch);
    let base = scratch.copy(&image::phony(), "base.qcow2");
    let top = scratch.path().join("top.qcow2");
    oracle::succeed("qemu-img", &["create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", text(&top)]);
    let before = oracle::sha256(&base);
    let output = run(&items.on(&top, &[]));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("base.qcow2") && said.contains("--backing-chain"), "{said}");
    expect(0, &items.on(&top, &["--backing-chain"]));
    assert_eq!(expect(0, &["cat", text(&top), "/etc/motd", "--backing-chain"]), "put here by imgraft\n");
    assert!(expect(0, &items.on(&top, &["--backing-chain"])).contains("unchanged"));
    assert_eq!(oracle::sha256(&base), before);
    let told = expect(0, &["inspect", text(&top), "--backing-chain"]);
    assert!(told.contains("base.qcow2"), "{told}");
    let raw = oracle::raw(&scratch, &top, "qcow2");
    oracle::e2fsck(&raw, image::open(&raw, 1).offset);

    let elsewhere = scratch.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).expect("a directory");
    let allow = format!("--backing-chain={}", text(&elsewhere));
    let output = run(&items.on(&top, &[&allow]));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("outside the allowed directories"), "{said}");
}

/// The items go into an external data file; the image beside it maps what is new.
#[test]
fn a_data_file_takes_the_items_when_allowed() {
    if !oracle::have("qemu-img") {
        return;
    }
    for kind in ["off", "on"] {
        let scratch = Scratch::new();
        let items = FiveItems::new(&scratch);
        let (top, data) = (scratch.path().join("top.qcow2"), scratch.path().join("disk.data"));
        let start = raw_phony(&scratch);
        let options = format!("data_file={},data_file_raw={kind}", text(&data));
        oracle::succeed("qemu-img", &["convert", "-f", "raw", "-O", "qcow2", "-o", &options, text(&start), text(&top)]);
        let output = run(&items.on(&top, &[]));
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains("disk.data") && said.contains("--data-file"), "{said}");
        // Only what is named is written to, and only where the image has it.
        let output = run(&items.on(&top, &["--backing-chain"]));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(3) && said.contains("--data-file"), "{said}");
        let output = run(&items.on(&top, &["--data-file", text(&start)]));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(3) && said.contains("and not this one"), "{said}");
        let undo = scratch.path().join("undo");
        let output = run(&items.on(&top, &["--data-file", text(&data), "--keep-undo", text(&undo)]));
        assert!(output.status.code() == Some(2) && !undo.exists());
        oracle::succeed("qemu-img", &["compare", "-f", "raw", "-F", "qcow2", text(&start), text(&top)]);

        expect(0, &items.on(&top, &["--data-file", text(&data)]));
        assert_eq!(expect(0, &["cat", text(&top), "/etc/motd", "--backing-chain"]), "put here by imgraft\n");
        oracle::succeed("qemu-img", &["check", "-f", "qcow2", text(&top)]);
        let raw = oracle::raw(&scratch, &top, "qcow2");
        oracle::e2fsck(&raw, image::open(&raw, 1).offset);
        if kind == "on" {
            assert!(std::fs::read(&raw).expect("it is there") == std::fs::read(&data).expect("it is there"));
        }
        assert!(expect(0, &items.on(&top, &["--data-file", text(&data)])).contains("unchanged"));
        assert!(expect(0, &["recover", text(&top)]).contains("was not looked at: name it with --data-file"));
        assert!(expect(0, &["recover", "--data-file", text(&data), text(&top)]).contains("nothing to recover"));
    }
}

#[test]
fn what_is_allowed_is_a_directory() {
    if !oracle::have("qemu-img") {
        return;
    }
    let scratch = Scratch::new();
    let base = scratch.copy(&image::phony(), "base.qcow2");
    let top = scratch.path().join("top.qcow2");
    oracle::succeed("qemu-img", &["create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", text(&top)]);
    let missing = scratch.path().join("missing");
    for (directory, why) in
        [(&missing, "missing: there is no such directory"), (&base, "base.qcow2: this is no directory")]
    {
        let output = run(&["inspect", text(&top), &format!("--backing-chain={}", text(directory))]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(why), "{said}");
    }
}

/// What is missing at the end of a base is not blamed on the guest.
#[test]
fn a_base_that_was_cut_is_named() {
    let scratch = Scratch::new();
    let items = FiveItems::new(&scratch);
    let base = scratch.copy(&raw_phony(&scratch), "base.raw");
    let (top, thin) = (scratch.path().join("top.qcow2"), scratch.path().join("thin.qcow2"));
    expect(0, &["inject", text(&base), "--write", "/etc/motd:hello", "--overlay", text(&top)]);
    let whole = std::fs::metadata(&base).expect("it is there").len();
    std::fs::OpenOptions::new().write(true).open(&base).and_then(|file| file.set_len(1 << 20)).expect("it is cut");
    let ends = format!("the backing file \"base.raw\" ends at byte 1048576 of the {whole} bytes of the disk over it");
    for words in [
        items.on(&top, &["--backing-chain"]),
        items.on(&top, &["--backing-chain", "--overlay", text(&thin)]),
        vec!["ls", text(&top), "/", "--backing-chain"],
        vec!["cat", text(&top), "/etc/motd", "--backing-chain"],
    ] {
        let output = run(&words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains(&ends) && said.contains("hint: if the backing file was cut"), "{said}");
    }
    let shown = expect(0, &["inspect", text(&top), "--backing-chain"]);
    assert!(shown.contains(&ends), "{shown}");
    assert!(!thin.exists());
    // An image that is larger than what it lies over is nothing to speak of.
    scratch.copy(&raw_phony(&scratch), "base.raw");
    if oracle::have("qemu-img") {
        oracle::succeed("qemu-img", &["resize", "-f", "qcow2", text(&top), "+8M"]);
    }
    let shown = expect(0, &["inspect", text(&top), "--backing-chain"]);
    assert!(!shown.contains("ends at byte"), "{shown}");
    expect(0, &items.on(&top, &["--backing-chain"]));
}

/// The journal of a data file has its place before either file is written to.
#[test]
fn the_journal_of_a_data_file_can_lie_elsewhere() {
    if !oracle::have("qemu-img") {
        return;
    }
    let scratch = Scratch::new();
    let items = FiveItems::new(&scratch);
    // No room for the journal's name.
    let (top, data) = (scratch.path().join("top.qcow2"), scratch.path().join("d".repeat(250)));
    let state = scratch.path().join("state");
    let start = raw_phony(&scratch);
    let options = format!("data_file={},data_file_raw=off", text(&data));
    oracle::succeed("qemu-img", &["convert", "-f", "raw", "-O", "qcow2", "-o", &options, text(&start), text(&top)]);
    let before = [&top, &data].map(|path| oracle::sha256(path));
    let output = run(&items.on(&top, &["--data-file", text(&data)]));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("leaves no room") && said.contains("--state-dir") && said.contains("as it was"), "{said}");
    assert_eq!([&top, &data].map(|path| oracle::sha256(path)), before);
    let elsewhere = ["--data-file", text(&data), "--state-dir", text(&state)];
    expect(0, &items.on(&top, &elsewhere));
    assert_eq!(std::fs::read_dir(&state).expect("a directory").count(), 0);
    assert_eq!(expect(0, &["cat", text(&top), "/etc/motd", "--backing-chain"]), "put here by imgraft\n");
    oracle::succeed("qemu-img", &["check", "-q", text(&top)]);
    assert!(expect(0, &[&["recover", text(&top)], &elsewhere[..]].concat()).contains("nothing"));
    // What lies beside the file is not overlooked.
    let plain = scratch.path().join("disk.data");
    std::fs::copy(&data, &plain).expect("it copies");
    oracle::succeed("qemu-img", &["amend", "-f", "qcow2", "-o", "data_file=disk.data", text(&top)]);
    std::fs::remove_file(&data).expect("it is there");
    std::fs::write(scratch.path().join(".disk.data.imgraft-journal"), b"").expect("it is written");
    let output = run(&items.on(&top, &["--data-file", text(&plain), "--state-dir", text(&state)]));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(4) && said.contains("looks in another place"), "{said}");
    expect(0, &items.on(&top, &["--data-file", text(&plain)]));
}

/// 65 files whose tables are as large as can be, of holes: what a small disk does not need of them takes no memory, and
/// what a large one needs has a limit.
#[test]
fn a_chain_of_large_tables_takes_little_memory() {
    use std::os::unix::fs::FileExt;
    if !oracle::have("qemu-img") {
        return;
    }
    let scratch = Scratch::new();
    let at = |number: usize| scratch.path().join(format!("{number}.qcow2"));
    for number in 0..65 {
        let (path, below) = (at(number), at(number.saturating_sub(1)));
        let backing = if number > 0 { &["-b", text(&below), "-F", "qcow2"][..] } else { &[] };
        oracle::succeed("qemu-img", &[&["create", "-u", "-q", "-f", "qcow2"], backing, &[text(&path), "64M"]].concat());
        let bytes = std::fs::read(&path).expect("it is there");
        let file = std::fs::OpenOptions::new().write(true).open(&path).expect("it opens");
        let end = (bytes.len() as u64).next_multiple_of(65_536);
        // 32 MiB of L1 entries, then 8 MiB of refcount table.
        let (l1, refcounts) = (end, end + (32 << 20));
        file.set_len(refcounts + (8 << 20)).expect("a hole");
        file.write_all_at(&(4_u32 << 20).to_be_bytes(), 36).expect("it writes");
        file.write_all_at(&l1.to_be_bytes(), 40).expect("it writes");
        let old = u64::from_be_bytes(bytes[48..56].try_into().expect("eight bytes")) as usize;
        file.write_all_at(&bytes[old..old + 65_536], refcounts).expect("it writes");
        file.write_all_at(&refcounts.to_be_bytes(), 48).expect("it writes");
        file.write_all_at(&128_u32.to_be_bytes(), 56).expect("it writes");
    }
    let inspect = || {
        let script = "ulimit -v 500000; exec \"$0\" inspect --backing-chain \"$1\"";
        let output = oracle::tool("sh", &["-c", script, env!("CARGO_BIN_EXE_imgraft"), text(&at(64))]);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(inspect(), (Some(0), String::new()));
    for number in 0..65 {
        let file = std::fs::OpenOptions::new().write(true).open(at(number)).expect("it opens");
        file.write_all_at(&(1_u64 << 51).to_be_bytes(), 24).expect("it writes");
    }
    let (status, said) = inspect();
    assert!(status == Some(3) && said.contains("256 MiB of memory") && said.contains("qemu-img rebase"), "{said}");
}

/// QEMU takes a relative name of a data file from its working directory, and that of a backing file from the image's.
#[test]
fn a_data_file_that_qemu_made_in_its_working_directory_is_written_to_where_it_is_named() {
    if !oracle::have("qemu-img") {
        return;
    }
    let scratch = Scratch::new();
    let (start, sub) = (raw_phony(&scratch), scratch.path().join("sub"));
    std::fs::create_dir(&sub).expect("a directory");
    let here = |program: &mut std::process::Command, words: &[&str], status: i32| {
        let output = program.args(words).current_dir(scratch.path()).output().expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(status), "{words:?}: {said}");
        said
    };
    let qemu = || std::process::Command::new("qemu-img");
    let convert = ["convert", "-f", "raw", "-O", "qcow2", "-o", "data_file=d", text(&start), "sub/i"];
    here(&mut qemu(), &convert, 0);
    assert!(scratch.path().join("d").exists() && !sub.join("d").exists());
    here(&mut imgraft(), &["inject", "sub/i", "--data-file", "d", "--write", "/etc/motd:as QEMU has it"], 0);
    here(&mut qemu(), &["check", "sub/i"], 0);
    here(&mut qemu(), &["convert", "-O", "raw", "sub/i", "after"], 0);
    let after = scratch.path().join("after");
    assert_eq!(expect(0, &["cat", text(&after), "/etc/motd"]), "as QEMU has it");
    oracle::e2fsck(&after, image::open(&after, 1).offset);
    // Which of two it is, only the caller can say.
    std::fs::File::create(sub.join("d")).and_then(|file| file.set_len(1 << 26)).expect("it can be made");
    let said = here(&mut imgraft(), &["cat", "sub/i", "/etc/motd", "--backing-chain"], 3);
    assert!(said.contains("working directory") && said.contains("hint: record its whole path"), "{said}");
    here(&mut imgraft(), &["inject", "sub/i", "--data-file", "d", "--write", "/etc/motd:again"], 0);
}
