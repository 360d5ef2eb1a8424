//! Files of a guest's network, and others of keys and values, in a diff: what they hold of passwords and private keys is not shown.

use super::hide;
use regex::bytes::{Captures, Regex, RegexBuilder};
use std::borrow::Cow;
use std::sync::LazyLock;

/// A key that is called after a secret, with what stands between it and its value: `psk=`, `wpa-psk `, `"password": `, `PrivateKey = `,
/// `<passphrase>`; and `content: `, which has a whole file in cloud-init's write_files.
static KEY: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let word = "[a-z0-9_.@-]*";
    let secrets = "passw(?:or)?d|passphrase|psk|secret|private|preshared-?key|sae-pt|wep[_-]?key|wireless-key|access-?key|\\
        api-?key|priv-?key|_key[0-9]*|\\bkey[0-9]*|cak\\b|\\bcookie|\\bpin\\b|_pin\\b|_pw\\b|\\br[01]kh|\\btoken|pass\\b|milenage|\\bauthorization|validation_cert";
    let between = r#"["']?(?:[ \t]*[=:>][ \t]*|[ \t]+)"#;
    let file = r#"\bcontent["']?[ \t]*:[ \t]*"#;
    let key = format!(r#"(?P<key>["']?(?:{word}(?:{secrets}){word}{between}|{file}))(?P<value>[^ \t].*)?"#);
    RegexBuilder::new(&key).unicode(false).case_insensitive(true).build().ok()
});

/// What YAML has beside `key: value` for it: a key after a `?`, one that is an alias, or one with characters that are escaped. And a
/// line that goes on in the next one, within a key it may be, and a section in which every key is a secret. And a blob of
/// wpa_supplicant.conf(5), and netrc's password in the line after its word (apt_auth.conf(5)).
static ODD_KEY: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let begin = r"(?:^|[ \t{\[,-])";
    let odd = [
        &format!(r"{begin}\?(?:[ \t]|$)"),
        &format!(r"{begin}\*[^ \t:]+[ \t]*:"),
        r#""[^"]*\\[^"]*"[ \t]*:"#,
        r"\\$",
        r"^\[vpn-secrets\]",
        r"^[ \t]*blob-base64-",
        r"^(?:[^#;]*[ \t])?password[ \t]*$",
    ];
    RegexBuilder::new(&odd.join("|")).unicode(false).build().ok()
});

/// Where YAML has a text of several lines begin: its header, after which the lines follow that are indented more.
static LITERAL: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let header = r"^(?:![^ \t]*[ \t]+)?[|>][-+0-9]*[ \t]*(?:#.*)?$";
    RegexBuilder::new(header).unicode(false).build().ok()
});

/// Hides the value of every such key, with all that follows in its line, and the lines of YAML that belong to it. Of a text with one
/// whose value may be elsewhere nothing is shown.
pub(super) fn redact<'a>(before: &str, after: &str) -> (Cow<'a, str>, Cow<'a, str>) {
    (hide_secrets(before, after, "old "), hide_secrets(after, before, "new "))
}

fn hide_secrets<'a>(text: &str, other: &str, tag: &str) -> Cow<'a, str> {
    let (Some(key), Some(odd), Some(literal)) = (&*KEY, &*ODD_KEY, &*LITERAL) else { return unseen(text, tag) };
    let Some(hidden) = Lines { key, odd, literal }.hidden(text) else { return unseen(text, tag) };
    let mut hidden = hidden.into_iter();
    hide(text, other, tag, |line, tag| {
        let bare = line.trim_end_matches('\n');
        let end = &line[bare.len()..];
        match hidden.next() {
            Some(Hidden::Nothing) => line.to_owned(),
            Some(Hidden::Value) => {
                let hidden = key.replace(bare.as_bytes(), |found: &Captures<'_>| {
                    let key = found.name("key").map_or(&b""[..], |key| key.as_bytes());
                    [key, b"<", tag.as_bytes(), b"secret>"].concat()
                });
                format!("{}{end}", String::from_utf8_lossy(&hidden))
            }
            Some(Hidden::Line) | None => format!("{}<{tag}secret>{end}", &line[..indent(line)]),
        }
    })
}

/// What of a line is not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hidden {
    Nothing,
    /// What follows a key.
    Value,
    /// All but the indentation.
    Line,
}

/// What the lines of a text are looked through for.
#[derive(Clone, Copy)]
struct Lines<'a> {
    key: &'a Regex,
    odd: &'a Regex,
    literal: &'a Regex,
}

