//! Password hashes as crypt(5) has them: making and verifying.

use md5::Md5;
use sha_crypt::{PasswordVerifier, ShaCrypt};
use std::fmt::Write;
use yescrypt::{CustomizedPasswordHasher, Yescrypt};
use zeroize::Zeroizing;

/// The longest password that libcrypt takes (CRYPT_MAX_PASSPHRASE_SIZE, its NUL not counted).
pub const PASSWORD_MAX: usize = 511;

/// The alphabet of crypt(5), in the order of its base 64.
const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// What a made-up password consists of: nothing that is taken for another, 5.8 bits each.
const UNAMBIGUOUS: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789";
/// The length of a made-up password: 116 bits.
const RANDOM_LENGTH: usize = 20;
/// The most rounds of SHA-crypt that are computed to verify a hash of a guest's.
const ROUNDS_MAX: u32 = 1_000_000;
/// The most memory that verifying a yescrypt hash of a guest's may take; the default takes 16 MiB.
const YESCRYPT_MEMORY: u64 = 32 << 20;

/// The methods that new hashes are made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Method {
    Yescrypt,
    Sha512,
    Sha256,
}

impl Method {
    /// The name as login.defs(5) has it, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Yescrypt => "yescrypt",
            Self::Sha512 => "sha512",
            Self::Sha256 => "sha256",
        }
    }

    /// The method that made a hash, where it is one of these.
    pub fn of(hash: &[u8]) -> Option<Self> {
        [(&b"$y$"[..], Self::Yescrypt), (b"$6$", Self::Sha512), (b"$5$", Self::Sha256)]
            .into_iter()
            .find_map(|(prefix, method)| hash.starts_with(prefix).then_some(method))
    }
}

/// Why something is no password hash, or cannot be hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CryptError {
    /// The password is empty.
    Empty,
    /// The password is longer than libcrypt takes.
    TooLong,
    /// The password holds a NUL byte.
    Nul,
    /// The operating system gave no random bytes.
    Random(getrandom::Error),
    /// The method refused its parameters.
    Method,
}

impl std::fmt::Display for CryptError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => f.write_str("it is empty"),
            Self::TooLong => write!(f, "it is longer than the {PASSWORD_MAX} bytes that crypt(3) takes"),
            Self::Nul => f.write_str("it holds a NUL byte"),
            Self::Random(error) => write!(f, "no random bytes from the operating system: {error}"),
            Self::Method => f.write_str("the hash could not be computed"),
        }
    }
}

impl std::error::Error for CryptError {}

/// Whether crypt(3) can take the password.
pub fn check(password: &[u8]) -> Result<(), CryptError> {
    match password {
        [] => Err(CryptError::Empty),
        _ if password.len() > PASSWORD_MAX => Err(CryptError::TooLong),
        _ if password.contains(&0) => Err(CryptError::Nul),
        _ => Ok(()),
    }
}

/// The hash of a password with a new salt.
pub fn hash(method: Method, password: &[u8]) -> Result<Zeroizing<String>, CryptError> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(CryptError::Random)?;
    hash_with_salt(method, password, salt)
}

/// The hash of a password with the salt that these bytes give (of which the SHA methods use 12).
pub fn hash_with_salt(method: Method, password: &[u8], salt: [u8; 16]) -> Result<Zeroizing<String>, CryptError> {
    check(password)?;
    let sha = |variant: ShaCrypt| {
        // 12 bytes are 16 characters of base 64: libcrypt reads no more, and a longer salt gives a hash that no login
        // ever matches.
        let hash = variant.hash_password_customized(password, &salt[..12], None, None, sha_crypt::Params::RECOMMENDED);
        // 5000 rounds are the default of the format, and are left out as every other tool leaves them out.
        hash.map(|hash| hash.as_str().replacen("rounds=5000$", "", 1)).map_err(|_| CryptError::Method)
    };
    let hash = match method {
        Method::Sha512 => sha(ShaCrypt::SHA512)?,
        Method::Sha256 => sha(ShaCrypt::SHA256)?,
        Method::Yescrypt => Yescrypt::default()
            .hash_password_customized(password, &salt, None, None, yescrypt::Params::default())
            .map(|hash| hash.as_str().to_owned())
            .map_err(|_| CryptError::Method)?,
    };
    Ok(Zeroizing::new(hash))
}

