//! New files (`--output`, `--overlay`), cut off at every moment: there is none of the name, or it is whole, to us and to
//! QEMU; and the image that they are made from is as it was.

#![allow(clippy::print_stderr, reason = "how many states were tried is what these tests have to say")]

use super::Access;
use super::crash::{Disk, Failure, Op, Random};
use super::crash_kinds::{Made, available, kinds, random_writes, said, text, tool};
use super::draft::{Draft, Naming};
use super::fresh::{Existing, NewFile, temporary_name};
use crate::error::Result;
use crate::image::{Destination, Edit, Format, Source};
use std::collections::{BTreeMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const NAME: &str = "new";

/// Which file a name is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Inode {
    /// What had the name before.
    Old,
    New,
}

type Names = BTreeMap<OsString, Inode>;

/// A call that changes the file or its directory, or makes changes durable.
#[derive(Clone, Debug)]
enum Step {
    Content(Op),
    Mode(u32),
    Sync,
    Names(Names),
    SyncNames,
}

/// A file in memory, and its directory; a clone is the same.
#[derive(Clone, Debug)]
struct CrashDraft(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    file: Disk,
    names: Names,
    log: Vec<Step>,
    calls: usize,
    /// The call that fails, counted from 0, and how.
    fault: Option<(usize, Failure, io::ErrorKind)>,
}

