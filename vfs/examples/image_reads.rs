//! Times reads of a qcow2 image, for `make bench`: opening it with the first read, or many reads of 4 KiB.
//!
//! ```text
//! image_reads IMAGE OFFSET              nanoseconds to open the image and to read 4 KiB at OFFSET
//! image_reads IMAGE OFFSET STEP COUNT   nanoseconds for each of COUNT reads, STEP bytes apart, round and round
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "its result is what it prints")]

use imgraft_vfs::image::{self, Format};
use imgraft_vfs::transaction::{Access, Transaction};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

const PIECE: usize = 4096;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Option<Vec<u64>> = words.iter().skip(1).map(|word| word.parse().ok()).collect();
    let (Some(image), Some(numbers)) = (words.first(), numbers) else {
        eprintln!("usage: image_reads IMAGE OFFSET [STEP COUNT]");
        return ExitCode::from(2);
    };
    match measure(Path::new(image), &numbers) {
        Ok(nanoseconds) => {
            println!("{nanoseconds}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error:?}");
            ExitCode::FAILURE
        }
    }
}

fn measure(image: &Path, numbers: &[u64]) -> imgraft_vfs::Result<u128> {
    let [offset, rest @ ..] = numbers else { return Ok(0) };
    let mut piece = [0; PIECE];
    let start = Instant::now();
    let txn = Transaction::begin(image, Access::Read)?;
    let disk = image::open(txn.overlay(), Some(Format::Qcow2))?;
    let [step, count] = rest else {
        disk.read_at(&mut piece, *offset)?;
        return Ok(start.elapsed().as_nanos());
    };
    let room = disk.size() - piece.len() as u64;
    let start = Instant::now();
    let mut at = *offset;
    for _ in 0..*count {
        disk.read_at(&mut piece, at)?;
        at = (at + step) % room;
    }
    Ok(start.elapsed().as_nanos() / u128::from((*count).max(1)))
}
