//! Password selectors: `[locked:]file:PATH` and the rest.

use crate::cli::PasswordCrypto;
use crate::crypt::{self, Method};
use crate::failure::Failure;
use crate::inject::Compat;
use crate::inject::Selector;
use crate::secret::Secret;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use zeroize::Zeroizing;

/// The longest password that is taken, in bytes; crypt(5) methods take up to 511.
const PASSWORD_MAX: usize = 511;

/// The method that was asked for.
pub(super) fn method(typed: PasswordCrypto, compat: Compat) -> Result<Method, Failure> {
    let method = match typed {
        PasswordCrypto::Yescrypt => Method::Yescrypt,
        PasswordCrypto::Sha512 => Method::Sha512,
        PasswordCrypto::Sha256 => Method::Sha256,
        PasswordCrypto::Md5 => {
            return Err(Failure::usage("--password-crypto md5: a password is found from its MD5 hash in hours")
                .with_hint("sha512 is known to every guest of the last fifteen years; without the option the guest's own method is taken"));
        }
    };
    match compat {
        Compat::Imgraft => Ok(method),
        Compat::Nova => Err(Failure::usage("--password-crypto: Nova always hashes with MD5-crypt")
            .with_hint("leave out --compat nova, or --password-crypto")),
    }
}

/// Whether a selector reads standard input.
pub(super) fn is_stdin(typed: &str) -> bool {
    typed == "stdin" || locked(typed) == Some("stdin")
}

/// What is locked, in virt-customize's two spellings (`parse_selector` in password.ml).
fn locked(typed: &str) -> Option<&str> {
    typed.strip_prefix("locked:").or_else(|| typed.strip_prefix("lock:"))
}

/// Reads a selector. Errors never repeat it, since it may hold the password itself.
pub(super) fn parse(option: &str, typed: &str) -> Result<Selector, Failure> {
    parse_beside(option, typed, Path::new(""))
}

/// The same where files are relative to a directory.
pub(super) fn parse_beside(option: &str, typed: &str, directory: &Path) -> Result<Selector, Failure> {
    let usage = |reason: &str| Failure::usage(format!("{option}: {reason}")).with_hint(FORMS);
    let (locked, rest) = match locked(typed) {
        Some(rest) => (true, rest),
        None => (false, typed),
    };
    let hashed =
        |password: Secret| if locked { Selector::LockedPassword(password) } else { Selector::Password(password) };
    if let Some((kind, value)) = rest.split_once(':') {
        return match kind {
            "file" => first_line(option, &read_file(option, &directory.join(value))?).map(hashed),
            "env" => {
                let value = std::env::var_os(value)
                    .ok_or_else(|| usage("the environment variable that it names is not set"))?;
                whole(option, &Zeroizing::new(value.into_vec())).map(hashed)
            }
            "password" => whole(option, value.as_bytes()).map(hashed),
            "hash" if !locked => {
                let hash = Secret::new(value.as_bytes().to_vec());
                check_hash(option, &hash).map(|()| Selector::Hash(hash))
            }
            _ => Err(usage("not a selector")),
        };
    }
    match (rest, locked) {
        ("stdin", _) => {
            let mut bytes = Zeroizing::new(Vec::new());
            std::io::stdin()
                .lock()
                .take(4096)
                .read_to_end(&mut bytes)
                .map_err(|error| usage(&format!("cannot read standard input: {error}")))?;
            first_line(option, &bytes).map(hashed)
        }
        ("random", false) => Ok(Selector::Random),
        ("random", true) => Ok(Selector::LockedRandom),
        ("disabled" | "disable", false) => Ok(Selector::Disabled),
        ("disabled" | "disable", true) => Ok(Selector::LockedDisabled),
        ("locked" | "lock", false) => Ok(Selector::Locked),
        _ => Err(usage("not a selector")),
    }
}

/// Fails for what is no hash of crypt(5).
pub(super) fn check_hash(option: &str, hash: &Secret) -> Result<(), Failure> {
    let wrong = |reason| {
        let failure = Failure::usage(format!("{option}: not a password hash: {reason}"));
        failure.with_hint("make one with: mkpasswd -m yescrypt, or openssl passwd -6")
    };
    crypt::strength(hash.expose()).map(|_| ()).map_err(wrong)
}

const FORMS: &str = "a selector is [locked:]file:PATH, [locked:]env:NAME, [locked:]stdin, [locked:]password:TEXT, \
                     hash:CRYPT, [locked:]random, [locked:]disabled or locked";

