//! `imgraft serve`, by the NBD clients of others.

use crate::support::{Scratch, image, imgraft, oracle, text};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A server, and the URI that it has printed.
pub struct Server {
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
    pub uri: String,
}

impl Server {
    pub fn start(image: &Path, more: &[&str]) -> Self {
        let mut child = imgraft()
            .args(["serve", text(image)])
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut uri = String::new();
        stdout.read_line(&mut uri).expect("a line");
        assert!(uri.ends_with('\n'), "no URI: {}", errors(&mut child));
        Self { child, stdout, uri: uri.trim_end().to_owned() }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("it is there");
    }

    /// Waits for the end; gives the status and what was printed after the URI, on both ways.
    pub fn end(mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        self.stdout.read_to_string(&mut said).expect("text");
        said += &errors(&mut self.child);
        (self.child.wait().expect("it ends").code(), said)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn errors(child: &mut Child) -> String {
    let mut said = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        let _ = stderr.read_to_string(&mut said);
    }
    said
}

fn ready() -> bool {
    ["qemu-img", "qemu-io", "nbdinfo", "nbdcopy"].iter().all(|tool| oracle::have(tool))
}

/// An image of each format, its name and the option that declares it.
fn images(scratch: &Scratch) -> Vec<(PathBuf, &'static str)> {
    let qcow2 = scratch.copy(&image::phony(), "disk.qcow2");
    let raw = scratch.path().join("disk.raw");
    oracle::succeed("qemu-img", &["convert", "-O", "raw", text(&qcow2), text(&raw)]);
    vec![(qcow2, "qcow2"), (raw, "raw")]
}

/// What a client does to a disk: patterns, zeros, discards, at odd places.
const EDITS: [&str; 7] = [
    "write -P 0x5a 0 64k",
    "write -P 0x11 1000k 3",
    "write -z 30M 1M",
    "write -P 0x33 2097151 65538",
    "write -f -P 0x44 5M 512",
    "flush",
    "write -P 0x55 20M 2M",
];

fn qemu_io(format: &str, target: &str) {
    let mut words = vec!["-f", format];
    for edit in EDITS {
        words.extend(["-c", edit]);
    }
    words.push(target);
    let said = oracle::succeed("qemu-io", &words);
    assert!(!said.contains("failed"), "{said}");
}

#[test]
fn clients_read_the_disk_and_the_partition() {
    if !ready() {
        return;
    }
    let scratch = Scratch::new();
    for (disk, format) in images(&scratch) {
        let before = oracle::sha256(&disk);
        let socket = scratch.path().join("a socket");
        let nbd = format!("unix:{}", text(&socket));
        let server = Server::start(&disk, &["--format", format, "--nbd", &nbd, "--read-only", "--persistent"]);
        let mode = std::os::unix::fs::PermissionsExt::mode(&socket.metadata().expect("a socket").permissions());
        assert_eq!(mode & 0o777, 0o600);
        let uri = &*server.uri;
        let size = oracle::succeed("nbdinfo", &["--size", uri]);
        let info = oracle::succeed("qemu-img", &["info", "--output=json", text(&disk)]);
        assert!(info.contains(&format!("\"virtual-size\": {}", size.trim())), "{size} {info}");
        let list = oracle::succeed("nbdinfo", &["--list", uri]);
        assert!(list.contains("the whole disk") && list.contains("is_read_only: true"), "{list}");
        oracle::succeed("qemu-img", &["info", uri]);
        oracle::succeed("qemu-img", &["compare", "-f", "raw", "-F", format, uri, text(&disk)]);
        let copy = scratch.path().join("copy.raw");
        oracle::succeed("nbdcopy", &[uri, text(&copy)]);
        oracle::succeed("qemu-img", &["compare", "-f", "raw", "-F", format, text(&copy), text(&disk)]);
        let refused = oracle::tool("qemu-io", &["-f", "raw", "-c", "write 0 512", uri]);
        assert!(!refused.status.success() || String::from_utf8_lossy(&refused.stdout).contains("failed"));
        server.signal(Signal::SIGTERM);
        assert_eq!(server.end().0, Some(0));
        assert!(!socket.exists());

        let server = Server::start(&disk, &["--nbd", "tcp:127.0.0.1:0", "--read-only", "--partition", "1"]);
        let partition = scratch.path().join("partition.raw");
        oracle::succeed("nbdcopy", &[&server.uri, text(&partition)]);
        oracle::e2fsck(&partition, 0);
        assert_eq!(server.end(), (Some(0), String::new()), "it ends with its last client");
        assert_eq!(oracle::sha256(&disk), before);
    }
}

#[test]
fn what_clients_write_is_committed_as_a_whole() {
    if !ready() {
        return;
    }
    let scratch = Scratch::new();
    for (disk, format) in images(&scratch) {
        let twin = scratch.copy(&disk, "twin");
        qemu_io(format, text(&twin));
        let nbd = format!("unix:{}", text(&scratch.path().join("socket")));
        let server = Server::start(&disk, &["--nbd", &nbd]);
        qemu_io("raw", &server.uri);
        let (status, said) = server.end();
        assert_eq!(status, Some(0), "{said}");
        assert!(said.contains(": changed; "), "{said}");
        oracle::succeed("qemu-img", &["compare", "-f", format, "-F", format, text(&twin), text(&disk)]);
        if format == "qcow2" {
            oracle::succeed("qemu-img", &["check", text(&disk)]);
        }
        let server = Server::start(&disk, &["--nbd", &nbd]);
        oracle::succeed("qemu-io", &["-f", "raw", "-c", "read 0 4k", &server.uri]);
        let (status, said) = server.end();
        assert_eq!((status, said.contains("unchanged")), (Some(0), true), "{said}");
        // Several connections at once.
        let random = scratch.file("random", noise(8 << 20));
        let server = Server::start(&disk, &["--nbd", &nbd]);
        oracle::succeed("nbdcopy", &["--connections=4", text(&random), &server.uri]);
        let (status, said) = server.end();
        assert_eq!(status, Some(0), "{said}");
        let back = oracle::raw(&scratch, &disk, format);
        let mut start = vec![0; 8 << 20];
        std::fs::File::open(back).expect("it is there").read_exact(&mut start).expect("it is long enough");
        assert!(start == std::fs::read(&random).expect("it is there"));
    }
}

fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let byte = || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 56) as u8
    };
    std::iter::repeat_with(byte).take(len).collect()
}

