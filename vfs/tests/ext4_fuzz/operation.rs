//! Random operations.

use crate::oracle::Random;
use imgraft_vfs::fs::{Attrs, Timestamp};
use std::collections::VecDeque;

/// Known paths, at most: old ones are forgotten.
const KNOWN_MAX: usize = 600;
/// The longest path, in bytes; the kernel sees it below its mount point.
const PATH_MAX: usize = 2500;

/// A change, as both sides can make it.
#[derive(Clone, Debug)]
pub enum Op {
    Create(Vec<u8>, Attrs),
    Mkdir(Vec<u8>, Attrs),
    Symlink(Vec<u8>, Vec<u8>, Attrs),
    Link(Vec<u8>, Vec<u8>),
    Put(Vec<u8>, Vec<u8>),
    Append(Vec<u8>, Vec<u8>),
    Truncate(Vec<u8>, u64),
    Remove(Vec<u8>),
    Rename(Vec<u8>, Vec<u8>),
    Attrs(Vec<u8>, Attrs),
    Times(Vec<u8>, Timestamp),
    SetXattr(Vec<u8>, String, Vec<u8>),
    RemoveXattr(Vec<u8>, String),
}

impl Op {
    /// The kind and the paths; contents would hide the rest of a message.
    pub fn brief(&self) -> String {
        let path = |path: &[u8]| path.escape_ascii().to_string();
        match self {
            Self::Put(at, bytes) => format!("Put({}, {} bytes)", path(at), bytes.len()),
            Self::Append(at, bytes) => format!("Append({}, {} bytes)", path(at), bytes.len()),
            Self::SetXattr(at, name, value) => format!("SetXattr({}, {name}, {} bytes)", path(at), value.len()),
            Self::Symlink(at, target, _) => format!("Symlink({}, {} bytes)", path(at), target.len()),
            Self::Create(at, attrs) => format!("Create({}, {attrs:?})", path(at)),
            Self::Mkdir(at, attrs) => format!("Mkdir({}, {attrs:?})", path(at)),
            Self::Link(from, to) => format!("Link({}, {})", path(from), path(to)),
            Self::Rename(from, to) => format!("Rename({}, {})", path(from), path(to)),
            Self::Remove(at) => format!("Remove({})", path(at)),
            Self::Truncate(at, size) => format!("Truncate({}, {size})", path(at)),
            Self::Attrs(at, attrs) => format!("Attrs({}, {attrs:?})", path(at)),
            Self::Times(at, time) => format!("Times({}, {time:?})", path(at)),
            Self::RemoveXattr(at, name) => format!("RemoveXattr({}, {name})", path(at)),
        }
    }

    /// Blocks and inodes of a filesystem that the operation may take for a while: bytes of content, and one inode.
    pub fn needs(&self) -> u64 {
        match self {
            Self::Put(_, bytes) | Self::Append(_, bytes) | Self::SetXattr(_, _, bytes) => bytes.len() as u64,
            _ => 0,
        }
    }
}

/// Operations that meet each other: what was made is used again.
#[derive(Debug)]
pub struct Generator {
    pub random: Random,
    files: Vec<Vec<u8>>,
    directories: Vec<Vec<u8>>,
    /// What comes next, before anything random.
    pending: VecDeque<Op>,
}

impl Generator {
    /// The operations of a seed.
    pub fn new(seed: u64) -> Self {
        Self { random: Random(seed), files: Vec::new(), directories: Vec::new(), pending: VecDeque::new() }
    }

