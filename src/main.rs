//! The imgraft command: parse, plan, run, exit.

use imgraft::{cli, commands};
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let (cli, order) = cli::parse();
    log_to_stderr(cli.verbose);
    let exit = match commands::run(cli, &order) {
        Ok(exit) => exit,
        Err(failure) => {
            // With standard error gone there is nobody to tell.
            let _ = std::io::stderr().lock().write_all(failure.render().as_bytes());
            failure.exit
        }
    };
    ExitCode::from(exit as u8)
}

fn log_to_stderr(verbose: u8) {
    let level = match verbose {
        0 => return,
        1 => tracing::Level::DEBUG,
        _ => tracing::Level::TRACE,
    };
    tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_target(false).init();
}
