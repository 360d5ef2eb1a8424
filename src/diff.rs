//! A change as a unified diff, with modes and owners, and without secrets.

mod network;
mod piped;
mod places;
mod seed;
mod url;

pub use places::Places;
pub(crate) use places::is_nowhere;

use crate::failure::printable;
use imgraft_vfs::Result;
use imgraft_vfs::fs::{DeviceNumber, FileType, GuestFs, Metadata, SpecialFile};
use imgraft_vfs::path::Resolved;
use imgraft_vfs::stage::{Action, Change, State};
use regex::Regex;
use similar::TextDiff;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::LazyLock;

/// The largest file that is shown as a diff, in bytes; a larger one is shown by its size.
const DIFF_MAX: u64 = 256 << 10;

/// A file's content as far as a diff shows it.
#[derive(Debug)]
enum Side {
    /// There is no file.
    Absent,
    /// The content.
    Bytes(Vec<u8>),
    /// Too large to show.
    Large(u64),
}

/// What of a file's content is not shown, from nothing to all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sensitivity {
    /// The content may be shown.
    Plain,
    /// Lines of fields, the second one a hash (shadow(5), gshadow(5)), or in old guests one (passwd(5), group(5)).
    Hashes,
    /// A file about the guest's network, or with other keys and values, passwords among them.
    Network,
    /// A file of a seed of cloud-init's, with passwords in it.
    Seed,
    /// Nothing is shown, nor read, but its size.
    Unseen,
}

impl Sensitivity {
    /// What a file at this path may hold, as far as its path tells.
    pub fn of(path: &Resolved, places: &Places) -> Self {
        places.sensitivity(path)
    }
}

/// The diff of one change; `fs` is the filesystem before it.
pub fn render(change: &Change, fs: &dyn GuestFs, sensitivity: Sensitivity) -> Result<String> {
    let mut text = String::new();
    let path = printable(&change.path.to_string());
    let (before, after) = (change.before.as_ref(), change.after.as_ref());
    if change.is_moved_away() {
        // That it comes to another path is said there.
        return Ok(text);
    }
    if let (Some(first), Some(after)) = (&change.linked, after) {
        if let Some(before) = before {
            let _ = writeln!(text, "removed {} {path}", kind(&before.metadata));
        }
        let _ = writeln!(text, "new name {path} of {} {}", kind(&after.metadata), printable(&first.to_string()));
        return Ok(text);
    }
    match (before, after) {
        (_, Some(after)) if change.moved.is_some() => {
            if let Some(before) = before {
                let _ = writeln!(text, "removed {} {path}", kind(&before.metadata));
            }
            if let Some(moved) = &change.moved {
                let from = printable(&moved.from.to_string());
                let _ = writeln!(text, "moved {} {path} from {from}", kind(&after.metadata));
                attributes(&mut text, &path, &moved.state.metadata, &after.metadata);
            }
        }
        (Some(before), Some(after)) if !change.actions().contains(&Action::Remove) => {
            attributes(&mut text, &path, &before.metadata, &after.metadata);
        }
        _ => {
            if let Some(before) = before {
                let _ = writeln!(text, "removed {} {path}", kind(&before.metadata));
            }
            if let Some(Metadata { mode, uid, gid, .. }) = after.map(|after| after.metadata) {
                let kind = after.map_or("file", |after| kind(&after.metadata));
                let _ = writeln!(text, "new {kind} {path} mode {mode:04o} owner {uid}:{gid}");
            }
        }
    }
    if let Some(after) = after {
        for xattr in &after.xattrs {
            let value = xattr.value.strip_suffix(&[0]).unwrap_or(&xattr.value);
            let name = xattr.name.escape_ascii();
            let _ = writeln!(text, "{} {path} {name}={}", kind(&after.metadata), value.escape_ascii());
        }
        if let Some(target) = &after.target {
            let _ = writeln!(text, "link {path} -> {}", target.escape_ascii());
        }
        if let Some(SpecialFile::CharDevice(number) | SpecialFile::BlockDevice(number)) = after.special {
            let DeviceNumber { major, minor } = number;
            let _ = writeln!(text, "{} {path} number {major}:{minor}", kind(&after.metadata));
        }
    }
    if let (Some(from), Some(after)) = (change.copied_from(), after) {
        // What it holds is in the guest already, and may be a secret of it.
        let from = printable(&from.to_string());
        let _ = writeln!(text, "file {path} content of {from} ({} bytes)", after.metadata.size);
        return Ok(text);
    }
    let (before, changes_content) = match &change.moved {
        Some(moved) => (Some(&moved.state), &[Action::Modify][..]),
        None => (before, &[Action::Create, Action::Modify, Action::Remove][..]),
    };
    if change.actions().iter().any(|action| changes_content.contains(action)) {
        let limit = if sensitivity == Sensitivity::Unseen { 0 } else { DIFF_MAX };
        let old = side(before, limit, || change.old_content(fs, limit))?;
        let new = side(after, limit, || change.new_content(fs, limit))?;
        content(&mut text, &path, &old, &new, sensitivity);
    }
    Ok(text)
}

