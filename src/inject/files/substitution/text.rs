//! What is put instead of a match: what perlop(1) calls the replacement, without the code and the variables that Perl takes there.

use std::str::Chars;

/// A part of a replacement.
#[derive(Clone, Debug)]
pub(super) enum Piece {
    Bytes(Vec<u8>),
    /// What a group matched; 0 is all of it.
    Group(usize),
}

/// The parts of a replacement; else why there are none, a clause.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut bytes = Vec::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        let group = match letter {
            '\\' => match letters.next() {
                Some(digit @ '1'..='9') => {
                    if letters.as_str().starts_with(|next: char| next.is_ascii_digit()) {
                        return Err(format!(
                            "\\{digit} before a digit in its text is an octal number to Perl: ${{{digit}}} is the group"
                        ));
                    }
                    subscripted(letters.as_str())?;
                    digit as usize - '0' as usize
                }
                Some(escaped) => {
                    let byte = match escaped {
                        'n' => b'\n',
                        't' => b'\t',
                        'r' => b'\r',
                        _ if escaped.is_ascii_punctuation() => escaped as u8,
                        _ => return Err(format!("\\{escaped} in its text is not taken")),
                    };
                    bytes.push(byte);
                    continue;
                }
                None => return Err("its text ends with a backslash".to_owned()),
            },
            '$' => group(&mut letters)?,
            '@' if is_array(letters.as_str()) => {
                return Err("a @ before a name in its text is an array to Perl: \\@ is the character".to_owned());
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

/// The number of the group that is named after a `$`.
fn group(letters: &mut Chars<'_>) -> Result<usize, String> {
    let rest = letters.as_str();
    let braced = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map(|(name, _)| (name, name.len() + 2));
    let digits = rest.len() - rest.trim_start_matches(|letter: char| letter.is_ascii_digit()).len();
    let (name, len) = match braced {
        Some(braced) => braced,
        None => (&rest[..digits], digits),
    };
    let (group, len) = match name.parse() {
        _ if rest.starts_with('&') => (0, 1),
        // $0 is the name of the program, and no other number begins with 0.
        Ok(group) if !name.starts_with(['0', '+']) => (group, len),
        _ => return Err("a $ in its text is to be followed by a group's number, or to be written as \\$".to_owned()),
    };
    letters.by_ref().take(len).for_each(drop);
    if braced.is_none() {
        subscripted(letters.as_str())?;
    }
    Ok(group)
}

/// Refuses what would make a group an array's or a hash's name.
fn subscripted(rest: &str) -> Result<(), String> {
    match rest.strip_prefix("->").unwrap_or(rest).starts_with(['[', '{']) {
        true => Err("a [, { or -> after a group in its text is a subscript to Perl: \\[, \\{ or -\\> is the character"
            .to_owned()),
        false => Ok(()),
    }
}

/// Whether what comes after a `@` makes it an array to Perl.
fn is_array(rest: &str) -> bool {
    rest.starts_with(|next: char| next.is_ascii_alphanumeric() || "_:'{$+-".contains(next))
}
