//! Where a guest's sshd looks for keys, and what it minds there: `AuthorizedKeysFile`, `StrictModes` and `HostKey` of sshd_config(5).

pub(super) mod logins;

use super::files::PathPattern;
use super::files::below::Walk;
use super::{InjectError, READ_LIMIT};
use crate::guest::User;
use crate::guest::accounts::parse_passwd;
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;
use imgraft_vfs::{Error, ErrorKind, Layer};

/// The configuration, and the one that SUSE's sshd has where that is not there.
const MAIN: [&str; 2] = ["/etc/ssh/sshd_config", "/usr/etc/ssh/sshd_config"];
/// How many files include each other; as many as sshd follows (SERVCONF_MAX_DEPTH of OpenSSH's servconf.c).
const DEPTH_MAX: usize = 16;
/// How many files are read, and how many values are taken.
const FILES_MAX: usize = 256;
const VALUES_MAX: usize = 256;

/// What `AuthorizedKeysFile` says for every user, and in which file; `None` where nothing does, or where the
/// configuration cannot be read.
fn authorized_keys_file(stage: &Stage<'_>) -> Option<(GuestPath, Vec<String>)> {
    // The first value counts, so that an included file counts where it is included.
    values("authorizedkeysfile", stage).into_iter().next()
}

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
    let first = values("strictmodes", stage).into_iter().next();
    let says_no =
        first.is_some_and(|(_, arguments)| arguments.first().is_some_and(|said| said.eq_ignore_ascii_case("no")));
    if says_no { Modes::Lenient } else { Modes::Strict }
}

