//! Threads that end with the kernel, and that nobody waits for without end.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Threads, and how it is known that all of them have ended: nothing is sent, and each has a sender until its end.
#[derive(Debug)]
pub(super) struct Threads {
    handles: Vec<JoinHandle<()>>,
    running: Option<Sender<()>>,
    ended: Receiver<()>,
}

/// A thread that did not end; it is left alone.
#[derive(Debug)]
pub(super) struct Stuck;

impl Threads {
    pub(super) fn new() -> Self {
        let (running, ended) = channel();
        Self { handles: Vec::new(), running: Some(running), ended }
    }

    pub(super) fn spawn(&mut self, work: impl FnOnce() + Send + 'static) {
        let running = self.running.clone();
        self.handles.push(std::thread::spawn(move || {
            work();
            drop(running);
        }));
    }

    /// Waits for the end of all, but no longer than this.
    pub(super) fn join(&mut self, patience: Duration) -> Result<(), Stuck> {
        self.running = None;
        match self.ended.recv_timeout(patience) {
            Err(RecvTimeoutError::Timeout) => Err(Stuck),
            _ => {
                for thread in self.handles.drain(..) {
                    // One that has panicked has ended too.
                    let _ = thread.join();
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_does_not_end_is_left() {
        let (hold, held) = channel::<()>();
        let mut threads = Threads::new();
        threads.spawn(|| {});
        threads.spawn(move || {
            let _ = held.recv();
        });
        assert!(threads.join(Duration::from_millis(50)).is_err());
        drop(hold);
        let mut threads = Threads::new();
        threads.spawn(|| {});
        threads.join(Duration::from_secs(60)).unwrap();
        Threads::new().join(Duration::from_secs(60)).unwrap();
    }
}
