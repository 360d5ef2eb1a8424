//! The ciphers by vectors of those who specified them.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use super::{Spec, Way};

fn bytes(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

/// Encrypts one sector, compares, and decrypts it again.
fn try_one(name: &str, key: &str, sector: u64, plain: &str, encrypted: &str) {
    let key = bytes(key);
    let cipher = Spec::named(name, key.len()).unwrap().keyed(&key).unwrap();
    let mut data = bytes(plain);
    let size = data.len();
    cipher.apply(Way::Encrypt, &mut data, size, sector);
    assert_eq!(data, bytes(encrypted), "{name}");
    cipher.apply(Way::Decrypt, &mut data, size, sector);
    assert_eq!(data, bytes(plain), "{name}");
}

/// IEEE 1619-2007, annex B, vectors 1 to 3 and the beginning of 10.
#[test]
fn xts() {
    let zeros = "00".repeat(32);
    try_one("aes-xts-plain64", &zeros, 0, &zeros, "917cf69ebd68b2ec9b9fe9a3eadda692cd43d2f59598ed858c02c2652fbf922e");
    let fours = "44".repeat(32);
    let key = "11".repeat(16) + &"22".repeat(16);
    let encrypted = "c454185e6a16936e39334038acef838bfb186fff7480adc4289382ecd6d394f0";
    try_one("aes-xts-plain64", &key, 0x33_3333_3333, &fours, encrypted);
    let key = "fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0".to_owned() + &"22".repeat(16);
    let encrypted = "af85336b597afc1a900b2eb21ec949d292df4c047e0b21532186a5971a227a89";
    try_one("aes-xts-plain64", &key, 0x33_3333_3333, &fours, encrypted);
    // A number of 32 bits loses what is above.
    let key = "11".repeat(32);
    let [cut, whole] = ["aes-xts-plain", "aes-xts-plain64"].map(|name| {
        let mut data = [7; 512];
        Spec::named(name, 32).unwrap().keyed(&bytes(&key)).unwrap().apply(Way::Encrypt, &mut data, 512, 1 << 32);
        data
    });
    assert_ne!(cut, whole);
}

/// NIST SP 800-38A, F.2.1 and F.2.5: CBC; the vectors' nonce is no sector's number, so it is mixed into the plain text.
#[test]
fn cbc() {
    let nonce = bytes("000102030405060708090a0b0c0d0e0f");
    let first: Vec<u8> = bytes("6bc1bee22e409f96e93d7e117393172a").iter().zip(&nonce).map(|(a, b)| a ^ b).collect();
    for (key, encrypted) in [
        ("2b7e151628aed2a6abf7158809cf4f3c", "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2"),
        (
            "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
            "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d",
        ),
    ] {
        let key = bytes(key);
        let cipher = Spec::named("aes-cbc-plain64", key.len()).unwrap().keyed(&key).unwrap();
        let mut data = [first.clone(), bytes("ae2d8a571e03ac9c9eb76fac45af8e51")].concat();
        let plain = data.clone();
        cipher.apply(Way::Encrypt, &mut data, 32, 0);
        assert_eq!(data, bytes(encrypted));
        cipher.apply(Way::Decrypt, &mut data, 32, 0);
        assert_eq!(data, plain);
    }
}

#[test]
fn what_is_not_known_is_refused_by_name() {
    for (name, len) in [
        ("serpent-xts-plain64", 64),
        ("twofish-cbc-essiv:sha256", 32),
        ("xchacha12,aes-adiantum-plain64", 32),
        ("aes-xts-plain64", 16),
        ("aes-xts-plain64", 48),
        ("aes-cbc-plain64", 64),
        ("aes-cbc-essiv:sha512", 32),
        ("cipher_null-ecb", 16),
        ("", 32),
    ] {
        let error = Spec::named(name, len).unwrap_err();
        assert!(error.to_string().contains(&format!("{name:?}")), "{error}");
    }
}
