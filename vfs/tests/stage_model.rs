//! Random operations on a stage, beside the same operations done at once on a filesystem of their own.

use imgraft_vfs::fs::mem::MemFs;
use imgraft_vfs::fs::{Attrs, Content, FileType, GuestFs, Lookup, SetAttrs, Xattr, read_file};
use imgraft_vfs::path::{GuestPath, Resolved};
use imgraft_vfs::resolve::{Follow, resolve};
use imgraft_vfs::stage::Stage;
use imgraft_vfs::{Error, ErrorKind, Layer, Result};
use std::collections::BTreeMap;

const PATHS: [&str; 9] = ["/a", "/b", "/d", "/d/x", "/d/e", "/d/e/y", "/l", "/l/x", "/d/e/z/w"];
const TARGETS: [&str; 5] = ["d", "/a", "e", "../a", "l/"];

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 33) as usize % limit
    }

    fn pick<'t>(&mut self, from: &[&'t str]) -> &'t str {
        from[self.below(from.len())]
    }
}

#[derive(Debug)]
enum Operation {
    Write(Vec<u8>, Attrs),
    CreateDirs(Attrs),
    Symlink(&'static str, Attrs),
    Remove,
    SetAttrs(SetAttrs),
    SetXattr(Xattr),
}

fn operation(random: &mut Random) -> Operation {
    let attrs = Attrs { mode: [0o600, 0o644][random.below(2)], uid: random.below(2) as u32, gid: 0 };
    match random.below(10) {
        0..=2 => Operation::Write(vec![b'c'; random.below(3)], attrs),
        3 => Operation::CreateDirs(attrs),
        4 => Operation::Symlink(random.pick(&TARGETS), attrs),
        5..=7 => Operation::Remove,
        8 => Operation::SetAttrs(SetAttrs { mode: Some(attrs.mode), gid: Some(attrs.uid), ..SetAttrs::default() }),
        _ => Operation::SetXattr(Xattr { name: b"user.a".to_vec(), value: vec![b'v'; random.below(2)] }),
    }
}

fn on_stage(stage: &mut Stage<'_>, path: &GuestPath, operation: &Operation) -> Result<()> {
    match operation {
        Operation::Write(bytes, attrs) => stage.write(path, Content::bytes(&bytes[..]), *attrs),
        Operation::CreateDirs(attrs) => stage.create_dirs(path, *attrs).map(drop),
        Operation::Symlink(target, attrs) => stage.symlink(path, target.as_bytes(), *attrs),
        Operation::Remove => stage.remove(path),
        Operation::SetAttrs(attrs) => stage.set_attrs(path, *attrs),
        Operation::SetXattr(xattr) => stage.set_xattr(path, xattr.clone()),
    }
}

/// What the stage promises, done with a filesystem's own operations.
fn on_filesystem(fs: &mut MemFs, path: &GuestPath, operation: &Operation) -> Result<()> {
    let follow = match operation {
        Operation::Symlink(..) | Operation::Remove => Follow::ExcludeLast,
        _ => Follow::All,
    };
    let at = resolve(fs, path, follow)?;
    let there = fs.lookup(&at)?;
    match operation {
        Operation::Write(bytes, attrs) => {
            if there.is_none() {
                fs.create_file(&at, *attrs)?;
            }
            fs.put(&at, &Content::bytes(&bytes[..]))
        }
        Operation::CreateDirs(attrs) => {
            let mut missing = Vec::new();
            let mut next = Some(at);
            while let Some(here) = next {
                match fs.lookup(&here)? {
                    Some(found) if found.file_type == FileType::Directory => break,
                    Some(_) => return Err(Error::new(ErrorKind::WrongType, Layer::Stage, "in the way")),
                    None => next = here.parent(),
                }
                missing.push(here);
            }
            missing.iter().rev().try_for_each(|here| fs.create_dir(here, *attrs))
        }
        Operation::Symlink(target, attrs) => {
            let Some(old) = there else { return fs.create_symlink(&at, target.as_bytes(), *attrs) };
            if old.file_type != FileType::Symlink {
                return Err(Error::new(ErrorKind::WrongType, Layer::Stage, "in the way"));
            }
            let xattrs = fs.xattrs(&at)?;
            fs.remove(&at)?;
            fs.create_symlink(&at, target.as_bytes(), Attrs { mode: old.mode, uid: old.uid, gid: old.gid })?;
            xattrs.iter().try_for_each(|xattr| fs.set_xattr(&at, xattr))
        }
        Operation::Remove => fs.remove(&at),
        Operation::SetAttrs(attrs) => fs.set_attrs(&at, *attrs),
        Operation::SetXattr(xattr) => fs.set_xattr(&at, xattr),
    }
}

type Tree = BTreeMap<String, (FileType, u16, u32, u32, Vec<u8>, Vec<Xattr>)>;

fn tree(fs: &MemFs) -> Tree {
    let mut tree = Tree::new();
    let mut pending = vec![GuestPath::from(&Resolved::root())];
    while let Some(path) = pending.pop() {
        let at = resolve(fs, &path, Follow::ExcludeLast).unwrap();
        let found = fs.lookup(&at).unwrap().unwrap();
        let content = match found.file_type {
            FileType::Regular => read_file(fs, &at, 99).unwrap(),
            FileType::Symlink => fs.read_link(&at).unwrap(),
            _ => fs.read_dir(&at).unwrap().iter().flat_map(|entry| [&entry.name[..], b" "].concat()).collect(),
        };
        if found.file_type == FileType::Directory {
            pending.extend(fs.read_dir(&at).unwrap().iter().map(|entry| path.join(&entry.name).unwrap()));
        }
        let xattrs = fs.xattrs(&at).unwrap();
        tree.insert(at.to_string(), (found.file_type, found.mode, found.uid, found.gid, content, xattrs));
    }
    tree
}

/// The stage shows at every path what the filesystem has there.
fn check_view(stage: &Stage<'_>, model: &MemFs) {
    for path in PATHS.into_iter().chain(["/"]) {
        let path = GuestPath::parse(path).unwrap();
        let (at, real) = (resolve(stage, &path, Follow::All), resolve(model, &path, Follow::All));
        let (Ok(at), Ok(real)) = (&at, &real) else {
            assert_eq!(at.map_err(|error| error.kind()), real.map_err(|error| error.kind()), "{path}");
            continue;
        };
        assert_eq!(at, real);
        let shown = stage.lookup(at).unwrap();
        let there = model.lookup(at).unwrap();
        let facts = |found: imgraft_vfs::fs::Metadata| (found.file_type, found.mode, found.uid, found.gid, found.size);
        assert_eq!(shown.map(facts), there.map(facts), "{path}");
        match there.map(|found| found.file_type) {
            Some(FileType::Regular) => {
                assert_eq!(stage.read(&path, 99).unwrap().unwrap(), read_file(model, at, 99).unwrap(), "{path}");
            }
            Some(FileType::Directory) => {
                assert_eq!(stage.read_dir(&path).unwrap().unwrap(), model.read_dir(at).unwrap(), "{path}");
            }
            _ => {}
        }
        if there.is_some() {
            assert_eq!(stage.xattrs(&path).unwrap(), model.xattrs(at).unwrap(), "{path}");
        }
    }
}

#[test]
fn a_stage_is_what_comes_of_it() {
    let base = MemFs::builder()
        .file("/a", "cc")
        .xattr("user.a", "v")
        .file("/d/x", "c")
        .file("/d/e/y", "")
        .symlink("/l", "d")
        .build()
        .unwrap();
    let mut random = Random(11);
    for round in 0..3000 {
        let mut applied = base.clone();
        let mut model = base.clone();
        let changes = {
            let mut stage = Stage::new(&base);
            let mut saved = (stage.savepoint(), model.clone());
            for _ in 0..random.below(40) {
                let path = GuestPath::parse(random.pick(&PATHS)).unwrap();
                let operation = operation(&mut random);
                let before = model.clone();
                let (staged, done) =
                    (on_stage(&mut stage, &path, &operation), on_filesystem(&mut model, &path, &operation));
                let kinds = (staged.map_err(|error| error.kind()), done.map_err(|error| error.kind()));
                assert_eq!(kinds.0, kinds.1, "round {round}: {operation:?} at {path}");
                if kinds.1.is_err() {
                    model = before;
                }
                match random.below(12) {
                    0 => saved = (stage.savepoint(), model.clone()),
                    1 => {
                        stage.rollback(saved.0.clone());
                        model = saved.1.clone();
                        assert!(stage.changes_since(&saved.0).unwrap().is_empty());
                    }
                    2 => assert_eq!(
                        stage.changes_since(&saved.0).unwrap().is_empty(),
                        tree(&saved.1) == tree(&model),
                        "round {round}"
                    ),
                    _ => {}
                }
            }
            check_view(&stage, &model);
            stage.finish().unwrap()
        };
        changes.apply(&mut applied).unwrap();
        assert_eq!(tree(&applied), tree(&model), "round {round}");
        assert_eq!(changes.is_empty(), tree(&base) == tree(&model), "round {round}: {changes:?}");
    }
}
