//! What is done to a filesystem, one fast commit after each step.

use super::oracle::Random;
use rustix::fs::{FallocateFlags, XattrFlags, fallocate};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

/// Which steps are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steps {
    /// All.
    All,
    /// No directories are made or removed, and no open file loses its name.
    Files,
}

/// Random steps in a mounted filesystem.
pub struct Worker {
    root: PathBuf,
    steps: Steps,
    pub random: Random,
    done: Vec<String>,
    /// Open files that have no name left.
    open: Vec<File>,
}

impl Worker {
    pub fn new(root: &Path, steps: Steps, random: Random) -> Self {
        Self { root: root.to_owned(), steps, random, done: Vec::new(), open: Vec::new() }
    }

    /// What the first whole transaction has.
    pub fn base(&mut self) {
        for number in 0..3 {
            fs::create_dir(self.root.join(format!("d{number}"))).unwrap();
        }
        for number in 0..8 {
            let bytes = self.random.bytes(number * number * 1500);
            fs::write(self.root.join(format!("d{}/f{number}", number % 3)), bytes).unwrap();
        }
        // Extents that do not fit an inode.
        let file = File::create(self.root.join("d0/holes")).unwrap();
        for number in 0..40 {
            file.write_all_at(&[number as u8 + 1; 700], number * 16384).unwrap();
        }
        let xattr = self.root.join("d1/f1");
        rustix::fs::lsetxattr(&xattr, "user.note", &[7; 30], XattrFlags::empty()).unwrap();
        rustix::fs::lsetxattr(&xattr, "user.large", &[8; 700], XattrFlags::empty()).unwrap();
        File::create(self.root.join("tick")).unwrap();
        rustix::fs::syncfs(File::open(&self.root).unwrap()).unwrap();
        self.tick();
    }

    /// Fills holes of a file whose extents do not fit its inode, in a fast commit.
    pub fn fill_holes(&mut self) {
        let file = File::options().write(true).open(self.root.join("d0/holes")).unwrap();
        for number in 10..20 {
            file.write_all_at(&[9; 700], number * 16384 + 8192).unwrap();
        }
        file.sync_all().unwrap();
    }

    /// The last steps, to find out what went wrong.
    pub fn log(&self) -> String {
        self.done[self.done.len().saturating_sub(40)..].join("; ")
    }

    /// A commit of whatever is left.
    pub fn tick(&mut self) {
        let mut file = File::options().append(true).open(self.root.join("tick")).unwrap();
        file.write_all(b"t").unwrap();
        file.sync_all().unwrap();
    }

