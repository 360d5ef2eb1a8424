//! A guest's host name: hostname(5), what older guests read instead, and its lines in hosts(5).

use super::cloud_config::{self, Rule, Wanted};
use super::{InjectError, Injector, Item, Outcome, READ_LIMIT, ROOT_FILE, label};
use crate::guest::Guest;
use imgraft_vfs::fs::{Content, FileType};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;

/// The longest name that Linux keeps, in bytes (HOST_NAME_MAX, gethostname(2)).
const NAME_MAX: usize = 64;
/// The longest part of a name between dots, in bytes (RFC 1035).
const LABEL_MAX: usize = 63;

const HOSTNAME: &str = "/etc/hostname";
const HOSTS: &str = "/etc/hosts";
const NSSWITCH: &str = "/etc/nsswitch.conf";

/// A host name, with a domain or without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName(String);

impl HostName {
    /// The name; why it is none, a clause, where it breaks the rules of hostname(7).
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() {
            return Err("it is empty");
        }
        if text.len() > NAME_MAX {
            return Err("it is longer than the 64 characters that Linux keeps");
        }
        for label in text.split('.') {
            if label.is_empty() {
                return Err("a part of it between dots is empty");
            }
            if label.len() > LABEL_MAX {
                return Err("a part of it is longer than 63 characters");
            }
            if !label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
                return Err("only letters, digits, hyphens and dots can be in it");
            }
            if label.starts_with('-') || label.ends_with('-') {
                return Err("a part of it begins or ends with a hyphen");
            }
        }
        Ok(Self(text.to_owned()))
    }

    /// The name as it was given.
    pub(super) fn name(&self) -> &str {
        &self.0
    }

    fn short(&self) -> &str {
        self.0.split_once('.').map_or(&self.0, |(short, _)| short)
    }

    fn domain(&self) -> Option<&str> {
        self.0.split_once('.').map(|(_, domain)| domain)
    }

    /// The name of this machine where it was called `old` before, and `name` is one of its names in a line of its own.
    fn instead_of(&self, name: &[u8], old: &Self) -> Option<Vec<u8>> {
        let dot = name.iter().position(|byte| *byte == b'.').unwrap_or(name.len());
        let (short, domain) = name.split_at(dot);
        if !short.eq_ignore_ascii_case(old.short().as_bytes()) {
            return None;
        }
        let own = match self.domain() {
            _ if domain.is_empty() => self.short().as_bytes().to_vec(),
            Some(_) => self.0.as_bytes().to_vec(),
            // A name without a domain leaves the machine in the one that it was in.
            None => [self.0.as_bytes(), domain].concat(),
        };
        Some(if own.eq_ignore_ascii_case(name) { name.to_vec() } else { own })
    }

    /// Whether a line of hosts(5) is about the machine of this name: it is at a loopback address, or has the name as it stands. A
    /// machine of another domain may begin with the same word.
    fn is_of(&self, line: &[&[u8]]) -> bool {
        line.first().is_some_and(|address| is_loopback(address)) || has(line, &self.0)
    }

    /// Its spellings in a line of hosts(5), the canonical one first.
    fn spellings(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&*self.0).chain(self.domain().map(|_| self.short()))
    }

    /// Whether it is nobody's own: what a guest is called that has not been given a name.
    fn is_generic(&self) -> bool {
        self.short().eq_ignore_ascii_case("localhost")
    }
}

/// The host name of a guest.
#[derive(Clone, Debug)]
pub struct Hostname {
    /// The name.
    pub name: HostName,
}

impl Injector for Hostname {
    fn item(&self) -> Item {
        Item::Hostname
    }

