//! A failed run: what is told to the user, and the exit status.

use crate::inject::{InjectError, Item};
use imgraft_vfs::{Error, ErrorKind, Layer, shell};
use std::collections::BTreeSet;
use std::error::Error as StdError;
use std::fmt::Write as _;
use std::path::Path;

/// How long a line on standard error may be, in characters.
const LINE_MAX: usize = 8192;

/// How a run ended, as its exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, or nothing to do.
    Done = 0,
    /// Failed, and the image is untouched; of two drives that are compared, that they differ.
    Failed = 1,
    /// The command line makes no sense, or names a host file that is not there.
    Usage = 2,
    /// The image was refused: format, feature, safety; or it cannot take the request.
    Refused = 3,
    /// Somebody uses the image, or an interrupted run has to be recovered first.
    InUse = 4,
    /// Done, but an optional item failed.
    Partial = 5,
    /// The host failed in the middle of the commit, and again when it was taken back: the message says what the image is.
    Unfinished = 6,
}

/// Why a run failed: one line, its causes and hints.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The exit status.
    pub exit: Exit,
    /// The item that failed, where one did.
    pub item: Option<Item>,
    /// What went wrong, with its causes, in one line.
    pub message: String,
    /// What the user can do about it.
    pub hints: Vec<String>,
    /// What else is wrong, where a document is to be mended once.
    pub further: Vec<Failure>,
}

impl Failure {
    /// The command line makes no sense.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, item: None, message: message.into(), hints: Vec::new(), further: Vec::new() }
    }

    /// Several as one, the first with what else is wrong; `None` of none.
    pub fn together(failures: Vec<Self>) -> Option<Self> {
        let mut all = failures.into_iter().flat_map(|mut failure| {
            let further = std::mem::take(&mut failure.further);
            std::iter::once(failure).chain(further)
        });
        let first = all.next()?;
        Some(Self { further: all.collect(), ..first })
    }

    /// An item could not be injected.
    pub fn item(item: Item, error: &InjectError) -> Self {
        let exit = match error {
            InjectError::Vfs(error) => exit_of(error),
            InjectError::DuplicatePassword { .. } => Exit::Usage,
            _ => Exit::Refused,
        };
        Self {
            exit,
            item: Some(item),
            message: format!("{} {}: {}", item.noun(), item.name(), chain(error)),
            hints: error.hint().into_iter().chain(way_around(item, error)).collect(),
            further: Vec::new(),
        }
    }

    /// Names what was typed that it is about, unless the message begins with it already.
    #[must_use]
    pub fn within(mut self, place: &str) -> Self {
        if !self.message.starts_with(place) {
            self.message = format!("{place}: {}", self.message);
        }
        self
    }

    /// Names the image, unless the message begins with it already, and puts its name into the commands of the hints.
    #[must_use]
    pub fn about(mut self, image: &Path) -> Self {
        let name = shell::word(image);
        self.hints = self.hints.iter().map(|hint| with_image(hint, &name)).collect();
        let image = printable(&image.display().to_string());
        if !self.message.starts_with(&image) {
            self.message = format!("{image}: {}", self.message);
        }
        self
    }

    /// Puts these options, by which a run has opened the image, each after a blank, into the commands of the hints that show what is
    /// in it.
    #[must_use]
    pub fn opened_with(mut self, options: &str) -> Self {
        self.hints = self.hints.iter().map(|hint| with_options(hint, options)).collect();
        self
    }

    /// Adds a hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The lines for standard error: whatever was typed or read, each is one line of a bounded length and cannot drive a terminal.
    /// What several failures have for a hint is said once.
    pub fn render(&self) -> String {
        let mut text = String::new();
        let mut told = BTreeSet::new();
        for failure in std::iter::once(self).chain(&self.further) {
            let _ = writeln!(text, "imgraft: {}", cut(&printable(&failure.message)));
            for hint in failure.hints.iter().filter(|hint| told.insert(hint.as_str())) {
                let _ = writeln!(text, "hint: {}", cut(&printable(hint)));
            }
        }
        text
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::from(&error)
    }
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        Self {
            exit: exit_of(error),
            item: None,
            message: chain(error),
            hints: error.hint().map(str::to_owned).into_iter().collect(),
            further: Vec::new(),
        }
    }
}

/// How an operation of sysprep's is left out; where it goes into what is not in the image, how that is.
fn way_around(item: Item, error: &InjectError) -> Option<String> {
    let Item::Operation(operation) = item else { return None };
    let name = operation.name();
    let without = format!(
        "--operations that ends with -{name} leaves this one out; where no operations were named it is defaults,-{name}"
    );
    Some(match error {
        InjectError::Vfs(error) if error.layer() == Layer::Volume => {
            format!("--mount none:PATH goes by what the root filesystem has at PATH; {without}")
        }
        _ => without,
    })
}

fn exit_of(error: &Error) -> Exit {
    match error.kind() {
        ErrorKind::Io => Exit::Failed,
        ErrorKind::InUse => Exit::InUse,
        ErrorKind::Unfinished => Exit::Unfinished,
        ErrorKind::Invalid => Exit::Usage,
        ErrorKind::NotFound if error.layer() == Layer::Host || error.layer() == Layer::Transaction => Exit::Usage,
        _ => Exit::Refused,
    }
}

/// An error and its causes in one line; control characters, which may come from an image, are escaped.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    printable(&text)
}

