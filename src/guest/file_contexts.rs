//! Which SELinux label a path is to have, by the guest's own policy: selabel_file(5).
//!
//! Lines without metacharacters win over regular expressions, and among equals the last one wins; homedirs is read after
//! the policy's own file and local after that. The files are searched as they are: a few paths are looked up, so that
//! neither an index nor the compilation of thousands of expressions would pay.

use imgraft_vfs::fs::FileType;
use regex::bytes::{Regex, RegexBuilder};

/// The longest line that is considered; a path has 4095 bytes.
const LINE_MAX: usize = 8192;
/// How large one compiled expression may be. The largest of real policies need a tenth of it.
const REGEX_SIZE: usize = 256 * 1024;
/// How many expressions are compiled altogether; a path of a real policy needs some dozens.
const REGEX_COUNT: u32 = 20_000;

/// The texts of a policy's file contexts.
#[derive(Debug, Default)]
pub struct FileContexts {
    /// From the weakest to the strongest: file_contexts, file_contexts.homedirs, file_contexts.local.
    texts: Vec<Vec<u8>>,
    /// file_contexts.subs.
    substitutions: Vec<u8>,
    /// file_contexts.subs_dist.
    distribution_substitutions: Vec<u8>,
    compiled: u32,
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

/// A label, and the expressions that might have given another but could not be tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// The label.
    pub label: Label,
    /// Expressions that are no regular expression to us and whose literal beginning fits.
    pub untried: Vec<String>,
}

#[derive(Clone, Copy)]
struct Line<'a> {
    regex: &'a [u8],
    file_type: Option<FileType>,
    context: &'a [u8],
}

impl FileContexts {
    /// Takes the texts of the policy's files, empty where a file is missing.
    pub fn new(base: Vec<u8>, homedirs: Vec<u8>, local: Vec<u8>) -> Self {
        Self { texts: vec![base, homedirs, local], ..Self::default() }
    }

    /// Adds the texts of file_contexts.subs and file_contexts.subs_dist.
    #[must_use]
    pub fn with_substitutions(mut self, local: Vec<u8>, distribution: Vec<u8>) -> Self {
        self.substitutions = local;
        self.distribution_substitutions = distribution;
        self
    }

    /// The label of `path`, an absolute path with every link followed.
    pub fn label(&mut self, path: &[u8], file_type: FileType) -> Match {
        let path = substitute(&self.substitutions, path);
        let path = substitute(&self.distribution_substitutions, &path);
        let mut untried = Vec::new();
        let lines = || {
            let lines = self.texts.iter().rev().flat_map(|text| text.rsplit(|byte| *byte == b'\n'));
            lines.filter(|line| is_candidate(line, &path)).filter_map(parse)
        };
        let of_type = |line: &Line<'_>| line.file_type.is_none_or(|wanted| wanted == file_type);

        let exact = lines().filter(of_type).find(|line| {
            let literal = Literal::of(line.regex);
            literal.is_whole && literal.prefix == path
        });
        if let Some(line) = exact {
            return Match { label: line.label(), untried };
        }
        for line in lines().filter(of_type) {
            let literal = Literal::of(line.regex);
            if literal.is_whole || !path.starts_with(&literal.prefix) {
                continue;
            }
            self.compiled += 1;
            let is_affordable = self.compiled <= REGEX_COUNT;
            match compile(line.regex).filter(|_| is_affordable) {
                Some(regex) if regex.is_match(&path) => return Match { label: line.label(), untried },
                Some(_) => {}
                None if untried.len() < 4 => untried.push(line.regex.escape_ascii().to_string()),
                None if is_affordable => {}
                None => break,
            }
        }
        Match { label: Label::Unknown, untried }
    }
}

impl Line<'_> {
    fn label(&self) -> Label {
        match self.context {
            b"<<none>>" => Label::None,
            context => Label::Context(context.to_vec()),
        }
    }
}

