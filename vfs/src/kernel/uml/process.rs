//! The kernel as a process, and the end of the channel that is here.

use super::initramfs;
use super::mailbox::Mailbox;
use super::program::Program;
use super::sockets::Socket;
use super::threads::{Stuck, Threads};
use super::vhost::Connection;
use super::workplace::workplace;
use super::{Uml, find};
use crate::block::BlockDevice;
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::fs::remote::Channel;
use crate::kernel::sys;
use nix::unistd::geteuid;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Resource, Signal, WaitOptions, getpid, getrlimit};
use rustix::process::{kill_process_group, set_child_subreaper, waitpgid};
use std::collections::VecDeque;
use std::io::{PipeReader, PipeWriter, Read};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The memory of the kernel in bytes, beside the archive of its root and what is unpacked of that: enough for the metadata that a
/// few files touch, as the page cache gives way.
const MEMORY: u64 = 40 << 20;
/// Whom the kernel runs as where this process is the superuser's: `nobody`.
const NOBODY: u32 = 65_534;
/// How much of the console's end is kept, in bytes.
const CONSOLE_MAX: usize = 8192;
/// How many open files a kernel needs, and more; with less it stops, and says nothing of why.
const FILES_MIN: u64 = 64;
/// How often it is looked whether the kernel still runs.
const GLANCE: Duration = Duration::from_millis(100);
/// How often it is looked whether a kernel that was killed is gone.
const BLINK: Duration = Duration::from_millis(2);
/// How long its processes, and then the threads that served it, have for their end. A kernel that somebody has taken over can keep
/// either, by descriptors that it made up.
const PATIENCE: Duration = Duration::from_secs(10);

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
    path: PathBuf,
    to_guest: Option<Sender<Vec<u8>>>,
    from_guest: Receiver<Vec<u8>>,
    /// Whether it has ever said anything.
    said: Said,
    /// The first thing that went wrong with the volume or a disk's protocol.
    failure: Arc<Mutex<Option<Error>>>,
    console: Arc<Mutex<VecDeque<u8>>>,
    /// Its connections; `None` when there are to be no more.
    streams: Arc<Mutex<Option<Vec<UnixStream>>>>,
    threads: Threads,
    deadline: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Nothing,
    Something,
}

impl Kernel {
    /// Boots a kernel that has `volume` as its first disk. The calling thread has to live as long as the kernel is to.
    pub(super) fn boot(way: &Uml, volume: Arc<dyn BlockDevice>, filesystem: &str) -> Result<Self> {
        let failed = |error: std::io::Error| Error::io(Layer::Kernel, "start the borrowed kernel", error);
        enough_files(getrlimit(Resource::Nofile).current)?;
        let found = find::modules(find::kernel(way.kernel.as_deref())?, filesystem);
        let root = initramfs::pack(&Program::running()?, &found)?;
        let user = (geteuid().is_root() && has_other_users()).then_some(NOBODY);
        let archive = root.metadata().map_err(failed)?.len();
        let memory = archive.saturating_mul(2).saturating_add(MEMORY).next_multiple_of(1 << 20);
        let base = workplace(memory, user)?;
        let sockets = Socket::pair(&base).map_err(failed)?;
        let (to_guest, inbox) = channel();
        let (outbox, from_guest) = channel();

        let (console_end, console) = std::io::pipe().map_err(failed)?;
        let (lifeline_end, lifeline) = std::io::pipe().map_err(failed)?;
        let mut command = Command::new(&found.kernel);
        command.arg(format!("mem={}M", memory >> 20)).args(ARGUMENTS).args(ENVIRONMENT);
        // 2 is a disk in the virtio specification.
        command.args(sockets.iter().map(|socket| format!("virtio_uml.device={}:2", socket.path())));
        command.arg("--").args(&way.init);
        command.env_clear().env("TMPDIR", &base).current_dir("/").process_group(0);
        command.stdin(root).stdout(console.try_clone().map_err(failed)?).stderr(console);
        if let Some(user) = user {
            command.uid(user).gid(user);
        }
        let [volume_socket, channel_socket] = &sockets;
        sys::confine(&mut command, &[lifeline_end.as_fd(), volume_socket.file(), channel_socket.file()]);
        // The kernel has more processes than its first one, and not every system has somebody who waits for orphans.
        let _ = set_child_subreaper(Some(getpid()));
        let child = command.spawn().map_err(|error| {
            let hint = match user {
                Some(_) => "root's kernel runs as the user nobody, who has to be allowed to run it and to read it",
                None => find::HINT,
            };
            failed(error).with_host_path(&found.kernel).with_hint(hint)
        })?;
        // The kernel is to have the only ends of its console.
        drop(command);
        let mut kernel = Self {
            child,
            lifeline: Some(lifeline),
            path: found.kernel,
            to_guest: Some(to_guest),
            from_guest,
            said: Said::Nothing,
            failure: Arc::default(),
            console: Arc::default(),
            streams: Arc::new(Mutex::new(Some(Vec::new()))),
            threads: Threads::new(),
            deadline: way.deadline,
        };
        sys::kill_when_closed(&lifeline_end, kernel.group()?).map_err(failed)?;
        let devices = [volume, Arc::new(Mailbox::new(inbox, outbox)) as _];
        kernel.listen(console_end, sockets, devices, &lifeline_end).map_err(failed)?;
        Ok(kernel)
    }

