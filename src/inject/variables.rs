//! Files of a shell's variables, as sysconfig and systemd have them: `KEY=value`, one a line.

use super::{InjectError, READ_LIMIT, ROOT_FILE};
use imgraft_vfs::fs::Content;
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;

/// The last value of a variable, without quotes; `None` where it has none, or there is no such file.
pub(super) fn value(path: &GuestPath, key: &str, stage: &Stage<'_>) -> Result<Option<Vec<u8>>, InjectError> {
    let text = stage.read(path, READ_LIMIT)?.unwrap_or_default();
    let mut values = text.split(|byte| *byte == b'\n').filter_map(|line| assigned(line, key));
    Ok(values.next_back().map(|value| unquoted(value).to_vec()))
}

/// Gives a variable of a file a value, in the place of its last line; every other byte stays. The value holds no quote.
pub(super) fn assign(path: &GuestPath, key: &str, wanted: &str, stage: &mut Stage<'_>) -> Result<(), InjectError> {
    if value(path, key, stage)?.is_some_and(|value| value == wanted.as_bytes()) {
        return Ok(stage.confirm(path)?);
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:/+@".contains(&byte);
    let is_word = !wanted.is_empty() && wanted.bytes().all(is_plain);
    let line = if is_word { format!("{key}={wanted}\n") } else { format!("{key}=\"{wanted}\"\n") };
    let text = stage.read(path, READ_LIMIT)?.unwrap_or_default();
    let mut lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
    let is_whole = |line: &&[u8]| assigned(line, key).is_some_and(|value| !goes_on(value));
    match lines.iter().rposition(|line| assigned(line, key).is_some()).filter(|last| is_whole(&lines[*last])) {
        Some(last) => lines[last] = line.as_bytes(),
        None => {
            if lines.last().is_some_and(|last| !last.ends_with(b"\n")) {
                lines.push(b"\n");
            }
            lines.push(line.as_bytes());
        }
    }
    Ok(stage.write(path, Content::bytes(lines.concat()), ROOT_FILE)?)
}

/// What a line gives a variable, as it stands there.
fn assigned<'a>(line: &'a [u8], key: &str) -> Option<&'a [u8]> {
    line.trim_ascii().strip_prefix(key.as_bytes())?.strip_prefix(b"=")
}

fn unquoted(value: &[u8]) -> &[u8] {
    let without = |quote: &[u8]| value.strip_prefix(quote)?.strip_suffix(quote);
    without(b"\"").or_else(|| without(b"'")).unwrap_or(value)
}

/// Whether a value goes on in the next line: a quote that is not closed, or a backslash at the end.
fn goes_on(value: &[u8]) -> bool {
    let is_open = value
        .first()
        .is_some_and(|first| matches!(first, b'"' | b'\'') && value.iter().filter(|byte| *byte == first).count() == 1);
    is_open || value.ends_with(b"\\")
}

#[cfg(test)]
mod tests {
    use super::*;
    use imgraft_vfs::fs::mem::MemFs;

    fn after(text: &str, wanted: &str) -> String {
        let fs = MemFs::builder().file("/etc/x", text).build().unwrap();
        let mut stage = Stage::new(&fs);
        let path = GuestPath::parse("/etc/x").unwrap();
        assign(&path, "KEY", wanted, &mut stage).unwrap();
        assert_eq!(value(&path, "KEY", &stage).unwrap().unwrap(), wanted.as_bytes(), "{text}");
        String::from_utf8(stage.read(&path, 4096).unwrap().unwrap()).unwrap()
    }

    #[test]
    fn every_other_byte_stays() {
        for (text, wanted, expected) in [
            ("", "a", "KEY=a\n"),
            ("A=1", "a b", "A=1\nKEY=\"a b\"\n"),
            ("KEY=\"a b\"\n", "a b", "KEY=\"a b\"\n"),
            ("# KEY=1\nKEY=1\nA=\"2\"\nKEY='3'\nB=4", "5", "# KEY=1\nKEY=1\nA=\"2\"\nKEY=5\nB=4"),
            ("KEY=\"1\"", "", "KEY=\"\"\n"),
            ("KEYS=1\nKEY=2 # why\n", "3", "KEYS=1\nKEY=3\n"),
            // A value of several lines is no line that could be replaced.
            ("KEY=\"1\n2\"\nA=1\n", "3", "KEY=\"1\n2\"\nA=1\nKEY=3\n"),
            ("KEY=1\\\n2\n", "3", "KEY=1\\\n2\nKEY=3\n"),
        ] {
            assert_eq!(after(text, wanted), expected);
        }
    }
}
