//! What the tests of this driver share: the reference tools, and numbers that are random and repeatable.

use std::io::Write;
use std::process::{Command, Stdio};

/// Whether all these programs are installed. A missing one is a skip, and a failure where `REQUIRE_ORACLES` is 1.
pub(super) fn have(programs: &[&str]) -> bool {
    let missing =
        |program: &&&str| Command::new(program).arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err();
    match programs.iter().find(missing) {
        None => true,
        Some(program) => skip(&format!("{program} is not installed")),
    }
}

/// Notes that a part of a test cannot run here, and why; gives `false`.
pub(super) fn skip(why: &str) -> bool {
    assert!(std::env::var_os("REQUIRE_ORACLES").is_none_or(|value| value != "1"), "required: {why}");
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
    false
}

/// The output of a program; it has to succeed.
pub(super) fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().expect("the program starts");
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// Repeatable random numbers (splitmix64).
pub(super) struct Random(pub(super) u64);

impl Random {
    /// The next number.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// A file name of 1 to `longest` bytes out of all that a name may hold.
    pub(super) fn name(&mut self, longest: usize) -> Vec<u8> {
        loop {
            let length = 1 + self.below(longest);
            let ascii = self.next().is_multiple_of(2);
            let name: Vec<u8> = (0..length)
                .map(|_| match self.next() as u8 {
                    byte if ascii => b'a' + byte % 26,
                    0 | b'/' => b'x',
                    byte => byte,
                })
                .collect();
            if name != b"." && name != b".." {
                return name;
            }
        }
    }
}
