//! The images that e2fsprogs tests itself with: most are broken. Each is read whole and edited; what is refused is left
//! alone, and what is edited is no worse than it was.

use crate::edit::{ATTRS, Edit, put, xattr};
use crate::oracle::{self, try_at};
use crate::trial::{self, Watch};
use crate::verdict;
use imgraft_vfs::Result;
use imgraft_vfs::block::{BlockDevice, MemDevice};
use imgraft_vfs::fs::ext4::Ext4;
use imgraft_vfs::fs::{Attrs, Content, FileType, GuestFs, Lookup, Mode, SetAttrs};
use imgraft_vfs::path::{GuestPath, Resolved};
use imgraft_vfs::resolve::{Follow, resolve};
use std::collections::BTreeSet;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// How many files of a tree are looked at.
const FILES: usize = 400;
/// How much of a file is read, in bytes.
const BYTES: u64 = 256 << 10;

/// Every change with its name.
const EDITS: &[(&str, Edit)] = &[
    ("make", make),
    ("overwrite", overwrite),
    ("append", append),
    ("xattrs", xattrs),
    ("owner", owner),
    ("fill", fill),
    ("rename", rename),
    ("remove", remove),
];

/// Images that get worse in a way that nobody can foresee who does not read every inode: in the first, a file has a
/// cluster that the bitmap has as free, which e2fsck names by one block; in the other, an attribute block has two files
/// and counts one, so that it goes with the first of them.
const KNOWN: &[&str] = &["f_dup_ba", "f_inlinedata_repair"];
/// What e2fsck says of an image in other words each time that it is asked, the image being the same: the number in it comes
/// out of memory that nobody has set.
const FICKLE: (&str, &str) = ("f_ea_inode_self_ref", "Inode 16, i_blocks is by ");

/// What can be found in a tree, from the root on.
fn walk(fs: &dyn GuestFs) -> Vec<(Resolved, FileType)> {
    let mut found = vec![(Resolved::root(), FileType::Directory)];
    let mut next = 0;
    while let Some((at, file_type)) = found.get(next).cloned() {
        next += 1;
        if file_type != FileType::Directory {
            continue;
        }
        for entry in fs.read_dir(&at).unwrap_or_default() {
            let path = GuestPath::parse(at.as_bytes()).and_then(|path| path.join(&entry.name));
            if let (true, Ok(child)) =
                (found.len() < FILES, path.and_then(|path| resolve(fs, &path, Follow::ExcludeLast)))
            {
                found.push((child, entry.file_type));
            }
        }
    }
    found
}

/// The first files of a type, apart from the root and `lost+found`.
fn first(fs: &dyn GuestFs, file_type: FileType, count: usize) -> Vec<Resolved> {
    let wanted = |(at, kind): &(Resolved, FileType)| {
        *kind == file_type && at.file_name().is_some_and(|name| name != b"lost+found")
    };
    walk(fs).into_iter().filter(wanted).map(|(at, _)| at).take(count).collect()
}

fn make(fs: &mut dyn GuestFs) -> Result<()> {
    let at = try_at(fs, "/imgraft")?;
    fs.create_dir(&at, Attrs { mode: 0o755, ..ATTRS })?;
    fs.create_file(&try_at(fs, "/imgraft/file")?, ATTRS)?;
    put(fs, "/imgraft/file", vec![b'i'; 9_000])?;
    fs.create_symlink(&try_at(fs, "/imgraft/link")?, &[b'l'; 90], ATTRS)?;
    fs.set_xattr(&at, &xattr("user.imgraft", 300))
}

fn overwrite(fs: &mut dyn GuestFs) -> Result<()> {
    for at in first(fs, FileType::Regular, 3) {
        fs.put(&at, &Content::bytes(vec![b'o'; 3_000]))?;
    }
    Ok(())
}

fn append(fs: &mut dyn GuestFs) -> Result<()> {
    for at in first(fs, FileType::Regular, 3) {
        fs.append(&at, &Content::bytes(vec![b'a'; 2_000]))?;
        fs.truncate(&at, 700)?;
    }
    Ok(())
}

fn xattrs(fs: &mut dyn GuestFs) -> Result<()> {
    for file_type in [FileType::Regular, FileType::Directory] {
        for at in first(fs, file_type, 3) {
            let old = fs.xattrs(&at)?;
            fs.set_xattr(&at, &xattr("user.imgraft", 60))?;
            if let Some(old) = old.first() {
                fs.remove_xattr(&at, &old.name)?;
            }
        }
    }
    Ok(())
}

fn owner(fs: &mut dyn GuestFs) -> Result<()> {
    for file_type in [FileType::Regular, FileType::Directory, FileType::Symlink] {
        for at in first(fs, file_type, 3) {
            fs.set_attrs(&at, SetAttrs { uid: Some(7), gid: Some(70_000), ..SetAttrs::default() })?;
        }
    }
    Ok(())
}

fn fill(fs: &mut dyn GuestFs) -> Result<()> {
    let directory = first(fs, FileType::Directory, 1).pop().unwrap_or(Resolved::root());
    for number in 0..40 {
        let path = GuestPath::parse(directory.as_bytes())?.join(format!("{number}-{}", "i".repeat(50)).as_bytes())?;
        let at = resolve(fs, &path, Follow::ExcludeLast)?;
        fs.create_file(&at, ATTRS)?;
    }
    Ok(())
}

