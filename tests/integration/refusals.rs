//! What cannot be done safely is refused: one clear line, the right status, and not a byte changed.

use crate::support::{FiveItems, Scratch, expect, image, imgraft, oracle, run, text};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Runs `inject`, which must be refused with `status`; the line must hold every one of `words`.
pub fn refused(image: &Path, status: i32, typed: &[&str], words: &[&str]) {
    let before = image.is_file().then(|| oracle::sha256(image));
    let started = Instant::now();
    let output = run(typed);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{typed:?}: {said}");
    assert!(started.elapsed() < Duration::from_secs(5), "{typed:?} took {:?}", started.elapsed());
    assert!(said.starts_with("imgraft: "), "{said}");
    assert_eq!(said.lines().filter(|line| !line.starts_with("hint: ")).count(), 1, "one line: {said}");
    for word in words {
        assert!(said.to_lowercase().contains(&word.to_lowercase()), "no {word:?} in: {said}");
    }
    assert_eq!(image.is_file().then(|| oracle::sha256(image)), before, "{typed:?} changed the image");
}

#[test]
fn what_no_running_guest_would_see() {
    let scratch = Scratch::new();
    let copy = scratch.copy(&image::phony(), "disk.qcow2");
    for path in ["/run/imgraft/file", "/proc/file", "/sys/file", "/dev/shm/file"] {
        let write = format!("{path}:x");
        refused(&copy, 3, &["inject", text(&copy), "--write", &write], &[&path[..4], "not seen", "--mount none:/"]);
    }
    let optional = ["inject", text(&copy), "--write", "/run/file:x", "--write", "/running:x", "--best-effort"];
    assert_eq!(run(&optional).status.code(), Some(5));
    expect(0, &["inject", text(&copy), "--write", "/run/file:x", "--mount", "none:/run"]);
    expect(0, &["inject", text(&copy), "--write", "/dev/file:x", "--mount", "none"]);
    assert_eq!(expect(0, &["cat", text(&copy), "/run/file"]), "x");
}

#[test]
fn hostile_images() {
    let list = image::built().join("hostile/expect.tsv");
    let Ok(text_of) = std::fs::read_to_string(&list) else {
        return oracle::skip(&format!("no {}; `make testdata` builds it", list.display()));
    };
    let scratch = Scratch::new();
    let items = FiveItems::new(&scratch);
    let mut tried = 0;
    for line in text_of.lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let (name, status, word) = (fields[0], fields[1].parse().expect("a status"), fields[2]);
        let copy = scratch.copy(&list.with_file_name(name), name);
        refused(&copy, status, &items.on(&copy, &[]), &[name, word]);
        std::fs::remove_file(copy).expect("it is a copy");
        tried += 1;
    }
    assert!(tried > 200, "only {tried} hostile images");
}

/// What is odd and harmless is done, and the oracles find nothing afterwards.
#[test]
fn odd_images() {
    let list = image::built().join("hostile/odd.tsv");
    let Ok(text_of) = std::fs::read_to_string(&list) else {
        return oracle::skip(&format!("no {}; `make testdata` builds it", list.display()));
    };
    let scratch = Scratch::new();
    let items = FiveItems::new(&scratch);
    for name in text_of.lines().skip(1).filter_map(|line| line.split('\t').next()) {
        let copy = scratch.copy(&list.with_file_name(name), name);
        let said = expect(0, &items.on(&copy, &[]));
        assert!(!said.contains('\x1b'), "{name} drives the terminal");
        let format = if name.ends_with(".qcow2") { "qcow2" } else { "raw" };
        if oracle::have("e2fsck") && oracle::have("qemu-img") {
            oracle::e2fsck(&oracle::raw(&scratch, &copy, format), 0);
        }
        std::fs::remove_file(copy).expect("it is a copy");
    }
}

#[test]
fn a_pipe_is_not_waited_for() {
    let scratch = Scratch::new();
    let copy = scratch.copy(&image::phony(), "disk.qcow2");
    let pipe = scratch.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let upload = format!("{}:/etc/x", text(&pipe));
    refused(&copy, 2, &["inject", text(&copy), "--upload", &upload], &["pipe", "not a regular file"]);
    refused(&pipe, 3, &["inject", text(&pipe), "--write", "/a:b"], &["named pipe"]);
}

