//! A pattern for one name, as glob(7) has it.

use regex::Regex;
use std::iter::Peekable;
use std::str::Chars;

/// The classes that stand in brackets, which are those of the POSIX locale here.
const CLASSES: [&str; 12] =
    ["alnum", "alpha", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "xdigit"];

/// What a name has to look like.
#[derive(Clone, Debug)]
pub(super) struct NamePattern {
    regex: Regex,
    /// Whether a dot at the beginning is named: nothing else stands for one.
    takes_hidden: bool,
}

impl NamePattern {
    /// Of a name with `*`, `?` or `[` in it, in which a backslash takes the meaning of the letter behind it away; `None` of another one,
    /// which is what it says. Else why it is no pattern, a clause.
    pub(super) fn parse(name: &[u8]) -> Result<Option<Self>, String> {
        if !name.iter().any(|byte| matches!(byte, b'*' | b'?' | b'[')) {
            return Ok(None);
        }
        let name = std::str::from_utf8(name).map_err(|_| "a pattern has to be UTF-8".to_owned())?;
        let mut regex = String::from(r"(?s)\A");
        let mut chars = name.chars().peekable();
        while let Some(char) = chars.next() {
            match char {
                '*' => regex.push_str(".*"),
                '?' => regex.push('.'),
                '[' => {
                    let mut ahead = chars.clone();
                    match set(&mut ahead)? {
                        Some(set) => {
                            regex.push_str(&set);
                            chars = ahead;
                        }
                        None => regex.push_str(r"\["),
                    }
                }
                char => regex.push_str(&literal(char, &mut chars)?),
            }
        }
        regex.push_str(r"\z");
        let regex = Regex::new(&regex).map_err(|_| "what is in its brackets cannot be read".to_owned())?;
        Ok(Some(Self { regex, takes_hidden: name.starts_with('.') || name.starts_with(r"\.") }))
    }

    /// Whether a name looks like it. A byte that is no text is one letter, as a star or a question mark takes it.
    pub(super) fn matches(&self, name: &[u8]) -> bool {
        (self.takes_hidden || !name.starts_with(b".")) && self.regex.is_match(&String::from_utf8_lossy(name))
    }
}

/// A letter, or the one behind a backslash.
fn literal(char: char, chars: &mut Peekable<Chars<'_>>) -> Result<String, String> {
    let char = match char {
        '\\' => chars.next().ok_or("nothing stands behind its last backslash")?,
        char => char,
    };
    Ok(regex::escape(char.encode_utf8(&mut [0; 4])))
}

/// What stands in brackets, of which the first one is read; `None` where no `]` ends it, which makes the bracket a letter for the shells
/// (POSIX.1-2024, XCU 2.14.1).
fn set(chars: &mut Peekable<Chars<'_>>) -> Result<Option<String>, String> {
    let mut regex = String::from('[');
    if chars.next_if(|char| matches!(char, '!' | '^')).is_some() {
        regex.push('^');
    }
    let mut is_first = true;
    loop {
        let Some(next) = chars.next() else { return Ok(None) };
        match next {
            ']' if !is_first => break,
            '[' if matches!(chars.peek(), Some(':' | '.' | '=')) => {
                let rest: String = chars.clone().skip(1).collect();
                let class = rest.split_once(":]").map(|(class, _)| class);
                let class = class.filter(|class| chars.peek() == Some(&':') && CLASSES.contains(class));
                let class =
                    class.ok_or("of what stands in brackets in its brackets only classes as [:digit:] are known")?;
                regex.push_str(&format!("[:{class}:]"));
                // Its letters, and the colons and the bracket around them.
                chars.by_ref().take(class.len() + 3).for_each(drop);
            }
            char => {
                regex.push_str(&literal(char, chars)?);
                let mut ahead = chars.clone();
                if ahead.next() == Some('-') && ahead.next().is_some_and(|last| last != ']') {
                    chars.next();
                    let Some(last) = chars.next() else { return Ok(None) };
                    regex.push_str(&format!("-{}", literal(last, chars)?));
                }
            }
        }
        is_first = false;
    }
    regex.push(']');
    Ok(Some(regex))
}

#[cfg(test)]
mod tests {
    use super::NamePattern;
    use std::path::Path;

    /// What a shell finds by its own glob(7), in the C locale, is what is found.
    #[test]
    fn a_shell_finds_the_same() {
        let place = tempfile::tempdir().unwrap();
        let names = [
            "a", "ab", "abc", "log.1", "log.a", "log.^", "log.-", "log.]", "log.!", "log.Z", ".hid", ".h.d", "x.y",
            "a*b", "[a]", "b\\c", "a-c", "a b", "~", "log.11", "[", "a[", "[]", "[!]", "[a-", "[x",
        ];
        for name in names {
            std::fs::write(place.path().join(name), "").unwrap();
        }
        for pattern in [
            "*",
            "?",
            "*.*",
            ".*",
            ".h*",
            "[.]h*",
            "*d",
            "log.[0-9]",
            "log.[!0-9]",
            "log.[^0-9]",
            "log.[]]",
            "log.[!]]",
            "log.[]-]",
            "log.[a-]",
            "log.[^^]",
            "log.[[:digit:]]",
            "log.[^[:digit:]]*",
            "log.[[:digit:][:upper:]]",
            "log.[[:alpha:]!]",
            r"a\*b",
            r"[\[]a[]]",
            r"[[]a]",
            r"b[\\]c",
            r"b\\?",
            "a[!b]*",
            "**",
            "a**b*",
            "?*?",
            "*[!a-z]*",
            "[~]",
            r"a[\ -]*",
            "log.?",
            "log.[+--]",
            "[",
            "a[",
            "?[",
            "[]",
            "[!]",
            "[a-",
            "[*",
            r"[\]",
            r"\[",
            "[[a]",
            "[[a]*",
            "[!a*",
        ] {
            let pattern_of = NamePattern::parse(pattern.as_bytes()).unwrap().unwrap();
            let mut found: Vec<_> = names.into_iter().filter(|name| pattern_of.matches(name.as_bytes())).collect();
            found.sort_unstable();
            assert_eq!(found, shell(place.path(), pattern), "{pattern}");
        }
        for odd in ["[[:digit]", "[[:letter:]]", "[[=a=]]", "[[.a.]]", "[z-a]", r"*\", r"[\"] {
            assert!(NamePattern::parse(odd.as_bytes()).is_err(), "{odd}");
        }
        assert!(NamePattern::parse(r"a\x".as_bytes()).unwrap().is_none());
        assert!(NamePattern::parse(b"\xff*").is_err());
        let letter = NamePattern::parse("[ä-ü]?".as_bytes()).unwrap().unwrap();
        assert!(letter.matches("öß".as_bytes()) && letter.matches(b"\xc3\xb6\xff") && !letter.matches(b"o\xff"));
    }

    fn shell(place: &Path, pattern: &str) -> Vec<String> {
        let script = format!("shopt -s nullglob extglob; shopt -u extglob globskipdots; printf '%s\\0' {pattern}");
        let output = std::process::Command::new("bash")
            .args(["-c", &script])
            .current_dir(place)
            .env("LC_ALL", "C")
            .output()
            .unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        let mut names: Vec<_> = told
            .split('\0')
            .filter(|name| !name.is_empty() && *name != "." && *name != "..")
            .map(str::to_owned)
            .collect();
        names.sort_unstable();
        names
    }
}
