//! What sshd_config(5) says, each line with the conditions under which it counts.

use super::super::files::PathPattern;
use super::super::files::below::Walk;
use super::super::{InjectError, READ_LIMIT};
use super::blocks::{Block, Lines};
use super::logins::Login;
use super::{Homes, shown};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;
use imgraft_vfs::{Error, ErrorKind, Layer};
use std::cell::OnceCell;

/// The configuration, and the one that SUSE's sshd has where that is not there.
const MAIN: [&str; 2] = ["/etc/ssh/sshd_config", "/usr/etc/ssh/sshd_config"];
/// How many files include each other; as many as sshd follows (SERVCONF_MAX_DEPTH of OpenSSH's servconf.c).
const DEPTH_MAX: usize = 16;
/// How many files are read, and how many lines are taken of a keyword.
const FILES_MAX: usize = 256;
const LINES_MAX: usize = 256;
/// How many words are taken of a keyword in all of its lines: each of them may be held against each group of a user.
const WORDS_MAX: usize = 1024;
/// How many words and patterns of all `Match` lines, of which hosts for file transfer have one for each user.
const CRITERIA_MAX: usize = 16_384;
/// How many files and patterns are included, whether they are there or not.
const PATTERNS_MAX: usize = 256;
/// What to do about a configuration that is not read.
const WAY_OUT: &str =
    "take that out of the guest's sshd_config first, with --edit, or give it another one, with --upload";

/// Keywords that are others by an older name, as that is written (the table of OpenSSH's servconf.c).
const ALIASES: [(&str, &str, &str); 2] = [
    ("dsaauthentication", "pubkeyauthentication", "DSAAuthentication"),
    ("pubkeyacceptedkeytypes", "pubkeyacceptedalgorithms", "PubkeyAcceptedKeyTypes"),
];

/// The file that sshd reads first, where it is there.
pub(super) fn main(stage: &Stage<'_>) -> Option<GuestPath> {
    let mut paths = MAIN.into_iter().filter_map(|path| GuestPath::parse(path).ok());
    paths.find(|path| !matches!(stage.metadata(path), Ok(None)))
}

/// A line of the configuration.
#[derive(Debug)]
pub(super) struct Setting {
    /// Its file.
    pub path: GuestPath,
    /// Its first word, in lower case, or what that is an older name of.
    pub keyword: &'static str,
    /// The older name.
    alias: Option<&'static str>,
    /// The others.
    pub arguments: Vec<String>,
    /// When it counts.
    pub block: Block,
    /// Whether its arguments mean who is asked about, once that is known.
    means: OnceCell<bool>,
}

impl Setting {
    /// The first argument.
    pub(super) fn first(&self) -> &str {
        self.arguments.first().map_or("", String::as_str)
    }

    /// Whether the first argument is this word.
    pub(super) fn is(&self, word: &str) -> bool {
        self.first().eq_ignore_ascii_case(word)
    }

    /// Where it stands and what it says, a clause.
    pub(super) fn said(&self, keyword: &str) -> String {
        format!("{} says {} {}", self.path, self.alias.unwrap_or(keyword), shown(&self.arguments.join(" ")))
    }

    /// Where it stands and which program it names, a clause: what that is called with may be secret.
    pub(super) fn named(&self, keyword: &str) -> String {
        format!("{} says {keyword} {}", self.path, shown(self.first()))
    }

    /// Whether its arguments mean who is asked about; found out once, as a line counts for many blocks.
    pub(super) fn means<E>(&self, find: impl FnOnce() -> Result<bool, E>) -> Result<bool, E> {
        match self.means.get() {
            Some(known) => Ok(*known),
            None => find().map(|found| *self.means.get_or_init(|| found)),
        }
    }
}

/// The lines of some keywords.
#[derive(Debug)]
pub(super) struct Config {
    /// In the order in which sshd reads them.
    pub settings: Vec<Setting>,
    /// For the tildes in them.
    pub homes: Homes,
    /// Why not all was read, the first reason.
    pub unread: Option<InjectError>,
}