    /// The next operation.
    pub fn next(&mut self) -> Op {
        if let Some(op) = self.pending.pop_front() {
            return op;
        }
        let attrs = self.attrs();
        match self.random.below(64) {
            0..8 => Op::Create(self.new_path(), attrs),
            8..14 => Op::Mkdir(self.new_path(), attrs),
            14..17 => {
                let len = self.one_of(&[1, 5, 57, 58, 59, 60, 61, 62, 500, 1000, 2000, 4000]);
                Op::Symlink(self.new_path(), vec![b'x'; len as usize], attrs)
            }
            17..19 => Op::Link(self.known(), self.new_path()),
            19..25 => Op::Put(self.file(), self.content(0)),
            25..31 => Op::Append(self.file(), self.content(1)),
            31..36 => Op::Truncate(self.file(), self.size()),
            36..42 => Op::Remove(self.known()),
            42..48 => {
                let to = if self.random.below(2) == 0 { self.known() } else { self.new_path() };
                // To the kernel a root that is renamed to itself stays; to us it is never renamed.
                let from = self.known();
                if from == b"/" { Op::Remove(to) } else { Op::Rename(from, to) }
            }
            48..50 => Op::Attrs(self.known(), attrs),
            50..52 => Op::Times(self.known(), self.time()),
            52..58 => {
                let name = self.xattr_name();
                let len = self.one_of(&[0, 1, 10, 30, 100, 300, 300, 900, 2500, 4000, 5000]) as usize;
                Op::SetXattr(self.known(), name, self.random.bytes(len))
            }
            58..60 => Op::RemoveXattr(self.known(), self.xattr_name()),
            60 => Op::SetXattr(self.known(), "system.posix_acl_access".into(), self.acl()),
            61 => Op::SetXattr(self.directory(), "system.posix_acl_default".into(), self.acl()),
            62 => self.many(),
            _ => self.cut(),
        }
    }

    /// What came of an operation: a name that is there now, or one that is not.
    pub fn learn(&mut self, op: &Op, done: bool) {
        match op {
            Op::Create(path, _) | Op::Symlink(path, ..) | Op::Link(_, path) if done => self.files.push(path.clone()),
            Op::Mkdir(path, _) if done => self.directories.push(path.clone()),
            Op::Rename(from, to) if done => {
                let known = if self.directories.contains(from) { &mut self.directories } else { &mut self.files };
                known.push(to.clone());
                self.forget(from);
            }
            Op::Remove(path) => self.forget(path),
            _ => {}
        }
        for known in [&mut self.files, &mut self.directories] {
            if known.len() > KNOWN_MAX {
                known.drain(..KNOWN_MAX / 2);
            }
        }
    }

    /// Something to make room with.
    pub fn smaller(&mut self) -> Op {
        match self.random.below(3) {
            0 => Op::Truncate(self.file(), 0),
            _ => Op::Remove(self.file()),
        }
    }

    fn forget(&mut self, path: &[u8]) {
        self.files.retain(|known| known != path);
        self.directories.retain(|known| known != path);
    }

    /// Fills a directory, or empties it again.
    fn many(&mut self) -> Op {
        let directory = self.directory();
        if self.random.below(3) == 0 {
            let below: Vec<_> =
                self.files.iter().filter(|path| path.starts_with(&directory)).cloned().map(Op::Remove).collect();
            self.pending.extend(below);
        } else {
            let (count, len) = (self.one_of(&[20, 100, 300]), self.one_of(&[0, 8, 60, 200]));
            for number in 0..count {
                let name = format!("{number}{}", "m".repeat(len as usize)).into_bytes();
                let attrs = self.attrs();
                self.pending.push_back(match number % 16 {
                    0 => Op::Mkdir(join(&directory, &name), attrs),
                    1..8 => Op::Create(join(&directory, &name), attrs),
                    _ => Op::Symlink(join(&directory, &name), b"nowhere".to_vec(), attrs),
                });
            }
        }
        Op::Attrs(directory, self.attrs())
    }

    /// Cut and lengthened again: what was cut off must not come back.
    fn cut(&mut self) -> Op {
        let path = self.new_path();
        for _ in 0..3 {
            let len = 1 + self.random.below(20_000) as usize;
            self.pending.push_back(Op::Append(path.clone(), self.random.bytes(len)));
            for _ in 0..2 {
                self.pending.push_back(Op::Truncate(path.clone(), self.random.below(20_000)));
            }
        }
        Op::Create(path, self.attrs())
    }

    fn one_of(&mut self, choices: &[u64]) -> u64 {
        choices[self.random.below(choices.len() as u64) as usize]
    }

    fn attrs(&mut self) -> Attrs {
        Attrs {
            mode: self.random.below(0o10000) as u16,
            uid: self.random.below(100_000) as u32,
            gid: self.random.below(100_000) as u32,
        }
    }

