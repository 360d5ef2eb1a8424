//! Backing chains against QEMU: read, written to, refused.

mod qemu;

use imgraft_vfs::block::BlockDevice;
use imgraft_vfs::image::{self, Backing, Format, ImageFormat};
use imgraft_vfs::transaction::{Access, StateDir, Transaction};
use imgraft_vfs::{Error, ErrorKind};
use qemu::{Rng, text};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

const MIB: usize = 1 << 20;

fn within(directories: &[&Path]) -> Backing {
    Backing::Within(directories.iter().map(|directory| directory.to_path_buf()).collect())
}

fn open(txn: &Transaction, path: &Path, backing: &Backing) -> imgraft_vfs::Result<Arc<dyn ImageFormat>> {
    image::open_chain(txn.overlay(), path, None, backing, &StateDir::default())
}

fn refused(path: &Path, backing: &Backing) -> Error {
    let txn = qemu::begin(path, Access::Read);
    let error = open(&txn, path, backing).expect_err("it is to be refused");
    assert!(error.hint().is_some(), "{error:?} has no hint");
    error
}

/// A raw file of random bytes with holes.
fn raw(path: &Path, len: usize, rng: &mut Rng) {
    let mut bytes = vec![0; len];
    for chunk in bytes.chunks_mut(100_000).step_by(2) {
        rng.fill(chunk);
    }
    fs::write(path, bytes).unwrap();
}

/// An overlay of this size on another image, with a few writes of QEMU's.
fn overlay(path: &Path, base: &str, format: &str, options: &str, size: &str, rng: &mut Rng) {
    let mut args = vec!["create", "-q", "-f", "qcow2", "-b", base, "-F", format];
    if !options.is_empty() {
        args.extend(["-o", options]);
    }
    qemu::img(&[&args[..], &[text(path), size]].concat());
    let writes: Vec<String> = (0..3)
        .map(|_| format!("write -P {} {} {}", 1 + rng.below(250), rng.below(3600) * 512, 512 * (1 + rng.below(300))))
        .collect();
    qemu::io(path, &writes);
}

fn read_all(disk: &dyn BlockDevice, piece: usize) -> Vec<u8> {
    let mut bytes = vec![0xaa; disk.size() as usize];
    for (index, chunk) in bytes.chunks_mut(piece).enumerate() {
        disk.read_at(chunk, (index * piece) as u64).unwrap();
    }
    bytes
}

/// Reads the chain, writes to it, and lets QEMU judge; the files below stay as they are.
fn exercise(path: &Path, below: &[&Path], rng: &mut Rng, what: &str) {
    let before: Vec<_> = below.iter().map(|path| fs::read(path).unwrap()).collect();
    let mut model = qemu::content(path);
    let txn = qemu::begin(path, Access::Write);
    let disk = open(&txn, path, &within(&[])).unwrap();
    for piece in [12_345, 65_536, MIB] {
        assert!(read_all(&*disk, piece) == model, "{what}: read in pieces of {piece}");
    }
    for step in 0..30 {
        let at = rng.below(disk.size() / 512) as usize * 512 + if step % 3 == 0 { 7 } else { 0 };
        let len = (1 + rng.below(150_000) as usize).min(model.len() - at);
        let mut bytes = vec![0; len];
        if step % 5 != 0 {
            rng.fill(&mut bytes);
        }
        disk.write_at(&bytes, at as u64).unwrap();
        model[at..at + len].copy_from_slice(&bytes);
    }
    let plan = disk.finish().unwrap();
    drop(disk);
    txn.commit(plan).unwrap();
    qemu::check(path, what);
    assert!(qemu::content(path) == model, "{what}: written");
    for (path, before) in below.iter().zip(before) {
        assert!(fs::read(path).unwrap() == before, "{what}: {} was changed", path.display());
    }
}