impl CrashDraft {
    fn new(naming: Naming, existing: Existing) -> Self {
        let mut names = Names::new();
        if existing == Existing::Replace {
            names.insert(NAME.into(), Inode::Old);
        }
        if naming == Naming::Temporary {
            names.insert(temporary_name(OsStr::new(NAME)), Inode::New);
        }
        let (file, log) = (Disk::new(Vec::new()), vec![Step::Names(names.clone())]);
        Self(Arc::new(Mutex::new(Inner { file, names, log, calls: 0, fault: None })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what `act` does to the file, unless it is this call's turn to fail.
    fn step(&self, act: impl FnOnce(&mut Inner) -> io::Result<Step>) -> io::Result<()> {
        let mut inner = self.inner();
        let number = inner.calls;
        inner.calls += 1;
        let failure = inner.fault.filter(|(at, _, _)| *at == number).map(|(_, failure, kind)| (failure, kind));
        if let Some((Failure::Undone | Failure::Half, kind)) = failure {
            return Err(kind.into());
        }
        let step = act(&mut inner)?;
        if let Step::Content(op) = &step {
            op.apply(&mut inner.file);
        }
        inner.log.push(step);
        failure.map_or(Ok(()), |(_, kind)| Err(kind.into()))
    }

    fn rename_names(&self, act: impl FnOnce(&mut Names) -> io::Result<()>) -> io::Result<()> {
        self.step(|inner| {
            act(&mut inner.names)?;
            Ok(Step::Names(inner.names.clone()))
        })
    }
}

impl Draft for CrashDraft {
    fn size(&self) -> io::Result<u64> {
        Ok(self.inner().file.image.len() as u64)
    }
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.step(|_| Ok(Step::Content(Op::Write { offset, bytes: buf.to_vec() })))
    }
    fn set_size(&self, size: u64) -> io::Result<()> {
        self.step(|_| Ok(Step::Content(Op::SetSize(size))))
    }
    fn reflink(&self, _from: &File) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn copy(&self, from: &File, at: u64, len: usize) -> io::Result<usize> {
        let mut buf = vec![0; len.min(100_000)];
        let len = from.read_at(&mut buf, at)?;
        buf.truncate(len);
        self.write_at(&buf, at)?;
        Ok(len)
    }
    fn set_mode(&self, mode: u32) -> io::Result<()> {
        self.step(|_| Ok(Step::Mode(mode)))
    }
    fn sync(&self) -> io::Result<()> {
        self.step(|_| Ok(Step::Sync))
    }
    fn link(&self, name: &OsStr) -> io::Result<()> {
        self.rename_names(|names| match names.contains_key(name) {
            true => Err(io::ErrorKind::AlreadyExists.into()),
            false => {
                names.insert(name.to_owned(), Inode::New);
                Ok(())
            }
        })
    }
    fn rename(&self, from: &OsStr, to: &OsStr, existing: Existing) -> io::Result<()> {
        self.rename_names(|names| {
            if existing == Existing::Refuse && names.contains_key(to) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let inode = names.remove(from).ok_or(io::ErrorKind::NotFound)?;
            names.insert(to.to_owned(), inode);
            Ok(())
        })
    }
    fn unlink(&self, name: &OsStr) -> io::Result<()> {
        self.rename_names(|names| names.remove(name).map(drop).ok_or(io::ErrorKind::NotFound.into()))
    }
    fn sync_names(&self) -> io::Result<()> {
        self.step(|_| Ok(Step::SyncNames))
    }
}

/// What a crash has left: the names, and the new file's bytes and mode.
#[derive(Debug)]
struct State {
    names: Names,
    bytes: Vec<u8>,
    mode: u32,
}

/// Gives `check` every state that a crash could leave, each once, and returns how many there were: after every call,
/// names as of any moment since they were durable last; and where the new file may have its own name, of its sectors that
/// are not durable each prefix, each suffix (48 of either at most) and `sample` subsets.
fn states(log: &[Step], sample: usize, mut check: impl FnMut(&State)) -> usize {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut seen = HashSet::new();
    for end in 1..=log.len() {
        let (mut durable, mut flying, mut names) = (Disk::new(Vec::new()), Vec::new(), Vec::<Names>::new());
        let (mut mode, mut new_mode) = (0o600, None);
        for step in &log[..end] {
            match step {
                Step::Content(op) => flying.extend(op.sectors()),
                Step::Mode(bits) => new_mode = Some(*bits),
                Step::Sync => {
                    flying.drain(..).for_each(|op: Op| op.apply(&mut durable));
                    mode = new_mode.take().unwrap_or(mode);
                }
                Step::Names(now) => names.push(now.clone()),
                Step::SyncNames => drop(names.drain(..names.len() - 1)),
            }
        }
        let is_reached = |names: &Names| names.get(OsStr::new(NAME)) == Some(&Inode::New);
        if !names.iter().any(is_reached) {
            // What nobody can find need not be made.
            flying.clear();
            durable = Disk::new(Vec::new());
        }
        let n = flying.len();
        let step = n.div_ceil(48).max(1);
        let mut subsets: Vec<Vec<bool>> = Vec::new();
        for i in (0..=n).step_by(step) {
            subsets.push((0..n).map(|j| j < i).collect());
            subsets.push((0..n).map(|j| j >= i).collect());
        }
        subsets.push(vec![true; n]);
        for _ in 0..if n == 0 { 0 } else { sample } {
            let weight = 1 + random.below(15);
            subsets.push((0..n).map(|_| random.below(16) < weight).collect());
        }
        for subset in subsets {
            let mut file = durable.clone();
            flying.iter().zip(&subset).filter(|(_, there)| **there).for_each(|(op, _)| op.apply(&mut file));
            for names in &names {
                let state = State { names: names.clone(), bytes: file.image.clone(), mode: new_mode.unwrap_or(mode) };
                if seen.insert((names.clone(), state.bytes.len(), crc32c::crc32c(&state.bytes), state.mode)) {
                    check(&state);
                }
            }
        }
    }
    seen.len()
}

/// An edit of an image whose result goes into a new file.
struct Case<'a> {
    made: &'a Made,
    destination: Destination,
    naming: Naming,
    existing: Existing,
    seed: u64,
}

impl Case<'_> {
    /// From the lock to the new file's name; gives the guest's disk as it has to be.
    fn run(&self, draft: &CrashDraft) -> Result<Vec<u8>> {
        let source = Source {
            image: self.made.image.clone(),
            format: Some(self.made.kind.format),
            backing: self.made.backing(),
            data_file: None,
            state: super::StateDir::default(),
        };
        let edit = Edit::begin_into(&source, &self.destination, Access::Write, |path, existing| {
            Ok(NewFile::of(path, OsStr::new(NAME), Box::new(draft.clone()), self.naming, existing))
        })?;
        let disk = edit.disk();
        random_writes(&*disk, self.seed)?;
        let mut guest = vec![0; disk.size() as usize];
        disk.read_at(&mut guest, 0)?;
        let plan = edit.finish()?;
        drop(disk);
        edit.commit(plan, &mut |_, _| {})?;
        Ok(guest)
    }

    fn format(&self) -> Format {
        if matches!(self.destination, Destination::Overlay(..)) { Format::Qcow2 } else { self.made.kind.format }
    }

    /// QEMU finds the new file sound, and this disk in it.
    fn judge(&self, bytes: &[u8], guest: &[u8], context: &str) {
        let (new, raw) = (self.made.directory.path().join(NAME), self.made.directory.path().join("raw"));
        fs::write(&new, bytes).expect("it can be written");
        let format = self.format().to_string();
        if self.format() == Format::Qcow2 {
            let output = tool("qemu-img", &["check", "-f", "qcow2", text(&new)]);
            assert!(matches!(output.status.code(), Some(0 | 3)), "{context}: qemu-img check: {}", said(&output));
        }
        let output = tool("qemu-img", &["convert", "-f", &format, "-O", "raw", text(&new), text(&raw)]);
        assert!(output.status.success(), "{context}: {}", said(&output));
        let read = fs::read(&raw).expect("it is there");
        // A disk that is no multiple of 512 bytes has zeros at its end to QEMU.
        let same =
            read.len() >= guest.len() && read[..guest.len()] == *guest && read[guest.len()..].iter().all(|b| *b == 0);
        assert!(same, "{context}: QEMU reads another disk");
        fs::remove_file(&new).expect("it is there");
    }
}

