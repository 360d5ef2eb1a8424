//! What a guest's login.defs(5) says: how its passwords are hashed, and what else is asked for by key.

use super::Reader;
use crate::crypt::Method;
use imgraft_vfs::Result;

const PATHS: [&str; 2] = ["/etc/login.defs", "/usr/etc/login.defs"];
const LIMIT: u64 = 1024 * 1024;

pub(super) fn encrypt_method(reader: &Reader<'_>) -> Result<Option<Method>> {
    Ok(text(reader)?.and_then(|text| parse(&text)))
}

/// The file that counts.
pub(super) fn text(reader: &Reader<'_>) -> Result<Option<Vec<u8>>> {
    for path in PATHS {
        if let Some(text) = reader.file_lenient(path, LIMIT)? {
            return Ok(Some(text));
        }
    }
    Ok(None)
}

/// The last `ENCRYPT_METHOD` line; `None` where there is none or it asks for a method that is not to be used any more.
fn parse(text: &[u8]) -> Option<Method> {
    match value(text, "ENCRYPT_METHOD")?.to_ascii_uppercase().as_str() {
        "YESCRYPT" => Some(Method::Yescrypt),
        "SHA512" => Some(Method::Sha512),
        "SHA256" => Some(Method::Sha256),
        _ => None,
    }
}

/// What the last line with this key says, without quotes.
pub(super) fn value(text: &[u8], key: &str) -> Option<String> {
    let text = String::from_utf8_lossy(text);
    let mut values = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some(key)).then(|| words.next()).flatten()
    });
    values.next_back().map(|value| value.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_reads_the_last_line() {
        assert_eq!(parse(b"# ENCRYPT_METHOD DES\nENCRYPT_METHOD\tSHA512\n"), Some(Method::Sha512));
        assert_eq!(parse(b"ENCRYPT_METHOD SHA512\n  ENCRYPT_METHOD yescrypt # x"), Some(Method::Yescrypt));
        assert_eq!(parse(b"ENCRYPT_METHOD MD5\n"), None);
        assert_eq!(parse(b"ENCRYPT_METHOD\n\xff\0"), None);
    }
}
