//! A drive as it is shown.

use super::body::is_read;
use super::{Body, Existing, Secrets, text};
use crate::failure::{inert_json, printable};
use imgraft_vfs::fs::FileType;
use imgraft_vfs::master::Entry;
use imgraft_vfs::{Error, ErrorKind, Layer, Result};
use serde::Serialize;
use serde_json::{Map, Value};
use std::fmt::Write as _;

/// The most bytes of all documents that are held at once, for JSON.
const TOTAL_MAX: u64 = 16 << 20;
/// The most bytes of JSON that is indented: an indented value may take more than a hundred times its size.
const INDENT_MAX: u64 = 1 << 20;

/// What a drive is, and what is in it.
#[derive(Debug, Serialize)]
pub struct Shown {
    /// The drive.
    pub drive: String,
    /// Its format.
    pub format: &'static str,
    /// Whose names are shown: those of Rock Ridge, Joliet, ISO 9660, or the width of the FAT.
    pub names: &'static str,
    /// Its label.
    pub label: String,
    /// Who made it; null where it does not say.
    pub publisher: Option<String>,
    /// Its size in bytes.
    pub size: u64,
    /// Its layout; null where it is neither OpenStack's nor NoCloud's.
    pub layout: Option<&'static str>,
    /// The directory that cloud-init reads, empty for the root; null where there is none.
    pub reads: Option<String>,
    /// Everything in it, by path.
    pub files: Vec<ShownFile>,
    /// JSON documents as they are, other texts as strings, by path; null for what is hidden or no text. Empty where they
    /// have not been read.
    pub documents: Map<String, Value>,
    /// How many bytes the documents have that were read.
    #[serde(skip)]
    read: u64,
}

/// A file or directory.
#[derive(Debug, Serialize)]
pub struct ShownFile {
    /// Its path.
    pub path: String,
    /// `file`, `directory`, or what else Rock Ridge knows.
    pub kind: &'static str,
    /// Its size in bytes.
    pub size: u64,
    /// Its permission bits; null in FAT.
    pub mode: Option<u16>,
}

impl Shown {
    /// What a drive is, and what is in it, with all its documents.
    ///
    /// `Denied` where these have more than 16 MiB.
    pub fn with_documents(existing: &Existing, secrets: Secrets) -> Result<Self> {
        let mut shown = Self::new(existing);
        let sizes = existing.files().filter(|entry| is_read(entry, secrets)).map(|entry| entry.size);
        shown.read = sizes.fold(0, u64::saturating_add);
        if shown.read > TOTAL_MAX {
            let message = format!("its documents have {} bytes, and {TOTAL_MAX} are shown in JSON", shown.read);
            return Err(Error::new(ErrorKind::Denied, Layer::Master, message)
                .with_hint("without --json they are shown one by one, and extract gives them as files"));
        }
        for entry in existing.files() {
            let value = match existing.body(entry, secrets)? {
                Body::Json(value) => value,
                Body::Text(text) => Value::String(text),
                Body::Hidden | Body::Opaque => Value::Null,
            };
            shown.documents.insert(text(&entry.path), value);
        }
        Ok(shown)
    }

    /// What a drive is, and what is in it, without the documents.
    pub fn new(existing: &Existing) -> Self {
        let about = existing.drive().about();
        let files = existing.drive().entries().iter().map(|entry| ShownFile {
            path: text(&entry.path),
            kind: kind(entry.file_type),
            size: entry.size,
            mode: entry.attrs.map(|attrs| attrs.mode),
        });
        Self {
            drive: existing.name(),
            format: about.format.name(),
            names: about.view,
            label: about.label.clone(),
            publisher: about.publisher.clone(),
            size: existing.drive().size(),
            layout: existing.layout().map(super::Layout::name),
            reads: existing.read_directory(),
            files: files.collect(),
            documents: Map::new(),
            read: 0,
        }
    }

    /// For people: the drive and its tree; [`document`] gives the documents.
    pub fn to_text(&self) -> String {
        let mut text = format!("{}: {} ({}), label {}", printable(&self.drive), self.format, self.names, self.label);
        if let Some(publisher) = &self.publisher {
            let _ = write!(text, ", by {publisher}");
        }
        let _ = write!(text, ", {} KiB", self.size >> 10);
        let mut text = printable(&text) + "\n";
        for file in &self.files {
            let mode = file.mode.map_or_else(|| "   -".to_owned(), |mode| format!("{mode:04o}"));
            let (size, slash) =
                if file.kind == "directory" { (String::new(), "/") } else { (file.size.to_string(), "") };
            let _ = writeln!(text, "{mode} {size:>10} {}{slash}", printable(&file.path));
        }
        text
    }

    /// The documents that are shown to people: those that cloud-init reads, or all where `which` says so.
    pub fn documents<'e>(&self, existing: &'e Existing, which: Documents) -> impl Iterator<Item = &'e Entry> {
        existing.files().filter(move |entry| which == Documents::All || self.is_read(&entry.path))
    }

    fn is_read(&self, path: &[u8]) -> bool {
        match self.reads.as_deref() {
            Some("") => !path.contains(&b'/'),
            Some(directory) => path.strip_prefix(directory.as_bytes()).is_some_and(|rest| rest.starts_with(b"/")),
            None => true,
        }
    }

    /// For machines.
    pub fn to_json(&self) -> String {
        json(self, self.read) + "\n"
    }
}

/// A document for people, under its path.
pub fn document(existing: &Existing, entry: &Entry, secrets: Secrets) -> Result<String> {
    let mut shown = format!("\n== {}\n", printable(&text(&entry.path)));
    match existing.body(entry, secrets)? {
        Body::Hidden | Body::Opaque => {
            shown.push_str("(not shown: it may hold secrets, and --show-secrets shows it; or it is no text)\n");
        }
        Body::Text(content) => lines(&mut shown, &content),
        Body::Json(value) => lines(&mut shown, &json(&value, entry.size)),
    }
    Ok(shown)
}

/// JSON, indented unless `size`, that of the documents in it, makes it too large.
fn json(value: &impl Serialize, size: u64) -> String {
    let json = if size > INDENT_MAX { serde_json::to_string(value) } else { serde_json::to_string_pretty(value) };
    inert_json(&json.unwrap_or_default())
}

/// Adds lines, none of which can drive a terminal.
fn lines(text: &mut String, content: &str) {
    for line in content.lines() {
        let _ = writeln!(text, "{}", printable(line));
    }
}

/// Which documents are shown to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Documents {
    /// Those of the version that cloud-init reads.
    Read,
    /// Those of all versions.
    All,
}

fn kind(file_type: FileType) -> &'static str {
    match file_type {
        FileType::Regular => "file",
        FileType::Directory => "directory",
        FileType::Symlink => "symlink",
        FileType::CharDevice => "char device",
        FileType::BlockDevice => "block device",
        FileType::Fifo => "fifo",
        FileType::Socket => "socket",
    }
}
