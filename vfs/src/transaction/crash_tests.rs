//! Every state that a crash or an error could leave reads as the old image or as the new one.

#![allow(clippy::print_stderr, reason = "how many states were tried is what these tests have to say")]

use super::crash::{CrashHost, Disk, Failure, Lasts, Op, Random, states, states_at_end};
use super::{Access, CommitPlan, Recovery, Transaction};
use crate::block::BlockDevice;
use crate::error::{Error, ErrorKind};
use std::error::Error as _;
use std::io;

/// An image, and what a run writes to it.
struct Case {
    name: &'static str,
    plan: CommitPlan,
    old: Vec<u8>,
    new: Vec<u8>,
    writes: Vec<(u64, Vec<u8>)>,
    sample: usize,
}

impl Case {
    fn new(name: &'static str, plan: CommitPlan, old: usize, new: usize, writes: Vec<(u64, Vec<u8>)>) -> Self {
        let mut random = Random(42);
        let old: Vec<u8> = (0..old).map(|_| random.next() as u8).collect();
        let mut expected = old.clone();
        expected.resize(new, 0);
        for (offset, bytes) in &writes {
            expected[*offset as usize..][..bytes.len()].copy_from_slice(bytes);
        }
        Self { name, plan, old, new: expected, writes, sample: samples() }
    }

    fn commit(&self, host: &CrashHost) -> Result<(), Error> {
        let txn = Transaction::over(Box::new(host.clone()), Access::Write)?;
        let overlay = txn.overlay();
        overlay.grow(self.new.len() as u64)?;
        for (offset, bytes) in &self.writes {
            overlay.write_at(bytes, *offset)?;
        }
        txn.commit(self.plan.clone()).map(drop)
    }

    /// Whether the image is the new one; panics where it is neither.
    fn is_new(&self, image: &[u8], context: &str) -> bool {
        let whole_old = match self.plan {
            CommitPlan::Journal => image == self.old,
            // What lies past the old end is nothing to an image whose header is the old one.
            CommitPlan::Switch { .. } => image.get(..self.old.len()) == Some(&self.old),
        };
        let whole_new = match &self.plan {
            CommitPlan::Journal => image == self.new,
            // What was freed is nothing to an image whose header is the new one.
            CommitPlan::Switch { freed, .. } => {
                let masked = |bytes: &[u8]| {
                    let mut bytes = bytes.to_vec();
                    for range in freed {
                        if let Some(bytes) = bytes.get_mut(range.start as usize..range.end as usize) {
                            bytes.fill(0);
                        }
                    }
                    bytes
                };
                masked(image) == masked(&self.new)
            }
        };
        assert!(whole_old || whole_new, "{}: neither the old nor the new image {context}", self.name);
        !whole_old
    }

    /// Opens the image as the next run does, and says whether it is the new one.
    fn reopen(&self, disk: Disk, context: &str) -> bool {
        self.reopen_logged(disk, context).0
    }

    fn reopen_logged(&self, disk: Disk, context: &str) -> (bool, CrashHost) {
        let reader = CrashHost::new(disk.clone());
        match Transaction::over(Box::new(reader.clone()), Access::Read) {
            Ok(_) => {
                self.is_new(&disk.image, context);
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::InUse, "{context}: {error:?}"),
        }
        assert_eq!(reader.log().1, [], "{context}: a reader wrote");
        let host = CrashHost::new(disk.clone());
        let txn = Transaction::over(Box::new(host.clone()), Access::Write)
            .unwrap_or_else(|error| panic!("{}: {context}: {error:?}", self.name));
        let after = host.disk();
        assert_eq!(after.journal, None, "{context}: the journal is still there");
        assert_eq!(txn.recovered() == Recovery::Nothing, disk.journal.is_none(), "{context}");
        (self.is_new(&after.image, context), host)
    }

    /// Crashes at every moment of this log, and at every moment of each recovery.
    fn crash(&self, before: &Disk, log: &[Op], sample: usize) -> (usize, usize) {
        let mut news = 0;
        let (mut recoveries, mut journals) = (0, 0);
        let tried = states(before, log, sample, |disk| {
            let journalled = disk.journal.is_some();
            let (new, host) = self.reopen_logged(disk, "after a crash");
            news += usize::from(new);
            journals += usize::from(journalled);
            if journalled && journals % 8 == 0 {
                let (before, log) = host.log();
                recoveries += states(&before, &log, 4, |disk| {
                    self.reopen(disk, "after a crash of the recovery");
                });
            }
        });
        assert!(tried < 3 || (0 < news && news < tried), "{}: {news} of {tried} states are new", self.name);
        (tried, recoveries)
    }
}