    fn entries(&self, want: impl Fn(&fs::Metadata) -> bool) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut next = vec![self.root.clone()];
        while let Some(directory) = next.pop() {
            let mut entries: Vec<PathBuf> =
                fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
            entries.sort();
            for path in entries {
                let metadata = path.symlink_metadata().unwrap();
                let own = path.ends_with("lost+found") || path.ends_with("tick");
                if metadata.is_dir() && !own {
                    next.push(path.clone());
                }
                if want(&metadata) && !own {
                    found.push(path);
                }
            }
        }
        found
    }

    fn pick(&mut self, from: &[PathBuf]) -> Option<PathBuf> {
        if from.is_empty() { None } else { from.get(self.random.below(from.len() as u64) as usize).cloned() }
    }

    fn file(&mut self) -> Option<PathBuf> {
        let files = self.entries(fs::Metadata::is_file);
        self.pick(&files)
    }

    fn directory(&mut self) -> PathBuf {
        let mut directories = self.entries(fs::Metadata::is_dir);
        directories.push(self.root.clone());
        self.pick(&directories).unwrap()
    }

    fn fresh(&mut self) -> PathBuf {
        let directory = self.directory();
        let number = self.random.below(1 << 30);
        let long = if self.random.below(3) == 0 { self.random.below(200) as usize } else { 0 };
        directory.join(format!("n{number}{}", "x".repeat(long)))
    }

    /// One step, and a commit.
    pub fn step(&mut self) {
        let mut kind = self.random.below(100);
        if self.steps == Steps::Files && matches!(kind, 77..90 | 97..) {
            kind %= 67;
        }
        let done = self.act(kind);
        if let Some(done) = done {
            self.done.push(format!("{kind} {done}"));
            self.tick();
        }
    }

    /// A step of a kind, below 100; `None` where there is nothing to do it to.
    pub fn act(&mut self, kind: u64) -> Option<String> {
        let short = |root: &Path, path: &Path| {
            let name = path.strip_prefix(root).unwrap().display().to_string();
            name.chars().take(24).collect::<String>()
        };
        let root = self.root.clone();
        let size = [40, 200, 5000, 20_000, 70_000][self.random.below(5) as usize];
        let len = self.random.below(size) as usize;
        let at = self.random.below(80_000);
        match kind {
            0..20 => {
                let path = self.fresh();
                fs::write(&path, self.random.bytes(len)).unwrap();
                File::open(&path).unwrap().sync_all().unwrap();
                Some(format!("create {} {len}", short(&root, &path)))
            }
            20..45 => {
                let path = self.file()?;
                let file = File::options().write(true).open(&path).unwrap();
                let end = file.metadata().unwrap().len();
                let bytes = self.random.bytes(len);
                let how = self.random.below(9);
                match how {
                    0..3 => file.write_all_at(&bytes, end).unwrap(),
                    3 => file.write_all_at(&bytes, at).unwrap(),
                    4 => file.set_len(at % (end + 1)).unwrap(),
                    5 => file.set_len(end + at).unwrap(),
                    6 => {
                        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                        let _ = fallocate(&file, flags, at / 2, len as u64 + 1);
                    }
                    7 => {
                        let _ = fallocate(&file, FallocateFlags::ZERO_RANGE, at / 2, len as u64 + 1);
                    }
                    _ => {
                        let _ = fallocate(&file, FallocateFlags::empty(), end, len as u64 + 1);
                    }
                }
                file.sync_all().unwrap();
                Some(format!("write {} ({how}) {len} {at} of {end}", short(&root, &path)))
            }
            45..55 => {
                let (from, to) = (self.file()?, self.fresh());
                fs::rename(&from, &to).unwrap();
                Some(format!("rename {} {}", short(&root, &from), short(&root, &to)))
            }
            55..60 => {
                let (from, to) = (self.file()?, self.file()?);
                fs::rename(&from, &to).unwrap();
                Some(format!("replace {} {}", short(&root, &from), short(&root, &to)))
            }
            60..67 => {
                let (from, to) = (self.file()?, self.fresh());
                fs::hard_link(&from, &to).unwrap();
                Some(format!("link {} {}", short(&root, &from), short(&root, &to)))
            }
            67..77 => {
                let path = self.file()?;
                fs::remove_file(&path).unwrap();
                Some(format!("unlink {}", short(&root, &path)))
            }
            77..86 => {
                let path = self.fresh();
                fs::create_dir(&path).unwrap();
                Some(format!("mkdir {}", short(&root, &path)))
            }
            86..90 => {
                let path = self.directory();
                fs::remove_dir(&path).ok()?;
                Some(format!("rmdir {}", short(&root, &path)))
            }
            90..95 => {
                let path = self.file()?;
                fs::set_permissions(&path, fs::Permissions::from_mode(0o600 + at as u32 % 64)).unwrap();
                chown(&path, Some(at as u32 % 1000), Some(7)).unwrap();
                Some(format!("chown {}", short(&root, &path)))
            }
            95 => {
                let path = self.fresh();
                symlink("target", &path).unwrap();
                Some(format!("symlink {}", short(&root, &path)))
            }
            96 => {
                let path = self.file()?;
                rustix::fs::lsetxattr(&path, "user.note", &self.random.bytes(20), XattrFlags::empty()).unwrap();
                Some(format!("xattr {}", short(&root, &path)))
            }
            97 => {
                let path = self.file()?;
                let mut file = File::options().append(true).open(&path).unwrap();
                fs::remove_file(&path).unwrap();
                file.write_all(&self.random.bytes(len)).unwrap();
                file.sync_all().unwrap();
                self.open.push(file);
                Some(format!("unlink open {}", short(&root, &path)))
            }
            98 => {
                let mut file = self.open.pop()?;
                file.write_all(&self.random.bytes(len)).unwrap();
                file.sync_all().unwrap();
                Some("close".into())
            }
            _ => {
                let directory = self.fresh();
                fs::create_dir(&directory).unwrap();
                for number in 0..30 {
                    let name = format!("{number}{}", "y".repeat(60));
                    File::create(directory.join(name)).unwrap();
                }
                Some(format!("many {}", short(&root, &directory)))
            }
        }
    }
}
