//! Tools that are not ours, and their verdicts.

use super::Scratch;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Whether a tool is here. Without it the check is skipped and says so; where `REQUIRE_ORACLES` is set that is a failure.
pub fn have(tool: &str) -> bool {
    let found = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path)
            .chain(["/usr/sbin".into(), "/sbin".into()])
            .any(|dir: PathBuf| dir.join(tool).is_file())
    });
    if !found {
        skip(&format!("{tool} is not installed"));
    }
    found
}

/// Says that a check is skipped; a failure where oracles are required.
pub fn skip(reason: &str) {
    assert!(std::env::var_os("REQUIRE_ORACLES").is_none(), "an oracle is required: {reason}");
    #[allow(clippy::print_stderr, reason = "a skip has to be seen")]
    {
        eprintln!("skipped: {reason}");
    }
}

/// Runs a tool; gives what it said.
pub fn tool(name: &str, words: &[&str]) -> Output {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    Command::new(name).args(words).env("PATH", path).env("LC_ALL", "C").output().expect("the tool starts")
}

/// Runs a tool that must succeed; gives its standard output.
pub fn succeed(name: &str, words: &[&str]) -> String {
    let output = tool(name, words);
    assert!(
        output.status.success(),
        "{name} {}: {}{}",
        words.join(" "),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The sha256 of a file.
pub fn sha256(path: &Path) -> String {
    succeed("sha256sum", &[super::text(path)]).split_whitespace().next().unwrap_or_default().to_owned()
}

/// The image as a raw file: itself, or converted by qemu-img once that has checked it.
pub fn raw(scratch: &Scratch, image: &Path, format: &str) -> PathBuf {
    if format == "raw" {
        return image.to_path_buf();
    }
    let out = scratch.path().join("oracle.raw");
    let image = super::text(image);
    let check = tool("qemu-img", &["check", "-f", "qcow2", image]);
    assert!(check.status.success(), "qemu-img check: {}", String::from_utf8_lossy(&check.stdout));
    succeed("qemu-img", &["convert", "-f", "qcow2", "-O", "raw", image, super::text(&out)]);
    out
}

/// e2fsck's verdict on the filesystem at `offset` of a raw image.
pub fn e2fsck(raw: &Path, offset: u64) {
    let device = at(raw, offset);
    let output = tool("e2fsck", &["-fn", &device]);
    assert!(
        output.status.success(),
        "e2fsck -fn {device}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// What debugfs says to a request; it exits with 0 whatever happens, so the text is all there is.
pub fn debugfs(raw: &Path, offset: u64, request: &str) -> String {
    let output = tool("debugfs", &["-R", request, &at(raw, offset)]);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Mode, owner and group of a path, as debugfs sees them.
pub fn owner(raw: &Path, offset: u64, path: &str) -> (String, u32, u32) {
    let stat = debugfs(raw, offset, &format!("stat {path}"));
    let field = |name: &str| {
        let rest = stat.split(name).nth(1).unwrap_or_else(|| panic!("no {name} of {path} in: {stat}"));
        rest.split_whitespace().next().expect("a value follows").to_owned()
    };
    let number = |name: &str| field(name).parse().expect("a number");
    (field("Mode:"), number("User:"), number("Group:"))
}

fn at(raw: &Path, offset: u64) -> String {
    format!("{}?offset={offset}", super::text(raw))
}
