//! The blocks of `Match` of sshd_config(5), and what is known of them before anybody connects (match_cfg_line of OpenSSH's servconf.c).

use super::logins::Login;
use super::shown;
use std::collections::HashMap;
use std::rc::Rc;

/// The `Match` lines behind which a line stands: those around the `Include` of its file, and the last one in that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Block(Vec<Rc<Criteria>>);

/// The criteria of a `Match` line.
#[derive(Debug)]
struct Criteria {
    words: Vec<String>,
    /// Which of the lines it is: those that say the same are one.
    number: usize,
    /// Whether they are met for who is asked about.
    met: Met,
}

impl PartialEq for Criteria {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Criteria {}

/// The `Match` lines of a configuration, each looked at once for who is asked about.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    /// Whose connections; where that is nobody, all but `Match all` is up to the connection.
    login: Option<Login<'a>>,
    known: HashMap<Vec<String>, Rc<Criteria>>,
    /// Whether one of them asks for groups.
    asks_for_groups: bool,
}

impl<'a> Lines<'a> {
    pub(super) fn new(login: Option<Login<'a>>) -> Self {
        Self { login, known: HashMap::new(), asks_for_groups: false }
    }

    /// Whether one of them may be about the groups of who is asked about.
    pub(super) fn asks_for_groups(&self) -> bool {
        self.asks_for_groups
    }

    /// The block of a `Match` line of a file that is included in the block `around`.
    pub(super) fn block(&mut self, around: &Block, words: Vec<String>) -> Block {
        let criteria = match self.known.get(&words) {
            Some(known) => Rc::clone(known),
            None => {
                self.asks_for_groups |= words.iter().any(|word| {
                    let name = word.split('=').next().unwrap_or_default();
                    name.eq_ignore_ascii_case("group")
                });
                let met = match self.login {
                    Some(login) => met(&words, login),
                    None if is_all(&words) => Met::Yes,
                    None => Met::Open,
                };
                let new = Rc::new(Criteria { words: words.clone(), number: self.known.len(), met });
                self.known.insert(words, Rc::clone(&new));
                new
            }
        };
        Block(around.0.iter().cloned().chain([criteria]).collect())
    }
}

/// Whether what a block asks for is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Met {
    Yes,
    No,
    /// It is up to the connection.
    Open,
}

impl Block {
    /// Whether sshd goes by it as it starts, when it knows of no connection.
    pub(super) fn is_for_all(&self) -> bool {
        self.0.iter().all(|criteria| is_all(&criteria.words))
    }

    /// Whether it is none, but what stands before them all.
    pub(super) fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it is for a connection of the user of which no more is known than that it is for the block `known`.
    pub(super) fn counts(&self, known: Option<&Self>) -> bool {
        self.0.iter().all(|criteria| match criteria.met {
            Met::Yes => true,
            Met::No => false,
            Met::Open => known.is_some_and(|known| known.0.contains(criteria)),
        })
    }

    /// Whether it is up to more than the user who connects.
    pub(super) fn is_open(&self) -> bool {
        let has = |met: Met| self.0.iter().any(|criteria| criteria.met == met);
        has(Met::Open) && !has(Met::No)
    }

    /// As the configuration has it.
    pub(super) fn said(&self) -> String {
        let lines: Vec<String> = self.0.iter().map(|criteria| format!("Match {}", criteria.words.join(" "))).collect();
        shown(&lines.join(" and "))
    }
}

fn is_all(criteria: &[String]) -> bool {
    matches!(criteria, [all] if all.eq_ignore_ascii_case("all"))
}

/// Whether the criteria of a line are met for the user.
fn met(criteria: &[String], login: Login<'_>) -> Met {
    let mut met = Met::Yes;
    let mut words = criteria.iter();
    while let Some(word) = words.next() {
        let (name, pattern) = match word.split_once('=') {
            Some((name, pattern)) => (name, pattern),
            None if word.eq_ignore_ascii_case("all") => continue,
            None if word.eq_ignore_ascii_case("invalid-user") => return Met::No,
            None => (word.as_str(), words.next().map_or("", String::as_str)),
        };
        let is_met = match name.to_ascii_lowercase().as_str() {
            "user" => list_means(pattern, login.user) == Some(true),
            "group" => is_of_groups(pattern, login.groups.names()),
            _ => {
                met = Met::Open;
                continue;
            }
        };
        if !is_met {
            return Met::No;
        }
    }
    met
}

