//! What is wrong with an instance document, and where.

use std::fmt;

/// What is wrong with an instance document: the JSON path, and what was expected there. Values are not repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentError {
    at: String,
    reason: String,
    hint: Option<String>,
}

impl DocumentError {
    /// Something is wrong at a path (`instance.uuid`; empty for the whole document).
    pub fn new(at: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { at: at.into(), reason: reason.into(), hint: None }
    }

    /// The operating system gave no random bytes.
    pub(super) fn seed(error: &getrandom::Error) -> Self {
        Self::new("", format!("no random seed from the operating system: {error}"))
    }

    /// The same, with `outer` before its path.
    #[must_use]
    pub(crate) fn within(mut self, outer: &str) -> Self {
        let separator = if self.at.is_empty() || self.at.starts_with('[') { "" } else { "." };
        self.at = format!("{outer}{separator}{}", self.at);
        self
    }

    /// Adds what can be done about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same of another path.
    #[must_use]
    pub(crate) fn with_place(mut self, at: &str) -> Self {
        at.clone_into(&mut self.at);
        self
    }

    /// The path of what it is about; empty for the whole document.
    pub(crate) fn at(&self) -> &str {
        &self.at
    }

    /// What is wrong.
    pub(crate) fn reason(&self) -> &str {
        &self.reason
    }

    /// The same, with `more` after its reason.
    #[must_use]
    pub(crate) fn with_more(mut self, more: &str) -> Self {
        self.reason.push_str(more);
        self
    }

    /// What can be done about it.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at.as_str() {
            "" => f.write_str(&self.reason),
            at => write!(f, "{at}: {}", self.reason),
        }
    }
}

impl std::error::Error for DocumentError {}
