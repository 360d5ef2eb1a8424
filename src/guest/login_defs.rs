//! How a guest wants its passwords hashed: `ENCRYPT_METHOD` of login.defs(5).

use super::Reader;
use crate::crypt::Method;
use imgraft_vfs::Result;

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

/// The last `ENCRYPT_METHOD` line; `None` where there is none or it asks for a method that is not to be used any more.
fn parse(text: &[u8]) -> Option<Method> {
    let text = String::from_utf8_lossy(text);
    let mut values = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("ENCRYPT_METHOD")).then(|| words.next()).flatten()
    });
    match values.next_back()?.trim_matches('"').to_ascii_uppercase().as_str() {
        "YESCRYPT" => Some(Method::Yescrypt),
        "SHA512" => Some(Method::Sha512),
        "SHA256" => Some(Method::Sha256),
        _ => None,
    }
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
