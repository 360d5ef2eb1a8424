//! Files of a guest's network in a diff: what they hold of passwords and private keys is not shown.

use super::hide;
use imgraft_vfs::path::Resolved;
use regex::bytes::{Captures, Regex, RegexBuilder};
use std::borrow::Cow;
use std::sync::LazyLock;

/// Where the programs that configure networks have their files, those of Wi-Fi and VPNs among them.
const PLACES: [&str; 9] = [
    "/etc/netplan/",
    "/etc/network/",
    "/etc/systemd/network/",
    "/etc/NetworkManager/",
    "/etc/sysconfig/network",
    "/etc/wpa_supplicant",
    "/etc/wireguard/",
    "/usr/lib/netplan/",
    "/usr/lib/NetworkManager/",
];

/// A key that is called after a secret, with what stands between it and its value: `psk=`, `wpa-psk `, `"password": `, `PrivateKey = `.
static KEY: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let word = "[a-z0-9_.@-]*";
    let secrets =
        "passw(?:or)?d|passphrase|psk|secret|private|preshared-?key|wep[_-]?key|wireless-key|_key[0-9]*|\\bkey[0-9]*";
    let key = format!(r#"(?P<key>["']?{word}(?:{secrets}){word}["']?(?:[ \t]*[=:][ \t]*|[ \t]+))(?P<value>[^ \t].*)?"#);
    RegexBuilder::new(&key).unicode(false).case_insensitive(true).build().ok()
});

/// Whether a file is one of these.
pub fn is_network(path: &Resolved) -> bool {
    is_place(&path.to_string())
}

fn is_place(path: &str) -> bool {
    PLACES.iter().any(|place| path.starts_with(place))
}

/// Hides the value of every such key, with all that follows in its line. Of a text with one whose value is not in that line nothing is
/// shown.
pub(super) fn redact<'a>(before: &str, after: &str) -> (Cow<'a, str>, Cow<'a, str>) {
    (hide_secrets(before, after, "old "), hide_secrets(after, before, "new "))
}

fn hide_secrets<'a>(text: &str, other: &str, tag: &str) -> Cow<'a, str> {
    let Some(key) = &*KEY else { return unseen(text, tag) };
    let goes_on = |line: &str| {
        key.captures(line.as_bytes()).is_some_and(|found| {
            let value = found.name("value").map_or(&b""[..], |value| value.as_bytes());
            let value = String::from_utf8_lossy(value);
            let value = value.trim_end();
            let is_open = |quote: char| value.starts_with(quote) && value.matches(quote).count() < 2;
            matches!(value.chars().next(), None | Some('|' | '>' | '&' | '!' | '{' | '['))
                || value.ends_with('\\')
                || is_open('"')
                || is_open('\'')
        })
    };
    if text.lines().any(goes_on) {
        return unseen(text, tag);
    }
    hide(text, other, tag, |line, tag| {
        let hidden = key.replace(line.trim_end_matches('\n').as_bytes(), |found: &Captures<'_>| {
            let key = found.name("key").map_or(&b""[..], |key| key.as_bytes());
            [key, b"<", tag.as_bytes(), b"secret>"].concat()
        });
        let end = if line.ends_with('\n') { "\n" } else { "" };
        format!("{}{end}", String::from_utf8_lossy(&hidden))
    })
}

fn unseen<'a>(text: &str, tag: &str) -> Cow<'a, str> {
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
        for text in
            ["password: >-\n  geheim\n", "password:\n  geheim\n", "psk=a\\\ngeheim\n", "password: \"ge\n heim\"\n"]
        {
            let said = of(text);
            assert!(said.starts_with("<new text: ") && !said.contains("heim"), "{said}");
        }
        // What stays in both shows that it stays, and what changes that it does.
        let (before, after) = redact("psk=a\nx=1\n", "psk=b\nx=1\n");
        assert_eq!((&*before, &*after), ("psk=<old secret>\nx=1\n", "psk=<new secret>\nx=1\n"));
        let (before, after) = redact("psk=a\nx=1\n", "psk=a\nx=2\n");
        assert_eq!((&*before, &*after), ("psk=<secret>\nx=1\n", "psk=<secret>\nx=2\n"));
    }

    #[test]
    fn whose_files_these_are() {
        for (path, is) in [
            ("/etc/netplan/70-wifi.yaml", true),
            ("/etc/sysconfig/network-scripts/keys-home", true),
            ("/etc/sysconfig/network/ifcfg-wlan0", true),
            ("/etc/wpa_supplicant.conf", true),
            ("/etc/motd", false),
            ("/srv/etc/netplan/x", false),
        ] {
            assert_eq!(is_place(path), is, "{path}");
        }
    }
}
