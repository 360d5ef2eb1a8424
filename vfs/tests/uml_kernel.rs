//! A kernel in a process, without root: User Mode Linux with the volume of a transaction.

use imgraft_vfs::block::{BlockDevice, MemDevice};
use imgraft_vfs::error::{Error, ErrorKind, Layer, Result};
use imgraft_vfs::fs::{Attrs, Content, GuestFs, Mode, Timestamp, read_file};
use imgraft_vfs::kernel::uml::{Uml, serve_if_first_process};
use imgraft_vfs::kernel::{Attach, Request};
use imgraft_vfs::path::{GuestPath, Resolved};
use imgraft_vfs::resolve::{Follow, resolve};
use imgraft_vfs::volume::Signature;
use oracle::FileDevice;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

mod oracle;

const NOW: Mode = Mode::ReadWrite { now: Timestamp { seconds: 1_750_000_000, nanoseconds: 0 } };
const NOBODY: u32 = 65_534;

#[test]
#[ignore = "the first process of a borrowed kernel"]
fn first_process() {
    serve_if_first_process();
}

/// Edits the image that the environment names, as whoever runs this, and waits for its end where it is told to.
#[test]
#[ignore = "runs as another user, or is killed"]
fn edits() {
    let image = std::env::var_os("IMAGE").unwrap();
    let mut taken = Vec::new();
    if let Ok(spare) = std::env::var("SPARE") {
        taken.extend(std::iter::from_fn(|| fs::File::open("/dev/null").ok()));
        taken.truncate(taken.len() - spare.parse::<usize>().unwrap());
    }
    let mut fs = attach(Path::new(&image), "xfs", NOW).unwrap();
    put(&mut *fs, "/by-nobody", b"content");
    if std::env::var_os("HANG").is_some() {
        std::io::stderr().write_all(b"ready\n").unwrap();
        loop {
            std::thread::park();
        }
    }
    fs.close().unwrap();
}

fn uml(kernel: Option<&Path>) -> Uml {
    Uml::new(kernel.map(Path::to_path_buf)).with_arguments(["--ignored", "--exact", "first_process"])
}

fn request(volume: Arc<dyn BlockDevice>, name: &'static str, mode: Mode) -> Request {
    Request { volume, signature: Signature { name, label: String::new(), uuid: String::new() }, mode }
}

fn attach(image: &Path, name: &'static str, mode: Mode) -> Result<Box<dyn GuestFs>> {
    Ok(uml(None).attach(&request(Arc::new(FileDevice::open(image)), name, mode))?.fs)
}

fn at(fs: &dyn GuestFs, path: &str) -> Resolved {
    resolve(fs, &GuestPath::parse(path).unwrap(), Follow::All).unwrap()
}

fn put(fs: &mut dyn GuestFs, path: &str, content: &[u8]) {
    let file = at(fs, path);
    fs.create_file(&file, Attrs { mode: 0o640, uid: 1, gid: 2 }).unwrap();
    fs.put(&file, &Content::bytes(content)).unwrap();
}

/// An empty XFS; `None` where something is missing.
fn xfs() -> Option<tempfile::NamedTempFile> {
    if !oracle::have(&["linux.uml", "mkfs.xfs", "xfs_repair"]) {
        return None;
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(64 << 20).unwrap();
    let mut command = Command::new("mkfs.xfs");
    // So that mkfs.xfs makes one as small as those of xfstests are.
    command.env("TEST_DIR", "x").env("TEST_DEV", "x").env("QA_CHECK_FS", "x");
    oracle::run(command.env("PATH", oracle::path_with_sbin()).args(["-q", "-f"]).arg(file.path()));
    Some(file)
}

fn repair(image: &Path) {
    oracle::run(Command::new("xfs_repair").env("PATH", oracle::path_with_sbin()).arg("-n").arg(image));
}

#[test]
fn two_at_once_with_the_same_uuid() {
    let Some(first) = xfs() else { return };
    let second = tempfile::NamedTempFile::new().unwrap();
    fs::copy(first.path(), second.path()).unwrap();
    let mut both = [&first, &second].map(|image| attach(image.path(), "xfs", NOW).unwrap());
    for (fs, content) in both.iter_mut().zip(["first", "second"]) {
        put(&mut **fs, "/f", content.as_bytes());
    }
    for fs in both {
        fs.close().unwrap();
    }
    for (image, content) in [(&first, "first"), (&second, "second")] {
        repair(image.path());
        let fs = attach(image.path(), "xfs", Mode::ReadOnly).unwrap();
        assert_eq!(read_file(&*fs, &at(&*fs, "/f"), 100).unwrap(), content.as_bytes());
    }
}

/// A program of which only root can read the directory, for another user: a copy of this one, and an image for him.
fn for_nobody(image: &Path) -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::copy("/proc/self/exe", place.path().join("program")).unwrap();
    let theirs = place.path().join("image");
    fs::copy(image, &theirs).unwrap();
    std::os::unix::fs::chown(&theirs, Some(NOBODY), Some(NOBODY)).unwrap();
    place
}