/// Whether a line can be about `path`, told by its first bytes: nearly none can, and the others need not be taken apart.
fn is_candidate(line: &[u8], path: &[u8]) -> bool {
    let line = line.trim_ascii_start();
    let differs = line.iter().zip(path).position(|(line, path)| line != path).unwrap_or(line.len().min(path.len()));
    let is_literal = |byte: &u8| byte.is_ascii_alphanumeric() || b"/-_,:@%".contains(byte);
    // Every byte before the difference is literal, and neither it nor the next makes one of them optional.
    let is_decided = line[..(differs + 2).min(line.len())].iter().all(is_literal) && differs < line.len();
    !is_decided || line.contains(&b'|')
}

/// `regex [type] context`; anything else is no line.
fn parse(line: &[u8]) -> Option<Line<'_>> {
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
    is_context.then_some(Line { regex, file_type, context })
}

/// The text with which every match of an expression begins.
struct Literal {
    prefix: Vec<u8>,
    /// Whether the expression is nothing but that text.
    is_whole: bool,
}

impl Literal {
    fn of(regex: &[u8]) -> Self {
        let mut prefix = Vec::new();
        let mut bytes = regex.iter().copied().peekable();
        while let Some(byte) = bytes.next() {
            match byte {
                b'?' | b'*' | b'{' => {
                    prefix.pop();
                    return Self::begin(prefix, regex);
                }
                b'.' | b'^' | b'$' | b'+' | b'|' | b'[' | b'(' => return Self::begin(prefix, regex),
                b'\\' => match bytes.next() {
                    // `\d`, `\s` and the like stand for more than themselves.
                    Some(escaped) if !escaped.is_ascii_alphanumeric() => prefix.push(escaped),
                    _ => return Self::begin(prefix, regex),
                },
                literal => prefix.push(literal),
            }
        }
        Self { prefix, is_whole: true }
    }

    fn begin(prefix: Vec<u8>, regex: &[u8]) -> Self {
        // An alternative may begin with anything; where it is inside parentheses the literal before them still holds.
        let (mut depth, mut escaped) = (0_i32, false);
        for byte in regex {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'(' => depth += 1,
                b')' => depth -= 1,
                b'|' if depth <= 0 => return Self { prefix: Vec::new(), is_whole: false },
                _ => {}
            }
        }
        Self { prefix, is_whole: false }
    }
}

fn compile(regex: &[u8]) -> Option<Regex> {
    let regex = std::str::from_utf8(regex).ok()?;
    RegexBuilder::new(&format!("^(?:{regex})$"))
        .unicode(false)
        .dot_matches_new_line(true)
        .size_limit(REGEX_SIZE)
        .dfa_size_limit(REGEX_SIZE)
        .nest_limit(32)
        .build()
        .ok()
}

/// Replaces the beginning of a path by the rule (`from to`) with the longest `from` that ends at a component.
fn substitute(rules: &[u8], path: &[u8]) -> Vec<u8> {
    let mut best: Option<(&[u8], &[u8])> = None;
    for line in rules.split(|byte| *byte == b'\n') {
        let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let (Some(from), Some(to)) = (words.next(), words.next()) else { continue };
        if from[0] != b'/' || to[0] != b'/' || to.len() > LINE_MAX {
            continue;
        }
        let fits = path.strip_prefix(from).is_some_and(|rest| rest.is_empty() || rest[0] == b'/');
        if fits && best.is_none_or(|(longest, _)| from.len() >= longest.len()) {
            best = Some((from, to));
        }
    }
    match best {
        None => path.to_vec(),
        Some((from, to)) => {
            let rest = &path[from.len()..];
            let to = to.strip_suffix(b"/").unwrap_or(to);
            let whole = [to, rest].concat();
            if whole.is_empty() { b"/".to_vec() } else { whole }
        }
    }
}

#[cfg(test)]
mod tests;
