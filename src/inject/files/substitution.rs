//! Perl's `s/REGEX/TEXT/FLAGS`, of perlop(1) as much as is meant without Perl.

use regex::bytes::{Captures, Regex, RegexBuilder};

/// What is replaced in each line of a text.
#[derive(Clone, Debug)]
pub struct Substitution {
    regex: Regex,
    text: Vec<Piece>,
    reach: Reach,
}

/// A part of what is put instead of a match.
#[derive(Clone, Debug)]
enum Piece {
    Bytes(Vec<u8>),
    /// What a group matched; 0 is all of it.
    Group(usize),
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
        for flag in flags.trim().trim_end_matches(';').chars() {
            match flag {
                'g' => reach = Reach::All,
                'i' => is_caseless = true,
                _ => return Err(format!("after its last {} only the flags g and i are taken", closing(second))),
            }
        }
        let pattern = translated(pattern, mark)?;
        // Of a line with its end, `$` is before that end and `^` at its beginning.
        let mut builder = RegexBuilder::new(&pattern);
        let regex = builder.unicode(false).multi_line(true).case_insensitive(is_caseless).build();
        // The last line of what regex says names the reason.
        let regex = regex.map_err(|error| {
            let error = error.to_string();
            let reason = error.lines().last().unwrap_or_default();
            format!("its regular expression is not taken: {}", reason.strip_prefix("error: ").unwrap_or(reason))
        })?;
        let text = pieces(text, second)?;
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
                if all.start() == line.len() && line.ends_with(b"\n") {
                    // After the line's end begins the next one.
                    continue;
                }
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

/// A regular expression of Perl's in the words of `regex`, where these have another meaning; else why there is none, a clause.
fn translated(pattern: &str, mark: char) -> Result<String, String> {
    let mut out = String::with_capacity(pattern.len());
    let mut letters = pattern.chars().peekable();
    let mut in_class = false;
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                // The mark is what it would be without the backslash. To `regex` the others are the ends of words.
                // Brackets stay what they are with one, as they may be in what is between them.
                Some(escaped) if (escaped == mark && closing(mark) == mark) || matches!(escaped, '<' | '>') => {
                    out.push(escaped);
                }
                escaped => {
                    out.push(letter);
                    out.extend(escaped);
                }
            },
            '[' if !in_class => {
                in_class = true;
                out.push(letter);
                out.extend(letters.next_if_eq(&'^'));
                out.extend(letters.next_if_eq(&']'));
            }
            '[' if letters.peek() == Some(&':') => {
                out.push(letter);
                for letter in letters.by_ref() {
                    out.push(letter);
                    if letter == ']' {
                        break;
                    }
                }
            }
            '[' | '&' | '~' if in_class => out.extend(['\\', letter]),
            '-' if in_class && letters.peek() == Some(&'-') => {
                return Err("two hyphens in [...] are not taken".to_owned());
            }
            ']' => {
                in_class = false;
                out.push(letter);
            }
            _ => out.push(letter),
        }
    }
    Ok(out)
}