fn rename(fs: &mut dyn GuestFs) -> Result<()> {
    for (file_type, to) in [(FileType::Regular, "/imgraft-file"), (FileType::Directory, "/imgraft-directory")] {
        for at in first(fs, file_type, 1) {
            fs.rename(&at, &try_at(fs, to)?)?;
        }
    }
    Ok(())
}

fn remove(fs: &mut dyn GuestFs) -> Result<()> {
    for file_type in [FileType::Regular, FileType::Symlink] {
        for at in first(fs, file_type, 2) {
            fs.remove(&at)?;
        }
    }
    Ok(())
}

/// Everything that a reader asks; whether it is answered is not of interest here.
fn read(device: &Arc<dyn BlockDevice>) {
    let Ok(fs) = Ext4::open(Arc::clone(device), Mode::ReadOnly) else { return };
    let mut buffer = vec![0; 1 << 15];
    for (at, file_type) in walk(&fs) {
        let _ = fs.xattrs(&at);
        match file_type {
            FileType::Regular => {
                let mut offset = 0;
                while let Ok(read) = fs.read_at(&at, &mut buffer, offset) {
                    offset += read as u64;
                    if read == 0 || offset > BYTES {
                        break;
                    }
                }
            }
            FileType::Symlink => {
                let _ = fs.read_link(&at);
            }
            _ => {}
        }
    }
}

fn images() -> Vec<PathBuf> {
    let built = std::env::var_os("IMGRAFT_TESTDATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/built"), PathBuf::from);
    let entries = std::fs::read_dir(built.join("e2fsprogs")).into_iter().flatten();
    let mut images: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    images.retain(|path| path.extension().is_some_and(|extension| extension == "img"));
    images.sort();
    images
}

/// The counters of a run.
#[derive(Debug, Default)]
struct Seen {
    made: AtomicUsize,
    refused: AtomicUsize,
    compared: AtomicUsize,
}

fn one(path: &Path, scratch: &Path, seen: &Seen) -> std::result::Result<(), String> {
    let bytes = std::fs::read(path).unwrap();
    let device: Arc<dyn BlockDevice> = Arc::new(MemDevice::new(bytes.clone()));
    read(&device);
    let outcome = trial::run(device, EDITS.iter().map(|edit| edit.1));
    seen.made.fetch_add(outcome.made.len(), Ordering::Relaxed);
    seen.refused.fetch_add(outcome.refused, Ordering::Relaxed);
    if outcome.exhausted {
        return Err("it reads without end".into());
    }
    if outcome.made.is_empty() {
        return Ok(());
    }
    seen.compared.fetch_add(1, Ordering::Relaxed);
    let edited = trial::bytes(&*outcome.device);
    trial::keep(&bytes, &edited);
    let [before, after] = verdict::compare(scratch, &bytes, &edited);
    let is = |name: &str| path.file_stem().is_some_and(|stem| stem == name);
    let mut worse = after.beyond(&before);
    worse.retain(|problem| !(is(FICKLE.0) && problem.starts_with(FICKLE.1)));
    let known = KNOWN.iter().any(|name| is(name));
    if worse.is_empty() || before.explain(&after, &BTreeSet::new()) || known {
        return Ok(());
    }
    let made: Vec<&str> = outcome.made.iter().map(|step| EDITS[*step].0).collect();
    Err(format!("made {made:?}\nnew: {worse:#?}\nbefore: {before:#?}"))
}

#[test]
fn the_images_of_e2fsprogs_get_no_worse() {
    if !oracle::have(&["e2fsck"]) {
        return;
    }
    let images = images();
    if images.is_empty() {
        oracle::skip("the images of e2fsprogs are not built");
        return;
    }
    let scratch = trial::scratch();
    let (next, seen, findings, watch) =
        (AtomicUsize::new(0), Seen::default(), Mutex::new(Vec::new()), Watch::default());
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..threads)
            .map(|worker| {
                let (images, next, seen, findings, watch) = (&images, &next, &seen, &findings, &watch);
                let scratch = scratch.path().join(format!("suite-{worker}"));
                scope.spawn(move || {
                    while let Some(path) = images.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let name = path.file_stem().unwrap().to_string_lossy();
                        if !trial::wanted(&name) {
                            continue;
                        }
                        watch.begin(worker, &name);
                        let done = catch_unwind(AssertUnwindSafe(|| one(path, &scratch, seen)));
                        let finding = done.unwrap_or_else(|_| Err("a panic".into())).err();
                        findings.lock().unwrap().extend(finding.map(|finding| format!("{name}\n{finding}")));
                    }
                })
            })
            .collect();
        watch.guard(|| workers.iter().all(|worker| worker.is_finished()));
    });
    let numbers = [&seen.made, &seen.refused, &seen.compared].map(|counter| counter.load(Ordering::Relaxed));
    let mut err = std::io::stderr();
    let _ = writeln!(err, "{} images of e2fsprogs, made, refused, compared: {numbers:?}", images.len());
    let findings = findings.into_inner().unwrap();
    for finding in &findings {
        let _ = writeln!(err, "FINDING {finding}");
    }
    assert!(findings.is_empty(), "{} findings", findings.len());
    if trial::only().is_some() {
        return;
    }
    let [made, refused, compared] = numbers;
    assert!(images.len() >= 150 && made >= 300 && refused >= 300 && compared >= 50, "{numbers:?}");
}
