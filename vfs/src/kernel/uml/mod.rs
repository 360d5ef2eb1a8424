//! A kernel of our own without root: User Mode Linux, which is Linux as a process.
//!
//! The kernel is given two disks ([`vhost`]): the volume, as the transaction shows it, and a channel ([`mailbox`]). Its root is an archive in
//! memory ([`initramfs`]) with this very program in it ([`program`]), which mounts the volume and serves it ([`init`]) as a
//! [remote](crate::fs::remote) filesystem. A hostile filesystem meets a kernel that has no privileges: a process of the
//! user's (of `nobody`'s, where the user is root), without network, that may not gain any.

mod find;
mod init;
mod initramfs;
mod mailbox;
mod process;
mod program;
mod sockets;
mod threads;
mod vhost;
mod workplace;

use super::{Attach, Attached, Request};
use crate::error::Result;
use crate::fs::Mode;
use crate::fs::remote::{Mount, Remote};
use crate::transaction::Overlay;
use process::Kernel;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How long the kernel may take for one answer, the first one after its boot included.
const DEADLINE: Duration = Duration::from_secs(120);

/// Lends a User Mode Linux kernel.
#[derive(Clone, Debug)]
pub struct Uml {
    kernel: Option<PathBuf>,
    init: Vec<String>,
    deadline: Duration,
}

impl Uml {
    /// The kernel at a path, or the one that is installed. The calling program has to call [`serve_if_first_process`] before
    /// anything else.
    pub fn new(kernel: Option<PathBuf>) -> Self {
        Self { kernel, init: vec![init::ARGUMENT.to_owned()], deadline: DEADLINE }
    }

    /// With these arguments the calling program calls [`serve_if_first_process`], where it does not do so before anything
    /// else. None may have a blank in it.
    #[must_use]
    pub fn with_arguments(mut self, arguments: impl IntoIterator<Item = &'static str>) -> Self {
        self.init = arguments.into_iter().map(str::to_owned).collect();
        self.init.push(init::ARGUMENT.to_owned());
        self
    }

    /// With another time for an answer than two minutes.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }
}

impl Attach for Uml {
    fn name(&self) -> &'static str {
        "uml"
    }

    fn ready(&self, _: &Request) -> Result<()> {
        find::kernel(self.kernel.as_deref()).map(drop)
    }

    fn attach(&self, request: &Request) -> Result<Attached> {
        let now = match request.mode {
            Mode::ReadOnly => None,
            Mode::ReadWrite { now } => Some(now),
        };
        let volume = match request.mode {
            // What a replay of the journal writes goes nowhere.
            Mode::ReadOnly => Arc::new(Overlay::new(Arc::clone(&request.volume))) as _,
            Mode::ReadWrite { .. } => Arc::clone(&request.volume),
        };
        let kernel = Kernel::boot(self, volume, request.signature.name)?;
        let (fs, place) = Remote::mount(kernel, &Mount { signature: request.signature.clone(), now })?;
        Ok(Attached { fs: Box::new(fs), kernel: place.kernel, subvolume: place.subvolume })
    }
}

/// Serves a volume and does not return, where this is the first process of a kernel that was borrowed by [`Uml`].
pub fn serve_if_first_process() {
    if std::process::id() == 1 && std::env::args_os().any(|argument| argument == init::ARGUMENT) {
        init::run();
    }
}