/// The files that `HostKey` names, in order; `None` where nothing does, and sshd has its own. An error where not all of the configuration
/// can be read, or where it is more than is read.
pub(super) fn host_keys(stage: &Stage<'_>) -> Result<Option<Vec<GuestPath>>, InjectError> {
    let Search { found: lines, unread, .. } = search("hostkey", stage);
    if let Some(error) = unread {
        return Err(error);
    }
    let mut paths: Vec<GuestPath> = Vec::new();
    for name in lines.iter().filter_map(|(_, arguments)| arguments.first()) {
        // From where a service is started, which is the root; and none is no file (derelativise_path of servconf.c).
        let Some(name) = with_home(name, stage)? else { continue };
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

/// A path with the home of root, or of who is named, for a tilde (tilde_expand_filename of OpenSSH's misc.c); `None` for one of nobody.
fn with_home(path: &str, stage: &Stage<'_>) -> Result<Option<String>, Error> {
    let Some(rest) = path.strip_prefix('~') else { return Ok(Some(path.to_owned())) };
    let (name, rest) = rest.split_once('/').unwrap_or((rest, ""));
    let users = parse_passwd(&stage.read(&GuestPath::parse("/etc/passwd")?, READ_LIMIT)?.unwrap_or_default());
    let is_meant = |user: &&User| if name.is_empty() { user.uid == 0 } else { user.name == name.as_bytes() };
    let user = users.iter().find(is_meant);
    Ok(user.map(|user| format!("{}/{rest}", String::from_utf8_lossy(&user.home))))
}

/// A sentence on a user's file of keys that sshd does not read; `None` where it does.
pub(super) fn not_read(file: &GuestPath, user: &str, home: &GuestPath, stage: &Stage<'_>) -> Option<String> {
    let (config, patterns) = authorized_keys_file(stage).filter(|(_, patterns)| !names(patterns, file, user, home))?;
    let patterns = patterns.join(" ");
    Some(format!("the guest's sshd does not read {file}: {config} says AuthorizedKeysFile {}", patterns.escape_debug()))
}

/// Whether one of the patterns means `file`, for the user and the home given.
fn names(patterns: &[String], file: &GuestPath, user: &str, home: &GuestPath) -> bool {
    let home = String::from_utf8_lossy(home.as_bytes()).into_owned();
    patterns.iter().any(|pattern| {
        let path = pattern.replace("%%", "%").replace("%h", &home).replace("%u", user);
        let path = if path.starts_with('/') { path } else { format!("{home}/{path}") };
        GuestPath::parse(path).is_ok_and(|path| path == *file)
    })
}

/// What a keyword is given for every connection, each with the file that says it; nothing where the configuration cannot be read.
fn values(keyword: &str, stage: &Stage<'_>) -> Vec<(GuestPath, Vec<String>)> {
    search(keyword, stage).found
}

fn search<'s, 'a>(keyword: &'s str, stage: &'s Stage<'a>) -> Search<'s, 'a> {
    let mut search =
        Search { stage, keyword, files: 0, bytes: READ_LIMIT, walk: Walk::default(), found: Vec::new(), unread: None };
    if let Some(main) = main(stage) {
        search.file(&main, 0);
    }
    search
}

/// The file that sshd reads first, where it is there.
fn main(stage: &Stage<'_>) -> Option<GuestPath> {
    let mut paths = MAIN.into_iter().filter_map(|path| GuestPath::parse(path).ok());
    paths.find(|path| !matches!(stage.metadata(path), Ok(None)))
}

/// Looks for a keyword in a file and in those that it includes.
struct Search<'s, 'a> {
    stage: &'s Stage<'a>,
    keyword: &'s str,
    files: usize,
    /// How much may still be read.
    bytes: u64,
    walk: Walk,
    found: Vec<(GuestPath, Vec<String>)>,
    /// Why not all was read, the first reason.
    unread: Option<InjectError>,
}

impl Search<'_, '_> {
    fn file(&mut self, path: &GuestPath, depth: usize) {
        if depth > DEPTH_MAX {
            let message = format!("more than {DEPTH_MAX} files include each other, and sshd does not start so");
            return self.leave(path, ErrorKind::Invalid, message);
        }
        if self.files == FILES_MAX {
            let message = format!("sshd's configuration is in more than {FILES_MAX} files");
            return self.leave(path, ErrorKind::Unsupported, message);
        }
        self.files += 1;
        let text = match self.stage.read(path, self.bytes) {
            Ok(text) => text.unwrap_or_default(),
            Err(error) => {
                self.unread.get_or_insert(error.into());
                return;
            }
        };
        self.bytes = self.bytes.saturating_sub(u64::try_from(text.len()).unwrap_or(u64::MAX));
        // A block ends with its file.
        let mut is_for_all = true;
        for (keyword, arguments) in directives(&text) {
            if keyword == "match" {
                is_for_all = matches!(&arguments[..], [all] if all.eq_ignore_ascii_case("all"));
            } else if !is_for_all {
            } else if keyword == self.keyword {
                if self.found.len() == VALUES_MAX {
                    let message = format!("sshd's configuration says {keyword} more than {VALUES_MAX} times");
                    return self.leave(path, ErrorKind::Unsupported, message);
                }
                self.found.push((path.clone(), arguments));
            } else if keyword == "include" {
                let mut included = Vec::new();
                for pattern in &arguments {
                    match self.included(pattern, path) {
                        Ok(paths) => included.extend(paths),
                        Err(error) => {
                            self.unread.get_or_insert(error);
                        }
                    }
                }
                for path in included {
                    self.file(&path, depth + 1);
                }
            }
        }
    }

    /// Leaves the rest of a file unread, for this reason.
    fn leave(&mut self, path: &GuestPath, kind: ErrorKind, message: String) {
        let error = || Error::new(kind, Layer::Stage, message).with_guest_path(path.as_bytes()).into();
        self.unread.get_or_insert_with(error);
    }

    /// The files of an `Include` pattern that stands in `file`, in glob(7)'s order.
    fn included(&mut self, pattern: &str, file: &GuestPath) -> Result<Vec<GuestPath>, InjectError> {
        let path = if pattern.starts_with('/') { pattern.to_owned() } else { format!("/etc/ssh/{pattern}") };
        let odd = |reason: String| {
            let message = format!("the pattern {pattern:?} of an Include cannot be read: {reason}");
            Error::new(ErrorKind::Unsupported, Layer::Stage, message).with_guest_path(file.as_bytes())
        };
        let path = GuestPath::parse(path).map_err(|error| odd(error.to_string()))?;
        PathPattern::new(path).map_err(odd)?.matches(self.stage, &mut self.walk)
    }
}

/// The directives of a text, keywords in lower case.
fn directives(text: &[u8]) -> Vec<(String, Vec<String>)> {
    let text = String::from_utf8_lossy(text);
    let directive = |line: &str| {
        let line = line.trim();
        let (keyword, rest) = match line.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => line.split_at(line.find(|char: char| char.is_whitespace() || "=\"".contains(char))?),
        };
        let rest = rest.trim_start();
        let arguments = arguments(rest.strip_prefix('=').unwrap_or(rest));
        (!keyword.starts_with('#')).then(|| (keyword.to_ascii_lowercase(), arguments))
    };
    text.lines().filter_map(directive).collect()
}

/// The words of a directive behind its keyword, as sshd takes quotes, backslashes and comments (argv_split of OpenSSH's misc.c).
fn arguments(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|char| char.is_whitespace()).is_some() {}
        if matches!(chars.peek(), None | Some('#')) {
            return words;
        }
        let (mut word, mut quote) = (String::new(), None);
        while let Some(char) = chars.next_if(|char| quote.is_some() || !char.is_whitespace()) {
            let is_escape = |next: &char| matches!(next, '\'' | '"' | '\\') || (quote.is_none() && *next == ' ');
            match char {
                '\\' => word.push(chars.next_if(is_escape).unwrap_or('\\')),
                '\'' | '"' if quote.is_none() => quote = Some(char),
                _ if quote == Some(char) => quote = None,
                _ => word.push(char),
            }
        }
        words.push(word);
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
        let odd = said(main("HostKey /a\nInclude d/[a\n")).unwrap_err();
        assert!(odd.contains("the pattern \"d/[a\" of an Include cannot be read"), "{odd}");
        assert_eq!(said(main("HostKey /a\nInclude gone/*.conf gone\n")), Ok(1));
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
