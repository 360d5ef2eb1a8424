//! A change as a unified diff, with modes and owners, and without secrets.

use crate::failure::printable;
use imgraft_vfs::fs::FileType;
use imgraft_vfs::stage::Change;
use similar::TextDiff;
use std::borrow::Cow;
use std::fmt::Write as _;

/// The largest file that is shown as a diff, in bytes; a larger one is shown by its size.
pub const DIFF_MAX: u64 = 256 << 10;

/// A file's content as far as a diff shows it.
#[derive(Debug)]
pub enum Side {
    /// There is no file.
    Absent,
    /// The content.
    Bytes(Vec<u8>),
    /// Too large to show.
    Large(u64),
}

/// Whether a file's content is an account database, whose hashes are not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sensitivity {
    /// The content may be shown.
    Plain,
    /// Lines of fields, the second one a hash (shadow(5), gshadow(5)).
    Hashes,
}

/// The diff of one change; empty where nothing is to be shown.
pub fn render(change: &Change, old: &Side, new: &Side, sensitivity: Sensitivity) -> String {
    let mut text = String::new();
    let path = printable(&change.path.to_string());
    let after = change.after.metadata;
    let kind = match after.file_type {
        FileType::Directory => "directory",
        _ => "file",
    };
    match &change.before {
        None => {
            let _ = writeln!(text, "new {kind} {path} mode {:04o} owner {}:{}", after.mode, after.uid, after.gid);
        }
        Some(before) => {
            let before = before.metadata;
            if before.mode != after.mode {
                let _ = writeln!(text, "{kind} {path} mode {:04o} -> {:04o}", before.mode, after.mode);
            }
            if (before.uid, before.gid) != (after.uid, after.gid) {
                let _ = writeln!(
                    text,
                    "{kind} {path} owner {}:{} -> {}:{}",
                    before.uid, before.gid, after.uid, after.gid
                );
            }
        }
    }
    for xattr in &change.after.xattrs {
        let value = xattr.value.strip_suffix(&[0]).unwrap_or(&xattr.value);
        let _ = writeln!(text, "{kind} {path} {}={}", xattr.name.escape_ascii(), value.escape_ascii());
    }
    if after.file_type == FileType::Regular && change.after.content.is_some() {
        content(&mut text, &path, old, new, sensitivity);
    }
    text
}

fn content(text: &mut String, path: &str, old: &Side, new: &Side, sensitivity: Sensitivity) {
    let (Some(before), Some(after)) = (shown(old), shown(new)) else {
        let _ = writeln!(text, "file {path} content {} -> {}", size(old), size(new));
        return;
    };
    let (before, after) = match sensitivity {
        Sensitivity::Plain => (Cow::Borrowed(before), Cow::Borrowed(after)),
        Sensitivity::Hashes => redact(before, after),
    };
    let old_name = if matches!(old, Side::Absent) { "/dev/null".to_owned() } else { format!("a{path}") };
    let diff = TextDiff::from_lines(&before, &after);
    let unified = diff.unified_diff().context_radius(3).header(&old_name, &format!("b{path}")).to_string();
    // Line ends stay; every other control character may come from a hostile image.
    for line in unified.split_inclusive('\n') {
        text.push_str(&printable(line.trim_end_matches('\n')));
        text.push('\n');
    }
}

fn shown(side: &Side) -> Option<&str> {
    match side {
        Side::Absent => Some(""),
        Side::Bytes(bytes) => std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0')),
        Side::Large(_) => None,
    }
}

fn size(side: &Side) -> String {
    match side {
        Side::Absent => "nothing".to_owned(),
        Side::Bytes(bytes) => format!("{} bytes", bytes.len()),
        Side::Large(len) => format!("{len} bytes"),
    }
}

/// Hides every hash, so that a line that changed still shows as changed and nothing of the hash does.
fn redact<'a>(before: &str, after: &str) -> (Cow<'a, str>, Cow<'a, str>) {
    let hide = |text: &str, other: &str, tag: &str| -> Cow<'a, str> {
        let kept: std::collections::HashSet<&str> = other.lines().collect();
        let lines = text.split_inclusive('\n').map(|line| {
            let changed = !kept.contains(line.trim_end_matches('\n'));
            hide_field(line, if changed { tag } else { "" })
        });
        Cow::Owned(lines.collect())
    };
    (hide(before, after, "old "), hide(after, before, "new "))
}

fn hide_field(line: &str, tag: &str) -> String {
    let mut fields: Vec<&str> = line.split(':').collect();
    let hidden;
    if let Some(field) = fields.get_mut(1) {
        // What is left of a field without a hash says something about the account, and is no secret.
        let bare = field.trim_start_matches('!');
        if !matches!(bare, "" | "*" | "x") {
            let lock = &field[..field.len() - bare.len()];
            hidden = format!("{lock}<{tag}hash>");
            *field = &hidden;
        }
    }
    fields.join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_never_shown() {
        let before = "root:$6$old:1::\nbin:*:1::\ndeb:!$y$deb:1::\n";
        let after = "root:$6$new:1::\nbin:*:1::\ndeb:!$y$deb:1::\n";
        let mut text = String::new();
        content(
            &mut text,
            "/etc/shadow",
            &Side::Bytes(before.into()),
            &Side::Bytes(after.into()),
            Sensitivity::Hashes,
        );
        assert_eq!(
            text,
            "--- a/etc/shadow\n+++ b/etc/shadow\n@@ -1,3 +1,3 @@\n-root:<old hash>:1::\n+root:<new hash>:1::\n bin:*:1::\n deb:!<hash>:1::\n"
        );
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let mut text = String::new();
        content(&mut text, "/a", &Side::Absent, &Side::Bytes(b"\x1b[31mred\n".to_vec()), Sensitivity::Plain);
        assert!(!text.contains('\x1b'), "{text:?}");
        assert!(text.contains("+\\u{1b}[31mred"), "{text:?}");
    }
}