    fn content(&mut self, least: u64) -> Vec<u8> {
        let limit = self.one_of(&[1, 60, 100, 160, 5_000, 5_000, 70_000, 70_000, 400_000]);
        let limit = if self.random.below(60) == 0 { 3 << 20 } else { limit };
        let len = least + self.random.below(limit);
        self.random.bytes(len as usize)
    }

    fn size(&mut self) -> u64 {
        match self.random.below(4) {
            0 => self.random.below(200_000),
            1 => 1024 * self.random.below(160),
            // Beyond what one, two and three levels of indirect blocks hold.
            2 => self.one_of(&[300 << 10, 5 << 20, 70 << 20, 5 << 30, 20 << 30]),
            _ => self.one_of(&[0, 1, 59, 60, 61, 155, 156, 157, 1000, 4097, 70_000]),
        }
    }

    fn time(&mut self) -> Timestamp {
        let seconds = match self.random.below(3) {
            0 => self.random.below(1 << 32) as i64 - (1 << 31),
            _ => [0, 1, -1, -2_000_000_000, 1_234_567_890, 2_147_483_647, 2_147_483_648, 4_000_000_000, 10_000_000_000]
                [self.random.below(9) as usize],
        };
        Timestamp { seconds, nanoseconds: self.random.below(1_000_000_000) as u32 }
    }

    fn xattr_name(&mut self) -> String {
        match self.random.below(8) {
            0 => "security.selinux".into(),
            1 => format!("user.{}", "long".repeat(50)),
            2 => format!("user.x{}", self.random.below(4)),
            _ => format!("trusted.x{}", self.random.below(6)),
        }
    }

    /// A list with a named user and a mask.
    fn acl(&mut self) -> Vec<u8> {
        let mut list = 2_u32.to_le_bytes().to_vec();
        let user = 1000 + self.random.below(70_000) as u32;
        for (tag, id) in [(1_u16, u32::MAX), (2, user), (4, u32::MAX), (16, u32::MAX), (32, u32::MAX)] {
            list.extend(tag.to_le_bytes());
            list.extend((self.random.below(8) as u16).to_le_bytes());
            list.extend(id.to_le_bytes());
        }
        list
    }

    fn directory(&mut self) -> Vec<u8> {
        match self.directories.len() as u64 {
            0 => b"/".to_vec(),
            // Half of the time one of the last: trees grow deep.
            len if self.random.below(2) == 0 => {
                self.directories[(len - 1 - self.random.below(len.min(4))) as usize].clone()
            }
            len => self.directories[self.random.below(len) as usize].clone(),
        }
    }

    fn file(&mut self) -> Vec<u8> {
        match self.files.len() as u64 {
            0 => self.new_path(),
            len => self.files[self.random.below(len) as usize].clone(),
        }
    }

    fn known(&mut self) -> Vec<u8> {
        match self.random.below(8) {
            0 => self.new_path(),
            1..3 => self.directory(),
            _ => self.file(),
        }
    }

    fn new_path(&mut self) -> Vec<u8> {
        let directory = if self.random.below(4) == 0 { b"/".to_vec() } else { self.directory() };
        let name = self.name();
        let path = join(&directory, &name);
        if path.len() > PATH_MAX { join(b"/", &name) } else { path }
    }

    fn name(&mut self) -> Vec<u8> {
        match self.random.below(16) {
            // Few, so that they meet.
            0..6 => format!("f{}", self.random.below(12)).into_bytes(),
            6..12 => {
                let number = self.random.below(150);
                format!("n{number}{}", "-".repeat((number * 7 % 120) as usize)).into_bytes()
            }
            12 => ["größe", "寸法", "A.TXT", "a.txt", "…", " ", "\n", "-rf", "lost+found"]
                [self.random.below(9) as usize]
                .into(),
            13 => {
                let mut name = self.random.bytes(255);
                name.iter_mut().for_each(|byte| *byte = b'a' + *byte % 26);
                name
            }
            _ => {
                let len = 1 + self.random.below(255) as usize;
                let mut name = self.random.bytes(len);
                name.iter_mut().filter(|byte| matches!(**byte, 0 | b'/' | b'.')).for_each(|byte| *byte = 0xfe);
                name
            }
        }
    }
}

fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = directory.to_vec();
    if path.last() != Some(&b'/') {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}