/// How a client that has written comes to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    ClientKilled,
    ServerTerminated,
    ServerHungUp,
    ServerKilled,
}

#[test]
fn half_a_job_changes_nothing() {
    if !ready() {
        return;
    }
    let scratch = Scratch::new();
    for (disk, format) in images(&scratch) {
        let before = oracle::sha256(&disk);
        let socket = scratch.path().join("socket");
        let nbd = format!("unix:{}", text(&socket));
        for fate in [Fate::ClientKilled, Fate::ServerTerminated, Fate::ServerHungUp, Fate::ServerKilled] {
            let server = Server::start(&disk, &["--format", format, "--nbd", &nbd]);
            let mut client = Command::new("qemu-io")
                .args(["-f", "raw", &server.uri])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .expect("qemu-io starts");
            let mut commands = client.stdin.take().expect("it is piped");
            commands.write_all(b"write -P 1 0 1M\nflush\n").expect("it reads");
            let mut answers = BufReader::new(client.stdout.take().expect("it is piped"));
            let mut answer = String::new();
            while !answer.contains("wrote") {
                assert_ne!(answers.read_line(&mut answer).expect("text"), 0, "{answer}");
            }
            let status = match fate {
                Fate::ClientKilled => {
                    client.kill().expect("it is there");
                    Some(1)
                }
                Fate::ServerTerminated => {
                    server.signal(Signal::SIGTERM);
                    Some(1)
                }
                Fate::ServerHungUp => {
                    server.signal(Signal::SIGHUP);
                    Some(1)
                }
                Fate::ServerKilled => {
                    server.signal(Signal::SIGKILL);
                    None
                }
            };
            let (ended, said) = server.end();
            assert_eq!(ended, status, "{fate:?}: {said}");
            assert!(status.is_none() || said.contains("the image is as it was"), "{fate:?}: {said}");
            assert_eq!(oracle::sha256(&disk), before, "{fate:?}");
            assert_eq!(socket.exists(), fate == Fate::ServerKilled);
            let _ = std::fs::remove_file(&socket);
            let _ = client.kill();
            let _ = client.wait();
        }
    }
}

#[test]
fn addresses_that_cannot_be_had() {
    let scratch = Scratch::new();
    let disk = scratch.copy(&image::phony(), "disk.qcow2");
    let there = scratch.file("there", "not a socket");
    for (nbd, status) in [
        (format!("unix:{}", text(&there)), 4),
        (format!("unix:{}/none/socket", text(scratch.path())), 1),
        ("tcp:192.0.2.1:1".to_owned(), 1),
        ("here".to_owned(), 2),
    ] {
        let output = crate::support::run(&["serve", text(&disk), "--nbd", &nbd]);
        assert_eq!(output.status.code(), Some(status), "{nbd}");
    }
    assert_eq!(std::fs::read(there).expect("it stays"), b"not a socket");
    let output = crate::support::run(&["serve", text(&disk), "--nbd", "tcp:127.0.0.1:0", "--persistent"]);
    assert_eq!(output.status.code(), Some(2), "writes are committed when the last client goes");
}
