//! The report of `config-drive create`.

use crate::failure::printable;
use serde::Serialize;
use std::fmt::Write as _;

/// A drive that was made.
#[derive(Debug, Serialize)]
pub struct DriveReport {
    /// The drive.
    pub output: String,
    /// The instance's UUID.
    pub instance: String,
    /// Its format.
    pub format: &'static str,
    /// Its layout.
    pub layout: &'static str,
    /// Its label.
    pub label: &'static str,
    /// Its size in bytes.
    pub size: u64,
    /// The files in it, in the order in which Nova writes them.
    pub files: Vec<DriveFile>,
    /// What the user should know, a sentence each.
    pub notes: Vec<String>,
}

/// A file of a drive.
#[derive(Debug, Serialize)]
pub struct DriveFile {
    /// Its path.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
}

impl DriveReport {
    /// For people.
    pub fn to_text(&self) -> String {
        let mut text = format!(
            "{}: {}, label {}, {} files, {} KiB\n",
            printable(&self.output),
            self.format,
            self.label,
            self.files.len(),
            self.size >> 10
        );
        for note in &self.notes {
            let _ = writeln!(text, "  note: {}", printable(note));
        }
        text
    }

    /// For machines.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).map(|json| json + "\n").unwrap_or_default()
    }

    /// For machines, on a line.
    pub fn to_json_line(&self) -> String {
        serde_json::to_string(self).map(|json| json + "\n").unwrap_or_default()
    }
}