/// Whether one of the groups is meant, and none is excluded.
fn is_of_groups(list: &str, groups: &[String]) -> bool {
    let each: Vec<_> = groups.iter().map(|group| list_means(list, group)).collect();
    each.contains(&Some(true)) && !each.contains(&Some(false))
}

/// Whether a list of patterns means a name, or excludes it by one with `!`; `None` where it does neither.
pub(super) fn list_means(list: &str, name: &str) -> Option<bool> {
    let mut means = None;
    for pattern in list.split(',') {
        let (pattern, is_excluded) = pattern.strip_prefix('!').map_or((pattern, false), |pattern| (pattern, true));
        if matches(pattern.as_bytes(), name.as_bytes()) {
            if is_excluded {
                return Some(false);
            }
            means = Some(true);
        }
    }
    means
}

/// Whether a pattern of sshd_config(5), with `*` and `?`, means all of a text.
pub(super) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut rest) = (0, 0);
    // Where to go on when what comes after the last star does not fit: one byte later.
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = text.get(rest) {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, rest));
                at += 1;
            }
            Some(wanted) if *wanted == b'?' || wanted == byte => (at, rest) = (at + 1, rest + 1),
            _ => match star {
                Some((place, from)) => {
                    star = Some((place, from + 1));
                    (at, rest) = (place + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern.get(at..).is_some_and(|left| left.iter().all(|byte| *byte == b'*'))
}

#[cfg(test)]
mod tests {
    use super::super::logins::Groups;
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("ann", "ann", true),
            ("ann", "anna", false),
            ("a*", "ann", true),
            ("*", "", true),
            ("a?n", "ann", true),
            ("a?", "a", false),
            ("*n*a", "banana", true),
            ("*n*b", "banana", false),
            ("a**", "a", true),
            ("", "", true),
            ("", "a", false),
            ("Ann", "ann", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
        assert!(!matches(&b"*a".repeat(500), &[b'a'; 499]));
    }

    /// A line that is said again is not looked at again, and one that says another thing is another one.
    #[test]
    fn each_line_is_looked_at_once() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let mut lines = Lines::new(None);
        let mut block = |line: &str| lines.block(&Block::default(), words(line));
        let (first, again, other) = (block("Group b,c"), block("Group b,c"), block("Group b"));
        assert!(Rc::ptr_eq(&first.0[0], &again.0[0]));
        assert_eq!(first, again);
        assert_ne!(first, other);
        assert!(first.is_open() && !first.is_for_all(), "of nobody it is not known");
        assert!(block("ALL").is_for_all());
    }

    #[test]
    fn criteria() {
        let groups = Groups::named(&["ann", "staff"]);
        let home = imgraft_vfs::path::GuestPath::parse("/home/ann").unwrap();
        let ann = Login { user: "ann", uid: 1000, groups: &groups, home: &home };
        for (line, expected) in [
            ("all", Met::Yes),
            ("ALL", Met::Yes),
            ("User ann", Met::Yes),
            ("user bob,a*", Met::Yes),
            ("User=ann", Met::Yes),
            ("User *,!ann", Met::No),
            ("User !ann,*", Met::No),
            ("User !bob", Met::No),
            ("User !bob,*", Met::Yes),
            ("User Ann", Met::No),
            ("Group staff", Met::Yes),
            ("Group *,!staff", Met::No),
            ("Group wheel,adm", Met::No),
            ("User ann Group staff", Met::Yes),
            ("User ann Group wheel", Met::No),
            ("Address 192.0.2.0/24", Met::Open),
            ("Address 192.0.2.0/24 User ann", Met::Open),
            ("Host *.example User bob", Met::No),
            ("LocalPort 22", Met::Open),
            ("invalid-user", Met::No),
        ] {
            let criteria: Vec<String> = line.split(' ').map(str::to_owned).collect();
            assert_eq!(met(&criteria, ann), expected, "{line}");
        }
    }
}