/// A line without its middle, where it is too long: it begins with what failed, and ends with the cause.
fn cut(line: &str) -> String {
    let chars = line.chars().count();
    if chars <= LINE_MAX {
        return line.to_owned();
    }
    let end: String = line.chars().skip(chars - LINE_MAX / 2).collect();
    let start: String = line.chars().take(LINE_MAX / 2).collect();
    format!("{start} [… {} characters …] {end}", chars - LINE_MAX / 2 * 2)
}

/// The text with the characters escaped that drive a terminal, so that a name from an image cannot.
pub fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let escaped = if drives_a_terminal(c) { Some(c.escape_default()) } else { None };
            let plain = if drives_a_terminal(c) { None } else { Some(c) };
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}

/// JSON, of which the same characters are escaped as JSON does; line breaks, which are outside of its texts, stay.
pub fn inert_json(json: &str) -> String {
    json.chars().fold(String::with_capacity(json.len()), |mut text, c| {
        // All of them are in the basic plane.
        let _ = match c {
            '\n' => text.write_char(c),
            c if drives_a_terminal(c) => write!(text, "\\u{:04x}", u32::from(c)),
            c => text.write_char(c),
        };
        text
    })
}

/// Control characters, and those that turn the direction of what is shown (Unicode Standard Annex 9, Bidi_Control).
fn drives_a_terminal(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A hint whose commands that show what is in an image have these options, each after a blank.
pub fn with_options(hint: &str, options: &str) -> String {
    ["ls", "cat"].iter().fold(hint.to_owned(), |hint, verb| {
        let command = format!("`imgraft {verb} IMAGE");
        hint.replace(&command, &format!("{command}{options}"))
    })
}

/// A hint whose commands, which stand between backquotes, name this file where they say IMAGE.
pub fn with_image(hint: &str, name: &str) -> String {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let put = |command: &str| {
        let mut text = String::new();
        let mut rest = command;
        while let Some((before, after)) = rest.split_once("IMAGE") {
            let whole = !before.ends_with(is_word) && !after.starts_with(is_word);
            text.extend([before, if whole { name } else { "IMAGE" }]);
            rest = after;
        }
        text + rest
    };
    let parts = hint.split('`').zip([false, true].into_iter().cycle());
    parts.map(|(part, command)| if command { put(part) } else { part.to_owned() }).collect::<Vec<_>>().join("`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_else_is_wrong_has_its_own_lines() {
        let further = vec![Failure::usage("b").with_hint("x"), Failure::usage("c\nd").with_hint("y")];
        let failure = Failure { further, ..Failure::usage("a").with_hint("x") };
        let lines = "imgraft: a\nhint: x\nimgraft: b\nimgraft: c\\nd\nhint: y\n";
        assert_eq!(failure.render(), lines);
        let all = Failure::together(vec![failure, Failure::usage("e")]).unwrap();
        assert_eq!(all.render(), format!("{lines}imgraft: e\n"));
        assert!(Failure::together(Vec::new()).is_none());
    }

    #[test]
    fn commands_name_the_image() {
        let hint = "IMAGE: `check IMAGE`, `-o file=IMAGE NEW.qcow2` or `IMAGES`";
        let about = |path: &str| Failure::usage("x").with_hint(hint).about(Path::new(path)).hints.remove(0);
        assert_eq!(about("a/b.img"), "IMAGE: `check a/b.img`, `-o file=a/b.img NEW.qcow2` or `IMAGES`");
        assert_eq!(about("it's $x"), r"IMAGE: `check 'it'\''s $x'`, `-o file='it'\''s $x' NEW.qcow2` or `IMAGES`");
        assert!(about("-rf").contains("`check ./-rf`"));
        assert!(about("IMAGE").contains("`check IMAGE`"));
    }

    #[test]
    fn json_stays_what_it_was() {
        let value = serde_json::json!({"a\u{9b}\u{202e}": ["\n\u{7f}", "\u{e9}\u{1f600}"]});
        let json = inert_json(&serde_json::to_string_pretty(&value).unwrap());
        assert!(json.contains("a\\u009b\\u202e") && json.contains("\u{e9}\u{1f600}"), "{json}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap(), value);
    }

    #[test]
    fn lines_end() {
        let failure = Failure::usage(format!("{}end", "é".repeat(LINE_MAX * 9))).with_hint("x".repeat(LINE_MAX + 1));
        let text = failure.render();
        assert!(
            text.starts_with("imgraft: éé") && text.contains("characters …] éé") && text.contains("éend\nhint: xx")
        );
        assert!(text.lines().all(|line| line.chars().count() < LINE_MAX + 60));
        let whole = "x".repeat(LINE_MAX);
        assert_eq!(Failure::usage(whole.clone()).render(), format!("imgraft: {whole}\n"));
    }

    #[test]
    fn lines_are_lines_and_drive_no_terminal() {
        let failure = Failure::usage("--chmod x\x1b[2J:\n/a").with_hint("a\rb\u{9b}2J");
        assert_eq!(failure.render(), "imgraft: --chmod x\\u{1b}[2J:\\n/a\nhint: a\\rb\\u{9b}2J\n");
        let failure = Failure::usage("damaged").about(Path::new("a\nb"));
        assert_eq!(failure.render(), "imgraft: a\\nb: damaged\n");
    }
}
