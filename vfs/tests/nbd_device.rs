//! Network block devices of a kernel: connected to our server, and gone with whoever had them connected.
//!
//! Many kernels have none, so the tests run in a machine that has.

use imgraft_vfs::block::{BlockDevice, check_range};
use imgraft_vfs::error::{Error, ErrorKind, Layer, Result};
use imgraft_vfs::fs::{Attrs, Content, GuestFs, Mode, Timestamp, read_file};
use imgraft_vfs::kernel::host::{Nbd, serve_if_worker};
use imgraft_vfs::kernel::{Attach, Request};
use imgraft_vfs::volume::Signature;
use oracle::{FileDevice, at};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use uml::Machine;

mod oracle;
mod uml;

const NOW: Mode = Mode::ReadWrite { now: Timestamp { seconds: 1_750_000_000, nanoseconds: 0 } };

/// How the process that has a volume mounted is started.
const WORKER: [&str; 3] = ["--ignored", "--exact", "worker"];

#[test]
fn in_a_machine_that_has_them() {
    if uml::can_boot(&["mkfs.xfs", "xfs_repair", "mkfs.btrfs", "mke2fs", "e2fsck"]) {
        let machine = Machine { memory: 512, modules: &["drivers/block/nbd"], disk: None, shared: None };
        uml::run_ignored(&machine, "machine::", &[]);
    }
}

#[test]
#[ignore = "the process that has a volume mounted"]
fn worker() {
    serve_if_worker(&WORKER);
}

/// Edits the image that the environment names, and waits for its end.
#[test]
#[ignore = "is killed"]
fn edits() {
    let image = std::env::var_os("IMAGE").unwrap();
    let way = if std::env::var_os("BY_IOCTL").is_some() { nbd().without_netlink() } else { nbd() };
    let mut fs = attach(&way, Path::new(&image), "xfs", NOW).unwrap();
    put(&mut *fs, "/f", b"content");
    std::fs::write(Path::new(&image).with_extension("ready"), "").unwrap();
    loop {
        std::thread::park();
    }
}

fn nbd() -> Nbd {
    Nbd::new().with_arguments(WORKER)
}

fn request(volume: Arc<dyn BlockDevice>, name: &'static str, mode: Mode) -> Request {
    Request { volume, signature: Signature { name, label: String::new(), uuid: String::new() }, mode }
}

fn attach(way: &Nbd, image: &Path, name: &'static str, mode: Mode) -> Result<Box<dyn GuestFs>> {
    Ok(way.attach(&request(Arc::new(FileDevice::open(image)), name, mode))?.fs)
}

fn put(fs: &mut dyn GuestFs, path: &str, content: &[u8]) {
    let file = at(fs, path);
    fs.create_file(&file, Attrs { mode: 0o640, uid: 1, gid: 2 }).unwrap();
    fs.put(&file, &Content::bytes(content)).unwrap();
}

/// A file that begins as a disk does with a partition of 1 MiB on it.
fn partition_table(size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    bytes[446..462].copy_from_slice(&[0, 0, 2, 0, 0x83, 0, 3, 0, 0, 8, 0, 0, 0, 8, 0, 0]);
    bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
    bytes
}

/// An empty filesystem in a file.
fn made(name: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let (program, options, size): (&str, &[&str], u64) = match name {
        "xfs" => ("mkfs.xfs", &["-q", "-f"], 64),
        "btrfs" => ("mkfs.btrfs", &["-q", "-f"], 128),
        _ => ("mke2fs", &["-q", "-F", "-t", "ext4"], 16),
    };
    file.as_file().set_len(size << 20).unwrap();
    let mut command = Command::new(program);
    // So that mkfs.xfs makes one as small as those of xfstests are.
    command.env("TEST_DIR", "x").env("TEST_DEV", "x").env("QA_CHECK_FS", "x");
    oracle::run(command.env("PATH", oracle::path_with_sbin()).args(options).arg(file.path()));
    file
}

fn repair(image: &Path) {
    oracle::run(Command::new("xfs_repair").env("PATH", oracle::path_with_sbin()).arg("-n").arg(image));
}

fn content(image: &Path, name: &'static str) -> Vec<u8> {
    let fs = attach(&nbd(), image, name, Mode::ReadOnly).unwrap();
    read_file(&*fs, &at(&*fs, "/f"), 100).unwrap()
}

/// A device that has no room after so many writes.
#[derive(Debug)]
struct Full(FileDevice, u64);

impl BlockDevice for Full {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        self.0.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        check_range(Layer::Transaction, self.size(), offset, buf.len())?;
        if self.0.writes.load(std::sync::atomic::Ordering::Relaxed) >= self.1 {
            return Err(Error::new(ErrorKind::NoSpace, Layer::Transaction, "no room for what is held"));
        }
        self.0.write_at(buf, offset)
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }
}

