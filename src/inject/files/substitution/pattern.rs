//! A regular expression of perlre(1) in the words of the crate `regex`, where these are other ones.
//!
//! What Perl reads otherwise than `regex` is refused, and so is what Perl takes for a variable of its own.

use std::str::Chars;

/// The names of perlrecharclass(1) that both know.
const CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word",
    "xdigit",
];

/// The expression for `regex`; else why there is none, a clause.
pub(super) fn translated(pattern: &str) -> Result<String, String> {
    let mut out = String::with_capacity(pattern.len());
    let mut letters = pattern.chars();
    let mut is_repeated = false;
    while let Some(letter) = letters.next() {
        let was_repeated = std::mem::take(&mut is_repeated);
        match letter {
            '*' | '+' | '?' | '{' => {
                if was_repeated {
                    return Err("possessive repetitions (*+, ++, ?+, {n}+) are not taken".to_owned());
                }
                out.push(letter);
                if letter == '{' {
                    count(&mut letters, &mut out)?;
                }
                if next_if(&mut letters, '?') {
                    out.push('?');
                }
                is_repeated = true;
            }
            '\\' => escape(&mut letters, Where::Outside, &mut out)?,
            '[' => class(&mut letters, &mut out)?,
            '(' => {
                group(letters.as_str())?;
                out.push(letter);
                // The ? is none of a repetition.
                if next_if(&mut letters, '?') {
                    out.push('?');
                }
            }
            // To Perl it is not after the line's end.
            '^' => out.push_str("\\A"),
            '$' | '@' => {
                variable(letter, letters.as_str())?;
                out.push(letter);
            }
            _ if !letter.is_ascii() && letters.as_str().starts_with(['*', '+', '?', '{']) => {
                return Err(format!(
                    "of {letter} Perl repeats the last byte alone: (?:{letter}) is all of the character"
                ));
            }
            _ => out.push(letter),
        }
    }
    Ok(out)
}

/// Where something stands.
#[derive(Clone, Copy)]
enum Where {
    Outside,
    InClass,
}

/// What is after a backslash.
fn escape(letters: &mut Chars<'_>, place: Where, out: &mut String) -> Result<(), String> {
    let Some(escaped) = letters.next() else {
        out.push('\\');
        return Ok(());
    };
    match (escaped, place) {
        // To `regex` these are the ends of words.
        ('<' | '>', _) => out.push(escaped),
        ('x', _) => {
            let is_byte =
                letters.as_str().get(..2).is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
            if !is_byte {
                return Err("\\x without two hexadecimal digits is not taken".to_owned());
            }
            out.push_str("\\x");
        }
        ('b' | 'B', Where::Outside) if letters.as_str().starts_with('{') => {
            return Err(format!("\\{escaped}{{ in its regular expression is not taken"));
        }
        ('A' | 'B' | 'b' | 'z', Where::Outside)
        | ('D' | 'S' | 'W' | 'a' | 'd' | 'f' | 'n' | 'r' | 's' | 't' | 'w', _) => {
            out.extend(['\\', escaped]);
        }
        // Of numbers `regex` says that they are back references.
        _ if !escaped.is_ascii_alphabetic() => out.extend(['\\', escaped]),
        _ => return Err(format!("\\{escaped} in its regular expression is not taken")),
    }
    Ok(())
}

/// What is after the `[` of a class.
fn class(letters: &mut Chars<'_>, out: &mut String) -> Result<(), String> {
    out.push('[');
    for first in ['^', ']'] {
        if next_if(letters, first) {
            out.push(first);
        }
    }
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => escape(letters, Where::InClass, out)?,
            '[' if letters.as_str().starts_with(['.', '=']) => {
                return Err("[. and [= in [...] are not taken: \\[ is the character".to_owned());
            }
            '[' => match letters.as_str().strip_prefix(':').and_then(|rest| rest.split_once(":]")) {
                Some((name, rest)) if CLASSES.contains(&name.strip_prefix('^').unwrap_or(name)) => {
                    out.push_str("[:");
                    out.push_str(name);
                    out.push_str(":]");
                    *letters = rest.chars();
                }
                Some((name, _)) if name.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'^') => {
                    return Err(format!("[:{name}:] is no class of characters"));
                }
                _ => out.push_str("\\["),
            },
            '&' | '~' => out.extend(['\\', letter]),
            '-' if letters.as_str().starts_with('-') => return Err("two hyphens in [...] are not taken".to_owned()),
            '$' | '@' => {
                variable(letter, letters.as_str())?;
                out.push(letter);
            }
            ']' => {
                out.push(letter);
                return Ok(());
            }
            _ => out.push(letter),
        }
    }
    Ok(())
}

/// What is after the `{` of a repetition.
fn count(letters: &mut Chars<'_>, out: &mut String) -> Result<(), String> {
    let (range, rest) = letters.as_str().split_once('}').unwrap_or_default();
    let (least, most) = range.split_once(',').unwrap_or((range, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if least.is_empty() || !is_number(least) || !is_number(most) {
        return Err("a { that is not of {n}, {n,} or {n,m} is not taken: \\{ is the character".to_owned());
    }
    out.push_str(range);
    out.push('}');
    *letters = rest.chars();
    Ok(())
}

/// Refuses groups whose beginning has another meaning to `regex`. Look-around it refuses by itself.
fn group(rest: &str) -> Result<(), String> {
    let Some(rest) = rest.strip_prefix('?') else { return Ok(()) };
    let named = rest.strip_prefix("P<").or_else(|| rest.strip_prefix('<')).and_then(|rest| rest.split_once('>'));
    let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let flags = rest.split([':', ')']).next().unwrap_or_default();
    let is_known = flags.bytes().all(|flag| b"is-".contains(&flag))
        || named.is_some_and(|(name, _)| is_name(name))
        || ["=", "!", "<=", "<!"].iter().any(|around| rest.starts_with(around));
    match is_known {
        true => Ok(()),
        false => Err("of (?...) only (?:...), (?<name>...) and the flags i and s are taken".to_owned()),
    }
}

/// Refuses what is a variable to Perl: in an expression it takes no `$` for one that ends it, or is before a blank, `(`, `)` or `|`.
fn variable(mark: char, rest: &str) -> Result<(), String> {
    let is_variable = match mark {
        '$' => !rest.is_empty() && !rest.starts_with(['(', ')', '|', ' ', '\t', '\r', '\n']),
        _ => rest.starts_with(|next: char| next.is_ascii_alphanumeric() || "_:'{$".contains(next)),
    };
    match is_variable {
        true => {
            Err(format!("{mark} within its regular expression begins a variable to Perl: \\{mark} is the character"))
        }
        false => Ok(()),
    }
}

/// Takes the next letter where it is this one.
fn next_if(letters: &mut Chars<'_>, letter: char) -> bool {
    match letters.as_str().strip_prefix(letter) {
        Some(rest) => {
            *letters = rest.chars();
            true
        }
        None => false,
    }
}
