//! What cloud-init will make of a drive: which version it reads, and what it will stumble over.
//!
//! The rules are those of its `DataSourceConfigDrive.py`, `DataSourceNoCloud.py`, `sources/helpers/openstack.py` and of
//! ds-identify (22.4 and later).

use super::super::Layout;
use super::{DOCUMENT_MAX, Existing, KNOWN, shape};
use crate::failure::{inert_json, printable};
use base64ct::{Base64, Encoding};
use imgraft_vfs::Result;
use imgraft_vfs::fs::FileType;
use serde::Serialize;
use serde_json::Value;
use std::fmt::Write as _;

/// How many problems are listed, and how many notes.
const LISTED_MAX: usize = 100;
/// The most characters of a message, which may name what stands in a document.
const MESSAGE_MAX: usize = 1000;
/// The documents of EC2 that are looked at: Nova writes both, and cloud-init reads the last one.
const EC2: [&str; 2] = ["ec2/2009-04-04/meta-data.json", "ec2/latest/meta-data.json"];

/// What cloud-init finds.
#[derive(Debug, Serialize)]
pub struct Verdict {
    /// The drive.
    pub drive: String,
    /// Whether there is no problem.
    pub ok: bool,
    /// Its format.
    pub format: &'static str,
    /// Its label.
    pub label: String,
    /// Its layout; null where it is neither OpenStack's nor NoCloud's.
    pub layout: Option<&'static str>,
    /// The directory that cloud-init reads, empty for the root; null where there is none.
    pub reads: Option<String>,
    /// The instance's identifier there.
    pub instance_id: Option<String>,
    /// The host name there.
    pub hostname: Option<String>,
    /// How many documents were looked at.
    pub documents: usize,
    /// What is broken: the first hundred.
    pub problems: Vec<Problem>,
    /// How many problems there are beyond these.
    pub more_problems: usize,
    /// What is odd, and does no harm: the first hundred.
    pub notes: Vec<Problem>,
    /// How many notes there are beyond these.
    pub more_notes: usize,
}

/// Something to be said of a file.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file; empty for the drive itself.
    pub path: String,
    /// What it is.
    pub message: String,
}

impl Verdict {
    /// Looks at all documents of a drive.
    pub fn new(existing: &Existing) -> Result<Self> {
        let about = existing.drive().about();
        let mut verdict = Self {
            drive: existing.name(),
            ok: false,
            format: about.format.name(),
            label: about.label.clone(),
            layout: existing.layout().map(Layout::name),
            reads: existing.read_directory(),
            instance_id: None,
            hostname: None,
            documents: 0,
            problems: Vec::new(),
            more_problems: 0,
            notes: Vec::new(),
            more_notes: 0,
        };
        verdict.label(existing);
        match existing.layout() {
            Some(Layout::OpenStack) => verdict.openstack(existing)?,
            Some(Layout::NoCloud) => verdict.nocloud(existing)?,
            None if existing.drive().find("meta.js").is_some() => verdict.problem(
                "meta.js",
                "this is the layout of version 1, which cloud-init can not read any more; there is no openstack directory",
            ),
            None => verdict.problem("", "there is neither an openstack directory nor NoCloud's user-data and meta-data"),
        }
        verdict.ok = verdict.problems.is_empty();
        Ok(verdict)
    }

    fn problem(&mut self, path: impl Into<String>, message: impl Into<String>) {
        add(&mut self.problems, &mut self.more_problems, path.into(), message.into());
    }

    fn note(&mut self, path: impl Into<String>, message: impl Into<String>) {
        add(&mut self.notes, &mut self.more_notes, path.into(), message.into());
    }

    fn label(&mut self, existing: &Existing) {
        let about = existing.drive().about();
        let (wanted, other) = match existing.layout() {
            Some(Layout::NoCloud) => ("cidata", "CIDATA"),
            _ => ("config-2", "CONFIG-2"),
        };
        if about.label != wanted && about.label != other {
            let message = format!("the label is {:?}, and cloud-init looks for {wanted} or {other}", about.label);
            self.problem("", message);
        }
        if let Some(boot) = about.boot_label.as_ref().filter(|boot| **boot != about.label) {
            self.note(
                "",
                format!("the label is {:?} in the boot record and {:?} in the root directory", boot, about.label),
            );
        }
    }