    /// Starts a thread for the console and each disk. They end with the kernel.
    fn listen(
        &mut self,
        console_end: PipeReader,
        sockets: [Socket; 2],
        devices: [Arc<dyn BlockDevice>; 2],
        lifeline_end: &PipeReader,
    ) -> std::io::Result<()> {
        let (console, ended) = (Arc::clone(&self.console), lifeline_end.try_clone()?);
        self.threads.spawn(move || keep_tail(console_end, &ended, &console));
        for (Socket { listener, .. }, device) in sockets.into_iter().zip(devices) {
            let (ended, failure, streams) =
                (lifeline_end.try_clone()?, Arc::clone(&self.failure), Arc::clone(&self.streams));
            self.threads.spawn(move || {
                // The reason is known before anybody sees the end of the connection or of the device.
                let note = |error: Error| {
                    lock(&failure).get_or_insert(error);
                };
                match accept(&listener, &ended, &streams) {
                    Ok(Some(stream)) => {
                        let mut connection = Connection::new(stream, Arc::clone(&device), Arc::clone(&failure));
                        connection.run().unwrap_or_else(note);
                    }
                    Ok(None) => {}
                    Err(error) => {
                        let error = Error::io(Layer::Kernel, "connect the borrowed kernel with its disk", error);
                        note(error.with_hint("where too many files are open: ulimit -n has the limit"));
                    }
                }
            });
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
        let error =
            Error::new(ErrorKind::Io, Layer::Kernel, "the borrowed kernel has stopped").with_host_path(&self.path);
        let error = match self.said {
            Said::Nothing => error.with_hint(
                "the image is untouched; is this a User Mode Linux kernel? The package user-mode-linux has one, and \
                 --uml-kernel PATH names another",
            ),
            Said::Something => error,
        };
        if words.is_empty() { error } else { error.with_source(words) }
    }
}

impl Channel for Kernel {
    fn send(&mut self, message: &[u8]) -> Result<()> {
        let sent = self.to_guest.as_ref().map(|to_guest| to_guest.send(message.to_vec()));
        match sent {
            Some(Ok(())) => Ok(()),
            _ => {
                let failure = lock(&self.failure).take();
                Err(failure.unwrap_or_else(|| self.ended()))
            }
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
            if lock(&self.failure).is_some() {
                // Whatever the kernel is going to say, this is the reason.
                break Err(self.ended());
            }
            if begin.elapsed() >= self.deadline {
                let seconds = self.deadline.as_secs();
                let error = Error::new(
                    ErrorKind::Io,
                    Layer::Kernel,
                    format!("the borrowed kernel has not answered for {seconds} s"),
                );
                break Err(error
                    .with_host_path(&self.path)
                    .with_hint("the image is untouched; the filesystem may be one that makes a kernel hang"));
            }
        };
        self.said = if answer.is_ok() { Said::Something } else { self.said };
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

impl Kernel {
    /// Kills what there is of it, and waits until that is gone.
    fn kill(&mut self) {
        let end = Instant::now().checked_add(PATIENCE);
        let group = self.group().ok();
        if let Some(group) = group {
            // Whoever is not there any longer need not be killed.
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.kill();
        // Its processes have come to this one.
        let children = |group| {
            std::iter::from_fn(|| waitpgid(group, WaitOptions::NOHANG).transpose()).find_map(|one| one.err()).is_none()
        };
        while matches!(self.child.try_wait(), Ok(None)) || group.is_some_and(children) {
            if end.is_none_or(|end| Instant::now() >= end) {
                break;
            }
            std::thread::sleep(BLINK);
        }
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        self.to_guest = None;
        self.kill();
        // Who waits for a connection or at the console waits no more, and no connection is left to be waited for.
        self.lifeline = None;
        for stream in lock(&self.streams).take().into_iter().flatten() {
            // One that is closed already needs no end.
            let _ = stream.shutdown(Shutdown::Both);
        }
        if let Err(Stuck) = self.threads.join(PATIENCE) {
            // Nothing of the run may be committed while somebody may still write to the volume.
            let error = Error::new(ErrorKind::Io, Layer::Kernel, "the disk of the borrowed kernel does not end");
            let error = error.with_hint("the image is untouched; somebody may have taken the kernel over");
            lock(&self.failure).get_or_insert(error.with_host_path(&self.path));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a kernel can run with such a limit of open files (getrlimit(2), RLIMIT_NOFILE); `None` is no limit.
fn enough_files(limit: Option<u64>) -> Result<()> {
    match limit {
        Some(limit @ ..FILES_MIN) => Err(crate::kernel::missing(
            format!("the borrowed kernel needs {FILES_MIN} open files, and the limit here is {limit}"),
            "raise the limit: ulimit -n 1024",
        )),
        _ => Ok(()),
    }
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

/// The connection of the kernel, noted in `streams`; `None` where the kernel is ended before.
fn accept(
    listener: &UnixListener,
    ended: &PipeReader,
    streams: &Mutex<Option<Vec<UnixStream>>>,
) -> std::io::Result<Option<UnixStream>> {
    loop {
        let mut ends = [PollFd::new(listener, PollFlags::IN), PollFd::new(ended, PollFlags::IN)];
        match poll(&mut ends, None) {
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
            Ok(_) if !ends[1].revents().is_empty() => return Ok(None),
            Ok(_) => {
                let (stream, _) = listener.accept()?;
                let noted = stream.try_clone()?;
                return Ok(lock(streams).as_mut().map(|streams| streams.push(noted)).map(|()| stream));
            }
        }
    }
}

/// Reads a console, and keeps the last of it, until its end or until the kernel is ended: then others may have it open still.
fn keep_tail(mut console: PipeReader, ended: &PipeReader, tail: &Mutex<VecDeque<u8>>) {
    let mut piece = [0; 1024];
    loop {
        let mut ends = [PollFd::new(&console, PollFlags::IN), PollFd::new(ended, PollFlags::IN)];
        match poll(&mut ends, None) {
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return,
            Ok(_) if !ends[1].revents().is_empty() => return,
            Ok(_) => {}
        }
        let Ok(count @ 1..) = console.read(&mut piece) else { return };
        let mut tail = lock(tail);
        tail.extend(piece.get(..count).unwrap_or_default());
        let excess = tail.len().saturating_sub(CONSOLE_MAX);
        tail.drain(..excess);
    }
}
