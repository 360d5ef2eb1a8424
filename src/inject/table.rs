//! Lines of fields between colons, as passwd(5), shadow(5), group(5), gshadow(5) and subuid(5) are: everything that is not
//! changed stays byte for byte.

use zeroize::Zeroizing;

/// A text that may hold hashes.
pub(super) type Text = Zeroizing<Vec<u8>>;

/// Replaces the field `index` (the name is field 0) of every line of `name`, where `change` gives another; fields that are
/// missing before it come into being. `None` where the name has no line.
pub(super) fn replace_field<E>(
    text: &[u8],
    name: &[u8],
    index: usize,
    mut change: impl FnMut(&[u8]) -> Result<Option<Text>, E>,
) -> Result<Option<Text>, E> {
    let mut out = Zeroizing::new(Vec::with_capacity(text.len() + 256));
    let mut is_found = false;
    for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
        if number > 0 {
            out.push(b'\n');
        }
        if !is_of(line, name) {
            out.extend_from_slice(line);
            continue;
        }
        is_found = true;
        let mut fields: Vec<&[u8]> = line.splitn(index.saturating_add(2), |byte| *byte == b':').collect();
        let changed = change(fields.get(index).copied().unwrap_or_default())?;
        if let Some(changed) = &changed {
            fields.resize(fields.len().max(index.saturating_add(1)), b"");
            if let Some(field) = fields.get_mut(index) {
                *field = changed;
            }
        }
        for (number, field) in fields.into_iter().enumerate() {
            if number > 0 {
                out.push(b':');
            }
            out.extend_from_slice(field);
        }
    }
    Ok(is_found.then_some(out))
}

/// Replaces the field `index` of every line of `name` that has it, where `change` gives another.
pub(super) fn replace_present(text: &[u8], name: &[u8], index: usize, change: impl Fn(&[u8]) -> Option<Text>) -> Text {
    let mut out = Zeroizing::new(Vec::with_capacity(text.len() + 256));
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let (body, end) = line.split_at(line.len() - usize::from(line.ends_with(b"\n")));
        let mut fields: Vec<&[u8]> = body.splitn(index.saturating_add(2), |byte| *byte == b':').collect();
        let changed = fields.get(index).filter(|_| is_of(body, name)).and_then(|old| change(old));
        if let (Some(changed), Some(field)) = (&changed, fields.get_mut(index)) {
            *field = changed;
        }
        for (number, field) in fields.into_iter().enumerate() {
            if number > 0 {
                out.push(b':');
            }
            out.extend_from_slice(field);
        }
        out.extend_from_slice(end);
    }
    out
}

/// The fields of the first line of `name`, at most 16.
pub(super) fn fields<'a>(text: &'a [u8], name: &[u8]) -> Option<Vec<&'a [u8]>> {
    let line = text.split(|byte| *byte == b'\n').find(|line| is_of(line, name))?;
    Some(line.splitn(16, |byte| *byte == b':').collect())
}

/// The text with this line for `name`: at the place of the first that it has, and the only one; else behind all lines, or before the
/// first directive of nsswitch's compat, behind which other databases come.
pub(super) fn put(text: &[u8], name: &[u8], line: &[u8]) -> Text {
    let mut lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    if lines.last().is_some_and(|last| last.is_empty()) {
        lines.pop();
    }
    let is_directive = |line: &[u8]| matches!(line.first(), Some(b'+' | b'-'));
    let at =
        lines.iter().position(|line| is_of(line, name)).or_else(|| lines.iter().position(|line| is_directive(line)));
    let at = at.unwrap_or(lines.len());
    let (before, after) = lines.split_at(at);
    let mut out = Zeroizing::new(Vec::with_capacity(text.len().saturating_add(line.len()).saturating_add(2)));
    let kept = after.iter().filter(|line| !is_of(line, name));
    for line in before.iter().chain([&line]).chain(kept) {
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out
}

/// Whether a list of names between commas has this one.
pub(super) fn lists(list: &[u8], name: &[u8]) -> bool {
    list.split(|byte| *byte == b',').any(|listed| listed.trim_ascii() == name)
}

/// The list with this name in it; `None` where it is in it.
pub(super) fn listed(list: &[u8], name: &[u8]) -> Option<Text> {
    let list = list.trim_ascii_end();
    match lists(list, name) {
        true => None,
        false if list.is_empty() => Some(name.to_vec().into()),
        false => Some([list, b",", name].concat().into()),
    }
}

fn is_of(line: &[u8], name: &[u8]) -> bool {
    line.strip_prefix(name).is_some_and(|rest| rest.starts_with(b":"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put_text(text: &str, line: &str) -> String {
        String::from_utf8(put(text.as_bytes(), line.split(':').next().unwrap().as_bytes(), line.as_bytes()).to_vec())
            .unwrap()
    }

    #[test]
    fn a_line_is_put_once() {
        assert_eq!(put_text("", "a:1"), "a:1\n");
        assert_eq!(put_text("b:2", "a:1"), "b:2\na:1\n");
        assert_eq!(put_text("b:2\n\n", "a:1"), "b:2\n\na:1\n");
        assert_eq!(put_text("a:0\nb:2\nab:3\na:9\n", "a:1"), "a:1\nb:2\nab:3\n");
        assert_eq!(put_text("b:2\n+::\n-x\n", "a:1"), "b:2\na:1\n+::\n-x\n");
    }

    #[test]
    fn a_field_that_is_missing_comes_into_being() {
        let replace = |text: &str| {
            let changed = replace_field(text.as_bytes(), b"a", 3, |old| Ok::<_, ()>(listed(old, b"x")));
            changed.unwrap().map(|text| String::from_utf8(text.to_vec()).unwrap())
        };
        assert_eq!(replace("a:1:2:\n").unwrap(), "a:1:2:x\n");
        assert_eq!(replace("b::\na:1\r").unwrap(), "b::\na:1\r::x");
        assert_eq!(replace("a:1:2:y:z\nab:").unwrap(), "a:1:2:y,x:z\nab:");
        assert_eq!(replace("a:1:2:y, x\n").unwrap(), "a:1:2:y, x\n");
        assert_eq!(replace("a\n"), None);
    }
}