    fn stage(&self, guest: &Guest, stage: &mut Stage<'_>) -> Result<Outcome, InjectError> {
        let before = stage.savepoint();
        let mut outcome = Outcome::default();
        let old = of(stage)?;
        let plain = GuestPath::parse(HOSTNAME)?;
        let target = stage.resolve(&plain)?;
        if target.as_bytes().starts_with(b"/run/") {
            // Empty at every boot (file-hierarchy(7)); hostnamectl puts a file in the place of the link, too.
            stage.remove(&plain)?;
            outcome.notes.push(format!(
                "{plain} was a link to {target}, where the guest would not see the name, and is a file now"
            ));
        }
        stage.write(&plain, Content::bytes(format!("{}\n", self.name.0).into_bytes()), ROOT_FILE)?;
        for (path, key) in ASSIGNED {
            self.assign(path, key, stage)?;
        }
        self.hosts(old.as_ref(), stage)?;
        have_cloud_init_stand_aside(stage, &mut outcome)?;
        outcome.host_name = Some(self.name.clone());
        label::label_new(guest, stage, &before, &mut outcome)?;
        Ok(outcome)
    }
}

/// Where guests without hostname(5) have it: Red Hat's initscripts, and OpenRC's on Gentoo.
const ASSIGNED: [(&str, &str); 2] = [("/etc/sysconfig/network", "HOSTNAME"), ("/etc/conf.d/hostname", "hostname")];

impl Hostname {
    /// Gives a variable of a shell script that is there the name.
    fn assign(&self, path: &str, key: &str, stage: &mut Stage<'_>) -> Result<(), InjectError> {
        let Some(text) = text(stage, path)?.filter(|text| lines(text).any(|line| assigned(line, key).is_some())) else {
            return Ok(());
        };
        let ours = format!("{key}=\"{}\"\n", self.name.0).into_bytes();
        let changed: Vec<&[u8]> =
            lines(&text).map(|line| if assigned(line, key).is_some() { &*ours } else { line }).collect();
        Ok(stage.write(&GuestPath::parse(path)?, Content::bytes(changed.concat()), ROOT_FILE)?)
    }

