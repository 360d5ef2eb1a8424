//! Which operating system a guest is: os-release(5).

use super::Reader;
use imgraft_vfs::Result;

/// Where the file is looked for, in the order of os-release(5).
pub(super) const PATHS: [&str; 2] = ["/etc/os-release", "/usr/lib/os-release"];
/// No os-release is larger.
pub(super) const LIMIT: u64 = 256 * 1024;

/// What os-release says of the operating system; empty where it says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OsRelease {
    /// `ID`: `debian`, `rhel`; `linux` where it is missing, as os-release(5) has it.
    pub id: String,
    /// `ID_LIKE`: the distributions that it descends from, closest first.
    pub id_like: Vec<String>,
    /// `VERSION_ID`: `12`, `24.04`.
    pub version_id: String,
    /// `PRETTY_NAME`, or `NAME`, or the id.
    pub pretty_name: String,
}

impl OsRelease {
    pub(super) fn inspect(reader: &Reader<'_>) -> Result<Self> {
        for path in PATHS {
            if let Some(text) = reader.file_lenient(path, LIMIT)? {
                return Ok(Self::parse(&text));
            }
        }
        Ok(Self::parse(b""))
    }

    /// Reads the assignments; lines that are none are skipped, and bytes that are not UTF-8 are replaced.
    pub fn parse(text: &[u8]) -> Self {
        let mut os = Self::default();
        let mut name = String::new();
        for line in String::from_utf8_lossy(text).lines() {
            let Some((key, value)) = line.trim().split_once('=') else { continue };
            match key {
                "ID" => os.id = unquote(value),
                "ID_LIKE" => os.id_like = unquote(value).split_whitespace().map(str::to_owned).collect(),
                "VERSION_ID" => os.version_id = unquote(value),
                "PRETTY_NAME" => os.pretty_name = unquote(value),
                "NAME" => name = unquote(value),
                _ => {}
            }
        }
        if os.id.is_empty() {
            "linux".clone_into(&mut os.id);
        }
        if os.pretty_name.is_empty() {
            os.pretty_name = if name.is_empty() { os.id.clone() } else { name };
        }
        os
    }

    /// The number before the first dot of the version, and the one after it, 0 where there is none.
    pub fn version(&self) -> Option<(u32, u32)> {
        let mut numbers = self.version_id.split('.');
        let major = numbers.next()?.parse().ok()?;
        Some((major, numbers.next().and_then(|minor| minor.parse().ok()).unwrap_or(0)))
    }
}

/// A value of a shell assignment without its quotes and backslashes; control characters are dropped, for it is shown.
fn unquote(value: &str) -> String {
    let value = value.trim();
    let (inner, escapes) = match value.as_bytes() {
        [b'\'', .., b'\''] => (&value[1..value.len() - 1], false),
        [b'"', .., b'"'] => (&value[1..value.len() - 1], true),
        _ => (value, true),
    };
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(char) = chars.next() {
        let char = if char == '\\' && escapes { chars.next().unwrap_or('\\') } else { char };
        if !char.is_control() {
            out.push(char);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_reads_what_distributions_write() {
        let os = OsRelease::parse(
            b"PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nID=debian\n",
        );
        assert_eq!((os.id.as_str(), os.version_id.as_str()), ("debian", "12"));
        assert_eq!(os.pretty_name, "Debian GNU/Linux 12 (bookworm)");
        assert_eq!(os.version(), Some((12, 0)));
        let os = OsRelease::parse(b"ID='rocky'\nID_LIKE=\"rhel centos fedora\"\nVERSION_ID=9.4\nNAME=Rocky\\ Linux");
        assert_eq!((os.id.as_str(), os.pretty_name.as_str()), ("rocky", "Rocky Linux"));
        assert_eq!(os.id_like, ["rhel", "centos", "fedora"]);
        assert_eq!(os.version(), Some((9, 4)));
    }

    #[test]
    fn parse_survives_anything() {
        let os =
            OsRelease::parse(b"\xff=\xfe\nID=\"\nVERSION_ID='\n=\n\x1bPRETTY_NAME\nPRETTY_NAME=\"a\\\"\x1b[31mb\"");
        assert_eq!(os.id, "\"");
        assert_eq!(os.pretty_name, "a\"[31mb");
        assert_eq!(os.version(), None);
        assert_eq!(OsRelease::parse(b"").id, "linux");
    }
}