impl Config {
    /// What the guest's configuration has of these keywords, which are in lower case, for a user, or for sshd as it starts.
    pub(super) fn read(keywords: &[&'static str], login: Option<Login<'_>>, stage: &Stage<'_>) -> Self {
        let found = Self { settings: Vec::new(), homes: Homes::default(), unread: None };
        let mut search = Search {
            stage,
            keywords,
            lines: Lines::new(login),
            criteria: 0,
            files: 0,
            patterns: 0,
            bytes: READ_LIMIT,
            walk: Walk::default(),
            found,
        };
        if let Some(main) = main(stage) {
            search.file(&main, 0, &Block::default());
        }
        let is_of_groups = |setting: &Setting| matches!(setting.keyword, "allowgroups" | "denygroups");
        if (search.lines.asks_for_groups() || search.found.settings.iter().any(is_of_groups))
            && let Some(Err(error)) = login.map(|login| login.groups.check())
        {
            search.found.unread.get_or_insert(error);
        }
        search.found
    }

    /// The lines of a keyword that sshd goes by as it starts: of those that hold for every connection.
    pub(super) fn at_start(&self, keyword: &str) -> impl Iterator<Item = &Setting> {
        self.settings.iter().filter(move |setting| setting.keyword == keyword && setting.block.is_for_all())
    }
}

impl Config {
    /// The lines of a keyword that count for the user, where what is known of the connection is that it is for a block: what the blocks of
    /// `Match` say takes the place of what stands before them (copy_set_server_options of OpenSSH's servconf.c).
    pub(super) fn in_force(&self, keyword: &str, known: Option<&Block>) -> Vec<&Setting> {
        let lines = || self.settings.iter().filter(|setting| setting.keyword == keyword);
        let of_blocks: Vec<_> = lines().filter(|line| !line.block.is_none() && line.block.counts(known)).collect();
        if of_blocks.is_empty() { self.at_start(keyword).collect() } else { of_blocks }
    }
}

/// What sshd takes from no block of `Match` but those for all: such blocks need not be read for these.
const AT_START: [&str; 4] = ["hostkey", "hostcertificate", "strictmodes", "usepam"];

/// Looks for keywords in a file and in those that it includes.
struct Search<'s, 'a> {
    stage: &'s Stage<'a>,
    keywords: &'s [&'static str],
    lines: Lines<'s>,
    /// How many words and patterns these have.
    criteria: usize,
    files: usize,
    patterns: usize,
    /// How much may still be read.
    bytes: u64,
    walk: Walk,
    found: Config,
}

