//! Where a guest's sshd looks for keys, and what it minds there: `AuthorizedKeysFile`, `StrictModes` and `HostKey` of sshd_config(5).

mod algorithms;
mod blocks;
mod config;
pub(super) mod key_files;
pub(super) mod logins;

use super::files::below::there;
use super::staging::is_fatal;
use super::{InjectError, READ_LIMIT};
use crate::guest::accounts::parse_passwd;
use config::Config;
use imgraft_vfs::Error;
use imgraft_vfs::fs::FileType;
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;
use std::cell::OnceCell;
use std::collections::HashMap;

/// Whether sshd minds who owns the keys, and who else can write to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Modes {
    /// It does, as where nothing is said.
    Strict,
    /// It does not.
    Lenient,
}

/// What `StrictModes` says.
pub(super) fn modes(stage: &Stage<'_>) -> Modes {
    // The first value counts, so that an included file counts where it is included.
    let config = Config::read(&["strictmodes"], None, stage);
    let says_no = config.at_start("strictmodes").next().is_some_and(|said| said.is("no"));
    if says_no { Modes::Lenient } else { Modes::Strict }
}

/// The files that `HostKey` names, in order; `None` where nothing does, and sshd has its own. An error where not all of the configuration
/// can be read, or where it is more than is read.
pub(super) fn host_keys(stage: &Stage<'_>) -> Result<Option<Vec<GuestPath>>, InjectError> {
    files("hostkey", stage)
}

/// The files that `HostCertificate` names and that are there, as far as the configuration can be read.
pub(super) fn host_certificates(stage: &Stage<'_>) -> Result<Vec<GuestPath>, InjectError> {
    let named = match files("hostcertificate", stage) {
        Err(InjectError::Vfs(error)) if !is_fatal(error.kind()) => None,
        named => named?,
    };
    let mut certificates = Vec::new();
    for path in named.into_iter().flatten() {
        if there(stage.metadata(&path))? == Some(FileType::Regular) {
            certificates.push(path);
        }
    }
    Ok(certificates)
}

/// Whether an agent has the private halves of the public keys that `HostKey` names, as far as the configuration can be read.
pub(super) fn has_host_key_agent(stage: &Stage<'_>) -> bool {
    let config = Config::read(&["hostkeyagent"], None, stage);
    config.at_start("hostkeyagent").next().is_some_and(|agent| !agent.is("none"))
}

/// The files that the lines of a keyword name, in order; `None` where there is no line.
fn files(keyword: &'static str, stage: &Stage<'_>) -> Result<Option<Vec<GuestPath>>, InjectError> {
    let mut config = Config::read(&[keyword], None, stage);
    if let Some(error) = config.unread.take() {
        return Err(error);
    }
    let lines: Vec<_> = config.at_start(keyword).collect();
    let mut paths: Vec<GuestPath> = Vec::new();
    for name in lines.iter().filter_map(|said| said.arguments.first()) {
        // From where a service is started, which is the root; and none is no file (derelativise_path of servconf.c).
        let Some(name) = config.homes.expand(name, stage)? else { continue };
        let path = if name.starts_with('/') { name.clone() } else { format!("/{name}") };
        if let Ok(path) = GuestPath::parse(path)
            && !name.eq_ignore_ascii_case("none")
            && !paths.contains(&path)
        {
            paths.push(path);
        }
    }
    Ok((!lines.is_empty()).then_some(paths))
}

/// The homes of the guest's users by their names, root's by none; read once, and only where one is asked for.
#[derive(Debug, Default)]
struct Homes(OnceCell<HashMap<Vec<u8>, Vec<u8>>>);

impl Homes {
    /// A path with the home of root, or of who is named, for a tilde (tilde_expand_filename of OpenSSH's misc.c); `None` for one of nobody.
    fn expand(&self, path: &str, stage: &Stage<'_>) -> Result<Option<String>, Error> {
        let Some(rest) = path.strip_prefix('~') else { return Ok(Some(path.to_owned())) };
        let (name, rest) = rest.split_once('/').unwrap_or((rest, ""));
        let homes = match self.0.get() {
            Some(homes) => homes,
            None => {
                let read = Self::read(stage)?;
                self.0.get_or_init(|| read)
            }
        };
        Ok(homes.get(name.as_bytes()).map(|home| format!("{}/{rest}", String::from_utf8_lossy(home))))
    }

    fn read(stage: &Stage<'_>) -> Result<HashMap<Vec<u8>, Vec<u8>>, Error> {
        let passwd = stage.read(&GuestPath::parse("/etc/passwd")?, READ_LIMIT)?.unwrap_or_default();
        let mut homes = HashMap::new();
        // The first line of a name counts, and of the number of root.
        for user in parse_passwd(&passwd) {
            if user.uid == 0 {
                homes.entry(Vec::new()).or_insert_with(|| user.home.clone());
            }
            homes.entry(user.name).or_insert(user.home);
        }
        Ok(homes)
    }
}

/// The most of a configuration's own words that is said, in letters.
const SHOWN_MAX: usize = 200;