fn edits_as_nobody(place: &Path) -> Command {
    let mut command = Command::new("setpriv");
    let id = NOBODY.to_string();
    command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]);
    command.arg(place.join("program")).args(["--ignored", "--exact", "edits", "--nocapture"]);
    command.env("IMAGE", place.join("image")).current_dir("/");
    command
}

#[test]
fn without_root() {
    let Some(image) = xfs() else { return };
    if !nix::unistd::geteuid().is_root() {
        // Then every test here is without root.
        return;
    }
    let place = for_nobody(image.path());
    oracle::run(&mut edits_as_nobody(place.path()));
    let image = place.path().join("image");
    repair(&image);
    let fs = attach(&image, "xfs", Mode::ReadOnly).unwrap();
    assert_eq!(read_file(&*fs, &at(&*fs, "/by-nobody"), 100).unwrap(), b"content");
}

/// The processes of a kernel that was started by `parent`: their group, which has the number of the first one.
fn group_of_child(parent: u32) -> Option<String> {
    let stats = processes().into_iter().find(|fields| fields[1] == parent.to_string())?;
    Some(stats[2].clone())
}

/// State, parent and group of every process (proc_pid_stat(5)).
fn processes() -> Vec<[String; 3]> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        if let Some((_, rest)) = stat.rsplit_once(") ") {
            let mut fields = rest.split(' ').map(str::to_owned);
            let mut next = || fields.next().unwrap();
            found.push([next(), next(), next()]);
        }
    }
    found
}

fn alive(group: &str) -> usize {
    processes().iter().filter(|[state, _, of]| of == group && state != "Z" && state != "X").count()
}

/// Waits for the end of all processes of a group.
fn gone(group: &str) {
    for _ in 0..500 {
        if alive(group) == 0 {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{} processes of the kernel live on", alive(group));
}

#[test]
fn a_run_that_is_killed_leaves_nothing() {
    let Some(image) = xfs() else { return };
    let mut child = Command::new("/proc/self/exe")
        .args(["--ignored", "--exact", "edits", "--nocapture"])
        .env("IMAGE", image.path())
        .env("HANG", "1")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = [0; 6];
    child.stderr.take().unwrap().read_exact(&mut said).unwrap();
    assert_eq!(&said, b"ready\n");
    let group = group_of_child(child.id()).unwrap();
    assert!(alive(&group) > 1, "more than the first process");
    let owner = fs::metadata(format!("/proc/{group}")).unwrap().uid();
    assert!(owner != 0, "the kernel runs as root");
    child.kill().unwrap();
    child.wait().unwrap();
    gone(&group);
}

#[test]
fn what_the_kernel_does_not_mount_is_said_with_its_reason() {
    if !oracle::have(&["linux.uml"]) {
        return;
    }
    for (name, kind, reason) in [
        ("xfs", ErrorKind::Corrupt, "XFS (vda): Invalid superblock magic number"),
        ("ext4", ErrorKind::Corrupt, "VFS: Can't find ext4 filesystem"),
        ("bcachefs", ErrorKind::Unsupported, "No such device"),
    ] {
        let volume = Arc::new(MemDevice::new(vec![0x5a; 16 << 20]));
        let error = uml(None).attach(&request(volume, name, NOW)).unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        assert!(format!("{error:?}").contains(reason), "{error:?}");
    }
}

#[test]
fn reading_writes_nothing() {
    let Some(image) = xfs() else { return };
    // A log that is to be replayed: the kernel is killed with everything in its log.
    let mut fs = attach(image.path(), "xfs", NOW).unwrap();
    put(&mut *fs, "/f", b"content");
    drop(fs);
    let before = fs::read(image.path()).unwrap();
    let fs = attach(image.path(), "xfs", Mode::ReadOnly).unwrap();
    assert_eq!(fs.read_dir(&Resolved::root()).unwrap(), []);
    fs.close().unwrap();
    assert!(before == fs::read(image.path()).unwrap());
}

/// A volume that takes so many writes and no more.
#[derive(Debug)]
struct Failing(FileDevice, AtomicU64);

impl BlockDevice for Failing {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        self.0.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        let left = self.1.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        left.map_err(|_| Error::new(ErrorKind::NoSpace, Layer::Transaction, "no room for what is held"))?;
        self.0.write_at(buf, offset)
    }

    fn flush(&self) -> Result<()> {
        self.0.flush()
    }
}

#[test]
fn a_volume_that_fails_is_the_reason() {
    let Some(image) = xfs() else { return };
    for writes in [0, 3, 10] {
        let volume = Arc::new(Failing(FileDevice::open(image.path()), AtomicU64::new(writes)));
        let edit = || -> Result<()> {
            let mut fs = uml(None).attach(&request(Arc::clone(&volume) as _, "xfs", NOW))?.fs;
            let file = at(&*fs, "/f");
            fs.create_file(&file, Attrs { mode: 0o640, uid: 1, gid: 2 })?;
            fs.put(&file, &Content::bytes(vec![1; 4 << 20]))?;
            fs.close()
        };
        let error = edit().unwrap_err();
        assert_eq!((error.kind(), error.layer()), (ErrorKind::NoSpace, Layer::Transaction), "{error:?}");
    }
}

/// A program in the kernel's place.
fn instead(text: &str) -> tempfile::TempPath {
    let mut file = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempfile().unwrap();
    write!(file, "#!/bin/sh\n{text}\n").unwrap();
    file.into_temp_path()
}

#[test]
fn a_kernel_that_stops_or_hangs() {
    let volume: Arc<dyn BlockDevice> = Arc::new(MemDevice::new(vec![0; 1 << 20]));
    let stops = instead("echo one; echo two >&2; exit 3");
    let error = uml(Some(&stops)).attach(&request(Arc::clone(&volume), "xfs", NOW)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert_eq!(
        format!("{error:?}"),
        format!("Kernel/Io: {}: the borrowed kernel has stopped: one; two", stops.display())
    );
    assert!(error.hint().unwrap().contains("user-mode-linux"));
    let place = tempfile::NamedTempFile::new().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o666)).unwrap();
    let hangs = instead(&format!("echo $$ >{}; sleep 1000 & sleep 1000", place.path().display()));
    let way = uml(Some(&hangs)).with_deadline(Duration::from_secs(1));
    let error = way.attach(&request(volume, "xfs", NOW)).unwrap_err();
    assert_eq!(error.to_string(), format!("{}: the borrowed kernel has not answered for 1 s", hangs.display()));
    let group = fs::read_to_string(place.path()).unwrap();
    gone(group.trim());
}