impl Search<'_, '_> {
    /// Reads a file that is included in a block.
    fn file(&mut self, path: &GuestPath, depth: usize, around: &Block) {
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
                self.found.unread.get_or_insert(error.into());
                return;
            }
        };
        self.bytes = self.bytes.saturating_sub(u64::try_from(text.len()).unwrap_or(u64::MAX));
        // A block ends with its file.
        let mut block = around.clone();
        let text = String::from_utf8_lossy(&text);
        for (written, rest) in text.lines().filter_map(directive) {
            let old = ALIASES.iter().find(|(old, ..)| *old == written);
            let (keyword, alias) = old.map_or((&*written, None), |(_, keyword, alias)| (*keyword, Some(*alias)));
            if keyword == "match" {
                let words = arguments(rest);
                self.criteria += words.iter().map(|word| word.split(',').count()).sum::<usize>();
                if self.criteria > CRITERIA_MAX {
                    let message = format!(
                        "the Match lines of sshd's configuration have more than {CRITERIA_MAX} words and patterns"
                    );
                    return self.leave(path, ErrorKind::Unsupported, message);
                }
                block = self.lines.block(around, words);
            } else if let Some(keyword) = self.keywords.iter().copied().find(|wanted| *wanted == keyword) {
                // The older name is none that a block may have (SSHCFG_GLOBAL in the table of servconf.c).
                if alias == Some("DSAAuthentication") && !block.is_for_all() {
                    let message = "DSAAuthentication stands in a block of Match, and sshd does not start so";
                    return self.leave(path, ErrorKind::Invalid, message.to_owned());
                }
                let earlier = || self.found.settings.iter().filter(|setting| setting.keyword == keyword);
                if earlier().count() == LINES_MAX {
                    let message = format!("sshd's configuration says {keyword} more than {LINES_MAX} times");
                    return self.leave(path, ErrorKind::Unsupported, message);
                }
                let arguments = arguments(rest);
                if earlier().map(|setting| setting.arguments.len()).sum::<usize>() + arguments.len() > WORDS_MAX {
                    let message = format!("sshd's configuration says {keyword} with more than {WORDS_MAX} words");
                    return self.leave(path, ErrorKind::Unsupported, message);
                }
                let (path, block, means) = (path.clone(), block.clone(), OnceCell::new());
                self.found.settings.push(Setting { path, keyword, alias, arguments, block, means });
            } else if keyword == "include" && self.reads(&block) {
                let mut included = Vec::new();
                for pattern in &arguments(rest) {
                    if self.patterns == PATTERNS_MAX {
                        let message =
                            format!("sshd's configuration includes more than {PATTERNS_MAX} files and patterns");
                        return self.leave(path, ErrorKind::Unsupported, message);
                    }
                    self.patterns += 1;
                    match self.included(pattern, path) {
                        Ok(paths) => included.extend(paths),
                        Err(error) => {
                            self.found.unread.get_or_insert(error);
                        }
                    }
                }
                for path in included {
                    self.file(&path, depth + 1, &block);
                }
            }
        }
    }

    /// Whether what is included in a block is to be read.
    fn reads(&self, block: &Block) -> bool {
        block.is_for_all() || self.keywords.iter().any(|keyword| !AT_START.contains(keyword))
    }

    /// Leaves the rest of a file unread, for this reason.
    fn leave(&mut self, path: &GuestPath, kind: ErrorKind, message: String) {
        let error =
            || Error::new(kind, Layer::Stage, message).with_guest_path(path.as_bytes()).with_hint(WAY_OUT).into();
        self.found.unread.get_or_insert_with(error);
    }

    /// The files of an `Include` pattern that stands in `file`, in glob(7)'s order.
    fn included(&mut self, pattern: &str, file: &GuestPath) -> Result<Vec<GuestPath>, InjectError> {
        let path = if pattern.starts_with('/') { pattern.to_owned() } else { format!("/etc/ssh/{pattern}") };
        let odd = |reason: String| {
            let message = format!("the pattern \"{}\" of an Include cannot be read: {reason}", shown(pattern));
            let error = Error::new(ErrorKind::Unsupported, Layer::Stage, message);
            error.with_guest_path(file.as_bytes()).with_hint(WAY_OUT)
        };
        let path = GuestPath::parse(path).map_err(|error| odd(error.to_string()))?;
        match PathPattern::new(path).map_err(odd)?.matches(self.stage, &mut self.walk) {
            Err(InjectError::File(_)) => Err(odd("more files are there than are looked at".to_owned()).into()),
            matches => matches,
        }
    }
}

/// The directive of a line: its keyword in lower case, and what stands behind that.
fn directive(line: &str) -> Option<(String, &str)> {
    let line = line.trim();
    let (keyword, rest) = match line.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"')?,
        None => line.split_at(line.find(|char: char| char.is_whitespace() || "=\"".contains(char))?),
    };
    let rest = rest.trim_start();
    (!keyword.starts_with('#')).then(|| (keyword.to_ascii_lowercase(), rest.strip_prefix('=').unwrap_or(rest)))
}

/// The words of a directive behind its keyword, as sshd takes quotes, backslashes and comments (argv_split of OpenSSH's misc.c); where these
/// are more than are taken, one more than that.
fn arguments(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|char| char.is_whitespace()).is_some() {}
        if matches!(chars.peek(), None | Some('#')) || words.len() > WORDS_MAX {
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

    #[test]
    fn what_a_line_means_is_found_out_once() {
        let fs = phony().file(MAIN[0], format!("HostKey {}é b\n", "a".repeat(199))).build().unwrap();
        let config = Config::read(&["hostkey"], None, &Stage::new(&fs));
        let [line] = &config.settings[..] else { panic!("{config:?}") };
        assert_eq!(line.means(|| Err(1)), Err(1));
        assert_eq!(line.means(|| Ok::<_, i32>(true)), Ok(true));
        assert_eq!(line.means(|| Err(2)), Ok(true));
        // And what is said of it is short.
        assert_eq!(line.said("HostKey"), format!("/etc/ssh/sshd_config says HostKey {}é…", "a".repeat(199)));
        assert_eq!(line.named("HostKey"), format!("/etc/ssh/sshd_config says HostKey {}é", "a".repeat(199)));
    }
}
