//! Extended headers: POSIX pax, "pax Interchange Format".

/// What the extended headers of a member say, over its own header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Extended {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<i64>,
    pub(super) uid: Option<i64>,
    pub(super) gid: Option<i64>,
    /// Whole seconds since 1970.
    pub(super) mtime: Option<i64>,
    /// Whether GNU tar has left out holes.
    pub(super) is_sparse: bool,
    /// An extended attribute or access list that it has.
    pub(super) attribute: Option<Vec<u8>>,
}

/// With what the keywords of extended attributes and access lists begin: those of star and GNU tar, libarchive and Red Hat.
const ATTRIBUTES: [&[u8]; 4] = [b"SCHILY.xattr.", b"SCHILY.acl.", b"LIBARCHIVE.xattr.", b"RHT.security."];

impl Extended {
    /// Adds what an extended header says; else why it is none, a clause.
    pub(super) fn read(&mut self, mut header: &[u8]) -> Result<(), String> {
        while !header.is_empty() {
            let (keyword, value, rest) = record(header).ok_or("its extended header is damaged")?;
            self.take(keyword, value)
                .ok_or_else(|| format!("its extended header has a {} that is none", keyword.escape_ascii()))?;
            header = rest;
        }
        Ok(())
    }

    /// One of its records. An empty value takes back what a header before it says.
    fn take(&mut self, keyword: &[u8], value: &[u8]) -> Option<()> {
        let whole = |value: &[u8]| if value.is_empty() { Some(None) } else { Some(Some(whole(value)?)) };
        match keyword {
            b"path" => self.path = Some(value.to_vec()).filter(|value| !value.is_empty()),
            b"linkpath" => self.link = Some(value.to_vec()).filter(|value| !value.is_empty()),
            b"size" => self.size = whole(value)?,
            b"uid" => self.uid = whole(value)?,
            b"gid" => self.gid = whole(value)?,
            b"mtime" => self.mtime = if value.is_empty() { None } else { Some(seconds(value)?) },
            _ if keyword.starts_with(b"GNU.sparse.") => self.is_sparse = true,
            _ if ATTRIBUTES.iter().any(|prefix| keyword.starts_with(prefix)) => {
                self.attribute.get_or_insert_with(|| keyword.to_vec());
            }
            _ => {}
        }
        Some(())
    }
}

/// The first record of a header, its keyword and its value, and what follows it: `LENGTH KEYWORD=VALUE`, a line, of which the
/// value may have more. The length is that of all of it.
fn record(header: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let blank = header.iter().take(20).position(|byte| *byte == b' ')?;
    let len = usize::try_from(whole(header.get(..blank)?)?).ok()?;
    let (record, rest) = header.split_at_checked(len)?;
    let text = record.get(blank.checked_add(1)?..)?.strip_suffix(b"\n")?;
    let equals = text.iter().position(|byte| *byte == b'=')?;
    Some((text.get(..equals)?, text.get(equals.checked_add(1)?..)?, rest))
}

/// A number of decimal digits.
fn whole(digits: &[u8]) -> Option<i64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Seconds with a fraction, of which none is kept.
fn seconds(text: &[u8]) -> Option<i64> {
    let (is_negative, text) = text.strip_prefix(b"-").map_or((false, text), |text| (true, text));
    let (digits, fraction) = match text.iter().position(|byte| *byte == b'.') {
        Some(point) => (text.get(..point)?, text.get(point.checked_add(1)?..)?),
        None => (text, &[][..]),
    };
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = whole(digits)?;
    let has_fraction = fraction.iter().any(|digit| *digit != b'0');
    if is_negative { seconds.checked_neg()?.checked_sub(i64::from(has_fraction)) } else { Some(seconds) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(header: &[u8]) -> Result<Extended, String> {
        let mut extended = Extended::default();
        extended.read(header).map(|()| extended)
    }

    #[test]
    fn records_are_as_long_as_they_say() {
        let header =
            b"12 path=a\nb\n20 mtime=123.456789\n14 uid=100000\n35 SCHILY.xattr.user.x=with=a\nline\n12 comment=\n";
        let extended = read(header).unwrap();
        assert_eq!(extended.path.unwrap(), b"a\nb");
        assert_eq!((extended.mtime, extended.uid, extended.gid), (Some(123), Some(100_000), None));
        assert_eq!(extended.attribute.unwrap(), b"SCHILY.xattr.user.x");
        for damaged in [
            &b"13 path=a\nb\n"[..],
            b"11 path=a\nb\n",
            b"10 path=a\nb\n",
            b"99 path=a\n",
            b"0 path=a\n",
            b"-1 path=a\n",
            b"path=a\n",
            b" path=a\n",
            b"9 path=a\n\0",
            b"8 patha\n",
            b"99999999999999999999 path=a\n",
            b"\0",
        ] {
            assert!(read(damaged).is_err(), "{}", damaged.escape_ascii());
        }
    }

    #[test]
    fn numbers_are_numbers() {
        for (header, mtime) in [
            (&b"11 mtime=1\n"[..], Some(1)),
            (b"14 mtime=-1.5\n", Some(-2)),
            (b"14 mtime=-1.0\n", Some(-1)),
            (b"14 mtime=1.99\n", Some(1)),
            (b"10 mtime=\n", None),
        ] {
            assert_eq!(read(header).unwrap().mtime, mtime, "{}", header.escape_ascii());
        }
        for wrong in
            [&b"11 size=-1\n"[..], b"10 size=x\n", b"14 mtime=1.5x\n", b"9 uid=+1\n", b"28 size=9999999999999999999\n"]
        {
            assert!(read(wrong).unwrap_err().contains(" that is none"), "{}", wrong.escape_ascii());
        }
        assert!(read(b"22 GNU.sparse.major=1\n").unwrap().is_sparse);
    }
}
