//! The file of a document that was typed.

use super::super::items::read;
use crate::config_drive::DocumentError;
use crate::failure::Failure;
use crate::manifest::{MANIFEST_MAX, Origins, position};
use serde_json::Value;
use std::io::Read;
use std::path::{Path, PathBuf};

/// What to do with a text that is a document of another kind than the option takes; `None` where it is none that is known.
pub(super) fn other_kind(option: &str, text: &[u8]) -> Option<&'static str> {
    let text = String::from_utf8_lossy(text);
    let text = text.trim_start_matches('\u{feff}');
    let is_object = text.trim_start().starts_with('{');
    let has_key = |key: &str| text.lines().any(|line| line.strip_prefix(key).is_some_and(|rest| rest.starts_with(':')));
    let is_cloud_config = text.lines().next().is_some_and(|line| line.trim_end() == "#cloud-config");
    let is_ignition = is_object
        && serde_json::from_str::<Value>(text).is_ok_and(|value| value.pointer("/ignition/version").is_some());
    let is_butane = !is_object && has_key("variant") && has_key("version");
    match option {
        "--cloud-config" if is_cloud_config => None,
        "--ignition" if is_ignition => None,
        _ if is_cloud_config => Some("it is a cloud-config, which --cloud-config takes"),
        _ if is_ignition => Some("it is a configuration of Ignition, which --ignition takes"),
        _ if is_butane => Some("it is Butane's; butane --strict makes a configuration of it that --ignition takes"),
        _ => None,
    }
}

/// A manifest's file.
pub(super) struct Source<'a> {
    path: &'a Path,
    pub(super) name: String,
    /// What its paths are relative to.
    pub(super) directory: PathBuf,
    /// Its text.
    pub(super) text: String,
    /// Where it has what is asked for.
    pub(super) origins: Origins,
}

impl<'a> Source<'a> {
    pub(super) fn new(path: &'a Path) -> Self {
        let (name, directory) = match is_stdin(path) {
            true => ("standard input".to_owned(), PathBuf::new()),
            false => (path.display().to_string(), path.parent().map(Path::to_path_buf).unwrap_or_default()),
        };
        Self { path, name, directory, text: String::new(), origins: Origins::default() }
    }

    pub(super) fn read(&self, option: &str) -> Result<Vec<u8>, Failure> {
        let text = match is_stdin(self.path) {
            false => read(option, self.path).map_err(|failure| match self.path.to_str() {
                Some(format @ ("raw" | "qcow2" | "auto")) if option == "--manifest" => failure.with_hint(format!(
                    "-f names a manifest; the format of an image, for which qemu-img has that letter, is --format {format}"
                )),
                _ => failure,
            })?,
            true => {
                let mut bytes = Vec::new();
                let read = std::io::stdin().lock().take(MANIFEST_MAX + 1).read_to_end(&mut bytes);
                read.map_err(|error| Failure::usage(format!("{option} -: {error}")))?;
                bytes
            }
        };
        if text.len() as u64 > MANIFEST_MAX {
            return Err(Failure::usage(format!("{}: larger than 1 MiB", self.name))
                .with_hint("put larger contents into files of their own, and name them in a manifest"));
        }
        Ok(text)
    }

    /// All that is wrong, the first of it as the failure.
    pub(super) fn wrong(&self, errors: &[DocumentError], hint: &str) -> Failure {
        let failure = |error: &DocumentError| {
            Failure::usage(format!("{}: {error}", self.name)).with_hint(error.hint().unwrap_or(hint))
        };
        Failure::together(errors.iter().map(failure).collect())
            .unwrap_or_else(|| Failure::usage(format!("{}: it is not taken", self.name)))
    }

    /// The same failure, with where in the text its place is.
    pub(super) fn placed(&self, place: &str, mut failure: Failure) -> Failure {
        if let Some(position) = position(&self.text, &self.origins.of(place)) {
            failure.message.push_str(&position.to_string());
        }
        failure.within(&self.name)
    }
}

/// Whether a manifest is read from standard input.
pub(in crate::plan) fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}
