//! Words of a command that a message gives to be typed.

use std::path::Path;

/// A path as one word for a POSIX shell, and never as an option.
///
/// Source: POSIX.1-2017, Shell Command Language, 2.2 "Quoting".
pub fn word(path: &Path) -> String {
    let path = path.display().to_string();
    let path = if path.starts_with('-') { format!("./{path}") } else { path };
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%=".contains(c);
    if !path.is_empty() && path.chars().all(plain) {
        return path;
    }
    format!("'{}'", path.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_path_is_it_is_one_word() {
        for (path, expected) in [
            ("a/b-1.img", "a/b-1.img"),
            ("-rf", "./-rf"),
            ("my disk", "'my disk'"),
            ("$(touch x);", "'$(touch x);'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
        ] {
            assert_eq!(word(Path::new(path)), expected);
        }
    }
}