    /// Has the name in hosts(5) wherever the old one was; else in a line of its own, where nothing else finds it.
    fn hosts(&self, old: Option<&HostName>, stage: &mut Stage<'_>) -> Result<(), InjectError> {
        let path = GuestPath::parse(HOSTS)?;
        let found = stage.read(&path, READ_LIMIT)?;
        let before = found.as_deref().unwrap_or(b"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
        let renamed = |line: &[u8]| old.and_then(|old| self.renamed(line, old)).unwrap_or_else(|| line.to_vec());
        let mut after: Vec<u8> = lines(before).flat_map(renamed).collect();
        let is_there = |name: &str| lines(&after).any(|line| has(&words(line), name));
        // Its short name alone may be the one of another machine, in another domain.
        let is_found = is_there(&self.name.0);
        if !is_found && !finds_itself(stage)? {
            // What leads to another machine already goes on to.
            let own: Vec<&str> = self.name.spellings().filter(|name| !is_there(name)).collect();
            let own = own.join(" ");
            let has_v6 = lines(&after).any(|line| words(line).first() == Some(&&b"::1"[..]));
            let line = match self.name.is_generic() {
                false => format!("127.0.1.1\t{own}\n"),
                true if has_v6 => format!("127.0.0.1\t{own}\n"),
                true => format!("127.0.0.1\t{own}\n::1\t{own}\n"),
            };
            let local = |line: &&[u8]| {
                words(line).first().is_some_and(|address| is_loopback(address) && address.contains(&b'.'))
            };
            let lines: Vec<&[u8]> = lines(&after).collect();
            let at = lines.iter().rposition(local).map_or(0, |last| last.saturating_add(1));
            let (head, tail) = lines.split_at(at);
            let end: &[u8] = if head.last().is_some_and(|last| !last.ends_with(b"\n")) { b"\n" } else { b"" };
            after = [&head.concat(), end, line.as_bytes(), &tail.concat()].concat();
        }
        if after != before || (found.is_none() && is_found) {
            stage.write(&path, Content::bytes(after), ROOT_FILE)?;
        } else if is_found {
            stage.confirm(&path)?;
        }
        Ok(())
    }

    /// Has the name in hosts(5) that was written anew with this item: what is in it is the user's own word, and a line for the name is
    /// added where it has none. Whether `written` is that file.
    pub(super) fn in_written(
        &self,
        written: &GuestPath,
        stage: &mut Stage<'_>,
        outcome: &mut Outcome,
    ) -> Result<bool, InjectError> {
        let path = GuestPath::parse(HOSTS)?;
        if stage.resolve(written)? != stage.resolve(&path)? {
            return Ok(false);
        }
        let before = stage.savepoint();
        self.hosts(None, stage)?;
        if !stage.changes_since(&before)?.is_empty() {
            outcome.notes.push(format!("{path}: it has no '{}', for which a line is added", self.name.0));
        }
        Ok(true)
    }

    /// A line of hosts(5) with the new name for the old one; `None` where that is not in it.
    fn renamed(&self, line: &[u8], old: &HostName) -> Option<Vec<u8>> {
        let (entry, comment) = line.split_at(line.iter().position(|byte| *byte == b'#').unwrap_or(line.len()));
        let line_words = words(entry);
        let mut own: Vec<Vec<u8>> = Vec::new();
        for name in line_words.iter().skip(1).filter_map(|name| self.name.instead_of(name, old)) {
            if !own.contains(&name) {
                own.push(name);
            }
        }
        if own.is_empty() || !old.is_of(&line_words) {
            return None;
        }
        let whole = self.name.0.as_bytes();
        if self.name.domain().is_some() && !own.iter().any(|name| name.eq_ignore_ascii_case(whole)) {
            own.insert(0, whole.to_vec());
        }
        let mut own = Some(own.join(&b' '));
        let mut out = Vec::with_capacity(line.len());
        let mut rest = entry;
        let mut is_name = false;
        while !rest.is_empty() {
            let start = rest.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(rest.len());
            let (gap, from) = rest.split_at(start);
            let end = from.iter().position(u8::is_ascii_whitespace).unwrap_or(from.len());
            let (word, after) = from.split_at(end);
            rest = after;
            if !is_name || word.is_empty() || self.name.instead_of(word, old).is_none() {
                out.extend_from_slice(gap);
                out.extend_from_slice(word);
            } else if let Some(own) = own.take() {
                out.extend_from_slice(gap);
                out.extend_from_slice(&own);
            }
            is_name |= !word.is_empty();
        }
        out.extend_from_slice(comment);
        Some(out)
    }
}

/// cloud-init gives the machine the name that its metadata has, at each boot, unless it is told to keep the one that is there.
fn have_cloud_init_stand_aside(stage: &mut Stage<'_>, outcome: &mut Outcome) -> Result<(), InjectError> {
    let rules = vec![
        Rule { key: "preserve_hostname", wanted: Wanted::True },
        Rule { key: "manage_etc_hosts", wanted: Wanted::HostsAreLeft },
    ];
    let why = "The name is in /etc/hostname and /etc/hosts already.";
    if let Some(path) = cloud_config::keep("hostname", why, rules, stage, outcome)? {
        outcome.notes.push(format!("{path}: cloud-init is told to keep the name"));
    }
    Ok(())
}

/// What the guest is called, where it has a name of its own.
pub(super) fn of(stage: &Stage<'_>) -> Result<Option<HostName>, InjectError> {
    let mut names = Vec::new();
    if let Some(text) = text(stage, HOSTNAME)? {
        let mut lines = lines(&text).map(<[u8]>::trim_ascii);
        names.extend(lines.find(|line| !line.is_empty() && !line.starts_with(b"#")).map(<[u8]>::to_vec));
    }
    for (path, key) in ASSIGNED {
        if let Some(text) = text(stage, path)? {
            names.extend(lines(&text).filter_map(|line| assigned(line, key)).last().map(<[u8]>::to_vec));
        }
    }
    let mut names = names.iter().filter_map(|name| HostName::parse(std::str::from_utf8(name).ok()?).ok());
    Ok(names.find(|name| !name.is_generic()))
}

/// What is in a file of the guest's; `None` where it is missing or none. Where Red Hat has a file, SUSE has a directory.
fn text(stage: &Stage<'_>, path: &str) -> Result<Option<Vec<u8>>, InjectError> {
    let path = GuestPath::parse(path)?;
    if stage.metadata(&path)?.is_some_and(|metadata| metadata.file_type == FileType::Directory) {
        return Ok(None);
    }
    Ok(stage.read(&path, READ_LIMIT)?)
}

/// The lines of a text, each with its end.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|byte| *byte == b'\n')
}

