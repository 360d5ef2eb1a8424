//! One bit wrong, or a few, in every block of metadata of small images of every kind: our driver refuses such an image, or changes
//! it so that e2fsck finds nothing that it had not found before. It never panics, and it ends.
//!
//! `IMGRAFT_SWEEP=N cargo test --release --test ext4_sweep` damages every block in N ways; `IMGRAFT_SWEEP_ONLY=LABEL` keeps
//! to the one image of a finding, and leaves it in the working directory as it was before the edits and after them.

#[path = "../oracle/mod.rs"]
mod oracle;

mod base;
mod dir;
mod edit;
mod mended;
mod suite;
mod trial;
mod verdict;

use base::Base;
use edit::EDITS;
use imgraft_vfs::block::{BlockDevice, MemDevice};
use oracle::Random;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use trial::Watch;

/// How many edits an image sees, one after the other, each in a transaction of its own.
const EDITS_EACH: usize = 5;
/// Without `IMGRAFT_SWEEP`, in how many ways a block is damaged.
const WAYS: usize = 2;
/// In how many ways more a bitmap is damaged.
const BITMAP_WAYS: usize = 8;

/// What came of all the damage to one base.
#[derive(Debug, Default)]
struct Tally {
    /// Edits that were refused, and that were made.
    refused: AtomicUsize,
    made: AtomicUsize,
    /// Images that e2fsck compared with what they were.
    compared: AtomicUsize,
    /// Of these, those where e2fsck finds more than before, and only because of what was damaged: a block or an inode that
    /// a damaged file had, and no bitmap, was given away; or with the damage put right all is as it should be.
    robbed: AtomicUsize,
}

impl Tally {
    fn add(counter: &AtomicUsize, count: usize) {
        counter.fetch_add(count, Ordering::Relaxed);
    }

    fn numbers(&self) -> [usize; 4] {
        [&self.made, &self.refused, &self.compared, &self.robbed].map(|counter| counter.load(Ordering::Relaxed))
    }
}

/// Bits of one byte that are wrong.
#[derive(Clone, Copy, Debug)]
struct Damage {
    at: usize,
    xor: u8,
}

/// The way number `way` to damage a block: mostly one bit, mostly where the block says anything. Every other has a
/// second bit, of the other value, so that as many bits of the block are set as before: a bitmap still counts right.
fn damage(base: &Base, block: usize, way: usize) -> Vec<Damage> {
    let mut random = Random(((base.number * 1_000_003 + block) * 1_009 + way) as u64);
    let range = block * 1024..(block + 1) * 1024;
    let telling = &base.places[base.places.partition_point(|at| *at < range.start)..];
    let telling = &telling[..telling.partition_point(|at| *at < range.end)];
    let at = match telling.len() as u64 {
        len if len > 0 && random.below(8) != 0 => telling[random.below(len) as usize] + random.below(16) as usize,
        _ => range.start + random.below(1024) as usize,
    };
    let bit = 1 << random.below(8);
    if way % 2 == 1 {
        let other = base.bytes[at] & bit == 0;
        let bits: Vec<Damage> = range
            .flat_map(|at| (0..8).map(move |shift| Damage { at, xor: 1 << shift }))
            .filter(|second| (base.bytes[second.at] & second.xor != 0) == other)
            .collect();
        if !bits.is_empty() {
            return vec![Damage { at, xor: bit }, bits[random.below(bits.len() as u64) as usize]];
        }
    }
    vec![Damage { at, xor: if random.below(4) == 0 { 1 + random.below(255) as u8 } else { bit } }]
}

/// Damages a copy of a base, edits it, and shows it to e2fsck before and after; gives what is wrong.
fn one(base: &Base, damage: &[Damage], turn: usize, tally: &Tally, scratch: &Path) -> Result<(), String> {
    let mut bytes = base.bytes.clone();
    damage.iter().for_each(|damage| bytes[damage.at] ^= damage.xor);
    let device: Arc<dyn BlockDevice> = Arc::new(MemDevice::new(bytes.clone()));
    let edits: Vec<usize> = (0..EDITS_EACH).map(|step| (turn + step * 7) % EDITS.len()).collect();
    let outcome = trial::run(device, edits.iter().map(|edit| EDITS[*edit].1));
    Tally::add(&tally.refused, outcome.refused);
    Tally::add(&tally.made, outcome.made.len());
    if outcome.exhausted {
        return Err("it reads without end".into());
    }
    if outcome.made.is_empty() {
        return Ok(());
    }
    Tally::add(&tally.compared, 1);
    let edited = trial::bytes(&*outcome.device);
    trial::keep(&bytes, &edited);
    let [before, after] = verdict::compare(scratch, &bytes, &edited);
    let worse = after.beyond(&before);
    if worse.is_empty() {
        return Ok(());
    }
    let made = outcome.made.iter().map(|step| EDITS[edits[*step]].1);
    if mended::is_sound(base, damage, [&bytes, &edited], made, scratch) {
        Tally::add(&tally.robbed, 1);
        return Ok(());
    }
    // A bitmap that has a checksum is not believed when it is wrong.
    let in_bitmap = damage.iter().any(|damage| base.bitmaps().contains(&(damage.at / 1024)));
    if !(in_bitmap && base.is_summed()) && before.explain(&after, &base.own()) {
        Tally::add(&tally.robbed, 1);
        return Ok(());
    }
    let made: Vec<&str> = outcome.made.iter().map(|step| EDITS[edits[*step]].0).collect();
    Err(format!("made {made:?}\nnew: {worse:#?}\nbefore: {before:#?}"))
}

