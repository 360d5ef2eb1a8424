//! The lines of an authorized_keys file: sshd(8), AUTHORIZED_KEYS FILE FORMAT.

use super::InjectError;

/// The parts of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// The options, empty where there are none.
    pub options: &'a [u8],
    /// The key, which is what tells one line from another.
    pub key: Key<'a>,
}

/// A public key as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key<'a> {
    /// The type: `ssh-ed25519`.
    pub algorithm: &'a [u8],
    /// The key in base 64.
    pub base64: &'a [u8],
}

impl<'a> Line<'a> {
    /// Takes a line apart as sshd does: a key, or options up to the first blank outside quotes and then a key. `None`
    /// for blank lines, comments and everything that sshd skips.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let line = line.trim_ascii();
        if line.starts_with(b"#") {
            return None;
        }
        if let Some(key) = Key::parse(line) {
            return Some(Self { options: b"", key });
        }
        let (options, rest) = line.split_at(options_length(line));
        Key::parse(rest.trim_ascii_start()).map(|key| Self { options, key })
    }
}

impl<'a> Key<'a> {
    fn parse(text: &'a [u8]) -> Option<Self> {
        let mut words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let (algorithm, base64) = (words.next()?, words.next()?);
        // No option begins so.
        let is_key = [&b"ssh-"[..], b"ecdsa-", b"sk-"].iter().any(|prefix| algorithm.starts_with(prefix));
        is_key.then_some(Self { algorithm, base64 })
    }
}

/// How many bytes the options take: up to the first blank that is not quoted.
fn options_length(line: &[u8]) -> usize {
    let mut is_quoted = false;
    let mut bytes = line.iter().copied().enumerate();
    while let Some((index, byte)) = bytes.next() {
        match byte {
            b'\\' if line.get(index + 1) == Some(&b'"') => drop(bytes.next()),
            b'"' => is_quoted = !is_quoted,
            b' ' | b'\t' if !is_quoted => return index,
            _ => {}
        }
    }
    line.len()
}

/// The keys of a text (a `.pub` file, an authorized_keys file), a line each without its end, all of them valid.
pub fn parse(text: &[u8]) -> Result<Vec<String>, InjectError> {
    let refuse = |reason: &str| Err(InjectError::BadKey { reason: reason.to_owned() });
    let Ok(text) = std::str::from_utf8(text) else { return refuse("it is not UTF-8") };
    if text.contains("-----BEGIN") {
        return refuse("it is a PEM file, as private keys are");
    }
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let keys: Vec<String> = lines.map(|line| check(line).map(|()| line.to_owned())).collect::<Result<_, _>>()?;
    if keys.is_empty() {
        return refuse("there is none in it");
    }
    Ok(keys)
}

/// Whether sshd can take the line.
pub fn check(line: &str) -> Result<(), InjectError> {
    let refuse = |reason: String| Err(InjectError::BadKey { reason });
    if line.chars().any(|char| char.is_control() && char != '\t') {
        return refuse("it holds a control character".to_owned());
    }
    let Some(parsed) = Line::parse(line.as_bytes()) else {
        return refuse("it has no key type that sshd knows, followed by the key in base 64".to_owned());
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (algorithm, base64) = (text(parsed.key.algorithm), text(parsed.key.base64));
    if algorithm.contains("-cert-v01@") {
        return refuse(
            "it is a certificate; what goes here is the authority's key with the option cert-authority".into(),
        );
    }
    match ssh_key::PublicKey::from_openssh(&format!("{algorithm} {base64}")) {
        Ok(key) if key.key_data().is_other() => refuse(format!("its type '{algorithm}' is unknown")),
        Ok(_) => Ok(()),
        Err(error) => refuse(format!("the key in base 64 is damaged or not of type '{algorithm}' ({error})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::testing::{ECDSA, ED25519, RSA, SECURITY_KEY};

    #[test]
    fn lines_are_taken_apart_as_sshd_does() {
        let line = Line::parse(br#"  command="echo \" a b",no-pty ssh-rsa AAAA me at home "#).unwrap();
        assert_eq!(line.options, br#"command="echo \" a b",no-pty"#);
        assert_eq!(line.key, Key { algorithm: b"ssh-rsa", base64: b"AAAA" });
        assert_eq!(Line::parse(b"ssh-rsa\t AAAA").unwrap().key.base64, b"AAAA");
        for line in ["", "#ssh-rsa AAAA", "ssh-rsa", "a b", "a ssh-rsa", "\"a ssh-rsa AAAA", "\\\"", "\0\u{fffd}"] {
            assert_eq!(Line::parse(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn parse_takes_every_kind_of_key() {
        let text = format!("# mine\n\n{ED25519}\r\n  {RSA}\n{SECURITY_KEY}\nfrom=\"10.*\",command=\"a b\" {ECDSA}");
        assert_eq!(parse(text.as_bytes()).unwrap().len(), 4);
    }

    #[test]
    fn parse_says_why_not() {
        for (text, reason) in [
            ("", "none"),
            ("# x", "none"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl", "private"),
            ("hello", "key type"),
            ("ssh-ed25519 AAAA", "damaged"),
            (&ED25519.replace("ssh-ed25519", "ssh-rsa"), "damaged"),
            ("ssh-foo@bar AAAAC2Zvb0BiYXIAAAAA", "ssh-foo"),
            ("ssh-ed25519-cert-v01@openssh.com AAAA", "certificate"),
            (&format!("{ED25519} a\u{1b}b"), "control"),
        ] {
            let error = parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
        assert!(parse(b"\xff").unwrap_err().to_string().contains("UTF-8"));
    }
}
