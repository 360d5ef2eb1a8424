//! Files of cloud-init's seeds in a diff: what they may hold of passwords is not shown.

use super::hide;
use crate::net::render;
use regex::bytes::{Captures, Regex, RegexBuilder};
use std::borrow::Cow;
use std::sync::LazyLock;

/// The names of the files of a seed, wherever it lies.
const NAMES: [&str; 4] = ["user-data", "meta-data", "network-config", "vendor-data"];

/// The value of a key that is called after a password, and whatever looks like a hash of crypt(5).
static SECRET: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let key = r#"(?P<key>["']?[a-z_-]*passw(?:or)?d["']?\s*:\s*[!|>-]*)"#;
    let value = r#"(?:"(?:[^"\\]|\\.)*"?|'[^']*'?|[^\s"',}\]][^,}\]\r\n]*)"#;
    let hash = r#"(?P<lock>!*)\$[0-9a-z]{1,4}\$[^\s,}\]"']+"#;
    RegexBuilder::new(&format!("{key}{value}|{hash}")).unicode(false).case_insensitive(true).build().ok()
});

/// Whether a file is one of a seed by its name; FAT has names in any case.
pub(super) fn is_seed(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    NAMES.iter().any(|seed| seed.eq_ignore_ascii_case(name))
}

/// Hides every password and hash. Of a text that is not of our making nothing is shown, whether it is to go or to come.
pub(super) fn redact<'a>(before: &str, after: &str) -> (Cow<'a, str>, Cow<'a, str>) {
    (hide_secrets(before, after, "old "), hide_secrets(after, before, "new "))
}

/// One side of [`redact`]. Others have more spellings of a password than are known here, and it may be the whole of a line.
fn hide_secrets<'a>(text: &str, other: &str, tag: &str) -> Cow<'a, str> {
    match text {
        "" => Cow::Borrowed(""),
        _ if render::is_ours(text.as_bytes()) => hide(text, other, tag, hide_values),
        _ => Cow::Owned(format!("<{tag}text: {} bytes that are not shown, as they may hold a password>\n", text.len())),
    }
}

fn hide_values(line: &str, tag: &str) -> String {
    let Some(secret) = &*SECRET else { return format!("<{tag}line>\n") };
    let hidden = secret.replace_all(line.as_bytes(), |found: &Captures<'_>| match found.name("key") {
        Some(key) => [key.as_bytes(), b"<", tag.as_bytes(), b"secret>"].concat(),
        None => {
            let lock = found.name("lock").map_or(&b""[..], |lock| lock.as_bytes());
            [lock, b"<", tag.as_bytes(), b"hash>"].concat()
        }
    });
    String::from_utf8_lossy(&hidden).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::render::HEAD;

    #[test]
    fn no_password_is_shown() {
        for (line, shown) in [
            ("      password: \"$6$salt$hash\"\n", "      password: <new secret>\n"),
            ("      password: \"a\\\"b, c\"\n", "      password: <new secret>\n"),
            ("password: geheim wie nie # x\n", "password: <new secret>\n"),
            ("{\"plain_text_passwd\": 'geheim', \"a\": 1}", "{\"plain_text_passwd\": <new secret>, \"a\": 1}"),
            ("    hashed-passwd: geheim\n", "    hashed-passwd: <new secret>\n"),
            ("  - ann:!$y$j9T$salt$hash\n", "  - ann:!<new hash>\n"),
            ("runcmd: [\"echo $5$abc$def\"]\n", "runcmd: [\"echo <new hash>\"]\n"),
            ("chpasswd:\n", "chpasswd:\n"),
            ("ssh_pwauth: true\n", "ssh_pwauth: true\n"),
        ] {
            assert_eq!(hide_values(line, "new "), shown, "{line}");
        }
    }

    #[test]
    fn of_what_others_wrote_nothing_is_shown() {
        let theirs = "#cloud-config\nchpasswd:\n  list: |\n    pi:geheim\n";
        let hidden = |tag| format!("<{tag} text: 48 bytes that are not shown, as they may hold a password>\n");
        let ours = format!("#cloud-config\n{HEAD}timezone: UTC\n");
        assert_eq!(redact(theirs, &ours), (hidden("old").into(), ours.as_str().into()));
        assert_eq!(redact(&ours, theirs), (ours.as_str().into(), hidden("new").into()));
        assert_eq!(redact("", theirs), ("".into(), hidden("new").into()));
        assert_eq!(redact(&ours, ""), (ours.as_str().into(), "".into()));
        // With a line more it is theirs still, and one of the same length is another one.
        let (old, new) = redact(theirs, &format!("{theirs}timezone: UTC\n"));
        assert!(old == hidden("old") && new.starts_with("<new text: 62 bytes"), "{old}{new}");
        let (old, new) = redact(theirs, &theirs.replace("geheim", "anders"));
        assert_ne!(old, new);
        // What is below says nothing of who made it.
        assert_eq!(redact("", "a: 1\nb: 2\n# Made by imgraft.\npi:geheim\n").1.lines().count(), 1);
    }
}
