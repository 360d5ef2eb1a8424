//! Passwords that a command gets by its standard input in a diff: `echo root:word | chpasswd` of a script, a unit or cloud-init's runcmd.

use super::hide;
use regex::{Captures, Regex};
use std::borrow::Cow;
use std::sync::LazyLock;

/// What is said to chpasswd(8), or to passwd(1): before a pipe, or in a string or lines that follow.
static SAID: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let reader = r"(?-u:\b)(?:ch)?passwd(?-u:\b)";
    Regex::new(&format!(
        r"(?P<say>(?-u:\b)(?:echo|printf)[ \t]+).*(?P<to>\|[^\n|]*{reader})|(?P<reader>{reader}[^\n|;&]*<<).*"
    ))
    .ok()
});

/// The lines for such a command, up to the word that ends them.
static LINES: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?-u:\b)(?:chpasswd|passwd)(?-u:\b)[^\n<|;&]*<<[^<\n]|(?-u:\b)cat(?-u:\b)[^\n]*<<[^\n]*\|[^\n]*(?-u:\b)chpasswd(?-u:\b)").ok()
});

/// Hides every such password. Of a text with lines for such a command nothing is shown.
pub(super) fn redact<'a>(before: &str, after: &str) -> (Cow<'a, str>, Cow<'a, str>) {
    (hide_said(before, after, "old "), hide_said(after, before, "new "))
}

fn hide_said<'a>(text: &str, other: &str, tag: &str) -> Cow<'a, str> {
    match LINES.as_ref().is_none_or(|lines| lines.is_match(text)) {
        true => super::network::unseen(text, tag),
        false => hide(text, other, tag, hide_words),
    }
}

fn hide_words(line: &str, tag: &str) -> String {
    let Some(said) = &*SAID else { return format!("<{tag}line>\n") };
    let hidden = said.replace(line, |found: &Captures<'_>| {
        let text = |name| found.name(name).map_or("", |text| text.as_str());
        match found.name("say") {
            Some(say) => format!("{}<{tag}secret> {}", say.as_str(), text("to")),
            None => format!("{} <{tag}secret>", text("reader")),
        }
    });
    hidden.into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_hidden_and_the_rest_is_not() {
        for (line, shown) in [
            ("echo root:geheim | chpasswd\n", "echo <new secret> | chpasswd\n"),
            ("x; echo 'root:a|b'|/usr/sbin/chpasswd -e\n", "x; echo <new secret> |/usr/sbin/chpasswd -e\n"),
            ("printf 'a:%s' geheim | sudo chpasswd && y\n", "printf <new secret> | sudo chpasswd && y\n"),
            (
                "ExecStart=sh -c 'echo x | passwd --stdin a'\n",
                "ExecStart=sh -c 'echo <new secret> | passwd --stdin a'\n",
            ),
            ("chpasswd <<< root:geheim\n", "chpasswd <<< <new secret>\n"),
            ("chpasswd:\n", "chpasswd:\n"),
            ("(echo x; echo x) | passwd u\n", "(echo <new secret> | passwd u\n"),
            ("getent passwd u || cat > /etc/x <<EOF\na\nEOF\n", "getent passwd u || cat > /etc/x <<EOF\na\nEOF\n"),
            ("echo a | passwd_x\necho b | cat\n", "echo a | passwd_x\necho b | cat\n"),
            ("chpasswd < /root/list\n", "chpasswd < /root/list\n"),
        ] {
            assert_eq!(redact("", line).1, shown, "{line}");
        }
        for text in ["chpasswd <<EOF\na:geheim\nEOF\n", "chpasswd -e << 'E'\na:b\nE\n", "cat <<E | chpasswd\na:b\nE\n"]
        {
            assert!(redact("", text).1.starts_with("<new text: "), "{text}");
        }
    }
}
