//! The running program as the first process of another kernel: its own executable, and the libraries that it runs with.
//!
//! A static executable would need none of these. But that is a matter of how a distribution builds it (with glibc `crt-static` cannot
//! build procedural macros, so that everything would have to be built for a named target), and the way here works with both.

use crate::error::{Error, Layer, Result};
use crate::field::{has, le16, le32, le64};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Sizes in bytes, and places, of the ELF format with 64 bits: elf(5).
const HEADER: usize = 64;
const SEGMENT: usize = 56;
const SEGMENTS_MAX: usize = 64;
const LOAD: u32 = 1;
const INTERPRETER: u32 = 3;
/// Where the table of sections is named in a header, and how much of it there is.
const SECTIONS: std::ops::Range<usize> = 40..48;
const SECTION_COUNT: std::ops::Range<usize> = 60..64;
/// The largest executable or library that is taken, in bytes.
const FILE_MAX: u64 = 256 << 20;
/// The longest list of mappings that is read, in bytes.
const MAPS_MAX: u64 = 4 << 20;

/// Files by the path that they get, without the leading slash.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) files: Vec<(String, Loadable)>,
}

impl Program {
    /// The program that runs, as `/init`; its libraries lie in `/lib`.
    pub(super) fn running() -> Result<Self> {
        let executable = loadable(Path::new("/proc/self/exe"))?;
        let interpreter = executable.interpreter.clone();
        let mut files = vec![("init".to_owned(), executable)];
        let Some(interpreter) = interpreter else { return Ok(Self { files }) };
        let loader = std::fs::canonicalize(&interpreter).map_err(|error| {
            Error::io(Layer::Kernel, "find the loader of this program", error).with_host_path(&interpreter)
        })?;
        for library in libraries()? {
            if library == loader {
                continue;
            }
            if let Some(name) = library.file_name().and_then(|name| name.to_str()) {
                files.push((format!("lib/{name}"), loadable(&library)?));
            }
        }
        let place = interpreter.trim_start_matches('/').to_owned();
        files.push((place, loadable(&loader)?));
        Ok(Self { files })
    }
}

/// An executable or a library, cut to what is loaded of it: debugging information comes behind.
#[derive(Debug)]
pub(super) struct Loadable {
    file: File,
    /// What it begins with: a header that names no sections.
    header: [u8; HEADER],
    /// How many bytes are loaded of it.
    pub(super) len: u64,
    interpreter: Option<String>,
}

impl Loadable {
    /// Its bytes, from the first one; to be read once. Not in memory: together they are larger than what a run takes else.
    pub(super) fn content(&self) -> std::io::Result<impl Read> {
        let header = u64::try_from(HEADER).unwrap_or(u64::MAX);
        let mut rest = &self.file;
        rest.seek(SeekFrom::Start(header))?;
        Ok(self.header.chain(rest.take(self.len.saturating_sub(header))))
    }
}

fn loadable(path: &Path) -> Result<Loadable> {
    let failed =
        |error: std::io::Error| Error::io(Layer::Kernel, "read a part of this program", error).with_host_path(path);
    let strange = || Error::unsupported(Layer::Kernel, "no ELF file of 64 bits").with_host_path(path);
    let file = File::open(path).map_err(failed)?;
    let mut header = [0; HEADER];
    file.read_exact_at(&mut header, 0).map_err(failed)?;
    if !has(&header, 0, b"\x7fELF\x02\x01") {
        return Err(strange());
    }
    let table = le64(&header, 32).ok_or_else(strange)?;
    let count = le16(&header, 56).map(usize::from).filter(|count| *count <= SEGMENTS_MAX).ok_or_else(strange)?;
    if le16(&header, 54).map(usize::from) != Some(SEGMENT) {
        return Err(strange());
    }
    let mut segments = vec![0; count.saturating_mul(SEGMENT)];
    file.read_exact_at(&mut segments, table).map_err(failed)?;
    let mut end = u64::try_from(segments.len()).ok().and_then(|len| table.checked_add(len)).ok_or_else(strange)?;
    let mut interpreter = None;
    for segment in segments.chunks_exact(SEGMENT) {
        let kind = le32(segment, 0).ok_or_else(strange)?;
        let offset = le64(segment, 8).ok_or_else(strange)?;
        let size = le64(segment, 32).ok_or_else(strange)?;
        if kind == LOAD {
            end = end.max(offset.checked_add(size).ok_or_else(strange)?);
        }
        if kind == INTERPRETER {
            let mut name = vec![0; usize::try_from(size).ok().filter(|size| *size <= 4096).ok_or_else(strange)?];
            file.read_exact_at(&mut name, offset).map_err(failed)?;
            let name = name.split(|byte| *byte == 0).next().unwrap_or_default().to_vec();
            interpreter = Some(String::from_utf8(name).map_err(|_| strange())?);
        }
    }
    if end > FILE_MAX {
        return Err(Error::unsupported(Layer::Kernel, "more than 256 MiB of program").with_host_path(path));
    }
    for range in [SECTIONS, SECTION_COUNT] {
        if let Some(field) = header.get_mut(range) {
            field.fill(0);
        }
    }
    Ok(Loadable { file, header, len: end, interpreter })
}

/// The libraries that this process runs with, its loader among them: what its mappings that can be executed are of.
fn libraries() -> Result<BTreeSet<PathBuf>> {
    let failed = |error| Error::io(Layer::Kernel, "look at the libraries of this program", error);
    let mut maps = Vec::new();
    File::open("/proc/self/maps").and_then(|file| file.take(MAPS_MAX).read_to_end(&mut maps)).map_err(failed)?;
    let own = std::fs::read_link("/proc/self/exe").map_err(failed)?;
    let maps = String::from_utf8_lossy(&maps);
    // Range, permissions, offset, device and inode stand before the path: proc_pid_maps(5).
    let library = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let permissions = fields.nth(1)?;
        let path = line.split_once(" /").map(|(_, path)| PathBuf::from(format!("/{path}")))?;
        (permissions.contains('x') && path != own).then_some(path)
    };
    Ok(maps.lines().filter_map(library).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_this_program_without_its_debugging_information() {
        let program = Program::running().unwrap();
        let (name, init) = program.files.first().unwrap();
        assert_eq!(name, "init");
        let whole = std::fs::read("/proc/self/exe").unwrap();
        for _ in 0..2 {
            let mut content = Vec::new();
            init.content().unwrap().read_to_end(&mut content).unwrap();
            assert!(content.len() <= whole.len() && content.len() as u64 == init.len);
            assert!(has(&content, 0, b"\x7fELF") && content[HEADER..] == whole[HEADER..content.len()]);
        }
        let names: Vec<&str> = program.files.iter().map(|(name, _)| name.as_str()).collect();
        assert!(names.iter().any(|name| name.starts_with("lib/libc.so")), "{names:?}");
        assert!(names.iter().any(|name| name.contains("ld-linux") && !name.starts_with("lib/ld")), "{names:?}");
    }

    #[test]
    fn what_is_no_program_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for content in
            [&b""[..], &[0; 200], b"\x7fELF\x02\x01", &[b"\x7fELF\x02\x01".as_slice(), &[0xff; 300]].concat()]
        {
            std::fs::write(file.path(), content).unwrap();
            assert!(loadable(file.path()).is_err());
        }
    }
}
