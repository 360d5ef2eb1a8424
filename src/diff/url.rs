//! URLs in a diff: the password of one is not shown.

use super::hide;
use regex::Regex;
use std::borrow::Cow;
use std::sync::LazyLock;

/// A user with a password before a host (RFC 3986, 3.2.1). Programs take the last `@` before the path for the end of it, which is
/// written without `%40` then.
static USERINFO: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"(?P<user>[A-Za-z][A-Za-z0-9+.-]*://[^ \t\r\n/:@"'<>]*:)[^ \t\r\n/"'<>]+@"#).ok());

/// Hides the password of every URL.
pub(super) fn redact<'a>(before: &str, after: &str) -> (Cow<'a, str>, Cow<'a, str>) {
    (hide(before, after, "old ", hide_password), hide(after, before, "new ", hide_password))
}

fn hide_password(line: &str, tag: &str) -> String {
    match &*USERINFO {
        Some(userinfo) => userinfo.replace_all(line, format!("${{user}}<{tag}secret>@")).into_owned(),
        None => format!("<{tag}line>\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_hidden_and_the_rest_is_not() {
        for (line, shown) in [
            ("http_proxy=http://ann:geheim@proxy:3128/x\n", "http_proxy=http://ann:<new secret>@proxy:3128/x\n"),
            ("Proxy \"https://ann:ge@he:im@proxy\";\n", "Proxy \"https://ann:<new secret>@proxy\";\n"),
            ("a http://:g@b http://c:geheim@d\n", "a http://:<new secret>@b http://c:<new secret>@d\n"),
            ("git+ssh://git:ge%20heim@host/x@y\n", "git+ssh://git:<new secret>@host/x@y\n"),
            ("http://[2001:db8::1]:80/a@b\n", "http://[2001:db8::1]:80/a@b\n"),
            ("http://proxy:3128/ ann@example.org\n", "http://proxy:3128/ ann@example.org\n"),
            ("ssh://git@host:22/x\n", "ssh://git@host:22/x\n"),
            ("mail ann: x@y\n", "mail ann: x@y\n"),
        ] {
            assert_eq!(redact("", line).1, shown, "{line}");
        }
        let (before, after) = redact("http://a:b@c\nhttp://a:x@c\n", "http://a:b@c\nhttp://a:y@c\n");
        assert_eq!(before, "http://a:<secret>@c\nhttp://a:<old secret>@c\n");
        assert_eq!(after, "http://a:<secret>@c\nhttp://a:<new secret>@c\n");
    }
}
