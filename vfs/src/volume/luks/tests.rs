//! Headers that nobody makes, over sound ones in memory; what cryptsetup makes is in the tests of the program.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

use super::cipher::{Spec, Way};
use super::hash::Hash;
use super::{STRIPES, split};
use crate::block::{BlockDevice, MemDevice};
use crate::error::{Error, ErrorKind};
use crate::volume::{Key, Keys, Selector, Survey, Table, list};
use std::sync::Arc;
use zeroize::Zeroizing;

const COPY: usize = 0x4000;
const KEYSLOTS: usize = 512 << 10;
const DATA: usize = 2 * COPY + KEYSLOTS;
const SIZE: usize = DATA + (64 << 10) + 512;
const VOLUME_KEY: [u8; 64] = [0xa7; 64];
const SALT: &str = "c2FsdHNhbHRzYWx0c2FsdHNhbHRzYWx0c2FsdHNhbHQ=";

fn base64(bytes: &[u8]) -> String {
    use base64ct::Encoding;
    base64ct::Base64::encode_string(bytes)
}

/// The JSON of a header whose keyslot 0 has the passphrase `open sesame`, with sectors of so many bytes.
fn json(sector: usize) -> String {
    let mut digest = [0; 32];
    Hash::Sha256.pbkdf2(&VOLUME_KEY, b"saltsaltsaltsaltsaltsaltsaltsalt", 1000, &mut digest);
    format!(
        r#"{{"keyslots":{{"0":{{"type":"luks2","key_size":64,"af":{{"type":"luks1","stripes":4000,"hash":"sha256"}},
        "area":{{"type":"raw","offset":"{}","size":"258048","encryption":"aes-xts-plain64","key_size":64}},
        "kdf":{{"type":"argon2id","time":1,"memory":64,"cpus":1,"salt":"{SALT}"}}}}}},
        "tokens":{{}},
        "segments":{{"0":{{"type":"crypt","offset":"{DATA}","size":"dynamic","iv_tweak":"0","encryption":"aes-xts-plain64","sector_size":{sector}}}}},
        "digests":{{"0":{{"type":"pbkdf2","keyslots":["0"],"segments":["0"],"hash":"sha256","iterations":1000,"salt":"{SALT}","digest":"{}"}}}},
        "config":{{"json_size":"12288","keyslots_size":"{KEYSLOTS}"}}}}"#,
        2 * COPY,
        base64(&digest)
    )
}

/// A copy of the header with this JSON.
fn copy(json: &str, place: usize, sequence: u64) -> Vec<u8> {
    let mut copy = vec![0; COPY];
    copy[..6].copy_from_slice(if place == 0 { b"LUKS\xba\xbe" } else { b"SKUL\xba\xbe" });
    copy[7] = 2;
    copy[8..16].copy_from_slice(&(COPY as u64).to_be_bytes());
    copy[16..24].copy_from_slice(&sequence.to_be_bytes());
    copy[72..78].copy_from_slice(b"sha256");
    copy[168..204].copy_from_slice(b"01234567-89ab-cdef-0123-456789abcdef");
    copy[256..264].copy_from_slice(&(place as u64).to_be_bytes());
    copy[4096..4096 + json.len()].copy_from_slice(json.as_bytes());
    let sum = Hash::Sha256.of(&[&copy]);
    copy[448..480].copy_from_slice(&sum);
    copy
}