#[test]
fn chains_of_every_shape() {
    if !qemu::available() {
        return;
    }
    let mut rng = Rng::new(4);
    for (options, odd) in [
        ("", 0),
        ("compat=0.10", 0),
        ("cluster_size=512", 0),
        ("cluster_size=4096,refcount_bits=1", 0),
        ("cluster_size=2M", 0),
        ("lazy_refcounts=on", 512),
        ("extended_l2=on,cluster_size=128k", 512),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let [base, middle, top] = ["base.img", "middle.qcow2", "top.qcow2"].map(|name| dir.path().join(name));
        raw(&base, 3 * MIB - odd, &mut rng);
        // As large as its base, and larger: the bytes behind the base's end are zeros.
        overlay(&middle, "base.img", "raw", options, &(3 * MIB).to_string(), &mut rng);
        exercise(&middle, &[&base], &mut rng, &format!("on raw, {options}"));
        overlay(&top, text(&middle), "qcow2", options, "5M", &mut rng);
        exercise(&top, &[&base, &middle], &mut rng, &format!("on qcow2 on raw, {options}"));
        // And smaller.
        fs::remove_file(&top).unwrap();
        overlay(&top, "middle.qcow2", "qcow2", options, &(2 * MIB - 512).to_string(), &mut rng);
        exercise(&top, &[&base, &middle], &mut rng, &format!("smaller, {options}"));
    }
}

#[test]
fn a_chain_is_opened_only_when_asked_for_and_only_inside() {
    if !qemu::available() {
        return;
    }
    let mut rng = Rng::new(5);
    let dir = tempfile::tempdir().unwrap();
    let [inner, outer] = ["inner", "outer"].map(|name| dir.path().join(name));
    for dir in [&inner, &outer] {
        fs::create_dir(dir).unwrap();
    }
    let base = outer.join("base.img");
    raw(&base, 3 * MIB, &mut rng);
    let top = inner.join("top.qcow2");
    overlay(&top, "../outer/base.img", "raw", "", "3M", &mut rng);
    let error = refused(&top, &Backing::Deny);
    assert!(error.hint().unwrap().contains("--backing-chain"), "{error:?}");
    let error = refused(&top, &within(&[]));
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(error.hint().unwrap().contains(text(&outer)), "{error:?}");
    assert_eq!(refused(&top, &within(&[&inner])).kind(), ErrorKind::Denied);
    let txn = qemu::begin(&top, Access::Read);
    for allowed in [within(&[&outer]), within(&[&inner, &outer]), within(&[dir.path()])] {
        open(&txn, &top, &allowed).unwrap();
    }
    drop(txn);
    // A link inside that leads out is outside; one that leads nowhere else is followed.
    symlink(&base, inner.join("link.img")).unwrap();
    qemu::img(&["rebase", "-u", "-f", "qcow2", "-F", "raw", "-b", "link.img", text(&top)]);
    assert_eq!(refused(&top, &within(&[])).kind(), ErrorKind::Denied);
    fs::rename(&base, inner.join("base.img")).unwrap();
    fs::remove_file(inner.join("link.img")).unwrap();
    symlink("base.img", inner.join("link.img")).unwrap();
    exercise(&top, &[&inner.join("base.img")], &mut rng, "through a link");
}

#[test]
fn names_formats_and_circles() {
    if !qemu::available() {
        return;
    }
    let mut rng = Rng::new(6);
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let [base, top] = [at("base.img"), at("top.qcow2")];
    raw(&base, 3 * MIB, &mut rng);
    overlay(&top, "base.img", "raw", "", "3M", &mut rng);
    let rebased = |name: &str, format: &str| {
        qemu::img(&["rebase", "-u", "-f", "qcow2", "-F", format, "-b", name, text(&top)]);
        refused(&top, &within(&[]))
    };
    for name in ["nbd://localhost/x", "json:{\"file.filename\": \"base.img\"}", "file:base.img", "https://h/base.img"] {
        let error = rebased(name, "raw");
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("no plain file name"), "{error}");
    }
    assert!(rebased("missing.img", "raw").to_string().contains("cannot be reached"));
    assert!(rebased("base.img", "vmdk").to_string().contains("format vmdk"));
    fs::create_dir(at("directory")).unwrap();
    qemu::img(&["rebase", "-u", "-f", "qcow2", "-F", "raw", "-b", "directory", text(&top)]);
    let txn = qemu::begin(&top, Access::Read);
    assert_eq!(open(&txn, &top, &within(&[])).unwrap_err().kind(), ErrorKind::WrongType);
    drop(txn);
    let error = rebased("top.qcow2", "qcow2");
    assert!(error.to_string().contains("comes back"), "{error}");
    overlay(&at("a.qcow2"), "base.img", "raw", "", "3M", &mut rng);
    qemu::img(&["rebase", "-u", "-f", "qcow2", "-F", "qcow2", "-b", "top.qcow2", text(&at("a.qcow2"))]);
    assert!(rebased("a.qcow2", "qcow2").to_string().contains("comes back"));

    // The recorded format is overwritten by the end of extensions: a header of version 2 as old tools made it.
    qemu::img(&["rebase", "-u", "-f", "qcow2", "-F", "raw", "-b", "base.img", text(&top)]);
    let mut bytes = fs::read(&top).unwrap();
    let place = bytes.windows(4).position(|bytes| bytes == [0xe2, 0x79, 0x2a, 0xca]).unwrap();
    bytes[place..place + 4].copy_from_slice(&0x1234_5678_u32.to_be_bytes());
    fs::write(&top, bytes).unwrap();
    let error = refused(&top, &within(&[]));
    assert!(error.to_string().contains("not recorded"), "{error}");
    assert!(error.hint().unwrap().contains("qemu-img rebase -u -F"), "{error:?}");
}

