//! Programs that we did not write and that judge what we did: for tests only.

use std::path::PathBuf;

/// The program, or `None` after saying that the test is skipped; with `REQUIRE_ORACLES=1` a missing one is a failure.
pub fn find(name: &str) -> Option<PathBuf> {
    let directories = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let found = std::env::split_paths(&directories).chain(system).map(|dir| dir.join(name)).find(|path| path.is_file());
    found.or_else(|| missing(name))
}

/// The same for a file that belongs to an oracle.
pub fn file(path: &str) -> Option<PathBuf> {
    Some(PathBuf::from(path)).filter(|path| path.is_file()).or_else(|| missing(path))
}

#[allow(clippy::print_stderr, reason = "a skipped test says so")]
fn missing(name: &str) -> Option<PathBuf> {
    assert!(std::env::var_os("REQUIRE_ORACLES").is_none_or(|value| value != "1"), "the oracle {name} is missing");
    eprintln!("skipped: {name} is not installed");
    None
}