/// A volume with two copies of a header, and the keyslot that [`json`] describes.
fn volume(primary: &str, secondary: &str) -> Vec<u8> {
    let mut volume = vec![0; SIZE];
    volume[..COPY].copy_from_slice(&copy(primary, 0, 3));
    volume[COPY..2 * COPY].copy_from_slice(&copy(secondary, COPY, 3));
    let mut stripes = vec![0; 64 * STRIPES as usize];
    let start = stripes.len() - 64;
    let sum = split::merge(&stripes, 64, Hash::Sha256).unwrap();
    stripes[start..].iter_mut().zip(sum.iter().zip(VOLUME_KEY)).for_each(|(byte, (sum, key))| *byte = sum ^ key);
    assert_eq!(*split::merge(&stripes, 64, Hash::Sha256).unwrap(), VOLUME_KEY);
    let params = argon2::Params::new(64, 1, 1, Some(64)).unwrap();
    let mut key = [0; 64];
    argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
        .hash_password_into(b"open sesame", b"saltsaltsaltsaltsaltsaltsaltsalt", &mut key)
        .unwrap();
    let cipher = Spec::named("aes-xts-plain64", 64).unwrap().keyed(&key).unwrap();
    cipher.apply(Way::Encrypt, &mut stripes, 512, 0);
    volume[2 * COPY..2 * COPY + stripes.len()].copy_from_slice(&stripes);
    volume
}

fn keys(passphrase: &str) -> Keys {
    Keys::new(vec![Key::new(Some(Selector::Whole), Zeroizing::new(passphrase.as_bytes().to_vec()))])
}

fn disk(bytes: Vec<u8>) -> Arc<dyn BlockDevice> {
    Arc::new(MemDevice::new(bytes))
}

/// Opens what is in a volume that is a whole disk.
fn open(disk: &Arc<dyn BlockDevice>, keys: &Keys) -> Result<Arc<dyn BlockDevice>, Error> {
    let table: Table = list(disk).unwrap();
    let mut survey = Survey::new(disk, table).unwrap();
    let info = survey.volumes()[0].clone();
    let payload = survey.through(&info, keys)?;
    Ok(survey.open(&payload)?.device)
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 33) as usize % limit
    }
}

#[test]
fn what_is_written_is_read() {
    for sector in [512, 4096] {
        let disk = disk(volume(&json(sector), &json(sector)));
        let device = open(&disk, &keys("open sesame")).unwrap();
        // Whole sectors of what there is.
        let size = if sector == 512 { (64 << 10) + 512 } else { 64 << 10 };
        assert_eq!(device.size(), size as u64);
        let mut model = vec![0; size];
        device.read_at(&mut model, 0).unwrap();
        let mut before = vec![0; DATA];
        disk.read_at(&mut before, 0).unwrap();
        let mut random = Random(7);
        for round in 0..400 {
            let reach = [16, 600, 5000, 60_000][random.below(4)];
            let len = 1 + random.below(reach);
            let offset = random.below(size - len + 1);
            if random.below(2) == 0 {
                let data = vec![round as u8; len];
                device.write_at(&data, offset as u64).unwrap();
                model[offset..offset + len].copy_from_slice(&data);
            } else {
                let mut found = vec![0; len];
                device.read_at(&mut found, offset as u64).unwrap();
                assert!(found == model[offset..offset + len], "round {round}: {len} at {offset}");
            }
        }
        // Another cipher of the same key reads the same, and what is before the data was left alone.
        let mut raw = vec![0; size];
        disk.read_at(&mut raw, DATA as u64).unwrap();
        let cipher = Spec::named("aes-xts-plain64", 64).unwrap().keyed(&VOLUME_KEY).unwrap();
        cipher.apply(Way::Decrypt, &mut raw, sector, 0);
        assert!(raw == model);
        let mut after = vec![0; DATA];
        disk.read_at(&mut after, 0).unwrap();
        assert!(before == after);
        for (offset, len) in [(size as u64, 1), (size as u64 - 1, 2), (u64::MAX, 1)] {
            assert_eq!(device.read_at(&mut vec![0; len], offset).unwrap_err().kind(), ErrorKind::Invalid);
            assert_eq!(device.write_at(&vec![0; len], offset).unwrap_err().kind(), ErrorKind::Invalid);
        }
    }
}