/// Whether the password is the hash's, for the methods that are known here; `None` for the others, and where the hash
/// asks for more time or memory than a guest is granted.
pub fn verify(password: &[u8], hash: &[u8]) -> Option<bool> {
    check(password).ok()?;
    let text = std::str::from_utf8(hash).ok().filter(|text| text.len() < 512)?;
    let (method, rest) = text.strip_prefix('$')?.split_once('$')?;
    match method {
        "1" => {
            let (salt, _) = rest.split_once('$')?;
            Some(equal(md5_crypt(password, salt.as_bytes()).as_bytes(), hash))
        }
        "5" | "6" => {
            if let Some(rounds) = rest.strip_prefix("rounds=") {
                rounds.split_once('$')?.0.parse().ok().filter(|rounds: &u32| *rounds <= ROUNDS_MAX)?;
            }
            Some(ShaCrypt::default().verify_password(password, text).is_ok())
        }
        "y" => {
            let params = rest.split('$').next()?;
            // `j` is the flavour that libcrypt makes, and the only one whose cost is computed here.
            let parsed: yescrypt::Params = params.starts_with('j').then(|| params.parse().ok())??;
            let memory = parsed.n().checked_mul(u64::from(parsed.r()))?.checked_mul(128)?;
            // Three characters: the flavour, N and r, and none of the optional parameters, which cost time.
            let is_granted = memory <= YESCRYPT_MEMORY && params.len() == 3;
            is_granted.then(|| Yescrypt::default().verify_password(password, text).is_ok())
        }
        _ => None,
    }
}

/// What a hash given by the user is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strength {
    /// A method of today.
    Strong,
    /// A method that is broken, or that distributions refuse.
    Weak(&'static str),
    /// No password is valid: `*`, or nothing behind a lock, `!`.
    Closed,
}

/// Whether `hash` can stand in shadow(5) as the hash of a password, leading `!` aside.
pub fn strength(hash: &[u8]) -> Result<Strength, &'static str> {
    let bare = &hash[hash.iter().take_while(|byte| **byte == b'!').count()..];
    if bare == b"*" || (bare.is_empty() && !hash.is_empty()) {
        return Ok(Strength::Closed);
    }
    if bare.iter().any(|byte| !byte.is_ascii_graphic() || b":;*!\\".contains(byte)) {
        return Err("it holds a character that no hash of crypt(5) has");
    }
    match bare {
        [b'$', ..] => {
            let method = bare[1..].split(|byte| *byte == b'$').next().unwrap_or_default();
            // The method, at least a salt or parameters, and a hash.
            if bare.iter().filter(|byte| **byte == b'$').count() < 3 || bare.ends_with(b"$") {
                return Err("it is not of the form $method$salt$hash");
            }
            // Where the length of the hash is fixed (crypt(5)), one that was cut short would lock its user out.
            let length = bare.rsplit(|byte| *byte == b'$').next().unwrap_or_default().len();
            let expected = match method {
                b"1" => Some(22),
                b"5" | b"y" | b"gy" => Some(43),
                b"6" => Some(86),
                b"2a" | b"2b" | b"2x" | b"2y" => Some(53),
                _ => None,
            };
            if expected.is_some_and(|expected| expected != length) {
                return Err("it is shorter or longer than the hashes of its method");
            }
            match method {
                b"1" => Ok(Strength::Weak("MD5")),
                b"sha1" => Ok(Strength::Weak("SHA-1")),
                b"3" => Ok(Strength::Weak("NT")),
                b"5" | b"6" | b"7" | b"y" | b"gy" | b"2a" | b"2b" | b"2x" | b"2y" => Ok(Strength::Strong),
                method if method.starts_with(b"md5") => Ok(Strength::Weak("MD5")),
                _ => Err("its method is not one of crypt(5)"),
            }
        }
        [b'_', ..] if bare.len() == 20 => Ok(Strength::Weak("DES")),
        _ if bare.len() == 13 && bare.iter().all(|byte| ALPHABET.contains(byte)) => Ok(Strength::Weak("DES")),
        _ => Err("it is not of the form $method$salt$hash"),
    }
}