/// What an attempt with a kernel that is none comes to.
fn error_of(kernel: &Path) -> String {
    let way = uml(Some(kernel));
    let (done, result) = channel();
    std::thread::spawn(move || {
        let volume = Arc::new(MemDevice::new(vec![0; 1 << 20]));
        done.send(way.attach(&request(volume, "xfs", NOW)).map(drop)).unwrap();
    });
    let error = result.recv_timeout(Duration::from_secs(60)).expect("it ends").unwrap_err();
    format!("{error:?}; {}", error.hint().unwrap_or_default())
}

/// A kernel that somebody has taken over, in Python, with the sockets of its `devices`.
fn taken_over(text: &str) -> tempfile::TempPath {
    let before = "import os, socket, struct, sys\n\
                  words = [word.split('=')[1] for word in sys.argv if word.startswith('virtio_uml.device=')]\n\
                  devices = [word.split(':')[0] for word in words]\n";
    instead(&format!("exec /usr/bin/python3 - \"$@\" <<'END'\n{before}{text}\nEND"))
}

#[test]
fn descriptors_that_never_answer_do_not_keep_the_run() {
    if !oracle::have(&["python3"]) {
        return;
    }
    // Each disk gets both ends of one pipe, with a byte in it: nobody else is there to write or to close it.
    let pipes = taken_over(
        "for device in devices:\n\
         \x20   far = socket.socket(socket.AF_UNIX)\n\
         \x20   far.settimeout(30)\n\
         \x20   far.connect(device)\n\
         \x20   out, into = os.pipe()\n\
         \x20   os.write(into, b'x')\n\
         \x20   for request, end in (21, into), (12, out):\n\
         \x20       rights = socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack('i', end)\n\
         \x20       far.sendmsg([struct.pack('<IIIQ', request, 1, 8, 0)], [rights])\n\
         \x20   far.recv(1)\n",
    );
    let said = error_of(&pipes);
    assert!(said.contains("breaks the protocol"), "{said}");
}