#[test]
fn threads_lose_nothing_of_a_sector() {
    const STRIPE: usize = 300;
    let disk = disk(volume(&json(4096), &json(4096)));
    let device = open(&disk, &keys("open sesame")).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4_usize {
            let device = &device;
            scope.spawn(move || {
                for stripe in (thread..200).step_by(4) {
                    device.write_at(&[stripe as u8; STRIPE], (stripe * STRIPE) as u64).unwrap();
                }
            });
        }
    });
    let mut all = vec![0; 200 * STRIPE];
    device.read_at(&mut all, 0).unwrap();
    assert!(all.chunks(STRIPE).enumerate().all(|(stripe, bytes)| bytes.iter().all(|byte| *byte == stripe as u8)));
}

#[test]
fn a_key_that_is_missing_or_wrong_is_told_in_a_line() {
    let disk = disk(volume(&json(512), &json(512)));
    let missing = open(&disk, &Keys::default()).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::Denied);
    assert_eq!(missing.to_string(), "the whole disk is encrypted (LUKS), and there is no key for it");
    assert!(missing.hint().unwrap().contains("--key whole:file:PATH"));
    let wrong = open(&disk, &keys("hunter2")).unwrap_err();
    assert_eq!(
        (wrong.kind(), wrong.to_string().as_str()),
        (ErrorKind::Denied, "no key that was given opens the whole disk (LUKS)")
    );
    assert!(!format!("{wrong:?} {:?}", keys("hunter2")).contains("hunter2"));
    let uuid = Selector::Uuid("01234567-89AB-cdef-0123-456789abcdef".into());
    for whose in [None, Some(uuid)] {
        let keys =
            [Key::new(None, Zeroizing::new(b"no".to_vec())), Key::new(whose, Zeroizing::new(b"open sesame".to_vec()))];
        open(&disk, &Keys::new(keys.into())).unwrap();
    }
}