mod machine {
    use super::*;
    use std::process::{Child, Stdio};
    use std::time::{Duration, Instant};

    /// The devices that are connected to a server.
    fn connected() -> Vec<String> {
        let devices = std::fs::read_dir("/sys/block").unwrap().flatten();
        let names = devices.filter(|device| device.path().join("pid").exists()).map(|device| device.file_name());
        names.map(|name| name.into_string().unwrap()).filter(|name| name.starts_with("nbd")).collect()
    }

    /// Waits until none is.
    fn nothing_stays(context: &str) {
        let end = Instant::now() + Duration::from_secs(60);
        while !connected().is_empty() {
            assert!(Instant::now() < end, "{context}: {:?}", connected());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    #[ignore = "in a machine"]
    fn by_netlink_and_by_ioctl() {
        let image = made("xfs");
        for (way, text) in [(nbd(), "by netlink"), (nbd().without_netlink(), "by ioctl")] {
            let mut fs = attach(&way, image.path(), "xfs", NOW).unwrap();
            assert_eq!(connected(), ["nbd0"], "{text}");
            let backend = std::fs::read_to_string("/sys/block/nbd0/backend").unwrap_or_default();
            assert_eq!(backend.starts_with("imgraft "), text == "by netlink");
            match fs.lookup(&at(&*fs, "/f")).unwrap() {
                None => put(&mut *fs, "/f", text.as_bytes()),
                Some(_) => fs.put(&at(&*fs, "/f"), &Content::bytes(text.as_bytes())).unwrap(),
            }
            fs.close().unwrap();
            assert_eq!(connected(), Vec::<String>::new(), "{text}");
            repair(image.path());
            assert_eq!(content(image.path(), "xfs"), text.as_bytes());
        }
    }

    #[test]
    #[ignore = "in a machine"]
    fn two_at_once_with_the_same_uuid() {
        for (name, second_way) in [("xfs", nbd()), ("xfs", nbd().without_netlink()), ("ext4", nbd()), ("btrfs", nbd())]
        {
            let first = made(name);
            let second = tempfile::NamedTempFile::new().unwrap();
            std::fs::copy(first.path(), second.path()).unwrap();
            let mut one = attach(&nbd(), first.path(), name, NOW).unwrap();
            put(&mut *one, "/f", b"first");
            match attach(&second_way, second.path(), name, NOW) {
                Ok(mut other) => {
                    put(&mut *other, "/f", b"second");
                    other.close().unwrap();
                    assert_eq!(content(second.path(), name), b"second");
                }
                // To one kernel a btrfs is its UUID.
                Err(error) => {
                    assert_eq!((name, error.kind()), ("btrfs", ErrorKind::InUse), "{error:?}");
                    assert!(error.hint().unwrap().contains("--attach uml"));
                }
            }
            one.close().unwrap();
            nothing_stays(name);
            assert_eq!(content(first.path(), name), b"first");
        }
    }

    /// A process that has an image mounted.
    fn holder(image: &Path, by_ioctl: Option<&str>) -> Child {
        let ready = image.with_extension("ready");
        let _ = std::fs::remove_file(&ready);
        let mut command = Command::new("/proc/self/exe");
        command.args(["--ignored", "--exact", "edits"]).env("IMAGE", image);
        if let Some(word) = by_ioctl {
            command.env("BY_IOCTL", word);
        }
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let end = Instant::now() + Duration::from_secs(60);
        while !ready.exists() {
            assert!(Instant::now() < end, "it is not ready");
            std::thread::sleep(Duration::from_millis(10));
        }
        std::fs::remove_file(&ready).unwrap();
        child
    }

    /// The process that was started by another one: proc_pid_stat(5).
    fn child_of(parent: u32) -> u32 {
        let is_child = |id: &u32| {
            let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)) == Some(&parent.to_string())
        };
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let mut ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        ids.find(is_child).unwrap()
    }

    #[test]
    #[ignore = "in a machine"]
    fn nothing_stays_of_who_is_killed() {
        let image = made("xfs");
        for by_ioctl in [None, Some("1")] {
            for what in ["the server", "the worker", "both"] {
                let mut child = holder(image.path(), by_ioctl);
                assert_eq!(connected(), ["nbd0"], "{what}");
                let [server, worker] = [child.id(), child_of(child.id())].map(|id| id.to_string());
                let targets = match what {
                    "the server" => vec![server],
                    "the worker" => vec![worker],
                    // The worker ends by itself once the server has.
                    _ => vec![worker, server],
                };
                oracle::run(Command::new("kill").arg("-9").args(targets));
                nothing_stays(what);
                let _ = child.kill();
                child.wait().unwrap();
                // It is free.
                let fs = attach(&nbd(), image.path(), "xfs", Mode::ReadOnly).unwrap();
                assert_eq!(connected(), ["nbd0"], "{what}");
                drop(fs);
                nothing_stays(what);
                std::fs::copy(made("xfs").path(), image.path()).unwrap();
            }
        }
    }

