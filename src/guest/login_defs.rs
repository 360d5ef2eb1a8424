//! How a guest wants its passwords hashed, and which numbers its people have: login.defs(5).

use super::Reader;
use super::accounts::number;
use crate::crypt::Method;
use imgraft_vfs::Result;
use imgraft_vfs::fs::GuestFs;
use std::ops::RangeInclusive;

const PATHS: [&str; 2] = ["/etc/login.defs", "/usr/etc/login.defs"];
const LIMIT: u64 = 1024 * 1024;

pub(super) fn encrypt_method(reader: &Reader<'_>) -> Result<Option<Method>> {
    for path in PATHS {
        if let Some(text) = reader.file_lenient(path, LIMIT)? {
            return Ok(parse(&text));
        }
    }
    Ok(None)
}

/// The user numbers of people: `UID_MIN` to `UID_MAX`, which are 1000 and 60000 where nothing is said.
pub(crate) fn people(fs: &dyn GuestFs) -> Result<RangeInclusive<u32>> {
    let reader = Reader::new(fs);
    for path in PATHS {
        if let Some(text) = reader.file_lenient(path, LIMIT)? {
            let limit = |key, usual| value(&text, key).and_then(|value| number(value.as_bytes())).unwrap_or(usual);
            // Root is nobody's choice, whatever a file says.
            return Ok(limit("UID_MIN", 1000).max(1)..=limit("UID_MAX", 60_000));
        }
    }
    Ok(1000..=60_000)
}

/// The last `ENCRYPT_METHOD` line; `None` where there is none or it asks for a method that is not to be used any more.
fn parse(text: &[u8]) -> Option<Method> {
    match value(text, "ENCRYPT_METHOD")?.trim_matches('"').to_ascii_uppercase().as_str() {
        "YESCRYPT" => Some(Method::Yescrypt),
        "SHA512" => Some(Method::Sha512),
        "SHA256" => Some(Method::Sha256),
        _ => None,
    }
}

/// What the last line with this key says.
fn value(text: &[u8], key: &str) -> Option<String> {
    let text = String::from_utf8_lossy(text);
    let mut values = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some(key)).then(|| words.next()).flatten()
    });
    values.next_back().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use imgraft_vfs::fs::mem::MemFs;

    #[test]
    fn numbers_of_people() {
        let range = |text: &str| people(&MemFs::builder().file("/etc/login.defs", text).build().unwrap()).unwrap();
        assert_eq!(range("UID_MIN\t500\nUID_MAX 999 # x\n"), 500..=999);
        assert_eq!(range("#UID_MIN 5\nUID_MIN x\nUID_MAX\n"), 1000..=60_000);
        assert_eq!(range("UID_MIN 0\n"), 1..=60_000);
        assert_eq!(people(&MemFs::builder().build().unwrap()).unwrap(), 1000..=60_000);
    }

    #[test]
    fn parse_reads_the_last_line() {
        assert_eq!(parse(b"# ENCRYPT_METHOD DES\nENCRYPT_METHOD\tSHA512\n"), Some(Method::Sha512));
        assert_eq!(parse(b"ENCRYPT_METHOD SHA512\n  ENCRYPT_METHOD yescrypt # x"), Some(Method::Yescrypt));
        assert_eq!(parse(b"ENCRYPT_METHOD MD5\n"), None);
        assert_eq!(parse(b"ENCRYPT_METHOD\n\xff\0"), None);
    }
}