#[test]
fn a_kernel_that_was_taken_over_stays_in_its_group_and_off_the_network() {
    if !oracle::have(&["python3"]) {
        return;
    }
    let leaves = taken_over(
        "def leave(way):\n\
         \x20   if os.fork() == 0:\n\
         \x20       try:\n\
         \x20           way()\n\
         \x20           os.write(1, b'it can\\n')\n\
         \x20       except OSError:\n\
         \x20           os.write(1, b'it cannot\\n')\n\
         \x20       os._exit(0)\n\
         \x20   os.wait()\n\
         leave(os.setsid)\n\
         leave(lambda: os.setpgid(0, 0))\n\
         leave(lambda: socket.socket(socket.AF_INET))\n",
    );
    let said = error_of(&leaves);
    assert!(said.contains("has stopped: it cannot; it cannot; it cannot;"), "{said}");
}

#[test]
fn a_kernel_gets_no_descriptor_of_the_caller_and_no_name() {
    let secret = tempfile::Builder::new().prefix("secret").tempfile().unwrap();
    rustix::io::fcntl_setfd(secret.as_file(), rustix::io::FdFlags::empty()).unwrap();
    let name = secret.path().file_name().unwrap().to_str().unwrap();
    // Other tests of this process have their names for an instant.
    let looks = instead(&format!(
        "echo \"secrets: $(ls -l /proc/$$/fd | grep -c {name})\"\n\
         for round in 1 2 3 4 5 6 7 8 9; do\n\
         \x20   names=$(ls -d /dev/shm/imgraft-$PPID-* /tmp/imgraft-$PPID-* 2>/dev/null)\n\
         \x20   [ -z \"$names\" ] && break\n\
         \x20   sleep 0.02\n\
         done\n\
         echo \"names: $names.\""
    ));
    let said = error_of(&looks);
    assert!(said.contains("has stopped: secrets: 0; names: .;"), "{said}");
}

#[test]
fn a_device_that_is_missing_is_the_reason() {
    if !oracle::have(&["linux.uml", "mkfs.btrfs"]) {
        return;
    }
    let disks = [(); 2].map(|()| tempfile::NamedTempFile::new().unwrap());
    for disk in &disks {
        disk.as_file().set_len(256 << 20).unwrap();
    }
    let mut command = Command::new("mkfs.btrfs");
    command.env("PATH", oracle::path_with_sbin()).args(["-q", "-f", "-d", "raid0", "-m", "raid0"]);
    oracle::run(command.args(disks.iter().map(tempfile::NamedTempFile::path)));
    let error = attach(disks[0].path(), "btrfs", Mode::ReadOnly).unwrap_err();
    assert!(format!("{error:?}").contains("is missing"), "{error:?}");
}

/// Runs [`edits`] in surroundings that a shell makes first, as root with mounts of its own; what it says.
fn edits_after(surroundings: &str, image: &Path) -> (bool, String) {
    let mut command = Command::new("sh");
    if nix::unistd::geteuid().is_root() {
        command = Command::new("unshare");
        command.args(["--mount", "sh"]);
    }
    command.args(["-c", &format!("set -e\n{surroundings}\nexec \"$0\" \"$@\"")]);
    command.arg(std::env::current_exe().unwrap()).args(["--ignored", "--exact", "edits", "--nocapture"]);
    let output = command.env("IMAGE", image).env_remove("TMPDIR").output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn a_place_for_the_memory_is_looked_for() {
    let Some(image) = xfs() else { return };
    if !nix::unistd::geteuid().is_root() || !oracle::have(&["unshare"]) {
        return;
    }
    let scratch = |at: &str, options: &str| format!("mount -t tmpfs -o {options} none {at}");
    for options in ["size=16m,mode=1777", "ro", "mode=0755", "noexec,mode=1777"] {
        let (done, said) = edits_after(&scratch("/dev/shm", options), image.path());
        assert!(done, "{options}: {said}");
        fs::copy(xfs().unwrap().path(), image.path()).unwrap();
    }
    let both = [scratch("/dev/shm", "size=16m,mode=1777"), scratch("/tmp", "noexec,mode=1777")].join("\n");
    let hidden = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    fs::copy(image.path(), hidden.path()).unwrap();
    let (done, said) = edits_after(&both, hidden.path());
    assert!(!done, "{said}");
    assert!(said.contains("/dev/shm has room for 16 MiB; /tmp is mounted noexec"), "{said}");
}

#[test]
fn too_few_descriptors_are_said_to_be_so() {
    let Some(image) = xfs() else { return };
    let (done, said) = edits_after("ulimit -n 63", image.path());
    assert!(!done && said.contains("needs 64 open files, and the limit here is 63"), "{said}");
    // So many are left to this process; the kernel has its own.
    let last = (8..64).find(|spare| {
        let (done, said) = edits_after(&format!("export SPARE={spare}; ulimit -n 128"), image.path());
        assert!(done || said.contains("Too many open files"), "{spare}: {said}");
        done
    });
    assert!(last.is_some_and(|last| last > 10), "{last:?}");
}