    /// Connects a device and ends, as one does who is killed before he opens it. The owner is a process that there is not.
    const CONNECTS: &str = r#"
import os, socket, struct, sys
def attribute(kind, value):
    head = struct.pack("HH", len(value) + 4, kind)
    return head + value + bytes(-len(value) % 4)
def ask(family, command, attributes):
    body = struct.pack("BBH", command, 1, 0) + attributes
    sock.send(struct.pack("IHHII", len(body) + 16, family, 5, 0, 0) + body)
    return sock.recv(8192)
sock = socket.socket(16, socket.SOCK_RAW, 16)
sock.bind((0, 0))
answer = ask(16, 3, attribute(2, b"nbd\0"))
sock.recv(8192)
at = answer.index(struct.pack("HH", 6, 1))
family, = struct.unpack("H", answer[at + 4 : at + 6])
near, far = socket.socketpair()
owner = f"imgraft {os.readlink('/proc/self/ns/pid')} 4194305 1".encode() + b"\0"
sockets = attribute(0x8007, attribute(0x8001, attribute(1, struct.pack("I", far.fileno()))))
sizes = attribute(2, struct.pack("Q", 1 << 20)) + attribute(3, struct.pack("Q", 512))
ask(family, 1, sizes + attribute(10, owner) + sockets)
"#;

    #[test]
    #[ignore = "in a machine"]
    fn what_a_killed_one_has_left_is_taken_away() {
        oracle::run(Command::new("python3").args(["-c", CONNECTS]));
        assert_eq!(connected(), ["nbd0"]);
        let image = made("xfs");
        let fs = attach(&nbd(), image.path(), "xfs", Mode::ReadOnly).unwrap();
        fs.close().unwrap();
        nothing_stays("afterwards");
    }

    #[test]
    #[ignore = "in a machine"]
    fn without_a_device_file() {
        let image = made("xfs");
        std::fs::rename("/dev/nbd0", "/dev/away").unwrap();
        for way in [nbd(), nbd().without_netlink()] {
            let error = attach(&way, image.path(), "xfs", NOW).unwrap_err();
            assert_eq!((error.kind(), error.layer()), (ErrorKind::Unsupported, Layer::Kernel));
            assert!(error.to_string().contains("/dev/nbd0") && error.hint().unwrap().contains("--attach"), "{error:?}");
            nothing_stays("without a device file");
        }
        std::fs::rename("/dev/away", "/dev/nbd0").unwrap();
    }

    #[test]
    #[ignore = "in a machine"]
    fn what_is_no_filesystem_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), partition_table(16 << 20)).unwrap();
        for way in [nbd(), nbd().without_netlink()] {
            let error = attach(&way, file.path(), "xfs", NOW).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
            nothing_stays("refused");
        }
    }

    #[test]
    #[ignore = "in a machine"]
    fn what_the_volume_cannot_do_is_the_reason() {
        let image = made("xfs");
        for writes in [0, 3, 10] {
            let volume = Arc::new(Full(FileDevice::open(image.path()), writes));
            let edit = || -> Result<()> {
                let mut fs = nbd().attach(&request(volume, "xfs", NOW))?.fs;
                let file = at(&*fs, "/f");
                fs.create_file(&file, Attrs { mode: 0o640, uid: 1, gid: 2 })?;
                fs.put(&file, &Content::bytes(vec![1; 4 << 20]))?;
                fs.close()
            };
            assert_eq!(edit().unwrap_err().kind(), ErrorKind::NoSpace, "{writes} writes");
            nothing_stays("a volume that is full");
        }
    }

    #[test]
    #[ignore = "in a machine"]
    fn reading_writes_nothing() {
        let image = made("xfs");
        // A log that is to be replayed.
        let mut child = holder(image.path(), None);
        child.kill().unwrap();
        child.wait().unwrap();
        nothing_stays("killed");
        let before = std::fs::read(image.path()).unwrap();
        let fs = attach(&nbd(), image.path(), "xfs", Mode::ReadOnly).unwrap();
        fs.close().unwrap();
        assert!(before == std::fs::read(image.path()).unwrap());
    }
}
