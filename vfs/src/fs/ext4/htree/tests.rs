use super::*;
use crate::fs::ext4::testing::{Random, have};
use std::io::Write;
use std::process::{Command, Stdio};

fn hash(function: HashFunction, sign: CharSign, seed: [u32; 4]) -> NameHash {
    NameHash { function, sign, seed }
}

#[test]
fn known_hashes() {
    let name = |function, sign| hash(function, sign, [0; 4]).of("grün".as_bytes());
    for function in [HashFunction::Legacy, HashFunction::HalfMd4, HashFunction::Tea] {
        assert_ne!(name(function, CharSign::Signed), name(function, CharSign::Unsigned));
        assert_eq!(HashFunction::from_version(function.version()).unwrap(), function);
    }
    assert_eq!(hash(HashFunction::HalfMd4, CharSign::Signed, [0; 4]).of(b"lost+found") & 1, 0);
    assert!(HashFunction::from_version(3).is_err());
    assert!(HashFunction::from_version(6).is_err());
}

/// `debugfs` computes the same for every function, sign and seed.
#[test]
fn agrees_with_debugfs() {
    if !have(&["debugfs"]) {
        return;
    }
    let mut random = Random(1);
    let mut script = Vec::new();
    let mut expected = Vec::new();
    let seeds: [[u8; 16]; 3] = [[0; 16], *b"0123456789abcdef", std::array::from_fn(|i| 0xf0 ^ (i as u8 * 15))];
    for seed in seeds {
        let words = std::array::from_fn(|i| u32::from_le_bytes(*seed[i * 4..].first_chunk().unwrap()));
        let hex: Vec<String> = seed.iter().map(|byte| format!("{byte:02x}")).collect();
        let uuid = [&hex[..4], &hex[4..6], &hex[6..8], &hex[8..10], &hex[10..]].map(|part| part.concat()).join("-");
        for version in 0..6_u8 {
            let sign = if version < 3 { CharSign::Signed } else { CharSign::Unsigned };
            let subject = hash(HashFunction::from_version(version % 3).unwrap(), sign, words);
            for _ in 0..200 {
                let mut name = random.name(255);
                // What the command language of debugfs cannot quote; and an option.
                name.retain(|byte| !b"\" \t\r\n\x0b\x0c".contains(byte));
                if name.is_empty() || name.starts_with(b"-") || name.starts_with(b"#") {
                    continue;
                }
                script.extend(format!("dx_hash -h {version} -s {uuid} ").bytes());
                script.extend(&name);
                script.push(b'\n');
                expected.push(subject.of(&name));
            }
        }
    }
    let mut child =
        Command::new("debugfs").args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || input.write_all(&script));
    let output = child.wait_with_output().unwrap().stdout;
    writer.join().unwrap().unwrap();
    let printed: Vec<u32> = output
        .split(|&byte| byte == b'\n')
        .filter(|line| line.starts_with(b"Hash of "))
        .map(|line| {
            let text = String::from_utf8_lossy(line).into_owned();
            let number = text.rsplit_once(" is 0x").unwrap().1.split_once(' ').unwrap().0.to_owned();
            u32::from_str_radix(&number, 16).unwrap()
        })
        .collect();
    assert!(expected.len() > 3000);
    assert_eq!(printed, expected);
}