#[test]
fn either_copy_of_the_header_will_do() {
    let sound = volume(&json(512), &json(512));
    let notes = |bytes: &[u8]| {
        let disk = disk(bytes.to_vec());
        open(&disk, &keys("open sesame")).unwrap();
        Survey::new(&disk, list(&disk).unwrap()).unwrap().notes().collect::<Vec<_>>().join("; ")
    };
    assert_eq!(notes(&sound), "");
    let mut damaged = sound.clone();
    damaged[5000] ^= 1;
    assert!(notes(&damaged).contains("its primary LUKS2 header is damaged"), "{}", notes(&damaged));
    damaged[..512].fill(0);
    assert!(notes(&damaged).contains("its primary LUKS2 header is damaged"));
    let mut damaged = sound.clone();
    damaged[COPY + 5000] ^= 1;
    assert!(notes(&damaged).contains("its secondary LUKS2 header is damaged"));
    // The newer one counts: the older one here has another key.
    let mut older = sound.clone();
    older[..COPY].copy_from_slice(&copy(&json(512).replace(SALT, &base64(&[1; 32])), 0, 2));
    assert!(notes(&older).contains("is older than the secondary"));
    let mut both = sound;
    both[5000] ^= 1;
    both[COPY + 5000] ^= 1;
    let error = open(&disk(both), &keys("open sesame")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("has a wrong checksum"), "{error}");
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let fixed = |json: String| json.replace("\"dynamic\"", &format!("\"{}\"", u64::MAX));
    for (from, to, why) in [
        ("\"time\":1,", "\"time\":1000000000,", "more than is allowed"),
        ("\"memory\":64,", "\"memory\":4194304,", "more than is allowed (1048576 KiB"),
        ("\"cpus\":1,", "\"cpus\":1000,", "more than is allowed"),
        ("\"memory\":64,", "\"memory\":1,", "argon2 cannot do it"),
        ("\"memory\":64,", "\"memory\":64000000000,", "invalid value"),
        ("\"iterations\":1000", "\"iterations\":4000000000", "rounds of PBKDF2"),
        ("\"iterations\":1000", "\"iterations\":0", "rounds of PBKDF2"),
        ("\"stripes\":4000", "\"stripes\":4000000000", "stripes"),
        ("\"stripes\":4000", "\"stripes\":0", "stripes"),
        ("\"key_size\":64,\"af\"", "\"key_size\":18446744073709551615,\"af\"", "it holds a key of"),
        ("\"offset\":\"32768\"", "\"offset\":\"16384\"", "where keyslots lie"),
        ("\"offset\":\"32768\"", "\"offset\":\"18446744073709551615\"", "where keyslots lie"),
        ("\"size\":\"258048\"", "\"size\":\"1024\"", "where keyslots lie"),
        ("\"size\":\"258048\"", "\"size\":\"9000000\"", "where keyslots lie"),
        ("\"offset\":\"557056\"", "\"offset\":\"0\"", "detached"),
        ("\"offset\":\"557056\"", "\"offset\":\"4096\"", "over its keyslots"),
        ("\"offset\":\"557056\"", "\"offset\":\"55705600\"", "past its end"),
        ("\"offset\":\"557056\"", "\"offset\":\"-1\"", "is no number"),
        ("\"dynamic\"", "\"100000000\"", "reaches past its end"),
        ("\"sector_size\":512", "\"sector_size\":513", "sectors have 513 bytes"),
        ("\"type\":\"crypt\"", "\"type\":\"linear\"", "of the type \"linear\""),
        (
            "\"iv_tweak\":\"0\",\"encryption\":\"aes-xts-plain64\"",
            "\"encryption\":\"serpent-xts-plain64\"",
            "the cipher \"serpent-xts-plain64\"",
        ),
        ("\"iv_tweak\"", "\"integrity\":{\"type\":\"hmac(sha256)\"},\"iv_tweak\"", "dm-integrity"),
        ("\"iv_tweak\"", "\"flags\":[\"backup-previous\"],\"iv_tweak\"", "reencryption is not finished"),
        (
            "\"json_size\"",
            "\"requirements\":{\"mandatory\":[\"online-reencrypt-v2\"]},\"json_size\"",
            "reencryption is not finished",
        ),
        ("\"json_size\"", "\"requirements\":{\"mandatory\":[\"opal\"]},\"json_size\"", "it requires \"opal\""),
        ("\"hash\":\"sha256\",\"iterations\"", "\"hash\":\"md5\",\"iterations\"", "the hash \"md5\""),
        ("argon2id", "scrypt", "derived in a way that is not known"),
        ("\"type\":\"luks2\"", "\"type\":\"luks3\"", "of a kind that is not known"),
        ("\"keyslots\":[\"0\"]", "\"keyslots\":[]", "no keyslot that can be tried"),
        ("\"key_size\":64,\"af\"", "\"priority\":0,\"key_size\":64,\"af\"", "no keyslot that can be tried"),
        (SALT, "?", "not base64"),
        ("\"config\":", "\"konfig\":", "the JSON of the LUKS2 header: missing field"),
        (
            "\"digest\":\"",
            "\"digest\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "a digest in the LUKS2 header has 65 bytes",
        ),
        ("{\"keyslots\":{\"0\"", "{\"keyslots\":{\"x\"", "the JSON of the LUKS2 header: invalid"),
    ] {
        let changed = json(512).replacen(from, to, 1);
        assert_ne!(changed, json(512), "{from}");
        let error = open(&disk(volume(&changed, &changed)), &keys("open sesame")).unwrap_err();
        assert!(error.to_string().contains(why), "{from} -> {to}: {error}");
        assert!(!error.to_string().contains('\n'));
        assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported), "{error:?}");
    }
    let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    for json in [fixed(json(512)), String::new(), "{}".into(), deep] {
        assert!(open(&disk(volume(&json, &json)), &keys("open sesame")).is_err());
    }
}