/// Random combinations tried for each moment; `CRASH_SAMPLES` asks for more in a long run.
fn samples() -> usize {
    std::env::var("CRASH_SAMPLES").ok().and_then(|number| number.parse().ok()).unwrap_or(400)
}

fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut random = Random(seed);
    (0..len).map(|_| random.next() as u8).collect()
}

fn cases() -> Vec<Case> {
    let switch = CommitPlan::Switch { sector: 512, freed: Vec::new() };
    let freeing = CommitPlan::Switch { sector: 512, freed: vec![2048..3072, 4096..8192] };
    let scattered = vec![
        (0, bytes(1, 3)),
        (4000, bytes(2, 200)),
        (9000, bytes(3, 6000)),
        (16_384, vec![0; 512]),
        (24_400, bytes(4, 176)),
    ];
    let mut cases = vec![
        Case::new("journal, one byte", CommitPlan::Journal, 8192, 8192, vec![(5000, bytes(1, 1))]),
        Case::new("journal, scattered, odd size", CommitPlan::Journal, 24_576, 24_576, scattered.clone()),
        Case::new(
            "journal, odd size",
            CommitPlan::Journal,
            9_001,
            9_001,
            vec![(0, bytes(8, 10)), (8_990, bytes(9, 11))],
        ),
        Case::new("switch alone", switch.clone(), 8192, 8192, vec![(600, bytes(1, 100))]),
        Case::new(
            "switch and tail",
            switch.clone(),
            10_000,
            40_000,
            vec![(512, bytes(1, 512)), (10_000, bytes(2, 7000)), (30_000, bytes(3, 10_000))],
        ),
        Case::new("switch, tail ends in a hole", switch, 8192, 65_536, vec![(520, bytes(1, 9)), (9000, bytes(2, 3))]),
        Case::new("switch that frees", freeing, 8192, 12_288, vec![(520, bytes(1, 9)), (8192, bytes(2, 4096))]),
    ];
    // Several records, and several writes of the journal.
    let large = vec![(4096, bytes(5, 1_300_000)), (1_700_000, bytes(6, 900_000))];
    cases.push(Case::new("journal, large", CommitPlan::Journal, 2_700_000, 2_700_000, large));
    cases
}

#[test]
fn every_crash_leaves_the_old_image_or_the_new_one() {
    let mut total = 0;
    for case in cases() {
        if case.old.len() > 1 << 20 {
            // This one is for the order of its few large writes: crashes between them, not inside.
            total += large(&case);
            continue;
        }
        let host = CrashHost::new(Disk::new(case.old.clone()));
        case.commit(&host).unwrap();
        assert!(case.is_new(&host.disk().image, "after the commit") && host.disk().journal.is_none());
        let (before, log) = host.log();
        let (tried, recoveries) = case.crash(&before, &log, case.sample);
        assert!(case.reopen(host.disk(), "at the end"));
        // What commit reported as done is durable.
        let end = states(&host.disk(), &[], 0, |disk| assert!(case.reopen(disk, "after the commit")));
        assert_eq!(end, 1);
        let synced = log.iter().rposition(|op| *op == Op::Sync).unwrap();
        let durable = states(&durable_at(&before, &log[..=synced]), &log[synced + 1..], case.sample, |disk| {
            assert!(case.reopen(disk, "after the last sync"), "{}: a durable commit was lost", case.name);
        });
        eprintln!(
            "{}: {} calls, {tried} states, {recoveries} of recoveries, {durable} after the end",
            case.name,
            log.len()
        );
        total += tried + recoveries + durable;
    }
    eprintln!("crash states tried: {total}");
    assert!(total > 5_000, "only {total}");
}

/// The disk when all of this log has reached it.
fn durable_at(before: &Disk, log: &[Op]) -> Disk {
    let host = CrashHost::new(before.clone());
    for op in log {
        host.replay(op.clone());
    }
    host.disk()
}

