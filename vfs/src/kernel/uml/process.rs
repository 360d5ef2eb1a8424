//! The kernel as a process, and the end of the channel that is here.

use super::initramfs;
use super::mailbox::Mailbox;
use super::program::Program;
use super::vhost::Connection;
use super::{Uml, find};
use crate::block::BlockDevice;
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::fs::remote::Channel;
use crate::kernel::sys;
use nix::unistd::{Uid, geteuid};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{StatVfsMountFlags, statvfs};
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process_group, set_child_subreaper, waitpgid};
use std::collections::VecDeque;
use std::io::{PipeReader, PipeWriter, Read};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The memory of the kernel in bytes, beside the archive of its root and what is unpacked of that: enough for the metadata that a
/// few files touch, as the page cache gives way.
const MEMORY: u64 = 40 << 20;
/// Whom the kernel runs as where this process is the superuser's: `nobody`.
const NOBODY: u32 = 65_534;
/// How much of the console's end is kept, in bytes.
const CONSOLE_MAX: usize = 8192;
/// How often it is looked whether the kernel still runs.
const GLANCE: Duration = Duration::from_millis(100);

/// What every boot has on its command line.
///
/// * `con`: no terminal but the console, which is a pipe.
/// * `uml_dir`: a place that cannot be, so that there is no management console and no directory left behind.
/// * `initcall_blacklist`: the choice of the fastest RAID 6 routine by trying takes a second; a btrfs with such data then makes this
///   kernel stop, and the run fail. Serial lines, and with `pty` terminals of the old kind: for each device the kernel starts a process that
///   looks for a program that is not there.
/// * `lpj`: a delay loop is not measured, as nothing here waits in one.
/// * `cryptomgr.notests`, `lsm`: no self-tests, and no security modules in a kernel with one process.
/// * `GLIBC_TUNABLES` is for the environment of init: see [`sys::confine`].
const ARGUMENTS: [&str; 13] = [
    "con=null",
    "con0=null,fd:1",
    "pty.legacy_count=0",
    "uml_dir=/dev/null/",
    "quiet",
    "panic=-1",
    "root=none",
    "lsm=capability",
    "cryptomgr.notests=1",
    "initcall_blacklist=raid6_select_algo,ssl_init",
    "lpj=10000000",
    "initrd=/proc/self/fd/0",
    "rdinit=/init",
];
const ENVIRONMENT: [&str; 2] = [
    "GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX,-AVX2,-AVX512F,-AVX512VL,-AVX512BW,-AVX_Fast_Unaligned_Load",
    "LD_LIBRARY_PATH=/lib",
];

/// A kernel that runs, until this is dropped.
#[derive(Debug)]
pub(super) struct Kernel {
    child: Child,
    /// While this is open the kernel lives: see [`sys::kill_when_closed`].
    lifeline: Option<PipeWriter>,
    to_guest: Option<Sender<Vec<u8>>>,
    from_guest: Receiver<Vec<u8>>,
    /// The first thing that went wrong with the volume or a disk's protocol.
    failure: Arc<Mutex<Option<Error>>>,
    console: Arc<Mutex<VecDeque<u8>>>,
    threads: Vec<JoinHandle<()>>,
    deadline: Duration,
}

