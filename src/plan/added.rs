//! The image that `-a` names, which is a file or a URI to the virt tools (guestfish(1), "ADDING REMOTE STORAGE").

use crate::failure::Failure;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

/// The path of what was named; an image that is not on this host is refused.
pub(super) fn image(named: Option<PathBuf>) -> Result<Option<PathBuf>, Failure> {
    let Some(path) = named else { return Ok(None) };
    let usage = |reason: String| Failure::usage(format!("-a {}: {reason}", path.display()));
    let Some((scheme, rest)) = path.to_str().and_then(split).filter(|(scheme, _)| is_scheme(scheme)) else {
        return Ok(Some(path));
    };
    if scheme != "file" {
        return Err(usage(format!("no image is reached by {scheme}")).with_hint(
            "copy the image to this host, or attach it as a block device (qemu-nbd -c, rbd map), and name that",
        ));
    }
    // RFC 8089, section 2: this host may be named.
    let rest = rest.strip_prefix("localhost").unwrap_or(rest);
    let decoded = rest.starts_with('/').then(|| decoded(rest.as_bytes())).flatten();
    decoded
        .map(Some)
        .ok_or_else(|| usage("no URI of a file of this host".to_owned()).with_hint("-a file:///PATH, or -a PATH"))
}

/// The scheme of a URI, and what is after its authority's slashes; a file needs none (RFC 8089, section 2), but one slash.
fn split(uri: &str) -> Option<(&str, &str)> {
    uri.split_once("://")
        .or_else(|| uri.split_once(':').filter(|(scheme, rest)| *scheme == "file" && rest.starts_with('/')))
}

/// Whether it is one of RFC 3986, section 3.1.
fn is_scheme(scheme: &str) -> bool {
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// The path with its percent-encoded bytes (RFC 3986, section 2.1); `None` where one is none, or ends the path.
fn decoded(encoded: &[u8]) -> Option<PathBuf> {
    let mut path = Vec::with_capacity(encoded.len());
    let mut bytes = encoded.iter();
    while let Some(byte) = bytes.next() {
        path.push(match byte {
            b'%' => {
                let digits = [*bytes.next()?, *bytes.next()?];
                let digits = std::str::from_utf8(&digits).ok().filter(|digits| !digits.starts_with('+'))?;
                u8::from_str_radix(digits, 16).ok().filter(|byte| *byte != 0)?
            }
            byte => *byte,
        });
    }
    Some(PathBuf::from(OsString::from_vec(path)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt as _;

    fn named(typed: &[u8]) -> Result<PathBuf, String> {
        let path = PathBuf::from(std::ffi::OsStr::from_bytes(typed));
        image(Some(path)).map(Option::unwrap_or_default).map_err(|failure| failure.message)
    }

    #[test]
    fn a_uri_of_a_file_is_its_path() {
        for (typed, path) in [
            (&b"a.img"[..], &b"a.img"[..]),
            (b"dir/a%20b", b"dir/a%20b"),
            (b"/a://b", b"/a://b"),
            (b"\xff://x", b"\xff://x"),
            (b"file:///v/a.img", b"/v/a.img"),
            (b"file://localhost/v/a.img", b"/v/a.img"),
            (b"file:/v/a%20b", b"/v/a b"),
            (b"file:a", b"file:a"),
            (b"./file:/a", b"./file:/a"),
            (b"file:///v/a%20b%ff%2F", b"/v/a b\xff/"),
        ] {
            assert_eq!(named(typed).map(|path| path.into_os_string().into_vec()), Ok(path.to_vec()), "{typed:?}");
        }
    }

    #[test]
    fn another_is_refused() {
        for (typed, reason) in [
            (&b"ssh://host/a.img"[..], "by ssh"),
            (b"nbd+unix:///?socket=/s", "by nbd+unix"),
            (b"file://host/a", "no URI of a file"),
            (b"file://localhosts/a", "no URI of a file"),
            (b"file://localhost", "no URI of a file"),
            (b"file://", "no URI of a file"),
            (b"file:///a%2", "no URI of a file"),
            (b"file:///a%+1", "no URI of a file"),
            (b"file:///a%00", "no URI of a file"),
        ] {
            let refused = named(typed).unwrap_err();
            assert!(refused.contains(reason), "{refused}");
        }
    }
}