#[test]
fn a_keyslot_that_asks_for_too_much_leaves_the_others() {
    let huge = json(512).replacen("\"0\":{\"type\":\"luks2\"", "\"1\":{\"type\":\"luks2\"", 1);
    let slot = huge[huge.find("\"1\":").unwrap()..huge.find("},\n        \"tokens\"").unwrap()].to_owned();
    let with = |slot: &str| {
        let slot = slot.replace("\"memory\":64", "\"memory\":9999999");
        json(512)
            .replacen("\"keyslots\":{", &format!("\"keyslots\":{{{slot},"), 1)
            .replace("\"keyslots\":[\"0\"]", "\"keyslots\":[\"0\",\"1\"]")
    };
    let area = |offset: usize| format!("\"offset\":\"{offset}\"");
    let both = with(&slot.replace(&area(2 * COPY), &area(2 * COPY + 258_048)));
    open(&disk(volume(&both, &both)), &keys("open sesame")).unwrap();
    // A wrong passphrase before the right one takes nothing away.
    let in_turn = ["wrong", "open sesame"].map(|text| Key::new(None, Zeroizing::new(text.as_bytes().to_vec())));
    open(&disk(volume(&both, &both)), &Keys::new(in_turn.into())).unwrap();
    let error = open(&disk(volume(&both, &both)), &keys("wrong")).unwrap_err();
    assert!(error.to_string().contains("the keyslot 1 of the whole disk: it asks for"), "{error}");
    // By a byte.
    for slot in [&slot, &slot.replace(&area(2 * COPY), &area(2 * COPY + 258_047))] {
        let crossed = with(slot);
        let error = open(&disk(volume(&crossed, &crossed)), &keys("open sesame")).unwrap_err();
        assert!(error.to_string().contains("lie over each other"), "{error}");
    }
}

/// As cryptsetup does: what one keyslot has of what is not known is no matter where another one fits.
#[test]
fn a_keyslot_of_an_unknown_kind_leaves_the_others() {
    let sound = json(512);
    let slot = &sound[sound.find("\"0\":").unwrap()..sound.find("},\n        \"tokens\"").unwrap()];
    let area = |offset: usize| format!("\"offset\":\"{offset}\"");
    let other = slot.replacen("\"0\":", "\"1\":", 1).replace(&area(2 * COPY), &area(2 * COPY + 258_048));
    let digests = sound.find("\"digests\"").unwrap();
    for (from, to, why) in [
        ("argon2id", "scrypt", "the keyslot 1 of the whole disk: its key is derived in a way that is not known"),
        ("\"stripes\":4000,\"hash\":\"sha256\"", "\"stripes\":4000,\"hash\":\"md5\"", "the hash \"md5\" is not known"),
        ("\"stripes\":4000", "\"stripes\":1", "into 1 stripes"),
        ("aes-xts-plain64", "serpent-xts-plain64", "the cipher \"serpent-xts-plain64\""),
        ("\"type\":\"luks2\"", "\"type\":\"luks3\"", "of a kind that is not known"),
        ("\"key_size\":64,\"af\"", "\"key_size\":65,\"af\"", "it holds a key of 65 bytes"),
    ] {
        let changed = other.replacen(from, to, 1);
        assert_ne!(changed, other);
        let changed =
            format!("{}{}", sound[..digests].replacen(slot, &format!("{slot},{changed}"), 1), &sound[digests..])
                .replace("\"keyslots\":[\"0\"]", "\"keyslots\":[\"0\",\"1\"]");
        let disk = disk(volume(&changed, &changed));
        open(&disk, &keys("open sesame")).unwrap();
        let error = open(&disk, &keys("wrong")).unwrap_err();
        assert!(error.kind() == ErrorKind::Unsupported && error.to_string().contains(why), "{to}: {error}");
        let survey = Survey::new(&disk, list(&disk).unwrap()).unwrap();
        let (_, told) = survey.volumes()[0].facts.iter().find(|(name, _)| *name == "keyslots").unwrap().clone();
        assert!(told.starts_with("0 (argon2id") && told.contains("1 (not usable: "), "{told}");
    }
    // A stranger's name is not shown to its end.
    let long = json(512).replacen(
        "\"hash\":\"sha256\",\"iterations\"",
        &format!("\"hash\":\"{}\",\"iterations\"", "é".repeat(1000)),
        1,
    );
    let error = open(&disk(volume(&long, &long)), &keys("open sesame")).unwrap_err();
    assert!(error.to_string().contains("éé\"… is not known") && error.to_string().len() < 300, "{error}");
}