fn attributes(text: &mut String, path: &str, before: &Metadata, after: &Metadata) {
    let kind = kind(after);
    if before.mode != after.mode {
        let _ = writeln!(text, "{kind} {path} mode {:04o} -> {:04o}", before.mode, after.mode);
    }
    if (before.uid, before.gid) != (after.uid, after.gid) {
        let (Metadata { uid, gid, .. }, Metadata { uid: new_uid, gid: new_gid, .. }) = (before, after);
        let _ = writeln!(text, "{kind} {path} owner {uid}:{gid} -> {new_uid}:{new_gid}");
    }
}

fn kind(metadata: &Metadata) -> &'static str {
    match metadata.file_type {
        FileType::Directory => "directory",
        FileType::Symlink => "link",
        FileType::CharDevice => "character device",
        FileType::BlockDevice => "block device",
        FileType::Fifo => "pipe",
        FileType::Socket => "socket",
        FileType::Regular => "file",
    }
}

fn side(state: Option<&State>, limit: u64, read: impl FnOnce() -> Result<Option<Vec<u8>>>) -> Result<Side> {
    match state {
        Some(State { metadata, .. }) if metadata.file_type == FileType::Regular => {
            if metadata.size > limit {
                return Ok(Side::Large(metadata.size));
            }
            Ok(read()?.map_or(Side::Absent, Side::Bytes))
        }
        _ => Ok(Side::Absent),
    }
}

fn content(text: &mut String, path: &str, old: &Side, new: &Side, sensitivity: Sensitivity) {
    if matches!((old, new), (Side::Absent, Side::Absent)) {
        return;
    }
    let (Some(before), Some(after)) = (shown(old), shown(new)) else {
        let _ = writeln!(text, "file {path} content {} -> {}", size(old), size(new));
        return;
    };
    let (before, after) = match sensitivity {
        // A copy of shadow(5) under another name, say.
        Sensitivity::Plain if has_hashes(before) || has_hashes(after) => redact(before, after),
        Sensitivity::Plain => (hide(before, after, "old ", hide_words), hide(after, before, "new ", hide_words)),
        Sensitivity::Unseen => (Cow::Borrowed(before), Cow::Borrowed(after)),
        Sensitivity::Hashes => redact(before, after),
        Sensitivity::Seed => seed::redact(before, after),
        Sensitivity::Network => {
            let (before, after) = network::redact(before, after);
            let hidden = |text: &str, other: &str, tag| Cow::Owned(hide(text, other, tag, hide_hashes).into_owned());
            (hidden(&before, &after, "old "), hidden(&after, &before, "new "))
        }
    };
    let (before, after) = url::redact(&before, &after);
    let (before, after) = piped::redact(&before, &after);
    let old_name = if matches!(old, Side::Absent) { "/dev/null".to_owned() } else { format!("a{path}") };
    let diff = TextDiff::from_lines(&before, &after);
    let new_name = if matches!(new, Side::Absent) { "/dev/null".to_owned() } else { format!("b{path}") };
    let unified = diff.unified_diff().context_radius(3).header(&old_name, &new_name).to_string();
    // Line ends stay; every other control character may come from a hostile image.
    for line in unified.split_inclusive('\n') {
        text.push_str(&printable(line.trim_end_matches('\n')));
        text.push('\n');
    }
}