/// The mark that a text begins with, and what is after it. In Perl `'` would have another meaning, `_` is a part of a name, and with a
/// backslash nothing could be escaped.
fn begun(text: &str) -> Option<(char, &str)> {
    let mark = text.chars().next().filter(|mark| mark.is_ascii_punctuation() && !"\\'_".contains(*mark))?;
    Some((mark, &text[mark.len_utf8()..]))
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

/// The parts of a replacement; else why there are none, a clause.
fn pieces(text: &str, mark: char) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut bytes = Vec::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let group = match letter {
            '\\' => match letters.next() {
                Some(digit @ '1'..='9') => digit as usize - '0' as usize,
                Some(escaped) => {
                    let byte = match escaped {
                        'n' => b'\n',
                        't' => b'\t',
                        'r' => b'\r',
                        _ if escaped == mark || escaped.is_ascii_punctuation() => escaped as u8,
                        _ => return Err(format!("\\{escaped} in its text is not taken")),
                    };
                    bytes.push(byte);
                    continue;
                }
                None => return Err("its text ends with a backslash".to_owned()),
            },
            '$' => {
                let rest: String = letters.clone().collect();
                let braced = rest
                    .strip_prefix('{')
                    .and_then(|rest| rest.split_once('}'))
                    .map(|(name, _)| (name, name.len() + 2));
                let digits = rest.len() - rest.trim_start_matches(|letter: char| letter.is_ascii_digit()).len();
                let (name, len) = match braced {
                    Some(braced) => braced,
                    None if rest.starts_with('&') => ("0", 1),
                    None => (&rest[..digits], digits),
                };
                let Ok(group) = name.parse::<usize>() else {
                    return Err(
                        "a $ in its text is to be followed by a group's number, or to be written as \\$".to_owned()
                    );
                };
                letters.by_ref().take(len).for_each(drop);
                group
            }
            _ => {
                bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
        };
        pieces.push(Piece::Bytes(std::mem::take(&mut bytes)));
        pieces.push(Piece::Group(group));
    }
    pieces.push(Piece::Bytes(bytes));
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle;
    use std::io::Write;
    use std::process::{Command, Stdio};

    fn apply(expression: &str, text: &str) -> Option<String> {
        let changed = Substitution::parse(expression).expect(expression).apply(text.as_bytes())?;
        Some(String::from_utf8(changed).expect("text"))
    }

    #[test]
    fn as_perl_does() {
        let has_perl = oracle::find("perl").is_some();
        for (expression, text, expected) in [
            ("s/a/b/", "aa\naa", Some("ba\nba")),
            ("s/a/b/g", "aa\ncc\n", Some("bb\ncc\n")),
            ("s/A/b/gi;", "aA\n", Some("bb\n")),
            ("s/^#?(Port) .*/$1 2222/", "#Port 22\nPort 1\nX\n", Some("Port 2222\nPort 2222\nX\n")),
            ("s/^/# /g", "a\nb\n", Some("# a\n# b\n")),
            ("s/$/;/", "a\r\nb", Some("a\r;\nb;")),
            ("s/^gone.*\\n//", "gone 1\nstays\ngone 2\n", Some("stays\n")),
            ("s/\\s+$/\\n/", "a \t\nb\n", Some("a\nb\n")),
            ("s|/a/b|/c\\|d|", "/a/b\n", Some("/c|d\n")),
            ("s|a\\|b|x|", "a|b\n", Some("x|b\n")),
            ("s.a\\.b.x.", "acb\n", Some("x\n")),
            ("s/a\\/b/\\/\\$1\\@x/", "a/b\n", Some("/$1@x\n")),
            ("s,(a)(b),\\2${1}0<$&>,", "ab\n", Some("ba0<ab>\n")),
            ("s/(a)|(b)/[$2]/g", "ab\n", Some("[][b]\n")),
            ("s/no/yes/", "maybe\n", None),
            ("s#a#b#", "aa\n", Some("ba\n")),
            ("s#a\\#b#/#g", "a#ba#b\n", Some("//\n")),
            ("s!a!b!", "a\n", Some("b\n")),
            ("s~a~b~", "a\n", Some("b\n")),
            ("s;a;b;g;", "aa\n", Some("bb\n")),
            ("s{a{2}}{<$&>}", "aaa\n", Some("<aa>a\n")),
            ("s{/etc/(\\w+)} {/usr/$1}g;", "/etc/a /etc/b\n", Some("/usr/a /usr/b\n")),
            ("s(a(b))[$1]", "ab\n", Some("b\n")),
            ("s[a[bc]]\t/x{1}/i", "AB\n", Some("x{1}\n")),
            ("s<a> <b\\>>", "a\n", Some("b>\n")),
            ("s{a\\{b}{\\}}", "a{b\n", Some("}\n")),
            ("s(a\\(b)(x)", "a(b\n", Some("x\n")),
            ("s[a\\[b][x]", "a[b\n", Some("x\n")),
            ("s{a}#b#", "a\n", Some("b\n")),
            ("s/\\<Directory\\>/<Location>/", "<Directory>\n", Some("<Location>\n")),
            ("s/[a[b]]/x/", "a[b]c\n", Some("a[xc\n")),
            ("s/[[:digit:]&&~]+/x/", "a1&b\n", Some("axb\n")),
            ("s/[]^]/x/g", "a]^\n", Some("axx\n")),
            ("s/[^]]/x/", "]a\n", Some("]x\n")),
            ("s/a\\[b]/x/", "a[b]\n", Some("x\n")),
        ] {
            assert_eq!(apply(expression, text).as_deref(), expected, "{expression}");
            if has_perl {
                let mut perl = Command::new("perl")
                    .args(["-pe", expression])
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .spawn()
                    .unwrap();
                perl.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
                let said = perl.wait_with_output().unwrap().stdout;
                assert_eq!(String::from_utf8(said).unwrap(), expected.unwrap_or(text), "perl: {expression}");
            }
        }
        let bytes = Substitution::parse("s/b/\u{e4}/").unwrap().apply(b"\xff\xfeb\n").unwrap();
        assert_eq!(bytes, b"\xff\xfe\xc3\xa4\n");
    }

    #[test]
    fn what_is_not_taken_is_said() {
        for (expression, reason) in [
            ("", "only s/"),
            ("y/a/b/", "only s/"),
            ("s{a}", "only s/"),
            ("s{a", "no } for its {"),
            ("s{a{b}{c}", "no } for its {"),
            ("s{a}{b", "no } for its {"),
            ("s{a} #b#", "only s/"),
            ("s{a}'b'", "only s/"),
            ("s{a}{b}x", "only the flags"),
            ("s_a_b_", "only s/"),
            ("s\\a\\b\\", "only s/"),
            ("s a b ", "only s/"),
            ("s/a", "no second /"),
            ("s/a/b", "no third /"),
            ("s/a/b\\/", "no third /"),
            ("s/a/b/e", "only the flags"),
            ("s'a'b'", "only s/"),
            ("s/[a--]/b/", "two hyphens"),
            ("s/a/b/; s/c/d/", "only the flags"),
            ("s/(?=a)/b/", "look-around"),
            ("s/(/b/", "unclosed group"),
            ("s/a/$1/", "no group 1"),
            ("s/a/$x/", "a group's number"),
            ("s/a/\\U&/", "\\U"),
        ] {
            let refused = Substitution::parse(expression).unwrap_err();
            assert!(refused.contains(reason), "{expression}: {refused}");
        }
    }
}