/// Words of a configuration as a message has them: no more than their beginning, where they are many.
fn shown(words: &str) -> String {
    match words.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", words.get(..end).unwrap_or_default().escape_debug()),
        None => words.escape_debug().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::testing::phony;

    /// The paths of HostKey where these files are in /etc/ssh.
    fn keys(files: &[(&str, &str)]) -> Option<Vec<String>> {
        let tree = files.iter().fold(phony(), |tree, (name, text)| tree.file(format!("/etc/ssh/{name}"), *text));
        let fs = tree.build().unwrap();
        host_keys(&Stage::new(&fs))
            .unwrap()
            .map(|paths| paths.iter().map(|path| String::from_utf8_lossy(path.as_bytes()).into_owned()).collect())
    }

    #[test]
    fn words_are_sshds() {
        for (line, expected) in [
            ("HostKey /a", "/a"),
            ("  hostKEY\t=  /a # x", "/a"),
            ("HostKey=/a#b", "/a#b"),
            ("\"HostKey\" '/a b'", "/a b"),
            ("HostKey\"/a b\"", "/a b"),
            (r#"HostKey "/a \"b' c""#, "/a \"b' c"),
            (r"HostKey /a\ b", "/a b"),
            (r"HostKey /a\b", r"/a\b"),
            ("HostKey a", "/a"),
            ("HostKey ~/a", "/root/a"),
            ("HostKey ~ann/a/b", "/home/ann/a/b"),
            ("HostKey /a /b\r", "/a"),
        ] {
            assert_eq!(keys(&[("sshd_config", line)]), Some(vec![expected.to_owned()]), "{line}");
        }
        for line in ["", "#HostKey /a", "HostKey", "HostKeys /a", "HostKeyAgent /a", "Port 22"] {
            assert_eq!(keys(&[("sshd_config", line)]), None, "{line}");
        }
        assert_eq!(keys(&[("sshd_config", "HostKey None\nHostKey ~nobody-of-it/a\n")]), Some(vec![]));
    }

    /// A large file is read like any other; what cannot be read is not taken for one that says nothing.
    #[test]
    fn all_of_it_or_an_error() {
        let remarks = "# a remark\n".repeat(40_000);
        assert_eq!(keys(&[("sshd_config", &format!("HostKey /a\n{remarks}"))]), Some(vec!["/a".to_owned()]));
        let unread = |tree: imgraft_vfs::fs::mem::Builder| {
            let fs = tree.build().unwrap();
            let error = host_keys(&Stage::new(&fs)).unwrap_err();
            let InjectError::Vfs(error) = error else { panic!("{error}") };
            String::from_utf8_lossy(error.guest_path().unwrap()).into_owned()
        };
        let huge = vec![b'\n'; usize::try_from(READ_LIMIT).unwrap() + 1];
        assert_eq!(unread(phony().file("/etc/ssh/sshd_config", &huge)), "/etc/ssh/sshd_config");
        assert_eq!(unread(phony().symlink("/etc/ssh/sshd_config", "sshd_config")), "/etc/ssh/sshd_config");
        let including = phony().file("/etc/ssh/sshd_config", "Include a b\n").file("/etc/ssh/a", "HostKey /a\n");
        assert_eq!(unread(including.dir("/etc/ssh/b")), "/etc/ssh/b");
    }

    /// What is more than is read, or is included by a pattern that cannot be, is not left out in silence.
    #[test]
    fn no_limit_is_silent() {
        let said = |tree: imgraft_vfs::fs::mem::Builder| {
            host_keys(&Stage::new(&tree.build().unwrap())).map(|paths| paths.unwrap().len()).map_err(|e| e.to_string())
        };
        let main = |text: &str| phony().file("/etc/ssh/sshd_config", text);
        let circle = said(main("HostKey /a\nInclude sshd_config\n")).unwrap_err();
        assert!(circle.contains("more than 16 files include each other"), "{circle}");
        let files = |number: usize| {
            let name = |number: usize| format!("/etc/ssh/d/{number}");
            (0..number).fold(main("HostKey /a\nInclude d/*\n"), |tree, number| tree.file(name(number), ""))
        };
        assert_eq!(said(files(255)), Ok(1));
        assert!(said(files(256)).unwrap_err().contains("in more than 256 files"));
        let keys = |number: usize| main(&(0..number).map(|number| format!("HostKey /{number}\n")).collect::<String>());
        assert_eq!(said(keys(256)), Ok(256));
        assert!(said(keys(257)).unwrap_err().contains("says hostkey more than 256 times"));
        let words = |number: usize| main(&format!("HostKey /a{}\n", " /b".repeat(number)));
        assert_eq!(said(words(1023)), Ok(1));
        assert!(said(words(1024)).unwrap_err().contains("says hostkey with more than 1024 words"));
        let odd = said(main("HostKey /a\nInclude d/[z-a]\n")).unwrap_err();
        assert!(odd.contains("the pattern \"d/[z-a]\" of an Include cannot be read"), "{odd}");
        assert_eq!(said(main("HostKey /a\nInclude gone/*.conf gone\n")), Ok(1));
        let patterns = |number: usize| main(&format!("HostKey /a\nInclude{}\n", " gone/*".repeat(number)));
        assert_eq!(said(patterns(256)), Ok(1));
        assert!(said(patterns(257)).unwrap_err().contains("includes more than 256 files and patterns"));
    }

    #[test]
    fn files_are_included_as_by_sshd() {
        let all = [
            ("sshd_config", "Include d/*.conf\nMatch User a\nInclude never\nHostKey /n\nMatch all\nHostKey /z\n"),
            ("d/1.conf", "HostKey /1\nInclude \"/etc/ssh/a b/?.x[a-c]\"\nMatch User b\nHostKey /n\n"),
            ("d/2.conf", "HostKey /2\n"),
            ("d/.3.conf", "HostKey /n\n"),
            ("a b/1.xb", "HostKey /b\n"),
            ("a b/1.xd", "HostKey /n\n"),
            ("never", "HostKey /n\n"),
        ];
        assert_eq!(keys(&all).unwrap().join(" "), "/1 /b /2 /z");
    }
}