fn large(case: &Case) -> usize {
    let host = CrashHost::new(Disk::new(case.old.clone()));
    case.commit(&host).unwrap();
    assert_eq!(host.disk().image, case.new);
    let (before, log) = host.log();
    let mut disks = vec![before.clone()];
    for end in 1..=log.len() {
        disks.push(durable_at(&before, &log[..end]));
    }
    let tried = disks.len();
    let mut news = 0;
    for disk in disks {
        news += usize::from(case.reopen(disk, "between two calls"));
    }
    assert!(0 < news && news < tried);
    eprintln!("{}: {} calls, {tried} states", case.name, log.len());
    tried
}

/// The message of an error and of all its causes.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[test]
fn every_failing_call_leaves_the_old_image_or_says_what_it_is() {
    let (mut failures, mut taken_back, mut unfinished, mut total) = (0, 0, 0, 0);
    for case in cases() {
        for (lasts, failure) in faults() {
            for call in 0.. {
                let host = CrashHost::new(Disk::new(case.old.clone()));
                let kind = if call % 2 == 0 { io::ErrorKind::StorageFull } else { io::ErrorKind::Other };
                host.fail_at(call, lasts, failure, kind);
                let result = case.commit(&host);
                if !host.has_failed() {
                    break;
                }
                failures += 1;
                let context = format!("call {call} failed ({lasts:?}, {failure:?}) with {result:?}");
                let new = case.reopen(host.disk(), &context);
                match &result {
                    // Only what comes after the commit may fail unnoticed.
                    Ok(()) => assert!(new, "{}: {context}", case.name),
                    Err(error) => {
                        let text = chain(error);
                        assert!(text.contains("disk.img"), "{text}");
                        match error.kind() {
                            ErrorKind::Io => assert!(!new, "{}: {context}", case.name),
                            ErrorKind::Unfinished => {
                                assert!(error.hint().is_some(), "{text}");
                                assert!(lasts != Lasts::Once, "a single failure was not taken back: {text}");
                                unfinished += 1;
                            }
                            other => panic!("{other:?}: {text}"),
                        }
                        taken_back += usize::from(text.contains("was taken back"));
                    }
                }
                if case.old.len() >= 1 << 20 {
                    continue;
                }
                let (before, log) = host.log();
                total += states(&before, &log, 3, |disk| {
                    case.reopen(disk, &context);
                });
                // What was said holds even when the power fails then.
                total += states_at_end(&before, &log, 10, |disk| {
                    let new = case.reopen(disk, &context);
                    match &result {
                        Ok(()) => assert!(new, "{}: lost, {context}", case.name),
                        Err(error) if error.kind() == ErrorKind::Io => {
                            assert!(!new, "{}: came back, {context}", case.name)
                        }
                        Err(_) => {}
                    }
                });
            }
        }
    }
    eprintln!(
        "failing calls tried: {failures}, of which {taken_back} were taken back and {unfinished} were not; crash states \
         after them: {total}"
    );
    assert!(failures > 500 && taken_back > 30 && unfinished > 10);
}

fn faults() -> impl Iterator<Item = (Lasts, Failure)> {
    [Lasts::Once, Lasts::ForChanges, Lasts::Forever]
        .into_iter()
        .flat_map(|lasts| [Failure::Undone, Failure::Half, Failure::Done].map(|failure| (lasts, failure)))
}

#[test]
fn a_recovery_that_fails_can_be_repeated() {
    let mut failures = 0;
    for case in cases().into_iter().filter(|case| case.plan == CommitPlan::Journal && case.old.len() < 1 << 20) {
        let host = CrashHost::new(Disk::new(case.old.clone()));
        case.commit(&host).unwrap();
        let (before, log) = host.log();
        for end in 0..log.len() {
            let interrupted = durable_at(&before, &log[..end]);
            for (lasts, failure) in faults() {
                for call in 0.. {
                    let host = CrashHost::new(interrupted.clone());
                    host.fail_at(call, lasts, failure, io::ErrorKind::Other);
                    let result = Transaction::over(Box::new(host.clone()), Access::Write).map(drop);
                    if !host.has_failed() {
                        break;
                    }
                    failures += 1;
                    case.reopen(
                        host.disk(),
                        &format!("call {call} of a recovery failed ({failure:?}) with {result:?}"),
                    );
                }
            }
        }
    }
    eprintln!("failing calls of recoveries tried: {failures}");
    assert!(failures > 100);
}
