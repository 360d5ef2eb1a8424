use super::*;
use crate::oracle;
use std::process::Command;

const SALT: [u8; 16] = [0, 1, 2, 3, 250, 251, 252, 128, 127, 64, 32, 16, 9, 8, 7, 255];
const PASSWORDS: [&str; 5] = [
    "a",
    "123456",
    "pässwörd",
    "a b'\"\\$:!",
    "0123456789012345678901234567890123456789012345678901234567890123456789",
];

fn run(program: &std::path::Path, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// The salt field of a hash: the third for SHA-crypt.
fn salt_of(hash: &str) -> &str {
    hash.split('$').nth(2).unwrap()
}

#[test]
fn nova_vectors() {
    for (password, salt, hash) in [
        ("123456", "1234567890abcdef", "$1$12345678$a4ge4d5iJ5vwvbFS88TEN0"),
        ("pässwörd", "abcdefgh", "$1$abcdefgh$xYuxUFvxUOR4Pd6a7EeUS0"),
        ("", "abcdefgh", "$1$abcdefgh$M55TzYaaccxVGbptZWaxX/"),
    ] {
        assert_eq!(*md5_crypt(password.as_bytes(), salt.as_bytes()), hash);
    }
    assert_eq!(verify(b"123456", b"$1$12345678$a4ge4d5iJ5vwvbFS88TEN0"), Some(true));
    assert_eq!(verify(b"123457", b"$1$12345678$a4ge4d5iJ5vwvbFS88TEN0"), Some(false));
}

#[test]
fn openssl_makes_the_same_hashes() {
    let Some(openssl) = oracle::find("openssl") else { return };
    for password in PASSWORDS {
        for (method, option) in [(Method::Sha512, "-6"), (Method::Sha256, "-5")] {
            let ours = hash_with_salt(method, password.as_bytes(), SALT).unwrap();
            assert_eq!(salt_of(&ours).len(), 16);
            assert_eq!(*ours, run(&openssl, &["passwd", option, "-salt", salt_of(&ours), password]));
        }
        assert_eq!(
            *md5_crypt(password.as_bytes(), b"aB3./xyz"),
            run(&openssl, &["passwd", "-1", "-salt", "aB3./xyz", password])
        );
    }
}

/// libcrypt of the host, which is what a login uses.
#[test]
fn libcrypt_accepts_our_hashes() {
    let Some(perl) = oracle::find("perl") else { return };
    for method in [Method::Yescrypt, Method::Sha512, Method::Sha256] {
        for password in &PASSWORDS[..4] {
            let ours = hash(method, password.as_bytes()).unwrap();
            assert_eq!(Method::of(ours.as_bytes()), Some(method));
            assert_eq!(*ours, run(&perl, &["-e", "print crypt($ARGV[0], $ARGV[1])", password, &ours]));
            assert_eq!(verify(password.as_bytes(), ours.as_bytes()), Some(true));
            assert_eq!(verify(b"another", ours.as_bytes()), Some(false));
            assert_eq!(strength(ours.as_bytes()), Ok(Strength::Strong));
        }
    }
}

#[test]
fn we_accept_the_hashes_of_mkpasswd() {
    let Some(mkpasswd) = oracle::find("mkpasswd") else { return };
    for method in ["yescrypt", "sha512crypt", "sha256crypt", "md5crypt"] {
        let theirs = run(&mkpasswd, &["-m", method, "pässwörd"]);
        assert_eq!(verify("pässwörd".as_bytes(), theirs.as_bytes()), Some(true), "{theirs}");
        assert_eq!(verify(b"x", theirs.as_bytes()), Some(false), "{theirs}");
    }
    let theirs = run(&mkpasswd, &["-m", "sha512crypt", "-R", "7000", "x"]);
    assert_eq!(verify(b"x", theirs.as_bytes()), Some(true), "{theirs}");
    for method in ["bcrypt", "scrypt", "gost-yescrypt", "descrypt", "sunmd5", "nt"] {
        let theirs = run(&mkpasswd, &["-m", method, "password"]);
        assert_eq!(verify(b"password", theirs.as_bytes()), None, "{theirs}");
        assert!(strength(theirs.as_bytes()).is_ok(), "{theirs}");
    }
}

#[test]
fn a_hostile_hash_costs_nothing() {
    for hash in [
        "",
        "$",
        "$$",
        "$6$",
        "$6$rounds=999999999$a$b",
        "$6$rounds=$a$b",
        "$6$rounds=x",
        "$5$a",
        "$6$$",
        "$1$",
        "$1$a",
        "$1$$",
        "$y$",
        "$y$jzT$salt$hash",
        "$y$j9zzzzzz$a$b",
        "$y$j9T$$",
        "$y$j9T$\u{e9}$a",
        "$y$.9T$a$b",
        "$y$j..$a$b",
        "$y$j9.$a$b",
        "$y$j90$a$b",
        "$y$j00$a$b",
        "$y$j9T$a",
        "$y$j10$a$b",
        "$6$\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}$b",
        "$6$a$b$c$d",
        "$7$CU..../....$a",
    ] {
        assert_ne!(verify(b"password", hash.as_bytes()), Some(true), "{hash}");
    }
    assert_eq!(verify(b"password", b"$6$\xff$\xfe"), None);
    assert_eq!(verify(b"password", &[b'$'; 4096]), None);
    // Every pair of parameter characters: none may panic or ask for memory that is not there.
    for a in ALPHABET {
        for b in [b'.', b'/', b'0', b'1', b'5', b'C', b'T', b'k', b'z'] {
            let hash = [&b"$y$j"[..], &[*a, b], &b"$salt$QQ"[..]].concat();
            if !matches!(a, b'6'..=b'9' | b'A'..=b'Z' | b'a'..=b'z') {
                assert_ne!(verify(b"x", &hash), Some(true));
            } else if *a > b'G' {
                assert_eq!(verify(b"x", &hash), None);
            }
        }
    }
}

#[test]
fn passwords_that_crypt_cannot_take() {
    assert_eq!(check(b""), Err(CryptError::Empty));
    assert_eq!(check(b"a\0b"), Err(CryptError::Nul));
    assert_eq!(check(&[b'x'; 512]), Err(CryptError::TooLong));
    assert!(hash(Method::Sha256, &[b'x'; 511]).is_ok());
}

#[test]
fn hashes_that_are_none() {
    for hash in [
        "",
        "x",
        "**",
        "x!",
        "! ",
        "plaintext",
        "$6$salt",
        "$6$salt$",
        "$6$a:b$c",
        "$6$a$b\n",
        "$99$a$b",
        "a:b",
        "$6$a$b c",
        "$6$a$b!",
        // Cut short, which locks the user out.
        "$6$a$b",
        "$y$j9T$salt$hash",
    ] {
        assert!(strength(hash.as_bytes()).is_err(), "{hash:?}");
    }
    assert_eq!(strength(format!("!$6$salt${}", "h".repeat(86)).as_bytes()), Ok(Strength::Strong));
    for hash in ["*", "!", "!!", "!*"] {
        assert_eq!(strength(hash.as_bytes()), Ok(Strength::Closed), "{hash}");
    }
    assert_eq!(strength(b"12tir.zIbWQ3c"), Ok(Strength::Weak("DES")));
    assert_eq!(strength(b"$1$a$bbbbbbbbbbbbbbbbbbbbbb"), Ok(Strength::Weak("MD5")));
}

#[test]
fn random_texts_are_long_and_differ() {
    let (a, b) = (random_password().unwrap(), random_password().unwrap());
    assert!(a.len() >= 16 && *a != *b);
    assert!(a.iter().all(|byte| UNAMBIGUOUS.contains(byte)));
    assert_eq!(nova_salt().unwrap().len(), 16);
}