#[test]
fn a_chain_without_end_is_cut() {
    if !qemu::available() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |n: usize| dir.path().join(format!("{n:02}.qcow2"));
    qemu::img(&["create", "-q", "-f", "qcow2", "-o", "cluster_size=512", text(&at(0)), "64K"]);
    for n in 1..=65 {
        let base = format!("{:02}.qcow2", n - 1);
        qemu::img(&[
            "create",
            "-q",
            "-u",
            "-f",
            "qcow2",
            "-o",
            "cluster_size=512",
            "-b",
            &base,
            "-F",
            "qcow2",
            text(&at(n)),
            "64K",
        ]);
    }
    let txn = qemu::begin(&at(64), Access::Read);
    open(&txn, &at(64), &within(&[])).unwrap();
    drop(txn);
    assert!(refused(&at(65), &within(&[])).to_string().contains("more than 64 files"));
}

/// While a chain is open QEMU may read the files below and not write to them, and the other way round.
#[test]
fn the_files_below_are_locked() {
    if !qemu::available() {
        return;
    }
    let (_dir, base, top) = locked_pair();
    let txn = qemu::begin(&top, Access::Write);
    let disk = open(&txn, &top, &within(&[])).unwrap();
    let io = |path: &Path, words: &[&str]| {
        let output = std::process::Command::new("qemu-io").args(words).arg(path).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), said)
    };
    let (done, said) = io(&base, &["-f", "raw", "-c", "write 0 512"]);
    assert!(!done && said.contains("lock"), "{said}");
    let (done, said) = io(&base, &["-r", "-f", "raw", "-c", "read 0 512"]);
    assert!(done, "{said}");
    drop(disk);
    drop(txn);
    let (done, said) = io(&base, &["-f", "raw", "-c", "write 0 512"]);
    assert!(done, "{said}");
    let writer = Transaction::begin(&base, Access::Write).unwrap();
    let txn = qemu::begin(&top, Access::Write);
    assert_eq!(open(&txn, &top, &within(&[])).unwrap_err().kind(), ErrorKind::InUse);
    drop(writer);
    open(&txn, &top, &within(&[])).unwrap();
}

fn locked_pair() -> (TempDir, PathBuf, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let [base, top] = ["base.img", "top.qcow2"].map(|name| dir.path().join(name));
    let mut rng = Rng::new(7);
    raw(&base, 3 * MIB, &mut rng);
    overlay(&top, "base.img", "raw", "", "3M", &mut rng);
    (dir, base, top)
}

#[test]
fn a_raw_image_has_no_chain() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.img");
    fs::write(&path, vec![1; MIB]).unwrap();
    let txn = qemu::begin(&path, Access::Read);
    assert_eq!(open(&txn, &path, &within(&[])).unwrap().format(), Format::Raw);
}

/// The image is open for writing, and so locked against its second use.
#[test]
fn an_image_that_is_its_own_backing_file_is_told() {
    if !qemu::available() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.qcow2");
    qemu::img(&["create", "-q", "-f", "qcow2", "-u", "-b", "t.qcow2", "-F", "qcow2", text(&path), "8M"]);
    for access in [Access::Read, Access::Write] {
        let txn = qemu::begin(&path, access);
        let error = open(&txn, &path, &within(&[])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
        assert!(error.to_string().contains("comes back"), "{error:?}");
    }
}