    fn openstack(&mut self, existing: &Existing) -> Result<()> {
        let read = existing.read_directory().unwrap_or_default();
        // What is in versions of other names nobody reads.
        let is_directory =
            |path: &String| existing.drive().find(path).is_some_and(|entry| entry.file_type == FileType::Directory);
        let known = KNOWN.iter().chain(&["latest"]).map(|version| format!("openstack/{version}"));
        let versions: Vec<String> = known.filter(is_directory).collect();
        if !versions.contains(&read) {
            let known = KNOWN.join(", ");
            self.problem("openstack", format!("there is none of the versions that cloud-init knows ({known}, latest)"));
        }
        if !versions.iter().any(|version| version == "openstack/latest") {
            self.note("openstack", "there is no latest version: cloudbase-init, Ignition and Afterburn read that one");
        }
        for version in &versions {
            let is_read = *version == read;
            let path = format!("{version}/meta_data.json");
            match self.json(existing, &path)? {
                Found::Missing => self.problem(path, "it is missing, and a version without it can not be read"),
                Found::Json(Value::Object(data)) => {
                    let string = |key: &str| data.get(key).and_then(Value::as_str).map(str::to_owned);
                    if is_read {
                        (self.instance_id, self.hostname) = (string("uuid"), string("hostname"));
                    }
                    if data.get("uuid").is_none_or(Value::is_null) {
                        self.problem(&path, "there is no uuid in it");
                    }
                    shape::metadata(&data, &mut |what| self.problem(&path, format!("{what}: cloud-init fails at it")));
                    self.contents(existing, &path, &Value::Object(data));
                }
                Found::Json(_) => self.problem(path, "it is no JSON object"),
                Found::Broken => {}
            }
            for name in ["vendor_data.json", "vendor_data2.json"] {
                let path = format!("{version}/{name}");
                if let Found::Json(value) = self.json(existing, &path)?
                    && !matches!(value, Value::Object(_) | Value::Array(_) | Value::String(_))
                {
                    self.problem(path, "it is no JSON object, list or text");
                }
            }
            let path = format!("{version}/network_data.json");
            if let Found::Json(value) = self.json(existing, &path)? {
                shape::network_data(&value, &mut |what| {
                    self.problem(&path, format!("{what}: cloud-init fails at it"));
                });
            }
        }
        for path in EC2 {
            self.json(existing, path)?;
        }
        Ok(())
    }