/// What a text has in it that holds a private key: RFC 7468 and OpenSSH's PROTOCOL.key, RFC 4880, PuTTY, OpenVPN.
const PRIVATE_KEY: [&str; 4] = ["PRIVATE KEY-----", "PRIVATE KEY BLOCK-----", "Private-Lines:", "OpenVPN Static key"];

/// The text of a side; `None` where it is none, or is not to be seen.
fn shown(side: &Side) -> Option<&str> {
    match side {
        Side::Absent => Some(""),
        Side::Bytes(bytes) => std::str::from_utf8(bytes)
            .ok()
            .filter(|text| !text.contains('\0') && !PRIVATE_KEY.iter().any(|mark| text.contains(mark))),
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

/// The methods of crypt(5) that hashes begin with, each between dollar signs.
const METHODS: &str = "1|2[abxy]?|5|6|7|y|gy|sm3|sha1|md5";

/// The second field of a line that is a hash of crypt(5).
static HASH_FIELD: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(&format!(r"(?m)^[^:\n]*:!*\$(?:{METHODS})\$[./A-Za-z0-9$]")).ok());

/// A hash of crypt(5) among other words: as long as the shortest one without its salt.
static HASH: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(&format!(r"\$(?:{METHODS})\$[./A-Za-z0-9$=,+-]{{22,}}")).ok());

/// Whether the second field of a line is a hash.
fn has_hashes(text: &str) -> bool {
    HASH_FIELD.as_ref().is_none_or(|field| field.is_match(text))
}

/// What is given to a password in any file: `db_password = ` of a configuration, `PASSWORD=` of a shell, an option of a mount.
static ASSIGNED: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"(?P<key>(?i-u:passw(?:or)?d)["']?[ \t]*=[ \t]*)[^ \t\r\n=~].*"#).ok());

/// Hides what is a secret by its looks.
fn hide_words(line: &str, tag: &str) -> String {
    let Some(assigned) = &*ASSIGNED else { return format!("<{tag}line>\n") };
    assigned.replace(&hide_hashes(line, tag), format!("${{key}}<{tag}secret>")).into_owned()
}

fn hide_hashes(line: &str, tag: &str) -> String {
    let Some(hash) = &*HASH else { return format!("<{tag}line>\n") };
    hash.replace_all(line, format!("<{tag}hash>")).into_owned()
}

/// Hides every hash, so that a line that changed still shows as changed and nothing of the hash does.
fn redact<'a>(before: &str, after: &str) -> (Cow<'a, str>, Cow<'a, str>) {
    (hide(before, after, "old ", hide_field), hide(after, before, "new ", hide_field))
}

/// A text with each line as `hide_line` has it, which is told whether the other text has the line as well: its second
/// argument is `tag` where not, else empty.
fn hide<'a>(text: &str, other: &str, tag: &str, mut hide_line: impl FnMut(&str, &str) -> String) -> Cow<'a, str> {
    let kept: std::collections::HashSet<&str> = other.lines().collect();
    let lines = text.split_inclusive('\n').map(|line| {
        let changed = !kept.contains(line.trim_end_matches('\n'));
        hide_line(line, if changed { tag } else { "" })
    });
    Cow::Owned(lines.collect())
}

