//! `imgraft serve`: an image for other programs, and the commit of what they write.

use super::{print, tell, tree};
use crate::failure::{Exit, Failure, printable};
use crate::guest;
use crate::plan::Serve;
use imgraft_vfs::block::BlockDevice;
use imgraft_vfs::image::{Destination, Edit};
use imgraft_vfs::kernel::nbd::{self, Export, Listener, Outcome, Until};
use imgraft_vfs::transaction::Access;
use imgraft_vfs::volume;
use nix::sys::signal::{SigSet, Signal};
use std::sync::Arc;
use std::thread;

pub(super) fn run(plan: &Serve) -> Result<Exit, Failure> {
    let access = match plan.access {
        nbd::Access::ReadOnly => Access::Read,
        nbd::Access::ReadWrite => Access::Write,
    };
    let source = &plan.target.source;
    let edit = Edit::begin(source, &Destination::InPlace, access)?;
    let disk: Arc<dyn BlockDevice> = edit.disk();
    let (selector, keys) = (&plan.target.volume, &plan.target.keys);
    let (volume, survey) = volume::select_bytes(&disk, selector, keys, &guest::is_root)?;
    tell(&tree::keyless(&survey, keys));
    let name = printable(&source.image.display().to_string());
    let description = format!("{} of {name}", volume.info);
    let listener = Arc::new(Listener::bind(&plan.address)?);
    stop_on_signals(&listener)?;
    print(format!("{}\n", listener.uri()).as_bytes())?;

    let outcome = listener.serve(&Export { device: volume.device, access: plan.access, description }, plan.until)?;
    tracing::debug!(clients = outcome.clients, "the last client has gone");
    if plan.access == nbd::Access::ReadOnly {
        return Ok(Exit::Done);
    }
    if let Some(failure) = unfinished(outcome) {
        return Err(failure);
    }
    let commit = edit.finish()?;
    drop(disk);
    let (counts, _) = edit.commit(commit, &mut |_, _| {})?;
    let said = if counts.bytes_written == 0 {
        "unchanged: no client wrote anything new".to_owned()
    } else {
        format!("changed; {} blocks written, {} fsyncs", counts.bytes_written.div_ceil(4096), counts.fsyncs)
    };
    print(format!("{name}: {said}\n").as_bytes())?;
    Ok(Exit::Done)
}

/// Why what was written may be half of something, where it may.
fn unfinished(outcome: Outcome) -> Option<Failure> {
    let failure = match (outcome.broken, outcome.end) {
        (Some(error), _) => Failure::from(error),
        (None, Until::Stopped) => Failure {
            exit: Exit::Failed,
            item: None,
            message: "ended by a signal before the last client had gone".to_owned(),
            hints: Vec::new(),
            further: Vec::new(),
        },
        (None, Until::LastClient) => return None,
    };
    Some(Failure { message: format!("{}; the image is as it was", failure.message), ..failure })
}

/// Lets the signals that end a program end the service; every thread that is started later leaves them alone.
fn stop_on_signals(listener: &Arc<Listener>) -> Result<(), Failure> {
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
    let failed = |error: std::io::Error| Failure {
        exit: Exit::Failed,
        item: None,
        message: format!("cannot wait for signals: {error}"),
        hints: Vec::new(),
        further: Vec::new(),
    };
    signals.thread_block().map_err(|errno| failed(errno.into()))?;
    let listener = Arc::clone(listener);
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            while signals.wait().is_ok() {
                listener.stop();
            }
        })
        .map_err(failed)?;
    Ok(())
}
