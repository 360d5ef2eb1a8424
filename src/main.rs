//! The imgraft command: parse, plan, run, exit.

use imgraft::failure::{Exit, Failure};
use imgraft::{cli, commands, plan};
use imgraft_vfs::kernel::host::serve_if_worker;
use imgraft_vfs::kernel::uml::serve_if_first_process;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

/// As many files as this run wants to have open, where the host allows it.
const OPEN_FILES: u64 = 1 << 16;

fn main() -> ExitCode {
    serve_if_first_process();
    if let Some(exit) = serve_if_worker(&[]) {
        return exit;
    }
    shield();
    let exit = match run() {
        Ok(exit) => exit,
        Err(failure) => {
            // With standard error gone there is nobody to tell.
            let _ = std::io::stderr().lock().write_all(failure.render().as_bytes());
            failure.exit
        }
    };
    ExitCode::from(exit as u8)
}

fn run() -> Result<Exit, Failure> {
    let words = plan::with_commands(cli::spelled_out(std::env::args_os().collect()))?;
    // What clap says itself it prints, and exits as it does: with status 2, or 0 after --help.
    let told = |error: clap::Error| plan::refusal(&error, &words).unwrap_or_else(|| error.exit());
    let (cli, order) = cli::parse(words.clone()).map_err(told)?;
    log_to_stderr(cli.verbosity());
    commands::run(cli, &order)
}

/// Takes precautions against what the system does on its own.
///
/// A write past the limit on file sizes has to fail and be reported, and not end the process in the middle of a commit; a
/// crash must not leave passwords in a file. Where the system does not let us, the run goes on as it would.
fn shield() {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGXFSZ);
    let _ = signals.thread_block();
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    // A tree that is copied into a guest has its larger files open.
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard.min(OPEN_FILES).max(soft), hard);
    }
}

fn log_to_stderr(verbose: u8) {
    let level = match verbose {
        0 => tracing::Level::WARN,
        1 => tracing::Level::DEBUG,
        _ => tracing::Level::TRACE,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .without_time()
        .init();
}
