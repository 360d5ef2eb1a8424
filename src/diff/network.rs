//! Files of a guest's network in a diff: what they hold of passwords and private keys is not shown.

use super::{Sensitivity, hide};
use crate::guest::cloud_config::Configuration;
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;
use imgraft_vfs::{ErrorKind, Result};
use regex::bytes::{Captures, Regex, RegexBuilder};
use std::borrow::Cow;
use std::sync::LazyLock;

/// Where the programs that configure networks have their files, those of Wi-Fi and VPNs among them; cloud-init has the network among
/// other things, and passwords as well.
const PLACES: [&str; 16] = [
    "/etc/cloud/cloud.cfg",
    "/etc/hostapd/",
    "/etc/netplan/",
    "/etc/network/",
    "/etc/systemd/network/",
    "/etc/NetworkManager/",
    "/etc/ppp/",
    "/etc/sysconfig/network",
    "/etc/wicked/",
    "/etc/wpa_supplicant",
    "/etc/wireguard/",
    "/usr/lib/netplan/",
    "/usr/lib/NetworkManager/",
    "/usr/lib/systemd/network/",
    "/usr/local/lib/systemd/network/",
    "/var/lib/iwd/",
];

/// The directory among them that cloud-init reads.
const CLOUD_CONFIG: &str = "/etc/cloud/cloud.cfg.d/";

/// A key that is called after a secret, with what stands between it and its value: `psk=`, `wpa-psk `, `"password": `, `PrivateKey = `,
/// `<passphrase>`.
static KEY: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let word = "[a-z0-9_.@-]*";
    let secrets = "passw(?:or)?d|passphrase|psk|secret|private|preshared-?key|sae-pt|wep[_-]?key|wireless-key|access-?key|\\
        api-?key|priv-?key|_key[0-9]*|\\bkey[0-9]*|cak\\b|\\bcookie|\\bpin\\b|\\btoken|pass\\b";
    let between = r#"["']?(?:[ \t]*[=:>][ \t]*|[ \t]+)"#;
    let key = format!(r#"(?P<key>["']?{word}(?:{secrets}){word}{between})(?P<value>[^ \t].*)?"#);
    RegexBuilder::new(&key).unicode(false).case_insensitive(true).build().ok()
});

/// What YAML has beside `key: value` for it: a key after a `?`, one that is an alias, or one with characters that are escaped. And a
/// line that goes on in the next one, within a key it may be, and a section in which every key is a secret.
static ODD_KEY: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let begin = r"(?:^|[ \t{\[,-])";
    let odd = [
        &format!(r"{begin}\?(?:[ \t]|$)"),
        &format!(r"{begin}\*[^ \t:]+[ \t]*:"),
        r#""[^"]*\\[^"]*"[ \t]*:"#,
        r"\\$",
        r"^\[vpn-secrets\]",
    ];
    RegexBuilder::new(&odd.join("|")).unicode(false).multi_line(true).build().ok()
});

