//! Which expressions PCRE, that libselinux asks, and the crate `regex` understand alike: pcre2pattern(3).

/// The classes of characters that both know by name.
const NAMED: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word",
    "xdigit",
];

/// What stands before a quantifier.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// Nothing that could be repeated.
    Nothing,
    /// One byte: itself, an escape or a class.
    Byte,
    /// A letter of several bytes, of which PCRE repeats the last one.
    Letter,
    Group,
    Repeated(Repeated),
}

/// What is repeated already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Repeated {
    Byte,
    Group,
}

/// The expression as both understand it; `None` where they may not.
///
/// A possessive quantifier of one byte at the very end is as good as a greedy one: nothing follows for which it could give back anything.
pub(super) fn common(regex: &str) -> Option<&str> {
    let mut rest = regex;
    let mut depth = 0_usize;
    let mut before = Before::Nothing;
    while let Some(letter) = rest.chars().next() {
        rest = rest.get(letter.len_utf8()..)?;
        before = match letter {
            '\\' => {
                let (after, is_byte) = escape(rest)?;
                rest = after;
                if is_byte { Before::Byte } else { Before::Nothing }
            }
            '[' => {
                rest = class(rest)?;
                Before::Byte
            }
            '(' => {
                depth = depth.checked_add(1)?;
                // Of what may follow, they have only this one in common that matters.
                match rest.strip_prefix("?:") {
                    Some(after) => rest = after,
                    None if rest.starts_with(['?', '*']) => return None,
                    None => {}
                }
                Before::Nothing
            }
            ')' => {
                depth = depth.checked_sub(1)?;
                Before::Group
            }
            '|' | '^' | '$' => Before::Nothing,
            '*' | '+' | '?' | '{' => {
                if letter == '{' {
                    rest = bounds(rest)?;
                }
                match (before, letter) {
                    (Before::Byte, _) => Before::Repeated(Repeated::Byte),
                    (Before::Group, _) => Before::Repeated(Repeated::Group),
                    // Lazy: it matches the same.
                    (Before::Repeated(_), '?') => Before::Nothing,
                    (Before::Repeated(Repeated::Byte), '+') if depth == 0 && rest.is_empty() => {
                        return regex.strip_suffix('+');
                    }
                    _ => return None,
                }
            }
            _ if letter.is_ascii() => Before::Byte,
            _ => Before::Letter,
        };
    }
    (depth == 0).then_some(regex)
}

/// What follows an escape, and whether that is one byte; `None` where it is not the same to both.
fn escape(rest: &str) -> Option<(&str, bool)> {
    let letter = rest.chars().next().filter(char::is_ascii)?;
    let after = rest.get(1..)?;
    match letter {
        'd' | 'D' | 's' | 'S' | 'w' | 'W' | 'a' | 'f' | 'n' | 'r' | 't' => Some((after, true)),
        'b' | 'B' | 'A' | 'z' => Some((after, false)),
        'x' => {
            let (digits, after) = after.split_at_checked(2)?;
            digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some((after, true))
        }
        '<' | '>' => None,
        letter if letter.is_ascii_alphanumeric() => None,
        _ => Some((after, true)),
    }
}

/// What follows a class in brackets whose first bracket is read; `None` where it may have other members for either.
fn class(rest: &str) -> Option<&str> {
    let rest = rest.strip_prefix('^').unwrap_or(rest);
    // One that is the first is a member.
    let mut rest = rest.strip_prefix(']').unwrap_or(rest);
    loop {
        // The one has sets in it, and to the other these are members that are there twice.
        if ["&&", "--", "~~"].iter().any(|operator| rest.starts_with(operator)) {
            return None;
        }
        let letter = rest.chars().next().filter(char::is_ascii)?;
        let after = rest.get(1..)?;
        rest = match letter {
            ']' => return Some(after),
            '[' => {
                let (name, after) = after.strip_prefix(':')?.split_once(":]")?;
                NAMED.contains(&name.strip_prefix('^').unwrap_or(name)).then_some(after)?
            }
            '\\' => escape(after).filter(|(_, is_byte)| *is_byte)?.0,
            _ => after,
        };
    }
}

/// What follows the bounds of a repetition whose brace is read: `n`, `n,` or `n,m`.
fn bounds(rest: &str) -> Option<&str> {
    let (bounds, after) = rest.split_once('}')?;
    let (least, most) = bounds.split_once(',').unwrap_or((bounds, ""));
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    (!least.is_empty() && are_digits(least) && are_digits(most)).then_some(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_both_understand() {
        for regex in [
            "",
            "/a.b(/.*)?",
            "/a\\.b\\+\\-\\_",
            "/[^/]+/[a-z0-9_]{2,3}x{2}y{2,}",
            "/(?:a|b)+?",
            "/\\d\\W\\x41",
            "/[]a][^]a][[:alpha:][:^digit:]_][\\.\\]\\d]",
            "/a]b}",
            "/\u{e9}.*",
            "^/a$",
        ] {
            assert_eq!(common(regex), Some(regex), "{regex}");
        }
        assert_eq!(common("/a++"), Some("/a+"));
        assert_eq!(common("/[ab]?+"), Some("/[ab]?"));
        assert_eq!(common("/a{2}+"), Some("/a{2}"));
    }

    #[test]
    fn what_they_do_not() {
        for regex in [
            "/[a&&b]",
            "/[a--b]",
            "/[a~~b]",
            "/[--/]",
            "/[a[b]c]",
            "/[[:foo:]]",
            "/[[.a.]]",
            "/[a\u{e9}]",
            "/[a",
            "/[\\b]",
            "/a*+b",
            "/a++b",
            "/a?+b",
            "/(a)++",
            "/(a++)",
            "/a**",
            "/a+*",
            "/a*??",
            "/(*a)",
            "/*a(|*)",
            "*",
            "/^*",
            "/\\b+",
            "/\u{e9}*",
            "/a{,3}",
            "/a{x}",
            "/a{1,2",
            "/(?=a)",
            "/(?i)a",
            "/(?R)",
            "/(?#a)",
            "/(?<n>a)",
            "/(a",
            "/a)",
            "/\\",
            "/\\<a",
            "/\\>",
            "/\\h",
            "/\\v",
            "/\\Qa\\E",
            "/\\1",
            "/\\x4",
            "/\\x{41}",
            "/\\u0041",
            "/\\\u{e9}",
            "/\\Z",
        ] {
            assert_eq!(common(regex), None, "{regex}");
        }
    }
}