fn read_file(option: &str, path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let failed = |error| Failure::usage(format!("{option}: cannot read {}: {error}", path.display()));
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
    file.take(4096).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// What was given to the byte: a part of it would be another password.
fn whole(option: &str, bytes: &[u8]) -> Result<Secret, Failure> {
    match bytes.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        true => Err(Failure::usage(format!("{option}: there is a line end in the password"))
            .with_hint("no password is typed with one; file:PATH and stdin take the first line, without its end")),
        false => first_line(option, bytes),
    }
}

/// The first line without its end, as virt-customize takes it.
fn first_line(option: &str, bytes: &[u8]) -> Result<Secret, Failure> {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let refuse = |reason: &str| Err(Failure::usage(format!("{option}: {reason}")));
    if line.is_empty() {
        return refuse("the password is empty");
    }
    if line.len() > PASSWORD_MAX {
        return refuse("the password is longer than 511 bytes");
    }
    if line.contains(&0) {
        return refuse("the password holds a NUL byte");
    }
    Ok(Secret::new(line.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods() {
        let of = |typed| method(typed, Compat::Imgraft);
        assert_eq!(of(PasswordCrypto::Yescrypt).unwrap(), Method::Yescrypt);
        assert_eq!(of(PasswordCrypto::Sha512).unwrap(), Method::Sha512);
        assert_eq!(of(PasswordCrypto::Sha256).unwrap(), Method::Sha256);
        let md5 = of(PasswordCrypto::Md5).unwrap_err();
        assert!(md5.message.contains("hours") && md5.hints.join("").contains("sha512"));
        assert!(method(PasswordCrypto::Sha512, Compat::Nova).unwrap_err().message.contains("MD5-crypt"));
    }

    fn password(selector: Selector) -> (bool, Vec<u8>) {
        match selector {
            Selector::Password(secret) => (false, secret.expose().to_vec()),
            Selector::LockedPassword(secret) => (true, secret.expose().to_vec()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_form() {
        assert_eq!(password(parse("-", "password:a:b").unwrap()), (false, b"a:b".to_vec()));
        assert_eq!(password(parse("-", "locked:password:x").unwrap()), (true, b"x".to_vec()));
        let hash = format!("$6$a${}", "b".repeat(86));
        for hash in [hash.as_str(), "*", "!"] {
            let is_same = |given: &Secret| given.expose() == hash.as_bytes();
            assert!(matches!(parse("-", &format!("hash:{hash}")).unwrap(), Selector::Hash(hash) if is_same(&hash)));
        }
        assert!(matches!(parse("-", "random").unwrap(), Selector::Random));
        assert!(matches!(parse("-", "locked:random").unwrap(), Selector::LockedRandom));
        assert!(matches!(parse("-", "disabled").unwrap(), Selector::Disabled));
        assert!(matches!(parse("-", "locked:disabled").unwrap(), Selector::LockedDisabled));
        assert!(matches!(parse("-", "locked").unwrap(), Selector::Locked));
        // As virt-customize spells them too.
        assert!(matches!(parse("-", "lock").unwrap(), Selector::Locked));
        assert!(matches!(parse("-", "disable").unwrap(), Selector::Disabled));
        assert!(matches!(parse("-", "lock:disable").unwrap(), Selector::LockedDisabled));
        assert_eq!(password(parse("-", "lock:password:x").unwrap()), (true, b"x".to_vec()));
        assert!(is_stdin("lock:stdin") && is_stdin("locked:stdin") && is_stdin("stdin") && !is_stdin("lock:random"));
        for typed in ["password:a\nb", "password:a\n", "locked:password:a\r"] {
            assert!(parse("-", typed).unwrap_err().message.contains("line end"), "{typed:?}");
        }
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, b"first\r\nsecond\n").unwrap();
        let typed = format!("file:{}", file.path().display());
        assert_eq!(password(parse("-", &typed).unwrap()), (false, b"first".to_vec()));
    }

    #[test]
    fn errors_do_not_repeat_what_was_typed() {
        for typed in [
            "hunter2",
            "pasword:hunter2",
            "password:",
            "locked:hash:hunter2",
            "hash:hunter2",
            "hash:$6$hunter2$hunter2",
            "env:HUNTER2_UNSET",
            "",
            "password:hunter2\n",
            "locked:password:hunter2\nx",
        ] {
            let failure = parse("--root-password", typed).unwrap_err();
            assert!(!format!("{failure:?}").to_lowercase().contains("hunter2"), "{failure:?}");
        }
    }
}