fn hide_field(line: &str, tag: &str) -> String {
    let text = line.trim_end_matches(['\r', '\n']);
    let end = &line[text.len()..];
    let mut fields: Vec<&str> = text.split(':').collect();
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
    fields.join(":") + end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_not_shown_under_another_name() {
        let old = Side::Bytes("root:!$6$salt$hash:1::\n".into());
        let mut text = String::new();
        content(&mut text, "/var/backups/shadow.bak", &old, &Side::Absent, Sensitivity::Plain);
        assert!(text.ends_with("-root:!<old hash>:1::\n"), "{text}");
        text.clear();
        content(&mut text, "/etc/x", &Side::Bytes("a: $HOME\nb:c\n".into()), &Side::Absent, Sensitivity::Plain);
        assert!(text.ends_with("-a: $HOME\n-b:c\n"), "{text}");
        text.clear();
        let script = "URL=http://x\nPATH=/a:$PATH\necho $1$2 :$6$\nhost:$x$y\n";
        content(&mut text, "/etc/x", &Side::Absent, &Side::Bytes(script.into()), Sensitivity::Plain);
        assert!(text.ends_with("+URL=http://x\n+PATH=/a:$PATH\n+echo $1$2 :$6$\n+host:$x$y\n"), "{text}");
        text.clear();
        let script = "password = geheim wie nie\nif [ $PASSWD == a ]; then\n[Service]\nEnvironment=DB_PASSWORD=geheim\npasswd: files\n";
        content(&mut text, "/etc/x", &Side::Absent, &Side::Bytes(script.into()), Sensitivity::Plain);
        assert!(
            text.ends_with("+password = <new secret>\n+if [ $PASSWD == a ]; then\n+[Service]\n+Environment=DB_PASSWORD=<new secret>\n+passwd: files\n"),
            "{text}"
        );
        text.clear();
        let line = "usermod -p '$6$saltsalt$IxDD3jeSOb5eB1CX5LBsqZFVkJdido3OUILO5Ifz5iwMuTS4XMS130MTSuDDl3aCI6WouIL9AjRbLCelDCy.g.' x\n";
        content(&mut text, "/etc/x", &Side::Absent, &Side::Bytes(line.into()), Sensitivity::Plain);
        assert!(text.ends_with("+usermod -p '<new hash>' x\n"), "{text}");
    }

    #[test]
    fn private_keys_are_never_shown() {
        let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjE\n-----END OPENSSH PRIVATE KEY-----\n";
        let rsa = format!("# a remark\n{}", key.replace("OPENSSH", "RSA"));
        for (old, new) in
            [(Some(key), None), (None, Some(rsa.as_str())), (Some("x"), Some(key)), (Some(key), Some("x"))]
        {
            let side = |text: Option<&str>| text.map_or(Side::Absent, |text| Side::Bytes(text.into()));
            let mut text = String::new();
            content(&mut text, "/etc/ssh/ssh_host_ed25519_key", &side(old), &side(new), Sensitivity::Plain);
            assert!(
                text.starts_with("file /etc/ssh/ssh_host_ed25519_key content ") && !text.contains("b3Blb"),
                "{text}"
            );
        }
    }

    #[test]
    fn hashes_are_never_shown() {
        let before = "root:$6$old:1::\nbin:*:1::\ndeb:!$y$deb:1::\n";
        let after = "root:$6$new:1::\nbin:*:1::\ndeb:!$y$deb:1::\n";
        let mut text = String::new();
        content(&mut text, "/etc/shadow", &Side::Bytes(before.into()), &Side::Bytes(after.into()), Sensitivity::Hashes);
        assert_eq!(
            text,
            "--- a/etc/shadow\n+++ b/etc/shadow\n@@ -1,3 +1,3 @@\n-root:<old hash>:1::\n+root:<new hash>:1::\n bin:*:1::\n deb:!<hash>:1::\n"
        );
    }

    #[test]
    fn a_line_of_two_fields_keeps_its_end() {
        assert_eq!(hide_field("a:$6$x\n", "new "), "a:<new hash>\n");
        assert_eq!(hide_field("a:*\n", "new "), "a:*\n");
        assert_eq!(hide_field("a:!\r\n", "new "), "a:!\r\n");
        assert_eq!(hide_field("comment\n", "new "), "comment\n");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let mut text = String::new();
        content(&mut text, "/a", &Side::Absent, &Side::Bytes(b"\x1b[31mred\n".to_vec()), Sensitivity::Plain);
        assert!(!text.contains('\x1b'), "{text:?}");
        assert!(text.contains("+\\u{1b}[31mred"), "{text:?}");
    }
}