#[test]
fn the_work_for_one_passphrase_is_bounded_in_sum() {
    // Two keyslots; the one that has the passphrase is the second.
    let with_first = |kdf: &str| {
        let sound = json(512);
        let slot = &sound[sound.find("\"0\":").unwrap()..sound.find("},\n        \"tokens\"").unwrap()];
        let first = format!("{}\"kdf\":{{{kdf}}}}}", &slot[..slot.find("\"kdf\"").unwrap()]);
        let first =
            first.replace(&format!("\"offset\":\"{}\"", 2 * COPY), &format!("\"offset\":\"{}\"", 2 * COPY + 258_048));
        let second = slot.replacen("\"0\":", "\"1\":", 1);
        sound
            .replacen(slot, &format!("{first},{second}"), 1)
            .replace("\"keyslots\":[\"0\"]", "\"keyslots\":[\"0\",\"1\"]")
    };
    let pbkdf2 = |hash: &str, rounds: u32| {
        format!("\"type\":\"pbkdf2\",\"hash\":\"{hash}\",\"iterations\":{rounds},\"salt\":\"{SALT}\"")
    };
    let argon2 = |passes: u32, kib: u32| {
        format!("\"type\":\"argon2id\",\"time\":{passes},\"memory\":{kib},\"cpus\":4,\"salt\":\"{SALT}\"")
    };
    let paid = |kdf: &str| {
        let json = with_first(kdf);
        let header = super::Header::read(&MemDevice::new(volume(&json, &json)), &mut { super::MAX_HEADERS }).unwrap();
        let mut left = super::MAX_TRY;
        let first = header.slots[0].pay(&mut left);
        (super::MAX_TRY - left, first.and_then(|_| header.slots[1].pay(&mut left)))
    };
    // A key of 64 bytes is two digests of SHA-256, four of SHA-1; the digest of the volume key has a thousand rounds.
    for (kdf, cost) in [
        (pbkdf2("sha256", 10_000_000), 20_001_000),
        (pbkdf2("sha1", 10_000_000), 40_001_000),
        (pbkdf2("sha512", 10_000_000), 10_001_000),
        (argon2(4, 1 << 20), (8 << 20) + 1000),
    ] {
        let (paid, second) = paid(&kdf);
        assert_eq!(paid, cost, "{kdf}");
        second.unwrap();
    }
    // What is left is enough for the second, or all but.
    let rounds = (super::MAX_TRY / 4) as u32 - 250;
    paid(&pbkdf2("sha1", rounds - 282)).1.unwrap();
    let error = paid(&pbkdf2("sha1", rounds - 281)).1.unwrap_err();
    assert!(
        error.kind() == ErrorKind::Unsupported && error.to_string().contains("more work than one passphrase"),
        "{error}"
    );
    // The largest keyslots that are allowed alone.
    paid(&argon2(64, 1 << 20)).1.unwrap();
    paid(&pbkdf2("sha256", 1 << 26)).1.unwrap();
    // One that is too much alone is not tried, and takes nothing from the others.
    let json = with_first(&pbkdf2("sha1", 1 << 26));
    open(&disk(volume(&json, &json)), &keys("open sesame")).unwrap();
    let error = open(&disk(volume(&json, &json)), &keys("wrong")).unwrap_err();
    assert!(error.to_string().contains("the keyslot 0 of the whole disk: it is not tried"), "{error}");
    assert!(error.hint().unwrap().contains("luksKillSlot"), "{error:?}");
}

