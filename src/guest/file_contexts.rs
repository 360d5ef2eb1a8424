//! Which SELinux label a path is to have, by the guest's own policy: selabel_file(5).
//!
//! Lines without metacharacters win over regular expressions, and among these the last one wins; homedirs is read after
//! the policy's own file and local after that. Of the thousands of lines those are looked at whose literal beginning is one of the
//! path's, and an expression is compiled when it is needed.

mod dialect;

use super::Version;
use imgraft_vfs::fs::FileType;
use regex::bytes::{Regex, RegexBuilder};
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// The longest line that is considered; a path has 4095 bytes.
const LINE_MAX: usize = 8192;
/// How many lines a policy may have; real ones have some thousands.
const LINES_MAX: usize = 1 << 18;
/// How large one compiled expression may be, in bytes. The largest of real policies need half of it.
const REGEX_SIZE: usize = 64 * 1024;
/// How many compiled expressions are held; the files of a directory share some hundreds.
const REGEX_HELD: usize = 1024;
/// How many expressions are compiled altogether; a path of a real policy needs some dozens.
const REGEX_COUNT: u32 = 20_000;

/// A policy's file contexts.
#[derive(Debug, Default)]
pub struct FileContexts {
    /// From the weakest to the strongest: file_contexts, file_contexts.homedirs, file_contexts.local.
    lines: Vec<Line>,
    /// The numbers of the lines by their literal beginnings, ascending.
    by_prefix: HashMap<Vec<u8>, Vec<usize>>,
    /// file_contexts.subs.
    substitutions: Vec<u8>,
    /// file_contexts.subs_dist.
    distribution_substitutions: Vec<u8>,
    /// What reads all that; `None` where the guest's libselinux may be any.
    release: Option<Release>,
    /// Whether there are lines that releases rank otherwise.
    has_odd: bool,
    compiled: u32,
    /// Those that are held, by the numbers of their lines; none that is no expression to us.
    regexes: HashMap<usize, Option<Regex>>,
}

/// What a policy says of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Label {
    /// This context.
    Context(Vec<u8>),
    /// `<<none>>`: it is to have no label of the policy's.
    None,
    /// Nothing.
    Unknown,
}

/// The releases of libselinux, as far as they take different ones of several lines that fit a path.
///
/// Before 3.8 what has none of `.^$?*+|[({` but behind a backslash ranks as a path, `\\d` and `]` too; since then not these. Of the rules in file_contexts.subs or in file_contexts.subs_dist it is the last line; in 3.8 and 3.8.1 the first one. Of the lines of a policy that
/// are nothing but the path it is the last one before 3.8; in 3.8 one with a file's type, else the first one; then the first one of the last file that
/// has any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Release {
    Before38,
    Of38,
    Since39,
}

impl Release {
    /// What a version is one of.
    pub fn of(version: Version) -> Self {
        match version {
            (3, 8) => Self::Of38,
            version if version < (3, 8) => Self::Before38,
            _ => Self::Since39,
        }
    }
}

/// A label, and the expressions that might have given another but could not be tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// The label.
    pub label: Label,
    /// Expressions that are no regular expression to us and whose literal beginning fits.
    pub untried: Vec<String>,
    /// Whether another release of libselinux gives another label, and the guest may have that.
    pub is_disputed: bool,
}

#[derive(Debug)]
struct Line {
    regex: Vec<u8>,
    file_type: Option<FileType>,
    context: Vec<u8>,
    rank: Rank,
    /// Whether releases before 3.8 never find it: they take its beginning up to the second slash as it stands, with a backslash in it.
    is_lost: bool,
    /// The number of its file, later ones with higher ones.
    file: usize,
}

/// What a line is taken for when several fit: paths go before all else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rank {
    /// Nothing but a path.
    Path,
    /// An expression that ranks as a path before 3.8.
    PathBefore38,
    Expression,
}

impl FileContexts {
    /// Takes the texts of the policy's files, empty where a file is missing; `None` where they have more than 2^18 lines.
    pub fn new(texts: [&[u8]; 3]) -> Option<Self> {
        let mut contexts = Self::default();
        let texts = texts.into_iter().enumerate();
        let lines = texts.flat_map(|(file, text)| text.split(|byte| *byte == b'\n').map(move |line| (file, line)));
        let lines = lines.filter_map(|(file, line)| parse(line).map(|(line, prefix)| (Line { file, ..line }, prefix)));
        for (number, (line, prefix)) in lines.enumerate() {
            if number >= LINES_MAX {
                return None;
            }
            contexts.has_odd |= line.is_lost || line.rank == Rank::PathBefore38;
            contexts.by_prefix.entry(prefix).or_default().push(number);
            contexts.lines.push(line);
        }
        Some(contexts)
    }