    /// What of meta_data.json names other files.
    fn contents(&mut self, existing: &Existing, at: &str, data: &Value) {
        for file in data.get("files").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object) {
            let path = match file.get("path") {
                Some(Value::String(path)) => path,
                Some(_) => continue,
                None => {
                    self.note(at, "an entry of files has no path: cloud-init skips it");
                    continue;
                }
            };
            let content = file.get("content_path").and_then(Value::as_str).unwrap_or_default();
            self.content(existing, at, &format!("the file {path}"), content);
        }
        if let Some(network) = data.get("network_config").filter(|network| !network.is_null()) {
            let content = network.get("content_path").and_then(Value::as_str).unwrap_or_default();
            self.content(existing, at, "network_config", content);
        }
        if let Some(seed) = data.get("random_seed").and_then(Value::as_str)
            && Base64::decode_vec(seed).is_err()
            && shape::is_decoded(seed)
        {
            self.note(at, "random_seed has something in it that is not base64, which cloud-init skips");
        }
        let mode = data.get("meta").and_then(|meta| meta.get("dsmode")).and_then(Value::as_str);
        match mode {
            None | Some("local" | "net") => {}
            Some("disabled") => self.problem(at, "dsmode is disabled: cloud-init declines the drive"),
            Some(other) => self.note(at, format!("dsmode is {other:?}: cloud-init takes it for net")),
        }
    }

    fn content(&mut self, existing: &Existing, at: &str, what: &str, content: &str) {
        let relative = content.trim_start_matches('/');
        let message = if relative.is_empty() {
            format!("{what} has no content_path")
        } else if relative.split('/').any(|name| matches!(name, "" | "." | "..")) {
            format!("{what}: its content_path {content:?} leads elsewhere")
        } else {
            match existing.drive().find(format!("openstack/{relative}")) {
                Some(entry) if entry.file_type == FileType::Regular => return,
                Some(_) => format!("{what}: its content, openstack/{relative}, is no file"),
                None => format!("{what}: its content, openstack/{relative}, is missing"),
            }
        };
        self.problem(at, message);
    }

    fn nocloud(&mut self, existing: &Existing) -> Result<()> {
        for name in ["user-data", "meta-data"] {
            if existing.drive().find(name).is_none() {
                self.problem(name, "it is missing, and NoCloud needs it");
            }
        }
        if let Some(data) = self.yaml(existing, "meta-data")? {
            let string = |key: &str| data.get(key).and_then(Value::as_str).map(str::to_owned);
            self.instance_id = string("instance-id");
            self.hostname = string("local-hostname");
            if self.instance_id.is_none() {
                self.note("meta-data", "there is no instance-id in it: every instance is \"nocloud\"");
            }
            if !matches!(data, Value::Object(_) | Value::Null) {
                self.problem("meta-data", "it is no mapping");
            }
        }
        if let Some(data) = self.yaml(existing, "network-config")?
            && !matches!(data, Value::Object(_) | Value::Null)
        {
            self.problem("network-config", "it is no mapping");
        }
        Ok(())
    }

    fn yaml(&mut self, existing: &Existing, path: &str) -> Result<Option<Value>> {
        let Some(bytes) = self.read(existing, path)? else { return Ok(None) };
        self.documents += 1;
        match super::super::read::yaml(&bytes) {
            Ok(value) => Ok(Some(value)),
            Err(error) => {
                self.problem(path, error.to_string());
                Ok(None)
            }
        }
    }

    fn json(&mut self, existing: &Existing, path: &str) -> Result<Found> {
        let Some(bytes) = self.read(existing, path)? else {
            let broken = existing.drive().find(path).is_some();
            return Ok(if broken { Found::Broken } else { Found::Missing });
        };
        self.documents += 1;
        match serde_json::from_slice(&bytes) {
            Ok(value) => Ok(Found::Json(value)),
            Err(error) => {
                // The place, and nothing of what stands there.
                self.problem(path, format!("not JSON, at line {} column {}", error.line(), error.column()));
                Ok(Found::Broken)
            }
        }
    }

    fn read(&mut self, existing: &Existing, path: &str) -> Result<Option<Vec<u8>>> {
        let Some(entry) = existing.drive().find(path) else { return Ok(None) };
        if entry.file_type != FileType::Regular {
            self.problem(path, "it is no file");
        } else if entry.size > DOCUMENT_MAX {
            self.problem(path, format!("{} bytes are no document", entry.size));
        } else {
            return existing.drive().read(entry, DOCUMENT_MAX).map(Some);
        }
        Ok(None)
    }

    /// For people.
    pub fn to_text(&self) -> String {
        let mut text = format!("{}: {}, label {}", printable(&self.drive), self.format, printable(&self.label));
        match (self.layout, self.reads.as_deref()) {
            (Some(layout), Some("")) => {
                let _ = write!(text, ": cloud-init reads it as {layout}");
            }
            (Some(_), Some(directory)) => {
                let _ = write!(text, ": cloud-init reads {}", printable(directory));
            }
            _ => {}
        }
        text.push('\n');
        for (what, value) in [("instance", &self.instance_id), ("host name", &self.hostname)] {
            if let Some(value) = value {
                let _ = writeln!(text, "  {what} {}", printable(value));
            }
        }
        let said = [("problem", &self.problems, self.more_problems), ("note", &self.notes, self.more_notes)];
        for (what, said, more) in said {
            for Problem { path, message } in said {
                let colon = if path.is_empty() { "" } else { ": " };
                let _ = writeln!(text, "  {what}: {}{colon}{}", printable(path), printable(message));
            }
            if more > 0 {
                let _ = writeln!(text, "  and {more} more {what}s");
            }
        }
        let _ = match self.problems.len().saturating_add(self.more_problems) {
            0 => writeln!(text, "  {} documents, no problem", self.documents),
            problems => writeln!(text, "  {} documents, {problems} problems", self.documents),
        };
        text
    }

    /// For machines.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).map(|json| inert_json(&json) + "\n").unwrap_or_default()
    }
}

/// Adds to what is said of a drive, or to the number of what is not.
fn add(said: &mut Vec<Problem>, more: &mut usize, path: String, mut message: String) {
    if said.len() >= LISTED_MAX {
        *more = more.saturating_add(1);
        return;
    }
    if let Some((end, _)) = message.char_indices().nth(MESSAGE_MAX) {
        message.truncate(end);
        message.push_str(" ...");
    }
    said.push(Problem { path, message });
}

/// What there is of a JSON document.
enum Found {
    Missing,
    /// It is there, and what is wrong has been said.
    Broken,
    Json(Value),
}
