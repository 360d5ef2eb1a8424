//! The tools that make and judge disks, and images on the host to try them on.

use imgraft_vfs::block::{BlockDevice, check_range};
use imgraft_vfs::error::{Error, Layer, Result};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use tempfile::TempDir;

/// Whether all the tools are there; says what is skipped, or fails where `REQUIRE_ORACLES=1`.
#[allow(clippy::print_stderr, reason = "a skip has to be seen")]
pub fn have(tools: &[&str]) -> bool {
    let directories = search_path();
    for tool in tools {
        if !std::env::split_paths(&directories).any(|directory| directory.join(tool).exists()) {
            assert!(std::env::var_os("REQUIRE_ORACLES").is_none_or(|value| value != "1"), "{tool} is missing");
            eprintln!("skipped: {tool} is missing");
            return false;
        }
    }
    true
}

/// System tools are not always in a user's PATH.
fn search_path() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}

/// Runs a tool on `stdin` and gives its output; a failure fails the test.
pub fn run(tool: &str, arguments: &[&str], stdin: &str) -> String {
    let mut child = Command::new(tool)
        .args(arguments)
        .env("PATH", search_path())
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A tool may end without reading all of it.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} {arguments:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// A sparse image in a directory of its own.
pub struct Image {
    pub directory: TempDir,
    pub path: PathBuf,
}

impl Image {
    pub fn new(size: u64) -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("disk.img");
        File::create(&path).unwrap().set_len(size).unwrap();
        Self { directory, path }
    }

    pub fn name(&self) -> &str {
        self.path.to_str().unwrap()
    }

    pub fn resize(&self, size: u64) {
        File::options().write(true).open(&self.path).unwrap().set_len(size).unwrap();
    }

    pub fn write(&self, bytes: &[u8], offset: u64) {
        File::options().write(true).open(&self.path).unwrap().write_all_at(bytes, offset).unwrap();
    }

    /// Copies a small filesystem image into this one.
    pub fn insert(&self, part: &Image, offset: u64) {
        let bytes = std::fs::read(&part.path).unwrap();
        self.write(&bytes, offset);
    }

    pub fn disk(&self) -> Arc<dyn BlockDevice> {
        Arc::new(HostFile::open(&self.path))
    }

    /// A value as blkid(8) finds it at an offset; empty where there is none.
    pub fn blkid(&self, tag: &str, offset: u64) -> String {
        let offset = offset.to_string();
        let output = Command::new("blkid")
            .env("PATH", search_path())
            .args(["-p", "-o", "value", "-s", tag, "-O", &offset, self.name()])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().trim_end_matches('\n').to_owned()
    }
}

/// A host file, for reading.
#[derive(Debug)]
struct HostFile {
    file: File,
    size: u64,
}

impl HostFile {
    fn open(path: &Path) -> Self {
        let file = File::open(path).unwrap();
        let size = file.metadata().unwrap().len();
        Self { file, size }
    }
}

impl BlockDevice for HostFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        check_range(Layer::Host, self.size, offset, buf.len())?;
        self.file.read_exact_at(buf, offset).map_err(|error| Error::io(Layer::Host, "read the image", error))
    }

    fn write_at(&self, _: &[u8], _: u64) -> Result<()> {
        panic!("nothing here writes")
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }
}