    /// Adds the texts of file_contexts.subs and file_contexts.subs_dist, and what reads all that where the guest's libselinux is known.
    #[must_use]
    pub fn with_substitutions(mut self, local: Vec<u8>, distribution: Vec<u8>, release: Option<Release>) -> Self {
        self.substitutions = local;
        self.distribution_substitutions = distribution;
        self.release = release;
        self
    }

    /// The label of `path`, an absolute path with every link followed.
    pub fn label(&mut self, path: &[u8], file_type: FileType) -> Match {
        let release = self.release.unwrap_or(Release::Since39);
        let substituted = self.substituted(path, release);
        let mut found = self.label_of(&substituted, file_type, release);
        if self.release.is_none() {
            found.is_disputed = [Release::Of38, Release::Before38].into_iter().any(|other| {
                let path = self.substituted(path, other);
                match self.literal(&path, file_type, other) {
                    Some(line) if !self.has_odd => line.label() != found.label,
                    // Expressions are tried alike by all.
                    None if !self.has_odd && path == substituted => false,
                    _ => self.label_of(&path, file_type, other).label != found.label,
                }
            });
        }
        found
    }

    fn substituted(&self, path: &[u8], release: Release) -> Vec<u8> {
        let path = substitute(&self.substitutions, path, release);
        substitute(&self.distribution_substitutions, &path, release)
    }

    /// The line that is nothing but a path.
    fn literal(&self, path: &[u8], file_type: FileType, release: Release) -> Option<&Line> {
        let numbers = self.by_prefix.get(path)?.iter();
        let mut lines = numbers
            .filter_map(|number| self.lines.get(*number))
            .filter(|line| line.rank == Rank::Path && line.fits(file_type, release));
        // Of equals the first one.
        match release {
            Release::Before38 => lines.next_back(),
            Release::Of38 => lines.min_by_key(|line| line.file_type.is_none()),
            Release::Since39 => lines.min_by_key(|line| std::cmp::Reverse(line.file)),
        }
    }

    /// The label of a path that was substituted.
    fn label_of(&mut self, path: &[u8], file_type: FileType, release: Release) -> Match {
        let of = |label, untried| Match { label, untried, is_disputed: false };
        let beginnings = (0..=path.len()).filter_map(|len| self.by_prefix.get(path.get(..len)?));
        let mut numbers: Vec<usize> = beginnings.flatten().copied().collect();
        numbers.sort_unstable_by(|one, other| other.cmp(one));
        let mut untried = Vec::new();
        let mut passes = vec![[Rank::PathBefore38, Rank::Expression]];
        if release == Release::Before38 {
            passes = vec![[Rank::Path, Rank::PathBefore38], [Rank::Expression; 2]];
        } else if let Some(line) = self.literal(path, file_type, release) {
            return of(line.label(), untried);
        }
        let whole = self.by_prefix.get(path);
        for ranks in passes {
            for number in &numbers {
                let Some(line) = self.lines.get(*number) else { continue };
                if !ranks.contains(&line.rank) || !line.fits(file_type, release) {
                    continue;
                }
                if line.rank == Rank::Path {
                    if whole.is_some_and(|numbers| numbers.contains(number)) {
                        return of(line.label(), untried);
                    }
                    continue;
                }
                match compiled(&mut self.regexes, &mut self.compiled, *number, &line.regex) {
                    Some(regex) if regex.is_match(path) => return of(line.label(), untried),
                    Some(_) => {}
                    None if untried.len() < 4 => untried.push(line.regex.escape_ascii().to_string()),
                    None if self.compiled < REGEX_COUNT => {}
                    None => break,
                }
            }
        }
        of(Label::Unknown, untried)
    }
}

/// The expression of a line, compiled; `None` where it is none to us, or where too many were compiled.
fn compiled<'r>(
    held: &'r mut HashMap<usize, Option<Regex>>,
    count: &mut u32,
    number: usize,
    regex: &[u8],
) -> Option<&'r Regex> {
    if held.len() >= REGEX_HELD && !held.contains_key(&number) {
        held.clear();
    }
    match held.entry(number) {
        Entry::Occupied(found) => found.into_mut().as_ref(),
        Entry::Vacant(_) if *count >= REGEX_COUNT => None,
        Entry::Vacant(place) => {
            *count = count.saturating_add(1);
            place.insert(compile(regex)).as_ref()
        }
    }
}

impl Line {
    fn fits(&self, file_type: FileType, release: Release) -> bool {
        let is_lost = self.is_lost && release == Release::Before38;
        !is_lost && self.file_type.is_none_or(|wanted| wanted == file_type)
    }

    fn label(&self) -> Label {
        match self.context.as_slice() {
            b"<<none>>" => Label::None,
            context => Label::Context(context.to_vec()),
        }
    }
}