/// A password of 20 characters that are not taken for one another.
pub fn random_password() -> Result<Zeroizing<Vec<u8>>, CryptError> {
    random_text(UNAMBIGUOUS, RANDOM_LENGTH)
}

/// A salt of 16 characters as Nova makes it, of which MD5-crypt uses 8; from a better generator than Nova's.
pub fn nova_salt() -> Result<Zeroizing<Vec<u8>>, CryptError> {
    random_text(ALPHABET, 16)
}

fn random_text(alphabet: &[u8], length: usize) -> Result<Zeroizing<Vec<u8>>, CryptError> {
    let mut text = Zeroizing::new(Vec::with_capacity(length));
    let mut bytes = Zeroizing::new([0; 64]);
    // Bytes past the last whole multiple of the alphabet are thrown away: the rest is uniform.
    let fair = 256 / alphabet.len() * alphabet.len();
    while text.len() < length {
        getrandom::fill(&mut bytes[..]).map_err(CryptError::Random)?;
        let characters = bytes.iter().map(|byte| usize::from(*byte)).filter(|byte| *byte < fair);
        let missing = length - text.len();
        text.extend(characters.map(|byte| alphabet[byte % alphabet.len()]).take(missing));
    }
    Ok(text)
}

/// MD5-crypt, the `$1$` of crypt(5): the first 8 characters of the salt count. For compatibility only.
pub fn md5_crypt(password: &[u8], salt: &[u8]) -> Zeroizing<String> {
    use md5::Digest;
    let salt = &salt[..salt.len().min(8)];
    let inner = Md5::new().chain_update(password).chain_update(salt).chain_update(password).finalize();
    let mut outer = Md5::new().chain_update(password).chain_update(b"$1$").chain_update(salt);
    let mut left = password.len();
    while left > 0 {
        let part = left.min(16);
        outer.update(&inner[..part]);
        left -= part;
    }
    // One byte for each bit of the length: a quirk of the first implementation that became the format.
    let mut length = password.len();
    while length > 0 {
        outer.update(if length & 1 == 1 { &[0] } else { &password[..1] });
        length >>= 1;
    }
    let mut digest = outer.finalize();
    for round in 0..1000 {
        let mut next = Md5::new();
        let odd = round % 2 == 1;
        if odd {
            next.update(password)
        } else {
            next.update(digest)
        }
        if round % 3 != 0 {
            next.update(salt);
        }
        if round % 7 != 0 {
            next.update(password);
        }
        if odd {
            next.update(digest)
        } else {
            next.update(password)
        }
        digest = next.finalize();
    }
    let mut text = Zeroizing::new(String::with_capacity(3 + 8 + 1 + 22));
    let _ = write!(text, "$1${}$", String::from_utf8_lossy(salt));
    let mut push = |mut value: u32, characters: usize| {
        for _ in 0..characters {
            text.push(char::from(ALPHABET[(value & 63) as usize]));
            value >>= 6;
        }
    };
    for group in [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]] {
        let [high, middle, low] = group.map(|index: usize| u32::from(digest[index]));
        push(high << 16 | middle << 8 | low, 4);
    }
    push(u32::from(digest[11]), 2);
    text
}

/// Compares without telling by the time it takes where the first difference is.
fn equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

#[cfg(test)]
mod tests;