/// The lines that belong to a key of YAML: those that are indented more than it.
#[derive(Clone, Copy)]
struct Value {
    /// How far its key is indented.
    column: usize,
    /// Whether no character means anything in it.
    is_literal: bool,
    /// Whether the items of a list may stand right below the key.
    may_be_list: bool,
}

impl Lines<'_> {
    /// What is not shown of each line; `None` where a secret may be in any of them.
    fn hidden(self, text: &str) -> Option<Vec<Hidden>> {
        let mut hidden = Vec::new();
        let mut value: Option<Value> = None;
        // A mapping of YAML in braces goes over lines, with any indentation.
        let mut is_open = false;
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            let bare = line.trim();
            if let Some(of) = value {
                let belongs = indent(line) > of.column || of.may_be_list && is_item(line, of.column);
                if bare.is_empty() || belongs {
                    // What is quoted or in braces ends anywhere, and an alias is elsewhere.
                    if !of.is_literal && bare.contains(['"', '\'', '{', '}', '[', ']', '*', '\\']) {
                        return None;
                    }
                    hidden.push(if bare.is_empty() { Hidden::Nothing } else { Hidden::Line });
                    continue;
                }
                // A remark ends nothing.
                if bare.starts_with('#') {
                    hidden.push(Hidden::Line);
                    continue;
                }
                value = None;
            }
            if self.odd.is_match(line.as_bytes()) {
                return None;
            }
            let braces = |one: char, other: char| line.matches(one).count() != line.matches(other).count();
            // One of wpa_supplicant's blocks has its keys in lines of their own.
            is_open |= !bare.ends_with("={") && bare != "}" && (braces('{', '}') || braces('[', ']'));
            let Some(found) = self.key.captures(line.as_bytes()) else {
                hidden.push(Hidden::Nothing);
                continue;
            };
            let text_of = |name| String::from_utf8_lossy(found.name(name).map_or(&b""[..], |text| text.as_bytes()));
            let (key, said) = (text_of("key"), text_of("value"));
            let said = said.trim_end();
            // Whether a password is locked is none.
            let is_lock = key.trim_start_matches(['"', '\'']).starts_with("lock_passwd");
            if is_lock && ["true", "false"].contains(&said.trim_end_matches(['}', ' '])) {
                hidden.push(Hidden::Nothing);
                continue;
            }
            hidden.push(if said.is_empty() { Hidden::Nothing } else { Hidden::Value });
            let column = found.get(0).map_or(0, |found| found.start());
            let next = lines.clone().find(|line| !line.trim().is_empty());
            let goes_on = next.is_some_and(|next| indent(next) > column);
            let is_literal = self.literal.is_match(said.as_bytes());
            let is_empty = said.is_empty() || said.starts_with('#');
            let may_be_list = is_empty && next.is_some_and(|next| is_item(next, column));
            let is_keys_own = column == first_word(line) && key.contains(':') && !is_open;
            let follows = is_literal || (is_empty || is_plain(said)) && (goes_on || may_be_list);
            match is_keys_own && follows {
                true => value = Some(Value { column, is_literal, may_be_list }),
                false if is_elsewhere(said, goes_on || is_open) => return None,
                false => {}
            }
        }
        Some(hidden)
    }
}

/// How many bytes a line begins with before its first word.
fn indent(line: &str) -> usize {
    line.len().saturating_sub(line.trim_start().len())
}

/// Where the first word of a line is after the dashes of YAML's lists.
fn first_word(line: &str) -> usize {
    let mut rest = line.trim_start_matches(' ');
    while let Some(item) = rest.strip_prefix("- ") {
        rest = item.trim_start_matches(' ');
    }
    line.len().saturating_sub(rest.len())
}

/// Whether a line is an item of one of YAML's lists at this column.
fn is_item(line: &str, column: usize) -> bool {
    indent(line) == column && (line.trim_start().starts_with("- ") || line.trim() == "-")
}

/// Whether what begins so is a plain text of YAML, which has no marks of its own.
fn is_plain(said: &str) -> bool {
    !said.starts_with(['|', '>', '&', '*', '!', '{', '[', '#', '"', '\'', '%', '@', '`']) && !said.ends_with('\\')
}