#[test]
fn a_crash_leaves_a_whole_new_file_or_none_to_qemu_too() {
    if !available() {
        return;
    }
    let long: Option<usize> = std::env::var("CRASH_SAMPLES").ok().and_then(|number| number.parse().ok());
    let (sample, every) = long.map_or((2, 60), |samples| (samples / 100, 20));
    let (mut total, mut with_name, mut judged, mut failures) = (0, 0, 0, 0);
    for (number, kind) in kinds().into_iter().enumerate() {
        let made = Made::new(kind, 31 + number as u64);
        let image = fs::read(&made.image).expect("it is there");
        let path = made.directory.path().join(NAME);
        for (naming, existing) in [
            (Naming::Nameless, Existing::Refuse),
            (Naming::Nameless, Existing::Replace),
            (Naming::Temporary, Existing::Refuse),
            (Naming::Temporary, Existing::Replace),
        ] {
            for destination in
                [Destination::Output(path.clone(), existing), Destination::Overlay(path.clone(), existing)]
            {
                let case = Case { made: &made, destination, naming, existing, seed: 77 + number as u64 };
                let context = format!("{} to {:?} ({naming:?})", made.kind.name, case.destination);
                let draft = CrashDraft::new(naming, existing);
                let guest = case.run(&draft).unwrap_or_else(|error| panic!("{context}: {error:?}"));
                assert!(fs::read(&made.image).is_ok_and(|bytes| bytes == image), "{context}: the image has changed");
                let (whole, log, calls) = {
                    let inner = draft.inner();
                    (inner.file.image.clone(), inner.log.clone(), inner.calls)
                };
                case.judge(&whole, &guest, &context);
                let mut news = 0;
                total += states(&log, sample, |state| {
                    match state.names.get(OsStr::new(NAME)) {
                        Some(Inode::New) => {
                            assert!(state.bytes == whole, "{context}: a part of the new file has its name");
                            assert_eq!(state.mode, 0o600, "{context}");
                            news += 1;
                            if (with_name + news) % every == 0 {
                                judged += 1;
                                case.judge(&state.bytes, &guest, &context);
                            }
                        }
                        Some(Inode::Old) => assert_eq!(existing, Existing::Replace, "{context}"),
                        None => {
                            assert_eq!(existing, Existing::Refuse, "{context}: neither the old file nor the new one")
                        }
                    }
                    let known = [OsString::from(NAME), temporary_name(OsStr::new(NAME))];
                    assert!(state.names.keys().all(|name| known.contains(name)), "{context}: {:?}", state.names);
                });
                assert!(news > 0, "{context}: no state has the new file");
                with_name += news;
                judged += 1;
                failures += fail_each_call(&case, calls, &whole, &context);
                assert!(fs::read(&made.image).is_ok_and(|bytes| bytes == image), "{context}: the image has changed");
            }
        }
    }
    eprintln!(
        "crash states of new files: {total}, {with_name} of them with the name, {judged} judged by QEMU; failing calls: {failures}"
    );
    assert!(total > 300 && with_name > 100 && failures > 1_000, "only {total}, {with_name}, {failures}");
}

/// Lets calls fail one by one (all of the last eight, and some of those before): an error, and the name is as it was;
/// but what has replaced another file stays, whole.
fn fail_each_call(case: &Case<'_>, calls: usize, whole: &[u8], context: &str) -> usize {
    let mut failures = 0;
    let last = calls.saturating_sub(8);
    for call in (0..last).step_by(last.max(4) / 4).chain(last..calls) {
        for (failure, kind) in [(Failure::Undone, io::ErrorKind::StorageFull), (Failure::Done, io::ErrorKind::Other)] {
            let draft = CrashDraft::new(case.naming, case.existing);
            draft.inner().fault = Some((call, failure, kind));
            let context = format!("{context}: call {call} of {calls} fails ({failure:?}, {kind:?})");
            let error = case.run(&draft).expect_err(&context);
            assert_eq!(error.host_path().and_then(Path::file_name), Some(OsStr::new(NAME)), "{context}: {error:?}");
            assert_eq!(error.hint().is_some(), kind == io::ErrorKind::StorageFull, "{context}: {error:?}");
            let inner = draft.inner();
            match (inner.names.get(OsStr::new(NAME)), case.existing) {
                (None, Existing::Refuse) | (Some(Inode::Old), Existing::Replace) => {}
                (Some(Inode::New), _) => assert!(inner.file.image == whole, "{context}: a part of the new file"),
                other => panic!("{context}: {other:?}"),
            }
            failures += 1;
        }
    }
    failures
}
