//! Names of users and groups.

use std::fmt;

/// The longest name: what `utmp` and shadow-utils have room for.
const LENGTH_MAX: usize = 32;

/// A name that shadow-utils take for a new user or group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountName(String);

impl AccountName {
    /// What a name is made of, for messages.
    pub const RULE: &'static str = "a name has 1 to 32 letters, digits, '_', '.' and '-', does not begin with '-' and is no number; the last may be '$'";

    /// The name; `None` for what shadow-utils refuse (useradd(8), CAVEATS).
    pub fn parse(text: &str) -> Option<Self> {
        let bare = text.strip_suffix('$').unwrap_or(text);
        let is_right = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        let is_name = !bare.is_empty()
            && text.len() <= LENGTH_MAX
            && bare.bytes().all(is_right)
            && !bare.starts_with('-')
            && !matches!(text, "." | "..")
            && !text.bytes().all(|byte| byte.is_ascii_digit());
        is_name.then(|| Self(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["ann", "_x", "a.b-c_9", "1a", "Ann", "machine$", ".a", &"a".repeat(32)] {
            assert!(AccountName::parse(good).is_some(), "{good}");
        }
        let long = "a".repeat(33);
        for bad in [
            "", "-a", "1", "007", ".", "..", "$", "a$b", "a b", "a:b", "a,b", "a/b", "a\n", "ä", "+a", "~a", "a+b",
            &long,
        ] {
            assert!(AccountName::parse(bad).is_none(), "{bad}");
        }
    }
}