impl Kernel {
    /// Boots a kernel that has `volume` as its first disk. The calling thread has to live as long as the kernel is to.
    pub(super) fn boot(way: &Uml, volume: Arc<dyn BlockDevice>, filesystem: &str) -> Result<Self> {
        let failed = |error: std::io::Error| Error::io(Layer::Kernel, "start the borrowed kernel", error);
        let found = find::modules(find::kernel(way.kernel.as_deref())?, filesystem);
        let root = initramfs::pack(&Program::running()?, &found)?;
        let base = workplace()?;
        let place = tempfile::Builder::new().prefix("imgraft-").tempdir_in(&base).map_err(failed)?;
        let other = geteuid().is_root() && has_other_users();
        if other {
            let nobody = Some(Uid::from_raw(NOBODY));
            nix::unistd::chown(place.path(), nobody, None).map_err(|errno| failed(errno.into()))?;
        }
        let (to_guest, inbox) = channel();
        let (outbox, from_guest) = channel();
        let disks: [(_, Arc<dyn BlockDevice>); 2] =
            [(place.path().join("a"), volume), (place.path().join("b"), Arc::new(Mailbox::new(inbox, outbox)))];

        let (console_end, console) = std::io::pipe().map_err(failed)?;
        let (lifeline_end, lifeline) = std::io::pipe().map_err(failed)?;
        let mut command = Command::new(&found.kernel);
        let archive = root.metadata().map_err(failed)?.len();
        let memory = archive.saturating_mul(2).saturating_add(MEMORY).div_ceil(1 << 20);
        command.arg(format!("mem={memory}M")).args(ARGUMENTS).args(ENVIRONMENT);
        let mut listeners = Vec::new();
        for (path, device) in disks {
            let listener = UnixListener::bind(&path).map_err(failed)?;
            if other {
                std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666)).map_err(failed)?;
            }
            // 2 is a disk in the virtio specification.
            command.arg(format!("virtio_uml.device={}:2", path.display()));
            listeners.push((listener, device));
        }
        command.arg("--").args(&way.init);
        command.env_clear().env("TMPDIR", &base).current_dir("/").process_group(0);
        command.stdin(root).stdout(console.try_clone().map_err(failed)?).stderr(console);
        if other {
            command.uid(NOBODY).gid(NOBODY);
        }
        sys::confine(&mut command, &lifeline_end);
        // The kernel has more processes than its first one, and not every system has somebody who waits for orphans.
        let _ = set_child_subreaper(Some(getpid()));
        let child = command.spawn().map_err(|error| failed(error).with_host_path(&found.kernel))?;
        // The kernel is to have the only ends of its console.
        drop(command);
        let mut kernel = Self {
            child,
            lifeline: Some(lifeline),
            to_guest: Some(to_guest),
            from_guest,
            failure: Arc::default(),
            console: Arc::default(),
            threads: Vec::new(),
            deadline: way.deadline,
        };
        sys::kill_when_closed(&lifeline_end, kernel.group()?).map_err(failed)?;
        kernel.listen(console_end, listeners, place, &lifeline_end).map_err(failed)?;
        Ok(kernel)
    }

    /// Starts a thread for the console and each disk. They end with the kernel.
    fn listen(
        &mut self,
        console_end: PipeReader,
        listeners: Vec<(UnixListener, Arc<dyn BlockDevice>)>,
        place: TempDir,
        lifeline_end: &PipeReader,
    ) -> std::io::Result<()> {
        let console = Arc::clone(&self.console);
        self.threads.push(std::thread::spawn(move || keep_tail(console_end, &console)));
        let place = Arc::new(place);
        for (listener, device) in listeners {
            let (ended, place, failure) = (lifeline_end.try_clone()?, Arc::clone(&place), Arc::clone(&self.failure));
            self.threads.push(std::thread::spawn(move || {
                let Some(stream) = accept(&listener, &ended) else { return };
                // With the last connection the directory goes: nothing is left of a run that is killed later.
                drop((listener, place));
                if let Err(error) = Connection::new(stream, device, Arc::clone(&failure)).run() {
                    lock(&failure).get_or_insert(error);
                }
            }));
        }
        Ok(())
    }

    fn group(&self) -> Result<Pid> {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        id.ok_or_else(|| Error::new(ErrorKind::Io, Layer::Kernel, "a process without a number"))
    }

    /// The kernel's last words.
    fn last_words(&self) -> String {
        let console = lock(&self.console).iter().copied().collect::<Vec<u8>>();
        let text = String::from_utf8_lossy(&console).into_owned();
        let said: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let panic = said.iter().position(|line| line.contains("Kernel panic") || line.contains(super::init::MARK));
        let last = match panic {
            Some(at) => said.get(at..=at),
            None => said.get(said.len().saturating_sub(3)..),
        };
        let words = last.unwrap_or_default().join("; ");
        words.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
    }

    fn ended(&mut self) -> Error {
        let words = self.last_words();
        let error = Error::new(ErrorKind::Io, Layer::Kernel, "the borrowed kernel has stopped");
        if words.is_empty() { error } else { error.with_source(words) }
    }
}

