//! Perl's `s/REGEX/TEXT/FLAGS`, of perlop(1) as much as is meant without Perl.

mod pattern;
mod text;

use self::text::Piece;
use regex::bytes::{Captures, Regex, RegexBuilder};

/// What is replaced in each line of a text.
#[derive(Clone, Debug)]
pub struct Substitution {
    regex: Regex,
    text: Vec<Piece>,
    reach: Reach,
}

/// How many matches of a line are replaced.
#[derive(Clone, Copy, Debug)]
enum Reach {
    First,
    All,
}

impl Substitution {
    /// Reads an expression; else why it is none, a clause.
    pub fn parse(expression: &str) -> Result<Self, String> {
        let no = || {
            "only s/REGEX/TEXT/ is taken, with the flags g and i; other marks may stand for the slashes: s#…#…#, s{…}{…}"
                .to_owned()
        };
        let rest = expression.trim().strip_prefix('s').ok_or_else(no)?;
        let (mark, rest) = begun(rest).ok_or_else(no)?;
        let unclosed = |mark, which| match closing(mark) {
            close if close == mark => format!("it has no {which} {mark}"),
            close => format!("it has no {close} for its {mark}"),
        };
        let (pattern, rest) = until(mark, rest).ok_or_else(|| unclosed(mark, "second"))?;
        // What is in brackets is followed by a text with marks of its own, after a blank too, where # begins a comment.
        let (second, rest) = match closing(mark) == mark {
            true => (mark, rest),
            false => {
                let bare = rest.trim_start();
                begun(bare).filter(|(second, _)| *second != '#' || bare.len() == rest.len()).ok_or_else(no)?
            }
        };
        let (text, flags) = until(second, rest).ok_or_else(|| unclosed(second, "third"))?;
        let (mut reach, mut is_caseless) = (Reach::First, false);
        for flag in flags.trim_end_matches(|end: char| end == ';' || end.is_ascii_whitespace()).chars() {
            match flag {
                'g' => reach = Reach::All,
                'i' => is_caseless = true,
                _ => return Err(format!("after its last {} only the flags g and i are taken", closing(second))),
            }
        }
        let pattern = match closing(mark) == mark {
            true => pattern::translated(&unescaped(pattern, &[mark]))?,
            false => pattern::translated(pattern)?,
        };
        // Of a line with its end, `$` is before that end too.
        let mut builder = RegexBuilder::new(&pattern);
        let regex = builder.unicode(false).multi_line(true).case_insensitive(is_caseless).build();
        // The last line of what regex says names the reason.
        let regex = regex.map_err(|error| {
            let error = error.to_string();
            let reason = error.lines().last().unwrap_or_default();
            format!("its regular expression is not taken: {}", reason.strip_prefix("error: ").unwrap_or(reason))
        })?;
        let text = text::pieces(&unescaped(text, &[second, closing(second)]))?;
        let groups = regex.captures_len();
        if let Some(group) = text.iter().find_map(|piece| match piece {
            Piece::Group(group) if *group >= groups => Some(group),
            _ => None,
        }) {
            return Err(format!("its regular expression has no group {group}"));
        }
        Ok(Self { regex, text, reach })
    }

    /// The text with all its lines changed; `None` where nothing matches.
    pub fn apply(&self, text: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(text.len());
        let mut is_found = false;
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            let mut done = 0;
            let count = match self.reach {
                Reach::First => 1,
                Reach::All => usize::MAX,
            };
            for found in self.regex.captures_iter(line).take(count) {
                let Some(all) = found.get(0) else { continue };
                is_found = true;
                out.extend_from_slice(&line[done..all.start()]);
                self.put(&found, &mut out);
                done = all.end();
            }
            out.extend_from_slice(&line[done..]);
        }
        is_found.then_some(out)
    }

    fn put(&self, found: &Captures<'_>, out: &mut Vec<u8>) {
        for piece in &self.text {
            match piece {
                Piece::Bytes(bytes) => out.extend_from_slice(bytes),
                Piece::Group(group) => out.extend_from_slice(found.get(*group).map_or(b"", |group| group.as_bytes())),
            }
        }
    }
}

/// The mark that a text begins with, and what is after it. In Perl `'` would have another meaning, `_` is a part of a name, `=>` ends one,
/// what `$` and `@` begin would have to be told from them, and with a backslash nothing could be escaped.
fn begun(text: &str) -> Option<(char, &str)> {
    let mark = text.chars().next().filter(|mark| mark.is_ascii_punctuation() && !"\\'_$@".contains(*mark))?;
    (!text.starts_with("=>")).then(|| (mark, &text[mark.len_utf8()..]))
}

/// What is between marks, as Perl reads it on: one of these that had a backslash is what it would be without one. In an expression brackets
/// keep theirs, as they may be in what is between them.
fn unescaped(text: &str, marks: &[char]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (letter, letters.clone().next()) {
            ('\\', Some(escaped)) => {
                letters.next();
                if !marks.contains(&escaped) {
                    out.push(letter);
                }
                out.push(escaped);
            }
            _ => out.push(letter),
        }
    }
    out
}

/// What ends what a mark begins.
fn closing(mark: char) -> char {
    match mark {
        '(' => ')',
        '[' => ']',
        '{' => '}',
        '<' => '>',
        mark => mark,
    }
}

/// What is before the end that belongs to a mark, and what is after it; brackets nest, and what is after a backslash is none.
fn until(mark: char, text: &str) -> Option<(&str, &str)> {
    let (mut is_escaped, mut depth) = (false, 0_usize);
    for (place, letter) in text.char_indices() {
        match letter {
            _ if is_escaped => {}
            letter if letter == closing(mark) && depth == 0 => {
                return Some((&text[..place], &text[place + letter.len_utf8()..]));
            }
            letter if letter == closing(mark) => depth -= 1,
            letter if letter == mark => depth += 1,
            _ => {}
        }
        is_escaped = letter == '\\' && !is_escaped;
    }
    None
}

#[cfg(test)]
mod tests;
