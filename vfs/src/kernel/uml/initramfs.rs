//! The root of the borrowed kernel: an archive in its memory, written as cpio(5) calls the new ASCII format.

use super::find::Found;
use super::program::Program;
use crate::error::{Error, Layer, Result};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;

const DIRECTORY: u32 = 0o40755;
const EXECUTABLE: u32 = 0o100_755;
const PRIVATE: u32 = 0o100_600;
const CHARACTER_DEVICE: u32 = 0o20600;

/// Where the modules lie, below the kernel's release.
pub(super) const MODULES: &str = "modules";

/// Packs a program as `/init` with what it needs, and the modules, into a sealed file in memory.
pub(super) fn pack(program: &Program, found: &Found) -> Result<File> {
    let failed = |error: std::io::Error| Error::io(Layer::Kernel, "pack the borrowed kernel's root", error);
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = File::from(memfd_create("imgraft-init", flags).map_err(|errno| failed(errno.into()))?);
    let mut archive = Archive { to: BufWriter::with_capacity(1 << 20, &file), inode: 0, at: 0 };
    for directory in ["dev", "proc", "mnt", "lib", MODULES] {
        archive.entry(directory, DIRECTORY, (0, 0), b"").map_err(failed)?;
    }
    archive.entry("dev/console", CHARACTER_DEVICE, (5, 1), b"").map_err(failed)?;
    archive.entry("dev/null", CHARACTER_DEVICE, (1, 3), b"").map_err(failed)?;
    for (path, loadable) in &program.files {
        archive.parents(path).map_err(failed)?;
        loadable.content().and_then(|content| archive.file(path, loadable.len, content)).map_err(failed)?;
    }
    for (release, modules) in &found.modules {
        archive.entry(&format!("{MODULES}/{release}"), DIRECTORY, (0, 0), b"").map_err(failed)?;
        for (order, module) in modules.iter().enumerate() {
            let content = std::fs::read(module).map_err(|error| {
                Error::io(Layer::Kernel, "read a module of the borrowed kernel", error).with_host_path(module)
            })?;
            let path = format!("{MODULES}/{release}/{order:03}.ko");
            archive.entry(&path, PRIVATE, (0, 0), &content).map_err(failed)?;
        }
    }
    archive.entry("TRAILER!!!", 0, (0, 0), b"").map_err(failed)?;
    archive.to.flush().map_err(failed)?;
    drop(archive);
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    fcntl_add_seals(&file, seals).map_err(|errno| failed(errno.into()))?;
    Ok(file)
}

struct Archive<W: Write> {
    to: W,
    inode: u32,
    at: usize,
}

impl<W: Write> Archive<W> {
    /// The directories that lead to a path; one that is there already is no error to the kernel.
    fn parents(&mut self, path: &str) -> std::io::Result<()> {
        let parents: Vec<&Path> = Path::new(path).ancestors().skip(1).collect();
        for parent in parents.into_iter().rev() {
            if let Some(parent) = parent.to_str().filter(|parent| !parent.is_empty()) {
                self.entry(parent, DIRECTORY, (0, 0), b"")?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) -> std::io::Result<()> {
        self.head(path, mode, device, u64::try_from(content.len()).unwrap_or(u64::MAX))?;
        self.write(content)?;
        self.pad()
    }

    /// A program of so many bytes.
    fn file(&mut self, path: &str, size: u64, mut content: impl Read) -> std::io::Result<()> {
        self.head(path, EXECUTABLE, (0, 0), size)?;
        let copied = std::io::copy(&mut content, &mut self.to)?;
        if copied != size {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        self.at = self.at.saturating_add(usize::try_from(copied).unwrap_or(usize::MAX));
        self.pad()
    }

    fn head(&mut self, path: &str, mode: u32, device: (u32, u32), size: u64) -> std::io::Result<()> {
        let too_long = |_| std::io::Error::other("a file of more than 4 GiB");
        let name = u32::try_from(path.len()).map_err(too_long)?.saturating_add(1);
        let size = u32::try_from(size).map_err(too_long)?;
        self.inode = self.inode.saturating_add(1);
        let links = 1;
        let fields = [self.inode, mode, 0, 0, links, 0, size, 0, 0, device.0, device.1, name, 0];
        let mut head = String::from("070701");
        for field in fields {
            head.push_str(&format!("{field:08x}"));
        }
        self.write(head.as_bytes())?;
        self.write(path.as_bytes())?;
        self.write(b"\0")?;
        self.pad()
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.at = self.at.saturating_add(bytes.len());
        self.to.write_all(bytes)
    }

    /// Every part begins at a multiple of four bytes.
    fn pad(&mut self) -> std::io::Result<()> {
        let missing = self.at.next_multiple_of(4).saturating_sub(self.at);
        self.write([0; 4].get(..missing).unwrap_or_default())
    }
}