/// Whether a value is not, or not all of it, in the line of its key; `goes_on` is whether a plain one does.
fn is_elsewhere(said: &str, goes_on: bool) -> bool {
    // Of quotes that are escaped or doubled it is not told here where the text ends.
    let is_cut = |quote: char| said.starts_with(quote) && (said.matches(quote).count() != 2 || said.contains('\\'));
    let is_quoted = |quote: char| said.starts_with(quote) && said.trim_end_matches([',', '}', ' ']).ends_with(quote);
    matches!(said.chars().next(), None | Some('|' | '>' | '&' | '*' | '!' | '{' | '[' | '#'))
        || said.ends_with('\\')
        || is_cut('"')
        || is_cut('\'')
        || goes_on && !is_quoted('"') && !is_quoted('\'')
}

pub(super) fn unseen<'a>(text: &str, tag: &str) -> Cow<'a, str> {
    Cow::Owned(format!("<{tag}text: {} bytes that are not shown, as they may hold a password>\n", text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> String {
        redact("", text).1.into_owned()
    }

    #[test]
    fn no_secret_is_shown() {
        for (line, shown) in [
            ("        home: {password: geheim123}\n", "        home: {password: <new secret>\n"),
            ("  \"password\": \"geheim\"\n", "  \"password\": <new secret>\n"),
            ("password=geheim wie nie\n", "password=<new secret>\n"),
            ("private-key-password=geheim\n", "private-key-password=<new secret>\n"),
            ("psk=geheim\n", "psk=<new secret>\n"),
            ("    wpa-psk geheim\n", "    wpa-psk <new secret>\n"),
            ("WPA_PSK='geheim'\n", "WPA_PSK=<new secret>\n"),
            ("KEY1=s:geheim\n", "KEY1=<new secret>\n"),
            ("WIRELESS_KEY_0=geheim", "WIRELESS_KEY_0=<new secret>"),
            ("PrivateKey = geheim\n", "PrivateKey = <new secret>\n"),
            ("PresharedKey=geheim\n", "PresharedKey=<new secret>\n"),
            ("pin=1234\n", "pin=<new secret>\n"),
            ("mka-cak=00ff\n", "mka-cak=<new secret>\n"),
            ("SAE-PT-Group19=00ff\n", "SAE-PT-Group19=<new secret>\n"),
            ("mka_cak=geheim\n", "mka_cak=<new secret>\n"),
            ("wps_nfc_dh_privkey=geheim\n", "wps_nfc_dh_privkey=<new secret>\n"),
            ("cert-pass=geheim\n", "cert-pass=<new secret>\n"),
            ("user-certpass=geheim\n", "user-certpass=<new secret>\n"),
            ("milenage=\"geheim\"\n", "milenage=<new secret>\n"),
            ("headers: {Authorization: Bearer geheim}\n", "headers: {Authorization: <new secret>\n"),
            ("a: {lock_passwd: false}\nlock_passwd: true\n", "a: {lock_passwd: false}\nlock_passwd: true\n"),
            ("a: {lock_passwd: false, passwd: geheim}\n", "a: {lock_passwd: <new secret>\n"),
            ("# the wifi password\nx: 1\n", "# the wifi password\nx: 1\n"),
            ("ap_pin=12345670\n", "ap_pin=<new secret>\n"),
            ("wps_nfc_dev_pw=00ff\n", "wps_nfc_dev_pw=<new secret>\n"),
            ("r0kh=02:01:02:03:04:05 r0kh-1 00ff\n", "r0kh=<new secret>\n"),
            ("r1kh=02:01:02:03:04:05 02:11:22:33:44:55 00ff\n", "r1kh=<new secret>\n"),
            ("wps_pin_requests=/run/hostapd.pins\n", "wps_pin_requests=/run/hostapd.pins\n"),
            ("cookie=geheim\n", "cookie=<new secret>\n"),
            ("    <passphrase>geheim</passphrase>\n", "    <passphrase><new secret>\n"),
            ("{\n  \"password\": \"geheim\",\n", "{\n  \"password\": <new secret>\n"),
            ("ping: 1\n", "ping: 1\n"),
            ("network={\n    psk=\"geheim\"\n}\n", "network={\n    psk=<new secret>\n}\n"),
            ("      key: geheim\n", "      key: <new secret>\n"),
            ("wep-key0=geheim\n", "wep-key0=<new secret>\n"),
            ("802-1x.leap-password=geheim\n", "802-1x.leap-password=<new secret>\n"),
            ("iface eth0 inet dhcp\n", "iface eth0 inet dhcp\n"),
            ("    gateway4: 192.0.2.1\n", "    gateway4: 192.0.2.1\n"),
            ("[Match]\nName=eth0\n", "[Match]\nName=eth0\n"),
            ("renderer: networkd\n", "renderer: networkd\n"),
        ] {
            assert_eq!(of(line), shown, "{line}");
        }
        for text in [
            "password:\ngeheim\n",
            "password:\n\"geheim\"\n",
            "password:\n  \"\n geheim\"\n",
            "password:\n  [aus,\ngeheim]\n",
            "password:\n- *x\n- x: geheim\n",
            "chpasswd:\n  list: *x\nx: &x geheim\n",
            "psk=a\\\ngeheim\n",
            "psk=\n  geheim\n",
            "password: \"ge\n heim\"\n",
            "x: &x geheim\npassword: *x\n",
            "? password\n: geheim\n",
            "- ? password\n  : geheim\n",
            "\"pass\\x77ord\": geheim\n",
            "home: {\n  password: aus\n  geheim}\n",
            "home: {a: b,\npassword: aus\ngeheim}\n",
            "home: {a: b,\npassword:\n geheim}\n",
            "<passphrase>\ngeheim</passphrase>\n",
            "x: 1\n? password\n: geheim\n",
            "x: 1\n?\n  password\n: geheim\n",
            "x:\n    home: {password: aus\n    geheim}\n",
            "x:\n  password: \"a\\\"\n    geheim\"\n",
            "x:\n  password: 'it''\n    geheim'\n",
            "k: &k password\nm: {*k : geheim}\n",
            "\"my password\": |\n geheim\n",
            "&x password: |\n geheim\n",
            "password: &x |\n geheim\n",
            "[vpn-secrets]\nanything=geheim\n",
            "blob-base64-ca={\ngeheim\n}\n",
            "machine a login b password\ngeheim\n",
            "    wpa-p\\\nsk geheim\n",
        ] {
            let said = of(text);
            assert!(said.starts_with("<new text: ") && !said.contains("heim"), "{said}");
        }
        // What stays in both shows that it stays, and what changes that it does.
        let (before, after) = redact("psk=a\nx=1\n", "psk=b\nx=1\n");
        assert_eq!((&*before, &*after), ("psk=<old secret>\nx=1\n", "psk=<new secret>\nx=1\n"));
        let (before, after) = redact("psk=a\nx=1\n", "psk=a\nx=2\n");
        assert_eq!((&*before, &*after), ("psk=<secret>\nx=1\n", "psk=<secret>\nx=2\n"));
    }
    /// Values of YAML over several lines, and what of the text is not theirs.
    #[test]
    fn lines_of_a_value_are_hidden() {
        let hidden = "<new secret>";
        for (text, shown) in [
            ("password: >-\n  geheim\nx: 1\n", format!("password: {hidden}\n  {hidden}\nx: 1\n")),
            ("password:\n  geheim\nx: 1\n", format!("password:\n  {hidden}\nx: 1\n")),
            ("password: aus\n  geheim\nx: 1\n", format!("password: {hidden}\n  {hidden}\nx: 1\n")),
            ("- password: aus\n\n   geheim\n", format!("- password: {hidden}\n\n   {hidden}\n")),
            ("password: # geheim\n  geheim\n", format!("password: {hidden}\n  {hidden}\n")),
            (
                "chpasswd:\n  list: |\n# a\n    pi:geheim\nx: 1\n",
                format!("chpasswd:\n  {hidden}\n{hidden}\n    {hidden}\nx: 1\n"),
            ),
            ("chpasswd:\n- pi:geheim\n- x\nx: 1\n", format!("chpasswd:\n{hidden}\n{hidden}\nx: 1\n")),
            (
                "write_files:\n- path: /x\n  content: |\n    {geheim\\\n\n   'geheim\n  owner: root\n- content: !!binary |-\n    Z2Vo\n  path: /y\n",
                format!(
                    "write_files:\n- path: /x\n  content: {hidden}\n    {hidden}\n\n   {hidden}\n  owner: root\n- content: {hidden}\n    {hidden}\n  path: /y\n"
                ),
            ),
            ("- {path: /x, content: geheim}\n", format!("- {{path: /x, content: {hidden}\n")),
            ("# the content of this file\n", "# the content of this file\n".to_owned()),
        ] {
            assert_eq!(of(text), shown, "{text}");
        }
        // A line that goes, one that stays, and one that comes.
        let (before, after) = redact("content: |\n  a\n  b\n", "content: |\n  b\n  c\n");
        assert_eq!(before, "content: <secret>\n  <old secret>\n  <secret>\n");
        assert_eq!(after, "content: <secret>\n  <secret>\n  <new secret>\n");
    }
}