/// What a line of a shell script gives a variable, without quotes.
fn assigned<'a>(line: &'a [u8], key: &str) -> Option<&'a [u8]> {
    let is_quote = |byte: &u8| matches!(byte, b'"' | b'\'');
    let mut value = line.trim_ascii().strip_prefix(key.as_bytes())?.strip_prefix(b"=")?;
    while let Some(inner) = value.split_first().filter(|(first, _)| is_quote(first)).map(|(_, inner)| inner) {
        value = inner;
    }
    while let Some(inner) = value.split_last().filter(|(last, _)| is_quote(last)).map(|(_, inner)| inner) {
        value = inner;
    }
    Some(value)
}

/// The words of a line of hosts(5): an address, and names.
fn words(line: &[u8]) -> Vec<&[u8]> {
    let entry = line.split(|byte| *byte == b'#').next().unwrap_or_default();
    entry.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect()
}

/// Whether a line of hosts(5) has a name.
fn has(line: &[&[u8]], name: &str) -> bool {
    line.iter().skip(1).any(|other| other.eq_ignore_ascii_case(name.as_bytes()))
}

fn is_loopback(address: &[u8]) -> bool {
    address.starts_with(b"127.") || address == b"::1"
}

/// Whether the guest finds its own name without a line in hosts(5): nss-myhostname(8).
fn finds_itself(stage: &Stage<'_>) -> Result<bool, InjectError> {
    let Some(text) = text(stage, NSSWITCH)? else { return Ok(false) };
    let mut hosts = lines(&text).filter_map(|line| line.trim_ascii_start().strip_prefix(b"hosts:"));
    Ok(hosts.any(|sources| words(sources).contains(&&b"myhostname"[..])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::testing::{assert_unchanged, bytes, exists, fedora, inject, notes, phony, refusal, text};

    fn hostname(name: &str) -> Hostname {
        Hostname { name: HostName::parse(name).unwrap() }
    }

    #[test]
    fn names_as_hostname_7_has_them() {
        for good in ["a", "web-1", "web.example.org", "4you", "X", &format!("{}.a", "b".repeat(62))] {
            assert!(HostName::parse(good).is_ok(), "{good}");
        }
        let long = "a.".repeat(32) + "bc";
        for bad in
            ["", ".", "a.", ".a", "a..b", "-a", "a-", "a.-b", "a_b", "a b", "\u{e4}", "a\n", &"a".repeat(64), &long]
        {
            assert!(HostName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_guest_without_a_name_gets_one() {
        let fs = inject(&hostname("web"), phony().build().unwrap());
        assert_eq!(super::super::testing::text(&fs, "/etc/hostname"), "web\n");
        let hosts = "127.0.0.1\tlocalhost\n127.0.1.1\tweb\n::1\tlocalhost ip6-localhost ip6-loopback\n";
        assert_eq!(text(&fs, "/etc/hosts"), hosts);
        assert!(!exists(&fs, "/etc/sysconfig"));
        assert_unchanged(&hostname("web"), &fs);
    }

    #[track_caller]
    fn hosts(old: &str, hosts: &str, new: &str) -> String {
        let fs = phony().file("/etc/hostname", format!("# old\n{old}\n")).file("/etc/hosts", hosts).build().unwrap();
        let fs = inject(&hostname(new), fs);
        assert_unchanged(&hostname(new), &fs);
        text(&fs, "/etc/hosts")
    }

    #[test]
    fn the_old_name_goes_from_hosts() {
        let debian = "127.0.0.1\tlocalhost\n127.0.1.1\told.example.net\told  # me\n\n::1  ip6-localhost\n10.0.0.1 older old.net\n";
        assert_eq!(
            hosts("old", debian, "web"),
            "127.0.0.1\tlocalhost\n127.0.1.1\tweb.example.net web  # me\n\n::1  ip6-localhost\n10.0.0.1 older old.net\n"
        );
        assert_eq!(
            hosts("OLD.example.net", debian, "web.example.org"),
            "127.0.0.1\tlocalhost\n127.0.1.1\tweb.example.org web  # me\n\n::1  ip6-localhost\n10.0.0.1 older old.net\n"
        );
        assert_eq!(hosts("old", "127.0.1.1 old\n", "a.b"), "127.0.1.1 a.b a\n");
        assert_eq!(hosts("old", "127.0.1.1 localhost old other", "a"), "127.0.1.1 localhost a other");
        // A machine with an address of its own; and another one, whose name begins alike.
        let own = "127.0.0.1 localhost\n10.0.0.5 old.example.net old\n198.51.100.7 old.partner.example\n198.51.100.8 old-b old\n";
        assert_eq!(
            hosts("old.example.net", own, "web"),
            "127.0.0.1 localhost\n10.0.0.5 web.example.net web\n198.51.100.7 old.partner.example\n198.51.100.8 old-b old\n"
        );
        // An address is no name, and a comment no line.
        assert_eq!(
            hosts("old", "old 127.0.1.1\n#127.0.1.1 old\n", "a"),
            "127.0.1.1\ta\nold 127.0.1.1\n#127.0.1.1 old\n"
        );
    }

    /// It is the one of the loopback device, where programs look for it.
    #[test]
    fn localhost_is_at_its_own_address() {
        let other = "10.0.0.9 other\n";
        assert_eq!(hosts("", other, "localhost"), format!("127.0.0.1\tlocalhost\n::1\tlocalhost\n{other}"));
        let v6 = "::1 ip6-localhost\n";
        assert_eq!(hosts("", v6, "localhost"), format!("127.0.0.1\tlocalhost\n{v6}"));
        let both = "localhost.localdomain localhost";
        assert_eq!(hosts("", other, "localhost.localdomain"), format!("127.0.0.1\t{both}\n::1\t{both}\n{other}"));
        let there = "127.0.0.1 localhost\n";
        assert_eq!(hosts("web", there, "localhost"), there);
    }

    /// A short name that is another machine's does not make the whole one known, and stays that machine's.
    #[test]
    fn a_machine_of_another_domain_with_the_same_short_name() {
        let other = "127.0.0.1 localhost\n10.0.0.9 web.other.org web\n";
        let own = "127.0.0.1 localhost\n127.0.1.1\tweb.example.org\n10.0.0.9 web.other.org web\n";
        assert_eq!(hosts("", other, "web.example.org"), own);
        assert_eq!(hosts("old", other, "web.example.org"), own);
        let other = "10.0.0.9 web.other.org\n";
        assert_eq!(hosts("", other, "web.example.org"), format!("127.0.1.1\tweb.example.org web\n{other}"));
        for found in ["10.0.0.9 WEB.example.org\n", "127.0.1.1 a web.example.org # me\n"] {
            assert_eq!(hosts("", found, "web.example.org"), found);
        }
    }

    /// What is no text in UTF-8 stays, byte for byte, and what is beside it is read all the same.
    #[test]
    fn bytes_that_are_no_text() {
        let guest = || {
            phony()
                .file("/etc/hostname", b"# B\xfcro\nold\n")
                .file("/etc/hosts", b"127.0.0.1 localhost # B\xfcro\n127.0.1.1\told b\xe4r\xa0\x85 # \xff\n")
                .file("/etc/sysconfig/network", b"# B\xfcro\nHOSTNAME=old\n")
        };
        let fs = inject(&hostname("web"), guest().build().unwrap());
        let hosts = b"127.0.0.1 localhost # B\xfcro\n127.0.1.1\tweb b\xe4r\xa0\x85 # \xff\n";
        assert_eq!(bytes(&fs, "/etc/hosts"), hosts);
        assert_eq!(bytes(&fs, "/etc/sysconfig/network"), b"# B\xfcro\nHOSTNAME=\"web\"\n");
        assert!(notes(&hostname("web"), &guest().build().unwrap()).is_empty());
        assert_unchanged(&hostname("web"), &fs);
    }

    #[test]
    fn localhost_keeps_its_name() {
        let alma = "127.0.0.1   localhost localhost.localdomain\n::1 localhost localhost.localdomain\n";
        for old in ["localhost", "localhost.localdomain", "", "bad name"] {
            let after = hosts(old, alma, "web");
            assert_eq!(
                after,
                "127.0.0.1   localhost localhost.localdomain\n127.0.1.1\tweb\n::1 localhost localhost.localdomain\n"
            );
        }
    }

    #[test]
    fn where_the_name_is_found_otherwise_hosts_stays() {
        let build = |nsswitch: &str| {
            let fs =
                fedora().file("/etc/hosts", "::1 localhost\n").file("/etc/nsswitch.conf", nsswitch).build().unwrap();
            text(&inject(&hostname("web"), fs), "/etc/hosts")
        };
        assert_eq!(build("passwd: files\nhosts:  files myhostname resolve\n"), "::1 localhost\n");
        assert_eq!(build("hosts: files dns # myhostname\n"), "127.0.1.1\tweb\n::1 localhost\n");
    }

    #[test]
    fn older_guests_and_cloud_init() {
        let fs = fedora()
            .file("/etc/sysconfig/network", "NETWORKING=yes\nHOSTNAME=old.example.net\nGATEWAY=10.0.0.1")
            .file("/etc/hosts", "127.0.0.1 localhost old\n")
            .file("/etc/conf.d/hostname", "hostname='x'\n")
            .dir("/etc/cloud/cloud.cfg.d")
            .build()
            .unwrap();
        assert!(notes(&hostname("web"), &fs).contains("cloud-init is told to keep the name"));
        let fs = inject(&hostname("web"), fs);
        assert_eq!(text(&fs, "/etc/sysconfig/network"), "NETWORKING=yes\nHOSTNAME=\"web\"\nGATEWAY=10.0.0.1");
        assert_eq!(text(&fs, "/etc/conf.d/hostname"), "hostname=\"web\"\n");
        assert_eq!(text(&fs, "/etc/hosts"), "127.0.0.1 localhost web\n");
        assert!(text(&fs, "/etc/cloud/cloud.cfg.d/99-imgraft-hostname.cfg").contains("preserve_hostname: true\n"));
        assert_eq!(crate::inject::testing::label(&fs, "/etc/hostname").unwrap(), "system_u:object_r:etc_t:s0");
        assert_unchanged(&hostname("web"), &fs);
    }

    #[test]
    fn what_is_in_the_place_of_the_file() {
        for link in ["../run/hostname", "/run/systemd/hostname", "/var/run/hostname"] {
            let guest = || {
                let guest = phony().dir("/run").symlink("/var/run", "../run").symlink("/etc/hostname", link);
                guest.build().unwrap()
            };
            assert!(notes(&hostname("web"), &guest()).contains("/etc/hostname was a link to /run/"), "{link}");
            let fs = inject(&hostname("web"), guest());
            assert_eq!(text(&fs, "/etc/hostname"), "web\n", "{link}");
            assert!(!exists(&fs, "/run/hostname") && !exists(&fs, "/run/systemd"), "{link}");
            assert_unchanged(&hostname("web"), &fs);
        }
        // Anywhere else it is the guest's own way of keeping the file.
        let fs = inject(&hostname("web"), phony().symlink("/etc/hostname", "name").build().unwrap());
        assert_eq!(text(&fs, "/etc/name"), "web\n");
        let no = refusal(&hostname("web"), phony().dir("/etc/hostname").build().unwrap());
        assert!(no.contains("/etc/hostname: not a regular file (`imgraft ls IMAGE /etc/hostname`"), "{no}");
    }

    #[test]
    fn a_directory_is_no_file_of_variables() {
        let fs = phony().file("/etc/sysconfig/network/config", "HOSTNAME=x\n").build().unwrap();
        let fs = inject(&hostname("web"), fs);
        assert_eq!(text(&fs, "/etc/hostname"), "web\n");
        assert_eq!(text(&fs, "/etc/sysconfig/network/config"), "HOSTNAME=x\n");
        assert_unchanged(&hostname("web"), &fs);
    }
}
