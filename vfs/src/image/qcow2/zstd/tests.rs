//! Against ruzstd, which shares no code with this, and against zstd(1).

use super::{Failure, Zstd};
use ruzstd::decoding::StreamingDecoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use std::io::{Read, Write};
use std::process::{Command, Stdio};

struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// Contents of different kinds: noise, text of few words, long and short repetitions, one byte, skewed bytes.
fn content(kind: usize, len: usize, rng: &mut Rng) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 4096);
    while bytes.len() < len {
        match kind {
            0 => bytes.push(rng.next() as u8),
            1 => bytes.extend(format!("the {} of {} is {}\n", rng.below(90), rng.below(7), rng.below(3000)).bytes()),
            2 => {
                let from = rng.below(bytes.len() + 1);
                let part = bytes[from..].iter().copied().take(rng.below(400)).collect::<Vec<_>>();
                bytes.extend(part);
                bytes.extend(rng.next().to_le_bytes());
            }
            3 => bytes.push(9),
            4 => bytes.push((rng.next() as u8).leading_zeros() as u8 * 17),
            _ => bytes.extend(vec![rng.below(3) as u8; 1 + rng.below(3)]),
        }
    }
    bytes.truncate(len);
    bytes
}

fn inflate(zstd: &mut Zstd, data: &[u8], len: usize) -> Result<Vec<u8>, Failure> {
    let mut out = vec![0xaa; len];
    zstd.inflate(data, &mut out).map(|()| out)
}

#[test]
fn what_ruzstd_packs() {
    let mut rng = Rng(3);
    let mut zstd = Zstd::new();
    for kind in 0..6 {
        for len in [1, 2, 15, 100, 4096, 65_536, 131_072, 131_073, 300_001] {
            let plain = content(kind, len, &mut rng);
            for level in [CompressionLevel::Uncompressed, CompressionLevel::Fastest] {
                let mut packed = compress_to_vec(&plain[..], level);
                // What follows in the last sector is no matter.
                packed.extend([0xff; 100]);
                assert!(inflate(&mut zstd, &packed, len).unwrap() == plain, "{kind} {len}");
                assert!(len == 1 || inflate(&mut zstd, &packed, len - 1).is_err(), "{kind} {len}");
            }
        }
    }
}

#[test]
fn what_zstd_packs() {
    if Command::new("zstd").arg("--version").output().is_err() {
        assert!(std::env::var_os("REQUIRE_ORACLES").is_none_or(|value| value != "1"), "zstd is missing");
        return;
    }
    let mut rng = Rng(4);
    let mut zstd = Zstd::new();
    for kind in 0..6 {
        for (len, level) in
            [(50, "-3"), (4096, "-1"), (65_536, "-3"), (65_536, "-19"), (2 << 20, "-3"), (300_001, "-12")]
        {
            let plain = content(kind, len, &mut rng);
            for check in ["--check", "--no-check"] {
                let packed = packed_by_zstd(&[level, check, "--quiet", "--stdout"], &plain);
                assert!(inflate(&mut zstd, &packed, len).unwrap() == plain, "{kind} {len} {level}");
                // Two frames, the second after the first one's checksum; nothing of the first is remembered.
                let twice = [&packed[..], &packed].concat();
                let both = inflate(&mut zstd, &twice, len * 2).unwrap();
                assert!(both == [&plain[..], &plain].concat(), "{kind} {len} {level}: twice");
            }
        }
    }
}

fn packed_by_zstd(words: &[&str], plain: &[u8]) -> Vec<u8> {
    let mut child = Command::new("zstd").args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let plain = plain.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&plain).unwrap());
    let mut packed = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut packed).unwrap();
    writer.join().unwrap();
    assert!(child.wait().unwrap().success());
    packed
}

/// Damaged frames fail, or give what they give to ruzstd.
#[test]
fn damaged_frames() {
    let mut rng = Rng(5);
    let mut zstd = Zstd::new();
    let (mut fine, mut failed) = (0, 0);
    for kind in [1, 2, 4, 5] {
        let plain = content(kind, 20_000, &mut rng);
        let packed = compress_to_vec(&plain[..], CompressionLevel::Fastest);
        for _ in 0..1500 {
            let mut bad = packed.clone();
            for _ in 0..=rng.below(2) {
                // The tables are at the beginning.
                let at = if rng.below(2) == 0 { rng.below(200) } else { rng.below(bad.len()) };
                let at = at.min(bad.len() - 1);
                bad[at] ^= 1 << rng.below(8);
            }
            let ours = inflate(&mut zstd, &bad, plain.len());
            let mut theirs = Vec::new();
            let decoder = StreamingDecoder::new(&bad[..]).ok();
            let done = decoder.and_then(|decoder| decoder.take(1 << 20).read_to_end(&mut theirs).ok());
            match ours {
                Ok(ours) => {
                    fine += 1;
                    if done.is_some() {
                        assert!(ours == theirs, "kind {kind}");
                    }
                }
                Err(_) => failed += 1,
            }
        }
    }
    assert!(fine > 100 && failed > 1000, "{fine} {failed}");
    assert!(inflate(&mut zstd, b"", 1).is_err());
}