/// `regex [type] context`, and the text with which what it matches begins; anything else is no line.
fn parse(line: &[u8]) -> Option<(Line, Vec<u8>)> {
    if line.len() > LINE_MAX {
        return None;
    }
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let (regex, second, third) = (words.next()?, words.next()?, words.next());
    if regex[0] == b'#' || words.next().is_some() {
        return None;
    }
    let (file_type, context) = match (second, third) {
        (context, None) => (None, context),
        (b"--", Some(context)) => (Some(FileType::Regular), context),
        (b"-d", Some(context)) => (Some(FileType::Directory), context),
        (b"-l", Some(context)) => (Some(FileType::Symlink), context),
        (b"-c", Some(context)) => (Some(FileType::CharDevice), context),
        (b"-b", Some(context)) => (Some(FileType::BlockDevice), context),
        (b"-p", Some(context)) => (Some(FileType::Fifo), context),
        (b"-s", Some(context)) => (Some(FileType::Socket), context),
        _ => return None,
    };
    let is_context = context == b"<<none>>"
        || (context.iter().filter(|byte| **byte == b':').count() >= 2 && context.iter().all(u8::is_ascii_graphic));
    let (prefix, rank) = beginning(regex);
    let is_lost = stem(regex).is_some_and(|stem| stem.contains(&b'\\'));
    let line = Line { regex: regex.to_vec(), file_type, context: context.to_vec(), rank, is_lost, file: 0 };
    is_context.then_some((line, prefix))
}

/// The text with which every match of an expression begins, and what the expression ranks as.
fn beginning(regex: &[u8]) -> (Vec<u8>, Rank) {
    let mut prefix = Vec::new();
    let (mut rank, mut is_open) = (Rank::Path, true);
    // The text up to the second slash.
    let mut first = Vec::new();
    let mut bytes = regex.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'.' | b'^' | b'$' | b'+' | b'|' | b'[' | b'(' | b'?' | b'*' | b'{' => {
                if is_open && matches!(byte, b'?' | b'*' | b'{') {
                    prefix.pop();
                }
                rank = Rank::Expression;
                break;
            }
            b']' | b')' | b'}' => (rank, is_open) = (Rank::PathBefore38, false),
            b'\\' => match bytes.next() {
                // Those that are only themselves to all releases.
                Some(escaped) if b".^$?*+|[({])}-_,".contains(&escaped) => {
                    if is_open {
                        prefix.push(escaped);
                    }
                }
                _ => (rank, is_open) = (Rank::PathBefore38, false),
            },
            literal if is_open => prefix.push(literal),
            _ => {}
        }
        if byte == b'/' && is_open && prefix.len() > 1 && first.is_empty() {
            first.clone_from(&prefix);
        }
    }
    if rank == Rank::Expression {
        // An alternative outside of parentheses begins with anything, but for what is compared before the expression is.
        if is_split(regex) {
            prefix.clear();
        }
        if first.len() > prefix.len() && stem(regex).is_some() {
            prefix = first;
        }
    }
    (prefix, rank)
}

/// Whether an expression has an alternative that is outside of its parentheses.
fn is_split(regex: &[u8]) -> bool {
    let (mut depth, mut escaped) = (0_i32, false);
    for byte in regex {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'(' => depth = depth.saturating_add(1),
            b')' => depth = depth.saturating_sub(1),
            b'|' if depth <= 0 => return true,
            _ => {}
        }
    }
    false
}

/// What a path has to begin with before an expression is asked: its beginning with the second slash, where nothing in it has a meaning.
fn stem(regex: &[u8]) -> Option<&[u8]> {
    let second = regex.iter().skip(1).position(|byte| *byte == b'/')?;
    let stem = regex.get(..second.checked_add(2)?)?;
    (!stem.iter().any(|byte| b".^$?*+|[({".contains(byte))).then_some(stem)
}

fn compile(regex: &[u8]) -> Option<Regex> {
    let regex = dialect::common(std::str::from_utf8(regex).ok()?)?;
    // As libselinux has it: an alternative outside of parentheses has one of both ends.
    RegexBuilder::new(&format!("^{regex}$"))
        .unicode(false)
        .dot_matches_new_line(true)
        .size_limit(REGEX_SIZE)
        .dfa_size_limit(REGEX_SIZE)
        .nest_limit(32)
        .build()
        .ok()
}

/// Replaces the beginning of a path that ends at a component by a rule (`from to`): the first or the last one that fits.
fn substitute(rules: &[u8], path: &[u8], release: Release) -> Vec<u8> {
    let mut fitting = rules.split(|byte| *byte == b'\n').filter(|line| line.len() <= LINE_MAX).filter_map(|line| {
        let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let (from, to) = (words.next()?, words.next()?);
        let rest = path.strip_prefix(from).filter(|rest| rest.is_empty() || rest[0] == b'/')?;
        Some((to, rest))
    });
    let rule = match release {
        Release::Of38 => fitting.next(),
        Release::Before38 | Release::Since39 => fitting.next_back(),
    };
    match rule {
        None => path.to_vec(),
        Some((b"/", [b'/', rest @ ..])) => [b"/", rest].concat(),
        Some((to, rest)) => [to, rest].concat(),
    }
}

#[cfg(test)]
mod tests;