#[test]
fn a_limit_on_file_sizes() {
    let scratch = Scratch::new();
    let copy = scratch.copy(&image::phony(), "disk.qcow2");
    let big = scratch.file("big", vec![7; 2 << 20]);
    let upload = format!("{}:/srv/big", text(&big));
    let before = oracle::sha256(&copy);
    let output = std::process::Command::new("sh")
        .args(["-c", "ulimit -f 2000 && exec \"$@\"", "sh", env!("CARGO_BIN_EXE_imgraft")])
        .args(["inject", text(&copy), "--upload", &upload])
        .output()
        .expect("sh starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("the image is as it was") && said.contains("too large"), "{said}");
    assert_eq!(oracle::sha256(&copy), before);
}

#[test]
fn names_do_not_drive_the_terminal() {
    let scratch = Scratch::new();
    let copy = scratch.copy(&image::phony(), "a\x1b[2Jb\nc.qcow2");
    for words in
        [&["inspect"][..], &["inject", "-n", "--write", "/\x1b[2J:x"], &["inject", "--chmod", "\x1b[2J"], &["recover"]]
    {
        let output = run(&[words, &[text(&copy)]].concat());
        for said in [&output.stdout, &output.stderr] {
            assert!(!said.contains(&0x1b), "{words:?}: {}", String::from_utf8_lossy(said).escape_debug());
        }
    }
}

#[test]
fn what_is_not_there() {
    let scratch = Scratch::new();
    let items = FiveItems::new(&scratch);
    let missing = scratch.path().join("missing.qcow2");
    refused(&missing, 2, &items.on(&missing, &[]), &["missing.qcow2", "no such file"]);
    let copy = scratch.copy(&image::phony(), "disk.qcow2");
    refused(
        &copy,
        3,
        &["inject", text(&copy), "--ssh-inject", &format!("nobody-here:string:{}", crate::support::KEY)],
        &["nobody-here"],
    );
    refused(&copy, 3, &["inject", text(&copy), "--partition", "9", "--write", "/a:b"], &["disk.qcow2", "partition 9"]);
    refused(&copy, 3, &["inject", text(&copy), "--partition", "label:nope", "--write", "/a:b"], &["nope"]);
    refused(&copy, 2, &["inject", text(&copy), "--upload", "/no/such/file:/etc/x"], &["/no/such/file"]);
    refused(&copy, 3, &["inject", text(&copy), "--chmod", "0600:/no/such/file"], &["/no/such/file"]);
    refused(&copy, 3, &["inject", text(&copy), "--format", "raw", "--write", "/a:b"], &["disk.qcow2"]);
    refused(&copy, 2, &["inject", text(&copy)], &["nothing to inject"]);
    refused(scratch.path(), 3, &["inject", text(scratch.path()), "--write", "/a:b"], &["regular file"]);
}

#[test]
fn a_full_guest_filesystem() {
    let scratch = Scratch::new();
    let copy = scratch.copy(&image::phony(), "disk.qcow2");
    let big = scratch.path().join("big");
    std::fs::File::create(&big).and_then(|file| file.set_len(1 << 30)).expect("a sparse file");
    let upload = format!("{}:/srv/big", text(&big));
    refused(&copy, 3, &["inject", text(&copy), "--upload", &upload], &["disk.qcow2", "/srv/big", "full"]);
}

#[test]
fn a_read_only_file() {
    let scratch = Scratch::new();
    let copy = scratch.copy(&image::phony(), "disk.qcow2");
    let mut permissions = copy.metadata().expect("it is there").permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(&copy, permissions).expect("it can be made read-only");
    if nix::unistd::geteuid().is_root() {
        // Root may write it all the same, so somebody else has to try.
        return as_nobody(&scratch, &copy);
    }
    refused(&copy, 3, &["inject", text(&copy), "--write", "/a:b"], &["disk.qcow2", "permission"]);
}

fn as_nobody(scratch: &Scratch, copy: &Path) {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    let open = tempfile::tempdir().expect("a directory that everybody reaches");
    std::fs::set_permissions(open.path(), std::fs::Permissions::from_mode(0o755)).expect("chmod");
    let image = open.path().join("disk.qcow2");
    let binary = open.path().join("imgraft");
    std::fs::copy(copy, &image).expect("a copy");
    std::fs::copy(env!("CARGO_BIN_EXE_imgraft"), &binary).expect("a copy");
    let before = oracle::sha256(&image);
    let output = std::process::Command::new(&binary)
        .args(["inject", text(&image), "--write", "/a:b"])
        .current_dir(open.path())
        .uid(65534)
        .gid(65534)
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("disk.qcow2") && said.contains("permission"), "{said}");
    assert_eq!(oracle::sha256(&image), before);
    let _ = scratch;
}