#[test]
fn a_short_digest_proves_nothing() {
    let sound = json(512);
    let start = sound.find("\"digest\":\"").unwrap() + 10;
    let end = start + sound[start..].find('"').unwrap();
    for len in [1, 19] {
        let short = [&sound[..start], &base64(&VOLUME_KEY[..len]), &sound[end..]].concat();
        let error = open(&disk(volume(&short, &short)), &keys("open sesame")).unwrap_err();
        assert!(error.to_string().contains(&format!("a digest in the LUKS2 header has {len} bytes")), "{error}");
    }
}

/// LUKS1 as the specification draws it, with what is hostile in it.
#[test]
fn hostile_luks1() {
    let mut sound = vec![0_u8; 4 << 20];
    sound[..8].copy_from_slice(b"LUKS\xba\xbe\0\x01");
    sound[8..11].copy_from_slice(b"aes");
    sound[40..51].copy_from_slice(b"xts-plain64");
    sound[72..78].copy_from_slice(b"sha256");
    sound[104..108].copy_from_slice(&4096_u32.to_be_bytes());
    sound[108..112].copy_from_slice(&64_u32.to_be_bytes());
    sound[164..168].copy_from_slice(&1000_u32.to_be_bytes());
    for (at, number) in [(208, 0x00ac_71f3_u32), (212, 1000), (248, 8), (252, 4000)] {
        sound[at..at + 4].copy_from_slice(&number.to_be_bytes());
    }
    assert!(open(&disk(sound.clone()), &keys("x")).unwrap_err().to_string().contains("no key that was given opens"));
    // A second keyslot with other stripes is passed over; without an active one no passphrase is asked for.
    let mut second = sound.clone();
    for (at, number) in [(256, 0x00ac_71f3_u32), (260, 1000), (296, 600), (300, 1)] {
        second[at..at + 4].copy_from_slice(&number.to_be_bytes());
    }
    assert!(
        open(&disk(second.clone()), &keys("x")).unwrap_err().to_string().contains("the keyslot 1 of the whole disk")
    );
    let header = super::Header::read(&MemDevice::new(second), &mut { super::MAX_HEADERS }).unwrap();
    assert_eq!((header.slots.len(), header.unusable.len()), (1, 1));
    for (at, value, why) in [
        (208, 0x0000_dead_u32, "it has no keyslot that can be tried"),
        (104, 0_u32, "detached"),
        (104, 400, "does not lie between"),
        (104, u32::MAX, "past its end"),
        (104, 8192, "no room"),
        (108, 63, "takes no key of 63 bytes"),
        (108, u32::MAX, "takes no key"),
        (164, u32::MAX, "no key that was given opens"),
        (212, u32::MAX, "rounds of PBKDF2"),
        (212, 0, "rounds of PBKDF2"),
        (248, 0, "does not lie between"),
        (248, u32::MAX, "does not lie between"),
        (252, 3999, "stripes"),
        (252, u32::MAX, "stripes"),
        (40, 0, "the cipher \"aes-\""),
        (72, 0, "the hash \"\""),
    ] {
        let mut hostile = sound.clone();
        hostile[at..at + 4].copy_from_slice(&value.to_be_bytes());
        let error = open(&disk(hostile), &keys("x")).unwrap_err().to_string();
        assert!(error.contains(why) || (at == 164 && error.contains("rounds")), "{at} = {value}: {error}");
    }
}

#[test]
fn nothing_shows_a_key() {
    let disk = disk(volume(&json(512), &json(512)));
    let device = open(&disk, &keys("open sesame")).unwrap();
    let shown = format!("{device:?}");
    assert!(shown.contains("Unlocked") && !shown.contains("167") && !shown.contains("a7a7"), "{shown}");
}

#[path = "disk_tests.rs"]
mod disks;