/// Where files about the network are that are not where they usually are.
#[derive(Debug, Default)]
pub struct Places(Vec<(String, &'static str)>);

impl Places {
    /// Of a guest as a run makes it: where links in the place of these directories lead, and where cloud-init reads what adds to its
    /// configuration.
    pub fn staged(stage: &Stage<'_>) -> Result<Self> {
        let usual = PLACES.iter().filter_map(|place| Some((GuestPath::parse(place.strip_suffix('/')?), *place)));
        let usual = usual.map(|(path, place)| Ok((path?, place))).collect::<Result<Vec<_>>>()?;
        let moved = Configuration::staged(stage)?.directory.path().map(|path| (path, CLOUD_CONFIG));
        let mut places = Vec::new();
        for (path, place) in usual.into_iter().chain(moved) {
            let at = match stage.resolve(&path) {
                Ok(at) => format!("{}/", at.to_string().trim_end_matches('/')),
                // Where the way leads nowhere, no file is there.
                Err(error) if matches!(error.kind(), ErrorKind::Denied | ErrorKind::WrongType) => continue,
                Err(error) => return Err(error),
            };
            if !at.starts_with(place) {
                places.push((at, place));
            }
        }
        Ok(Self(places))
    }

    /// What a file at this path may hold.
    pub(super) fn sensitivity(&self, path: &str) -> Sensitivity {
        let led = self.0.iter().filter_map(|(at, place)| Some(format!("{place}{}", path.strip_prefix(at.as_str())?)));
        led.map(|path| usual(&path)).fold(usual(path), Sensitivity::max)
    }
}

/// What a file at this path may hold where nothing leads elsewhere.
fn usual(path: &str) -> Sensitivity {
    // Lines of client, server, secret and addresses (pppd(8)); a key as wg(8) makes it, alone or as a PrivateKeyFile=.
    let is_bare = (path.starts_with("/etc/ppp/") && path.contains("-secrets"))
        || (path.starts_with("/etc/wireguard/") && !path.ends_with(".conf"))
        || path.ends_with(".key");
    match PLACES.iter().any(|place| path.starts_with(place)) {
        true if is_bare => Sensitivity::Unseen,
        true => Sensitivity::Network,
        false => Sensitivity::Plain,
    }
}

/// Hides the value of every such key, with all that follows in its line. Of a text with one whose value is not in that line nothing is
/// shown.
pub(super) fn redact<'a>(before: &str, after: &str) -> (Cow<'a, str>, Cow<'a, str>) {
    (hide_secrets(before, after, "old "), hide_secrets(after, before, "new "))
}

fn hide_secrets<'a>(text: &str, other: &str, tag: &str) -> Cow<'a, str> {
    let Some(key) = &*KEY else { return unseen(text, tag) };
    if ODD_KEY.as_ref().is_none_or(|odd| odd.is_match(text.as_bytes())) || has_value_elsewhere(text, key) {
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

/// Whether a value of such a key is not, or not all of it, in the line of its key.
fn has_value_elsewhere(text: &str, key: &Regex) -> bool {
    // A mapping of YAML in braces goes over lines, with any indentation.
    let mut is_open = false;
    let mut lines = text.lines().filter(|line| !line.trim().is_empty()).peekable();
    while let Some(line) = lines.next() {
        let braces = |one: char, other: char| line.matches(one).count() != line.matches(other).count();
        // One of wpa_supplicant's blocks has its keys in lines of their own.
        is_open |= !line.trim_end().ends_with("={") && line.trim() != "}" && (braces('{', '}') || braces('[', ']'));
        let Some(found) = key.captures(line.as_bytes()) else { continue };
        let value = found.name("value").map_or(&b""[..], |value| value.as_bytes());
        let value = String::from_utf8_lossy(value);
        let value = value.trim_end();
        // Of quotes that are escaped or doubled it is not told here where the text ends.
        let is_cut =
            |quote: char| value.starts_with(quote) && (value.matches(quote).count() != 2 || value.contains('\\'));
        // A plain value of YAML goes on in lines that are indented more than its key.
        let column = found.get(0).map_or(0, |found| found.start());
        let indent = |line: &&str| line.len().saturating_sub(line.trim_start().len());
        let goes_on = lines.peek().is_some_and(|next| indent(next) > column);
        let is_quoted =
            |quote: char| value.starts_with(quote) && value.trim_end_matches([',', '}', ' ']).ends_with(quote);
        if matches!(value.chars().next(), None | Some('|' | '>' | '&' | '*' | '!' | '{' | '[' | '#'))
            || value.ends_with('\\')
            || is_cut('"')
            || is_cut('\'')
            || (goes_on || is_open) && !is_quoted('"') && !is_quoted('\'')
        {
            return true;
        }
    }
    false
}

fn unseen<'a>(text: &str, tag: &str) -> Cow<'a, str> {
    Cow::Owned(format!("<{tag}text: {} bytes that are not shown, as they may hold a password>\n", text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use imgraft_vfs::fs::mem::MemFs;

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
            "password: >-\n  geheim\n",
            "password:\n  geheim\n",
            "psk=a\\\ngeheim\n",
            "password: \"ge\n heim\"\n",
            "password: aus\n  geheim\n",
            "- password: aus\n\n   geheim\n",
            "x: &x geheim\npassword: *x\n",
            "password: # geheim\n  geheim\n",
            "? password\n: geheim\n",
            "- ? password\n  : geheim\n",
            "\"pass\\x77ord\": geheim\n",
            "home: {\n  password: aus\n  geheim}\n",
            "home: {a: b,\npassword: aus\ngeheim}\n",
            "<passphrase>\ngeheim</passphrase>\n",
            "x: 1\n? password\n: geheim\n",
            "x: 1\n?\n  password\n: geheim\n",
            "x:\n    home: {password: aus\n    geheim}\n",
            "x:\n  password: \"a\\\"\n    geheim\"\n",
            "x:\n  password: 'it''\n    geheim'\n",
            "k: &k password\nm: {*k : geheim}\n",
            "[vpn-secrets]\nanything=geheim\n",
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

    #[test]
    fn whose_files_these_are() {
        for (path, is) in [
            ("/etc/netplan/70-wifi.yaml", Sensitivity::Network),
            ("/etc/sysconfig/network-scripts/keys-home", Sensitivity::Network),
            ("/etc/sysconfig/network/ifcfg-wlan0", Sensitivity::Network),
            ("/etc/wpa_supplicant.conf", Sensitivity::Network),
            ("/etc/cloud/cloud.cfg.d/90_dpkg.cfg", Sensitivity::Network),
            ("/var/lib/iwd/home.psk", Sensitivity::Network),
            ("/etc/ppp/peers/isp", Sensitivity::Network),
            ("/etc/ppp/chap-secrets", Sensitivity::Unseen),
            ("/etc/ppp/chap-secrets.bak", Sensitivity::Unseen),
            ("/etc/wireguard/privatekey", Sensitivity::Unseen),
            ("/etc/wireguard/wg0.conf", Sensitivity::Network),
            ("/etc/systemd/network/wg.key", Sensitivity::Unseen),
            ("/etc/motd", Sensitivity::Plain),
            ("/srv/etc/netplan/x", Sensitivity::Plain),
        ] {
            assert_eq!(usual(path), is, "{path}");
        }
    }

    /// Links, and cloud-init's conf_d, lead elsewhere.
    #[test]
    fn where_files_really_are() {
        let fs = MemFs::builder()
            .file("/srv/np/a.yaml", "")
            .symlink("/etc/netplan", "/srv/np")
            .symlink("/etc/ppp", "../srv/ppp")
            .file("/srv/ppp/options", "")
            .symlink("/etc/wireguard", "/etc/wireguard")
            .file("/etc/cloud/cloud.cfg", "conf_d: /srv/cc\n")
            .build()
            .unwrap();
        let places = Places::staged(&Stage::new(&fs)).unwrap();
        for (path, is) in [
            ("/srv/np/a.yaml", Sensitivity::Network),
            ("/srv/ppp/chap-secrets", Sensitivity::Unseen),
            ("/srv/cc/a.cfg", Sensitivity::Network),
            ("/etc/cloud/cloud.cfg.d/a.cfg", Sensitivity::Network),
            ("/srv/npx/a.yaml", Sensitivity::Plain),
        ] {
            assert_eq!(places.sensitivity(path), is, "{path}");
        }
    }
}
