//! Validated runs of `config-drive show`, `verify`, `extract` and `diff`.

use crate::cli;
use crate::config_drive::existing::{Secrets, ShownDocuments};
use std::path::PathBuf;

/// Whom the answer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// People.
    Text,
    /// Machines; all documents.
    Json,
}

/// A run of `config-drive show`.
#[derive(Debug)]
pub struct ShowDrive {
    /// The drive.
    pub drive: PathBuf,
    /// Which documents are shown to people.
    pub documents: ShownDocuments,
    /// Whether secrets are shown.
    pub secrets: Secrets,
    /// For whom.
    pub form: Form,
}

impl ShowDrive {
    /// What was typed.
    pub fn new(typed: cli::Show) -> Self {
        let documents = if typed.all { ShownDocuments::All } else { ShownDocuments::Read };
        let secrets = if typed.show_secrets { Secrets::Shown } else { Secrets::Hidden };
        let form = if typed.json { Form::Json } else { Form::Text };
        Self { drive: typed.drive, documents, secrets, form }
    }
}

/// A run of `config-drive verify`.
#[derive(Debug)]
pub struct VerifyDrive {
    /// The drive.
    pub drive: PathBuf,
    /// For whom.
    pub form: Form,
}

impl VerifyDrive {
    /// What was typed.
    pub fn new(typed: cli::Verify) -> Self {
        let form = if typed.json { Form::Json } else { Form::Text };
        Self { drive: typed.drive, form }
    }
}

/// A run of `config-drive extract`.
#[derive(Debug)]
pub struct ExtractDrive {
    /// The drive.
    pub drive: PathBuf,
    /// Where to.
    pub directory: PathBuf,
}

impl ExtractDrive {
    /// What was typed.
    pub fn new(typed: cli::Extract) -> Self {
        Self { drive: typed.drive, directory: typed.directory }
    }
}

/// A run of `config-drive diff`.
#[derive(Debug)]
pub struct CompareDrives {
    /// One drive.
    pub a: PathBuf,
    /// The other.
    pub b: PathBuf,
    /// Whether secrets are shown.
    pub secrets: Secrets,
    /// For whom.
    pub form: Form,
}

impl CompareDrives {
    /// What was typed.
    pub fn new(typed: cli::Diff) -> Self {
        let secrets = if typed.show_secrets { Secrets::Shown } else { Secrets::Hidden };
        let form = if typed.json { Form::Json } else { Form::Text };
        Self { a: typed.a, b: typed.b, secrets, form }
    }
}