fn ways() -> usize {
    std::env::var("IMGRAFT_SWEEP").ok().and_then(|ways| ways.parse().ok()).unwrap_or(WAYS)
}

#[test]
fn one_wrong_bit_is_refused_or_left_alone() {
    if !oracle::have(&["mke2fs", "debugfs", "dumpe2fs", "tune2fs", "e2fsck", "python3"]) {
        return;
    }
    let scratch = trial::scratch();
    let bases = base::all(scratch.path());
    let tallies: Vec<Tally> = bases.iter().map(|_| Tally::default()).collect();
    let mut cases: Vec<(usize, usize, usize)> = Vec::new();
    for way in 0..ways() {
        for (number, base) in bases.iter().enumerate() {
            cases.extend(base.blocks.iter().map(|block| (number, *block, way)));
        }
    }
    // A bitmap is one block, and the most that can go wrong.
    for (number, base) in bases.iter().enumerate() {
        let ways = ways()..ways() + BITMAP_WAYS;
        cases.extend(base.bitmaps().iter().flat_map(|block| ways.clone().map(move |way| (number, *block, way))));
    }
    // Two bits at once, elsewhere than in a bitmap, are for the long runs.
    let mut cases: Vec<_> = cases.into_iter().enumerate().collect();
    if std::env::var_os("IMGRAFT_SWEEP").is_none() {
        cases.retain(|(_, (_, _, way))| *way != 1);
    }
    let findings = Mutex::new(Vec::new());
    let next = AtomicUsize::new(0);
    let watch = Watch::default();
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..threads)
            .map(|worker| {
                let (bases, tallies, cases, findings, next, watch) =
                    (&bases, &tallies, &cases, &findings, &next, &watch);
                let scratch = scratch.path().join(format!("worker-{worker}"));
                scope.spawn(move || {
                    loop {
                        let case = cases.get(next.fetch_add(1, Ordering::Relaxed));
                        let Some(&(turn, (number, block, way))) = case else { break };
                        let (base, tally) = (&bases[number], &tallies[number]);
                        let damage = damage(base, block, way);
                        let label = format!("{}, block {block}, way {way}: {damage:?}", base.name);
                        if !trial::wanted(&label) {
                            continue;
                        }
                        watch.begin(worker, &label);
                        let done = catch_unwind(AssertUnwindSafe(|| one(base, &damage, turn, tally, &scratch)));
                        let finding = match done {
                            Ok(done) => done.err(),
                            Err(_) => Some("a panic".into()),
                        };
                        if let Some(finding) = finding {
                            let finding = format!("{label}\n{finding}");
                            let _ = writeln!(std::io::stderr(), "FINDING {finding}");
                            findings.lock().unwrap().push(finding);
                        }
                    }
                })
            })
            .collect();
        watch.guard(|| workers.iter().all(|worker| worker.is_finished()));
    });
    let findings = findings.into_inner().unwrap();
    let mut err = std::io::stderr();
    let mut total = [0; 4];
    for (base, tally) in bases.iter().zip(&tallies) {
        let numbers = tally.numbers();
        let _ = writeln!(err, "{}: made, refused, compared, robbed: {numbers:?}", base.name);
        total.iter_mut().zip(numbers).for_each(|(total, number)| *total += number);
    }
    let _ = writeln!(err, "{} images, made, refused, compared, robbed: {total:?}", cases.len());
    assert!(findings.is_empty(), "{} findings", findings.len());
    if trial::only().is_some() {
        return;
    }
    for (base, tally) in bases.iter().zip(&tallies) {
        let [made, refused, compared, robbed] = tally.numbers();
        assert!(made > 0 && refused > 0 && compared > 0, "{}: nothing was seen: {:?}", base.name, tally.numbers());
        assert!(robbed * 20 <= compared, "{}: too much is allowed: {:?}", base.name, tally.numbers());
    }
}
