//! A drive as it is shown.

use super::{Body, Existing, Secrets, text};
use crate::failure::printable;
use imgraft_vfs::Result;
use imgraft_vfs::fs::FileType;
use serde::Serialize;
use serde_json::{Map, Value};
use std::fmt::Write as _;

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
    /// JSON documents as they are, other texts as strings, by path; null for what is hidden or no text.
    pub documents: Map<String, Value>,
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
    /// Reads all documents of a drive.
    pub fn new(existing: &Existing, secrets: Secrets) -> Result<Self> {
        let about = existing.drive().about();
        let mut documents = Map::new();
        for entry in existing.files() {
            let value = match existing.body(entry, secrets)? {
                Body::Json(value) => value,
                Body::Text(text) => Value::String(text),
                Body::Hidden | Body::Opaque => Value::Null,
            };
            documents.insert(text(&entry.path), value);
        }
        let files = existing.drive().entries().iter().map(|entry| ShownFile {
            path: text(&entry.path),
            kind: kind(entry.file_type),
            size: entry.size,
            mode: entry.attrs.map(|attrs| attrs.mode),
        });
        Ok(Self {
            drive: existing.name(),
            format: about.format.name(),
            names: about.view,
            label: about.label.clone(),
            publisher: about.publisher.clone(),
            size: existing.drive().size(),
            layout: existing.layout().map(super::Layout::name),
            reads: existing.read_directory(),
            files: files.collect(),
            documents,
        })
    }

    /// For people: the tree, and the documents that cloud-init reads, or all where `which` says so.
    pub fn to_text(&self, which: Documents) -> String {
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
        for (path, value) in self.documents.iter().filter(|(path, _)| which == Documents::All || self.is_read(path)) {
            let _ = writeln!(text, "\n== {}", printable(path));
            match value {
                Value::Null => {
                    text.push_str("(not shown: it may hold secrets, and --show-secrets shows it; or it is no text)\n")
                }
                Value::String(content) if !path.ends_with(".json") => lines(&mut text, content),
                value => lines(&mut text, &serde_json::to_string_pretty(value).unwrap_or_default()),
            }
        }
        text
    }

    fn is_read(&self, path: &str) -> bool {
        match self.reads.as_deref() {
            Some("") => !path.contains('/'),
            Some(directory) => path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/')),
            None => true,
        }
    }

    /// For machines.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).map(|json| json + "\n").unwrap_or_default()
    }
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
