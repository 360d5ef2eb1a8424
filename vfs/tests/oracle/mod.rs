//! The tools of others that judge what we make.

use std::path::PathBuf;

/// Where a tool is, or `None` after saying that the test is skipped; with `REQUIRE_ORACLES=1` a missing tool fails.
#[expect(clippy::print_stderr, reason = "a skipped test is not to pass in silence")]
pub fn find(tool: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // The filesystem tools are not on the path of an ordinary user.
    let places = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    let found = places.map(|place| place.join(tool)).find(|path| path.is_file());
    if found.is_none() {
        assert_ne!(std::env::var("REQUIRE_ORACLES").as_deref(), Ok("1"), "{tool} is required and not installed");
        eprintln!("skipped: {tool} is not installed");
    }
    found
}