impl Channel for Kernel {
    fn send(&mut self, message: &[u8]) -> Result<()> {
        let sent = self.to_guest.as_ref().map(|to_guest| to_guest.send(message.to_vec()));
        match sent {
            Some(Ok(())) => Ok(()),
            _ => Err(self.ended()),
        }
    }

    fn receive(&mut self) -> Result<Vec<u8>> {
        let begin = Instant::now();
        let answer = loop {
            match self.from_guest.recv_timeout(GLANCE) {
                Ok(message) => break Ok(message),
                Err(RecvTimeoutError::Disconnected) => break Err(self.ended()),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if !matches!(self.child.try_wait(), Ok(None)) {
                // It may have answered before it stopped.
                break self.from_guest.try_recv().map_err(|_| self.ended());
            }
            if begin.elapsed() >= self.deadline {
                let seconds = self.deadline.as_secs();
                let error = Error::new(
                    ErrorKind::Io,
                    Layer::Kernel,
                    format!("the borrowed kernel has not answered for {seconds} s"),
                );
                break Err(
                    error.with_hint("the image is untouched; the filesystem may be one that makes a kernel hang")
                );
            }
        };
        // What went wrong with the volume is the reason for whatever the kernel says of it.
        match lock(&self.failure).take() {
            Some(failure) => Err(failure),
            None => answer,
        }
    }

    fn finish(self) -> Result<()> {
        let failure = Arc::clone(&self.failure);
        // The kernel has unmounted, and has nothing more to do: it is not asked to halt.
        drop(self);
        lock(&failure).take().map_or(Ok(()), Err)
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        self.to_guest = None;
        if let Ok(group) = self.group() {
            // Whoever is not there any longer need not be killed.
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
        if let Ok(group) = self.group() {
            // Its processes have come to this one.
            while let Ok(Some(_)) = waitpgid(group, WaitOptions::empty()) {}
        }
        self.lifeline = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where the kernel has its memory, as an unlinked file: a directory from which it can execute, in memory where there is one.
fn workplace() -> Result<PathBuf> {
    let usual = [PathBuf::from("/dev/shm"), std::env::temp_dir()];
    let plain = |path: &Path| {
        path.to_str().is_some_and(|path| !path.contains([':', ',', '"', '=']) && !path.contains(char::is_whitespace))
    };
    let executes = |path: &Path| statvfs(path).is_ok_and(|stat| !stat.f_flag.contains(StatVfsMountFlags::NOEXEC));
    usual.into_iter().find(|path| path.is_absolute() && plain(path) && executes(path)).ok_or_else(|| {
        crate::kernel::missing(
            "neither /dev/shm nor the directory for temporary files allows a program to be run from there",
            "set TMPDIR to a directory on a filesystem that is not mounted noexec",
        )
    })
}

/// Whether this user namespace has a `nobody`: user_namespaces(7). Where it has none, its superuser has no privileges outside of it.
fn has_other_users() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.lines().any(|line| {
        let mut fields = line.split_ascii_whitespace().filter_map(|field| field.parse::<u64>().ok());
        let (first, _, count) = (fields.next(), fields.next(), fields.next());
        matches!((first, count), (Some(first), Some(count)) if u64::from(NOBODY).checked_sub(first).is_some_and(|at| at < count))
    })
}

/// The connection of the kernel; `None` where it is ended before.
fn accept(listener: &UnixListener, ended: &PipeReader) -> Option<UnixStream> {
    loop {
        let mut ends = [PollFd::new(listener, PollFlags::IN), PollFd::new(ended, PollFlags::IN)];
        match poll(&mut ends, None) {
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return None,
            Ok(_) if !ends[1].revents().is_empty() => return None,
            Ok(_) => return listener.accept().ok().map(|(stream, _)| stream),
        }
    }
}

/// Reads a console to its end, and keeps the last of it.
fn keep_tail(mut console: PipeReader, tail: &Mutex<VecDeque<u8>>) {
    let mut piece = [0; 1024];
    while let Ok(count @ 1..) = console.read(&mut piece) {
        let mut tail = lock(tail);
        tail.extend(piece.get(..count).unwrap_or_default());
        let excess = tail.len().saturating_sub(CONSOLE_MAX);
        tail.drain(..excess);
    }
}