#[test]
fn usage_errors_are_status_two() {
    for words in [&["inject"][..], &["no-such-command"], &["inject", "x", "--optional", "nonsense"]] {
        assert_eq!(run(words).status.code(), Some(2), "{words:?}");
    }
    let output = imgraft().args(["inject", "x", "--root-password", "hunter2"]).output().expect("runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(!String::from_utf8_lossy(&output.stderr).contains("hunter2"), "the password is in the error");
}

#[test]
fn guest_links_never_lead_out() {
    // The guest's own links are resolved inside it: /etc/motd of the host stays as it is, the guest's is written.
    let scratch = Scratch::new();
    let copy = scratch.copy(&image::phony(), "disk.qcow2");
    let marker = scratch.file("marker", "from imgraft\n");
    let upload = format!("{}:/srv/out", text(&marker));
    // A link is made by the library, since `inject` makes none.
    link(&copy, "/srv/out", "../../../../../../../../etc/imgraft-escape-test");
    expect(0, &["inject", text(&copy), "--upload", &upload]);
    assert!(!Path::new("/etc/imgraft-escape-test").exists());
    assert_eq!(expect(0, &["cat", text(&copy), "/etc/imgraft-escape-test"]), "from imgraft\n");
}

fn link(copy: &Path, at: &str, target: &str) {
    use imgraft_vfs::block::{BlockDevice, SliceDevice};
    use imgraft_vfs::fs::{self, Attrs, Mode, Timestamp};
    use imgraft_vfs::path::GuestPath;
    use imgraft_vfs::resolve::{Follow, resolve};
    use imgraft_vfs::transaction::{Access, Transaction};
    use std::sync::Arc;
    let txn = Transaction::begin(copy, Access::Write).expect("it opens");
    let disk = imgraft_vfs::image::open(txn.overlay(), None).expect("qcow2");
    let info =
        imgraft_vfs::volume::list(&(Arc::clone(&disk) as Arc<dyn BlockDevice>)).expect("a table").volumes.remove(0);
    let device = SliceDevice::new(Arc::clone(&disk) as Arc<dyn BlockDevice>, info.start, info.size).expect("a slice");
    let mut fs = fs::open(Arc::new(device), Mode::ReadWrite { now: Timestamp::default() }).expect("ext4");
    let path = resolve(&*fs, &GuestPath::parse(at).expect("a path"), Follow::ExcludeLast).expect("it resolves");
    fs.create_symlink(&path, target.as_bytes(), Attrs { mode: 0o777, uid: 0, gid: 0 }).expect("a link");
    fs.close().expect("it closes");
    let plan = disk.finish().expect("it finishes");
    txn.commit(plan).expect("it commits");
}

/// All options are looked at, each names itself with what was typed, and nobody is asked for a password for nothing.
#[test]
fn what_is_wrong_in_the_options_is_told_at_once() {
    let scratch = Scratch::new();
    let copy = scratch.copy(&image::phony(), "disk.qcow2");
    let before = oracle::sha256(&copy);
    let nothing = scratch.path().join("nothing");
    let (upload, key) = (format!("{}:/srv/x", text(&nothing)), format!("root:file:{}", text(&nothing)));
    let wrong = [
        ("--ssh-inject", &*key, text(&nothing)),
        ("--ssh-inject", "a/b:string:ssh-ed25519", "--ssh-inject"),
        ("--hostname", "a b", "a b"),
        ("--timezone", "../x", "../x"),
        ("--locale", "a b", "a b: no such name"),
        ("--keymap", "c d", "c d: no such name"),
        ("--machine-id", "x", "x: neither empty"),
        ("--disable-unit", "a/b", "a/b: no name of a unit"),
        ("--mask-unit", "a/c", "a/c: no name of a unit"),
        ("--metadata", "k", "not KEY=VALUE"),
        ("--upload", &upload, text(&nothing)),
        ("--write", "b:secret", "b: not a guest path"),
        ("--append-line", "b:secret", "b: not a guest path"),
        ("--edit", "b:s/a/b/", "b: not a guest path"),
        ("--mkdir", "b", "b: not a guest path"),
        ("--link", "t:b", "b: not a guest path"),
        ("--delete", "/../b", "/../b: not a guest path"),
        ("--touch", "b", "b: not a guest path"),
        ("--truncate", "b", "b: not a guest path"),
        ("--truncate-recursive", "b", "b: not a guest path"),
        ("--chown", "root:root:b", "b: not a guest path"),
        ("--chmod", "0644:b", "b: not a guest path"),
        ("--copy", "/a:/../b", "/../b: not a guest path"),
        ("--move", "/a:/../b", "/../b: not a guest path"),
        ("--copy-in", "x:/../b", "/../b: not a guest path"),
        ("--tar-in", "x:/../b", "/../b: not a guest path"),
        ("--firstboot-command", " ", "empty"),
        ("--add-group", "-g", "-g"),
        ("--add-user", "a:b", "'b' is no setting"),
        ("--add-to-group", "a/b:g", "'a/b' is not the name of a user"),
        ("--sudo", "a/b", "'a/b' is not the name of a user"),
        ("--expire", "a/b:now", "'a/b' is not the name of a user"),
        ("--unlock", "a/b", "'a/b' is not the name of a user"),
        ("--expire-password", "a/b", "'a/b' is not the name of a user"),
        ("--password", "a/b:disabled", "'a/b' is not the name of a user"),
    ];
    let mut command = std::process::Command::new("timeout");
    command.args(["60", env!("CARGO_BIN_EXE_imgraft"), "inject", text(&copy), "--root-password", "stdin"]);
    command.args(wrong.iter().map(|(option, typed, _)| format!("{option}={typed}")));
    // Standard input does not end before the run has.
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let stdin = child.stdin.take();
    let output = child.wait_with_output().expect("it ends");
    drop(stdin);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(!said.contains("secret"), "{said}");
    let mut lines: Vec<&str> = said.lines().filter(|line| !line.starts_with("hint: ")).collect();
    for (option, typed, told) in wrong {
        let begins = |line: &&str| {
            let rest = line.strip_prefix("imgraft: ").and_then(|line| line.strip_prefix(option));
            rest.is_some_and(|rest| rest.starts_with([':', ' ']) && line.contains(told))
        };
        let found = lines.iter().position(begins);
        assert!(found.is_some(), "{option} {typed}: {said}");
        lines.remove(found.unwrap_or_default());
    }
    assert!(lines.is_empty(), "{lines:?}");
    refused(
        &copy,
        2,
        &["inject", text(&copy), "--mkdir=/b", "--mount=1:/../b"],
        &["--mount: ", "/../b", "not a guest"],
    );
    assert_eq!(oracle::sha256(&copy), before);
}

/// Wherever metadata are, their keys are not empty.
#[test]
fn a_key_of_metadata_is_not_empty() {
    let scratch = Scratch::new();
    let copy = scratch.copy(&image::phony(), "disk.qcow2");
    let file = |name: &str, content: &str| text(&scratch.file(name, content)).to_owned();
    let members = file("metadata.json", r#"{"": "secret", "a": "b"}"#);
    let manifest = file("manifest.yaml", "metadata: {a: b, '': secret}\n");
    let instance = file("instance.json", r#"{"instance": {"uuid": "u", "hostname": "h", "metadata": {"": "secret"}}}"#);
    for (option, typed, told) in [
        ("--metadata", "=secret", "--metadata: not KEY=VALUE"),
        ("--metadata-file", &members, "metadata.json: a key is empty"),
        ("--manifest", &manifest, "metadata: a key is empty"),
        ("--instance", &instance, "instance.metadata: a key is empty"),
    ] {
        let output = run(&["inject", text(&copy), option, typed]);
        assert!(!String::from_utf8_lossy(&output.stderr).contains("secret"), "{option}");
        refused(&copy, 2, &["inject", text(&copy), option, typed], &[told]);
    }
}
